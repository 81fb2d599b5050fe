# SPDX-License-Identifier: Apache-2.0
"""What is accepted, on what terms, and what a request that comes twice gets."""

import threading

import sqlalchemy as sa

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import states
from container_service.db import actions
from container_service.db import idempotency
from container_service.db import models
from container_service.drivers.base import Observed
from container_service.tests import base
from container_service.tests.unit import test_lifecycle

DAY = 24 * 3600


def terms(**values):
    return lifecycle.Terms(**values)


class AcceptanceCase(test_lifecycle.LifecycleCase):

    def everything(self):
        """All rows of all tables, to see whether anything changed."""
        with self.db.read() as conn:
            return {table.name: conn.execute(sa.select(table)).all()
                    for table in models.metadata.sorted_tables}

    def requests(self, action):
        with self.db.read() as conn:
            return actions.requests_of(conn, actions.get(conn, action, None))

    def asked_by(self, request_id):
        with self.db.read() as conn:
            return [row.uuid for row in actions.listing(
                conn, filters={'request_id': request_id},
                page=test_lifecycle.paging.Page(limit=10))[0]]


class TestFold(AcceptanceCase):
    """An equal request joins the last action in line, where the table allows that."""

    IN = {'start': states.STOPPED, 'stop': states.RUNNING, 'reboot': states.RUNNING,
          'pause': states.RUNNING, 'unpause': states.PAUSED, 'delete': states.STOPPED}

    def at(self, status):
        uuid = self.running()
        self.set_status(uuid, status)
        return uuid

    def test_what_folds_is_what_the_table_says(self):
        self.assertEqual(set(self.IN), {op.name for op in operations.OPERATIONS.values()
                                        if op.coalesce})

    def test_five_are_one(self):
        for operation, status in self.IN.items():
            uuid = self.at(status)
            first = self.ask(operation, uuid)
            self.assertEqual((False, ()), (first.folded, first.waits_for))
            for number in range(1, 5):
                again = self.ask(operation, uuid)
                self.assertTrue(again.folded)
                self.assertEqual((first.action.uuid, number),
                                 (again.action.uuid, again.action.coalesced))
            self.assertEqual([operation], [name for name, _ in self.outcomes(uuid)[1:]])
            self.assertEqual(4, self.action(first.action.uuid).coalesced)
            self.carry_out(uuid)
            self.assertEqual([], [row for row in self.actions_of(uuid)
                                  if row.status not in states.FINAL])

    def test_signals_never_fold(self):
        uuid = self.running()
        first, second = (self.submit('kill', uuid, signal='SIGUSR1') for _ in range(2))
        self.assertNotEqual(first, second)

    def test_creates_never_fold(self):
        self.assertNotEqual(self.create(), self.create())

    def test_every_request_id_leads_to_the_action(self):
        uuid = self.running()
        callers = [base.caller() for _ in range(4)]
        uuids = {self.ask('reboot', uuid, context=caller).action.uuid for caller in callers}
        action, = uuids
        ids = [caller.request_id for caller in callers]
        self.assertEqual(4, len(set(ids)))
        self.assertEqual(ids, self.requests(action))
        for request_id in ids:
            self.assertEqual([action], self.asked_by(request_id))

    def test_an_action_remembers_so_many_requests(self):
        self.patch(actions, '_MOST_REQUESTS', 2)
        uuid = self.running()
        callers = [base.caller() for _ in range(5)]
        for caller in callers:
            action = self.ask('reboot', uuid, context=caller).action
        self.assertEqual([caller.request_id for caller in callers[:3]],
                         self.requests(action.uuid))
        self.assertEqual(4, self.action(action.uuid).coalesced)
        with self.db.read() as conn:
            self.assertEqual(2, conn.execute(sa.select(sa.func.count()).select_from(
                models.action_requests)).scalar_one())

    def test_other_parameters_do_not_fold(self):
        """Refused here: behind a stop there is nothing to stop."""
        uuid = self.running()
        self.submit('stop', uuid, timeout_seconds=3)
        self.assertRaises(exceptions.InvalidState, self.submit, 'stop', uuid, timeout_seconds=4)
        reboot = self.submit('reboot', uuid, timeout_seconds=3)
        self.assertNotEqual(reboot, self.submit('reboot', uuid, timeout_seconds=4))
        self.assertNotEqual(reboot, self.submit('reboot', uuid, timeout_seconds=3))

    def test_another_user_does_not_fold(self):
        uuid = self.running()
        mine = self.submit('reboot', uuid)
        theirs = self.ask('reboot', uuid, context=base.caller(user_id='other'))
        self.assertFalse(theirs.folded)
        self.assertNotEqual(mine, theirs.action.uuid)

    def test_other_options_do_not_fold(self):
        for options in ({'on_predecessor_failure': 'run'}, {'timeout_seconds': 60}):
            uuid = self.running()
            first = self.ask('reboot', uuid)
            other = self.ask('reboot', uuid, terms=terms(**options))
            self.assertFalse(other.folded)
            self.assertNotEqual(first.action.uuid, other.action.uuid)
            again = self.ask('reboot', uuid, terms=terms(**options))
            self.assertEqual((True, other.action.uuid), (again.folded, again.action.uuid))

    def test_only_the_last_in_line(self):
        """Behind a stop, the same start means another one."""
        uuid = self.create()
        start = self.submit('start', uuid)
        self.submit('stop', uuid)
        again = self.ask('start', uuid)
        self.assertFalse(again.folded)
        self.assertNotEqual(start, again.action.uuid)
        self.assertEqual(0, self.action(start).coalesced)

    def test_one_that_runs_takes_nobody_in(self):
        uuid = self.running()
        first = self.submit('reboot', uuid)
        self.claim(uuid)
        second = self.ask('reboot', uuid)
        self.assertNotEqual(first, second.action.uuid)
        self.assertEqual(second.action.uuid, self.submit('reboot', uuid))
        self.assertEqual(2, len(self.actions_of(uuid)) - 1)

    def test_one_that_is_tried_again_takes_others_in(self):
        uuid = self.running()
        first = self.submit('reboot', uuid)
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 60, parked=True)
        self.assertEqual(first, self.submit('reboot', uuid))

    def test_one_that_is_being_cancelled_takes_nobody_in(self):
        uuid = self.running()
        first = self.submit('reboot', uuid)
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 60, parked=True)
        self.cancel(first)
        self.assertNotEqual(first, self.submit('reboot', uuid))

    def test_what_it_would_wait_for(self):
        uuid = self.create()
        start = self.submit('start', uuid)
        again = self.ask('start', uuid)
        self.assertEqual((start, ['create']), (
            again.action.uuid, [action.operation for action in again.waits_for]))

    def test_when_the_answer_of_the_database_is_lost(self):
        for landed in (True, False):
            uuid = self.running()
            self.submit('reboot', uuid)
            with test_lifecycle.fixtures.lost_commit(self.db, landed) as lost:
                again = self.ask('reboot', uuid, context=base.caller())
            self.assertEqual(1, len(lost))
            self.assertTrue(again.folded)
            self.assertEqual(1, self.action(again.action.uuid).coalesced)
            self.assertEqual(2, len(self.actions_of(uuid)))


