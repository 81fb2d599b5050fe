# SPDX-License-Identifier: Apache-2.0
"""The daemon: puts the parts of a conductor together, starts them and stops them in order."""

import threading
import time

from futurist import periodics
from oslo_log import log

from container_service import exceptions
from container_service import rpc
from container_service.conductor import endpoint
from container_service.conductor import engines
from container_service.conductor import inflight
from container_service.conductor import lease
from container_service.conductor import reconcile
from container_service.conductor import runner
from container_service.conductor import sweep
from container_service.db import settings

LOG = log.getLogger(__name__)

_PURGE_INTERVAL = 3600

# Most seconds that leaving the message bus may take.
_UNLISTEN = 5


class Conductor:
    """One conductor.  ``start`` returns when it takes work; ``stop`` when it has let go of it."""

    def __init__(self, conf, db, bus):
        self._conf, self._db, self._bus = conf, db, bus
        self._servers, self._workers, self._threads = [], [], []

    def start(self):
        """Register, listen, look for work.  Raises DatabaseUnavailable."""
        conf, db = self._conf, self._db
        deployment = settings.deployment(db)
        self._slot = lease.Slot(conf.state_path)
        self._engines = engines.Engines(db, conf.host)
        self._lease = lease.Lease(db, conf, self._slot, self._report)
        self._runner = runner.Runner(db, conf, self._engines, self._lease, deployment)
        self._inflight = inflight.InFlight(
            conf.conductor.executor, conf.conductor.workers, self._runner.work,
            self._runner.pick)
        self._sweep = sweep.Sweep(
            db, self._engines, self._lease, self._inflight, conf.conductor.workers)
        self.reconciler = reconcile.Reconciler(db, conf, self._engines, deployment)
        self._lease.start()
        self._every(conf.conductor.poll_interval, self._sweep)
        self._every(_PURGE_INTERVAL, self._sweep.purge)
        self._every(min(2.0, conf.conductor.reconcile_interval), self.reconciler)
        self._listen(deployment)
        LOG.info('Conductor %s is up as %s', self._lease.server, self._lease.uuid)

    def _report(self):
        return {'in_flight': len(self._inflight), 'pool_full': self._inflight.full}

    def _every(self, seconds, task):
        """Run a task in a thread of its own, over and over; it survives its exceptions."""

        @periodics.periodic(seconds, run_immediately=True)
        def run():
            try:
                task()
            except exceptions.DatabaseUnavailable:
                pass                  # told by the database layer; tried again next time

        worker = periodics.PeriodicWorker([(run, (), {})])
        thread = threading.Thread(target=worker.start, daemon=True,
                                  name=getattr(task, '__name__', type(task).__name__).lower())
        thread.start()
        self._workers.append(worker)
        self._threads.append(thread)

    def _listen(self, deployment):
        """Listen on both topics, in the background: a broker that is down stops nothing."""

        def start():
            for topic, target in (
                    (rpc.WAKE_TOPIC, endpoint.Wake(self._inflight)),
                    (rpc.ASK_TOPIC, endpoint.Ask(self._db, self._engines, deployment))):
                server = rpc.server(self._bus, topic, self._lease.server, target)
                # Waits for a broker that is down, until it is up.
                server.start()
                # One that has not started cannot be stopped: it would wait for its start.
                self._servers.append(server)

        threading.Thread(target=start, name='listen', daemon=True).start()

    def _stop_listening(self):
        # With a broker that is down it lasts as long as that is down, and nothing depends on it:
        # the in-flight map takes nothing new, and a wake is only a doorbell.
        threads = [threading.Thread(target=server.stop, name='unlisten', daemon=True)
                   for server in self._servers]
        for thread in threads:
            thread.start()
        until = time.monotonic() + _UNLISTEN
        for thread in threads:
            thread.join(max(0, until - time.monotonic()))

    def stop(self):
        """Take nothing new, let what runs end, hand over what does not."""
        LOG.info('Conductor %s stops; %d containers in flight', self._lease.server,
                 len(self._inflight))
        self._lease.drain()
        self._stop_listening()
        for worker in self._workers:
            worker.stop()
        left = self._inflight.stop(self._conf.conductor.shutdown_timeout)
        if left:
            LOG.warning('Still in flight, to be taken over: %s', ', '.join(sorted(left)))
        for thread in self._threads:
            thread.join(5)
        self._lease.stop()
        self._slot.release()
