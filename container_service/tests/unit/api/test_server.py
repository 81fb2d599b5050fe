# SPDX-License-Identifier: Apache-2.0
"""The HTTP server itself, over real connections."""

import contextlib
import json
import resource
import socket
import time

from container_service import exceptions
from container_service.api import connections
from container_service.api import server
from container_service.api import versions
from container_service.tests import base
from container_service.tests.unit.api import base as api

CREATE = b'{"image": "i", "name": "c1"}'


class Connection:
    """A socket, and the answers that come over it."""

    def __init__(self, port, receive=None):
        self._socket = socket.socket()
        if receive:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        self._socket.settimeout(30)
        self._socket.connect(('127.0.0.1', port))
        self._file = self._socket.makefile('rb')

    def send(self, data):
        self._socket.sendall(data)
        return self

    def answer(self):
        """The next one as (status, headers, body); None when the connection is closed."""
        line = self._file.readline()
        if not line:
            return None
        headers = {}
        while (header := self._file.readline().strip()):
            name, _, value = header.decode('latin-1').partition(': ')
            headers[name.lower()] = value
        body = self._file.read(int(headers.get('content-length', 0)))
        return int(line.split()[1]), headers, body

    def close(self):
        self._file.close()
        self._socket.close()


class TestServer(api.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        for name, value in (('host', '127.0.0.1'), ('port', 0), ('threads', 4)):
            self.conf.set_override(name, value, group='api')
        self.server = server.Server(self.conf, self.app)
        self.server.start()
        self.addCleanup(self.server.stop)

    def connect(self, **values):
        return contextlib.closing(Connection(self.server.port, **values))

    def request(self, data):
        """The answer to one request; the connection is closed."""
        with self.connect() as connection:
            return connection.send(data).answer()

    def post(self, body=CREATE, *headers, path='/v1/containers'):
        return self.request(self.head(path, *headers) + body)

    def head(self, path, *headers):
        lines = [f'POST {path} HTTP/1.1', 'Host: localhost', 'Content-Type: application/json',
                 *headers]
        return '\r\n'.join([*lines, '', '']).encode('latin-1')

    def names(self):
        return [row['name'] for row in self.get('/v1/containers').json['containers']]

    def assert_error_answer(self, answer, status, code):
        self.assertEqual(status, answer[0], answer)
        [error] = json.loads(answer[2])['errors']
        self.assertEqual((status, code), (error['status'], error['code']))
        self.assertEqual(answer[1]['x-openstack-request-id'], error['request_id'])
        self.assertNotEqual('', error['detail'])
        self.assertEqual(f'container {versions.text(versions.MAXIMUM)}',
                         answer[1]['openstack-api-maximum-version'])

    def test_a_request(self):
        status, headers, _ = self.post(CREATE, f'Content-Length: {len(CREATE)}')
        self.assertEqual((202, 'container 1.1'), (status, headers['openstack-api-version']))
        self.assertEqual(['c1'], self.names())

    def test_a_connection_is_kept(self):
        with self.connect() as connection:
            for _ in range(3):
                connection.send(b'GET /v1/containers HTTP/1.1\r\nHost: localhost\r\n\r\n')
                self.assertEqual(200, connection.answer()[0])

    def test_chunks(self):
        chunks = b'A\r\n' + CREATE[:10] + b'\r\n12;x=y\r\n' + CREATE[10:] + b'\r\n0\r\n\r\n'
        self.assertEqual(202, self.post(chunks, 'Transfer-Encoding: chunked')[0])
        self.assertEqual(['c1'], self.names())

    def test_chunks_over_the_limit(self):
        limit = self.conf.api.max_body_bytes
        for size in (1024, 65536):
            chunk = b'%x\r\n' % size + b' ' * size + b'\r\n'
            answer = self.post(chunk * (limit // size + 1) + b'0\r\n\r\n',
                               'Transfer-Encoding: chunked')
            self.assert_error_answer(answer, 413, 'body_too_large')

    def test_a_huge_chunk_is_not_waited_for(self):
        answer = self.post(b'40000000\r\n  ', 'Transfer-Encoding: chunked')
        self.assert_error_answer(answer, 413, 'body_too_large')

    def test_what_goes_around_chunks_is_counted_too(self):
        self.patch(connections, 'KEPT', 2 ** 40)
        limit = self.conf.api.max_body_bytes
        chunk = b'1;' + b'x' * 200 + b'\r\n \r\n'
        answer = self.post(chunk * (3 * limit // len(chunk)), 'Transfer-Encoding: chunked')
        self.assert_error_answer(answer, 413, 'body_too_large')

    def test_chunks_that_are_none(self):
        for chunks in (b'x\r\n', b'-5\r\nabc\r\n0\r\n\r\n', b'2\r\n{}x\r\n0\r\n\r\n', b'\r\n\r\n'):
            answer = self.post(chunks, 'Transfer-Encoding: chunked')
            self.assertEqual(400, answer[0], (chunks, answer))
        self.assertEqual([], self.names())

    def test_announced_over_the_limit(self):
        limit = self.conf.api.max_body_bytes
        for length in (limit + 1, 2 * limit + 1, 10 ** 12):
            answer = self.post(b'', f'Content-Length: {length}')
            self.assert_error_answer(answer, 413, 'body_too_large')

    def test_who_sends_all_the_same_hears_the_answer(self):
        limit = self.conf.api.max_body_bytes
        for path in ('/v1/containers', '/nothing'):
            for length in (limit + 1, 2 * limit - 1, 30 * limit):
                answer = self.post(b' ' * length, f'Content-Length: {length}', path=path)
                self.assert_error_answer(answer, 413, 'body_too_large')
            chunk = b'100000\r\n' + b' ' * 2 ** 20 + b'\r\n'
            answer = self.post(30 * chunk, 'Transfer-Encoding: chunked', path=path)
            self.assert_error_answer(answer, 413, 'body_too_large')

    def test_a_huge_body_does_not_fill_the_memory(self):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        with self.connect() as connection:
            try:
                connection.send(self.head('/v1/containers', 'Content-Length: 300000000'))
                for _ in range(300):
                    connection.send(b' ' * 1000000)
            except OSError:
                pass
        # A refusal before the body is looked at.
        with self.connect() as connection:
            try:
                connection.send(b'POST /v1/containers HTTP/1.1\r\nHost: example.org\r\n'
                                b'Transfer-Encoding: chunked\r\n\r\n')
                for _ in range(300):
                    connection.send(b'F4240\r\n' + b' ' * 1000000 + b'\r\n')
            except OSError:
                pass
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        self.assertLess(after - before, 50000)        # KiB

    def test_what_is_left_of_a_body_is_no_request(self):
        # Behind a proxy that shares connections it would be taken for another user's.
        smuggled = b'GET /v1/bays HTTP/1.1\r\nHost: localhost\r\n\r\n'
        for head, rest in (
                (self.head('/nothing', 'Transfer-Encoding: chunked'), b'0\r\n' + smuggled),
                (self.head('/v1/containers', 'Transfer-Encoding: chunked', 'Accept: text/html'),
                 smuggled),
                (self.head('/v1/containers', 'Transfer-Encoding: chunked',
                           'Content-Length: 4'), b'0\r\n\r\n' + smuggled),
                (self.head('/nothing', 'Content-Length: 90000000'), smuggled)):
            with self.connect() as connection:
                connection.send(head + rest)
                connection._socket.shutdown(socket.SHUT_WR)
                answers = []
                with contextlib.suppress(ConnectionError):
                    while (answer := connection.answer()) is not None:
                        answers.append(answer)
            self.assertEqual(1, len(answers), answers)

    def test_a_body_that_ends_in_two_places_is_refused(self):
        # Whoever is in front may have believed the other one of them.
        chunks = b'1b\r\n' + CREATE + b'\r\n0\r\n\r\n'
        for headers in (('Content-Length: 27', 'Content-Length: 27'),
                        ('Content-Length: 27', 'content-length: 5'),
                        ('Transfer-Encoding: chunked', 'Content-Length: 4'),
                        ('Transfer-Encoding: chunked', 'Transfer-Encoding: chunked'),
                        ('Transfer-Encoding: chunked', 'Transfer-Encoding: identity')):
            body = chunks if 'chunked' in headers[0] else CREATE
            self.assert_error_answer(self.post(body, *headers), 400, 'invalid_request')
        old = self.head('/v1/containers', 'Transfer-Encoding: chunked').replace(b'/1.1', b'/1.0')
        self.assert_error_answer(self.request(old + chunks), 400, 'invalid_request')
        self.assertEqual([], self.names())

    def test_headers_that_others_may_read_otherwise_are_refused(self):
        good = ['GET /v1/containers HTTP/1.1', 'Host: localhost']
        for lines in (['X: a', ' b'], ['X: a', '\tb'], ['Content-Length:', ' 5'],
                      ['Transfer-Encoding:', ' chunked'], ['X-Auth-Token : a'],
                      ['Content-Length : 0'], ['Content-Length\t: 0'], ['Host: localhost'],
                      ['host:localhost'], ['HOST: evil.example']):
            answer = self.request('\r\n'.join([*good, *lines, '', '']).encode())
            self.assert_error_answer(answer, 400, 'invalid_request')
        folded = good[0] + '\r\n Host: localhost\r\n\r\n'
        self.assert_error_answer(self.request(folded.encode()), 400, 'invalid_request')
        for line in ('X: a : b', 'X:a', 'X:', 'X:\t a \t', 'Content-Length: \t 0 \t'):
            answer = self.request('\r\n'.join([*good, line, '', '']).encode())
            self.assertEqual(200, answer[0], line)

    def test_spaces_within_a_header_cost_nothing(self):
        """One such request has held up everybody for 19 seconds."""
        for name in ('Content-Length', 'Transfer-Encoding', 'Expect', 'Host', 'X'):
            for value in ('a' + ' ' * 60000 + 'b', ' ' * 60000 + 'b', ' ' * 60000 + '\rb'):
                self.request(f'GET / HTTP/1.1\r\n{name}: {value}\r\n\r\n'.encode())

    def test_who_waits_to_be_told_to_continue_is_told_so(self):
        head = self.head('/v1/containers', f'Content-Length: {len(CREATE)}',
                         'Expect: 100-continue')
        with self.connect() as connection:
            connection.send(head)
            self.assertEqual(100, connection.answer()[0])
            connection.send(CREATE)
            self.assertEqual(202, connection.answer()[0])
        answer = self.post(b'', 'Content-Length: 99999999', 'Expect: 100-continue')
        self.assert_error_answer(answer, 413, 'body_too_large')

    def test_requests_sent_one_behind_the_other(self):
        one = b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n'
        post = self.head('/v1/containers', f'Content-Length: {len(CREATE)}') + CREATE
        with self.connect() as connection:
            connection.send(one + post + one + one[:10])
            self.assertEqual([200, 202, 200], [connection.answer()[0] for _ in range(3)])
            connection.send(one[10:])
            self.assertEqual(200, connection.answer()[0])

    def test_beyond_the_most_connections_the_slowest_is_closed(self):
        self.server._server.max_connections = 16
        with contextlib.ExitStack() as stack:
            slow = []
            for _ in range(20):
                slow.append(stack.enter_context(self.connect()).send(b'GET /'))
                self.assertEqual(
                    200, self.request(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')[0])
            self.assertIsNone(slow[0].answer())

    def test_an_answer_that_is_not_taken_at_once_comes_whole(self):
        asked = b'GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'
        whole = self.get('/v1/openapi.json').json['paths']
        with self.connect(receive=4096) as connection:
            connection.send(asked * 10)
            for _ in range(10):
                status, _, body = connection.answer()
                self.assertEqual((200, whole), (status, json.loads(body)['paths']))

    def test_an_archive_may_be_larger_than_other_bodies(self):
        body = json.dumps({'path': '/', 'data': 'x' * 4 * self.conf.api.max_body_bytes}).encode()
        answer = self.post(body, f'Content-Length: {len(body)}',
                           'OpenStack-API-Version: container 1.41',
                           path='/v1/containers/nothing/put_archive')
        self.assert_error_answer(answer, 404, 'container_not_found')

    def test_what_is_no_http_is_told_in_our_shape(self):
        for data, status in ((b'hello\r\n\r\n', 400), (b'GET / HTTP/9.9\r\n\r\n', 505),
                             (b'GET / HTTP/1.1\r\nno colon\r\n\r\n', 400),
                             (b'GET / HTTP/1.1\nHost: x\n\n', 400),
                             (b'GET x HTTP/1.1\r\n\r\n', 400),
                             (b'POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n', 400),
                             (b'POST / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n', 501),
                             (b'GET /' + b'x' * 70000 + b' HTTP/1.1\r\n\r\n', 414),
                             (b'GET / HTTP/1.1\r\nX: ' + b'x' * 70000 + b'\r\n\r\n', 431),
                             (b'GET / HTTP/1.1\r\n' + b'X: y\r\n' * 20000 + b'\r\n', 431)):
            answer = self.request(data)
            code = {414: 'address_too_long', 431: 'headers_too_large'}.get(
                status, 'invalid_request' if status < 500 else 'internal_error')
            self.assert_error_answer(answer, status, code)

    def test_a_large_header_is_taken(self):
        answer = self.request(b'GET / HTTP/1.1\r\nHost: localhost\r\nX-Auth-Token: '
                              + b'x' * 60000 + b'\r\n\r\n')
        self.assertEqual(200, answer[0])

    def test_headers_with_underscores_are_dropped(self):
        answer = self.request(b'GET /v1/containers HTTP/1.1\r\nHost: localhost\r\n'
                              b'OpenStack_API_Version: container 1.41\r\n\r\n')
        self.assertEqual('container 1.1', answer[1]['openstack-api-version'])

    def test_who_drips_does_not_hold_a_thread(self):
        self.useFixture(base.pyfixtures.MonkeyPatch(
            'container_service.api.connections.PATIENCE', 1))
        whole = self.head('/v1/containers', f'Content-Length: {len(CREATE)}') + CREATE
        for sent in (3, len(whole) - 3):       # within the headers, within the body
            with contextlib.ExitStack() as stack:
                # As many as there are threads, none of which is ever complete.
                slow = [stack.enter_context(self.connect()) for _ in range(4)]
                for connection in slow:
                    connection.send(whole[:sent])
                began = time.monotonic()
                answer = self.request(b'GET / HTTP/1.1\r\nHost: localhost\r\n\r\n')
                self.assertEqual(200, answer[0])
                # Each byte would be waited for longer than that.
                self.assertLess(time.monotonic() - began, 10)
                for connection in slow:
                    self.assertIn(connection.answer()[0], (400, 408))
                    self.assertIsNone(connection.answer())
        self.assertEqual([], self.names())

    def test_a_body_that_ends_early_changes_nothing(self):
        with self.connect() as connection:
            connection.send(self.head('/v1/containers', 'Content-Length: 99') + CREATE)
            connection._socket.shutdown(socket.SHUT_WR)
            self.assert_error_answer(connection.answer(), 400, 'invalid_body')
        self.assertEqual([], self.names())

    def test_the_address_is_taken(self):
        self.conf.set_override('port', self.server.port, group='api')
        error = self.assertRaises(exceptions.Error, server.Server(self.conf, self.app).start)
        self.assertIn(str(self.server.port), str(error))
