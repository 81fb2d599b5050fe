# SPDX-License-Identifier: Apache-2.0
"""The safety net: finds queued work nobody was woken for and running work nobody does.

Runs every poll interval in a thread of its own.  That the bus lost a message, that a conductor
died, that a slot was lost to an error: all of it ends here at the latest.
"""

from oslo_log import log

from container_service import lifecycle
from container_service.db import actions
from container_service.db import conductors
from container_service.db import containers

LOG = log.getLogger(__name__)

# Dead registrations are forgotten after a week.
_PURGE_SECONDS = 7 * 24 * 3600


class Sweep:

    def __init__(self, db, engines, lease, inflight, workers):
        self._db = db
        self._engines = engines
        self._lease = lease
        self._inflight = inflight
        self._workers = workers
        self._suspects = set()

    def __call__(self):
        """One pass."""
        self._take_over()
        self._wake()

    def _wake(self):
        served = list(self._engines.served())
        if not served:
            return
        busy = self._inflight.snapshot()
        with self._db.read() as conn:
            # One more than there is room for, so that a full pool knows that something waits.
            waiting = containers.runnable(
                conn, served, max(1, self._workers - len(busy)) + 1, busy)
        for uuid in waiting:
            self._inflight.wake(uuid)

    def _take_over(self):
        with self._db.read() as conn:
            abandoned = actions.abandoned(conn)
            mine = actions.of_conductor(conn, self._lease.uuid)
        # Ours by SQL, but nobody here is at it: lost to an error or to a database that did not
        # answer when the outcome was to be written.  Seen twice, since a slot may be between
        # its claim and the next look.
        lost = {row.claim_uuid: row for row in mine
                if row.resource_uuid not in self._inflight}
        abandoned += [row for claim, row in lost.items() if claim in self._suspects]
        self._suspects = set(lost)
        for row in abandoned:
            if lifecycle.take_over(self._db, row):
                LOG.warning('Action %s (%s of %s): its conductor %s does not run it any more; '
                            'freed', row.uuid, row.operation, row.resource_uuid, row.conductor)

    def purge(self):
        """Forget conductors that have been dead for long."""
        self._db.transact(lambda conn: conductors.purge(conn, _PURGE_SECONDS))
