# SPDX-License-Identifier: Apache-2.0
"""``logs``: what a container wrote, and what it goes on to write.

Following is asking again, with the cursor of the last answer: nothing is kept open, so neither a
restart of the service nor a broken connection loses or repeats a line.
"""

import argparse
import re
import time

from container_service import operations
from container_service import states
from container_service.client import base
from container_service.client import derived
from container_service.client import http

FIRST_PAUSE_SECONDS = 0.3
LONGEST_PAUSE_SECONDS = 2.0
GROWTH = 1.5

_UNITS = {'s': 1, 'm': 60, 'h': 3600, 'd': 86400}


class Logs(base.Command):
    """Print what a container wrote to its standard output and error."""

    arguments = 'CONTAINER'
    operation = operations.OPERATIONS['logs']

    def add_arguments(self, parser):
        super().add_arguments(parser)
        base.add_container(parser)
        parser.add_argument('-f', '--follow', action='store_true',
                            help='Go on printing until the container ends.')
        parser.add_argument('-n', '--tail', metavar='LINES', type=_tail,
                            help='Only this many lines from the end; "all" for every line.')
        parser.add_argument('-t', '--timestamps', action='store_true', default=None,
                            help='Put its time before each line.')
        parser.add_argument('--since', metavar='TIME', type=_since,
                            help='Only what was written since: a time ago such as 90s, 10m, 2h '
                                 'or 1d, a time such as 2026-11-20 05:30:00 (UTC), or seconds '
                                 'since the epoch.')
        streams = parser.add_mutually_exclusive_group()
        streams.add_argument('--stdout', action='store_true', help='Only standard output.')
        streams.add_argument('--stderr', action='store_true', help='Only standard error.')
        parser.add_argument('--cursor', metavar='CURSOR',
                            help='Only what was written after an earlier call, which said where '
                                 'it left off with --show-cursor.')
        parser.add_argument('--show-cursor', action='store_true',
                            help='Say at the end, on standard error, where this one left off.')

    def take_action(self, parsed_args):
        params = {name: getattr(parsed_args, name)
                  for name in ('tail', 'since', 'timestamps', 'cursor')}
        params = {name: value for name, value in params.items() if value is not None}
        if 'cursor' in params and ('tail' in params or 'since' in params):
            raise base.UsageError('--cursor says where to begin; leave out --tail and --since.')
        if parsed_args.stdout or parsed_args.stderr:
            params['stderr' if parsed_args.stdout else 'stdout'] = False
        cursor = parsed_args.cursor
        try:
            for answer in self._answers(parsed_args.container, params, parsed_args.follow):
                cursor = answer.get('cursor') or cursor
                if answer.get('truncated'):
                    self.say('Something is missing here: it was too much, or is not kept any '
                             'more.')
                self.app.stdout.write(answer.get('output') or '')
                self.app.stdout.flush()
        finally:
            if cursor and parsed_args.show_cursor:
                self.say(f'cursor: {cursor}')

    def _answers(self, container, params, follow):
        """Yield answers until there is no more, or with ``follow`` until nothing will come."""
        answer = derived.ask(self.client, self.operation, container, params)
        yield answer
        params = {name: value for name, value in params.items() if name not in ('tail', 'since')}
        pause, ended = FIRST_PAUSE_SECONDS, False
        while answer.get('more') or follow:
            if answer.get('output'):
                pause = FIRST_PAUSE_SECONDS
            elif ended:
                return
            try:
                # First whether it has ended: then what is read after that is all there is.
                if not answer.get('output'):
                    ended = self._has_ended(container)
                if not (ended or answer.get('more')):
                    time.sleep(pause)
                    pause = min(pause * GROWTH, LONGEST_PAUSE_SECONDS)
                params['cursor'] = answer['cursor']
                answer = derived.ask(self.client, self.operation, container, params)
            except http.ClientError as exc:
                if getattr(exc, 'status', None) == 404:
                    return              # removed meanwhile
                if not exc.transient:
                    raise
                pause = exc.retry_after or LONGEST_PAUSE_SECONDS
                self.tell_trouble(exc, pause)
                time.sleep(pause)
                continue
            yield answer

    def _has_ended(self, container):
        found = self.client.get(f'containers/{http.segment(container)}')
        return found['status'] in states.AT_REST and not found.get('task_state')


def _tail(text):
    try:
        operations.tail(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
    return text


def _since(text):
    """A time ago as seconds since the epoch; other times are the service's to understand."""
    match = re.fullmatch(r'([0-9]{1,9})([smhd])', text)
    return str(int(time.time()) - int(match[1]) * _UNITS[match[2]]) if match else text
