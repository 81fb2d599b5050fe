# SPDX-License-Identifier: Apache-2.0
"""Statements on bays."""

import functools

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import idents
from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import bays as table

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


def zone_of(row):
    return (row.labels or {}).get(ZONE_LABEL) or DEFAULT_ZONE


def listing(conn, *, project_id=None, page=None):
    visible = _visible(project_id)
    return paging.fetch(conn, table, sa.select(table).where(visible), page, [visible])


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
