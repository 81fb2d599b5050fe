# SPDX-License-Identifier: Apache-2.0
"""What tests run in: a configuration, databases, a deployment in this process or of processes."""

import atexit
from concurrent import futures
import contextlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from unittest import mock
import urllib.error
import urllib.request
import uuid

import docker
import fixtures
from oslo_config import cfg
from oslo_db import exception as db_exc
from oslo_messaging import conffixture
import sqlalchemy as sa
from sqlalchemy import event
from testtools import content
from testtools import content_type
import webtest

from container_service import bays as bay_rules
from container_service import conf as options
from container_service import context
from container_service import rpc
from container_service import secrets
from container_service.api import app
from container_service.api.controllers import root
from container_service.conductor import service
from container_service.db import base
from container_service.db import conductors
from container_service.db import migration
from container_service.db import settings
from container_service.drivers import base as drivers
from container_service.drivers import fake
from container_service.tests import safety

NEWEST = {'OpenStack-API-Version': 'container latest'}


def needed(name):
    """A variable of the environment that tools/test.sh sets.

    Tests that need a service fail where it is missing: a skipped test tells nobody that it has
    not been run.
    """
    value = os.environ.get(name)
    if not value:
        raise AssertionError(f'{name} is not set. tools/test.sh starts the services that this '
                             f'test needs and says where they are.')
    return value


def eventually(look, seconds=20, pause=0.02):
    """Return what ``look()`` returns as soon as that is true; raises AssertionError."""
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f'not within {seconds} seconds; last seen: {found!r}')
        time.sleep(pause)


class Clock:
    """A monotonic clock that stands still until told otherwise."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds


class Conf(fixtures.Fixture):
    """A configuration of a test's own, with a host name and a state directory of its own.

    Options are given as ``group_option``: Conf(conductor_workers=2).
    """

    def __init__(self, **values):
        self._values = values

    def _setUp(self):
        self.conf = options.register(cfg.ConfigOpts())
        # Registers what oslo.messaging itself registers with the global object only.
        self.useFixture(conffixture.ConfFixture(self.conf))
        self.conf([], project=options.PROJECT, default_config_files=[], default_config_dirs=[])
        self.set(host=f'host-{uuid.uuid4().hex[:12]}', bays_drivers=['docker', 'fake'],
                 state_path=self.useFixture(fixtures.TempDir()).path,
                 **{'egress_allowed_networks': ['127.0.0.0/8'], **self._values})

    def set(self, **values):
        for name, value in values.items():
            group, _, option = name.partition('_')
            if group in self.conf and isinstance(self.conf[group], cfg.ConfigOpts.GroupAttr):
                self.conf.set_override(option, value, group=group)
            else:
                self.conf.set_override(name, value)


class Database(fixtures.Fixture):
    """An empty database of a test's own on a server; ``kind`` is mysql or postgresql."""

    _ADMINISTRATION = {'mysql': 'information_schema', 'postgresql': 'postgres'}

    def __init__(self, conf, kind):
        self._conf, self._kind = conf, kind

    def _setUp(self):
        server = needed(f'CS_TEST_{self._kind.upper()}_URL')
        prefix = os.environ.get('CS_TEST_DATABASE_PREFIX', 'cs_test_')
        self.name = f'{prefix}{uuid.uuid4().hex[:12]}'
        admin = sa.create_engine(server + self._ADMINISTRATION[self._kind],
                                 isolation_level='AUTOCOMMIT', poolclass=sa.pool.NullPool)
        with admin.connect() as conn:
            conn.exec_driver_sql(f'CREATE DATABASE {self.name}')
        self.addCleanup(self._drop, admin)
        self.url = server + self.name
        self._conf.set_override('connection', self.url, group='database')
        self.db = base.Database(self._conf)
        self.addCleanup(self.db.dispose)

    def _drop(self, admin):
        force = ' WITH (FORCE)' if self._kind == 'postgresql' else ''
        with admin.connect() as conn:
            conn.exec_driver_sql(f'DROP DATABASE {self.name}{force}')


