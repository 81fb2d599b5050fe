# SPDX-License-Identifier: Apache-2.0
"""Both ways at once over a socket; over TLS it is tested with the driver and an engine."""

import http.client
import socket
import tempfile
import threading
import time

import testtools

from container_service.drivers import base
from container_service.drivers import docker_streams

HEADER = b'HTTP/1.1 200 OK\r\nContent-Type: application/vnd.docker.raw-stream\r\n\r\n'


class TestConnection(testtools.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='cs-')
        self.addCleanup(directory.cleanup)
        self.bay = base.Bay('u', 'north', f'unix://{directory.name}/sock')
        self.listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(self.listener.close)
        self.listener.bind(f'{directory.name}/sock')
        self.listener.listen()
        self.asked = b''

    def serve(self, answer):
        """Take one request, and let ``answer`` do the rest with its connection."""
        def run():
            engine, _ = self.listener.accept()
            with engine:
                while b'}' not in self.asked:
                    self.asked += engine.recv(1000)
                answer(engine)
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        self.addCleanup(thread.join, 10)

    def connect(self, seconds=10):
        end = time.monotonic() + seconds

        def left():
            if time.monotonic() > end:
                raise TimeoutError()
            return end - time.monotonic()
        return docker_streams.Connection(self.bay, left, 3)

    def test_an_echo_of_much(self):
        def echo(engine):
            engine.sendall(HEADER[:20])
            engine.sendall(HEADER[20:] + b'first ')
            while data := engine.recv(7000):
                engine.sendall(data)
            engine.sendall(b' last')

        self.serve(echo)
        data = bytes(range(256)) * 10_000
        with self.connect() as stream:
            began, status = stream.post('/v1.41/exec/e/start', {'Tty': False})
            found = began + b''.join(stream.exchange(data, end=True))
        self.assertEqual((200, b'first ' + data + b' last'), (status, found))
        self.assertTrue(self.asked.startswith(b'POST /v1.41/exec/e/start HTTP/1.1\r\n'))

    def test_a_command_that_ends_before_it_has_read_all(self):
        def leave(engine):
            engine.sendall(HEADER)
            engine.recv(10)
            engine.sendall(b'enough')

        self.serve(leave)
        with self.connect() as stream:
            began, _ = stream.post('/', {})
            self.assertEqual(b'enough', began + b''.join(
                stream.exchange(b'x' * 5_000_000, end=True)))

    def test_a_refusal(self):
        self.serve(lambda engine: engine.sendall(b'HTTP/1.1 409 Conflict\r\n\r\n{"message": "m"}'))
        with self.connect() as stream:
            self.assertEqual((b'{"message": "m"}', 409), stream.post('/', {}))

    def test_who_is_silent_or_speaks_something_else(self):
        self.serve(lambda engine: engine.recv(10))
        with self.connect(seconds=0.3) as stream:
            self.assertRaises(TimeoutError, stream.post, '/', {})
        for words in (b'', b'SSH-2.0', b'x' * 100_000, b'HTTP/1.1 ok\r\n\r\n'):
            self.asked = b''
            self.serve(lambda engine, words=words: engine.sendall(words))
            with self.connect() as stream:
                self.assertRaises(OSError, stream.post, '/', {})

    def test_nobody_is_there(self):
        self.listener.close()
        self.assertRaises(OSError, self.connect)

    def test_an_answer_as_a_whole(self):
        for header, body in ((b'Content-Length: 4', b'{"a"'),
                             (b'Transfer-Encoding: chunked', b'2\r\n{"\r\n2\r\na"\r\n0\r\n\r\n')):
            self.asked = b''

            def answer(engine, header=header, body=body):
                engine.sendall(b'HTTP/1.1 409 No\r\n' + header)
                engine.sendall(b'\r\n\r\n' + body)

            self.serve(answer)
            with self.connect() as stream:
                self.assertEqual((b'{"a"', 409), stream.ask('/v1.41/commit?a=b', {}))
            self.assertIn(b'Connection: close', self.asked)

    def test_no_answer_at_all(self):
        self.serve(lambda engine: None)
        with self.connect() as stream:
            self.assertRaises(http.client.HTTPException, stream.ask, '/', {})
