# SPDX-License-Identifier: Apache-2.0
"""/v1/services: the conductors, and /v1/limits: how much may be queued."""

from oslo_log import log

from container_service import exceptions
from container_service import operations
from container_service import services
from container_service.api import types
from container_service.api import versions
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
        types.Param('reason', types.converts(types.Text(255, 0)), wire='disabled_reason'),)),
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


def _change_controller(name):
    """The controller of /v1/services/<name>; its arguments come in the query or in a body."""
    change, params = _CHANGES[name]

    class ChangeController(base.Controller):

        @base.endpoint(f'service:{name}', query=(*_WHICH, *params),
                       params_in_body=versions.MINIMUM, returns='ServiceChanged')
        def put(self, arguments):
            which = _which(arguments)
            rows = change(self.context, self.parts.db, which, **arguments)
            details = ''.join(f', {key} {value!r}' for key, value in arguments.items())
            LOG.info('Conductor %s: %s%s, by user %s', which, name, details,
                     self.context.user_id)
            found = [views.service(row) for row in rows]
            several = {'services': found} if len(found) > 1 else {}
            return {'service': found[0], **several}

    return ChangeController


class ServicesController(base.Controller):
    """/v1/services"""
    children = {name: _change_controller(name) for name in _CHANGES}

    # Pages are asked for by existing clients, without effect.
    @base.endpoint('service:list', query=types.ANY_PAGE,
                   returns=base.Listing('services', 'Service'))
    def get(self, arguments):
        with self.parts.db.read() as conn:
            rows = conductors.listing(conn)
        return {'services': [views.service(row) for row in rows], 'next': None}

    @base.endpoint('service:delete', query=_WHICH, status=204)
    def delete(self, arguments):
        which = _which(arguments)
        services.forget(self.context, self.parts.db, which)
        LOG.info('Conductor %s: delete, by user %s', which, self.context.user_id)
        return base.empty(204)


class LimitsController(base.Controller):
    """/v1/limits"""

    @base.endpoint('limits:show', returns='Limits')
    def get(self, arguments):
        return {'limits': self.parts.limits.view(self.context.project_id)}
