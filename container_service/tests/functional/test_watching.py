# SPDX-License-Identifier: Apache-2.0
"""Whatever happens on an engine is known soon: dockerd and conductors as they are shipped."""

import io
import json
import os
import socket
import time

import docker

from container_service import states
from container_service.drivers import base as drivers
from container_service.drivers import docker as driver
from container_service.drivers import docker_request
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests import links
from faults import engine as engines

SLEEPS = ['sh', '-c', 'trap "exit 0" TERM; sleep 600 & wait']
EATS = ['sh', '-c', 'sleep 1; x=a; while true; do x=$x$x$x$x; done']
GRACE = 3

# By events; a machine with few processors and other work gets some more.
SOON = 10


class Own:
    """A deployment with one bay, ``own``, on an engine of the test's own."""

    CONFIG = f'orphan_grace = {GRACE}\nreconcile_interval = 3600'
    time_limit = 300

    def setUp(self):
        super().setUp()
        self.image = fixtures.needed('CS_TEST_IMAGE')
        shared = engines.Engine('shared', fixtures.needed('CS_TEST_DOCKER'))
        self.addCleanup(shared.close)
        self.own = engines.OwnEngine('own', self.image, shared)
        self.addCleanup(self.own.close)
        self.engine = self.own.client
        self.deploy(config=self.CONFIG)
        self.make_bay(self.own.endpoint)

    def make_bay(self, endpoint):
        self.bay = self.processes.request('POST', '/v1/bays', {
            'name': 'own', 'endpoint': endpoint, 'public': True, 'hosts': [self.processes.host]},
            expect=201).json['uuid']
        self.eventually(lambda: self.shown_bay()['reconciled_at'])

    def shown_bay(self):
        return self.caller.request('GET', '/v1/bays/own', expect=200).json

    def eventually(self, check, seconds=SOON):
        began = time.monotonic()
        fixtures.eventually(check, seconds, 0.02)
        return time.monotonic() - began

    def run_one(self, **values):
        made = self.caller.create(self.image, bay_uuid='own', run=True,
                                  **{'command': SLEEPS, **values})
        self.succeeded(made['action'])
        return made

    def at(self, container):
        """What the engine has of it."""
        return self.engine.containers.get(f'cs-{container["uuid"]}-1')

    def becomes(self, container, seconds=SOON, **values):
        """Wait until it is shown so; returns how long it took."""
        def shown():
            found = self.caller.show(container)
            return all(found[key] == value for key, value in values.items())

        try:
            return self.eventually(shown, seconds)
        except AssertionError:
            self.assertEqual(values, {key: self.caller.show(container)[key] for key in values})

    def happened(self, container):
        return [(event['type'], event['detail']) for event in self.caller.request(
            'GET', f'/v1/events?container={container["uuid"]}', expect=200).json['events']]

    def hows(self, container):
        return [detail.get('how') or kind for kind, detail in self.happened(container)]

    def late_create(self, uuid):
        """A create that was given up long ago, carried out by the engine now; returns its name."""
        container = self.described(uuid)
        one = driver.DockerDriver(drivers.Bay('b', 'own', self.own.endpoint))
        one.create(drivers.Attempt(), container)
        return container.engine_name

    def described(self, uuid):
        return drivers.Container(
            uuid=uuid, name='late', image=self.image, generation=1, fence=1,
            deployment=self.processes.deployment, spec={'command': SLEEPS})

    def is_there(self, name):
        try:
            return bool(self.engine.containers.get(name))
        except docker.errors.NotFound:
            return False


