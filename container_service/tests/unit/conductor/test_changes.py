# SPDX-License-Identifier: Apache-2.0
"""Operations that change, fill or use a container, from the row to the fake engine and back."""

import io
import tarfile

from container_service import exceptions
from container_service import references
from container_service import states
from container_service.drivers import fake
from container_service.tests.unit.conductor import base

MIB = 1024 * 1024


class ChangeCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.uuid = self.running('web')

    def last(self):
        return self.actions_of(self.uuid)[-1]

    def done(self, operation, **params):
        """Have an operation carried out; returns its action."""
        self.submit(operation, self.uuid, **params)
        self.here.sweep()
        self.assertEqual(states.SUCCEEDED, self.last().status, self.last().error)
        self.assert_at_rest(self.uuid, 'Running')
        return self.last()


class TestUpdate(ChangeCase):

    def test_limits_of_what_runs(self):
        self.done('update', cpu=0.5, memory_bytes=64 * MIB)
        self.assertEqual({'cpu': 0.5, 'memory_bytes': 64 * MIB}, self.container(self.uuid).spec)
        self.assertEqual(64 * MIB, self.engine.container(self.uuid).spec['memory_bytes'])
        self.assertEqual('update', self.effects(self.uuid)[-1])

    def test_the_engine_is_not_asked_about_a_name(self):
        calls = self.engine.calls.copy()
        self.done('update', name='shop', auto_heal=True)
        self.done('rename', name='store')
        self.assertEqual(calls, self.engine.calls)
        row = self.container(self.uuid)
        self.assertEqual(('store', 'store', {'auto_heal': True}),
                         (row.name, row.live_name, row.spec))

    def test_a_name_can_be_given_to_what_the_engine_does_not_have(self):
        self.engine.remove_outside(self.uuid)
        self.here.reconcile()
        self.submit('rename', self.uuid, name='shop')
        self.here.sweep()
        self.assertEqual(states.SUCCEEDED, self.last().status)
        self.assertEqual(('shop', states.ERROR), (
            self.container(self.uuid).name, self.container(self.uuid).status))

    def test_a_name_that_is_taken_when_its_turn_comes(self):
        self.submit('update', self.uuid, name='shop', cpu=1.0)
        self.create('shop')
        self.here.sweep()
        action = self.last()
        self.assertEqual((states.FAILED, 'name_taken'), (action.status, action.error['code']))
        self.assertEqual(('web', {'cpu': 1.0}), (
            self.container(self.uuid).name, self.container(self.uuid).spec))
        self.assert_at_rest(self.uuid, 'Running')

    def test_what_the_engine_refuses_changes_nothing(self):
        self.engine.fail('update')
        self.submit('update', self.uuid, cpu=1.0)
        self.here.sweep()
        self.assertEqual((states.FAILED, 'engine_error'),
                         (self.last().status, self.last().error['code']))
        self.assertEqual({}, self.container(self.uuid).spec)
        self.assert_at_rest(self.uuid, 'Running')

    def test_a_lost_answer(self):
        self.engine.lose_answer('update')
        self.submit('update', self.uuid, cpu=1.0)
        self.here.sweep()
        self.assertEqual(states.QUEUED, self.last().status)
        self.here.prober()
        self.retry()
        self.assertEqual(states.SUCCEEDED, self.last().status)
        self.assertEqual({'cpu': 1.0}, self.container(self.uuid).spec)


class TestExecution(ChangeCase):

    def test_its_result(self):
        action = self.done('execution', command=['cat'], stdin=b'in')
        self.assertEqual(('in', 0, False), tuple(
            action.result[key] for key in ('output', 'exit_code', 'truncated')))

    def test_it_is_not_run_again_when_its_answer_was_lost(self):
        self.engine.lose_answer('execute')
        self.submit('execution', self.uuid, command=['true'])
        self.here.sweep()
        self.here.prober()
        self.retry()
        self.assertEqual(states.FAILED, self.last().status)
        self.assertIn('not run again', self.last().error['detail'])

    def test_it_ends_with_its_conductor(self):
        self.submit('execution', self.uuid, command=['true'])
        with self.engine.hold('execute', self.uuid) as hold:
            hold.enter = self.leave
            self.here.sweep()
        self.die(self.here)
        self.another().sweep()
        self.assertEqual(states.INTERRUPTED, self.last().status)
        self.assertNotIn('execute', self.effects(self.uuid))

    def leave(self):
        raise exceptions.Fenced(container=self.uuid)


class TestContent(ChangeCase):

    def test_an_archive_reaches_the_engine(self):
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode='w') as archive:
            entry = tarfile.TarInfo('a')
            entry.size = 1
            archive.addfile(entry, io.BytesIO(b'1'))
        self.done('put_archive', path='/tmp', data=made.getvalue())
        self.assertEqual(b'1', self.engine.container(self.uuid).files['/tmp/a'])

    def test_an_image_is_named_after_the_project(self):
        action = self.done('commit', repository='mine/web', tag='v1')
        self.assertEqual(('mine/web', 'v1'), (action.result['repo'], action.result['tag']))
        name = str(references.local('project', 'mine/web', 'v1'))
        self.assertIn(name, self.engine.images)
        # The project makes containers of it by the name that it gave.
        other = self.create('other', 'run', image='mine/web:v1')
        self.here.sweep()
        self.assert_at_rest(other, 'Running')
        self.assertEqual(name, self.engine.container(other).image)

    def test_networks_last_beyond_a_rebuild(self):
        self.engine.add_network('backend')
        self.done('network_attach', network='backend', fixed_ip='10.0.0.5')
        self.done('rebuild')
        self.assertIn('backend', self.engine.container(self.uuid).networks)
        addresses = self.container(self.uuid).addresses
        self.assertEqual('10.0.0.5', addresses['backend'][0]['addr'])
        self.done('network_detach', network='backend')
        self.done('rebuild')
        self.assertNotIn('backend', self.engine.container(self.uuid).networks)

    def test_what_is_detached_from_all_networks_stays_so(self):
        self.done('network_detach', network=fake.DEFAULT_NETWORK)
        self.done('rebuild')
        self.assertEqual(((), {}), (self.engine.container(self.uuid).networks,
                                    self.container(self.uuid).addresses))
        self.done('network_attach', network=fake.DEFAULT_NETWORK)
        self.done('rebuild')
        self.assertEqual((fake.DEFAULT_NETWORK,), self.engine.container(self.uuid).networks)
