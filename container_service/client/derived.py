# SPDX-License-Identifier: Apache-2.0
"""Commands that nobody wrote: what a row of the operation table says is enough for one.

A new operation has its command with its row.  One that deserves a nicer command gets it in
another module of this package, under the name that it would have here.
"""

from container_service import operations
from container_service.client import actions
from container_service.client import base
from container_service.client import words

_SECONDS_FOR_THE_WAY = 30    # beyond the time that the operation may take


class AskCommand(base.ShowCommand):
    """A blocking operation: asks a container's engine something and prints the answer."""

    operation = None

    @property
    def arguments(self):
        return ' '.join(['CONTAINER', *(param.wire_name.upper() for param in self.operation.params
                                        if param.required)])

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)
        for param in self.operation.params:
            base.add_param(parser, param)

    def take_action(self, parsed_args):
        answer = ask(self.client, self.operation, parsed_args.container,
                     base.given_params(parsed_args, self.operation.params))
        self.print_one(parsed_args, answer or {})


def ask(client, operation, container, params):
    """Ask for a blocking operation with parameters by their names on the wire."""
    where = 'params' if operation.http_method == 'GET' else 'body'
    return client.request(
        operation.http_method, actions.path_of(operation, container), **{where: params},
        read_seconds=operation.deadline_seconds + _SECONDS_FOR_THE_WAY)


def commands(besides=()):
    """Name to class, for each operation on containers whose name is not among ``besides``."""
    made = {}
    for row in operations.OPERATIONS.values():
        name = words.cli_name(row.name)
        if not row.creates and name not in besides:
            made[name] = type(
                row.name.title().replace('_', ''),
                (actions.OperationCommand if row.is_async else AskCommand,),
                {'operation': row, '_description': row.summary})
    return made