class TestIfBusy(AcceptanceCase):

    REJECT = terms(if_busy='reject')

    def test_idle(self):
        uuid = self.running()
        self.assertIsNotNone(self.ask('pause', uuid, terms=self.REJECT).action)

    def test_a_refusal_names_the_action_in_the_way(self):
        uuid = self.running()
        pause = self.submit('pause', uuid)
        self.submit('unpause', uuid)
        before = self.everything()
        for step in (lambda: None, lambda: self.claim(uuid)):
            step()
            before = self.everything()
            for operation in ('stop', 'unpause', 'delete'):
                error = self.assertRaises(exceptions.Busy, self.ask, operation, uuid,
                                          terms=self.REJECT)
                self.assertEqual((409, 'container_busy'), (error.status, error.code))
                self.assertIn(f'{pause} (pause)', error.detail)
                self.assertIn('if_busy', error.hint)
            self.assertEqual(before, self.everything())


class TestPredecessors(AcceptanceCase):
    """What stands behind an action that does not succeed."""

    RUN = terms(on_predecessor_failure='run')

    def ended(self, uuid, how):
        if how == 'failed':
            lifecycle.fail(self.db, self.claim(uuid), test_lifecycle.ERROR,
                           Observed(states.RUNNING))
        elif how == 'cancelled':
            self.cancel(self.actions_of(uuid)[1].uuid)
        else:
            self.claim(uuid)
            with self.db.read() as conn:
                lifecycle.take_over(self.db, actions.abandoned(conn)[0])

    def line(self):
        """A kill, one that depends on it, one that does not, and one behind that."""
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGHUP')
        self.submit('reboot', uuid)
        self.ask('pause', uuid, terms=self.RUN)
        self.submit('unpause', uuid)
        return uuid

    def test_what_is_to_run_anyway_and_what_is_behind_it(self):
        for how in ('failed', 'cancelled', 'interrupted'):
            uuid = self.line()
            self.ended(uuid, how)
            self.assertEqual([('kill', how), ('reboot', 'skipped'), ('pause', 'queued'),
                              ('unpause', 'queued')], self.outcomes(uuid)[1:])
            row = self.container(uuid)
            self.assertEqual(('pause-in-progress', states.RUNNING, 0),
                             (row.task_state, row.projected_status, row.head_urgent))
            self.assertEqual(['pause', 'unpause'],
                             [self.carry_out(uuid).operation.name for _ in range(2)])
            self.assert_at_rest(uuid, states.RUNNING)

    def test_what_is_behind_it_depends_on_it(self):
        uuid = self.line()
        self.ended(uuid, 'failed')
        lifecycle.fail(self.db, self.claim(uuid), test_lifecycle.ERROR, Observed(states.RUNNING))
        unpause = self.actions_of(uuid)[-1]
        self.assertEqual((states.SKIPPED, self.actions_of(uuid)[-2].uuid),
                         (unpause.status, unpause.caused_by))

    def test_each_skipped_one_names_its_cause(self):
        uuid = self.create()
        for operation in ('start', 'stop'):
            self.submit(operation, uuid)
        create = self.actions_of(uuid)[0]
        self.cancel(create.uuid)
        for row in self.actions_of(uuid)[1:]:
            self.assertEqual((states.SKIPPED, create.uuid), (row.status, row.caused_by))
            self.assertIn('cancelled', row.error['detail'])


