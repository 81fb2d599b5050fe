# SPDX-License-Identifier: Apache-2.0
import json
import urllib.error
import urllib.request

from container_service import exceptions
from container_service import health as looks
from container_service.conductor import health
from container_service.db import conductors
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base


class HealthCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.health = health.Health(self.conf.conductor, self.db, self.here.clock)
        self.patch(looks, '_FRESH', -1)         # each question is asked

    def up(self):
        self.health.watch(self.here.lease)

    def set(self, **values):
        self.change(conductors.table, self.here.lease.uuid, **values)

    def reason(self):
        ready, document = self.health.ready()
        self.assertEqual((ready, ready), (document['ready'], document['reason'] is None))
        return document['reason']


class TestReadiness(HealthCase):

    def test_it_is_ready_when_it_claims_work(self):
        self.assertEqual('starting', self.reason())
        self.up()
        self.assertIsNone(self.reason())

    def test_each_reason(self):
        self.up()
        for reason, values in {'disabled': {'disabled': 1}, 'forced_down': {'forced_down': 1},
                               'draining': {'state': 'draining'},
                               'lease': {'state': 'gone'}}.items():
            self.set(**values)
            self.assertEqual(reason, self.reason())
            self.set(state='up', disabled=0, forced_down=0)
            self.assertIsNone(self.reason())

    def test_a_lapsed_lease(self):
        self.up()
        self.here.clock.advance(self.conf.conductor.lease)
        self.assertEqual('lease', self.reason())

    def test_a_registration_that_is_gone(self):
        self.up()
        self.db.transact(lambda conn: conn.execute(conductors.table.delete()))
        self.assertEqual('lease', self.reason())

    def test_stopping(self):
        self.up()
        self.health.stopping = True
        self.assertEqual('draining', self.reason())

    def test_without_a_database(self):
        self.up()

        def read():
            raise exceptions.DatabaseUnavailable()

        self.db.read = read
        _, document = self.health.ready()
        self.assertEqual('database', document['reason'])
        self.assertNotIn('work', document['checks'])


class TestLiveness(HealthCase):

    def test_alive_while_its_threads_come_round(self):
        self.assertEqual((True, {'alive': True, 'silent': []}), self.health.alive())
        self.health.came_round('sweep', 2)
        self.here.clock.advance(301)
        self.assertTrue(self.health.alive()[0])
        self.here.clock.advance(2)
        self.assertEqual((False, {'alive': False, 'silent': ['sweep']}), self.health.alive())
        self.health.came_round('sweep', 2)
        self.assertTrue(self.health.alive()[0])

    def test_not_without_its_heartbeat(self):
        self.up()
        self.assertTrue(self.health.alive()[0])
        self.here.lease.stop()
        self.assertEqual(['heartbeat'], self.health.alive()[1]['silent'])

    def test_one_that_stops_in_order_is_alive(self):
        self.up()
        self.health.stopping = True
        self.here.lease.stop()
        self.assertTrue(self.health.alive()[0])


class TestServer(HealthCase):

    def setUp(self):
        super().setUp()
        self.conf.set_override('health_port', fixtures.free_port(2), group='conductor')

    def get(self, path, port=None):
        address = f'http://127.0.0.1:{port or self.conf.conductor.health_port}{path}'
        try:
            with urllib.request.urlopen(address, timeout=10) as answer:   # noqa: S310 - http
                return answer.status, json.loads(answer.read())
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read() or 'null')

    def start(self, slot=0):
        self.health.start(slot)
        self.addCleanup(self.health.stop)

    def test_both_addresses(self):
        self.start()
        self.up()
        self.assertEqual((200, True), (lambda s, d: (s, d['alive']))(*self.get('/healthcheck')))
        self.assertEqual((200, True), (lambda s, d: (s, d['ready']))(*self.get('/readiness/')))
        self.set(disabled=1)
        status, document = self.get('/readiness')
        self.assertEqual((503, 'disabled'), (status, document['reason']))
        self.assertEqual((404, None), self.get('/v1/services'))

    def test_conductors_of_a_host_have_ports_of_their_own(self):
        self.start(slot=1)
        port = self.conf.conductor.health_port
        self.assertEqual(200, self.get('/healthcheck', port + 1)[0])
        self.assertRaises(OSError, self.get, '/healthcheck')

    def test_a_port_that_is_taken(self):
        self.start()
        other = health.Health(self.conf.conductor, self.db)
        error = self.assertRaises(exceptions.Error, other.start, 0)
        self.assertIn('health_port', error.detail)

    def test_none_unless_a_port_is_configured(self):
        self.conf.set_override('health_port', 0, group='conductor')
        self.start()
        self.assertIsNone(self.health._server)
