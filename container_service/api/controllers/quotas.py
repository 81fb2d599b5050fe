# SPDX-License-Identifier: Apache-2.0
"""/v1/quotas and /v1/quota_classes: how much a project may have."""

import functools

from container_service import exceptions
from container_service import operations
from container_service import quotas as rules
from container_service.api import types
from container_service.api.controllers import base

_endpoint = functools.partial(base.endpoint, since=(1, 26))
_USAGES = types.Param('usages', operations.boolean, False, help='Tell also what is in use.')
_WORD = types.Text(64)            # as long as the columns
_EXAMPLE = {'containers': 40, 'memory': 51200, 'cpu': 20, 'disk': -1}


class _Controller(base.Controller):

    def word(self, variable):
        """What stands for a variable in the path.  Raises InvalidParameter."""
        try:
            return _WORD.frombasetype(self.at[variable])
        except ValueError as exc:
            raise exceptions.InvalidParameter(name=variable, reason=str(exc)) from None

    def project(self):
        """The project in the path.

        Raises Forbidden unless it is the caller's own one, or an administrator asks, and
        InvalidParameter.
        """
        if self.at['project'] != self.context.project_id:
            self.authorize('quota:update')
        return self.word('project')


def _refuse_nothing(asked):
    if not asked:
        raise exceptions.Invalid('Nothing is to be changed. What can be: '
                                 f'{", ".join(rules.NAMES)}.')


class DefaultsController(_Controller):
    """/v1/quotas/{project}/defaults"""

    @_endpoint('quota:show', returns='Quota', summary='Show the limits of projects that have '
                                                      'none of their own.')
    def get(self, arguments):
        self.project()
        return self.parts.quotas.limits()


class QuotaController(_Controller):
    """/v1/quotas/{project}"""
    children = {'defaults': DefaultsController}

    @_endpoint('quota:show', query=(_USAGES,), returns='QuotaOrUsages')
    def get(self, arguments):
        project = self.project()
        limits = self.parts.quotas.limits(project)
        if not arguments['usages']:
            return limits
        with self.parts.db.read() as conn:
            used = self.parts.quotas.usages(conn, project)
        return {name: {'limit': limit, 'in_use': used[name]} for name, limit in limits.items()}

    @_endpoint('quota:update', body=types.Quota, example=_EXAMPLE, returns='Quota')
    def put(self, arguments, asked):
        _refuse_nothing(asked)
        self.parts.quotas.may_change()
        limits = rules.change(self.context, self.parts.db, self.word('project'), asked)
        self.parts.quotas.forget()
        return {**self.parts.quotas.unset, **limits}

    @_endpoint('quota:delete', returns='Quota')
    def delete(self, arguments):
        self.parts.quotas.may_change()
        limits = rules.reset(self.context, self.parts.db, self.word('project'))
        self.parts.quotas.forget()
        return {**self.parts.quotas.unset, **limits}


class QuotasController(base.Controller):
    """/v1/quotas"""
    member = ('project', QuotaController)


class QuotaClassController(_Controller):
    """/v1/quota_classes/{class}"""

    @_endpoint('quota_class:show', returns='Quota')
    def get(self, arguments):
        return self.parts.quotas.of_class(self.word('class'))

    @_endpoint('quota_class:update', body=types.Quota, example=_EXAMPLE, returns='Quota')
    def put(self, arguments, asked):
        _refuse_nothing(asked)
        self.parts.quotas.may_change()
        limits = rules.change_class(self.context, self.parts.db, self.word('class'), asked)
        self.parts.quotas.forget()
        return {**self.parts.quotas.unset, **limits}


class QuotaClassesController(base.Controller):
    """/v1/quota_classes"""
    member = ('class', QuotaClassController)
