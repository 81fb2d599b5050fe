# SPDX-License-Identifier: Apache-2.0
"""The points of an action at which a conductor may die, and dying there.

A point is just before or just after something that others can see: a COMMIT, a change that is
asked of an engine.  They are counted in the thread that carries the action out, from when an order
is given.  An order is a file beside the conductor: ``kill N`` dies at the N-th point, ``count 0``
only notes the names of those passed.  The file is gone before the death, so that the next process
lives.
"""

import os
import pathlib
import signal
import sys
import threading

ORDER = 'FAULTS_POINT'          # the variable that names the file

# Where the name of a transaction comes from.
_TOLD_BY = ('lifecycle.py', 'pulls.py')


class Points:

    def __init__(self, path):
        self._path = pathlib.Path(path)
        self._given, self._passed = None, 0
        self._thread = threading.local()

    def working(self, function):
        """The function that carries an action out, in any thread."""
        def work(*arguments):
            self._thread.works = True
            try:
                return function(*arguments)
            finally:
                self._thread.works = False
        return work

    def around(self, function, name):
        """A function with a point before and one after it; ``name(*arguments)`` None: none."""
        def called(*arguments, **keywords):
            what = name(*arguments) if getattr(self._thread, 'works', False) else None
            if what:
                self._at(f'before {what}')
            try:
                return function(*arguments, **keywords)
            finally:
                if what:
                    self._at(f'after {what}')
        return called

    def _at(self, point):
        try:
            given, (what, number) = os.stat(self._path).st_mtime_ns, self._path.read_text().split()
        except FileNotFoundError:
            return
        if given != self._given:
            self._given, self._passed = given, 0
        self._passed += 1
        if what == 'count':
            with open(f'{self._path}.passed', 'a') as file:
                file.write(f'{point}\n')
        elif self._passed == int(number):
            self._path.rename(f'{self._path}.died')
            os.kill(os.getpid(), signal.SIGKILL)


def _transaction(*arguments):
    """The function whose transaction is committed."""
    frame = sys._getframe(2)
    while frame is not None:
        if os.path.basename(frame.f_code.co_filename) in _TOLD_BY:
            return f'COMMIT of {frame.f_code.co_name}'
        frame = frame.f_back
    return None


def _change(client, request, *arguments):
    return (None if request.method == 'GET' else
            f'{request.method} {request.path_url.partition("?")[0].rsplit("/", 1)[1]}')


def install():
    """Make this process one that dies on order."""
    from container_service.conductor import puller
    from container_service.conductor import runner
    from container_service.db import base
    from container_service.drivers import docker

    points = Points(os.environ[ORDER])
    for one in (runner.Runner, puller.Puller):
        one.work = points.working(one.work)
    docker._Client.send = points.around(docker._Client.send, _change)
    create_engine = base.engines.create_engine

    def create(*arguments, **keywords):
        engine = create_engine(*arguments, **keywords)
        engine.dialect.do_commit = points.around(engine.dialect.do_commit, _transaction)
        return engine

    base.engines.create_engine = create
