# SPDX-License-Identifier: Apache-2.0
"""Secrets are put in through every door and searched for wherever something comes out.

The real application and the real parts of a conductor, over SQLite and the fake engine: what each
of them stores, sends, answers and logs while containers live, fail and die.
"""

import base64
import json
import logging
import os
from unittest import mock

import fixtures as pyfixtures
from oslo_messaging._drivers import impl_fake
import sqlalchemy as sa

from container_service import exceptions
from container_service import redaction
from container_service import rpc
from container_service import secrets
from container_service.conductor import endpoint
from container_service.db import models
from container_service.db import settings
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests import certificates
from container_service.tests.unit.api import base as api
from container_service.tests.unit.conductor import base as conductor


class PlantedCase(api.ApiTestCase):
    """``self.plant(door)`` gives a secret; ``self.found()`` says where any of them came out."""

    version = '1.42'

    def setUp(self):
        super().setUp()
        self.planted, self.answers, self.sent, self.labels = {}, [], [], []
        self.logged = self.useFixture(pyfixtures.FakeLogger(level=logging.DEBUG))
        redaction.install()
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        with open(path) as file:
            self.planted['a key in the file'] = file.read().strip()
        self.listen_in()
        self.patch(conductor.attempts, 'SETTLED', 0)
        self.engine = fake.FakeEngine.get(self.conf.host)
        self.addCleanup(fake.FakeEngine.forget, self.conf.host)
        self.engine.sleep = lambda seconds: None
        self.engine.images.add(base.IMAGE)
        self.make_bay()
        self.here = conductor.Bench(self)
        self.answer_calls()
        self.build()

    def listen_in(self):
        """Note what goes over the bus, calls, casts, answers and notifications."""
        for owner, name in ((impl_fake.FakeDriver, '_send'),
                            (impl_fake.FakeDriver, 'send_notification'),
                            (impl_fake.FakeIncomingMessage, 'reply')):
            self.patch(owner, name, self._noting(getattr(owner, name)))

    def _noting(self, real):
        def noted(driver, *args, **kwargs):
            self.sent.append(repr((args, kwargs)))
            return real(driver, *args, **kwargs)
        return noted

    def answer_calls(self):
        ask = endpoint.Ask(self.db, self.here.engines, settings.deployment(self.db),
                           secrets.Keys(self.conf))
        server = rpc.server(self.bus, rpc.ASK_TOPIC, self.here.lease.server, ask)
        server.start()
        self.addCleanup(server.wait)
        self.addCleanup(server.stop)

    def plant(self, door):
        self.planted[door] = f'planted {len(self.planted)} of {os.urandom(6).hex()}'
        return self.planted[door]

    def call(self, method, path, body=None, *, ok=True, mine=False, **values):
        """Make a request whose answer is searched too, unless it is ``mine`` to have them."""
        answer = super().call(method, path, body, **{'version': self.version, **values})
        if ok is not None:
            self.assertEqual(ok, answer.status_int < 400, answer)
        if not mine:
            self.answers.append(f'{answer.headers} {answer.text}')
        return answer

    def sweep(self):
        self.here.sweep()
        self.labels += [str(known.labels) for known in self.engine.containers.values()]
        self.here.reconcile()

    def dump(self):
        """Every row of every table."""
        with self.db.read() as conn:
            return '\n'.join(f'{table.name} {row}' for table in models.metadata.sorted_tables
                             for row in conn.execute(sa.select(table)).all())

    def places(self):
        """What has come out, by where."""
        return {
            'database': self.dump(), 'log': self.logged.output, 'bus': '\n'.join(self.sent),
            'answers': '\n'.join(self.answers), 'labels': '\n'.join(self.labels)}

    def found(self):
        """(door, place) of every secret that came out."""
        places = self.places()
        forms = {door: {secret, base64.b64encode(secret.encode()).decode(),
                        json.dumps(secret)[1:-1]} for door, secret in self.planted.items()}
        return [(door, place) for door, these in forms.items() for place, text in places.items()
                if any(form in text for form in these)]


