# SPDX-License-Identifier: Apache-2.0
"""A conductor dies at each point of each operation, by its own hand (see ``points.py``)."""

import contextlib
import dataclasses
import random
import threading
import time

from container_service import states
from faults import asker
from faults import client
from faults import host
from faults import points
from faults import process
from faults.scenario import scenario

# Operation: what is asked for before, to have a container on which it is possible.
_BEFORE = {
    'create': (), 'run': (), 'start': ('create',), 'stop': ('run',), 'reboot': ('run',),
    'pause': ('run',), 'unpause': ('run', 'pause'), 'kill': ('run',), 'signal': ('run',),
    'delete': ('run',)}

_QUERY = {'stop': {'timeout': 1}, 'reboot': {'timeout': 1}, 'kill': {'signal': 'KILL'},
          'signal': {'signal': 'USR1'}, 'delete': {'force': 'true'}}


class Script:
    """One conductor with a bay of its own, and one client that asks it for one thing at a time.

    ``deaths`` is what came of each: (operation, point, action).
    """

    def __init__(self, world, conductor, name):
        self.deaths = []
        self._world, self._host, self._name = world, conductor, name
        self._order = conductor.directory / 'point'
        self._asker = asker.Asker(world, name)
        self.requests = self._asker.requests

    def __enter__(self):
        self._replace('points', {points.ORDER: str(self._order)})
        caller = client.Client(self._world.clients)
        with contextlib.closing(caller):
            answer = caller.ask('POST', '/v1/bays', {
                'name': f'{self._name}-bay', 'hosts': [self._host.name], 'public': True,
                'endpoint': f'tcp://127.0.0.1:{host.PORTS["one"]}'})
        if answer.status != 201:
            raise process.Broken(f'no bay: {answer}')
        self._bay = answer.json['uuid']
        return self

    def __exit__(self, *exc_info):
        self._replace(None, {})

    def _replace(self, patch, environ):
        """Let the conductor be another build of itself from now on."""
        self._host.stop()
        self._host.patch, self._host.environ = patch, environ
        self._host.start()
        self._world.await_up(self._host)

    def points_of(self, operation):
        """The names of the points that an operation passes."""
        container = self._prepare(operation)
        passed = self._order.with_name('point.passed')
        passed.unlink(missing_ok=True)
        self._order.write_text('count 0')
        self._asker.wait(self._ask(operation, container))
        # The last ones come when its end can be seen already.
        time.sleep(0.3)
        self._order.unlink()
        return passed.read_text().splitlines()

    def die_at(self, operation, number):
        """Let the conductor die at a point, start it again, and see what becomes of the action.

        Returns it and the seconds from the restart to its end; None when it had less to do than
        the one whose points were counted, and ended without coming there.
        """
        container = self._prepare(operation)
        died = self._order.with_name('point.died')
        died.unlink(missing_ok=True)
        self._order.write_text(f'kill {number}')
        action = self._ask(operation, container)
        process.wait_for(
            lambda: died.exists() or self._asker.show(action)['status'] in states.FINAL,
            f'{operation} neither ends nor comes to point {number}', 30, 0.02)
        if not died.exists():
            # The last points come when its end can be seen already.
            time.sleep(1)
        if not died.exists():
            self._order.unlink()
            return None
        self._host.process.wait()
        began = time.monotonic()
        self._host.start()
        return self._asker.wait(action), time.monotonic() - began

    def _prepare(self, operation):
        """A container on which it is possible; None for those that make one."""
        container = None
        for before in _BEFORE[operation]:
            container = self._asker.succeeded(self._ask(before, container))
        return container

    def _ask(self, operation, container):
        if container is None:
            return self._asker.make(self._bay, operation)
        return self._asker.ask('kill' if operation == 'signal' else operation, container,
                               **_QUERY.get(operation, {}))

    def all_of(self, tasks, chance, share, at):
        """Take operations from ``tasks`` and die at their points, at all or at some of them, whose
        names have ``at`` in them.
        """
        while tasks:
            try:
                operation = tasks.pop()
            except IndexError:
                return
            names = self.points_of(operation)
            numbers = [number for number, name in enumerate(names, 1) if at in name]
            if share < len(numbers):
                numbers = sorted(chance.sample(numbers, share))
            for number in numbers:
                came = self.die_at(operation, number)
                if came is not None:
                    self.deaths.append(Death(operation, names[number - 1], *came))


@dataclasses.dataclass(frozen=True)
class Death:
    """What came of an action whose conductor died at a point."""
    operation: str
    point: str
    action: dict
    seconds: float                      # from the restart to the end

    def wrong(self):
        """What is wrong with it, in words; or None."""
        status, allowed = self.action['status'], {states.SUCCEEDED}
        # It must not be sent twice: all is known only before its claim and after its end.
        if self.operation == 'signal' and self.point not in (
                'before COMMIT of claim', 'after COMMIT of _finish'):
            allowed = {states.INTERRUPTED}
        if status in allowed:
            return None
        return (f'{self.operation} whose conductor died {self.point} ended {status}: '
                f'{(self.action["error"] or {}).get("detail")}')


@scenario('T-04', 'a conductor kills itself at each point of each operation, and is restarted',
          'each ends as the table of operations says, its effect once; p50 <= 5 s')
def each_point(run):
    # A bug that is in the daemons says what is worth a look.
    tasks = list(run.told('operations', _BEFORE))
    run.random.shuffle(tasks)
    scripts = [Script(run.world, conductor, f'{run.name}s{number}')
               for number, conductor in enumerate(run.world.conductors)]
    run.loads += scripts
    share, broken = run.told('points', run.sized(1, 1000)), []

    def work(script, chance):
        try:
            with script:
                script.all_of(tasks, chance, share, run.told('at', ''))
        except Exception as exc:
            broken.append(exc)

    threads = [threading.Thread(target=work, args=(
        script, random.Random(run.random.random()))) for script in scripts]  # noqa: S311
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    deaths = [death for script in scripts for death in script.deaths]
    for death in deaths:
        run.nemesis.note('kill -9 at a point', death.operation)
        if death.wrong():
            run.violated('table', death.wrong())
    took = sorted(death.seconds for death in deaths)
    run.measure('points', len(deaths))
    run.measure('death to end p50', took[len(took) // 2] if took else 0)
    run.measure('death to end max', max(took, default=0))
    run.expect_met(took, 'nobody died')
    run.expect_within(5, took[len(took) // 2] if took else 0, 'half of them')
    if broken:
        raise broken[0]
