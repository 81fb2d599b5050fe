# SPDX-License-Identifier: Apache-2.0
"""``python -m faults.sabotaged PATCH[,PATCH...] COMMAND [ARGUMENT...]``: a shipped command with
something changed in it, a bug as a rule."""

import importlib.metadata
import sys


def main():
    names, *sys.argv = sys.argv[1:]
    point, = importlib.metadata.entry_points(group='console_scripts', name=sys.argv[0])
    # First the command's module: it decides what kind of threads there are.
    run = point.load()
    from faults import bugs
    from faults import points
    from faults import projects
    patches = {'points': points.install, 'projects': projects.install,
               **{bug.name: bug.function for bug in bugs.BUGS.values()}}
    for name in names.split(','):
        patches[name]()
    run()


if __name__ == '__main__':
    main()
