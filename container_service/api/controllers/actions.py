# SPDX-License-Identifier: Apache-2.0
"""/v1/actions: what was asked for and what became of it."""

import pecan

from container_service import operations
from container_service import states
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import idents


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
            container = wanted.pop('container', None)
            if container is not None:
                # By uuid the history of a deleted one can still be read.
                wanted['resource_uuid'] = (
                    container if idents.is_uuid(container)
                    else containers.get(conn, container, scope).uuid)
            bay = wanted.pop('bay', None)
            if bay is not None:
                wanted['bay_uuid'] = bays.get(conn, bay, scope).uuid
            rows, more = actions.listing(conn, project_id=scope, filters=wanted, page=page)
        where = self.base
        return {'actions': [views.action(row, where) for row in rows],
                'next': self.next_link(rows, more)}

    def child(self, name):
        return ActionController(self.parts, name)


class ActionController(base.Controller):

    def __init__(self, parts, uuid):
        super().__init__(parts)
        self._uuid = uuid

    @base.answers
    def get(self):
        self.authorize('action:show')
        types.query(pecan.request, ())
        with self.parts.db.read() as conn:
            row = actions.get(conn, self._uuid, self.context.project_scope)
        return views.action(row, self.base)
