# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a request is told, whatever it is, and changes nothing."""

import json
from unittest import mock

import fixtures as pyfixtures
from webob import acceptparse
import webtest
from webtest import lint
from wsme import types as wtypes

from container_service import exceptions
from container_service.api import creation
from container_service.api import types
from container_service.tests.unit.api import base

# Something wrong for most fields; each field says which of these it takes.
WRONG = {
    'zero': 0, 'number': 7, 'negative': -1, 'fraction': 1.5, 'huge': 10 ** 400, 'true': True,
    'list': ['x'], 'nested': [['x']], 'object': {'x': 'y'}, 'deep': {'x': {'y': 'z'}},
    'long': 'x' * 60000, 'nul': 'a\0b', 'newline': 'a\nb', 'escape': 'a\x1bb', 'c1': 'a\x9bb',
    'delete': 'a\x7fb', 'text': 'x y', 'digits': '123', 'nan': 'nan', 'unit': '12q',
    'script': '٣', 'numbers': [1, 2], 'nulls': [None], 'null value': {'x': None},
}
TAKES = {
    'image': {'digits', 'nan', 'unit'},
    'name': {'digits', 'nan', 'unit'},
    'command': {'text', 'digits', 'list', 'newline', 'escape', 'c1', 'delete', 'nan', 'unit',
                'script', 'long'},
    'entrypoint': {'text', 'digits', 'list', 'newline', 'escape', 'c1', 'delete', 'nan', 'unit',
                   'script', 'long'},
    'environment': {'object', 'null value'},
    'secret_environment': set(),           # no keys here
    'labels': {'object', 'null value'},
    'workdir': set(),
    'hostname': {'digits', 'nan', 'unit'},
    'user': {'digits', 'nan', 'unit'},
    'cpu': {'number', 'fraction', 'digits'},
    'memory': {'number', 'digits'},
    'restart_policy': set(),
    'tty': {'true', 'zero'},
    'interactive': {'true', 'zero'},
    'image_pull_policy': set(),
    'disk': {'zero', 'number', 'digits'},
    'auto_remove': {'true', 'zero'},
    'auto_heal': {'true', 'zero'},
    'read_only': {'true', 'zero'},
    'tmpfs': {'zero'},
    'stop_signal': {'number', 'nan'},
    'stop_timeout': {'zero', 'number', 'digits'},
    'healthcheck': {'zero'},
    'exposed_ports': {'zero'},
    'published_ports': {'zero'},
    'nets': {'zero'},
    'mounts': {'zero'},
    'runtime': {'zero', 'digits', 'nan', 'unit'},
    'privileged': {'zero'},
    # Taken, and then there is nothing of that name.
    'bay_uuid': set(),
    'registry': {'zero'},
    'availability_zone': {'zero'},
    'host': {'zero'},
    'hints': {'zero'},
}
WORDS = {'digits', 'nan', 'unit', 'text', 'script'}
NAMES = {'privileged': (403, 'forbidden', {'true'}),
         'bay_uuid': (404, 'bay_not_found', WORDS),
         'registry': (404, 'registry_not_found', WORDS),
         'availability_zone': (400, 'no_bay_fits', WORDS - {'script'}),
         'host': (400, 'no_bay_fits', WORDS),
         'hints': (400, 'no_bay_fits', {'object', 'null value'})}


# What WebTest says of the bodies that it makes.
SEEKABLE = 'webob.is_body_seekable'


def attributes(cls):
    return {attribute.name: attribute for attribute in wtypes.list_attributes(cls)}


