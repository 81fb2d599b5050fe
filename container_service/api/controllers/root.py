# SPDX-License-Identifier: Apache-2.0
"""/ and /v1: the version documents, and where everything else hangs."""

from container_service import exceptions
from container_service.api import versions
from container_service.api.controllers import actions
from container_service.api.controllers import base
from container_service.api.controllers import bays
from container_service.api.controllers import containers
from container_service.api.controllers import events
from container_service.api.controllers import services


class V1Controller(base.Controller):

    def __init__(self, parts):
        super().__init__(parts)
        self._collections = {
            'containers': containers.ContainersController(parts),
            'actions': actions.ActionsController(parts),
            'bays': bays.BaysController(parts),
            'events': events.EventsController(parts),
            'services': services.ServicesController(parts),
            'limits': services.LimitsController(parts)}

    @base.answers
    def get(self):
        document = {
            'id': 'v1',
            'links': [{'rel': 'self', 'href': f'{self.base}/v1/'}],
            'media_types': [{'base': 'application/json',
                             'type': 'application/vnd.openstack.container.v1+json'}],
        }
        for name in self._collections:
            document[name] = [{'rel': 'self', 'href': f'{self.base}/v1/{name}/'},
                              {'rel': 'bookmark', 'href': f'{self.base}/{name}/'}]
        return document

    def child(self, name):
        try:
            return self._collections[name]
        except KeyError:
            raise exceptions.NotFound(f'There is no /v1/{ascii(name)[1:-1]}.') from None


class RootController(base.Controller):

    def __init__(self, parts):
        super().__init__(parts)
        self._v1 = V1Controller(parts)

    @base.answers
    def get(self):
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
        return self._v1 if name == 'v1' else self._v1.child(name)
