# SPDX-License-Identifier: Apache-2.0
"""What is seen of containers beyond their records: stats, top, diff, inspect, wait, networks."""

import json
import time

from container_service import operations
from container_service import states
from container_service.client import base
from container_service.client import derived
from container_service.client import outcomes
from container_service.client import wait
from container_service.client import words

_KINDS = {'changed': 'C', 'added': 'A', 'deleted': 'D'}


class Stats(base.ListCommand):
    """Show what containers use at the moment: processor, memory, network, disk.

    Without names, all that run. One whose engine cannot tell is left out, which is said.
    """

    arguments = '[CONTAINER ...]'
    paged = False
    fields = ('name', 'cpu_percent', 'memory_bytes', 'memory_limit_bytes', 'memory_percent',
              'network_received_bytes', 'network_sent_bytes', 'block_read_bytes',
              'block_written_bytes', 'processes')
    brief = ('name', 'cpu', 'memory', 'memory_percent', 'network', 'disk', 'processes')
    computed = {
        'cpu': lambda found, now: _percent(found.get('cpu_percent')),
        'memory': lambda found, now: _of(found, 'memory_bytes', 'memory_limit_bytes'),
        'memory_percent': lambda found, now: _percent(found.get('memory_percent')),
        'network': lambda found, now: _in_and_out(
            found, 'network_received_bytes', 'network_sent_bytes'),
        'disk': lambda found, now: _in_and_out(found, 'block_read_bytes', 'block_written_bytes')}
    _epilog = 'network is received/sent, disk is read/written, since the container was started.'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('containers', metavar='CONTAINER', nargs='*', type=base.reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        found = []

        def look(container):
            found.append({'name': container, **derived.ask(
                self.client, operations.OPERATIONS['stats'], container, {})})

        code = self.each(parsed_args.containers or self._running(), look)
        self.print_list(parsed_args, found)
        return code

    def _running(self):
        items, _ = self.client.pages('containers', 'containers', {'status': states.RUNNING})
        return [item.get('name') or item['uuid'] for item in items]


class Top(base.ListCommand):
    """List the processes of a container."""

    arguments = 'CONTAINER [PS_OPTIONS]'
    paged = False

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)
        parser.add_argument('ps_args', metavar='PS_OPTIONS', nargs='?',
                            help='What ps is to show, for example aux or "-o pid,comm".')

    def take_action(self, parsed_args):
        params = {'ps_args': parsed_args.ps_args} if parsed_args.ps_args else {}
        answer = derived.ask(self.client, operations.OPERATIONS['top'], parsed_args.container,
                             params)
        self.fields = tuple(title.lower() for title in answer['titles'])
        self.print_list(parsed_args, [dict(zip(self.fields, process))
                                      for process in answer['processes']])


class Diff(base.ListCommand):
    """List what has changed in the file system of a container since it was made.

    A is added, C changed, D deleted.
    """

    arguments = 'CONTAINER'
    paged = False
    fields = ('kind', 'path')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)

    def take_action(self, parsed_args):
        answer = derived.ask(self.client, operations.OPERATIONS['diff'], parsed_args.container, {})
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return self.print_list(parsed_args, answer['changes'])
        for change in answer['changes']:
            print(_KINDS.get(change['kind'], '?'), words.printable(change['path']),
                  file=self.app.stdout)


class Inspect(base.Command):
    """Print what the engine says of containers, as JSON; without what is secret."""

    arguments = 'CONTAINER [CONTAINER ...]'

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('containers', metavar='CONTAINER', nargs='+', type=base.reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        found = []
        code = self.each(parsed_args.containers, lambda container: found.append(derived.ask(
            self.client, operations.OPERATIONS['inspect'], container, {})))
        print(json.dumps(found, indent=4, ensure_ascii=False), file=self.app.stdout)
        return code


class Wait(base.Command):
    """Wait until containers do not run any more, and print the exit code of each."""

    arguments = 'CONTAINER [CONTAINER ...]'
    _epilog = ('Exit status: 0 all have ended, 1 one could not be waited for, 2 wrong usage, 4 '
               'timed out waiting.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--timeout', metavar='SECONDS', type=base.number,
                            help='Wait at most this long; without it for ever.')
        parser.add_argument('containers', metavar='CONTAINER', nargs='+', type=base.reference,
                            help='Name or uuid.')

    def take_action(self, parsed_args):
        deadline = None
        if parsed_args.timeout is not None:
            deadline = time.monotonic() + parsed_args.timeout
        try:
            return self.each(parsed_args.containers,
                             lambda container: self._wait(container, deadline))
        except wait.TimedOut as exc:
            self.say(f'{(exc.last or {}).get("name") or "It"} has not ended yet.')
            return outcomes.EXIT_TIMED_OUT

    def _wait(self, container, deadline):
        *_, state = wait.at_rest(self.client, container, deadline=deadline,
                                 on_trouble=lambda exc: self.tell_trouble(exc, 1))
        code = state.get('exit_code')
        print(state['status'] if code is None else code, file=self.app.stdout)


class ListNetworks(base.ListCommand):
    """List the networks of a container, with its addresses there."""

    arguments = 'CONTAINER'
    paged = False
    fields = ('network', 'addresses')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)

    computed = {'addresses': lambda network, now: ', '.join(
        entry['address'] for entry in network.get('addresses') or ())}

    def take_action(self, parsed_args):
        answer = derived.ask(self.client, operations.OPERATIONS['network_list'],
                             parsed_args.container, {})
        self.print_list(parsed_args, answer['networks'])


def _percent(value):
    return '' if value is None else f'{value:.2f}%'


def _of(found, part, whole):
    used, limit = found.get(part), found.get(whole)
    if used is None:
        return ''
    return f'{words.memory(used)} / {words.memory(limit)}' if limit else words.memory(used)


def _in_and_out(found, one, other):
    if found.get(one) is None:
        return ''
    return f'{words.size(found[one])} / {words.size(found[other] or 0)}'
