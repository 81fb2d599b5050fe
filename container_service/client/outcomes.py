# SPDX-License-Identifier: Apache-2.0
"""How a command ended: the exit code, and the words on standard error."""

from container_service.client import words
from container_service.states import CANCELLED, FAILED, INTERRUPTED, SKIPPED, SUCCEEDED

EXIT_SUCCESS = 0
EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_CANCELLED = 3
EXIT_TIMED_OUT = 4
EXIT_SKIPPED = 5
EXIT_INTERRUPTED = 6
EXIT_SIGINT = 130

_LOG_LINES = 5              # of a container that failed

EXIT_CODES = (
    (EXIT_SUCCESS, 'success; without --poll: accepted'),
    (EXIT_FAILED, 'failed, refused, or the service cannot be reached'),
    (EXIT_USAGE, 'wrong usage'),
    (EXIT_CANCELLED, 'the action was cancelled'),
    (EXIT_TIMED_OUT, '--poll-timeout is over; the action goes on'),
    (EXIT_SKIPPED, 'the action never ran because one before it did not succeed'),
    (EXIT_INTERRUPTED, 'the action was interrupted; its outcome is unknown'),
    (EXIT_SIGINT, 'Ctrl-C; what was accepted goes on'),
)

_OF_STATUS = {SUCCEEDED: EXIT_SUCCESS, FAILED: EXIT_FAILED, CANCELLED: EXIT_CANCELLED,
              SKIPPED: EXIT_SKIPPED, INTERRUPTED: EXIT_INTERRUPTED}

_FROM_BEST_TO_WORST = (EXIT_SUCCESS, EXIT_SKIPPED, EXIT_CANCELLED, EXIT_TIMED_OUT,
                       EXIT_INTERRUPTED, EXIT_FAILED)


def exit_code(action):
    """The exit code for a finished action."""
    return _OF_STATUS[action['status']]


def worst(codes):
    """The exit code for a command that did several things."""
    return max(codes, key=_FROM_BEST_TO_WORST.index, default=EXIT_SUCCESS)


def of_action(action):
    """Lines that tell how an action ended; none for success."""
    status = action['status']
    if status == SUCCEEDED:
        return []
    error = action.get('error') or {}
    detail = error.get('detail') or error.get('title')
    what = title(action)
    if status == FAILED:
        stage = error.get('stage') or action.get('stage')
        first = f'{what} failed while {stage}' if stage else f'{what} failed'
    elif status == INTERRUPTED:
        first = f'{what} was interrupted, its outcome is unknown'
    else:
        first = f'{what} was {status}'
    lines = [f'{first}: {detail}' if detail else first]
    if error.get('hint'):
        lines.append(f'hint: {error["hint"]}')
    log = (action.get('post_mortem') or {}).get('log') or []
    lines += [f'log: {words.printable(line)}' for line in log[-_LOG_LINES:]]
    return lines + [f'action: {action["uuid"]}']


def of_cancel(action):
    """Lines that tell that an action ended otherwise than cancelled; none if it did not."""
    if action['status'] == CANCELLED:
        return []
    if action['status'] == SUCCEEDED:
        return [f'{title(action)} was not cancelled: it succeeded first',
                f'action: {action["uuid"]}']
    return [f'{title(action)} was not cancelled', *of_action(action)]


def of_timeout(action, trouble=None):
    """Lines that tell that an action goes on, and how to look at it again."""
    lines = [f'{title(action)} has not ended yet (it is {action["status"]}); it goes on.']
    if trouble:
        lines.append(f'last attempt to look: {trouble}')
    return lines + [look_again(action)]


def left_alone(action):
    """Lines that tell that an action is not waited for any longer."""
    lines = [f'Not waiting any longer; {title(action)} goes on.', look_again(action)]
    if action.get('cancellable'):
        lines.append(cancel_it(action))
    return lines


def of_error(error, what=None):
    """Lines that tell why the service did not do what it was asked."""
    lines = [f'{what}: {error}' if what else str(error)]
    if error.hint:
        lines.append(f'hint: {error.hint}')
    if error.retry_after:
        lines.append(f'try again in {error.retry_after} s')
    if error.request_id:
        lines.append(f'request: {error.request_id}')
    return lines


def title(action):
    """The action in a few words: ``stop of web``."""
    name = action.get('container_name') or action.get('container_uuid')
    operation = words.cli_name(action['operation'])
    return f'{operation} of {name}' if name else operation


def look_again(action):
    return f'look again: container-service action show {action["uuid"]}'


def cancel_it(action):
    return f'cancel it: container-service action cancel {action["uuid"]}'
