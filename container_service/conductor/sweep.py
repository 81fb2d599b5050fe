# SPDX-License-Identifier: Apache-2.0
"""The safety net: finds queued work nobody was woken for and running work nobody does.

Runs every poll interval in a thread of its own.  That the bus lost a message, that a conductor
died, that a slot was lost to an error: all of it ends here at the latest.
"""

from oslo_log import log

from container_service import daemon
from container_service import lifecycle
from container_service import pulls
from container_service.db import actions
from container_service.db import audit
from container_service.db import conductors
from container_service.db import containers
from container_service.db import events
from container_service.db import idempotency
from container_service.db import pulls as pull_rows
from container_service.db import tickets

LOG = log.getLogger(__name__)

# What waits is counted up to here: more than that is simply a lot.
_COUNTED = 1000

# Dead registrations are forgotten after a week.
_DEAD_CONDUCTORS = 7 * 24 * 3600


class Sweep:

    def __init__(self, db, conf, engines, lease, inflight, pulling, pick):
        self._db = db
        self._conf = conf
        self._engines = engines
        self._lease = lease
        self._inflight = inflight
        self._pulling = pulling
        self._pick = pick
        self._suspects = set()
        self.queued = 0               # containers that could run here when it was last looked

    def __call__(self):
        """One pass."""
        self._free_lost()
        self._expire()
        with self._db.read() as conn:
            self.queued = containers.count_runnable(conn, self._engines.served(), _COUNTED)
        if self._lease.may_claim():
            self.take_over()
            self.wake()

    def wake(self):
        """Fill the free slots from SQL."""
        bays = self._engines.available()
        if not bays or not self._lease.may_claim():
            return
        busy = self._inflight.snapshot()
        # One more than there is room for, so that a full pool knows that something waits.
        for _ in range(max(1, self._conf.conductor.workers - len(busy)) + 1):
            uuid = self._pick(busy)
            if uuid is None:
                break
            self._inflight.wake(uuid)
            busy.add(uuid)
        with self._db.read() as conn:
            waiting = pull_rows.runnable(
                conn, bays, self._conf.conductor.pull_workers, self._pulling.snapshot())
        for uuid in waiting:
            self._pulling.wake(uuid)

    def after_a_death(self):
        """Take over what a conductor has left, now that it is known to be dead."""
        self.take_over()
        self.wake()

    def take_over(self):
        """Free what dead conductors were running on the bays that this one serves."""
        served = self._engines.served()
        with self._db.read() as conn:
            abandoned = actions.abandoned(conn)
        for row in abandoned:
            if row.bay_uuid in served:
                # Whoever ran more than this may have died of any of it.
                self._free(row, counts=row.ran == 1)
        pulls.sweep(self._db, served)

    def _free(self, row, counts):
        with daemon.one_of_many('Freeing action', row.uuid):
            if lifecycle.take_over(self._db, row, counts=counts,
                                   max_attempts=self._conf.conductor.max_attempts):
                LOG.warning('Action %s (%s of %s): its conductor %s does not run it any more; '
                            'freed', row.uuid, row.operation, row.resource_uuid, row.conductor)

    def _free_lost(self):
        """Free what is ours by SQL, but nobody here is at.

        It was lost to an error, or to a database that did not answer when the outcome was to be
        written.  It must be seen so twice: a slot may be between its claim and the next look.
        """
        with self._db.read() as conn:
            mine = [row for row in actions.of_conductor(conn, self._lease.uuid)
                    if row.resource_uuid not in self._inflight]
            pulled = [row for row in pull_rows.of_conductor(conn, self._lease.uuid)
                      if row.uuid not in self._pulling]
        for row in mine:
            if row.claim_uuid in self._suspects:
                self._free(row, counts=True)
        pulls.release(self._db, [row for row in pulled if row.claim_uuid in self._suspects])
        self._suspects = {row.claim_uuid for row in (*mine, *pulled)}

    def _expire(self):
        with self._db.read() as conn:
            overdue = actions.overdue(conn)
        for row in overdue:
            with daemon.one_of_many('Expiring action', row.uuid):
                if lifecycle.expire(self._db, row):
                    LOG.info('Action %s was not begun within its time limit', row.uuid)

    def purge(self):
        """Forget what is older than is promised to be kept."""
        keep = self._conf.conductor.history_days * 24 * 3600
        self._db.transact(lambda conn: conductors.purge(conn, _DEAD_CONDUCTORS))
        self._db.transact(idempotency.purge)
        self._db.transact(tickets.purge)
        self._db.transact(lambda conn: pull_rows.purge(conn, _DEAD_CONDUCTORS))
        while self._db.transact(lambda conn: actions.purge(conn, keep)):
            pass
        while self._db.transact(lambda conn: containers.purge(conn, keep)):
            pass
        while self._db.transact(lambda conn: events.purge(conn, keep)):
            pass
        keep = self._conf.conductor.audit_days * 24 * 3600
        while keep and self._db.transact(lambda conn: audit.purge(conn, keep)):
            pass
