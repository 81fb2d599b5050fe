# SPDX-License-Identifier: Apache-2.0
"""Operations whose answer is the content: asked of a conductor, or read from what is recorded.

What the driver returned is the answer.  Where older clients expect another shape, a function of
the operation's name below makes it; an operation that is new needs none.  The route is found by
``controllers/containers.py``; the story goes on in ``calls.py``.
"""

import base64
import binascii

import pecan

from container_service import audit
from container_service import exceptions
from container_service import operations
from container_service import secrets
from container_service.api import versions
from container_service.api import views
from container_service.db import bays
from container_service.db import containers
from container_service.db.base import run_again

_MIB = 1024 * 1024


def answer(controller, op, ident, params):
    """Carry out a blocking operation and return what is answered.

    Raises ContainerNotFound, InvalidState, SecretsUnavailable, and what ``calls.Calls.ask``
    raises.
    """
    with controller.parts.db.read() as conn:
        row = containers.get(conn, ident, controller.context.project_scope)
        bay = bays.get(conn, row.bay_uuid, None)
    if row.status not in op.allowed:
        raise exceptions.InvalidState(
            operation=op.words, uuid=row.uuid, status=row.status, because='',
            hint=f'It is possible in: {", ".join(sorted(op.allowed))}.')
    if op.on_engine:
        if op.recorded_as:
            _record(controller, op, row, params)
        shown, tokens = secrets.seal(op, params, controller.parts.keys)
        given = _asked(controller, row.uuid, bay, op.name, {**shown, **tokens},
                       op.seconds_for(params))
    else:
        given = _RECORDED[op.name](controller, row, **params)
    if controller.version >= versions.OWN_SHAPES:
        return given
    if op.older_body == operations.NULL:
        return None
    older = _OLDER.get(op.name)
    return older(controller, row, given) if older else given


def _asked(controller, *request):
    """What a conductor answers; where an engine is and what is wrong there is told to
    administrators."""
    try:
        return controller.parts.calls.ask(*request, controller.context.project_id)
    except exceptions.EngineUnreachable as exc:
        if controller.context.is_admin:
            raise
        raise exceptions.EngineUnreachable() from exc


def _record(controller, op, row, params):
    """Before a command runs the audit trail has it, whatever becomes of us then."""
    context, told = controller.context, audit.of_parameters(op, params)
    target = audit.Target.of('container', row)
    controller.parts.db.transact(lambda conn: audit.record(
        conn, context, op.policy, target, outcome=audit.PENDING, **told), run_again)
    context.asked = audit.Asked(op.policy, target, told, begun=True)


# What is answered from the record: f(controller, row, **params).


def _wait(controller, row, timeout_seconds):
    parts = controller.parts
    if not containers.is_at_rest(row) and timeout_seconds:
        parts.waiting.wait([row.uuid], timeout_seconds, look=containers.at_rest,
                           project_id=controller.context.project_id)
        with parts.db.read() as conn:
            row = containers.by_uuid(conn, row.uuid) or row       # it may be forgotten by now
    return views.container(row, controller.base, controller.context.is_admin)


def _network_list(controller, row):
    return {'networks': [
        {'network': network, 'addresses': [
            {'address': each['addr'], 'version': each['version']} for each in addresses]}
        for network, addresses in sorted((row.addresses or {}).items())]}


_RECORDED = {'wait': _wait, 'network_list': _network_list}


# Shapes of before 1.41: f(controller, row, what is answered from then on).


def _older_logs(controller, row, given):
    if versions.header_given(pecan.request):
        return given['output']          # a bare text for clients that send a version
    return {'output': given['output']}


def _older_execute(controller, row, given):
    return {**given, 'proxy_url': None}


def _older_top(controller, row, given):
    return {'Titles': given['titles'], 'Processes': given['processes']}


def _older_stats(controller, row, given):
    def percent(name):
        return given[name] if given[name] is not None else 0

    return {
        'CONTAINER': row.name, 'CPU %': percent('cpu_percent'),
        'MEM USAGE(MiB)': given['memory_bytes'] / _MIB,
        'MEM LIMIT(MiB)': given['memory_limit_bytes'] / _MIB,
        'MEM %': percent('memory_percent'),
        'BLOCK I/O(B)': f'{given["block_read_bytes"]}/{given["block_written_bytes"]}',
        'NET I/O(B)': f'{given["network_received_bytes"]}/{given["network_sent_bytes"]}'}


def _older_get_archive(controller, row, given):
    if controller.version >= (1, 25):
        return given
    try:
        return {**given, 'data': base64.b64decode(given['data']).decode()}
    except (UnicodeDecodeError, binascii.Error):
        raise exceptions.InvalidParameter(
            name='path', reason='names what is not UTF-8 text; version 1.25 or later gives it '
                                'in base64') from None


def _older_network_list(controller, row, given):
    found = []
    for network in given['networks']:
        fixed = [{'ip_address': each['address'], 'version': each['version'], 'subnet_id': None}
                 for each in network['addresses']]
        known = {'net_id': network['network'], 'port_id': None}
        if controller.version >= (1, 18):
            found.append({**known, 'fixed_ips': fixed})
        else:
            found += [{**known, **each} for each in fixed]
    return {'networks': found}


_OLDER = {'logs': _older_logs, 'execute': _older_execute, 'top': _older_top,
          'stats': _older_stats, 'get_archive': _older_get_archive,
          'network_list': _older_network_list}
