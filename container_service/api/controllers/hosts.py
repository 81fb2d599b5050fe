# SPDX-License-Identifier: Apache-2.0
"""/v1/hosts: the engines of bays as hosts, and /v1/availability_zones: where these are.

Hosts are for administrators, who see all of them with all that is on them.  Whom policy lets see
hosts besides, sees those of bays that his project may use, with what his project has there.
"""

from container_service.api import types
from container_service.api import views
from container_service.api.controllers import base
from container_service.db import bays
from container_service.db import containers


def _scope(context):
    return None if context.is_admin else context.project_scope


def _used(conn, scope):
    """What containers use, by the bay that they are on."""
    used = {}
    for row in containers.used(conn, scope):
        used.setdefault(row.bay_uuid, []).append(row)
    return used


class HostController(base.Controller):
    """/v1/hosts/{host}: a uuid or a name"""

    @base.endpoint('host:show', returns='Host', since=(1, 4))
    def get(self, arguments):
        with self.parts.db.read() as conn:
            row = bays.get(conn, self.at['host'], _scope(self.context))
            used = _used(conn, _scope(self.context))
        return views.host(row, self.base, used.get(row.uuid, ()))


class HostsController(base.Controller):
    """/v1/hosts"""
    member = ('host', HostController)

    @base.endpoint('host:list', query=(
        *types.page('id', 'uuid', 'hostname', 'created_at'), types.LABELS),
                   returns=base.Listing('hosts', 'Host'), since=(1, 4))
    def get(self, arguments):
        if arguments['sort_key'] == 'hostname':
            arguments['sort_key'] = 'name'
        page, labels = self.page(arguments), types.label_pairs(arguments['label'])
        with self.parts.db.read() as conn:
            scope = _scope(self.context)
            rows, more = bays.listing(conn, project_id=scope, page=page, labels=labels)
            used = _used(conn, scope)
        return {'hosts': [views.host(row, self.base, used.get(row.uuid, ())) for row in rows],
                'next': self.next_link(rows, more)}


class AvailabilityZonesController(base.Controller):
    """/v1/availability_zones"""

    # Pages are asked for by existing clients, without effect.
    @base.endpoint('availability_zone:list', query=types.ANY_PAGE,
                   returns=base.Listing('availability_zones', 'AvailabilityZone'))
    def get(self, arguments):
        with self.parts.db.read() as conn:
            rows = bays.visible(conn, self.context.project_scope)
        zones = sorted({bays.zone_of(row) for row in rows})
        return {'availability_zones': [{'availability_zone': zone} for zone in zones],
                'next': None}
