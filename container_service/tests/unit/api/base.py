# SPDX-License-Identifier: Apache-2.0
"""The real WSGI application over a database of the test's own, and callers of every kind.

No conductor runs: what is accepted stays queued until the test itself carries it out.
"""

import base64
from concurrent import futures
import json
import threading
from unittest import mock

import oslo_messaging
from oslo_messaging import conffixture
import webtest

from container_service import context
from container_service import operations
from container_service import rpc
from container_service.api import auth
from container_service.api import versions
from container_service.db import conductors
from container_service.tests import base
from container_service.tests import fixtures

ADMIN = {'roles': ['admin', 'member', 'reader'], 'is_admin': True}
MEMBER = {'roles': ['member', 'reader'], 'is_admin': False}
READER = {'roles': ['reader'], 'is_admin': False}


# A value for a parameter that must be given, by what converts it.
SAMPLES = {operations.name: 'other-name', operations.text: '/tmp', operations.command: ['ls'],
           operations.path: '/tmp', operations.network: 'some-network', operations.integer: 80,
           operations.repository: 'mine/web',
           operations.archive: base64.b64encode(bytes(10240)).decode()}


def required_of(op):
    """The least that a request for an operation may have in its body."""
    if op.needs_one:
        return {'cpu': 1}
    return {param.wire_name: SAMPLES[param.convert] for param in op.params if param.required}


class Personas:
    """An [api] auth_strategy that takes everybody for what the headers say."""

    def __init__(self, app, conf, enforcer):
        self._app = app

    def __call__(self, environ, start_response):
        persona = json.loads(environ.get('HTTP_X_PERSONA') or '{}')
        environ['container_service.context'] = context.RequestContext(
            request_id=environ['openstack.request_id'], overwrite=False,
            source=auth.source_of(environ),
            **{'user_id': 'user', 'project_id': 'project', **ADMIN, **persona})
        return self._app(environ, start_response)