class TestForceDelete(AcceptanceCase):

    def force(self, uuid, **values):
        return self.ask('delete', uuid, force=True, **values)

    def test_idle(self):
        uuid = self.running()
        self.assertEqual((), self.force(uuid).cancelled)
        self.carry_out(uuid)
        self.assert_at_rest(uuid, states.DELETED)

    def test_what_is_queued_is_cancelled(self):
        uuid = self.running()
        queued = [self.submit('pause', uuid), self.submit('unpause', uuid)]
        accepted = self.force(uuid)
        self.assertEqual((tuple(queued), ()), (accepted.cancelled, accepted.waits_for))
        for row in self.actions_of(uuid)[1:3]:
            self.assertEqual(states.CANCELLED, row.status)
            self.assertIn('forced delete', row.error['detail'])
        row = self.container(uuid)
        self.assertEqual(('delete-in-progress', states.DELETED, 1, states.RUNNING),
                         (row.task_state, row.projected_status, row.head_urgent, row.status))
        self.assertEqual('delete', self.carry_out(uuid).operation.name)
        self.assert_at_rest(uuid, states.DELETED)

    def test_what_runs_is_asked_to_stop(self):
        uuid = self.running()
        self.submit('reboot', uuid)
        claim = self.claim(uuid)
        pause = self.submit('pause', uuid)
        accepted = self.force(uuid)
        self.assertEqual((pause,), accepted.cancelled)
        self.assertEqual(['reboot'], [action.operation for action in accepted.waits_for])
        self.assertEqual([('reboot', states.CANCELLING), ('pause', states.CANCELLED),
                          ('delete', states.QUEUED)], self.outcomes(uuid)[1:])
        self.assertIsNone(self.claim(uuid))
        lifecycle.end_cancelled(self.db, claim, Observed(states.RUNNING), test_lifecycle.ERROR)
        self.assertEqual('delete', self.carry_out(uuid).operation.name)
        self.assert_at_rest(uuid, states.DELETED)

    def test_what_may_have_acted_is_undone_first(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 60, parked=True)
        self.assertEqual((), self.force(uuid).cancelled)
        claim = self.claim(uuid)              # at once: it need not wait for its next attempt
        self.assertEqual(('create', states.CANCELLING),
                         (claim.operation.name, claim.action.status))

    def test_a_create_that_never_ran(self):
        uuid = self.create()
        self.force(uuid)
        self.assertEqual([('create', 'cancelled'), ('delete', 'queued')], self.outcomes(uuid))
        row = self.container(uuid)
        self.assertEqual((states.ERROR, 'create cancelled'), (row.status, row.status_reason))

    def test_cancelled_itself_it_leaves_nothing_in_transition(self):
        """The create was cancelled for it: the container stayed in Creating for ever."""
        uuid = self.create()
        self.cancel(self.force(uuid).action.uuid)
        self.assert_at_rest(uuid, states.ERROR)
        self.submit('delete', uuid)

    def test_behind_a_delete_it_is_refused_and_changes_nothing(self):
        uuid = self.create()
        self.submit('delete', uuid)
        before = self.everything()
        self.assertRaises(exceptions.InvalidState, self.force, uuid)
        self.assertEqual(before, self.everything())


