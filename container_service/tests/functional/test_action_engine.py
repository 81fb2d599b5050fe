# SPDX-License-Identifier: Apache-2.0
"""What was answered 202 is carried out in order, once, and told: with real services.

API process, RabbitMQ, MariaDB or PostgreSQL; the engine is Docker, or a fake one in this process
that can say what was done to it.
"""

import collections
import threading
import time
import uuid

from container_service import operations
from container_service import states
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests import registries

# Ends when it is told to; as a container's first process, sleep alone would not.
SLEEPS = ['sh', '-c', 'trap "exit 0" TERM; sleep 600 & wait']


class TestFiredWithoutWaiting(deployed.DeployedTestCase):
    """Five operations one after the other, without waiting for anything."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.image = fixtures.needed('CS_TEST_IMAGE')
        cls.share(fixtures.Processes(cls.database, config='[bays]\ndrivers = docker, fake'))
        cls.processes.request('POST', '/v1/bays', {
            'name': 'fake', 'driver': 'fake', 'public': True,
            'endpoint': 'fake://fired?missing_image=*/cs-test/nothing:1&pull_delay=2'},
            expect=201)

    def fire(self, image, bay):
        caller = self.caller
        web = caller.create(image, bay_uuid=bay, name=f'web-{bay}', command=SLEEPS)
        return web, [web['action'], caller.ask(web, 'start'), caller.ask(web, 'stop', timeout=0),
                     caller.ask(web, 'start'), caller.ask(web, 'delete', stop='true')]

    def test_all_succeed_in_order(self):
        began = int(time.time())
        told = [self.fire(self.image, bay) for bay in ('bay', 'fake')]
        for web, asked in told:
            for action in asked:
                self.succeeded(action)
            history = self.caller.history(web)
            self.assertEqual(
                [(one['uuid'], operation) for one, operation in zip(
                    asked, ('create', 'start', 'stop', 'start', 'delete'), strict=True)],
                [(one['uuid'], one['operation']) for one in history])
            self.assertEqual({(states.SUCCEEDED, 1)},
                             {(one['status'], one['attempts']) for one in history})
            self.assert_one_after_the_other(history)
            self.caller.show(web, expect=404)
        # Docker agrees.
        web, _ = told[0]
        self.assertEqual([], self.on_engine(web))
        events = self.processes.engine.api.events(
            since=began, until=int(time.time()) + 1, decode=True,
            filters={'type': 'container', 'label': f'cs.container={web["uuid"]}'})
        seen = [event['Action'] for event in events]
        self.assertEqual(['create', 'start', 'die', 'start', 'die', 'destroy'],
                         [action for action in seen if action in (
                             'create', 'start', 'die', 'destroy', 'restart')])

    def test_an_image_that_does_not_exist(self):
        # All are to be accepted before the first can have failed.
        registry = self.useFixture(registries.SlowRegistry(rate=0))
        told = [self.fire(f'{registry.address}/cs-test/nothing:1', bay)
                for bay in ('bay', 'fake')]
        registry.rate = None
        for web, (create, *middle, delete) in told:
            failed = self.caller.wait(create)
            self.assertEqual((states.FAILED, 'image_not_found'),
                             (failed['status'], failed['error']['code']))
            self.succeeded(delete)
            for action in middle:
                skipped = self.caller.wait(action)
                self.assertEqual(
                    (states.SKIPPED, create['uuid'], 0, None),
                    (skipped['status'], skipped['caused_by'], skipped['attempts'],
                     skipped['started_at']))
                self.assertIn(create['uuid'], skipped['error']['detail'])
            self.caller.show(web, expect=404)
            self.assertEqual([], self.on_engine(web))


class SameRequestAgain:
    """One request a hundred times, with one key, over twenty connections."""

    COUNT, CONNECTIONS = 100, 20

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(deployed.EngineHere(cls.database))

    def send(self, method, path, body=None, **headers):
        """Send it from all connections at once; returns the answers."""
        start = threading.Barrier(self.CONNECTIONS, timeout=30)

        def connection():
            caller = deployed.Caller(self.processes.url)
            caller.request('GET', '/')
            start.wait()
            try:
                return [caller.request(method, path, body, **headers)
                        for _ in range(self.COUNT // self.CONNECTIONS)]
            finally:
                caller.close()

        began = time.monotonic()
        answers = sum(deployed.together([connection] * self.CONNECTIONS), [])
        self.note(f'{len(answers)} times {method} {path} in {time.monotonic() - began:.1f} s, '
                  f'slowest {max(answer.seconds for answer in answers):.2f} s')
        return answers

    def assert_one_was_first(self, answers):
        self.assertEqual({202: self.COUNT},
                         dict(collections.Counter(answer.status for answer in answers)))
        self.assertEqual(
            {None: 1, 'true': self.COUNT - 1},
            dict(collections.Counter(answer.headers.get('Idempotency-Replayed')
                                     for answer in answers)))
        self.assertEqual(1, len({answer.headers['Link'] for answer in answers}))

    def test_create(self):
        answers = self.send('POST', '/v1/containers', {
            'name': 'again', 'image': base.IMAGE, 'bay_uuid': 'fake'},
            Idempotency_Key=uuid.uuid4())
        self.assert_one_was_first(answers)
        web, = {answer.json['uuid'] for answer in answers}
        action, = {answer.json['action']['uuid'] for answer in answers}
        web = {'uuid': web}
        ended = self.succeeded({'uuid': action})
        self.assertEqual([action], [one['uuid'] for one in self.caller.history(web)])
        # Whoever only knows the request that was answered finds the action by it.
        self.assertEqual(
            {answer.headers['x-openstack-request-id'] for answer in answers},
            set(self.caller.action(ended)['request_ids']))
        listed = self.caller.request(
            'GET', '/v1/containers?name=again', expect=200).json['containers']
        self.assertEqual([web['uuid']], [one['uuid'] for one in listed])
        self.assertEqual(['create'], self.processes.effects_on(web))

    def test_a_signal(self):
        """Two signals are never folded; with one key it is one all the same."""
        web = self.caller.create(base.IMAGE, bay_uuid='fake', run=True)
        self.succeeded(web['action'])
        answers = self.send('POST', f'/v1/containers/{web["uuid"]}/kill?signal=USR1',
                            Idempotency_Key=uuid.uuid4())
        self.assert_one_was_first(answers)
        action, = {answer.json['uuid'] for answer in answers}
        self.succeeded({'uuid': action})
        self.assertEqual(['run', 'kill'],
                         [one['operation'] for one in self.caller.history(web)])
        self.assertEqual(['create', 'start', 'kill'], self.processes.effects_on(web))

    def test_another_request_with_the_same_key(self):
        key = str(uuid.uuid4())
        first = self.caller.request('POST', '/v1/containers', {
            'image': base.IMAGE, 'bay_uuid': 'fake'}, 202, Idempotency_Key=key).json
        answer = self.caller.request('POST', '/v1/containers', {
            'image': 'other', 'bay_uuid': 'fake'}, 422, Idempotency_Key=key)
        self.assertEqual('idempotency_mismatch', answer.json['errors'][0]['code'])
        self.succeeded(first['action'])


class TestSameRequestAgainOnMariaDB(SameRequestAgain, deployed.DeployedTestCase):
    pass


class TestSameRequestAgainOnPostgreSQL(SameRequestAgain, deployed.DeployedTestCase):

    database = 'postgresql'


class Lane:
    """Two callers that are let go together, pair after pair, and what they were answered.

    Each round makes a container by two creates at once, starts and stops it, and deletes it.
    """

    ROUND = ('create', 'start/stop', 'stop/start', 'start/stop', 'delete/start')

    def __init__(self, number, processes, pairs):
        self._number, self._processes = number, processes
        self._count = pairs
        self._barrier = threading.Barrier(2, timeout=60)
        self._uuid = None             # the container of this round
        self.pairs = []               # [kind, container, [side, answer], [side, answer]]

    def sides(self):
        """What to run in two threads."""
        return [lambda: self._side(0), lambda: self._side(1)]

    def _side(self, side):
        caller = deployed.Caller(self._processes.url)
        try:
            for pair in range(self._count):
                kind = self.ROUND[pair % len(self.ROUND)]
                number = pair // len(self.ROUND)
                method, path, body, headers = self._request(kind, number, side)
                self._barrier.wait()
                answer = caller.request(method, path, body, **headers)
                if side == 0:
                    self._row = [kind, self._uuid]
                self._barrier.wait()
                self._row.append(answer)
                self._barrier.wait()
                if side == 0:
                    if kind == 'create':
                        self._uuid = next(one.json['uuid'] for one in self._row[2:]
                                          if one.status == 202)
                        self._row[1] = self._uuid
                    self.pairs.append(self._row)
                self._barrier.wait()
        except BaseException:
            self._barrier.abort()
            raise
        finally:
            caller.close()

    def _request(self, kind, number, side):
        if kind == 'create':
            # The same name, or the same request with one key, in turn.
            name = f'web-{self._number}-{number}'
            headers = {'Idempotency_Key': name} if number % 2 else {}
            return 'POST', '/v1/containers', {
                'name': name, 'image': base.IMAGE, 'bay_uuid': 'fake'}, headers
        operation = kind.split('/')[side]
        if operation == 'delete':
            # One that goes behind a start and one that cannot, in turn.
            stop = 'true' if number // 2 % 2 else 'false'
            return 'DELETE', f'/v1/containers/{self._uuid}?stop={stop}', None, {}
        return 'POST', f'/v1/containers/{self._uuid}/{operation}', None, {}


class TestConflictingPairs(deployed.DeployedTestCase):
    """A thousand pairs of calls that exclude each other, each pair let go at once."""

    PAIRS, LANES = 1000, 8

    def test_one_order_for_each_container(self):
        self.processes = self.useFixture(deployed.EngineHere(
            self.database, config='[api]\ncontainer_queue_limit = 1000'))
        self.caller = self.new_caller()
        lanes = [Lane(number, self.processes, self.PAIRS // self.LANES)
                 for number in range(self.LANES)]
        began = time.monotonic()
        deployed.together([side for lane in lanes for side in lane.sides()])
        sent = time.monotonic()
        fixtures.eventually(lambda: self.caller.unfinished() == 0, 60, 0.1)
        self.note(f'{self.PAIRS} pairs in {sent - began:.1f} s, all ended '
                  f'{time.monotonic() - sent:.1f} s later')

        pairs = [pair for lane in lanes for pair in lane.pairs]
        self.assertEqual(self.PAIRS, len(pairs))
        seen = collections.Counter()
        accepted = collections.defaultdict(set)       # container: actions answered
        for kind, container, *answers in pairs:
            seen[kind, *sorted(answer.status for answer in answers)] += 1
            for answer in answers:
                accepted[container] |= self.check_answer(kind, answer)
            if kind == 'create':
                self.check_creates(answers)
        self.note(', '.join(f'{kind}: {codes} {count} times'
                            for (kind, *codes), count in sorted(seen.items())))

        everything = self.effects_by_container()
        for container, actions in accepted.items():
            self.check_container(container, actions, everything.get(container, []))
        # What was made is what is there: no create had a second effect.
        self.assertEqual(set(accepted), set(everything))

    def check_answer(self, kind, answer):
        """Returns the action that it names."""
        if answer.status == 202:
            return {answer.headers['Link'].partition('>')[0].rpartition('/')[2]}
        code = answer.json['errors'][0]['code']
        self.assertIn((answer.status, code), [
            (409, 'name_taken')] if kind == 'create' else [
            (409, 'invalid_state'), (404, 'container_not_found')], answer)
        return set()

    def check_creates(self, answers):
        replayed = [answer.headers.get('Idempotency-Replayed') for answer in answers
                    if answer.status == 202]
        self.assertIn(replayed, [[None], [None, 'true'], ['true', None]])

    def effects_by_container(self):
        found = collections.defaultdict(list)
        for operation, container in self.processes.fake.effects:
            found[container].append(operation)
        return found

    def check_container(self, container, accepted, effects):
        """Its actions stand in one line, each was legal where it stands, the engine agrees."""
        with self.processes.db.read() as conn:
            rows = conn.exec_driver_sql(
                'SELECT uuid, sequence, operation, status, params, started_at, finished_at '
                f"FROM actions WHERE resource_uuid = '{container}' ORDER BY sequence").all()
        self.assertEqual(accepted, {row.uuid for row in rows})
        self.assertEqual(list(range(1, len(rows) + 1)), [row.sequence for row in rows])
        self.assertEqual({states.SUCCEEDED}, {row.status for row in rows})
        status = None
        for row in rows:
            op = operations.OPERATIONS[row.operation]
            params = {'stop': 'true' in row.params} if row.operation == 'delete' else {}
            if status is not None:
                self.assertIn(status, op.statuses_for(params), rows)
            status = op.target_for(params, status)
        for before, after in zip(rows, rows[1:]):
            self.assertLessEqual(before.finished_at, after.started_at)
        expected = []
        for before, row in zip([None, *rows], rows):
            if row.operation == 'delete' and before.operation == 'start':
                expected.append('stop')
            expected.append(row.operation)
        self.assertEqual(expected, effects)
