# SPDX-License-Identifier: Apache-2.0
"""Samples, ratios of samples taken one after the other, and how they are printed."""

import dataclasses
import os
import pathlib
import platform
import statistics
import sys

ROOT = str(pathlib.Path(__file__).parent.parent)


def say(text):
    print(text, file=sys.stderr, flush=True)


@dataclasses.dataclass(frozen=True)
class Sample:
    """One side in one round."""
    rate: float                  # operations per second
    cpu_ms: float = None         # of our processes, or of the server, per operation


@dataclasses.dataclass(frozen=True)
class Idle:
    """What a process uses while it has nothing to do."""
    cpu_percent: float           # of one core
    memory_mib: float
    peak_mib: float

    def __str__(self):
        return (f'{self.cpu_percent:.2f} % of a core, {self.memory_mib:.1f} MiB '
                f'(peak {self.peak_mib:.1f})')


class Burden:
    """The same process without and with something to carry."""

    def __init__(self, title, empty, full):
        self.title, self.empty, self.full = title, empty, full

    def as_dict(self):
        return {'title': self.title, 'empty': dataclasses.asdict(self.empty),
                'full': dataclasses.asdict(self.full),
                'ratio': {name: getattr(self.full, name) / getattr(self.empty, name)
                          for name in ('cpu_percent', 'memory_mib', 'peak_mib')}}

    def __str__(self):
        ratio = self.as_dict()['ratio']
        return (f'{self.title}: {self.full}; empty: {self.empty}; ratio: '
                f'{ratio["cpu_percent"]:.2f}, {ratio["memory_mib"]:.2f}')


class Comparison:
    """Ours against something bare, round by round.

    The two of a round stand under the same noise, so their ratio is what counts; the median of
    the rates is for orientation on this machine only.
    """

    def __init__(self, title, against):
        self.title, self.against = title, against
        self._rounds = []

    def add(self, ours, theirs):
        self._rounds.append((ours, theirs))

    @property
    def ratios(self):
        return [ours.rate / theirs.rate for ours, theirs in self._rounds]

    def last(self):
        ours, theirs = self._rounds[-1]
        return (f'{self.title}: {ours.rate:.1f} / {theirs.rate:.1f} per second = '
                f'{self.ratios[-1]:.2f}')

    def _median(self, side, name):
        values = [getattr(sample[side], name) for sample in self._rounds]
        return None if None in values else statistics.median(values)

    def as_dict(self):
        return {
            'title': self.title, 'against': self.against, 'rounds': len(self._rounds),
            'ratio': {'min': min(self.ratios), 'median': statistics.median(self.ratios),
                      'max': max(self.ratios), 'all': self.ratios},
            'ours_per_second': self._median(0, 'rate'),
            'bare_per_second': self._median(1, 'rate'),
            'ours_cpu_ms': self._median(0, 'cpu_ms'),
            'bare_cpu_ms': self._median(1, 'cpu_ms')}


def machine():
    load = os.getloadavg()
    return {'cores': os.cpu_count(), 'python': platform.python_version(),
            'load_average': [round(value, 2) for value in load]}


def table(comparisons):
    """A Markdown table: ratios first."""
    rows = [('', 'ratio: median', 'min', 'max', 'of', 'ours/s', 'bare/s',
             'ours, CPU ms', 'bare, CPU ms')]
    for comparison in comparisons:
        row = comparison.as_dict()
        rows.append((
            row['title'], *(f'{row["ratio"][name]:.2f}' for name in ('median', 'min', 'max')),
            row['against'], *(f'{row[name]:.1f}' for name in (
                'ours_per_second', 'bare_per_second')),
            *('' if row[name] is None else f'{row[name]:.2f}' for name in (
                'ours_cpu_ms', 'bare_cpu_ms'))))
    widths = [max(map(len, column)) for column in zip(*rows)]

    def line(cells, fill=' '):
        return '| ' + ' | '.join(
            cell.ljust(width, fill) for cell, width in zip(cells, widths)) + ' |'

    return '\n'.join([line(rows[0]), line([''] * len(widths), '-'), *map(line, rows[1:])])
