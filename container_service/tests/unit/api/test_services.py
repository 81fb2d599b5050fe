# SPDX-License-Identifier: Apache-2.0
import types
from unittest import mock

from container_service import services
from container_service.db import conductors
from container_service.tests import base as tests
from container_service.tests import fixtures
from container_service.tests.unit.api import base

BINARY = 'container-service-conductor'


class ServicesCase(base.ApiTestCase):
    """node1 has the slots 0 and 1, node2 the slot 0."""

    def setUp(self):
        super().setUp()
        self.ids = {name: self.register(name) for name in ('node1.0', 'node1.1', 'node2.0')}

    def register(self, name, lease=60, **values):
        """A conductor as it registers; returns its incarnation."""
        host, _, slot = name.rpartition('.')
        uuid = tests.Conductor().uuid
        self.db.transact(lambda conn: conductors.insert(conn, lease, {
            'uuid': uuid, 'host': host, 'slot': int(slot), 'server': name, 'pid': 7,
            'version': '1.0', 'workers': 4, 'in_flight': 7, 'queued': 5, 'pool_full': 3,
            'saturation_policy': 'queue'}))
        if values:
            self.change(conductors.table, uuid, **values)
        return uuid

    def services(self):
        return {row['name']: row for row in self.get('/v1/services').json['services']}

    def put(self, change, body=None, expect=200, **values):
        answer = self.call('PUT', f'/v1/services/{change}', body, **values)
        self.assertEqual(expect, answer.status_int, answer)
        return answer.json

    def row(self, name):
        with self.db.read() as conn:
            return conn.execute(conductors.table.select().where(
                conductors.table.c.uuid == self.ids[name])).one()


class TestList(ServicesCase):

    def test_what_is_told(self):
        shown = self.services()['node1.0']
        age = shown.pop('heartbeat_age_seconds')
        self.assertTrue(0 <= age < 60)
        seen = shown['last_seen_up']
        for key in ('created_at', 'updated_at', 'last_seen_up'):
            self.assertRegex(shown.pop(key), r'^2.*\+00:00$')
        self.assertEqual({
            'id': mock.ANY, 'host': 'node1', 'binary': BINARY, 'state': 'up', 'disabled': False,
            'disabled_reason': None, 'forced_down': False, 'report_count': 0,
            'availability_zone': None, 'name': 'node1.0', 'incarnation': self.ids['node1.0'],
            'version': '1.0', 'draining': False, 'workers': 4, 'in_flight': 0, 'queued': 5,
            'pool_full': 3, 'saturation_policy': 'queue'}, shown)
        self.assertIsNotNone(seen)

    def test_what_is_in_flight_is_counted(self):
        """What it said with its last heartbeat would be too old."""
        self.make_bay()
        busy = types.SimpleNamespace(uuid=self.ids['node1.0'], server='node1.0')
        for name in ('c1', 'c2', 'c3'):
            uuid = self.make(name)
            if name != 'c3':
                self.claim(uuid, busy)
        self.carry_out(uuid)
        self.assertEqual([2, 0, 0], [row['in_flight'] for row in self.services().values()])
        answer = self.put('force_down', {'name': 'node1.0', 'forced_down': True})
        self.assertEqual(2, answer['service']['in_flight'])
        self.assertEqual(2, self.row('node1.0').in_flight)      # when it was declared dead

    def test_in_the_order_of_hosts_and_slots(self):
        self.register('node1.10')
        self.assertEqual(['node1.0', 'node1.1', 'node1.10', 'node2.0'], list(self.services()))

    def test_only_the_newest_of_each_name(self):
        for _ in range(3):
            self.change(conductors.table, self.ids['node1.0'], state='gone')
            self.ids['node1.0'] = self.register('node1.0')
        shown = self.services()
        self.assertEqual(3, len(shown))
        self.assertEqual(self.ids['node1.0'], shown['node1.0']['incarnation'])

    def end(self, name):
        self.db.transact(lambda conn: conductors.set_state(conn, self.ids[name], 'gone'))

    def test_one_that_has_ended_in_order_is_shown_only_if_something_was_said_of_it(self):
        for name in self.ids:
            self.end(name)
        self.change(conductors.table, self.ids['node1.1'], disabled=1)
        self.change(conductors.table, self.ids['node2.0'], forced_down=1)
        self.assertEqual({'node1.1': 'down', 'node2.0': 'down'},
                         {name: row['state'] for name, row in self.services().items()})

    def test_one_that_was_lost_is_shown_as_down(self):
        self.db.transact(lambda conn: conductors.declare_dead(conn, self.ids['node1.0']))
        self.assertEqual('down', self.services()['node1.0']['state'])
        self.assertEqual(204, self.delete('/v1/services?name=node1.0').status_int)
        self.assertNotIn('node1.0', self.services())

    def test_up_is_who_has_a_lease_and_is_not_forced_down(self):
        self.change(conductors.table, self.ids['node1.0'], lease_until=self.database_time())
        self.change(conductors.table, self.ids['node1.1'], forced_down=1)
        self.change(conductors.table, self.ids['node2.0'], state='draining')
        self.assertEqual(['down', 'down', 'up'],
                         [row['state'] for row in self.services().values()])
        self.assertTrue(self.services()['node2.0']['draining'])

    def test_older_clients_send_arguments_without_effect(self):
        self.assertEqual(3, len(self.get('/v1/services/?limit=1&sort_key=id').json['services']))


