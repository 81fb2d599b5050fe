# SPDX-License-Identifier: Apache-2.0
"""Commands that end in actions, and commands on actions.

One that asks for an operation goes through ``RequestCommand``: options and key, the request, and
with --poll the wait for its end.  How a request is repeated is in asking.py, how an end is waited
for in wait.py, what is said about it in outcomes.py and explanation.py.
"""

import argparse
import datetime
import re
import shutil
import textwrap
import time
import uuid

from container_service import operations
from container_service import states
from container_service.client import asking
from container_service.client import base
from container_service.client import explanation
from container_service.client import http
from container_service.client import outcomes
from container_service.client import progress
from container_service.client import wait
from container_service.client import words

ACTION_FIELDS = (
    'uuid', 'operation', 'container_name', 'status', 'stage', 'position', 'waiting', 'liveness',
    'progress', 'result', 'error', 'cancellable', 'container_uuid', 'bay_uuid', 'conductor',
    'attempts', 'parameters', 'on_predecessor_failure', 'caused_by', 'coalesced',
    'timeout_seconds', 'deadline_at', 'cancel_requested_at', 'created_at', 'started_at',
    'progress_at', 'finished_at', 'post_mortem', 'request_id', 'project_id', 'user_id')
VERDICT_FIELDS = (
    'dry_run', 'accepted', 'operation', 'container_uuid', 'status', 'projected_status',
    'folded_into', 'waits_for', 'cancels')

DEFAULT_POLL_SECONDS = 3600
_MOST_AT_ONCE = 100         # actions that can be waited for in one request


class WaitingCommand(base.Command):
    """A command that waits for the end of actions, on a terminal with what they are at."""

    deadline = None         # of the monotonic clock; None waits for ever

    def ended(self, action):
        """The exit code for how an action ended, and what is to be said about it."""
        return outcomes.exit_code(action), outcomes.of_action(action)

    def wait_for(self, action):
        """Return (exit code, last state, words) of one action."""
        asked = False               # whether Ctrl-C has asked to cancel it already
        while True:
            try:
                with progress.on(self.app.stderr) as seen:
                    for state in wait.states(
                            self.client, action, deadline=self.deadline,
                            longest=seen.wait_seconds, on_trouble=seen.trouble):
                        action = state
                        seen.show(action)
            except wait.TimedOut as exc:
                return (outcomes.EXIT_TIMED_OUT, action,
                        outcomes.of_timeout(action, exc.trouble))
            except http.ClientError as exc:
                return outcomes.EXIT_FAILED, action, [
                    *outcomes.of_error(exc, outcomes.title(action)), outcomes.look_again(action)]
            except KeyboardInterrupt:
                if asked or not self._wants_to_cancel(action):
                    self.say(*outcomes.left_alone(action))
                    raise
                asked = True
                action = self._try_to_cancel(action)
            else:
                code, lines = self.ended(action)
                return code, action, lines

    def _wants_to_cancel(self, action):
        """Ask who sits at the terminal, after Ctrl-C, whether to cancel the action."""
        stdin, stderr = self.app.stdin, self.app.stderr
        if not (action.get('cancellable') and stdin and stdin.isatty() and stderr.isatty()):
            return False
        print(f'\nCancel the action ({outcomes.title(action)})? [y/N] ', end='', file=stderr,
              flush=True)
        try:
            answer = stdin.readline()
        except KeyboardInterrupt:
            answer = ''
        if not answer.endswith('\n'):
            self.say('')
        return answer.strip().lower() in ('y', 'yes')

    def _try_to_cancel(self, action):
        """Cancel an action, or say why not; either way its end is worth waiting for."""
        try:
            return cancel(self.client, action['uuid'], self.tell_trouble)
        except http.ClientError as exc:
            self.say(*outcomes.of_error(exc),
                     'Waiting for its outcome; Ctrl-C again leaves it alone.')
            return action


