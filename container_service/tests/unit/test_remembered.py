# SPDX-License-Identifier: Apache-2.0
from container_service import remembered
from container_service.tests import base
from container_service.tests import fixtures


class TestRemembered(base.TestCase):

    def setUp(self):
        super().setUp()
        self.clock = fixtures.Clock()
        self.kept = remembered.Remembered(most=2, clock=self.clock)

    def test_for_so_long(self):
        self.kept.set('a', 1, time=10)
        self.kept.set('b', 2, time=-1)
        self.clock.advance(9)
        self.assertEqual((1, None, None), tuple(map(self.kept.get, 'abc')))
        self.clock.advance(1)
        self.assertIsNone(self.kept.get('a'))

    def test_so_many(self):
        for key, seconds in (('a', 1), ('b', 10)):
            self.kept.set(key, key, time=seconds)
        self.clock.advance(5)
        self.kept.set('c', 'c', time=10)
        self.assertEqual(('b', 'c'), (self.kept.get('b'), self.kept.get('c')))
        self.kept.set('d', 'd', time=10)
        self.assertEqual((None, None, 'd'), tuple(map(self.kept.get, 'bcd')))
