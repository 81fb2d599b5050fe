# SPDX-License-Identifier: Apache-2.0
"""submit, claim, progress, succeed, fail, cancel: the only writer of status columns.

Every transition of a container or an action is one function here and one transaction, which
begins by locking the container row.  Acceptance (``create``, ``submit``, ``cancel``) is called
by the API, the rest by conductors.  What is legal comes from ``operations.py``; statements are
in ``db/``; shared pulls, which have a life of their own, are in ``pulls.py``.

The story goes on in ``rpc.py`` (the doorbell) and ``conductor/runner.py``.
"""

import dataclasses
import datetime
import types
import uuid as uuids

from oslo_db import exception as db_exc
import sqlalchemy as sa

from container_service import audit
from container_service import exceptions
from container_service import operations
from container_service import references
from container_service import states
from container_service.db import actions
from container_service.db import bays
from container_service.db import confided as secret_values
from container_service.db import containers
from container_service.db import events
from container_service.db import idempotency
from container_service.db import images
from container_service.db import payloads
from container_service.db import pulls
from container_service.db import registries
from container_service.db import strays
from container_service.db.base import now
from container_service.db.base import run_again

CONTAINER = 'container'

_c = containers.table.c
_a = actions.table.c


def new_uuid():
    return str(uuids.uuid4())


# Acceptance

@dataclasses.dataclass(frozen=True)
class Terms:
    """What a request wants besides the operation itself."""
    if_busy: str = operations.QUEUE
    on_predecessor_failure: str = operations.SKIP
    dry_run: bool = False
    timeout_seconds: int = None         # from acceptance to the end
    key: str = None                     # Idempotency-Key
    fingerprint: str = None             # of the request that the key stands for
    queue_limit: int = None             # unfinished actions that one container may have

    @property
    def run_anyway(self):
        return self.on_predecessor_failure == operations.RUN


@dataclasses.dataclass(frozen=True)
class Accepted:
    """What became of a request: the container as it was, and the action that stands for it."""
    container: object
    action: object
    replayed: bool = False              # an earlier request with the same key got this answer
    folded: bool = False                # an equal action was queued already
    waits_for: tuple = ()               # unfinished actions before it
    cancelled: tuple = ()               # uuids of actions that were cancelled to make way


class _DryRun(Exception):
    """Rolls back a transaction whose outcome was all that was asked for."""

    def __init__(self, accepted):
        super().__init__()
        self.accepted = accepted


def create(context, db, op, *, name, image, spec, files=None, confided=None,
           terms=Terms(), guard=None, sources=None, **place):  # noqa: B008
    """Accept the creation of a container.

    Container and action are written in one transaction.  ``name`` None makes one up.  With
    ``registry`` in the spec its image is pulled with the credentials of that.  ``files``,
    {destination: bytes}, and ``confided``, {name: encrypted text}, are kept until it is deleted;
    ``guard`` is what ``Quotas.guard`` gives, ``sources`` a registries.Policy; ``place`` is what
    ``bays.place`` takes.  Raises
    NameTaken, BayNotFound, BayRequired, NoBayFits, RegistryNotFound, QuotaExceeded,
    InvalidParameter, IdempotencyMismatch.
    """
    uuid, action_uuid = new_uuid(), new_uuid()
    name = name or f'container-{uuid[:8]}'
    # Not part of what it is made of: whose credentials were used tells nothing of the image.
    spec = dict(spec)
    registry = spec.pop('registry', None)

    def unit(conn):
        idempotency.insert(conn, context, terms, action_uuid)
        if guard is not None:
            guard(conn, spec)
        registry_uuid, reference = None, image
        if registry is not None:
            registry_uuid, reference = registries.named(
                conn, context.project_id, registry, image)
        bay = bays.place(conn, context.project_scope, **place)
        if sources is not None:
            sources.check_image(conn, 'image', context.project_id, bay.uuid, reference)
        time = bay.db_now
        values = {
            'uuid': uuid, 'project_id': context.project_id, 'user_id': context.user_id,
            'name': name, 'live_name': name, 'bay_uuid': bay.uuid,
            'image': reference, 'registry_uuid': registry_uuid,
            'spec': spec, 'status': states.CREATING, 'next_sequence': 2,
            'projected_status': op.target_for({}, states.CREATING),
            'task_state': states.task_state(op.name), 'runnable_at': time,
            'head_urgent': int(op.urgent), 'created_at': time, 'updated_at': time,
            'generation': 1, 'fence': 0, 'oom_killed': False}
        containers.insert(conn, values)
        payloads.insert(conn, uuid, files)
        secret_values.insert(conn, uuid, confided)
        row = _as_row(containers.table, {**values, 'bay_name': bay.name})
        action = _enqueue(conn, context, op, action_uuid, {}, row, 1, time, terms)
        audit.record(
            conn, context, op.policy, audit.Target.of(CONTAINER, row), outcome=audit.PENDING,
            action_uuid=action_uuid,
            fields=audit.fields({
                **spec, **(confided or {}), 'files': files or None, 'registry': registry,
                'opened': None}))
        return _unless_dry(terms, Accepted(row, action))

    try:
        return _accept(context, db, unit, action_uuid)
    except db_exc.DBDuplicateEntry:
        earlier = replayed(context, db, terms)
        if earlier is None:
            raise exceptions.NameTaken(kind='container', name=name) from None
        return earlier


