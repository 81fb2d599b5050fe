# SPDX-License-Identifier: Apache-2.0
"""What others can have us say again and again is said now and then."""

import logging
import time


class Sparingly:
    """Whether something may be said once more: a few times a minute."""

    TIMES, SECONDS = 5, 60

    def __init__(self, clock=time.monotonic):
        self._clock, self._since, self._said = clock, None, 0

    def __call__(self):
        now = self._clock()
        if self._since is None or now - self._since >= self.SECONDS:
            self._since, self._said = now, 0
        self._said += 1
        return self._said <= self.TIMES


class Filter(logging.Filter):
    """Lets a few records a minute through."""

    def __init__(self, clock=time.monotonic):
        super().__init__()
        self._may = Sparingly(clock)

    def filter(self, record):
        return self._may()
