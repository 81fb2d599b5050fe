# SPDX-License-Identifier: Apache-2.0
"""Statements on bays."""

import functools

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import idents
from container_service.db import paging
from container_service.db import statements
from container_service.db.base import now
from container_service.db.models import bays as table
from container_service.db.models import containers

# The label of a bay that says in which zone it is, and the zone of those without one.
ZONE_LABEL, DEFAULT_ZONE = 'availability_zone', 'nova'


def _visible(project_id):
    if project_id is None:
        return sa.true()
    return sa.or_(table.c.project_id == project_id, table.c.public.is_(sa.true()))


def _ident(ident):
    return (table.c.uuid if idents.is_uuid(ident) else table.c.name) == ident


@functools.cache
def _find(by_uuid, in_project, share):
    query = sa.select(table, now().label('db_now')).where(
        (table.c.uuid if by_uuid else table.c.name) == sa.bindparam('ident'))
    if in_project:
        query = query.where(_visible(sa.bindparam('project')))
    return query.with_for_update(read=True) if share else query


def get(conn, ident, project_id, share=False):
    """The bay with that uuid or name that the project may use.  Raises BayNotFound.

    ``share`` keeps it from being deleted until the transaction ends.
    """
    row = conn.execute(
        _find(idents.is_uuid(ident), project_id is not None, share),
        {'ident': ident} if project_id is None else {'ident': ident, 'project': project_id}
    ).first()
    if row is None:
        raise exceptions.BayNotFound(bay=ident)
    return row


def only(conn, project_id):
    """The bay of a request that names none.  Raises BayRequired unless there is just one."""
    rows = conn.execute(
        sa.select(table, now().label('db_now')).where(_visible(project_id))
        .order_by(table.c.id).limit(20).with_for_update(read=True)).all()
    if not rows:
        raise exceptions.BayRequired(
            'There is no bay to place a container on. An administrator must create one.')
    if len(rows) > 1:
        raise exceptions.BayRequired(bays=', '.join(row.name for row in rows))
    return rows[0]


def place(conn, project_id, bay=None, host=None, zone=None, labels=None):
    """The bay of a request: the one it names, or one of those that it describes.

    ``host`` is a bay by name or uuid, ``zone`` its availability zone, ``labels`` labels that it
    must have.  Of several that fit, one that answers, with the fewest containers.  Kept from
    being deleted until the transaction ends.  Raises BayNotFound, BayRequired, NoBayFits.
    """
    if bay:
        return get(conn, bay, project_id, share=True)
    if not (host or zone or labels):
        return only(conn, project_id)
    live = sa.select(sa.func.count()).select_from(containers).where(
        containers.c.bay_uuid == table.c.uuid, containers.c.deleted_at.is_(None))
    rows = conn.execute(sa.select(table, live.scalar_subquery().label('load'))
                        .where(_visible(project_id))).all()
    fit = [row for row in rows if _fits(row, host, zone, labels or {})]
    if not fit:
        raise exceptions.NoBayFits(wanted=', '.join(
            f'{name} {value}' for name, value in (
                ('host', host), ('availability_zone', zone), ('hints', labels)) if value))
    best = min(fit, key=lambda row: (row.health_status == 'UNHEALTHY', row.load, row.id))
    return get(conn, best.uuid, project_id, share=True)


def zone_of(row):
    return (row.labels or {}).get(ZONE_LABEL) or DEFAULT_ZONE


def _fits(row, host, zone, labels):
    own = row.labels or {}
    return (host in (None, row.name, row.uuid) and zone in (None, zone_of(row))
            and all(own.get(name) == value for name, value in labels.items()))


def find(conn, uuid):
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


def lock(conn, ident):
    row = conn.execute(sa.select(table).where(_ident(ident)).with_for_update()).first()
    if row is None:
        raise exceptions.BayNotFound(bay=ident)
    return row


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
    conn.execute(table.delete().where(table.c.uuid == uuid))


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
