# SPDX-License-Identifier: Apache-2.0
import json
import os
import urllib.request

from container_service import exceptions
from container_service import standalone
from container_service.db import bays
from container_service.db import conductors
from container_service.db import paging
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import fixtures


class TestStandalone(base.TestCase):
    """A whole deployment in one process, with a fake engine in the place of Docker."""

    def setUp(self):
        super().setUp()
        self.conf = self.configure(conductor_shutdown_timeout=5)
        self.addCleanup(fake.FakeEngine.forget, self.conf.host)

    def configure(self, **values):
        conf = self.useFixture(fixtures.Conf(api_port=fixtures.free_port(), **values)).conf
        conf.set_override('local_endpoint', f'fake://{conf.host}', group='bays')
        conf.register_opts(standalone.CLI_OPTS)
        standalone.set_defaults(conf)
        return conf

    def start(self, conf=None):
        made = standalone.Standalone(conf or self.conf)
        made.start()
        self.addCleanup(made.stop)
        return made

    def request(self, path, body=None):
        asked = urllib.request.Request(
            f'http://127.0.0.1:{self.conf.api.port}{path}',
            None if body is None else json.dumps(body).encode(),
            {**fixtures.NEWEST, 'Content-Type': 'application/json'})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=10) as answer:
            return json.loads(answer.read())

    def test_it_is_ready_when_it_has_started(self):
        self.start()
        made = self.request('/v1/containers', {'image': base.IMAGE, 'name': 'web'})
        fixtures.eventually(lambda: self.request(
            f'/v1/containers/{made["uuid"]}')['status'] == 'Created')

    def test_its_database_is_in_its_directory(self):
        self.start()
        path = os.path.join(self.conf.state_path, 'container-service.sqlite')
        self.assertEqual(f'sqlite:///{path}', self.conf.database.connection)
        self.assertTrue(os.path.exists(path))

    def test_it_makes_keys_for_secrets(self):
        self.start()
        path = os.path.join(self.conf.state_path, 'secrets.keys')
        self.assertEqual(0o100600, os.stat(path).st_mode)
        made = self.request('/v1/registries', {'registry': {
            'domain': 'quay.io', 'username': 'u', 'password': 'p'}})
        self.assertEqual('***', made['registry']['password'])

    def test_it_makes_the_local_bay_once(self):
        for _ in range(2):
            made = standalone.Standalone(self.conf)
            made.start()
            made.stop()
        with made._db.read() as conn:
            rows, _ = bays.listing(conn, page=paging.Page(limit=10))
        self.assertEqual([('local', [self.conf.host], True)],
                         [(row.name, row.hosts, row.public) for row in rows])

    def test_two_in_one_directory(self):
        self.start()
        other = self.configure()
        other.set_override('state_path', self.conf.state_path)
        error = self.assertRaises(exceptions.Error, standalone.Standalone(other).start)
        self.assertIn('--state-dir', error.detail)

    def test_a_port_that_is_taken(self):
        """It says so, and leaves nothing running."""
        self.start()
        other = self.configure(api_host=self.conf.api.host)
        other.set_override('port', self.conf.api.port, group='api')
        made = standalone.Standalone(other)
        error = self.assertRaises(exceptions.Error, made.start)
        self.assertIn(str(self.conf.api.port), error.detail)
        with made._db.read() as conn:
            self.assertEqual([], conductors.live(conn))
