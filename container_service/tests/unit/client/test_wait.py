# SPDX-License-Identifier: Apache-2.0
import unittest

from container_service.client import http
from container_service.client import wait
from container_service.tests.unit.client import clock
from container_service.tests.unit.client import stub

PATH = f'/v1/actions/{stub.UUID}/wait'


class WaitTest(unittest.TestCase):

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.client = http.Client(self.service.endpoint)
        self.clock = clock.Clock()
        self.troubles = []

    def states(self, action=None, *, seconds=None):
        return wait.states(
            self.client, action or stub.action(),
            deadline=None if seconds is None else self.clock() + seconds,
            clock=self.clock, sleep=self.clock.sleep, on_trouble=self.troubles.append)

    def test_every_state_until_the_final_one(self):
        self.service.answer('GET', PATH, stub.action('running', stage='stopping'))
        self.service.answer('GET', PATH, stub.action('cancelling'))
        self.service.answer('GET', PATH, stub.action('cancelled'))
        self.assertEqual(['queued', 'running', 'cancelling', 'cancelled'],
                         [state['status'] for state in self.states()])

    def test_a_final_action_is_not_asked_for(self):
        self.assertEqual(1, len(list(self.states(stub.action('succeeded')))))
        self.assertEqual([], self.service.requests)

    def test_pauses_grow_from_a_tenth_to_one_second(self):
        for _ in range(9):
            self.service.answer('GET', PATH, stub.action('running'))
        self.service.answer('GET', PATH, stub.action('succeeded'))
        list(self.states())
        self.assertEqual(0.1, self.clock.pauses[0])
        self.assertEqual(sorted(self.clock.pauses), self.clock.pauses)
        self.assertEqual(1.0, self.clock.pauses[-1])

    def test_time_limit(self):
        self.service.answer('GET', PATH, stub.action('running'))
        with self.assertRaises(wait.TimedOut) as raised:
            list(self.states(seconds=5))
        self.assertEqual('running', raised.exception.last['status'])
        self.assertIsNone(raised.exception.trouble)
        self.assertAlmostEqual(1005.0, self.clock.now)

    def test_asks_once_even_when_the_time_is_over(self):
        self.service.answer('GET', PATH, stub.action('succeeded'))
        self.assertEqual('succeeded', list(self.states(seconds=-1))[-1]['status'])

    def test_outlasts_an_unavailable_service_and_honours_retry_after(self):
        self.service.fail('GET', PATH, 503, {'Retry-After': '7'}, detail='Busy.')
        self.service.answer('GET', PATH, stub.action('succeeded'))
        self.assertEqual('succeeded', list(self.states())[-1]['status'])
        self.assertEqual([7], self.clock.pauses)
        self.assertEqual([503], [trouble.status for trouble in self.troubles])

    def test_outlasts_a_service_that_cannot_be_reached(self):
        self.service.answer('GET', PATH, stub.action('succeeded'))
        away = http.Client('http://127.0.0.1:1')

        there = self.client

        class Restarting:
            def get(_, *args, **kwargs):
                client = away if len(self.troubles) < 3 else there
                return client.get(*args, **kwargs)

        self.client = Restarting()
        self.assertEqual('succeeded', list(self.states())[-1]['status'])
        self.assertEqual([http.Unreachable] * 3, [type(t) for t in self.troubles])

    def test_gives_up_on_an_unreachable_service_at_the_limit(self):
        self.client = http.Client('http://127.0.0.1:1')
        with self.assertRaises(wait.TimedOut) as raised:
            list(self.states(seconds=3))
        self.assertIsInstance(raised.exception.trouble, http.Unreachable)

    def test_other_errors_are_not_waited_out(self):
        self.service.fail('GET', PATH, 404, detail='There is no action.')
        with self.assertRaises(http.ApiError):
            list(self.states())

    def crowded(self):
        self.service.fail('GET', PATH, 503, {'Retry-After': '1'}, code='too_many_waiters',
                          detail='Too many.')

    def timeouts(self):
        return [request.query['timeout'] for request in self.service.requests]

    def test_the_service_waits(self):
        self.service.answer('GET', PATH, stub.action('succeeded'))
        list(self.states())
        list(self.states(seconds=7.5))
        self.assertEqual([['20'], ['7']], self.timeouts())
        self.assertEqual([], self.clock.pauses)

    def test_asks_again_at_once_after_the_service_has_waited(self):
        answers = [stub.action('running'), stub.action('succeeded')]

        class Waiting:
            def get(_, path, params, **kwargs):
                self.clock.now += params['timeout']
                return answers.pop(0)

        self.client = Waiting()
        list(self.states())
        self.assertEqual(([], 1040.0), (self.clock.pauses, self.clock.now))

    def test_too_many_waiters_means_asking_without_waiting_for_a_while(self):
        self.crowded()
        for _ in range(20):
            self.service.answer('GET', PATH, stub.action('running'))
        self.service.answer('GET', PATH, stub.action('succeeded'))
        list(self.states())
        self.assertEqual([], self.troubles)
        timeouts = [text for text, in self.timeouts()]
        self.assertEqual(['20', '0'], timeouts[:2])
        self.assertEqual('20', timeouts[-1])
        self.assertLessEqual(timeouts.count('0'), 14)


class SeveralTest(unittest.TestCase):

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.client = http.Client(self.service.endpoint)
        self.clock = clock.Clock()

    def answer(self, *states):
        self.service.answer('GET', '/v1/actions/wait', {
            'actions': [{'uuid': uuid, 'status': status} for uuid, status in states]})

    def several(self, uuids, every=True, **kwargs):
        return [''.join(state['status'][0] for state in states)
                for states in wait.several(self.client, uuids, every=every, clock=self.clock,
                                           sleep=self.clock.sleep, **kwargs)]

    def queries(self):
        return [(request.query['action'], request.query['for'])
                for request in self.service.requests]

    def test_all(self):
        self.answer(('a', 'running'), ('b', 'failed'))
        self.answer(('a', 'succeeded'))
        self.assertEqual(['rf', 'sf'], self.several(['a', 'b', 'a']))
        self.assertEqual([(['a', 'b'], ['all']), (['a'], ['all'])], self.queries())

    def test_any(self):
        self.answer(('a', 'running'), ('b', 'failed'))
        self.assertEqual(['rf'], self.several(['a', 'b'], every=False))
        self.assertEqual([(['a', 'b'], ['any'])], self.queries())

    def test_more_than_one_request_can_name(self):
        uuids = [f'u{number}' for number in range(150)]
        self.answer(*((uuid, 'succeeded') for uuid in uuids[:100]))
        self.answer(*((uuid, 'succeeded') for uuid in uuids[100:]))
        self.assertEqual(['s' * 100, 's' * 150], self.several(uuids))

    def test_time_is_up(self):
        self.answer(('a', 'running'))
        with self.assertRaises(wait.TimedOut) as raised:
            self.several(['a'], deadline=self.clock() + 1)
        self.assertEqual('running', raised.exception.last[0]['status'])
