# SPDX-License-Identifier: Apache-2.0
"""Cancel and time limits, as a conductor carries them out on the fake engine."""

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class RunningCase(base.BenchCase):

    def cancel_meanwhile(self, uuid, then=lambda: None):
        """Cancel the running action in the middle of its next call to the engine."""
        def cancel():
            running = self.container(uuid).running_action_uuid
            self.assertEqual(states.CANCELLING, self.cancel(running).status)
            then()

        self.meanwhile(cancel)

    def last(self, uuid):
        return self.actions_of(uuid)[-1]

    def busy(self):
        """An error that may pass."""
        error = exceptions.DriverError('device is busy')
        error.retriable = True
        return error


class TestUndo(RunningCase):

    def test_before_anything_was_made(self):
        uuid = self.create()
        self.cancel_meanwhile(uuid, self.here.watch)
        self.here.sweep()
        action = self.last(uuid)
        self.assertEqual((states.CANCELLED, 'cancelled', 'creating'),
                         (action.status, action.error['code'], action.error['stage']))
        self.assertIn('nothing had been made', action.error['detail'])
        self.assertEqual([], self.effects(uuid))
        self.assert_at_rest(uuid, states.ERROR)
        self.assertEqual('create cancelled', self.container(uuid).status_reason)

    def test_what_was_half_made_is_removed(self):
        """Cancelled between the create and the start of a run."""
        uuid = self.create(operation='run')
        self.engine.delays['start'] = 0.1
        self.meanwhile(lambda: (self.cancel(self.container(uuid).running_action_uuid),
                                self.here.watch()))
        self.engine.delay = 0
        self.here.sweep()
        self.assertEqual(['create', 'delete'], self.effects(uuid))
        self.assertIsNone(self.engine.container(uuid))
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assertIn('was removed', self.last(uuid).error['detail'])
        self.assertIsNone(self.container(uuid).engine_id)
        self.assert_at_rest(uuid, states.ERROR)

    def test_what_was_made_before_anybody_looked(self):
        """Its driver was through when the request came: it is undone all the same."""
        uuid = self.create(operation='run')
        self.cancel_meanwhile(uuid)               # no watch comes by
        self.here.sweep()
        self.assertEqual(['create', 'start', 'delete'], self.effects(uuid))
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assert_at_rest(uuid, states.ERROR)

    def test_the_undo_waits_for_an_engine_that_is_gone(self):
        uuid = self.create(operation='run')

        def gone():
            self.engine.unreachable = True

        self.cancel_meanwhile(uuid, gone)
        self.here.sweep()
        self.assertEqual((states.QUEUED, 'bay_unreachable'),
                         (self.last(uuid).status, self.last(uuid).waiting_code))
        calls = self.engine.calls.copy()
        self.here.sweep()
        self.assertEqual(calls, self.engine.calls)       # no hot loop
        self.engine.unreachable = False
        self.here.prober()
        self.retry()
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assertIsNone(self.engine.container(uuid))

    def test_an_undo_that_the_engine_refuses_is_tried_again(self):
        """The error took its slot down, and the sweep repeated it without a pause."""
        uuid = self.create(operation='run')
        self.engine.fail('delete', self.busy(), times=2)
        self.cancel_meanwhile(uuid)
        self.here.sweep()
        self.assertNotIn('Traceback', self.log.output)
        row = self.last(uuid)
        self.assertEqual((states.QUEUED, 'retrying'), (row.status, row.waiting_code))
        self.assertIn('device is busy', row.waiting_detail)
        calls = self.engine.calls['delete']
        self.here.sweep()
        self.assertEqual(calls, self.engine.calls['delete'])
        self.retry()
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assertEqual(['create', 'start', 'delete'], self.effects(uuid))

    def assert_not_undone(self, uuid):
        action = self.last(uuid)
        self.assertEqual((states.FAILED, 'engine_error'), (action.status, action.error['code']))
        self.assertIn('could not be taken back: device is busy', action.error['detail'])
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertEqual(action.error['detail'], self.container(uuid).status_reason)
        self.engine.succeed('delete')

    def test_an_undo_that_the_engine_always_refuses(self):
        """It was tried for ever, and nothing else could be done with the container."""
        uuid = self.create(operation='run')
        self.engine.fail('delete', self.busy())
        self.cancel_meanwhile(uuid)
        self.here.sweep()
        self.assertEqual(states.QUEUED, self.last(uuid).status)
        for _ in range(self.conf.conductor.max_attempts):
            self.retry()
        self.assertEqual(self.conf.conductor.max_attempts, self.last(uuid).attempts)
        self.assert_not_undone(uuid)
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        self.assert_at_rest(uuid, states.DELETED)

    def test_an_undo_that_trying_again_does_not_help(self):
        uuid = self.create(operation='run')
        self.engine.fail('delete', exceptions.DriverError('device is busy'))
        self.cancel_meanwhile(uuid)
        self.here.sweep()
        self.assert_not_undone(uuid)

    def test_another_conductor_undoes_what_a_dead_one_was_asked_to_stop(self):
        uuid = self.create(operation='run')
        other = self.another()

        def die():
            self.die(self.here)
            self.engine.sleep = lambda seconds: None
            other.sweep()

        self.cancel_meanwhile(uuid, die)
        self.here.sweep()
        self.assertEqual((states.CANCELLED, other.lease.server),
                         (self.last(uuid).status, self.last(uuid).conductor))
        self.assertEqual([], self.effects(uuid))
        self.assert_at_rest(uuid, states.ERROR)

    def test_what_is_behind_it(self):
        uuid = self.create()
        self.submit('start', uuid)
        self.submit('delete', uuid, stop=True)
        self.cancel_meanwhile(uuid, self.here.watch)
        self.here.sweep()
        self.assertEqual([('create', 'cancelled'), ('start', 'skipped'), ('delete', 'succeeded')],
                         self.outcomes(uuid))
        self.assert_at_rest(uuid, states.DELETED)

    def test_a_driver_that_stumbles_over_its_closed_connection(self):
        """What it raised was taken for a failure, and nothing was undone."""
        uuid = self.create()

        def create(driver, attempt, container):
            known = driver.engine.add(container)
            self.cancel(self.container(uuid).running_action_uuid)
            self.here.watch()
            raise AttributeError(f'{known} has no attribute read')

        self.patch(fake.FakeDriver, 'create', create)
        self.here.sweep()
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assertIsNone(self.engine.container(uuid))
        self.assertNotIn('AttributeError', self.log.output)

    def test_asked_while_it_finds_its_image_absent(self):
        uuid = self.create(image='far/away:1')

        def create(driver, attempt, container):
            self.cancel(self.container(uuid).running_action_uuid)
            raise exceptions.ImageAbsent(image=container.image)

        self.patch(fake.FakeDriver, 'create', create)
        self.here.sweep()
        self.assertEqual(states.CANCELLED, self.last(uuid).status)
        self.assertEqual([], self.engine.pulls)

    def test_without_a_lease_nothing_is_undone(self):
        uuid = self.create(operation='run')
        self.engine.delays['start'] = 0.1
        self.cancel_meanwhile(uuid, lambda: (
            self.here.watch(), self.here.clock.advance(self.conf.conductor.lease)))
        self.engine.delay = 0
        self.here.sweep()
        self.assertEqual(['create'], self.effects(uuid))
        self.assertEqual(states.CANCELLING, self.last(uuid).status)


