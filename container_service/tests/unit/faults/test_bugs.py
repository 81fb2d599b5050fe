# SPDX-License-Identifier: Apache-2.0
"""That the bugs of the fault suite are in the product once they are put in."""

import functools
import subprocess
import sys

from container_service.tests import base
from faults import bugs
from faults import scenario
from faults import scenarios  # noqa: F401 - registers them


def doubled(function):
    @functools.wraps(function)
    def call(number):
        return 2 * function(number)
    return call


@doubled
def successor(number):
    return number + 1


known_elsewhere = successor


class TestRewrite(base.TestCase):

    def setUp(self):
        super().setUp()
        self.addCleanup(setattr, successor.__wrapped__, '__code__',
                        successor.__wrapped__.__code__)

    def test_wherever_it_is_known(self):
        bugs.rewrite(successor, ('number + 1', 'number + 2'))
        self.assertEqual([14, 14], [successor(5), known_elsewhere(5)])

    def test_what_is_not_there_exactly_once(self):
        for text in ('number - 1', 'number'):
            self.assertRaises(LookupError, bugs.rewrite, successor, (text, ''))
        self.assertEqual(12, successor(5))


class TestBugs(base.TestCase):

    def test_each_is_caught_by_a_scenario(self):
        for bug in bugs.BUGS.values():
            self.assertIn(bug.caught_by, scenario.SCENARIOS)
            self.assertTrue(bug.violates, bug)

    def test_each_finds_what_it_changes(self):
        # In a process of its own: they change the product.
        program = ('from container_service.cmd import conductor; from faults import bugs; '
                   '[bug.function() for bug in bugs.BUGS.values()]')
        done = subprocess.run([sys.executable, '-c', program], capture_output=True, text=True)
        self.assertEqual((0, ''), (done.returncode, done.stderr))
