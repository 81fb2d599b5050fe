# SPDX-License-Identifier: Apache-2.0
"""What nobody was woken for, and what nobody does any more."""

from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service import states
from container_service.conductor import inflight
from container_service.db import actions
from container_service.db import bays
from container_service.db import conductors
from container_service.db import containers
from container_service.db import images
from container_service.db import models
from container_service.db import pulls as pull_rows
from container_service.drivers import fake
from container_service.tests.base import Conductor
from container_service.tests.unit.conductor import base


class TestWake(base.BenchCase):

    def test_queued_work_is_found_without_a_wake(self):
        uuids = [self.create() for _ in range(5)]
        self.here.sweep()
        for uuid in uuids:
            self.assert_at_rest(uuid, states.CREATED)

    def test_what_waits_for_a_retry_is_not_woken_before_its_time(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'x', 'x', 60)
        self.here.sweep()
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))

    def test_bays_of_other_hosts_are_left_to_them(self):
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        uuid = self.create()
        self.here.sweep()
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))

    def test_a_full_pool_learns_that_something_waits(self):
        """More is offered than there is room for: who frees a slot then asks for the next."""
        for _ in range(5):
            self.create()
        woken = []
        self.patch(self.here.inflight, 'wake', woken.append)
        self.here.sweep()
        self.assertEqual(base.WORKERS + 1, len(woken))

    def test_dead_conductors_are_forgotten_after_a_week(self):
        other = self.another()
        self.die(other)
        self.here.sweep.purge()
        self.assertEqual(2, self.count())
        self.let_pass(8 * 24 * 3600)
        self.here.lease.renew()
        self.here.sweep.purge()
        self.assertEqual(1, self.count())

    def count(self):
        with self.db.read() as conn:
            return len(conn.execute(conductors.table.select()).all())


class TestOneOfMany(base.BenchCase):
    """A row with which something is wrong keeps nobody else waiting."""

    def setUp(self):
        super().setUp()
        self.bad, self.good = self.create(image='bad/image:1'), self.create(image='good/image:1')

    def broken(self, module, name, is_bad):
        real = getattr(module, name)

        def call(first, row, *args, **values):
            if is_bad(row):
                raise ValueError('A string literal cannot contain NUL (0x00) characters.')
            return real(first, row, *args, **values)

        self.patch(module, name, call)

    def goes_on(self, other):
        for _ in range(3):
            other.sweep()
        self.assert_at_rest(self.good, states.CREATED)
        self.assertIn('NUL', self.log.output)

    def waiting(self, bench):
        return [lifecycle.wait_for_pull(self.db, self.claim(uuid, bench.lease))
                for uuid in (self.bad, self.good)]

    def test_what_came_of_a_pull_cannot_be_told(self):
        bad, good = self.waiting(self.here)
        self.broken(images, 'settle', lambda uuid: uuid in (bad, good))
        for pull in (bad, good):
            claim = pulls.claim(self.db, pull, self.here.lease)
            self.assertRaises(ValueError, pulls.end, self.db, claim, states.FAILED, {
                'code': 'image_pull_failed', 'title': 'x', 'detail': 'x', 'stage': None,
                'hint': None, 'retriable': True})
        self.here.sweep()
        for uuid in (self.bad, self.good):
            self.assertEqual('retrying', self.actions_of(uuid)[0].waiting_code)

    def test_what_waits_for_a_pull_cannot_be_freed(self):
        bad, good = self.waiting(self.here)
        self.broken(pull_rows, 'free_waiters', lambda uuid: uuid == bad)
        self.goes_on(self.here)
        self.assertEqual([('create', 'queued')], self.outcomes(self.bad))

    def test_a_pull_cannot_be_released(self):
        other = self.another()
        claims = [pulls.claim(self.db, pull, other.lease) for pull in self.waiting(other)]
        self.broken(pull_rows, 'release', lambda row: row.uuid == claims[0].pull.uuid)
        self.die(other)
        self.goes_on(self.here)

    def test_an_action_cannot_be_freed(self):
        other = self.another()
        for uuid in (self.bad, self.good):
            self.claim(uuid, other.lease)
        self.broken(lifecycle, 'take_over', lambda row: row.resource_uuid == self.bad)
        self.die(other)
        self.goes_on(self.here)

    def test_an_action_cannot_be_expired(self):
        terms = lifecycle.Terms(timeout_seconds=1)
        late = [self.ask('start', self.good, terms=terms).action.uuid for _ in range(2)]
        self.let_pass(5)
        self.broken(lifecycle, 'expire', lambda row: row.uuid == late[0])
        self.here.sweep()
        self.assertEqual(states.FAILED, self.action(late[1]).status)