class TestSecretVariables(PlantedCase):

    def body(self, **values):
        return {'image': base.IMAGE, 'name': 'web', 'environment': {'PLAIN': 'seen'},
                'secret_environment': {'PASSWORD': self.plant('secret_environment')}, **values}

    def running(self, **values):
        made = self.post('/v1/containers?run=true', self.body(**values)).json
        self.sweep()
        self.assert_at_rest(made['uuid'], 'Running')
        return made['uuid']

    def variables(self):
        known, = self.engine.containers.values()
        return known.variables

    def test_the_container_has_them_and_nobody_is_shown_them(self):
        uuid = self.running()
        self.assertEqual({'PLAIN': 'seen', 'PASSWORD': self.planted['secret_environment']},
                         self.variables())
        shown = self.get(f'/v1/containers/{uuid}').json
        self.assertEqual(({'PLAIN': 'seen'}, {'PASSWORD': '***'}),
                         (shown['environment'], shown['secret_environment']))
        self.assertIn('PASSWORD=***', self.get(f'/v1/containers/{uuid}/inspect').json[
            'Config']['Env'])
        self.get('/v1/containers')
        self.assertEqual([], self.found())

    def test_they_stay_through_changes_and_go_with_the_container(self):
        uuid = self.running(auto_heal=True)
        before = self.variables()
        self.call('PATCH', f'/v1/containers/{uuid}', {'cpu': 0.5})
        self.sweep()
        self.post(f'/v1/containers/{uuid}/rebuild')
        self.sweep()
        self.assertEqual(before, self.variables())
        self.engine.remove_outside(uuid)
        self.sweep()
        self.sweep()
        self.assertEqual(before, self.variables())
        self.assertIn('confided', self.dump())
        self.delete(f'/v1/containers/{uuid}?force=true')
        self.sweep()
        self.assertNotIn('confided', self.dump())
        self.assertEqual([], self.found())

    def test_without_keys_nothing_is_stored(self):
        def rows():           # that it was asked for is on record
            return [row for row in self.dump().splitlines() if not row.startswith('audit ')]

        before = rows()
        self.conf.clear_override('keys_file', group='secrets')
        self.build()
        answer = self.post('/v1/containers', self.body(), ok=False)
        self.assertIn('create-key', self.assert_refused(503, 'secrets_unavailable', answer))
        self.assertEqual(before, rows())
        self.assertEqual([], self.found())

    def test_names_that_cannot_be(self):
        for field, value, words in (
                ({'A B': 'x'}, {}, 'A B'), ({'1A': 'x'}, {}, '1A'),
                ({'A': 'x'}, {'A': 'y'}, 'environment has too'),
                ({'A': ['x']}, {}, 'must be text'), ('x', {}, 'object of texts')):
            answer = self.post('/v1/containers', self.body(
                secret_environment=field, environment=value), ok=False)
            self.assertIn(words, self.assert_refused(400, 'invalid_parameter', answer))

    def test_the_same_request_may_come_with_other_values(self):
        headers = {'Idempotency-Key': 'k'}
        first = self.post('/v1/containers', self.body(), headers=headers).json
        again = self.post('/v1/containers', self.body(), headers=headers)
        self.assertEqual(first['uuid'], again.json['uuid'])
        other = self.body(secret_environment={'OTHER': 'x'})
        self.post('/v1/containers', other, headers=headers, ok=False)

    def test_too_much_of_them(self):
        body = self.body(secret_environment={str(at): 'x' * 30000 for at in ('a', 'b', 'c')})
        self.assert_refused(413, 'body_too_large', self.post('/v1/containers', body, ok=False))

    def test_they_are_encrypted_again_when_a_stray_is_adopted(self):
        uuid = self.running()
        with self.db.engine.connect() as conn, conn.begin():
            for table in (models.containers, models.actions):
                conn.execute(table.delete())
        self.here.clock.advance(3600)
        self.sweep()
        self.sweep()
        bay, = self.get('/v1/bays').json['bays']
        self.post(f'/v1/bays/{bay["uuid"]}/reconcile', {'adopt': 'all', 'project_id': 'project'})
        self.sweep()
        shown = self.get(f'/v1/containers/{uuid}').json
        self.assertEqual(({'PLAIN': 'seen'}, {'PASSWORD': '***'}),
                         (shown['environment'], shown['secret_environment']))
        self.post(f'/v1/containers/{uuid}/rebuild')
        self.sweep()
        self.assertEqual({'PLAIN': 'seen', 'PASSWORD': self.planted['secret_environment']},
                         self.variables())
        self.assertEqual([], self.found())

    def test_a_command_has_them_and_forgets_them(self):
        uuid = self.running()
        body = {'command': ['env'], 'environment': {'E': '1'}, 'secret_environment': {'S': '2'}}
        with mock.patch.object(self, 'sent', []):       # what it writes is its own business
            told = self.post(f'/v1/containers/{uuid}/execute', body, mine=True).json['output']
        self.assertLessEqual({'E=1', 'S=2'}, set(told.split('\n')))
        self.post(f'/v1/containers/{uuid}/execute', {
            'command': ['true'], 'environment': {'E': self.plant('environment of execute')},
            'secret_environment': {'S': self.plant('secret_environment of execute')}})
        self.assertEqual([], self.found())
        body = {'command': ['env'], 'environment': {'E': self.plant('of execution')},
                'secret_environment': {'S': self.plant('secret of execution')}}
        with self.engine.hold('execution', uuid):
            action = self.post(f'/v1/containers/{uuid}/execution', body).json
            self.assertEqual([], self.found())
        self.sweep()
        shown = self.get(f'/v1/actions/{action["uuid"]}').json
        self.assertEqual(('succeeded', {'E': '***'}, {'S': '***'}), (
            shown['status'], shown['parameters']['environment'],
            shown['parameters']['secret_environment']))
        # What it wrote is kept, without the values.
        self.assertEqual({'PLAIN=seen', 'PASSWORD=***', 'E=***', 'S=***', ''},
                         set(shown['result']['output'].split('\n')))
        self.assertNotIn(action['uuid'], [row.owner_uuid for row in self.confided()])
        self.assertEqual([], self.found())

    def confided(self):
        with self.db.read() as conn:
            return conn.execute(sa.select(models.confided)).all()

    def test_without_keys_the_variables_of_a_command_go_with_its_end(self):
        uuid = self.make('web')
        self.sweep()
        self.post(f'/v1/containers/{uuid}/start')
        self.sweep()
        self.conf.clear_override('keys_file', group='secrets')
        self.build()
        body = {'command': ['env'], 'environment': {'E': self.plant('of execution')}}
        action = self.post(f'/v1/containers/{uuid}/execution', body).json
        self.assertIn(self.planted['of execution'], self.dump())
        self.delete(f'/v1/containers/{uuid}?force=true')
        self.assertEqual({'E': '***'}, self.get(
            f'/v1/actions/{action["uuid"]}').json['parameters']['environment'])
        self.assertEqual([], self.found())

    def test_an_engine_that_repeats_them_is_not_quoted(self):
        secret = self.body()
        value = secret['secret_environment']['PASSWORD']
        self.engine.fail('create', exceptions.DriverError(f'cannot set PASSWORD={value}'))
        made = self.post('/v1/containers', secret).json
        self.sweep()
        self.assertEqual('cannot set PASSWORD=***',
                         self.get(f'/v1/containers/{made["uuid"]}').json['status_reason'])
        self.assertEqual([], self.found())


