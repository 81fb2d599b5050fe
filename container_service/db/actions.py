# SPDX-License-Identifier: Apache-2.0
"""Statements on actions.  Callers pass a connection and decide what is legal."""

import sqlalchemy as sa

from container_service import exceptions
from container_service import states
from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import actions as table
from container_service.db.models import conductors


def insert(conn, values):
    conn.execute(table.insert().values(**values))


def get(conn, uuid, project_id):
    """Raises ActionNotFound; a None project finds any project's."""
    query = sa.select(table).where(table.c.uuid == uuid)
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    row = conn.execute(query).first()
    if row is None:
        raise exceptions.ActionNotFound(action=uuid)
    return row


def find(conn, *where):
    return conn.execute(sa.select(table).where(*where)).first()


def update(conn, uuid, values, *where):
    """Change an action; returns whether it matched."""
    return conn.execute(
        table.update().where(table.c.uuid == uuid, *where).values(**values)).rowcount == 1


def of_claim(claim_uuid):
    """Where clause: the action is running under this claim."""
    return sa.and_(table.c.claim_uuid == claim_uuid, table.c.status.in_(states.CLAIMED))


def unfinished(conn, resource_type, resource_uuid, limit=None):
    """The unfinished actions of one queue, oldest first."""
    query = (sa.select(table)
             .where(table.c.resource_type == resource_type,
                    table.c.resource_uuid == resource_uuid,
                    table.c.status.in_(states.UNFINISHED))
             .order_by(table.c.sequence))
    if limit:
        query = query.limit(limit)
    return conn.execute(query).all()


def listing(conn, *, project_id=None, filters=None, page=None):
    """One page of actions.  A filter whose value is a list matches any of them."""
    query = sa.select(table)
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    for name, value in (filters or {}).items():
        column = table.c[name]
        query = query.where(column.in_(value) if isinstance(value, (list, tuple, set, frozenset))
                            else column == value)
    return paging.fetch(conn, table, query, page)


def final(conn, uuids):
    """Those of the actions that have ended, as {uuid: status}.  One query for many waiters."""
    rows = conn.execute(sa.select(table.c.uuid, table.c.status).where(
        table.c.uuid.in_(uuids), table.c.status.in_(states.FINAL)))
    return {row.uuid: row.status for row in rows}


def abandoned(conn):
    """Running actions whose conductor has no lease any more."""
    c = conductors.c
    query = (sa.select(table)
             .outerjoin(conductors, table.c.conductor_uuid == c.uuid)
             .where(table.c.status.in_(states.CLAIMED),
                    sa.or_(c.uuid.is_(None), c.state == 'gone', c.lease_until <= now())))
    return conn.execute(query).all()


def of_conductor(conn, conductor_uuid):
    """What SQL says that a conductor runs."""
    return conn.execute(sa.select(table).where(
        table.c.status.in_(states.CLAIMED),
        table.c.conductor_uuid == conductor_uuid)).all()


def seconds_since(conn, time):
    """How long ago that was by the database's clock; 0 for None."""
    if time is None:
        return 0.0
    return (conn.execute(sa.select(now())).scalar_one() - time).total_seconds()
