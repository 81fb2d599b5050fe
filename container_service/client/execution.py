# SPDX-License-Identifier: Apache-2.0
"""``exec``: a command in a container."""

import argparse

from container_service import operations
from container_service.client import base
from container_service.client import creation
from container_service.client import http
from container_service.client import outcomes

_SECONDS_FOR_THE_WAY = 30    # beyond the time a command in a container may take


class Exec(base.Command):
    """Run a command in a container, print its output and end with its exit status."""

    arguments = 'CONTAINER COMMAND ...'
    operation = operations.OPERATIONS['execute']
    _timeout = next(param for param in operation.params if param.wire_name == 'timeout')
    _epilog = ('Exit status: that of the command; 1 when it could not be run, and 2 for wrong '
               'usage.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_param(parser, self._timeout)
        base.add_container(parser)
        parser.add_argument('command', metavar='COMMAND', nargs=argparse.REMAINDER,
                            help='Command and its arguments; everything after the container '
                                 'belongs to it.')

    def take_action(self, parsed_args):
        words_of_it = creation.without_dashes(parsed_args.command)
        if not words_of_it:
            raise base.UsageError('Name the command to run, for example: exec web ls -l')
        body = {'command': words_of_it, **base.given_params(parsed_args, [self._timeout])}
        seconds = parsed_args.timeout or self._timeout.default
        answer = self.client.post(
            f'containers/{http.segment(parsed_args.container)}/execute', body,
            read_seconds=seconds + _SECONDS_FOR_THE_WAY)
        self.app.stdout.write(answer.get('output') or '')
        if answer.get('truncated'):
            self.say('The output was longer; its end is missing.')
        code = answer.get('exit_code')
        return outcomes.EXIT_FAILED if code is None else code
