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
from container_service.conductor import health
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

# Most seconds that leaving the message bus may take.
_UNLISTEN = 5


class Conductor:
    """One conductor.  ``start`` returns when it takes work; ``stop`` when it has let go of it."""

    def __init__(self, conf, db, bus):
        self._conf, self._db, self._bus = conf, db, bus
        self._servers, self._workers, self._threads = [], [], []
        self.health = health.Health(conf.conductor, db)

    def start(self):
        """Register, listen, look for work.  Raises DatabaseUnavailable."""
        deployment = settings.deployment(self._db)
        self.put_together(lease.Slot(self._conf.state_path), deployment)
        self.health.start(self.slot.number)
        self.lease.start()
        conf = self._conf.conductor
        self._every(conf.poll_interval, self.sweep)
        self._every(_WATCH_INTERVAL, self.watch)
        self._every(min(1.0, conf.probe_interval), self.prober)
        self._every(min(2.0, conf.reconcile_interval), self.reconciler)
        self._every(_PURGE_INTERVAL, self.sweep.purge)
        self._listen(endpoint.Wake(self.inflight),
                     endpoint.Ask(self._db, self.engines, deployment))
        self.health.watch(self.lease)
        LOG.info('Conductor %s is up as %s', self.lease.server, self.lease.uuid)

    def put_together(self, slot, deployment, clock=time.monotonic):
        """Make the parts; nothing runs yet, and nothing is written."""
        whole, conf, db = self._conf, self._conf.conductor, self._db
        self.slot = slot
        self.lease = lease.Lease(db, whole, slot, self._report, clock)
        self.engines = engines.Engines(db, whole.host, clock)
        self.watch = attempts.Watch(db, self.lease)
        self.fair = fair.FairPick(db, clock)
        self.runner = runner.Runner(
            db, whole, self.engines, self.lease, self.watch, deployment,
            admit=lambda *which: self.inflight.admit(*which),
            pull=lambda pull_uuid: self.pulling.wake(pull_uuid))
        self.inflight = inflight.InFlight(
            conf.executor, conf.workers, self.runner.work, self._pick,
            bays=lambda: self.engines.count, policy=conf.saturation_policy)
        self.puller = puller.Puller(
            db, whole, self.engines, self.lease, self.watch, wake=self.inflight.wake)
        self.pulling = inflight.InFlight(
            conf.executor, conf.pull_workers, self.puller.work, self.puller.pick)
        self.sweep = sweep.Sweep(db, whole, self.engines, self.lease, self.inflight,
                                 self.pulling, self._pick)
        self.prober = engines.Prober(
            self.engines, conf.probe_interval, self.sweep.wake, clock)
        self.reconciler = reconcile.Reconciler(db, whole, self.engines, deployment)

    def _pick(self, leave_out):
        """The container whose turn it is among those that may run now, or None."""
        if not self.lease.holds(self.lease.uuid):
            return None
        try:
            urgent_only, sated, full = self.inflight.room()
            bays = [bay for bay in self.engines.available() if bay not in full]
            found = self.fair([bay for bay in bays if bay not in sated], leave_out, urgent_only)
            if found is None:
                # What is refused when it is claimed must not be picked: it would be at once again.
                found = self.fair([bay for bay in bays if bay in sated], leave_out,
                                  urgent_only=True)
            return found
        except exceptions.DatabaseUnavailable:
            return None             # the sweep looks again

    def _report(self):
        return {'in_flight': len(self.inflight), 'pool_full': self.inflight.full,
                'is_full': int(self.inflight.is_full),
                'saturation_policy': self._conf.conductor.saturation_policy}

    def _every(self, seconds, task):
        """Run a task in a thread of its own, over and over; it survives its exceptions."""
        name = getattr(task, '__name__', type(task).__name__).lower()

        @periodics.periodic(seconds, run_immediately=True)
        def run():
            try:
                task()
            except exceptions.DatabaseUnavailable:
                pass                  # told by the database layer; tried again next time
            finally:
                self.health.came_round(name, seconds)

        worker = periodics.PeriodicWorker([(run, (), {})])
        thread = threading.Thread(target=worker.start, daemon=True, name=name)
        self.health.came_round(name, seconds)
        thread.start()
        self._workers.append(worker)
        self._threads.append(thread)

    def _listen(self, wake, ask):
        """Listen on both topics, in the background: a broker that is down stops nothing."""

        def start():
            for topic, target in ((rpc.WAKE_TOPIC, wake), (rpc.ASK_TOPIC, ask)):
                server = rpc.server(self._bus, topic, self.lease.server, target)
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
        LOG.info('Conductor %s stops; %d containers in flight', self.lease.server,
                 len(self.inflight))
        self.health.stopping = True
        self.lease.drain()
        self._stop_listening()
        for worker in self._workers:
            worker.stop()
        until = time.monotonic() + self._conf.conductor.shutdown_timeout
        left = self.inflight.stop(self._conf.conductor.shutdown_timeout)
        left |= self.pulling.stop(max(0, until - time.monotonic()))
        if left:
            LOG.warning('Still in flight, to be taken over: %s', ', '.join(sorted(left)))
        for thread in self._threads:
            thread.join(5)
        self.lease.stop()
        self.health.stop()
        self.slot.release()
