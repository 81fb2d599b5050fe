# SPDX-License-Identifier: Apache-2.0
"""Commands that change containers and are nicer than what their rows would make of them."""

from container_service import operations
from container_service import references
from container_service.client import actions
from container_service.client import base


class Update(actions.OperationCommand):
    """Change what containers may use, their restart policy or name; they go on running."""

    operation = operations.OPERATIONS['update']
    also = {'cpu': ('--cpus',), 'memory': ('-m',), 'restart_policy': ('--restart',)}

    def params(self, parsed_args):
        given = super().params(parsed_args)
        if not given:
            names = ', '.join('--' + param.wire_name.replace('_', '-')
                              for param in self.operation.params)
            raise base.UsageError(f'Say what to change: {names}.')
        return given


class Commit(actions.OperationCommand):
    """Make an image of what is in a container; it stays on the bay, for the project."""

    operation = operations.OPERATIONS['commit']
    arguments = 'CONTAINER NAME[:TAG]'

    def add_params(self, parser):
        parser.add_argument('image', metavar='NAME[:TAG]',
                            help='What the image is to be called, for example web:fixed.')

    def params(self, parsed_args):
        repository, tag = references.split(parsed_args.image)
        return {'repository': repository, 'tag': tag}


class AttachNetwork(actions.OperationCommand):
    """Attach a container to a network of its engine."""

    operation = operations.OPERATIONS['network_attach']
    arguments = 'CONTAINER NETWORK'
    required = (None,)      # one container, which the network follows

    def add_params(self, parser):
        parser.add_argument('network', metavar='NETWORK', help='Its name or id.')
        for param in self.operation.params:
            if param.wire_name == 'fixed_ip':
                base.add_param(parser, param, '--ip')

    def params(self, parsed_args):
        given = {'network': parsed_args.network,
                 'fixed_ip': getattr(parsed_args, 'fixed_ip', None)}
        return {name: value for name, value in given.items() if value}


class DetachNetwork(AttachNetwork):
    """Detach a container from a network."""

    operation = operations.OPERATIONS['network_detach']
