# SPDX-License-Identifier: Apache-2.0
"""Statements on events: what happened that nobody had asked for."""

import uuid as uuids

import sqlalchemy as sa

from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import events as table

EXITED = 'container.exited'
CHANGED_OUTSIDE = 'container.changed_outside'
MISSING = 'container.missing'
HEALTH = 'container.health'
ORPHAN_REMOVED = 'orphan.removed'
STRAY_FOUND = 'stray.found'
STRAY_ADOPTED = 'stray.adopted'
STRAY_REMOVED = 'stray.removed'

TYPES = {
    EXITED: 'Its main process ended by itself.',
    CHANGED_OUTSIDE: 'Somebody changed it on its engine, past this service.',
    MISSING: 'It is not on its engine any more: somebody removed it there.',
    HEALTH: 'Its own health check says something else than before.',
    ORPHAN_REMOVED: 'A container that had been deleted, or whose creation had been cancelled, '
                    'was found on its engine and removed.',
    STRAY_FOUND: 'The engine has a container with our label that the database does not know.',
    STRAY_ADOPTED: 'A stray has become a container of a project.',
    STRAY_REMOVED: 'A stray was removed because an administrator asked for it.',
}


def insert(conn, kind, *, bay_uuid, uuid=None, project_id=None, container_uuid=None, **detail):
    """Record an event; without a project it is for administrators only."""
    conn.execute(table.insert().values(
        uuid=uuid or str(uuids.uuid4()), created_at=now(), type=kind, project_id=project_id,
        bay_uuid=bay_uuid, container_uuid=container_uuid, detail=detail))


def find(conn, uuid):
    return conn.execute(sa.select(table.c.id).where(table.c.uuid == uuid)).first()


def listing(conn, *, project_id=None, filters=None, page=None):
    """One page of events; a None project means those of all, and of none."""
    visible = [] if project_id is None else [table.c.project_id == project_id]
    query = sa.select(table).where(*visible)
    for name, value in (filters or {}).items():
        query = query.where(table.c[name] == value)
    return paging.fetch(conn, table, query, page, visible)


def purge(conn, seconds, limit=1000):
    """Forget events that are older than that."""
    old = conn.execute(sa.select(table.c.id).where(
        table.c.created_at < now(-seconds)).limit(limit)).scalars().all()
    if old:
        conn.execute(table.delete().where(table.c.id.in_(old)))
    return len(old)
