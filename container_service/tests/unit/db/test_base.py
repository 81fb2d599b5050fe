# SPDX-License-Identifier: Apache-2.0
"""Transactions: what is retried, what is told, and the database's clock."""

import datetime
import os
import threading
import time
import types

from oslo_db import exception as db_exc
import sqlalchemy as sa
from sqlalchemy.dialects import mysql
from sqlalchemy.dialects import postgresql

from container_service import exceptions
from container_service.db import base
from container_service.db import settings
from container_service.db.models import settings as table
from container_service.tests import base as tests
from container_service.tests import fixtures


class TestTransact(tests.DatabaseTestCase):

    def insert(self, name):
        return lambda conn: conn.execute(table.insert().values(name=name, value='1'))

    def names(self):
        with self.db.read() as conn:
            return set(conn.execute(sa.select(table.c.name)).scalars()) - {settings.DEPLOYMENT}

    def test_it_is_committed(self):
        self.assertEqual('result', self.db.transact(
            lambda conn: (self.insert('a')(conn), 'result')[1]))
        self.assertEqual({'a'}, self.names())

    def test_nothing_is_left_of_one_that_raised(self):
        def unit(conn):
            self.insert('a')(conn)
            raise exceptions.Fenced(container='c')

        self.assertRaises(exceptions.Fenced, self.db.transact, unit)
        self.assertEqual(set(), self.names())

    def test_what_a_statement_was_given_is_not_in_its_error(self):
        self.db.transact(self.insert('a'))
        error = self.assertRaises(db_exc.DBDuplicateEntry, self.db.transact, self.insert('a'))
        self.assertIn('INSERT INTO settings', str(error))
        self.assertNotIn("'a'", str(error))

    def test_a_deadlock_is_tried_again(self):
        runs = []

        def unit(conn):
            runs.append(1)
            self.insert('a')(conn)
            if len(runs) < 3:
                raise db_exc.DBDeadlock()

        self.db.transact(unit)
        self.assertEqual((3, {'a'}), (len(runs), self.names()))

    def test_not_for_ever(self):
        runs = []

        def unit(conn):
            runs.append(1)
            raise db_exc.DBDeadlock()

        self.patch(base.time, 'sleep', lambda seconds: None)
        error = self.assertRaises(exceptions.DatabaseUnavailable, self.db.transact, unit)
        self.assertEqual((10, 503), (len(runs), error.status))
        self.assertIn('too busy', error.detail)

    def test_an_error_that_will_not_pass_is_not(self):
        runs = []

        def unit(conn):
            runs.append(1)
            conn.exec_driver_sql('SELECT nonsense')

        self.assertRaises(sa.exc.OperationalError, self.db.transact, unit)
        self.assertEqual(1, len(runs))

    def test_writers_wait_for_each_other(self):
        """Both read, then write: neither loses the other's change, neither fails."""
        self.db.transact(self.insert('count'))
        start = threading.Barrier(4, timeout=10)
        errors = []

        def unit(conn):
            value = int(conn.execute(sa.select(table.c.value).where(
                table.c.name == 'count')).scalar_one())
            conn.execute(table.update().where(table.c.name == 'count')
                         .values(value=str(value + 1)))

        def add():
            start.wait()
            try:
                for _ in range(10):
                    self.db.transact(unit)
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=add) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], errors)
        with self.db.read() as conn:
            self.assertEqual('41', conn.execute(sa.select(table.c.value).where(
                table.c.name == 'count')).scalar_one())


