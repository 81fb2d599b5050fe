# SPDX-License-Identifier: Apache-2.0
"""Statements on payloads: bytes that belong to an action or a container, kept apart from it."""

import sqlalchemy as sa

from container_service.db.models import payloads as table

# Servers take packets of some size only, and bytes may take twice their number there.
PIECE_BYTES = 1024 * 1024


def insert(conn, owner_uuid, data):
    """Keep ``data``, {name: bytes}, for an owner."""
    for name, content in (data or {}).items():
        for part, start in enumerate(range(0, max(len(content), 1), PIECE_BYTES)):
            # Each by itself: a client may put what is given together into one packet.
            conn.execute(table.insert().values(
                owner_uuid=owner_uuid, name=name, part=part,
                data=content[start:start + PIECE_BYTES]))


def of(conn, owner_uuid):
    """{name: bytes} of an owner."""
    pieces = {}
    for row in conn.execute(sa.select(table.c.name, table.c.data)
                            .where(table.c.owner_uuid == owner_uuid)
                            .order_by(table.c.name, table.c.part)):
        pieces.setdefault(row.name, []).append(row.data)
    return {name: b''.join(found) for name, found in pieces.items()}


def delete(conn, owner_uuids):
    """Forget what these owners have."""
    conn.execute(table.delete().where(table.c.owner_uuid.in_(owner_uuids)))
