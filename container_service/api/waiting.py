# SPDX-License-Identifier: Apache-2.0
"""Wait for actions to end, or containers: any number of waiters cost one query of a kind per
process and tick."""

import threading
import time

from oslo_log import log

from container_service import exceptions
from container_service import slots
from container_service.db import actions

LOG = log.getLogger(__name__)

_TICK = 0.1         # seconds between looks while anybody waits


class Waiting:
    """The waiters of one process, and the thread that looks for them.

    A waiter holds a request thread, so there are at most ``most`` of them, and half of that of one
    project.
    """

    def __init__(self, db, most):
        self._db = db
        self._slots = slots.Slots(most)
        self._condition = threading.Condition()
        self._waiters = set()
        self._thread = None

    def wait(self, uuids, seconds, every=False, look=None, project_id=None):
        """Wait until one of the actions has ended, or every one of them.

        ``look(conn, uuids)`` says which have; without it, it is about actions.
        ``project_id`` is whose request it is.  Returns whether that came about within so many
        seconds.  Raises TooManyWaiters at once when all slots are taken.
        """
        if not self._slots.take(project_id):
            raise exceptions.TooManyWaiters()
        waiter = _Waiter(uuids, every, look or _ended_actions)
        try:
            with self._condition:
                self._waiters.add(waiter)
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._loop, name='waiting', daemon=True)
                    self._thread.start()
                self._condition.notify()
            return waiter.done.wait(seconds)
        finally:
            with self._condition:
                self._waiters.discard(waiter)
            self._slots.give_back(project_id)

    def _loop(self):
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._waiters)
                waiters = list(self._waiters)
            for look in {waiter.look for waiter in waiters}:
                self._tell(look, [waiter for waiter in waiters if waiter.look is look])
            time.sleep(_TICK)

    def _tell(self, look, waiters):
        try:
            with self._db.read() as conn:
                ended = look(conn, set().union(*(waiter.missing for waiter in waiters)))
        except exceptions.DatabaseUnavailable:
            return                    # they go on waiting
        except Exception:             # whatever it is, the next look must come
            LOG.exception('Looking for what is waited for')
            return
        for waiter in waiters:
            waiter.tell(ended)


def _ended_actions(conn, uuids):
    return actions.final(conn, uuids)


class _Waiter:

    def __init__(self, uuids, every, look):
        self.look = look
        self.missing = set(uuids)
        self.done = threading.Event()
        self._every = every

    def tell(self, ended):
        """Take those that have ended meanwhile."""
        left = self.missing - set(ended)
        if not left or (not self._every and left != self.missing):
            self.done.set()
        self.missing = left
