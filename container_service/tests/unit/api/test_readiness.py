# SPDX-License-Identifier: Apache-2.0
import contextlib
import socket
import threading

from container_service import exceptions
from container_service import health
from container_service import rpc
from container_service.db import migration
from container_service.tests.unit.api import base


class ReadinessCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.patch(health, '_FRESH', -1)        # each question is asked

    def ask(self, method='GET'):
        """As a load balancer does, who knows nothing of versions and hosts."""
        return self.api.request('/readiness', method=method, expect_errors=True,
                                headers={'Host': 'api.example.org'})

    def with_broker(self, *addresses):
        hosts = ','.join(f'user:secret@{address}' for address in addresses)
        self.bus = rpc.transport(self.conf, f'rabbit://{hosts}/')
        self.build()


class TestReadiness(ReadinessCase):

    def test_ready(self):
        answer = self.ask()
        self.assertEqual(200, answer.status_int)
        self.assertEqual({'ready': True, 'reason': None, 'checks': {
            'database': {'ok': True, 'needed': True, 'detail': None},
            'broker': {'ok': True, 'needed': False, 'detail': None}}}, answer.json)

    def test_head_and_other_methods(self):
        answer = self.ask('HEAD')
        self.assertEqual((200, b''), (answer.status_int, answer.body))
        self.assert_refused(404, 'not_found', self.post('/readiness'))

    def test_without_a_database(self):
        def read():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'read', read)
        answer = self.ask()
        self.assertEqual((503, False, 'database'), (
            answer.status_int, answer.json['ready'], answer.json['reason']))
        self.assertTrue(answer.json['checks']['broker']['ok'])

    def test_a_database_that_hangs(self):
        answered = threading.Event()
        self.addCleanup(answered.set)

        @contextlib.contextmanager
        def read():
            answered.wait(30)
            yield

        self.patch(self.db, 'read', read)
        self.patch(health, 'LIMIT', 0.1)
        answer = self.ask()
        self.assertEqual(503, answer.status_int)
        self.assertIn('No answer', answer.json['checks']['database']['detail'])

    def test_another_schema(self):
        self.patch(migration, 'newest', lambda: '9999')
        answer = self.ask()
        self.assertEqual(503, answer.status_int)
        detail = answer.json['checks']['database']['detail']
        self.assertIn('9999', detail)
        self.assertIn('db sync', detail)


class TestBroker(ReadinessCase):
    """It is told, and matters to nobody."""

    def listen(self, say=b''):
        """Somebody who accepts connections, and says that when spoken to; returns the port."""
        listener = socket.create_server(('127.0.0.1', 0))
        self.addCleanup(listener.close)

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    sock, _ = listener.accept()
                    self.addCleanup(sock.close)
                    if say:
                        sock.recv(8)
                        sock.sendall(say)

        threading.Thread(target=serve, daemon=True).start()
        return listener.getsockname()[1]

    def assert_broker(self, ok):
        answer = self.ask()
        self.assertEqual((200, True), (answer.status_int, answer.json['ready']))
        self.assertEqual(ok, answer.json['checks']['broker']['ok'])
        for word in ('secret', '127.0.0.1'):
            self.assertNotIn(word, answer.text)

    def test_one_that_answers(self):
        self.with_broker(f'127.0.0.1:{self.listen(b"A")}')
        self.assert_broker(True)

    def test_one_of_several_is_enough(self):
        self.with_broker('127.0.0.1:1', f'127.0.0.1:{self.listen(b"A")}')
        self.assert_broker(True)

    def test_nobody_there(self):
        self.with_broker('127.0.0.1:1')
        self.assert_broker(False)

    def test_one_that_is_frozen(self):
        self.patch(health, 'LIMIT', 0.4)
        self.with_broker(f'127.0.0.1:{self.listen()}')
        self.assert_broker(False)
