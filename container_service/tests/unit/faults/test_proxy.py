# SPDX-License-Identifier: Apache-2.0
"""The fault proxy of the fault suite: each fault does what it says, and ends with heal()."""

import http.client
import http.server
import os
import socket
import socketserver
import threading
import time

import fixtures

from container_service.tests import base
from faults import proxy
from faults import wire


class Echo(socketserver.BaseRequestHandler):
    """Sends back what it is sent, in capitals; at end of file it says so and ends."""

    def handle(self):
        while data := self.request.recv(65536):
            self.server.received.append(data)
            self.request.sendall(data.upper())
        self.request.sendall(b'(end)')


class Engine(http.server.BaseHTTPRequestHandler):
    """Carries out what it is asked, and remembers it."""
    protocol_version = 'HTTP/1.1'

    def do_GET(self):
        self.answer()

    def do_POST(self):
        if self.headers.get('Transfer-Encoding') == 'chunked':
            body = b''
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get('Content-Length', 0)))
        self.server.received.append((self.path, body))
        self.answer()

    do_DELETE = do_POST

    def answer(self):
        if self.path in ('/stream', '/v1.41/events?since=0'):
            self.send_response(200)
            self.send_header('Transfer-Encoding', 'chunked')
            self.end_headers()
            for _ in range(3):
                self.wfile.write(b'4\r\nline\r\n')
                self.wfile.flush()
                self.server.go_on.wait(5)
            self.wfile.write(b'0\r\n\r\n')
            return
        self.send_response(200)
        self.send_header('Content-Length', '2')
        self.end_headers()
        self.wfile.write(b'ok')

    def log_message(self, *args):
        pass


class Case(base.TestCase):
    handler = Echo
    protocol = None

    def setUp(self):
        super().setUp()
        self.server = socketserver.ThreadingTCPServer(('127.0.0.1', 0), self.handler)
        self.server.daemon_threads = True
        self.server.received, self.server.go_on = [], threading.Event()
        # Connections are broken on purpose here.
        self.server.handle_error = lambda request, address: None
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.proxy = proxy.Proxy(seed=7)
        self.addCleanup(self.proxy.close)
        self.link = self.proxy.link('link', '127.0.0.1:0', self.upstream(), self.protocol)

    def upstream(self):
        return '127.0.0.1:%d' % self.server.server_address[1]

    def connect(self, timeout=0.3):
        family, address = proxy.parsed(self.link.address)
        sock = socket.socket(family)
        self.addCleanup(sock.close)
        sock.settimeout(timeout)
        sock.connect(address)
        return sock

    def assertPasses(self, sock, timeout=5):
        sock.settimeout(timeout)
        sock.sendall(b'ping')
        self.assertEqual(b'PING', sock.recv(100))


