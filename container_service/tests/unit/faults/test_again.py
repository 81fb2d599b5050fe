# SPDX-License-Identifier: Apache-2.0
"""What of the fault suite is run once more: what a busy machine may have missed, nothing else."""

import argparse
import sys

from container_service.tests import base
from faults import checker
from faults import scenario


class TestAgain(base.TestCase):

    def setUp(self):
        super().setUp()
        # Kinds of threads are decided for the whole process when that module is imported.
        from container_service import concurrency
        self.patch(concurrency, 'choose', lambda: None)
        from faults import __main__ as main
        self.main, self.ran = main, []
        self.patch(main, '_result', self.run_again)
        self.passes = True
        self.printed = []
        self.patch(sys, 'stdout', self)

    def write(self, text):
        self.printed.append(text)

    def flush(self):
        pass

    def result(self, *invariants, bug=None):
        known = scenario.SCENARIOS['T-05b']
        return scenario.Result(known, 'mysql', bug=bug, violations=[
            checker.Violation(each, 'words') for each in invariants])

    def run_again(self, deployment, chosen, options):
        self.ran.append(chosen.id)
        return self.result(*([] if self.passes else ['target']))

    def again(self, *results):
        self.main._again(None, list(results), argparse.Namespace())
        return [result.unsteady for result in results]

    def test_what_was_missed(self):
        self.assertEqual([True, True, True, False], self.again(*(
            self.result(*found) for found in (['target'], ['suite'], ['harm', 'target'], []))))
        self.assertEqual(['T-05b'] * 3, self.ran)
        told = ''.join(self.printed)
        self.assertIn('unsteady: T-05b mysql', told)
        self.assertIn('target: words', told)

    def test_what_is_missed_again(self):
        self.passes = False
        self.assertEqual([False], self.again(self.result('target')))
        self.assertEqual(1, len(self.ran))

    def test_no_invariant_is_forgiven(self):
        for invariant in ('I1', 'I2', 'I3', 'I4', 'I5', 'I6', 'I7', 'promise', 'table'):
            self.assertEqual([False], self.again(self.result('target', invariant)))
        self.assertEqual([], self.ran)

    def test_a_bug_that_was_not_caught(self):
        self.assertEqual([True], self.again(self.result('I4', bug='no-fence')))

    def test_not_where_many_have_failed(self):
        self.assertEqual([False] * 6, self.again(*(self.result('target') for _ in range(6))))
        self.assertEqual([], self.ran)
