# SPDX-License-Identifier: Apache-2.0
"""What containers have asked to be done with them, once it has happened."""

import datetime

from container_service import audit
from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import states
from container_service.conductor import observer
from container_service.db import events
from container_service.db import payloads
from container_service.tests.unit.conductor import test_observer


class TestAutoRemove(test_observer.ObserverCase):

    def asked(self, uuid):
        return [(action.operation, action.status, action.user_id)
                for action in self.actions_of(uuid)]

    def test_is_deleted_on_behalf_of_its_owner_once_its_exit_is_recorded(self):
        uuid, stays = self.running(auto_remove=True), self.running()
        for each in (uuid, stays):
            self.engine.exit(each, 3)
        self.here.hear()
        self.here.sweep()
        row = self.container(uuid)
        self.assertEqual(states.DELETED, row.status)
        self.assertEqual(('delete', states.SUCCEEDED, row.user_id), self.asked(uuid)[-1])
        self.assertEqual(
            [(audit.SERVICE, row.user_id, outcome) for outcome in (audit.PENDING, audit.SUCCESS)],
            [(told.authenticated_by, told.user_id, told.outcome)
             for told in self.trail(action='delete/container', target_uuid=uuid)])
        self.assertIn((events.EXITED, uuid, 3), [
            (event.type, event.container_uuid, event.detail.get('exit_code'))
            for event in self.events()])
        self.assertIsNone(self.engine.container(uuid))
        self.assert_at_rest(stays, states.STOPPED)

    def test_also_after_a_stop_and_of_what_ends_at_once(self):
        stopped = self.running(auto_remove=True)
        self.submit('stop', stopped)
        self.here.sweep()
        short = self.create(None, 'run', auto_remove=True, command=['true'])
        self.here.sweep()
        self.here.hear()
        self.here.work()
        self.here.sweep()
        self.assertEqual([states.DELETED] * 2, [
            self.container(uuid).status for uuid in (stopped, short)])

    def test_one_that_never_ran_or_runs_again_stays(self):
        created = self.create(auto_remove=True)
        self.here.sweep()
        self.here.reconcile()
        self.assert_at_rest(created, states.CREATED)
        uuid = self.running(auto_remove=True)
        self.submit('reboot', uuid)
        self.here.sweep()
        self.here.hear()
        self.assertEqual(states.RUNNING, self.container(uuid).status)

    def test_when_nobody_heard_of_its_end(self):
        uuid = self.running(auto_remove=True)
        self.engine.exit(uuid, 0)
        self.engine.history.clear()
        self.here.reconcile()
        self.here.sweep()
        self.assertEqual(states.DELETED, self.container(uuid).status)

    def test_when_its_end_was_recorded_by_one_that_died_then(self):
        uuid = self.running(auto_remove=True)
        self.engine.exit(uuid, 0)
        self.engine.history.clear()
        row = self.container(uuid)
        container = observer.runner.as_driver_sees(row, row.fence, self.here.runner._deployment)
        seen = self.here.engines.driver(row.bay_uuid).observe(container)
        lifecycle.observe(self.db, row, seen)
        self.here.reconcile()
        self.here.sweep()
        self.assertEqual(states.DELETED, self.container(uuid).status)

    def test_one_that_cannot_be_removed_is_asked_for_less_and_less_often(self):
        """There was an action with each full pass, for ever."""
        self.engine.clock = self.database_time
        uuid = self.running(auto_remove=True)
        self.engine.fail('delete', exceptions.DriverError('failed to remove root filesystem'))
        self.engine.exit(uuid, 0)
        self.here.hear()
        self.here.sweep()
        asked = []

        def later(hours):
            seconds = hours * observer._COMPLETE_SECONDS
            self.let_pass(seconds)
            known = self.engine.container(uuid)
            known.finished_at -= datetime.timedelta(seconds=seconds)
            self.here.clock.advance(seconds)
            self.here.reconcile()
            self.here.sweep()

        # 1, 2.5, 4, 6, 9 and 13 hours after it has ended.
        for hours in (1, 1.5, 1.5, 2, 3, 4):
            later(hours)
            asked.append([status for name, status, _ in self.asked(uuid) if name == 'delete'])
        self.assertEqual([2, 3, 3, 4, 4, 5], [len(each) for each in asked])
        self.assertEqual({states.FAILED}, set(asked[-1]))
        self.engine.succeed('delete')
        later(14)
        self.assertEqual(states.DELETED, self.container(uuid).status)

    def test_somebody_who_wants_something_else_is_faster(self):
        uuid = self.running(auto_remove=True)
        self.engine.exit(uuid, 0)
        row = self.container(uuid)
        lifecycle.observe(self.db, row, self.here.engines.driver(row.bay_uuid).observe(
            observer.runner.as_driver_sees(row, row.fence, self.here.runner._deployment)))
        self.submit('start', uuid)
        self.here.reconciler.observers[row.bay_uuid]._automatic.remove_ended(uuid)
        self.assertEqual(['run', 'start'], [action.operation for action in
                                            self.actions_of(uuid)])


class TestAutoHeal(test_observer.ObserverCase):

    def vanishes(self, uuid):
        self.engine.remove_outside(uuid)
        self.here.hear()
        self.here.sweep()
        self.here.hear()

    def test_is_made_again_and_runs_again_if_it_ran(self):
        uuid = self.running(auto_heal=True)
        before = self.container(uuid)
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.RUNNING)
        row = self.container(uuid)
        self.assertEqual((2, before.uuid, before.image), (row.generation, row.uuid, row.image))
        self.assertNotEqual(before.engine_id, row.engine_id)
        self.assertEqual(2, self.engine.container(uuid).generation)
        self.assertIn((events.MISSING, uuid), [
            (event.type, event.container_uuid) for event in self.events()])
        self.assertEqual(('rebuild', states.SUCCEEDED, row.user_id), [
            (action.operation, action.status, action.user_id)
            for action in self.actions_of(uuid)][-1])

    def test_what_had_ended_is_made_again_and_does_not_run(self):
        uuid = self.running(auto_heal=True)
        self.engine.exit(uuid, 0)
        self.here.hear()
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.CREATED)

    def test_what_was_killed_to_be_removed_ran(self):
        """The engine tells of its end first, and that may be looked at before it is gone."""
        uuid = self.running(auto_heal=True)
        self.engine.clock = self.database_time
        self.engine.exit(uuid, 137)
        self.here.hear()
        self.assert_at_rest(uuid, states.STOPPED)
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_what_was_seen_while_it_was_removed_ran(self):
        uuid = self.running(auto_heal=True)
        self.engine.clock = self.database_time
        self.engine.exit(uuid, 137)
        self.engine.container(uuid).status = states.DEAD
        self.here.hear()
        self.assert_at_rest(uuid, states.DEAD)
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_what_was_stopped_on_request_stays_so(self):
        uuid = self.running(auto_heal=True)
        self.engine.clock = self.database_time
        self.submit('stop', uuid)
        self.here.sweep()
        self.here.hear()
        self.assertEqual(137, self.container(uuid).exit_code)
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.CREATED)

    def test_what_was_paused_too(self):
        uuid = self.running(auto_heal=True)
        self.submit('pause', uuid)
        self.here.sweep()
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_once_though_it_fails(self):
        uuid = self.running(auto_heal=True)
        self.engine.fail('create')
        self.vanishes(uuid)
        self.here.reconcile()
        self.here.sweep()
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual(['run', 'rebuild'],
                         [action.operation for action in self.actions_of(uuid)])

    def test_others_are_lost(self):
        uuid = self.running()
        self.vanishes(uuid)
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual(observer.REMOVED_OUTSIDE, self.container(uuid).status_reason)

    def test_also_by_a_full_pass_and_with_its_files(self):
        spec = {'files': [{'destination': '/a', 'size': 1}], 'auto_heal': True}
        uuid = self.create(None, 'run', **spec)
        self.db.transact(lambda conn: payloads.insert(conn, uuid, {'/a': b'x'}))
        self.here.sweep()
        self.here.hear()
        self.engine.remove_outside(uuid)
        self.engine.history.clear()
        self.here.reconcile()
        self.here.sweep()
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertEqual({'/a': b'x'}, self.engine.container(uuid).files)


class TestFence(test_observer.ObserverCase):

    def test_what_somebody_has_claimed_since_is_not_accepted(self):
        uuid = self.running()
        row = self.container(uuid)
        op = operations.OPERATIONS['stop']
        params = {param.name: param.default for param in op.params}
        self.assertRaises(exceptions.Fenced, lifecycle.submit, test_observer.base.base.caller(),
                          self.db, op, uuid, params, fence=row.fence - 1)
        self.assertIsNone(self.container(uuid).task_state)
