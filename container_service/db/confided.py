# SPDX-License-Identifier: Apache-2.0
"""Statements on what containers and actions were given to keep to themselves.

Apart from their rows, so that no list reads it and it can be forgotten by itself; encrypted by
``secrets.py`` before it comes here.
"""

import sqlalchemy as sa

from container_service.db.models import confided as table


def insert(conn, owner_uuid, tokens):
    """Keep ``tokens``, {name: encrypted text}, for an owner."""
    for name, token in (tokens or {}).items():
        conn.execute(table.insert().values(owner_uuid=owner_uuid, name=name, token=token))


def of(conn, owner_uuid):
    """{name: encrypted text} of an owner."""
    return {row.name: row.token for row in conn.execute(
        sa.select(table.c.name, table.c.token).where(table.c.owner_uuid == owner_uuid))}


def delete(conn, owner_uuids):
    """Forget what these owners have."""
    conn.execute(table.delete().where(table.c.owner_uuid.in_(owner_uuids)))