class TestFields(base.ApiTestCase):

    def refused(self, path, body, name, kinds=('invalid_parameter',)):
        answer = self.post(path, body, version='1.41')
        error = base.error(answer)
        self.assertEqual(400, answer.status_int, (name, str(body)[:200], answer))
        self.assertIn(error['code'], kinds)
        # Or a part of it, as in nets[0].network.
        self.assertRegex(error['detail'], rf'^{name}(\[|\.|: )')

    def test_each_field_of_a_container_is_checked(self):
        self.make_bay()
        for name, attribute in attributes(creation.ContainerCreate).items():
            neutral = isinstance(attribute.datatype, types.Neutral)
            takes = {'zero'} if neutral else TAKES[name]
            for kind, value in WRONG.items():
                body = {'image': 'busybox', name: value}
                if name in NAMES and kind in NAMES[name][2]:
                    self.assert_refused(*NAMES[name][:2],
                                        self.post('/v1/containers', body, version='1.41'))
                elif kind in takes:
                    answer = self.post('/v1/containers', body, version='1.41')
                    self.assertEqual(202, answer.status_int, (name, kind, answer))
                else:
                    self.refused('/v1/containers', body, name)

    def test_each_field_of_a_bay_is_checked(self):
        good = {'name': 'bay', 'driver': 'fake', 'endpoint': 'fake://x'}
        takes = {'public': {'true', 'zero'}, 'labels': {'object', 'null value'},
                 'hosts': {'list'}, 'shared_with': {'list'}, 'name': {'digits', 'nan', 'unit'}}
        made = 0
        for name in attributes(types.BayCreate):
            for kind, value in WRONG.items():
                answer = self.post('/v1/bays', {**good, 'name': f'bay{made}', name: value})
                if kind in takes.get(name, ()):
                    self.assertEqual(201, answer.status_int, (name, kind, answer))
                    made += 1
                else:
                    self.assertEqual(400, answer.status_int, (name, kind, answer))

    def test_mandatory_fields(self):
        self.make_bay()
        for body in ({}, {'image': None}, {'name': 'c1'}):
            self.refused('/v1/containers', body, 'image')
        for name in ('name', 'endpoint'):
            good = {'name': 'bb', 'driver': 'fake', 'endpoint': 'fake://x'}
            self.refused('/v1/bays', {**good, name: None}, name)
            del good[name]
            self.refused('/v1/bays', good, name)
        self.refused('/v1/containers', b'', 'image')

    def test_null_is_not_set(self):
        self.make_bay()
        for name in attributes(creation.ContainerCreate):
            if name != 'image':
                answer = self.post('/v1/containers', {'image': 'i', name: None})
                self.assertEqual(202, answer.status_int, answer)

    def test_unknown_fields_are_named(self):
        for path in ('/v1/containers', '/v1/bays'):
            detail = self.assert_refused(400, 'unknown_parameter',
                                         self.post(path, {'imgae': 'i'}))
            self.assertIn('imgae', detail)
            self.assertIn('name', detail)
            for name in ('', '\0', '\ud7ff', 'x' * 5000, "'", '%s', '%(x)s', '__class__'):
                self.assert_refused(400, 'unknown_parameter', self.post(path, {name: 1}))

    def test_names(self):
        self.make_bay()
        for name in ('c', '', '-c', '.c', 'c/d', '../c', 'c d', 'c\n', 'cé', 'x' * 256, '%00',
                     '8a1ff1a6-8f25-4a5c-9d3c-8f9bd1b2a7c1',
                     '8A1FF1A6-8F25-4A5C-9D3C-8F9BD1B2A7C1'):
            self.refused('/v1/containers', {'image': 'i', 'name': name}, 'name')
        for name in ('c1', '1c', 'a_b.c-d', 'x' * 255):
            self.assertEqual(202, self.post('/v1/containers',
                                            {'image': 'i', 'name': name}).status_int)

    def test_images(self):
        self.make_bay()
        digest = '@sha256:' + 'a' * 64
        for image in ('', ':', 'a:', 'a b', 'A', '-a', 'a@sha256:x', 'a//b', '/a', 'a/', 'a:b:c',
                      'a\n', 'a;b', '$(a)', 'http://a/b', 'a' * 249, 'sha256:ab', '-' * 255,
                      'a-' * 120, 'a' + '__.' * 80, '../a', 'a:' + 't' * 129):
            self.refused('/v1/containers', {'image': image}, 'image')
        for image in ('a', 'a:b', 'a/b', 'r.example:5000/a/b:c', 'localhost/a', 'a' + digest,
                      'a:t' + digest, 'a__b', 'a--b', 'R.example/a', 'a' * 248):
            self.assertEqual(202, self.post('/v1/containers', {'image': image}).status_int)

    def test_sizes_and_amounts(self):
        self.make_bay()
        for name, good, bad in (
                ('memory', ('6', '64m', '1g', 64, '6291456b', '65536K', ' 64 '),
                 ('5', '0', '-1', '64.5', '1t', '64mb', 'm', '', 1.0, '5000g', '9' * 16)),
                ('cpu', ('0.5', 1, 0.01, '1024', ' 2 '),
                 ('0', 0.001, -1, '1025', '', 'x', 'inf', '-inf', 'nan', '1e400', True, [1])),
                ('restart_policy',
                 ({'Name': 'no'}, {'Name': 'on-failure', 'MaximumRetryCount': 3}, {},
                  {'Name': 'always', 'MaximumRetryCount': '0'}),
                 ({'Name': 'sometimes'}, {'Name': 'always', 'MaximumRetryCount': 1},
                  {'name': 'no'}, {'Name': 'on-failure', 'MaximumRetryCount': -1},
                  {'Name': 'on-failure', 'MaximumRetryCount': 1.5}, {'Name': ['no']},
                  {'Name': {}, 'MaximumRetryCount': []}, {'Name': 'no', 'MaximumRetryCount': 'x'},
                  'perhaps', [])),
                ('labels', ({'a': 'b'}, {'é': ''}, {'a': 1.5}),
                 ({'': 'a'}, {'cs.x': 'a'}, {'a ': 'b'}, {' a': 'b'}, {' ': 'b'}, {'a\n': 'b'},
                  {'a': 'b\n'}, {'a': 'b\x1b'},
                  {'a' * 256: ''}, {'a': 'b' * 256}, {'a': []}, {'a': {}},
                  {f'k{i}': '' for i in range(257)})),
                ('environment', ({'A': 'b\nc\tü'}, {'a.b': ''}, {'A': True}),
                 ({'': 'a'}, {'A=B': 'c'}, {'A B': 'c'}, {'A\0': 'c'}, {'A': 'b\0'},
                  {'A': 'b' * 32769}, {'A\n': 'b'})),
                ('command', ([], '', ['sh', '-c', 'echo "\n"'], 'a "b c"'),
                 ('"', ['a', 1], [None], [['a']], 'a\0', ['a\0'], {'a': 'b'})),
                ('workdir', ('/', '/a b'), ('a', '', '/\n', '/' * 256)),
                ('hostname', ('h', 'h-1', 'h.example.org'), ('-h', 'h_1', 'h' * 65, 'h.', 'h\n')),
                ('user', ('0', '1000:1000', 'nobody'), ('a b', ':1', '1:', 'a:b:c', '')),
                ('tty', (True, 'true', 'False', 'ON', 1, '0'), ('', 'maybe', 2, 1.5, [True], {})),
                ('disk', (1, '10', 0, '', 65536), (-1, 65537, 1.5, 'x', True, '1g', [1])),
                ('auto_remove', (True, 'false'), ('x', 2)),
                ('stop_signal', ('SIGINT', 'int', 9, '9', 'SIGRTMIN+1'),
                 (0, 65, 'SIG', 'a b', True, [], 'X' * 21)),
                ('stop_timeout', (0, '3600'), (-1, 3601, '', 1.5, True)),
                ('tmpfs', ({}, {'/run': ''}, {'/run': '16m', '/a/b': 1}, {'/x': None, '/y': '4K'}),
                 ({'run': 1}, {'/': ''}, {'/proc/x': ''}, {'/dev': ''}, {'/a/../b': ''},
                  {'//a': ''}, {'/a/': ''}, {'/a': '1t'}, {'/a': True}, {'/a': '1k'},
                  {'/a': 1.5}, ['/run'], '/run', {f'/{i}': '' for i in range(17)})),
                ('healthcheck',
                 ({}, {'cmd': 'curl -f http://localhost || exit 1', 'interval': '5',
                       'retries': 3, 'timeout': None}, {'cmd': 'a\nb'}),
                 ({'interval': 5}, {'cmd': ['a']}, {'cmd': 'a\0'}, {'cmd': 'a', 'interval': -1},
                  {'cmd': 'a', 'interval': 1.5}, {'cmd': 'a', 'x': 1}, 'true', ['true'],
                  {'cmd': 'a', 'retries': 1001}, {'cmd': 'a' * 4097})),
                ('exposed_ports', ({'80/tcp': {}, '53/udp': None}, {'80': {}}, {}, []),
                 ({'80/xyz': {}}, {'0': {}}, {'65536/tcp': {}}, {'a': {}}, {'80/tcp': {'a': 1}},
                  {'80/tcp': 'x'}, ['80'], '80', {f'{i}': {} for i in range(1, 66)})),
                ('published_ports',
                 ([{'container_port': 80, 'host_port': 8080}], [],
                  [{'container_port': '53', 'host_port': 5353, 'protocol': 'udp'},
                   {'container_port': '53', 'host_port': 5353, 'protocol': 'tcp'}]),
                 ([{'container_port': 80}], [{'host_port': 8080}], {'80/tcp': 8080}, ['80'],
                  [{'container_port': 80, 'host_port': 80}],
                  [{'container_port': 80, 'host_port': 8080, 'protocol': 'icmp'}],
                  [{'container_port': 80, 'host_port': 8080, 'host_ip': '0.0.0.0'}],
                  [{'container_port': 80, 'host_port': 8080},
                   {'container_port': 81, 'host_port': 8080}])),
                ('nets',
                 ([], None, [{'network': 'mine'}], [{'network': 'mine', 'port': ''}],
                  [{'network': 'a', 'v4-fixed-ip': '10.0.0.9', 'v6-fixed-ip': 'fd00::9'},
                   {'network': 'b' * 64, 'v4-fixed-ip': ''}]),
                 ([{}], ['mine'], {'network': 'mine'}, 'mine', [{'network': ''}],
                  [{'network': 'host'}, {'network': 'a'}], [{'network': 'none'}],
                  [{'network': 'default'}],
                  [{'network': 'container:x'}], [{'network': 'a/b'}], [{'network': 1}],
                  [{'port': 'x'}], [{'network': 'a', 'port': 'x'}], [{'network': 'a', 'x': 1}],
                  [{'network': 'a', 'v4-fixed-ip': '10.0.0'}],
                  [{'network': 'a', 'v4-fixed-ip': 'fd00::9'}],
                  [{'network': 'a', 'v6-fixed-ip': '10.0.0.9'}],
                  [{'network': 'a', 'v4-fixed-ip': '127.0.0.1'}],
                  [{'network': 'a'}, {'network': 'a'}],
                  [{'network': f'n{i}'} for i in range(9)])),
                ('mounts',
                 ([], [{'type': 'bind', 'source': 'eA==', 'destination': '/a', 'size': ''}],
                  [{'type': 'bind', 'source': 'eA==\n', 'destination': '/a/b'},
                   {'type': 'bind', 'source': '', 'destination': '/a/c'}]),
                 ([{'source': 'eA==', 'destination': '/a'}], ['/a:/b'], '/a',
                  [{'type': 'volume', 'source': 'v', 'destination': '/a'}],
                  [{'type': 'bind', 'source': '/etc/../x', 'destination': '/a'}],
                  [{'type': 'bind', 'source': 'eA=', 'destination': '/a'}],
                  [{'type': 'bind', 'source': 7, 'destination': '/a'}],
                  [{'type': 'bind', 'source': 'eA=='}],
                  *([{'type': 'bind', 'source': 'eA==', 'destination': path}]
                    for path in ('a', '/', '/a/', '/a/../b', '/./a', '//a', '/proc/1', '/sys',
                                 '/dev/x', '/a\nb', '/' + 'x' * 255, '', 7)),
                  [{'type': 'bind', 'source': 'eA==', 'destination': '/a', 'size': '1'}],
                  [{'type': 'bind', 'source': 'eA==', 'destination': '/a'},
                   {'type': 'bind', 'source': 'eA==', 'destination': '/a/b'}],
                  [{'type': 'bind', 'source': 'eA==', 'destination': f'/{i}'}
                   for i in range(33)],
                  [{'type': 'bind', 'source': 'eHh4' * 90000, 'destination': f'/{i}'}
                   for i in range(2)])),
                ('privileged', (False, 'false', None), ('perhaps', [1])),
                ('cpu_policy', ('shared', None, ''), ('dedicated', 1)),
                ('runtime', ('', None, 'kata'), ('a/b', ['x'])),
                ('image_driver', ('docker', 'None'), ('glance', 1)),
                ('security_groups', (['default'], []), (['other'], 'x')),
                ('image_pull_policy', ('never', 'Always', 'IfNotPresent'), ('sometimes', 1, [])),
        ):
            for value in good:
                answer = self.post('/v1/containers', {'image': 'i', name: value}, version='1.41')
                self.assertEqual(202, answer.status_int, (name, value, answer))
            for value in bad:
                self.refused('/v1/containers', {'image': 'i', name: value}, name)


