# SPDX-License-Identifier: Apache-2.0
"""Another engine answers at the endpoint of a bay: nothing is done until somebody says so."""

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import secrets
from container_service import states
from container_service import tickets
from container_service.conductor import endpoint
from container_service.conductor import observer
from container_service.db import events
from container_service.db import settings
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class TestOtherEngine(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.made = []
        make = fake.FakeDriver.__init__
        self.patch(fake.FakeDriver, '__init__', lambda driver, bay: (
            self.made.append(bay.engine_id), make(driver, bay))[1])
        self.here.reconcile()
        self.here.reconcile()
        self.uuid = self.running()
        self.known = self.engine.engine_id

    def replace(self):
        """Another engine is there now, and empty."""
        self.engine.engine_id = 'another'
        self.before = dict(self.engine.containers)
        self.engine.containers.clear()

    def accept(self):
        bay_rules.reconcile(self.admin, self.db, 'bay', new_engine=True)

    def told(self):
        row = self.bay(self.place.uuid)
        return row.engine_id, row.health_status, row.health_status_reason

    def test_drivers_are_made_once_more_when_its_id_is_known(self):
        for _ in range(3):
            self.here.reconcile()
        self.assertEqual([None, self.known], self.made)

    def test_containers_are_not_touched(self):
        before = self.container(self.uuid)
        self.replace()
        for _ in range(3):
            self.here.reconcile()
            self.here.clock.advance(observer._COMPLETE_SECONDS)
            self.here.lease.renew()
        self.assertEqual(before, self.container(self.uuid))
        self.assertEqual([], self.events())
        engine_id, status, reason = self.told()
        self.assertEqual((self.known, 'UNHEALTHY'), (engine_id, status))
        for words in ('another', self.known, 'bay bay', 'reconcile bay --new-engine'):
            self.assertIn(words, reason)

    def test_no_event_of_it_is_followed(self):
        self.replace()
        self.assertRaises(exceptions.OtherEngine, self.here.hear)

    def test_it_is_told_although_the_first_one_was_down_before(self):
        self.engine.unreachable = True
        self.here.reconcile()
        self.assertIn('connection refused', self.told()[2])
        self.engine.unreachable = False
        self.replace()
        self.here.reconcile()
        self.assertIn('--new-engine', self.told()[2])

    def test_actions_wait_and_say_why(self):
        self.replace()
        stop, create = self.submit('stop', self.uuid), self.create()
        self.here.sweep()
        for uuid in (self.uuid, create):
            action = self.actions_of(uuid)[-1]
            self.assertEqual((states.QUEUED, 'bay_unreachable'),
                             (action.status, action.waiting_code))
            self.assertIn('--new-engine', action.waiting_detail)
        self.assertEqual({}, self.engine.containers)
        self.here.prober()
        self.assertEqual([], self.here.engines.available())
        self.engine.engine_id = self.known          # it is back
        self.engine.containers.update(self.before)
        self.here.clock.advance(2)
        self.here.lease.renew()
        self.here.prober()
        self.retry()
        self.assert_at_rest(self.uuid, 'Stopped')
        self.assertEqual(stop, self.actions_of(self.uuid)[-1].uuid)
        self.assert_at_rest(create, 'Created')

    def test_an_idle_bay_is_taken_out_of_service_by_probes(self):
        self.replace()
        for _ in range(3):
            self.here.clock.advance(4)
            self.here.lease.renew()
            self.here.prober()
        self.assertEqual([], self.here.engines.available())
        self.assertIn('--new-engine', self.told()[2])

    def test_calls_say_so_too(self):
        self.replace()
        ask = endpoint.Ask(self.db, self.here.engines, settings.deployment(self.db),
                           secrets.Keys(self.conf))
        with tickets.Tickets(self.db).issued(self.uuid, 'logs', {}) as ticket:
            answer = ask.ask({}, ticket, self.uuid, 'logs', {})
        error = exceptions.Error.from_dict(answer['error'])
        self.assertEqual((exceptions.OtherEngine, 'other_engine'), (type(error), error.code))

    def test_on_a_new_engine_it_goes_on(self):
        self.replace()
        waits = self.create()
        self.here.sweep()
        self.here.reconcile()
        self.accept()
        self.here.reconcile()
        self.assertEqual(('another', 'HEALTHY', None), self.told())
        row = self.container(self.uuid)
        self.assertEqual((states.ERROR, observer.REMOVED_OUTSIDE), (row.status, row.status_reason))
        self.assertEqual([events.MISSING], [event.type for event in self.events()])
        self.here.prober()
        self.retry()
        self.assert_at_rest(waits, 'Created')

    def test_it_is_accepted_before_anybody_has_noticed(self):
        """The pass then wrote the old id again, from memory."""
        self.replace()
        self.accept()
        self.here.reconcile()
        self.here.reconcile()
        self.assertEqual(('another', 'HEALTHY', None), self.told())
        self.assertEqual(states.ERROR, self.container(self.uuid).status)

    def test_it_is_accepted_while_a_pass_over_the_old_one_is_under_way(self):
        """That pass wrote the old id again."""
        listing = fake.FakeDriver.list

        def list_and_replace(driver, deployment):
            self.patch(fake.FakeDriver, 'list', listing)
            seen = list(listing(driver, deployment))
            self.replace()
            self.accept()
            return seen

        self.patch(fake.FakeDriver, 'list', list_and_replace)
        self.here.reconcile()
        self.assertIsNone(self.bay(self.place.uuid).engine_id)
        self.here.reconcile()
        self.assertEqual('another', self.bay(self.place.uuid).engine_id)

    def test_one_that_was_not_replaced_at_all(self):
        before = self.container(self.uuid)
        self.accept()
        self.assertIsNone(self.bay(self.place.uuid).engine_id)
        self.here.reconcile()
        self.assertEqual((self.known, 'HEALTHY', None), self.told())
        self.assertEqual(before, self.container(self.uuid))
