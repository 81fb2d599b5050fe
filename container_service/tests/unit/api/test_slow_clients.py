# SPDX-License-Identifier: Apache-2.0
"""A real API process, and clients that send too much, too slowly, or take no answer (S-11).

What is promised: others are answered meanwhile, and the memory of the process stays as it was.
"""

import contextlib
import http.client
import os
import socket

from container_service.tests import base
from container_service.tests import fixtures

CLIENTS = 500
MIB = 2 ** 20

# What one process may grow by, whatever is done to it.
GROWTH = 64 * MIB

# Seconds for the answer to a good client.  Slow ones may take longer than that: one who had to
# wait for them would not be in time.
IN_TIME = 15

POST = b'POST /v1/containers HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n'


class TestSlowClients(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.port = fixtures.free_port()
        directory = self.conf.state_path
        config, log = (os.path.join(directory, name) for name in ('api.conf', 'api.log'))
        with open(config, 'w') as f:
            f.write(f'[DEFAULT]\nstate_path = {directory}\ntransport_url = fake://\n'
                    f'[database]\nconnection = {self.conf.database.connection}\n'
                    f'[api]\nport = {self.port}\nthreads = 8\n'
                    f'[secrets]\nkeys_file = {directory}/keys\n')
        self.process = fixtures.Process('container-service-api', ['--config-file', config], log)
        self.addCleanup(self.process.stop)
        fixtures.eventually(self.is_up, 60, 0.1)
        for _ in range(50):
            self.assert_served()          # what is loaded with the first requests is no growth
        self.before = self.resident()

    def is_up(self):
        self.process.check()
        try:
            return self.served() == 200
        except OSError:
            return False

    def served(self):
        """The status that a good client gets, over a connection of its own."""
        connection = http.client.HTTPConnection('127.0.0.1', self.port, timeout=IN_TIME)
        with contextlib.closing(connection):
            connection.request('GET', '/v1/containers')
            return connection.getresponse().status

    def assert_served(self):
        self.assertEqual(200, self.served())

    def resident(self):
        """The bytes of memory that the process has at most had, or has."""
        with open(f'/proc/{self.process.pid}/status') as f:
            [line] = [line for line in f if line.startswith('VmHWM:')]
        return int(line.split()[1]) * 1024

    def assert_flat(self):
        self.process.check()
        self.assertLess(self.resident() - self.before, GROWTH)

    def connect(self, stack, receive=None):
        sock = stack.enter_context(socket.socket())
        if receive:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
        sock.settimeout(30)
        sock.connect(('127.0.0.1', self.port))
        return sock

    def withstand(self, sent, more=b'', receive=None):
        """Hundreds of clients send this, and then no more than single bytes."""
        with contextlib.ExitStack() as stack:
            slow = [self.connect(stack, receive) for _ in range(CLIENTS)]
            for byte in (sent, *(more[n:n + 1] for n in range(len(more)))):
                for sock in slow:
                    # Who has been given up for others may be closed by now.
                    with contextlib.suppress(OSError):
                        sock.sendall(byte)
                self.assert_served()
            self.assert_flat()

    def test_clients_that_drip(self):
        self.withstand(b'')
        self.withstand(POST + b'X-Slow: ', more=b'ab')
        self.withstand(POST + b'Content-Length: 1000\r\n\r\n{', more=b'"i')
        self.withstand(POST + b'Transfer-Encoding: chunked\r\n\r\n1\r\n', more=b'{\r')
        self.withstand(POST + b'Content-Length: 1000000\r\n\r\n' + b' ' * 250000)

    def test_clients_that_do_not_read_the_answer(self):
        asked = b'GET /v1/openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n'
        self.withstand(4 * asked, receive=4096)

    def refuse(self, head, piece):
        """A gigabyte is sent, as long as anybody listens."""
        with contextlib.ExitStack() as stack:
            sock = self.connect(stack)
            sock.sendall(head)
            with contextlib.suppress(OSError):
                for count in range(1024):
                    sock.sendall(piece)
                    if not count % 16:
                        self.assert_served()
            self.assert_served()
        self.assert_flat()

    def test_a_gigabyte(self):
        chunked = POST + b'Transfer-Encoding: chunked\r\n\r\n'
        self.refuse(POST + b'Content-Length: 1073741824\r\n\r\n', b' ' * MIB)
        self.refuse(chunked, b'100000\r\n' + b' ' * MIB + b'\r\n')
        self.refuse(chunked + b'40000000\r\n', b' ' * MIB)