class SqliteDatabase(fixtures.Fixture):
    """A SQLite file of a test's own, with the schema in it unless told otherwise."""

    _template = None

    def __init__(self, conf, schema=True):
        self._conf, self._schema = conf, schema

    def _setUp(self):
        path = os.path.join(self._conf.state_path, 'container-service.sqlite')
        if self._schema:
            shutil.copy(self._migrated(), path)
        self._conf.set_override('connection', f'sqlite:///{path}', group='database')
        # Tests survive no power loss anyway.
        self._conf.set_override('sqlite_synchronous', False, group='database')
        self.db = base.Database(self._conf)
        self.addCleanup(self.db.dispose)

    @classmethod
    def _migrated(cls):
        """Migrations are run once per process and their result is copied."""
        if cls._template is None:
            directory = tempfile.mkdtemp()
            atexit.register(shutil.rmtree, directory, ignore_errors=True)
            path = os.path.join(directory, 'template.sqlite')
            conf = options.register(cfg.ConfigOpts())
            conf([], project=options.PROJECT, default_config_files=[], default_config_dirs=[])
            conf.set_override('connection', f'sqlite:///{path}', group='database')
            db = base.Database(conf)
            migration.sync(db)
            db.dispose()
            cls._template = path
        return cls._template


@contextlib.contextmanager
def lost_commit(db, landed, times=1):
    """Lose the connection while committing, after the database did it or (not landed) before.

    Yields a list of what was lost, for a test to see that it came to that.
    """
    lost = []

    def lose(conn):
        if len(lost) < times:
            lost.append(conn)
            if landed:
                conn.connection.commit()
            conn.invalidate()
            raise db_exc.DBConnectionError('server has gone away')

    event.listen(db.engine, 'commit', lose)
    try:
        yield lost
    finally:
        event.remove(db.engine, 'commit', lose)


def application(owner, conf, db, bus):
    """The WSGI application, and the Parts that it is made of.

    It rings nobody after its owner, a test or a fixture.
    """
    with mock.patch.object(root, 'RootController', wraps=root.RootController) as made:
        built = app.build(conf, db, bus)
    parts = made.call_args.args[0]
    owner.addCleanup(parts.doorbell.stop)
    return built, parts


class Deployment(fixtures.Fixture):
    """API and one conductor in this process: SQLite, in-process bus, fake engine.

    ``api`` takes requests (webtest.TestApp), ``engine`` is the fake.FakeEngine behind the one
    bay, ``bay`` its row.  Options are given as to Conf; ``engine_options`` are the query of the
    bay's endpoint.
    """

    def __init__(self, engine_options='', **values):
        self._engine_options = engine_options
        self._values = {'conductor_poll_interval': 0.2, 'conductor_retry_interval': 0.1,
                        'conductor_reconcile_interval': 3600, 'conductor_shutdown_timeout': 5,
                        **values}

    def _setUp(self):
        self.conf = self.useFixture(Conf(**self._values)).conf
        self.db = self.useFixture(SqliteDatabase(self.conf)).db
        self.engine = fake.FakeEngine.get(self.conf.host)
        self.addCleanup(fake.FakeEngine.forget, self.conf.host)
        self.bay, _ = bay_rules.create(
            context.RequestContext(project_id='admins', is_admin=True, overwrite=False),
            self.conf, self.db, name='bay', driver='fake', public=True,
            endpoint=f'fake://{self.conf.host}?{self._engine_options}')
        self.bus = rpc.transport(self.conf, 'fake://')
        self.application, _ = application(self, self.conf, self.db, self.bus)
        self.api = webtest.TestApp(self.application, extra_environ={'HTTP_HOST': 'localhost'})
        self.start_conductor()

    def start_conductor(self):
        self.conductor = service.Conductor(self.conf, self.db, self.bus)
        self.conductor.start()
        self.addCleanup(self.conductor.stop)


class Process:
    """One of the shipped commands, running; ended by the pid that was started."""

    def __init__(self, name, arguments, log):
        self.name, self.log = name, log
        command = os.path.join(os.path.dirname(sys.executable), name)
        with open(log, 'ab') as out:
            self._popen = subprocess.Popen(
                [command, *arguments], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True)

    @property
    def pid(self):
        return self._popen.pid

    def check(self):
        """Raises AssertionError when it has ended."""
        if self._popen.poll() is not None:
            with open(self.log, errors='replace') as f:
                last = ''.join(f.readlines()[-20:])
            raise AssertionError(
                f'{self.name} ended with exit code {self._popen.returncode}:\n{last}')

    def kill(self):
        self._popen.kill()
        self._popen.wait(10)

    def send(self, number):
        """Send a signal and do not wait."""
        self._popen.send_signal(number)

    def ended(self, seconds=20):
        """The exit code, once it has ended by itself."""
        return self._popen.wait(seconds)

    def stop(self, seconds=20):
        """Ask it to end, and return its exit code."""
        if self._popen.poll() is None:
            self._popen.send_signal(signal.SIGTERM)
            try:
                self._popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f'{self.name} did not end within {seconds} seconds of '
                                     f'SIGTERM') from None
        return self._popen.returncode


