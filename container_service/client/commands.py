# SPDX-License-Identifier: Apache-2.0
"""The commands: each turns its arguments into requests and their answers into output.

They need an application with ``stdout``, ``stderr`` and ``client_manager.container_service`` (an
http.Client) and nothing else of shell.py, so that other applications can have them too.
Standard output gets results only; all words about them go to standard error.
"""

import argparse
import contextlib
import datetime
import shlex
import time
import uuid

from cliff import command
from cliff import lister
from cliff import show

from container_service import operations
from container_service import states
from container_service.client import http
from container_service.client import outcomes
from container_service.client import progress
from container_service.client import wait
from container_service.client import words

ACTION_FIELDS = (
    'uuid', 'operation', 'container_name', 'status', 'stage', 'waiting', 'progress', 'error',
    'container_uuid', 'bay_uuid', 'conductor', 'attempts', 'parameters', 'created_at',
    'started_at', 'progress_at', 'finished_at', 'request_id', 'project_id', 'user_id')
CONTAINER_FIELDS = (
    'uuid', 'name', 'image', 'status', 'status_reason', 'status_detail', 'task_state',
    'exit_code', 'command', 'entrypoint', 'environment', 'labels', 'workdir', 'hostname', 'cpu',
    'memory', 'restart_policy', 'tty', 'interactive', 'image_pull_policy', 'addresses', 'ports',
    'bay_uuid', 'created_at', 'updated_at', 'started_at', 'finished_at')
BAY_FIELDS = (
    'uuid', 'name', 'driver', 'endpoint', 'hosts', 'public', 'is_default', 'status',
    'status_reason', 'health_status', 'health_status_reason', 'node_count', 'created_at',
    'updated_at')

DEFAULT_POLL_SECONDS = 3600
_PULL_POLICIES = {'never': 'never', 'always': 'always', 'missing': 'ifnotpresent'}
_SECONDS_FOR_THE_WAY = 30    # beyond the time a command in a container may take
_NO_MAX_WIDTH = 10 ** 6


class UsageError(Exception):
    """The command line asks for something that cannot be; nothing was changed."""


class Command(command.Command):
    """A command of ours: knows its client and where words go."""

    arguments = ''   # what follows the options, in the usage line
    shadows = ()     # global options that mean something else after this command

    @property
    def client(self):
        return self.app.client_manager.container_service

    def get_parser(self, prog_name):
        parser = super().get_parser(prog_name)
        # Instead of all options: a user who erred wants to see the error, not twelve lines.
        parser.usage = f'{prog_name} [options] {self.arguments}'.rstrip()
        self.add_arguments(parser)
        return parser

    def add_arguments(self, parser):
        """Add the arguments that are this command's own."""

    def get_epilog(self):
        # cliff would look through the metadata of every installed package here, to name the
        # one that a command comes from: 70 ms of each call.
        return self._epilog or ''

    def say(self, *lines):
        """Tell the user something that is not the result."""
        self.app.stdout.flush()
        for text in lines:
            print(text, file=self.app.stderr)


