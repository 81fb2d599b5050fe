# SPDX-License-Identifier: Apache-2.0
"""Waiting for actions over HTTP: one, any, all, in the request itself, and too many at once."""

import collections
import threading
import time

from container_service import states
from container_service.tests import base
from container_service.tests import deployed

SLOTS = 8               # of one project: half of [api] wait_slots as it is by default


class TestWaiting(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(deployed.EngineHere(cls.database))

    def hold(self, operation, container=None):
        hold = self.processes.fake.hold(operation, container and container['uuid'])
        self.addCleanup(hold.release)
        return hold

    def create(self, caller=None, **headers):
        return (caller or self.caller).request(
            'POST', '/v1/containers', {'image': base.IMAGE, 'bay_uuid': 'fake'}, **headers)

    def held(self, count):
        """So many creates that do not end, and what lets each of them go."""
        webs, holds = [], []
        # Held before any is asked for; then each is given a hold of its own.
        everything = self.hold('create')
        for _ in range(count):
            webs.append(self.create(expect=202).json)
            holds.append(self.hold('create', webs[-1]))
        everything.release()
        return [web['action'] for web in webs], holds

    def in_background(self, function, *args, **kwargs):
        """Ask in a thread with a connection of its own; returns a function for the answer."""
        done = []

        def run():
            caller = deployed.Caller(self.processes.url)
            try:
                done.append(function(caller, *args, **kwargs))
            finally:
                caller.close()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def answer(seconds=30):
            thread.join(seconds)
            self.assertEqual(1, len(done), 'no answer')
            return done[0]

        answer.thread = thread
        return answer

    def wait_for(self, actions, seconds, **query):
        asked = '&'.join([*(f'action={action["uuid"]}' for action in actions),
                          *(f'{name}={value}' for name, value in query.items())])
        return self.in_background(lambda caller: caller.request(
            'GET', f'/v1/actions/wait?{asked}&timeout={seconds}', expect=200))

    def test_more_than_there_are_slots(self):
        (action,), (hold,) = self.held(1)
        path = f'/v1/actions/{action["uuid"]}'
        start = threading.Barrier(40, timeout=30)
        answers, ordinary = [], []

        def wait():
            caller = deployed.Caller(self.processes.url)
            try:
                start.wait()
                answers.append(caller.request('GET', f'{path}/wait?timeout=60'))
            finally:
                caller.close()

        waiters = threading.Thread(
            target=lambda: deployed.together([wait] * 40), daemon=True)
        waiters.start()
        deadline = time.monotonic() + 30
        while len(answers) < 40 - SLOTS and time.monotonic() < deadline:
            time.sleep(0.02)
        turned_away = list(answers)
        self.assertEqual(40 - SLOTS, len(turned_away))
        for answer in turned_away:
            self.assertEqual((503, 'too_many_waiters'),
                             (answer.status, answer.json['errors'][0]['code']))
            self.assertGreater(int(answer.headers['Retry-After']), 0)

        # The others go on waiting and are in nobody's way.
        for _ in range(20):
            ordinary.append(self.caller.request('GET', path, expect=200))
            ordinary.append(self.caller.request('GET', '/v1/containers', expect=200))
            ordinary.append(self.create(expect=202))
        self.assertEqual(40 - SLOTS, len(answers))
        slowest = max(answer.seconds for answer in ordinary)

        # Whoever wants to wait in the request itself gets its answer without waiting.
        created = self.create(expect=202, Prefer='wait=20')
        self.assertLess(created.seconds, 10)
        self.assertNotIn('Preference-Applied', created.headers)
        self.assertGreater(int(created.headers['Retry-After']), 0)

        released = time.monotonic()
        hold.release()
        waiters.join(20)
        told = time.monotonic() - released
        by_status = collections.Counter(answer.status for answer in answers)
        self.note(f'40 waiters: {dict(by_status)}; 503 within '
                  f'{max(one.seconds for one in turned_away):.2f} s, meanwhile ordinary '
                  f'requests within {slowest * 1000:.0f} ms; all told after {told:.2f} s')
        self.assertEqual({200: SLOTS, 503: 40 - SLOTS}, dict(by_status))
        self.assertEqual({states.SUCCEEDED}, {
            answer.json['status'] for answer in answers if answer.status == 200})
        self.assertLess(slowest, 8)
        self.assertLess(told, 10)

    def test_when_time_is_up(self):
        (action,), _ = self.held(1)
        answer = self.caller.request(
            'GET', f'/v1/actions/{action["uuid"]}/wait?timeout=1', expect=200)
        self.assertIn(answer.json['status'], ('queued', 'running'))
        self.assertTrue(1 <= answer.seconds < 3, answer.seconds)

    def test_for_any_and_for_all(self):
        actions, holds = self.held(3)
        for_any = self.wait_for(actions, 30, **{'for': 'any'})
        for_all = self.wait_for(actions, 30)
        time.sleep(0.5)
        self.assertTrue(for_any.thread.is_alive() and for_all.thread.is_alive())

        holds[1].release()
        shown = for_any().json['actions']
        self.assertEqual([action['uuid'] for action in actions], [one['uuid'] for one in shown])
        self.assertEqual('succeeded', shown[1]['status'])
        self.assertNotIn(shown[0]['status'], states.FINAL)
        self.assertTrue(for_all.thread.is_alive())

        # Any final status is an end, not success alone.
        self.caller.cancel(actions[0])
        holds[0].release()
        holds[2].release()
        self.assertEqual(['cancelled', 'succeeded', 'succeeded'],
                         [one['status'] for one in for_all().json['actions']])

    def test_for_all_when_time_is_up(self):
        actions, holds = self.held(2)
        holds[0].release()
        self.succeeded(actions[0])
        answer = self.wait_for(actions, 1)()
        self.assertEqual('succeeded', answer.json['actions'][0]['status'])
        self.assertNotIn(answer.json['actions'][1]['status'], states.FINAL)

    def test_in_the_request_itself(self):
        older = self.new_caller(version='1.40')
        answer = self.create(older, Prefer='wait=20', expect=202)
        self.assertEqual(('wait', 'Created', None), (
            answer.headers['Preference-Applied'], answer.json['status'],
            answer.json['task_state']))
        self.assertNotIn('action', answer.json)

        newer = self.new_caller(version='1.41')
        answer = self.create(newer, Prefer='wait=20', expect=200)
        self.assertEqual(('wait', 'Created', 'succeeded'), (
            answer.headers['Preference-Applied'], answer.json['status'],
            answer.json['action']['status']))
        web = answer.json
        self.processes.fake.fail('start', times=1)
        answer = newer.request('POST', f'/v1/containers/{web["uuid"]}/start', expect=200,
                               Prefer='wait=20')
        self.assertEqual(('failed', 'start_failed'),
                         (answer.json['status'], answer.json['error']['code']))

        # What takes longer than that is answered as if nobody had waited.
        for caller, body in ((older, lambda answer: answer.json),
                             (newer, lambda answer: answer.json['action'])):
            hold = self.hold('create')
            answer = self.create(caller, Prefer='wait=1', expect=202)
            self.assertTrue(1 <= answer.seconds < 4, answer.seconds)
            self.assertNotIn(body(answer)['status'], states.FINAL)
            hold.release()

    def test_by_an_older_client_for_a_delete(self):
        web = self.create(expect=202).json
        self.succeeded(web['action'])
        older = self.new_caller(version='1.40')
        answer = older.request('DELETE', f'/v1/containers/{web["uuid"]}', expect=204,
                               Prefer='wait=20')
        self.assertEqual(b'', answer.body)
        self.caller.show(web, expect=404)