def submit(context, db, op, ident, params, terms=Terms(), fence=None,  # noqa: B008
           guard=None, defaults=None, confided=None, sources=None):
    """Accept an operation on a container.

    It is checked against the status that the container will have when all that is queued has
    succeeded.  An equal request whose action is the last in line and still queued is folded
    into it, where the table allows that.  ``fence``: only if nobody has claimed the container
    since it was that; ``guard`` is what ``Quotas.guard`` gives, ``defaults`` what a container
    has of the amounts that its spec does not name; ``confided``, {name: encrypted text}, is kept
    until the action has ended; ``sources`` is a registries.Policy.  Raises ContainerNotFound,
    InvalidState, Busy, QueueFull, Fenced, NameTaken, QuotaExceeded, InvalidParameter,
    IdempotencyMismatch.
    """
    action_uuid = new_uuid()
    told = audit.of_parameters(op, params)
    params, payload = op.without_payload(params)

    def record(how, conn, row, uuid):
        how(conn, context, op.policy, audit.Target.of(CONTAINER, row), outcome=audit.PENDING,
            action_uuid=uuid, **told)

    def unit(conn):
        row = containers.lock(conn, ident, context.project_scope)
        if fence not in (None, row.fence):
            raise exceptions.Fenced(container=row.uuid)
        reserved = _reserve(conn, context, row, op.changes_to(row, params), guard,
                            defaults or {})
        waiting = actions.unfinished(conn, CONTAINER, row.uuid) if row.task_state else []
        if waiting and terms.if_busy == operations.REJECT:
            raise exceptions.Busy(uuid=row.uuid, action=waiting[0].uuid,
                                  operation=waiting[0].operation)
        twin = _twin(context, op, params, terms, waiting)
        idempotency.insert(conn, context, terms, twin.uuid if twin else action_uuid)
        if twin:
            actions.fold(conn, twin, context.request_id)
            record(audit.record_fold, conn, row, twin.uuid)
            twin = _as_row(actions.table, {**twin._mapping, 'coalesced': twin.coalesced + 1})
            return _unless_dry(terms, Accepted(
                row, twin, folded=True, waits_for=tuple(waiting[:-1])))
        cancelled = ()
        if op.name == 'delete' and params.get('force'):
            row, waiting, cancelled = _clear_the_way(conn, row, waiting)
        _check(op, params, row, waiting, terms)
        _check_name(conn, row, op.changes_to(row, params).get('name'))
        if sources is not None and op.name == 'rebuild' and params.get('image'):
            sources.check_image(conn, 'image', row.project_id, row.bay_uuid, params['image'])
        if op.makes_image:
            # Only a look, too: it may be pulled before it is made.
            images.made(conn, row.project_id, row.bay_uuid, params['repository'], params['tag'])
        status = row.projected_status or row.status
        values = {'projected_status': op.target_for(params, status),
                  'next_sequence': row.next_sequence + 1, **reserved}
        if not waiting:
            values.update(task_state=states.task_state(op.name), runnable_at=row.db_now,
                          head_urgent=int(op.urgent))
        containers.update(conn, row.uuid, values)
        action = _enqueue(conn, context, op, action_uuid, params, row, row.next_sequence,
                          row.db_now, terms)
        payloads.insert(conn, action_uuid, payload)
        secret_values.insert(conn, action_uuid, confided)
        record(audit.record, conn, row, action_uuid)
        return _unless_dry(terms, Accepted(
            row, action, waits_for=tuple(waiting), cancelled=cancelled))

    try:
        return _accept(context, db, unit, action_uuid)
    except (db_exc.DBDuplicateEntry, exceptions.Conflict, exceptions.NotFound,
            exceptions.QuotaExceeded):
        # What was accepted before may have changed what stands against it now.
        earlier = replayed(context, db, terms)
        if earlier is None:
            raise
        return earlier


def _accept(context, db, unit, action_uuid):
    def landed(conn):
        # Under its own uuid, or folded into another one.
        action = (actions.find(conn, _a.uuid == action_uuid)
                  or actions.find(conn, actions.folded(context.request_id)))
        return action and Accepted(containers.by_uuid(conn, action.resource_uuid), action,
                                   folded=action.uuid != action_uuid)

    try:
        return db.transact(unit, landed)
    except _DryRun as done:
        return done.accepted


def _unless_dry(terms, accepted):
    if terms.dry_run:
        raise _DryRun(accepted)
    return accepted


def replayed(context, db, terms):
    """The answer that an earlier request with the same key got; None when there was none.

    Raises IdempotencyMismatch.
    """
    with db.read() as conn:
        earlier = idempotency.earlier(conn, context.project_id, terms)
        if earlier is None:
            return None
        action = actions.get(conn, earlier.resource_uuid, None)
        container = containers.by_uuid(conn, action.resource_uuid)
    db.transact(
        lambda conn: actions.add_request(conn, action.uuid, context.request_id),
        landed=lambda conn: actions.find(conn, actions.folded(context.request_id)))
    return Accepted(container, action, replayed=True)


def would_fold(context, db, op, ident, params, terms):
    """Whether a request would add no action but be folded into one that is queued already.

    Only as things are now: nothing is locked or written.  Raises ContainerNotFound.
    """
    with db.read() as conn:
        row = containers.get(conn, ident, context.project_scope)
        waiting = actions.unfinished(conn, CONTAINER, row.uuid) if row.task_state else []
    return _twin(context, op, params, terms, waiting) is not None


