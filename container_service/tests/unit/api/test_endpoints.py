# SPDX-License-Identifier: Apache-2.0
"""The registry of addresses: complete, guarded, and what requests really meet."""

import re
from unittest import mock

from container_service import operations
from container_service import policy
from container_service.api import endpoints
from container_service.api import types
from container_service.api import versions
from container_service.api.controllers import base as controllers
from container_service.api.controllers import root
from container_service.tests.unit.api import base

ROUTES = list(endpoints.routes(root.RootController))


def concrete(path):
    """A path with a word for each of its variables."""
    return re.sub(r'{(\w+)}', r'some-\1', path)


def version_of(route):
    """A version at which a route is there."""
    op = route.endpoint.operation
    since = op.since if op else route.endpoint.since
    until = op.until if op else route.endpoint.until
    return versions.text(until or since or versions.MINIMUM)


class TestRegistry(base.base.TestCase):

    def test_every_handler_is_declared(self):
        """If this fails, a handler of yours lacks @base.endpoint(...): see its docstring."""
        found = list(controllers.Controller.__subclasses__())
        for kind in found:
            found += kind.__subclasses__()
            for method in endpoints.METHODS:
                handler = getattr(kind, method.lower(), None)
                if handler is not None:
                    self.assertTrue(hasattr(handler, 'endpoint'), (kind, method))

    def test_one_that_is_not_declared_is_told(self):
        forgotten = type('Forgotten', (), {
            'children': {}, 'member': None, 'get': lambda self, arguments: {}})
        with self.assertRaisesRegex(TypeError, 'Forgotten.get is not declared'):
            list(endpoints.routes(forgotten))

    def test_each_has_a_rule_of_policy(self):
        """Apart from the documents that everybody may read."""
        rules = {rule.name for rule in policy.guards()}
        public = [route.name for route in ROUTES if not rules.issuperset(route.rules)]
        self.assertEqual(['GET /', 'GET /v1', 'GET /v1/openapi.json'], public)

    def test_policy_names_the_addresses_that_its_rules_guard(self):
        ours = {(route.method, route.path, rule) for route in ROUTES for rule in route.rules}
        for rule in policy.guards():
            if rule.name == 'container:all_projects':        # an argument of several
                continue
            for http in rule.operations:
                path = http['path'].partition('?')[0]
                self.assertIn((http['method'], path, rule.name), ours)

    def test_every_operation(self):
        made = {route.endpoint.operation.name for route in ROUTES if route.endpoint.operation}
        self.assertEqual(set(operations.OPERATIONS) - {'run'}, made)   # a parameter of create

    def test_names_are_no_variables(self):
        self.assertEqual(len(ROUTES), len({route.name for route in ROUTES}))


class TestRequests(base.ApiTestCase):

    def test_at_another_version_it_is_told_where_it_is(self):
        for method, path, at, told in (
                ('GET', '/v1/quotas/project', '1.1', 'from version 1.26 on'),
                ('GET', '/v1/containers/c1/wait', '1.40', 'from version 1.41 on'),
                ('POST', '/v1/containers/c1/rename', '1.14',
                 'from version 1.1 to 1.13 and from version 1.41 on'),
                ('POST', '/v1/containers/c1/rename', '1.40',
                 'from version 1.1 to 1.13 and from version 1.41 on')):
            detail = self.assert_refused(404, 'not_found', self.call(method, path, version=at))
            self.assertEqual(
                f'There is no such address at version {at}. It is there {told}.', detail)

    def test_each_is_found_where_the_registry_says(self):
        with mock.patch.object(endpoints.Endpoint, 'called', autospec=True,
                               side_effect=lambda declared, *_: {}) as called:
            for route in ROUTES:
                self.call(route.method, concrete(route.path))
                self.assertIs(route.endpoint, called.call_args.args[0], route.name)

    def test_each_refuses_whom_policy_refuses(self):
        for route in ROUTES:
            if route.endpoint.policy != endpoints.PUBLIC:
                answer = self.call(route.method, concrete(route.path), persona={'roles': []},
                                   version=version_of(route))
                self.assert_refused(403, 'forbidden', answer)

    def test_each_refuses_an_argument_that_it_has_not(self):
        for route in ROUTES:
            if route.endpoint.policy != endpoints.PUBLIC:
                answer = self.call(route.method, f'{concrete(route.path)}?nonsense=1',
                                   version=version_of(route))
                self.assertIn('nonsense', self.assert_refused(400, 'unknown_parameter', answer))

    def test_each_that_takes_a_body_refuses_a_field_that_it_has_not(self):
        for route in ROUTES:
            if route.endpoint.body or route.endpoint.params_in_body:
                answer = self.call(route.method, concrete(route.path), {'nonsense': 1},
                                   version='latest')
                self.assertIn('nonsense', self.assert_refused(400, 'unknown_parameter', answer))

    def test_what_is_not_there_yet_or_no_more(self):
        declared = endpoints.Endpoint('limits:show', since=(1, 20), until=(1, 30))
        with mock.patch.object(root.services.LimitsController.get, 'endpoint', declared):
            for version in ('1.20', '1.30'):
                self.assertEqual(200, self.get('/v1/limits', version=version).status_int)
            for version in ('1.1', '1.19', '1.31', 'latest'):
                self.assert_refused(404, 'not_found', self.get('/v1/limits', version=version))

    def test_arguments_and_body_are_handed_over(self):
        seen = []
        declared = endpoints.Endpoint(
            'limits:show', query=(types.Param('timeout', operations.integer, 7),),
            body=types.Reconcile)
        with (mock.patch.object(root.services.LimitsController.get, 'endpoint', declared),
              mock.patch.object(root.services.LimitsController, 'post', create=True,
                                new=lambda self, *given: seen.append(given))):
            root.services.LimitsController.post.endpoint = declared
            self.post('/v1/limits', {'new_engine': 'false'})
            self.post('/v1/limits?timeout=8', {})
        self.assertEqual([({'timeout': 7}, {'new_engine': False}), ({'timeout': 8}, {})], seen)
