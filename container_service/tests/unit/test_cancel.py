# SPDX-License-Identifier: Apache-2.0
"""Cancel, as it is recorded; how it is carried out is in conductor/test_cancel.py."""

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import pulls
from container_service import states
from container_service.db import actions
from container_service.db import pulls as rows
from container_service.drivers.base import Observed
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests.unit import test_lifecycle

ERROR = test_lifecycle.ERROR


class CancelCase(test_lifecycle.LifecycleCase):

    def parked(self, uuid):
        """The head has been tried, and waits to be tried again."""
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 60, parked=True)

    def waiting(self, image='far/away:1'):
        """A create that waits for its image; returns container, action and pull."""
        uuid = self.create(image=image)
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        return uuid, self.actions_of(uuid)[0].uuid, pull

    def pull(self, uuid):
        with self.db.read() as conn:
            return rows.find(conn, uuid)


class TestQueued(CancelCase):
    """It never runs, for sure."""

    def test_the_head(self):
        uuid = self.running()
        pause, unpause = self.submit('pause', uuid), self.submit('unpause', uuid)
        action = self.cancel(pause)
        self.assertEqual((pause, states.CANCELLED), (action.uuid, action.status))
        self.assertIsNotNone(action.cancel_requested_at)
        self.assertEqual('cancelled', action.error['code'])
        self.assertIn('no effect', action.error['detail'])
        self.assertEqual((states.SKIPPED, pause), (
            self.action(unpause).status, self.action(unpause).caused_by))
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertIsNone(self.claim(uuid))

    def test_one_in_the_middle(self):
        uuid = self.running()
        self.submit('pause', uuid)
        unpause = self.submit('unpause', uuid)
        self.submit('stop', uuid)
        self.submit('delete', uuid, stop=True)
        self.cancel(unpause)
        self.assertEqual([('pause', 'queued'), ('unpause', 'cancelled'), ('stop', 'skipped'),
                          ('delete', 'queued')], self.outcomes(uuid)[1:])
        row = self.container(uuid)
        self.assertEqual(('pause-in-progress', states.DELETED, 0),
                         (row.task_state, row.projected_status, row.head_urgent))
        self.assertEqual(['pause', 'delete'],
                         [self.carry_out(uuid).operation.name for _ in range(2)])

    def test_one_behind_what_runs(self):
        uuid = self.running()
        self.submit('reboot', uuid)
        claim = self.claim(uuid)
        self.cancel(self.submit('pause', uuid))
        row = self.container(uuid)
        self.assertEqual(('reboot-in-progress', states.RUNNING, claim.action.uuid, None),
                         (row.task_state, row.projected_status, row.running_action_uuid,
                          row.runnable_at))
        lifecycle.succeed(self.db, claim, Observed(states.RUNNING))
        self.assert_at_rest(uuid, states.RUNNING)

    def test_the_delete_behind_it_may_run_at_once(self):
        uuid = self.running()
        pause = self.submit('pause', uuid)
        self.submit('delete', uuid, stop=True)
        self.cancel(pause)
        self.assertEqual(1, self.container(uuid).head_urgent)
        self.assertEqual('delete', self.claim(uuid).operation.name)

    def test_every_operation(self):
        for op in operations.of_kind(operations.ASYNC):
            uuid = self.create(operation=op.name) if op.creates else self.running()
            action = self.actions_of(uuid)[0].uuid
            if not op.creates:
                status = sorted(op.statuses_for({'stop': True}))[0]
                self.set_status(uuid, status)
                action = self.submit(op.name, uuid)
            self.assertEqual(states.CANCELLED, self.cancel(action).status)
            self.assert_at_rest(uuid, states.ERROR if op.creates else status)

    def test_a_create(self):
        uuid = self.create('web')
        self.submit('start', uuid)
        self.cancel(self.actions_of(uuid)[0].uuid)
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual('create cancelled', self.container(uuid).status_reason)
        self.submit('delete', 'web')
        self.carry_out(uuid)
        self.create('web')

    def test_a_delete_reopens_acceptance(self):
        uuid = self.create()
        delete = self.submit('delete', uuid)
        self.assertRaises(exceptions.InvalidState, self.submit, 'start', uuid)
        self.cancel(delete)
        self.submit('start', uuid)

    def test_when_the_answer_of_the_database_is_lost(self):
        """It was done, and then said to be too late."""
        for landed in (True, False):
            uuid = self.running()
            pause = self.submit('pause', uuid)
            with fixtures.lost_commit(self.db, landed) as lost:
                self.assertEqual(states.CANCELLED, self.cancel(pause).status)
            self.assertEqual(1, len(lost))


