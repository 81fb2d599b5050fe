# SPDX-License-Identifier: Apache-2.0
"""/v1/services: the conductors, and /v1/limits: how much may be queued."""

import pecan

from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import conductors


class ServicesController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('service:list')
        types.query(pecan.request, types.PAGE)      # sent by existing clients, without effect
        with self.parts.db.read() as conn:
            rows = conductors.listing(conn)
        return {'services': [views.service(row) for row in rows], 'next': None}


class LimitsController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('limits:show')
        types.query(pecan.request, ())
        return {'limits': self.parts.limits.view(self.context.project_id)}
