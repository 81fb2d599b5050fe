# SPDX-License-Identifier: Apache-2.0
"""``exec``: a command in a container, and what became of one that nobody waited for."""

import argparse
import json
import uuid

from container_service import operations
from container_service.client import actions
from container_service.client import asking
from container_service.client import base
from container_service.client import creation
from container_service.client import http
from container_service.client import outcomes
from container_service.client import wait
from container_service.states import FINAL

_SECONDS_FOR_THE_WAY = 30    # beyond the time a command in a container may take
_ASYNCHRONOUS = {'Prefer': 'respond-async'}


class Exec(base.Command):
    """Run a command in a container, print its output and end with its exit status."""

    arguments = 'CONTAINER COMMAND ...'
    operation = operations.OPERATIONS['execute']
    _timeout = next(param for param in operation.params if param.wire_name == 'timeout')
    _epilog = ('Exit status: that of the command; 1 when it could not be run, and 2 for wrong '
               'usage.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('-e', '--env', metavar='KEY[=VALUE]', action='append',
                            type=creation.variable,
                            help='Set an environment variable for the command; without a value '
                                 'to what it is here. Can be repeated.')
        creation.add_secret_env(parser)
        parser.add_argument('-u', '--user', metavar='USER[:GROUP]',
                            help='User that the command runs as.')
        parser.add_argument('-w', '--workdir', metavar='DIR',
                            help='Directory the command starts in.')
        parser.add_argument('-i', '--interactive', action='store_true',
                            help='Read standard input to its end first, and give it to the '
                                 'command.')
        parser.add_argument('-d', '--detach', action='store_true',
                            help='Do not wait: print the uuid of the action, which keeps the '
                                 'output and exit status; see action result.')
        base.add_param(parser, self._timeout)
        base.add_container(parser)
        parser.add_argument('command', metavar='COMMAND', nargs=argparse.REMAINDER,
                            help='Command and its arguments; everything after the container '
                                 'belongs to it.')

    def take_action(self, parsed_args):
        body = self._body(parsed_args)
        path = actions.path_of(self.operation, parsed_args.container)
        if parsed_args.detach:
            action, _ = asking.change(
                self.client, 'POST', path, key=str(uuid.uuid4()), headers=_ASYNCHRONOUS,
                body=body, on_trouble=self.tell_trouble)
            print(action['uuid'], file=self.app.stdout)
            return None
        seconds = parsed_args.timeout or self._timeout.default
        answer = self.client.post(path, body, read_seconds=seconds + _SECONDS_FOR_THE_WAY)
        return print_result(self, answer)

    def _body(self, parsed_args):
        words_of_it = creation.without_dashes(parsed_args.command)
        if not words_of_it:
            raise base.UsageError('Name the command to run, for example: exec web ls -l')
        body = {'command': words_of_it, 'environment': dict(parsed_args.env or ()),
                'secret_environment': creation.secret_env(parsed_args),
                'user': parsed_args.user, 'workdir': parsed_args.workdir,
                'stdin': self._stdin() if parsed_args.interactive else None,
                **base.given_params(parsed_args, [self._timeout])}
        return {name: value for name, value in body.items() if value not in (None, {})}

    def _stdin(self):
        try:
            return self.app.stdin.read()
        except UnicodeDecodeError as exc:
            raise base.UsageError('Standard input is not text in UTF-8; use cp for other '
                                  'data.') from exc


class ActionResult(base.Command):
    """Print what an action resulted in, once it has ended.

    Of a command that was run with exec --detach, its output; the exit status is that of the
    command. Of others, an object as JSON.
    """

    arguments = 'UUID'
    _epilog = ('Exit status: that of the command; otherwise as for action wait.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('action', metavar='UUID', type=base.reference)

    def take_action(self, parsed_args):
        action = self.client.get(f'actions/{http.segment(parsed_args.action)}')
        if action['status'] not in FINAL:
            *_, action = wait.states(self.client, action,
                                     on_trouble=lambda exc: self.tell_trouble(exc, 1))
        result = action.get('result')
        if result and 'exit_code' in result:
            return print_result(self, result)
        if result:
            print(json.dumps(result, indent=4, ensure_ascii=False), file=self.app.stdout)
        self.say(*outcomes.of_action(action))
        return outcomes.exit_code(action)


def print_result(command, result):
    """Print what a command in a container wrote; return the exit status to end with."""
    command.app.stdout.write(result.get('output') or '')
    if result.get('truncated'):
        command.say('The output was longer; its end is missing.')
    code = result.get('exit_code')
    return outcomes.EXIT_FAILED if code is None else code
