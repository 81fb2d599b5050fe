# SPDX-License-Identifier: Apache-2.0
"""/v1/registries: where a project's images come from, and the credentials for it.

Bodies are wrapped in ``registry``, as existing clients send and expect them.
"""

import functools

import pecan

from container_service import operations
from container_service import registries as rules
from container_service.api import accept
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import registries

_ALL_PROJECTS = (types.Param('all_projects', operations.boolean, False,
                             help='Also those of other projects; for administrators.'),)
_FILTERS = tuple(
    types.Param(name, operations.text, help='Only those of which this is so.')
    for name in ('name', 'domain', 'username', 'project_id', 'user_id'))

_endpoint = functools.partial(base.endpoint, since=(1, 30))


class RegistryController(base.Controller):
    """/v1/registries/{registry}"""

    @_endpoint('registry:show', query=_ALL_PROJECTS, returns='WrappedRegistry')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = registries.get(conn, self.at['registry'], self.context.project_scope)
        return {'registry': views.registry(row, self.base)}

    @_endpoint('registry:update', query=_ALL_PROJECTS, body=types.WrappedRegistryUpdate,
               example={'registry': {'username': 'robot', 'password': 'new'}},
               returns='WrappedRegistry')
    def patch(self, arguments, asked):
        if 'domain' in asked['registry']:
            self.parts.sources.check('domain', asked['registry']['domain'])
        row = rules.update(self.context, self.parts.db, self.parts.keys, self.at['registry'],
                           asked['registry'])
        return {'registry': views.registry(row, self.base)}

    @_endpoint('registry:delete', query=_ALL_PROJECTS, status=204)
    def delete(self, arguments):
        if rules.delete(self.context, self.parts.db, self.at['registry'],
                        accept.read_terms(self, {})):
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        return base.empty(204)


class RegistriesController(base.Controller):
    """/v1/registries"""
    member = ('registry', RegistryController)

    @_endpoint('registry:list',
               query=(*types.page(*registries.SORT_KEYS), *_ALL_PROJECTS, *_FILTERS),
               returns=base.Listing('registries', 'Registry'))
    def get(self, arguments):
        page = self.page(arguments)
        with self.parts.db.read() as conn:
            rows, more = registries.listing(
                conn, project_id=self.context.project_scope, filters=base.filters(arguments),
                page=page)
        return {'registries': [views.registry(row, self.base) for row in rows],
                'next': self.next_link(rows, more)}

    @_endpoint('registry:create', body=types.WrappedRegistryCreate, returns='WrappedRegistry',
               status=201, example={'registry': {
                   'name': 'ours', 'domain': 'registry.example:5000', 'username': 'robot',
                   'password': 'secret'}})
    def post(self, arguments, asked):
        self.parts.sources.check('domain', asked['registry']['domain'])
        row, replayed = rules.create(
            self.context, self.parts.db, self.parts.keys, **asked['registry'],
            terms=accept.read_terms(self, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        pecan.response.status = 201
        pecan.response.headers['Location'] = f'{self.base}/v1/registries/{row.uuid}'
        return {'registry': views.registry(row, self.base)}
