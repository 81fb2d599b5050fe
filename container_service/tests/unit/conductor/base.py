# SPDX-License-Identifier: Apache-2.0
"""A conductor on the bench: its parts without its threads, its clocks in the test's hand."""

from container_service.conductor import attempts
from container_service.conductor import inflight
from container_service.conductor import lease
from container_service.conductor import service
from container_service.db import conductors
from container_service.db import containers
from container_service.db import settings
from container_service.db.base import now
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import fixtures

WORKERS = 2


class Bench(service.Conductor):
    """One conductor; ``sweep()`` carries everything out in the calling thread."""

    def __init__(self, case, **values):
        conf, db = case.conf, case.db
        for name, value in {'executor': 'synchronous', 'workers': WORKERS, **values}.items():
            conf.set_override(name, value, group='conductor')
        super().__init__(conf, db, bus=None)
        self.clock = fixtures.Clock()
        slot = lease.Slot(conf.state_path)
        case.addCleanup(slot.release)
        self.put_together(slot, settings.deployment(db), self.clock, self.clock)
        self.passed_on = []
        self.prober._pool = inflight.futurist.SynchronousExecutor()
        self.reconciler.start = lambda observer: None
        self.lease.start()
        case.addCleanup(self.lease.stop)

    def pass_on(self, container_uuid):
        self.passed_on.append(container_uuid)


    def reconcile(self):
        """Take what bays are free, and make a full pass over all that are watched here."""
        self.engines.reread()
        self.reconciler()
        self.engines.reread()
        for observer in self.reconciler.observers.values():
            observer.ask_for_pass()
        self.work()

    def hear(self):
        """Take what the engines have told since, and look at that."""
        for observer in self.reconciler.observers.values():
            # What was before is as good as what comes: a bench follows no stream meanwhile.
            observer._seen_event = observer._seen_event or 0
            observer.follow(False, quiet_seconds=0)
        self.work()

    def work(self):
        """Do what is due at the bays that are watched, and soon."""
        self.clock.advance(2)
        self.lease.renew()
        for observer in self.reconciler.observers.values():
            observer.work()


class BenchCase(base.DatabaseTestCase):
    """``self.here`` is a conductor, ``self.engine`` the engine of the one bay."""

    def setUp(self):
        super().setUp()
        # What is told of an attempt is written at the next look.
        self.patch(attempts, 'SETTLED', 0)
        # Renewals are up to the test.
        self.conf.set_override('heartbeat_interval', 3600, group='conductor')
        self.engine = fake.FakeEngine.get(self.conf.host)
        self.addCleanup(fake.FakeEngine.forget, self.conf.host)
        self.engine.sleep = lambda seconds: None
        self.engine.images.add(base.IMAGE)      # tests of pulls take another one
        self.place = self.make_bay()
        self.here = Bench(self)

    def another(self):
        """A second conductor on the same host."""
        return Bench(self)

    def die(self, bench):
        """Let a conductor be silent for a lease, and be declared dead."""
        bench.clock.advance(self.conf.conductor.lease)
        self.assertTrue(self.db.transact(
            lambda conn: conductors.declare_dead(conn, bench.lease.uuid)))

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
