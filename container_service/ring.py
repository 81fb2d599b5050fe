# SPDX-License-Identifier: Apache-2.0
"""Which conductor is asked first for a container.

A consistent hash over (bay, container) and the live conductors that reach the bay, so that the
connections to an engine and the order of a container's actions stay in one place.  It is a
hint: correctness rests on claim and fence.
"""

import threading
import time

from tooz import hashring

from container_service.db import bays
from container_service.db import conductors

NONE, FULL, FREE = 'none', 'full', 'free'

# Seconds for which the membership is taken from memory.
FRESH = 1.0


def serves(hosts, host):
    """Whether a conductor on ``host`` may work on a bay with these ``hosts`` (None: any)."""
    return hosts is None or host in hosts


class Ring:
    """Live conductors and bays as SQL has them, at most a second old."""

    def __init__(self, db, clock=time.monotonic):
        self._db = db
        self._clock = clock
        self._lock = threading.Lock()
        self._read_at = None
        self._bays, self._conductors, self._rings = {}, [], {}

    def choose(self, container_uuid, bay_uuid, leave_out=()):
        """The server name of the conductor to ask first, or None when no live one serves.

        ``leave_out``: names of those that have been asked in vain.
        """
        with self._lock:
            self._refresh(bay_uuid)
            ring = self._rings.get(bay_uuid)
            if ring is None:
                if bay_uuid not in self._bays:
                    return None
                hosts = self._bays[bay_uuid]
                ring = hashring.HashRing(
                    [c.server for c in self._conductors if serves(hosts, c.host)])
                self._rings[bay_uuid] = ring
        key = f'{bay_uuid}/{container_uuid}'.encode()
        return next(iter(ring.get_nodes(key, ignore_nodes=leave_out)), None)

    def state(self, bay_uuid):
        """Whether a conductor could take work of a bay: ``none``, ``full`` or ``free``."""
        with self._lock:
            self._refresh(bay_uuid)
            hosts = self._bays.get(bay_uuid)
            serving = [c for c in self._conductors if serves(hosts, c.host)]
        if not serving:
            return NONE
        return FULL if all(c.is_full for c in serving) else FREE

    def _refresh(self, bay_uuid):
        now = self._clock()
        if (self._read_at is not None and now - self._read_at < FRESH
                and bay_uuid in self._bays):
            return
        with self._db.read() as conn:
            self._conductors = conductors.live(conn)
            self._bays = {row.uuid: row.hosts for row in bays.all_rows(conn)}
        self._rings, self._read_at = {}, now
