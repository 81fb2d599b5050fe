# SPDX-License-Identifier: Apache-2.0
"""What administrators say of conductors: disable, enable, drain, force down, forget.

It is recorded here; conductors read it with each heartbeat and each look at their peers, and
act on it (``conductor/lease.py``).
"""

import dataclasses

from container_service import audit
from container_service import exceptions
from container_service.db import conductors
from container_service.db.base import run_again

BINARY = 'container-service-conductor'

_c = conductors.table.c


@dataclasses.dataclass(frozen=True)
class Which:
    """The conductors that are meant: those of a host, or the one of a name."""
    host: str = None
    name: str = None
    binary: str = None

    def __str__(self):
        words = [self.name or self.host]
        if self.name and self.host:
            words.append(f'on host {self.host}')
        if self.binary not in (None, BINARY):
            words.append(f'of kind {self.binary}')
        return ' '.join(words)

    @property
    def conditions(self):
        return [column == value for column, value in ((_c.host, self.host), (_c.server, self.name))
                if value]


def enable(context, db, which):
    """Let them take work again.  All here return the rows as they are then."""
    return _say(context, db, 'enable', which, lambda conn, rows: conductors.say(
        conn, _names(rows), disabled=0, disabled_reason=None))


def disable(context, db, which, reason=None):
    """Let them take nothing new; they stay alive, and what runs there goes on."""
    return _say(context, db, 'disable', which, lambda conn, rows: conductors.say(
        conn, _names(rows), disabled=1, disabled_reason=reason))


def drain(context, db, which):
    """Let them finish what they run, and end.  Raises ConductorDown when none is alive."""

    def unit(conn, rows):
        alive = [row for row in rows if row.state != conductors.GONE]
        if not alive:
            raise exceptions.ConductorDown(name=', '.join(_names(rows)))
        conductors.say(conn, _names(alive), _c.state == conductors.UP, state=conductors.DRAINING)

    return _say(context, db, 'drain', which, unit)


def force_down(context, db, which, down=True):
    """Declare them dead, so that others take their work over at once; or undo that.

    One that is alive all the same registers anew, and takes nothing as long as it is forced down.
    """

    def unit(conn, rows):
        conductors.say(conn, _names(rows), forced_down=int(down))
        for row in rows if down else ():
            conductors.declare_dead(conn, row.uuid)

    return _say(context, db, 'force_down', which, unit)


def forget(context, db, which):
    """Forget conductors that are down, and what was said of them.  Raises ConductorAlive."""
    forgotten = []

    def unit(conn):
        rows = forgotten[:] = _find(conn, which)
        for row in rows:
            if row.state != conductors.GONE:
                raise exceptions.ConductorAlive(name=row.server)
        conductors.forget(conn, _names(rows))
        _record(conn, context, 'delete', rows)

    def landed(conn):
        return not conductors.newest(conn, _c.id.in_([row.id for row in forgotten])) or None

    db.transact(unit, landed)


def _say(context, db, verb, which, unit):
    def whole(conn):
        rows = _find(conn, which)
        unit(conn, rows)
        _record(conn, context, verb, rows)
        return conductors.newest(conn, _c.server.in_(_names(rows)))

    return db.transact(whole, run_again)


def _record(conn, context, verb, rows):
    for row in rows:
        audit.record(conn, context, f'service:{verb}',
                     audit.Target('service', row.uuid, row.server))


def _find(conn, which):
    """The newest rows of those that are meant, locked.  Raises ConductorNotFound."""
    conductors.lock(conn, *which.conditions)
    found = conductors.newest(conn, *which.conditions)
    if not found or which.binary not in (None, BINARY):
        known = _names(conductors.listing(conn))
        raise exceptions.ConductorNotFound(wanted=which, known=', '.join(known) or 'none')
    # Of a host, those that ended in order long ago are not meant, unless there are no others.
    listed = [row for row in found if row.is_listed]
    return found if which.name else listed or found


def _names(rows):
    return [row.server for row in rows]