def _twin(context, op, params, terms, waiting):
    """The action that an equal request would be folded into, or None.

    Only the last in line will do: behind another one the same request means something else.
    """
    last = waiting[-1] if waiting else None
    if (op.coalesce and last is not None and last.status == states.QUEUED
            and last.operation == op.name and last.params == params
            and last.user_id == context.user_id
            and bool(last.run_anyway) == terms.run_anyway
            and last.timeout_seconds == terms.timeout_seconds
            and last.cancel_requested_at is None):
        return last
    return None


def _check(op, params, row, waiting, terms):
    """Raises InvalidState or QueueFull unless the operation may be queued."""
    status = row.projected_status or row.status
    if status not in op.statuses_for(params):
        because = ''
        if waiting:
            because = (f', which it will be in after action {waiting[-1].uuid} '
                       f'({waiting[-1].operation})')
        hint = f'It is possible in: {", ".join(sorted(op.allowed))}.'
        if op.name == 'delete' and status in op.statuses_for({'stop': True}):
            hint = 'Stop it first, or delete it with stop=true.'
        raise exceptions.InvalidState(operation=op.name, uuid=row.uuid, status=status,
                                      because=because, hint=hint)
    # Delete is never refused for this: it is what empties a queue.
    if terms.queue_limit and len(waiting) >= terms.queue_limit and op.name != 'delete':
        raise exceptions.QueueFull(uuid=row.uuid, count=len(waiting))


def _reserve(conn, context, row, changes, guard, defaults):
    """The columns of amounts while a change of them waits: none may be given away meanwhile.

    Raises QuotaExceeded.
    """
    if 'spec' not in changes:
        return {}
    taken, more = ({name: amounts.get(name) or defaults.get(name) or 0
                    for name in containers.AMOUNTS} for amounts in (row._mapping, changes['spec']))
    # Before anything else is read: the lock in it comes first.
    if guard is not None and row.project_id == context.project_id:
        guard(conn, more, taken)
    return {name: more[name] for name in more if more[name] > taken[name]}


def _check_name(conn, row, name):
    """Raises NameTaken if another live container has the name that this one is to get.

    Only a look: who is first in the end is decided when the name is given.
    """
    if name is not None and containers.name_is_taken(conn, row, name):
        raise exceptions.NameTaken(kind='container', name=name)


def _clear_the_way(conn, row, waiting):
    """For a forced delete: cancel what is queued, ask what runs to stop.

    Returns the container as it is then, what is still unfinished, and what was cancelled.
    """
    cancelled, values = [], {}
    for action in waiting:
        if action.operation == 'delete':
            continue
        if action.status == states.QUEUED and not _may_have_acted(action):
            cancelled.append(action.uuid)
            values.update(_never_made(action))
            actions.update(conn, action.uuid, _cancelled_values(
                'Cancelled by a forced delete of the container.'))
            _forget(conn, [action])
            audit.ended(conn, [(action, states.CANCELLED, None)])
            if action.pull_uuid:
                pulls.cancel_unless_waited_for(conn, action.pull_uuid)
        else:
            _request_cancel(conn, row, action)
    waiting = [action for action in waiting if action.uuid not in cancelled]
    if values:
        containers.update(conn, row.uuid, values)
    projected = _projected(values.get('status', row.status), waiting)
    row = _as_row(containers.table, {**row._mapping, **values, 'projected_status': projected})
    return row, waiting, tuple(cancelled)


def _enqueue(conn, context, op, uuid, params, container, sequence, time, terms):
    deadline = None
    if terms.timeout_seconds is not None:
        deadline = time + datetime.timedelta(seconds=terms.timeout_seconds)
    values = {
        'uuid': uuid, 'resource_type': CONTAINER, 'resource_uuid': container.uuid,
        'resource_name': container.name, 'sequence': sequence, 'operation': op.name,
        'params': params, 'project_id': container.project_id, 'user_id': context.user_id,
        'request_id': context.request_id, 'initiator': audit.initiator(context),
        'bay_uuid': container.bay_uuid,
        'status': states.QUEUED, 'attempts': 0, 'run_anyway': int(terms.run_anyway),
        'coalesced': 0, 'timeout_seconds': terms.timeout_seconds, 'deadline_at': deadline,
        'created_at': time}
    actions.insert(conn, values)
    return _as_row(actions.table, values)


def _as_row(table, values):
    """What reading a row just written would give, without asking for it."""
    return types.SimpleNamespace(**{**dict.fromkeys(table.c.keys()), **values})


# Cancel

def cancel(context, db, uuid):
    """Ask for an action to be cancelled.  Returns the action as it is then.

    One that never ran ends at once, with no effect for sure.  One that runs is asked to stop
    and to undo what it has half made; its conductor must be woken.  Asking again is the same.
    Raises ActionNotFound, TooLateToCancel.
    """
    with db.read() as conn:
        found = actions.get(conn, uuid, context.project_scope)

    def unit(conn):
        row = containers.lock_uuid(conn, found.resource_uuid)
        action = actions.find(conn, _a.uuid == uuid)
        reason = too_late(action)
        if reason:
            raise exceptions.TooLateToCancel(
                action=uuid, operation=action.operation, reason=reason)
        if action.status == states.QUEUED and not _may_have_acted(action):
            _cancel_queued(conn, row, action)
        elif action.cancel_requested_at is None:
            _request_cancel(conn, row, action)
        audit.record(
            conn, context, 'action:cancel',
            audit.Target('action', uuid, action.operation, action.project_id),
            container_uuid=row.uuid)
        return actions.find(conn, _a.uuid == uuid)

    return db.transact(unit, landed=lambda conn: actions.find(
        conn, _a.uuid == uuid, _a.cancel_requested_at.is_not(None)))


