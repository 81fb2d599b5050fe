# SPDX-License-Identifier: Apache-2.0
"""/v1/actions: what was asked for and what became of it."""

import pecan

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import states
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import actions


@operations.takes('statuses, or ``unfinished``', type='array', items={
    'enum': ['unfinished', *sorted(states.ACTION_STATUSES)]})
def _statuses(value):
    """One or more statuses, or the word unfinished for all that have not ended."""
    words = value if isinstance(value, list) else [value]
    wanted = set()
    for word in words:
        if word == 'unfinished':
            wanted |= states.UNFINISHED
        elif word in states.ACTION_STATUSES:
            wanted.add(word)
        else:
            known = ', '.join(sorted(states.ACTION_STATUSES))
            raise ValueError(f'must be unfinished or one of {known}')
    return sorted(wanted)


_LIST = (*types.PAGE, types.Param('container', operations.text),
         types.Param('bay', operations.text),
         types.Param('operation', operations.one_of(*operations.OPERATIONS)),
         types.Param('status', _statuses), types.Param('request_id', operations.text))


_TIMEOUT = types.Param('timeout', operations.integer, 60, minimum=0, maximum=300,
                       help='Seconds to wait.')


@operations.takes('uuids', type='array', items={'type': 'string'}, minItems=1, maxItems=100)
def _one_or_more(value):
    return value if isinstance(value, list) else [value]


class _Controller(base.Controller):

    def shown(self, *rows):
        # Asked for once: it costs more than all the rest of a row.
        where, admin, pool = self.base, self.context.is_admin, self.parts.pool
        return [views.action(row, where, admin, pool) for row in rows]


class WaitController(_Controller):
    """/v1/actions/wait: until any or all of several actions have ended, or time is up."""

    @base.endpoint(
        'action:show', returns=base.Listing('actions', 'Action', paged=False), query=(
            _TIMEOUT, types.Param('action', _one_or_more, required=True,
                                  help='Uuid of an action; may be repeated.'),
            types.Param('for', operations.one_of('any', 'all'), 'all',
                        help='Wait for the first of them, or for all.')),
        summary='Wait until any or all of several actions have ended.')
    def get(self, arguments):
        uuids = list(dict.fromkeys(arguments['action']))
        if len(uuids) > 100:
            raise exceptions.InvalidParameter(
                name='action', reason='may be given at most 100 times')
        rows = _wait(self, uuids, arguments['timeout'], arguments['for'] == 'all')
        return {'actions': self.shown(*rows)}


class WaitOneController(_Controller):
    """/v1/actions/{action}/wait"""

    @base.endpoint('action:show', query=(_TIMEOUT,), returns='Action',
                   summary='Wait until an action has ended.')
    def get(self, arguments):
        row, = _wait(self, [self.at['action']], arguments['timeout'], True)
        return self.shown(row)[0]


def _wait(controller, uuids, seconds, every):
    parts, scope = controller.parts, controller.context.project_scope
    with parts.db.read() as conn:
        rows = actions.get_all(conn, uuids, scope)
    ended = [row.uuid for row in rows if row.status in states.FINAL]
    if len(ended) == len(rows) or (ended and not every) or seconds == 0:
        return rows
    parts.waiting.wait([uuid for uuid in uuids if uuid not in ended], seconds, every,
                       project_id=controller.context.project_id)
    with parts.db.read() as conn:
        return actions.get_all(conn, uuids, scope)


class CancelController(_Controller):
    """/v1/actions/{action}/cancel"""

    @base.endpoint('action:cancel', returns='Action', status=202)
    def post(self, arguments):
        uuid = self.at['action']
        lifecycle.cancel(self.context, self.parts.db, uuid)
        with self.parts.db.read() as conn:
            row = actions.get(conn, uuid, self.context.project_scope)
        if row.status in states.UNFINISHED:
            self.parts.doorbell.ring(row.resource_uuid, row.bay_uuid)
        pecan.response.status = 202
        return self.shown(row)[0]

    put = post


class ActionController(_Controller):
    """/v1/actions/{action}"""
    children = {'cancel': CancelController, 'wait': WaitOneController}

    @base.endpoint('action:show', returns='ActionWithRequests', summary='Show an action.')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = actions.get(conn, self.at['action'], self.context.project_scope)
            requests = actions.requests_of(conn, row)
        return {**self.shown(row)[0], 'request_ids': requests}


class ActionsController(_Controller):
    """/v1/actions"""
    children = {'wait': WaitController}
    member = ('action', ActionController)

    @base.endpoint('action:list', query=_LIST, returns=base.Listing('actions', 'Action'))
    def get(self, arguments):
        page = self.page(arguments)
        wanted = base.filters(arguments)
        scope = self.context.project_scope
        with self.parts.db.read() as conn:
            self.resolve(conn, wanted, 'resource_uuid')
            rows, more = actions.listing(conn, project_id=scope, filters=wanted, page=page)
        return {'actions': self.shown(*rows),
                'next': self.next_link(rows, more)}
