# SPDX-License-Identifier: Apache-2.0
"""Keys for what is stored encrypted."""

import datetime
import io
import os
import re
import stat
from unittest import mock
import uuid

import fixtures as pyfixtures

from container_service import exceptions
from container_service import secrets
from container_service.cmd import manage
from container_service.db import encrypted
from container_service.db import models
from container_service.tests import base


class SecretsCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.path = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'keys')
        self.conf.set_override('keys_file', self.path, group='secrets')
        self.keys = secrets.Keys(self.conf)

    def unavailable(self, words, call, *args):
        error = self.assertRaises(exceptions.SecretsUnavailable, call, *args)
        self.assertIn(words, error.detail)
        return error


    def keep_newest(self):
        with open(self.path) as file:
            newest = file.readline()
        with open(self.path, 'w') as file:
            file.write(newest)


class TestKeys(SecretsCase):

    def test_what_was_encrypted_is_read_again(self):
        secrets.create_key(self.path)
        token = self.keys.encrypt('pässword')
        self.assertNotIn('ssword', token)
        self.assertNotEqual(token, self.keys.encrypt('pässword'))
        self.assertEqual('pässword', self.keys.decrypt(token))

    def test_only_its_owner_may_read_a_new_file(self):
        secrets.create_key(self.path)
        self.assertEqual(0o600, stat.S_IMODE(os.stat(self.path).st_mode))
        self.assertEqual(['keys'], os.listdir(os.path.dirname(self.path)))

    def test_a_further_key_comes_first_and_older_ones_still_read(self):
        secrets.create_key(self.path)
        token = self.keys.encrypt('one')
        with open(self.path) as file:
            first = file.read()
        os.chmod(self.path, 0o640)
        secrets.create_key(self.path)
        with open(self.path) as file:
            self.assertEqual(first, file.read().split('\n', 1)[1])
        self.assertEqual(0o640, stat.S_IMODE(os.stat(self.path).st_mode))
        self.assertEqual('one', self.keys.decrypt(token))
        newest, older = self.keys.ids()
        self.assertEqual((older, newest),
                         (self.keys.holder(token), self.keys.holder(self.keys.encrypt('one'))))
        self.keep_newest()
        self.assertIsNone(self.keys.holder(token))
        self.unavailable('none of its keys', self.keys.decrypt, token)

    def test_without_keys(self):
        self.unavailable('no such file', self.keys.encrypt, 'x')
        self.conf.clear_override('keys_file', group='secrets')
        error = self.unavailable('[secrets]', secrets.Keys(self.conf).encrypt, 'x')
        self.assertEqual(503, error.status)

    def test_files_that_cannot_be_used(self):
        for text, words in (('', 'no keys'), ('# nothing\n\n', 'no keys'),
                            ('secret-but-no-key\n', 'not a key'), ('é' * 10, 'not a key')):
            with open(self.path, 'w') as file:
                file.write(text)
            os.chmod(self.path, 0o600)
            error = self.unavailable(words, self.keys.encrypt, 'x')
            self.assertNotIn('secret-but', error.detail + self.log.output)
        with open(self.path, 'wb') as file:
            file.write(b'\xff\xfe')
        self.unavailable('not text', self.keys.encrypt, 'x')

    def test_a_file_that_everybody_may_read(self):
        secrets.create_key(self.path)
        os.chmod(self.path, 0o604)
        self.unavailable('others than its owner', self.keys.encrypt, 'x')


class RotationCase(SecretsCase):
    """``self.plant()`` puts something into every encrypted column."""

    def setUp(self):
        super().setUp()
        self.said = io.StringIO()
        self.useFixture(pyfixtures.MonkeyPatch('sys.stdout', self.said))

    def plant(self, count=1):
        """One value in each encrypted column; returns {column: {id: secret}}."""
        made = {}
        for column in encrypted.COLUMNS:
            made[column] = {}
            for number in range(count):
                secret = f'{column.table.name} {column.name} {number}'
                row_id = self.db.transact(
                    lambda conn, column=column, secret=secret: conn.execute(
                        column.table.insert().values(**_row(column, secret, self.keys)))
                    .inserted_primary_key[0])
                made[column][row_id] = secret
        return made

    def stored(self, column):
        with self.db.read() as conn:
            return {row.id: row.value for row in column.batch(conn, 0, 1000)}

    def said_since(self):
        text = self.said.getvalue()
        self.said.seek(0)
        self.said.truncate()
        return text