def too_late(action):
    """Why an action cannot be cancelled any more, in words; None when it can be."""
    if action.status in states.FINAL:
        return f'has ended already: {action.status}'
    op = operations.OPERATIONS[action.operation]
    if (action.status in states.CLAIMED and op.cancel != operations.UNDO
            and action.cancel_requested_at is None):
        return 'is being carried out, and its one step cannot be taken back'
    return None


def _may_have_acted(action):
    """Whether a queued action may have changed something on the engine in an earlier attempt."""
    return action.started_at is not None and (
        action.waiting_code != pulls.WAITING or bool(action.remembered))


def _cancelled_values(detail):
    return {'status': states.CANCELLED, 'finished_at': now(), 'waiting_code': None,
            'error': {'code': 'cancelled', 'title': 'Cancelled', 'stage': None,
                      'retriable': True, 'detail': detail, 'hint': None}}


def _cancel_queued(conn, row, action):
    actions.update(conn, action.uuid, {
        **_cancelled_values('Cancelled before it ran; it had no effect.'),
        'cancel_requested_at': now()})
    _settle(conn, row, _never_made(action), states.CANCELLED, action)
    if action.pull_uuid and action.waiting_code == pulls.WAITING:
        if pulls.cancel_unless_waited_for(conn, action.pull_uuid):
            words = 'The pull was ended.'
        elif pulls.find(conn, action.pull_uuid).status in states.FINAL:
            words = 'The pull had ended.'
        else:
            words = 'The pull goes on for others.'
        actions.update(conn, action.uuid, _cancelled_values(
            f'Cancelled while it waited for its image; nothing had been made. {words}'))


def _never_made(action):
    """What the container is when the action that ended without an effect was to make it."""
    if not operations.OPERATIONS[action.operation].creates:
        return {}
    return {'status': states.ERROR, 'status_reason': f'{action.operation} cancelled'}


def _request_cancel(conn, row, action):
    values = {'cancel_requested_at': now()}
    if action.status in states.CLAIMED:
        values['status'] = states.CANCELLING
    else:
        # It has been tried before: whoever claims it next undoes instead of going on.
        containers.update(conn, row.uuid, {'runnable_at': now()})
    actions.update(conn, action.uuid, values)


# Execution

@dataclasses.dataclass(frozen=True)
class Claim:
    """The right to run one action, until somebody else claims its container."""
    uuid: str
    fence: int
    action: object           # the row as claimed
    container: object        # the row as it was before
    seconds_left: float      # until its deadline
    first: bool              # nothing of the action has been tried before
    last: str                # why it was not done before, if it was tried

    @property
    def operation(self):
        return operations.OPERATIONS[self.action.operation]

    @property
    def image(self):
        """The image that its operation makes the container of."""
        return self.action.params.get('image') or self.container.image


def claim(db, container_uuid, conductor, admit, limit_of):
    """Take the oldest queued action of a container for this conductor.

    Returns the Claim, or None when nothing is queued, an older action of the container is
    unfinished, its time has not come, or ``admit(bay_uuid, urgent)`` says no.  Safe to call
    twice: the second gets None.  ``limit_of(op)`` is the seconds that an operation may take.
    """
    claim_uuid = new_uuid()
    claimed = []

    def unit(conn):
        row = containers.lock_uuid(conn, container_uuid)
        if row is None or row.runnable_at is None or row.runnable_at > row.db_now:
            return None
        if not admit(row.bay_uuid, bool(row.head_urgent)):
            return None
        head = next(iter(actions.unfinished(conn, CONTAINER, container_uuid, limit=1)), None)
        if head is None or head.status != states.QUEUED:
            # Else it would be found, and refused, again and again.
            containers.update(conn, row.uuid, {'runnable_at': None})
            return None
        op = operations.OPERATIONS[head.operation]
        fence, deadline = row.fence + 1, _deadline(head, row.db_now, limit_of(op))
        changes = {
            'status': (states.CANCELLING if head.cancel_requested_at
                       else states.ACTION_RUNNING),
            'claim_uuid': claim_uuid, 'fence': fence, 'conductor_uuid': conductor.uuid,
            'conductor': conductor.server, 'attempts': head.attempts + 1,
            'started_at': head.started_at or row.db_now, 'progress_at': row.db_now,
            'deadline_at': deadline, 'parked_at': None, 'stage': None, 'progress': None,
            'waiting_code': None, 'waiting_detail': None}
        containers.update(conn, row.uuid, {
            'fence': fence, 'running_action_uuid': head.uuid, 'runnable_at': None,
            'task_state': states.task_state(op.name), 'status': op.during or row.status})
        actions.update(conn, head.uuid, changes)
        # Kept as it is made: of the rows as they were before, nothing can be read any more.
        claimed[:] = [Claim(
            claim_uuid, fence, _as_row(actions.table, {**head._mapping, **changes}), row,
            (deadline - row.db_now).total_seconds(), not _may_have_acted(head),
            head.waiting_detail)]
        return claimed[0]

    def landed(conn):
        return actions.find(conn, actions.of_claim(claim_uuid)) and claimed[0]

    return db.transact(unit, landed)


