# SPDX-License-Identifier: Apache-2.0
"""The in-flight map: which containers this process works on, one slot each.

It knows no SQL and no Docker.  It keeps containers apart and in order inside this process and
bounds the work; that order holds across processes and restarts is the business of
``lifecycle.claim``.  The story goes on in ``runner.py``.

* A wake for a container in flight sets its ``again`` flag; the slot leaves the container only
  when the flag is clear under the lock, so no wake falls between "nothing left" and "gone".
* A wake that finds no free slot is dropped: its row stays in SQL.  Whoever frees a slot asks
  SQL for the next container at once.  So no waiting action ever holds a thread, and there is
  no backlog in memory that could be lost.
"""

import threading

import futurist
from oslo_log import log

LOG = log.getLogger(__name__)

ACCEPTED, FOLDED, FULL, STOPPING = 'accepted', 'folded', 'full', 'stopping'

_EXECUTORS = {
    'threaded': lambda workers: futurist.ThreadPoolExecutor(max_workers=workers),
    'synchronous': lambda workers: futurist.SynchronousExecutor(),
}


class InFlight:
    """Works on at most ``workers`` containers at a time.

    ``work(container_uuid)`` carries out one action and returns whether it found one.
    ``pick(leave_out)`` names the next container that has something to do, or None.
    """

    def __init__(self, executor, workers, work, pick):
        self._executor = _EXECUTORS[executor](workers)
        self._workers = workers
        self._work = work
        self._pick = pick
        self._condition = threading.Condition()
        self._again = {}              # container in flight: has it been woken meanwhile?
        self._missed = False          # a wake was dropped since the last pick
        self._stopping = False
        self.full = 0                 # how often a wake found no free slot

    def __len__(self):
        return len(self._again)

    def __contains__(self, container_uuid):
        return container_uuid in self._again

    def snapshot(self):
        """The containers in flight now."""
        with self._condition:
            return set(self._again)

    def wake(self, container_uuid):
        """Work on a container as soon as may be.  Returns what became of the wake.

        With the synchronous executor the work is done in the calling thread.
        """
        with self._condition:
            if self._stopping:
                return STOPPING
            if container_uuid in self._again:
                self._again[container_uuid] = True
                return FOLDED
            if len(self._again) >= self._workers:
                self.full += 1
                self._missed = True
                return FULL
            self._again[container_uuid] = False
        try:
            self._executor.submit(self._slot, container_uuid)
        except BaseException:
            self._leave(container_uuid)
            raise
        return ACCEPTED

    def _slot(self, container_uuid):
        """The life of one slot: drain a container, then take the next, until none is left."""
        while container_uuid is not None:
            try:
                self._drain(container_uuid)
                following = self._next(container_uuid)
            except BaseException:
                # The container must leave the map whatever happens, or it would be stuck; its
                # row is found again by the sweep.
                LOG.exception('Working on container %s', container_uuid)
                self._leave(container_uuid)
                return
            container_uuid = following

    def _drain(self, container_uuid):
        while True:
            found = self._work(container_uuid)
            with self._condition:
                if self._stopping:
                    return
                if not found and not self._again[container_uuid]:
                    return
                self._again[container_uuid] = False

    def _next(self, container_uuid):
        """Give the slot to the next container in line; None when the slot was given up."""
        while True:
            with self._condition:
                if self._stopping:
                    self._release(container_uuid)
                    return None
                self._missed = False
                leave_out = set(self._again)
            candidate = self._pick(leave_out)
            with self._condition:
                if self._again[container_uuid]:
                    self._again[container_uuid] = False
                    return container_uuid
                if candidate is not None and candidate in self._again:
                    continue
                if candidate is None and self._missed:
                    continue
                self._release(container_uuid)
                if candidate is not None and not self._stopping:
                    self._again[candidate] = False
                    return candidate
                return None

    def _release(self, container_uuid):
        del self._again[container_uuid]
        self._condition.notify_all()

    def _leave(self, container_uuid):
        with self._condition:
            self._release(container_uuid)

    def stop(self, timeout):
        """Take nothing new and wait for what runs.  Returns the containers still in flight."""
        with self._condition:
            self._stopping = True
            self._condition.wait_for(lambda: not self._again, timeout)
            left = set(self._again)
        # What is not left has ended; idle threads of the pool take a second to notice.
        self._executor.shutdown(wait=False)
        return left