class TestLostCommit(tests.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.runs, self.asked = [], []

    def unit(self, conn):
        self.runs.append(1)
        conn.execute(table.insert().values(name=f'run{len(self.runs)}', value='1'))
        return 'run'

    def landed(self, conn):
        self.asked.append(1)
        return conn.execute(sa.select(table.c.name).where(table.c.name == 'run1')).scalar()

    def test_one_that_landed_is_not_run_again(self):
        with fixtures.lost_commit(self.db, landed=True):
            self.assertEqual('run1', self.db.transact(self.unit, self.landed))
        self.assertEqual((1, 1), (len(self.runs), len(self.asked)))

    def test_one_that_did_not_is(self):
        with fixtures.lost_commit(self.db, landed=False):
            self.assertEqual('run', self.db.transact(self.unit, self.landed))
        self.assertEqual((2, 1), (len(self.runs), len(self.asked)))

    def test_where_nothing_can_tell_the_caller_learns_it(self):
        with fixtures.lost_commit(self.db, landed=True):
            self.assertRaises(exceptions.OutcomeUnknown, self.db.transact, self.unit)
        self.assertEqual(1, len(self.runs))

    def test_where_it_may_run_twice_it_does(self):
        with fixtures.lost_commit(self.db, landed=True):
            self.assertEqual('run', self.db.transact(self.unit, base.run_again))
        self.assertEqual(2, len(self.runs))

    def test_one_that_lands_late_is_found_by_what_the_second_run_meets(self):
        """Asked too early, it had not landed; then the same rows cannot be made twice."""
        def unit(conn):
            self.runs.append(1)
            conn.execute(table.insert().values(name='run1', value='1'))
            return 'run'

        def landed(conn):
            found = self.landed(conn)
            return found if len(self.asked) > 1 else None

        with fixtures.lost_commit(self.db, landed=True):
            self.assertEqual('run1', self.db.transact(unit, landed))
        self.assertEqual((2, 2), (len(self.runs), len(self.asked)))

    def test_or_by_its_finding_nothing_to_do(self):
        def unit(conn):
            return None if len(self.runs) else self.unit(conn)

        def landed(conn):
            found = self.landed(conn)
            return found if len(self.asked) > 1 else None

        with fixtures.lost_commit(self.db, landed=True):
            self.assertEqual('run1', self.db.transact(unit, landed))
        self.assertEqual((1, 2), (len(self.runs), len(self.asked)))

    def test_asking_goes_on_for_a_while(self):
        pauses = []
        self.patch(base, 'time', types.SimpleNamespace(
            sleep=pauses.append, monotonic=time.monotonic))

        def landed(conn):
            self.landed(conn)
            if len(self.asked) < 3:
                raise db_exc.DBConnectionError('still away')
            return 'found'

        with fixtures.lost_commit(self.db, landed=True):
            self.assertEqual('found', self.db.transact(self.unit, landed))
        self.assertEqual([0, 0.2, 0.5], pauses)

    def test_asking_ends(self):
        self.patch(base.time, 'sleep', lambda seconds: None)

        def landed(conn):
            raise db_exc.DBConnectionError('still away')

        with fixtures.lost_commit(self.db, landed=True):
            self.assertRaises(exceptions.OutcomeUnknown,
                              self.db.transact, self.unit, landed)


class TestOutages(tests.TestCase):

    def database(self, connection):
        conf = self.useFixture(fixtures.Conf(database_connection=connection)).conf
        db = base.Database(conf)
        self.addCleanup(db.dispose)
        return conf, db

    def assert_unavailable(self, db):
        error = self.assertRaises(exceptions.DatabaseUnavailable, db.transact,
                                  lambda conn: conn.execute(sa.text('SELECT 1')))
        self.assertEqual((503, 'database_unavailable'), (error.status, error.code))
        return error

    def test_nobody_listens(self):
        for url in ('mysql+pymysql://u:secret@127.0.0.1:1/x',
                    'postgresql+psycopg2://u:secret@127.0.0.1:1/x'):
            error = self.assert_unavailable(self.database(url)[1])
            self.assertNotIn('secret', error.detail + self.log.output)

    def test_no_file_can_be_made(self):
        self.assert_unavailable(self.database('sqlite:////nowhere/at/all.sqlite')[1])

    def test_nothing_is_configured(self):
        error = self.assert_unavailable(self.database(None)[1])
        self.assertIn('[database]', error.detail)

    def test_no_schema(self):
        conf, _ = self.database(None)
        db = self.useFixture(fixtures.SqliteDatabase(conf, schema=False)).db
        error = self.assertRaises(exceptions.DatabaseUnavailable, settings.deployment, db)
        self.assertIn('container-service-manage db sync', error.detail)

    def test_nothing_is_opened_before_the_first_use(self):
        conf, _ = self.database(None)
        db = self.useFixture(fixtures.SqliteDatabase(conf, schema=False)).db
        path = os.path.join(conf.state_path, 'container-service.sqlite')
        self.assertFalse(os.path.exists(path))
        with db.read():
            pass
        self.assertTrue(os.path.exists(path))


class TestClock(tests.DatabaseTestCase):

    def test_it_is_utc(self):
        here = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        self.assertLess(abs((self.database_time() - here).total_seconds()), 2)

    def test_seconds_may_be_added(self):
        with self.db.read() as conn:
            before, after, then = conn.execute(
                sa.select(base.now(), base.now(90.5), base.now(-60))).one()
        self.assertEqual(90.5, round((after - before).total_seconds(), 1))
        self.assertEqual(-60, round((then - before).total_seconds(), 1))

    def test_it_compares_with_what_python_writes(self):
        """Both are text in SQLite."""
        past = self.database_time() - datetime.timedelta(milliseconds=5)
        future = self.database_time() + datetime.timedelta(seconds=5)
        with self.db.read() as conn:
            self.assertEqual((True, True), tuple(conn.execute(sa.select(
                sa.literal(past) < base.now(), sa.literal(future) > base.now())).one()))

    def test_it_is_the_wall_clock_on_every_database(self):
        """The start of the transaction would make a lease shorter than it says."""
        def compiled(dialect):
            return str(sa.select(base.now(5)).compile(dialect=dialect))

        self.assertIn('UTC_TIMESTAMP(6)', compiled(mysql.dialect()))
        self.assertIn('statement_timestamp()', compiled(postgresql.dialect()))
