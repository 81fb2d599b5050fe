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

_READS = ('GET', 'HEAD', 'OPTIONS')


class Buckets:
    """One bucket of tokens for each key: ``rate`` come in each second, ``seconds`` long at most.

    A rate of 0 is none at all.
    """
    MOST = 10000            # keys that are remembered; those who ask no more are forgotten

    def __init__(self, rate, seconds, clock=time.monotonic):
        self._rate, self._size, self._clock = rate, max(1, rate * seconds), clock
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

    def _left(self, key, now):
        left, since = self._known.get(key, (self._size, now))
        return min(self._size, left + (now - since) * self._rate)


class Middleware:
    """Inside of authentication: of a project that asks too fast nothing more is looked at."""

    def __init__(self, app, conf):
        self._app = app
        conf = conf.api
        self._all = Buckets(conf.project_request_rate, conf.request_burst)
        self._changes = Buckets(conf.project_change_rate, conf.request_burst)

    def __call__(self, environ, start_response):
        project = auth.context_in(environ).project_id
        if project is not None:
            _insist(self._all.wait(project))
            if environ['REQUEST_METHOD'] not in _READS:
                _insist(self._changes.wait(project))
        return self._app(environ, start_response)


class Strangers:
    """Outside of authentication: who guesses credentials may do so slowly only.

    To check a password takes time on purpose, and a token that is not known is asked about.
    """

    def __init__(self, app, conf):
        self._app = app
        self._failures = Buckets(conf.api.failed_authentication_rate, conf.api.request_burst)

    def __call__(self, environ, start_response):
        source = auth.network_of(environ)
        _insist(self._failures.wait(source, take=0))
        try:
            return self._app(environ, start_response)
        except exceptions.Unauthorized:
            self._failures.wait(source)
            raise


def _insist(seconds):
    if seconds:
        error = exceptions.TooManyRequests()
        error.retry_after = math.ceil(seconds)
        raise error
