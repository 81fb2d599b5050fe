# SPDX-License-Identifier: Apache-2.0
import random

import testtools

from container_service import exceptions
from container_service.drivers import logtext

SECOND = 10 ** 9


class Log:
    """A log as an engine keeps it."""

    def __init__(self):
        self.entries = []
        self.number = 0

    def write(self, time, stream=logtext.STDOUT, text=None):
        self.number += 1
        text = f'{self.number}\n' if text is None else text
        self.entries.append(logtext.Entry(time, stream, text.encode()))

    def read(self, since, tail):
        last = self.entries if tail is None else self.entries[max(len(self.entries) - tail, 0):]
        yield from [entry for entry in last if entry.time >= (since or 0)]


class TestLogText(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.log = Log()

    def ask(self, cursor=None, log='abc', **params):
        return logtext.answer(self.log.read, log, **{
            'stdout': True, 'stderr': True, 'timestamps': False, 'tail': None, 'since': None,
            'cursor': cursor, **params})

    def test_lines_of_one_time(self):
        for _ in range(3):
            self.log.write(5 * SECOND)
        first = self.ask()
        self.assertEqual('1\n2\n3\n', first['output'])
        self.log.write(5 * SECOND)
        self.log.write(5 * SECOND)
        second = self.ask(first['cursor'])
        self.assertEqual('4\n5\n', second['output'])
        self.assertEqual('', self.ask(second['cursor'])['output'])

    def test_equal_lines_of_one_time(self):
        for _ in range(3):
            self.log.write(5 * SECOND, text='same\n')
        cursor = self.ask(tail=1)['cursor']
        self.log.write(5 * SECOND, text='same\n')
        self.assertEqual('same\n', self.ask(cursor)['output'])

    def test_a_line_with_an_earlier_time_that_comes_later(self):
        """Each stream takes the time of its lines by itself, before it is its turn to write."""
        self.log.write(5 * SECOND + 7)
        cursor = self.ask()['cursor']
        self.log.write(5 * SECOND, logtext.STDERR)
        self.assertEqual('2\n', self.ask(cursor)['output'])

    def test_what_was_filtered_out_is_behind_the_cursor_too(self):
        self.log.write(1 * SECOND)
        self.log.write(1 * SECOND, logtext.STDERR)
        cursor = self.ask(stderr=False)['cursor']
        self.assertEqual('', self.ask(cursor)['output'])
        cursor = self.ask(stderr=False, stdout=False)['cursor']
        self.assertEqual('', self.ask(cursor)['output'])

    def test_since_and_after_it(self):
        for second in (1, 2, 3):
            self.log.write(second * SECOND)
        answer = self.ask(since=2 * SECOND)
        self.assertEqual('2\n3\n', answer['output'])
        self.assertEqual('', self.ask(answer['cursor'])['output'])
        answer = self.ask(since=4 * SECOND, tail=2)
        self.assertEqual('', answer['output'])
        self.log.write(4 * SECOND)
        self.assertEqual('4\n', self.ask(answer['cursor'])['output'])

    def test_times_are_told_in_full(self):
        self.log.write(SECOND + 5)
        self.assertEqual('1970-01-01T00:00:01.000000005Z 1\n',
                         self.ask(timestamps=True)['output'])

    def test_a_log_that_was_rotated(self):
        for _ in range(4):
            self.log.write(1 * SECOND)
        cursor = self.ask()['cursor']
        self.log.write(1 * SECOND)
        self.log.entries = self.log.entries[2:]
        answer = self.ask(cursor)
        self.assertEqual(('5\n', False), (answer['output'], answer['truncated']))
        self.log.entries = self.log.entries[2:]
        answer = self.ask(cursor)
        self.assertEqual(('5\n', True), (answer['output'], answer['truncated']))

    def test_the_end_of_much(self):
        for _ in range(20):
            self.log.write(1 * SECOND, text='x' * 2 ** 16)
        answer = self.ask()
        self.assertEqual((2 ** 20, True, False),
                         (len(answer['output']), answer['truncated'], answer['more']))
        self.assertEqual('', self.ask(answer['cursor'])['output'])

    def test_much_after_a_cursor_comes_in_parts(self):
        cursor = self.ask()['cursor']
        for _ in range(20):
            self.log.write(1 * SECOND, text='x' * 2 ** 16)
        first = self.ask(cursor)
        self.assertEqual((2 ** 20, True), (len(first['output']), first['more']))
        second = self.ask(first['cursor'])
        self.assertEqual((4 * 2 ** 16, False), (len(second['output']), second['more']))

    def test_one_of_another_log(self):
        self.log.write(1 * SECOND)
        cursor = self.ask()['cursor']
        self.assertEqual('1\n', self.ask(cursor, log='def')['output'])

    def test_what_is_no_cursor(self):
        for cursor in ('', 'x', '-1', 'abc-1-1-1-0000000', 'abc-1-1-1-00000000-1',
                       'abc-99999999999999999999-1-1-00000000', 'abc-1-1-1-0000000g', 'a\n',
                       'abc-\u0661-1-1-00000000'):
            error = self.assertRaises(exceptions.InvalidParameter, self.ask, cursor)
            self.assertIn('cursor', error.detail)

    def test_no_line_is_lost_or_told_twice(self):
        for seed in range(200):
            self.log = Log()
            self._follow(random.Random(seed))

    def _follow(self, chance):
        """Read now and then while streams write out of order and rotation takes from the start."""
        now, told, cursor = 10 * SECOND, [], None
        begin = 0
        for _ in range(chance.randrange(2, 12)):
            for _ in range(chance.randrange(12)):
                now += chance.choice((0, 0, 1, SECOND // 3, 5 * SECOND))
                late = chance.choice((0, 0, 0, SECOND // 10))
                self.log.write(now - late, chance.choice((logtext.STDOUT, logtext.STDERR)))
            if cursor is None:
                tail = chance.choice((None, 0, 1, 3))
                answer = self.ask(tail=tail)
                begin = self.log.number if tail == 0 else None
            else:
                answer = self.ask(cursor)
                # What was seen already may go.
                del self.log.entries[:chance.choice((0, 0, len(self.log.entries) // 2))]
            cursor = answer['cursor']
            told += [int(line) for line in answer['output'].split()]
        told += [int(line) for line in self.ask(cursor)['output'].split()]
        if told:
            begin = begin if begin is not None else told[0] - 1
            self.assertEqual(list(range(begin + 1, self.log.number + 1)), told)
