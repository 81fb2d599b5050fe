# SPDX-License-Identifier: Apache-2.0
"""``python -m faults.sabotaged BUG COMMAND [ARGUMENT...]``: a shipped command with a bug in it."""

import importlib.metadata
import sys


def main():
    name, *sys.argv = sys.argv[1:]
    point, = importlib.metadata.entry_points(group='console_scripts', name=sys.argv[0])
    # First the command's module: it decides what kind of threads there are.
    run = point.load()
    from faults import bugs
    from faults import points
    (points.install if name == 'points' else bugs.BUGS[name].function)()
    run()


if __name__ == '__main__':
    main()
