# SPDX-License-Identifier: Apache-2.0
"""What an engine has with our label that no container of the database stands for.

An **orphan** is known to be wanted by nobody: the database remembers that its container was
deleted, or that its creation was cancelled.  It is removed after a grace.  A **stray** is
anything else: it is told, and only an administrator settles it, since after a restore of the
database everything made since the backup is unknown.  What has no label of this deployment is
in no list that is looked at here.
"""

import re

from oslo_db import exception as db_exc
from oslo_log import log

from container_service import audit
from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import secrets
from container_service import states
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import events
from container_service.db import idents
from container_service.db import strays
from container_service.db.base import run_again
from container_service.drivers import base

LOG = log.getLogger(__name__)

LIVE, WAIT, ORPHAN = 'live', 'wait', 'orphan'

_CREATING = [op.name for op in operations.OPERATIONS.values() if op.creates]


def judge(conn, entry, bay, engine_id):
    """What a listed container is: LIVE, ORPHAN, WAIT (not to be said yet), or why it is a stray.

    Returns that and the row of its container, or None.
    """
    row = containers.by_uuid(conn, entry.uuid) if idents.is_uuid(entry.uuid or '') else None
    if row is None:
        return strays.UNKNOWN if entry.is_well_named else strays.MISNAMED, None
    if row.bay_uuid != bay.uuid:
        return _on_two_bays(conn, row, engine_id), row
    if row.deleted_at is None and entry.engine_id == row.engine_id:
        return LIVE, row              # renamed by hand, maybe
    if not entry.is_well_named:
        return strays.MISNAMED, row
    if row.deleted_at is not None:
        return ORPHAN, row
    if row.task_state is not None:
        return WAIT, row
    if entry.generation != row.generation:
        return ORPHAN if entry.generation < row.generation else strays.TOO_NEW, row
    return ORPHAN if _was_cancelled(conn, row) else LIVE, row


def _on_two_bays(conn, row, engine_id):
    """Of a container that the database has on another bay."""
    try:
        other = bays.get(conn, row.bay_uuid, None)
    except exceptions.BayNotFound:
        return ORPHAN if row.deleted_at is not None else strays.ELSEWHERE
    # One engine that is two bays: the other one's watcher takes care of it.
    return WAIT if other.engine_id in (None, engine_id) else strays.ELSEWHERE


def _was_cancelled(conn, row):
    """Whether the creation of a container that is not on its engine was cancelled.

    Who cancelled was promised that nothing is left.  One that failed is another matter: what
    its engine made late is what was asked for, so it is taken for the container.
    """
    if row.status != states.ERROR or row.engine_id is not None:
        return False
    action = actions.creation(conn, row.uuid, _CREATING)
    return action is not None and action.status == states.CANCELLED


