# SPDX-License-Identifier: Apache-2.0
"""Statements on the audit trail: rows are added, read and, when they are old, taken away.

There is none that changes a row, and there must never be one.
"""

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import audit as table

SORT_KEYS = ('id', 'created_at')

# With the time of the database, as that of all else.
_INSERT = table.insert().values(created_at=now())
_COLUMNS = [name for name in table.c.keys() if name not in ('id', 'created_at')]


def insert(conn, rows):
    """Add rows to the trail, by one statement; part of the transaction of what they are about."""
    conn.execute(_INSERT, [{name: row.get(name) for name in _COLUMNS} for row in rows])


def begun(conn, action_uuid, target_uuid, outcome):
    """What is in the trail of the beginning of something, oldest first."""
    return conn.execute(sa.select(table).where(
        table.c.action_uuid == action_uuid, table.c.target_uuid == target_uuid,
        table.c.outcome == outcome).order_by(table.c.id)).all()


def get(conn, uuid, project_id):
    """One row.  Raises NotFound; a None project finds any project's."""
    row = conn.execute(sa.select(table).where(
        table.c.uuid == uuid, *_visible(project_id))).first()
    if row is None:
        raise exceptions.NotFound(f'There is no entry {ascii(uuid)} in the audit trail.')
    return row


def listing(conn, *, project_id=None, filters=None, since=None, until=None, page=None):
    """One page of the trail of a project; a None project means those of all, and of none.

    From ``since`` on and before ``until``.
    """
    visible = _visible(project_id)
    query = sa.select(table).where(*visible)
    for name, value in (filters or {}).items():
        query = query.where(table.c[name] == value)
    if since is not None:
        query = query.where(table.c.created_at >= since)
    if until is not None:
        query = query.where(table.c.created_at < until)
    return paging.fetch(conn, table, query, page, visible)


def _visible(project_id):
    return [] if project_id is None else [table.c.project_id == project_id]


def purge(conn, seconds, limit=1000):
    """Forget what is older than that."""
    old = conn.execute(sa.select(table.c.id).where(
        table.c.created_at < now(-seconds)).limit(limit)).scalars().all()
    if old:
        conn.execute(table.delete().where(table.c.id.in_(old)))
    return len(old)
