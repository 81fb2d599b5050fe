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
* Some slots are kept for urgent actions, and one bay never fills the pool (``Lanes``).
"""

import dataclasses
import threading

import futurist
from oslo_log import log

LOG = log.getLogger(__name__)

ACCEPTED, FOLDED, FULL, STOPPING = 'accepted', 'folded', 'full', 'stopping'

QUEUE, CALLER_RUNS, REJECT = 'queue', 'caller_runs', 'reject'

_EXECUTORS = {
    'threaded': lambda workers: futurist.ThreadPoolExecutor(max_workers=workers),
    'eventlet': lambda workers: futurist.GreenThreadPoolExecutor(max_workers=workers),
    'synchronous': lambda workers: futurist.SynchronousExecutor(),
}


@dataclasses.dataclass
class _Slot:
    """What one slot works on."""
    again: bool = False           # the container was woken meanwhile
    bay: str = None               # of the action that runs; None between two actions
    urgent: bool = False
    extra: bool = False           # outside the pool: run by the caller


class Lanes:
    """How many slots whom may have.

    A twentieth, but at least one slot, is kept for urgent actions.  With more than one bay, one
    bay leaves a quarter of the pool to the others, whatever it is for: an engine that hangs, hangs
    for urgent actions too.  With one worker there is nothing to divide.
    """

    def __init__(self, workers):
        self._workers = workers
        self._reserved = max(1, workers // 20) if workers > 1 else 0

    def has_room(self, slots, bay, urgent, bays):
        """Whether one more action on that bay may run beside those in ``slots``."""
        running = [slot for slot in slots if slot.bay is not None and not slot.extra]
        kept = 0 if urgent else self._reserved
        if len(running) >= self._workers - kept:
            return False
        if bays > 1 and self._workers > 1:
            share = self._workers - max(1, self._workers // 4)
            return sum(1 for slot in running if slot.bay == bay) < max(1, share - kept)
        return True


class InFlight:
    """Works on at most ``workers`` containers at a time.

    ``work(container_uuid)`` carries out one action, if there is one, and returns whether another
    is next; it calls ``admit`` before it begins.  ``pick(leave_out)`` names the next container
    that has something to do, or None.  ``bays()`` is the number of bays this conductor serves.
    ``left(container_uuid)`` is told of a container that has more to do, which is not done here.
    """

    def __init__(self, executor, workers, work, pick, bays=lambda: 1, policy=QUEUE,
                 left=lambda container_uuid: None):
        self._executor = _EXECUTORS[executor](workers)
        self._workers = workers
        self._lanes = Lanes(workers)
        self._work = work
        self._pick = pick
        self._bays = bays
        self._policy = policy
        self._left = left
        self._condition = threading.Condition()
        self._slots = {}              # container in flight: _Slot
        self._missed = False          # a wake was dropped since the last pick
        self._stopping = False
        self.full = 0                 # how often a wake or an action found no room

    def __len__(self):
        return len(self._slots)

    def __contains__(self, container_uuid):
        return container_uuid in self._slots

    @property
    def is_full(self):
        """Whether a wake for anything but an urgent action would find no slot now."""
        with self._condition:
            return self._has_no_slot() or not self._lanes.has_room(
                self._slots.values(), None, False, 1)

    def _has_no_slot(self):
        return sum(1 for slot in self._slots.values() if not slot.extra) >= self._workers

    def snapshot(self):
        """The containers in flight now."""
        with self._condition:
            return set(self._slots)

    def admit(self, container_uuid, bay, urgent):
        """Whether the next action of a container in flight may begin; called by ``work``."""
        bays = self._bays()
        with self._condition:
            slot = self._slots.get(container_uuid)
            if slot is None or self._stopping:
                return False
            slot.bay = None
            if not slot.extra and not self._lanes.has_room(
                    self._slots.values(), bay, urgent, bays):
                self.full += 1
                return False
            slot.bay, slot.urgent = bay, urgent
            return True

    def wake(self, container_uuid, caller_may_run=False):
        """Work on a container as soon as may be.  Returns what became of the wake.

        With the synchronous executor the work is done in the calling thread, and so it is with
        the policy ``caller_runs`` when the pool is full and the caller allows it.
        """
        with self._condition:
            if self._stopping:
                return STOPPING
            if container_uuid in self._slots:
                self._slots[container_uuid].again = True
                return FOLDED
            full = self._has_no_slot()
            extra = self._policy == CALLER_RUNS and caller_may_run and (
                # What is left is kept for urgent actions.
                full or not self._lanes.has_room(self._slots.values(), None, False, 1))
            self.full += full or extra
            if full and not extra:
                self._missed = True
                return FULL
            self._slots[container_uuid] = _Slot(extra=extra)
        if extra:
            self._run_extra(container_uuid)
            return ACCEPTED
        try:
            self._executor.submit(self._slot, container_uuid)
        except BaseException:
            self._leave(container_uuid)
            raise
        return ACCEPTED

    def _run_extra(self, container_uuid):
        """In the calling thread: drain one container; what is next is for the pool."""
        try:
            while True:
                self._drain(container_uuid)
                with self._condition:
                    if self._stopping or not self._slots[container_uuid].again:
                        self._release(container_uuid)
                        return
        except BaseException:
            LOG.exception('Working on container %s', container_uuid)
            self._leave(container_uuid)

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
            more = self._work(container_uuid)
            with self._condition:
                slot = self._slots[container_uuid]
                slot.bay = None
                if not more and not slot.again:
                    return
                slot.again = False
                stopping = self._stopping
            if stopping:
                self._left(container_uuid)
                return

    def _next(self, container_uuid):
        """Give the slot to the next container in line; None when the slot was given up."""
        while True:
            with self._condition:
                if self._stopping:
                    self._release(container_uuid)
                    return None
                self._missed = False
                leave_out = set(self._slots) - {container_uuid}
            candidate = self._pick(leave_out)
            with self._condition:
                if self._slots[container_uuid].again or candidate == container_uuid:
                    # Woken meanwhile, or there is room now where there was none.
                    self._slots[container_uuid].again = False
                    return container_uuid
                if candidate in self._slots or candidate is None and self._missed:
                    continue
                self._release(container_uuid)
                if candidate is not None and not self._stopping:
                    self._slots[candidate] = _Slot()
                    return candidate
                return None

    def room(self):
        """What may be picked now: (urgent only?, bays with room for urgent only, without any)."""
        bays = self._bays()
        with self._condition:
            slots = list(self._slots.values())
        held = {slot.bay for slot in slots if slot.bay is not None}
        urgent_only = not self._lanes.has_room(slots, None, False, 1)
        full = {bay for bay in held if not self._lanes.has_room(slots, bay, True, bays)}
        sated = {bay for bay in held if not self._lanes.has_room(slots, bay, False, bays)}
        return urgent_only, sated - full, full

    def _release(self, container_uuid):
        del self._slots[container_uuid]
        self._condition.notify_all()

    def _leave(self, container_uuid):
        with self._condition:
            self._release(container_uuid)

    def drain(self):
        """Take nothing new; what runs goes on."""
        with self._condition:
            self._stopping = True

    def stop(self, timeout):
        """Take nothing new and wait for what runs.  Returns the containers still in flight."""
        self.drain()
        with self._condition:
            self._condition.wait_for(lambda: not self._slots, timeout)
            left = set(self._slots)
        # What is not left has ended; idle threads of the pool take a second to notice.
        self._executor.shutdown(wait=False)
        return left
