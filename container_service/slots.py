# SPDX-License-Identifier: Apache-2.0
"""So many at once in one process, of which one project can have no more than half."""

import collections
import threading


class Slots:
    """``most`` of something that holds a thread."""

    def __init__(self, most):
        self._most = most
        self._share = max(1, most // 2)
        self._lock = threading.Lock()
        self._taken, self._of = 0, collections.Counter()

    def take(self, project_id=None):
        """Whether there was one left for the project; without one only all of them count.

        Never waits.
        """
        with self._lock:
            if self._taken >= self._most or self._of.get(project_id, 0) >= self._share:
                return False
            self._taken += 1
            if project_id is not None:
                self._of[project_id] += 1
            return True

    def give_back(self, project_id=None):
        with self._lock:
            self._taken -= 1
            if project_id is not None:
                self._of[project_id] -= 1
                if not self._of[project_id]:
                    del self._of[project_id]        # there may be any number of projects
