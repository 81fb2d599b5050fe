# SPDX-License-Identifier: Apache-2.0
"""A client that asks for one certain thing after the other; recorded as a Load is."""

import urllib.parse

from container_service import states
from faults import client
from faults import load
from faults import process


class Asker:

    def __init__(self, world, name):
        self.requests = []
        self._world, self._name = world, name
        self._caller = client.Client(world.clients)
        self._number = 0

    def make(self, bay, operation='create', **body):
        """Ask for a container on the bay of that name or uuid; returns the action."""
        self._number += 1
        name = f'{self._name}n{self._number}'
        body = {'name': name, 'image': self._world.image, 'command': load.COMMAND,
                'bay_uuid': self._world.bays.get(bay, bay), **body}
        path = '/v1/containers' + ('?run=true' if operation == 'run' else '')
        return self._ask(operation, 'POST', path, body, name)

    def ask(self, operation, container, **query):
        """Ask for something to be done with the container of that uuid; returns the action."""
        name = next(one.name for one in self.requests if one.container == container)
        path, method = f'/v1/containers/{container}', 'POST'
        if operation == 'delete':
            method = 'DELETE'
        else:
            path += f'/{operation}'
        return self._ask(operation, method, f'{path}?{urllib.parse.urlencode(query)}', None, name,
                         container)

    def cancel(self, action):
        """Ask for an action to be cancelled; returns the status of the answer."""
        return self._caller.ask('POST', f'/v1/actions/{action["uuid"]}/cancel').status

    def _ask(self, operation, method, path, body, name, container=None):
        self._number += 1
        request = load.Request(
            client=self._name, operation=operation, method=method, path=path, body=body,
            key=f'{self._name}k{self._number}', name=name, container=container)
        self.requests.append(request)
        answer = self._caller.ask(method, path, body, request.key, tries=request.tries)
        if answer.status != 202:
            raise process.Broken(f'{operation} was not accepted: {answer}')
        action = answer.json.get('action') or answer.json
        request.action, request.container = action['uuid'], action['container_uuid']
        return action

    def show(self, action):
        """The action as it is now."""
        return self._caller.ask('GET', f'/v1/actions/{action["uuid"]}').json

    def wait(self, action, *statuses, seconds=30):
        """Wait until an action has one of these statuses, or a final one; returns it then."""
        statuses = statuses or states.FINAL
        process.wait_for(lambda: self.show(action)['status'] in (*statuses, *states.FINAL),
                         f'{action["operation"]} {action["uuid"]} does not come to '
                         f'{" or ".join(sorted(statuses))}', seconds, 0.02)
        return self.show(action)

    def succeeded(self, action):
        """Wait until it has; returns the uuid of the container.  Raises Broken."""
        ended = self.wait(action)
        if ended['status'] != states.SUCCEEDED:
            raise process.Broken(f'{action["operation"]} ended {ended["status"]}: '
                                 f'{ended["error"]}')
        return ended['container_uuid']
