# SPDX-License-Identifier: Apache-2.0
"""Statements on bays."""

import functools

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import idents
from container_service.db import paging
from container_service.db import statements
from container_service.db.base import now
from container_service.db.models import bay_shares as shares
from container_service.db.models import bays as table
from container_service.db.models import containers

# The label of a bay that says in which zone it is, and the zone of those without one.
ZONE_LABEL, DEFAULT_ZONE = 'availability_zone', 'nova'

# How a row can be locked.
SHARE, CHANGE = 'share', 'change'

# As many bays are named in an error.
_SHOWN = 20


def _shared(project_id):
    return sa.exists().where(shares.c.bay_uuid == table.c.uuid, shares.c.project_id == project_id)


def _visible(project_id):
    """Those that a project may use: its own, shared ones, public ones; all where it is None."""
    if project_id is None:
        return sa.true()
    return sa.or_(table.c.project_id == project_id, table.c.public.is_(sa.true()),
                  _shared(project_id))


@functools.cache
def _find(in_project, lock):
    """``lock``: the arguments of FOR UPDATE; None for a query that locks nothing."""
    query = sa.select(table, now().label('db_now')).where(table.c.uuid == sa.bindparam('ident'))
    if in_project:
        query = query.where(_visible(sa.bindparam('project')))
    return query if lock is None else query.with_for_update(read=lock == SHARE)


@functools.cache
def _of_name(in_project):
    """Uuids of bays of a name, the nearest first, and how near they are."""
    rank, visible = sa.literal(0), sa.true()
    if in_project:
        project = sa.bindparam('project')
        rank = sa.case((table.c.project_id == project, 0), (_shared(project), 1), else_=2)
        visible = _visible(project)
    return (sa.select(table.c.uuid, rank.label('rank'))
            .where(table.c.name == sa.bindparam('ident'), visible)
            .order_by(sa.literal_column('rank'), table.c.id).limit(_SHOWN))


def _params(ident, project_id):
    return {'ident': ident} if project_id is None else {'ident': ident, 'project': project_id}


def _uuid(conn, ident, project_id):
    """What a uuid or name stands for; None for a name that nothing has."""
    if idents.is_uuid(ident):
        return ident
    # Without a lock: one would hold up what others do with bays of the same name.
    rows = conn.execute(_of_name(project_id is not None), _params(ident, project_id)).all()
    nearest = [row.uuid for row in rows if row.rank == rows[0].rank]
    if len(nearest) > 1:
        raise exceptions.AmbiguousName(kind='bay', name=ident, uuids=', '.join(nearest))
    return nearest[0] if nearest else None


def get(conn, ident, project_id, lock=None):
    """The bay with that uuid or name that the project may use.

    A name is that of its own bay before that of one shared with it before that of a public one.
    ``lock`` SHARE keeps it from being deleted until the transaction ends, CHANGE from being
    changed too.  Raises BayNotFound, and AmbiguousName where several are meant as much.
    """
    row = conn.execute(_find(project_id is not None, lock),
                       _params(_uuid(conn, ident, project_id), project_id)).first()
    if row is None:
        raise exceptions.BayNotFound(bay=ident)
    return row


def only(conn, project_id):
    """The bay of a request that names none.  Raises BayRequired unless there is just one."""
    rows = conn.execute(
        sa.select(table, now().label('db_now')).where(_visible(project_id))
        .order_by(table.c.id).limit(_SHOWN).with_for_update(read=True)).all()
    if not rows:
        raise exceptions.BayRequired(
            'There is no bay to place a container on. An administrator must create one.')
    if len(rows) > 1:
        names = [row.name for row in rows]
        raise exceptions.BayRequired(bays=', '.join(
            row.name if names.count(row.name) == 1 else row.uuid for row in rows))
    return rows[0]