class ActionCommand(WaitingCommand, base.ShowCommand):
    """A command that ends in actions: prints them, and with --poll waits for their end."""

    fields = ACTION_FIELDS
    brief = ('uuid', 'operation', 'container_name', 'container_uuid', 'status', 'stage', 'result')
    brief_list = ('uuid', 'operation', 'container_name', 'status')
    hides_empty = True
    changes = True
    _epilog = ('Exit status: 0 success (without --poll: accepted), 1 failed, 2 wrong usage, '
               '3 cancelled, 4 timed out waiting, 5 skipped, 6 interrupted, 130 Ctrl-C.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--poll', action='store_true',
                            help='Wait for the outcome and end with it.')
        parser.add_argument('--poll-timeout', metavar='SECONDS', type=base.number,
                            help='Wait at most this long (implies --poll); default '
                                 f'{DEFAULT_POLL_SECONDS}. The action goes on all the same.')

    def run(self, parsed_args):
        seconds = parsed_args.poll_timeout
        if seconds is not None or getattr(parsed_args, 'poll', True):
            self.deadline = time.monotonic() + (
                DEFAULT_POLL_SECONDS if seconds is None else seconds)
        return super().run(parsed_args)

    def check_several(self, parsed_args, several):
        """Refuse what cannot be shown.  Raises UsageError."""
        if several and parsed_args.formatter == 'shell':
            raise base.UsageError(
                '-f shell shows one action only; use another format for several.')

    def finish(self, parsed_args, actions, *, as_list=False, codes=()):
        """Wait if asked to, print the actions and how they ended; return the exit code.

        ``codes`` are those of what was not even accepted.
        """
        codes, last, told = list(codes), [], []
        for action in actions:
            # A service without asynchronous mode answers with how it ended.
            if self.deadline is not None or action['status'] in states.FINAL:
                code, action, lines = self.wait_for(action)
                codes.append(code)
                told += lines
            last.append(action)
        self.print_actions(parsed_args, last, as_list)
        self.say(*told)
        return outcomes.worst(codes)

    def print_actions(self, parsed_args, actions, as_list):
        """Print one action, or a list of them."""
        if as_list and actions:
            self.brief = self.brief_list
            self.print_list(parsed_args, actions)
        else:
            for action in actions:
                self.print_one(parsed_args, action)


class RequestCommand(ActionCommand):
    """A command that asks for an operation: once for each of its targets."""

    def add_arguments(self, parser):
        super().add_arguments(parser)
        for param in operations.OPTIONS:
            base.add_param(parser, param)
        parser.add_argument('--operation-timeout', metavar='SECONDS', type=base.positive_integer,
                            help='Have the service give it up when it has not ended so long '
                                 'after it was accepted.')
        parser.add_argument('--idempotency-key', metavar='KEY', type=_key,
                            help='Repeat a request whose answer was lost: the same key and '
                                 'arguments never do it twice. Default: a new one.')

    def run(self, parsed_args):
        if parsed_args.dry_run:
            self.fields, self.brief = VERDICT_FIELDS, ()
        return super().run(parsed_args)

    def targets(self, parsed_args):
        """What the operation is asked for, in the words of the user."""
        return [None]

    def send(self, parsed_args, target):
        """Ask for one target; return its action, or the verdict of a dry run."""
        raise NotImplementedError

    def take_action(self, parsed_args):
        targets = self.targets(parsed_args)
        several = len(targets) > 1
        self.check_several(parsed_args, several)
        if several and parsed_args.idempotency_key:
            raise base.UsageError('A key is for one request; name one container with it.')
        answers, codes = [], []
        for target in targets:
            try:
                answers.append((target, self.send(parsed_args, target)))
            except http.ClientError as exc:
                # Go on with the others, but not against a service that does not answer.
                what = [target] if several else []
                what += ['would be refused'] if parsed_args.dry_run else []
                self.say(*outcomes.of_error(exc, ' '.join(what)))
                codes.append(outcomes.EXIT_FAILED)
                if not isinstance(exc, http.ApiError):
                    break
        if parsed_args.dry_run:
            self._print_verdicts(parsed_args, answers, several)
            return outcomes.worst(codes)
        return self.finish(parsed_args, [action for _, action in answers], as_list=several,
                           codes=codes)

    def ask(self, parsed_args, method, path, *, body=None, params=None):
        """Send a request for an operation with what all of them can be told."""
        headers, key, deadline = {}, parsed_args.idempotency_key, self.deadline
        if parsed_args.operation_timeout:
            headers[asking.TIMEOUT_HEADER] = str(parsed_args.operation_timeout)
        if parsed_args.dry_run:
            deadline = None             # that there is no room is the verdict
        elif key is None:
            key = str(uuid.uuid4())
        try:
            answer, got = asking.change(
                self.client, method, path, body=body, params=params, headers=headers, key=key,
                harmless=parsed_args.dry_run, deadline=deadline, on_trouble=self.tell_trouble)
        except http.NoAnswer as exc:
            exc.hint = ('it may have been accepted all the same; asking again with '
                        f'--idempotency-key {key} does not do it twice')
            raise
        if parsed_args.idempotency_key and got.get(asking.REPLAYED_HEADER) == 'true' \
                and self.app.stderr.isatty():
            self.say('It was accepted before with this key; nothing new was started.')
        return answer

    def _print_verdicts(self, parsed_args, answers, several):
        if parsed_args.formatter == 'table' and not parsed_args.columns:
            for target, answer in answers:
                print('\n'.join(explanation.verdict(answer, target)), file=self.app.stdout)
        elif several:
            self.print_list(parsed_args, [answer for _, answer in answers])
        else:
            for _, answer in answers:
                self.print_one(parsed_args, answer)


