# SPDX-License-Identifier: Apache-2.0
"""Who this conductor is and until when it may act.

A conductor has an incarnation, a uuid made anew at each start, and a slot on its host whose lock
file names the incarnation; the kernel frees the lock when the process dies.  Its name on the bus
is host and slot, which stays the same over restarts.  It renews its lease until somebody has
declared it dead; then it takes a new incarnation, and what the old one ran is a dead peer's.
Who else is alive is the business of ``peers.py``.
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
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

_SLOTS = 256


def elapsed():
    """Seconds on a clock that never jumps and, where there is one, counts a suspended machine."""
    return time.clock_gettime(getattr(time, 'CLOCK_BOOTTIME', time.CLOCK_MONOTONIC))


def boot_id():
    """What tells one boot of this machine from the next; None where that is not known."""
    try:
        with open('/proc/sys/kernel/random/boot_id') as f:
            return f.read().strip()
    except OSError:
        return None


class Slot:
    """A number on this host that no other live conductor has.  Raises OSError.

    Its lock file names the incarnations that hold it, or held it last.
    """

    def __init__(self, state_path):
        self.directory = os.path.join(state_path, 'conductors')
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        for number in range(_SLOTS):
            self._file = open(_lock_file(self.directory, number), 'a+')
            if _locked(self._file, fcntl.LOCK_EX):
                self.number = number
                self.predecessors = _named_in(self._file)
                return
            self._file.close()
        raise OSError(f'all {_SLOTS} conductor slots in {self.directory} are taken')

    def name(self, *incarnations):
        """Name who holds it, in place of who did."""
        self._file.truncate(0)
        self._file.write('\n'.join(incarnations))
        self._file.flush()

    def release(self):
        self._file.close()


def left_by(directory, number):
    """The incarnations that are dead because nobody holds the lock that they held."""
    try:
        with open(_lock_file(directory, number)) as file:
            return _named_in(file) if _locked(file, fcntl.LOCK_SH, tries=1) else ()
    except OSError:
        return ()


def _lock_file(directory, number):
    return os.path.join(directory, f'{number}.lock')


def _named_in(file):
    file.seek(0)
    return tuple(file.read().split())


def _locked(file, how, tries=3):
    for left in reversed(range(tries)):
        try:
            fcntl.flock(file, how | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if left:
                time.sleep(0.01)      # a peer may be looking whether it is free, just now
    return False


class Lease:
    """The registration of this process, renewed by a thread of its own.

    ``report()`` returns the columns that each renewal writes along; ``told_to_drain()`` is
    called when an administrator has said in the database that it shall.
    """

    def __init__(self, db, conf, slot, report=dict, told_to_drain=lambda: None, clock=elapsed):
        self._db = db
        self._seconds = conf.conductor.lease
        self._interval = conf.conductor.heartbeat_interval
        self._clock = clock
        self._report, self._told_to_drain = report, told_to_drain
        self._slot = slot
        self._host, self._workers = conf.host, conf.conductor.workers
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._loop, name='heartbeat', daemon=True)
        self._renewed_at = None
        self._state = conductors.UP
        self._idle = None             # why it may not take work, as an administrator said
        self.server = f'{conf.host}.{slot.number}'
        self.uuid = None

    def start(self):
        """Register, and declare earlier holders of this slot dead.  Raises DatabaseUnavailable."""
        ended = self._register(self._slot.predecessors)
        if ended:
            LOG.info('A conductor in slot %d of this host ended without saying so; its work is '
                     'taken over.', self._slot.number)
        self._thread.start()

    def _register(self, predecessors=()):
        """Take a new incarnation; returns how many predecessors were not known to be dead."""
        uuid, began, this_boot = lifecycle.new_uuid(), self._clock(), boot_id()
        values = {
            'uuid': uuid, 'host': self._host, 'slot': self._slot.number, 'server': self.server,
            'pid': os.getpid(), 'boot_id': this_boot, 'version': version.version(),
            'workers': self._workers, 'in_flight': 0, 'pool_full': 0, 'state': self._state}
        c, ended = conductors.table.c, []

        def unit(conn):
            # A lock says something about this boot of this machine only.
            ended[:] = [old for old in predecessors if conductors.declare_dead(
                conn, old, c.host == self._host, c.boot_id == this_boot)]
            conductors.register(conn, self._seconds, values)
            return conductors.find(conn, uuid)

        # Both, until it is certain that the earlier ones are not needed any more.
        self._slot.name(*predecessors, uuid)
        row = self._db.transact(unit, landed=lambda conn: conductors.find(conn, uuid))
        self._slot.name(uuid)
        self.uuid, self._renewed_at = uuid, began
        self._heed(row)
        return len(ended)

    def _loop(self):
        while not self._stop.wait(self._interval):
            try:
                self.renew()
            except exceptions.DatabaseUnavailable:
                pass                      # told by the database layer; tried again
            except Exception:
                LOG.exception('Renewing the lease')

    def renew(self):
        """Extend the lease, or take a new incarnation when this one was declared dead."""
        began = self._clock()
        row = self._db.transact(lambda conn: conductors.renew(
            conn, self.uuid, self._seconds, self._report()), run_again)
        if row is None:
            LOG.warning('Incarnation %s was declared dead; taking a new one.', self.uuid)
            self._register()
            return
        self._renewed_at = began
        self._heed(row)

    def _heed(self, row):
        """Do as an administrator has said."""
        idle = None
        if row.disabled or row.forced_down:
            idle = 'disabled' if row.disabled else 'forced down'
        if idle != self._idle:
            LOG.warning('Conductor %s %s', self.server, 'takes work again.' if idle is None else
                        f'is {idle}{_because(row.disabled_reason)}; it takes no work.')
            self._idle = idle
        if row.state == conductors.DRAINING and self._state == conductors.UP:
            self._told_to_drain()
        elif row.state != self._state:
            self._set_state(self._state)      # the database was down, or it has just registered

    def holds(self, incarnation):
        """Whether work of that incarnation may still act on an engine.

        By a clock of this machine alone: the last renewal must have begun less than a lease,
        less a margin, ago.  Nobody declares it dead before a whole lease is over.
        """
        margin = self._seconds / 5
        return (incarnation == self.uuid and not self._stop.is_set()
                and self._clock() - self._renewed_at < self._seconds - margin)

    def may_claim(self):
        """Whether new work may be taken: actions, pulls, what others left, reconciling."""
        return (self._idle is None and self._state == conductors.UP
                and self.holds(self.uuid))

    @property
    def is_beating(self):
        """Whether the thread that renews it is alive."""
        return self._thread.is_alive()

    def drain(self):
        """Take no new work; what runs goes on, and so do the renewals."""
        self._state = conductors.DRAINING
        self._set_state(conductors.DRAINING)

    def let_go(self):
        """From now on nothing of ours may act on an engine any more."""
        self._stop.set()

    def stop(self):
        """End the registration; what still runs may be taken over at once."""
        self.let_go()
        self._thread.join(5)
        self._set_state(conductors.GONE)

    def _set_state(self, state):
        try:
            self._db.transact(lambda conn: conductors.set_state(conn, self.uuid, state),
                              run_again)
        except exceptions.DatabaseUnavailable:
            LOG.warning('Cannot tell the database that this conductor is %s; others find out '
                        'by themselves.', state)


def _because(reason):
    return f' ({reason})' if reason else ''
