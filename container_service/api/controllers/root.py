# SPDX-License-Identifier: Apache-2.0
"""/ and /v1: the version documents, and where everything else hangs."""

import pecan

from container_service import exceptions
from container_service.api import versions
from container_service.api.controllers import actions
from container_service.api.controllers import base
from container_service.api.controllers import bays
from container_service.api.controllers import containers


class V1Controller(base.Controller):

    def __init__(self, parts):
        super().__init__(parts)
        self.containers = containers.ContainersController(parts)
        self.actions = actions.ActionsController(parts)
        self.bays = bays.BaysController(parts)

    @base.get
    def index(self):
        document = {
            'id': 'v1',
            'links': [{'rel': 'self', 'href': f'{self.base}/v1/'}],
            'media_types': [{'base': 'application/json',
                             'type': 'application/vnd.openstack.container.v1+json'}],
        }
        for name in ('containers', 'actions', 'bays'):
            document[name] = [{'rel': 'self', 'href': f'{self.base}/v1/{name}/'},
                              {'rel': 'bookmark', 'href': f'{self.base}/{name}/'}]
        return document

    @pecan.expose()
    def _lookup(self, name, *remainder):
        raise exceptions.NotFound(f'There is no /v1/{ascii(name)[1:-1]}.')


class RootController(base.Controller):

    def __init__(self, parts):
        super().__init__(parts)
        self.v1 = V1Controller(parts)

    @base.get
    def index(self):
        v1 = {
            'id': 'v1', 'status': 'CURRENT',
            'min_version': versions.text(versions.MINIMUM),
            'max_version': versions.text(versions.MAXIMUM),
            'links': [{'rel': 'self', 'href': f'{self.base}/v1/'}],
        }
        return {'name': 'container_service',
                'description': 'Runs containers for many tenants without making anyone wait.',
                'versions': [v1], 'default_version': v1}

    @pecan.expose()
    def _lookup(self, name, *remainder):
        raise exceptions.NotFound(
            f'There is no /{ascii(name)[1:-1]}; the API is under /v1.')
