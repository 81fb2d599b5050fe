# SPDX-License-Identifier: Apache-2.0
"""How much a project may have: its own limits, and those of the class ``default`` for the rest.

Whether there is a limit at all is known from a view at most a second old, so that nothing is
asked where there is none.  Where there is one, creations of the project are counted one after
the other, inside the transaction that accepts them: two at once cannot both take the last place.
"""

import math
import threading
import time

from oslo_db import exception as db_exc

from container_service import audit
from container_service import exceptions
from container_service import unified
from container_service.db import actions
from container_service.db import containers
from container_service.db import quotas
from container_service.db.base import run_again

NONE = -1                     # as a limit: there is none
ACTIONS = 'actions'           # unfinished ones; ``api/limits.py`` counts them
MIB = 1024 * 1024
_FRESH = 1.0                  # seconds

# What is limited: the words for it, what says it in a spec, and in which unit.
RESOURCES = {
    'containers': ('containers', None, 1),
    'cpu': ('cores', 'cpu', 1),
    'memory': ('MiB of memory', 'memory_bytes', MIB),
    'disk': ('GiB of disk', 'disk', 1),
}

# All that has a limit, and what that is where nobody has said anything.
NAMES = (*RESOURCES, ACTIONS)
UNSET = dict.fromkeys(NAMES, NONE)

# A container that does not say how much it takes of these may take all that its host has.  (So it
# is with disk, but most engines cannot limit that.)
_WITHOUT_BOUND = ('cpu', 'memory')


def defaults_of(conf):
    """What a container takes that does not say so, as in a spec."""
    return {'cpu': conf.bays.default_cpu, 'memory_bytes': conf.bays.default_memory * MIB}


class Quotas:
    """The quotas as one process knows them.

    ``defaults`` is what ``defaults_of`` gives; ``conf`` says how many actions a project may have
    where nobody else does.
    """

    def __init__(self, db, clock=time.monotonic, defaults=None, conf=None):
        self._db, self._clock, self._conf = db, clock, conf
        self.defaults = defaults or {}
        self._lock = threading.Lock()
        self._read_at = None
        self._default, self._projects, self._actions = {}, {}, {}

    def guard(self, project_id):
        """What a creation or change of a project has to pass; None where there is no limit.

        It is called with the connection of the transaction, the spec and, of a change, the
        amounts that are taken already.  Raises QuotaExceeded, and InvalidParameter for a
        creation that leaves out what is limited and has no default.
        """
        with self._lock:
            self._refresh()
            default, own = dict(self._default), self._projects.get(project_id)
        if not own and not any(
                limit != NONE for name, limit in default.items() if name != ACTIONS):
            return None
        if own is None:
            self._make_row(project_id)
        return lambda conn, spec, before=None: self._check(
            conn, project_id, lambda own: {**default, **own}, spec, before)

    @property
    def unset(self):
        """What the limits are where nobody has said anything."""
        return UNSET if self._conf is None else {
            **UNSET, ACTIONS: self._conf.api.project_action_limit}

    def most_actions(self, project_id):
        """How many unfinished actions a project may have; NONE for any number."""
        with self._lock:
            self._refresh()
            return self._actions.get(
                project_id, self._default.get(ACTIONS, self.unset[ACTIONS]))

    def _refresh(self):
        if self._read_at is not None and self._clock() - self._read_at < _FRESH:
            return
        with self._db.read() as conn:
            self._default = quotas.of_class(conn, quotas.DEFAULT)
            self._projects = quotas.limited_projects(conn)
            self._actions = quotas.of_resource(conn, ACTIONS)
        self._read_at = self._clock()

    def _make_row(self, project_id):
        """What is locked while its containers are counted."""
        try:
            self._db.transact(lambda conn: quotas.insert(conn, project_id, 'containers'))
        except db_exc.DBDuplicateEntry:
            pass                # somebody else did, and it may have a limit by now
        with self._lock:
            self._projects.setdefault(project_id, False)

    def _check(self, conn, project_id, limits_with, spec, before):
        # The lock comes first: what is read before it could be older than what others did
        # meanwhile.
        limits = limits_with(quotas.of_project(conn, project_id, lock=True))
        limits = {name: limits[name] for name in RESOURCES if limits.get(name, NONE) != NONE}
        if not limits:
            return
        used = self.in_use(conn, project_id)
        for name, limit in limits.items():
            words = RESOURCES[name][0]
            wanted = self._amount(name, spec)
            if before is not None:
                wanted -= self._amount(name, before)
            elif not wanted and name in _WITHOUT_BOUND:
                raise exceptions.InvalidParameter(name=name, reason=(
                    f'must be given, since the quota of the project is {limit} {words}'))
            if wanted > 0 and used[name] + wanted > limit:
                raise exceptions.QuotaExceeded(resource=words, limit=limit,
                                               used=_plain(used[name]), wanted=_plain(wanted))

    def _amount(self, name, spec):
        _, key, unit = RESOURCES[name]
        return 1 if key is None else (spec.get(key) or self.defaults.get(key) or 0) / unit

    def in_use(self, conn, project_id):
        """What the live containers of a project have, as {resource: amount}."""
        return in_use(conn, project_id, self.defaults)

    def usages(self, conn, project_id):
        """All that a project has of what is limited, as {resource: amount}."""
        return {**self.in_use(conn, project_id),
                ACTIONS: actions.unfinished_of_project(conn, project_id)}

    def limits(self, project_id=None):
        """The limits of a project; without one those of the class default.

        Not for where a connection is held: others may have to be asked.
        """
        with self._db.read() as conn:
            return {**self.unset, **limits(conn, project_id)}

    def of_class(self, name):
        """The limits of a class."""
        with self._db.read() as conn:
            return {**self.unset, **quotas.of_class(conn, name)}

    def may_change(self):
        """Raises LimitsElsewhere where limits are not set here."""

    def forget(self):
        """Read them anew: they have been changed here."""
        with self._lock:
            self._read_at = None


