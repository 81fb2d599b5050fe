# SPDX-License-Identifier: Apache-2.0
"""Commands that change containers and are nicer than what their rows would make of them."""

from container_service import operations
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
