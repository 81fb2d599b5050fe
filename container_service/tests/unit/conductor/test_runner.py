# SPDX-License-Identifier: Apache-2.0
"""One action from claim to final status, on the fake engine."""

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.conductor import runner
from container_service.db import actions
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class TestCarryOut(base.BenchCase):

    def test_a_whole_life_in_order(self):
        uuid = self.create('web', command=['sleep', '600'])
        for operation, params in (
                ('start', {}), ('pause', {}), ('unpause', {}), ('reboot', {}),
                ('kill', {'signal': 'SIGHUP'}), ('stop', {}), ('delete', {})):
            self.submit(operation, uuid, **params)
        self.here.sweep()
        self.assertEqual(
            ['create', 'start', 'pause', 'unpause', 'reboot', 'kill', 'stop', 'delete'],
            self.effects(uuid))
        self.assertEqual({states.SUCCEEDED}, {status for _, status in self.outcomes(uuid)})
        self.assert_at_rest(uuid, states.DELETED)

    def test_what_the_engine_told_is_recorded(self):
        uuid = self.running()
        row, known = self.container(uuid), self.engine.container(uuid)
        self.assertEqual((known.engine_id, known.started_at, None),
                         (row.engine_id, row.started_at, row.exit_code))
        self.assertEqual(['fake'], list(row.addresses))

    def test_who_ran_it_and_how_often(self):
        uuid = self.running()
        action, = self.actions_of(uuid)
        self.assertEqual((self.here.lease.server, self.here.lease.uuid, 1),
                         (action.conductor, action.conductor_uuid, action.attempts))

    def test_the_engine_knows_whose_it_is(self):
        uuid = self.running()
        labels = self.engine.container(uuid).labels
        self.assertEqual(uuid, labels['cs.container'])
        self.assertEqual(str(self.container(uuid).fence), labels['cs.fence'])

    def test_nothing_to_do(self):
        self.assertFalse(self.here.runner.work(lifecycle.new_uuid()))

    def test_progress_of_a_pull_is_seen_while_it_goes(self):
        seen = []
        uuid = self.create(image='far/away:1')
        self.engine.pull_seconds = 12

        def sleep(seconds):
            self.here.clock.advance(seconds)
            self.here.lease.renew()
            self.here.watch()
            row = self.action(self.actions_of(uuid)[0].uuid)
            seen.append((row.status, row.waiting_code, row.pull_status, row.pull_progress))

        self.engine.sleep = sleep
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual({(states.QUEUED, 'shared_pull', states.ACTION_RUNNING)},
                         {known[:3] for known in seen})
        done = [progress['bytes'] for *_, progress in seen]
        self.assertEqual(sorted(done), done)
        self.assertGreater(len(set(done)), 5)
        self.assertIsNone(self.actions_of(uuid)[0].progress)        # ended: nothing goes on


class TestFailure(base.BenchCase):

    def test_what_was_never_made_keeps_its_reason(self):
        """A start of it said "removed outside", and so did the container from then on."""
        self.engine.missing_images.append('nowhere/*')
        uuid = self.create(image='nowhere/nothing:1')
        self.here.sweep()
        reason = self.container(uuid).status_reason
        self.assertIn('manifest unknown', reason)
        for _ in range(2):
            action = self.action(self.submit('start', uuid))
            self.here.sweep()
            error = self.action(action.uuid).error
            self.assertEqual(('container_missing', f'The container was never made: {reason}'),
                             (error['code'], error['detail']))
            self.assertIn(reason, self.container(uuid).status_reason)

    def test_the_engines_words_are_told(self):
        self.engine.fail('create', exceptions.DriverError('no space left on device'))
        uuid = self.create()
        self.submit('start', uuid)
        self.here.sweep()
        create, start = self.actions_of(uuid)
        self.assertEqual(('engine_error', 'no space left on device', 'creating', False),
                         tuple(create.error[key] for key in (
                             'code', 'detail', 'stage', 'retriable')))
        self.assertEqual((states.FAILED, states.SKIPPED), (create.status, start.status))
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual('no space left on device', self.container(uuid).status_reason)

    def test_a_missing_image(self):
        self.engine.missing_images.append('nowhere/*')
        uuid = self.create(image='nowhere/nothing:1')
        self.here.sweep()
        action, = self.actions_of(uuid)
        self.assertEqual(('image_not_found', 'pulling image'),
                         (action.error['code'], action.error['stage']))
        self.assertIn('manifest unknown', action.error['detail'])
        self.assertIn('name and tag', action.error['hint'])
        self.assert_at_rest(uuid, states.ERROR)

    def test_the_container_is_in_the_status_that_the_engine_tells(self):
        uuid = self.running()
        self.engine.fail('stop')
        self.submit('stop', uuid)
        self.here.sweep()
        self.assert_at_rest(uuid, states.RUNNING)

    def test_a_command_that_does_not_exist(self):
        uuid = self.create(command=['no-such-command'])
        self.submit('start', uuid)
        self.here.sweep()
        self.assertEqual([('create', 'succeeded'), ('start', 'failed')], self.outcomes(uuid))
        self.assert_at_rest(uuid, states.CREATED)
        self.assertIn('executable file not found', self.container(uuid).status_reason)

    def test_a_delete_of_what_was_found_running_fails_and_can_be_asked_again(self):
        """Accepted while Stopped; somebody started it before its turn."""
        uuid = self.running()
        self.submit('stop', uuid)
        self.here.sweep()
        self.submit('delete', uuid)
        self.engine.start_outside(uuid)
        self.here.sweep()
        self.assertEqual(('delete', 'failed'), self.outcomes(uuid)[-1])
        self.assertEqual('invalid_state', self.actions_of(uuid)[-1].error['code'])
        self.assert_at_rest(uuid, states.RUNNING)
        self.submit('delete', uuid, stop=True)
        self.here.sweep()
        self.assert_at_rest(uuid, states.DELETED)

    def test_what_was_removed_outside(self):
        uuid = self.running()
        self.engine.remove_outside(uuid)
        self.submit('stop', uuid)
        self.here.sweep()
        self.assertEqual('container_missing', self.actions_of(uuid)[-1].error['code'])
        self.assert_at_rest(uuid, states.ERROR)
        self.assertIn('removed outside', self.container(uuid).status_reason)

    def test_an_exception_nobody_foresaw(self):
        self.patch(fake.FakeDriver, 'stop', lambda *args, **kwargs: {}['surprise'])
        uuid = self.running()
        self.submit('stop', uuid)
        self.here.sweep()
        error = self.actions_of(uuid)[-1].error
        self.assertEqual('internal_error', error['code'])
        self.assertIn('KeyError', error['detail'])
        self.assertNotIn('surprise', error['detail'])
        self.assertIn("KeyError: 'surprise'", self.log.output)       # for the operator
        self.assert_at_rest(uuid, states.RUNNING)


