# SPDX-License-Identifier: Apache-2.0
"""Wait for an action to end.

It decides when to ask again and when to give up; what the states mean to a user is told by
outcomes.py.
"""

import time

from container_service.client import http
from container_service.states import FINAL

FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
GROWTH = 1.5

# A poll is cheap: one that hangs must not cost the user more than a few seconds.
_CONNECT_SECONDS = 3
_READ_SECONDS = 10


class TimedOut(Exception):
    """The action did not end in time and goes on.

    ``action`` is its last known state, ``trouble`` the ClientError that hid newer ones or None.
    """

    def __init__(self, action, trouble=None):
        self.action = action
        self.trouble = trouble
        super().__init__(f'Action {action["uuid"]} has not ended yet.')


def states(client, action, *, deadline=None, clock=time.monotonic, sleep=time.sleep,
           on_trouble=None):
    """Yield ``action``, then each state the service tells, the last being a final one.

    ``deadline`` is a time of ``clock``; None waits for ever.  Past it, TimedOut is raised, but
    never before the service was asked at least once.  A service that cannot be reached or is
    overloaded is asked again until then, and ``on_trouble`` is called with the ClientError each
    time; other errors are raised.
    """
    trouble = None
    growing = FIRST_PAUSE_SECONDS
    yield action
    while action['status'] not in FINAL:
        pause = max(growing, trouble.retry_after or 0) if trouble else growing
        if deadline is not None:
            pause = max(0, min(pause, deadline - clock()))
        try:
            action = _state_after(client, action, pause, sleep)
        except http.ClientError as exc:
            if not exc.transient:
                raise
            trouble = exc
            if on_trouble:
                on_trouble(exc)
        else:
            trouble = None
            yield action
            if action['status'] in FINAL:
                return
        if deadline is not None and clock() >= deadline:
            raise TimedOut(action, trouble)
        growing = min(growing * GROWTH, LONGEST_PAUSE_SECONDS)


def _state_after(client, action, pause, sleep):
    """The state of an action at most ``pause`` seconds from now.

    The one place that knows that we poll: waiting in the service replaces these two lines.
    """
    sleep(pause)
    return client.get(f'actions/{action["uuid"]}', connect_seconds=_CONNECT_SECONDS,
                      read_seconds=_READ_SECONDS)
