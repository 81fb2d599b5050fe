# SPDX-License-Identifier: Apache-2.0
"""A conductor on the bench: its parts without its threads, its clocks in the test's hand."""

from container_service.conductor import engines
from container_service.conductor import inflight
from container_service.conductor import lease
from container_service.conductor import reconcile
from container_service.conductor import runner
from container_service.conductor import sweep
from container_service.db import conductors
from container_service.db import containers
from container_service.db import settings
from container_service.db.base import now
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import fixtures

WORKERS = 2


class Bench:
    """One conductor; ``sweep()`` carries everything out in the calling thread."""

    def __init__(self, case):
        conf, db = case.conf, case.db
        self.clock = fixtures.Clock()
        self.slot = lease.Slot(conf.state_path)
        case.addCleanup(self.slot.release)
        self.engines = engines.Engines(db, conf.host, self.clock)
        self.lease = lease.Lease(db, conf, self.slot, clock=self.clock)
        deployment = settings.deployment(db)
        self.runner = runner.Runner(db, conf, self.engines, self.lease, deployment)
        self.inflight = inflight.InFlight(
            'synchronous', WORKERS, self.runner.work, self.runner.pick)
        self.sweep = sweep.Sweep(db, self.engines, self.lease, self.inflight, WORKERS)
        self.reconcile = reconcile.Reconciler(db, conf, self.engines, deployment)
        self.lease.start()
        case.addCleanup(self.lease.stop)


class BenchCase(base.DatabaseTestCase):
    """``self.here`` is a conductor, ``self.engine`` the engine of the one bay."""

    def setUp(self):
        super().setUp()
        # Renewals are up to the test.
        self.conf.set_override('heartbeat_interval', 3600, group='conductor')
        self.engine = fake.FakeEngine.get(self.conf.host)
        self.addCleanup(fake.FakeEngine.forget, self.conf.host)
        self.engine.sleep = lambda seconds: None
        self.place = self.make_bay()
        self.here = Bench(self)

    def another(self):
        """A second conductor on the same host."""
        return Bench(self)

    def die(self, bench):
        """Let the lease of a conductor lapse, in the database and on its own clock."""
        self.change(conductors.table, bench.lease.uuid, lease_until=self.database_time())
        bench.clock.advance(self.conf.conductor.lease)

    def running(self, name=None, **spec):
        """A container that runs on the engine."""
        uuid = self.create(name, 'run', **spec)
        self.here.sweep()
        self.assert_at_rest(uuid, 'Running')
        return uuid

    def retry(self, bench=None):
        """Let the pause before the next attempt pass, and look for work."""
        self.let_retries_come()
        (bench or self.here).sweep()

    def let_retries_come(self):
        c = containers.table.c
        self.db.transact(lambda conn: conn.execute(
            containers.table.update().where(c.runnable_at > now()).values(runnable_at=now())))

    def meanwhile(self, function):
        """Let something happen in the middle of the next call to the engine."""
        calls = []

        def sleep(seconds):
            if not calls:
                calls.append(seconds)
                function()

        self.engine.delay, self.engine.sleep = 0.1, sleep
        self.addCleanup(lambda: self.assertTrue(calls, 'the engine was not called'))

    def effects(self, uuid):
        return [name for name, target in self.engine.effects if target == uuid]
