# SPDX-License-Identifier: Apache-2.0
"""/v1/audit: who did what, when, from where and with which outcome."""

import functools

from container_service import audit as trail
from container_service import operations
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import audit

_endpoint = functools.partial(base.endpoint, since=(1, 42))
_ALL_PROJECTS = types.Param('all_projects', operations.boolean, False,
                            help='Also the trails of other projects; for administrators.')
_LIST = (
    *types.page(*audit.SORT_KEYS), _ALL_PROJECTS,
    *(types.Param(name, operations.text, help=words) for name, words in (
        ('project_id', 'Only the trail of this project.'),
        ('user_id', 'Only what this user did.'),
        ('action', 'Only this, such as create/container.'),
        ('target_uuid', 'Only what was done to this.'),
        ('request_id', 'Only what came of this request.'),
        ('action_uuid', 'Only the beginning and the end of this action.'))),
    types.Param('outcome', operations.one_of(*trail.OUTCOMES), help='Only with this outcome.'),
    types.Param('since', types.moment, help='Only from this time on.'),
    types.Param('until', types.moment, help='Only before this time.'))


class EntryController(base.Controller):
    """/v1/audit/{entry}"""

    @_endpoint('audit:show', query=(_ALL_PROJECTS,), returns='AuditEntry')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = audit.get(conn, self.at['entry'], self.context.project_scope)
        return views.audit_entry(row, self.context)


class AuditController(base.Controller):
    """/v1/audit"""
    member = ('entry', EntryController)

    @_endpoint('audit:list', query=_LIST, returns=base.Listing('audit', 'AuditEntry'))
    def get(self, arguments):
        page = self.page(arguments)
        since, until = arguments.pop('since'), arguments.pop('until')
        with self.parts.db.read() as conn:
            rows, more = audit.listing(
                conn, project_id=self.context.project_scope, filters=base.filters(arguments),
                since=since, until=until, page=page)
        return {'audit': [views.audit_entry(row, self.context) for row in rows],
                'next': self.next_link(rows, more)}
