# SPDX-License-Identifier: Apache-2.0
"""Statements on tickets: that an API has accepted a blocking call, once."""

import sqlalchemy as sa

from container_service.db.base import now
from container_service.db.models import tickets as table


def insert(conn, uuid, digest, seconds):
    conn.execute(table.insert().values(uuid=uuid, digest=digest, valid_until=now(seconds)))


def exists(conn, uuid):
    return conn.execute(sa.select(table.c.uuid).where(table.c.uuid == uuid)).first() is not None


def redeem(conn, uuid, digest):
    """Whether there was such a ticket, and it was valid.  It is gone afterwards."""
    return bool(conn.execute(table.delete().where(
        table.c.uuid == uuid, table.c.digest == digest, table.c.valid_until > now())).rowcount)


def delete(conn, uuid):
    conn.execute(table.delete().where(table.c.uuid == uuid))


def purge(conn):
    """Forget those that nobody redeemed."""
    conn.execute(table.delete().where(table.c.valid_until < now()))
