# SPDX-License-Identifier: Apache-2.0
"""A container that is made anew, as a conductor does it on the fake engine."""

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.tests import base as tests
from container_service.tests.unit.conductor import base


class RebuildCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.uuid = self.running('web', environment={'A': '1'})
        self.before = self.container(self.uuid)

    def last(self):
        return self.actions_of(self.uuid)[-1]

    def assert_rebuilt(self, image=tests.IMAGE):
        row = self.container(self.uuid)
        self.assertEqual((states.SUCCEEDED, 2, image, 'web', self.before.spec), (
            self.last().status, row.generation, image, row.name, row.spec))
        self.assertEqual(image, row.image)
        self.assertNotEqual(self.before.engine_id, row.engine_id)
        [known] = self.engine.containers.values()
        self.assertEqual((row.engine_id, 2, image),
                         (known.engine_id, known.generation, known.image))
        self.assert_at_rest(self.uuid, 'Running')

    def assert_as_it_was(self, status='Running'):
        row = self.container(self.uuid)
        self.assertEqual((1, self.before.engine_id, self.before.image),
                         (row.generation, row.engine_id, row.image))
        [known] = self.engine.containers.values()
        self.assertEqual(self.before.engine_id, known.engine_id)
        self.assert_at_rest(self.uuid, status)


class TestRebuild(RebuildCase):

    def test_from_the_same_image(self):
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.assert_rebuilt()

    def test_from_another_image_which_is_pulled_first(self):
        self.submit('rebuild', self.uuid, image='other:1')
        self.here.sweep()
        self.assertEqual(['other:1'], self.engine.pulls)
        self.here.sweep()
        self.assert_rebuilt('other:1')

    def test_twice(self):
        for generation in (2, 3):
            self.submit('rebuild', self.uuid)
            self.here.sweep()
            self.assertEqual(generation, self.container(self.uuid).generation)
        self.assertEqual(1, len(self.engine.containers))

    def test_an_image_that_is_nowhere_leaves_it_as_it_was(self):
        self.engine.missing_images.append('*nope*')
        self.submit('rebuild', self.uuid, image='nope:1')
        self.here.sweep()
        self.here.sweep()
        self.assertEqual((states.FAILED, 'image_not_found'),
                         (self.last().status, self.last().error['code']))
        self.assert_as_it_was()

    def test_one_that_does_not_start_leaves_it_as_it_was(self):
        self.engine.fail('start', times=1)
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.assertEqual((states.FAILED, 'start_failed'),
                         (self.last().status, self.last().error['code']))
        self.assert_as_it_was()

    def test_one_that_does_not_start_nor_the_old_one_again(self):
        """What the container was then was not even looked at."""
        self.engine.fail('start', exceptions.StartFailed('port is already allocated.'))
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.assertEqual((states.FAILED, 'start_failed'),
                         (self.last().status, self.last().error['code']))
        self.assertEqual('port is already allocated. What it had done could not be taken back: '
                         'port is already allocated.', self.last().error['detail'])
        self.assert_as_it_was('Stopped')
        self.assertEqual(self.last().error['detail'], self.container(self.uuid).status_reason)

    def test_one_that_is_tried_again(self):
        error = exceptions.DriverError('busy')
        error.retriable = True
        self.engine.fail('start', error, times=1)
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.assertEqual(states.QUEUED, self.last().status)
        self.retry()
        self.assert_rebuilt()

    def test_an_engine_that_loses_the_answer_to_each_step(self):
        for step in ('create', 'stop', 'start', 'rebuild'):
            self.engine.lose_answer(step)
            self.submit('rebuild', self.uuid)
            for _ in range(3):
                self.here.prober()
                self.retry()
            self.assertEqual(states.SUCCEEDED, self.last().status, step)
            self.assertEqual(1, len(self.engine.containers))
            self.assert_at_rest(self.uuid, 'Running')

    def test_after_it_vanished(self):
        self.engine.remove_outside(self.uuid)
        self.here.reconcile()
        self.assertEqual(states.ERROR, self.container(self.uuid).status)
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.assert_rebuilt()


class TestCancel(RebuildCase):

    def cancel_at(self, step):
        self.engine.delays[step] = 0.1
        self.meanwhile(lambda: (self.cancel(self.container(self.uuid).running_action_uuid),
                                self.here.watch()))
        self.engine.delay = 0

    def test_before_the_old_one_is_stopped(self):
        self.submit('rebuild', self.uuid)
        self.cancel_at('create')
        self.here.sweep()
        self.assertEqual(states.CANCELLED, self.last().status)
        self.assert_as_it_was()

    def test_after_the_old_one_was_stopped(self):
        self.submit('rebuild', self.uuid)
        self.cancel_at('start')
        self.here.sweep()
        self.assertEqual(states.CANCELLED, self.last().status)
        self.assert_as_it_was()
        self.assertEqual('Cancelled; the container is as it was.', self.last().error['detail'])

    def test_when_the_old_one_does_not_start_again(self):
        """It was tried for ever, and nothing else could be done with the container."""
        busy = exceptions.DriverError('busy')
        busy.retriable = True
        self.engine.fail('start', busy, times=1)
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.engine.fail('start', exceptions.StartFailed('port is already allocated'))
        self.cancel(self.last().uuid)
        self.here.sweep()
        self.assertEqual((states.FAILED, 'engine_error'),
                         (self.last().status, self.last().error['code']))
        self.assertIn('port is already allocated', self.last().error['detail'])
        self.assert_as_it_was('Stopped')
        self.assertEqual(self.last().error['detail'], self.container(self.uuid).status_reason)

    def test_before_it_is_tried_again_from_an_image_that_is_gone(self):
        """It waited for its image once more, so it was said to have made nothing."""
        busy = exceptions.DriverError('busy')
        busy.retriable = True
        self.engine.fail('start', busy, times=1)
        self.submit('rebuild', self.uuid)
        self.here.sweep()
        self.let_retries_come()
        lifecycle.wait_for_pull(self.db, self.claim(self.uuid))
        self.cancel(self.last().uuid)
        self.here.sweep()
        self.assertEqual('Cancelled; the container is as it was.', self.last().error['detail'])
        self.assert_as_it_was()

    def test_when_it_is_through(self):
        """Nothing brings the old one back, so it has succeeded."""
        self.submit('rebuild', self.uuid)
        self.engine.delays['rebuild'] = 0.1
        self.meanwhile(lambda: self.cancel(self.container(self.uuid).running_action_uuid))
        self.engine.delay = 0
        self.here.sweep()
        self.assert_rebuilt()


class TestDeath(RebuildCase):

    def leave(self):
        """End an attempt without a word, as a death does."""
        raise exceptions.Fenced(container=self.uuid)

    def test_between_any_two_steps(self):
        for step in ('create', 'stop', 'start', 'rebuild'):
            self.submit('rebuild', self.uuid)
            with self.engine.hold(step, self.uuid, after_effect=True) as hold:
                hold.enter = self.leave
                self.here.sweep()
            self.assertEqual(states.ACTION_RUNNING, self.last().status)
            self.die(self.here)
            self.here = self.another()
            self.here.sweep()
            self.assertEqual(states.SUCCEEDED, self.last().status, step)
            self.assertEqual(1, len(self.engine.containers))
            self.assert_at_rest(self.uuid, 'Running')