class TestEveryDoor(PlantedCase):
    """More than twenty secrets, and the life of everything that has them, failures included."""

    def test_nothing_comes_out(self):
        self.credentials_of_callers()
        self.bays()
        self.registries()
        self.containers()
        self.commands()
        self.requests_that_are_refused()
        self.what_nobody_foresaw()
        self.configuration()
        self.assertGreaterEqual(len(self.planted), 20, sorted(self.planted))
        self.assertEqual([], [place for place, text in self.places().items() if not text])
        self.assertEqual([], self.found())

    def credentials_of_callers(self):
        basic = base64.b64encode(self.plant('password of a caller').encode()).decode()
        self.get('/v1/containers', headers={
            'Authorization': f'Basic {basic}', 'X-Auth-Token': self.plant('token of a caller'),
            'X-Service-Token': self.plant('token of a service'),
            'Cookie': f'session={self.plant("cookie of a caller")}'})
        # What a library logs of a request, or prints of its environment.
        log = logging.getLogger('some.library')
        for door in ('token of a caller', 'token of a service'):
            log.debug('%s', {'HTTP_X_AUTH_TOKEN': self.planted[door]})
            log.debug('curl -H "X-Service-Token: %s"', self.planted[door])

    def bays(self):
        """A key is text of several lines: any of them would be too much."""
        authority = certificates.Authority()
        cert, key = authority.issue('conductor')
        self.planted['client key of a bay'] = key.splitlines()[1]
        tls = {'ca_cert': authority.cert, 'client_cert': cert, 'client_key': key}
        body = {'name': 'far', 'endpoint': 'tcp://engine.example.org:2376', 'hosts': ['nowhere']}
        self.post('/v1/bays', {**body, **tls})
        self.post('/v1/bays', {**body, **tls}, ok=False)
        self.call('PATCH', '/v1/bays/far', {'labels': {'a': 'b'}})
        self.get('/v1/bays')
        mixed = {'name': 'other', **tls, 'ca_cert': key}
        self.assertIn('private key', self.post('/v1/bays', {**body, **mixed}, ok=False).text)
        self.sweep()
        self.assertEqual([], self.found())        # before it is deleted
        self.delete('/v1/bays/far')

    def registries(self):
        body = {'domain': 'r.example.org', 'name': 'mine', 'username': 'u',
                'password': self.plant('password of a registry')}
        self.post('/v1/registries', {'registry': body})
        self.post('/v1/registries', {'registry': {
            **body, 'password': self.plant('password of a registry twice')}}, ok=False)
        self.post('/v1/registries', {'registry': {
            'domain': 'quay.io', 'password': self.plant('password without a user')}}, ok=False)
        self.pull_fails(self.planted['password of a registry'])
        self.call('PATCH', '/v1/registries/mine', {
            'registry': {'password': self.plant('another password of a registry')}})
        self.get('/v1/registries')

    def pull_fails(self, password):
        """A registry that repeats what it was sent."""
        self.engine.fail('pull', exceptions.PullFailed(f'denied for {password}'))
        made = self.post('/v1/containers', {
            'image': 'r.example.org/app:1', 'name': 'private', 'registry': 'mine'}).json
        for _ in range(3):
            self.sweep()
        self.assertIn('denied for ***', self.get(
            f'/v1/containers/{made["uuid"]}').json['status_reason'])
        self.delete(f'/v1/containers/{made["uuid"]}?force=true')
        self.sweep()

    def containers(self):
        for name, run in (('web', 'true'), ('db', 'false')):
            made = self.post(f'/v1/containers?run={run}', {
                'image': base.IMAGE, 'name': name, 'auto_heal': True,
                'secret_environment': {'A': self.plant(f'variable of {name}')}}).json
            self.sweep()
            self.get(f'/v1/containers/{made["uuid"]}/inspect')
        for method, path, body in (
                ('PATCH', 'web', {'cpu': 0.5}), ('POST', 'web/rebuild', {}),
                ('POST', 'web/reboot', {}), ('POST', 'web/commit', {'repository': 'mine'})):
            self.call(method, f'/v1/containers/{path}', body)
            self.sweep()
        value = self.planted['variable of web']
        self.assertNotIn(value, str(self.engine.baked))
        self.engine.write(self.get('/v1/containers/web').json['uuid'], f'A is {value}')
        for error in (exceptions.DriverError(f'A={value}'), RuntimeError(f'A: {value}')):
            self.engine.fail('stop', error, times=1)
            self.post('/v1/containers/web/stop')
            self.sweep()
        for path in ('/v1/containers', '/v1/actions', '/v1/events'):
            self.get(path)

    def commands(self):
        def variables(door):
            return {'environment': {'E': self.plant(f'environment of {door}')},
                    'secret_environment': {'S': self.plant(f'secret environment of {door}')}}

        self.post('/v1/containers/web/start', ok=None)
        self.sweep()
        self.post('/v1/containers/web/execute', {'command': ['true'], **variables('execute')})
        self.post('/v1/containers/web/execution', {'command': ['env'], **variables('execution')})
        self.sweep()
        failing = variables('a failing execution')
        self.engine.fail('execution', exceptions.DriverError(str(failing)), times=1)
        self.post('/v1/containers/web/execution', {'command': ['env'], **failing})
        self.sweep()
        cancelled = self.post('/v1/containers/db/start').json
        self.post(f'/v1/actions/{cancelled["uuid"]}/cancel')

    def requests_that_are_refused(self):
        def asked(door, **values):
            return {'image': base.IMAGE, 'secret_environment': {'A': self.plant(door)}, **values}

        for body in (asked('of a name that is taken', name='web'),
                     asked('of a bay that is not there', bay_uuid='nowhere'),
                     asked('of a field that is not known', wrong=1),
                     asked('of a variable twice', environment={'A': 'x'}),
                     {'image': base.IMAGE, 'secret_environment': {'A': [self.plant('a list')]}},
                     {'image': base.IMAGE, 'secret_environment': self.plant('no object')}):
            self.post('/v1/containers', body, ok=False)
        self.post('/v1/containers', api.dump(asked('of broken JSON'))[:-1], ok=False)
        self.post('/v1/containers', asked('of an older version'), version='1.41', ok=False)

    def what_nobody_foresaw(self):
        body = {'image': base.IMAGE, 'secret_environment': {'A': self.plant('of a failure')}}
        with mock.patch('container_service.db.containers.insert',
                        side_effect=RuntimeError(f'this was {self.planted["of a failure"]}')):
            answer = self.post('/v1/containers', body, ok=False)
        self.assertEqual(500, answer.status_int)
        for word in ('Traceback', 'RuntimeError', 'this was', '.py'):
            self.assertNotIn(word, answer.text)
        self.assertIn('RuntimeError: this was', self.logged.output)

    def configuration(self):
        user = 'mysql+pymysql://user'
        self.conf.set_override('connection', f'{user}:{self.word("the database")}@host/db',
                               group='database')
        self.conf.set_override('transport_url', f'rabbit://user:{self.word("the broker")}@host/')
        log = logging.getLogger('some.library')
        self.conf.log_opt_values(log, logging.DEBUG)
        log.error('Cannot connect to %s', self.conf.database.connection)
        log.error('Cannot connect to %s', self.conf.transport_url)

    def word(self, door):
        self.planted[f'password of {door}'] = os.urandom(12).hex()
        return self.planted[f'password of {door}']
