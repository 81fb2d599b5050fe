# SPDX-License-Identifier: Apache-2.0
"""Conductors that die, freeze, stop and drain: real processes, RabbitMQ, SQL, Docker."""

import datetime
import signal
import threading
import time
import uuid

from container_service import states
from container_service.db import conductors
from container_service.tests import deployed
from container_service.tests import fixtures

# Does not hear SIGTERM, so that a stop lasts as long as its timeout.
DEAF = ['sh', '-c', 'trap "" TERM; while true; do sleep 0.1; done']


class Conductors:
    """Two conductors as on two machines, ``a`` and ``b``; needs a DeployedTestCase."""

    config = ''

    def setUp(self):
        super().setUp()
        self.image = fixtures.needed('CS_TEST_IMAGE')
        self.deploy(conductors=0, config=self.config)
        self.hosts = [f'{name}-{uuid.uuid4().hex[:8]}' for name in 'ab']
        self.running = {host: self.processes.start_conductor(host) for host in self.hosts}
        self.processes.eventually_live(2)
        self.processes.request('POST', '/v1/bays', {
            'name': 'wide', 'endpoint': fixtures.needed('CS_TEST_DOCKER'),
            'hosts': self.hosts, 'public': True}, expect=201)

    def begun(self, seconds):
        """A stop that takes so long, under way: its action, and the host it is done on."""
        web = self.caller.create(self.image, run=True, bay_uuid='wide', command=DEAF)
        self.succeeded(web['action'])
        action = self.caller.ask(web, 'stop', timeout=seconds)
        found = fixtures.eventually(lambda: (
            lambda shown: shown['stage'] == 'stopping' and shown)(self.caller.action(action)))
        return web, action, self.host_of(found)

    def host_of(self, action):
        return next(host for host in self.hosts if host in action['conductor'])

    def other(self, host):
        return next(other for other in self.hosts if other != host)

    def stopped(self, web, action, host, attempts):
        """It has succeeded there, and the engine agrees."""
        ended = self.succeeded(action)
        self.assertEqual((host, attempts), (self.host_of(ended), ended['attempts']))
        self.assertEqual('Stopped', self.caller.show(web)['status'])
        self.assertEqual(['exited'], [one.status for one in self.on_engine(web)])
        return ended


class Deaths(Conductors):

    def test_killed_and_never_restarted(self):
        web, action, host = self.begun(6)
        self.running[host].kill()
        killed = time.monotonic()
        self.stopped(web, action, self.other(host), attempts=2)
        self.note(f'went on and ended {time.monotonic() - killed:.1f} s after the kill')
        fixtures.eventually(lambda: len(self.processes.live_conductors()) == 1)
        self.succeeded(self.caller.ask(web, 'delete'))

    def test_killed_and_restarted(self):
        for host in self.hosts:
            if host != self.hosts[0]:
                self.running[host].stop()
        web, action, host = self.begun(2)
        began = self.caller.action(action)['started_at']
        self.running[host].kill()
        killed = time.monotonic()
        self.running[host] = self.processes.start_conductor(host)
        ended = self.stopped(web, action, host, attempts=2)
        self.assertEqual(began, ended['started_at'])
        self.note(f'went on and ended {time.monotonic() - killed:.1f} s after the kill')

    def test_frozen_for_longer_than_its_lease(self):
        web, action, host = self.begun(8)
        with self.processes.db.read() as conn:
            old = [row.uuid for row in conductors.live(conn) if row.host == host]
        self.running[host].send(signal.SIGSTOP)
        try:
            self.stopped(web, action, self.other(host), attempts=2)
            # What it would do next must find another container than the one it left.
            self.succeeded(self.caller.ask(web, 'start'))
        finally:
            self.running[host].send(signal.SIGCONT)
        self.processes.eventually_live(2)
        with self.processes.db.read() as conn:
            row, = [row for row in conductors.live(conn) if row.host == host]
        self.assertNotIn(row.uuid, old)
        with open(self.running[host].log) as log:
            self.assertIn('is not ours any more', fixtures.eventually(
                lambda: (lambda text: 'not ours' in text and text)(log.read())))
        self.assertEqual(['running'], [one.status for one in self.on_engine(web)])
        self.assertEqual(states.SUCCEEDED, self.caller.action(action)['status'])

    def test_frozen_for_less_than_its_lease(self):
        web, action, host = self.begun(4)
        self.running[host].send(signal.SIGSTOP)
        time.sleep(1)
        self.running[host].send(signal.SIGCONT)
        self.stopped(web, action, host, attempts=1)


