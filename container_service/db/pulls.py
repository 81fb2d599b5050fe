# SPDX-License-Identifier: Apache-2.0
"""Statements on pulls: one row while any number of actions wait for an image on a bay.

Images that are given another name or removed have rows here too: what conductors do with images
is claimed, tried again and taken over in one way.

Lock order: a container first, then the image, then its pull.  What ends a pull therefore does so
in one transaction and sets the waiting containers free in the next; the sweep finishes the second
one if the conductor died between the two.
"""

import functools
import hashlib
import json

import sqlalchemy as sa

from container_service import states
from container_service.db import actions
from container_service.db import claims
from container_service.db import containers
from container_service.db.base import now
from container_service.db.models import images
from container_service.db.models import pulls as table

# The reason that a waiting action shows.
WAITING = 'shared_pull'


def join(conn, bay_uuid, image, new_uuid, registry_uuid=None):
    """Wait for the unfinished pull of this image on this bay, or begin one.  Returns its uuid.

    What is pulled with the credentials of a registry serves those alone who use it too.  Two
    that begin one at the same time: one gets oslo.db's DBDuplicateEntry, and must try again.
    """
    key = _key('pull', bay_uuid, image, registry_uuid)
    found = conn.execute(sa.select(table.c.uuid).where(
        table.c.live_key == key, table.c.cancel_requested_at.is_(None))
        .with_for_update()).first()
    if found is not None:
        return found.uuid
    # Only of one that is being cancelled: somebody may have begun one since we looked.
    conn.execute(table.update().where(
        table.c.live_key == key, table.c.cancel_requested_at.is_not(None)).values(live_key=None))
    _insert(conn, new_uuid, 'pull', bay_uuid, image, key, registry_uuid=registry_uuid)
    return new_uuid


def begin(conn, operation, bay_uuid, image, new_uuid, target=None):
    """Have something else done with an image; as ``join``.  Returns its uuid."""
    key = _key(operation, bay_uuid, image, target)
    found = conn.execute(sa.select(table.c.uuid).where(table.c.live_key == key)
                         .with_for_update()).first()
    if found is not None:
        return found.uuid
    _insert(conn, new_uuid, operation, bay_uuid, image, key, target=target)
    return new_uuid


def _key(*words):
    # As long as it may be, and no longer.
    return hashlib.sha256(json.dumps(words).encode()).hexdigest()


def _insert(conn, uuid, operation, bay_uuid, image, key, **values):
    conn.execute(table.insert().values(
        uuid=uuid, operation=operation, bay_uuid=bay_uuid, image=image, live_key=key,
        status=states.QUEUED, runnable_at=now(), created_at=now(), **values))


def find(conn, uuid):
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


def of_claim(claim_uuid):
    return sa.and_(table.c.claim_uuid == claim_uuid, table.c.status.in_(states.CLAIMED))


def update(conn, uuid, values, *where):
    return conn.execute(
        table.update().where(table.c.uuid == uuid, *where).values(**values)).rowcount == 1


def claim(conn, uuid, claim_uuid, conductor):
    """Take a queued pull; False when it is not to be had."""
    return update(conn, uuid, {
        'status': states.ACTION_RUNNING, 'claim_uuid': claim_uuid,
        'conductor_uuid': conductor.uuid, 'conductor': conductor.server, 'runnable_at': None,
        'attempts': table.c.attempts + 1, 'started_at': now(), 'progress_at': now()},
        table.c.status == states.QUEUED, table.c.runnable_at <= now())


_RUNNABLE = (sa.select(table.c.uuid)
             .where(table.c.runnable_at <= now(),
                    table.c.bay_uuid.in_(sa.bindparam('bays', expanding=True)))
             .order_by(table.c.runnable_at).limit(sa.bindparam('most', type_=sa.Integer)))


def runnable(conn, bay_uuids, limit, leave_out=()):
    found = conn.execute(_RUNNABLE, {
        'bays': list(bay_uuids), 'most': limit + len(leave_out)}).scalars()
    return [uuid for uuid in found if uuid not in leave_out][:limit]


def free_waiters(conn, uuid):
    """Let the actions that waited for an ended pull go on; returns their containers."""
    c = containers.table.c
    # Locked, in one order for all who do this, before it is asked again whether it waits: a
    # container whose action was cancelled meanwhile has nothing that could be claimed.
    waiting = _waiting_for(conn, uuid)
    conn.execute(sa.select(c.id).where(c.uuid.in_(waiting)).order_by(c.id).with_for_update())
    freed = _waiting_for(conn, uuid)
    conn.execute(containers.table.update().where(c.uuid.in_(freed)).values(runnable_at=now()))
    return freed


def _waiting_for(conn, uuid):
    a = actions.table.c
    return conn.execute(sa.select(a.resource_uuid).where(
        a.pull_uuid == uuid, a.status == states.QUEUED, a.waiting_code == WAITING)
    ).scalars().all()


def ended_but_waited_for(conn):
    """Ended pulls that an action still waits for: whoever ended them died before saying so."""
    return conn.execute(_ended_but_waited_for()).scalars().all()


@functools.cache
def _ended_but_waited_for():
    a, c = actions.table.c, containers.table.c
    return (sa.select(table.c.uuid).distinct()
            .join(actions.table, a.pull_uuid == table.c.uuid)
            .join(containers.table, c.uuid == a.resource_uuid)
            .where(table.c.status.in_(states.FINAL), a.status == states.QUEUED,
                   a.waiting_code == WAITING, c.runnable_at.is_(None),
                   c.running_action_uuid.is_(None)))


def cancel_unless_waited_for(conn, uuid):
    """Ask a pull to end when nobody waits for it any more.  Returns whether that was so."""
    # Locked by a statement of its own: who joins it at the same time is seen by the next one.
    conn.execute(sa.select(table.c.id).where(table.c.uuid == uuid).with_for_update())
    a = actions.table.c
    waited_for = sa.or_(
        sa.exists().where(
            a.pull_uuid == uuid, a.status == states.QUEUED, a.waiting_code == WAITING),
        sa.exists().where(
            images.c.pull_uuid == uuid, images.c.status == 'Pulling', images.c.asked_for == 1))
    dropped = update(conn, uuid, {
        'status': states.CANCELLED, 'cancel_requested_at': now(), 'runnable_at': None,
        'live_key': None, 'finished_at': now()}, table.c.status == states.QUEUED, ~waited_for)
    return dropped or update(
        conn, uuid, {'cancel_requested_at': now(), 'status': states.CANCELLING},
        table.c.status == states.ACTION_RUNNING, ~waited_for)


abandoned = functools.partial(claims.abandoned, table)
cancelling = functools.partial(claims.cancelling, table)
of_conductor = functools.partial(claims.of_conductor, table)


def release(conn, row, delay=0):
    """Queue an abandoned pull again, or end it when nobody wants it any more."""
    if row.status == states.CANCELLING:
        return update(conn, row.uuid, {
            'status': states.CANCELLED, 'live_key': None, 'finished_at': now()},
            of_claim(row.claim_uuid))
    return update(conn, row.uuid, {
        'status': states.QUEUED, 'claim_uuid': None, 'runnable_at': now(delay),
        'progress': None}, of_claim(row.claim_uuid))


def purge(conn, seconds):
    conn.execute(table.delete().where(table.c.finished_at < now(-seconds)))


def forget_bay(conn, bay_uuid):
    """What was still to be done on a bay that is deleted."""
    conn.execute(table.delete().where(
        table.c.bay_uuid == bay_uuid, table.c.status.in_(states.UNFINISHED)))
