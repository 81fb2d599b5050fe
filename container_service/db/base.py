# SPDX-License-Identifier: Apache-2.0
"""Connections and transactions: the one way to the database.

Statements are in the modules beside this one, named after their tables; which change is legal
is decided in ``lifecycle.py``.  SQLAlchemy Core over oslo.db's engine, whose errors it raises.
"""

import contextlib
import functools
import random
import sqlite3
import time

from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import engines
from oslo_log import log
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from container_service import exceptions

LOG = log.getLogger(__name__)

_ATTEMPTS = 10

# Seconds without use after which a connection is tried before it is used.
_IDLE_SECONDS = 1.0

NO_SCHEMA = 'The database has no schema. Run: container-service-manage db sync'


class now(functions.FunctionElement):  # noqa: N801 - reads like the SQL function it is
    """The database's wall clock, naive UTC with microseconds; ``now(5)`` is in five seconds.

    Not the start of the transaction: a lease must be measured from when it is written.
    """
    type = sa.DateTime()
    inherit_cache = True
    name = 'now'

    def __init__(self, seconds=0):
        super().__init__(sa.literal(float(seconds), sa.Float))
        self.is_present = not seconds


@compiler.compiles(now, 'mysql', 'mariadb')
def _now_mysql(element, comp, **kw):
    seconds = comp.process(element.clauses, **kw)
    return f'(UTC_TIMESTAMP(6) + INTERVAL ({seconds}) * 1000000 MICROSECOND)'


@compiler.compiles(now, 'postgresql')
def _now_postgresql(element, comp, **kw):
    seconds = comp.process(element.clauses, **kw)
    return f"((clock_timestamp() AT TIME ZONE 'utc') + ({seconds}) * INTERVAL '1 second')"


@compiler.compiles(now, 'sqlite')
def _now_sqlite(element, comp, **kw):
    # Milliseconds are all that SQLite has; the zeros keep the text comparable with the
    # microseconds that Python writes.
    seconds = comp.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


class CommitUnknown(Exception):
    """The connection was lost while committing: the database may or may not have done it."""


class Database:
    """One database.  Connects at the first use, so that it may be made before a fork."""

    def __init__(self, conf):
        self._conf = conf.database

    @functools.cached_property
    def engine(self):
        conf = self._conf
        if not conf.connection:
            raise exceptions.DatabaseUnavailable(
                'No database is configured: set connection in the section [database].')
        parameters, sqlite = '', conf.connection.startswith('sqlite')
        if conf.connection.startswith('mysql') and 'charset=' not in conf.connection:
            parameters = 'charset=utf8mb4'
        engine = engines.create_engine(
            conf.connection, connection_parameters=parameters, sqlite_fk=True,
            mysql_sql_mode=conf.mysql_sql_mode,
            sqlite_synchronous=conf.sqlite_synchronous, max_retries=0,
            connection_recycle_time=conf.connection_recycle_time,
            max_pool_size=conf.max_pool_size, max_overflow=conf.max_overflow,
            pool_timeout=None if sqlite else conf.pool_timeout)   # SQLite has no pool
        # oslo.db lets every transaction begin with a ping; under load that is a tenth of all.
        engine.pool._pre_ping = False
        event.listen(engine, 'checkin', _note_use)
        event.listen(engine, 'checkout', _ping_if_idle)
        if sqlite:
            event.listen(engine, 'connect', _sqlite_connect)
            event.listen(engine, 'begin', _sqlite_begin, insert=True)
        elif engine.dialect.name in ('mysql', 'mariadb'):
            event.listen(engine, 'connect', _mysql_connect)
        return engine

    @contextlib.contextmanager
    def read(self):
        """A connection to read with.  Raises DatabaseUnavailable."""
        with _outage_told():
            with self.engine.connect() as conn:
                yield conn

    def transact(self, unit, landed=None):
        """Run ``unit(conn)`` in one transaction and return what it returns.

        Deadlocks and a locked SQLite file are retried, so ``unit`` must not change anything but
        the database.  When the answer to COMMIT is lost, ``landed(conn)`` is asked on a new
        connection: what it returns is the result, None means that the unit must run again.
        Raises DatabaseUnavailable.
        """
        with _outage_told():
            for attempt in range(1, _ATTEMPTS + 1):
                try:
                    return self._once(unit)
                except CommitUnknown as exc:
                    if landed is None or attempt == _ATTEMPTS:
                        raise exc.__cause__ from None
                    result = self._ask(landed)
                    if result is not None:
                        return result
                except db_exc.DBConnectionError:
                    # Nothing was committed.  A connection of the pool may just have gone stale.
                    if attempt > 1:
                        raise
                except (db_exc.DBDeadlock, sa.exc.OperationalError) as exc:
                    if attempt == _ATTEMPTS or not _passes(exc):
                        raise
                time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - jitter

    def _once(self, unit):
        with self.engine.connect() as conn:
            conn = conn.execution_options(writes=True)
            with conn.begin() as transaction:
                result = unit(conn)
                try:
                    transaction.commit()
                except db_exc.DBConnectionError as exc:
                    raise CommitUnknown from exc
            return result

    def _ask(self, landed):
        for pause in (0, 0.2, 0.5, 1.0):
            time.sleep(pause)
            try:
                with self.engine.connect() as conn:
                    return landed(conn)
            except db_exc.DBConnectionError as exc:
                last = exc
        raise last

    def dispose(self):
        """Close the pooled connections."""
        if 'engine' in self.__dict__:
            self.engine.dispose()


