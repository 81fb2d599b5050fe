# SPDX-License-Identifier: Apache-2.0
"""One project asks for thousands of containers as fast as it can; another for very little.

    CS_TEST_FLOOD    how many creates (default 4000, half a minute on two processors)
"""

import collections
import os
import statistics
import threading
import time

import sqlalchemy as sa

from container_service import states
from container_service.db import models
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures

COUNT = int(os.environ.get('CS_TEST_FLOOD', '4000'))
CONNECTIONS = 32

FLOODING, SMALL, SECOND, THIRD = 'flooding', 'small', 'second', 'third'


def resident(pid):
    """MiB of memory that a process has."""
    with open(f'/proc/{pid}/status') as f:
        kib, = [int(line.split()[1]) for line in f if line.startswith('VmRSS:')]
    return kib / 1024


class FloodTestCase(deployed.DeployedTestCase):

    config = ''

    def setUp(self):
        super().setUp()
        self.processes = self.useFixture(deployed.ForProjects(
            self.database, config=f'[bays]\ndrivers = docker, fake\n{self.config}'))
        self.processes.request('POST', '/v1/bays', {
            'name': 'fake', 'driver': 'fake', 'public': True,
            'endpoint': f'fake://flood?present_image={base.IMAGE}'}, expect=201)
        self.caller = self.new_caller(project=SMALL)

    def create_request(self, caller):
        return caller.request('POST', '/v1/containers',
                              {'image': base.IMAGE, 'bay_uuid': 'fake'})

    def assert_told_to_come_back(self, answer, status, code):
        self.assertEqual((status, code),
                         (answer.status, answer.json['errors'][0]['code']))
        self.assertGreater(int(answer.headers['Retry-After']), 0)

    def count(self, project, *where):
        c = models.actions.c
        with self.processes.db.read() as conn:
            return conn.execute(sa.select(sa.func.count()).select_from(models.actions).where(
                c.project_id == project, *where)).scalar_one()


class TestFlood(FloodTestCase):

    time_limit = 600
    # With the lease that is the default: this is not about conductors that lose theirs for being
    # slow, and a machine that does all of this may be.
    config = '[api]\nproject_action_limit = 1500\n[conductor]\nlease = 15\n'

    def setUp(self):
        super().setUp()
        self.answers, self.left = [], COUNT
        self.lock = threading.Lock()

    def flood(self):
        caller = deployed.Caller(self.processes.url, project=FLOODING)
        try:
            while True:
                with self.lock:
                    if self.left == 0:
                        return
                    self.left -= 1
                answer = self.create_request(caller)
                self.answers.append(answer)
        finally:
            caller.close()

    def be_small(self, flooding):
        """Start and stop one container again and again; returns the seconds that each took."""
        web = self.caller.create(base.IMAGE, bay_uuid='fake')
        self.succeeded(web['action'])
        self.under_way.set()
        took = collections.defaultdict(list)
        while flooding():
            for operation in ('start', 'stop'):
                began = time.monotonic()
                self.succeeded(self.caller.ask(web, operation))
                took[operation].append(time.monotonic() - began)
        return took

    def test_flood(self):
        conductor = self.processes.conductors[0]
        self.under_way, over = threading.Event(), threading.Event()
        memory = []

        def flood():
            self.under_way.wait(30)
            began = time.monotonic()
            deployed.together([self.flood] * CONNECTIONS, 400)
            self.sent = time.monotonic() - began
            fixtures.eventually(lambda: self.count(
                FLOODING, models.actions.c.status.in_(states.UNFINISHED)) == 0, 200, 0.5)
            self.drained = time.monotonic() - began
            over.set()

        def watch():
            self.under_way.wait(30)
            while not over.wait(0.5):
                memory.append(resident(conductor.pid))

        try:
            took, _, _ = deployed.together(
                [lambda: self.be_small(lambda: not over.is_set()), flood, watch], 500)
        finally:
            over.set()

        by_status = collections.Counter(answer.status for answer in self.answers)
        seconds = sorted(answer.seconds for answer in self.answers)
        self.note(f'{COUNT} creates over {CONNECTIONS} connections in {self.sent:.1f} s, the '
                  f'last ended after {self.drained:.1f} s: {dict(sorted(by_status.items()))}; '
                  f'answered in {statistics.median(seconds) * 1000:.0f} ms, 99 % within '
                  f'{seconds[int(len(seconds) * 0.99)] * 1000:.0f} ms')
        for operation, times in took.items():
            self.note(f"the other project's {operation}: {len(times)} times, in "
                      f'{statistics.median(times):.2f} s, at most {max(times):.2f} s')
        third = len(memory) // 3
        self.note(f'memory of the conductor: {memory[0]:.0f} MiB at first, {memory[third]:.0f} '
                  f'after a third, {memory[-1]:.0f} at the end, at most {max(memory):.0f}')

        self.assertEqual(COUNT, len(self.answers))
        for answer in self.answers:
            if answer.status != 202:
                self.assert_told_to_come_back(answer, 429, 'too_many_actions')
        self.assertGreater(by_status[202], min(COUNT, 1500) * 0.9)
        # Every one that was accepted is there, once, and has ended well.
        self.assertEqual(by_status[202], self.count(FLOODING))
        self.assertEqual(by_status[202], self.count(
            FLOODING, models.actions.c.status == states.SUCCEEDED,
            models.actions.c.attempts == 1))
        self.assertLess(max(took['stop']), 20)
        self.assertGreater(len(took['stop']), 5)
        # The containers of the fake engine are in its memory too, two to three KiB each.
        self.assertLess(max(memory) - memory[third], 32 + by_status[202] * 4 / 1024)
        self.assertLess(max(memory), 250)