class TestForceDelete(RunningCase):

    def test_while_something_runs(self):
        for operation, params in (('reboot', {}), ('pause', {}), ('stop', {})):
            uuid = self.running()
            self.submit(operation, uuid, **params)
            self.meanwhile(lambda uuid=uuid: self.submit('delete', uuid, force=True))
            self.here.sweep()
            self.engine.delay = 0
            self.assertEqual('delete', self.effects(uuid)[-1])
            self.assert_at_rest(uuid, states.DELETED)

    def test_what_could_not_be_stopped_any_more_has_succeeded(self):
        uuid = self.running()
        self.submit('pause', uuid)
        self.meanwhile(lambda: self.submit('delete', uuid, force=True))
        self.here.sweep()
        self.assertEqual([('pause', 'succeeded'), ('delete', 'succeeded')],
                         self.outcomes(uuid)[1:])

    def test_what_was_stopped_in_time(self):
        uuid = self.running()
        self.submit('pause', uuid)
        self.meanwhile(lambda: (self.submit('delete', uuid, force=True), self.here.watch()))
        self.here.sweep()
        self.assertEqual([('pause', 'cancelled'), ('delete', 'succeeded')],
                         self.outcomes(uuid)[1:])
        self.assertNotIn('pause', self.effects(uuid))

    def test_a_create(self):
        uuid = self.create(operation='run')
        self.meanwhile(lambda: (self.submit('delete', uuid, force=True), self.here.watch()))
        self.here.sweep()
        self.assertEqual([('run', 'cancelled'), ('delete', 'succeeded')], self.outcomes(uuid))
        self.assertIsNone(self.engine.container(uuid))

    def test_what_was_tried_before(self):
        uuid = self.running()
        self.engine.lose_answer('pause')
        self.submit('pause', uuid)
        self.here.sweep()
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        # It had had its effect: then it has succeeded.
        self.assertEqual([('pause', 'succeeded'), ('delete', 'succeeded')],
                         self.outcomes(uuid)[1:])

    def test_what_a_dead_conductor_had_not_begun(self):
        """A reboot is not done because the container still runs as before."""
        uuid, other = self.running(), self.another()
        self.submit('reboot', uuid)

        def die():
            self.submit('delete', uuid, force=True)
            self.die(self.here)
            self.engine.sleep = lambda seconds: None
            other.sweep()

        self.meanwhile(die)
        self.here.sweep()
        self.assertEqual([('reboot', 'cancelled'), ('delete', 'succeeded')],
                         self.outcomes(uuid)[1:])
        self.assertNotIn('reboot', self.effects(uuid))

    def test_a_reboot_that_was_through(self):
        uuid = self.running()
        self.engine.lose_answer('reboot')
        self.submit('reboot', uuid)
        self.here.sweep()
        self.submit('delete', uuid, force=True)
        self.here.sweep()
        self.assertEqual([('reboot', 'succeeded'), ('delete', 'succeeded')],
                         self.outcomes(uuid)[1:])


