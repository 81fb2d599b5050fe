# SPDX-License-Identifier: Apache-2.0
"""What really happened on the engine, where nothing is under way."""

import datetime

from container_service import exceptions
from container_service import states
from container_service.db import bays
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class ReconcileCase(base.BenchCase):

    def reconcile(self):
        self.change(bays.table, self.place.uuid, reconcile_at=self.database_time())
        self.here.clock.advance(2)              # the list of bays is read anew
        self.here.lease.renew()
        self.here.reconcile()


class TestContainers(ReconcileCase):

    def test_a_process_that_exits_by_itself_shows_as_stopped(self):
        uuid = self.running(command=['sh', '-c', 'sleep 5; exit 3'])
        self.reconcile()
        self.assert_at_rest(uuid, states.RUNNING)
        later = fake._utcnow() + datetime.timedelta(seconds=6)
        self.engine.clock = lambda: later
        self.reconcile()
        self.assert_at_rest(uuid, states.STOPPED)
        row = self.container(uuid)
        self.assertEqual((3, later, 'Exited (3)'),
                         (row.exit_code, row.finished_at, row.status_detail))

    def test_what_is_done_by_hand_is_seen(self):
        uuid = self.running()
        for change, status in ((self.engine.stop_outside, states.STOPPED),
                               (self.engine.start_outside, states.RUNNING),
                               (self.engine.pause_outside, states.PAUSED)):
            change(uuid)
            self.reconcile()
            self.assert_at_rest(uuid, status)

    def test_a_container_that_was_removed_by_hand(self):
        uuid = self.running('web')
        self.engine.remove_outside(uuid)
        self.reconcile()
        self.assert_at_rest(uuid, states.ERROR)
        self.assertIn('removed outside', self.container(uuid).status_reason)
        self.submit('delete', 'web')
        self.here.sweep()
        self.assert_at_rest(uuid, states.DELETED)

    def test_why_a_create_failed_is_not_overwritten(self):
        self.engine.fail('create')
        uuid = self.create()
        self.here.sweep()
        before = self.container(uuid)
        self.reconcile()
        self.assertEqual(before, self.container(uuid))
        self.assertIn('told to refuse create', before.status_reason)

    def test_unknown_becomes_what_is_true(self):
        uuid = self.running()
        self.set_status(uuid, states.UNKNOWN)
        self.reconcile()
        self.assert_at_rest(uuid, states.RUNNING)

    def test_unknown_and_never_made_is_error(self):
        """A create that ended while its engine was gone: now it can be asked."""
        def create(*args):
            self.engine.unreachable = True
            raise exceptions.DriverError('no space left on device')

        self.patch(fake.FakeDriver, 'create', create)
        uuid = self.create()
        self.here.sweep()
        self.assert_at_rest(uuid, states.UNKNOWN)
        reason = self.container(uuid).status_reason
        self.engine.unreachable = False
        self.reconcile()
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual(reason, self.container(uuid).status_reason)

    def test_nothing_is_written_where_nothing_has_changed(self):
        uuid = self.running()
        before = self.container(uuid)
        self.reconcile()
        self.assertEqual(before, self.container(uuid))

    def test_containers_of_others_are_not_looked_at(self):
        foreign = self.engine.add_foreign('foreign', {'cs.container': 'x'})
        uuid = self.running()
        self.reconcile()
        self.assertEqual(states.RUNNING, foreign.status)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_deleted_ones_stay_deleted(self):
        uuid = self.running()
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        self.reconcile()
        self.assert_at_rest(uuid, states.DELETED)


class TestBusyContainers(ReconcileCase):
    """What an action is under way on is left to it."""

    def test_queued(self):
        uuid = self.running()
        self.submit('pause', uuid)
        self.engine.stop_outside(uuid)
        before = self.container(uuid)
        self.reconcile()
        self.assertEqual(before, self.container(uuid))

    def test_running(self):
        uuid = self.running()
        self.submit('pause', uuid)
        self.claim(uuid)
        self.engine.stop_outside(uuid)
        before = self.container(uuid)
        self.reconcile()
        self.assertEqual(before, self.container(uuid))

    def test_an_action_that_came_and_went_while_it_looked(self):
        """It read SQL, then the engine; what it saw is older than what the action left."""
        uuid = self.running()
        listing = fake.FakeDriver.list

        def list_slowly(driver, deployment):
            self.engine.stop_outside(uuid)
            seen = listing(driver, deployment)
            self.engine.start_outside(uuid)
            self.submit('pause', uuid)
            self.here.sweep()
            return seen

        self.patch(fake.FakeDriver, 'list', list_slowly)
        self.reconcile()
        self.assert_at_rest(uuid, states.PAUSED)

    def test_one_accepted_while_it_looked(self):
        uuid = self.running()
        listing = fake.FakeDriver.list

        def list_slowly(driver, deployment):
            self.engine.stop_outside(uuid)
            seen = listing(driver, deployment)
            self.submit('pause', uuid)
            return seen

        self.patch(fake.FakeDriver, 'list', list_slowly)
        self.reconcile()
        self.assertEqual(states.RUNNING, self.container(uuid).status)


class TestBays(ReconcileCase):

    def test_health(self):
        self.assertEqual('UNKNOWN', self.place.health_status)
        self.reconcile()
        bay = self.bay(self.place.uuid)
        self.assertEqual(('HEALTHY', None, self.engine.engine_id),
                         (bay.health_status, bay.health_status_reason, bay.engine_id))
        self.engine.unreachable = True
        self.reconcile()
        bay = self.bay(self.place.uuid)
        self.assertEqual(('UNHEALTHY', self.engine.engine_id), (bay.health_status, bay.engine_id))
        self.assertIn('connection refused', bay.health_status_reason)
        self.engine.unreachable = False
        self.reconcile()
        bay = self.bay(self.place.uuid)
        self.assertEqual(('HEALTHY', None), (bay.health_status, bay.health_status_reason))

    def test_an_engine_that_is_gone_changes_no_container(self):
        uuid = self.running()
        self.engine.unreachable = True
        before = self.container(uuid)
        self.reconcile()
        self.assertEqual(before, self.container(uuid))

    def test_one_bay_that_fails_does_not_keep_others_from_their_turn(self):
        self.engine.unreachable = True
        self.addCleanup(fake.FakeEngine.forget, 'second')
        other = self.make_bay('second', 'fake://second')
        self.here.clock.advance(2)
        self.here.reconcile()
        self.assertEqual(['UNHEALTHY', 'HEALTHY'],
                         [self.bay(one.uuid).health_status for one in (self.place, other)])

    def test_one_conductor_does_a_bay_once_per_interval(self):
        passes = []
        self.patch(self.here.reconcile, 'bay', lambda bay: passes.append('here'))
        other = self.another()
        self.patch(other.reconcile, 'bay', lambda bay: passes.append('other'))
        self.here.reconcile()
        other.reconcile()
        self.here.reconcile()
        self.assertEqual(['here'], passes)
        self.let_pass(self.conf.conductor.reconcile_interval)
        other.reconcile()
        self.assertEqual(['here', 'other'], passes)

    def test_bays_of_other_hosts_are_left_to_them(self):
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.reconcile()
        self.assertEqual('UNKNOWN', self.bay(self.place.uuid).health_status)
