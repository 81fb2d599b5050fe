# SPDX-License-Identifier: Apache-2.0
"""Which other conductors are dead.

Nobody is dead because a time in the database has passed: clocks jump, and databases are down for
a while.  A conductor is declared dead by one who has watched it and seen it do nothing for a
whole lease, on a clock of its own; or, on the same machine, by one who finds that the kernel has
freed the lock that it held.  The declaration is a conditional write in SQL, and only who is
declared dead loses its work, see ``sweep.py``.
"""

import time

from oslo_log import log

from container_service.conductor import lease
from container_service.db import conductors

LOG = log.getLogger(__name__)


class Peers:
    """A look at the other conductors on each call.

    ``found_dead()`` is called when a look has declared somebody dead.
    """

    def __init__(self, db, conf, lease, slot, found_dead, clock=time.monotonic):
        self._db = db
        self._lease = lease
        self._lease_seconds = conf.conductor.lease
        self._host = conf.host
        self._slot = slot
        self._found_dead = found_dead
        self._clock = clock
        self._seen = {}               # incarnation: (heartbeats, seen so since)
        self._looked_at = None

    def __call__(self):
        """One look."""
        if not self._lease.may_claim():
            self._seen = {}           # who may not act for itself, does not judge others
            return
        with self._db.read() as conn:
            rows = [row for row in conductors.heartbeats(conn) if row.uuid != self._lease.uuid]
        now = self._clock()
        if self._looked_at is None or now - self._looked_at > self._lease_seconds / 3:
            # What was not watched does not count: this process may have been suspended, or the
            # database down, and the peers with it.
            self._seen = {}
        self._looked_at = now
        self._seen = {row.uuid: self._observed(row, now) for row in rows}
        dead = [row for row in rows if self._has_left(row) or self._is_silent(row, now)]
        if any([self._declare(row) for row in dead]):
            self._found_dead()

    def _observed(self, row, now):
        heartbeats, since = self._seen.get(row.uuid, (None, None))
        return (heartbeats, since) if heartbeats == row.heartbeats else (row.heartbeats, now)

    def _is_silent(self, row, now):
        # Its own lease may be longer than ours, while the configuration is being changed.
        its_lease = (row.lease_until - row.heartbeat_at).total_seconds()
        _, since = self._seen[row.uuid]
        return now - since >= max(self._lease_seconds, its_lease)

    def _has_left(self, row):
        """Whether it was on this boot of this machine and its lock is free."""
        return (row.host == self._host and row.boot_id is not None
                and row.boot_id == lease.boot_id()
                and row.uuid in lease.left_by(self._slot.directory, row.slot))

    def _declare(self, row):
        declared = self._db.transact(
            lambda conn: conductors.declare_silent(conn, row.uuid, row.heartbeats),
            landed=lambda conn: not conductors.is_up(conn, row.uuid) or None)
        if declared:
            LOG.warning('Conductor %s (%s) is dead; its work is taken over.', row.server,
                        row.uuid)
        return declared