class TestDryRun(AcceptanceCase):

    DRY = terms(dry_run=True, key='k', fingerprint='f')

    def dry(self, operation, uuid, **params):
        before = self.everything()
        try:
            return self.ask(operation, uuid, terms=self.DRY, **params)
        finally:
            self.assertEqual(before, self.everything())

    def test_accepted(self):
        uuid = self.running()
        self.assertEqual('pause', self.dry('pause', uuid).action.operation)

    def test_refused_as_it_would_be(self):
        uuid = self.running()
        for operation in ('start', 'unpause', 'delete'):
            self.assertRaises(exceptions.InvalidState, self.dry, operation, uuid)
        self.assertRaises(exceptions.ContainerNotFound, self.dry, 'start', 'nope')
        self.assertRaises(exceptions.Busy, self.ask, 'start', self.create(),
                          terms=terms(dry_run=True, if_busy='reject'))
        self.assertRaises(exceptions.QueueFull, self.ask, 'start', self.create(),
                          terms=terms(dry_run=True, queue_limit=1))

    def test_what_it_would_wait_for(self):
        uuid = self.create()
        self.submit('start', uuid)
        accepted = self.dry('stop', uuid)
        self.assertEqual(['create', 'start'], [one.operation for one in accepted.waits_for])

    def test_what_it_would_be_folded_into(self):
        uuid = self.create()
        start = self.submit('start', uuid)
        accepted = self.dry('start', uuid)
        self.assertEqual((True, start), (accepted.folded, accepted.action.uuid))

    def test_what_it_would_cancel(self):
        uuid = self.create()
        start = self.submit('start', uuid)
        self.assertIn(start, self.dry('delete', uuid, force=True).cancelled)

    def test_create(self):
        before = self.everything()
        self.assertEqual('web', self.ask_create('web', terms=self.DRY).container.name)
        self.assertEqual(before, self.everything())
        self.create('web')
        before = self.everything()
        self.assertRaises(exceptions.NameTaken, self.ask_create, 'web', terms=self.DRY)
        self.assertRaises(exceptions.BayNotFound, self.ask_create, bay='x', terms=self.DRY)
        self.assertEqual(before, self.everything())

    def test_a_key_that_was_used_does_not_make_it_accepted(self):
        uuid = self.running()
        self.ask('pause', uuid, terms=terms(key='k', fingerprint='f'))
        self.carry_out(uuid)
        self.assertRaises(exceptions.InvalidState, self.dry, 'pause', uuid)