class Answer:
    """What came back over HTTP.  ``seconds`` is how long that took."""

    def __init__(self, status, headers, body, seconds):
        self.status, self.headers, self.body, self.seconds = status, headers, body, seconds

    @property
    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return f'<Answer {self.status} {self.body!r}>'


class Processes(fixtures.Fixture):
    """The shipped commands as processes of their own: API, conductors, bus, SQL, Docker.

    ``database`` is mysql or postgresql; ``transport_url`` the broker, by default the one of
    the test run.  ``config`` is the end of their configuration, which is in the section
    [conductor].  Their logs are shown when the test fails.
    """

    api_command = ('container-service-api',)

    def __init__(self, database, conductors=1, transport_url=None, config=''):
        self._kind, self._count, self._config = database, conductors, config
        self._transport_url = transport_url

    def _setUp(self):
        self.directory = self.useFixture(fixtures.TempDir()).path
        # A name of its own on a bus and in an engine that others use too.
        self.host = f'host-{uuid.uuid4().hex[:12]}'
        self._conf = self.useFixture(Conf()).conf
        self.url = f'http://127.0.0.1:{free_port()}'
        self._write_config(self._provide_database())
        self.manage('db', 'sync')
        self.deployment = settings.deployment(self.db)
        self.engine = docker.DockerClient(needed('CS_TEST_DOCKER'))
        self.addCleanup(self.engine.close)
        self.addCleanup(self._remove_containers)
        self._start_all()

    def _provide_database(self):
        """Make ``db``; returns its address."""
        database = self.useFixture(Database(self._conf, self._kind))
        self.db = database.db
        return database.url

    def _start_all(self):
        self.conductors = [self.start_conductor() for _ in range(self._count)]
        self.api = self._start(*self.api_command)
        eventually(self._is_up, 60, 0.1)
        self.eventually_live(self._count)
        self.request('POST', '/v1/bays', {
            'name': 'bay', 'endpoint': needed('CS_TEST_DOCKER'), 'hosts': [self.host],
            'public': True}, expect=201)

    def _write_config(self, connection):
        secrets.create_key(os.path.join(self.directory, 'secrets.keys'))
        self.config_file = os.path.join(self.directory, 'container-service.conf')
        with open(self.config_file, 'w') as f:
            f.write(f'''\
[DEFAULT]
host = {self.host}
state_path = {self.directory}/state
transport_url = {self._transport_url or needed('CS_TEST_TRANSPORT_URL')}

[database]
connection = {connection}

[api]
port = {self.url.rpartition(':')[2]}

[secrets]
keys_file = {self.directory}/secrets.keys

[egress]
allowed_networks = 127.0.0.0/8

[conductor]
heartbeat_interval = 0.5
lease = 3
retry_interval = 0.5
{self._config}
''')

    def manage(self, *arguments):
        """Run container-service-manage to its end and return what it printed."""
        done = subprocess.run(
            [os.path.join(os.path.dirname(sys.executable), 'container-service-manage'),
             '--config-file', self.config_file, *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=60)
        if done.returncode:
            raise AssertionError(f'container-service-manage failed:\n{done.stdout}')
        return done.stdout

    def start_conductor(self, host=None):
        """Start one more; ``host`` for one as on another machine, with files of its own."""
        if host is None:
            return self._start('container-service-conductor')
        path = os.path.join(self.directory, f'{host}.conf')
        with open(path, 'w') as f:
            f.write(f'[DEFAULT]\nhost = {host}\nstate_path = {self.directory}/{host}\n')
        return self._start('container-service-conductor', more=('--config-file', path))

    def _start(self, command, *arguments, more=()):
        log = os.path.join(self.directory, f'{command}.{uuid.uuid4().hex[:4]}.log')
        process = Process(
            command, [*arguments, '--config-file', self.config_file, *more], log)
        self.addCleanup(process.stop)
        self.addDetail(os.path.basename(log), content.content_from_file(
            log, content_type.UTF8_TEXT))
        return process

    def _is_up(self):
        self.api.check()
        try:
            return self.request('GET', '/').status == 200
        except OSError:
            return False

    def live_conductors(self):
        with self.db.read() as conn:
            return conductors.live(conn)

    def eventually_live(self, count):
        eventually(lambda: len(self.live_conductors()) == count, 60, 0.1)

    def request(self, method, path, body=None, expect=None):
        """Send a request of the newest version; returns the Answer."""
        data = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(
            self.url + path, data, {**NEWEST, 'Content-Type': 'application/json'},
            method=method)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        began = time.monotonic()
        try:
            with opener.open(asked, timeout=30) as response:
                answer = Answer(response.status, response.headers, response.read(),
                                time.monotonic() - began)
        except urllib.error.HTTPError as error:
            with error:
                answer = Answer(error.code, error.headers, error.read(),
                                time.monotonic() - began)
        if expect is not None and answer.status != expect:
            raise AssertionError(f'{method} {path}: {expect} expected, got {answer}')
        return answer

    def _remove_containers(self):
        faults = []
        for left in self.engine.containers.list(all=True, filters={
                'label': f'{drivers.LABEL_DEPLOYMENT}={self.deployment}'}):
            faults += safety.faults_of_inspect(left.attrs)
            left.remove(force=True)
        if faults:
            raise AssertionError(f'The service has made what is not safe: {faults}')


class Service(fixtures.Fixture):
    """A rabbitmq, mariadb or postgresql of a test's own, which it may kill or freeze.

    ``url`` is what the environment variable of that name in tools/services.sh says of it.
    """

    _URLS = {'rabbitmq': 'CS_TEST_TRANSPORT_URL', 'mariadb': 'CS_TEST_MYSQL_URL',
             'postgresql': 'CS_TEST_POSTGRESQL_URL'}

    def __init__(self, name):
        self.name = name

    def _setUp(self):
        # The server may run as a user of its own, who must be able to enter; and a Unix
        # socket's path must be short.
        self._directory = tempfile.mkdtemp(prefix='cs-', dir='/tmp')
        self.addCleanup(shutil.rmtree, self._directory, ignore_errors=True)
        os.chmod(self._directory, 0o755)
        self.addCleanup(self.run, 'stop', self.name)
        self.start()
        for line in self.run('env').splitlines():
            name, _, value = line.removeprefix('export ').partition('=')
            if name == self._URLS[self.name]:
                self.url = value

    def start(self):
        self.run('start', self.name)

    def stop(self):
        self.run('stop', self.name)

    def kill(self):
        self.run('kill', self.name)

    @property
    def home(self):
        """Its directory: what is in ``more`` there (``more.conf`` of a broker) counts from the
        next start on."""
        return os.path.join(self._directory, self.name)

    @contextlib.contextmanager
    def frozen(self):
        """Its processes stand still meanwhile."""
        stopped = list(_with_children(int(self.run('pid', self.name))))
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)

    def run(self, *arguments):
        """Run tools/services.sh for it; returns what that printed."""
        done = subprocess.run(
            [needed('CS_TEST_SERVICES'), *arguments], stdin=subprocess.DEVNULL, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=180,
            env={**os.environ, 'CONTAINER_SERVICE_SERVICES_DIR': self._directory})
        if done.returncode:
            raise AssertionError(f'services.sh {" ".join(arguments)} failed:\n{done.stdout}')
        return done.stdout


