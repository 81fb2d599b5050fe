# SPDX-License-Identifier: Apache-2.0
"""``python -m bench``; tools/bench.sh starts what it needs and calls it."""

import argparse
import json
import logging
import os
import signal
import sys

from container_service import concurrency

# What kind of threads there are is decided before anything else is imported.
concurrency.choose()

from bench import accept  # noqa: E402
from bench import deployment  # noqa: E402
from bench import engine  # noqa: E402
from bench import idle  # noqa: E402
from bench import load  # noqa: E402
from bench import report  # noqa: E402

_PARTS = {'accept': accept.measure, 'engine': engine.measure, 'idle': idle.measure}


def _options():
    parser = argparse.ArgumentParser(
        prog='tools/bench.sh', description='What the service costs above its floor, as ratios.')
    parser.add_argument('--only', choices=sorted(_PARTS), help='this part only')
    parser.add_argument('--rounds', type=int, help='of each comparison (7; quick: 2)')
    parser.add_argument('--quick', action='store_true',
                        help='a look in about a minute; too little to quote')
    parser.add_argument('--json', metavar='FILE', help='write the numbers there too, - for stdout')
    parser.add_argument('--connections', type=int, default=8, help='requests at a time (8)')
    parser.add_argument('--requests', type=int, help='accepted in each round (500; quick: 300)')
    parser.add_argument('--threads', type=int, default=32, help='of each server process (32)')
    parser.add_argument('--processes', type=int, default=2, help='of gunicorn (2)')
    parser.add_argument('--containers', type=int, help='in each round (32; quick: 8)')
    parser.add_argument('--image', default=os.environ.get('CS_TEST_IMAGE'),
                        help='on the engine already; has a command sleep')
    parser.add_argument('--rows', type=int, default=100000, help='while idle (100000)')
    parser.add_argument('--live', type=int, default=5000,
                        help='of these, on engines; the others are deleted (5000)')
    parser.add_argument('--bays', type=int, default=5, help='that they are on (5)')
    parser.add_argument('--seconds', type=int, help='of being idle (120; quick: 30)')
    options = parser.parse_args()
    for name, quick, thorough in (('seconds', 30, 120), ('rounds', 2, 7), ('requests', 300, 500),
                                  ('containers', 8, 32)):
        if getattr(options, name) is None:
            setattr(options, name, quick if options.quick else thorough)
    return options


def main():
    options = _options()
    # The client of the bus is told about a channel that was closed by itself.
    logging.getLogger('amqp').setLevel(logging.ERROR)
    # So that what was started is ended, whoever ends us.
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    before, comparisons = report.machine(), []
    try:
        for name, measure in _PARTS.items():
            if options.only in (None, name):
                comparisons += measure(options)
    except (deployment.Broken, load.Refused) as exc:
        sys.exit(f'bench: {exc}')
    if options.json:
        text = json.dumps({
            'machine': before, 'options': vars(options),
            'comparisons': [comparison.as_dict() for comparison in comparisons]}, indent=2)
        if options.json == '-':
            print(text)
            return
        with open(options.json, 'w') as file:
            file.write(text + '\n')
    rates = [one for one in comparisons if isinstance(one, report.Comparison)]
    if rates:
        print(report.table(rates))
    for one in comparisons:
        if one not in rates:
            print(one)
    print(f'\n{before["cores"]} cores, load {before["load_average"][0]} before; '
          f'{options.rounds} rounds, {options.connections} connections, '
          f'{options.requests} requests, {options.containers} containers')


if __name__ == '__main__':
    main()