class TestKey(AcceptanceCase):
    """Idempotency-Key: the same request gets the same action."""

    def key(self, fingerprint='f', key='k', **values):
        return terms(key=key, fingerprint=fingerprint, **values)

    def test_the_same_again(self):
        uuid = self.running()
        first = self.ask('kill', uuid, terms=self.key(), context=base.caller())
        caller = base.caller()
        again = self.ask('kill', uuid, terms=self.key(), context=caller)
        self.assertEqual((False, True), (first.replayed, again.replayed))
        self.assertEqual((first.action.uuid, uuid), (again.action.uuid, again.container.uuid))
        self.assertEqual(2, len(self.actions_of(uuid)))
        self.assertEqual(caller.request_id, self.requests(first.action.uuid)[-1])

    def test_without_a_key_it_is_another(self):
        uuid = self.running()
        first, second = (self.submit('kill', uuid, signal='SIGHUP') for _ in range(2))
        self.assertNotEqual(first, second)

    def test_create(self):
        first = self.ask_create(terms=self.key())
        again = self.ask_create(terms=self.key())
        self.assertEqual((first.container.uuid, first.action.uuid, True),
                         (again.container.uuid, again.action.uuid, again.replayed))
        self.assertEqual(1, len(self.everything()['containers']))

    def test_create_of_a_name_that_is_taken_by_itself(self):
        first = self.ask_create('web', terms=self.key())
        self.assertEqual(first.action.uuid,
                         self.ask_create('web', terms=self.key()).action.uuid)

    def test_whatever_has_become_of_it(self):
        """Also of a delete: what it named is not there any more."""
        uuid = self.create('web')
        self.carry_out(uuid)
        first = self.ask('delete', 'web', terms=self.key())
        for step in (lambda: None, lambda: self.carry_out(uuid), lambda: self.create('web')):
            step()
            again = self.ask('delete', 'web', terms=self.key())
            self.assertEqual((first.action.uuid, uuid, True),
                             (again.action.uuid, again.container.uuid, again.replayed))

    def test_although_its_own_action_is_in_the_way_now(self):
        for options in ({'if_busy': 'reject'}, {'queue_limit': 1}):
            uuid = self.running()
            keyed = self.key(key=repr(options), **options)
            first = self.ask('pause', uuid, terms=keyed)
            again = self.ask('pause', uuid, terms=keyed)
            self.assertEqual((first.action.uuid, True), (again.action.uuid, again.replayed))

    def test_another_request_with_the_same_key(self):
        uuid = self.running()
        self.ask('pause', uuid, terms=self.key())
        before = self.everything()
        for ask in (lambda: self.ask('unpause', uuid, terms=self.key('other')),
                    lambda: self.ask('pause', uuid, terms=self.key('other')),
                    lambda: self.ask('stop', 'nope', terms=self.key('other')),
                    lambda: self.ask_create(terms=self.key('other'))):
            error = self.assertRaises(exceptions.IdempotencyMismatch, ask)
            self.assertEqual((422, 'idempotency_mismatch'), (error.status, error.code))
            self.assertEqual(before, self.everything())

    def test_a_key_is_a_projects(self):
        mine = self.ask_create(terms=self.key())
        theirs = self.ask_create(terms=self.key('other'), context=base.caller('other'))
        self.assertNotEqual(mine.action.uuid, theirs.action.uuid)

    def test_keys_differ_by_case(self):
        one, two = (self.ask_create(terms=self.key(key=key)) for key in ('k', 'K'))
        self.assertNotEqual(one.action.uuid, two.action.uuid)

    def test_what_was_refused_is_not_stored(self):
        uuid = self.running()
        for ask in (lambda: self.ask('start', uuid, terms=self.key()),
                    lambda: self.ask('start', 'nope', terms=self.key()),
                    lambda: self.ask_create(bay='nope', terms=self.key())):
            self.assertRaises((exceptions.Conflict, exceptions.NotFound), ask)
            self.assertEqual([], self.everything()['idempotency_keys'])
        self.assertFalse(self.ask('pause', uuid, terms=self.key('other')).replayed)

    def test_folded(self):
        uuid = self.running()
        first = self.submit('reboot', uuid)
        for _ in range(2):
            self.assertEqual(first, self.ask('reboot', uuid, terms=self.key()).action.uuid)
        self.assertEqual(1, self.action(first).coalesced)
        self.carry_out(uuid)
        self.assertTrue(self.ask('reboot', uuid, terms=self.key()).replayed)

    def test_at_the_same_time(self):
        uuid = self.running()
        start, outcomes = threading.Barrier(6, timeout=30), []

        def ask(number):
            start.wait()
            if number % 2:
                outcomes.append(self.ask('kill', uuid, terms=self.key(key='kill')))
            else:
                outcomes.append(self.ask_create('web', terms=self.key(key='create')))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        self.assertEqual(6, len(outcomes))
        self.assertEqual(2, len({one.action.uuid for one in outcomes}))
        self.assertEqual(2, len([one for one in outcomes if not one.replayed]))
        self.assertEqual(2, len(self.everything()['containers']))
        self.assertEqual(2, len(self.actions_of(uuid)))

    def test_when_the_answer_of_the_database_is_lost(self):
        for landed in (True, False):
            uuid = self.running()
            with test_lifecycle.fixtures.lost_commit(self.db, landed):
                first = self.ask('kill', uuid, terms=self.key(key=uuid), context=base.caller())
            again = self.ask('kill', uuid, terms=self.key(key=uuid))
            self.assertEqual(first.action.uuid, again.action.uuid)
            self.assertEqual(2, len(self.actions_of(uuid)))

    def test_kept_for_a_day(self):
        first = self.ask_create(terms=self.key())
        self.let_pass(DAY - 60)
        self.db.transact(idempotency.purge)
        self.assertEqual(first.action.uuid, self.ask_create(terms=self.key()).action.uuid)
        self.let_pass(120)
        self.db.transact(idempotency.purge)
        self.assertNotEqual(first.action.uuid, self.ask_create(terms=self.key()).action.uuid)

    def test_bays(self):
        first = self.make_bay('other', terms=self.key(key='bay'))
        again = self.make_bay('other', terms=self.key(key='bay'))
        self.assertEqual(first.uuid, again.uuid)
        self.assertRaises(exceptions.IdempotencyMismatch, self.make_bay, 'third',
                          terms=self.key('other', key='bay'))
        self.assertRaises(exceptions.NameTaken, self.make_bay, 'other',
                          terms=self.key(key='new'))
        self.assertEqual(['bay'], [row.key for row in self.everything()['idempotency_keys']])
        self.assertEqual(2, len(self.everything()['bays']))

    def test_a_key_of_a_bay_is_not_one_of_a_container(self):
        bay_rules.create(self.context, self.conf, self.db, name='own', driver='fake',
                         endpoint='fake://x', terms=self.key())
        self.assertRaises(exceptions.IdempotencyMismatch, self.ask_create,
                          terms=self.key('other'))