def _deadline(action, time, limit):
    """When an action must have ended: from the first claim, parked time excluded."""
    if action.timeout_seconds is not None:
        return action.deadline_at
    if action.deadline_at is None:
        return time + datetime.timedelta(seconds=limit)
    if action.parked_at is not None:
        return action.deadline_at + (time - action.parked_at)
    return action.deadline_at


def owns(db, claim):
    """Whether a claim still holds, at this moment.  Raises DatabaseUnavailable."""
    with db.read() as conn:
        return actions.holds(conn, claim.action.uuid, claim.uuid)


def progress(db, claim, **values):
    """Write stage or progress of a running action.  Raises Fenced."""
    _write(db, claim, values)


def remember(db, claim, remembered):
    """Store what a later attempt must know, before acting.  Raises Fenced."""
    _write(db, claim, {'remembered': remembered})


def _write(db, claim, values):
    ours = db.transact(lambda conn: actions.update(
        conn, claim.action.uuid, {'progress_at': now(), **values},
        actions.of_claim(claim.uuid)), run_again)
    if not ours:
        raise exceptions.Fenced(container=claim.container.uuid)


def succeed(db, claim, observed, too_late=False):
    """End an action as succeeded, with what the driver observed.

    ``observed`` None means that the engine was not asked.  What the operation changes in the
    record of the container is changed with it.  Returns whether another action of the container
    is next.  Raises Fenced, NameTaken, and Cancelled when it was asked to stop before and can be
    undone: who asked was told that it will be.  ``too_late``: it cannot, as it turned out.
    """
    values, about = {}, {}
    if observed is not None:
        values = {**observation(observed), 'status_reason': None}
        if observed.result is not None:
            about['result'] = observed.result
    try:
        return _finish(db, claim, states.SUCCEEDED, values, changes=True,
                       undo=claim.operation.cancel == operations.UNDO and not too_late, **about)
    except db_exc.DBDuplicateEntry:
        name = claim.operation.changes_to(claim.container, claim.action.params)['name']
        raise exceptions.NameTaken(kind='container', name=name) from None


def fail(db, claim, error, observed=None, status=states.UNKNOWN, post_mortem=None, done=False):
    """End an action as failed and skip what depended on it.  Raises Fenced.

    ``error`` is a dict of code, title, detail, stage, retriable and hint.  The container gets
    what was observed on the engine; ``status`` where nothing could be.  ``done``: what it was to
    change there is changed, only its name could not be given.  Returns as ``succeed``.
    """
    values = observation(observed) if observed is not None else {'status': status}
    values['status_reason'] = error['detail']
    return _finish(db, claim, states.FAILED, values, changes=done, error=error,
                   post_mortem=post_mortem)


def end_cancelled(db, claim, observed, error):
    """End an action as cancelled, its effect undone or never made.  Raises Fenced.

    ``observed`` None means that nothing is left on the engine.  Returns as ``succeed``.
    """
    if observed is None:
        values = {'status': states.ERROR, 'engine_id': None, 'addresses': {},
                  'status_reason': f'{claim.operation.name} cancelled'}
    else:
        values = observation(observed)
    return _finish(db, claim, states.CANCELLED, values, error=error)


def observation(observed):
    """Column values for what a driver observed."""
    return {
        'status': observed.status, 'engine_id': observed.engine_id,
        'status_detail': observed.status_detail, 'exit_code': observed.exit_code,
        'oom_killed': observed.oom_killed, 'addresses': observed.addresses,
        'ports': list(observed.ports), 'started_at': observed.started_at,
        'finished_at': observed.finished_at, 'health': observed.health}


def _finish(db, claim, status, values, undo=False, changes=False, **about):
    action, uuid = claim.action, claim.container.uuid
    ours = [actions.of_claim(claim.uuid)]
    if undo:
        ours.append(_a.status != states.CANCELLING)

    def unit(conn):
        row = containers.lock_uuid(conn, uuid)
        if row.fence != claim.fence:
            raise exceptions.Fenced(container=uuid)
        if claim.operation.makes_image and 'result' in about:
            about['result'] = _with_image(conn, row, action, about['result'])
        if not actions.update(
                conn, action.uuid,
                {'status': status, 'finished_at': now(), 'progress': None, **about}, *ours):
            if landed(conn):
                return True           # written before, by a COMMIT whose answer was lost
            if undo and actions.find(conn, actions.of_claim(claim.uuid)):
                raise exceptions.Cancelled()
            raise exceptions.Fenced(container=uuid)
        if status == states.CANCELLED and action.pull_uuid:
            pulls.cancel_unless_waited_for(conn, action.pull_uuid)
        made = (claim.operation.changes_to(row, action.params, about.get('result'))
                if changes else {})
        if status == states.SUCCEEDED and 'name' in made:
            made['live_name'] = made['name']
        elif status != states.SUCCEEDED:
            made.pop('name', None)
        return _settle(conn, row, {**values, **made}, status, action, about.get('error'))

    def landed(conn):
        # Whether another is next was in the answer that was lost; a look more does no harm.
        return actions.find(conn, _a.claim_uuid == claim.uuid, _a.status == status) and True

    return db.transact(unit, landed)


