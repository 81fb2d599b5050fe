# SPDX-License-Identifier: Apache-2.0
"""TLS to broker and databases, as the deployment guide says; and quorum queues."""

import configparser
import os
import pathlib
import re
import subprocess

from kombu import exceptions as kombu_exc
import sqlalchemy as sa

from container_service import calls
from container_service import exceptions
from container_service import rpc
from container_service.db import base as db_base
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests.unit import test_rpc
from container_service.tests.unit.test_calls import BAY
from container_service.tests.unit.test_calls import Tickets

INSTALL = pathlib.Path(__file__).parents[3] / 'doc/source/install'


class TLSCase(base.TestCase):

    time_limit = 120

    def serve(self, service, more):
        """A service with a certificate of its own; ``more`` are lines for its configuration."""
        server = self.useFixture(service)
        server.stop()
        owner = os.stat(server.home)
        for name, host in (('server', '127.0.0.1'), ('stranger', '127.0.0.1')):
            subprocess.run(
                ['openssl', 'req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2',
                 '-keyout', f'{server.home}/{name}.key', '-out', f'{server.home}/{name}.pem',
                 '-subj', f'/CN={host}', '-addext', f'subjectAltName=IP:{host},DNS:localhost'],
                check=True, capture_output=True)
            os.chmod(f'{server.home}/{name}.key', 0o600)
            for kind in ('key', 'pem'):
                os.chown(f'{server.home}/{name}.{kind}', owner.st_uid, owner.st_gid)
        name = 'more.conf' if server.name == 'rabbitmq' else 'more'
        pathlib.Path(server.home, name).write_text(
            '\n'.join(more).format(home=server.home) + '\n')
        server.start()
        return server


class TestBroker(TLSCase):

    def setUp(self):
        super().setUp()
        self.port = fixtures.free_port()
        self.broker = self.serve(fixtures.Broker(), [
            f'listeners.ssl.default = 127.0.0.1:{self.port}',
            'ssl_options.cacertfile = {home}/server.pem',
            'ssl_options.certfile = {home}/server.pem',
            'ssl_options.keyfile = {home}/server.key'])

    def configured(self, certificate):
        """As the guide shows, with the names of here."""
        guide = configparser.ConfigParser(strict=False)
        guide.read(INSTALL / 'tls.conf')
        conf = self.useFixture(fixtures.Conf()).conf
        url = self.broker.url.replace('/127.0.0.1:', '/localhost:').replace(
            '@127.0.0.1:', '@localhost:')
        url = re.sub(r'@localhost:\d+', f'@localhost:{self.port}', url)
        rpc.transport(conf, url).cleanup()           # makes the options known
        for name, value in guide['oslo_messaging_rabbit'].items():
            if name in guide.defaults():
                continue
            conf.set_override(name, certificate if name == 'ssl_ca_file' else value,
                              group='oslo_messaging_rabbit')
        return conf, url

    def ask(self, conf, url):
        bus = rpc.transport(conf, url)
        self.addCleanup(bus.cleanup)
        answers = test_rpc.Answers()
        server = rpc.server(bus, rpc.ASK_TOPIC, 'here.0', answers)
        server.start()
        self.addCleanup(server.stop)
        asking = calls.Calls(bus, lambda *args: 'here.0', 2, Tickets())
        self.addCleanup(asking.stop)
        return asking.ask('c1', BAY, 'logs', {}, 10)

    def test_with_its_certificate(self):
        self.assertEqual('hello\n', self.ask(*self.configured(f'{self.broker.home}/server.pem')))
        conf, url = self.configured(f'{self.broker.home}/stranger.pem')
        bus = rpc.transport(conf, url)
        self.addCleanup(bus.cleanup)
        error = self.assertRaises(
            kombu_exc.OperationalError,
            rpc.client(bus, rpc.WAKE_TOPIC).prepare(server='here.0', retry=0).cast,
            {}, 'wake', container_uuid='c1')
        self.assertIn('CERTIFICATE_VERIFY_FAILED', str(error))

    def test_quorum_queues(self):
        text = (INSTALL / 'deployment.rst').read_text()
        conf, url = self.configured(f'{self.broker.home}/server.pem')
        for name in ('rabbit_quorum_queue', 'rabbit_transient_quorum_queue'):
            self.assertIn(f'{name} = true', text)
            conf.set_override(name, True, group='oslo_messaging_rabbit')
        self.assertEqual('hello\n', self.ask(conf, url))
        kinds = self.broker.control('list_queues', '--no-table-headers', 'type').split()
        self.assertEqual({'quorum'}, set(kinds))


class TestDatabases(TLSCase):

    def parameters(self, scheme):
        """What the guide appends to the URL."""
        text = (INSTALL / 'deployment.rst').read_text()
        return re.search(rf'connection = {re.escape(scheme)}://\S*?(\?\S*ca\S*)', text)[1]

    def read(self, server, scheme, certificate, statement):
        url = (server.url.replace('127.0.0.1', 'localhost') + 'openstack_citest'
               + self.parameters(scheme).replace('/etc/container-service/ca.pem', certificate))
        conf = self.useFixture(fixtures.Conf(database_connection=url)).conf
        db = db_base.Database(conf, 3)
        self.addCleanup(db.dispose)
        with db.read() as conn:
            return conn.execute(sa.text(statement)).first()

    def check(self, service, scheme, more, statement, expected):
        server = self.serve(service, more)
        certificate = f'{server.home}/server.pem'
        self.assertEqual(expected, self.read(server, scheme, certificate, statement)[-1])
        self.assertRaises(exceptions.DatabaseUnavailable, self.read, server, scheme,
                          f'{server.home}/stranger.pem', statement)

    def test_mariadb(self):
        self.check(fixtures.Service('mariadb'), 'mysql+pymysql',
                   ['--ssl-cert={home}/server.pem', '--ssl-key={home}/server.key'],
                   "SELECT VARIABLE_VALUE != '' FROM information_schema.SESSION_STATUS "
                   "WHERE VARIABLE_NAME = 'Ssl_cipher'", 1)

    def test_postgresql(self):
        self.check(fixtures.Service('postgresql'), 'postgresql+psycopg2',
                   ['-c', 'ssl=on', '-c', 'ssl_cert_file={home}/server.pem',
                    '-c', 'ssl_key_file={home}/server.key'],
                   'SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()', True)
