# SPDX-License-Identifier: Apache-2.0
"""The life of a shared pull: one per image, bay and registry, however many containers wait for it.

An action whose image is absent joins the pull (``lifecycle.wait_for_pull``) and goes back to
the queue without holding a thread.  A conductor claims the pull as it claims an action, and
when it has ended the actions go on: create where it succeeded, fail where it did not.  It is
ended when the last action that waits for it is cancelled.  What else is done with images,
``images.py``, has the same life.
"""

import dataclasses

from container_service import audit
from container_service import daemon
from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.db import images
from container_service.db import pulls
from container_service.db.base import now
from container_service.db.base import run_again


@dataclasses.dataclass(frozen=True)
class Claim:
    """The right to carry out one pull."""
    uuid: str
    pull: object             # the row


def claim(db, pull_uuid, conductor):
    """Take a queued pull; None when it is not to be had."""
    claim_uuid = lifecycle.new_uuid()

    def unit(conn):
        if not pulls.claim(conn, pull_uuid, claim_uuid, conductor):
            return None
        return Claim(claim_uuid, pulls.find(conn, pull_uuid))

    return db.transact(unit, landed=lambda conn: _mine(conn, pull_uuid, claim_uuid))


def _mine(conn, pull_uuid, claim_uuid):
    row = pulls.find(conn, pull_uuid)
    return Claim(claim_uuid, row) if row and row.claim_uuid == claim_uuid else None


def progress(db, claim, progress):
    """Write how far it is.  Raises Fenced when it has been taken over."""
    if not db.transact(lambda conn: pulls.update(
            conn, claim.pull.uuid, {'progress': progress, 'progress_at': now()},
            pulls.of_claim(claim.uuid)), run_again):
        raise exceptions.Fenced(container=claim.pull.image)


def end(db, claim, status, error=None, result=None):
    """End a pull and let what waits for it go on; returns the containers to wake.

    ``result`` is what the engine says of the image.  Raises Fenced.
    """
    values = {'status': status, 'error': error, 'result': result, 'live_key': None,
              'finished_at': now()}
    if not db.transact(lambda conn: pulls.update(
            conn, claim.pull.uuid, values, pulls.of_claim(claim.uuid)),
            landed=lambda conn: _is(conn, claim, claim_uuid=claim.uuid, status=status)):
        raise exceptions.Fenced(container=claim.pull.image)
    # Before anybody goes on: what it has pulled may have become private.
    _tell_images(db, claim.pull.uuid)
    return db.transact(lambda conn: pulls.free_waiters(conn, claim.pull.uuid), run_again)


def _tell_images(db, pull_uuid):
    def unit(conn):
        for image, code in images.settle(conn, pull_uuid):
            audit.image_ended(conn, image, code)

    db.transact(unit, run_again)


def _is(conn, claim, **values):
    """True when the pull has these values; None when not."""
    row = pulls.find(conn, claim.pull.uuid)
    return row and all(row._mapping[name] == value for name, value in values.items()) or None


def requeue(db, claim, delay):
    """Hand a pull back, to be tried again later.  Raises Fenced."""
    if not db.transact(lambda conn: pulls.update(
            conn, claim.pull.uuid,
            {'status': states.QUEUED, 'claim_uuid': None, 'runnable_at': now(delay)},
            pulls.of_claim(claim.uuid)),
            landed=lambda conn: _is(conn, claim, claim_uuid=None, status=states.QUEUED)):
        raise exceptions.Fenced(container=claim.pull.image)


def sweep(db, bays=None):
    """Free the pulls of dead conductors on these bays (None: all), and forgotten waiters."""
    with db.read() as conn:
        abandoned = pulls.abandoned(conn)
        forgotten = pulls.ended_but_waited_for(conn)
        untold = images.forgotten(conn)
    release(db, [row for row in abandoned if bays is None or row.bay_uuid in bays])
    for uuid in untold:
        with daemon.one_of_many('Telling the images of pull', uuid):
            _tell_images(db, uuid)
    for uuid in forgotten:
        with daemon.one_of_many('Freeing what waits for pull', uuid):
            db.transact(lambda conn, uuid=uuid: pulls.free_waiters(conn, uuid), run_again)


def release(db, rows, delay=0):
    """Queue pulls again that nobody carries out any more, or end those nobody wants."""
    for row in rows:
        with daemon.one_of_many('Releasing pull', row.uuid):
            db.transact(lambda conn, row=row: pulls.release(conn, row, delay), run_again)