class TestRetries(base.BenchCase):

    def test_an_engine_that_is_gone_is_waited_for(self):
        self.engine.unreachable = True
        uuid = self.create()
        self.here.sweep()
        action, = self.actions_of(uuid)
        self.assertEqual((states.QUEUED, 'bay_unreachable', 0),
                         (action.status, action.waiting_code, action.attempts))
        self.assertIn('connection refused', action.waiting_detail)
        self.here.sweep()
        self.assertEqual(0, self.engine.calls['create'])      # its time has not come
        self.engine.unreachable = False
        self.retry()
        self.assertEqual([('create', 'succeeded')], self.outcomes(uuid))
        self.assertEqual(['create'], self.effects(uuid))

    def test_a_lost_answer_has_its_effect_once(self):
        for operation in ('create', 'start', 'pause', 'unpause', 'reboot', 'stop', 'delete'):
            self.engine.lose_answer(operation)
        uuid = self.create()
        for operation in ('start', 'pause', 'unpause', 'reboot', 'stop', 'delete'):
            self.submit(operation, uuid)
        for _ in range(10):
            self.retry()
        self.assertEqual(['create', 'start', 'pause', 'unpause', 'reboot', 'stop', 'delete'],
                         self.effects(uuid))
        self.assert_at_rest(uuid, states.DELETED)

    def test_an_engine_that_stays_away_costs_no_attempts(self):
        self.engine.unreachable = True
        uuid = self.create()
        for _ in range(self.conf.conductor.max_attempts + 3):
            self.retry()
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))

    def wait(self, seconds):
        """Let time pass, and look for work."""
        self.let_pass(seconds)
        self.here.lease.renew()      # its lease has grown old too
        self.retry()

    def test_time_without_an_engine_does_not_count(self):
        self.engine.unreachable = True
        uuid = self.create()
        self.here.sweep()
        for _ in range(3):
            self.wait(3500)
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.engine.unreachable = False
        self.here.prober()
        self.wait(3500)
        self.assert_at_rest(uuid, states.CREATED)

    def test_the_deadline(self):
        """Time between attempts at what the engine refuses does count."""
        self.conf.set_override('max_attempts', 100, group='conductor')
        self.engine.fail('create', self.passing('no space left'))
        uuid = self.create()
        self.here.sweep()
        self.wait(3595)
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.wait(10)
        action, = self.actions_of(uuid)
        self.assertEqual((states.FAILED, 'deadline_exceeded'),
                         (action.status, action.error['code']))
        self.assertIn('3600 seconds', action.error['detail'])
        self.assertIn('no space left', action.error['detail'])
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual(2, self.engine.calls['create'])        # not tried once more

    def test_a_deadline_of_the_operators(self):
        self.conf.set_override('operation_timeouts', {'create': '7'}, group='conductor')
        self.engine.fail('create', self.passing())
        uuid = self.create()
        self.here.sweep()
        self.wait(8)
        self.assertIn('7 seconds', self.actions_of(uuid)[0].error['detail'])

    def passing(self, words='try again'):
        error = exceptions.DriverError(words)
        error.retriable = True
        return error

    def test_an_error_that_passes(self):
        self.engine.fail('create', self.passing(), times=1)
        uuid = self.create()
        self.here.sweep()
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.retry()
        action, = self.actions_of(uuid)
        self.assertEqual((states.SUCCEEDED, 2), (action.status, action.attempts))

    def test_attempts_are_exhausted(self):
        self.engine.fail('create', self.passing('still trying'))
        uuid = self.create()
        for _ in range(self.conf.conductor.max_attempts - 1):
            self.retry()
            self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.retry()
        action, = self.actions_of(uuid)
        self.assertEqual((states.FAILED, self.conf.conductor.max_attempts, 'still trying'),
                         (action.status, action.attempts, action.error['detail']))

    def test_an_error_that_does_not_pass_is_not_tried_again(self):
        self.engine.fail('create')
        uuid = self.create()
        self.here.sweep()
        self.assertEqual(1, self.engine.calls['create'])
        self.assertEqual(1, self.actions_of(uuid)[0].attempts)

    def test_what_is_parked_holds_up_no_other_container(self):
        parked, other = self.create(), self.create()
        self.engine.fail('create', self.passing(), times=1)
        self.here.sweep()
        self.assertEqual([('create', 'queued')], self.outcomes(parked))
        self.assertEqual([('create', 'succeeded')], self.outcomes(other))