class TestQueueLimit(AcceptanceCase):

    LIMIT = terms(queue_limit=3)

    def test_full(self):
        uuid = self.create()
        self.ask('start', uuid, terms=self.LIMIT)
        self.ask('stop', uuid, terms=self.LIMIT)
        before = self.everything()
        error = self.assertRaises(exceptions.QueueFull, self.ask, 'start', uuid,
                                  terms=self.LIMIT)
        self.assertEqual((409, 'queue_full'), (error.status, error.code))
        self.assertIn('3 unfinished', error.detail)
        self.assertEqual(before, self.everything())
        # What is folded adds nothing, and delete empties the queue.
        self.assertTrue(self.ask('stop', uuid, terms=self.LIMIT).folded)
        self.ask('delete', uuid, terms=self.LIMIT)

    def test_what_has_ended_does_not_count(self):
        uuid = self.create()
        for operation in ('start', 'stop', 'start', 'stop', 'start'):
            self.carry_out(uuid)
            self.ask(operation, uuid, terms=terms(queue_limit=1))


class TestOperationTimeout(AcceptanceCase):
    """Seconds from acceptance to the end."""

    def queued(self, seconds=60):
        uuid = self.running()
        self.submit('pause', uuid)
        action = self.ask('unpause', uuid, terms=terms(timeout_seconds=seconds)).action
        self.submit('stop', uuid)
        return uuid, action.uuid

    def overdue(self):
        with self.db.read() as conn:
            return actions.overdue(conn)

    def test_counted_from_acceptance(self):
        _, action = self.queued()
        row = self.action(action)
        self.assertEqual((60, 60), (
            row.timeout_seconds, (row.deadline_at - row.created_at).total_seconds()))

    def test_one_that_is_not_begun_in_time(self):
        uuid, action = self.queued()
        self.assertEqual([], self.overdue())
        self.let_pass(61)
        self.assertEqual([action], [row.uuid for row in self.overdue()])
        self.assertTrue(lifecycle.expire(self.db, self.overdue()[0]))
        self.assertEqual([('pause', 'queued'), ('unpause', 'failed'), ('stop', 'skipped')],
                         self.outcomes(uuid)[1:])
        error = self.action(action).error
        self.assertEqual('deadline_exceeded', error['code'])
        self.assertIn('60 seconds', error['detail'])
        self.assertEqual('pause', self.carry_out(uuid).operation.name)
        self.assert_at_rest(uuid, states.PAUSED)

    def test_once(self):
        uuid, _ = self.queued()
        self.let_pass(61)
        found, = self.overdue()
        lifecycle.expire(self.db, found)
        before = self.everything()
        self.assertFalse(lifecycle.expire(self.db, found))
        self.assertEqual(before, self.everything())

    def test_one_that_was_claimed_meanwhile_is_left_to_its_conductor(self):
        uuid, _ = self.queued()
        self.carry_out(uuid)
        self.let_pass(61)
        found, = self.overdue()
        claim = self.claim(uuid)
        self.assertFalse(lifecycle.expire(self.db, found))
        self.assertLess(claim.seconds_left, 0)

    def test_a_create(self):
        uuid = self.ask_create(terms=terms(timeout_seconds=5)).container.uuid
        self.submit('start', uuid)
        self.let_pass(6)
        lifecycle.expire(self.db, self.overdue()[0])
        self.assertEqual([('create', 'failed'), ('start', 'skipped')], self.outcomes(uuid))
        self.assert_at_rest(uuid, states.ERROR)
        self.assertIn('5 seconds', self.container(uuid).status_reason)

    def test_behind_a_running_create_the_container_is_still_being_made(self):
        uuid = self.create()
        self.ask('start', uuid, terms=terms(timeout_seconds=5))
        claim = self.claim(uuid)
        self.let_pass(6)
        lifecycle.expire(self.db, self.overdue()[0])
        row = self.container(uuid)
        self.assertEqual((states.CREATING, states.CREATED), (row.status, row.projected_status))
        lifecycle.succeed(self.db, claim, Observed(states.CREATED))
        self.assert_at_rest(uuid, states.CREATED)

    def test_without_one_nothing_queued_expires(self):
        self.create()
        self.let_pass(365 * DAY)
        self.assertEqual([], self.overdue())


