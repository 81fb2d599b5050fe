# SPDX-License-Identifier: Apache-2.0
"""Keys for what is stored encrypted."""

import io
import os
import stat

import fixtures as pyfixtures

from container_service import exceptions
from container_service import registries as rules
from container_service import secrets
from container_service.cmd import manage
from container_service.db import registries
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
        renewed = self.keys.renewed(token)
        with open(self.path, 'r+') as file:
            newest = file.readline()
            file.seek(0)
            file.truncate()
            file.write(newest)
        self.assertEqual('one', self.keys.decrypt(renewed))
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


class TestManage(SecretsCase):

    def setUp(self):
        super().setUp()
        self.said = io.StringIO()
        self.useFixture(pyfixtures.MonkeyPatch('sys.stdout', self.said))

    def test_renew(self):
        secrets.create_key(self.path)
        made, _ = rules.create(base.caller(), self.db, self.keys, domain='r.example.org',
                               username='u', password='hidden')
        rules.create(base.caller(), self.db, self.keys, domain='quay.io')
        manage._secrets_create_key(self.conf, self.db)
        manage._secrets_renew(self.conf, self.db)
        self.assertIn('1 passwords', self.said.getvalue())
        with self.db.read() as conn:
            after = registries.find(conn, made.uuid)
        self.assertNotEqual(made.password, after.password)
        self.assertEqual((made.updated_at, 'hidden'),
                         (after.updated_at, self.keys.decrypt(after.password)))

    def test_a_key_needs_a_file(self):
        self.conf.clear_override('keys_file', group='secrets')
        self.assertIn('keys_file', self.assertRaises(
            exceptions.Error, manage._secrets_create_key, self.conf, self.db).detail)
        self.conf.set_override('keys_file', '/nowhere/keys', group='secrets')
        self.assertIn('/nowhere/keys', self.assertRaises(
            exceptions.Error, manage._secrets_create_key, self.conf, self.db).detail)
