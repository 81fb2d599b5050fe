# SPDX-License-Identifier: Apache-2.0
"""Liveness and readiness of the shipped commands, while database and broker come and go."""

import json
import time
import urllib.error
import urllib.parse
import urllib.request

import sqlalchemy as sa

from container_service.tests import deployed
from container_service.tests import fixtures
from faults import proxy


class BehindProxies(fixtures.Processes):
    """API and conductor reach database and broker through links that can be broken."""

    def __init__(self, database):
        self.health_port = fixtures.free_port(2)
        super().__init__(database, config=f'health_port = {self.health_port}')

    def _setUp(self):
        self._proxy = self.useFixture(_Proxy()).proxy
        self._transport_url = self._through(
            'broker', fixtures.needed('CS_TEST_TRANSPORT_URL'), 5672)
        super()._setUp()

    def _write_config(self, connection):
        port = {'mysql': 3306, 'postgresql': 5432}[self._kind]
        super()._write_config(self._through('database', connection, port))

    def _through(self, name, url, port):
        parts = urllib.parse.urlsplit(url)
        link = self._proxy.link(name, '127.0.0.1:0', f'{parts.hostname}:{parts.port or port}')
        setattr(self, name, link)
        account = parts.netloc.rpartition('@')[0]
        return parts._replace(netloc=f'{account}@{link.address}').geturl()


class _Proxy(fixtures.fixtures.Fixture):

    def _setUp(self):
        self.proxy = proxy.Proxy()
        self.addCleanup(self.proxy.close)


class TestHealth(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(BehindProxies(cls.database))

    def setUp(self):
        super().setUp()
        self.addCleanup(self.all_is_well)

    def all_is_well(self):
        self.processes.database.heal()
        self.processes.broker.heal()
        self.eventually_ready('api')
        self.eventually_ready('conductor')

    def ask(self, who, path):
        """What a probe sees: (status, document or None), and within its time limit."""
        ports = {'conductor': self.processes.health_port,
                 'second': self.processes.health_port + 1}
        url = self.processes.url if who == 'api' else f'http://127.0.0.1:{ports[who]}'
        began = time.monotonic()
        try:
            with urllib.request.urlopen(url + path, timeout=10) as answer:  # noqa: S310 - http
                status, body = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, body = error.code, error.read()
        self.assertLess(time.monotonic() - began, 8)
        return status, json.loads(body or 'null')

    def ready(self, who):
        status, document = self.ask(who, '/readiness')
        self.assertEqual(status == 200, document['ready'])
        return document

    def eventually_ready(self, who):
        fixtures.eventually(lambda: self.ready(who)['ready'], 30, 0.2)

    def eventually_not_ready(self, who, reason):
        document = fixtures.eventually(
            lambda: (found := self.ready(who)) and not found['ready'] and found, 30, 0.2)
        self.assertEqual(reason, document['reason'])
        return document

    def assert_alive(self):
        for who in ('api', 'conductor'):
            self.assertEqual(200, self.ask(who, '/healthcheck')[0], who)

    def test_all_is_well(self):
        self.assert_alive()
        checks = self.ready('api')['checks']
        self.assertEqual({'database': True, 'broker': True},
                         {name: check['ok'] for name, check in checks.items()})
        self.assertTrue(self.ready('conductor')['ready'])

    def test_the_database_is_gone(self):
        self.processes.database.cut()
        for who in ('api', 'conductor'):
            document = self.eventually_not_ready(who, 'database')
            self.assertNotIn('127.0.0.1', json.dumps(document))
        self.assert_alive()
        self.processes.database.heal()
        self.eventually_ready('api')
        self.eventually_ready('conductor')

    def test_the_database_hangs(self):
        self.processes.database.stall()
        for who in ('api', 'conductor'):
            self.eventually_not_ready(who, 'database')
        self.assert_alive()
        self.processes.database.heal()
        self.eventually_ready('api')
        self.eventually_ready('conductor')

    def test_the_broker_does_not_matter(self):
        for break_it in (self.processes.broker.cut, self.processes.broker.stall):
            break_it()
            fixtures.eventually(
                lambda: not self.ready('api')['checks']['broker']['ok'], 20, 0.2)
            self.assertTrue(self.ready('api')['ready'])
            self.assertTrue(self.ready('conductor')['ready'])
            self.assert_alive()
            self.processes.broker.heal()
            fixtures.eventually(lambda: self.ready('api')['checks']['broker']['ok'], 20, 0.2)

    def test_the_schema_is_another_one(self):
        def revise(text):
            self.processes.db.transact(lambda conn: conn.execute(
                sa.text('UPDATE alembic_version SET version_num = :it'), {'it': text}))

        with self.processes.db.read() as conn:
            revision = conn.execute(sa.text('SELECT version_num FROM alembic_version')).scalar()
        revise('0001')
        try:
            document = self.eventually_not_ready('api', 'database')
        finally:
            revise(revision)
        self.assertIn('db sync', document['checks']['database']['detail'])

    def test_what_an_administrator_says(self):
        which = {'host': self.processes.host}
        self.processes.request('PUT', '/v1/services/disable', which, expect=200)
        self.eventually_not_ready('conductor', 'disabled')
        self.assertTrue(self.ready('api')['ready'])
        self.processes.request('PUT', '/v1/services/enable', which, expect=200)
        self.eventually_ready('conductor')
        self.processes.request('PUT', '/v1/services/force_down', {**which, 'forced_down': True},
                               expect=200)
        self.eventually_not_ready('conductor', 'forced_down')
        self.processes.request('PUT', '/v1/services/force_down', {**which, 'forced_down': False},
                               expect=200)
        self.eventually_ready('conductor')
        [shown] = self.processes.request('GET', '/v1/services', expect=200).json['services']
        self.assertEqual(('up', False, False),
                         (shown['state'], shown['disabled'], shown['forced_down']))
        self.assertEqual(409, self.processes.request(
            'DELETE', f'/v1/services?host={self.processes.host}').status)
        self.assert_alive()

    def test_a_second_conductor_is_drained(self):
        second = self.processes.start_conductor()
        self.processes.eventually_live(2)
        self.assertTrue(self.ready('second')['ready'])
        answer = self.processes.request(
            'PUT', '/v1/services/drain', {'name': f'{self.processes.host}.1'}, expect=200)
        self.assertTrue(answer.json['service']['draining'])
        self.assertEqual(0, second._popen.wait(20))
        [shown] = self.processes.request('GET', '/v1/services', expect=200).json['services']
        self.assertEqual((f'{self.processes.host}.0', 'up'), (shown['name'], shown['state']))

    def test_a_second_conductor_is_lost(self):
        second = self.processes.start_conductor()
        self.processes.eventually_live(2)
        second.kill()
        path = f'/v1/services?name={self.processes.host}.1'

        def states():
            found = self.processes.request('GET', '/v1/services', expect=200)
            return [shown['state'] for shown in found.json['services']]

        fixtures.eventually(lambda: states() == ['up', 'down'], 20, 0.1)
        fixtures.eventually(
            lambda: self.processes.request('DELETE', path).status == 204, 20, 0.2)
        self.assertEqual(['up'], states())


class TestHealthPostgresql(TestHealth):

    database = 'postgresql'
