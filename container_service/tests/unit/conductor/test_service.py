# SPDX-License-Identifier: Apache-2.0
import threading
import time
import types

from container_service import exceptions
from container_service.conductor import service
from container_service.db import conductors
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
