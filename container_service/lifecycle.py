# SPDX-License-Identifier: Apache-2.0
"""submit, claim, progress, succeed, fail: the only writer of status columns.

Every transition of a container or an action is one function here and one transaction, which
begins by locking the container row.  Acceptance (``create``, ``submit``) is called by the API,
the rest by conductors.  What is legal comes from ``operations.py``; statements are in ``db/``.

The story goes on in ``rpc.py`` (the doorbell) and ``conductor/runner.py``.
"""

import dataclasses
import types
import uuid as uuids

from oslo_db import exception as db_exc
import sqlalchemy as sa

from container_service import exceptions
from container_service import operations
from container_service import states
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db.base import now

CONTAINER = 'container'

_c = containers.table.c
_a = actions.table.c


def new_uuid():
    return str(uuids.uuid4())


# Acceptance

def create(context, db, op, *, name, image, spec, bay=None):
    """Accept the creation of a container.  Returns (container row, action row).

    Container and action are written in one transaction.  Raises NameTaken, BayNotFound,
    BayRequired.  ``name`` None makes one up.
    """
    uuid, action_uuid = new_uuid(), new_uuid()
    name = name or f'container-{uuid[:8]}'

    def unit(conn):
        place = (bays.get(conn, bay, context.project_scope, share=True) if bay
                 else bays.only(conn, context.project_scope))
        time = place.db_now
        container = {
            'uuid': uuid, 'project_id': context.project_id, 'user_id': context.user_id,
            'name': name, 'live_name': name, 'bay_uuid': place.uuid, 'image': image,
            'spec': spec, 'status': states.CREATING, 'next_sequence': 2,
            'projected_status': op.target_for({}, states.CREATING),
            'task_state': states.task_state(op.name), 'runnable_at': time, 'created_at': time,
            'updated_at': time, 'generation': 1, 'fence': 0, 'oom_killed': False}
        containers.insert(conn, container)
        row = _as_row(containers.table, container)
        return row, _enqueue(conn, context, op, action_uuid, {}, row, 1, time)

    try:
        return db.transact(unit, landed=lambda conn: _accepted(conn, action_uuid))
    except db_exc.DBDuplicateEntry:
        raise exceptions.NameTaken(kind='container', name=name) from None


def submit(context, db, op, ident, params):
    """Accept an operation on a container.  Returns (container row, action row).

    It is checked against the status that the container will have when all that is queued has
    succeeded.  Raises ContainerNotFound and InvalidState.
    """
    action_uuid = new_uuid()

    def unit(conn):
        row = containers.lock(conn, ident, context.project_scope)
        status = row.projected_status or row.status
        if status not in op.statuses_for(params):
            raise exceptions.InvalidState(
                operation=op.name, uuid=row.uuid, status=status, because=_because(conn, row),
                hint=_state_hint(op, status))
        values = {'projected_status': op.target_for(params, status),
                  'next_sequence': row.next_sequence + 1}
        if row.task_state is None:
            values.update(task_state=states.task_state(op.name), runnable_at=row.db_now)
        containers.update(conn, row.uuid, values)
        return row, _enqueue(conn, context, op, action_uuid, params, row, row.next_sequence,
                             row.db_now)

    return db.transact(unit, landed=lambda conn: _accepted(conn, action_uuid))


def _enqueue(conn, context, op, uuid, params, container, sequence, time):
    values = {
        'uuid': uuid, 'resource_type': CONTAINER, 'resource_uuid': container.uuid,
        'resource_name': container.name, 'sequence': sequence, 'operation': op.name,
        'params': params, 'project_id': context.project_id, 'user_id': context.user_id,
        'request_id': context.request_id, 'bay_uuid': container.bay_uuid,
        'status': states.QUEUED, 'attempts': 0, 'created_at': time}
    actions.insert(conn, values)
    return _as_row(actions.table, values)


def _as_row(table, values):
    """What reading a row just inserted would give, without asking for it."""
    return types.SimpleNamespace(**{**dict.fromkeys(table.c.keys()), **values})


def _accepted(conn, action_uuid):
    action = actions.find(conn, _a.uuid == action_uuid)
    return action and (containers.lock_uuid(conn, action.resource_uuid), action)


def _because(conn, row):
    """Words for a refusal that rests on what is queued, naming the last action in the way."""
    if row.projected_status is None:
        return ''
    last = actions.unfinished(conn, CONTAINER, row.uuid)[-1]
    return f', which it will be in after action {last.uuid} ({last.operation})'


def _state_hint(op, status):
    if op.name == 'delete' and status in op.statuses_for({'stop': True}):
        return 'Stop it first, or delete it with stop=true.'
    return f'It is possible in: {", ".join(sorted(op.allowed))}.'


# Execution

@dataclasses.dataclass(frozen=True)
class Claim:
    """The right to run one action, until somebody else claims its container."""
    uuid: str
    fence: int
    action: object           # the row as claimed
    container: object        # the row as it was when claimed

    @property
    def operation(self):
        return operations.OPERATIONS[self.action.operation]


