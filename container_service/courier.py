# SPDX-License-Identifier: Apache-2.0
"""What is sent over the message bus without anybody waiting for it.

A broker may be down, or take a message and never confirm it, which its library waits for without
limit.  Neither may hold up who has something to send; what cannot be sent is dropped and counted.
"""

import queue
import threading
import time

from oslo_log import log

LOG = log.getLogger(__name__)


class Courier:
    """Sends from a thread of its own.  ``_steps(batch)`` says what: (how many entries, do)."""

    LIMIT = 10000       # entries kept while the broker is slow; more are dropped
    BATCH = 100         # entries that are looked at together

    # Seconds after which a message that the broker does not confirm is given up, thread and all.
    # So many threads may be left behind like that.
    STUCK = 15
    SPARE = 3

    name = 'courier'
    complaint = 'Cannot send over the message bus: %s'

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._waiting = queue.Queue(self.LIMIT)
        self._lock = threading.Lock()
        self._thread, self._busy_since, self._left_behind = None, None, 0
        self._failing = False
        self.dropped = 0

    def put(self, entry):
        """Send an entry soon.  Returns at once and never fails."""
        self._start()
        try:
            self._waiting.put_nowait(entry)
        except queue.Full:
            self.dropped += 1

    def _start(self):
        # At the first use, hence after a fork of the WSGI server.
        if self._thread is None or self._is_stuck():
            with self._lock:
                if self._thread is not None:
                    if not self._is_stuck():
                        return
                    LOG.warning('The message bus confirms nothing; another %s goes on.',
                                self.name)
                    self._left_behind += 1
                self._busy_since = None
                self._thread = threading.Thread(target=self._loop, name=self.name, daemon=True)
                self._thread.start()

    def _is_stuck(self):
        since = self._busy_since
        return (since is not None and self._clock() - since > self.STUCK
                and self._left_behind < self.SPARE)

    def _loop(self):
        try:
            self._go_on()
        finally:
            with self._lock:
                if self._thread is not threading.current_thread():
                    self._left_behind -= 1

    def _go_on(self):
        me = threading.current_thread()
        while (entry := self._waiting.get()) is not None:
            batch = [entry]
            while batch[-1] and len(batch) < self.BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            ends = batch[-1] is None
            for entries, send in self._steps([entry for entry in batch if entry]):
                self._busy_since = self._clock()
                if self._attempt(entries, send):
                    self._failing = False
                if self._thread is not me:
                    return                # it was stuck, and somebody else does this now
            self._busy_since = None
            if ends:
                return

    def _attempt(self, entries, do):
        """Whatever goes wrong, the next one must be tried; told once until it works again."""
        try:
            return do()
        except Exception as exc:
            self.dropped += entries
            if not self._failing:
                LOG.warning(self.complaint, exc)
            self._failing = True
            return None

    def stop(self):
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(5)
