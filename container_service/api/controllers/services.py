# SPDX-License-Identifier: Apache-2.0
"""/v1/services: the conductors, and /v1/limits: how much may be queued."""

from oslo_log import log
import pecan

from container_service import exceptions
from container_service import operations
from container_service import services
from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import conductors

LOG = log.getLogger(__name__)

_WHICH = (types.Param('host', operations.text), types.Param('name', operations.text),
          types.Param('binary', operations.text))

# What can be said of a conductor: the function, and what it takes besides.
_CHANGES = {
    'enable': (services.enable, ()),
    'disable': (services.disable, (
        types.Param('reason', types.Text(255, 0).frombasetype, wire='disabled_reason'),)),
    'drain': (services.drain, ()),
    'force_down': (services.force_down, (
        types.Param('down', operations.boolean, wire='forced_down', required=True),)),
}


def _which(arguments):
    which = services.Which(**{name: arguments.pop(name) for name in ('host', 'name', 'binary')})
    if not (which.host or which.name):
        raise exceptions.InvalidParameter(
            name='host', reason='is required, or the name of a conductor')
    return which


class ServicesController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('service:list')
        types.query(pecan.request, types.PAGE)      # sent by existing clients, without effect
        with self.parts.db.read() as conn:
            rows = conductors.listing(conn)
        return {'services': [views.service(row) for row in rows], 'next': None}

    @base.answers
    def delete(self):
        self.authorize('service:delete')
        which = _which(types.query(pecan.request, _WHICH))
        services.forget(self.parts.db, which)
        LOG.info('Conductor %s: delete, by user %s', which, self.context.user_id)
        return base.empty(204)

    def child(self, name):
        if name not in _CHANGES:
            raise exceptions.NotFound(f'Of services there are: {", ".join(_CHANGES)}.')
        return ChangeController(self.parts, name)


class ChangeController(base.Controller):
    """/v1/services/{change}; its arguments come in the query or in a body."""

    def __init__(self, parts, name):
        super().__init__(parts)
        self._name = name

    @base.answers
    def put(self):
        self.authorize(f'service:{self._name}')
        change, params = _CHANGES[self._name]
        arguments = types.arguments(pecan.request, (*_WHICH, *params), allow_body=True)
        which = _which(arguments)
        rows = change(self.parts.db, which, **arguments)
        details = ''.join(f', {name} {value!r}' for name, value in arguments.items())
        LOG.info('Conductor %s: %s%s, by user %s', which, self._name, details,
                 self.context.user_id)
        found = [views.service(row) for row in rows]
        several = {'services': found} if len(found) > 1 else {}
        return {'service': found[0], **several}


class LimitsController(base.Controller):

    @base.answers
    def get(self):
        self.authorize('limits:show')
        types.query(pecan.request, ())
        return {'limits': self.parts.limits.view(self.context.project_id)}
