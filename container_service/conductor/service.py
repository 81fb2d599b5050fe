# SPDX-License-Identifier: Apache-2.0
"""The daemon: puts the parts of a conductor together, starts them and stops them in order."""

import threading
import time

from futurist import periodics
from oslo_log import log

from container_service import exceptions
from container_service import lifecycle
from container_service import notifications
from container_service import pulls
from container_service import ring
from container_service import rpc
from container_service import secrets
from container_service.conductor import attempts
from container_service.conductor import endpoint
from container_service.conductor import engines
from container_service.conductor import fair
from container_service.conductor import health
from container_service.conductor import inflight
from container_service.conductor import lease
from container_service.conductor import peers
from container_service.conductor import puller
from container_service.conductor import reconcile
from container_service.conductor import runner
from container_service.conductor import sweep
from container_service.db import actions
from container_service.db import conductors
from container_service.db import containers
from container_service.db import pulls as pull_rows
from container_service.db import settings
from container_service.drivers import base

LOG = log.getLogger(__name__)

_PURGE_INTERVAL = 3600
_WATCH_INTERVAL = 0.5

# Most seconds that leaving the message bus may take.
_UNLISTEN = 5

# Seconds for an action that was aborted to notice it.
_ABORT = 5


class Conductor:
    """One conductor.  ``start`` returns when it takes work; ``stop`` when it has let go of it."""

    def __init__(self, conf, db, bus):
        self._conf, self._db, self._bus = conf, db, bus
        self._notifier = notifications.Notifier(conf)
        db.tell = self._notifier.tell
        self._servers, self._workers, self._threads = [], [], []
        self.health = health.Health(conf.conductor, db)
        self._drains_since = None

    def start(self):
        """Register, listen, look for work.  Raises DatabaseUnavailable."""
        deployment = settings.deployment(self._db)
        self.put_together(lease.Slot(self._conf.state_path), deployment)
        self.health.start(self.slot.number)
        self.lease.start()
        conf = self._conf.conductor
        self._bell = rpc.Doorbell(self._bus, self._peer_for)
        self._every(min(1.0, conf.heartbeat_interval / 3), self.peers)
        self._every(conf.poll_interval, self.sweep)
        self._every(_WATCH_INTERVAL, self.watch)
        self._every(min(1.0, conf.probe_interval), self.prober)
        self._every(min(2.0, conf.reconcile_interval), self.reconciler)
        self._every(_PURGE_INTERVAL, self.sweep.purge)
        self._listen(endpoint.Wake(self.inflight, self.pass_on, self.pulling),
                     endpoint.Ask(self._db, self.engines, deployment, secrets.Keys(self._conf)))
        self.health.watch(self.lease)
        LOG.info('Conductor %s is up as %s', self.lease.server, self.lease.uuid)

    def put_together(self, slot, deployment, clock=time.monotonic, elapsed=lease.elapsed):
        """Make the parts; nothing runs yet, and nothing is written."""
        whole, conf, db = self._conf, self._conf.conductor, self._db
        self.slot = slot
        self.lease = lease.Lease(db, whole, slot, self._report, self.drain, elapsed)
        self.engines = engines.Engines(db, whole, clock)
        self.ring = ring.Ring(db)
        self.watch = attempts.Watch(db, self.lease)
        self.fair = fair.FairPick(db, clock)
        self.runner = runner.Runner(
            db, whole, self.engines, self.lease, self.watch, deployment,
            admit=lambda *which: self.inflight.admit(*which),
            pull=lambda pull_uuid: self.pulling.wake(pull_uuid))
        self.inflight = inflight.InFlight(
            conf.executor, conf.workers, self.runner.work, self._pick,
            bays=lambda: self.engines.count, policy=conf.saturation_policy,
            left=self.pass_on)
        self.puller = puller.Puller(
            db, whole, self.engines, self.lease, self.watch, wake=self.inflight.wake)
        self.pulling = inflight.InFlight(
            conf.executor, conf.pull_workers, self.puller.work, self.puller.pick)
        self.sweep = sweep.Sweep(db, whole, self.engines, self.lease, self.inflight,
                                 self.pulling, self._pick)
        self.peers = peers.Peers(db, whole, self.lease, slot, self.sweep.after_a_death, clock)
        self.prober = engines.Prober(
            self.engines, conf.probe_interval, self.sweep.wake, clock)
        self.reconciler = reconcile.Reconciler(
            db, whole, self.engines, self.lease, deployment, clock, self.inflight.wake)

    def _pick(self, leave_out):
        """The container whose turn it is among those that may run now, or None."""
        if not self.lease.may_claim():
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
                'is_full': int(self.inflight.is_full), 'queued': self.sweep.queued,
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

    def drain(self):
        """Take nothing new; what runs may take ``drain_timeout`` seconds.  Returns at once."""
        if self._drains_since is not None:
            return
        LOG.info('Conductor %s drains; %d containers in flight', self.lease.server,
                 len(self.inflight))
        self.health.stopping = True
        self._drains_since = time.monotonic()
        self.inflight.drain()
        self.pulling.drain()
        self.lease.drain()

    @property
    def drained(self):
        """Whether it was told to drain and is through with it, or the time for that is over."""
        if self._drains_since is None:
            return False
        return (not len(self.inflight) and not len(self.pulling)
                or self._drains_for() >= self._conf.conductor.drain_timeout)

    def _drains_for(self):
        return time.monotonic() - self._drains_since

    def stop(self):
        """Take nothing new, let what runs end, hand back what does not."""
        patience = 0 if self.drained else self._conf.conductor.shutdown_timeout
        self.drain()
        self.reconciler.stop()
        left = self._let_end(patience)
        if left:
            self.watch.abort_all(exceptions.Fenced('This conductor stops.'))
            left = self._let_end(_ABORT)
        # Before anything else looks for what is ours and not in flight.
        for worker in self._workers:
            worker.stop()
        self.lease.let_go()
        self._hand_back(left)
        self.lease.stop()
        self._linger()
        self._stop_listening()
        for thread in self._threads:
            thread.join(5)
        self.reconciler.join(1)
        self.health.stop()
        self._bell.stop()
        self._notifier.stop()
        self.slot.release()

    def _let_end(self, seconds):
        """Wait for what runs; returns what still does."""
        until = time.monotonic() + seconds
        left = self.inflight.stop(seconds)
        return left | self.pulling.stop(max(0, until - time.monotonic()))

    def _linger(self):
        """Wait until nobody rings here any more, so that no wake is lost: peers are rung."""
        try:
            with self._db.read() as conn:
                alone = not conductors.live(conn)
        except exceptions.DatabaseUnavailable:
            return
        if not alone:
            time.sleep(max(0, ring.FRESH - self._drains_for()))

    def _hand_back(self, left):
        """Queue what SQL says that we run, for others; ``left`` is what a thread is still at."""
        try:
            with self._db.read() as conn:
                running = actions.of_conductor(conn, self.lease.uuid)
                pulled = pull_rows.of_conductor(conn, self.lease.uuid)
            for row in running:
                # What a thread of ours is still waiting for may yet happen on the engine.
                delay = self._longest_call(row.bay_uuid) if row.resource_uuid in left else 0
                if lifecycle.hand_back(self._db, row, delay):
                    LOG.warning('Handed back action %s: %s of container %s', row.uuid,
                                row.operation, row.resource_uuid)
                    self.pass_on(row.resource_uuid)
            pulls.release(self._db, pulled)
        except exceptions.DatabaseUnavailable:
            LOG.warning('Cannot hand back what still runs here; it is taken over when this '
                        'conductor is seen to be dead.')

    def _longest_call(self, bay_uuid):
        try:
            return self.engines.driver(bay_uuid).call_timeout_seconds
        except exceptions.Error:
            return base.Driver.call_timeout_seconds

    def pass_on(self, container_uuid):
        """Ring a peer for a container that this conductor does not work on any more."""
        self._bell.ring(container_uuid, None)

    def _peer_for(self, container_uuid, _):
        with self._db.read() as conn:
            row = containers.by_uuid(conn, container_uuid)
        chosen = self.ring.choose(container_uuid, row.bay_uuid) if row else None
        return None if chosen == self.lease.server else chosen