class OperationCommand(RequestCommand):
    """An asynchronous operation on containers that exist, as its row of the table says.

    One with parameters that must be given is for one container, which they follow.
    """

    operation = None
    also = {}               # parameter: further names of its option, such as ('-m',)

    @property
    def required(self):
        return [param for param in self.operation.params if param.required]

    @property
    def arguments(self):
        if not self.required:
            return 'CONTAINER [CONTAINER ...]'
        return ' '.join(['CONTAINER', *(param.wire_name.upper() for param in self.required)])

    def add_arguments(self, parser):
        super().add_arguments(parser)
        if self.required:
            base.add_container(parser)
        else:
            parser.add_argument('containers', metavar='CONTAINER', nargs='+', type=base.reference,
                                help='Name or uuid. With several, the result is a list and the '
                                     'exit status is the worst.')
        self.add_params(parser)

    def add_params(self, parser):
        """Add the options for the parameters of the operation."""
        for param in self.operation.params:
            base.add_param(parser, param, *self.also.get(param.wire_name, ()))

    def targets(self, parsed_args):
        return [parsed_args.container] if self.required else parsed_args.containers

    def params(self, parsed_args):
        """What the operation is given, by its names on the wire."""
        return base.given_params(parsed_args, self.operation.params)

    def send(self, parsed_args, target):
        params = {**self.params(parsed_args),
                  **base.given_params(parsed_args, operations.OPTIONS)}
        method, path = self.operation.http_method, path_of(self.operation, target)
        if method == 'DELETE':
            return self.ask(parsed_args, method, path, params=params)
        return self.ask(parsed_args, method, path, body=params)


