# SPDX-License-Identifier: Apache-2.0
"""What was found out a short time ago, in the memory of this process."""

import threading
import time


class Remembered:
    """A bounded number of things, shared by threads; asked as one asks memcached."""

    def __init__(self, most=10000, clock=time.monotonic):
        self._most, self._clock = most, clock
        self._lock, self._values = threading.Lock(), {}

    def get(self, key):
        """The value, or None when there is none any more."""
        value, until = self._values.get(key, (None, 0))
        return value if self._clock() < until else None

    def set(self, key, value, time):
        """Remember a value for ``time`` seconds, or less when there are too many."""
        now = self._clock()
        with self._lock:
            if len(self._values) >= self._most:
                self._values = {key: pair for key, pair in self._values.items() if now < pair[1]}
            if len(self._values) >= self._most:
                self._values.clear()
            self._values[key] = value, now + time
