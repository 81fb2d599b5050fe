# SPDX-License-Identifier: Apache-2.0
"""Statements on conductors and their leases.  All times are the database's."""

import sqlalchemy as sa

from container_service import states
from container_service.db.base import now
from container_service.db.models import actions
from container_service.db.models import conductors as table
from container_service.db.models import pulls

UP, DRAINING, GONE = 'up', 'draining', 'gone'

# What an administrator says of a conductor, whatever its incarnation.
SAID = ('disabled', 'disabled_reason', 'forced_down')


def insert(conn, lease, values):
    conn.execute(table.insert().values(**{
        'state': UP, 'started_at': now(), 'heartbeat_at': now(), 'lease_until': now(lease),
        **values}))


def register(conn, lease, values):
    """Insert an incarnation; what was said of the server before holds for it too."""
    c = table.c
    # Locked: what is said at this moment is said before or after, and not lost in between.
    said = conn.execute(
        sa.select(*(c[name] for name in SAID)).where(c.server == values['server'])
        .order_by(c.id.desc()).limit(1).with_for_update()).first()
    insert(conn, lease, {**(said._mapping if said else {}), **values})


def find(conn, uuid):
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


def is_up(conn, uuid):
    """Whether an incarnation is there and nobody has declared it dead."""
    row = find(conn, uuid)
    return row is not None and row.state != GONE


def renew(conn, uuid, lease, values):
    """Extend a lease; returns the row as it is then, None when it was declared dead."""
    renewed = conn.execute(
        table.update().where(table.c.uuid == uuid, table.c.state != GONE)
        .values(lease_until=now(lease), heartbeat_at=now(),
                heartbeats=table.c.heartbeats + 1, **values)).rowcount == 1
    return find(conn, uuid) if renewed else None


def set_state(conn, uuid, state):
    """What a conductor says of itself.  Of one that has ended in order there is no pid."""
    ended = {'pid': None} if state == GONE else {}
    conn.execute(table.update().where(table.c.uuid == uuid, table.c.state != GONE)
                 .values(state=state, **ended))


def declare_dead(conn, uuid, *where):
    """Mark a conductor gone where the conditions hold: its work may be taken over.

    What it was running is counted in the same transaction, before anybody takes a part of it:
    a death counts against an action only when that was all there was.  Returns whether it was
    this call that marked it.
    """
    if not conn.execute(table.update().where(table.c.uuid == uuid, table.c.state != GONE, *where)
                        .values(state=GONE)).rowcount:
        return False
    running = sum(conn.execute(
        sa.select(sa.func.count()).select_from(work)
        .where(work.c.conductor_uuid == uuid, work.c.status.in_(states.CLAIMED))).scalar_one()
        for work in (actions, pulls))
    conn.execute(table.update().where(table.c.uuid == uuid).values(in_flight=running))
    return True


def declare_silent(conn, uuid, heartbeats):
    """As ``declare_dead``, unless it has renewed its lease since that counter was read."""
    return declare_dead(conn, uuid, table.c.heartbeats == heartbeats)


_HEARTBEATS = sa.select(
    *(table.c[name] for name in ('uuid', 'server', 'host', 'slot', 'boot_id', 'heartbeats',
                                 'heartbeat_at', 'lease_until'))).where(table.c.state != GONE)


def heartbeats(conn):
    """What tells whether conductors live, of all that are not known to be gone."""
    return conn.execute(_HEARTBEATS).all()


def live(conn):
    """Those that take work and have a lease, by server name."""
    c = table.c
    return conn.execute(
        sa.select(table).where(c.state == UP, c.lease_until > now(), c.disabled == 0,
                               c.forced_down == 0)
        .order_by(c.server)).all()


def purge(conn, older_than):
    """Forget the dead after a while; their names stay on the actions they ran.

    The newest of a server stays as long as an administrator's word on it holds.
    """
    c, latest = table.c, sa.func.max(table.c.id)
    kept = conn.execute(sa.select(latest).group_by(c.server)).scalars().all()
    conn.execute(table.delete().where(
        c.lease_until < now(-older_than), c.state == GONE,
        sa.or_(c.id.not_in(kept), sa.and_(c.disabled == 0, c.forced_down == 0))))


# What an administrator says of them, and how they are.  It is said of a server name, not of an
# incarnation: a restarted conductor inherits it from the newest row of its name.

# One that has ended in order is of no interest any more, unless something was said of it; one
# that was lost is.
_LISTED = sa.or_(table.c.state != GONE, table.c.pid.is_not(None), table.c.disabled == 1,
                 table.c.forced_down == 1)


def newest(conn, *where):
    """The newest incarnation of each server, with ``running`` actions and ``db_now``.

    What runs is counted: as of the last heartbeat may be seconds ago, too old for whoever waits
    for a conductor to be idle.
    """
    latest = sa.select(sa.func.max(table.c.id)).group_by(table.c.server)
    running = sa.select(sa.func.count()).select_from(actions).where(
        actions.c.conductor_uuid == table.c.uuid,
        actions.c.status.in_(states.CLAIMED)).scalar_subquery()
    return conn.execute(
        sa.select(table, running.label('running'), now().label('db_now'),
                  _LISTED.label('is_listed'))
        .where(table.c.id.in_(latest), *where)
        .order_by(table.c.host, table.c.slot, table.c.server)).all()


def listing(conn):
    """As ``newest``, of servers that are of interest."""
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
