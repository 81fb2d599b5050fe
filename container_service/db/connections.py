# SPDX-License-Identifier: Apache-2.0
"""What is asked of each connection to the database: limits, isolation, signs of life.

Nothing may wait without limit for a database that is down, frozen, or behind a link that passes
nothing any more.  The limits stand one below the other, so that it is the server that gives up
first and says why, as long as it can say anything:

    waiting for a lock  <  a statement  <  its answer, on our side

And a transaction whose owner is silent is ended by the server, since it holds locks that others
wait for: on a row of a container, say, when a conductor was cut off in mid-transaction.
"""

import select
import time

from oslo_db import exception as db_exc
import sqlalchemy as sa
from sqlalchemy import event

# Seconds for a connection to be made.
CONNECT_SECONDS = 1.5

# Seconds without use after which a connection is tried before it is used.
_IDLE_SECONDS = 1.0


def configure(engine, seconds):
    """Set the engine up so that no answer is waited for longer than ``seconds`` (None: for ever).

    What the URL of the database says of its own wins.
    """
    event.listen(engine, 'checkin', _note_use)
    event.listen(engine, 'checkout', _try_if_doubtful)
    name, driver = engine.dialect.name, engine.dialect.driver
    if name == 'sqlite':
        _configure_sqlite(engine, seconds)
    elif name in ('mysql', 'mariadb'):
        event.listen(engine, 'do_connect', _limits_of_pymysql(seconds))
        event.listen(engine, 'connect', _session_of_mysql(seconds))
    elif driver == 'psycopg2':
        event.listen(engine, 'do_connect', _limits_of_psycopg2(seconds))
        event.listen(engine, 'connect', _session_of_postgresql(seconds))


def timed_out(exc):
    """Whether it says that no answer came, rather than what was answered."""
    return isinstance(exc, (db_exc.DBConnectionError, sa.exc.OperationalError)) and (
        'timed out' in str(exc))


# Signs of life

def _note_use(dbapi_conn, record):
    record.info['used_at'] = time.monotonic()


def _try_if_doubtful(dbapi_conn, record, proxy):
    """A connection that nobody used may have been closed by a server that was restarted.

    One that was used just now is only looked at, which costs no round trip.
    """
    used_at = record.info.get('used_at')
    if used_at is None or (time.monotonic() - used_at < _IDLE_SECONDS
                           and not _has_something_to_say(dbapi_conn)):
        return
    try:
        cursor = dbapi_conn.cursor()
        cursor.execute('SELECT 1')
        cursor.fetchall()
        cursor.close()
        dbapi_conn.rollback()
    except Exception as exc:
        if 'timed out' in str(exc):
            # A new one would be as silent, and be waited for as long.
            raise db_exc.DBConnectionError(exc) from exc
        # The pool closes it and all that are as old, and makes a new one.
        raise sa.exc.DisconnectionError() from exc


def _has_something_to_say(dbapi_conn):
    """Whether there is something to read although nothing was asked: as a rule, its end."""
    connected = getattr(dbapi_conn, '_sock', dbapi_conn)        # PyMySQL; psycopg2
    try:
        return _ready(connected.fileno(), False, 0)
    except Exception:
        return True


def _ready(descriptor, write, seconds):
    """Wait until it can be read, or written; False when that took longer.  None: for ever."""
    if not hasattr(select, 'poll'):
        # Green threads have none; theirs lets others run meanwhile.
        what = [[], [descriptor], []] if write else [[descriptor], [], []]
        return any(select.select(*what, seconds))
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT if write else select.POLLIN)
    return bool(poll.poll(None if seconds is None else seconds * 1000))


# SQLite

def _configure_sqlite(engine, seconds):
    def connect(dbapi_conn, record):
        cursor = dbapi_conn.cursor()
        cursor.execute(f'PRAGMA busy_timeout = {int((seconds or 10) * 1000)}')
        cursor.execute('PRAGMA journal_mode = WAL')
        cursor.close()

    event.listen(engine, 'connect', connect)
    event.listen(engine, 'begin', _begin_of_sqlite, insert=True)


def _begin_of_sqlite(conn):
    # A deferred BEGIN that later wants to write can fail at once although nobody would have to
    # wait long: writers take their place in line from the start.  oslo.db's own listener, which
    # runs after this one, sees the marker and leaves the transaction alone.
    if conn.get_execution_options().get('writes') and 'in_transaction' not in conn.info:
        conn.exec_driver_sql('BEGIN IMMEDIATE')
        conn.info['in_transaction'] = True


# MySQL and MariaDB

def _limits_of_pymysql(seconds):
    def connect(dialect, record, arguments, parameters):
        parameters.setdefault('connect_timeout', CONNECT_SECONDS)
        if seconds and dialect.driver == 'pymysql':
            parameters.setdefault('read_timeout', seconds)
            parameters.setdefault('write_timeout', seconds)

    return connect


def _session_of_mysql(seconds):
    def connect(dbapi_conn, record):
        cursor = dbapi_conn.cursor()
        # The default, REPEATABLE READ, hides newer rows even after FOR UPDATE.
        cursor.execute('SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED')
        if seconds:
            lock, statement, idle = _below(seconds)
            words = f'SET SESSION innodb_lock_wait_timeout = {max(1, int(lock))}'
            if 'mariadb' in str(dbapi_conn.get_server_info()).lower():
                words += (f', max_statement_time = {statement}'
                          f', idle_transaction_timeout = {int(idle)}')
            else:
                words += (f', max_execution_time = {int(statement * 1000)}'
                          f', wait_timeout = {int(idle)}')
            cursor.execute(words)
        cursor.close()

    return connect


# PostgreSQL

def _limits_of_psycopg2(seconds):
    import psycopg2
    from psycopg2 import extensions

    # libpq has no limit on answers, so psycopg2 is made to call us whenever it waits.
    extensions.set_wait_callback(_wait_for_postgresql)

    class Limited(psycopg2.extensions.connection):
        answer_seconds = seconds

    def connect(dialect, record, arguments, parameters):
        parameters.setdefault('connection_factory', Limited)

    return connect


def _wait_for_postgresql(dbapi_conn):
    import psycopg2
    from psycopg2 import extensions

    seconds = getattr(dbapi_conn, 'answer_seconds', None)
    if dbapi_conn.status == extensions.STATUS_SETUP:
        seconds = CONNECT_SECONDS
    ends = None if seconds is None else time.monotonic() + seconds
    while (state := dbapi_conn.poll()) != extensions.POLL_OK:
        left = None if ends is None else max(0, ends - time.monotonic())
        if not _ready(dbapi_conn.fileno(), state == extensions.POLL_WRITE, left):
            # psycopg2 closes the connection.
            raise psycopg2.OperationalError(f'no answer within {seconds} seconds (timed out)')


def _session_of_postgresql(seconds):
    def connect(dbapi_conn, record):
        if not seconds:
            return
        lock, statement, idle = (int(limit * 1000) for limit in _below(seconds))
        dbapi_conn.autocommit = True        # or a rollback would take it back
        cursor = dbapi_conn.cursor()
        cursor.execute(f'SET lock_timeout = {lock}; SET statement_timeout = {statement}; '
                       f'SET idle_in_transaction_session_timeout = {idle}')
        cursor.close()
        dbapi_conn.autocommit = False

    return connect


def _below(seconds):
    """The limits on a lock, a statement and an idle transaction that go with one on answers."""
    # For a lock longer than PostgreSQL takes to see a deadlock (1 s): else all who wait for one
    # of those in it give up with it, and stand in line anew.
    return seconds * 0.6, seconds * 0.8, max(2, seconds * 2)
