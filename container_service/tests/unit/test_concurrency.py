# SPDX-License-Identifier: Apache-2.0
"""Which kind of threads a process shall have, read before oslo.config can be."""

import os
from unittest import mock

import fixtures
from oslo_config import cfg

from container_service import concurrency
from container_service import conf as options
from container_service.tests import base


class TestConfigured(base.TestCase):

    def setUp(self):
        super().setUp()
        self.directory = self.useFixture(fixtures.TempDir()).path
        # No files in oslo's usual places, and nothing in the environment.
        self.useFixture(fixtures.EnvironmentVariable('HOME', self.directory))
        self.useFixture(fixtures.EnvironmentVariable(concurrency.VARIABLE))

    def write(self, name, text):
        path = os.path.join(self.directory, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, 'wb') as f:
            f.write(text if isinstance(text, bytes) else text.encode())
        return path

    def assert_configured(self, expected, *arguments):
        """It is that, and oslo.config reads the same."""
        self.assertEqual(expected, concurrency.configured(arguments))
        conf = options.register(cfg.ConfigOpts())
        conf(list(arguments), project=options.PROJECT)
        self.assertEqual(expected, conf.conductor.executor)

    def test_without_any_file(self):
        self.assert_configured('threaded')

    def test_a_file(self):
        path = self.write('one.conf', '[conductor]\nexecutor = eventlet\n')
        self.assert_configured('eventlet', '--config-file', path)
        self.assert_configured('eventlet', f'--config-file={path}')

    def test_the_last_file_that_has_it(self):
        one = self.write('one.conf', '[conductor]\nexecutor = eventlet\n')
        two = self.write('two.conf', '[conductor]\nexecutor=synchronous\n')
        three = self.write('three.conf', '[api]\nport = 1\n')
        self.assert_configured('synchronous', '--config-file', one, '--config-file', two,
                               '--config-file', three)
        self.assert_configured('eventlet', '--config-file', two, '--config-file', one)

    def test_a_directory_comes_after_the_files(self):
        path = self.write('one.conf', '[conductor]\nexecutor = threaded\n')
        self.write('parts/10.conf', '[conductor]\nexecutor = synchronous\n')
        self.write('parts/20.conf', '[conductor]\nexecutor = eventlet\n')
        self.write('parts/30.txt', '[conductor]\nexecutor = synchronous\n')
        self.assert_configured('eventlet', '--config-file', path, '--config-dir',
                               os.path.join(self.directory, 'parts'))

    def test_the_home_directory(self):
        self.write('.container-service/container-service.conf',
                   '[conductor]\nexecutor = synchronous\n')
        self.assert_configured('synchronous')

    def test_another_section_or_another_key(self):
        path = self.write('one.conf', '[api]\nexecutor = eventlet\n[conductor]\nworkers = 3\n')
        self.assertEqual('threaded', concurrency.configured(['--config-file', path]))

    def test_what_cannot_be_read_is_for_oslo_config_to_complain_about(self):
        for name, text in (('no-section.conf', 'executor = eventlet\n'),
                           ('junk.conf', b'\xff\xfe[conductor]')):
            path = self.write(name, text)
            self.assertEqual('threaded', concurrency.configured(['--config-file', path]))
        self.assertEqual('threaded', concurrency.configured(['--config-file', '/nowhere']))
        self.assertEqual('threaded', concurrency.configured(['--config-dir', '/nowhere']))
        self.assertEqual('threaded', concurrency.configured(['--config-file']))

    def test_the_environment_wins(self):
        path = self.write('one.conf', '[conductor]\nexecutor = synchronous\n')
        with mock.patch.dict(os.environ, {concurrency.VARIABLE: 'eventlet'}):
            self.assertEqual('eventlet', concurrency.configured(['--config-file', path]))