class TestRunning(CancelCase):

    def test_what_can_be_undone_is_asked_to_stop(self):
        for operation in ('create', 'run'):
            uuid = self.create(operation=operation)
            claim = self.claim(uuid, conductor := base.Conductor())
            for _ in range(2):           # asking again is the same
                action = self.cancel(claim.action.uuid)
                self.assertEqual(states.CANCELLING, action.status)
            with self.db.read() as conn:
                self.assertEqual([claim.uuid], actions.cancelling(conn, conductor.uuid))
            self.assertEqual(f'{operation}-in-progress', self.container(uuid).task_state)

    def test_undone(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.submit('delete', uuid, stop=True)
        claim = self.claim(uuid)
        self.cancel(claim.action.uuid)
        lifecycle.end_cancelled(self.db, claim, None, ERROR)
        self.assertEqual([('create', 'cancelled'), ('start', 'skipped'), ('delete', 'queued')],
                         self.outcomes(uuid))
        row = self.container(uuid)
        self.assertEqual((states.ERROR, 'create cancelled', None, {}),
                         (row.status, row.status_reason, row.engine_id, row.addresses))

    def test_too_late(self):
        for operation in ('start', 'stop', 'reboot', 'pause', 'kill', 'delete'):
            uuid = self.running()
            self.set_status(uuid, {'start': states.STOPPED}.get(operation, states.RUNNING))
            self.submit(operation, uuid, **({'stop': True} if operation == 'delete' else {}))
            claim = self.claim(uuid)
            before = self.rows(uuid)
            error = self.assertRaises(exceptions.TooLateToCancel, self.cancel,
                                      claim.action.uuid)
            self.assertEqual((409, 'too_late_to_cancel'), (error.status, error.code))
            self.assertIn('cannot be taken back', error.detail)
            self.assertEqual(before, self.rows(uuid))

    def test_what_has_ended(self):
        uuid = self.create()
        self.submit('start', uuid)
        lifecycle.fail(self.db, self.claim(uuid), ERROR, status=states.ERROR)
        for row, status in zip(self.actions_of(uuid), ('failed', 'skipped')):
            error = self.assertRaises(exceptions.TooLateToCancel, self.cancel, row.uuid)
            self.assertIn(f'ended already: {status}', error.detail)

    def test_it_shows_beforehand_whether_it_is_too_late(self):
        uuid = self.create()
        self.assertIsNone(lifecycle.too_late(self.actions_of(uuid)[0]))
        self.carry_out(uuid)
        self.submit('start', uuid)
        self.assertIsNone(lifecycle.too_late(self.actions_of(uuid)[1]))
        self.claim(uuid)
        self.assertIsNotNone(lifecycle.too_late(self.actions_of(uuid)[1]))

    def test_of_another_project(self):
        action = self.actions_of(self.create())[0].uuid
        self.assertRaises(exceptions.ActionNotFound, self.cancel, action, base.caller('other'))
        self.assertRaises(exceptions.ActionNotFound, self.cancel, lifecycle.new_uuid())
        admin = base.caller('admins', is_admin=True)
        admin.all_projects = True
        self.cancel(action, admin)


class TestTriedBefore(CancelCase):
    """Queued again: it may have changed something, so it is undone before it ends."""

    def test_whoever_claims_it_undoes(self):
        uuid = self.create()
        self.parked(uuid)
        action = self.actions_of(uuid)[0].uuid
        self.assertEqual(states.QUEUED, self.cancel(action).status)
        claim = self.claim(uuid)          # it waits no longer for its next attempt
        self.assertEqual(states.CANCELLING, claim.action.status)
        self.assertEqual(states.CANCELLING, self.action(action).status)
        self.assertFalse(claim.first)

    def test_what_cannot_be_undone_is_not_tried_again(self):
        uuid = self.running()
        self.submit('stop', uuid)
        self.parked(uuid)
        action = self.actions_of(uuid)[1].uuid
        self.cancel(action)
        claim = self.claim(uuid)
        self.assertEqual(states.CANCELLING, claim.action.status)
        self.assertEqual(states.CANCELLING, self.cancel(action).status)     # not "too late"
        lifecycle.end_cancelled(self.db, claim, Observed(states.RUNNING), ERROR)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_it_survives_a_takeover(self):
        uuid = self.create()
        claim = self.claim(uuid)
        self.cancel(claim.action.uuid)
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        row = self.action(claim.action.uuid)
        self.assertEqual(states.QUEUED, row.status)
        self.assertIsNotNone(row.cancel_requested_at)
        self.assertEqual(states.CANCELLING, self.claim(uuid).action.status)

    def test_it_survives_being_handed_back(self):
        uuid = self.create()
        claim = self.claim(uuid)
        self.cancel(claim.action.uuid)
        lifecycle.requeue(self.db, claim, 'bay_unreachable', 'gone', 60, parked=True)
        again = self.claim(uuid)          # at once: there is something to undo
        self.assertEqual(states.CANCELLING, again.action.status)
        # The undo could not be done either: now it waits for the engine as anything else.
        lifecycle.requeue(self.db, again, 'bay_unreachable', 'gone', 60, parked=True)
        self.assertIsNone(self.claim(uuid))
        self.let_pass(61)
        self.assertEqual(states.CANCELLING, self.claim(uuid).action.status)

    def test_of_what_must_not_run_twice(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGHUP')
        claim = self.claim(uuid)
        self.submit('delete', uuid, force=True)
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        self.assertEqual([('kill', 'interrupted'), ('delete', 'queued')], self.outcomes(uuid)[1:])


class TestWaitingForItsImage(CancelCase):

    def test_the_last_one_ends_the_pull(self):
        uuid, action, pull = self.waiting()
        other, other_action, same = self.waiting()
        self.assertEqual(pull, same)
        ended = self.cancel(action)
        self.assertEqual(states.CANCELLED, ended.status)
        self.assertIn('goes on for others', ended.error['detail'])
        self.assertEqual(states.QUEUED, self.pull(pull).status)
        self.assert_at_rest(uuid, states.ERROR)
        self.assertIn('was ended', self.cancel(other_action).error['detail'])
        self.assertEqual((states.CANCELLED, None), (self.pull(pull).status,
                                                    self.pull(pull).live_key))
        self.assert_at_rest(other, states.ERROR)

    def test_a_pull_that_runs_is_asked_to_stop(self):
        _, action, pull = self.waiting()
        conductor = base.Conductor()
        claim = pulls.claim(self.db, pull, conductor)
        self.cancel(action)
        self.assertEqual(states.CANCELLING, self.pull(pull).status)
        with self.db.read() as conn:
            self.assertEqual([claim.uuid], rows.cancelling(conn, conductor.uuid))

    def test_who_comes_then_begins_another(self):
        _, action, pull = self.waiting()
        pulls.claim(self.db, pull, base.Conductor())
        self.cancel(action)
        _, _, another = self.waiting()
        self.assertNotEqual(pull, another)
        self.assertEqual((states.CANCELLING, states.QUEUED),
                         (self.pull(pull).status, self.pull(another).status))

    def test_a_forced_delete_ends_the_pull_too(self):
        uuid, _, pull = self.waiting()
        self.submit('delete', uuid, force=True)
        self.assertEqual(states.CANCELLED, self.pull(pull).status)
        self.assertEqual('delete', self.claim(uuid).operation.name)

    def test_an_operation_timeout_ends_the_pull_too(self):
        uuid = self.ask_create(image='far/away:1',
                               terms=lifecycle.Terms(timeout_seconds=5)).container.uuid
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        self.let_pass(6)
        with self.db.read() as conn:
            overdue, = actions.overdue(conn)
        lifecycle.expire(self.db, overdue)
        self.assertEqual(states.CANCELLED, self.pull(pull).status)

    def test_asked_just_before_it_would_wait(self):
        """The pull went on for nobody."""
        uuid = self.create(image='far/away:1')
        claim = self.claim(uuid)
        self.cancel(claim.action.uuid)
        self.assertRaises(exceptions.Cancelled, lifecycle.wait_for_pull, self.db, claim)
        with self.db.read() as conn:
            self.assertEqual([], conn.execute(rows.table.select()).all())

    def test_between_the_end_of_the_pull_and_its_turn(self):
        uuid, action, pull = self.waiting()
        claim = pulls.claim(self.db, pull, base.Conductor())
        pulls.end(self.db, claim, states.SUCCEEDED)
        self.assertIn('had ended', self.cancel(action).error['detail'])
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual(states.SUCCEEDED, self.pull(pull).status)
