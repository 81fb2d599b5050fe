# SPDX-License-Identifier: Apache-2.0
"""Does harm, and notes what it did and when."""

import contextlib
import dataclasses
import time

import sqlalchemy as sa

from container_service import states
from container_service.db import models


@dataclasses.dataclass
class Fault:
    kind: str                           # what is behind a colon is not counted apart
    on: str                             # name of what was hurt
    began: float
    ended: float = None
    stops_work: bool = False            # what runs there does not go on by itself
    # What it does to the container, or to those on the engine, that it is ``on``, as letters.
    effects: str = ''

    def may_have_caused(self, event):
        return (self.on in (event.container, event.engine)
                and (event.letter or ' ') in self.effects
                and self.began - _INEXACT <= event.at <= (self.ended or event.at) + _INEXACT)


# Seconds between an effect and what two clocks, or two readers of one, say of it.
_INEXACT = 0.1


class Nemesis:

    def __init__(self, world, chance):
        self._world, self._chance = world, chance
        self.faults = []

    def note(self, kind, on, stops_work=False, effects=''):
        """Record that harm begins."""
        fault = Fault(kind, str(on), time.time(), stops_work=stops_work, effects=effects)
        self.faults.append(fault)
        return fault

    @contextlib.contextmanager
    def during(self, kind, on, **values):
        """Note harm that lasts as long as the context."""
        fault = self.note(kind, on, **values)
        try:
            yield fault
        finally:
            fault.ended = time.time()

    def kill(self, host):
        """kill -9; returns the Fault, which ends when ``start`` is called."""
        fault = self.note('kill -9', host, stops_work=True)
        host.kill()
        return fault

    def start(self, host, fault=None):
        """Start what was killed; returns at once."""
        host.start()
        if fault is not None:
            fault.ended = time.time()

    def freeze(self, host, seconds):
        """SIGSTOP, and SIGCONT so many seconds later; returns then."""
        with self.during(f'SIGSTOP: for {seconds:.1f} s', host, stops_work=True):
            host.freeze()
            time.sleep(seconds)
            host.thaw()

    def someone(self):
        """A random conductor."""
        return self._chance.choice(self._world.conductors)

    def busy(self, host, count=1, seconds=10):
        """Wait until a conductor has so many actions under way, but no longer than that."""
        a, c = models.actions.c, models.conductors.c
        return self._busy(sa.select(sa.func.count()).select_from(models.actions.join(
            models.conductors, a.conductor_uuid == c.uuid)).where(
                c.host == host.name, c.state != 'gone', a.status.in_(states.CLAIMED)),
            count, seconds)

    def busy_bay(self, name, count=1, seconds=10):
        """The same for a bay."""
        a, c = models.actions.c, models.containers.c
        return self._busy(sa.select(sa.func.count()).select_from(models.actions.join(
            models.containers, a.resource_uuid == c.uuid)).where(
                c.bay_uuid == self._world.bays[name], a.status.in_(states.CLAIMED)),
            count, seconds)

    def _busy(self, query, count, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._world.database.rows(query)[0][0] >= count:
                return True
            time.sleep(0.005)
        return False
