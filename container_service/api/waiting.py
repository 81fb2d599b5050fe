# SPDX-License-Identifier: Apache-2.0
"""Wait for actions to end: any number of waiters cost one query per process and tick."""

import threading
import time

from container_service import exceptions
from container_service.db import actions

_TICK = 0.1         # seconds between looks while anybody waits


class Waiting:
    """The waiters of one process, and the thread that looks for them."""

    def __init__(self, db):
        self._db = db
        self._condition = threading.Condition()
        self._events = {}             # action uuid: events to set when it has ended
        self._thread = None

    def wait(self, action_uuid, seconds):
        """Return whether the action has ended, at the latest after so many seconds."""
        event = threading.Event()
        with self._condition:
            self._events.setdefault(action_uuid, []).append(event)
            if self._thread is None:
                self._thread = threading.Thread(target=self._loop, name='waiting', daemon=True)
                self._thread.start()
            self._condition.notify()
        try:
            return event.wait(seconds)
        finally:
            with self._condition:
                events = self._events.get(action_uuid, [])
                if event in events:
                    events.remove(event)
                if not events:
                    self._events.pop(action_uuid, None)

    def _loop(self):
        while True:
            with self._condition:
                self._condition.wait_for(lambda: self._events)
                uuids = list(self._events)
            try:
                with self._db.read() as conn:
                    ended = actions.final(conn, uuids)
            except exceptions.DatabaseUnavailable:
                ended = {}            # its waiters go on waiting
            with self._condition:
                for uuid in ended:
                    for event in self._events.get(uuid, ()):
                        event.set()
            time.sleep(_TICK)