def _with_image(conn, row, action, result):
    """The result of an operation that made an image, with the uuid that this is known by.

    Raises NameTaken.
    """
    about = {name: result[name] for name in ('image_id', 'digest', 'size')}
    _, known = images.made(conn, row.project_id, row.bay_uuid, result['repo'], result['tag'])
    if known is not None and known.status in images.BUSY:
        audit.image_ended(conn, known, states.CANCELLED)
    return {**result, 'uuid': images.record_local(
        conn, new_uuid(), project_id=row.project_id, user_id=action.user_id,
        bay_uuid=row.bay_uuid, repo=result['repo'], tag=result['tag'], about=about)}


def _settle(conn, row, values, status, ended, error=None):
    """After an action ended: skip what depended on it, then say what the container is now.

    Returns whether another action is next.
    """
    _forget(conn, [ended])
    waiting = actions.unfinished(conn, CONTAINER, row.uuid)
    doomed = [] if status == states.SUCCEEDED else _skip(conn, waiting, ended, status)
    audit.ended(conn, [(ended, status, error and error.get('code')),
                       *((action, states.SKIPPED, None) for action in doomed)])
    waiting = [action for action in waiting if action not in doomed]
    real = values.get('status', row.status)
    values = {**values, 'projected_status': _projected(real, waiting),
              **_amounts(row, values.get('spec', row.spec), waiting)}
    head = waiting[0] if waiting else None
    if head is None:
        values.update(running_action_uuid=None, task_state=None, runnable_at=None)
    elif head.sequence > ended.sequence:
        # What ended was the head: the next one's turn has come.
        op = operations.OPERATIONS[head.operation]
        values.update(running_action_uuid=None, task_state=states.task_state(op.name),
                      runnable_at=now(), head_urgent=int(op.urgent))
    if real == states.DELETED:
        values.update(live_name=None, deleted_at=now())
        if row.spec.get('files'):
            payloads.delete(conn, [row.uuid])
        secret_values.delete(conn, [row.uuid])
    containers.update(conn, row.uuid, values)
    return head is not None


def _amounts(row, spec, waiting):
    """The columns of amounts: what a spec says, or the most that a change that waits will take."""
    columns = {}
    for name in containers.AMOUNTS:
        coming = [action.params[name] for action in waiting
                  if operations.OPERATIONS[action.operation].changes and action.params.get(name)]
        if not coming:
            columns[name] = spec.get(name)
        elif spec.get(name):
            columns[name] = max(spec[name], *coming)
        else:
            # It has a default, which is known only where changes are accepted: nothing is freed
            # before the last one has ended.
            columns[name] = getattr(row, name)
    return columns


def _skip(conn, waiting, cause, status):
    """Skip what stands behind an action that did not succeed; returns what was.

    A delete is never skipped, nor what was accepted to run anyway, nor what stands behind.
    """
    doomed = []
    for action in waiting:
        if action.sequence < cause.sequence:
            continue
        if action.operation == 'delete' or action.run_anyway:
            break
        doomed.append(action)
    _forget(conn, doomed)
    if doomed:
        actions.update_all(conn, [action.uuid for action in doomed], {
            'status': states.SKIPPED, 'caused_by': cause.uuid, 'finished_at': now(),
            'waiting_code': None,
            'error': {'code': 'skipped', 'title': 'Skipped', 'stage': None, 'retriable': True,
                      'detail': f'Not run, because action {cause.uuid} ({cause.operation}) '
                                f'before it ended {status}.',
                      'hint': 'Ask for it again when the cause is mended.'}})
    return doomed


def _forget(conn, ended):
    """Drop what actions that have ended were given to work with, and what is secret of it."""
    owners = [action.uuid for action in ended
              if operations.OPERATIONS[action.operation].payload]
    if owners:
        payloads.delete(conn, owners)
    for action in ended:
        secret = [param.name for param in operations.OPERATIONS[action.operation].secrets
                  if action.params.get(param.name)]
        if secret:
            secret_values.delete(conn, [action.uuid])
            # Where there are no keys the values are in the row itself.
            actions.update(conn, action.uuid, {'params': {
                **action.params, **{name: sorted(action.params[name]) for name in secret}}})


def _projected(status, waiting):
    """The status once all that waits has succeeded; None when nothing waits."""
    if not waiting:
        return None
    for action in waiting:
        status = operations.OPERATIONS[action.operation].target_for(action.params, status)
    return status


def requeue(db, claim, code, detail, delay, *, parked=False):
    """Hand an action back to the queue, to be claimed again after ``delay`` seconds.

    ``code`` and ``detail`` say why it waits.  ``parked``: it could not even be tried, so
    neither the attempt nor the time counts.  Raises Fenced.
    """
    values = {'waiting_code': code, 'waiting_detail': detail}
    if parked:
        values.update(attempts=claim.action.attempts - 1, parked_at=now())

    def unit(conn):
        pull = claim.action.pull_uuid and pulls.find(conn, claim.action.pull_uuid)
        if pull and pull.status == states.FAILED and not parked:
            values['pull_uuid'] = None      # it would fail the next attempt too
        _back_to_queue(conn, claim, now(delay), values)
        return True

    db.transact(unit, landed=lambda conn: _handed_back(conn, claim))


