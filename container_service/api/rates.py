# SPDX-License-Identifier: Apache-2.0
"""How fast one may ask: a project, and an address from which credentials come that are not valid.

Each process counts for itself, in memory.  Who asks too fast is told when to come back, before
the body is read and before anything is written.
"""

import math
import threading
import time

from container_service import exceptions
from container_service.api import auth

# Methods that change nothing.
READS = ('GET', 'HEAD', 'OPTIONS')


class Buckets:
    """One bucket of tokens for each key: ``rate`` come in each second, ``size`` fit in.

    A rate of 0 is none at all.
    """
    MOST = 10000            # keys that are remembered; those who ask no more are forgotten

    def __init__(self, rate, size, clock=time.monotonic):
        self._rate, self._size, self._clock = rate, max(1, size), clock
        self._known, self._lock = {}, threading.Lock()

    def wait(self, key, take=1):
        """Take tokens; returns the seconds until there are any where there are none now."""
        if not self._rate:
            return 0
        with self._lock:
            now = self._clock()
            left = self._left(key, now)
            if left < 1:
                return (1 - left) / self._rate
            if len(self._known) >= self.MOST:
                self._known = {key: entry for key, entry in self._known.items()
                               if self._left(key, now) < self._size}
            self._known[key] = left - take, now
            return 0

    def give_back(self, key):
        """One token that was taken was not needed."""
        if self._rate:
            with self._lock:
                now = self._clock()
                self._known[key] = min(self._size, self._left(key, now) + 1), now

    def _left(self, key, now):
        left, since = self._known.get(key, (self._size, now))
        return min(self._size, left + (now - since) * self._rate)


class Middleware:
    """Inside of authentication: of a project that asks too fast nothing more is looked at."""

    def __init__(self, app, conf):
        self._app = app
        conf = conf.api
        self._all, self._changes = (Buckets(rate, rate * conf.request_burst) for rate in (
            conf.project_request_rate, conf.project_change_rate))

    def __call__(self, environ, start_response):
        project = auth.context_in(environ).project_id
        if project is not None:
            _insist(self._all.wait(project))
            if environ['REQUEST_METHOD'] not in READS:
                _insist(self._changes.wait(project))
        return self._app(environ, start_response)


class Strangers:
    """Outside of authentication: who guesses credentials may do so slowly only.

    To check a password takes time on purpose, and a token that is not known is asked about.
    """

    def __init__(self, app, conf):
        self._app = app
        self._failures = Buckets(conf.api.failed_authentication_rate,
                                 conf.api.failed_authentication_burst)

    def __call__(self, environ, start_response):
        caller = auth.network_of(environ)
        _insist(self._failures.wait(caller, take=0))
        guess = environ[auth.GUESS] = _Guess(self._failures, caller)
        try:
            return self._app(environ, start_response)
        except exceptions.Unauthorized:
            guess.failed()
            raise


class _Guess:
    """What one request takes from the bucket of its address: one token, or none."""

    def __init__(self, bucket, caller):
        self._bucket, self._caller = bucket, caller
        self._charged = False

    def charge(self):
        """Pay before the work: many at once must not all see the same last token.

        Raises TooManyRequests.
        """
        _insist(self._bucket.wait(self._caller))
        self._charged = True

    def give_back(self):
        """The credentials are valid."""
        if self._charged:
            self._bucket.give_back(self._caller)

    def failed(self):
        if not self._charged:
            self._bucket.wait(self._caller)


def _insist(seconds):
    if seconds:
        error = exceptions.TooManyRequests()
        error.retry_after = math.ceil(seconds)
        raise error
