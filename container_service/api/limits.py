# SPDX-License-Identifier: Apache-2.0
"""How much may be queued, and when to come back.

Unfinished actions are counted per project and in all from a view at most a second old, plus
what this process has accepted since: exact enough for a limit that protects the service, and
cheap enough to be asked for each request.
"""

import math
import threading
import time

from container_service import exceptions
from container_service import quotas
from container_service.db import actions
from container_service.db import conductors

_FRESH = 1.0            # seconds
_WINDOW = 60            # seconds over which the drain rate is measured
_LONGEST = 300          # most seconds that a Retry-After says


class Limits:
    """The limits of one API process.  ``most(project_id)`` is how many actions it may have."""

    def __init__(self, conf, db, most, clock=time.monotonic):
        self._conf, self._most = conf.api, most
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = None
        self._counts = {}             # project: unfinished actions
        self._total = 0
        self._rate = 0.0              # actions that end in a second
        self._all_full = False

    def _refresh(self):
        if self._read_at is not None and self._clock() - self._read_at < _FRESH:
            return
        with self._db.read() as conn:
            self._counts = actions.unfinished_by_project(conn)
            self._rate = actions.finished_lately(conn, _WINDOW) / _WINDOW
            live = conductors.live(conn)
        self._total = sum(self._counts.values())
        self._all_full = bool(live) and all(
            row.is_full and row.saturation_policy == 'reject' for row in live)
        self._read_at = self._clock()

    def check(self, project_id, urgent=False):
        """Let one more action of a project through, before anything is written.

        An urgent one has slots of every pool reserved, so that full pools do not matter to it.
        Raises TooManyActions, SystemFull or PoolFull, each with the seconds after which there
        should be room again.
        """
        most = self._most(project_id)
        with self._lock:
            self._refresh()
            if self._all_full and not urgent:
                raise self._later(exceptions.PoolFull(), 1)
            if self._total >= self._conf.action_limit:
                raise self._later(exceptions.SystemFull(),
                                  self._total - self._conf.action_limit + 1)
            count = self._counts.get(project_id, 0)
            if most != quotas.NONE and count >= most:
                raise self._later(exceptions.TooManyActions(count=count, limit=most),
                                  count - most + 1)
            self._counts[project_id] = count + 1
            self._total += 1

    def not_used(self, project_id):
        """Take back what ``check`` counted: nothing was accepted after all."""
        with self._lock:
            if self._counts.get(project_id):
                self._counts[project_id] -= 1
                self._total -= 1

    def _later(self, exc, excess):
        exc.retry_after = self._seconds_until(excess)
        return exc

    def _seconds_until(self, excess):
        """Seconds until so many actions have ended, at the rate measured lately."""
        if self._rate <= 0:
            return 5
        return max(1, min(_LONGEST, math.ceil(excess / self._rate)))

    def retry_after(self, excess=1):
        with self._lock:
            self._refresh()
            return self._seconds_until(excess)

    def view(self, project_id):
        """What /v1/limits shows a project."""
        most = self._most(project_id)
        with self._lock:
            self._refresh()
            return {
                'unfinished_actions': {'limit': most,
                                       'used': self._counts.get(project_id, 0)},
                'unfinished_actions_per_container': {
                    'limit': self._conf.container_queue_limit},
                'drain_rate_per_second': round(self._rate, 3),
            }
