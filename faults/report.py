# SPDX-License-Identifier: Apache-2.0
"""What was found, for people and for programs."""

import collections
import os
import platform
import statistics

from container_service import states


def machine():
    return {'cores': os.cpu_count(), 'python': platform.python_version(),
            'load_average': [round(value, 2) for value in os.getloadavg()]}


def as_dict(result):
    return {
        'scenario': result.scenario.id, 'title': result.scenario.title,
        'target': result.scenario.target, 'database': result.database, 'bug': result.bug,
        'passed': result.passed, 'unsteady': result.unsteady,
        'seconds': round(result.seconds, 1),
        'faults': dict(result.faults), 'outcomes': dict(result.outcomes),
        'errors': dict(result.errors),
        'recovery_seconds': {
            'count': len(result.recoveries),
            'p50': _round(_median(result)), 'max': _round(max(result.recoveries, default=None))},
        'slowest_answer_seconds': _round(result.slowest_answer),
        'measured': {name: _round(value) for name, value in result.measured.items()},
        'late': result.late,
        'violations': [{'invariant': each.invariant, 'words': each.words,
                        'container': each.container and each.container.uuid}
                       for each in result.violations]}


def _round(value):
    return round(value, 3) if isinstance(value, float) else value


def _median(result):
    return statistics.median(result.recoveries) if result.recoveries else None


def line(result, again=False):
    """One line when a scenario is over; ``again``: it is run once more, as if it had not been."""
    words = 'ok     ' if result.passed else 'again  ' if again else 'FAILED '
    bug = f' with the bug {result.bug}, which must be caught' if result.bug else ''
    if result.bug:
        found = collections.Counter(each.invariant for each in result.violations)
        bug += f': {", ".join(f"{count} x {name}" for name, count in found.items()) or "nothing"}'
    errors = ', '.join(f'{count} {name}' for name, count in sorted(result.errors.items()))
    text = (f'{words} {result.scenario.id} {result.database:10} {result.scenario.title}{bug} '
            f'({result.seconds:.0f} s){errors and "; ended with an error: "}{errors}')
    return '\n'.join([text, *(f'        late: {each}' for each in result.late)])


def unsteady(result):
    """What is told of a scenario that failed, and passed when it was run again."""
    return (f'unsteady: {result.scenario.id} {result.database} {result.scenario.title}'
            f'{result.bug and f" with the bug {result.bug}" or ""}\n'
            + '\n'.join(f'  {each.invariant}: {each.words}' for each in result.violations))


def violations(result):
    """All that is known of what went wrong."""
    lines = [f'  {each.invariant}: {each.words}'
             + (f' [container {each.container.uuid}]' if each.container is not None else '')
             for each in result.violations]
    return '\n'.join(lines + [f'\n{story}\n' for story in result.stories])


def table(results):
    """A Markdown table of all results."""
    rows = [('', 'database', 'faults', 'accepted', *(
        states.SUCCEEDED, 'failed', 'cancelled', 'skipped', 'interrupted'),
        'recovery p50', 'max', 'slowest answer', 'violations', 'target', 'measured')]
    for result in results:
        median = _median(result)
        rows.append((
            f'{result.scenario.id} {result.bug or ""}', result.database,
            ', '.join(f'{count} {kind}' for kind, count in sorted(result.faults.items())),
            *(str(result.outcomes[name]) for name in (
                'accepted', 'succeeded', 'failed', 'cancelled', 'skipped', 'interrupted')),
            *('' if value is None else f'{value:.1f} s' for value in (
                median, max(result.recoveries, default=None), result.slowest_answer)),
            str(len(result.violations)), result.scenario.target,
            ', '.join(f'{name} {_round(value)}' for name, value in result.measured.items())))
    widths = [max(map(len, column)) for column in zip(*rows)]

    def text(cells, fill=' '):
        return '| ' + ' | '.join(
            cell.ljust(width, fill) for cell, width in zip(cells, widths)) + ' |'

    return '\n'.join([text(rows[0]), text([''] * len(widths), '-'), *map(text, rows[1:])])
