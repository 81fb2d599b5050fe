# SPDX-License-Identifier: Apache-2.0
"""Wait for actions to end, or containers.

The service does the waiting, as long as it has room for one more who waits; then it is asked
again and again.  What the states mean to a user is told by outcomes.py.
"""

import time

from container_service.client import http
from container_service.states import AT_REST, FINAL

# How long one request waits at most; who shows progress asks for less.
LONGEST_WAIT_SECONDS = 20

# Between requests that do not wait.
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
GROWTH = 1.5

# How long to ask without waiting once the service had no room.
_CROWDED_SECONDS = 10

# Beyond the time to wait: a request that hangs must not cost the user more.
_CONNECT_SECONDS = 3
_READ_SECONDS = 10

_AT_ONCE = 100              # actions that one request may name


class TimedOut(Exception):
    """What was waited for did not come in time and goes on.

    ``last`` is the last known state, None if there was none; ``trouble`` the ClientError that
    hid newer ones or None.
    """

    def __init__(self, last, trouble=None):
        self.last = last
        self.trouble = trouble
        super().__init__('It has not ended yet.')


def states(client, action, **how):
    """Yield ``action``, then each state the service tells, the last being a final one.

    ``how`` is as for ``_answers``.
    """
    yield action
    if action['status'] in FINAL:
        return

    def ask(seconds):
        return client.get(f'actions/{action["uuid"]}/wait', {'timeout': seconds},
                          connect_seconds=_CONNECT_SECONDS, read_seconds=seconds + _READ_SECONDS)

    yield from _answers(ask, lambda state: state['status'] in FINAL, first=action, **how)


def several(client, uuids, *, every, **how):
    """Yield lists of the states of actions, until ``every`` one or any one has ended.

    A list is in the order of the uuids; more than a hundred are not all in the first.  ``how``
    is as for ``_answers``.
    """
    uuids = list(dict.fromkeys(uuids))
    known = {}

    def unfinished():
        return [uuid for uuid in uuids
                if uuid not in known or known[uuid]['status'] not in FINAL]

    def ask(seconds):
        asked = unfinished()[:_AT_ONCE]
        answer = client.get(
            'actions/wait',
            {'action': asked, 'for': 'all' if every else 'any', 'timeout': seconds},
            connect_seconds=_CONNECT_SECONDS, read_seconds=seconds + _READ_SECONDS)
        known.update(zip(asked, answer['actions']))
        return [known[uuid] for uuid in uuids if uuid in known]

    def enough(_):
        return not unfinished() if every else len(unfinished()) < len(uuids)

    yield from _answers(ask, enough, **how)


def at_rest(client, container, **how):
    """Yield states of a container, the last being one in which its main process does not run.

    ``how`` is as for ``_answers``.
    """
    path = f'containers/{http.segment(container)}/wait'

    def ask(seconds):
        return client.get(path, {'timeout': seconds}, connect_seconds=_CONNECT_SECONDS,
                          read_seconds=seconds + _READ_SECONDS)

    yield from _answers(
        ask, lambda state: state['status'] in AT_REST and not state.get('task_state'), **how)


def polled(client, path, enough, **how):
    """Yield what is at ``path`` until that is ``enough``; for what the service does not wait for.

    ``how`` is as for ``_answers``.
    """
    yield from _answers(lambda seconds: client.get(path), enough, longest=0, **how)


def _answers(ask, enough, *, first=None, deadline=None, longest=LONGEST_WAIT_SECONDS,
             clock=time.monotonic, sleep=time.sleep, on_trouble=None):
    """Yield what ``ask(seconds to wait)`` returns until it is ``enough``.

    ``deadline`` is a time of ``clock``; None waits for ever.  Past it, TimedOut is raised, but
    never before the service was asked at least once.  A service that cannot be reached or is
    overloaded is asked again until then, and ``on_trouble`` is called with the ClientError each
    time; other errors are raised.
    """
    last, crowded_until = first, None
    pause, growing = 0, FIRST_PAUSE_SECONDS
    while True:
        if deadline is not None:
            pause = max(0, min(pause, deadline - clock()))
        if pause:
            sleep(pause)
        asked_at, trouble = clock(), None
        seconds = longest if deadline is None else max(0, min(longest, deadline - asked_at))
        if crowded_until is not None and asked_at < crowded_until:
            seconds = 0
        try:
            last = ask(int(seconds))
        except http.ClientError as exc:
            if not exc.transient:
                raise
            trouble = exc
        if trouble is None:
            yield last
            if enough(last):
                return
            # Not if it has waited; what answers at once must not be asked without pause.
            pause = 0 if 0 < int(seconds) / 2 < clock() - asked_at else growing
        elif trouble.code == 'too_many_waiters':
            crowded_until, pause = clock() + _CROWDED_SECONDS, growing
        else:
            pause = max(growing, trouble.retry_after or 0)
            if on_trouble:
                on_trouble(trouble)
        if deadline is not None and clock() >= deadline:
            raise TimedOut(last, trouble)
        growing = min(growing * GROWTH, LONGEST_PAUSE_SECONDS)
