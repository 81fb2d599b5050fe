# SPDX-License-Identifier: Apache-2.0
"""The watching of one bay: events at once, lists for the truth, nothing lost in between."""

import datetime
import threading
import time

import sqlalchemy as sa

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.conductor import observer
from container_service.db import bays
from container_service.db import conductors
from container_service.db import events
from container_service.drivers import fake
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base


class ObserverCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.here.reconcile()
        self.observer, = self.here.reconciler.observers.values()
        self.looks = []
        observe = fake.FakeDriver.observe
        self.patch(fake.FakeDriver, 'observe', lambda driver, container: (
            self.looks.append(container.uuid), observe(driver, container))[1])

    def running(self, *args, **values):
        """As usual, and what the engine told of it is dealt with."""
        uuid = super().running(*args, **values)
        self.here.hear()
        del self.looks[:]
        return uuid

    def let_pass(self, seconds):
        super().let_pass(seconds)
        self.change(conductors.table, self.here.lease.uuid,
                    lease_until=self.database_time() + datetime.timedelta(seconds=60))

    def told(self):
        return [(event.type, event.detail.get('how')) for event in self.events()]


class TestHost(ObserverCase):

    def test_what_the_engine_tells_of_its_host_is_noted(self):
        with self.db.read() as conn:
            self.assertEqual(self.engine.info,
                             bays.get(conn, self.place.uuid, None).engine_info)


