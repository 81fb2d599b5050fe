# SPDX-License-Identifier: Apache-2.0
"""The daemon: puts the parts of a conductor together, starts them and stops them in order."""

import threading
import time

from futurist import periodics
from oslo_log import log

from container_service import exceptions
from container_service import rpc
from container_service.conductor import attempts
from container_service.conductor import endpoint
from container_service.conductor import engines
from container_service.conductor import fair
from container_service.conductor import inflight
from container_service.conductor import lease
from container_service.conductor import puller
from container_service.conductor import reconcile
from container_service.conductor import runner
from container_service.conductor import sweep
from container_service.db import settings

LOG = log.getLogger(__name__)

_PURGE_INTERVAL = 3600
_WATCH_INTERVAL = 0.5


class Conductor:
    """One conductor.  ``start`` returns when it takes work; ``stop`` when it has let go of it."""

    def __init__(self, conf, db, bus):
        self._conf, self._db, self._bus = conf, db, bus
        self._servers, self._workers, self._threads = [], [], []

    def start(self):
        """Register, listen, look for work.  Raises DatabaseUnavailable."""
        self._deployment = settings.deployment(self._db)
        self._slot = lease.Slot(self._conf.state_path)
        self._lease = lease.Lease(self._db, self._conf, self._slot, self._report)
        self._engines = engines.Engines(self._db, self._conf.host)
        self._watch = attempts.Watch(self._db, self._lease)
        self._make_pools()
        self._sweep = sweep.Sweep(self._db, self._conf, self._engines, self._lease,
                                  self._inflight, self._pulling, self._pick)
        self.reconciler = reconcile.Reconciler(
            self._db, self._conf, self._engines, self._deployment)
        self._lease.start()
        conf = self._conf.conductor
        self._every(conf.poll_interval, self._sweep)
        self._every(_WATCH_INTERVAL, self._watch)
        self._every(min(1.0, conf.probe_interval),
                    engines.Prober(self._engines, conf.probe_interval, self._sweep.wake))
        self._every(min(2.0, conf.reconcile_interval), self.reconciler)
        self._every(_PURGE_INTERVAL, self._sweep.purge)
        self._listen()
        LOG.info('Conductor %s is up as %s', self._lease.server, self._lease.uuid)

    def _make_pools(self):
        conf = self._conf.conductor
        self._fair = fair.FairPick(self._db)
        self._runner = runner.Runner(
            self._db, self._conf, self._engines, self._lease, self._watch, self._deployment,
            admit=lambda *which: self._inflight.admit(*which),
            pull=lambda pull_uuid: self._pulling.wake(pull_uuid))
        self._inflight = inflight.InFlight(
            conf.executor, conf.workers, self._runner.work, self._pick,
            bays=lambda: len(self._engines.served()), policy=conf.saturation_policy)
        self._puller = puller.Puller(
            self._db, self._conf, self._engines, self._lease, self._watch,
            wake=self._inflight.wake)
        self._pulling = inflight.InFlight(
            conf.executor, conf.pull_workers, self._puller.work, self._puller.pick)

    def _pick(self, leave_out):
        """The container whose turn it is among those that may run now, or None."""
        if not self._lease.holds(self._lease.uuid):
            return None
        try:
            urgent_only, sated = self._inflight.room()
            bays = self._engines.available()
            found = self._fair([bay for bay in bays if bay not in sated], leave_out, urgent_only)
            if found is None and sated:
                found = self._fair(sated, leave_out, urgent_only=True)
            return found
        except exceptions.DatabaseUnavailable:
            return None             # the sweep looks again

    def _report(self):
        return {'in_flight': len(self._inflight), 'pool_full': self._inflight.full,
                'is_full': int(self._inflight.is_full),
                'saturation_policy': self._conf.conductor.saturation_policy}

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

    def _listen(self):
        """Listen on both topics, in the background: a broker that is down stops nothing."""

        def start():
            for topic, target in (
                    (rpc.WAKE_TOPIC, endpoint.Wake(self._inflight)),
                    (rpc.ASK_TOPIC, endpoint.Ask(self._db, self._engines, self._deployment))):
                server = rpc.server(self._bus, topic, self._lease.server, target)
                # Waits for a broker that is down, until it is up.
                server.start()
                # One that has not started cannot be stopped: it would wait for its start.
                self._servers.append(server)

        threading.Thread(target=start, name='listen', daemon=True).start()

    def stop(self):
        """Take nothing new, let what runs end, hand over what does not."""
        LOG.info('Conductor %s stops; %d containers in flight', self._lease.server,
                 len(self._inflight))
        self._lease.drain()
        for server in self._servers:
            server.stop()
        for worker in self._workers:
            worker.stop()
        until = time.monotonic() + self._conf.conductor.shutdown_timeout
        left = self._inflight.stop(self._conf.conductor.shutdown_timeout)
        left |= self._pulling.stop(max(0, until - time.monotonic()))
        if left:
            LOG.warning('Still in flight, to be taken over: %s', ', '.join(sorted(left)))
        for thread in self._threads:
            thread.join(5)
        self._lease.stop()
        self._slot.release()
