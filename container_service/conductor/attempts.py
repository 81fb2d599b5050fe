# SPDX-License-Identifier: Apache-2.0
"""Attempts of this conductor: what a driver is told and tells while it works, and the watch
that ends those that must end.

An attempt writes what must be durable at once (``remember``); words and progress it keeps until
the watch comes by, so that a quick action costs no statement for them.  The watch is one thread:
it writes what has changed, sees cancel requests, deadlines and pulls that come no further, and
aborts the attempt, which shuts the connection that its driver waits on.
"""

import contextlib
import threading
import time

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service.db import actions
from container_service.db import pulls as pull_rows
from container_service.drivers import base

LOG = log.getLogger(__name__)

# Seconds after which somebody may want to read how far an attempt is.
SETTLED = 1.0


class Attempt(base.Attempt):
    """One attempt, watched.

    ``may_act()`` is whether the lease holds, ``owns()`` whether SQL has the claim;
    ``write(stage, progress)`` stores what it tells.
    """

    def __init__(self, claim_uuid, may_act, write, *, owns=lambda: True, remembered=None,
                 store=None, seconds_left=None, limit=None, last=None, clock=time.monotonic):
        super().__init__(remembered)
        self.claim_uuid = claim_uuid
        self.aborted = None               # the exception that it was ended with
        self._may_act, self._write, self._store = may_act, write, store
        self._owns = owns
        self._clock = clock
        self._lock = threading.Lock()
        self._closers = []
        self._told = False                # whether something is to be written
        self._limit, self._last = limit, last
        self._ends_at = None if seconds_left is None else clock() + seconds_left
        self._moved_at = self._began_at = clock()
        self.settled = SETTLED
        self.stall_seconds, self.stalled = None, None

    def enter(self, stage):
        super().enter(stage)
        self._moved()

    def report(self, progress):
        if progress != self.progress:
            super().report(progress)
            self._moved()

    def _moved(self):
        self._told, self._moved_at = True, self._clock()

    def remember(self, **values):
        super().remember(**values)
        self._store(self.remembered)

    def gate(self):
        if self.aborted is not None:
            raise self.aborted
        self.gate_lease()

    def gate_lease(self):
        """As ``gate``, for undoing what was aborted."""
        if not self._may_act():
            raise exceptions.Fenced(container=self.claim_uuid)

    def gate_destructive(self):
        self.gate()
        self.gate_claim()

    def gate_claim(self):
        """As ``gate_lease``, and by what SQL says at this moment."""
        self.gate_lease()
        if not self._owns():
            raise exceptions.Fenced(container=self.claim_uuid)
        # The look may have taken as long as the lease had left.
        self.gate_lease()

    @contextlib.contextmanager
    def closing(self, close):
        with self._lock:
            self._closers.append(close)
        try:
            self.gate()                   # it may have been aborted just before
            yield
        finally:
            with self._lock:
                self._closers.remove(close)

    def abort(self, exc):
        """End it: the next gate raises ``exc``, and what the driver waits on is shut."""
        with self._lock:
            if self.aborted is not None:
                return
            self.aborted = exc
            closers = list(self._closers)
        for close in closers:
            try:
                close()
            except Exception:
                LOG.exception('Ending what an attempt waits on')

    def look(self):
        """What the watch does with it on each round."""
        now = self._clock()
        if self._ends_at is not None and now > self._ends_at:
            last = f'it was {self.stage}.' if self.stage else self._last
            self.abort(exceptions.DeadlineExceeded(
                seconds=self._limit, last=last or 'it was beginning.'))
        if self.stall_seconds is not None and now - self._moved_at > self.stall_seconds:
            self.abort(self.stalled())
        if self._told and now - self._began_at >= self.settled:
            self._told = False
            try:
                self._write(self.stage, self.progress)
            except exceptions.Fenced as exc:
                self.abort(exc)


class Watch:
    """The attempts of this conductor, looked after on each call."""

    def __init__(self, db, lease):
        self._db, self._lease = db, lease
        self._attempts = {}

    @contextlib.contextmanager
    def over(self, attempt):
        """Watch over an attempt while the context lasts."""
        self._attempts[attempt.claim_uuid] = attempt
        try:
            yield attempt
        finally:
            del self._attempts[attempt.claim_uuid]

    def abort_all(self, exc):
        """End all that runs now."""
        for attempt in list(self._attempts.values()):
            attempt.abort(exc)

    def __call__(self):
        """One round."""
        attempts = list(self._attempts.values())
        if not attempts:
            return
        with self._db.read() as conn:
            asked = {*actions.cancelling(conn, self._lease.uuid),
                     *pull_rows.cancelling(conn, self._lease.uuid)}
        for attempt in attempts:
            if attempt.claim_uuid in asked:
                attempt.abort(exceptions.Cancelled())
            attempt.look()


def of_action(db, claim, may_act, limit):
    """The attempt that a claimed action is carried out with."""
    attempt = Attempt(
        claim.uuid, may_act,
        lambda stage, progress: lifecycle.progress(db, claim, stage=stage, progress=progress),
        owns=lambda: lifecycle.owns(db, claim),
        remembered=claim.action.remembered,
        store=lambda remembered: lifecycle.remember(db, claim, remembered),
        seconds_left=claim.seconds_left, limit=limit, last=claim.last)
    attempt.first = claim.first
    return attempt


def of_pull(db, claim, may_act, stall_seconds):
    """The attempt that a claimed pull is carried out with."""
    attempt = Attempt(claim.uuid, may_act,
                      lambda stage, progress: pulls.progress(db, claim, progress))
    attempt.settled = 0               # those who wait for it look from the beginning
    attempt.stall_seconds = stall_seconds
    attempt.stalled = lambda: exceptions.PullStalled(
        image=claim.pull.image, seconds=stall_seconds)
    return attempt