class TestLink(Case):

    def test_bytes_pass_and_are_counted(self):
        sock = self.connect()
        self.assertPasses(sock)
        self.assertEqual((1, 4, 4), (self.link.counters.accepted, self.link.counters.up_bytes,
                                     self.link.counters.down_bytes))

    def test_much_data_passes_unchanged_and_in_order(self):
        sock, sent = self.connect(10), os.urandom(3_000_000).lower()
        sender = threading.Thread(target=lambda: (sock.sendall(sent),
                                                  sock.shutdown(socket.SHUT_WR)))
        sender.start()
        got = b''
        while data := sock.recv(65536):
            got += data
        sender.join()
        self.assertEqual(sent.upper() + b'(end)', got)

    def test_one_side_may_end_first(self):
        sock = self.connect(5)
        sock.shutdown(socket.SHUT_WR)
        self.assertEqual(b'(end)', sock.recv(100))
        self.assertEqual(b'', sock.recv(100))

    def test_cut_resets_refuses_and_heals(self):
        sock = self.connect()
        self.assertPasses(sock)
        address = self.link.address
        self.link.cut()
        self.assertRaises(ConnectionError, sock.recv, 1)
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.link.heal()
        self.assertEqual(address, self.link.address)
        self.assertPasses(self.connect())
        self.assertEqual(1, self.link.counters.broken)

    def test_cut_closes_what_a_unix_socket_accepts(self):
        path = os.path.join(self.useFixture(fixtures.TempDir()).path, 'socket')
        self.link = self.proxy.link('unix', f'unix:{path}', self.upstream())
        self.assertEqual(f'unix:{path}', self.link.address)
        self.assertPasses(self.connect())
        self.link.cut()
        self.assertRaises(OSError, lambda: self.assertPasses(self.connect()))
        self.link.heal()
        self.assertPasses(self.connect())

    def test_a_stalled_link_hangs_and_flows_on(self):
        old = self.connect()
        self.assertPasses(old)
        self.link.stall()
        new = self.connect()
        for sock in (old, new):
            sock.settimeout(0.2)
            sock.sendall(b'late')
            self.assertRaises(TimeoutError, sock.recv, 1)
        self.assertEqual([b'ping'], self.server.received)
        self.link.heal()
        for sock in (old, new):
            sock.settimeout(5)
            self.assertEqual(b'LATE', sock.recv(100))

    def test_the_server_does_not_learn_of_a_close_behind_a_stalled_link(self):
        sock = self.connect()
        self.link.stall()
        sock.sendall(b'still')
        sock.close()
        time.sleep(0.1)
        self.assertEqual([], self.server.received)
        self.link.heal()
        self.wait_for(lambda: self.server.received == [b'still'])

    def test_one_direction_may_stall_alone(self):
        sock = self.connect()
        self.link.stall(proxy.DOWN)
        sock.sendall(b'one way')
        self.wait_for(lambda: self.server.received == [b'one way'])
        self.assertRaises(TimeoutError, sock.recv, 1)
        self.link.heal()
        sock.settimeout(5)
        self.assertEqual(b'ONE WAY', sock.recv(100))

    def test_a_stalled_link_can_be_cut(self):
        sock = self.connect()
        self.link.stall()
        self.link.cut()
        self.assertRaises(ConnectionError, sock.recv, 1)

    def test_delay(self):
        sock = self.connect()
        self.assertPasses(sock)
        self.link.delay(0.2)
        began = time.monotonic()
        self.assertPasses(sock)
        self.assertGreaterEqual(time.monotonic() - began, 0.4)

    def test_half_close(self):
        sock = self.connect()
        self.assertPasses(sock)
        self.link.half_close()
        self.assertEqual(b'', sock.recv(100))
        sock.sendall(b'more')
        self.wait_for(lambda: self.server.received == [b'ping', b'more'])
        self.assertPasses(self.connect())

    def test_a_socket_that_was_bound_elsewhere(self):
        listener = proxy.bound('127.0.0.1:0')
        listener.listen(5)
        self.link = self.proxy.link('given', listener, self.upstream())
        self.assertPasses(self.connect())
        self.link.cut()
        self.assertRaises(ConnectionRefusedError, self.connect)
        self.link.heal()
        self.assertPasses(self.connect())

    def test_an_upstream_that_is_down(self):
        self.link.upstream = '127.0.0.1:1'
        self.assertRaises(ConnectionError, lambda: self.connect(5).recv(1))
        self.assertEqual(1, self.link.counters.unreachable)

    def wait_for(self, condition):
        until = time.monotonic() + 5
        while not condition():
            self.assertLess(time.monotonic(), until)
            time.sleep(0.01)


