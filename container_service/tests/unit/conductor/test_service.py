# SPDX-License-Identifier: Apache-2.0
import threading
import time
import types

from container_service import exceptions
from container_service import lifecycle
from container_service.conductor import inflight
from container_service.conductor import service
from container_service.db import conductors
from container_service.db import containers
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import fixtures


class TestConductor(base.TestCase):

    def deploy(self, **values):
        return self.useFixture(fixtures.Deployment(**values))

    def test_it_is_registered_while_it_runs(self):
        deployment = self.deploy()

        def live():
            with deployment.db.read() as conn:
                return [row.server for row in conductors.live(conn)]

        self.assertEqual([f'{deployment.conf.host}.0'], live())
        deployment.conductor.stop()
        self.assertEqual([], live())

    def test_a_bus_that_does_not_let_go_holds_up_no_stop(self):
        deployment = self.deploy()
        let_go = threading.Event()
        self.addCleanup(let_go.set)

        class Stuck:
            def stop(self):
                let_go.wait(30)

        self.patch(service, '_UNLISTEN', 0.1)
        deployment.conductor._servers += [Stuck(), Stuck()]
        began = time.monotonic()
        deployment.conductor.stop()
        self.assertLess(time.monotonic() - began, 10)

    def test_what_is_done_over_and_over_survives_its_errors(self):
        deployment = self.deploy()
        runs, done = [], threading.Event()

        def task():
            runs.append(1)
            if len(runs) == 1:
                raise exceptions.DatabaseUnavailable()
            if len(runs) == 2:
                raise ValueError('unforeseen')
            done.set()

        deployment.conductor._every(0.05, task)
        self.assertTrue(done.wait(10))

    def test_its_health_hears_of_each_round_of_its_threads(self):
        conductor = self.deploy().conductor
        first = dict(conductor.health._rounds)
        self.assertIn('sweep', first)
        fixtures.eventually(lambda: conductor.health._rounds['sweep'] > first['sweep'])
        self.assertTrue(conductor.health.alive()[0])

    def test_it_is_not_ready_any_more_while_it_drains(self):
        deployment = self.deploy()
        with deployment.engine.hold('create') as held:
            deployment.api.post_json('/v1/containers', {'image': base.IMAGE})
            held.wait_entered()
            self.assertTrue(deployment.conductor.health.ready()[0])
            deployment.conductor.drain()
            self.assertEqual('draining', deployment.conductor.health.ready()[1]['reason'])
            self.assertTrue(deployment.conductor.health.alive()[0])

    def test_without_a_schema_it_does_not_start(self):
        conf = self.useFixture(fixtures.Conf()).conf
        db = self.useFixture(fixtures.SqliteDatabase(conf, schema=False)).db
        error = self.assertRaises(exceptions.DatabaseUnavailable,
                                  service.Conductor(conf, db, None).start)
        self.assertIn('db sync', error.detail)

    def test_what_does_not_end_in_time_is_left_to_others(self):
        self.patch(service, '_ABORT', 0.1)
        self.patch(fake.FakeDriver, 'call_timeout_seconds', 0.5)
        deployment = self.deploy(conductor_shutdown_timeout=0)
        with deployment.engine.hold('create') as held:
            answer = deployment.api.post_json('/v1/containers', {'image': base.IMAGE})
            held.wait_entered()
            deployment.conductor.stop()
        self.assertIn(f'create of container {answer.json["uuid"]}', self.log.output)
        deployment.start_conductor()
        path = f'/v1/containers/{answer.json["uuid"]}'
        fixtures.eventually(lambda: deployment.api.get(path).json['status'] == 'Created')
        self.assertEqual(1, [name for name, _ in deployment.engine.effects].count('create'))

    def created_while(self, deployment, do):
        """Let something happen in the middle of a create; returns the container's action."""
        with deployment.engine.hold('create') as held:
            answer = deployment.api.post_json('/v1/containers', {'image': base.IMAGE})
            held.wait_entered()
            do()
            return answer.json['uuid'], deployment.api.get(
                f'/v1/actions?container={answer.json["uuid"]}').json['actions'][0]

    def test_what_is_handed_back_waits_for_the_call_that_is_left_behind(self):
        self.patch(service, '_ABORT', 0.1)
        self.patch(fake.FakeDriver, 'call_timeout_seconds', 3600)
        deployment = self.deploy(conductor_shutdown_timeout=0)
        lease, could_act = deployment.conductor.lease, []
        hand_back = lifecycle.hand_back
        self.patch(lifecycle, 'hand_back', lambda *args: (
            could_act.append(lease.holds(lease.uuid)), hand_back(*args))[1])
        _, action = self.created_while(deployment, deployment.conductor.stop)
        self.assertEqual(('queued', 0), (action['status'], action['attempts']))
        # What is left behind could not act any more when others might.
        self.assertEqual([False], could_act)
        with deployment.db.read() as conn:
            row = conn.execute(containers.table.select()).one()
            self.assertGreater((row.runnable_at - row.updated_at).total_seconds(), 3500)

    def test_an_aborted_attempt_that_ended_leaves_no_call_behind(self):
        deployment = self.deploy(engine_options='create_delay=30', conductor_shutdown_timeout=0)
        answer = deployment.api.post_json('/v1/containers', {'image': base.IMAGE})
        fixtures.eventually(lambda: deployment.engine.calls['create'])
        deployment.conductor.stop()
        with deployment.db.read() as conn:
            row = conn.execute(containers.table.select()).one()
            self.assertLess((row.runnable_at - row.updated_at).total_seconds(), 1)
        deployment.engine.delays.clear()
        deployment.start_conductor()
        path = f'/v1/containers/{answer.json["uuid"]}'
        fixtures.eventually(lambda: deployment.api.get(path).json['status'] == 'Created')

    def test_a_drain_waits_for_what_runs_and_takes_nothing_new(self):
        deployment = self.deploy()
        conductor = deployment.conductor

        def drain():
            conductor.drain()
            self.assertFalse(conductor.drained)
            later = deployment.api.post_json('/v1/containers', {'image': base.IMAGE})
            self.assertEqual(inflight.STOPPING, conductor.inflight.wake(later.json['uuid']))

        uuid, _ = self.created_while(deployment, drain)
        fixtures.eventually(lambda: conductor.drained)
        status = {one['uuid']: one['status'] for one in deployment.api.get(
            '/v1/containers').json['containers']}
        self.assertEqual(('Created', {'Created', 'Creating'}),
                         (status[uuid], set(status.values())))

    def test_a_drain_that_takes_too_long(self):
        deployment = self.deploy(conductor_drain_timeout=0)
        self.patch(service, '_ABORT', 0.1)

        def drain():
            deployment.conductor.drain()
            self.assertTrue(deployment.conductor.drained)
            deployment.conductor.stop()

        _, action = self.created_while(deployment, drain)
        self.assertEqual('queued', action['status'])

    def test_whom_to_ring_instead(self):
        deployment = self.deploy()
        conductor = deployment.conductor
        uuid = deployment.api.post_json('/v1/containers', {'image': base.IMAGE}).json['uuid']
        self.assertIsNone(conductor._peer_for(uuid, None))          # there is nobody else
        self.assertIsNone(conductor._peer_for('no such', None))
        with deployment.db.read() as conn:
            row = conductors.find(conn, conductor.lease.uuid)
        deployment.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': 'another', 'host': row.host, 'slot': 1, 'server': 'another.1'}))
        conductor.drain()
        conductor.ring._read_at = None
        self.assertEqual('another.1', conductor._peer_for(uuid, None))

    def test_what_would_be_refused_is_not_picked(self):
        """Else the slot that asks would be given the same again and again."""
        asked = []
        conductor = types.SimpleNamespace(
            lease=types.SimpleNamespace(may_claim=lambda: True),
            inflight=types.SimpleNamespace(
                room=lambda: (False, {'sated', 'silent'}, {'full'})),
            engines=types.SimpleNamespace(available=lambda: ['free', 'full', 'sated']),
            fair=lambda bays, leave_out, urgent_only: asked.append((bays, urgent_only)))
        self.assertIsNone(service.Conductor._pick(conductor, set()))
        self.assertEqual([(['free'], False), (['sated'], True)], asked)