class TestFenced(base.BenchCase):

    def test_a_gate_that_closed_stops_the_attempt(self):
        """The lease lapsed in the middle: nothing more is done on the engine or in SQL."""
        uuid = self.create('web')
        self.meanwhile(lambda: self.here.clock.advance(self.conf.conductor.lease))
        self.here.sweep()
        self.assertEqual([], self.effects(uuid))
        self.assertEqual([('create', 'running')], self.outcomes(uuid))
        self.assertIn('not ours any more', self.log.output)

    def test_without_the_database_nothing_is_ended(self):
        """The claim cannot be read again: the action is parked, and counts no attempt."""
        uuid = self.running()
        self.submit('stop', uuid)
        holds = actions.holds

        def down(*args):
            actions.holds = holds
            raise exceptions.DatabaseUnavailable()

        self.patch(actions, 'holds', down)
        self.here.sweep()
        self.assertEqual(0, self.engine.calls['stop'])
        self.assertEqual([('run', 'succeeded'), ('stop', 'queued')], self.outcomes(uuid))
        self.retry()
        self.assert_at_rest(uuid, 'Stopped')
        self.assertEqual(1, self.actions_of(uuid)[1].attempts)

    def test_without_a_lease_nothing_is_claimed(self):
        uuid = self.create()
        self.here.clock.advance(self.conf.conductor.lease)
        self.assertFalse(self.here.runner.work(uuid))
        self.assertIsNone(self.here._pick(()))
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))

    def test_the_outcome_of_what_was_taken_over_is_dropped(self):
        """It came back when another had ended the same action and claimed the next."""
        uuid = self.create()
        self.submit('start', uuid)
        other = self.another()

        def take_over():
            lifecycle.take_over(self.db, self.actions_of(uuid)[0])
            self.engine.sleep = lambda seconds: None
            other.sweep()

        self.meanwhile(take_over)
        self.here.sweep()
        self.assertEqual(['create', 'start'], self.effects(uuid))
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertEqual({other.lease.server}, {row.conductor for row in self.actions_of(uuid)})


class TestDatabaseDown(base.BenchCase):

    def down(self, name, times=1):
        """Let a function of lifecycle fail so often, as if the database were away."""
        real, failed = getattr(lifecycle, name), []

        def function(*args, **kwargs):
            if len(failed) < times:
                failed.append(name)
                raise exceptions.DatabaseUnavailable()
            return real(*args, **kwargs)

        self.patch(lifecycle, name, function)
        return failed

    def test_at_the_claim_it_is_left_to_the_sweep(self):
        failed = self.down('claim')
        uuid = self.create()
        self.assertFalse(self.here.runner.work(uuid))
        self.assertEqual(1, len(failed))
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)

    def test_at_the_end_the_outcome_is_written_when_it_is_back(self):
        self.patch(runner.time, 'sleep', lambda seconds: None)
        failed = self.down('succeed', times=5)
        uuid = self.create()
        self.here.sweep()
        self.assertEqual(5, len(failed))
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual(['create'], self.effects(uuid))

    def test_past_the_lease_the_outcome_is_left_to_others(self):
        self.patch(runner.time, 'sleep', self.here.clock.advance)
        self.down('succeed', times=1000)
        uuid = self.create()
        self.here.sweep()
        self.assertEqual([('create', 'running')], self.outcomes(uuid))

    def test_before_remembering_the_action_waits(self):
        self.down('remember')
        uuid = self.create()
        self.submit('start', uuid)
        self.here.sweep()
        self.assertEqual(('start', 'queued'), self.outcomes(uuid)[1])
        self.retry()
        self.assertEqual(['create', 'start'], self.effects(uuid))

    def test_words_of_progress_may_be_lost(self):
        self.down('progress', times=3)
        uuid = self.create()
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
