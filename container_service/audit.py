# SPDX-License-Identifier: Apache-2.0
"""The audit trail: who did what, when, from where, and with which outcome.

A change has its row in the transaction that makes it, so that there is none without the other.
What is accepted to be done later has a second row when it ends, by whoever ends it.  Requests
that changed nothing are recorded by ``api/trail.py``.  What is written here has no
values that a caller sent, only the names of fields, but for those that say what it was done to:
``doc/source/admin/audit.rst`` lists them.

The story goes on in ``notifications.py``, which tells the world, after the commit.
"""

import dataclasses
import functools
import hashlib
import json
import typing
import uuid as uuids

from container_service import exceptions
from container_service import operations
from container_service import references
from container_service import states
from container_service.db import audit

# Outcomes, as CADF has them.
PENDING = 'pending'         # accepted; there is another row of the same action when it has ended
SUCCESS = 'success'
FAILURE = 'failure'
UNKNOWN = 'unknown'         # it may have had its effect or not

OUTCOMES = (PENDING, SUCCESS, FAILURE, UNKNOWN)

_OUTCOMES = {states.SUCCEEDED: SUCCESS, states.INTERRUPTED: UNKNOWN}

# Errors that leave open whether what was asked for was done.
_IN_DOUBT = (exceptions.CallOutcomeUnknown.code, exceptions.GatewayTimeout.code,
             exceptions.OutcomeUnknown.code)

# Who did it where nobody had asked for it.
SERVICE = 'service'

_MOST_NAMES = 100


@dataclasses.dataclass(frozen=True)
class Target:
    """What something was done to, or was to be."""
    kind: str
    uuid: str = None
    name: str = None
    project_id: str = None

    @classmethod
    def of(cls, kind, row):
        return cls(kind, row.uuid, row.name, row.project_id)


def of_image(row):
    return Target('image', row.uuid, references.join(row.repo, row.tag), row.project_id)


@dataclasses.dataclass
class Asked:
    """What is known of a request while it is answered; ``context.asked``."""
    rule: str = None            # of policy, that stands for what is to be done
    target: Target = None
    details: dict = dataclasses.field(default_factory=dict)
    recorded: bool = False      # the trail has it, or need not
    begun: bool = False         # the trail has that it was begun, and must have its end
    # Whether it takes one more row of what changes nothing, and how many it has not had before.
    admit: typing.Callable = lambda: (True, 0)
    admitted: tuple = None      # what that said


def initiator(context):
    """Who asks, as columns; without a context nobody: a conductor of its own accord."""
    if context is None:
        return {'authenticated_by': SERVICE}
    return {'request_id': context.request_id, 'user_id': context.user_id,
            'user_project_id': context.project_id, 'roles': sorted(context.roles),
            'source': context.source, 'authenticated_by': context.authenticated_by}


def action_of(rule):
    """A rule of policy in the words of the trail: ``container:start`` is ``start/container``."""
    kind, _, verb = rule.partition(':')
    return f'{verb}/{kind}'


def record(conn, context, rule, target, *, outcome=SUCCESS, action_uuid=None, **details):
    """Add to the trail that this was done, in the transaction that does it."""
    details = {name: value for name, value in details.items() if value}
    if context is not None and context.asked is not None:
        details = {**context.asked.details, **details}
    row = {**initiator(context), **_about(rule, target), 'outcome': outcome,
           'action_uuid': action_uuid, 'details': details or None}
    if row['project_id'] is None and context is not None:
        row['project_id'] = context.project_id
    _add(conn, [row], context)


def record_fold(conn, context, rule, target, **values):
    """Add that a request was folded into an action, unless there are too many of what changes
    nothing."""
    asked, missed = context.asked, 0
    if asked is not None:
        # Once, however often the transaction runs.
        asked.admitted = asked.admitted or asked.admit()
        admitted, missed = asked.admitted
        if not admitted:
            asked.recorded = True
            return
    record(conn, context, rule, target, folded=True, left_out_before=missed, **values)


def _about(rule, target):
    return {'action': action_of(rule), 'target_type': target.kind, 'target_uuid': target.uuid,
            'target_name': target.name, 'project_id': target.project_id}


def record_answer(conn, context, status, code, details):
    """Add what a request was answered, of which the trail has nothing or the beginning."""
    asked = context.asked
    row = {**initiator(context), 'project_id': context.project_id,
           'action': action_of(asked.rule) if asked.rule else UNKNOWN,
           'outcome': _outcome(code), 'status': status, 'code': code, 'details': details}
    if asked.target is not None:
        about = _about(asked.rule, asked.target)
        row.update(about, project_id=about['project_id'] or context.project_id)
    _add(conn, [row])


def _outcome(code):
    if code is None:
        return SUCCESS
    return UNKNOWN if code in _IN_DOUBT else FAILURE


def ended(conn, ends):
    """Add that actions on containers have ended: (action, status, code of the error or None)."""
    rows = []
    for action, status, code in ends:
        who = action.initiator or {
            'request_id': action.request_id, 'user_id': action.user_id,
            'user_project_id': action.project_id, 'authenticated_by': UNKNOWN}
        target = Target('container', action.resource_uuid, action.resource_name,
                        action.project_id)
        rows.append({
            **who, **_about(operations.OPERATIONS[action.operation].policy, target),
            'outcome': _OUTCOMES.get(status, FAILURE), 'action_uuid': action.uuid,
            'code': None if status == states.SUCCEEDED else code or status})
    _add(conn, rows)


def settled(conn, stray, verb, target, code=None):
    """Add that a stray was adopted or removed, as somebody had wanted; or the code of why not."""
    who = (stray.wanted_by or {}).get('initiator') or {'authenticated_by': SERVICE}
    _add(conn, [{**who, **_about(f'stray:{verb}', target),
                 'outcome': FAILURE if code else SUCCESS, 'code': code,
                 'details': {'bay_uuid': stray.bay_uuid, 'engine_id': stray.engine_id}}])


def image_ended(conn, image, code=None):
    """Add that what was under way with an image has ended, for each who had asked for it."""
    rows = [{**began._mapping, 'outcome': FAILURE if code else SUCCESS, 'code': code,
             'details': None}
            for began in audit.begun(conn, image.pull_uuid, image.uuid, PENDING)]
    if rows:
        _add(conn, rows)


def _add(conn, rows, context=None):
    rows = [{**row, 'uuid': str(uuids.uuid4())} for row in rows]
    audit.insert(conn, rows)
    after = conn.get_execution_options().get('after_commit')
    if after is not None:
        after.append(functools.partial(_committed, rows, context))


def _committed(rows, context, tell):
    if context is not None and context.asked is not None:
        context.asked.recorded = True
    for row in rows:
        tell(row)


def fields(given):
    """The names of what was given, without the values, which may be secret."""
    return sorted(name for name, value in given.items() if value is not None)[:_MOST_NAMES]


def of_command(command):
    """What is told of a command that runs in a container: enough to compare, and no content."""
    text = json.dumps(command, separators=(',', ':'))
    return {'command_sha256': hashlib.sha256(text.encode()).hexdigest(),
            'command_bytes': sum(len(word.encode()) for word in command)}


def of_parameters(op, params):
    """What is told of the parameters of an operation."""
    told = {'fields': fields({param.wire_name: params.get(param.name) for param in op.params
                              if params.get(param.name) != param.default})}
    if op.name in ('execute', 'execution') and params.get('command'):
        told.update(of_command(params['command']))
    return told


def printable(text, limit=255):
    """Words of a caller as they can be kept."""
    return exceptions.printable(text)[:limit]
