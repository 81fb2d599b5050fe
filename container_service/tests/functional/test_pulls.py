# SPDX-License-Identifier: Apache-2.0
"""Pulls by Docker over a line so thin that one can watch them: cancelled, shared, taken over."""

import threading
import time

import sqlalchemy as sa

from container_service import lifecycle
from container_service import states
from container_service.db import models
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests import registries

RATE = 400_000          # bytes in a second; an image takes half a minute


class TestPulls(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(fixtures.Processes(cls.database, config='shutdown_timeout = 5'))

    def setUp(self):
        super().setUp()
        self.line = self.useFixture(registries.SlowRegistry(RATE))
        self.pushed = self.useFixture(registries.Image())
        self.image = f'{self.line.address}/{self.pushed.name}:latest'
        self.addCleanup(self.remove_image)

    def remove_image(self):
        # A pull that a failed test left behind would bring it back.
        self.line.rate = None
        engine = self.processes.engine
        if self.has_image():
            for container in engine.containers.list(all=True, filters={'ancestor': self.image}):
                container.remove(force=True)
            engine.images.remove(self.image)

    def has_image(self):
        return self.image in fixtures.image_tags(self.processes.engine)

    def pulling(self, action):
        """The action once bytes of layers are shown on it."""
        def look():
            shown = self.caller.action(action)
            self.assertNotIn(shown['status'], states.FINAL, shown)
            return shown if (shown['progress'] or {}).get('bytes', 0) > 0 else None

        shown = fixtures.eventually(look, 30, 0.1)
        self.assertEqual(('queued', 'shared_pull'),
                         (shown['status'], shown['waiting']['code']))
        self.assertIn(' of 3 layers', shown['waiting']['detail'])
        return shown

    def pulls(self):
        """Rows of the pulls of the image, oldest first."""
        with self.processes.db.read() as conn:
            return conn.execute(
                sa.select(models.pulls).where(models.pulls.c.image == self.image)
                .order_by(models.pulls.c.id)).all()

    def assert_pulled_once(self):
        for layer in self.pushed.layers:
            self.assertEqual(1, sum(path.endswith(layer)
                                    for path in self.line.asked_for('blobs')), self.line.requests)

    def test_cancelled(self):
        web = self.caller.create(self.image)
        shown = self.pulling(web['action'])
        self.assertTrue(shown['cancellable'])
        before = self.line.sent
        time.sleep(1)
        self.assertGreater(self.line.sent, before + RATE / 4, 'nothing flows')

        began = time.monotonic()
        self.caller.cancel(web['action'])
        ended = self.caller.wait(web['action'])
        told = time.monotonic() - began
        # For longer than Docker may take to give up, and then not one byte more.
        time.sleep(4)
        flowed, sent = self.line.sent_at - began, self.line.sent
        time.sleep(1)
        self.assertEqual(sent, self.line.sent)
        self.assertLess(flowed, 4)
        self.note(f'cancelled: said so after {told:.2f} s, last byte after {max(flowed, 0):.2f} s,'
                  f' {sent} of 12000000 bytes')

        self.assertEqual((states.CANCELLED, 'cancelled'),
                         (ended['status'], ended['error']['code']))
        self.assertIn('nothing had been made. The pull was ended.', ended['error']['detail'])
        container = self.caller.show(web)
        self.assertEqual(('Error', 'create cancelled', None), (
            container['status'], container['status_reason'], container['task_state']))
        self.assertEqual([], self.on_engine(web))
        self.assertFalse(self.has_image())
        fixtures.eventually(lambda: [row.status for row in self.pulls()] == [states.CANCELLED])

        # It has left nothing behind that would be in the way of the next.
        self.line.rate = None
        again = self.caller.create(self.image)
        self.succeeded(again['action'], 60)
        self.succeeded(self.caller.ask(web, 'delete'))

    def test_shared(self):
        """Five containers, one pull; four are cancelled and the fifth gets it all the same."""
        webs = [self.caller.create(self.image) for _ in range(5)]
        shown = [self.pulling(web['action']) for web in webs]
        self.assertEqual(1, len(self.pulls()))
        self.assertEqual(1, len({one['progress']['bytes_total'] for one in shown}), shown)
        last = webs.pop(2)
        for web in webs:
            ended = self.caller.cancel(web['action'])
            self.assertEqual(states.CANCELLED, ended['status'])
            self.assertIn('The pull goes on for others.', ended['error']['detail'])
        before = self.line.sent
        time.sleep(2.5)
        self.assertGreater(self.line.sent, before + RATE / 2, 'the pull was ended')
        self.assertEqual(['running'], [row.status for row in self.pulls()])
        self.line.rate = None
        self.succeeded(last['action'], 60)
        self.assertEqual('Created', self.caller.show(last)['status'])
        self.assert_pulled_once()
        self.assertLessEqual(len(self.line.asked_for('manifests')), 2, self.line.requests)
        self.note(f'shared: 5 creates asked the registry for '
                  f'{len(self.line.asked_for("manifests"))} manifests, '
                  f'{len(self.line.asked_for("blobs"))} blobs')
        for web in (*webs, last):
            self.succeeded(self.caller.ask(web, 'delete'))

    def test_the_last_that_waits_ends_it(self):
        webs = [self.caller.create(self.image) for _ in range(3)]
        for web in webs:
            self.pulling(web['action'])
        *firsts, last = [self.caller.cancel(web['action']) for web in webs]
        began = time.monotonic()
        self.assertEqual(
            [False, False, True],
            ['The pull was ended.' in one['error']['detail'] for one in (*firsts, last)])
        time.sleep(3)
        self.assertLess(self.line.sent_at - began, 3)

    def test_its_conductor_is_killed(self):
        """The pull is taken over, what waits for it goes on, and nothing is made twice."""
        webs = [self.caller.create(self.image) for _ in range(3)]
        for web in webs:
            self.pulling(web['action'])
        killed = self.processes.conductors[-1]
        killed.kill()

        # With nobody there, what only waits can still be cancelled, at once.
        cancelled = self.caller.cancel(webs[0]['action'])
        self.assertEqual(states.CANCELLED, cancelled['status'])
        # And it is told from one that is slow.
        fixtures.eventually(
            lambda: self.caller.action(webs[1]['action'])['waiting']['code'] == 'shared_pull')

        began = time.monotonic()
        self.line.rate = None
        self.processes.conductors.append(self.processes.start_conductor())
        for web in webs[1:]:
            self.succeeded(web['action'], 60)
        self.note(f'killed in mid pull: created {time.monotonic() - began:.1f} s after the start '
                  f'of another conductor')
        pull, = self.pulls()
        self.assertEqual((states.SUCCEEDED, 2), (pull.status, pull.attempts))
        self.assertEqual([0, 1, 1], [len(self.on_engine(web)) for web in webs])
        for web in webs:
            self.succeeded(self.caller.ask(web, 'delete'))


class BegunAtOnce:
    """Needs a DatabaseTestCase on a server."""

    WAITERS = 8

    def test_those_that_find_an_image_absent_at_once_share_one_pull(self):
        self.make_bay()
        for number in range(10):
            claims = [self.claim(self.create(image=f'image:{number}'))
                      for _ in range(self.WAITERS)]
            start = threading.Barrier(self.WAITERS, timeout=30)

            def join(claim, start=start):
                start.wait()
                return lifecycle.wait_for_pull(self.db, claim)

            joined = deployed.together([lambda claim=claim: join(claim) for claim in claims])
            with self.db.read() as conn:
                begun = conn.execute(sa.select(models.pulls.c.uuid).where(
                    models.pulls.c.image == f'image:{number}')).scalars().all()
            self.assertEqual(1, len(begun))
            self.assertEqual({begun[0]}, set(joined))


class TestBegunAtOnceOnMariaDB(
        BegunAtOnce, base.ServerDatabaseMixin, base.DatabaseTestCase):

    kind = 'mysql'


class TestBegunAtOnceOnPostgreSQL(
        BegunAtOnce, base.ServerDatabaseMixin, base.DatabaseTestCase):

    kind = 'postgresql'