class TestChange(ServicesCase):

    def test_disable_and_enable(self):
        answer = self.put('disable', {'name': 'node1.0', 'disabled_reason': 'new kernel'})
        self.assertEqual(['service'], list(answer))
        self.assertEqual((True, 'new kernel', 'up'), (
            answer['service']['disabled'], answer['service']['disabled_reason'],
            answer['service']['state']))
        self.assertEqual((1, 0), (self.row('node1.0').disabled, self.row('node1.1').disabled))
        answer = self.put('enable', {'name': 'node1.0'})
        self.assertEqual((False, None), (
            answer['service']['disabled'], answer['service']['disabled_reason']))

    def test_a_host_means_all_of_its_conductors(self):
        answer = self.put('disable', {'host': 'node1'})
        self.assertEqual(['node1.0', 'node1.1'], [row['name'] for row in answer['services']])
        self.assertEqual(answer['services'][0], answer['service'])
        self.assertEqual([True, True, False],
                         [row['disabled'] for row in self.services().values()])

    def test_as_clients_of_the_field_send_it(self):
        """In the query, with the binary, and without a body."""
        answer = self.put(f'disable?host=node2&binary={BINARY}&disabled_reason=why',
                          headers={'Content-Type': 'application/json'})
        self.assertEqual(('node2', BINARY, True, 'why'), tuple(
            answer['service'][key] for key in ('host', 'binary', 'disabled', 'disabled_reason')))
        answer = self.put(f'force_down?host=node2&binary={BINARY}&forced_down=True')
        self.assertIs(True, answer['service']['forced_down'])
        answer = self.put(f'/enable?host=node2&binary={BINARY}')
        self.assertIs(False, answer['service']['disabled'])

    def test_drain(self):
        answer = self.put('drain', {'name': 'node1.0'})
        self.assertEqual((True, 'up'), (answer['service']['draining'],
                                        answer['service']['state']))
        self.assertEqual(['draining', 'up'], [self.row(name).state
                                              for name in ('node1.0', 'node1.1')])
        self.put('drain', {'name': 'node1.0'})

    def test_nothing_to_drain(self):
        self.change(conductors.table, self.ids['node1.0'], state='gone')
        answer = self.call('PUT', '/v1/services/drain', {'name': 'node1.0'})
        self.assertIn('node1.0', self.assert_refused(409, 'conductor_down', answer))
        self.put('drain', {'host': 'node1'})
        self.assertEqual(['gone', 'draining'], [self.row(name).state
                                                for name in ('node1.0', 'node1.1')])

    def test_force_down_gives_its_work_away_at_once(self):
        answer = self.put('force_down', {'name': 'node1.0', 'forced_down': True})
        self.assertEqual((True, 'down'), (answer['service']['forced_down'],
                                          answer['service']['state']))
        self.assertEqual(('gone', 'up'), (self.row('node1.0').state, self.row('node1.1').state))
        # One that is alive all the same registers anew.
        self.ids['node1.0'] = self.register('node1.0', forced_down=1)
        self.assertEqual('down', self.services()['node1.0']['state'])
        answer = self.put('force_down', {'name': 'node1.0', 'forced_down': False})
        self.assertEqual((False, 'up'), (answer['service']['forced_down'],
                                         answer['service']['state']))

    def test_what_was_said_of_a_conductor_that_has_ended_holds_for_the_next(self):
        self.change(conductors.table, self.ids['node2.0'], state='gone', pid=None)
        self.assertNotIn('node2.0', self.services())
        self.put('disable', {'name': 'node2.0'})
        self.assertEqual(('down', True), (self.services()['node2.0']['state'],
                                          self.services()['node2.0']['disabled']))

    def test_of_a_host_those_that_ended_are_not_meant_unless_there_are_no_others(self):
        self.change(conductors.table, self.ids['node1.1'], state='gone', pid=None)
        self.assertEqual('node1.0', self.put('disable', {'host': 'node1'})['service']['name'])
        self.assertEqual(0, self.row('node1.1').disabled)
        self.change(conductors.table, self.ids['node2.0'], state='gone', pid=None)
        self.assertEqual('node2.0', self.put('disable', {'host': 'node2'})['service']['name'])

    def test_an_unknown_one(self):
        for body in ({'host': 'node9'}, {'name': 'node1'}, {'host': 'node2', 'name': 'node1.0'},
                     {'host': 'node1', 'binary': 'zun-compute'}):
            for change in ('enable', 'disable', 'drain'):
                detail = self.assert_refused(404, 'conductor_not_found', self.call(
                    'PUT', f'/v1/services/{change}', body))
                self.assertIn('There are: node1.0, node1.1, node2.0', detail)

    def test_arguments(self):
        for change, body, name in (
                ('disable', {}, 'host'), ('disable', {'host': ''}, 'host'),
                ('disable', {'host': 1}, 'host'),
                ('disable', {'host': 'node1', 'disabled_reason': 'x' * 256}, 'disabled_reason'),
                ('disable', {'host': 'node1', 'disabled_reason': 'a\nb'}, 'disabled_reason'),
                ('force_down', {'host': 'node1'}, 'forced_down'),
                ('force_down', {'host': 'node1', 'forced_down': 'perhaps'}, 'forced_down')):
            detail = self.assert_refused(400, 'invalid_parameter', self.call(
                'PUT', f'/v1/services/{change}', body))
            self.assertTrue(detail.startswith(f'{name}: '), detail)
        self.assert_refused(400, 'unknown_parameter', self.call(
            'PUT', '/v1/services/enable', {'host': 'node1', 'disabled_reason': 'x'}))

    def test_only_these_changes_and_only_put(self):
        self.assertIn('force_down', self.assert_refused(404, 'not_found', self.call(
            'PUT', '/v1/services/destroy', {'host': 'node1'})))
        self.assert_refused(405, 'method_not_allowed', self.get('/v1/services/enable'))

    def test_it_is_logged_who_did_it(self):
        self.put('disable', {'name': 'node1.0', 'disabled_reason': 'new kernel'})
        self.assertRegex(self.log.output, r'node1\.0.*disable.*new kernel.*user')


