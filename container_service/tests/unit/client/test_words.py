# SPDX-License-Identifier: Apache-2.0
import datetime
import unittest

from container_service import operations
from container_service.client import words

NOW = datetime.datetime(2026, 11, 20, 12, 0, tzinfo=datetime.UTC)


class WordsTest(unittest.TestCase):

    def test_cells(self):
        for key, value, text in (
                ('name', None, ''), ('name', 'web', 'web'), ('tty', True, 'true'),
                ('command', ['sh', '-c', 'a b'], "sh -c 'a b'"), ('command', 'sleep 1', 'sleep 1'),
                ('labels', {'a': 'b', 'c': ''}, 'a=b, c='), ('labels', {}, ''),
                ('ports', [80, 443], '80, 443'), ('operation', 'reboot', 'restart'),
                ('addresses', {'n': [{'addr': '10.0.0.2'}, {'addr': '::1'}]}, 'n=10.0.0.2, n=::1'),
                ('addresses', {}, ''), ('other', {'a': {'b': 1}}, '{"a": {"b": 1}}'),
                ('restart_policy', {'Name': 'on-failure', 'MaximumRetryCount': '3'},
                 'on-failure:3'),
                ('restart_policy', {'Name': 'always', 'MaximumRetryCount': '0'}, 'always'),
                ('restart_policy', {'Name': 'no'}, 'no'),
                ('error', {'code': 'x', 'detail': 'Broken.'}, 'Broken.'),
                ('created_at', '2026-11-20T05:25:59.123456+00:00', '2026-11-20 05:25:59'),
                ('created_at', '2026-11-20T05:25:59', '2026-11-20 05:25:59'),
                ('created_at', '2026-11-20T05:25:59+02:00', '2026-11-20 03:25:59'),
                ('created_at', 'long ago', 'long ago')):
            with self.subTest(key=key, value=value):
                self.assertEqual(text, words.cell(key, value))

    def test_ages(self):
        for moment, text in (
                ('2026-11-20T11:59:30Z', '30s ago'), ('2026-11-20T11:58:30', '1m ago'),
                ('2026-11-20T09:00:00', '3h ago'), ('2026-11-10T09:00:00', '10d ago'),
                ('2026-11-20T12:00:00', 'just now'), ('2026-11-20T12:05:00', 'just now')):
            self.assertEqual(text, words.cell('created_at', moment, NOW))

    def test_spans(self):
        for seconds, text in ((0, '0s'), (-3, '0s'), (59.9, '59s'), (60, '1m'), (125, '2m 5s'),
                              (3600, '1h'), (3605, '1h'), (7380, '2h 3m'), (90000, '1d 1h')):
            self.assertEqual(text, words.span(seconds))

    def test_what_a_terminal_would_obey(self):
        self.assertEqual('a?[1m b é', words.printable('a\x1b[1m\tb é'))

    def test_allowances(self):
        self.assertEqual('3 of 10', words.cell('unfinished_actions', {'limit': 10, 'used': 3}))
        self.assertEqual('at most 16', words.cell('unfinished_actions_per_container',
                                                  {'limit': 16}))

    def test_pull(self):
        self.assertEqual('pulling 22.8/45.6 MB, 2/5 layers of alpine', words.pulling(
            {'image': 'alpine', 'layers': 5, 'layers_done': 2, 'bytes': 22800000,
             'bytes_total': 45600000}))
        self.assertEqual('pulling alpine', words.pulling({'image': 'alpine'}))
        self.assertEqual('999 B', words.pull_progress({'bytes': 999}))

    def test_both_names_of_an_operation(self):
        self.assertEqual('reboot', words.operation_name('restart'))
        self.assertEqual('reboot', words.operation_name('reboot'))
        with self.assertRaises(ValueError):
            words.operation_name('list')

    def test_names_are_of_rows_in_the_table(self):
        self.assertLessEqual(set(words.CLI_NAMES), set(operations.OPERATIONS))
