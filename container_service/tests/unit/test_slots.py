# SPDX-License-Identifier: Apache-2.0
import unittest

from container_service import slots


class TestSlots(unittest.TestCase):

    def test_half_are_for_one_project(self):
        made = slots.Slots(5)
        self.assertEqual([True, True, False], [made.take('a') for _ in range(3)])
        self.assertEqual([True, True, False], [made.take('b') for _ in range(3)])
        self.assertEqual([True, False], [made.take('c') for _ in range(2)])
        made.give_back('b')
        self.assertEqual([False, True, False], [made.take(project) for project in 'abc'])

    def test_one_at_least(self):
        for most in (1, 2, 3):
            made = slots.Slots(most)
            self.assertEqual([True, False], [made.take('a') for _ in range(2)])

    def test_who_has_no_project_can_have_all(self):
        made = slots.Slots(3)
        self.assertEqual([True, True, True, False], [made.take() for _ in range(4)])

    def test_nothing_is_kept_of_who_has_none(self):
        made = slots.Slots(4)
        for number in range(20):
            made.take(number)
            made.give_back(number)
        self.assertEqual({}, dict(made._of))
