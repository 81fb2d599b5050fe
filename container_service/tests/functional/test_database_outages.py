# SPDX-License-Identifier: Apache-2.0
"""A deployment whose database is restarted, killed and frozen under load, and one that everybody
writes to at once: refusals are quick, nothing accepted is lost, nothing is done twice."""

import collections
import random
import threading
import time
import uuid

import fixtures as pyfixtures
import sqlalchemy as sa

from container_service import states
from container_service.db import actions
from container_service.db import containers
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures

# Seconds that a request may take while the database is down: 2, and what a busy machine adds; and
# while it is silent, when the first ones wait for an answer, some after one to COMMIT.
DOWN, SILENT = 5.0, 9.0

WRITERS = 50


class OnDatabase(deployed.EngineHere):
    """A deployment whose database is a server of its own."""

    _VARIABLES = {'mysql': 'CS_TEST_MYSQL_URL', 'postgresql': 'CS_TEST_POSTGRESQL_URL'}

    def _setUp(self):
        self.server = self.useFixture(fixtures.Service(
            {'mysql': 'mariadb'}.get(self._kind, self._kind)))
        self.useFixture(pyfixtures.EnvironmentVariable(
            self._VARIABLES[self._kind], self.server.url))
        super()._setUp()


class Outages:
    """Needs a DeployedTestCase that shares an OnDatabase."""

    time_limit = 240

    def setUp(self):
        super().setUp()
        self.server = self.processes.server
        self.stop, self.accepted, self.refused = threading.Event(), {}, []

    def ask(self):
        """Ask for containers, one after the other, each until it is accepted."""
        caller = self.new_caller()
        while not self.stop.is_set():
            key = uuid.uuid4().hex
            while key not in self.accepted and not self.stop.is_set():
                answer = caller.request(
                    'POST', '/v1/containers',
                    {'image': base.IMAGE, 'bay_uuid': self.processes.fake_bay},
                    Idempotency_Key=key)
                if answer.status == 202:
                    self.accepted[key] = answer.json
                else:
                    self.refused.append(answer)
                    time.sleep(0.2)
            time.sleep(0.05)

    def read(self):
        caller = self.new_caller()
        while not self.stop.is_set():
            answer = caller.request('GET', '/v1/containers?limit=10')
            if answer.status != 200:
                self.refused.append(answer)
            time.sleep(0.2)

    def under_load(self, *faults):
        """Do these while there is load; then see what became of all of it."""
        def work():
            try:
                for fault in faults:
                    self.accept_some()
                    fault()
                self.accept_some()
            finally:
                self.stop.set()

        before = self.count()
        deployed.together([self.ask, self.ask, self.ask, self.read, work])
        # Who has found it away asks it again after a moment.
        fixtures.eventually(lambda: self.caller.request('GET', '/v1/containers').status == 200, 30)
        for container in self.accepted.values():
            self.succeeded(container['action'])
            self.assertEqual(['create'], self.processes.effects_on(container))
        uuids = [container['uuid'] for container in self.accepted.values()]
        self.assertEqual(len(uuids), len(set(uuids)))
        # Those that were told that it is not known have asked again, with the same key.
        self.assertEqual(len(uuids), self.count() - before)

    def accept_some(self):
        """Let load be for a second, and until it has been answered."""
        enough = len(self.accepted) + 10
        time.sleep(1)
        fixtures.eventually(lambda: len(self.accepted) >= enough, 60, 0.05)

    def count(self):
        with self.processes.db.read() as conn:
            return conn.execute(sa.select(sa.func.count()).where(
                containers.table.c.bay_uuid == self.processes.fake_bay)).scalar_one()

    def assert_refused(self, seconds):
        self.assertTrue(self.refused)
        codes = collections.Counter()
        for answer in self.refused:
            codes[answer.json['errors'][0]['code']] += 1
            self.assertEqual(503, answer.status, answer)
            self.assertTrue(answer.headers['Retry-After'])
            self.assertLess(answer.seconds, seconds)
        self.assertEqual(set(), set(codes) - {'database_unavailable', 'outcome_unknown'})
        self.note(f'{len(self.accepted)} accepted, {dict(codes)}, slowest in '
                  f'{max(answer.seconds for answer in self.refused):.2f} s')

    def test_restarts(self):
        def restart():
            self.server.stop()
            self.server.start()

        def crash():
            self.server.kill()
            self.server.start()

        self.under_load(restart, crash, restart, crash)
        self.assert_refused(DOWN)

    def test_the_first_requests_after_a_restart(self):
        for _ in range(5):
            self.caller.request('GET', '/v1/containers', expect=200)
        self.server.stop()
        self.server.start()
        for _ in range(5):
            self.caller.request('GET', '/v1/containers', expect=200)
            self.caller.create(base.IMAGE, bay_uuid=self.processes.fake_bay)

    def test_it_is_frozen(self):
        def freeze():
            with self.server.frozen():
                time.sleep(6)

        self.under_load(freeze)
        self.assert_refused(SILENT)
        # The others did not wait.
        self.assertLess(sorted(answer.seconds for answer in self.refused)[
            len(self.refused) // 2], SILENT / 3)


class TestOutagesOfMariaDB(Outages, deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(OnDatabase('mysql'))


class TestOutagesOfPostgreSQL(Outages, deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(OnDatabase('postgresql'))


class Crowd:
    """Fifty writers on five containers, and one who takes locks in the other order."""

    def setUp(self):
        super().setUp()
        self.containers = [self.caller.create(base.IMAGE, bay_uuid=self.processes.fake_bay)
                           for _ in range(5)]
        for container in self.containers:
            self.succeeded(container['action'])

    def write(self, seed, count, answers):
        chance, caller = random.Random(seed), self.new_caller()  # noqa: S311
        for _ in range(count):
            container = chance.choice(self.containers)
            operation = chance.choice(('start', 'stop', 'reboot', 'pause', 'unpause'))
            answers.append(caller.request(
                'POST', f'/v1/containers/{container["uuid"]}/{operation}'))

    def lock_the_other_way(self, end, deadlocks):
        a, c = actions.table.c, containers.table.c
        while not end.is_set():
            container = random.choice(self.containers)['uuid']  # noqa: S311
            try:
                with self.processes.db.engine.begin() as conn:
                    conn.execute(sa.select(a.id).where(
                        a.resource_uuid == container,
                        a.status.not_in(states.FINAL)).with_for_update())
                    time.sleep(0.005)
                    conn.execute(sa.select(c.id).where(c.uuid == container).with_for_update())
            except Exception as exc:
                deadlocks.append(exc)
            time.sleep(0.02)

    def test_nobody_is_told_500(self):
        answers, end, deadlocks = [], threading.Event(), []
        other = threading.Thread(target=self.lock_the_other_way, args=(end, deadlocks))
        other.start()
        try:
            deployed.together([lambda seed=seed: self.write(seed, 20, answers)
                               for seed in range(WRITERS)])
        finally:
            end.set()
            other.join()
        codes = collections.Counter(answer.status for answer in answers)
        times = sorted(answer.seconds for answer in answers)
        self.note(f'{dict(codes)}, p99 {times[int(len(times) * 0.99)]:.2f} s, most '
                  f'{times[-1]:.2f} s, {len(deadlocks)} deadlocks')
        self.assertEqual(set(), set(codes) - {202, 409, 503})
        # Those who took a lock in the wrong order held others up, for longer than they wait.
        self.assertLess(codes[503], len(answers) * 0.1)
        for container in self.containers:
            fixtures.eventually(lambda container=container: not self.caller.show(container)[
                'task_state'], 60)
            ended = [action['status'] for action in self.caller.history(container)]
            self.assertEqual([], [status for status in ended if status not in states.FINAL])
            self.assert_one_after_the_other([
                action for action in self.caller.history(container) if action['started_at']])


class TestCrowdOnMariaDB(Crowd, deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(deployed.EngineHere('mysql'))


class TestCrowdOnPostgreSQL(Crowd, deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(deployed.EngineHere('postgresql'))
