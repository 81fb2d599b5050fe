# SPDX-License-Identifier: Apache-2.0
"""What really happened on the engine, where nothing is under way."""

import datetime
import threading

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import states
from container_service.conductor import reconcile
from container_service.db import bays
from container_service.db import conductors
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class ReconcileCase(base.BenchCase):

    def reconcile(self):
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

    def test_bays_of_other_hosts_are_left_to_them(self):
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.reconcile()
        self.assertEqual('UNKNOWN', self.bay(self.place.uuid).health_status)


class TestWhoWatches(ReconcileCase):

    def watcher(self, bay=None):
        return self.bay((bay or self.place).uuid).watcher_uuid

    def tick(self, *benches):
        for bench in benches:
            bench.engines.reread()
            bench.reconciler()

    def watching(self, bench):
        return {observer.bay.name for observer in bench.reconciler.observers.values()}

    def declare(self, bench, **values):
        self.change(conductors.table, bench.lease.uuid, **values)

    def test_one_conductor_at_a_time(self):
        other = self.another()
        self.tick(self.here, other, self.here, other)
        self.assertEqual(self.here.lease.uuid, self.watcher())
        self.assertEqual(({'bay'}, set()), (self.watching(self.here), self.watching(other)))

    def test_two_that_try_at_once(self):
        other = self.another()
        served = other.engines.served()
        self.tick(self.here)
        self.patch(other.engines, 'served', lambda: served)
        self.patch(other.engines, 'reread', lambda: None)
        self.tick(other)
        self.assertEqual(self.here.lease.uuid, self.watcher())
        self.assertEqual(set(), self.watching(other))

    def test_another_takes_over_when_it_is_gone(self):
        other = self.another()
        self.tick(self.here, other)
        self.declare(self.here, state=conductors.GONE)
        self.tick(other)
        self.assertEqual(other.lease.uuid, self.watcher())

    def test_not_when_it_is_only_slow(self):
        """Its lease is over by the clock of the database, but nobody has declared it dead."""
        other = self.another()
        self.tick(self.here, other)
        self.declare(self.here, lease_until=self.database_time() - datetime.timedelta(hours=1))
        self.tick(other)
        self.assertEqual(self.here.lease.uuid, self.watcher())

    def test_one_whose_registration_is_forgotten(self):
        self.change(bays.table, self.place.uuid, watcher_uuid='forgotten')
        self.tick(self.here)
        self.assertEqual(self.here.lease.uuid, self.watcher())

    def test_one_that_is_drained_or_disabled_gives_way(self):
        for values in ({'state': conductors.DRAINING}, {'disabled': 1}, {'forced_down': 1}):
            other = self.another()
            self.tick(self.here)
            self.declare(self.here, **values)
            self.tick(other, self.here)
            self.assertEqual(other.lease.uuid, self.watcher())
            self.assertEqual((set(), {'bay'}), (self.watching(self.here), self.watching(other)))
            other.reconciler.stop()
            other.lease.stop()
            self.declare(self.here, state=conductors.UP, disabled=0, forced_down=0)

    def test_the_last_one_goes_on_although_it_is_disabled(self):
        self.declare(self.here, disabled=1)
        self.tick(self.here)
        self.assertEqual({'bay'}, self.watching(self.here))

    def test_one_whose_host_may_not_any_more(self):
        self.tick(self.here)
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.tick(self.here)
        self.assertEqual(set(), self.watching(self.here))

    def test_a_new_incarnation_watches_anew(self):
        self.tick(self.here)
        old, = self.here.reconciler.observers.values()
        self.declare(self.here, state=conductors.GONE)
        self.here.lease.renew()
        self.tick(self.here)
        new, = self.here.reconciler.observers.values()
        self.assertEqual((self.here.lease.uuid, True), (self.watcher(), old is not new))

    def test_stopping_leaves_it_to_others_at_once(self):
        other = self.another()
        self.tick(self.here, other)
        self.here.reconciler.stop()
        self.assertIsNone(self.watcher())
        self.tick(self.here, other)
        self.assertEqual(other.lease.uuid, self.watcher())

    def test_stopping_in_the_middle_of_a_round(self):
        """Nothing that the round was about to watch is watched after all."""
        take, stopping = bays.take_watch, threading.Thread(target=self.here.reconciler.stop)

        def taking(*args):
            stopping.start()
            stopping.join(0.2)
            return take(*args)

        self.patch(bays, 'take_watch', taking)
        self.tick(self.here)
        stopping.join(20)
        self.assertIsNone(self.watcher())
        self.assertEqual(set(), self.watching(self.here))

    def test_a_bay_that_is_deleted(self):
        self.tick(self.here)
        bay_rules.delete(self.admin, self.db, 'bay')
        self.tick(self.here)
        self.assertEqual(set(), self.watching(self.here))

    def test_they_share(self):
        others = [self.another() for _ in range(2)]
        for number in range(5):
            self.addCleanup(fake.FakeEngine.forget, f'more{number}')
            self.make_bay(f'more{number}', f'fake://more{number}')
        self.tick(self.here, *others)
        self.assertEqual([2, 2, 2], [len(self.watching(one)) for one in (self.here, *others)])

    def test_what_others_do_not_take_is_taken(self):
        self.another()
        self.addCleanup(fake.FakeEngine.forget, 'second')
        self.make_bay('second', 'fake://second')
        self.tick(self.here)
        self.assertEqual(1, len(self.watching(self.here)))
        self.here.clock.advance(reconcile._PATIENCE)
        self.here.lease.renew()
        self.tick(self.here)
        self.assertEqual({'bay', 'second'}, self.watching(self.here))

    def test_without_a_lease_nothing_is_taken(self):
        self.here.clock.advance(self.conf.conductor.lease)
        self.tick(self.here)
        self.assertIsNone(self.watcher())