class Watching(Own):
    """On one database.  Lists come so seldom that only events can have told."""

    # By itself

    def test_what_ends_by_itself(self):
        made = self.run_one(command=['sh', '-c', 'sleep 2; exit 7'])
        self.becomes(made, status=states.STOPPED, exit_code=7)
        (kind, detail), = self.happened(made)
        self.assertEqual(('container.exited', 7), (kind, detail['exit_code']))

    def test_that_memory_ran_out(self):
        made = self.run_one(command=EATS, memory='16m')
        self.becomes(made, status=states.STOPPED, oom_killed=True, exit_code=137, seconds=30)
        (kind, detail), = self.happened(made)
        self.assertEqual(('container.exited', True), (kind, detail['oom_killed']))

    def test_health(self):
        self.engine.images.build(fileobj=_dockerfile(
            f'FROM {self.image}\nHEALTHCHECK --interval=0.2s --retries=1 CMD test ! -e /sick\n'),
            tag='cs-test/healthy')
        made = self.caller.create('cs-test/healthy', bay_uuid='own', run=True, command=SLEEPS)
        self.succeeded(made['action'])
        self.becomes(made, health='healthy')
        self.at(made).exec_run(['sh', '-c', '> /sick'])
        self.becomes(made, health='unhealthy')
        self.assertEqual(['unhealthy'], [detail['health'] for kind, detail in self.happened(made)
                                         if detail['health'] == 'unhealthy'])

    # By hand

    def test_by_hand(self):
        made = self.run_one()
        for do, status, how in (
                (lambda: self.at(made).pause(), states.PAUSED, 'paused'),
                (lambda: self.at(made).unpause(), states.RUNNING, 'unpaused'),
                (lambda: self.at(made).stop(), states.STOPPED, 'stopped'),
                (lambda: self.at(made).start(), states.RUNNING, 'started'),
                (lambda: self.at(made).restart(), states.RUNNING, 'restarted'),
                (lambda: self.at(made).kill(), states.STOPPED, 'killed')):
            before = len(self.happened(made))
            do()
            self.eventually(lambda before=before: len(self.happened(made)) > before)
            self.becomes(made, status=status)
            told = self.hows(made)
            if how == 'restarted' and told[-2:] == ['stopped', 'started']:
                how = 'started'       # the stop was looked at before the start came
            self.assertEqual(how, told[-1])
            self.assertEqual(f'Changed outside: {how}.', self.caller.show(made)['status_reason'])
        self.at(made).remove()
        self.becomes(made, status=states.ERROR)
        self.assertEqual('container.missing', self.hows(made)[-1])
        self.succeeded(self.caller.ask(made, 'delete'))

    def test_a_renamed_one_is_still_ours(self):
        made = self.run_one()
        self.at(made).rename('somebodys')
        self.becomes(made, status_reason='Changed outside: renamed.')
        self.engine.containers.get('somebodys').kill()
        self.becomes(made, status=states.STOPPED)
        self.assertEqual(['renamed', 'killed'], self.hows(made))
        self.succeeded(self.caller.ask(made, 'start'))
        self.succeeded(self.caller.ask(made, 'delete', force='true'))
        self.assertEqual([], self.engine.containers.list(all=True))
        self.assertEqual(0, self.shown_bay()['strays'])

    def test_what_the_service_does_is_no_event(self):
        made = self.run_one()
        for operation in ('pause', 'unpause', 'stop', 'start', 'reboot', 'kill'):
            self.succeeded(self.caller.ask(made, operation))
        time.sleep(2)
        self.assertEqual([], self.happened(made))

    def test_many_at_once(self):
        made = deployed.together([
            lambda: [self.new_caller().create(self.image, bay_uuid='own', run=True,
                                              command=SLEEPS) for _ in range(10)]
            for _ in range(3)])
        made = [one for some in made for one in some]
        for one in made:
            self.succeeded(one['action'], 60)
        times = {}

        def kill(one):
            self.at(one).kill()
            times[one['uuid']] = time.monotonic()

        deployed.together([lambda one=one: kill(one) for one in made])
        took, left = [], {one['uuid'] for one in made}
        while left:
            shown = self.caller.request('GET', '/v1/containers?status=Stopped',
                                        expect=200).json['containers']
            for uuid in left & {one['uuid'] for one in shown}:
                took.append(time.monotonic() - times[uuid])
                left.discard(uuid)
            self.assertLess(time.monotonic() - max(times.values()), 60, left)
            time.sleep(0.02)
        took.sort()
        self.note(f'{len(made)} killed at once were shown as stopped after '
                  f'{took[len(took) // 2]:.2f} s (median), at most {took[-1]:.2f} s')
        self.assertLess(took[-1], 3 * SOON)

    # Faults

    def test_an_engine_that_is_killed_and_comes_back(self):
        """All its containers die with it: what a user sees of a host that reboots."""
        made = [self.run_one() for _ in range(3)]
        self.own.kill()
        self.own.start()
        began = time.monotonic()
        for one in made:
            self.becomes(one, status=states.STOPPED)
        self.note(f'after the engine answered again: {time.monotonic() - began:.2f} s')
        for one in made:
            # Its engine ended what was left when it started again, and may tell that.
            (kind, detail), = self.happened(one)
            self.assertIn((kind, detail.get('how')), (
                ('container.exited', None), ('container.changed_outside', 'stopped'),
                ('container.changed_outside', 'killed')))
            self.succeeded(self.caller.ask(one, 'start'))

    def test_an_engine_that_is_restarted_in_order(self):
        made = self.run_one()
        self.own.stop()
        self.own.start()
        self.becomes(made, status=states.STOPPED)

    def test_a_watcher_that_is_killed(self):
        made, before = self.run_one(), self.shown_bay()['watcher']
        self.processes.conductors[0].kill()
        self.at(made).kill()
        self.processes.start_conductor()
        took = self.becomes(made, status=states.STOPPED, seconds=20)
        self.note(f'the next watcher had seen it after {took:.1f} s')
        self.assertNotEqual(before, self.shown_bay()['watcher'])
        # It knows from the events that were told meanwhile.
        self.assertEqual(['killed'], self.hows(made))

    def test_another_conductor_takes_the_watch_over(self):
        made = self.run_one()
        watchers = {self.shown_bay()['watcher']}
        self.processes.start_conductor()
        self.processes.eventually_live(2)
        self.processes.conductors[0].kill()
        self.at(made).kill()
        took = self.becomes(made, status=states.STOPPED, seconds=20)
        self.note(f'with another conductor there: {took:.1f} s')
        watchers.add(self.shown_bay()['watcher'])
        self.assertEqual(2, len(watchers))

    # What is nobody's

    def test_a_create_that_a_frozen_engine_carries_out_later(self):
        """Its caller had no answer, and was told since that the container is deleted."""
        made = self.run_one()
        self.succeeded(self.caller.ask(made, 'delete', force='true'))
        name = f'cs-{made["uuid"]}-1'
        self.own.freeze()
        # From a conductor that waits for it no longer; the request stays with the engine.
        request = json.dumps(docker_request.create_request(self.described(made['uuid']))).encode()
        _send(self.own.endpoint.removeprefix('unix://'),
              f'/v1.41/containers/create?name={name}', request)
        self.own.thaw()
        self.eventually(lambda: self.is_there(name))
        began = time.monotonic()
        self.eventually(lambda: not self.is_there(name), GRACE + SOON)
        took = time.monotonic() - began
        self.note(f'a ghost was removed {took:.1f} s after it appeared, with a grace of {GRACE}')
        self.assertGreater(took, GRACE - 1)
        self.eventually(lambda: self.happened(made))
        self.assertEqual(['orphan.removed'], [kind for kind, _ in self.happened(made)])

    def test_a_cancelled_create_leaves_nothing_whenever_it_is_carried_out(self):
        self.own.freeze()
        made = self.caller.create(self.image, bay_uuid='own')
        self.caller.cancel(made['action'])
        self.own.thaw()
        self.assertEqual(states.CANCELLED, self.caller.wait(made['action'], 60)['status'])
        self.assertEqual([], self.engine.containers.list(all=True))
        name = self.late_create(made['uuid'])
        self.eventually(lambda: not self.is_there(name), GRACE + SOON)
        self.assertEqual(states.ERROR, self.caller.show(made)['status'])

    def test_containers_of_others_are_never_touched(self):
        made = self.run_one()
        self.succeeded(self.caller.ask(made, 'delete', force='true'))
        uuid = made['uuid']
        ours = {drivers.LABEL_DEPLOYMENT: self.processes.deployment,
                drivers.LABEL_CONTAINER: uuid, drivers.LABEL_GENERATION: '1'}
        foreign = [self.engine.containers.run(self.image, SLEEPS, detach=True, name=name,
                                              labels=labels).id
                   for name, labels in (
                       ('web', {}), (f'cs-{uuid}-1', {}),
                       (f'cs-{uuid}-2', {**ours, drivers.LABEL_DEPLOYMENT: 'other'}),
                       ('cs-misnamed', ours))]
        self.caller.request('POST', '/v1/bays/own/reconcile', {}, expect=202)
        self.eventually(lambda: self.shown_bay()['strays'] == 1)
        time.sleep(GRACE + 3)
        self.assertEqual({(one, 'running') for one in foreign},
                         {(one.id, one.status) for one in self.engine.containers.list(all=True)})

    def test_strays_are_told_adopted_and_removed(self):
        uuids = [f'6b0b3e0c-0000-4000-8000-00000000000{n}' for n in range(2)]
        names = [self.late_create(uuid) for uuid in uuids]
        self.eventually(lambda: self.shown_bay()['strays'] == 2)
        time.sleep(GRACE + 2)
        self.assertTrue(all(map(self.is_there, names)))
        strays = self.caller.request('GET', '/v1/bays/own/strays', expect=200).json['strays']
        self.assertEqual({(uuid, 'unknown') for uuid in uuids},
                         {(stray['container_uuid'], stray['reason']) for stray in strays})
        ids = {stray['container_uuid']: stray['engine_id'] for stray in strays}
        self.caller.request('POST', '/v1/bays/own/reconcile', {
            'adopt': [ids[uuids[0]]], 'remove': [ids[uuids[1]]]}, expect=202)
        self.eventually(lambda: self.shown_bay()['strays'] == 0)
        self.assertEqual([True, False], [self.is_there(name) for name in names])
        adopted = {'uuid': uuids[0]}
        shown = self.caller.show(adopted)
        self.assertEqual((states.CREATED, 'late', SLEEPS),
                         (shown['status'], shown['name'], shown['command']))
        for operation, status in (('start', states.RUNNING), ('stop', states.STOPPED)):
            self.succeeded(self.caller.ask(adopted, operation))
            self.becomes(adopted, status=status)
        self.succeeded(self.caller.ask(adopted, 'delete'))
        self.assertFalse(self.is_there(names[0]))


