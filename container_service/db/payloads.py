# SPDX-License-Identifier: Apache-2.0
"""Statements on payloads: bytes that belong to an action or a container, kept apart from it."""

import sqlalchemy as sa

from container_service.db.models import payloads as table


def insert(conn, owner_uuid, data):
    """Keep ``data``, {name: bytes}, for an owner."""
    if data:
        conn.execute(table.insert(), [
            {'owner_uuid': owner_uuid, 'name': name, 'data': content}
            for name, content in data.items()])


def of(conn, owner_uuid):
    """{name: bytes} of an owner."""
    rows = conn.execute(sa.select(table.c.name, table.c.data)
                        .where(table.c.owner_uuid == owner_uuid))
    return {row.name: row.data for row in rows}


def delete(conn, owner_uuids):
    """Forget what these owners have."""
    conn.execute(table.delete().where(table.c.owner_uuid.in_(owner_uuids)))
