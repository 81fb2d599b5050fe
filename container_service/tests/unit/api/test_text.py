# SPDX-License-Identifier: Apache-2.0
"""Text that would be more than text: in every field of every body, every argument, and headers.

Fields are walked as they are declared, so that a new one is tried without being listed here.
"""

import logging
import re
import urllib.parse

from wsme import types as wtypes

from container_service import operations
from container_service.api import types
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints

MARK = 'INJECTED'
CONTROL = re.compile('[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]')

# Each would begin a line, a header, or a command of a terminal.
HOSTILE = tuple(f'x{control}{MARK}: y' for control in (
    '\r\n', '\n', '\r', '\0', '\x1b]0;', '\x1b[2J', '\x7f', '\x85', '\x9b', '\u2028', '\u2029',
    '\u202e', '\u2066'))

# Where any text is meant, which goes into a process and nowhere else.
ANY_TEXT = {
    'command', 'entrypoint', 'environment', 'secret_environment', 'healthcheck', 'stdin',
    'password', 'data', 'ca_cert', 'client_cert', 'client_key'}


class Kept(logging.Handler):
    """Keeps what is logged, as it would be written."""

    def __init__(self):
        super().__init__(logging.INFO)
        self.lines = []

    def emit(self, record):
        self.lines.append(record.getMessage())


class TestEveryField(base.ApiTestCase):
    """S-10."""
    time_limit = 300

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.make('c1', 'Running')
        self.log = Kept()
        logging.getLogger().addHandler(self.log)
        self.addCleanup(logging.getLogger().removeHandler, self.log)

    def assert_harmless(self, answer, what):
        # Where there are no keys no secret can be kept, and without conductors nobody is asked.
        self.assertTrue(answer.status_int < 500 or answer.status_int == 503, (what, answer))
        for name, value in answer.headers.items():
            self.assertIsNone(CONTROL.search(name + value), what)
            self.assertNotIn(f'{MARK}:', name, what)
        # JSON writes such characters in letters.
        self.assertIsNone(re.search('[\x00-\x08\x0b-\x1f\x7f]', answer.text), what)
        for line in self.log.lines:
            self.assertIsNone(CONTROL.search(line), (what, line))
        self.log.lines.clear()

    def refused(self, answer, what):
        self.assert_harmless(answer, what)
        self.assertIn(answer.status_int, (400, 403, 404), what)

    def test_bodies(self):
        tried = set()
        for route in test_endpoints.ROUTES:
            for name, value in fields(route):
                tried.add(name)
                path = test_endpoints.concrete(route.path)
                answer = self.call(route.method, path, value,
                                   version=test_endpoints.version_of(route))
                what = (route.name, name, value)
                (self.assert_harmless if name in ANY_TEXT else self.refused)(answer, what)
        self.assertLessEqual({'name', 'image', 'labels', 'endpoint', 'repo', 'user'}, tried)

    def test_arguments(self):
        for route in test_endpoints.ROUTES:
            path = test_endpoints.concrete(route.path)
            for param in route.endpoint.query:
                for text in HOSTILE:
                    query = urllib.parse.urlencode({param.wire_name: text})
                    answer = self.call(route.method, f'{path}?{query}',
                                       version=test_endpoints.version_of(route))
                    what = (route.name, param.wire_name, text)
                    (self.assert_harmless if param.wire_name in ANY_TEXT
                     else self.refused)(answer, what)

    def test_names_of_fields_and_arguments(self):
        for text in HOSTILE:
            for path in ('/v1/containers', '/v1/bays', '/v1/containers/c1/stop'):
                self.refused(self.post(path, {text: 'x'}), text)
                self.refused(self.post(f'{path}?{urllib.parse.quote(text)}=1'), text)
            for field in ('labels', 'environment', 'tmpfs', 'hints', 'exposed_ports'):
                self.refused(self.post('/v1/containers', {'image': 'i', field: {text: '1'}}),
                             (field, text))

    def test_paths(self):
        for text in HOSTILE:
            quoted = urllib.parse.quote(text, safe='')
            for path in (f'/v1/containers/{quoted}', f'/v1/{quoted}', f'/v1/bays/{quoted}/strays',
                         f'/v1/actions/{quoted}/wait', f'/v1/containers/c1/{quoted}'):
                self.refused(self.get(path), (path, text))

    def test_headers(self):
        for name in ('OpenStack-API-Version', 'Idempotency-Key', 'Prefer', 'Operation-Timeout',
                     'X-Openstack-Request-Id', 'Accept', 'Content-Type', 'User-Agent', 'Host',
                     'X-Forwarded-For', 'X-Auth-Token', 'Range', 'If-None-Match'):
            for control in ('\x1b[2J', '\x7f', '\x85', '\x9b', '\t', '\xff'):
                answer = self.call('POST', '/v1/containers/c1/pause', {}, headers={
                    name: f'x{control}{MARK}: y'})
                self.assert_harmless(answer, (name, control))

    def test_what_is_counted(self):
        for field, value in (
                ('labels', {f'k{i}': '' for i in range(257)}), ('labels', {'k' * 256: ''}),
                ('labels', {'k': 'v' * 256}), ('labels', {'cs.container': 'x'}),
                ('labels', {'cs.': 'x'}), ('environment', {f'k{i}': '' for i in range(257)}),
                ('environment', {'k': 'v' * 32769}), ('name', 'x' * 256), ('name', 'x'),
                ('name', '-x'), ('name', 'a/b'), ('name', 'é'), ('hostname', 'x' * 65),
                ('user', 'x' * 65), ('workdir', '/' + 'x' * 255)):
            answer = self.post('/v1/containers', {'image': 'i', field: value})
            detail = self.assert_refused(400, 'invalid_parameter', answer)
            self.assertTrue(detail.startswith(f'{field}: '), detail)


def fields(route):
    """Bodies that have hostile text in one field each, as (field, body)."""
    kind = route.endpoint.body
    if kind is None:
        for param in route.endpoint.query if route.endpoint.params_in_body else ():
            if param.convert not in (operations.integer, operations.boolean):
                yield from ((param.wire_name, {param.wire_name: text}) for text in HOSTILE)
        return
    for attribute in wtypes.list_attributes(kind):
        wrapped = isinstance(attribute.datatype, types.Wrapped)
        inner = wtypes.list_attributes(attribute.datatype.kind) if wrapped else [attribute]
        for each in inner:
            for text in HOSTILE:
                for value in values(each.datatype, text):
                    body = {**_least(kind if not wrapped else attribute.datatype.kind),
                            each.name: value}
                    yield each.name, {attribute.name: body} if wrapped else body


def values(datatype, text):
    """Where text may be in a value of a type."""
    schema = datatype.schema
    yield text
    if schema.get('type') == 'array' or 'anyOf' in schema:
        yield [text]
    if isinstance(datatype, types.TextMap) and not datatype._control:
        yield {'key': text}


def _least(kind):
    samples = {'image': 'busybox', 'repo': 'busybox', 'name': 'other', 'endpoint': 'unix:///x',
               'domain': 'r.example.org', 'driver': 'docker'}
    return {attribute.name: samples.get(attribute.name, 'x')
            for attribute in wtypes.list_attributes(kind) if attribute.mandatory}
