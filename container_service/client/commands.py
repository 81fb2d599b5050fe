# SPDX-License-Identifier: Apache-2.0
"""The commands on containers, bays and the service, and the list of all.

Each turns its arguments into requests and their answers into output.  Those that end in actions,
and those on actions, are in actions.py.
"""

import argparse
import contextlib
import shlex
import uuid

from container_service import operations
from container_service import states
from container_service.client import actions
from container_service.client import asking
from container_service.client import base
from container_service.client import derived
from container_service.client import http
from container_service.client import outcomes
from container_service.client import outside
from container_service.client import services

CONTAINER_FIELDS = (
    'uuid', 'name', 'image', 'status', 'status_reason', 'status_detail', 'task_state',
    'exit_code', 'health', 'command', 'entrypoint', 'environment', 'labels', 'workdir',
    'hostname', 'cpu', 'memory', 'restart_policy', 'tty', 'interactive', 'image_pull_policy',
    'addresses', 'ports', 'bay_uuid', 'created_at', 'updated_at', 'started_at', 'finished_at')
BAY_FIELDS = (
    'uuid', 'name', 'driver', 'endpoint', 'hosts', 'public', 'is_default', 'status',
    'status_reason', 'health_status', 'health_status_reason', 'reconciled_at', 'strays',
    'watcher', 'node_count', 'created_at', 'updated_at')

_PULL_POLICIES = {'never': 'never', 'always': 'always', 'missing': 'ifnotpresent'}
_SECONDS_FOR_THE_WAY = 30    # beyond the time a command in a container may take


class Create(actions.RequestCommand):
    """Create a container; its image is pulled when absent."""

    arguments = 'IMAGE [COMMAND ...]'
    starts = False

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Name of the container; made up when not given.')
        parser.add_argument('--env', metavar='KEY=VALUE', action='append', type=_key_value,
                            help='Set an environment variable; can be repeated.')
        parser.add_argument('--label', metavar='KEY=VALUE', action='append', type=_key_value,
                            help='Label the container; can be repeated.')
        parser.add_argument('--workdir', metavar='DIR', help='Directory the command starts in.')
        parser.add_argument('--hostname', help='Host name inside the container.')
        parser.add_argument('--cpu', metavar='CORES', type=base.positive_number,
                            help='Processor cores it may use, for example 0.5.')
        parser.add_argument('--memory', metavar='SIZE',
                            help='Memory it may use, for example 64m; digits alone are MiB.')
        parser.add_argument('--restart', metavar='POLICY[:N]', type=_restart_policy,
                            help='When the engine starts it again: no, always, unless-stopped '
                                 'or on-failure (at most N times).')
        parser.add_argument('--tty', action='store_true', help='Give it a terminal.')
        parser.add_argument('--interactive', action='store_true',
                            help='Keep its standard input open.')
        parser.add_argument('--pull', choices=_PULL_POLICIES,
                            help='When to pull the image; default missing.')
        parser.add_argument('--entrypoint', metavar='COMMAND', type=_shell_words,
                            help='Replace the entrypoint of the image.')
        parser.add_argument('--bay', type=base.reference,
                            help='Name or uuid of the bay to place it on.')
        parser.add_argument('image', metavar='IMAGE', help='Image, for example alpine:3.20.')
        parser.add_argument('command', metavar='COMMAND', nargs=argparse.REMAINDER,
                            help='Command and its arguments; everything after the image '
                                 'belongs to it.')

    def send(self, parsed_args, target):
        body = self._body(parsed_args)
        if parsed_args.bay:
            body['bay_uuid'] = self._bay_uuid(parsed_args.bay)
        query = base.given_params(parsed_args, operations.OPTIONS)
        if self.starts:
            query['run'] = True
        answer = self.ask(parsed_args, 'POST', 'containers', body=body, params=query)
        return answer if parsed_args.dry_run else answer['action']

    @staticmethod
    def _body(args):
        body = {
            'name': args.name, 'image': args.image,
            'command': _without_dashes(args.command) or None, 'entrypoint': args.entrypoint,
            'environment': args.env and dict(args.env),
            'labels': args.label and dict(args.label), 'workdir': args.workdir,
            'hostname': args.hostname, 'cpu': args.cpu, 'memory': args.memory,
            'restart_policy': args.restart, 'tty': args.tty or None,
            'interactive': args.interactive or None,
            'image_pull_policy': _PULL_POLICIES.get(args.pull)}
        # What was not asked for is left to the service.
        return {key: value for key, value in body.items() if value is not None}

    def _bay_uuid(self, bay):
        with contextlib.suppress(ValueError):
            return str(uuid.UUID(bay))
        return self.client.get(f'bays/{http.segment(bay)}')['uuid']


class Run(Create):
    """Create a container and start it."""

    starts = True


class ListContainers(base.ListCommand):
    """List containers.

    A table has the columns that fit a terminal; more with --long, all with -f json, and any
    with -c.
    """
    path = 'containers'
    fields = CONTAINER_FIELDS
    brief = ('name', 'image', 'status', 'task_state', 'created_at')
    long = ('uuid', 'name', 'image', 'command', 'status', 'status_detail', 'task_state',
            'addresses', 'created_at')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--name', help='Only the one of this name.')
        parser.add_argument('--status', type=_container_status, metavar='STATUS',
                            help='Only those in this status: '
                                 f'{", ".join(sorted(states.CONTAINER_STATUSES))}.')
        parser.add_argument('--image', help='Only those of this image.')
        parser.add_argument('--label', metavar='KEY[=VALUE]', action='append',
                            help='Only those with this label; can be repeated.')

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key) for key in ('name', 'status', 'image', 'label')}


