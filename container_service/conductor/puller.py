# SPDX-License-Identifier: Apache-2.0
"""One shared pull from claim to end, or what else is done with an image.

The same slots-and-map as for containers, a smaller pool.
"""

import dataclasses

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service import redaction
from container_service import registries
from container_service import secrets
from container_service import states
from container_service.conductor import attempts
from container_service.db import images
from container_service.db import pulls as rows

LOG = log.getLogger(__name__)


class Puller:
    """Carries out pulls for one conductor; ``wake(container_uuid)`` when one has ended."""

    def __init__(self, db, conf, engines, lease, watch, wake):
        self._db = db
        self._conf = conf.conductor
        self._keys = secrets.Keys(conf)
        self._sources = registries.Policy(conf)
        self._engines = engines
        self._lease = lease
        self._watch = watch
        self._wake = wake

    def pick(self, leave_out):
        """The pull that has waited longest, or None."""
        if not self._lease.may_claim():
            return None
        try:
            bays = self._engines.available()
            if not bays:
                return None
            with self._db.read() as conn:
                return next(iter(rows.runnable(conn, bays, 1, leave_out)), None)
        except exceptions.DatabaseUnavailable:
            return None

    def work(self, pull_uuid):
        """Claim and carry out a pull; there is never another one behind it."""
        incarnation = self._lease.uuid
        if not self._lease.may_claim():
            return False
        try:
            claim = pulls.claim(self._db, pull_uuid, self._lease)
        except exceptions.DatabaseUnavailable:
            return False
        if claim is None:
            return False
        attempt = attempts.of_pull(
            self._db, claim, lambda: self._lease.holds(incarnation), self._conf.pull_stall)
        try:
            with self._watch.over(attempt), redaction.hiding():
                self._pull(claim, attempt)
        except (exceptions.Fenced, exceptions.DatabaseUnavailable):
            # The sweep frees it, and whoever claims it next goes on where the engine stands.
            LOG.warning('The pull of %s is left to others.', claim.pull.image)
        return False

    def _pull(self, claim, attempt):
        pull = claim.pull
        LOG.info('Image %s on bay %s: %s', pull.image, pull.bay_uuid, pull.operation)
        try:
            found = self._drive(pull, attempt)
        except exceptions.Fenced:
            raise
        except exceptions.Error as exc:
            self._not_done(claim, attempt.aborted or exc)
        except Exception as exc:
            if attempt.aborted is not None:
                # What a driver stumbles over when its connection is shut is not news.
                return self._not_done(claim, attempt.aborted)
            LOG.exception('Image %s: %s', pull.image, pull.operation)
            self._ended(claim, states.FAILED, exceptions.PullFailed(
                f'The {pull.operation} of {pull.image} failed in a way that was not foreseen: '
                f'{type(exc).__name__}. The log of its conductor has more.'))
        else:
            self._ended(claim, states.SUCCEEDED, result=found and dataclasses.asdict(found))

    def _drive(self, pull, attempt):
        """Returns what the engine says of the image, if there is one then."""
        driver = self._engines.driver(pull.bay_uuid)
        if pull.operation == images.REMOVE:
            return driver.remove_image(attempt, pull.image)
        if pull.operation == images.TAG:
            return driver.tag_image(attempt, pull.image, pull.target)
        if driver.asks_registries:
            self._sources.check_where_it_leads(pull.image)
        return driver.pull(attempt, pull.image,
                           registries.credentials(self._db, self._keys, pull))

    def _not_done(self, claim, exc):
        if isinstance(exc, exceptions.Fenced):
            raise exc
        # A registry knows the password that it was sent, and may put it into what it answers.
        exc.detail = redaction.masked(exc.detail)
        if isinstance(exc, exceptions.SecretsUnavailable):
            # Not the engine's fault.  Whoever waits tries again, until it has failed too often.
            failed = exceptions.PullFailed(exc.detail, hint=exc.hint)
            failed.retriable = True
            self._ended(claim, states.FAILED, failed)
        elif isinstance(exc, (exceptions.EngineUnreachable, exceptions.Unavailable)):
            self._engines.failed(claim.pull.bay_uuid, exc.detail)
            pulls.requeue(self._db, claim, self._conf.parked_interval)
        elif isinstance(exc, exceptions.Cancelled):
            self._ended(claim, states.CANCELLED)
        else:
            self._ended(claim, states.FAILED, exc)

    def _ended(self, claim, status, exc=None, result=None):
        error = exc and lifecycle.as_error(exc, 'pulling image')
        LOG.info('The %s of %s %s%s', claim.pull.operation, claim.pull.image, status,
                 f': {exc.detail}' if exc else '')
        for container_uuid in pulls.end(self._db, claim, status, error, result):
            self._wake(container_uuid)
