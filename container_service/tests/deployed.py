# SPDX-License-Identifier: Apache-2.0
"""What tests of a whole deployment share: who calls it, and engines and registries of their own.

The deployment itself is ``fixtures.Processes``; these go around it.
"""

import http.client
import json
import logging
import threading
import time
import urllib.parse

from testtools import content

from container_service import rpc
from container_service import states
from container_service.conductor import service
from container_service.db import base as base_db
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import fixtures

# Of what comes in while a connection is closed, when no test is there to take it.
logging.getLogger('amqp').addHandler(logging.NullHandler())

WAIT = 60       # seconds until an outcome that does not come is a failure


class Caller:
    """One connection to the API, kept open, and words to ask with.  Not for two threads."""

    # Seconds after which the server may have closed a connection that nobody used.
    _IDLE = 10

    def __init__(self, url, version='latest', project=None):
        self._address = urllib.parse.urlsplit(url).netloc
        self._headers = {'OpenStack-API-Version': f'container {version}',
                         'Content-Type': 'application/json'}
        if project is not None:
            self._headers['X-Test-Project'] = project
        self._connection = None
        self._used_at = 0

    def request(self, method, path, body=None, expect=None, timeout=60, **headers):
        """Send a request; returns the fixtures.Answer.  Headers are given as ``Prefer=...``."""
        began = time.monotonic()
        if self._connection is None or began - self._used_at > self._IDLE:
            self.close()
            self._connection = http.client.HTTPConnection(self._address)
        self._connection.timeout = timeout
        if self._connection.sock is not None:
            self._connection.sock.settimeout(timeout)
        headers = {name.replace('_', '-'): str(value) for name, value in headers.items()}
        try:
            self._connection.request(method, path, body and json.dumps(body).encode(),
                                     {**self._headers, **headers})
            response = self._connection.getresponse()
            answer = fixtures.Answer(response.status, response.headers, response.read(),
                                     time.monotonic() - began)
        except BaseException:
            self.close()
            raise
        self._used_at = time.monotonic()
        if expect is not None and answer.status != expect:
            raise AssertionError(f'{method} {path}: {expect} expected, got {answer}')
        return answer

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def create(self, image, expect=202, run=False, **values):
        """Ask for a container; returns it as answered, with its action."""
        return self.request('POST', f'/v1/containers{"?run=true" if run else ""}',
                            {'image': image, **values}, expect).json

    def ask(self, container, operation, expect=202, **query):
        """Ask for an operation; returns the action as answered."""
        query = urllib.parse.urlencode(query)
        method, path = ('DELETE', '') if operation == 'delete' else ('POST', f'/{operation}')
        return self.request(method, f'/v1/containers/{container["uuid"]}{path}?{query}',
                            expect=expect).json

    def cancel(self, action, expect=202):
        return self.request('POST', f'/v1/actions/{action["uuid"]}/cancel', expect=expect).json

    def show(self, container, expect=200):
        return self.request('GET', f'/v1/containers/{container["uuid"]}', expect=expect).json

    def action(self, action):
        return self.request('GET', f'/v1/actions/{action["uuid"]}', expect=200).json

    def history(self, container):
        """Its actions, oldest first; also of a container that is gone."""
        return self.request('GET', f'/v1/actions?container={container["uuid"]}&sort_dir=asc',
                            expect=200).json['actions']

    def unfinished(self):
        """How many actions of the project have not ended, as /v1/limits says."""
        return self.request('GET', '/v1/limits', expect=200).json[
            'limits']['unfinished_actions']['used']

    def wait(self, action, seconds=WAIT):
        """The action once it has ended."""
        deadline = time.monotonic() + seconds
        while True:
            left = max(0, int(deadline - time.monotonic()))
            found = self.request(
                'GET', f'/v1/actions/{action["uuid"]}/wait?timeout={min(left, 5)}',
                expect=200).json
            if found['status'] in states.FINAL:
                return found
            if not left:
                raise AssertionError(f'not within {seconds} seconds: {found}')


