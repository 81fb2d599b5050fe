# SPDX-License-Identifier: Apache-2.0
import threading

from container_service import exceptions
from container_service import health
from container_service.tests import base
from container_service.tests import fixtures


class TestLook(base.TestCase):

    def setUp(self):
        super().setUp()
        self.clock, self.asked = fixtures.Clock(), []

    def look(self, ask):
        def counted():
            self.asked.append(1)
            return ask()
        return health.Look(counted, self.clock)

    def outcome(self, look):
        look.begin()
        return look.result()

    def test_what_is_wrong_is_told(self):
        self.assertIsNone(self.outcome(self.look(lambda: None)))
        self.assertEqual('It is ill.', self.outcome(self.look(lambda: 'It is ill.')))

    def test_our_errors_are_told_and_others_only_logged(self):
        def ours():
            raise exceptions.DatabaseUnavailable()

        def other():
            raise ValueError('secret')

        self.assertEqual(exceptions.DatabaseUnavailable.message, self.outcome(self.look(ours)))
        self.assertNotIn('secret', self.outcome(self.look(other)))
        self.assertIn('secret', self.log.output)

    def test_an_outcome_is_told_again_for_a_second(self):
        look = self.look(lambda: None)
        self.outcome(look)
        self.clock.advance(0.9)
        self.outcome(look)
        self.assertEqual(1, len(self.asked))
        self.clock.advance(0.2)
        self.outcome(look)
        self.assertEqual(2, len(self.asked))

    def test_what_hangs_is_asked_once_and_is_wrong_until_it_answers(self):
        answer = threading.Event()
        self.addCleanup(answer.set)
        look = self.look(lambda: (answer.wait(100), None)[1])
        self.patch(health, 'LIMIT', 1000.0)     # would outlast this test
        look.begin()
        self.clock.advance(1000)
        self.assertEqual('No answer within 1000 seconds.', look.result())
        self.clock.advance(100)
        self.assertEqual('No answer within 1000 seconds.', self.outcome(look))
        self.assertEqual(1, len(self.asked))
        answer.set()
        self.assertTrue(look._done.wait(10))
        self.assertIsNone(self.outcome(look))


class TestReadiness(base.TestCase):

    def readiness(self, needed, **outcomes):
        return health.readiness(
            {name: health.Look(lambda w=words: w) for name, words in outcomes.items()}, needed)

    def test_all_is_well(self):
        ready, document = self.readiness(('one',), one=None)
        self.assertTrue(ready)
        self.assertEqual({'ready': True, 'reason': None, 'checks': {
            'one': {'ok': True, 'needed': True, 'detail': None}}}, document)

    def test_only_what_is_needed_must_be_well(self):
        ready, document = self.readiness(('one',), one=None, two='Gone.')
        self.assertTrue(ready)
        self.assertEqual({'ok': False, 'needed': False, 'detail': 'Gone.'},
                         document['checks']['two'])
        ready, document = self.readiness(('one', 'two'), one=None, two='Gone.')
        self.assertFalse(ready)
        self.assertEqual('two', document['reason'])