class TestDelete(ServicesCase):

    def test_one_that_is_down_is_forgotten(self):
        self.change(conductors.table, self.ids['node2.0'], state='gone')
        self.register('node2.0', state='gone', disabled=1)
        answer = self.delete(f'/v1/services?host=node2&binary={BINARY}')
        self.assertEqual((204, b''), (answer.status_int, answer.body))
        self.assertEqual(['node1.0', 'node1.1'], list(self.services()))
        self.assert_refused(404, 'conductor_not_found',
                            self.delete('/v1/services?name=node2.0'))

    def test_one_that_is_not_down_stays(self):
        """Not either when its lease has lapsed: nobody has declared it dead yet."""
        self.change(conductors.table, self.ids['node1.0'], state='gone', disabled=1)
        self.change(conductors.table, self.ids['node1.1'], lease_until=self.database_time())
        detail = self.assert_refused(409, 'conductor_alive',
                                     self.delete('/v1/services?host=node1'))
        self.assertIn('node1.1', detail)
        self.assertEqual(3, len(self.services()))

    def test_a_lost_answer_to_the_commit(self):
        self.change(conductors.table, self.ids['node2.0'], state='gone')
        with fixtures.lost_commit(self.db, landed=True) as lost:
            services.forget(self.context, self.db, services.Which(name='node2.0'))
        self.assertEqual(1, len(lost))
        self.assertNotIn('node2.0', self.services())


class TestWhoMay(ServicesCase):

    def test_administrators_only(self):
        requests = [('GET', ''), ('DELETE', ''), ('PUT', '/enable'), ('PUT', '/disable'),
                    ('PUT', '/drain'), ('PUT', '/force_down')]
        for persona in (base.MEMBER, base.READER):
            for method, rest in requests:
                self.assert_refused(403, 'forbidden', self.call(
                    method, f'/v1/services{rest}?name=node1.0', persona=persona))
        self.assertEqual([(False, False, False)] * 3, [
            (row['disabled'], row['forced_down'], row['draining'])
            for row in self.services().values()])