class TestDeadline(AcceptanceCase):
    """The operation's own limit, from the first claim, without the time it was parked."""

    def seconds_left(self, uuid):
        claim = self.claim(uuid)
        return claim, round(claim.seconds_left, -1)

    def test_from_the_first_claim(self):
        uuid = self.create()
        self.let_pass(5000)
        claim, left = self.seconds_left(uuid)
        self.assertEqual(3600, left)
        lifecycle.requeue(self.db, claim, 'retrying', 'x', 0)
        self.let_pass(600)
        self.assertEqual(3000, self.seconds_left(uuid)[1])

    def test_parked_time_does_not_count(self):
        uuid = self.create()
        claim, left = self.seconds_left(uuid)
        self.let_pass(100)
        for _ in range(3):
            lifecycle.requeue(self.db, claim, 'bay_unreachable', 'x', 0, parked=True)
            self.let_pass(5000)
            claim, left = self.seconds_left(uuid)
            self.assertEqual(3500, left)
        self.let_pass(100)
        lifecycle.requeue(self.db, claim, 'retrying', 'x', 0)
        self.assertEqual(3400, self.seconds_left(uuid)[1])

    def test_time_in_which_its_image_is_pulled_does_not_count(self):
        uuid = self.create()
        claim, _ = self.seconds_left(uuid)
        lifecycle.wait_for_pull(self.db, claim)
        self.let_pass(7200)
        self.change(test_lifecycle.containers.table, uuid, runnable_at=self.database_time())
        self.assertEqual(3600, self.seconds_left(uuid)[1])

    def test_an_operation_timeout_knows_no_parking(self):
        uuid = self.ask_create(terms=terms(timeout_seconds=100)).container.uuid
        self.let_pass(40)
        claim, left = self.seconds_left(uuid)
        self.assertEqual(60, left)
        lifecycle.requeue(self.db, claim, 'bay_unreachable', 'x', 0, parked=True)
        self.let_pass(40)
        self.assertEqual(20, self.seconds_left(uuid)[1])

    def test_the_limit_is_the_operators(self):
        uuid = self.create()
        self.assertEqual(7, round(self.claim(uuid, limit_of=lambda op: 7).seconds_left))
