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


def purge(conn, older_than):
    """Forget the dead after a while; their names stay on the actions they ran."""
    conn.execute(table.delete().where(
        table.c.lease_until < now(-older_than),
        sa.or_(table.c.state == GONE, table.c.lease_until < now())))


# What an administrator says of them, and how they are.  It is said of a server name, not of an
# incarnation: a restarted conductor inherits it from the newest row of its name.

# One that has ended is of no interest any more, unless something was said of it.
_LISTED = sa.or_(table.c.state != GONE, table.c.disabled == 1, table.c.forced_down == 1)


def find(conn, uuid):
    """One incarnation, or None."""
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


def newest(conn, *where):
    """The newest incarnation of each server, and ``db_now``."""
    latest = sa.select(sa.func.max(table.c.id)).group_by(table.c.server)
    return conn.execute(
        sa.select(table, now().label('db_now'), _LISTED.label('is_listed'))
        .where(table.c.id.in_(latest), *where)
        .order_by(table.c.host, table.c.slot, table.c.server)).all()


def listing(conn):
    """The newest incarnation of each server that is of interest, and ``db_now``."""
    return newest(conn, _LISTED)


def lock(conn, *where):
    """Hold off whoever is about to register, or to say something, under these names."""
    conn.execute(sa.select(table.c.id).where(*where).order_by(table.c.id)
                 .with_for_update()).all()


def say(conn, servers, *where, **values):
    """Write what was said of servers to all their rows, or to those that match."""
    conn.execute(table.update().where(table.c.server.in_(servers), *where).values(**values))


def forget(conn, servers):
    conn.execute(table.delete().where(table.c.server.in_(servers)))
