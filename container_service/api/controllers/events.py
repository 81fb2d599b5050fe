# SPDX-License-Identifier: Apache-2.0
"""/v1/events: what happened that nobody had asked for."""

from container_service import operations
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import events

_LIST = (*types.PAGE, types.Param('container', operations.text),
         types.Param('bay', operations.text),
         types.Param('type', operations.one_of(*sorted(events.TYPES))),
         types.Param('all_projects', operations.boolean, False))


class EventsController(base.Controller):

    @base.endpoint('event:list', query=_LIST, returns=base.Listing('events', 'Event'))
    def get(self, arguments):
        page = self.page(arguments)
        wanted = base.filters(arguments)
        scope = self.context.project_scope
        with self.parts.db.read() as conn:
            self.resolve(conn, wanted, 'container_uuid')
            rows, more = events.listing(conn, project_id=scope, filters=wanted, page=page)
        return {'events': [views.event(row) for row in rows], 'next': self.next_link(rows, more)}