class Unowned:
    """The orphans and strays of one bay.

    ``fence()`` raises Fenced when the bay is not ours to watch any more.
    """

    def __init__(self, db, conf, deployment, fence, clock):
        self._db = db
        self._grace = conf.conductor.orphan_grace
        self._keys = secrets.Keys(conf)
        self._deployment = deployment
        self._fence = fence
        self._clock = clock
        self.engine_id = None         # the engine's own, as last seen
        self._orphans = {}            # engine id: (Listed, when it may go)
        self._told = set()            # engine ids of strays that are recorded
        self.unclear = {}             # engine id: Listed, of what could not be judged yet

    def due(self):
        """When the next orphan may go; None when there is none."""
        return min((when for _, when in self._orphans.values()), default=None)

    def is_orphan(self, engine_id):
        return engine_id in self._orphans

    def consider(self, bay, entry):
        """Look at what the engine has and no live container was found for.

        Returns whether it belongs to a live container after all.
        """
        with self._db.read() as conn:
            verdict, row = judge(conn, entry, bay, self.engine_id)
        self.unclear.pop(entry.engine_id, None)
        if verdict == WAIT:
            self.unclear[entry.engine_id] = entry
        if verdict != ORPHAN:
            self._orphans.pop(entry.engine_id, None)
        elif entry.engine_id not in self._orphans:
            LOG.info('Orphan %s on bay %s is removed in %d s', entry.name, bay.name, self._grace)
            self._orphans[entry.engine_id] = (entry, self._clock() + self._grace)
        if verdict in strays.REASONS and entry.engine_id not in self._told:
            self._tell(bay, entry, verdict)
        return verdict == LIVE

    def _tell(self, bay, entry, reason):
        values = {'bay_uuid': bay.uuid, 'engine_id': entry.engine_id, 'name': entry.name,
                  'container_uuid': entry.uuid and entry.uuid[:64],
                  'generation': entry.generation, 'status': entry.status, 'reason': reason}

        def unit(conn):
            strays.insert(conn, values)
            strays.count(conn, bay.uuid)
            events.insert(conn, events.STRAY_FOUND, bay_uuid=bay.uuid, engine_id=entry.engine_id,
                          name=entry.name, reason=reason)

        try:
            self._db.transact(unit, run_again)
            LOG.warning('Stray on bay %s: %s (%s): %s', bay.name, entry.name, entry.engine_id,
                        strays.REASONS[reason])
        except db_exc.DBDuplicateEntry:
            pass                      # told by whoever watched before
        self._told.add(entry.engine_id)

    def remove_due(self, bay, driver):
        """Remove the orphans whose grace is over."""
        for entry, when in list(self._orphans.values()):
            if when > self._clock():
                continue
            with self._db.read() as conn:
                verdict, row = judge(conn, entry, bay, self.engine_id)
            if verdict == ORPHAN:
                self._remove(bay, driver, entry, row)
            if verdict == WAIT:
                self._orphans[entry.engine_id] = (entry, self._clock() + 1)
            else:
                del self._orphans[entry.engine_id]

    def _remove(self, bay, driver, entry, row):
        attempt = base.Attempt()
        attempt.gate = self._fence
        if not driver.remove(attempt, self._deployment, entry.engine_id, entry.name):
            return
        LOG.warning('Removed orphan %s from bay %s', entry.name, bay.name)
        uuid = lifecycle.new_uuid()

        def unit(conn):
            events.insert(
                conn, events.ORPHAN_REMOVED, uuid=uuid, bay_uuid=bay.uuid,
                project_id=row.project_id, container_uuid=row.uuid, engine_id=entry.engine_id,
                generation=entry.generation)
            audit.record(
                conn, None, 'orphan:remove',
                audit.Target('container', row.uuid, row.name, row.project_id),
                bay_uuid=bay.uuid, engine_id=entry.engine_id)

        self._db.transact(unit, lambda conn: events.find(conn, uuid) and True)

    # Strays

    def settle(self, bay, driver):
        """Do what administrators want of strays, and forget those that are gone."""
        with self._db.read() as conn:
            rows = strays.of_bay(conn, bay.uuid)
        for row in rows:
            try:
                self._settle(bay, driver, row)
            except exceptions.SecretsUnavailable as exc:
                # Of this one alone: others go on, and keys are for an administrator to mend.
                self._refuse(bay, row, exc)
            except (exceptions.EngineUnreachable, exceptions.Fenced, exceptions.Unavailable):
                raise                 # it stays wanted
            except exceptions.Error as exc:
                self._refuse(bay, row, exc)

    def _refuse(self, bay, row, exc):
        """Say why what was wanted of a stray is not done; it is not tried again."""
        def unit(conn):
            # Not where it was settled, or something else was wanted of it, meanwhile.
            if strays.update(conn, row.uuid, {'wanted': None, 'error': exc.detail},
                             strays.table.c.wanted == row.wanted) and row.wanted is not None:
                audit.settled(conn, row, row.wanted, _target(bay, row), exc.code)

        self._db.transact(unit, run_again)

    def _settle(self, bay, driver, row):
        found = driver.describe(self._deployment, row.engine_id)
        if found is None:
            # Gone is what a removal is for.
            self._forget(bay, row, code=exceptions.NotFound.code
                         if row.wanted == strays.ADOPT else None)
        elif row.wanted == strays.REMOVE:
            attempt = base.Attempt()
            attempt.gate = self._fence
            driver.remove(attempt, self._deployment, row.engine_id, found.listed.name)
            self._forget(bay, row, events.STRAY_REMOVED)
        elif row.wanted == strays.ADOPT:
            self._adopt(row, found)
        else:
            self._correct(bay, row, found)

    def _forget(self, bay, row, kind=None, code=None):
        def unit(conn):
            there = strays.delete(conn, row.uuid)
            if there and kind is not None:
                events.insert(conn, kind, bay_uuid=bay.uuid, engine_id=row.engine_id,
                              name=row.name)
            if there and row.wanted is not None:
                audit.settled(conn, row, row.wanted, _target(bay, row), code)
            strays.count(conn, bay.uuid)

        self._db.transact(unit, run_again)
        self._told.discard(row.engine_id)

    def _correct(self, bay, row, found):
        """What it is now; it may have become, or always been, a container of the database."""
        with self._db.read() as conn:
            verdict, _ = judge(conn, found.listed, bay, self.engine_id)
        if verdict in (LIVE, ORPHAN):
            self._forget(bay, row)
            return
        now = {'name': found.listed.name, 'status': found.listed.status, 'image': found.image,
               'reason': verdict if verdict in strays.REASONS else row.reason}
        if any(getattr(row, name) != value for name, value in now.items()):
            self._db.transact(lambda conn: strays.update(conn, row.uuid, now),
                              run_again)

    def _adopt(self, row, found):
        if not idents.is_uuid(row.container_uuid or '') or row.generation is None:
            raise exceptions.Conflict(
                'It cannot be adopted: its labels name no container. Remove it, or make a '
                'container of its image.')
        if found.powers:
            # Its next generation would be made without, and until then a tenant would have it.
            raise exceptions.Conflict(
                f'It cannot be adopted: it has more than what is made here '
                f'({", ".join(found.powers)}). Remove it, or make a container of its image.')
        name = _proper_name(found.labels.get(base.LABEL_NAME), row.container_uuid)
        wanted_by = row.wanted_by or {}
        confided = found.secret and {
            'secret_environment': secrets.seal_value(self._keys, found.secret)}
        for candidate in (name, f'{name[:240]}-{row.container_uuid[:8]}'):
            try:
                lifecycle.adopt(self._db, row, found, candidate, wanted_by.get('project_id'),
                                wanted_by.get('user_id'), confided)
            except exceptions.NameTaken:
                if candidate != name:
                    raise
            else:
                break
        self._told.discard(row.engine_id)
        LOG.info('Adopted %s as container %s', found.listed.name, row.container_uuid)


def _target(bay, row):
    return audit.Target('stray', row.container_uuid, row.name, bay.project_id)


def _proper_name(text, uuid):
    """A name that a container may have."""
    if text and re.fullmatch(r'[A-Za-z0-9][A-Za-z0-9_.-]{1,254}', text) \
            and not idents.is_uuid(text):
        return text
    return f'adopted-{uuid[:8]}'
