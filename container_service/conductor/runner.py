# SPDX-License-Identifier: Apache-2.0
"""One action from claim to final status; the one broad except.

Called by a slot of ``inflight.py``.  The driver does the work; ``lifecycle.py`` writes what came
of it.
"""

import dataclasses
import random
import time

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import redaction
from container_service import secrets
from container_service import states
from container_service.conductor import attempts
from container_service.db import confided
from container_service.db import images
from container_service.db import payloads
from container_service.db import pulls
from container_service.drivers import base

LOG = log.getLogger(__name__)

_NEVER_MADE = 'The container was never made: '


def as_driver_sees(row, fence, deployment, files=dict, secret=dict):
    """The driver's view of a container row.

    ``files`` gives what is to be put into it, ``secret`` its secret variables.
    """
    return base.Container(uuid=row.uuid, name=row.name, image=row.image,
                          generation=row.generation, fence=fence, deployment=deployment,
                          spec=row.spec, engine_id=row.engine_id, started_at=row.started_at,
                          finished_at=row.finished_at, project_id=row.project_id, files=files,
                          secret=secret)


def _told_apart(exc, row):
    """Missing on the engine: removed by somebody, or never made there, and then why."""
    if row.engine_id is not None:
        return exc
    why = (row.status_reason or 'its creation did not succeed.').removeprefix(_NEVER_MADE)
    return exceptions.EngineContainerMissing(_NEVER_MADE + why, hint=exc.hint)


def _not_undone(exc):
    """What to tell of an action that is not undone."""
    return f'What it had done could not be taken back: {exc.detail}'


def _has_happened(claim, observed):
    """Whether an operation has had its effect, by what the engine says now."""
    op = claim.operation
    target = op.target_for(claim.action.params, None)
    if target in op.allowed and observed.started_at == claim.container.started_at:
        return False              # a reboot begins where it ends: only a new start tells
    return observed.status == target