class TestLimits(FloodTestCase):
    """Nobody carries anything out, so that what may be accepted is a number."""

    config = '[api]\nproject_action_limit = 40\naction_limit = 100\ncontainer_queue_limit = 5\n'

    def fill(self, project, *refused):
        """Ask for 60 containers over 12 connections; returns how many were accepted."""
        def connection():
            caller = deployed.Caller(self.processes.url, project=project)
            try:
                return [self.create_request(caller) for _ in range(5)]
            finally:
                caller.close()

        answers = sum(deployed.together([connection] * 12), [])
        for answer in answers:
            if answer.status != 202:
                self.assert_told_to_come_back(answer, *refused)
        accepted = self.count(project)
        self.assertEqual(accepted, sum(answer.status == 202 for answer in answers))
        return accepted

    def assert_about(self, number, accepted):
        """What was under way when the actions were counted, once a second, may come on top."""
        self.assertTrue(number <= accepted <= number + 12, accepted)

    def test_of_a_project_and_of_all(self):
        web = self.caller.create(base.IMAGE, bay_uuid='fake')
        self.succeeded(web['action'])
        self.processes.conductors[0].stop()
        # It is still counted until the API looks again.
        fixtures.eventually(lambda: self.caller.unfinished() == 0)

        accepted = 0
        for project in (FLOODING, SECOND):
            more = self.fill(project, 429, 'too_many_actions')
            self.assert_about(40, more)
            accepted += more
        more = self.fill(THIRD, 503, 'system_full')
        self.assert_about(100, accepted + more)

        # What empties the queues is let through, whatever the limits say.
        delete = self.caller.ask(web, 'delete')
        self.assertEqual(('queued', 'no_conductor_for_bay'), (
            delete['status'], self.caller.action(delete)['waiting']['code']))
        # And all of it ends when there is a conductor again.
        self.processes.start_conductor()
        self.succeeded(delete)
        fixtures.eventually(lambda: sum(
            self.count(one, models.actions.c.status.in_(states.UNFINISHED))
            for one in (FLOODING, SECOND, THIRD)) == 0)

    def test_of_one_container(self):
        web = self.caller.create(base.IMAGE, bay_uuid='fake', run=True)
        self.succeeded(web['action'])
        self.processes.conductors[0].stop()
        path = f'/v1/containers/{web["uuid"]}'
        answers = [self.caller.request('POST', f'{path}/kill?signal=USR1') for _ in range(7)]
        self.assertEqual([202] * 5, [answer.status for answer in answers[:5]])
        for answer in answers[5:]:
            self.assert_told_to_come_back(answer, 409, 'queue_full')
        self.caller.ask(web, 'delete', force='true')
        self.processes.start_conductor()
        fixtures.eventually(lambda: self.caller.unfinished() == 0)
        self.caller.show(web, expect=404)