class TestEvents(ObserverCase):

    def test_an_exit(self):
        uuid = self.running()
        self.engine.exit(uuid, 3)
        self.here.hear()
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual(3, self.container(uuid).exit_code)
        event, = self.events()
        self.assertEqual(
            (events.EXITED, 'project', self.place.uuid, uuid,
             {'before': 'Running', 'status': 'Stopped', 'exit_code': 3, 'oom_killed': False}),
            (event.type, event.project_id, event.bay_uuid, event.container_uuid, event.detail))

    def test_for_want_of_memory(self):
        uuid = self.running()
        self.engine.exit(uuid, 137, oom=True)
        self.here.hear()
        self.assertTrue(self.container(uuid).oom_killed)
        self.assertTrue(self.events()[0].detail['oom_killed'])

    def test_by_hand(self):
        uuid = self.running()
        for change, status, how in (
                (self.engine.stop_outside, states.STOPPED, 'stopped'),
                (self.engine.start_outside, states.RUNNING, 'started'),
                (self.engine.pause_outside, states.PAUSED, 'paused')):
            change(uuid)
            self.here.hear()
            self.assert_at_rest(uuid, status)
            self.assertEqual((events.CHANGED_OUTSIDE, how), self.told()[-1])
            self.assertEqual(f'Changed outside: {how}.', self.container(uuid).status_reason)
        self.engine.rename_outside(uuid, 'mine')
        self.here.hear()
        self.assertEqual((events.CHANGED_OUTSIDE, 'renamed'), self.told()[-1])
        self.assertEqual([], self.strays())

    def test_a_signal_of_ours_that_has_its_effect_later(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGTERM')
        self.here.sweep()
        self.engine.stop_outside(uuid, 0)
        self.here.hear()
        self.assertEqual([(events.EXITED, None)], self.told())
        self.assertIsNone(self.container(uuid).status_reason)

    def test_a_stop_of_ours_that_the_engine_carries_out_late(self):
        uuid = self.running()
        self.engine.fail('stop')
        self.submit('stop', uuid)
        self.here.sweep()
        self.engine.stop_outside(uuid)
        self.here.hear()
        self.assertEqual([(events.EXITED, None)], self.told())

    def test_removed_by_hand(self):
        uuid = self.running()
        self.engine.remove_outside(uuid)
        self.here.hear()
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual([(events.MISSING, None)], self.told())

    def test_health(self):
        uuid = self.running()
        for health in ('starting', 'healthy', 'unhealthy'):
            self.engine.set_health(uuid, health)
            self.here.hear()
            self.assertEqual(health, self.container(uuid).health)
        self.assertEqual([{'before': None, 'health': 'starting'},
                          {'before': 'starting', 'health': 'healthy'},
                          {'before': 'healthy', 'health': 'unhealthy'}],
                         [event.detail for event in self.events(events.HEALTH)])

    def test_what_actions_of_ours_do_is_no_event_and_no_further_look(self):
        uuid = self.running()
        for name in ('pause', 'unpause', 'stop', 'start', 'reboot', 'kill'):
            self.submit(name, uuid)
            self.here.sweep()
            del self.looks[:]
            self.here.hear()
            self.here.work()
            self.assertEqual([], self.looks, name)
        self.submit('delete', uuid)
        self.here.sweep()
        self.here.hear()
        self.assertEqual([], self.told())

    def test_a_burst_is_one_look(self):
        uuid = self.running()
        for _ in range(50):
            self.engine.pause_outside(uuid)
            self.engine.pause_outside(uuid, states.RUNNING)
        self.engine.pause_outside(uuid)
        self.here.hear()
        self.assertEqual([uuid], self.looks)
        self.assert_at_rest(uuid, states.PAUSED)

    def test_many_at_once(self):
        self.patch(observer, '_BATCH', 3)
        uuids = [self.running() for _ in range(8)]
        for uuid in uuids:
            self.engine.exit(uuid, 1)
        self.here.hear()
        self.assertEqual({states.STOPPED}, {self.container(uuid).status for uuid in uuids})
        self.assertEqual(8, len(self.looks))

    def test_what_cannot_be_looked_at_now_is_looked_at_later(self):
        one, other = self.running(), self.running()
        self.engine.exit(one, 1)
        self.engine.exit(other, 1)
        looks = []
        real = fake.FakeDriver.observe

        def fail_once(driver, container):
            looks.append(container.uuid)
            if len(looks) == 1:
                raise exceptions.EngineUnreachable('gone for a moment')
            return real(driver, container)

        self.patch(fake.FakeDriver, 'observe', fail_once)
        self.patch(self.observer, '_full_pass', lambda driver: None)
        self.here.hear()
        self.here.work()
        for uuid in (one, other):
            self.assert_at_rest(uuid, states.STOPPED)

    def test_a_database_that_is_away_for_a_moment(self):
        uuid = self.running()
        self.engine.exit(uuid, 1)
        self.observer.follow(False, quiet_seconds=0)
        self.here.clock.advance(1)
        with fixtures.lost_commit(self.db, landed=True) as lost:
            self.observer.work()
        self.assertTrue(lost)
        self.here.work()
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual([(events.EXITED, None)], self.told())

    def test_how_far_they_were_seen_is_noted_for_the_next_watcher(self):
        uuid = self.running()
        self.here.clock.advance(10)
        self.here.work()
        self.engine.exit(uuid, 1)
        self.here.reconciler.stop()
        other = self.another()
        other.engines.reread()
        other.reconciler()
        observer, = other.reconciler.observers.values()
        self.assertIsNotNone(self.bay(self.place.uuid).events_seen)
        # Only what came after: the exit, not the start.
        told = []
        self.patch(observer, '_take', told.append)
        observer.follow(False, quiet_seconds=0)
        self.assertEqual(['die'], [event.kind for event in told])

    def test_what_was_told_while_nobody_watched_explains_what_a_list_shows(self):
        uuid = self.running()
        self.here.clock.advance(10)
        self.here.work()
        self.here.reconciler.stop()
        self.engine.stop_outside(uuid)
        other = self.another()
        other.engines.reread()
        other.reconciler()
        observer, = other.reconciler.observers.values()
        observer.follow(True, quiet_seconds=0)
        other.work()
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual([(events.CHANGED_OUTSIDE, 'killed')], [
            (kind, 'killed' if how in ('killed', 'stopped') else how)
            for kind, how in self.told()])

    def test_no_event_twice_although_it_is_replayed(self):
        uuid = self.running()
        self.engine.exit(uuid, 1)
        self.here.hear()
        self.observer._seen_event = 0
        self.here.hear()
        self.here.reconcile()
        self.assertEqual([(events.EXITED, None)], self.told())


class TestBusy(ObserverCase):
    """Containers that an action is under way on."""

    def test_are_left_to_it_and_looked_at_when_it_has_ended(self):
        uuid = self.running()
        self.submit('pause', uuid)
        claim = self.claim(uuid)
        self.engine.exit(uuid, 7)
        before = self.container(uuid)
        self.here.hear()
        self.here.work()
        self.assertEqual(before, self.container(uuid))
        self.assertEqual([], self.looks)
        lifecycle.fail(self.db, claim, {'code': 'why', 'detail': 'why'}, status=states.RUNNING)
        self.here.work()
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual(7, self.container(uuid).exit_code)

    def test_an_exit_right_after_the_last_look_of_an_action(self):
        """The action records what it saw; the end came between its look and its commit."""
        uuid = self.running()
        self.submit('stop', uuid)
        self.here.sweep()
        self.submit('start', uuid)
        succeed = lifecycle.succeed

        def exit_first(*args):
            self.engine.exit(uuid, 9)
            self.here.hear()                 # still busy now
            return succeed(*args)

        self.patch(lifecycle, 'succeed', exit_first)
        self.here.sweep()
        self.patch(lifecycle, 'succeed', succeed)
        self.assert_at_rest(uuid, states.RUNNING)
        self.here.work()
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual(9, self.container(uuid).exit_code)

    def test_one_that_a_list_shows_while_it_is_busy(self):
        uuid = self.running()
        self.submit('pause', uuid)
        claim = self.claim(uuid)
        self.engine.exit(uuid, 7)
        self.engine.history.clear()          # no event ever comes
        self.here.reconcile()
        lifecycle.fail(self.db, claim, {'code': 'why', 'detail': 'why'}, status=states.RUNNING)
        self.here.reconcile()
        self.assert_at_rest(uuid, states.STOPPED)


class TestFullPass(ObserverCase):

    def statements(self, do):
        sent = []

        def note(conn, cursor, statement, *rest):
            sent.append(statement)

        sa.event.listen(self.db.engine, 'before_cursor_execute', note)
        try:
            do()
        finally:
            sa.event.remove(self.db.engine, 'before_cursor_execute', note)
        return [text for text in sent if 'containers' in text]

    def let_it_settle(self):
        """All rows are older than what a pass looks at again."""
        self.here.reconcile()
        self.let_pass(observer._MARGIN_SECONDS + 1)
        self.here.reconcile()

    def test_costs_what_changes_not_what_exists(self):
        uuids = [self.running() for _ in range(20)]
        self.let_it_settle()
        costs = [len(self.statements(self.here.reconcile)) for _ in range(2)]
        self.assertEqual([1, 1], costs)      # what has changed in SQL: nothing
        self.assertEqual([], self.looks)
        self.engine.exit(uuids[3], 1)
        self.engine.history.clear()
        self.here.reconcile()
        self.assertEqual([uuids[3]], self.looks)
        self.assert_at_rest(uuids[3], states.STOPPED)

    def test_what_sql_alone_has_changed_is_seen(self):
        uuid = self.running()
        self.let_it_settle()
        self.change(observer.containers.table, uuid, status=states.UNKNOWN,
                    updated_at=self.database_time())
        self.here.reconcile()
        self.assert_at_rest(uuid, states.RUNNING)

    def test_all_rows_are_looked_at_once_an_hour(self):
        uuid = self.running()
        self.let_it_settle()
        self.set_status(uuid, states.UNKNOWN)      # and nothing says when
        self.here.reconcile()
        self.assertEqual(states.UNKNOWN, self.container(uuid).status)
        self.here.clock.advance(observer._COMPLETE_SECONDS)
        self.here.reconcile()
        self.assert_at_rest(uuid, states.RUNNING)

    def test_rows_come_in_pages(self):
        uuids = [self.running() for _ in range(7)]
        with self.db.read() as conn:
            for page in (1, 3, 7, 100):
                self.assertEqual(uuids, [row.uuid for row in observer.containers.compared(
                    conn, self.place.uuid, page=page)])

    def test_several_that_went_while_nobody_watched(self):
        uuids = [self.running() for _ in range(4)]
        self.here.reconciler.stop()
        for uuid in uuids[:2]:
            self.engine.remove_outside(uuid)
        self.engine.exit(uuids[2], 5)
        other = self.another()
        other.reconcile()
        self.assertEqual([states.ERROR, states.ERROR, states.STOPPED, states.RUNNING],
                         [self.container(uuid).status for uuid in uuids])

    def test_a_change_that_the_stream_did_not_tell_of_ends_the_stream(self):
        uuid = self.running()
        stream = self.observer._stream = fake.FakeEvents(self.engine, 'd', None, 1)
        self.observer._connected_at = self.here.clock()
        self.engine.exit(uuid, 5)
        self.engine.history.clear()
        self.here.clock.advance(5)
        self.here.reconcile()
        self.assertTrue(stream._closed)

    def test_events_outlive_a_pass_that_fails(self):
        """What they tell of how it came is in no list."""
        uuid = self.running()
        self.engine.stop_outside(uuid)
        self.observer.follow(False, quiet_seconds=0)
        observe, left = fake.FakeDriver.observe, [exceptions.EngineUnreachable('It is away.')]

        def fail_once(driver, container):
            if left:
                raise left.pop()
            return observe(driver, container)

        self.patch(fake.FakeDriver, 'observe', fail_once)
        self.here.reconcile()
        self.assertEqual([], self.told())
        self.here.work()
        self.assertEqual([(events.CHANGED_OUTSIDE, 'stopped')], self.told())

    def test_what_is_written_late_does_not_come_back(self):
        """A watcher that was suspended writes nothing once another has taken its place."""
        self.change(bays.table, self.place.uuid, watcher_uuid='other', health_status='UNKNOWN')
        self.observer.ask_for_pass()
        self.here.work()
        self.assertEqual('UNKNOWN', self.bay(self.place.uuid).health_status)


class TestBay(ObserverCase):

    def test_when_it_was_compared_is_told_of_complete_passes_only(self):
        first = self.bay(self.place.uuid).reconciled_at
        self.assertIsNotNone(first)
        self.engine.unreachable = True
        self.here.reconcile()
        self.assertEqual(first, self.bay(self.place.uuid).reconciled_at)

    def test_deleted_ones_are_remembered_as_long_as_it_cannot_be_looked_at(self):
        keep = self.conf.conductor.history_days * 24 * 3600
        uuid = self.running()
        self.submit('delete', uuid, force=True)
        self.here.sweep()

        def purge():
            return self.db.transact(lambda conn: observer.containers.purge(conn, keep))

        self.engine.unreachable = True
        self.here.reconcile()
        self.let_pass(keep + 3600)
        self.assertEqual(0, purge())
        self.engine.unreachable = False
        self.here.reconcile()
        self.assertEqual(0, purge())           # a moment ago is not long enough
        self.let_pass(3601)
        self.assertEqual(1, purge())

    def test_deleted_ones_are_remembered_when_nobody_watched(self):
        keep = self.conf.conductor.history_days * 24 * 3600
        uuid = self.running()
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        self.here.reconciler.stop()
        self.let_pass(keep + 3600)
        other = self.another()
        other.reconcile()
        self.assertEqual(0, self.db.transact(
            lambda conn: observer.containers.purge(conn, keep)))

    def test_events_are_kept_as_long_as_history(self):
        uuid = self.running()
        self.engine.exit(uuid, 1)
        self.here.hear()
        keep = self.conf.conductor.history_days * 24 * 3600
        self.let_pass(keep - 60)
        self.here.sweep.purge()
        self.assertEqual(1, len(self.events()))
        self.let_pass(61)
        self.here.sweep.purge()
        self.assertEqual([], self.events())


class TestThreads(base.BenchCase):
    """With its threads, as it runs in a conductor."""

    def setUp(self):
        super().setUp()
        self.conf.set_override('reconcile_interval', 3600, group='conductor')
        self.uuid = self.running()
        self.here.lease._clock = self.here.reconciler._clock = time.monotonic
        self.here.lease.renew()
        del self.here.reconciler.start
        self.here.engines.reread()
        self.here.reconciler()
        self.addCleanup(self.here.reconciler.stop)
        fixtures.eventually(lambda: self.engine.streams and self.bay(
            self.place.uuid).reconciled_at, 10, 0.02)

    def eventually(self, status):
        fixtures.eventually(
            lambda: self.container(self.uuid).status == status, 10, 0.02)

    def test_an_event(self):
        self.engine.exit(self.uuid, 4)
        self.eventually(states.STOPPED)

    def test_a_stream_that_is_cut_is_followed_again(self):
        self.engine.cut_streams()
        self.engine.exit(self.uuid, 4)
        self.eventually(states.STOPPED)

    def test_an_engine_that_forgets_what_was_before(self):
        """It was killed: the stream is cut and no event of that time ever comes."""
        self.engine.unreachable = True
        self.engine.cut_streams()
        self.engine.exit(self.uuid, 4)
        self.engine.history.clear()
        fixtures.eventually(lambda: not self.engine.streams, 10, 0.02)
        self.engine.unreachable = False
        self.eventually(states.STOPPED)

    def test_it_ends(self):
        before = {thread.name for thread in threading.enumerate()}
        self.assertLessEqual({'events-bay', 'observe-bay'}, before)
        self.here.reconciler.stop()
        fixtures.eventually(lambda: not {'events-bay', 'observe-bay'} & {
            thread.name for thread in threading.enumerate()}, 10, 0.02)

    def test_another_conductor_goes_on(self):
        self.here.reconciler.stop()
        self.change(conductors.table, self.here.lease.uuid, state=conductors.GONE)
        self.engine.exit(self.uuid, 4)
        other = self.another()
        other.reconcile()
        self.eventually(states.STOPPED)