class TestTakeOver(base.BenchCase):

    def interrupted(self, uuid, operation, after_effect=False):
        """Let ``here`` die in the middle of the operation, before its effect or after it."""
        other = self.another()

        class KillMinusNine(BaseException):
            pass

        def die(*args, **kwargs):
            if not after_effect:
                raise KillMinusNine
            real(*args, **kwargs)
            raise KillMinusNine

        real = getattr(fake.FakeDriver, operation)
        setattr(fake.FakeDriver, operation, die)
        try:
            self.here.inflight.wake(uuid)
        finally:
            setattr(fake.FakeDriver, operation, real)
        self.assertIn('KillMinusNine', self.log.output)
        self.assertEqual((operation, 'running'), [
            outcome for outcome in self.outcomes(uuid) if outcome[1] != 'succeeded'][0])
        return other

    def test_while_it_lives_nobody_touches_its_action(self):
        uuid = self.create()
        other = self.interrupted(uuid, 'create')
        other.sweep()
        other.sweep()
        self.assertEqual([('create', 'running')], self.outcomes(uuid))

    def test_another_goes_on_when_it_is_dead(self):
        for after_effect in (False, True):
            uuid = self.create()
            self.submit('start', uuid)
            other = self.interrupted(uuid, 'create', after_effect)
            self.die(self.here)
            other.sweep()
            self.assert_at_rest(uuid, states.RUNNING)
            self.assertEqual(['create', 'start'], self.effects(uuid))
            create, _ = self.actions_of(uuid)
            self.assertEqual((other.lease.server, 2), (create.conductor, create.attempts))
            self.here.lease.renew()

    def test_every_operation_has_its_effect_once(self):
        """Dead right after the effect, and before the outcome was written."""
        for operation, params in (('start', {}), ('pause', {}), ('unpause', {}), ('reboot', {}),
                                  ('stop', {}), ('delete', {})):
            uuid = self.create()
            self.here.sweep()
            for before in {'pause': ['start'], 'unpause': ['start', 'pause'],
                           'stop': ['start']}.get(operation, []):
                self.submit(before, uuid)
            self.here.sweep()
            already = self.effects(uuid)
            self.submit(operation, uuid, **params)
            other = self.interrupted(uuid, operation, after_effect=True)
            self.die(self.here)
            other.sweep()
            self.assertEqual((operation, 'succeeded'), self.outcomes(uuid)[-1])
            self.assertEqual([*already, operation], self.effects(uuid))
            other.lease.stop()
            other.slot.release()
            self.here.lease.renew()

    def test_what_must_not_run_twice_ends_as_interrupted(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGHUP')
        self.submit('stop', uuid)
        other = self.interrupted(uuid, 'kill')
        self.die(self.here)
        other.sweep()
        self.assertEqual([('kill', 'interrupted'), ('stop', 'skipped')], self.outcomes(uuid)[1:])
        self.assertNotIn('kill', self.effects(uuid))
        self.assert_at_rest(uuid, states.RUNNING)

    def test_on_bays_of_other_hosts_it_is_left_to_them(self):
        uuid, image = self.create(), self.create(image='far/away:1')
        self.claim(uuid)
        pull = lifecycle.wait_for_pull(self.db, self.claim(image))
        pulls.claim(self.db, pull, Conductor())
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.here.sweep()
        self.assertEqual([('create', 'running')], self.outcomes(uuid))
        with self.db.read() as conn:
            self.assertEqual('running', pull_rows.find(conn, pull).status)
        self.change(bays.table, self.place.uuid, hosts=[self.conf.host])
        self.here.clock.advance(2)
        self.here.lease.renew()
        self.here.sweep()
        self.here.sweep()
        for one in (uuid, image):
            self.assert_at_rest(one, states.CREATED)

    def test_a_death_counts_only_when_it_ran_nothing_else(self):
        self.conf.set_override('max_attempts', 2, group='conductor')
        other = self.another()
        together, alone = [self.create() for _ in range(2)], self.create()
        self.engine.unreachable = True      # so that nobody carries on with them
        for running in (together, together, together, [alone], [alone]):
            for uuid in running:
                self.change(containers.table, uuid, runnable_at=self.database_time())
                self.assertIsNotNone(self.claim(uuid, other.lease))
            self.die(other)
            self.here.sweep.take_over()
            other.lease.renew()
        self.assertEqual([0, 0, 2], [self.actions_of(uuid)[0].attempts
                                     for uuid in (*together, alone)])
        self.assertEqual([('create', 'failed')], self.outcomes(alone))
        self.assertEqual('attempts_exhausted', self.actions_of(alone)[0].error['code'])

    def test_what_could_run_here_is_counted_and_reported(self):
        for _ in range(3):
            self.create()
        self.engine.unreachable = True
        for _ in range(3):
            self.here.engines.failed(self.place.uuid, 'gone')
        self.here.sweep()
        self.here.lease.renew()
        with self.db.read() as conn:
            self.assertEqual(3, conductors.find(conn, self.here.lease.uuid).queued)

    def test_a_restart_of_the_same_conductor_takes_over_at_once(self):
        """It holds the lock of the slot, so it waits for no lease."""
        uuid = self.create()
        self.interrupted(uuid, 'create')
        self.here.slot.release()
        again = self.another()
        self.assertEqual(0, again.slot.number)
        again.sweep()
        self.assert_at_rest(uuid, states.CREATED)

    def test_two_that_find_it_free_it_once(self):
        uuid = self.create()
        other = self.interrupted(uuid, 'create')
        third = self.another()
        self.die(self.here)
        found = []
        take_over = lifecycle.take_over

        def race(db, row, **how):
            if not found:
                found.append(row)
                third.sweep()
            return take_over(db, row, **how)

        self.patch(lifecycle, 'take_over', race)
        other.sweep()
        self.assertEqual([('create', 'succeeded')], self.outcomes(uuid))
        self.assertEqual(third.lease.server, self.actions_of(uuid)[0].conductor)
        self.assertEqual(2, self.actions_of(uuid)[0].attempts)

    def test_an_own_action_that_nobody_here_runs(self):
        """Its slot was lost to an error; it is freed when it was seen so twice."""
        uuid = self.create()
        self.interrupted(uuid, 'create')
        self.here.sweep()
        self.assertEqual([('create', 'running')], self.outcomes(uuid))
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)

    def test_an_own_action_in_flight_is_left_alone(self):
        uuid = self.create()
        self.meanwhile(lambda: (self.here.sweep(), self.here.sweep()))
        self.here.sweep()
        self.assertNotIn('freed', self.log.output)
        self.assertEqual(1, self.actions_of(uuid)[0].attempts)

    def test_what_an_earlier_incarnation_of_its_own_ran(self):
        """Stopped for longer than its lease and woken again: the work is a dead peer's."""
        uuid = self.create()
        old = self.here.lease.uuid

        def sleep_for_long():
            self.die(self.here)
            self.here.lease.renew()

        self.meanwhile(sleep_for_long)
        self.here.sweep()
        self.assertEqual([], self.effects(uuid))
        self.assertEqual(old, self.actions_of(uuid)[0].conductor_uuid)
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual(['create'], self.effects(uuid))

    def test_a_slot_that_dies_of_an_error_frees_its_container(self):
        uuid = self.create()
        self.patch(lifecycle, 'succeed', lambda *args: 1 / 0)
        self.assertEqual(inflight.ACCEPTED, self.here.inflight.wake(uuid))
        self.assertEqual(0, len(self.here.inflight))
        self.assertIn('ZeroDivisionError', self.log.output)

    def test_queued_work_of_a_dead_conductor_simply_goes_on(self):
        uuid = self.create()
        self.submit('start', uuid)
        other = self.another()
        self.die(self.here)
        other.sweep()
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertNotIn('freed', self.log.output)

    def test_a_database_that_is_down_is_told_to_the_caller(self):
        def down():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'read', down)
        self.assertRaises(exceptions.DatabaseUnavailable, self.here.sweep)


