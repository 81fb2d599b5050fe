# SPDX-License-Identifier: Apache-2.0
import unittest

from container_service.client import asking
from container_service.client import http
from container_service.tests.unit.client import clock
from container_service.tests.unit.client import stub

PATH = '/v1/containers/web/stop'


class ChangeTest(unittest.TestCase):

    def setUp(self):
        self.service = self.enterContext(stub.Stub())
        self.client = http.Client(self.service.endpoint)
        self.clock = clock.Clock()
        self.troubles = []

    def ask(self, *, key='k', seconds=None, client=None, **kwargs):
        return asking.change(
            client or self.client, 'POST', 'containers/web/stop', key=key, body={},
            deadline=None if seconds is None else self.clock() + seconds,
            clock=self.clock, sleep=self.clock.sleep,
            on_trouble=lambda *trouble: self.troubles.append(trouble), **kwargs)

    def fails(self, kind=http.ClientError, **kwargs):
        with self.assertRaises(kind) as raised:
            self.ask(**kwargs)
        return raised.exception

    def test_the_key_and_other_headers_are_sent(self):
        self.service.answer('POST', PATH, {'a': 1}, 202, {'Idempotency-Replayed': 'true'})
        answer, headers = self.ask(headers={'Operation-Timeout': '5'})
        self.assertEqual(({'a': 1}, 'true'), (answer, headers['Idempotency-Replayed']))
        sent = self.service.requests[0].headers
        self.assertEqual(('k', '5'), (sent['idempotency-key'], sent['operation-timeout']))

    def test_a_lost_answer_is_asked_for_again_with_the_same_key(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.service.answer('POST', PATH, status=504, body=b'<html>a proxy</html>')
        self.service.answer('POST', PATH, {'a': 1})
        self.assertEqual({'a': 1}, self.ask()[0])
        self.assertEqual(['k'] * 3, [request.headers['idempotency-key']
                                     for request in self.service.asked('POST', PATH)])
        self.assertEqual([0.2, 0.5], self.clock.pauses)
        self.assertEqual([0.2, 0.5], [seconds for _, seconds in self.troubles])

    def test_without_a_key_a_lost_answer_is_not_asked_for_again(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.fails(http.NoAnswer, key=None)
        self.assertEqual(1, len(self.service.requests))
        self.fails(http.NoAnswer, key=None, harmless=True)
        self.assertGreater(len(self.service.requests), 3)

    def test_asking_again_is_bounded(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.fails(http.NoAnswer)
        self.assertEqual(list(asking.LOST_PAUSES), self.clock.pauses)
        self.assertLess(sum(self.clock.pauses), asking.LOST_SECONDS)

    def test_a_service_that_is_restarted_after_it_lost_an_answer(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.service.answer('POST', PATH, {'a': 1})
        away, there = http.Client('http://127.0.0.1:1'), self.client
        asked = []

        class Restarting:
            def exchange(_, *args, **kwargs):
                asked.append(kwargs.get('read_seconds'))
                return (away if len(asked) in (2, 3) else there).exchange(*args, **kwargs)

        self.assertEqual({'a': 1}, self.ask(client=Restarting())[0])
        self.assertEqual(None, asked[0])
        self.assertLessEqual(max(asked[1:]), asking.LOST_SECONDS)

    def test_nobody_there_is_told_at_once(self):
        self.fails(http.Unreachable, client=http.Client('http://127.0.0.1:1'))
        self.assertEqual([], self.clock.pauses)

    def test_the_loss_is_told_rather_than_what_came_after_it(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.service.fail('POST', PATH, 503, detail='The database cannot be reached.')
        self.fails(http.NoAnswer)

    def test_a_refusal_after_a_loss_says_that_it_may_be_of_the_second_only(self):
        self.service.answer('POST', PATH, stub.LOST)
        self.service.fail('POST', PATH, 409, detail='Busy.', hint='Wait')
        error = self.fails(http.ApiError)
        self.assertEqual('Busy.', str(error))
        self.assertRegex(error.hint, '^Wait; .*earlier attempt was lost')

    def test_retry_after_is_obeyed_until_the_deadline(self):
        for status in (409, 429, 503):
            self.service.fail('POST', PATH, status, {'Retry-After': '4'}, detail='Full.')
        self.service.answer('POST', PATH, {'a': 1})
        self.assertEqual({'a': 1}, self.ask(seconds=60)[0])
        self.assertEqual([4, 4, 4], self.clock.pauses)

    def test_a_retry_after_beyond_the_deadline_is_told_at_once(self):
        self.service.fail('POST', PATH, 429, {'Retry-After': '61'}, detail='Full.')
        self.assertEqual(61, self.fails(seconds=60).retry_after)
        self.assertEqual([], self.clock.pauses)

    def test_without_a_deadline_retry_after_is_told(self):
        self.service.fail('POST', PATH, 503, {'Retry-After': '4'}, detail='Full.')
        self.assertEqual(4, self.fails().retry_after)
        self.assertEqual(1, len(self.service.requests))
