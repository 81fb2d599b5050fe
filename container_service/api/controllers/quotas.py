# SPDX-License-Identifier: Apache-2.0
"""/v1/quotas and /v1/quota_classes: how much a project may have."""

import functools

from container_service import operations
from container_service import quotas as rules
from container_service.api import types
from container_service.api.controllers import base
from container_service.db import quotas

_endpoint = functools.partial(base.endpoint, since=(1, 26))
_USAGES = types.Param('usages', operations.boolean, False, help='Tell also what is in use.')
_EXAMPLE = {'containers': 40, 'memory': 51200, 'cpu': 20, 'disk': -1}


class _Controller(base.Controller):

    def check_project(self):
        """Raises Forbidden unless it is the caller's own project, or an administrator asks."""
        if self.at['project'] != self.context.project_id:
            self.authorize('quota:update')


class DefaultsController(_Controller):
    """/v1/quotas/{project}/defaults"""

    @_endpoint('quota:show', returns='Quota', summary='Show the limits of projects that have '
                                                      'none of their own.')
    def get(self, arguments):
        self.check_project()
        with self.parts.db.read() as conn:
            return rules.limits(conn)


class QuotaController(_Controller):
    """/v1/quotas/{project}"""
    children = {'defaults': DefaultsController}

    @_endpoint('quota:show', query=(_USAGES,), returns='QuotaOrUsages')
    def get(self, arguments):
        self.check_project()
        with self.parts.db.read() as conn:
            limits = rules.limits(conn, self.at['project'])
            if not arguments['usages']:
                return limits
            used = self.parts.quotas.in_use(conn, self.at['project'])
        return {name: {'limit': limit, 'in_use': used[name]} for name, limit in limits.items()}

    @_endpoint('quota:update', body=types.Quota, example=_EXAMPLE, returns='Quota')
    def put(self, arguments, asked):
        limits = rules.change(self.parts.db, self.at['project'], asked)
        self.parts.quotas.forget()
        return limits

    @_endpoint('quota:delete', returns='Quota')
    def delete(self, arguments):
        limits = rules.reset(self.parts.db, self.at['project'])
        self.parts.quotas.forget()
        return limits


class QuotasController(base.Controller):
    """/v1/quotas"""
    member = ('project', QuotaController)


class QuotaClassController(base.Controller):
    """/v1/quota_classes/{class}"""

    @_endpoint('quota_class:show', returns='Quota')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            return {**dict.fromkeys(rules.RESOURCES, rules.NONE),
                    **quotas.of_class(conn, self.at['class'])}

    @_endpoint('quota_class:update', body=types.Quota, example=_EXAMPLE, returns='Quota')
    def put(self, arguments, asked):
        limits = rules.change_class(self.parts.db, self.at['class'], asked)
        self.parts.quotas.forget()
        return limits


class QuotaClassesController(base.Controller):
    """/v1/quota_classes"""
    member = ('class', QuotaClassController)
