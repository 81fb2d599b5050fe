# SPDX-License-Identifier: Apache-2.0
"""/v1/bays: the engines that containers are placed on.  Administrators make them."""

import pecan

from container_service import bays as bay_rules
from container_service import exceptions
from container_service.api import accept
from container_service.api import intake
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import bays
from container_service.db import strays


class BaysController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('bay:list')
        page = self.page(types.query(pecan.request, types.PAGE),
                         ('id', 'uuid', 'name', 'created_at'))
        with self.parts.db.read() as conn:
            rows, more = bays.listing(conn, project_id=self.context.project_scope, page=page)
        return {'bays': [views.bay(row, self.base, self.context.is_admin) for row in rows],
                'next': self.next_link(rows, more)}

    @base.answers
    def post(self):
        self.authorize('bay:create')
        types.query(pecan.request, ())
        body = intake.body(pecan.request)
        asked = types.given(types.parse(types.BayCreate, body))
        row, replayed = bay_rules.create(
            self.context, self.parts.conf, self.parts.db, **asked,
            terms=accept.read_terms(self, {}, body))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        pecan.response.status = 201
        pecan.response.headers['Location'] = f'{self.base}/v1/bays/{row.uuid}'
        return views.bay(row, self.base, self.context.is_admin)

    def child(self, name):
        return BayController(self.parts, name)


class BayController(base.Controller):

    def __init__(self, parts, ident):
        super().__init__(parts)
        self._ident = ident

    @base.answers
    def get(self):
        self.authorize('bay:show')
        types.query(pecan.request, ())
        with self.parts.db.read() as conn:
            row = bays.get(conn, self._ident, self.context.project_scope)
        return views.bay(row, self.base, self.context.is_admin)

    @base.answers
    def delete(self):
        self.authorize('bay:delete')
        types.query(pecan.request, ())
        replayed = bay_rules.delete(self.parts.db, self._ident, self.context,
                                    accept.read_terms(self, {}, {}))
        if replayed:
            pecan.response.headers['Idempotency-Replayed'] = 'true'
        return base.empty(204)

    def child(self, name):
        kind = {'strays': StraysController, 'reconcile': ReconcileController}.get(name)
        if kind is None:
            raise exceptions.NotFound(f'Bays have no {ascii(name)}.')
        return kind(self.parts, self._ident)


class StraysController(base.Controller):
    """/v1/bays/{bay}/strays"""

    def __init__(self, parts, ident):
        super().__init__(parts)
        self._ident = ident

    @base.answers
    def get(self):
        self.authorize('bay:strays')
        page = self.page(types.query(pecan.request, types.PAGE))
        with self.parts.db.read() as conn:
            row = bays.get(conn, self._ident, None)
            rows, more = strays.listing(conn, row.uuid, page)
        return {'strays': [views.stray(row) for row in rows], 'next': self.next_link(rows, more)}


class ReconcileController(StraysController):
    """/v1/bays/{bay}/reconcile: done by whoever watches the bay, soon."""
    get = None

    @base.answers
    def post(self):
        self.authorize('bay:reconcile')
        types.query(pecan.request, ())
        asked = types.given(types.parse(types.Reconcile, intake.body(pecan.request)))
        rows = bay_rules.reconcile(self.context, self.parts.db, self._ident, **asked)
        pecan.response.status = 202
        return {'strays': [views.stray(row) for row in rows]}
