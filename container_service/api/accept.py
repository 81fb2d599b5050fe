# SPDX-License-Identifier: Apache-2.0
"""What every asynchronous request goes through: its terms, limits, the bell, the wait, the
answer.

The route is found by ``controllers/containers.py``; what is legal is decided by
``lifecycle.py``.
"""

import contextlib
import hashlib
import json
import re
import time

import pecan

from container_service import archives
from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import secrets
from container_service.api import intake
from container_service.api import versions
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import actions
from container_service.db import containers

_LONGEST_WAIT = 300
_LONGEST_TIMEOUT = 7 * 24 * 3600
_ENCODED = (1, 25)                  # archives are text as they are before, base64 from then on
_KEY = re.compile(r'[\x21-\x7e]{1,255}')


def read_terms(controller, options, op=None):
    """The terms of a request, from its options and headers.  Raises InvalidParameter.

    ``op`` is the operation, where it is one on a container.
    """
    headers = pecan.request.headers
    key = headers.get('Idempotency-Key')
    if key is not None and not _KEY.fullmatch(key):
        raise exceptions.InvalidParameter(
            name='Idempotency-Key', reason='must be 1 to 255 visible ASCII characters')
    timeout = headers.get('Operation-Timeout')
    if timeout is not None:
        timeout = _whole(timeout, 'Operation-Timeout', 1, _LONGEST_TIMEOUT)
    return lifecycle.Terms(
        **options, timeout_seconds=timeout, key=key,
        fingerprint=key and _fingerprint(pecan.request, op),
        queue_limit=controller.parts.conf.api.container_queue_limit)


def split(arguments):
    """Separate the options that every operation has from its own parameters."""
    options = {param.name: arguments.pop(param.name) for param in operations.OPTIONS}
    return options, arguments


def _whole(value, name, minimum, maximum):
    if not (value.isascii() and value.isdigit() and len(value) <= 12
            and minimum <= int(value) <= maximum):
        raise exceptions.InvalidParameter(
            name=name, reason=f'must be seconds from {minimum} to {maximum}')
    return int(value)