class TestPurge(base.BenchCase):
    """What is older than is promised to be kept is forgotten, and nothing else."""

    DAY = 24 * 3600

    def days_pass(self, days):
        self.let_pass(days * self.DAY)
        self.here.lease.renew()
        self.here.sweep.purge()

    def count(self, table):
        with self.db.read() as conn:
            return len(conn.execute(table.select()).all())

    def deleted(self):
        # Its bay is looked at all the time.
        self.change(models.bays, self.place.uuid, steady_since=self.place.created_at)
        uuid = self.create(labels={'a': 'b'})
        self.submit('delete', uuid)
        self.submit('delete', uuid)             # folded: a further request id
        self.here.sweep()
        self.assert_at_rest(uuid, states.DELETED)
        return uuid

    def test_history_outlives_its_container(self):
        uuid = self.deleted()
        self.days_pass(29)
        self.assertEqual([('create', 'succeeded'), ('delete', 'succeeded')], self.outcomes(uuid))
        self.days_pass(2)
        for table in (models.actions, models.action_requests, models.containers,
                      models.container_labels):
            self.assertEqual(0, self.count(table), table.name)

    def test_the_audit_trail_outlives_both(self):
        self.deleted()
        self.days_pass(364)
        trail = self.count(models.audit)
        self.assertGreater(trail, 4)
        self.days_pass(2)
        self.assertEqual(0, self.count(models.audit))

    def test_the_audit_trail_is_never_touched_if_the_operator_says_so(self):
        self.conf.set_override('audit_days', 0, group='conductor')
        self.deleted()
        trail = self.count(models.audit)
        self.days_pass(5000)
        self.assertEqual(trail, self.count(models.audit))

    def test_how_long_is_the_operators(self):
        self.conf.set_override('history_days', 3, group='conductor')
        self.deleted()
        self.days_pass(2)
        self.assertEqual(2, self.count(models.actions))
        self.days_pass(2)
        self.assertEqual(0, self.count(models.actions))

    def test_what_lives_and_what_is_unfinished_stays(self):
        uuid = self.running(labels={'a': 'b'})
        self.submit('stop', uuid)
        for _ in range(3):
            self.here.engines.failed(self.place.uuid, 'gone')
        self.days_pass(400)
        self.assertEqual([('stop', 'queued')], self.outcomes(uuid))
        self.assertEqual((1, 1), (self.count(models.containers),
                                  self.count(models.container_labels)))

    def test_more_than_one_statement_takes(self):
        self.deleted()
        for purged in (actions, containers):
            real = purged.purge
            self.patch(purged, 'purge', lambda conn, seconds, real=real: real(conn, seconds, 1))
        self.deleted()
        self.days_pass(31)
        self.assertEqual((0, 0), (self.count(models.actions), self.count(models.containers)))

    def test_keys_are_kept_for_a_day(self):
        self.ask_create(terms=lifecycle.Terms(key='k', fingerprint='f'))
        self.days_pass(0.9)
        self.assertEqual(1, self.count(models.idempotency_keys))
        self.days_pass(0.2)
        self.assertEqual(0, self.count(models.idempotency_keys))

    def test_pulls_are_kept_for_a_week(self):
        self.create(image='far/away:1')
        self.here.sweep()
        self.days_pass(6)
        self.assertEqual(1, self.count(models.pulls))
        self.days_pass(2)
        self.assertEqual(0, self.count(models.pulls))
