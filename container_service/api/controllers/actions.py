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


def _operation(value):
    if operations.text(value) not in operations.OPERATIONS:
        raise ValueError(f'must be one of {", ".join(operations.OPERATIONS)}')
    return value


_LIST = (*types.PAGE, types.Param('container', operations.text),
         types.Param('bay', operations.text), types.Param('operation', _operation),
         types.Param('status', _statuses), types.Param('request_id', operations.text))


class ActionsController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('action:list')
        arguments = types.query(pecan.request, _LIST)
        page = self.page(arguments)
        wanted = base.filters(arguments)
        scope = self.context.project_scope
        with self.parts.db.read() as conn:
            self.resolve(conn, wanted, 'resource_uuid')
            rows, more = actions.listing(conn, project_id=scope, filters=wanted, page=page)
        where = self.base
        return {'actions': [views.action(row, where, self.parts.pool) for row in rows],
                'next': self.next_link(rows, more)}

    def child(self, name):
        if name == 'wait':
            return WaitController(self.parts)
        return ActionController(self.parts, name)


class ActionController(base.Controller):
    """/v1/actions/{action}"""

    def __init__(self, parts, uuid):
        super().__init__(parts)
        self._uuid = uuid

    @base.answers
    def get(self):
        self.authorize('action:show')
        types.query(pecan.request, ())
        with self.parts.db.read() as conn:
            row = actions.get(conn, self._uuid, self.context.project_scope)
            requests = actions.requests_of(conn, row)
        return {**views.action(row, self.base, self.parts.pool), 'request_ids': requests}

    def child(self, name):
        kind = {'cancel': CancelController, 'wait': WaitOneController}.get(name)
        if kind is None:
            raise exceptions.NotFound(f'Actions have no {ascii(name)}.')
        return kind(self.parts, self._uuid)


class CancelController(ActionController):
    """/v1/actions/{action}/cancel"""
    get = None

    @base.answers
    def post(self):
        self.authorize('action:cancel')
        types.query(pecan.request, ())
        lifecycle.cancel(self.context, self.parts.db, self._uuid)
        with self.parts.db.read() as conn:
            row = actions.get(conn, self._uuid, self.context.project_scope)
        if row.status in states.UNFINISHED:
            self.parts.doorbell.ring(row.resource_uuid, row.bay_uuid)
        pecan.response.status = 202
        return views.action(row, self.base, self.parts.pool)

    put = post


_TIMEOUT = types.Param('timeout', operations.integer, 60, minimum=0, maximum=300)


def _one_or_more(value):
    return value if isinstance(value, list) else [value]


def _any_or_all(value):
    if value not in ('any', 'all'):
        raise ValueError('must be any or all')
    return value


class WaitController(base.Controller):
    """/v1/actions/wait: until any or all of several actions have ended, or time is up."""

    @base.answers
    def get(self):
        self.authorize('action:show')
        arguments = types.query(pecan.request, (
            _TIMEOUT, types.Param('action', _one_or_more, required=True),
            types.Param('for', _any_or_all, 'all')))
        uuids = list(dict.fromkeys(arguments['action']))
        if len(uuids) > 100:
            raise exceptions.InvalidParameter(
                name='action', reason='may be given at most 100 times')
        rows = self._wait(uuids, arguments['timeout'], arguments['for'] == 'all')
        return {'actions': [views.action(row, self.base, self.parts.pool) for row in rows]}

    def _wait(self, uuids, seconds, every):
        scope = self.context.project_scope
        with self.parts.db.read() as conn:
            rows = actions.get_all(conn, uuids, scope)
        ended = [row.uuid for row in rows if row.status in states.FINAL]
        if len(ended) == len(rows) or (ended and not every) or seconds == 0:
            return rows
        self.parts.waiting.wait([uuid for uuid in uuids if uuid not in ended], seconds, every)
        with self.parts.db.read() as conn:
            return actions.get_all(conn, uuids, scope)


class WaitOneController(WaitController):
    """/v1/actions/{action}/wait"""

    def __init__(self, parts, uuid):
        super().__init__(parts)
        self._uuid = uuid

    @base.answers
    def get(self):
        self.authorize('action:show')
        seconds = types.query(pecan.request, (_TIMEOUT,))['timeout']
        row, = self._wait([self._uuid], seconds, True)
        return views.action(row, self.base, self.parts.pool)