class Formatted(Command):
    """A command whose result is one object or a list of them, in the format of the user.

    ``fields`` are what can be asked for, and what json and yaml have; ``brief`` is what the
    other formats show.  ``hides_empty``: a table of one object leaves out empty fields.
    ``changes``: it does more than read.
    """
    fields = ()
    brief = ()
    hides_empty = False
    changes = False

    def run(self, parsed_args):
        self.formatter = self._formatter_plugins[parsed_args.formatter].obj
        if self.changes:
            self._columns(parsed_args, [])      # a wrong name must not show after the deed
        return self.take_action(parsed_args) or outcomes.EXIT_SUCCESS

    def print_one(self, parsed_args, item):
        names = self._columns(parsed_args, [item])
        if self.hides_empty and parsed_args.formatter == 'table' and not parsed_args.columns:
            names = [name for name in names if item.get(name) not in (None, '', {}, [])]
        row = self._row(parsed_args, names, item)
        self.formatter.emit_one(names, row, self.app.stdout, parsed_args)

    def print_list(self, parsed_args, items, now=None):
        names = self._columns(parsed_args, items)
        rows = [self._row(parsed_args, names, item, now) for item in items]
        if not rows and parsed_args.formatter == 'table' and not parsed_args.print_empty:
            return          # cliff would print an empty line
        if parsed_args.formatter == 'table' and not parsed_args.fit_width:
            # On a narrow terminal cliff breaks uuids in two, which nobody can copy then.
            parsed_args.max_width = parsed_args.max_width or _NO_MAX_WIDTH
        self.formatter.emit_list(names, rows, self.app.stdout, parsed_args)

    def _columns(self, parsed_args, items):
        known = list(self.fields)
        known += [key for item in items for key in item
                  if key not in self.fields and key != 'links']
        known = list(dict.fromkeys(known))
        if not parsed_args.columns:
            everything = parsed_args.formatter in ('json', 'yaml') or not self.brief
            return known if everything else list(self.brief)
        asked = [name.strip().lower().replace(' ', '_') for name in parsed_args.columns]
        unknown = [name for name in asked if name not in known]
        if unknown:
            raise UsageError(f'No such column: {", ".join(unknown)}. '
                             f'There are: {", ".join(known)}.')
        return asked

    def _row(self, parsed_args, names, item, now=None):
        if parsed_args.formatter in ('json', 'yaml'):
            return [item.get(name) for name in names]
        if parsed_args.formatter == 'table':
            return [words.cell(name, item.get(name), now) for name in names]
        return [words.plain(item.get(name)) for name in names]


class ShowCommand(Formatted, show.ShowOne):
    """One object."""


class ListCommand(Formatted, lister.Lister):
    """A list that comes in pages."""

    path = None           # under /v1; also the key of the list in the answer

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--limit', metavar='N', type=_positive_integer,
                            help='Show at most this many.')
        parser.add_argument('--marker', metavar='UUID',
                            help='Begin after this one.')

    def query(self, parsed_args):
        """The filters that the user asked for."""
        return {}

    def take_action(self, parsed_args):
        query = {key: value for key, value in self.query(parsed_args).items()
                 if value is not None}
        if parsed_args.marker:
            query['marker'] = parsed_args.marker
        items, more = self.client.pages(self.path, self.path, query, parsed_args.limit)
        last = items[-1].get('uuid') if items else None
        _sort(items, parsed_args)
        self.print_list(parsed_args, items, now=datetime.datetime.now(datetime.UTC))
        if self.app.stderr.isatty():
            if not items:
                self.say(f'No {self.path}.')
            if more:
                self.say(f'There are more; go on with --marker {last}')


class ActionCommand(ShowCommand):
    """A command that ends in actions: prints them, and with --poll waits for their end."""

    fields = ACTION_FIELDS
    brief = ('uuid', 'operation', 'container_name', 'container_uuid', 'status', 'stage')
    brief_list = ('uuid', 'operation', 'container_name', 'status')
    hides_empty = True
    changes = True
    _epilog = ('Exit status: 0 success (without --poll: accepted), 1 failed, 2 wrong usage, '
               '3 cancelled, 4 timed out waiting, 5 skipped, 6 interrupted.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--poll', action='store_true',
                            help='Wait for the outcome and end with it.')
        parser.add_argument('--poll-timeout', metavar='SECONDS', type=_number,
                            help='Wait at most this long (implies --poll); default '
                                 f'{DEFAULT_POLL_SECONDS}. The action goes on all the same.')

    def finish(self, parsed_args, actions, *, as_list=False, codes=()):
        """Wait if asked to, print the actions and how they ended; return the exit code.

        ``codes`` are those of what was not even accepted.
        """
        codes, last, told = list(codes), [], []
        seconds = parsed_args.poll_timeout
        polls = parsed_args.poll or seconds is not None
        deadline = time.monotonic() + (DEFAULT_POLL_SECONDS if seconds is None else seconds)
        for action in actions:
            # A service without asynchronous mode answers with how it ended.
            if polls or action['status'] in states.FINAL:
                code, action, lines = self._wait(action, deadline)
                codes.append(code)
                told += lines
            last.append(action)
        if as_list and last:
            self.brief = self.brief_list
            self.print_list(parsed_args, last)
        else:
            for action in last:
                self.print_one(parsed_args, action)
        self.say(*told)
        return outcomes.worst(codes)

    def _wait(self, accepted, deadline):
        """Return (exit code, last state, words) of one action."""
        action = accepted
        try:
            with progress.on(self.app.stderr) as seen:
                for action in wait.states(self.client, accepted, deadline=deadline,
                                          on_trouble=seen.trouble):
                    seen.show(action)
        except wait.TimedOut as exc:
            return outcomes.EXIT_TIMED_OUT, exc.action, outcomes.of_timeout(exc)
        except http.ClientError as exc:
            return outcomes.EXIT_FAILED, action, [
                *outcomes.of_error(exc, outcomes.title(action)), outcomes.look_again(action)]
        except KeyboardInterrupt:
            self.say(f'Not waiting any longer; {outcomes.title(action)} goes on.',
                     outcomes.look_again(action))
            raise
        return outcomes.exit_code(action), action, outcomes.of_action(action)