def claim(db, container_uuid, conductor, serves=lambda bay_uuid: True):
    """Take the oldest queued action of a container for this conductor.

    Returns the Claim, or None when nothing is queued, an older action of the container is
    unfinished, its time has not come, or this conductor does not reach the bay.  Safe to call
    twice: the second gets None.
    """
    claim_uuid = new_uuid()
    claimed = []        # head and container as they were before they were claimed

    def unit(conn):
        row = containers.lock_uuid(conn, container_uuid)
        if row is None or row.running_action_uuid or row.runnable_at is None:
            return None
        if not serves(row.bay_uuid):
            return None
        head = next(iter(actions.unfinished(conn, CONTAINER, container_uuid, limit=1)), None)
        if head is None or head.status != states.QUEUED:
            return None
        op = operations.OPERATIONS[head.operation]
        fence = row.fence + 1
        first = now() if head.started_at is None else head.started_at
        # The time is compared in the statement that claims, on the database's clock.
        if not containers.update(
                conn, row.uuid, {
                    'fence': fence, 'running_action_uuid': head.uuid, 'runnable_at': None,
                    'task_state': states.task_state(op.name),
                    'status': op.during or row.status}, _c.runnable_at <= now()):
            return None
        actions.update(conn, head.uuid, {
            'status': states.ACTION_RUNNING, 'claim_uuid': claim_uuid, 'fence': fence,
            'conductor_uuid': conductor.uuid, 'conductor': conductor.server,
            'attempts': head.attempts + 1, 'started_at': first, 'progress_at': now(),
            'stage': None, 'progress': None, 'waiting_code': None, 'waiting_detail': None})
        claimed[:] = head, row
        return Claim(claim_uuid, fence, head, row)

    def landed(conn):
        found = actions.find(conn, actions.of_claim(claim_uuid))
        return found and Claim(claim_uuid, found.fence, *claimed)

    return db.transact(unit, landed)


def progress(db, claim, **values):
    """Write stage or progress of a running action.  Raises Fenced."""
    _write(db, claim, values)


def remember(db, claim, remembered):
    """Store what a later attempt must know, before acting.  Raises Fenced."""
    _write(db, claim, {'remembered': remembered})


def _write(db, claim, values):
    ours = db.transact(lambda conn: actions.update(
        conn, claim.action.uuid, {'progress_at': now(), **values},
        actions.of_claim(claim.uuid)))
    if not ours:
        raise exceptions.Fenced(container=claim.container.uuid)


def check(db, claim):
    """Raises Fenced when the claim has been taken over.  For use right before destruction."""
    with db.read() as conn:
        if actions.find(conn, _a.uuid == claim.action.uuid,
                        actions.of_claim(claim.uuid)) is None:
            raise exceptions.Fenced(container=claim.container.uuid)


def succeed(db, claim, observed):
    """End an action as succeeded, with what the driver observed.  Raises Fenced."""
    values = observation(observed)
    values['status_reason'] = None
    _finish(db, claim, states.SUCCEEDED, values, error=None)


def fail(db, claim, error, observed=None, status=states.UNKNOWN):
    """End an action as failed and skip what depended on it.  Raises Fenced.

    ``error`` is a dict of code, title, detail, stage, retriable and hint.  The container gets
    what was observed on the engine; ``status`` where nothing could be.
    """
    values = observation(observed) if observed is not None else {'status': status}
    values['status_reason'] = error['detail']
    _finish(db, claim, states.FAILED, values, error)


def observation(observed):
    """Column values for what a driver observed."""
    return {
        'status': observed.status, 'engine_id': observed.engine_id,
        'status_detail': observed.status_detail, 'exit_code': observed.exit_code,
        'oom_killed': observed.oom_killed, 'addresses': observed.addresses,
        'ports': list(observed.ports), 'started_at': observed.started_at,
        'finished_at': observed.finished_at}


def _finish(db, claim, status, values, error):
    action, uuid = claim.action, claim.container.uuid

    def unit(conn):
        row = containers.lock_uuid(conn, uuid)
        if row.fence != claim.fence or not actions.update(
                conn, action.uuid,
                {'status': status, 'error': error, 'finished_at': now(), 'progress': None},
                actions.of_claim(claim.uuid)):
            raise exceptions.Fenced(container=uuid)
        _settle(conn, row, values, status, action)
        return True

    def landed(conn):
        return actions.find(conn, _a.claim_uuid == claim.uuid, _a.status == status)

    db.transact(unit, landed)