class TestHTTP(Case):
    handler = Engine
    protocol = 'http'

    def ask(self, method, path, body=None, conn=None):
        conn = conn or self.client()
        conn.request(method, path, body)
        answer = conn.getresponse()
        return answer.status, answer.read()

    def client(self):
        conn = http.client.HTTPConnection(self.link.address, timeout=5)
        self.addCleanup(conn.close)
        return conn

    def test_requests_pass_on_one_connection(self):
        conn = self.client()
        for body in (b'x' * 200_000, [b'chunk'] * 3, None):
            self.assertEqual((200, b'ok'), self.ask('POST', '/create', body, conn))
        self.assertEqual((200, b'ok'), self.ask('GET', '/json', conn=conn))
        self.assertEqual((1, 3), (self.link.counters.accepted, self.link.counters.requests))
        self.assertEqual([b'x' * 200_000, b'chunk' * 3, b''],
                         [body for _, body in self.server.received])

    def test_a_lost_answer_is_to_a_request_that_was_carried_out(self):
        self.link.lose_answer()
        self.assertRaises(ConnectionError, self.ask, 'POST', '/start', b'{}')
        self.assertEqual([('/start', b'{}')], self.server.received)
        self.assertEqual(1, self.link.counters.answers_lost)
        self.link.heal()
        self.assertEqual((200, b'ok'), self.ask('POST', '/start', b'{}'))

    def test_reading_is_never_broken(self):
        self.link.lose_answer()
        self.link.answer_500()
        self.assertEqual((200, b'ok'), self.ask('GET', '/json'))
        self.assertEqual((200, b'ok'), self.ask('POST', '/containers/x/wait?condition=removed'))

    def test_answer_500_is_to_a_request_that_never_arrived(self):
        self.link.answer_500()
        for body in (b'{}', None, [b'chunk', b'chunk']):
            self.assertEqual((500, b'{"message": "injected fault"}'),
                             self.ask('DELETE', '/x', body))
        self.assertEqual([], self.server.received)
        self.assertEqual(3, self.link.counters.answers_500)

    def test_late_answer(self):
        self.link.late_answer(0.3)
        began = time.monotonic()
        self.assertEqual((200, b'ok'), self.ask('POST', '/start'))
        self.assertGreaterEqual(time.monotonic() - began, 0.3)

    def test_probability_comes_from_the_seed(self):
        def lost(seed):
            with proxy.Proxy(seed) as one:
                link = one.link('engine', '127.0.0.1:0', self.upstream(), 'http')
                link.answer_500(0.3)
                return [link.fate() for _ in range(50)]
        self.assertEqual(lost(1), lost(1))
        self.assertNotEqual(lost(1), lost(2))
        self.assertTrue(5 < lost(1).count('answers_500') < 25)

    def test_streams_pass_as_they_come(self):
        conn = self.client()
        conn.request('GET', '/stream')
        answer = conn.getresponse()
        # The server waits for us after the first line.
        self.assertEqual(b'line', answer.read(4))
        self.server.go_on.set()
        self.assertEqual(b'lineline', answer.read())

    def test_events_may_stall_alone(self):
        conn = self.client()
        conn.request('GET', '/v1.41/events?since=0')
        answer = conn.getresponse()
        self.assertEqual(b'line', answer.read(4))
        self.link.stall_events()
        self.server.go_on.set()
        conn.sock.settimeout(0.2)
        self.assertRaises(TimeoutError, answer.read, 4)
        self.assertEqual((200, b'ok'), self.ask('GET', '/json'))
        self.link.heal()
        self.assertEqual((200, b'ok'), self.ask('GET', '/json'))


class TestWire(base.TestCase):
    """Pieces are what was fed, whatever the cuts, and only the right ones are marked."""

    def pieces(self, protocol, data, step):
        reader = wire.reader(protocol)
        found = []
        for start in range(0, len(data), step):
            found += reader.feed(data[start:start + step])
        return found

    def assertMarked(self, protocol, data, marks, passed=None):
        for step in (1, 2, 3, 7, 50, len(data)):
            found = self.pieces(protocol, data, step)
            self.assertEqual(marks, [mark for _, mark in found if mark], step)
            self.assertEqual(data if passed is None else passed, b''.join(
                piece for piece, mark in found if mark != wire.NO_TLS), step)

    def test_mysql(self):
        def packet(payload):
            return len(payload).to_bytes(3, 'little') + b'\0' + payload
        self.assertMarked('mysql', b''.join(map(packet, (
            b'login' * 30, b'\x03SELECT 1', b'\x03COMMIT', b'\x03UPDATE x SET y = \'COMMIT\'',
            b'\x03' + b'x' * 200, b'\x03commit'))), [wire.WHOLE, wire.WHOLE])

    def test_postgresql(self):
        def message(letter, payload):
            return letter + (len(payload) + 4).to_bytes(4, 'big') + payload
        start = message(b'', b'\0\3\0\0user\0me\0\0')
        rest = b''.join((
            message(b'p', b'secret\0'), message(b'Q', b'BEGIN\0'), message(b'Q', b'COMMIT\0'),
            message(b'Q', b'SELECT ' + b'1,' * 100 + b'2\0'), message(b'Q', b'COMMIT\0')))
        ask_for_tls = message(b'', (80877103).to_bytes(4, 'big'))
        self.assertMarked('postgresql', ask_for_tls + start + rest,
                          [wire.NO_TLS, wire.WHOLE, wire.WHOLE], passed=start + rest)
        self.assertRaises(ValueError, self.pieces, 'postgresql', b'\0' * 8, 8)

    def test_http(self):
        self.assertMarked('http', (
            b'GET /a HTTP/1.1\r\nHost: x\r\n\r\n'
            b'DELETE /b HTTP/1.1\r\nHost: x\r\n\r\n'
            b'POST /c HTTP/1.1\r\nContent-Length: 5\r\n\r\nPOST '
            b'PUT /d HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n\r\n'
            b'POST /exec HTTP/1.1\r\nUpgrade: tcp\r\n\r\nDELETE /b HTTP/1.1\r\n\r\n'),
            [wire.WHOLE, wire.BEGINS, wire.ENDS, wire.BEGINS, wire.ENDS, wire.WHOLE])
