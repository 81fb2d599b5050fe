# SPDX-License-Identifier: Apache-2.0
"""Connections and transactions: the one way to the database.

Statements are in the modules beside this one, named after their tables; which change is legal
is decided in ``lifecycle.py``.  SQLAlchemy Core over oslo.db's engine, whose errors it raises; an
outage is told as our own.  How long things may take is in ``connections.py``.
"""

import contextlib
import functools
import itertools
import random
import time

from oslo_db import exception as db_exc
from oslo_db.sqlalchemy import engines
from oslo_log import log
import sqlalchemy as sa
from sqlalchemy.ext import compiler
from sqlalchemy.sql import functions

from container_service import exceptions
from container_service.db import connections
from container_service.db import outages

LOG = log.getLogger(__name__)

_ATTEMPTS = 10

# Seconds until the same complaint is worth another line of the log.
_SAY_AGAIN = 5

# Seconds that a transaction is tried again for where answers have no limit.
_PATIENCE = 30


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
    # Of the statement, as in MySQL.  The clock itself may give another time for each row, so that
    # no index could be used to compare with it.
    return f"((statement_timestamp() AT TIME ZONE 'utc') + ({seconds}) * INTERVAL '1 second')"


@compiler.compiles(now, 'sqlite')
def _now_sqlite(element, comp, **kw):
    # Milliseconds are all that SQLite has; the zeros keep the text comparable with the
    # microseconds that Python writes.
    seconds = comp.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', ({seconds}) || ' seconds') || '000')"


def run_again(conn):
    """For ``transact``: nothing need be asked, the transaction may run twice."""
    return None


class Database:
    """One database.  Connects at the first use, so that it may be made before a fork.

    Nothing waits longer than ``seconds`` for an answer; None is for tools that may wait.
    ``tell`` is called with each row of the audit trail once it is committed; it must not fail.
    """

    def __init__(self, conf, seconds=None):
        self.tell = lambda row: None
        self._conf = conf.database
        self._seconds = seconds
        self._silence = outages.Silence()
        self._said, self._said_at = None, 0

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
        # What a statement was given is nothing for the log of its failure.
        engine.hide_parameters = True
        connections.configure(engine, self._seconds)
        return engine

    @contextlib.contextmanager
    def read(self):
        """A connection to read with.  Raises DatabaseUnavailable."""
        with self._outage_told():
            with self.engine.connect() as conn:
                yield conn

    def transact(self, unit, landed=None):
        """Run ``unit(conn)`` in one transaction and return what it returns.

        Deadlocks and a locked SQLite file are retried, so ``unit`` must not change anything but
        the database.  When the answer to COMMIT is lost, ``landed(conn)`` is asked on a new
        connection: what it returns is the result, None means that the unit must run again.
        Raises DatabaseUnavailable when nothing was changed, OutcomeUnknown when that is not
        known.
        """
        with self._outage_told():
            return self._until_it_ends(unit, landed)

    def _until_it_ends(self, unit, landed):
        ends, doubt = time.monotonic() + (self._seconds or _PATIENCE), None
        for attempt in itertools.count(1):
            last = attempt == _ATTEMPTS or time.monotonic() > ends
            try:
                result = self._once(unit)
                if doubt is None or result:
                    return result
                failure = None
            except outages.CommitUnknown as exc:
                if landed is None:
                    raise
                failure = doubt = exc
            except Exception as exc:
                if not last and _worth_another(exc, attempt, doubt):
                    time.sleep(random.uniform(0, 0.02 * attempt))  # noqa: S311 - jitter
                    continue
                if doubt is None:
                    raise
                failure = exc
            # Either the answer to COMMIT was lost just now; or it was before, that one seemed not
            # to have landed, and what the second run met may be what the first one did after all.
            found = self._ask(landed, doubt, ends)
            if found is not None or failure is None:
                return result if found is None else found
            if failure is not doubt or last:
                raise failure

    def _once(self, unit):
        after_commit = []
        with self.engine.connect() as conn:
            conn = conn.execution_options(writes=True, after_commit=after_commit)
            with conn.begin() as transaction:
                result = unit(conn)
                try:
                    transaction.commit()
                except db_exc.DBConnectionError as exc:
                    raise outages.CommitUnknown from exc
        for do in after_commit:
            do(self.tell)
        return result

    def _ask(self, landed, doubt, ends):
        for pause in (0, 0.2, 0.5, 1.0):
            time.sleep(pause)
            try:
                with self.engine.connect() as conn:
                    return landed(conn)
            except (db_exc.DBConnectionError, sa.exc.OperationalError) as exc:
                if connections.timed_out(exc) or time.monotonic() > ends:
                    break
        raise doubt

    @contextlib.contextmanager
    def _outage_told(self):
        """Turn an outage into our own error, whatever the layer that noticed."""
        self._silence.admit()
        try:
            yield
        except exceptions.Error:
            self._silence.note()
            raise
        except Exception as exc:
            error = outages.told(exc)
            if error is None:
                raise
            self._silence.note(exc.__cause__ if isinstance(exc, outages.CommitUnknown) else exc)
            self._warn(str(exc.__cause__ or exc).partition('\n')[0])
            raise error from exc
        else:
            self._silence.note()

    def _warn(self, words):
        """Say what is wrong, but not to each of many requests."""
        now = time.monotonic()
        if words != self._said or now - self._said_at > _SAY_AGAIN:
            self._said, self._said_at = words, now
            LOG.warning('Database: %s', words)

    def dispose(self):
        """Close the pooled connections."""
        if 'engine' in self.__dict__:
            self.engine.dispose()


def _worth_another(exc, attempt, doubt):
    """Whether to run the transaction again: nothing was committed, and it may go better now."""
    if isinstance(exc, db_exc.DBConnectionError):
        # A connection of the pool may just have gone stale.  Not when it was silence: another
        # one would be waited for as long.
        return (attempt == 1 or doubt is not None) and not connections.timed_out(exc)
    return outages.may_pass(exc)
