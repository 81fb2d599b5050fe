# SPDX-License-Identifier: Apache-2.0
"""Which errors of the database are an outage, told as our own errors, and which may pass.

The statement is not to blame for an outage, and whoever asked cannot help it: they are told 503
and whether anything was changed, never 500.
"""

import sqlite3
import threading
import time

from oslo_db import exception as db_exc
from oslo_log import log
import sqlalchemy as sa

from container_service import exceptions
from container_service.db import connections

LOG = log.getLogger(__name__)

NO_SCHEMA = 'The database has no schema. Run: container-service-manage db sync'

_FULL = 'The database has no room left. Nothing was changed; try again later.'
_READ_ONLY = 'The database is read-only at present. Nothing was changed; try again later.'
_BUSY = 'The database is too busy. Nothing was changed; try again.'

# By MySQL's and MariaDB's number.
_MYSQL = {
    1021: _FULL, 1026: _FULL, 1041: _FULL, 1114: _FULL,
    1290: _READ_ONLY, 1792: _READ_ONLY, 1836: _READ_ONLY,
    1205: _BUSY, 1213: _BUSY, 1317: _BUSY, 1969: _BUSY, 3024: _BUSY,
    1040: None, 1053: None, 1152: None, 1158: None, 1159: None, 1160: None, 1161: None,
    1203: None, 1927: None, 1129: None}

# By the SQLSTATE that PostgreSQL gives, or the class that it begins with.
_POSTGRESQL = {
    '53100': _FULL, '25006': _READ_ONLY, '40001': _BUSY, '40P01': _BUSY, '55P03': _BUSY,
    '57014': _BUSY, '08': None, '53': None, '57': None, '58': None, '25P03': None}


class CommitUnknown(Exception):
    """The connection was lost while committing: the database may or may not have done it."""


def told(exc):
    """The error of ours that tells an outage; None when it is something else."""
    if isinstance(exc, CommitUnknown):
        return exceptions.OutcomeUnknown()
    if isinstance(exc, (db_exc.DBConnectionError, db_exc.DBNonExistentDatabase,
                        sa.exc.TimeoutError, sa.exc.InterfaceError)):
        return exceptions.DatabaseUnavailable()
    if isinstance(exc, db_exc.DBDeadlock):
        return exceptions.DatabaseUnavailable(_BUSY)
    orig = _original(exc)
    if (isinstance(exc, db_exc.DBNonExistentTable) or getattr(orig, 'pgcode', None) == '42P01'
            or getattr(orig, 'args', ())[:1] == (1146,)):
        return exceptions.DatabaseUnavailable(NO_SCHEMA)
    if not isinstance(exc, (db_exc.DBError, sa.exc.DBAPIError)):
        return None
    if isinstance(orig, sqlite3.OperationalError):
        # A file that is locked for longer than we wait, or missing, or read-only, or full.
        return _of_sqlite(str(orig))
    # Without a statement it came from connecting: oslo.db does not know the words of today's
    # PostgreSQL for that.
    if isinstance(exc, sa.exc.OperationalError) and exc.statement is None:
        return exceptions.DatabaseUnavailable()
    for code, table in ((next(iter(getattr(orig, 'args', ())), None), _MYSQL),
                        (getattr(orig, 'pgcode', None), _POSTGRESQL),
                        ((getattr(orig, 'pgcode', None) or '')[:2], _POSTGRESQL)):
        if isinstance(code, (int, str)) and code in table:
            return exceptions.DatabaseUnavailable(table[code])
    return None


def _of_sqlite(words):
    if 'no such' in words or 'syntax error' in words:
        return None
    if 'full' in words:
        return exceptions.DatabaseUnavailable(_FULL)
    if 'readonly' in words:
        return exceptions.DatabaseUnavailable(_READ_ONLY)
    return exceptions.DatabaseUnavailable()


def may_pass(exc):
    """Whether the same transaction may succeed if run again now."""
    if isinstance(exc, db_exc.DBDeadlock):
        return True
    orig = _original(exc)
    text = str(orig).lower()
    # SQLite's own, MariaDB's 1020 under snapshot isolation, and PostgreSQL's limit on locks.
    return ('database is locked' in text or 'record has changed' in text
            or getattr(orig, 'pgcode', None) in ('55P03', '40001', '40P01'))


def _original(exc):
    """What the driver raised."""
    return getattr(getattr(exc, 'inner_exception', None) or exc, 'orig', None)


class Silence:
    """Spares callers the wait for a database that has stopped answering.

    While it is silent one caller at a time asks it; the others are told at once.  Else each
    would hold a thread for as long as an answer may take, until no thread is left for those who
    do not even need the database.
    """

    PAUSE = 1.0

    def __init__(self, clock=time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._until = None

    def admit(self):
        """Raises DatabaseUnavailable while somebody else is finding out."""
        if self._until is None:
            return
        with self._lock:
            now = self._clock()
            if self._until is not None and now < self._until:
                raise exceptions.DatabaseUnavailable()
            self._until = now + self.PAUSE

    def note(self, exc=None):
        """Somebody has asked: it answered, or this came of it."""
        if exc is not None and connections.timed_out(exc):
            self._until = self._clock() + self.PAUSE
        elif self._until is not None:
            LOG.info('The database answers again.')
            self._until = None