class Broker(Service):
    """A RabbitMQ of a test's own."""

    def __init__(self):
        super().__init__('rabbitmq')

    @property
    def transport_url(self):
        return self.url

    def control(self, *arguments):
        """Run rabbitmqctl; returns what it printed."""
        return self.run('rabbitmqctl', '-q', *arguments)


def _with_children(pid):
    yield pid
    with open(f'/proc/{pid}/task/{pid}/children') as f:
        for child in f.read().split():
            yield from _with_children(int(child))


def image_tags(engine):
    """All names of the images of a DockerClient's engine, whatever others remove meanwhile."""
    return {tag for image in engine.api.images() for tag in image['RepoTags'] or ()}


def background(function, *args):
    """Run it in a thread of its own; what it returns or raises is in the Future."""
    future = futures.Future()

    def run():
        try:
            future.set_result(function(*args))
        except BaseException as exc:
            future.set_exception(exc)

    threading.Thread(target=run, daemon=True).start()
    return future


def free_port(count=1):
    """The first of so many ports in a row that nobody listens on now.

    Below those that the system gives to connections that go out: one of these could be in the way
    when who listened there is started again.
    """
    while True:
        first = random.randrange(15000, 32000)
        with contextlib.ExitStack() as stack:
            try:
                for port in range(first, first + count):
                    stack.enter_context(socket.create_server(('127.0.0.1', port)))
            except OSError:
                continue
        return first
