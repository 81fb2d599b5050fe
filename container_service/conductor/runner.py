# SPDX-License-Identifier: Apache-2.0
"""One action from claim to final status; the one broad except.

Called by a slot of ``inflight.py``.  The driver does the work; ``lifecycle.py`` writes what came
of it.
"""

import random
import time

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.db import actions
from container_service.db import containers
from container_service.drivers import base

LOG = log.getLogger(__name__)

# Progress is written at most this often (seconds).
_PROGRESS_INTERVAL = 1.0


def as_driver_sees(row, fence, deployment):
    """The driver's view of a container row."""
    return base.Container(uuid=row.uuid, name=row.name, image=row.image,
                          generation=row.generation, fence=fence, deployment=deployment,
                          spec=row.spec)


class Attempt(base.Attempt):
    """A driver's attempt whose words are written to the action."""

    def __init__(self, db, claim, may_act, clock=time.monotonic):
        super().__init__(claim.action.remembered)
        self._db, self._claim, self._may_act, self._clock = db, claim, may_act, clock
        self._written_at = float('-inf')

    def enter(self, stage):
        super().enter(stage)
        self._write()

    def report(self, progress):
        super().report(progress)
        if self._clock() - self._written_at >= _PROGRESS_INTERVAL:
            self._write()

    def _write(self):
        self._written_at = self._clock()
        try:
            lifecycle.progress(self._db, self._claim, stage=self.stage, progress=self.progress)
        except exceptions.DatabaseUnavailable:
            pass        # only words; the next ones will do

    def remember(self, **values):
        super().remember(**values)
        lifecycle.remember(self._db, self._claim, self.remembered)

    def gate(self):
        if not self._may_act():
            raise exceptions.Fenced(container=self._claim.container.uuid)


class Runner:
    """Carries out actions for one conductor."""

    def __init__(self, db, conf, engines, lease, deployment):
        self._db = db
        self._conf = conf.conductor
        self._engines = engines
        self._lease = lease
        self._deployment = deployment

    def pick(self, leave_out):
        """The container that has waited longest for something to be done, or None."""
        if not self._lease.holds(self._lease.uuid):
            return None
        try:
            served = list(self._engines.served())
            if not served:
                return None
            with self._db.read() as conn:
                return next(iter(containers.runnable(conn, served, 1, leave_out)), None)
        except exceptions.DatabaseUnavailable:
            return None             # the sweep looks again

    def work(self, container_uuid):
        """Claim and carry out the next action of a container; False when there is none."""
        incarnation = self._lease.uuid
        if not self._lease.holds(incarnation):
            return False
        try:
            claim = lifecycle.claim(self._db, container_uuid, self._lease, self._engines.serves)
        except exceptions.DatabaseUnavailable:
            return False            # the sweep comes back to it
        if claim is None:
            return False
        attempt = Attempt(self._db, claim, lambda: self._lease.holds(incarnation))
        try:
            self._carry_out(claim, attempt)
        except exceptions.Fenced:
            LOG.warning('Action %s was taken over while it ran here; leaving it alone.',
                        claim.action.uuid)
        return True

    def _carry_out(self, claim, attempt):
        action, row = claim.action, claim.container
        container = as_driver_sees(row, claim.fence, self._deployment)
        LOG.info('Action %s: %s container %s, attempt %d', action.uuid, action.operation,
                 row.uuid, action.attempts + 1)
        try:
            driver = self._engines.driver(row.bay_uuid)
            method = getattr(driver, claim.operation.name)
            observed = method(attempt, container, **action.params)
        except exceptions.Fenced:
            raise
        except exceptions.Error as exc:
            self._not_done(claim, attempt, container, exc)
        except Exception as exc:
            LOG.exception('Action %s', action.uuid)
            error = exceptions.Error(
                f'The {action.operation} failed in a way that was not foreseen: '
                f'{type(exc).__name__}. The log of conductor {self._lease.server} has more.')
            self._end(claim, lambda: self._failed(claim, attempt, container, error))
        else:
            self._end(claim, lambda: lifecycle.succeed(self._db, claim, observed))
            LOG.info('Action %s succeeded', action.uuid)

    def _not_done(self, claim, attempt, container, exc):
        """Try again later what may pass; else it has failed."""
        unreachable = isinstance(exc, (exceptions.EngineUnreachable, exceptions.Unavailable))
        passing = unreachable or getattr(exc, 'retriable', False)
        limit = claim.operation.deadline_seconds
        attempts = claim.action.attempts + 1
        if passing and self._seconds_since_start(claim) > limit:
            exc = exceptions.DeadlineExceeded(seconds=limit, last=exc.detail, hint=exc.hint)
        elif passing and (unreachable or attempts < self._conf.max_attempts):
            delay = self._conf.retry_interval * random.uniform(0.8, 1.2)  # noqa: S311 - jitter
            LOG.info('Action %s waits: %s', claim.action.uuid, exc.detail)
            self._end(claim, lambda: lifecycle.requeue(
                self._db, claim, exc.code, exc.detail, delay, counts=not unreachable))
            return
        self._end(claim, lambda: self._failed(claim, attempt, container, exc))
        LOG.info('Action %s failed: %s', claim.action.uuid, exc.detail)

    def _seconds_since_start(self, claim):
        with self._db.read() as conn:
            return actions.seconds_since(conn, claim.action.started_at)

    def _failed(self, claim, attempt, container, exc):
        """End an action as failed, the container in a true status."""
        observed, status = None, states.UNKNOWN
        try:
            observed = self._engines.driver(claim.container.bay_uuid).observe(container)
            if observed is None:
                status = states.ERROR           # nothing on the engine: nothing true to say
        except exceptions.Error:
            LOG.warning('Cannot observe container %s', container.uuid)
        error = {'code': exc.code, 'title': exc.title, 'detail': exc.detail,
                 'stage': attempt.stage, 'hint': exc.hint,
                 'retriable': getattr(exc, 'retriable', False)}
        lifecycle.fail(self._db, claim, error, observed, status)

    def _end(self, claim, write):
        """Write the outcome, again and again while the database is down and the lease holds.

        Past that the outcome is left to whoever takes the action over and asks the engine.
        """
        incarnation = self._lease.uuid
        while True:
            try:
                return write()
            except exceptions.DatabaseUnavailable:
                if not self._lease.holds(incarnation):
                    raise exceptions.Fenced(container=claim.container.uuid) from None
                time.sleep(0.5)
