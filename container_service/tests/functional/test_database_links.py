# SPDX-License-Identifier: Apache-2.0
"""A link to the database that is cut, silent, or loses answers: every wait ends, nothing is done
twice, and nothing is said that is not true."""

import contextlib
import threading
import time

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import base
from container_service.db import connections
from container_service.db import outages
from container_service.db import settings
from container_service.db.models import settings as table
from container_service.tests import base as tests
from container_service.tests import fixtures
from container_service.tests import links
from faults import proxy

# Seconds that an answer may take in these tests, and what may be lost to a slow machine.
ANSWER, SLACK = 1.5, 4.0


class Linked:
    """``self.far`` is the database behind the link, ``self.db`` the same without it."""

    def setUp(self):
        super().setUp()
        self.db.transact(lambda conn: conn.execute(
            table.delete().where(table.c.name != settings.DEPLOYMENT)))
        self.link, url = self.useFixture(links.Links()).to_database(
            self.db.engine.url.render_as_string(hide_password=False))
        self.far = base.Database(
            self.useFixture(fixtures.Conf(database_connection=url)).conf, ANSWER)
        self.addCleanup(self.far.dispose)

    def read(self):
        with self.far.read() as conn:
            return conn.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()

    def insert(self, name):
        return lambda conn: conn.execute(
            table.insert().values(name=name, value='0')).rowcount == 1

    def find(self, name):
        return lambda conn: conn.execute(
            sa.select(table.c.value).where(table.c.name == name)).scalar()

    def add(self, name):
        return lambda conn: conn.execute(
            table.update().where(table.c.name == name)
            .values(value=sa.cast(sa.cast(table.c.value, sa.Integer) + 1, sa.String(10)))
        ).rowcount == 1

    @contextlib.contextmanager
    def within(self, seconds):
        began = time.monotonic()
        yield
        self.assertLess(time.monotonic() - began, seconds)

    def assert_unavailable(self, do, seconds):
        with self.within(seconds):
            error = self.assertRaises(exceptions.DatabaseUnavailable, do)
        self.assertEqual((503, 'database_unavailable'), (error.status, error.code))
        self.assertTrue(error.retry_after)
        return error

    # Down

    def test_a_link_that_is_cut(self):
        self.read()
        self.link.cut()
        for _ in range(3):
            self.assert_unavailable(self.read, 0.5)
            self.assert_unavailable(lambda: self.far.transact(self.insert('a')), 0.5)

    def test_the_first_request_after_a_restart_does_not_fail(self):
        """Although the connections of the pool died with the server."""
        barrier = threading.Barrier(5, timeout=10)

        def hold():
            with self.far.read():
                barrier.wait()

        threads = [threading.Thread(target=hold) for _ in range(4)]
        for thread in threads:
            thread.start()
        barrier.wait()
        for thread in threads:
            thread.join()
        self.link.cut()
        self.link.heal()
        for _ in range(8):
            self.read()
        self.far.transact(self.insert('a'))
        self.assertEqual(4, self.link.counters.broken)

    def test_a_connection_lost_in_mid_transaction(self):
        """Nothing was committed, so it runs again."""
        runs = []

        def unit(conn):
            runs.append(1)
            self.insert('a')(conn)
            if len(runs) == 1:
                self.link.cut()
                self.link.heal()
            return self.add('a')(conn)

        self.assertTrue(self.far.transact(unit))
        with self.db.read() as conn:
            self.assertEqual((2, '1'), (len(runs), self.find('a')(conn)))

    # Silent

    def test_a_link_that_passes_nothing(self):
        self.read()
        self.link.stall()
        self.assert_unavailable(self.read, ANSWER + SLACK)
        # What is known to be silent is not waited for by everybody.
        for _ in range(5):
            self.assert_unavailable(self.read, 0.2)
        self.link.heal()
        fixtures.eventually(self.answers, outages.Silence.PAUSE + 5)

    def answers(self):
        try:
            return self.read() > 0
        except exceptions.DatabaseUnavailable:
            return False

    def test_a_new_connection_over_it(self):
        self.link.stall()
        self.assert_unavailable(
            self.read, max(ANSWER, connections.CONNECT_SECONDS) + SLACK)

    def test_a_connection_that_was_idle(self):
        self.read()
        self.link.stall()
        time.sleep(connections._IDLE_SECONDS)
        self.assert_unavailable(self.read, ANSWER + SLACK)

    def test_answers_that_do_not_come_back(self):
        """The other way is open: what was asked is done, and must be known to be unknown."""
        self.far.transact(self.insert('a'))

        def unit(conn):
            changed = self.add('a')(conn)
            self.link.stall(proxy.DOWN)
            return changed

        with self.within(3 * ANSWER + SLACK):
            error = self.assertRaises(exceptions.OutcomeUnknown, self.far.transact, unit)
        self.assertEqual((503, 'outcome_unknown'), (error.status, error.code))
        with self.db.read() as conn:
            self.assertEqual('1', self.find('a')(conn))

    def test_a_transaction_that_was_cut_off_holds_its_locks_for_moments_only(self):
        self.far.transact(self.insert('a'))
        locked, end = threading.Event(), threading.Event()
        self.addCleanup(end.set)

        def unit(conn):
            self.add('a')(conn)
            self.link.stall()
            locked.set()
            end.wait(30)

        cut_off = fixtures.background(self.far.transact, unit)
        self.assertTrue(locked.wait(10))
        with self.within(2 * ANSWER + 2 + SLACK):
            self.db.transact(self.add('a'))
        end.set()
        self.assertIsInstance(cut_off.exception(30), exceptions.OutcomeUnknown)

    # Slow

    def hold(self, name, seconds):
        """Lock a row for so long; returns when it is locked."""
        locked = threading.Event()

        def unit(conn):
            self.add(name)(conn)
            locked.set()
            time.sleep(seconds)

        holder = fixtures.background(self.db.transact, unit)
        self.addCleanup(holder.result, 30)
        self.assertTrue(locked.wait(10))

    def test_a_lock_that_others_hold(self):
        self.far.transact(self.insert('a'))
        self.hold('a', ANSWER * 0.7)
        self.assertTrue(self.far.transact(self.add('a')))

    def test_for_too_long(self):
        self.far.transact(self.insert('a'))
        self.hold('a', 2 * ANSWER + SLACK)
        error = self.assert_unavailable(
            lambda: self.far.transact(self.add('a')), 2 * ANSWER + SLACK)
        self.assertIn('busy', error.detail)

    def test_a_statement_that_takes_too_long(self):
        """The server ends it before we stop waiting, so that nothing goes on unseen."""
        def read():
            with self.far.read() as conn:
                conn.execute(sa.text(self.sleep))

        error = self.assert_unavailable(read, ANSWER + SLACK)
        self.assertIn('busy', error.detail)
        self.read()

    # Answers that are lost

    def test_lost_answers_to_commits(self):
        self.link.lose_commit_answer(0.3)
        for number in range(40):
            self.assertTrue(self.far.transact(
                self.insert(f'row{number}'), self.find(f'row{number}')))
        self.assertGreater(self.link.counters.commits_lost, 3)
        with self.db.read() as conn:
            self.assertEqual(40, conn.execute(sa.select(sa.func.count()).where(
                table.c.name.like('row%'))).scalar_one())

    def test_every_answer_to_a_commit_is_lost(self):
        """Landed or not is asked by reading, which commits nothing."""
        self.link.lose_commit_answer()
        self.assertEqual('0', self.far.transact(self.insert('a'), self.find('a')))
        error = self.assertRaises(exceptions.OutcomeUnknown, self.far.transact, self.insert('b'))
        self.assertIn('Idempotency-Key', error.hint)

    def test_what_cannot_be_stored(self):
        def unit(conn):
            conn.exec_driver_sql(self.read_only)
            self.insert('a')(conn)

        error = self.assert_unavailable(lambda: self.far.transact(unit), 5)
        self.assertIn('read-only', error.detail)


class TestMariaDB(Linked, tests.ServerDatabaseMixin, tests.DatabaseTestCase):
    kind = 'mysql'
    sleep = 'SELECT SLEEP(20)'
    read_only = 'START TRANSACTION READ ONLY'


class TestPostgreSQL(Linked, tests.ServerDatabaseMixin, tests.DatabaseTestCase):
    kind = 'postgresql'
    sleep = 'SELECT pg_sleep(20)'
    read_only = 'SET TRANSACTION READ ONLY'