class OperationCommand(ActionCommand):
    """An asynchronous operation on containers that exist, generated from its row."""

    arguments = 'CONTAINER [CONTAINER ...]'
    operation = None

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('containers', metavar='CONTAINER', nargs='+', type=_reference,
                            help='Name or uuid. With several, the result is a list and the '
                                 'exit status is the worst.')
        for param in self.operation.params:
            add_param(parser, param)

    def take_action(self, parsed_args):
        several = len(parsed_args.containers) > 1
        if several and parsed_args.formatter == 'shell':
            raise UsageError('-f shell shows one action only; use another format for several.')
        params = given_params(parsed_args, self.operation.params)
        accepted, codes = [], []
        for container in parsed_args.containers:
            try:
                accepted.append(self._ask(container, params))
            except http.ClientError as exc:
                # Go on with the others, but not against a service that does not answer.
                self.say(*outcomes.of_error(exc, container if several else None))
                codes.append(outcomes.EXIT_FAILED)
                if not isinstance(exc, http.ApiError):
                    break
        return self.finish(parsed_args, accepted, as_list=several, codes=codes)

    def _ask(self, container, params):
        path = f'containers/{http.segment(container)}'
        if self.operation.http_method == 'DELETE':
            return self.client.delete(path, params=params)
        return self.client.post(f'{path}/{self.operation.name}', params)


class Create(ActionCommand):
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
        parser.add_argument('--cpu', metavar='CORES', type=_positive_number,
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
        parser.add_argument('--bay', type=_reference,
                            help='Name or uuid of the bay to place it on.')
        parser.add_argument('image', metavar='IMAGE', help='Image, for example alpine:3.20.')
        parser.add_argument('command', metavar='COMMAND', nargs=argparse.REMAINDER,
                            help='Command and its arguments; everything after the image '
                                 'belongs to it.')

    def take_action(self, parsed_args):
        body = self._body(parsed_args)
        if parsed_args.bay:
            body['bay_uuid'] = self._bay_uuid(parsed_args.bay)
        answer = self.client.post('containers', body,
                                  params={'run': True} if self.starts else None)
        return self.finish(parsed_args, [answer['action']])

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


class ListContainers(ListCommand):
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
        parser.add_argument('--long', action='store_true', help='Show more columns.')

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key) for key in ('name', 'status', 'image', 'label')}

    def take_action(self, parsed_args):
        if parsed_args.long:
            self.brief = self.long
        return super().take_action(parsed_args)


class ShowContainer(ShowCommand):
    """Show a container."""

    arguments = 'CONTAINER'
    fields = CONTAINER_FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_container(parser)

    def take_action(self, parsed_args):
        found = self.client.get(f'containers/{http.segment(parsed_args.container)}')
        self.print_one(parsed_args, found)