class TestBodies(base.ApiTestCase):
    """Each is tried at every address that takes a body."""

    PATHS = ('/v1/containers', '/v1/bays', '/v1/containers/c1/start',
             '/v1/containers/c1/execute')

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.uuid = self.make('c1', 'Running')

    def each(self, body, **values):
        for path in self.PATHS:
            yield self.post(path, body, version='1.41', **values)

    def tearDown(self):
        self.assertEqual(1, len(self.actions_of(self.uuid)))
        super().tearDown()

    def test_malformed(self):
        deep = 10000
        for body in (b'{', b'}', b'[]', b'null', b'"x"', b'7', b'1.5', b'true', b'nul', b'{"a":}',
                     b"{'a': 1}", b'{"a": NaN}', b'{"a": Infinity}', b'{"a": -Infinity}',
                     b'{"a": 1e999}', b'{"a": ' + b'9' * 5000 + b'}', b'{"a": 1}{', b'\xff',
                     b'{"a": "\xff"}', b'\xfe\xff{}', b'{"image": "\xed\xa0\x80"}',
                     '{"a": "b"}'.encode('utf-16'), '\ufeff{}'.encode(), b'\0', b'{"a": "\n"}',
                     b'{"image": "\\ud800"}', b'{"\\udfff": 1}', b'a=b&c=d',
                     b'[' * deep, b'{"a":' * deep, b'[' * deep + b']' * deep,
                     b'{"image":' + b'[' * 950 + b']' * 950 + b'}',
                     b'{"image":' + b'[' * 17 + b']' * 17 + b'}'):
            for answer in self.each(body):
                self.assert_refused(400, 'invalid_body', answer)

    def test_what_it_is_is_told(self):
        for body, word in ((b'[]', 'a list'), (b'null', 'null'), (b'"x"', 'a text'),
                           (b'7', 'a number'), (b'{', 'column 2'), (b'\xff', 'UTF-8'),
                           (b'[' * 9999, 'nested'), (b'[' * 60000, 'members'),
                           (b'[' + b'0,' * 10000 + b'0]', 'members'),
                           (b'{"a": "' + b',' * 20000 + b'", "b"}', 'column')):
            for answer in self.each(body):
                self.assertIn(word, self.assert_refused(400, 'invalid_body', answer))

    def test_surrogate_pairs_are_text(self):
        answer = self.post('/v1/containers', rb'{"image": "i", "labels": {"k": "\ud83d\ude00"}}')
        self.assertEqual((202, {'k': '😀'}), (answer.status_int, answer.json['labels']))

    def test_media_types(self):
        for kind in ('text/plain', 'application/x-www-form-urlencoded', 'multipart/form-data',
                     'multipart/form-data; boundary=', 'application/octet-stream', 'x', ';', '',
                     'application/xml', 'application/jsonx', 'text/json', 'é'):
            for answer in self.each(b'{"image": "i"}', headers={'Content-Type': kind}):
                self.assert_refused(415, 'unsupported_media_type', answer)
        for kind in ('application/json', 'application/json; charset=UTF-8', 'Application/JSON',
                     'application/vnd.x+json', 'application/json;'):
            answer = self.post('/v1/containers', {'image': 'i'}, headers={'Content-Type': kind})
            self.assertEqual(202, answer.status_int)

    def test_without_a_body_the_media_type_does_not_matter(self):
        for kind in ('application/json', 'application/octet-stream', 'multipart/form-data',
                     'application/x-www-form-urlencoded', 'x'):
            for method, path, status in (('GET', '/v1/containers', 200),
                                         ('PUT', '/v1/containers/c1/unpause', 409),
                                         ('DELETE', '/v1/containers/c1', 409)):
                self.assertEqual(status, self.call(
                    method, path, headers={'Content-Type': kind}).status_int)

    def test_a_body_where_none_is_read_is_not_read(self):
        for method, path in (('GET', '/v1/containers'), ('GET', '/v1/actions'),
                             ('GET', '/v1/containers/c1')):
            answer = self.call(method, path, b'\xff{', headers={'Content-Type': 'x/y'})
            self.assertEqual(200, answer.status_int)

    def test_over_the_limit(self):
        limit = self.conf.api.max_body_bytes
        for answer in self.each(b'{"image": "' + b'i' * limit + b'"}'):
            self.assert_refused(413, 'body_too_large', answer)

    def test_over_the_limit_though_nothing_was_announced(self):
        limit = self.conf.api.max_body_bytes
        for size, status in ((limit, 400), (limit + 1, 413)):
            stream = Stream(b' ' * size)
            answer = self.post('/v1/bays', b'', environ={
                'wsgi.input': stream, 'wsgi.input_terminated': True,
                'HTTP_TRANSFER_ENCODING': 'chunked'}, drop=['CONTENT_LENGTH', SEEKABLE])
            self.assertEqual(status, answer.status_int)

    def test_a_stream_without_end_is_not_read_to_its_end(self):
        stream = Stream(None)
        environ = {'wsgi.input': stream, 'wsgi.input_terminated': True}
        answer = self.post('/v1/containers', b'', environ=environ,
                           drop=['CONTENT_LENGTH', SEEKABLE])
        self.assert_refused(413, 'body_too_large', answer)
        self.assertLess(stream.read_bytes, 2 * self.conf.api.max_body_bytes)

    def test_what_was_announced_did_not_come(self):
        for environ in ({'CONTENT_LENGTH': '99'}, {'wsgi.input': Stream(OSError('gone'))}):
            answer = self.post('/v1/containers/c1/unpause', b'{}',
                               environ={'CONTENT_LENGTH': '2', **environ}, drop=[SEEKABLE])
            self.assert_refused(400, 'invalid_body', answer)

    def test_lengths_that_are_none(self):
        self.api = webtest.TestApp(self.app, lint=False)
        for length in ('x', '-1', '1.5', '+2', '²', '1_0', '9' * 5000, ' 2'):
            answer = self.post('/v1/containers', b'{}', environ={'CONTENT_LENGTH': length})
            self.assertIn(answer.status_int, (400, 413))
        self.assert_refused(400, 'invalid_body', self.post(
            '/v1/containers', b'', environ={'HTTP_TRANSFER_ENCODING': 'chunked'},
            drop=['CONTENT_LENGTH']))


