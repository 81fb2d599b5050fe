# SPDX-License-Identifier: Apache-2.0
"""``python -m faults``; tools/faults.sh starts what it needs and calls it."""

import argparse
import json
import logging
import secrets
import signal
import sys

from container_service import concurrency

# What kind of threads there are is decided before anything else is imported.
concurrency.choose()

from faults import bugs  # noqa: E402
from faults import process  # noqa: E402
from faults import report  # noqa: E402
from faults import scenario  # noqa: E402
from faults import scenarios  # noqa: E402, F401 - registers them
from faults import world  # noqa: E402

_DATABASES = ('mysql', 'postgresql')

# Runs of a scenario whose harm does not meet anything.
_TRIES = 3

# Where more have failed, it is not for a machine that was busy for a moment.
_AGAIN = 5


def _options():
    parser = argparse.ArgumentParser(
        prog='tools/faults.sh', description='Breaks a deployment on purpose, and checks that '
        'nothing was lost, done twice or left stuck.')
    parser.add_argument('--seed', default=None, help='of all that is random; it is printed')
    parser.add_argument('--database', choices=(*_DATABASES, 'both'), default='both')
    parser.add_argument('--only', metavar='ID[,ID...]', help='these scenarios only')
    parser.add_argument('--long', action='store_true', help='an hour and more instead of minutes')
    parser.add_argument('--times', action='store_true', help='fail also where a target in seconds '
                        'is missed, for a machine that does nothing else')
    parser.add_argument('--bug', metavar='NAME[,NAME...]', help='put these bugs into the daemons, '
                        'one after the other, and pass if the scenarios that must catch them '
                        'do; all: each of them')
    parser.add_argument('--then-bugs', metavar='N/M', help='after the scenarios the same with the '
                        'N-th of each M bugs')
    parser.add_argument('--again', action='store_true', help='run once more at the end what has '
                        f'failed without violating an invariant, unless more than {_AGAIN} have; '
                        'what passes then is unsteady, and counts as passed')
    parser.add_argument('--list', action='store_true', help='list scenarios and bugs')
    parser.add_argument('--json', metavar='FILE', help='write the results there too')
    options = parser.parse_args()
    named = list(bugs.BUGS) if options.bug == 'all' else (options.bug or '').split(',')
    for name in named:
        if name not in ('', *bugs.BUGS):
            parser.error(f'no bug {name}; there are: {", ".join(bugs.BUGS)}')
    options.bugs = [bugs.BUGS.get(name) for name in named]
    if options.then_bugs:
        part, parts = map(int, options.then_bugs.split('/'))
        options.bugs += list(bugs.BUGS.values())[part - 1::parts]
    chosen = options.only.split(',') if options.only else sorted(scenario.SCENARIOS)
    for name in chosen:
        if name not in scenario.SCENARIOS:
            parser.error(f'no scenario {name}; there are: {", ".join(scenario.SCENARIOS)}')
    options.scenarios = [scenario.SCENARIOS[name] for name in chosen]
    return options


def _run(options):
    """Run the scenarios, or those that must catch a bug; returns the results."""
    results = []
    for kind in _DATABASES if options.database == 'both' else (options.database,):
        with world.World(kind, options.seed) as deployment:
            for bug in options.bugs:
                chosen = options.scenarios
                if bug:
                    chosen = [scenario.SCENARIOS[bug.caught_by]]
                deployment.put_in(bug)
                done = [_result(deployment, each, options) for each in chosen]
                if options.again:
                    # Not after what bugs leave behind.
                    _again(deployment, done, options)
                results += done
    return results


def _again(deployment, done, options):
    """Run once more what may have failed because the machine was busy, and note what passes."""
    failed = [result for result in done if not result.passed]
    if len(failed) > _AGAIN:
        return
    for result in failed:
        if result.forgivable:
            print(f'again   {result.scenario.id}', flush=True)
            result.unsteady = _result(deployment, result.scenario, options).passed
            if result.unsteady:
                print(report.unsteady(result), flush=True)


def _result(deployment, chosen, options):
    """Run a scenario, and once or twice again if its harm does not meet anything."""
    for attempt in range(_TRIES):
        result = scenario.Run(
            deployment, chosen, f'{options.seed}/{attempt}' if attempt else options.seed,
            scenario.LONG if options.long else scenario.SHORT, options.times)()
        again = result.unlucky and attempt + 1 < _TRIES
        print(report.line(result, again), flush=True)
        if not result.passed:
            print(report.violations(result), flush=True)
        if not again:
            break
    return result


def main():
    options = _options()
    if options.list:
        for each in scenario.SCENARIOS.values():
            print(f'{each.id}  {each.title}\n      {each.target}')
        for each in bugs.BUGS.values():
            print(f'{each.name}: {each.title} Caught by {each.caught_by}.')
        return 0
    # The client of the bus, and the proxy, say much of connections that are broken on purpose.
    logging.getLogger().setLevel(logging.ERROR)
    # So that what was started is ended, whoever ends us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    options.seed = options.seed or secrets.token_hex(4)
    machine = report.machine()
    print(f'seed {options.seed}; {machine["cores"]} cores, load {machine["load_average"][0]}',
          flush=True)
    try:
        results = _run(options)
    except process.Broken as exc:
        sys.exit(f'faults: {exc}')
    print(f'\n{report.table(results)}\n')
    if options.json:
        with open(options.json, 'w') as file:
            json.dump({'seed': options.seed, 'machine': machine,
                       'results': [report.as_dict(result) for result in results]}, file, indent=2)
    failed = sum(not (result.passed or result.unsteady) for result in results)
    print(f'seed {options.seed}')
    print(f'{len(results) - failed} passed, {failed} failed')
    return 1 if failed else 0


if __name__ == '__main__':
    sys.exit(main())