def _settle(conn, row, values, status, ended):
    """After an action ended: skip what depended on it, then say what the container is now."""
    waiting = actions.unfinished(conn, CONTAINER, row.uuid)
    if status != states.SUCCEEDED:
        waiting = _skip(conn, waiting, ended, status)
    head = waiting[0] if waiting else None
    real = values.get('status', row.status)
    values = dict(values, running_action_uuid=None,
                  task_state=head and states.task_state(head.operation),
                  runnable_at=now() if head else None,
                  projected_status=_projected(real, waiting))
    if real == states.DELETED:
        values.update(live_name=None, deleted_at=now())
    containers.update(conn, row.uuid, values)


def _skip(conn, waiting, cause, status):
    """Skip what stands behind an action that did not succeed; returns what is left.

    A delete is never skipped, nor is what stands behind it.
    """
    doomed = []
    for action in waiting:
        if action.operation == 'delete':
            break
        doomed.append(action)
    if doomed:
        error = {'code': 'skipped', 'title': 'Skipped', 'stage': None, 'retriable': True,
                 'detail': f'Not run, because action {cause.uuid} ({cause.operation}) before it '
                           f'ended {status}.',
                 'hint': 'Ask for it again when the cause is mended.'}
        conn.execute(sa.update(actions.table)
                     .where(_a.uuid.in_([action.uuid for action in doomed]))
                     .values(status=states.SKIPPED, error=error, caused_by=cause.uuid,
                             finished_at=now()))
    return waiting[len(doomed):]


def _projected(status, waiting):
    """The status once all that waits has succeeded; None when nothing waits."""
    if not waiting:
        return None
    for action in waiting:
        status = operations.OPERATIONS[action.operation].target_for(action.params, status)
    return status


def requeue(db, claim, code, detail, delay, *, counts=True):
    """Hand an action back to the queue, to be claimed again after ``delay`` seconds.

    ``code`` and ``detail`` say why it waits.  ``counts`` false takes the attempt back.
    Raises Fenced.
    """
    action, uuid = claim.action, claim.container.uuid

    def unit(conn):
        row = containers.lock_uuid(conn, uuid)
        if row.fence != claim.fence or not actions.update(
                conn, action.uuid, dict(
                    _QUEUED_AGAIN, waiting_code=code, waiting_detail=detail,
                    attempts=action.attempts + (1 if counts else 0)),
                actions.of_claim(claim.uuid)):
            raise exceptions.Fenced(container=uuid)
        containers.update(conn, uuid, {
            'running_action_uuid': None, 'runnable_at': now(delay),
            'status': claim.container.status})
        return True

    db.transact(unit)


_QUEUED_AGAIN = {
    'status': states.QUEUED, 'claim_uuid': None, 'conductor_uuid': None, 'stage': None,
    'progress': None}


def take_over(db, action):
    """Free the container of a running action whose conductor is dead.

    By the operation's row it is queued again, to be driven to its state by whoever claims it,
    or ended as interrupted when it must never run twice.  ``action`` is the row that was found
    abandoned; one that has moved on since is left alone.  Returns whether it was freed.
    """
    op = operations.OPERATIONS[action.operation]

    def unit(conn):
        row = containers.lock_uuid(conn, action.resource_uuid)
        again = op.on_takeover == operations.RERUN
        changes = (dict(_QUEUED_AGAIN, waiting_code='taken_over',
                        waiting_detail='Its conductor died; another one goes on with it.')
                   if again else
                   {'status': states.INTERRUPTED, 'finished_at': now(), 'error': _INTERRUPTED})
        if not actions.update(conn, action.uuid, changes, actions.of_claim(action.claim_uuid)):
            return False
        if again:
            containers.update(conn, row.uuid, {
                'running_action_uuid': None, 'runnable_at': now(), 'fence': row.fence + 1})
        else:
            _settle(conn, row, {'fence': row.fence + 1,
                                'status_reason': _INTERRUPTED['detail']},
                    states.INTERRUPTED, action)
        return True

    return db.transact(unit)


_INTERRUPTED = {
    'code': 'interrupted', 'title': 'Interrupted', 'stage': None, 'retriable': False,
    'detail': 'Its conductor died while it ran, and it must not run twice: whether it took '
              'effect is not known.',
    'hint': 'Look at the container, then decide whether to ask for it again.'}


# Observation

def observe(db, container_uuid, fence, observed, reason=None):
    """Record what the reconciler saw.  Returns whether it was written.

    Only where nothing is unfinished and nobody has claimed the container since ``fence`` was
    read, so that an old look never hides the result of an action.
    """
    values = dict(observation(observed), status_reason=reason)
    return db.transact(lambda conn: containers.update(
        conn, container_uuid, values, _c.fence == fence, _c.task_state.is_(None),
        _c.deleted_at.is_(None)))


def lose(db, container_uuid, fence, reason):
    """Record that a container is not on its engine any more.  As ``observe``."""
    values = {'status': states.ERROR, 'status_reason': reason, 'status_detail': None,
              'addresses': {}}
    return db.transact(lambda conn: containers.update(
        conn, container_uuid, values, _c.fence == fence, _c.task_state.is_(None),
        _c.deleted_at.is_(None)))
