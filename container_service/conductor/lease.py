# SPDX-License-Identifier: Apache-2.0
"""Who this conductor is and until when it may act.

A conductor has an incarnation, a uuid made anew at each start, and a slot on its host whose lock
file the kernel frees when the process dies.  Its name on the bus is host and slot, which stays
the same over restarts.  It renews a lease on the database's clock; when the lease has lapsed it
takes a new incarnation, and what the old one ran is a dead peer's.
"""

import fcntl
import os
import threading
import time

from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import version
from container_service.db import conductors

LOG = log.getLogger(__name__)

_SLOTS = 256


def _boot_id():
    try:
        with open('/proc/sys/kernel/random/boot_id') as f:
            return f.read().strip()
    except OSError:
        return None


class Slot:
    """A number on this host that no other live conductor has.  Raises OSError."""

    def __init__(self, state_path):
        directory = os.path.join(state_path, 'conductors')
        os.makedirs(directory, mode=0o700, exist_ok=True)
        for number in range(_SLOTS):
            self._file = open(os.path.join(directory, f'{number}.lock'), 'w')
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                self._file.close()
                continue
            self.number = number
            return
        raise OSError(f'all {_SLOTS} conductor slots in {directory} are taken')

    def release(self):
        self._file.close()


class Lease:
    """The registration of this process, renewed by a thread of its own.

    ``report()`` returns the columns that each renewal writes along.
    """

    def __init__(self, db, conf, slot, report=dict, clock=time.monotonic):
        self._db = db
        self._seconds = conf.conductor.lease
        self._interval = conf.conductor.heartbeat_interval
        self._clock = clock
        self._report = report
        self._host, self._slot = conf.host, slot.number
        self._workers = conf.conductor.workers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name='heartbeat', daemon=True)
        self._renewed_at = None
        self.server = f'{conf.host}.{slot.number}'
        self.uuid = None

    def start(self):
        """Register, and declare earlier holders of this slot dead.  Raises DatabaseUnavailable."""
        boot_id = _boot_id()
        ended = self._db.transact(lambda conn: conductors.end_predecessors(
            conn, self._host, self._slot, boot_id))
        if ended:
            LOG.info('A conductor in slot %d of this host ended without saying so; its work is '
                     'taken over.', self._slot)
        self._register()
        self._thread.start()

    def _register(self):
        uuid, began = lifecycle.new_uuid(), self._clock()
        self._db.transact(lambda conn: conductors.insert(conn, self._seconds, {
            'uuid': uuid, 'host': self._host, 'slot': self._slot, 'server': self.server,
            'pid': os.getpid(), 'boot_id': _boot_id(), 'version': version.version(),
            'workers': self._workers, 'in_flight': 0, 'pool_full': 0}))
        self.uuid, self._renewed_at = uuid, began

    def _loop(self):
        while not self._stop.wait(self._interval):
            try:
                self.renew()
            except exceptions.DatabaseUnavailable:
                pass                      # told by the database layer; tried again
            except Exception:
                LOG.exception('Renewing the lease')

    def renew(self):
        """Extend the lease, or take a new incarnation when it has lapsed."""
        began = self._clock()
        if self._db.transact(lambda conn: conductors.renew(
                conn, self.uuid, self._seconds, self._report())):
            self._renewed_at = began
            return
        LOG.warning('The lease of incarnation %s lapsed; taking a new one.', self.uuid)
        self._register()

    def holds(self, incarnation):
        """Whether work of that incarnation may still act on an engine.

        By the monotonic clock: the last renewal must have begun less than a lease, less a
        margin, ago.
        """
        margin = self._seconds / 5
        return (incarnation == self.uuid and not self._stop.is_set()
                and self._clock() - self._renewed_at < self._seconds - margin)

    @property
    def is_beating(self):
        """Whether the thread that renews it is alive."""
        return self._thread.is_alive()

    def drain(self):
        """Let no more work be sent here."""
        self._set_state(conductors.DRAINING)

    def stop(self):
        """End the registration; what still runs may be taken over at once."""
        self._stop.set()
        self._thread.join(5)
        self._set_state(conductors.GONE)

    def _set_state(self, state):
        c = conductors.table.c
        try:
            self._db.transact(lambda conn: conn.execute(
                conductors.table.update().where(c.uuid == self.uuid).values(state=state)))
        except exceptions.DatabaseUnavailable:
            LOG.warning('Cannot tell the database that this conductor is %s; its lease will '
                        'lapse.', state)