def place(conn, project_id, bay=None, host=None, zone=None, labels=None):
    """The bay of a request: the one it names, or one of those that it describes.

    ``host`` is a bay by name or uuid, ``zone`` its availability zone, ``labels`` labels that it
    must have.  Of several that fit, one that answers, with the fewest containers.  Kept from
    being deleted until the transaction ends.  Raises BayNotFound, BayRequired, NoBayFits,
    AmbiguousName.
    """
    if bay:
        return get(conn, bay, project_id, SHARE)
    if not (host or zone or labels):
        return only(conn, project_id)
    live = sa.select(sa.func.count()).select_from(containers).where(
        containers.c.bay_uuid == table.c.uuid, containers.c.deleted_at.is_(None))
    here = table.c.uuid == _uuid(conn, host, project_id) if host else sa.true()
    rows = conn.execute(sa.select(table, live.scalar_subquery().label('load'))
                        .where(_visible(project_id), here)).all()
    fit = [row for row in rows if _fits(row, zone, labels or {})]
    if not fit:
        raise exceptions.NoBayFits(wanted=', '.join(
            f'{name} {value}' for name, value in (
                ('host', host), ('availability_zone', zone), ('hints', labels)) if value))
    best = min(fit, key=lambda row: (row.health_status == 'UNHEALTHY', row.load, row.id))
    return get(conn, best.uuid, project_id, SHARE)


def zone_of(row):
    return (row.labels or {}).get(ZONE_LABEL) or DEFAULT_ZONE


def _fits(row, zone, labels):
    own = row.labels or {}
    return zone in (None, zone_of(row)) and all(
        own.get(name) == value for name, value in labels.items())


def find(conn, uuid):
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


_ALL_ROWS = sa.select(table).order_by(table.c.id)


def all_rows(conn):
    return conn.execute(_ALL_ROWS).all()


def visible(conn, project_id):
    """All bays that a project may use."""
    return conn.execute(sa.select(table).where(_visible(project_id)).order_by(table.c.id)).all()


def listing(conn, *, project_id=None, page=None, labels=()):
    """One page of bays.  ``labels`` is pairs of (name, value or None for any)."""
    visible = _visible(project_id)
    query = sa.select(table).where(visible, *(
        statements.has_entry(table.c.labels, name, value) for name, value in labels))
    return paging.fetch(conn, table, query, page, [visible])


def insert(conn, values):
    conn.execute(table.insert().values(
        created_at=now(), updated_at=now(), reconcile_at=now(), **values))


def update(conn, uuid, values):
    conn.execute(table.update().where(table.c.uuid == uuid).values(**values))


def delete(conn, uuid):
    share(conn, uuid, ())
    conn.execute(table.delete().where(table.c.uuid == uuid))


def share(conn, uuid, project_ids):
    """Share a bay with these projects, and with no others."""
    conn.execute(shares.delete().where(shares.c.bay_uuid == uuid))
    if project_ids:
        conn.execute(shares.insert(), [
            {'bay_uuid': uuid, 'project_id': project_id} for project_id in project_ids])


def shared_with(conn, uuids):
    """The projects that bays are shared with, as {uuid: [project ids]}."""
    found = {uuid: [] for uuid in uuids}
    for row in conn.execute(sa.select(shares).where(shares.c.bay_uuid.in_(found))
                            .order_by(shares.c.project_id)):
        found[row.bay_uuid].append(row.project_id)
    return found


def take_watch(conn, uuid, before, incarnation):
    """Watch a bay in place of ``before`` (None: nobody); False when another was faster."""
    return conn.execute(
        table.update().where(table.c.uuid == uuid, table.c.watcher_uuid.is_(None)
                             if before is None else table.c.watcher_uuid == before)
        .values(watcher_uuid=incarnation)).rowcount == 1


def leave_watch(conn, incarnation):
    """Let others watch what this incarnation watches."""
    conn.execute(table.update().where(table.c.watcher_uuid == incarnation)
                 .values(watcher_uuid=None))


def is_watched_by(conn, uuid, incarnation):
    return conn.execute(sa.select(table.c.id).where(
        table.c.uuid == uuid, table.c.watcher_uuid == incarnation)).first() is not None


def watched(conn, uuid, incarnation, values):
    """Write what the watcher of a bay has seen; False when it does not watch it any more."""
    return conn.execute(table.update().where(
        table.c.uuid == uuid, table.c.watcher_uuid == incarnation).values(**values)).rowcount == 1
