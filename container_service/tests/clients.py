# SPDX-License-Identifier: Apache-2.0
"""The clients of the field, for tests: they run beside us, in an environment of their own."""

import base64
import json
import os
import subprocess
import threading

import fixtures as pyfixtures

from container_service.db import base as base_db
from container_service.tests import fixtures

_PROGRAM = os.path.join(os.path.dirname(__file__), 'field_clients.py')
_SECONDS = 90       # for one command; importing everything is part of the first one


class Standalone(fixtures.Processes):
    """container-service-standalone as a process, with what ``Processes`` has."""

    api_command = ('container-service-standalone',)

    def __init__(self):
        super().__init__('sqlite', config=f'''
[bays]
local_endpoint = {fixtures.needed('CS_TEST_DOCKER')}
''')

    def _provide_database(self):
        address = f'sqlite:///{self.directory}/container-service.sqlite'
        self._conf.set_override('connection', address, group='database')
        self.db = base_db.Database(self._conf)
        self.addCleanup(self.db.dispose)
        return address

    def _start_all(self):
        self.api = self._start(*self.api_command)
        fixtures.eventually(self._is_up, 60, 0.1)
        self.eventually_live(1)


class Field(pyfixtures.Fixture):
    """python-openstackclient, python-zunclient and python-magnumclient against one endpoint.

    Given ``credentials`` (variables of the environment), ``openstack`` finds the endpoint itself.
    They run in one process; ``openstack_process`` starts one as a user does, which costs two
    seconds of computing.
    """

    def __init__(self, url=None, credentials=None):
        self._identity = credentials or {'OS_AUTH_TYPE': 'none', 'OS_ENDPOINT': f'{url}/v1'}

    def _setUp(self):
        self._python = fixtures.needed('CS_TEST_CLIENTS')
        self.directory = self.useFixture(pyfixtures.TempDir()).path
        self._errors = open(os.path.join(self.directory, 'stderr'), 'w+')
        self.addCleanup(self._errors.close)
        self._process = subprocess.Popen(
            [self._python, _PROGRAM], text=True, env=self._environment(), cwd=self.directory,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors)
        self.addCleanup(self._end)

    def _environment(self, **more):
        kept = {name: value for name, value in os.environ.items()
                if not name.startswith(('OS_', 'PYTHON')) and not name.lower().endswith('_proxy')}
        return {**kept, **self._identity, **more}

    def _end(self):
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def openstack(self, *arguments, version=None):
        """Run ``openstack appcontainer ...``; returns (exit code, standard output, error)."""
        options = ['--os-container-api-version', version] if version else []
        answer = self._ask(osc=[*options, 'appcontainer', *arguments], cwd=self.directory)
        return answer['code'], answer['out'], answer['err']

    def openstack_process(self, *arguments, **environment):
        """Run ``openstack`` as a process of its own; returns what subprocess.run does."""
        return subprocess.run(
            [os.path.join(os.path.dirname(self._python), 'openstack'), *arguments], text=True,
            env=self._environment(**environment), cwd=self.directory, timeout=_SECONDS,
            stdin=subprocess.DEVNULL, capture_output=True)

    def zun(self, manager, method, **kwargs):
        """Call a method of zunclient's Python API; returns what it does, made plain."""
        return self._call('zun', manager, method, kwargs)

    def magnum(self, manager, method, **kwargs):
        """Call a method of magnumclient's Python API; returns what it does, made plain."""
        return self._call('magnum', manager, method, kwargs)

    def _call(self, client, manager, method, kwargs):
        kwargs = {name: {'bytes': base64.b64encode(value).decode()}
                  if isinstance(value, bytes) else value for name, value in kwargs.items()}
        answer = self._ask(**{client: [manager, method]}, kwargs=kwargs)
        if 'raised' in answer:
            raise ClientRaised(*answer['raised'])
        return answer['result']

    def _ask(self, **request):
        # A client that waits for ever would otherwise end with the whole run.
        timer = threading.Timer(_SECONDS, self._process.kill)
        timer.start()
        try:
            self._process.stdin.write(json.dumps(request) + '\n')
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self._errors.seek(0)
            raise AssertionError(f'no answer to {request}:\n{self._errors.read()}')
        return json.loads(line)


class ClientRaised(Exception):
    """An exception of a client: the name of its class, and its text."""

    def __init__(self, kind, text):
        self.kind, self.text = kind, text
        super().__init__(f'{kind}: {text}')