class TestTimeLimits(RunningCase):

    def test_a_running_action_is_ended(self):
        uuid = self.running()
        self.conf.set_override('operation_timeouts', {'pause': '60'}, group='conductor')
        self.submit('pause', uuid)

        def later():
            attempt, = self.here.watch._attempts.values()
            attempt._ends_at -= 61
            self.here.watch()

        self.meanwhile(later)
        self.here.sweep()
        action = self.last(uuid)
        self.assertEqual((states.FAILED, 'deadline_exceeded', 'pausing'),
                         (action.status, action.error['code'], action.error['stage']))
        self.assertIn('60 seconds', action.error['detail'])
        self.assert_at_rest(uuid, states.RUNNING)
        self.assertNotIn('pause', self.effects(uuid))

    def test_an_operation_timeout(self):
        uuid = self.running()
        self.ask('pause', uuid, terms=lifecycle.Terms(timeout_seconds=9))
        self.meanwhile(lambda: (
            [setattr(attempt, '_ends_at', attempt._ends_at - 10)
             for attempt in self.here.watch._attempts.values()], self.here.watch()))
        self.here.sweep()
        self.assertIn('9 seconds', self.last(uuid).error['detail'])

    def test_one_that_was_never_begun(self):
        for _ in range(3):
            self.here.engines.failed(self.place.uuid, 'gone')
        uuid = self.ask_create(terms=lifecycle.Terms(timeout_seconds=5)).container.uuid
        self.here.sweep()
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.let_pass(6)
        self.here.lease.renew()
        self.here.sweep()
        self.assertEqual([('create', 'failed')], self.outcomes(uuid))
        self.assert_at_rest(uuid, states.ERROR)


class TestPostMortem(RunningCase):

    def test_what_tells_why(self):
        uuid = self.running(command=['sh', '-c', 'echo one; echo two; sleep 600'])
        self.engine.fail('pause', exceptions.DriverError('cannot freeze'))
        self.submit('pause', uuid)
        self.here.sweep()
        self.assertEqual({'log': ['one', 'two'], 'exit_code': None, 'oom_killed': False,
                          'image_digest': 'busybox:latest', 'engine_error': None},
                         self.last(uuid).post_mortem)

    def test_of_what_is_not_on_the_engine(self):
        self.engine.fail('create')
        uuid = self.create()
        self.here.sweep()
        self.assertIsNone(self.last(uuid).post_mortem)

    def test_of_a_command_that_does_not_exist(self):
        uuid = self.create(operation='run', command=['no-such-command'])
        self.here.sweep()
        self.assertIn('executable file not found', self.last(uuid).post_mortem['engine_error'])

    def test_success_needs_none(self):
        uuid = self.running()
        self.assertIsNone(self.last(uuid).post_mortem)

    def test_an_engine_that_cannot_be_asked(self):
        for error in (exceptions.EngineUnreachable(), ZeroDivisionError()):
            uuid = self.running()
            self.engine.fail('pause')

            def post_mortem(driver, container, error=error):
                raise error

            self.patch(fake.FakeDriver, 'post_mortem', post_mortem)
            self.submit('pause', uuid)
            self.here.sweep()
            self.assertEqual((states.FAILED, None),
                             (self.last(uuid).status, self.last(uuid).post_mortem))
            self.assert_at_rest(uuid, states.RUNNING)
