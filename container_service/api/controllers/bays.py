# SPDX-License-Identifier: Apache-2.0
"""/v1/bays: the engines that containers are placed on.  Administrators make them."""

import pecan

from container_service import bays as bay_rules
from container_service.api import accept
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import bays
from container_service.db import strays

_EXAMPLE = {'name': 'node2', 'endpoint': 'tcp://node2:2376', 'public': True,
            'ca_cert': '/etc/container-service/node2/ca.pem',
            'client_cert': '/etc/container-service/node2/cert.pem',
            'client_key': '/etc/container-service/node2/key.pem'}


class StraysController(base.Controller):
    """/v1/bays/{bay}/strays"""

    @base.endpoint('bay:strays', query=types.PAGE, returns=base.Listing('strays', 'Stray'))
    def get(self, arguments):
        page = self.page(arguments)
        with self.parts.db.read() as conn:
            row = bays.get(conn, self.at['bay'], None)
            rows, more = strays.listing(conn, row.uuid, page)
        return {'strays': [views.stray(row) for row in rows], 'next': self.next_link(rows, more)}


class ReconcileController(base.Controller):
    """/v1/bays/{bay}/reconcile: done by whoever watches the bay, soon."""

    @base.endpoint('bay:reconcile', body=types.Reconcile, status=202, example={'remove': 'all'},
                   returns=base.Listing('strays', 'Stray', paged=False))
    def post(self, arguments, asked):
        rows = bay_rules.reconcile(self.context, self.parts.db, self.at['bay'], **asked)
        pecan.response.status = 202
        return {'strays': [views.stray(row) for row in rows]}


class BayController(base.Controller):
    """/v1/bays/{bay}"""
    children = {'strays': StraysController, 'reconcile': ReconcileController}

    @base.endpoint('bay:show', returns='Bay')
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = bays.get(conn, self.at['bay'], self.context.project_scope)
        return views.bay(row, self.base, self.context.is_admin)

    @base.endpoint('bay:delete', status=204)
    def delete(self, arguments):
        replayed = bay_rules.delete(self.parts.db, self.at['bay'], self.context,
                                    accept.read_terms(self, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        return base.empty(204)


class BaysController(base.Controller):
    """/v1/bays"""
    member = ('bay', BayController)

    @base.endpoint('bay:list', query=(
        *types.page('id', 'uuid', 'name', 'created_at'), types.LABELS),
                   returns=base.Listing('bays', 'Bay'))
    def get(self, arguments):
        page, labels = self.page(arguments), types.label_pairs(arguments['label'])
        with self.parts.db.read() as conn:
            rows, more = bays.listing(conn, project_id=self.context.project_scope, page=page,
                                      labels=labels)
        return {'bays': [views.bay(row, self.base, self.context.is_admin) for row in rows],
                'next': self.next_link(rows, more)}

    @base.endpoint('bay:create', body=types.BayCreate, example=_EXAMPLE, returns='Bay', status=201)
    def post(self, arguments, asked):
        row, replayed = bay_rules.create(
            self.context, self.parts.conf, self.parts.db, **asked,
            terms=accept.read_terms(self, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        pecan.response.status = 201
        pecan.response.headers['Location'] = f'{self.base}/v1/bays/{row.uuid}'
        return views.bay(row, self.base, self.context.is_admin)