class TestWatchingMariaDB(Watching, deployed.DeployedTestCase):
    database = 'mysql'


class TestWatchingPostgreSQL(Watching, deployed.DeployedTestCase):
    database = 'postgresql'


class TestCutStream(Own, deployed.DeployedTestCase):
    """The link to the engine lets nothing of its events through, and does not say so."""

    CONFIG = f'orphan_grace = {GRACE}\nreconcile_interval = 3'

    def make_bay(self, endpoint):
        self.link = self.useFixture(links.Links()).link(
            'engine', f'unix:{os.path.dirname(endpoint.removeprefix("unix://"))}/link',
            endpoint.replace('unix://', 'unix:'), 'http')
        super().make_bay(self.link.address.replace('unix:', 'unix://'))

    def test_a_list_tells_what_the_stream_does_not(self):
        made = self.run_one()
        time.sleep(1)
        # What is open now hangs for ever; what is opened later is good again.
        self.link.stall()
        self.at(made).kill()
        time.sleep(0.5)
        self.link.cut()
        self.link.heal()
        took = self.becomes(made, status=states.STOPPED, seconds=15)
        self.note(f'{took:.1f} s with lists every 3 s')


def _dockerfile(text):
    return io.BytesIO(text.encode())


def _send(path, target, body):
    """Send a request and go away without waiting for the answer."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(path)
        connection.sendall(
            f'POST {target} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n'
            f'Content-Length: {len(body)}\r\n\r\n'.encode() + body)
        time.sleep(1)