def wait_for_pull(db, claim):
    """Hand an action back until its image has been pulled, by one pull for all that want it.

    It is pulled with the credentials of the registry that was named for the container, or of the
    only one that its project has for that domain.  The time does not count: a pull is judged by
    its progress.  Returns the uuid of the pull.  Raises Fenced, and Cancelled when it was asked
    to stop meanwhile.
    """
    def unit(conn):
        row = containers.lock_uuid(conn, claim.container.uuid)
        if actions.find(conn, actions.of_claim(claim.uuid), _a.status == states.CANCELLING):
            raise exceptions.Cancelled()
        registry_uuid, pull = _join_pull(conn, row, claim.image)
        containers.update(conn, row.uuid, {'registry_uuid': registry_uuid})
        _back_to_queue(conn, claim, None, {
            'waiting_code': pulls.WAITING, 'waiting_detail': f'Image {claim.image} is pulled.',
            'attempts': claim.action.attempts - 1, 'parked_at': now(), 'pull_uuid': pull})
        return pull

    def landed(conn):
        action = _handed_back(conn, claim)
        return action and action.pull_uuid

    try:
        return db.transact(unit, landed)
    except db_exc.DBDuplicateEntry:
        return db.transact(unit, landed)    # somebody began the same pull now: join that one


def _join_pull(conn, row, image):
    """Have the image of a container pulled; returns whose credentials that needs, and the pull."""
    asked = references.parse(image)
    registry_uuid = registries.of_image(conn, row.project_id, asked, row.registry_uuid)
    # This one first: it lets one at a time through, and a look for an image that is not there
    # holds up who makes it.
    pull = pulls.join(conn, row.bay_uuid, str(asked), new_uuid(), registry_uuid)
    known = images.named(conn, row.project_id, row.bay_uuid, asked.name, asked.version)
    if known is not None and known.status == images.DELETING:
        audit.image_ended(conn, known, states.CANCELLED)
    images.expect(conn, known, new_uuid(), pull, registry_uuid, project_id=row.project_id,
                  user_id=row.user_id, bay_uuid=row.bay_uuid, repo=asked.name,
                  tag=asked.version)
    return registry_uuid, pull


def _handed_back(conn, claim):
    """The action, if it is queued again by who had this claim; others would raise the fence."""
    action = actions.find(conn, _a.uuid == claim.action.uuid, _a.status == states.QUEUED)
    row = containers.by_uuid(conn, claim.container.uuid)
    return action if row.fence == claim.fence else None


def _back_to_queue(conn, claim, runnable_at, values):
    uuid = claim.container.uuid
    row = containers.lock_uuid(conn, uuid)
    if row.fence != claim.fence or not actions.update(
            conn, claim.action.uuid, {**_QUEUED_AGAIN, **values},
            actions.of_claim(claim.uuid)):
        raise exceptions.Fenced(container=uuid)
    asked = actions.find(conn, _a.uuid == claim.action.uuid).cancel_requested_at
    if asked is not None and claim.action.cancel_requested_at is None:
        runnable_at = now()           # there is something to undo, or nothing to wait for
    containers.update(conn, uuid, {
        'running_action_uuid': None, 'runnable_at': runnable_at,
        'head_urgent': int(claim.operation.urgent), 'status': claim.container.status})


_QUEUED_AGAIN = {
    'status': states.QUEUED, 'claim_uuid': None, 'conductor_uuid': None, 'stage': None,
    'progress': None}


def take_over(db, action, *, counts=True, max_attempts=None):
    """Free the container of a running action whose conductor is dead.

    By the operation's row it is queued again, to be driven to its state by whoever claims it,
    or ended as interrupted when it must never run twice.  ``counts``: the death counts as an
    attempt, and after ``max_attempts`` (None: never) it has failed.  ``action`` is the row that
    was found abandoned; one that has moved on since is left alone.  Returns whether it was freed.
    """
    op = operations.OPERATIONS[action.operation]
    if not op.may_run_again(action.params):
        return _end_abandoned(db, action, states.INTERRUPTED, _interrupted('died'), {})
    # What removes is never given up: a delete, and the undoing of what was cancelled.
    given_up = counts and max_attempts is not None and action.attempts >= max_attempts
    if given_up and op.name != 'delete' and action.cancel_requested_at is None:
        error = as_error(exceptions.AttemptsExhausted(attempts=action.attempts), action.stage)
        return _end_abandoned(db, action, states.FAILED, error, {'status': states.UNKNOWN})
    # The time in which nobody was at it does not count.
    last_heard = action._mapping.get('last_heard') or now()
    return _free(db, action, 'action:take_over', now(), {
        'waiting_code': 'taken_over', 'parked_at': last_heard,
        'waiting_detail': 'Its conductor died; another one goes on with it.',
        'attempts': action.attempts if counts else action.attempts - 1})


def hand_back(db, action, delay):
    """Free the container of a running action that its conductor lets go of in order to stop.

    As ``take_over``, but it counts no attempt.  ``delay``: seconds for which a call of it may
    still be under way on the engine.
    """
    op = operations.OPERATIONS[action.operation]
    if not op.may_run_again(action.params):
        return _end_abandoned(db, action, states.INTERRUPTED, _interrupted('was stopped'), {})
    return _free(db, action, 'action:hand_back', now(delay), {
        'waiting_code': 'handed_back', 'parked_at': now(),
        'waiting_detail': 'Its conductor was stopped; another one goes on with it.',
        'attempts': action.attempts - 1})


def _free(db, action, what, runnable_at, changes):
    op = operations.OPERATIONS[action.operation]

    def unit(conn):
        row = containers.lock_uuid(conn, action.resource_uuid)
        if not actions.update(conn, action.uuid, {**_QUEUED_AGAIN, **changes},
                              actions.of_claim(action.claim_uuid)):
            return False
        containers.update(conn, row.uuid, {
            'running_action_uuid': None, 'runnable_at': runnable_at, 'fence': row.fence + 1,
            'head_urgent': int(op.urgent)})
        audit.record(
            conn, None, what, audit.Target('action', action.uuid, op.name, action.project_id),
            container_uuid=row.uuid, conductor=action.conductor)
        return True

    return db.transact(unit, run_again)