class ApiTestCase(base.DatabaseTestCase):
    """A test that makes requests."""

    strategy = Personas
    conf_values = {}

    def setUp(self):
        super().setUp()
        # A test may ask as fast as it can.
        slow = dict.fromkeys(('project_request_rate', 'project_change_rate',
                              'failed_authentication_rate'), 0)
        for name, value in {**slow, **self.conf_values}.items():
            self.conf.set_override(name, value, group='api')
        # Registers what oslo.messaging itself registers with the global object only.
        self.useFixture(conffixture.ConfFixture(self.conf))
        self.bus = rpc.transport(self.conf, 'fake://')
        self.build()

    def build(self):
        """Make the application, anew when ``strategy`` has changed."""
        with mock.patch.dict(auth.STRATEGIES, none=self.strategy):
            self.app, self.parts = fixtures.application(self, self.conf, self.db, self.bus)
        self.api = webtest.TestApp(self.app)

    def call(self, method, path, body=None, *, version=None, headers=None, persona=None,
             project=None, environ=None, drop=()):
        """Make a request and return the answer, whatever it is.

        ``body`` is JSON, or bytes as they are.  ``environ`` is added to what the server says,
        and ``drop`` is taken from it.
        """
        headers = dict(headers or {})
        if version:
            headers['OpenStack-API-Version'] = f'container {version}'
        persona = dict(persona or {}, **({'project_id': project} if project else {}))
        if persona:
            headers['X-Persona'] = json.dumps(persona)
        raw = body if isinstance(body, bytes) else b'' if body is None else dump(body)
        if body is not None:
            headers.setdefault('Content-Type', 'application/json')
        request = webtest.TestRequest.blank(
            path, {'HTTP_HOST': 'localhost:9517'}, method=method, body=raw, headers=headers)
        request.environ.update(environ or {})
        for name in drop:
            del request.environ[name]
        answer = self.api.do_request(request, expect_errors=True)
        self.assert_headers(answer)
        if answer.status_int >= 400:
            self.assert_error(answer)
        return answer

    def get(self, path, **values):
        return self.call('GET', path, **values)

    def post(self, path, body=None, **values):
        return self.call('POST', path, body, **values)

    def delete(self, path, **values):
        return self.call('DELETE', path, **values)

    def assert_shown(self, accepted):
        """An action that was just accepted is shown as it was answered.

        Beyond that, showing it looks at conductors and bays, and at who else asked for it.
        """
        shown = self.get(f'/v1/actions/{accepted["uuid"]}').json
        self.assertEqual([accepted['request_id']], shown.pop('request_ids'))
        self.assertEqual(set(accepted), set(shown))
        self.assertEqual(
            {'code', 'detail', 'retry_at'}, set(accepted['waiting']) & set(shown['waiting']))
        for key in ('waiting', 'liveness'):
            del shown[key]
        self.assertEqual(shown, {key: accepted[key] for key in shown})

    def assert_headers(self, answer):
        """What every answer has, whatever it is."""
        self.assertRegex(answer.headers['OpenStack-API-Version'], r'^container 1\.[0-9]+$')
        self.assertEqual('container 1.1', answer.headers['OpenStack-API-Minimum-Version'])
        self.assertEqual('container 1.42', answer.headers['OpenStack-API-Maximum-Version'])
        self.assertIn('OpenStack-API-Version', answer.headers['Vary'])
        self.assertRegex(answer.headers['X-Openstack-Request-Id'], r'^req-[0-9a-f-]{36}$')

    def assert_error(self, answer):
        """The shape that clients of the field depend on."""
        if answer.request.method == 'HEAD':
            self.assertEqual(b'', answer.body)
            return
        if answer.content_type == 'application/problem+json':
            error = answer.json
        else:
            self.assertEqual('application/json', answer.content_type)
            self.assertEqual(['errors'], list(answer.json))
            [error] = answer.json['errors']
            self.assertEqual([], error['links'])
        self.assertEqual(answer.status_int, error['status'])
        self.assertEqual(answer.headers['X-Openstack-Request-Id'], error['request_id'])
        for key in ('code', 'title', 'detail'):
            self.assertIsInstance(error[key], str)
            self.assertNotEqual('', error[key])
        if answer.status_int == 503 and not versions.is_of_the_field(answer.request.environ):
            self.assertGreater(int(answer.headers['Retry-After']), 0)

    def assert_refused(self, status, code, answer):
        """It failed in that way; returns the detail."""
        self.assertEqual((status, code), (answer.status_int, error(answer).get('code')), answer)
        return error(answer)['detail']

    def make(self, name='c1', status=None, **values):
        """A container with an accepted creation; with ``status``, at rest in that."""
        answer = self.post('/v1/containers', {'name': name, 'image': base.IMAGE, **values},
                           version='1.41')
        self.assertEqual(202, answer.status_int, answer)
        if status is not None:
            self.carry_out(answer.json['uuid'], status)
        return answer.json['uuid']

    def start_conductor(self, ask):
        """A conductor on the bus; ``ask(operation, params)`` answers its calls.

        To be started before the first request, since who is alive is known for a second.
        """
        name = f'{self.conf.host}.0'
        self.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': base.Conductor().uuid, 'host': self.conf.host, 'slot': 0, 'server': name}))
        server = rpc.server(self.bus, rpc.ASK_TOPIC, name, _Ask(ask))
        server.start()
        self.addCleanup(server.wait)
        self.addCleanup(server.stop)

    def in_background(self, call):
        """Start a call in a thread of its own; what is returned waits for its result."""
        pool = futures.ThreadPoolExecutor(1)
        self.addCleanup(pool.shutdown)
        return pool.submit(call).result


class _Ask:
    """The blocking half of a conductor."""

    def __init__(self, ask):
        self._ask = ask

    target = oslo_messaging.Target(version=rpc.VERSION)

    @oslo_messaging.expose
    def ready(self, context):
        return True

    @oslo_messaging.expose
    def ask(self, context, ticket, container_uuid, operation, params):
        return self._ask(operation, params)


def dump(value):
    return json.dumps(value).encode()


def error(answer):
    """The error that an answer tells."""
    return answer.json.get('errors', [answer.json])[0]


class Gate:
    """Holds whoever passes until it is opened."""

    def __init__(self):
        self.entered, self._open = threading.Semaphore(0), threading.Event()

    def __call__(self):
        self.entered.release()
        self._open.wait(20)

    def open(self):
        self._open.set()
