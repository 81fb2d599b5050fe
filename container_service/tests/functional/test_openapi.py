# SPDX-License-Identifier: Apache-2.0
"""The service does what /v1/openapi.json says of it: requests made from it, by schemathesis."""

import os

import fixtures as pyfixtures
import hypothesis
from hypothesis import strategies
import schemathesis
from schemathesis.generation import modes
from schemathesis.specs.openapi import checks as openapi_checks

from container_service import secrets
from container_service.tests import base
from container_service.tests import certificates
from container_service.tests import fixtures

CHECKS = (openapi_checks.status_code_conformance, openapi_checks.content_type_conformance,
          openapi_checks.response_headers_conformance,
          openapi_checks.response_schema_conformance)

# Of each operation, with what is right and with what is wrong.
EXAMPLES = 4


class TestOpenApi(base.TestCase):
    time_limit = 300

    def setUp(self):
        super().setUp()
        self.deployment = self.useFixture(fixtures.Deployment(
            api_action_limit=100000, api_project_action_limit=100000,
            secrets_keys_file=self.keys()))
        self.made = 0
        self.image = self.request('post_json', '/v1/images', params={
            'repo': 'busybox', 'host': 'bay'}).json['uuid']
        self.registry = self.request('post_json', '/v1/registries', params={
            'registry': {'domain': 'r.example.org'}}).json['registry']['uuid']
        self.schema = schemathesis.openapi.from_wsgi(
            '/v1/openapi.json', self.newest)

    def newest(self, environ, start_response):
        """The application at the only version that is described, and not waiting."""
        environ['HTTP_OPENSTACK_API_VERSION'] = 'container latest'
        if environ.get('HTTP_PREFER') != 'respond-async':
            environ.pop('HTTP_PREFER', None)
        return self.deployment.application(environ, start_response)

    def keys(self):
        path = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'keys')
        secrets.create_key(path)
        return path

    def request(self, method, path, **values):
        return getattr(self.deployment.api, method)(path, headers=fixtures.NEWEST, **values)

    def known(self):
        """Words that stand for what is there, for the variables of paths."""
        if self.status() != 'Running':
            self.made += 1
            self.request('post_json', '/v1/containers?run=true', params={
                'name': self.name, 'image': base.IMAGE, 'command': 'sleep 600'})
            fixtures.eventually(lambda: self.status() == 'Running', 20, 0.02)
        action = self.request('get', f'/v1/actions?container={self.name}').json['actions'][0]
        return {'container': self.name, 'bay': 'bay', 'host': 'bay', 'action': action['uuid'],
                'request_id': action['request_id'], 'project': 'local', 'class': 'default',
                'image': self.image, 'registry': self.registry}

    @property
    def name(self):
        return f'web{self.made}'

    def status(self):
        shown = self.request('get', f'/v1/containers/{self.name}', expect_errors=True).json
        return shown.get('status') if shown.get('task_state') is None else None

    def ask(self, operation, mode):
        known = self.known()

        @hypothesis.settings(
            max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck), phases=[
                hypothesis.Phase.explicit, hypothesis.Phase.generate])
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode),
                          there=strategies.booleans())
        def ask(case, there):
            if there:
                case.path_parameters.update(
                    (name, known[name]) for name in case.path_parameters if name in known)
            if case.path.endswith('/wait'):
                case.query = {**(case.query or {}), 'timeout': 0}
            answer = case.call()
            self.assertNotEqual(500, answer.status_code, answer.text)
            case.validate_response(answer, checks=CHECKS)

        ask()

    def ask_all(self, mode):
        found = [result.ok() for result in self.schema.get_all_operations()]
        self.assertGreater(len(found), 25)
        failures = []
        for operation in found:
            try:
                self.ask(operation, mode)
            except hypothesis.errors.Unsatisfiable:
                pass                              # nothing can be wrong about it
            except BaseExceptionGroup as group:
                failures += [f'{operation.label}: {exc}' for exc in group.exceptions]
        self.assertEqual([], failures, '\n\n'.join(failures))

    def test_requests_that_are_right(self):
        self.ask_all(modes.GenerationMode.POSITIVE)

    def test_requests_that_are_wrong(self):
        self.ask_all(modes.GenerationMode.NEGATIVE)

    def whole(self, example):
        """An example with certificates in the place of those that it only hints at."""
        if 'client_key' not in example:
            return example
        authority = certificates.Authority()
        cert, key = authority.issue('conductor')
        return {**example, 'ca_cert': authority.cert, 'client_cert': cert, 'client_key': key}

    def test_examples(self):
        wrong = []
        # The bay last: where there are two, requests must say which.
        paths = sorted(self.schema.raw_schema['paths'].items(),
                       key=lambda item: item[0] == '/v1/bays')
        for path, methods in paths:
            for method, described in methods.items():
                content = described.get('requestBody', {}).get('content', {})
                example = content.get('application/json', {}).get('example')
                if example is not None:
                    answer = self.request(f'{method}_json', path.format(**self.known()),
                                          params=self.whole(example), expect_errors=True)
                    if answer.status_int >= 300:
                        wrong.append(f'{method} {path}: {answer.text}')
        self.assertEqual([], wrong)