def _end_abandoned(db, action, status, error, values):
    def unit(conn):
        row = containers.lock_uuid(conn, action.resource_uuid)
        if not actions.update(
                conn, action.uuid, {'status': status, 'finished_at': now(), 'error': error},
                actions.of_claim(action.claim_uuid)):
            return False
        _settle(conn, row, {**values, 'fence': row.fence + 1,
                            'status_reason': error['detail']}, status, action, error)
        return True

    return db.transact(unit, run_again)


def _interrupted(how):
    return {
        'code': 'interrupted', 'title': 'Interrupted', 'stage': None, 'retriable': False,
        'detail': f'Its conductor {how} while it ran, and it must not run twice: whether it '
                  'took effect is not known.',
        'hint': 'Look at the container, then decide whether to ask for it again.'}


def expire(db, action):
    """End a queued action whose Operation-Timeout is over.  Returns whether it was ended."""
    error = exceptions.DeadlineExceeded(
        seconds=action.timeout_seconds,
        last=action.waiting_detail or 'it was waiting for its turn.')

    def unit(conn):
        row = containers.lock_uuid(conn, action.resource_uuid)
        if not actions.update(conn, action.uuid, {
                'status': states.FAILED, 'finished_at': now(), 'error': as_error(error)},
                _a.status == states.QUEUED, _a.deadline_at <= now()):
            return False
        values = {**_never_made(action), 'status_reason': error.detail}
        _settle(conn, row, values, states.FAILED, action, as_error(error))
        if action.pull_uuid:
            pulls.cancel_unless_waited_for(conn, action.pull_uuid)
        return True

    return db.transact(unit, run_again)


def as_error(exc, stage=None):
    """An exception as the ``error`` of an action."""
    return {'code': exc.code, 'title': exc.title, 'detail': exc.detail, 'stage': stage,
            'hint': exc.hint, 'retriable': bool(getattr(exc, 'retriable', False))}


# Observation

KEEP = object()         # what is there stays


def observe(db, row, observed, reason=None, happened=None):
    """Record what the reconciler saw.  Returns whether it was written.

    Only where nothing is unfinished and nobody has claimed the container since ``row`` was read,
    so that an old look never hides the result of an action.  ``happened`` is the event that goes
    with it, as (type, detail): it is told if and only if the observation is written.
    """
    values = observation(observed)
    if reason is not KEEP:
        values['status_reason'] = reason
    return _observed(db, row, values, happened)


def lose(db, row, reason, happened=None):
    """Record that a container is not on its engine any more.  As ``observe``."""
    return _observed(db, row, {
        'status': states.ERROR, 'status_reason': reason, 'status_detail': None,
        'addresses': {}, 'health': None}, happened)


def _observed(db, row, values, happened):
    event_uuid = new_uuid()

    def unit(conn):
        if not containers.update(conn, row.uuid, values, _c.fence == row.fence,
                                 _c.task_state.is_(None), _c.deleted_at.is_(None)):
            return False
        if happened is not None:
            kind, detail = happened
            events.insert(conn, kind, uuid=event_uuid, bay_uuid=row.bay_uuid,
                          project_id=row.project_id, container_uuid=row.uuid, **detail)
        return True

    return db.transact(unit, lambda conn: events.find(conn, event_uuid) and True)


def adopt(db, stray, described, name, project_id, user_id, confided=None):
    """Make a container of what an engine has and the database did not know.

    It keeps its uuid and generation, which its name and labels on the engine are made of, and
    ``confided``, {name: encrypted text}.
    Returns whether it was there to be adopted.  Raises NameTaken, Conflict.
    """
    def unit(conn):
        if containers.by_uuid(conn, stray.container_uuid) is not None:
            raise exceptions.Conflict(
                f'There is, or was, a container with uuid {stray.container_uuid}.')
        if not strays.delete(conn, stray.uuid):
            return False
        time = conn.execute(sa.select(now())).scalar_one()
        containers.insert(conn, {
            'uuid': stray.container_uuid, 'project_id': project_id, 'user_id': user_id,
            'name': name, 'live_name': name, 'bay_uuid': stray.bay_uuid,
            'image': described.image, 'spec': described.spec, 'next_sequence': 1,
            'head_urgent': 0, 'generation': stray.generation, 'fence': 0, 'created_at': time,
            'updated_at': time, **observation(described.observed)})
        secret_values.delete(conn, [stray.container_uuid])      # of before a restore
        secret_values.insert(conn, stray.container_uuid, confided)
        strays.count(conn, stray.bay_uuid)
        events.insert(conn, events.STRAY_ADOPTED, bay_uuid=stray.bay_uuid, project_id=project_id,
                      container_uuid=stray.container_uuid, engine_id=stray.engine_id, name=name)
        audit.settled(conn, stray, 'adopt', audit.Target(
            CONTAINER, stray.container_uuid, name, project_id))
        return True

    try:
        return db.transact(unit, lambda conn: containers.by_uuid(
            conn, stray.container_uuid) and True)
    except db_exc.DBDuplicateEntry:
        raise exceptions.NameTaken(kind='container', name=name) from None
