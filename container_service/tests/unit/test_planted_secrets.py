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
from container_service import rpc
from container_service import secrets
from container_service.conductor import endpoint
from container_service.db import models
from container_service.db import settings
from container_service.drivers import fake
from container_service.tests import base
from container_service.tests.unit.api import base as api
from container_service.tests.unit.conductor import base as conductor


class PlantedCase(api.ApiTestCase):
    """``self.plant(door)`` gives a secret; ``self.found()`` says where any of them came out."""

    version = '1.42'

    def setUp(self):
        super().setUp()
        self.planted, self.answers, self.sent, self.labels = {}, [], [], []
        self.logged = self.useFixture(pyfixtures.FakeLogger(level=logging.DEBUG))
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

    def found(self):
        """(door, place) of every secret that came out."""
        places = {
            'database': self.dump(), 'log': self.logged.output, 'bus': '\n'.join(self.sent),
            'answers': '\n'.join(self.answers), 'labels': '\n'.join(self.labels)}
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
        before = self.dump()
        self.conf.clear_override('keys_file', group='secrets')
        self.build()
        answer = self.post('/v1/containers', self.body(), ok=False)
        self.assertIn('create-key', self.assert_refused(503, 'secrets_unavailable', answer))
        self.assertEqual(before, self.dump())

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