@contextlib.contextmanager
def _outage_told():
    """Turn "no connection to be had" into our own error, whatever the layer that noticed."""
    try:
        yield
    except (db_exc.DBConnectionError, db_exc.DBNonExistentDatabase, sa.exc.TimeoutError,
            sa.exc.InterfaceError) as exc:
        LOG.warning('Database: %s', str(exc).splitlines()[0])
        raise exceptions.DatabaseUnavailable() from exc
    except (db_exc.DBError, sa.exc.ProgrammingError) as exc:
        if _lacks_table(exc):
            raise exceptions.DatabaseUnavailable(NO_SCHEMA) from exc
        raise
    except sa.exc.OperationalError as exc:
        # Without a statement it came from connecting: oslo.db does not know the words of today's
        # PostgreSQL for that.  From SQLite: a file that is locked for longer than we wait, or
        # missing, or read-only.
        if exc.statement is None or (isinstance(exc.orig, sqlite3.OperationalError)
                                     and 'no such' not in str(exc.orig)):
            LOG.warning('Database: %s', str(exc.orig).splitlines()[0])
            raise exceptions.DatabaseUnavailable() from exc
        raise


def _lacks_table(exc):
    # oslo.db names this for SQLite only.
    orig = getattr(getattr(exc, 'inner_exception', exc), 'orig', None)
    return (isinstance(exc, db_exc.DBNonExistentTable)
            or getattr(orig, 'pgcode', None) == '42P01'
            or getattr(orig, 'args', ())[:1] == (1146,))


def _passes(exc):
    """Whether the same transaction may succeed if run again now."""
    if isinstance(exc, db_exc.DBDeadlock):
        return True
    text = str(exc.orig).lower()
    # SQLite's own, and MariaDB's 1020 under snapshot isolation.
    return 'database is locked' in text or 'record has changed' in text


def _note_use(dbapi_conn, record):
    record.info['used_at'] = time.monotonic()


def _ping_if_idle(dbapi_conn, record, proxy):
    """A connection that was idle may have been closed by a server that was restarted meanwhile."""
    used_at = record.info.get('used_at')
    if used_at is None or time.monotonic() - used_at < _IDLE_SECONDS:
        return
    try:
        cursor = dbapi_conn.cursor()
        cursor.execute('SELECT 1')
        cursor.fetchall()
        cursor.close()
        dbapi_conn.rollback()
    except Exception as exc:
        # The pool closes it and all that are as old, and makes a new one.
        raise sa.exc.DisconnectionError() from exc


def _sqlite_connect(dbapi_conn, record):
    cursor = dbapi_conn.cursor()
    cursor.execute('PRAGMA busy_timeout = 10000')
    cursor.execute('PRAGMA journal_mode = WAL')
    cursor.close()


def _sqlite_begin(conn):
    # A deferred BEGIN that later wants to write can fail at once although nobody would have to
    # wait long: writers take their place in line from the start.  oslo.db's own listener, which
    # runs after this one, sees the marker and leaves the transaction alone.
    if conn.get_execution_options().get('writes') and 'in_transaction' not in conn.info:
        conn.exec_driver_sql('BEGIN IMMEDIATE')
        conn.info['in_transaction'] = True


def _mysql_connect(dbapi_conn, record):
    # The default, REPEATABLE READ, hides newer rows even after FOR UPDATE.
    cursor = dbapi_conn.cursor()
    cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
    cursor.close()
