# SPDX-License-Identifier: Apache-2.0
"""Which bays this conductor watches, so that what the database says is what engines have.

One conductor at a time watches a bay: its incarnation stands in the bay's row, put there by a
compare and swap when nobody's does, or that of one that is dead or may not.  The watching
itself, its event stream and its full passes, is in ``observer.py``.
"""

import math
import threading
import time

from oslo_log import log

from container_service import exceptions
from container_service import ring
from container_service.conductor import observer
from container_service.db import bays
from container_service.db import conductors
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

# Seconds that one with more than its share of the bays leaves a free one to the others.
_PATIENCE = 3


class Reconciler:

    def __init__(self, db, conf, engines, lease, deployment, clock=time.monotonic,
                 wake=lambda container_uuid: None):
        self._db = db
        self._conf = conf
        self._engines = engines
        self._lease = lease
        self._deployment = deployment
        self._clock = clock
        self._wake = wake
        self._free_since = {}         # bay: when it was first seen without a watcher
        self._stopped = False
        self._lock = threading.Lock()     # held for a round, so that none begins to watch late
        self._left = []               # observers that were told to end
        self.observers = {}           # bay uuid: Observer

    def __call__(self):
        """Leave what is not ours to watch, take what is free."""
        with self._lock:
            if not self._stopped and self._lease.holds(self._lease.uuid):
                self._look_round()

    def _look_round(self):
        served = self._engines.served()
        for uuid, one in list(self.observers.items()):
            bay = served.get(uuid)
            if bay is None or not bay.watcher_uuid == one.incarnation == self._lease.uuid:
                self._leave(uuid)
        others = [bay for bay in served.values() if bay.watcher_uuid != self._lease.uuid]
        if others:
            self._take(served, others)
        for uuid, one in self.observers.items():
            one.refresh(served[uuid])

    def _take(self, served, others):
        """Watch bays that nobody fit for it watches."""
        with self._db.read() as conn:
            fit = _fit(conductors.listing(conn))
        for bay in others:
            serving = {row.uuid for row in fit if ring.serves(bay.hosts, row.host)}
            if bay.watcher_uuid in serving or self._lease.uuid not in serving:
                self._free_since.pop(bay.uuid, None)
                continue
            since = self._free_since.setdefault(bay.uuid, self._clock())
            share = math.ceil(len(served) / max(1, len(serving)))
            if len(self.observers) >= share and self._clock() - since < _PATIENCE:
                continue
            del self._free_since[bay.uuid]
            self._watch(bay)

    def _watch(self, bay):
        incarnation = self._lease.uuid
        if not self._db.transact(
                lambda conn: bays.take_watch(conn, bay.uuid, bay.watcher_uuid, incarnation),
                lambda conn: bays.is_watched_by(conn, bay.uuid, incarnation) or None):
            return
        self._engines.reread()
        LOG.info('Watching bay %s', bay.name)
        one = observer.Observer(self._db, self._conf, self._engines, self._lease,
                                self._deployment, bay, self._clock, self._wake)
        self.observers[bay.uuid] = one
        self.start(one)

    @staticmethod
    def start(one):
        one.start()

    def _leave(self, uuid):
        one = self.observers.pop(uuid)
        LOG.info('Not watching bay %s any more', one.bay.name)
        one.stop()
        self._left = [left for left in (*self._left, one) if not left.ended]

    def stop(self):
        """Watch nothing any more, and let others do so."""
        self._stopped = True
        with self._lock:
            for uuid in list(self.observers):
                self._leave(uuid)
        try:
            self._db.transact(lambda conn: bays.leave_watch(conn, self._lease.uuid),
                              run_again)
        except exceptions.DatabaseUnavailable:
            pass                      # this incarnation will be known to be gone

    def join(self, seconds):
        """Wait so long at most for the threads of all that was watched."""
        until = time.monotonic() + seconds
        for one in self._left:
            one.join(max(0, until - time.monotonic()))


def _fit(rows):
    """Those that may watch; if all were taken out of service, these rather than nobody."""
    alive = [row for row in rows
             if row.state != conductors.GONE and not row.forced_down]
    return ([row for row in alive if row.state == conductors.UP and not row.disabled]
            or [row for row in alive if row.state == conductors.UP] or alive)
