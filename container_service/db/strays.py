# SPDX-License-Identifier: Apache-2.0
"""Statements on strays: what an engine has with our label and the database does not know."""

import uuid as uuids

import sqlalchemy as sa

from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import bays
from container_service.db.models import strays as table

ADOPT, REMOVE = 'adopt', 'remove'

# Why the database does not take it for a container it knows.
UNKNOWN = 'unknown'        # no container has or had its uuid
MISNAMED = 'misnamed'      # its label is ours and its name is not
TOO_NEW = 'too_new'        # of a later generation than the database knows
ELSEWHERE = 'elsewhere'    # its container is on another bay

REASONS = {
    UNKNOWN: 'No container has, or lately had, its uuid.',
    MISNAMED: 'It carries the labels of a container, but not its name on the engine.',
    TOO_NEW: 'The database knows only an earlier generation of its container.',
    ELSEWHERE: 'The container that it says it is, is on another bay.',
}


def insert(conn, values):
    """Raises DBDuplicateEntry for one that is known."""
    conn.execute(table.insert().values(uuid=str(uuids.uuid4()), created_at=now(), **values))


def of_bay(conn, bay_uuid):
    return conn.execute(sa.select(table).where(table.c.bay_uuid == bay_uuid)
                        .order_by(table.c.id)).all()


def listing(conn, bay_uuid, page):
    here = [table.c.bay_uuid == bay_uuid]
    return paging.fetch(conn, table, sa.select(table).where(*here), page, here)


def update(conn, uuid, values, *where):
    """Returns whether it is still there."""
    return conn.execute(
        table.update().where(table.c.uuid == uuid, *where).values(**values)).rowcount == 1


def want(conn, bay_uuid, engine_ids, wanted, wanted_by):
    """Say what is to become of strays, and who says so."""
    conn.execute(table.update().where(
        table.c.bay_uuid == bay_uuid, table.c.engine_id.in_(engine_ids))
        .values(wanted=wanted, wanted_by=wanted_by, error=None))


def delete(conn, uuid):
    """Returns whether it was there."""
    return conn.execute(table.delete().where(table.c.uuid == uuid)).rowcount == 1


def forget_bay(conn, bay_uuid):
    conn.execute(table.delete().where(table.c.bay_uuid == bay_uuid))


def count(conn, bay_uuid):
    """Write on the bay how many it has."""
    number = sa.select(sa.func.count()).select_from(table).where(
        table.c.bay_uuid == bay_uuid).scalar_subquery()
    conn.execute(bays.update().where(bays.c.uuid == bay_uuid).values(strays=number))
