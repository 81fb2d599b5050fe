# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is: projects in turn, the longest waiting container of each.

So a project that queues ten thousand containers delays another's one by at most one of its own.
"""

import collections
import time

from container_service.db import containers

# Seconds for which the list of projects that wait is taken from memory.
_FRESH = 0.5


class FairPick:

    def __init__(self, db, clock=time.monotonic):
        self._db = db
        self._clock = clock
        self._projects = collections.deque()
        self._read_at = None

    def __call__(self, bays, leave_out, urgent_only=False):
        """The next container with something to do on one of the bays, or None."""
        if not bays:
            return None
        with self._db.read() as conn:
            fresh = self._read_at is not None and self._clock() - self._read_at < _FRESH
            if fresh:
                found = self._first(conn, bays, leave_out, urgent_only)
                if found is not None:
                    return found
            self._projects = self._rotated(containers.projects_waiting(conn, bays))
            self._read_at = self._clock()
            return self._first(conn, bays, leave_out, urgent_only)

    def _rotated(self, waiting):
        """Those that wait now, in the order of the turns taken so far, new ones first."""
        # A copy: other slots take their turns meanwhile.
        known = [project for project in list(self._projects) if project in waiting]
        return collections.deque([*sorted(waiting - set(known)), *known])

    def _first(self, conn, bays, leave_out, urgent_only):
        for project in list(self._projects):
            found = containers.runnable(
                conn, bays, 1, leave_out, project_id=project, urgent_only=urgent_only)
            try:
                self._projects.remove(project)
            except ValueError:
                pass                  # another slot took its turn at the same time
            if found:
                self._projects.append(project)     # had its turn
                return found[0]
        return None