class Logs(Command):
    """Print what a container wrote to its standard output and error."""

    arguments = 'CONTAINER'
    operation = operations.OPERATIONS['logs']

    def add_arguments(self, parser):
        super().add_arguments(parser)
        _add_container(parser)
        streams = parser.add_mutually_exclusive_group()
        streams.add_argument('--stdout', action='store_true', help='Only standard output.')
        streams.add_argument('--stderr', action='store_true', help='Only standard error.')
        for param in self.operation.params:
            if param.wire_name not in ('stdout', 'stderr'):
                add_param(parser, param)

    def take_action(self, parsed_args):
        params = given_params(parsed_args, [param for param in self.operation.params
                                            if param.wire_name not in ('stdout', 'stderr')])
        if parsed_args.stdout:
            params['stderr'] = False
        if parsed_args.stderr:
            params['stdout'] = False
        answer = self.client.get(f'containers/{http.segment(parsed_args.container)}/logs',
                                 params=params)
        self.app.stdout.write(answer.get('output') or '')


class Exec(Command):
    """Run a command in a container, print its output and end with its exit status."""

    arguments = 'CONTAINER COMMAND ...'
    operation = operations.OPERATIONS['execute']
    _timeout = next(param for param in operation.params if param.wire_name == 'timeout')
    _epilog = ('Exit status: that of the command; 1 when it could not be run, and 2 for wrong '
               'usage.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        add_param(parser, self._timeout)
        _add_container(parser)
        parser.add_argument('command', metavar='COMMAND', nargs=argparse.REMAINDER,
                            help='Command and its arguments; everything after the container '
                                 'belongs to it.')

    def take_action(self, parsed_args):
        words_of_it = _without_dashes(parsed_args.command)
        if not words_of_it:
            raise UsageError('Name the command to run, for example: exec web ls -l')
        body = {'command': words_of_it, **given_params(parsed_args, [self._timeout])}
        seconds = parsed_args.timeout or self._timeout.default
        answer = self.client.post(
            f'containers/{http.segment(parsed_args.container)}/execute', body,
            read_seconds=seconds + _SECONDS_FOR_THE_WAY)
        self.app.stdout.write(answer.get('output') or '')
        if answer.get('truncated'):
            self.say('The output was longer; its end is missing.')
        code = answer.get('exit_code')
        return outcomes.EXIT_FAILED if code is None else code


class ListActions(ListCommand):
    """List actions: what was asked for, and what became of it."""

    path = 'actions'
    fields = ACTION_FIELDS
    brief = ('uuid', 'operation', 'container_name', 'status', 'created_at')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--container', metavar='CONTAINER',
                            help='Only those of this container (name or uuid).')
        parser.add_argument('--operation', type=_operation, metavar='OPERATION',
                            help='Only those of this operation, for example stop.')
        parser.add_argument('--status', choices=sorted(states.ACTION_STATUSES),
                            help='Only those in this status.')

    def query(self, parsed_args):
        return {key: getattr(parsed_args, key) for key in ('container', 'operation', 'status')}


class ShowAction(ShowCommand):
    """Show an action: how far it is, what it waits for, why it failed."""

    arguments = 'UUID'
    fields = ACTION_FIELDS
    hides_empty = True

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('action', metavar='UUID', type=_reference)

    def take_action(self, parsed_args):
        action = self.client.get(f'actions/{http.segment(parsed_args.action)}')
        hint = (action.get('error') or {}).get('hint')
        if hint and parsed_args.formatter == 'table' and not parsed_args.columns:
            action['hint'] = hint
            self.fields = _after(self.fields, 'error', 'hint')
        self.print_one(parsed_args, action)


class ListBays(ListCommand):
    """List bays: the engines that containers are placed on."""

    path = 'bays'
    fields = BAY_FIELDS
    brief = ('name', 'driver', 'endpoint', 'status', 'health_status')


class ShowBay(ShowCommand):
    """Show a bay."""

    arguments = 'BAY'
    fields = BAY_FIELDS

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bay', metavar='BAY', type=_reference, help='Name or uuid.')

    def take_action(self, parsed_args):
        self.print_one(parsed_args, self.client.get(f'bays/{http.segment(parsed_args.bay)}'))