class Unified(Quotas):
    """Those of projects whose limits are kept in Keystone.  ``source`` is a unified.Limits.

    Limits are asked for before the transaction, and counted in it like all others.
    """

    def __init__(self, db, source, **values):
        super().__init__(db, **values)
        self._source = source

    def guard(self, project_id):
        """As above.  Raises LimitsUnavailable."""
        given = self._source.of(project_id)
        if all(given[name] == NONE for name in RESOURCES):
            return None
        with self._lock:
            self._refresh()
            own = self._projects.get(project_id)
        if own is None:
            self._make_row(project_id)
        return lambda conn, spec, before=None: self._check(
            conn, project_id, lambda own: given, spec, before)

    def most_actions(self, project_id):
        try:
            return self._source.of(project_id)[ACTIONS]
        except exceptions.LimitsUnavailable:
            return self.unset[ACTIONS]        # what is no creation goes on

    def limits(self, project_id=None):
        return dict(self._source.of(project_id))

    def of_class(self, name):
        return self.limits()

    def may_change(self):
        raise exceptions.LimitsElsewhere()


def make(conf, db):
    """The quotas as ``[quotas] driver`` says."""
    values = {'defaults': defaults_of(conf), 'conf': conf}
    if conf.quotas.driver == 'local':
        return Quotas(db, **values)

    def used(project_id, names):
        with db.read() as conn:
            return {name: math.ceil(amount)
                    for name, amount in made.usages(conn, project_id).items() if name in names}

    made = Unified(db, unified.Limits(NAMES, used), **values)
    return made


def in_use(conn, project_id, defaults=None):
    """What the live containers of a project have, as {resource: amount}."""
    rows = containers.used(conn, project_id, defaults)
    found = {'containers': sum(row.containers for row in rows),
             'cpu': sum(row.cpu for row in rows),
             'memory': sum(int(row.memory_bytes) for row in rows) / MIB,
             'disk': sum(int(row.disk) for row in rows)}
    return {name: _plain(amount) for name, amount in found.items()}


def _plain(amount):
    return int(amount) if amount == int(amount) else round(amount, 3)


def limits(conn, project_id=None):
    """The limits that a project was given; without one those of the class default."""
    own = {} if project_id is None else quotas.of_project(conn, project_id)
    return {**quotas.of_class(conn, quotas.DEFAULT), **own}


def change(context, db, project_id, asked):
    """Give a project limits of its own; returns all that it was given."""
    def unit(conn):
        quotas.put(conn, project_id, asked)
        audit.record(conn, context, 'quota:update', _of_project(project_id), fields=sorted(asked))
        return limits(conn, project_id)

    return _change(db, unit)


def _change(db, unit):
    try:
        return db.transact(unit, run_again)
    except db_exc.DBDuplicateEntry:
        # Somebody else has just made the row that there was none of.
        return db.transact(unit, run_again)


def reset(context, db, project_id):
    """Take a project's own limits from it; returns those that it has then."""
    def unit(conn):
        quotas.clear(conn, project_id)
        audit.record(conn, context, 'quota:delete', _of_project(project_id))
        return limits(conn, project_id)

    return db.transact(unit, run_again)


def _of_project(project_id):
    return audit.Target('quota', project_id, project_id=project_id)


def change_class(context, db, name, asked):
    """Change the limits of a class; returns all that it has."""
    def unit(conn):
        quotas.put_class(conn, name, asked)
        audit.record(conn, context, 'quota_class:update', audit.Target('quota_class', name=name),
                     fields=sorted(asked))
        return quotas.of_class(conn, name)

    return _change(db, unit)
