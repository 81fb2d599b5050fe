# SPDX-License-Identifier: Apache-2.0
"""/v1/bays: the engines that containers are placed on.  Administrators make them."""

import pecan

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import operations
from container_service.api import accept
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import bays
from container_service.db import strays

_PEM = '-----BEGIN {0}-----\n...\n-----END {0}-----\n'
_EXAMPLE = {'name': 'node2', 'endpoint': 'tcp://node2.example.org:2376', 'public': True,
            'ca_cert': _PEM.format('CERTIFICATE'), 'client_cert': _PEM.format('CERTIFICATE'),
            'client_key': _PEM.format('PRIVATE KEY')}


_ALL_PROJECTS = (types.Param('all_projects', operations.boolean, False,
                             help='Also those of other projects; for administrators.'),)


class StraysController(base.Controller):
    """/v1/bays/{bay}/strays"""

    @base.endpoint('bay:strays', query=(*types.PAGE, *_ALL_PROJECTS),
                   returns=base.Listing('strays', 'Stray'))
    def get(self, arguments):
        page = self.page(arguments)
        with self.parts.db.read() as conn:
            row = bay_rules.to_change(conn, self.context, self.at['bay'])
            rows, more = strays.listing(conn, row.uuid, page)
        return {'strays': [views.stray(row) for row in rows], 'next': self.next_link(rows, more)}


class ReconcileController(base.Controller):
    """/v1/bays/{bay}/reconcile: done by whoever watches the bay, soon."""

    @base.endpoint('bay:reconcile', query=_ALL_PROJECTS, body=types.Reconcile, status=202,
                   example={'remove': 'all'},
                   returns=base.Listing('strays', 'Stray', paged=False))
    def post(self, arguments, asked):
        rows = bay_rules.reconcile(self.context, self.parts.db, self.at['bay'], **asked)
        pecan.response.status = 202
        return {'strays': [views.stray(row) for row in rows]}


class _Controller(base.Controller):

    def shown(self, conn, rows):
        """Bays as the caller may see them."""
        shares = bays.shared_with(conn, [row.uuid for row in rows])
        return [views.bay(row, self.base, self.context, shares[row.uuid]) for row in rows]

    def one(self, row):
        with self.parts.db.read() as conn:
            return self.shown(conn, [row])[0]


class BayController(_Controller):
    """/v1/bays/{bay}"""
    children = {'strays': StraysController, 'reconcile': ReconcileController}

    @base.endpoint('bay:show', query=_ALL_PROJECTS, returns='Bay')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = bays.get(conn, self.at['bay'], self.context.project_scope)
            return self.shown(conn, [row])[0]

    @base.endpoint('bay:update', query=_ALL_PROJECTS, body=types.BayUpdate, returns='Bay',
                   example={'shared_with': ['6cb3fdd1d3a04bb58b3b0d3f2c6a8ce4']}, since=(1, 42))
    def patch(self, arguments, asked):
        if not asked:
            raise exceptions.Invalid('Nothing is to be changed. What can be: '
                                     f'{", ".join(types.names(types.BayUpdate))}.')
        return self.one(bay_rules.update(
            self.context, self.parts.conf, self.parts.db, self.at['bay'], asked))

    @base.endpoint('bay:delete', query=_ALL_PROJECTS, status=204)
    def delete(self, arguments):
        replayed = bay_rules.delete(self.context, self.parts.db, self.at['bay'],
                                    accept.read_terms(self, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        return base.empty(204)


class BaysController(_Controller):
    """/v1/bays"""
    member = ('bay', BayController)

    @base.endpoint('bay:list', query=(
        *types.page('id', 'uuid', 'name', 'created_at'), types.LABELS, *_ALL_PROJECTS),
                   returns=base.Listing('bays', 'Bay'))
    def get(self, arguments):
        page, labels = self.page(arguments), types.label_pairs(arguments['label'])
        with self.parts.db.read() as conn:
            rows, more = bays.listing(conn, project_id=self.context.project_scope, page=page,
                                      labels=labels)
            return {'bays': self.shown(conn, rows), 'next': self.next_link(rows, more)}

    @base.endpoint('bay:create', body=types.BayCreate, example=_EXAMPLE, returns='Bay', status=201)
    def post(self, arguments, asked):
        row, replayed = bay_rules.create(
            self.context, self.parts.conf, self.parts.db, **asked,
            terms=accept.read_terms(self, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        pecan.response.status = 201
        pecan.response.headers['Location'] = f'{self.base}/v1/bays/{row.uuid}'
        return self.one(row)