class DeployedTestCase(base.TestCase):
    """A test of processes, brokers and engines."""

    time_limit = 240
    database = 'mysql'
    processes = None

    def deploy(self, **values):
        """Start a deployment; returns a caller of it."""
        self.processes = self.useFixture(fixtures.Processes(self.database, **values))
        self.caller = self.new_caller()
        return self.caller

    @classmethod
    def share(cls, processes):
        """Start a deployment that all tests of the class use; call it in setUpClass."""
        processes.setUp()
        cls.addClassCleanup(processes.cleanUp)
        cls.processes = processes

    def setUp(self):
        super().setUp()
        if self.processes is not None:
            self.caller = self.new_caller()
            for name, detail in self.processes.getDetails().items():
                self.addDetail(name, detail)

    def new_caller(self, **values):
        caller = Caller(self.processes.url, **values)
        self.addCleanup(caller.close)
        return caller

    def succeeded(self, action, seconds=WAIT):
        ended = self.caller.wait(action, seconds)
        self.assertEqual((states.SUCCEEDED, None), (ended['status'], ended['error']))
        return ended

    def assert_one_after_the_other(self, actions):
        """None began before the one before it had ended."""
        for before, after in zip(actions, actions[1:]):
            self.assertLessEqual(before['finished_at'], after['started_at'])

    def on_engine(self, container, engine=None):
        """What the engine has of a container."""
        return (engine or self.processes.engine).containers.list(
            all=True, filters={'label': f'cs.container={container["uuid"]}'})

    def note(self, text):
        """Say what was measured, also when the test passes."""
        self.addDetailUniqueName('measured', content.text_content(text))


def together(functions, seconds=120):
    """Run functions in threads of their own; returns what each returned, or raises."""
    outcomes = [None] * len(functions)

    def run(number, function):
        try:
            outcomes[number] = (function(), None)
        except BaseException as exc:
            outcomes[number] = (None, exc)

    threads = [threading.Thread(target=run, args=pair, daemon=True)
               for pair in enumerate(functions)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + seconds
    for thread in threads:
        thread.join(max(0, deadline - time.monotonic()))
        if thread.is_alive():
            raise AssertionError(f'a thread has not ended within {seconds} seconds')
    for _, exc in outcomes:
        if exc is not None:
            raise exc
    return [result for result, _ in outcomes]


class EngineHere(fixtures.Processes):
    """API as a process of its own; the conductor, and its fake engine, in this one.

    So a test sees the effects that the engine has had, in their order, and can hold it.
    ``fake_bay`` is the bay, ``fake`` the engine behind it.
    """

    def __init__(self, database, engine_options='', config='', **values):
        super().__init__(database, conductors=0, config=f'{config}\n[bays]\ndrivers=docker,fake')
        self._engine_options, self._values = engine_options, values

    def _setUp(self):
        super()._setUp()
        configured = self.useFixture(fixtures.Conf(
            conductor_retry_interval=0.1, conductor_shutdown_timeout=5,
            conductor_reconcile_interval=3600, **self._values))
        conf = configured.conf
        conf.set_override('host', self.host)
        conf.set_override('connection', self._conf.database.connection, group='database')
        conf.set_override('transport_url', self._transport_url
                          or fixtures.needed('CS_TEST_TRANSPORT_URL'))
        self.fake = fake.FakeEngine.get(conf.host)
        self.addCleanup(fake.FakeEngine.forget, conf.host)
        self.fake_bay = self.request('POST', '/v1/bays', {
            'name': 'fake', 'driver': 'fake', 'public': True, 'hosts': [self.host],
            'endpoint': f'fake://{conf.host}?present_image={base.IMAGE}&{self._engine_options}'},
            expect=201).json['uuid']
        bus = rpc.transport(conf)
        self.addCleanup(bus.cleanup)
        # With the limits that the shipped command gives it.
        db = base_db.Database(conf, conf.conductor.database_timeout)
        self.addCleanup(db.dispose)
        self.conductor = service.Conductor(conf, db, bus)
        self.conductor.start()
        self.addCleanup(self.conductor.stop)
        self.eventually_live(1)

    def effects_on(self, container):
        """What the engine did to a container, in order."""
        return [operation for operation, uuid in list(self.fake.effects)
                if uuid == container['uuid']]


class ForProjects(fixtures.Processes):
    """The project of a request is in its header X-Test-Project (see ``by_header``)."""

    api_command = ('python', '-m', 'container_service.tests.by_header')
