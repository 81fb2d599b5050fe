# SPDX-License-Identifier: Apache-2.0
"""A documented deployment to be hurt: the shipped commands, on hosts of their own.

Two API processes, three conductors, a database, a broker, two Docker Engines; a fault proxy in
every link.  All of it is made by this run and ended with it, whatever happens, except for the
first engine, which only loses the containers of this run.
"""

import contextlib
import os
import pathlib
import secrets
import shlex
import shutil
import sys
import tempfile
import urllib.parse

import sqlalchemy as sa

from container_service.db import conductors
from container_service.db import models
from faults import client
from faults import database
from faults import engine
from faults import host
from faults import observer
from faults import process
from faults import proxy
from faults import services

APIS = ('api1', 'api2')
CONDUCTORS = ('node1', 'node2', 'node3')

# What conductors are told beyond what the documentation says; quick, so that most scenarios
# are over in seconds.  What is promised is proportional to it.
QUICK = {'heartbeat_interval': 0.5, 'lease': 3, 'poll_interval': 0.5, 'retry_interval': 0.5,
         'probe_interval': 1, 'parked_interval': 0.5, 'reconcile_interval': 5,
         'shutdown_timeout': 20}

# As shipped.
DEFAULTS = {}


class World:
    """``kind`` is mysql or postgresql.  Use it as a context."""

    def __init__(self, kind, seed):
        self.kind, self.seed = kind, seed
        self.bug = None                     # a bugs.Bug that is in all daemons
        self.runs = 0                       # of scenarios, so far
        self.unseen = set()                 # uuids of bays whose engines cannot be looked at
        prefix = os.environ.get('CS_TEST_DATABASE_PREFIX', 'cs_faults_')
        self.name = prefix + secrets.token_hex(4)
        self.secrets = [f'planted-{secrets.token_hex(8)}']      # texts that no log may have
        self._stack = contextlib.ExitStack()
        self._conductor_settings = QUICK

    def __enter__(self):
        with self._stack:
            self._make()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *exc_info):
        self._stack.__exit__(*exc_info)

    def _make(self):
        stack = self._stack
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix='cs-faults-'))
        stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
        self.proxy = stack.enter_context(proxy.Proxy(self.seed))
        self.broker = services.Service('rabbitmq')
        self.sql = services.Service({'mysql': 'mariadb'}.get(self.kind, self.kind))
        self.database = database.Database(
            self.kind, os.environ[f'CS_TEST_{self.kind.upper()}_URL'], self.name, stack)
        self._make_vhost()
        self._make_engines()
        self._make_hosts()
        self._command('container-service-manage', 'db', 'sync')
        self.database.watch()
        settings = models.settings
        self.deployment = self.database.rows(sa.select(settings.c.value).where(
            settings.c.name == 'deployment'))[0].value
        for each in self.engines.values():
            stack.callback(each.remove_all, self.deployment)
            stack.enter_context(observer.Following(self.observer, each, self.deployment))
        for each in self.hosts.values():
            each.start()
        self.await_all()
        self._make_bays()

    def _make_vhost(self):
        control = shlex.split(os.environ['CS_TEST_RABBITMQCTL'])
        password = f'planted-{secrets.token_hex(8)}'
        self.secrets.append(password)

        def rabbitmqctl(*arguments):
            return process.run([*control, '-q', *arguments])

        rabbitmqctl('add_vhost', self.name)
        self._stack.callback(rabbitmqctl, 'delete_vhost', self.name)
        rabbitmqctl('add_user', self.name, password)
        self._stack.callback(rabbitmqctl, 'delete_user', self.name)
        rabbitmqctl('set_permissions', '-p', self.name, self.name, '.*', '.*', '.*')
        self._bus = f'rabbit://{self.name}:{password}@127.0.0.1:{{port}}/{self.name}'
        address = urllib.parse.urlsplit(os.environ['CS_TEST_TRANSPORT_URL'])
        self.bus_url = self._bus.format(port=address.port)       # past the proxies
        self.rabbitmqctl = rabbitmqctl

    def _make_engines(self):
        one = engine.Engine('one', os.environ['CS_TEST_DOCKER'])
        self._stack.callback(one.close)
        self.image = os.environ['CS_TEST_IMAGE']
        two = engine.OwnEngine('two', self.image, one)
        self._stack.callback(two.close)
        self.engines = {'one': one, 'two': two}
        self.observer = observer.Observer()

    def _make_hosts(self):
        broker = urllib.parse.urlsplit(os.environ['CS_TEST_TRANSPORT_URL'])
        parts = {'database': host.Part(self.database.address, self.kind),
                 'broker': host.Part(f'{broker.hostname}:{broker.port}')}
        engines = {name: host.Part(each.endpoint, 'http') for name, each in self.engines.items()}
        self.apis = [self._host(name, 'container-service-api', parts, isolated=False)
                     for name in APIS]
        self.conductors = [
            self._host(name, 'container-service-conductor', {**parts, **engines}, isolated=True)
            for name in CONDUCTORS]
        self.hosts = {each.name: each for each in (*self.apis, *self.conductors)}
        self.clients = client.Addresses([each.port for each in self.apis])

    def _host(self, name, command, parts, isolated):
        url = self.database.account(name)
        port = client.free_port()

        def settings(ports):
            return {
                'DEFAULT': {'host': name, 'state_path': made.directory / 'state',
                            'transport_url': self._bus.format(port=ports['broker'])},
                'database': {'connection': url(ports['database'])},
                'api': {'port': port},
                # The engines are behind links on the loopback interface.
                'bays': {'allow_insecure_tcp': 'true', 'drivers': 'docker,fake',
                         'allowed_networks': '127.0.0.0/8'},
                # So are registries.
                'egress': {'allowed_networks': '127.0.0.0/8'},
                'conductor': self._conductor_settings}

        made = host.Host(name, command, self.directory, self.proxy, parts, settings, isolated)
        made.port = port
        self._stack.callback(made.close)
        return made

    def _command(self, name, *arguments):
        """Run a shipped command to its end, with the configuration of the first API."""
        conf = self.apis[0].write_conf()
        return process.run([pathlib.Path(sys.executable).parent / name,
                            '--config-file', conf, *arguments])

    def _make_bays(self):
        caller = client.Client(self.clients)
        self.bays = {}
        for name in self.engines:
            answer = caller.ask('POST', '/v1/bays', {
                'name': name, 'endpoint': f'tcp://127.0.0.1:{host.PORTS[name]}', 'public': True})
            if answer.status != 201:
                raise process.Broken(f'no bay: {answer}')
            self.bays[name] = answer.json['uuid']
        caller.close()

    # How it is.

    def is_up(self, conductor):
        """Whether it is registered by the process that runs there."""
        c = conductors.table.c
        return bool(self.database.rows(sa.select(c.id).where(
            c.state == conductors.UP, c.host == conductor.name,
            c.pid == conductor.process.pid)))

    def await_up(self, each):
        """Wait until a host that was started does its work.  Raises Broken."""
        def up():
            each.process.check()
            if each in self.apis:
                return client.answers(each.port)
            return self.is_up(each)

        process.wait_for(up, f'{each} does not come up', pause=0.1)

    def await_all(self):
        for each in self.hosts.values():
            self.await_up(each)

    @contextlib.contextmanager
    def changed(self, hosts, **values):
        """Hosts whose ``patch``, ``environ`` or ``options`` are others while the context lasts."""
        before = {each: {name: getattr(each, name) for name in values} for each in hosts}
        try:
            self._change({each: values for each in hosts})
            yield
        finally:
            self._change(before)

    def _change(self, values):
        for each, its in values.items():
            if each.running():
                each.kill()
            for name, value in its.items():
                setattr(each, name, value)
            each.start()
        for each in values:
            self.await_up(each)

    def put_in(self, bug):
        """Let all daemons have a bug, or none, from now on."""
        if bug != self.bug:
            self.bug = bug
            for each in self.hosts.values():
                each.kill()
                each.bug = bug and bug.name

    def mend(self, settings=QUICK):
        """Heal all links and start what is down; conductors with these settings."""
        self.proxy.heal()
        if settings != self._conductor_settings:
            self._conductor_settings = settings
            for each in self.conductors:
                if each.running():
                    each.kill()
        for each in self.hosts.values():
            each.thaw() if each.running() else each.start()
        self.await_all()