class Runner:
    """Carries out actions for one conductor.

    ``admit(container_uuid, bay_uuid, urgent)`` says whether the pool has room for one more;
    ``pull(pull_uuid)`` is told of a pull that something waits for.
    """

    def __init__(self, db, conf, engines, lease, watch, deployment, admit, pull):
        self._db = db
        self._conf = conf.conductor
        self._keys = secrets.Keys(conf)
        self._engines = engines
        self._lease = lease
        self._watch = watch
        self._deployment = deployment
        self._admit = admit
        self._pull = pull

    def work(self, container_uuid):
        """Claim and carry out the next action of a container; returns whether another is next."""
        incarnation = self._lease.uuid
        if not self._lease.may_claim():
            return False

        def admit(bay_uuid, urgent):
            return (self._engines.is_available(bay_uuid)
                    and self._admit(container_uuid, bay_uuid, urgent))

        try:
            self._engines.served()  # read here if need be, not inside the transaction of a claim
            claim = lifecycle.claim(self._db, container_uuid, self._lease, admit, self._limit)
        except exceptions.DatabaseUnavailable:
            return False            # the sweep comes back to it
        if claim is None:
            return False
        attempt = attempts.of_action(
            self._db, claim, lambda: self._lease.holds(incarnation),
            claim.action.timeout_seconds or self._limit(claim.operation))
        try:
            with self._watch.over(attempt), redaction.hiding():
                return self._carry_out(claim, attempt)
        except exceptions.Fenced:
            LOG.warning('Action %s is not ours any more; leaving it alone.',
                        claim.action.uuid)
            return False

    def _limit(self, op):
        """Seconds that an operation may take."""
        return int(self._conf.operation_timeouts.get(op.name, op.deadline_seconds))

    def _carry_out(self, claim, attempt):
        action, row = claim.action, claim.container
        container = as_driver_sees(row, claim.fence, self._deployment,
                                   lambda: self._files(row.uuid),
                                   lambda: self._secret(row.uuid).get('secret_environment', {}))
        LOG.info('Action %s: %s container %s, attempt %d', action.uuid, action.operation,
                 row.uuid, action.attempts)
        try:
            if action.status == states.CANCELLING:
                raise exceptions.Cancelled()
            attempt.look()
            attempt.gate()
            observed = self._drive(claim, attempt, container)
        except exceptions.Fenced:
            raise
        except exceptions.ImageAbsent:
            return self._wait_for_pull(claim, attempt, container)
        except exceptions.Error as exc:
            # A driver whose connection was shut says that the engine is gone; we know better.
            return self._not_done(claim, attempt, container, attempt.aborted or exc)
        except Exception as exc:
            self._without_secrets(claim, '')      # what is known of them is not logged
            if attempt.aborted is None:
                LOG.exception('Action %s', action.uuid)
            return self._not_done(claim, attempt, container, attempt.aborted or exceptions.Error(
                f'The {action.operation} failed in a way that was not foreseen: '
                f'{type(exc).__name__}. The log of its conductor has more.'))
        self._engines.worked(row.bay_uuid)
        if observed is not None and observed.result is not None:
            observed = dataclasses.replace(
                observed, result=self._without_secrets(claim, observed.result))
        try:
            more = self._end(claim, lambda: lifecycle.succeed(self._db, claim, observed))
        except exceptions.Cancelled:
            return self._cancelled(claim, attempt, container)
        except exceptions.NameTaken as exc:
            return self._unnamed(claim, observed, exc)
        LOG.info('Action %s succeeded', action.uuid)
        return more

    def _drive(self, claim, attempt, container):
        if claim.action.pull_uuid:
            with self._db.read() as conn:
                pull = pulls.find(conn, claim.action.pull_uuid)
            if pull is not None and pull.status == states.FAILED:
                attempt.enter('pulling image')
                error = exceptions.Error.from_dict(pull.error)
                error.retriable = pull.error['retriable']
                raise error
            attempt.pulled = pull is not None and pull.status == states.SUCCEEDED
        if not claim.operation.asks_engine(claim.action.params):
            return None
        driver = self._engines.driver(claim.container.bay_uuid)
        params = dict(claim.action.params)
        if claim.operation.makes:
            container, params = self._with_image(claim, attempt, container, params)
        if claim.operation.payload:
            with self._db.read() as conn:
                params.update(payloads.of(conn, claim.action.uuid))
        params.update(self._secret(claim.action.uuid) if claim.operation.secrets else {})
        return driver.method(claim.operation)(attempt, container, **params)

    def _with_image(self, claim, attempt, container, params):
        """Container and parameters with the image under the name that the engine has for it."""
        wanted = self._wanted(claim)
        if wanted.private and not attempt.pulled:
            # That it is there says nothing: it was pulled with somebody's credentials.
            if (container.spec.get('image_pull_policy') or '').lower() == 'never':
                raise exceptions.ImageNotFound(
                    f'The image {wanted.image} is private, and the pull policy "never" forbids '
                    f'to ask its registry whether it may be used.')
            raise exceptions.ImageAbsent(image=wanted.image)
        # There is no newer one than that which is there.
        attempt.pulled = attempt.pulled or wanted.local
        if params.get('image'):
            return container, {**params, 'image': wanted.image}
        return dataclasses.replace(container, image=wanted.image), params

    def _wanted(self, claim):
        row = claim.container
        with self._db.read() as conn:
            return images.wanted(conn, row.project_id, row.bay_uuid, claim.image)

    def _files(self, container_uuid):
        with self._db.read() as conn:
            return payloads.of(conn, container_uuid)

    def _secret(self, owner_uuid):
        """What a container or an action was given to keep to itself.

        Raises SecretsUnavailable.
        """
        with self._db.read() as conn:
            tokens = confided.of(conn, owner_uuid)
        return secrets.unseal(tokens, self._keys)

    def _without_secrets(self, claim, value):
        """What is recorded or logged of an attempt, which may have repeated its secrets."""
        if not claim.operation.secrets and not claim.container.spec.get('secret_environment'):
            return value
        try:
            texts = self._end(claim, lambda: [
                text for owner in (claim.container.uuid, claim.action.uuid)
                for variables in self._secret(owner).values() for text in variables.values()])
        except exceptions.SecretsUnavailable:
            return 'It cannot be shown while the keys for secrets cannot be used.' \
                if isinstance(value, str) else None
        return redaction.masked(value, texts)

    def _wait_for_pull(self, claim, attempt, container):
        if self._wanted(claim).local:
            return self._not_done(claim, attempt, container, exceptions.ImageNotFound(
                f'The image {claim.image} is not on the engine, and no registry has it.'))
        try:
            pull = self._end(claim, lambda: lifecycle.wait_for_pull(self._db, claim))
        except exceptions.Cancelled:
            return self._cancelled(claim, attempt, container)
        self._pull(pull)
        return False

    def _not_done(self, claim, attempt, container, exc):
        """Undo what was cancelled, try again later what may pass; else it has failed."""
        if isinstance(exc, exceptions.Fenced):
            raise exc
        exc.detail = self._without_secrets(claim, exc.detail)
        if isinstance(exc, exceptions.EngineContainerMissing):
            exc = _told_apart(exc, claim.container)
        if isinstance(exc, exceptions.Cancelled):
            return self._cancelled(claim, attempt, container)
        if isinstance(exc, (exceptions.EngineUnreachable, exceptions.Unavailable)):
            return self._park(claim, exc)
        # One that stalled has been waited for already: whoever asked is told, and may ask again.
        stalled = isinstance(exc, exceptions.PullStalled)
        if getattr(exc, 'retriable', False) and not stalled and (
                claim.action.attempts < self._conf.max_attempts
                or claim.operation.name == 'delete'):
            return self._retry(claim, exc)
        return self._failed(claim, attempt, container, exc)

    def _retry(self, claim, exc):
        """Try again later, each time after a longer pause."""
        attempts = claim.action.attempts
        delay = min(60, self._conf.retry_interval * 2 ** min(attempts - 1, 10))
        delay *= random.uniform(0.8, 1.2)  # noqa: S311 - jitter
        LOG.info('Action %s is tried again in %.0f s: %s', claim.action.uuid, delay, exc.detail)
        self._end(claim, lambda: lifecycle.requeue(
            self._db, claim, 'retrying', f'Attempt {attempts} failed: {exc.detail}', delay))
        return False

    def _park(self, claim, exc):
        """It cannot be tried now: wait without holding a thread."""
        LOG.info('Action %s waits: %s', claim.action.uuid, exc.detail)
        code = 'retrying'
        if isinstance(exc, exceptions.NoConductor):
            code = exc.code
        if isinstance(exc, exceptions.EngineUnreachable):
            # Whatever answers in its place.
            code = exceptions.EngineUnreachable.code
            self._engines.failed(claim.container.bay_uuid, exc.detail)
        self._end(claim, lambda: lifecycle.requeue(
            self._db, claim, code, exc.detail, self._conf.parked_interval, parked=True))
        return False

    def _cancelled(self, claim, attempt, container):
        """Undo what a cancelled action has half made, then end it as cancelled."""
        stage = attempt.stage
        try:
            driver = self._engines.driver(claim.container.bay_uuid)
            undo = driver.undo(claim.operation)
            if undo is not None:
                done = undo(self._plain(attempt), container, **claim.action.params)
                if done is not None:
                    return self._end(claim, lambda: lifecycle.succeed(
                        self._db, claim, done, too_late=True))
                observed = driver.observe(container)
                detail = 'Cancelled; the container is as it was.'
            elif claim.operation.cancel == operations.UNDO:
                made = driver.observe(container) is not None
                driver.delete(self._plain(attempt), container, force=True)
                observed = None
                detail = ('Cancelled; the container that it had made was removed.' if made else
                          'Cancelled; nothing had been made on the engine.')
            else:
                observed = driver.observe(container)
                detail = 'Cancelled before it was tried again.'
        # The request to cancel stays, and it is undone the next time.
        except (exceptions.EngineUnreachable, exceptions.Unavailable) as exc:
            return self._park(claim, exc)
        except exceptions.DriverError as exc:
            if exc.retriable and claim.action.attempts < self._conf.max_attempts:
                return self._retry(claim, exc)
            # Else it would be in the way of all that comes, a forced delete too.
            error = exceptions.DriverError(f'It was to be cancelled. {_not_undone(exc)}')
            return self._end_failed(claim, container, lifecycle.as_error(error, stage))
        if observed is not None and _has_happened(claim, observed):
            return self._end(claim, lambda: lifecycle.succeed(self._db, claim, observed))
        error = lifecycle.as_error(exceptions.Cancelled(detail), stage)
        LOG.info('Action %s is cancelled', claim.action.uuid)
        return self._end(
            claim, lambda: lifecycle.end_cancelled(self._db, claim, observed, error))

    @staticmethod
    def _plain(attempt):
        """An attempt for undoing: still fenced, but no longer aborted."""
        plain = base.Attempt(attempt.remembered)
        plain.gate, plain.gate_destructive = attempt.gate_lease, attempt.gate_claim
        return plain

    def _failed(self, claim, attempt, container, exc):
        """End an action as failed, undone where it can be; or as succeeded if it is through."""
        error, undo, done = lifecycle.as_error(exc, attempt.stage), None, None
        try:
            undo = self._engines.driver(claim.container.bay_uuid).undo(claim.operation)
            if undo is not None:
                done = undo(self._plain(attempt), container, **claim.action.params)
        except exceptions.Error as again:
            LOG.warning('Cannot undo action %s: %s', claim.action.uuid, again)
            if undo is not None:
                error['detail'] = f'{exc.detail.rstrip(".")}. {_not_undone(again)}'
        except Exception:
            LOG.exception('Undoing action %s', claim.action.uuid)
        if done is not None:
            return self._end(claim, lambda: lifecycle.succeed(
                self._db, claim, done, too_late=True))
        return self._end_failed(claim, container, error)

    def _end_failed(self, claim, container, error):
        """End an action as failed, the container in a true status."""
        observed, status, post_mortem = None, states.UNKNOWN, None
        try:
            driver = self._engines.driver(claim.container.bay_uuid)
            observed = driver.observe(container)
            if observed is None:
                status = states.ERROR           # nothing on the engine: nothing true to say
            post_mortem = self._without_secrets(claim, driver.post_mortem(container))
        except exceptions.Error as again:
            LOG.warning('Cannot observe container %s: %s', container.uuid, again)
        except Exception:
            LOG.exception('Observing container %s', container.uuid)
        LOG.info('Action %s failed: %s', claim.action.uuid, error['detail'])
        return self._end(claim, lambda: lifecycle.fail(
            self._db, claim, error, observed, status, post_mortem))

    def _unnamed(self, claim, observed, exc):
        """End an action that has had its effect, but whose name somebody else took meanwhile."""
        LOG.info('Action %s failed: %s', claim.action.uuid, exc.detail)
        return self._end(claim, lambda: lifecycle.fail(
            self._db, claim, lifecycle.as_error(exc), observed, claim.container.status,
            done=True))

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