class CancelActions(ActionCommand):
    """Cancel actions: what waits never runs, what runs stops where it can and is undone."""

    arguments = 'UUID [UUID ...]'
    _epilog = ('Exit status: 0 cancelled (without --poll: asked to), 1 refused, or ended '
               'otherwise first, 2 wrong usage, 4 timed out waiting, 130 Ctrl-C.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('actions', metavar='UUID', nargs='+', type=base.reference)

    def take_action(self, parsed_args):
        several = len(parsed_args.actions) > 1
        self.check_several(parsed_args, several)
        asked, codes = [], []
        for action in parsed_args.actions:
            try:
                asked.append(cancel(self.client, action, self.tell_trouble))
            except http.ClientError as exc:
                self.say(*outcomes.of_error(exc, action if several else None))
                codes.append(outcomes.EXIT_FAILED)
                if not isinstance(exc, http.ApiError):
                    break
        return self.finish(parsed_args, asked, as_list=several, codes=codes)

    def ended(self, action):
        lines = outcomes.of_cancel(action)
        return outcomes.EXIT_FAILED if lines else outcomes.EXIT_SUCCESS, lines


class WaitForActions(ActionCommand):
    """Wait until actions have ended, and end as they did."""

    arguments = 'UUID [UUID ...]'
    _epilog = ('Exit status: 0 success, 1 failed, 2 wrong usage, 3 cancelled, 4 timed out '
               'waiting, 5 skipped, 6 interrupted, 130 Ctrl-C; with several the worst.')

    def add_arguments(self, parser):
        # It always polls.
        base.ShowCommand.add_arguments(self, parser)
        parser.add_argument('--any', action='store_true',
                            help='Until one has ended, and show only what has.')
        parser.add_argument('--poll-timeout', metavar='SECONDS', type=base.number,
                            help=f'Wait at most this long; default {DEFAULT_POLL_SECONDS}.')
        parser.add_argument('actions', metavar='UUID', nargs='+', type=base.reference)

    def take_action(self, parsed_args):
        several = len(parsed_args.actions) > 1
        self.check_several(parsed_args, several)
        if parsed_args.any and len(parsed_args.actions) > _MOST_AT_ONCE:
            raise base.UsageError(f'--any takes at most {_MOST_AT_ONCE} actions.')
        actions, trouble, codes = [], None, []
        try:
            with progress.on(self.app.stderr) as seen:
                for actions in wait.several(
                        self.client, parsed_args.actions, every=not parsed_args.any,
                        deadline=self.deadline, longest=seen.wait_seconds,
                        on_trouble=seen.trouble):
                    self._show(seen, actions)
        except wait.TimedOut as exc:
            codes, trouble = [outcomes.EXIT_TIMED_OUT], exc.trouble
            if exc.last is None:            # not even their names are known
                raise trouble from exc
        except KeyboardInterrupt:
            for action in _unfinished(actions):
                self.say(*outcomes.left_alone(action))
            raise
        told = []
        for action in actions:
            if action['status'] in states.FINAL:
                code, lines = self.ended(action)
                codes.append(code)
                told += lines
            elif outcomes.EXIT_TIMED_OUT in codes:
                told += outcomes.of_timeout(action, trouble)
        if parsed_args.any and outcomes.EXIT_TIMED_OUT not in codes:
            actions = [action for action in actions if action['status'] in states.FINAL]
        self.print_actions(parsed_args, actions, several)
        self.say(*told)
        return outcomes.worst(codes)

    @staticmethod
    def _show(seen, actions):
        left = _unfinished(actions)
        if left:
            ended = len(actions) - len(left)
            seen.show(left[0], f'{ended} of {len(actions)} ended; ' if len(actions) > 1 else '')


class ListActions(base.ListCommand):
    """List actions: what was asked for, and what became of it, the newest first.

    With --unfinished it is like a departures board: what goes on and what waits, in the order in
    which it was asked for, and why it is where it is.
    """

    path = 'actions'
    fields = ACTION_FIELDS
    brief = ('uuid', 'operation', 'container_name', 'status', 'created_at')
    board = ('operation', 'container_name', 'status', 'why', 'age', 'conductor')
    computed = {'why': explanation.why, 'age': explanation.age}

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('--container', metavar='CONTAINER',
                            help='Only those of this container (name or uuid).')
        parser.add_argument('--operation', type=_operation, metavar='OPERATION',
                            help='Only those of this operation, for example stop.')
        which = parser.add_mutually_exclusive_group()
        which.add_argument('--status', choices=sorted(states.ACTION_STATUSES),
                           help='Only those in this status.')
        which.add_argument('--unfinished', action='store_const', const='unfinished',
                           dest='status', help='Only those that have not ended, and why.')
        order = parser.add_mutually_exclusive_group()
        order.add_argument('--newest-first', action='store_const', const='desc', dest='order',
                           help='The default, but for --unfinished.')
        order.add_argument('--oldest-first', action='store_const', const='asc', dest='order',
                           help='The default with --unfinished.')
        parser.add_argument('--long', action='store_true',
                            help='Show the uuid with --unfinished too.')

    def query(self, parsed_args):
        order = parsed_args.order or (
            'asc' if parsed_args.status == 'unfinished' else 'desc')
        return {**{key: getattr(parsed_args, key) for key in ('container', 'operation', 'status')},
                'sort_dir': order}

    def take_action(self, parsed_args):
        if parsed_args.status == 'unfinished':
            self.brief = ('uuid', *self.board) if parsed_args.long else self.board
        return super().take_action(parsed_args)


class ShowAction(base.ShowCommand):
    """Explain an action: who asked for what, where it is now, and why."""

    arguments = 'UUID'
    fields = (*ACTION_FIELDS, 'request_ids')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('action', metavar='UUID', type=base.reference)

    def take_action(self, parsed_args):
        action = self.client.get(f'actions/{http.segment(parsed_args.action)}')
        if parsed_args.formatter != 'table' or parsed_args.columns:
            return self.print_one(parsed_args, action)
        rows = explanation.rows(action, datetime.datetime.now(datetime.UTC))
        labels = [label for label, _ in rows]
        self.formatter.emit_one(labels, self._wrapped(parsed_args, rows), self.app.stdout,
                                parsed_args)

    def _wrapped(self, parsed_args, rows):
        """The sentences, on a terminal in lines that fit it and break between words only."""
        sentences = [sentence for _, sentence in rows]
        if parsed_args.fit_width or parsed_args.max_width or not self.app.stdout.isatty():
            return sentences
        borders = len('|  |  |')
        width = shutil.get_terminal_size().columns - borders - max(
            len(label) for label, _ in rows)
        return ['\n'.join(textwrap.fill(line, max(width, 40), break_long_words=False,
                                        break_on_hyphens=False)
                          for line in sentence.split('\n')) for sentence in sentences]


def path_of(operation, container):
    """Where an operation on a container is asked for, as the client wants paths."""
    return operation.path.removeprefix('/v1/').format(container=http.segment(container))


def cancel(client, action_uuid, on_trouble=None):
    """Ask for an action to be cancelled; return it as it is then.

    One that is cancelled already is what was asked for.  Raises a ClientError.
    """
    path = f'actions/{http.segment(action_uuid)}'
    try:
        return asking.change(client, 'POST', f'{path}/cancel', harmless=True, body={},
                             on_trouble=on_trouble)[0]
    except http.ApiError as exc:
        if exc.code == 'too_late_to_cancel':
            action = client.get(path)
            if action['status'] == states.CANCELLED:
                return action
        raise


def _unfinished(actions):
    return [action for action in actions if action['status'] not in states.FINAL]


def _key(text):
    if not re.fullmatch(r'[\x21-\x7e]{1,255}', text):
        raise argparse.ArgumentTypeError('must be 1 to 255 visible ASCII characters')
    return text


def _operation(text):
    try:
        return words.operation_name(text)
    except ValueError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc
