# SPDX-License-Identifier: Apache-2.0
"""Transitions on a real SQLite database; each race is played step by step."""

from container_service import bays
from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.db import actions
from container_service.db import conductors
from container_service.db import containers
from container_service.db import events
from container_service.db import paging
from container_service.drivers.base import Observed
from container_service.tests import base
from container_service.tests import fixtures

ERROR = {'code': 'engine_error', 'title': 'Refused', 'detail': 'No space left on device.',
         'stage': 'creating', 'hint': None, 'retriable': False}

ADMIN = base.caller('admins', is_admin=True)


class LifecycleCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()

    def running(self, name=None):
        """A container at rest in Running."""
        uuid = self.create(name, 'run')
        self.carry_out(uuid)
        return uuid

    def rows(self, container):
        """All that is recorded of a container, to see whether anything changed."""
        return self.container(container), self.actions_of(container)


class TestAccept(LifecycleCase):

    def test_create_records_container_and_action(self):
        row, action = self.accept_create('web', command=['sleep', '600'], labels={'a': 'b'})
        stored = self.container(row.uuid)
        self.assertEqual(
            ('web', 'web', 'project', 'user', base.IMAGE, self.place.uuid, states.CREATING,
             'create-in-progress', states.CREATED, 1),
            (stored.name, stored.live_name, stored.project_id, stored.user_id, stored.image,
             stored.bay_uuid, stored.status, stored.task_state, stored.projected_status,
             stored.generation))
        self.assertEqual({'command': ['sleep', '600'], 'labels': {'a': 'b'}}, stored.spec)
        recorded = self.action(action.uuid)
        self.assertEqual(
            ('create', states.QUEUED, 1, row.uuid, 'web', self.place.uuid, 0,
             self.context.request_id),
            (recorded.operation, recorded.status, recorded.sequence, recorded.resource_uuid,
             recorded.resource_name, recorded.bay_uuid, recorded.attempts, recorded.request_id))

    def test_what_create_returns_is_what_is_stored(self):
        """Views are made of it without reading it again."""
        row, action = self.accept_create('web', labels={'a': 'b'})
        stored = self.container(row.uuid)._asdict()
        for known in ('id', 'generation', 'next_sequence'):
            stored.pop(known)
        given = {name: getattr(row, name) for name in stored}
        self.assertEqual(stored, given)
        stored = self.actions_of(row.uuid)[0]._asdict()
        stored.pop('id')
        self.assertEqual(stored, {name: getattr(action, name) for name in stored})

    def test_labels_are_kept_for_searching(self):
        web, _ = self.accept_create('web', labels={'tier': 'front'}), self.accept_create('db')
        with self.db.read() as conn:
            found, more = containers.listing(
                conn, project_id='project', labels=[('tier', 'front')],
                page=paging.Page(limit=10))
        self.assertEqual(([web[0].uuid], False), ([row.uuid for row in found], more))

    def test_a_name_is_made_up(self):
        row, _ = self.accept_create()
        self.assertEqual(f'container-{row.uuid[:8]}', row.name)

    def test_times_are_the_databases(self):
        before = self.database_time()
        uuid = self.create()
        after = self.database_time()
        row, = self.actions_of(uuid)
        for time in (row.created_at, self.container(uuid).created_at,
                     self.container(uuid).runnable_at):
            self.assertLessEqual(before, time)
            self.assertLessEqual(time, after)

    def test_a_name_is_unique_among_the_living_of_a_project(self):
        self.create('web')
        error = self.assertRaises(exceptions.NameTaken, self.create, 'web')
        self.assertEqual((409, 'name_taken'), (error.status, error.code))
        self.assertIn('web', error.detail)

    def test_a_refused_name_leaves_nothing(self):
        self.create('web')
        self.assertRaises(exceptions.NameTaken, self.create, 'web', labels={'a': 'b'})
        with self.db.read() as conn:
            self.assertEqual(1, len(conn.execute(containers.table.select()).all()))
            self.assertEqual(1, len(conn.execute(actions.table.select()).all()))

    def test_another_project_may_have_the_same_name(self):
        self.create('web')
        row, _ = self.accept_create('web', context=base.caller('other'))
        self.assertEqual('other', row.project_id)

    def test_names_differ_by_case(self):
        self.create('web')
        self.create('Web')

    def test_submit_records_the_action_behind_the_others(self):
        uuid = self.create()
        start, stop = self.submit('start', uuid), self.submit('stop', uuid, timeout_seconds=3)
        self.assertEqual([1, 2, 3], [row.sequence for row in self.actions_of(uuid)])
        self.assertEqual(('start', {}), (self.action(start).operation, self.action(start).params))
        self.assertEqual({'timeout_seconds': 3}, self.action(stop).params)

    def test_a_container_is_found_by_name_in_its_project_only(self):
        uuid = self.create('web')
        self.submit('start', 'web')
        self.assertEqual(2, len(self.actions_of(uuid)))
        op = lifecycle.operations.OPERATIONS['stop']
        for ident in ('web', uuid):
            self.assertRaises(exceptions.ContainerNotFound, lifecycle.submit,
                              base.caller('other'), self.db, op, ident, {})

    def test_an_unknown_container(self):
        error = self.assertRaises(exceptions.ContainerNotFound, self.submit, 'start', 'nope')
        self.assertEqual(404, error.status)


class TestBayOfACreate(LifecycleCase):

    def test_the_only_bay_needs_no_naming(self):
        self.assertEqual(self.place.uuid, self.accept_create()[0].bay_uuid)

    def test_one_of_several_must_be_named(self):
        other = self.make_bay('other')
        error = self.assertRaises(exceptions.BayRequired, self.create)
        self.assertEqual(400, error.status)
        self.assertIn('bay, other', error.detail)
        for ident in (other.uuid, 'other'):
            self.assertEqual(other.uuid, self.accept_create(bay=ident)[0].bay_uuid)

    def test_a_bay_that_is_not_public_is_not_there_for_others(self):
        private = self.make_bay('private', public=False)
        self.assertEqual(self.place.uuid, self.accept_create()[0].bay_uuid)
        self.assertRaises(exceptions.BayNotFound, self.accept_create, bay=private.uuid)
        row, _ = self.accept_create(bay='private', context=base.caller('admins'))
        self.assertEqual(private.uuid, row.bay_uuid)

    def test_no_bay_at_all(self):
        bays.delete(ADMIN, self.db, 'bay')
        error = self.assertRaises(exceptions.BayRequired, self.create)
        self.assertIn('administrator', error.detail)

    def test_a_bay_with_containers_is_not_deleted(self):
        uuid = self.create()
        error = self.assertRaises(exceptions.BayInUse, bays.delete, ADMIN, self.db, 'bay')
        self.assertEqual(409, error.status)
        self.carry_out(uuid)
        self.submit('delete', uuid)
        self.carry_out(uuid)
        bays.delete(ADMIN, self.db, 'bay')

    def test_a_unix_endpoint_needs_hosts(self):
        error = self.assertRaises(
            exceptions.InvalidParameter, self.make_bay, 'local', driver='docker',
            endpoint='unix:///var/run/docker.sock')
        self.assertIn('hosts', error.detail)
        self.make_bay('local', driver='docker', endpoint='unix:///var/run/docker.sock',
                      hosts=['here'])

    def test_a_driver_that_is_not_enabled(self):
        self.conf.set_override('drivers', ['docker'], group='bays')
        error = self.assertRaises(exceptions.InvalidParameter, self.make_bay, 'other')
        self.assertIn('docker', error.detail)

    def test_a_bays_name_is_taken(self):
        self.assertRaises(exceptions.NameTaken, self.make_bay, 'bay')


class TestProjectedStatus(LifecycleCase):
    """A request is checked against what will be when all that is queued has succeeded."""

    def test_create_start_stop_delete_are_accepted_one_after_the_other(self):
        uuid = self.create()
        seen = [self.container(uuid).projected_status]
        for operation in ('start', 'stop', 'delete'):
            self.submit(operation, uuid)
            seen.append(self.container(uuid).projected_status)
        self.assertEqual([states.CREATED, states.RUNNING, states.STOPPED, states.DELETED], seen)

    def test_a_refusal_names_the_action_in_the_way(self):
        uuid = self.create()
        start = self.submit('start', uuid)
        error = self.assertRaises(exceptions.InvalidState, self.submit, 'unpause', uuid)
        self.assertIn(f'in Running state, which it will be in after action {start} (start)',
                      error.detail)
        self.assertIn('Paused', error.hint)

    def test_a_refusal_says_how_to_delete_what_runs(self):
        error = self.assertRaises(exceptions.InvalidState, self.submit, 'delete', self.running())
        self.assertIn('stop=true', error.hint)

    def test_nothing_is_accepted_behind_a_delete(self):
        uuid = self.create()
        delete = self.submit('delete', uuid)
        for operation, params in (('start', {}), ('delete', {'stop': True}),
                                  ('delete', {'force': True})):
            self.assertRaises(exceptions.InvalidState, self.submit, operation, uuid, **params)
        self.assertEqual(delete, self.submit('delete', uuid))       # the same: folded
        self.assertEqual(2, len(self.actions_of(uuid)))

    def test_it_is_forgotten_when_nothing_is_unfinished(self):
        uuid = self.create()
        self.carry_out(uuid)
        self.assert_at_rest(uuid, states.CREATED)

    def test_the_real_status_counts_when_the_queue_is_empty(self):
        uuid = self.running()
        self.set_status(uuid, states.STOPPED)
        self.assertRaises(exceptions.InvalidState, self.submit, 'pause', uuid)

    def test_it_is_computed_anew_from_what_an_action_left(self):
        """Stopped by itself meanwhile: what is queued decides what will be."""
        uuid = self.create()
        self.submit('start', uuid)
        self.carry_out(uuid)
        self.assertEqual(states.RUNNING, self.container(uuid).projected_status)
        self.submit('kill', uuid, signal='SIGHUP')
        self.carry_out(uuid, states.STOPPED)        # the start; its process ended at once
        self.assertEqual(states.STOPPED, self.container(uuid).projected_status)

    def test_a_signal_that_can_be_caught_changes_no_projection(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGTERM')
        self.assertEqual(states.RUNNING, self.container(uuid).projected_status)
        self.submit('kill', uuid, signal='9')
        self.assertEqual(states.STOPPED, self.container(uuid).projected_status)


class TestTaskState(LifecycleCase):

    def task_state(self, uuid):
        return self.container(uuid).task_state

    def test_it_is_that_of_the_running_action_else_of_the_first_queued_one(self):
        uuid = self.create()
        self.assertEqual('create-in-progress', self.task_state(uuid))
        self.submit('start', uuid)
        self.assertEqual('create-in-progress', self.task_state(uuid))
        claim = self.claim(uuid)
        self.assertEqual('create-in-progress', self.task_state(uuid))
        lifecycle.succeed(self.db, claim, Observed(states.CREATED))
        self.assertEqual('start-in-progress', self.task_state(uuid))
        self.carry_out(uuid)
        self.assertIsNone(self.task_state(uuid))

    def test_it_stays_while_an_action_waits_to_be_tried_again(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 5)
        self.assertEqual('create-in-progress', self.task_state(uuid))


class TestClaim(LifecycleCase):

    def test_it_takes_the_oldest(self):
        uuid = self.create()
        self.submit('start', uuid)
        conductor = base.Conductor('here')
        claim = self.claim(uuid, conductor)
        action = self.action(claim.action.uuid)
        self.assertEqual('create', claim.operation.name)
        self.assertEqual(
            (states.ACTION_RUNNING, claim.uuid, claim.fence, conductor.uuid, 'here.0', 1),
            (action.status, action.claim_uuid, action.fence, action.conductor_uuid,
             action.conductor, action.attempts))
        self.assertIsNotNone(action.started_at)
        row = self.container(uuid)
        self.assertEqual((claim.action.uuid, claim.fence, None, states.CREATING),
                         (row.running_action_uuid, row.fence, row.runnable_at, row.status))

    def test_the_second_gets_nothing(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.assertIsNotNone(self.claim(uuid))
        before = self.rows(uuid)
        self.assertIsNone(self.claim(uuid))
        self.assertEqual(before, self.rows(uuid))

    def test_each_claim_raises_the_fence(self):
        uuid = self.create()
        self.submit('start', uuid)
        first, second = self.carry_out(uuid), self.carry_out(uuid)
        self.assertEqual(first.fence + 1, second.fence)

    def test_nothing_to_do(self):
        uuid = self.create()
        self.carry_out(uuid)
        self.assertIsNone(self.claim(uuid))
        self.assertIsNone(self.claim(lifecycle.new_uuid()))

    def test_a_bay_that_this_conductor_does_not_reach(self):
        uuid = self.create()
        asked = []
        self.assertIsNone(self.claim(
            uuid, admit=lambda bay, urgent: asked.append((bay, urgent))))
        self.assertEqual([(self.place.uuid, False)], asked)
        self.assertIsNotNone(self.claim(uuid))

    def test_an_urgent_action_says_so(self):
        asked = []
        for operation, params, urgent in (('stop', {}, True), ('kill', {}, True),
                                          ('delete', {'force': True}, True), ('pause', {}, False),
                                          ('reboot', {}, False)):
            uuid = self.running()
            self.submit(operation, uuid, **params)
            self.claim(uuid, admit=lambda bay, urgent: asked.append(urgent))
            self.assertEqual(urgent, asked.pop(), operation)

    def test_its_time_must_have_come(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 5)
        self.assertIsNone(self.claim(uuid))
        self.let_pass(6)
        self.assertIsNotNone(self.claim(uuid))

    def test_the_status_while_it_runs(self):
        for operation, params, status in (('reboot', {}, states.RESTARTING),
                                          ('delete', {'force': True}, states.DELETING),
                                          ('stop', {}, states.RUNNING)):
            uuid = self.running()
            self.submit(operation, uuid, **params)
            self.assertEqual(states.RUNNING, self.container(uuid).status)
            self.claim(uuid)
            self.assertEqual(status, self.container(uuid).status)

    def test_a_cancelling_action_is_still_claimed(self):
        uuid = self.create()
        claim = self.claim(uuid)
        self.change(actions.table, claim.action.uuid, status=states.CANCELLING)
        self.assertIsNone(self.claim(uuid))
        lifecycle.progress(self.db, claim, stage='creating')
        lifecycle.end_cancelled(self.db, claim, None, ERROR)

    def test_what_can_be_undone_does_not_succeed_after_it_was_cancelled(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.cancel(self.context, self.db, claim.action.uuid)
        before = self.rows(uuid)
        self.assertRaises(exceptions.Cancelled, lifecycle.succeed, self.db, claim,
                          Observed(states.CREATED))
        self.assertEqual(before, self.rows(uuid))
        lifecycle.end_cancelled(self.db, claim, None, ERROR)
        self.assertEqual([('create', states.CANCELLED)], self.outcomes(uuid))

    def test_what_cannot_be_undone_succeeds_all_the_same(self):
        uuid = self.running()
        self.submit('stop', uuid)
        claim = self.claim(uuid)
        self.submit('delete', uuid, force=True)       # asks it to stop
        self.assertEqual(states.CANCELLING, self.action(claim.action.uuid).status)
        lifecycle.succeed(self.db, claim, Observed(states.STOPPED))
        self.assertEqual(('stop', states.SUCCEEDED), self.outcomes(uuid)[-2])


class TestFinish(LifecycleCase):

    def test_success_records_what_was_observed(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.succeed(self.db, claim, Observed(
            states.CREATED, engine_id='e1', status_detail='Created', exit_code=0,
            addresses={'net': [{'addr': '10.0.0.2'}]}, ports=(80, 443)))
        row, action = self.container(uuid), self.action(claim.action.uuid)
        self.assertEqual((states.CREATED, 'e1', 'Created', 0, [80, 443], None),
                         (row.status, row.engine_id, row.status_detail, row.exit_code,
                          row.ports, row.status_reason))
        self.assertEqual({'net': [{'addr': '10.0.0.2'}]}, row.addresses)
        self.assertEqual((states.SUCCEEDED, None), (action.status, action.error))
        self.assertIsNotNone(action.finished_at)

    def test_the_next_may_be_claimed_at_once(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.carry_out(uuid)
        self.assertEqual('start', self.claim(uuid).operation.name)

    def test_success_takes_an_old_reason_away(self):
        uuid = self.create()
        self.change(containers.table, uuid, status_reason='old')
        self.carry_out(uuid)
        self.assertIsNone(self.container(uuid).status_reason)

    def test_failure_says_why_on_action_and_container(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.fail(self.db, claim, ERROR, status=states.ERROR)
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual('No space left on device.', self.container(uuid).status_reason)
        action = self.action(claim.action.uuid)
        self.assertEqual((states.FAILED, ERROR), (action.status, action.error))

    def test_a_failed_container_is_in_the_status_that_was_observed(self):
        uuid = self.running()
        self.submit('stop', uuid)
        lifecycle.fail(self.db, self.claim(uuid), ERROR, Observed(states.RUNNING))
        self.assert_at_rest(uuid, states.RUNNING)

    def test_a_failure_skips_what_stands_behind_it(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.submit('stop', uuid)
        claim = self.claim(uuid)
        lifecycle.fail(self.db, claim, ERROR, status=states.ERROR)
        self.assertEqual([('create', states.FAILED), ('start', states.SKIPPED),
                          ('stop', states.SKIPPED)], self.outcomes(uuid))
        for skipped in self.actions_of(uuid)[1:]:
            self.assertEqual(claim.action.uuid, skipped.caused_by)
            self.assertEqual('skipped', skipped.error['code'])
            self.assertIn(claim.action.uuid, skipped.error['detail'])
            self.assertIsNotNone(skipped.finished_at)
        self.assert_at_rest(uuid, states.ERROR)

    def test_a_delete_is_not_skipped(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.submit('delete', uuid, stop=True)
        lifecycle.fail(self.db, self.claim(uuid), ERROR, status=states.ERROR)
        self.assertEqual([('create', states.FAILED), ('start', states.SKIPPED),
                          ('delete', states.QUEUED)], self.outcomes(uuid))
        row = self.container(uuid)
        self.assertEqual(('delete-in-progress', states.DELETED),
                         (row.task_state, row.projected_status))
        self.carry_out(uuid)
        self.assertEqual(('delete', states.SUCCEEDED), self.outcomes(uuid)[-1])

    def test_a_failed_delete_lets_the_container_be_used_again(self):
        uuid = self.create()
        self.submit('delete', uuid)
        self.carry_out(uuid)
        lifecycle.fail(self.db, self.claim(uuid), ERROR, Observed(states.CREATED))
        self.assert_at_rest(uuid, states.CREATED)
        self.submit('start', uuid)

    def test_a_deleted_container_is_not_found_and_its_name_is_free(self):
        uuid = self.create('web')
        self.submit('delete', uuid)
        self.carry_out(uuid)
        self.carry_out(uuid)
        self.assert_at_rest(uuid, states.DELETED)
        self.assertIsNotNone(self.container(uuid).deleted_at)
        for ident in ('web', uuid):
            self.assertRaises(exceptions.ContainerNotFound, self.submit, 'start', ident)
        self.assertNotEqual(uuid, self.create('web'))
        self.assertEqual(2, len(self.actions_of(uuid)))         # history stays

    def test_the_name_is_not_free_before_it_is_deleted(self):
        uuid = self.create('web')
        self.submit('delete', uuid)
        self.carry_out(uuid)
        self.assertRaises(exceptions.NameTaken, self.create, 'web')


class TestRequeue(LifecycleCase):

    def test_it_waits_and_says_why(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.progress(self.db, claim, stage='pulling image', progress={'layers': 1})
        lifecycle.remember(self.db, claim, {'engine_id': 'e1'})
        lifecycle.requeue(self.db, claim, 'bay_unreachable', 'connection refused', 60)
        action, row = self.action(claim.action.uuid), self.container(uuid)
        self.assertEqual(
            (states.QUEUED, 'bay_unreachable', 'connection refused', None, None, None, None),
            (action.status, action.waiting_code, action.waiting_detail, action.claim_uuid,
             action.conductor_uuid, action.stage, action.progress))
        self.assertEqual((None, states.CREATING), (row.running_action_uuid, row.status))
        self.assertGreater(row.runnable_at, self.database_time())
        self.assertEqual({'engine_id': 'e1'}, action.remembered)

    def test_the_reason_goes_when_it_is_tried_again(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'gone', 0)
        claim = self.claim(uuid)
        self.assertIsNone(self.action(claim.action.uuid).waiting_code)

    def test_attempts_count_or_not(self):
        uuid = self.create()
        for parked, attempts in ((False, 1), (True, 1), (False, 2)):
            lifecycle.requeue(self.db, self.claim(uuid), 'x', 'x', 0, parked=parked)
            self.assertEqual(attempts, self.actions_of(uuid)[0].attempts)

    def test_the_first_start_is_kept_for_the_deadline(self):
        uuid = self.create()
        lifecycle.requeue(self.db, self.claim(uuid), 'x', 'x', 0)
        first = self.actions_of(uuid)[0].started_at
        self.let_pass(60)
        self.claim(uuid)
        self.assertEqual(60, (first - self.actions_of(uuid)[0].started_at).seconds)

    def test_the_container_is_what_it_was(self):
        uuid = self.running()
        self.submit('delete', uuid, stop=True)
        lifecycle.requeue(self.db, self.claim(uuid), 'x', 'x', 0)
        self.assertEqual(states.RUNNING, self.container(uuid).status)

    def test_what_is_behind_it_waits_too(self):
        uuid = self.create()
        self.submit('start', uuid)
        lifecycle.requeue(self.db, self.claim(uuid), 'x', 'x', 60)
        self.assertIsNone(self.claim(uuid))
        self.assertEqual([('create', 'queued'), ('start', 'queued')], self.outcomes(uuid))


class TestTakeOver(LifecycleCase):

    def abandoned(self, uuid):
        self.claim(uuid)
        with self.db.read() as conn:
            found, = actions.abandoned(conn)
        return found

    def test_only_what_a_dead_conductor_ran_is_abandoned(self):
        uuid = self.create()
        with self.db.read() as conn:
            self.assertEqual([], actions.abandoned(conn))
        self.assertEqual(uuid, self.abandoned(uuid).resource_uuid)

    def test_what_drives_to_a_state_is_queued_again(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.abandoned(uuid)))
        self.assertEqual([('create', 'queued'), ('start', 'queued')], self.outcomes(uuid))
        self.assertEqual('taken_over', self.actions_of(uuid)[0].waiting_code)
        again = self.claim(uuid)
        self.assertEqual('create', again.operation.name)
        lifecycle.succeed(self.db, again, Observed(states.CREATED))

    def test_what_was_remembered_reaches_the_next_attempt(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.remember(self.db, claim, {'engine_id': 'e1'})
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        self.assertEqual({'engine_id': 'e1'}, self.claim(uuid).action.remembered)

    def test_what_must_not_run_twice_is_interrupted(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGHUP')
        self.submit('stop', uuid)
        self.submit('delete', uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.abandoned(uuid)))
        self.assertEqual([('kill', states.INTERRUPTED), ('stop', states.SKIPPED),
                          ('delete', states.QUEUED)], self.outcomes(uuid)[1:])
        kill = self.actions_of(uuid)[1]
        self.assertEqual('interrupted', kill.error['code'])
        row = self.container(uuid)
        self.assertEqual((states.RUNNING, kill.error['detail'], 'delete-in-progress'),
                         (row.status, row.status_reason, row.task_state))

    def test_kill_is_run_again_where_its_effect_can_be_seen(self):
        uuid = self.running()
        self.submit('kill', uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.abandoned(uuid)))
        self.assertEqual([('kill', 'queued')], self.outcomes(uuid)[1:])

    def deaths(self, uuid, count, **how):
        """So many conductors die of the next action of a container."""
        for _ in range(count):
            found = self.abandoned(uuid)
            self.assertTrue(lifecycle.take_over(self.db, found, max_attempts=3, **how))

    def test_what_kills_every_conductor_is_given_up(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.submit('delete', uuid, stop=True)
        self.deaths(uuid, 3)
        self.assertEqual([('create', 'failed'), ('start', 'skipped'), ('delete', 'queued')],
                         self.outcomes(uuid))
        create = self.actions_of(uuid)[0]
        self.assertEqual(('attempts_exhausted', 3), (create.error['code'], create.attempts))
        row = self.container(uuid)
        self.assertEqual((states.UNKNOWN, create.error['detail']),
                         (row.status, row.status_reason))

    def test_a_death_that_does_not_count(self):
        uuid = self.create()
        self.deaths(uuid, 10, counts=False)
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.assertEqual(0, self.actions_of(uuid)[0].attempts)

    def test_what_removes_is_never_given_up(self):
        uuid = self.running()
        self.submit('delete', uuid, stop=True)
        self.deaths(uuid, 10)
        self.assertEqual([('delete', 'queued')], self.outcomes(uuid)[1:])
        other = self.create()
        self.abandoned(other)
        self.cancel(self.actions_of(other)[0].uuid)
        with self.db.read() as conn:
            found, = actions.abandoned(conn)
        self.assertTrue(lifecycle.take_over(self.db, found, max_attempts=1))
        self.assertEqual(states.CANCELLING, self.claim(other).action.status)

    def test_the_time_without_anybody_does_not_count(self):
        """All conductors were down for longer than the action may take."""
        uuid, conductor = self.create(), base.Conductor()
        self.db.transact(lambda conn: conductors.insert(conn, 15, {
            'uuid': conductor.uuid, 'host': 'a', 'slot': 0, 'server': 'a.0'}))
        first = self.claim(uuid, conductor)
        self.let_pass(24 * 3600)
        self.db.transact(lambda conn: conductors.declare_dead(conn, conductor.uuid))
        with self.db.read() as conn:
            found, = actions.abandoned(conn)
        lifecycle.take_over(self.db, found)
        self.assertAlmostEqual(first.seconds_left, self.claim(uuid).seconds_left, delta=5)

    def test_the_second_finds_it_gone(self):
        uuid = self.create()
        found = self.abandoned(uuid)
        self.assertTrue(lifecycle.take_over(self.db, found))
        before = self.rows(uuid)
        self.assertFalse(lifecycle.take_over(self.db, found))
        self.assertEqual(before, self.rows(uuid))

    def test_what_ended_meanwhile_is_left_alone(self):
        uuid = self.create()
        claim = self.claim(uuid)
        found = self.action(claim.action.uuid)
        lifecycle.succeed(self.db, claim, Observed(states.CREATED))
        before = self.rows(uuid)
        self.assertFalse(lifecycle.take_over(self.db, found))
        self.assertEqual(before, self.rows(uuid))

    def test_what_was_claimed_again_meanwhile_is_left_alone(self):
        uuid = self.create()
        found = self.abandoned(uuid)
        lifecycle.take_over(self.db, found)
        self.claim(uuid)
        before = self.rows(uuid)
        self.assertFalse(lifecycle.take_over(self.db, found))
        self.assertEqual(before, self.rows(uuid))


class TestHandBack(LifecycleCase):
    """A conductor that stops lets go of what it runs."""

    def handed_back(self, uuid, delay=0):
        claim = self.claim(uuid)
        found = self.action(claim.action.uuid)
        self.assertTrue(lifecycle.hand_back(self.db, found, delay))
        self.assertFalse(lifecycle.hand_back(self.db, found, delay))
        return claim

    def test_it_counts_no_attempt(self):
        uuid = self.create()
        fence = self.container(uuid).fence
        for _ in range(10):
            self.handed_back(uuid)
        create = self.actions_of(uuid)[0]
        self.assertEqual(('queued', 0, 'handed_back'),
                         (create.status, create.attempts, create.waiting_code))
        self.assertEqual(fence + 20, self.container(uuid).fence)
        self.assertFalse(self.claim(uuid).first)

    def test_who_handed_it_back_writes_nothing_more(self):
        uuid = self.create()
        claim = self.handed_back(uuid)
        self.assertRaises(exceptions.Fenced, lifecycle.succeed, self.db, claim,
                          Observed(states.CREATED))

    def test_it_waits_for_the_call_that_is_left_behind(self):
        uuid = self.create()
        self.handed_back(uuid, 60)
        self.assertIsNone(self.claim(uuid))
        self.let_pass(61)
        self.assertIsNotNone(self.claim(uuid))

    def test_what_must_not_run_twice_is_interrupted(self):
        uuid = self.running()
        self.submit('kill', uuid, signal='SIGHUP')
        self.handed_back(uuid)
        kill = self.actions_of(uuid)[1]
        self.assertEqual((states.INTERRUPTED, 'interrupted'), (kill.status, kill.error['code']))
        self.assertIn('was stopped', kill.error['detail'])
        self.assert_at_rest(uuid, states.RUNNING)


class TestFence(LifecycleCase):
    """Whoever was taken over changes nothing any more."""

    WRITES = {
        'progress': lambda db, claim: lifecycle.progress(db, claim, stage='late'),
        'remember': lambda db, claim: lifecycle.remember(db, claim, {'late': True}),
        'succeed': lambda db, claim: lifecycle.succeed(db, claim, Observed(states.DEAD)),
        'fail': lambda db, claim: lifecycle.fail(db, claim, ERROR, Observed(states.DEAD)),
        'requeue': lambda db, claim: lifecycle.requeue(db, claim, 'late', 'late', 0),
        'wait_for_pull': lifecycle.wait_for_pull,
        'end_cancelled': lambda db, claim: lifecycle.end_cancelled(db, claim, None, ERROR),
    }

    def assert_fenced(self, uuid, claim, but=None):
        before = self.rows(uuid)
        for name, write in self.WRITES.items():
            if name == but:
                write(self.db, claim)
                self.assertEqual(before, self.rows(uuid), name)
                continue
            self.assertRaises(exceptions.Fenced, write, self.db, claim)
            self.assertEqual(before, self.rows(uuid), name)

    def taken_over(self):
        uuid = self.create()
        self.submit('start', uuid)
        claim = self.claim(uuid)
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        return uuid, claim

    def test_when_it_is_queued_again(self):
        self.assert_fenced(*self.taken_over())

    def test_when_another_runs_it(self):
        uuid, claim = self.taken_over()
        self.claim(uuid)
        self.assert_fenced(uuid, claim)

    def test_when_another_has_ended_it(self):
        uuid, claim = self.taken_over()
        self.carry_out(uuid)
        self.assert_fenced(uuid, claim)

    def test_when_another_runs_what_came_after_it(self):
        uuid, claim = self.taken_over()
        self.carry_out(uuid)
        self.claim(uuid)
        self.assert_fenced(uuid, claim)

    def test_when_it_was_handed_back(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.requeue(self.db, claim, 'x', 'x', 0)
        self.assert_fenced(uuid, claim)

    def test_when_it_has_ended_it_itself(self):
        uuid = self.create()
        claim = self.claim(uuid)
        lifecycle.succeed(self.db, claim, Observed(states.CREATED))
        # The same outcome again changes nothing and is no error: the answer to the first time
        # may have been lost.
        self.assert_fenced(uuid, claim, but='succeed')

    def test_a_raised_fence_alone_refuses_what_changes_the_container(self):
        uuid = self.create()
        claim = self.claim(uuid)
        self.change(containers.table, uuid, fence=claim.fence + 1)
        before = self.rows(uuid)
        for name in ('succeed', 'fail', 'requeue', 'wait_for_pull', 'end_cancelled'):
            self.assertRaises(exceptions.Fenced, self.WRITES[name], self.db, claim)
            self.assertEqual(before, self.rows(uuid), name)

    def test_taking_over_raises_it(self):
        uuid, claim = self.taken_over()
        self.assertEqual(claim.fence + 1, self.container(uuid).fence)

    def test_a_claim_in_force_is_not(self):
        claim = self.claim(self.create())
        lifecycle.progress(self.db, claim, stage='pulling image', progress={'layers': 3})
        action = self.action(claim.action.uuid)
        self.assertEqual(('pulling image', {'layers': 3}), (action.stage, action.progress))


class TestObserve(LifecycleCase):

    def observe(self, row, status=states.STOPPED, **values):
        return lifecycle.observe(self.db, row, Observed(status, exit_code=3), **values)

    def test_what_is_seen_is_recorded(self):
        uuid = self.running()
        self.assertTrue(self.observe(self.container(uuid)))
        self.assert_at_rest(uuid, states.STOPPED)
        self.assertEqual(3, self.container(uuid).exit_code)

    def test_a_container_that_is_missing(self):
        uuid = self.running()
        self.assertTrue(lifecycle.lose(self.db, self.container(uuid), 'removed'))
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual('removed', self.container(uuid).status_reason)

    def assert_left_alone(self, uuid, row=None):
        before, row = self.rows(uuid), row or self.container(uuid)
        happened = (events.EXITED, {'exit_code': 3})
        self.assertFalse(self.observe(row, happened=happened))
        self.assertFalse(lifecycle.lose(self.db, row, 'removed', happened))
        self.assertEqual(before, self.rows(uuid))
        self.assertEqual([], self.events())

    def test_what_happened_is_told_with_it(self):
        row = self.container(self.running())
        self.assertTrue(self.observe(row, happened=(events.EXITED, {'exit_code': 3})))
        event, = self.events()
        self.assertEqual(
            (events.EXITED, 'project', row.bay_uuid, row.uuid, {'exit_code': 3}),
            (event.type, event.project_id, event.bay_uuid, event.container_uuid, event.detail))

    def test_a_reason_can_be_kept(self):
        uuid = self.running()
        self.assertTrue(self.observe(self.container(uuid), reason='why'))
        self.assertTrue(self.observe(self.container(uuid), reason=lifecycle.KEEP))
        self.assertEqual('why', self.container(uuid).status_reason)
        self.assertTrue(self.observe(self.container(uuid)))
        self.assertIsNone(self.container(uuid).status_reason)

    def test_not_while_something_is_queued(self):
        uuid = self.running()
        self.submit('stop', uuid)
        self.assert_left_alone(uuid)

    def test_not_while_something_runs(self):
        uuid = self.running()
        self.submit('stop', uuid)
        self.claim(uuid)
        self.assert_left_alone(uuid)

    def test_not_what_was_seen_before_an_action_ended(self):
        uuid = self.running()
        row = self.container(uuid)
        self.submit('stop', uuid)
        self.carry_out(uuid)
        self.assert_left_alone(uuid, row)

    def test_not_what_is_deleted(self):
        uuid = self.create()
        self.submit('delete', uuid)
        self.carry_out(uuid)
        self.carry_out(uuid)
        self.assert_left_alone(uuid)


class TestLostCommit(LifecycleCase):
    """The connection goes while committing: done once, whether it was done or not."""

    def lose(self, landed, function, *args, **kwargs):
        with fixtures.lost_commit(self.db, landed) as lost:
            result = function(*args, **kwargs)
        self.assertEqual(1, len(lost))
        return result

    def both(self, test):
        for landed in (True, False):
            test(lambda *args, _landed=landed, **kwargs: self.lose(_landed, *args, **kwargs))

    def test_create(self):
        def test(lose):
            uuid = lose(self.create)
            self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.both(test)
        with self.db.read() as conn:
            self.assertEqual(2, len(conn.execute(containers.table.select()).all()))

    def test_create_returns_the_rows(self):
        row, action = self.lose(True, self.accept_create, 'web')
        self.assertEqual(('web', 'create'), (row.name, action.operation))

    def test_submit(self):
        def test(lose):
            uuid = self.create()
            action = lose(self.submit, 'start', uuid)
            self.assertEqual(action, self.actions_of(uuid)[1].uuid)
            self.assertEqual(2, len(self.actions_of(uuid)))
        self.both(test)

    def test_claim(self):
        def test(lose):
            uuid = self.create()
            claim = lose(self.claim, uuid)
            self.assertEqual(1, claim.fence)
            self.assertEqual(1, self.actions_of(uuid)[0].attempts)
            lifecycle.progress(self.db, claim, stage='creating')
            lifecycle.succeed(self.db, claim, Observed(states.CREATED))
            self.assert_at_rest(uuid, states.CREATED)
        self.both(test)

    def test_a_claim_knows_the_rows_as_they_were(self):
        """Handing it back must not count twice, nor leave the container in Restarting."""
        def test(lose):
            uuid = self.running()
            self.submit('reboot', uuid)
            claim = lose(self.claim, uuid)
            lifecycle.requeue(self.db, claim, 'bay_unreachable', 'gone', 0)
            self.assertEqual(1, self.actions_of(uuid)[1].attempts)
            self.assertEqual(states.RUNNING, self.container(uuid).status)
        self.both(test)

    def test_succeed(self):
        def test(lose):
            uuid = self.create()
            lose(lifecycle.succeed, self.db, self.claim(uuid), Observed(states.CREATED))
            self.assertEqual([('create', 'succeeded')], self.outcomes(uuid))
            self.assert_at_rest(uuid, states.CREATED)
        self.both(test)

    def test_fail(self):
        def test(lose):
            uuid = self.create()
            self.submit('start', uuid)
            lose(lifecycle.fail, self.db, self.claim(uuid), ERROR, status=states.ERROR)
            self.assertEqual([('create', 'failed'), ('start', 'skipped')], self.outcomes(uuid))
        self.both(test)

    def test_progress(self):
        def test(lose):
            uuid = self.create()
            claim = self.claim(uuid)
            lose(lifecycle.progress, self.db, claim, stage='creating')
            self.assertEqual('creating', self.actions_of(uuid)[0].stage)
        self.both(test)

    def test_requeue(self):
        def test(lose):
            uuid = self.create()
            claim = self.claim(uuid)
            lose(lifecycle.requeue, self.db, claim, 'retrying', 'words', 0)
            self.assertEqual([('create', 'queued')], self.outcomes(uuid))
            self.assertEqual(2, self.claim(uuid).fence)
        self.both(test)

    def test_wait_for_pull(self):
        def test(lose):
            uuid = self.create()
            pull = lose(lifecycle.wait_for_pull, self.db, self.claim(uuid))
            self.assertEqual(pull, self.actions_of(uuid)[0].pull_uuid)
        self.both(test)

    def test_cancel(self):
        def test(lose):
            uuid = self.create()
            action = self.actions_of(uuid)[0].uuid
            self.assertEqual('cancelled', lose(
                lifecycle.cancel, self.context, self.db, action).status)
        self.both(test)

    def test_taking_over(self):
        def test(lose):
            uuid = self.create()
            self.claim(uuid)
            lose(lifecycle.take_over, self.db, self.actions_of(uuid)[0])
            self.assertEqual([('create', 'queued')], self.outcomes(uuid))
            self.assertEqual(1, self.actions_of(uuid)[0].attempts)
            claim = self.claim(uuid)
            lose(lifecycle.hand_back, self.db, self.actions_of(uuid)[0], 0)
            self.assertEqual((claim.fence + 1, 1), (
                self.container(uuid).fence, self.actions_of(uuid)[0].attempts))
        self.both(test)

    def test_observe(self):
        def test(lose):
            for happened in (None, (events.EXITED, {'exit_code': 3})):
                uuid = self.running()
                self.assertTrue(lose(lifecycle.observe, self.db, self.container(uuid),
                                     Observed(states.STOPPED, exit_code=3), happened=happened))
                self.assertEqual(states.STOPPED, self.container(uuid).status)
                self.assertEqual(int(happened is not None), len(
                    [event for event in self.events() if event.container_uuid == uuid]))
        self.both(test)

    def test_bays(self):
        def test(lose):
            uuid = lose(self.make_bay, 'another').uuid
            self.assertFalse(lose(bays.delete, ADMIN, self.db, uuid))
            self.assertRaises(exceptions.BayNotFound, self.bay, uuid)
        self.both(test)

    def test_others_may_act_before_it_is_known(self):
        """The claim was committed, lost, and taken over before its owner could look."""
        uuid = self.create()
        taken = []

        def take_over(*args):
            if not taken:
                taken.append(True)
                lifecycle.take_over(self.db, self.actions_of(uuid)[0])
                self.claim(uuid)

        find, actions_find = actions.find, lambda *args: (take_over(), find(*args))[1]
        self.patch(actions, 'find', actions_find)
        self.assertIsNone(self.lose(True, self.claim, uuid))
        self.assertTrue(taken)