class Ends(Conductors):

    config = 'shutdown_timeout = 1'

    def test_what_does_not_end_in_time_is_handed_back(self):
        web, action, host = self.begun(12)
        self.running[host].send(signal.SIGTERM)
        self.assertEqual(0, self.running[host].ended())
        handed = self.caller.action(action)
        self.assertTrue(handed['status'] == states.QUEUED
                        or self.host_of(handed) == self.other(host), handed)
        self.stopped(web, action, self.other(host), attempts=1)

    def test_draining_lets_it_end(self):
        web, action, host = self.begun(6)
        self.running[host].send(signal.SIGUSR2)
        fixtures.eventually(lambda: len(self.processes.live_conductors()) == 1)
        late = self.caller.create(self.image, bay_uuid='wide')
        self.assertEqual(self.other(host), self.host_of(self.succeeded(late['action'])))
        self.stopped(web, action, host, attempts=1)
        self.assertEqual(0, self.running[host].ended())

    def test_a_stop_shortens_a_drain(self):
        web, action, host = self.begun(15)
        self.running[host].send(signal.SIGUSR2)
        fixtures.eventually(lambda: len(self.processes.live_conductors()) == 1)
        self.running[host].send(signal.SIGTERM)
        self.assertEqual(0, self.running[host].ended())
        self.stopped(web, action, self.other(host), attempts=1)

    def say(self, change, host, **values):
        self.caller.request('PUT', f'/v1/services/{change}', {'host': host, **values}, 200)

    def test_drained_by_an_administrator(self):
        web, action, host = self.begun(6)
        self.say('drain', host)
        self.stopped(web, action, host, attempts=1)
        self.assertEqual(0, self.running[host].ended())

    def test_forced_down_by_an_administrator(self):
        """Its work goes on elsewhere at once, and it is idle as long as that holds."""
        web, action, host = self.begun(12)
        self.say('force_down', host, forced_down=True)
        self.stopped(web, action, self.other(host), attempts=2)
        with open(self.running[host].log) as log:
            self.assertIn('it takes no work', fixtures.eventually(
                lambda: (lambda text: 'is forced down' in text and text)(log.read())))
        self.say('disable', self.other(host))
        time.sleep(2)                       # until both have read it
        late = self.caller.ask(web, 'start')
        time.sleep(3)                       # longer than any of them waits for a wake
        self.assertEqual('no_conductor_for_bay', self.caller.action(late)['waiting']['code'])
        self.say('force_down', host, forced_down=False)
        self.assertEqual(host, self.host_of(self.succeeded(late)))

    def test_restarted_one_after_the_other_under_load(self):
        stop, made = threading.Event(), []

        def load():
            caller = self.new_caller()
            while not stop.is_set():
                made.append(caller.create(self.image, bay_uuid='wide')['action'])

        loading = fixtures.background(load)
        try:
            for host in self.hosts:
                self.running[host].send(signal.SIGTERM)
                self.assertEqual(0, self.running[host].ended())
                self.running[host] = self.processes.start_conductor(host)
                self.processes.eventually_live(2)
        finally:
            stop.set()
            loading.result(30)
        began = sorted(self.succeeded(action)['started_at'] for action in made)
        gaps = [(after - before).total_seconds() for before, after in zip(
            *(list(map(datetime.datetime.fromisoformat, part)) for part in (began, began[1:])))]
        self.note(f'{len(made)} created; longest time without a beginning {max(gaps):.2f} s')
        self.assertLess(max(gaps), 10)


class TestDeathsMariaDB(Deaths, deployed.DeployedTestCase):
    database = 'mysql'


class TestDeathsPostgreSQL(Deaths, deployed.DeployedTestCase):
    database = 'postgresql'


class TestEndsMariaDB(Ends, deployed.DeployedTestCase):
    database = 'mysql'


class TestEndsPostgreSQL(Ends, deployed.DeployedTestCase):
    database = 'postgresql'