def _fingerprint(request, op):
    """What makes two requests the same: method, address, query and body."""
    body = _without_secrets(intake.body(request), op)
    text = json.dumps([request.method, request.path_info.strip('/'),
                       sorted(request.GET.items()), body], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _without_secrets(body, op):
    """A body without the password of a registry and the values of secret variables.

    They can be guessed from what is stored of them.  What else is called so may make another
    request of it, as a variable does.
    """
    secret = {'secret_environment', *(param.name for param in op.secrets)} if op else ()
    body = {name: sorted(value) if name in secret and isinstance(value, dict) else
            None if name in secret else value for name, value in body.items()}
    registry = body.get('registry')
    if not isinstance(registry, dict):
        return body
    return {**body, 'registry': {
        name: value for name, value in registry.items() if name != 'password'}}


def _seconds_to_wait():
    """N of ``Prefer: wait=N``, at most 300; None without one."""
    for part in pecan.request.headers.get('Prefer', '').split(','):
        name, _, value = part.partition(';')[0].strip().partition('=')
        if name.strip().lower() == 'wait':
            return min(_whole(value.strip().strip('"'), 'Prefer: wait', 0, 10 ** 9),
                       _LONGEST_WAIT)
    return None


def operation(controller, op, ident, arguments):
    """Accept an operation on a container and answer it."""
    options, params = split(arguments)
    if op.needs_one and all(value is None for value in params.values()):
        raise exceptions.Invalid('Nothing is to be changed. What can be: '
                                 f'{", ".join(param.wire_name for param in op.params)}.')
    terms, wait = read_terms(controller, options, op), _seconds_to_wait()
    older = controller.version < versions.OWN_SHAPES
    if older and op.waited:
        wait = controller.parts.conf.api.sync_timeout
    if op.takes_archive and terms.key is None:
        # To look through an archive costs more than to see that there is nowhere to put it.
        with controller.parts.db.read() as conn:
            containers.get(conn, ident, controller.context.project_scope)
    if op.payload and params[op.payload] is not None:
        params[op.payload] = _received(controller, op, params[op.payload])
    params, confided = secrets.seal(op, params, controller.parts.keys)
    request = (controller.context, controller.parts.db, op, ident, params, terms)
    quotas = controller.parts.quotas
    guard = quotas.guard(controller.context.project_id) if op.changes else None
    accepted = _within_limits(
        controller, op, terms, lambda: lifecycle.submit(
            *request, guard=guard, defaults=quotas.defaults, confided=confided,
            sources=controller.parts.sources),
        adds_nothing=lambda: op.coalesce and lifecycle.would_fold(*request))
    if terms.dry_run:
        return _verdict(controller, op, params, accepted)
    ended = _tell(controller, accepted, wait)
    if older:
        return _older_answer(controller, op, accepted, ended)
    pecan.response.status = 200 if ended else 202
    pecan.response.headers['Location'] = (
        f'{controller.base}/v1/actions/{accepted.action.uuid}')
    return _action_view(controller, accepted, ended)


def _received(controller, op, text):
    """The bytes of a payload.  Raises what ``archives.received`` does."""
    if not op.takes_archive:
        return text.encode()
    return archives.received(text, controller.parts.conf.api.max_archive_bytes,
                             encoded=controller.version >= _ENCODED)


def is_preferred():
    """Whether ``Prefer: respond-async`` asks for a call to be recorded instead."""
    return any(part.strip().lower() == 'respond-async'
               for part in pecan.request.headers.get('Prefer', '').split(','))


def recorded(controller, op, ident, arguments):
    """Accept what would be a call otherwise; its result is kept."""
    pecan.response.headers['Preference-Applied'] = 'respond-async'
    return operation(controller, op, ident, {
        **{param.name: param.default for param in operations.OPTIONS},
        **{param.name: arguments[param.name] for param in op.params}})


def _older_answer(controller, op, accepted, ended):
    """What clients up to 1.40 expect: for some operations nothing less than what came of it."""
    if op.waited:
        if ended is None:
            raise exceptions.ActionUnfinished(
                action=accepted.action.uuid, operation=op.name)
        if ended.error is not None:
            raise exceptions.Error.from_dict(ended.error)
    if op.older_body == operations.EMPTY:
        return base.empty(op.older_status)
    pecan.response.status = op.older_status
    if op.older_body == operations.CONTAINER:
        with controller.parts.db.read() as conn:
            row = containers.by_uuid(conn, accepted.container.uuid)
        return views.container(row, controller.base, controller.context.is_admin)
    return ended.result if op.older_body == operations.RESULT else None


def creation(controller, op, *, name, image, spec, files, secret, place, options):
    """Accept the creation of a container and answer it; ``secret`` are variables."""
    terms, wait = read_terms(controller, options, op), _seconds_to_wait()
    context, parts = controller.context, controller.parts
    confided = secret and {'secret_environment': secrets.seal_value(parts.keys, secret)}
    accepted = _within_limits(controller, op, terms, lambda: lifecycle.create(
        context, parts.db, op, name=name, image=image, spec=spec, files=files, terms=terms,
        confided=confided, guard=parts.quotas.guard(context.project_id), sources=parts.sources,
        **place))
    if terms.dry_run:
        return _verdict(controller, op, {}, accepted)
    ended = _tell(controller, accepted, wait)
    row = accepted.container
    if ended or accepted.replayed:
        with contextlib.suppress(exceptions.DatabaseUnavailable), parts.db.read() as conn:
            row = containers.by_uuid(conn, row.uuid)
    own = controller.version >= versions.OWN_SHAPES
    pecan.response.status = 200 if ended and own else 202
    pecan.response.headers['Location'] = f'{controller.base}/v1/containers/{row.uuid}'
    view = views.container(row, controller.base, context.is_admin)
    if own:
        view['action'] = _action_view(controller, accepted, ended)
    return view


def _within_limits(controller, op, terms, accept, adds_nothing=lambda: False):
    """Accept what the limits let through, and give back what was not used.

    What has its action already, by its key or by being folded, is let through beyond them.
    """
    limits, project = controller.parts.limits, controller.context.project_id
    counted = op.name != 'delete'         # what empties queues is never held up
    try:
        if counted:
            limits.check(project, urgent=op.urgent)
    except (exceptions.TooManyActions, exceptions.Unavailable):
        earlier = lifecycle.replayed(controller.context, controller.parts.db, terms)
        if earlier is not None:
            return earlier
        if not adds_nothing():
            raise
        counted = False
    used = False
    try:
        accepted = accept()
        used = not (accepted.replayed or accepted.folded or terms.dry_run)
    except exceptions.QueueFull as exc:
        exc.retry_after = limits.retry_after()
        raise
    finally:
        if counted and not used:
            limits.not_used(project)
    return accepted


def _verdict(controller, op, params, accepted):
    """The answer to a dry run: nothing was changed."""
    controller.context.asked.recorded = True        # the audit trail is of changes
    row = accepted.container
    status = row.projected_status or row.status
    pecan.response.status = 200
    return {
        'dry_run': True, 'accepted': True, 'operation': op.name,
        'container_uuid': None if op.creates else row.uuid,
        'status': None if op.creates else row.status,
        'projected_status': op.target_for(params, status),
        'folded_into': accepted.action.uuid if accepted.folded else None,
        'waits_for': [{'uuid': action.uuid, 'operation': action.operation,
                       'status': action.status} for action in accepted.waits_for],
        'cancels': list(accepted.cancelled),
    }


def _tell(controller, accepted, seconds):
    """After the commit: wake a conductor, wait if that is wanted (``seconds`` is not None).

    Returns the action when it was waited for and has ended.
    """
    parts, action, container = controller.parts, accepted.action, accepted.container
    headers = pecan.response.headers
    headers['Link'] = f'<{controller.base}/v1/actions/{action.uuid}>; rel="monitor"'
    if accepted.replayed:
        headers['Idempotency-Replayed'] = 'true'
    if seconds is not None:
        headers['Preference-Applied'] = 'wait'
    if parts.conf.api.async_enable:
        if not (accepted.folded or accepted.replayed):
            parts.doorbell.ring(container.uuid, container.bay_uuid)
        if seconds is None:
            return None
        until = time.monotonic() + seconds
    else:
        seconds = parts.conf.api.sync_timeout if seconds is None else seconds
        until = time.monotonic() + seconds
        parts.calls.ring(container.uuid, container.bay_uuid, seconds,
                         controller.context.project_id)
    try:
        if not parts.waiting.wait([action.uuid], max(0, until - time.monotonic()),
                                  project_id=controller.context.project_id):
            return None
        with parts.db.read() as conn:
            return actions.get(conn, action.uuid, None)
    except (exceptions.TooManyWaiters, exceptions.DatabaseUnavailable) as exc:
        # It is accepted, and whoever asked must learn that, whatever became of the wait.
        headers['Retry-After'] = str(exc.retry_after)
        headers.pop('Preference-Applied', None)
        return None


def _action_view(controller, accepted, ended):
    admin = controller.context.is_admin
    if ended is not None:
        return views.action(ended, controller.base, admin)
    action = accepted.action
    behind = accepted.waits_for[-1] if accepted.waits_for else None
    return views.action(action, controller.base, admin, position=len(accepted.waits_for),
                        behind=behind and (behind.uuid, behind.operation))