class CreateBay(ShowCommand):
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
        bay = self.client.post('bays', {key: value for key, value in body.items() if value})
        self.print_one(parsed_args, bay)


class DeleteBay(Command):
    """Forget bays that have no containers; their engines stay as they are."""

    arguments = 'BAY [BAY ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('bays', metavar='BAY', nargs='+', type=_reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        codes = []
        for bay in parsed_args.bays:
            try:
                self.client.delete(f'bays/{http.segment(bay)}')
            except http.ApiError as exc:
                what = bay if len(parsed_args.bays) > 1 else None
                self.say(*outcomes.of_error(exc, what))
                codes.append(outcomes.EXIT_FAILED)
        return outcomes.worst(codes)


def add_param(parser, param):
    """Add the option for a parameter of an operation, named as on the wire."""
    option = '--' + param.wire_name.replace('_', '-')
    if param.convert is operations.boolean:
        parser.add_argument(option, dest=param.wire_name, action='store_true', help=param.help)
        return
    text = param.help
    if param.default is not None:
        text = f'{text} Default {param.default}.'
    metavar = 'SECONDS' if param.name.endswith('_seconds') else param.wire_name.upper()
    parser.add_argument(option, dest=param.wire_name, metavar=metavar, help=text,
                        type=_converted_by(param))


def given_params(parsed_args, params):
    """The parameters that the user gave, by wire name; the service has the defaults."""
    given = {param.wire_name: getattr(parsed_args, param.wire_name) for param in params}
    return {name: value for name, value in given.items()
            if value is not None and value is not False}


def _converted_by(param):
    def convert(text):
        try:
            value = param.parse(text)
        except ValueError as exc:
            raise argparse.ArgumentTypeError(str(exc)) from exc
        # What stands for "no limit" in the driver has its word on the wire.
        return text if value is None else value
    return convert


def _add_container(parser):
    parser.add_argument('container', metavar='CONTAINER', type=_reference, help='Name or uuid.')


def _reference(text):
    try:
        http.segment(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return text


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


def _operation(text):
    try:
        return words.operation_name(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def _positive_integer(text):
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError('must be a whole number of at least 1')
    return int(text)


def _number(text):
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value < float('inf'):
        raise argparse.ArgumentTypeError('must be a number, not negative')
    return value


def _positive_number(text):
    value = _number(text)
    if not value:
        raise argparse.ArgumentTypeError('must be more than 0')
    return value


def _without_dashes(words_of_it):
    # argparse leaves the -- that a careful user puts before a command.
    return words_of_it[1:] if words_of_it[:1] == ['--'] else words_of_it


def _after(fields, known, new):
    place = fields.index(known) + 1
    return (*fields[:place], new, *fields[place:])


def _sort(items, parsed_args):
    for column in reversed(parsed_args.sort_columns):
        key = column.lower().replace(' ', '_')
        # As text where types differ; what is absent comes last.
        items.sort(key=lambda item, key=key: (item.get(key) is None, _sortable(item.get(key))),
                   reverse=parsed_args.sort_direction == 'desc')


def _sortable(value):
    number = isinstance(value, (int, float))
    return (not number, value if number else 0, '' if number else str(value))


def _operation_commands():
    """A command for each asynchronous row that acts on containers that exist."""
    for row in operations.of_kind(operations.ASYNC):
        if not row.creates:
            yield words.cli_name(row.name), type(
                row.name.capitalize(), (OperationCommand,),
                {'operation': row, '_description': row.summary})


# Name of a command to its class, by the heading it has in the help.
COMMANDS = {
    'Containers': {
        'create': Create, 'run': Run, 'list': ListContainers, 'show': ShowContainer,
        'logs': Logs, words.cli_name('execute'): Exec, **dict(_operation_commands())},
    'Actions': {'action list': ListActions, 'action show': ShowAction},
    'Bays': {'bay list': ListBays, 'bay show': ShowBay, 'bay create': CreateBay,
             'bay delete': DeleteBay},
}
