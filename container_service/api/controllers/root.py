# SPDX-License-Identifier: Apache-2.0
"""/ and /v1: the version documents, and where everything else hangs."""

import functools

from container_service.api import openapi
from container_service.api import versions
from container_service.api.controllers import actions
from container_service.api.controllers import audit
from container_service.api.controllers import base
from container_service.api.controllers import bays
from container_service.api.controllers import containers
from container_service.api.controllers import events
from container_service.api.controllers import hosts
from container_service.api.controllers import images
from container_service.api.controllers import quotas
from container_service.api.controllers import registries
from container_service.api.controllers import services


class OpenApiController(base.Controller):
    """/v1/openapi.json"""

    @base.endpoint(base.PUBLIC, returns={'type': 'object'},
                   summary='This description, at the newest microversion.')
    def get(self, arguments):
        return {**_document(), 'servers': [{'url': self.base}]}


@functools.cache
def _document():
    return openapi.document(RootController)


class V1Controller(base.Controller):

    children = {
        'containers': containers.ContainersController,
        'actions': actions.ActionsController,
        'bays': bays.BaysController,
        'images': images.ImagesController,
        'registries': registries.RegistriesController,
        'events': events.EventsController,
        'audit': audit.AuditController,
        'services': services.ServicesController,
        'hosts': hosts.HostsController,
        'availability_zones': hosts.AvailabilityZonesController,
        'limits': services.LimitsController,
        'quotas': quotas.QuotasController,
        'quota_classes': quotas.QuotaClassesController,
        'openapi.json': OpenApiController,
    }

    @base.endpoint(base.PUBLIC, returns='Version', summary='The collections there are.')
    def get(self, arguments):
        document = {
            'id': 'v1',
            'links': [{'rel': 'self', 'href': f'{self.base}/v1/'}],
            'media_types': [{'base': 'application/json',
                             'type': 'application/vnd.openstack.container.v1+json'}],
        }
        for name in self.children:
            if name == 'openapi.json':
                document['links'].append(
                    {'rel': 'service-desc', 'href': f'{self.base}/v1/openapi.json'})
                continue
            document[name] = [{'rel': 'self', 'href': f'{self.base}/v1/{name}/'},
                              {'rel': 'bookmark', 'href': f'{self.base}/{name}/'}]
        return document


class RootController(base.Controller):

    children = {'v1': V1Controller}

    @base.endpoint(base.PUBLIC, returns='Versions', summary='The versions there are.')
    def get(self, arguments):
        v1 = {
            'id': 'v1', 'status': 'CURRENT',
            'min_version': versions.text(versions.MINIMUM),
            'max_version': versions.text(versions.MAXIMUM),
            'links': [{'rel': 'self', 'href': f'{self.base}/v1/'}],
        }
        return {'name': 'container_service',
                'description': 'Runs containers for many tenants without making anyone wait.',
                'versions': [v1], 'default_version': v1}

    def child(self, name):
        # What is asked for without a version is found too: bookmarks are such addresses.
        v1 = V1Controller(self.parts)
        return v1 if name == 'v1' else v1.child(name)
