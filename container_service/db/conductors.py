# SPDX-License-Identifier: Apache-2.0
"""Statements on conductors and their leases.  All times are the database's."""

import sqlalchemy as sa

from container_service.db.base import now
from container_service.db.models import conductors as table

UP, DRAINING, GONE = 'up', 'draining', 'gone'


def insert(conn, lease, values):
    conn.execute(table.insert().values(
        state=UP, started_at=now(), heartbeat_at=now(), lease_until=now(lease), **values))


def renew(conn, uuid, lease, values):
    """Extend a lease that has not lapsed; False when it has."""
    return conn.execute(
        table.update().where(table.c.uuid == uuid, table.c.lease_until > now(),
                             table.c.state != GONE)
        .values(lease_until=now(lease), heartbeat_at=now(),
                heartbeats=table.c.heartbeats + 1, **values)).rowcount == 1


def end(conn, *where):
    """Mark conductors gone: their work may be taken over at once."""
    return conn.execute(table.update().where(table.c.state != GONE, *where)
                        .values(state=GONE)).rowcount


def end_predecessors(conn, host, slot, boot_id):
    """Whoever holds this slot's lock file knows that earlier holders on this boot are dead."""
    return end(conn, table.c.host == host, table.c.slot == slot, table.c.boot_id == boot_id)


def live(conn):
    """Those with a lease, by server name."""
    return conn.execute(
        sa.select(table).where(table.c.state == UP, table.c.lease_until > now())
        .order_by(table.c.server)).all()


def listing(conn):
    """Every conductor that is not known to be gone, and ``db_now``."""
    return conn.execute(
        sa.select(table, now().label('db_now')).where(table.c.state != GONE)
        .order_by(table.c.server, table.c.id)).all()


def purge(conn, older_than):
    """Forget the dead after a while; their names stay on the actions they ran."""
    conn.execute(table.delete().where(
        table.c.lease_until < now(-older_than),
        sa.or_(table.c.state == GONE, table.c.lease_until < now())))


# What an administrator says of them, and who asks how they are.

def find(conn, uuid):
    """One incarnation, or None."""
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()