class Stream:
    """A body of so many bytes, without end for None, or that fails."""

    def __init__(self, content):
        self._content, self.read_bytes = content, 0

    def read(self, size=-1):
        if isinstance(self._content, Exception):
            raise self._content
        piece = (b' ' * size if self._content is None
                 else self._content[self.read_bytes:self.read_bytes + size])
        self.read_bytes += len(piece)
        return piece

    def readline(self, *args):
        raise AssertionError('not in use')

    readlines = __iter__ = readline


class TestAddresses(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        # Of the client, about methods that it does not know.
        self.useFixture(pyfixtures.WarningsFilter(
            [{'action': 'ignore', 'category': lint.WSGIWarning}]))

    def test_paths_that_are_no_text(self):
        for path in ('/%ff', '/v1/%ff', '/v1/containers/%ff', '/v1/containers/%c3%28/start',
                     '/v1/containers/%00', '/v1/containers/a%0d%0ab', '/v1/actions/%1b%5b0m',
                     '/v1/bays/%ed%a0%80', '/%c2%9b'):
            for method in ('GET', 'POST', 'DELETE'):
                self.assert_refused(400, 'invalid_request', self.call(method, path))

    def test_queries_that_are_no_text(self):
        for query in ('%ff', 'name=%ff', '%ff=1', 'name=%c3%28', 'name=%ed%a0%80'):
            for path in ('/v1/containers', '/v1/actions', '/v1/bays', '/', '/v1/containers/c1'):
                self.assert_refused(400, 'invalid_request', self.get(f'{path}?{query}'))
        self.assert_refused(400, 'invalid_request', self.get(
            '/v1/containers', environ={'QUERY_STRING': 'name=\xff'}))

    def test_queries_that_are_odd(self):
        self.make_bay()
        for query, status in (('', 200), ('&', 200), ('&&&', 200), ('=', 400), ('name', 200),
                              ('name=', 200), ('%', 400), ('%zz', 400), ('name=%', 200),
                              ('a;b', 400), ('name=%F0%9F%98%80', 200),
                              ('&'.join(f'x{i}' for i in range(200)), 400),
                              ('&'.join(f'x{i}' for i in range(201)), 414),
                              ('name=' + 'x' * 16000, 200),
                              ('name=' + 'x' * 16384, 414)):
            self.assertEqual(status, self.get(f'/v1/containers?{query}').status_int, query[:99])

    def test_unknown_addresses(self):
        for path in ('/v2', '/v2/containers', '/v1/capsules', '/v1/v1/containers', '/favicon.ico',
                     '/v1/containers.json', '/.', '/..', '/v1/../v1', '/v1/containers/c/attach',
                     '/v1/containers/c/start/x', '/v1/containers/c/logs/x', '/v1/bays/b/x',
                     '/v1/actions/a/wait/x', '/' + 'x' * 4000, '/v1/%2e%2e/etc/passwd',
                     '/v1/containers/c/create', '/v1/containers/c/run', '/%F0%9F%98%80'):
            for method in ('GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'X'):
                answer = self.call(method, path)
                self.assertEqual(404, answer.status_int, (method, path[:99]))

    def test_more_than_anybody_needs_before_the_body(self):
        # Wherever it is served: not every server has these limits.
        self.assert_refused(414, 'address_too_long', self.get('/v1/' + 'x' * 4096))
        self.assert_refused(414, 'address_too_long', self.get('/v1/bays?' + 'x=1&' * 200))
        for headers in ({f'X-{n}': 'x' for n in range(101)}, {'X-Auth-Token': 'x' * 65536}):
            self.assert_refused(431, 'headers_too_large', self.get('/', headers=headers))

    def test_an_accept_that_is_too_long_is_not_parsed(self):
        """With 60 KB that took longer than all else of a request, for anybody."""
        long = 'application/json, ' + 'a/b;q=0.1, ' * 100
        with mock.patch('webob.acceptparse.create_accept_header',
                        side_effect=acceptparse.create_accept_header) as parsed:
            self.assert_refused(431, 'headers_too_large',
                                self.get('/', headers={'Accept': long}))
            for path in ('/healthcheck', '/readiness'):
                self.api.get(path, headers={'Accept': long}, expect_errors=True)
            self.assertNotIn(long[:99], str(parsed.call_args_list))
        self.assertEqual(200, self.get('/', headers={'Accept': long[:1024]}).status_int)

    def test_a_scheme_that_is_none_gets_into_no_link(self):
        self.conf.set_override('enable_proxy_headers_parsing', True, group='oslo_middleware')
        self.build()
        for name, value in (('X-Forwarded-Proto', 'x y'), ('X-Forwarded-Proto', 'https, http'),
                            ('X-Forwarded-Proto', 'javascript'), ('Forwarded', 'proto=x y')):
            self.assertEqual(400, self.get('/v1', headers={name: value}).status_int, value)
        for told in ('http', 'https'):
            answer = self.get('/v1', headers={'X-Forwarded-Proto': told})
            self.assertIn(f'"{told}://localhost', answer.text)

    def test_methods(self):
        for path, allowed in (
                ('/', 'GET, HEAD'), ('/v1', 'GET, HEAD'), ('/v1/containers', 'GET, HEAD, POST'),
                ('/v1/containers/', 'GET, HEAD, POST'),
                ('/v1/containers/c1', 'GET, HEAD, PATCH, DELETE'),
                ('/v1/containers/c1/start', 'POST, PUT'), ('/v1/containers/c1/logs', 'GET, HEAD'),
                ('/v1/containers/c1/execute', 'POST, PUT'),
                ('/v1/containers/c1/container_actions', 'GET, HEAD'),
                ('/v1/containers/c1/container_actions/req-1', 'GET, HEAD'),
                ('/v1/actions', 'GET, HEAD'), ('/v1/actions/a', 'GET, HEAD'),
                ('/v1/bays', 'GET, HEAD, POST'), ('/v1/bays/b', 'GET, HEAD, PATCH, DELETE')):
            for method in ('GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'TRACE',
                           'PROPFIND', 'get', '_ROUTE', 'CHILD', 'PARTS'):
                if method in allowed.split(', '):
                    continue
                answer = self.call(method, path, b'{' if method == 'POST' else None)
                self.assert_refused(405, 'method_not_allowed', answer)
                self.assertEqual(allowed, answer.headers['Allow'])

    def test_head_is_get_without_the_body(self):
        self.make_bay()
        self.make('c1')
        for path in ('/', '/v1', '/v1/containers', '/v1/containers/c1', '/v1/actions',
                     '/v1/bays/bay', '/v1/containers/c2', '/v1/containers?x=y', '/v3'):
            got, head = self.get(path), self.call('HEAD', path)
            self.assertEqual(
                (got.status_int, got.content_type, got.headers['Content-Length'], b''),
                (head.status_int, head.content_type, head.headers['Content-Length'], head.body))


class TestAccept(base.ApiTestCase):

    def test_what_is_no_json_is_not_acceptable(self):
        for accept in ('text/html', 'application/xml', 'application/json;q=0', 'text/*'):
            for method, path in (('GET', '/'), ('GET', '/v1/containers'),
                                 ('POST', '/v1/containers'), ('GET', '/nothing')):
                self.assert_refused(406, 'not_acceptable', self.call(
                    method, path, headers={'Accept': accept}))

    def test_what_may_be_json_is_json(self):
        for accept in ('*/*', 'application/json', 'application/*', '', 'text/html, */*;q=0.1',
                       'rubbish', ',', 'application/json; charset=utf-8',
                       'application/problem+json'):
            answer = self.get('/v1/containers', headers={'Accept': accept})
            self.assertEqual((200, 'application/json'),
                             (answer.status_int, answer.content_type), accept)

    def test_problems(self):
        for accept, problem in (
                ('application/problem+json', True), ('*/*', False), ('application/json', False),
                ('application/problem+json, application/json', True),
                ('application/json, application/problem+json', True),
                ('application/json, application/problem+json;q=0.5', False),
                ('application/json;q=0.5, application/problem+json', True),
                ('application/json, application/problem+json;q=0', False),
                ('application/problem+json, */*;q=0.1', True)):
            answer = self.get('/v1/containers/c1', headers={'Accept': accept})
            self.assertEqual(404, answer.status_int)
            self.assertEqual('application/problem+json' if problem else 'application/json',
                             answer.content_type, accept)

    def test_members_of_a_problem(self):
        answer = self.get('/v1/containers/c1', headers={'Accept': 'application/problem+json'})
        problem = answer.json
        self.assertEqual({
            'type': 'urn:container-service:error:container_not_found',
            'title': 'Container not found', 'status': 404, 'code': 'container_not_found',
            'detail': 'There is no container c1.',
            'request_id': answer.headers['X-Openstack-Request-Id']}, problem)

    def test_a_version_that_there_is_not_is_a_problem_too(self):
        answer = self.get('/v1/containers', version='9.9',
                          headers={'Accept': 'application/problem+json'})
        self.assertEqual(('1.1', '1.42'),
                         (answer.json['min_version'], answer.json['max_version']))


class TestForeignFailures(base.ApiTestCase):
    """What middleware and libraries answer, or raise, has our shape too."""

    def behave(self, status, headers=(), raised=None):
        def strategy(app, conf, enforcer):
            def foreign(environ, start_response):
                if raised:
                    raise raised
                start_response(status, [('Content-Type', 'text/plain'), *headers])
                return [b'plain text']
            return foreign

        self.strategy = strategy
        self.build()

    def test_answers(self):
        for status, code in (('401 Unauthorized', 'unauthorized'), ('403 Forbidden', 'forbidden'),
                             ('404 Not Found', 'not_found'), ('418 Teapot', 'invalid_request'),
                             ('429 Too Many', 'invalid_request'), ('500 Oops', 'internal_error'),
                             ('503 Later', 'unavailable'), ('599 Odd', 'internal_error')):
            self.behave(status)
            answer = self.get('/v1/containers')
            self.assert_refused(int(status[:3]), code, answer)
            self.assertNotIn('plain text', answer.text)

    def test_headers_that_matter_are_kept(self):
        self.behave('401 Unauthorized', [('WWW-Authenticate', 'Keystone uri="x"'),
                                         ('X-Other', 'y')])
        answer = self.get('/v1/containers')
        self.assertEqual('Keystone uri="x"', answer.headers['WWW-Authenticate'])
        self.assertNotIn('X-Other', answer.headers)

    def test_a_bug_tells_nothing_and_is_logged(self):
        self.behave(None, raised=RuntimeError('secret'))
        answer = self.get('/v1/containers/a%0Ab')
        self.assertNotIn('secret', self.assert_refused(500, 'internal_error', answer))
        self.assertIn('secret', self.log.output)
        # Nobody writes lines of the log from outside.
        self.assertIn(r'/v1/containers/a\nb', self.log.output)

    def test_clients_of_the_field(self):
        self.behave(None, raised=exceptions.Unavailable('Words.'))
        for version, title, again in (
                ('1.1', 'Words.', False), ('1.40', 'Words.', False),
                ('1.41', exceptions.Unavailable.title, True),
                (None, exceptions.Unavailable.title, True)):
            answer = self.get('/v1/containers', version=version)
            self.assertEqual((title, 'Words.', again), (
                base.error(answer)['title'], base.error(answer)['detail'],
                'Retry-After' in answer.headers), version)

    def test_every_error_there_is_can_be_told(self):
        for kind in exceptions._by_code().values():
            self.behave(None, raised=kind('Words.'))
            answer = self.get('/v1/containers')
            self.assert_refused(kind.status, kind.code, answer)


class TestErrorShape(base.ApiTestCase):

    def test_it_is_as_documented(self):
        answer = self.get('/v1/containers/c1')
        self.assertEqual({'errors': [{
            'status': 404, 'code': 'container_not_found', 'title': 'Container not found',
            'detail': 'There is no container c1.', 'links': [],
            'request_id': answer.headers['X-Openstack-Request-Id']}]}, answer.json)

    def test_text_of_the_caller_is_quoted_safely(self):
        answer = self.get('/v1/containers/%3Cscript%3E%22%0A'.replace('%0A', ''))
        self.assertEqual('There is no container <script>".', base.error(answer)['detail'])
        self.assertEqual(answer.json, json.loads(answer.body))