class ShowContainer(base.ShowCommand):
    """Show a container."""

    arguments = 'CONTAINER'
    fields = CONTAINER_FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)

    def take_action(self, parsed_args):
        found = self.client.get(f'containers/{http.segment(parsed_args.container)}')
        self.print_one(parsed_args, found)


class Logs(base.Command):
    """Print what a container wrote to its standard output and error."""

    arguments = 'CONTAINER'
    operation = operations.OPERATIONS['logs']

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)
        streams = parser.add_mutually_exclusive_group()
        streams.add_argument('--stdout', action='store_true', help='Only standard output.')
        streams.add_argument('--stderr', action='store_true', help='Only standard error.')
        for param in self.operation.params:
            if param.wire_name not in ('stdout', 'stderr'):
                base.add_param(parser, param)

    def take_action(self, parsed_args):
        params = base.given_params(parsed_args, [param for param in self.operation.params
                                            if param.wire_name not in ('stdout', 'stderr')])
        if parsed_args.stdout:
            params['stderr'] = False
        if parsed_args.stderr:
            params['stdout'] = False
        answer = self.client.get(f'containers/{http.segment(parsed_args.container)}/logs',
                                 params=params)
        self.app.stdout.write(answer.get('output') or '')


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
        words_of_it = _without_dashes(parsed_args.command)
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


class ListBays(base.ListCommand):
    """List bays: the engines that containers are placed on."""

    path = 'bays'
    fields = BAY_FIELDS
    brief = ('name', 'driver', 'endpoint', 'status', 'health_status')


class ShowBay(base.ShowCommand):
    """Show a bay."""

    arguments = 'BAY'
    fields = BAY_FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bay', metavar='BAY', type=base.reference, help='Name or uuid.')

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get(f'bays/{http.segment(parsed_args.bay)}'))


class CreateBay(base.ShowCommand):
    """Make an engine known as a bay."""

    arguments = 'NAME'
    fields = BAY_FIELDS
    changes = True
    shadows = ('--endpoint',)

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('name', metavar='NAME')
        parser.add_argument('--driver', default='docker', help='Default docker.')
        parser.add_argument('--endpoint', required=True,
                            help='Address of the engine: unix:///path or tcp://host:port.')
        for option in ('--ca-cert', '--client-cert', '--client-key'):
            parser.add_argument(option, metavar='PATH',
                                help='PEM file on the conductor hosts, for a tcp endpoint.')
        parser.add_argument('--host', action='append', dest='hosts', metavar='HOST',
                            help='Conductor host that reaches this engine; can be repeated.')
        parser.add_argument('--public', action='store_true',
                            help='Let every project place containers on it.')

    def take_action(self, parsed_args):
        keys = ('name', 'driver', 'endpoint', 'ca_cert', 'client_cert', 'client_key', 'hosts',
                'public')
        body = {key: getattr(parsed_args, key) for key in keys}
        bay, _ = asking.change(
            self.client, 'POST', 'bays', key=str(uuid.uuid4()), on_trouble=self.tell_trouble,
            body={key: value for key, value in body.items() if value})
        self.print_one(parsed_args, bay)


class DeleteBay(base.Command):
    """Forget bays that have no containers; their engines stay as they are."""

    arguments = 'BAY [BAY ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bays', metavar='BAY', nargs='+', type=base.reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        return self.each(parsed_args.bays, lambda bay: asking.change(
            self.client, 'DELETE', f'bays/{http.segment(bay)}', key=str(uuid.uuid4()),
            on_trouble=self.tell_trouble))


class Limits(base.ShowCommand):
    """Show how much may be queued, how much is, and how fast the service works it off."""

    fields = ('unfinished_actions', 'unfinished_actions_per_container', 'drain_rate_per_second')

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get('limits')['limits'])


def _key_value(text):
    key, equals, value = text.partition('=')
    if not key or not equals:
        raise argparse.ArgumentTypeError(f'{text!r} must be KEY=VALUE')
    return key, value


def _restart_policy(text):
    name, colon, count = text.partition(':')
    policy = {'Name': name}
    if colon:
        if not count.isdigit():
            raise argparse.ArgumentTypeError(f'{text!r}: what follows the colon must be a number')
        policy['MaximumRetryCount'] = int(count)
    return policy


def _shell_words(text):
    try:
        return shlex.split(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(f'cannot be split into words: {exc}') from exc


def _container_status(text):
    status = text.capitalize()
    if status not in states.CONTAINER_STATUSES:
        known = ', '.join(sorted(states.CONTAINER_STATUSES))
        raise argparse.ArgumentTypeError(f'{text!r} is not one of {known}')
    return status


def _without_dashes(words_of_it):
    # argparse leaves the -- that a careful user puts before a command.
    return words_of_it[1:] if words_of_it[:1] == ['--'] else words_of_it


_CONTAINERS = {
    'create': Create, 'run': Run, 'list': ListContainers, 'show': ShowContainer, 'logs': Logs,
    'exec': Exec}

# Name of a command to its class, by the heading it has in the help.
COMMANDS = {
    # What an operation has no command of its own for, its row is command enough.
    'Containers': {**_CONTAINERS, **derived.commands(besides=_CONTAINERS)},
    'Actions': {'action list': actions.ListActions, 'action show': actions.ShowAction,
                'action wait': actions.WaitForActions, 'action cancel': actions.CancelActions},
    'Bays': {'bay list': ListBays, 'bay show': ShowBay, 'bay create': CreateBay,
             'bay delete': DeleteBay, 'bay strays': outside.ListStrays,
             'reconcile': outside.Reconcile},
    'Events': {'event list': outside.ListEvents},
    'Service': {**services.COMMANDS, 'limits': Limits},
}
