# SPDX-License-Identifier: Apache-2.0
"""Errors of databases that cannot be made at will here, as their drivers raise them."""

from oslo_db import exception as db_exc
import psycopg2
import pymysql
import sqlalchemy as sa

from container_service import exceptions
from container_service.db import outages
from container_service.tests import base
from container_service.tests import fixtures


class Postgres(psycopg2.OperationalError):
    """A pgcode cannot be set from outside."""

    def __init__(self, words, code):
        super().__init__(words)
        self.code = code

    @property
    def pgcode(self):
        return self.code


def raised(orig, wrapped=False, statement='UPDATE x'):
    """What oslo.db makes of it: itself, or wrapped in its own."""
    kind = sa.exc.InternalError if wrapped else sa.exc.OperationalError
    exc = kind(statement, {}, orig)
    return db_exc.DBError(exc) if wrapped else exc


class TestTold(base.TestCase):

    def assert_told(self, word, exc):
        error = outages.told(exc)
        self.assertIsInstance(error, exceptions.DatabaseUnavailable)
        self.assertIn(word, error.detail)
        self.assertIn('Nothing was changed', error.detail)

    def test_what_mariadb_says(self):
        for number, word in ((1114, 'no room'), (1021, 'no room'), (1290, 'read-only'),
                             (1836, 'read-only'), (1969, 'busy'), (1205, 'busy'),
                             (1053, 'reached'), (1040, 'reached')):
            for wrapped in (False, True):
                self.assert_told(word, raised(
                    pymysql.err.OperationalError(number, 'words'), wrapped))

    def test_what_postgresql_says(self):
        for code, word in (('53100', 'no room'), ('25006', 'read-only'), ('57014', 'busy'),
                           ('55P03', 'busy'), ('57P01', 'reached'), ('53300', 'reached')):
            for wrapped in (False, True):
                self.assert_told(word, raised(Postgres('words', code), wrapped))

    def test_while_connecting(self):
        self.assert_told('reached', raised(psycopg2.OperationalError(
            'FATAL:  the database system is starting up'), statement=None))

    def test_what_is_a_mistake_of_ours(self):
        for exc in (raised(pymysql.err.ProgrammingError(1064, 'syntax'), True),
                    raised(pymysql.err.OperationalError(1054, 'Unknown column')),
                    raised(Postgres('words', '42703')), ValueError('full'),
                    db_exc.DBDuplicateEntry()):
            self.assertIsNone(outages.told(exc))


class TestSilence(base.TestCase):

    def setUp(self):
        super().setUp()
        self.clock = fixtures.Clock()
        self.silence = outages.Silence(self.clock)
        self.timeout = db_exc.DBConnectionError('no answer (timed out)')

    def assert_refused(self):
        self.assertRaises(exceptions.DatabaseUnavailable, self.silence.admit)

    def test_one_at_a_time_finds_out(self):
        self.silence.admit()
        self.silence.note(self.timeout)
        self.assert_refused()
        self.clock.advance(self.silence.PAUSE)
        self.silence.admit()
        self.assert_refused()
        self.silence.note(self.timeout)
        self.assert_refused()

    def test_an_answer_ends_it(self):
        self.silence.note(self.timeout)
        self.silence.note()
        self.silence.admit()
        self.silence.admit()

    def test_being_refused_is_an_answer(self):
        """It costs no time, so nobody need be spared it."""
        self.silence.note(db_exc.DBConnectionError('connection refused'))
        self.silence.admit()
        self.silence.note(self.timeout)
        self.silence.note(db_exc.DBConnectionError('connection refused'))
        self.silence.admit()

    def test_no_connection_left_in_the_pool_is_none(self):
        self.silence.note(sa.exc.TimeoutError('QueuePool limit reached, connection timed out'))
        self.silence.admit()