class TestManage(RotationCase):

    def test_rotation_covers_every_encrypted_column(self):
        secrets.create_key(self.path)
        planted = self.plant(count=3)
        manage._secrets_create_key(self.conf, self.db)
        older = self.keys.ids()[1]
        with mock.patch.object(secrets, '_BATCH', 2):
            manage._secrets_rotate(self.conf, self.db)
        self.keep_newest()
        for column, values in planted.items():
            self.assertIn(f'3 {column.words} were', self.said.getvalue())
            self.assertEqual(values, {row_id: self.keys.decrypt(value)
                                      for row_id, value in self.stored(column).items()})
        self.assertNotIn(older, self.keys.ids())
        self.said_since()
        manage._secrets_rotate(self.conf, self.db)
        self.assertIn('0 passwords', self.said.getvalue())

    def test_rotation_leaves_what_is_changed_meanwhile(self):
        secrets.create_key(self.path)
        self.plant()
        secrets.create_key(self.path)
        column, newer = encrypted.COLUMNS[0], self.keys.encrypt('newer')
        (row_id,) = self.stored(column)
        real = encrypted.Column.batch

        def batch(column, conn, after, size):
            found = real(column, conn, after, size)
            conn.rollback()
            if found and column is encrypted.COLUMNS[0]:
                self.db.transact(lambda conn: conn.execute(column.table.update().values(
                    {column.name: newer})))
            return found

        with mock.patch.object(encrypted.Column, 'batch', batch):
            secrets.rotate(self.db, self.keys)
        self.assertEqual({row_id: newer}, self.stored(column))

    def test_an_ended_rotation_is_gone_on_with(self):
        secrets.create_key(self.path)
        self.plant(count=3)
        secrets.create_key(self.path)
        column = encrypted.COLUMNS[0]
        real, calls = encrypted.Column.replace, []

        def replace(*args):
            calls.append(args)
            if len(calls) == 2:
                raise KeyboardInterrupt
            return real(*args)

        with mock.patch.object(secrets, '_BATCH', 1), \
                mock.patch.object(encrypted.Column, 'replace', replace):
            self.assertRaises(KeyboardInterrupt, secrets.rotate, self.db, self.keys)
        self.assertEqual(1, secrets.holdings(self.db, self.keys).of(self.keys.ids()[0]))
        self.assertEqual(2, secrets.rotate(self.db, self.keys)[column.words])
        self.assertEqual(0, secrets.holdings(self.db, self.keys).on_older)

    def test_no_key_is_called_unneeded_that_is_needed(self):
        secrets.create_key(self.path)
        self.plant()
        secrets.create_key(self.path)
        with mock.patch.object(secrets, 'rotate', lambda db, keys: {}):
            error = self.assertRaises(
                exceptions.Error, manage._secrets_rotate, self.conf, self.db)
        self.assertIn(f'{len(encrypted.COLUMNS)} values are still', error.detail)
        self.assertNotIn('can be removed', self.said.getvalue())
        self.keep_newest()
        for command in (manage._secrets_rotate, manage._secrets_status):
            error = self.assertRaises(exceptions.Error, command, self.conf, self.db)
            self.assertIn('1 passwords of registries', error.detail)
        self.assertNotIn('can be removed', self.said.getvalue())

    def test_status_counts_what_each_key_holds(self):
        secrets.create_key(self.path)
        self.plant(count=2)
        secrets.create_key(self.path)
        manage._secrets_status(self.conf, self.db)
        newest, older = self.keys.ids()
        first, second = self.said_since().splitlines()
        self.assertEqual(f'{newest} (newest): nothing', first)
        for column in encrypted.COLUMNS:
            self.assertIn(f'2 {column.words}', second)
        self.assertTrue(second.startswith(f'{older}: '))

    def test_columns_that_say_so_are_all_that_are_rotated(self):
        listed = {(column.table.name, column.name) for column in encrypted.COLUMNS}
        named = {(table.name, column.name) for table in models.metadata.tables.values()
                 for column in table.c if re.search('password|secret|token|_key$', column.name)
                 and (table.name, column.name) not in NOT_SECRET}
        self.assertEqual(named, listed)

    def test_what_was_left_of_a_change_that_was_cut_off_is_named(self):
        secrets.create_key(self.path)
        with mock.patch.object(os, 'rename', side_effect=KeyboardInterrupt), mock.patch.object(
                os, 'unlink'):
            self.assertRaises(KeyboardInterrupt, secrets.create_key, self.path)
        self.assertIn(f'{self.path}.new is there', self.assertRaises(
            exceptions.Error, manage._secrets_create_key, self.conf, self.db).detail)
        os.unlink(f'{self.path}.new')
        secrets.create_key(self.path)
        self.assertEqual(2, len(self.keys.ids()))

    def test_a_key_needs_a_file(self):
        self.conf.clear_override('keys_file', group='secrets')
        self.assertIn('keys_file', self.assertRaises(
            exceptions.Error, manage._secrets_create_key, self.conf, self.db).detail)
        self.conf.set_override('keys_file', '/nowhere/keys', group='secrets')
        self.assertIn('/nowhere/keys', self.assertRaises(
            exceptions.Error, manage._secrets_create_key, self.conf, self.db).detail)


# Columns whose names only sound so.
NOT_SECRET = {('pulls', 'live_key')}


def _row(column, secret, keys):
    """Values of a row that has a secret, and something wherever null is refused."""
    row = {column.name: keys.encrypt(secret)}
    for other in column.table.c:
        if other.name == 'id' or other.name in row or other.nullable or other.server_default:
            continue
        kind = other.type.python_type if not isinstance(other.type, models.Json) else dict
        made = {datetime.datetime: datetime.datetime(2026, 1, 1), dict: {}, int: 1, bool: False}
        row[other.name] = made.get(kind, uuid.uuid4().hex[:16])
    return row
