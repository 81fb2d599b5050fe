# SPDX-License-Identifier: Apache-2.0
"""/v1/registries: credentials come in and never out."""

import os

from container_service import lifecycle
from container_service import secrets
from container_service.db import models
from container_service.tests.unit.api import base

PASSWORD = 'correct horse battery'
NEWEST = {'version': 'latest'}


class RegistryCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.build()
        self.make_bay()

    def record(self, project=None, status=201, **values):
        values = {'domain': 'r.example.org', 'username': 'u', 'password': PASSWORD, **values}
        answer = self.post('/v1/registries', {'registry': values}, version='1.30',
                           project=project)
        self.assertEqual(status, answer.status_int, answer)
        return answer.json.get('registry')

    def refused(self, status, code, method, path, body=None, words='', **values):
        detail = self.assert_refused(status, code, self.call(
            method, path, body, **{**NEWEST, **values}))
        self.assertIn(words, detail)

    def row(self, uuid):
        with self.db.read() as conn:
            return conn.execute(models.registries.select().where(
                models.registries.c.uuid == uuid)).first()


class TestRegistries(RegistryCase):

    def test_from_beginning_to_end(self):
        for version in ('1.30', '1.40', 'latest'):
            made = self.post('/v1/registries', {'registry': {
                'name': 'mine', 'domain': 'R.example.org:5000', 'username': 'u',
                'password': PASSWORD}}, version=version)
            self.assertEqual(201, made.status_int)
            self.assertEqual(['registry'], list(made.json))
            registry = made.json['registry']
            path = f'/v1/registries/{registry["uuid"]}'
            self.assertEqual(f'http://localhost:9517{path}', made.headers['Location'])
            self.assertEqual(('mine', 'r.example.org:5000', 'u', '***', 'project'), tuple(
                registry[key] for key in ('name', 'domain', 'username', 'password',
                                          'project_id')))
            self.assertEqual(made.json, self.get(path, version=version).json)
            self.assertEqual(made.json, self.get('/v1/registries/mine', version=version).json)
            self.assertEqual([registry], self.get(
                '/v1/registries/?domain=r.example.org:5000', version=version).json['registries'])
            changed = self.call('PATCH', path, {'registry': {'name': 'ours'}}, version=version)
            self.assertEqual((200, 'ours', '***'), (
                changed.status_int, changed.json['registry']['name'],
                changed.json['registry']['password']))
            gone = self.delete(path, version=version)
            self.assertEqual((204, b''), (gone.status_int, gone.body))
            self.refused(404, 'registry_not_found', 'GET', path, version=version)

    def test_before_there_were_any(self):
        for version in ('1.1', '1.29'):
            self.refused(404, 'not_found', 'GET', '/v1/registries', version=version,
                         words=version)

    def test_the_password_is_nowhere(self):
        made = self.record(name='mine')
        key = {'Idempotency-Key': 'k'}
        body = {'registry': {'domain': 'quay.io', 'username': 'u', 'password': PASSWORD}}
        self.post('/v1/registries', body, headers=key, **NEWEST)
        self.call('PATCH', f'/v1/registries/{made["uuid"]}',
                  {'registry': {'password': PASSWORD + '2'}}, **NEWEST)
        stored = repr([row for table in models.metadata.sorted_tables
                       for row in self.rows(table)])
        self.assertIn('r.example.org', stored)
        for text in (stored, self.log.output, self.get('/v1/registries', **NEWEST).text):
            self.assertNotIn('horse', text)
        self.assertEqual(PASSWORD + '2',
                         self.parts.keys.decrypt(self.row(made['uuid']).password))

    def rows(self, table):
        with self.db.read() as conn:
            return conn.execute(table.select()).all()

    def test_a_key_makes_it_once(self):
        body = {'registry': {'domain': 'quay.io', 'username': 'u', 'password': PASSWORD}}
        one, two = (self.post('/v1/registries', body, headers={'Idempotency-Key': 'k'}, **NEWEST)
                    for _ in range(2))
        self.assertEqual(one.json, two.json)
        self.assertEqual('true', two.headers['Idempotency-Replayed'])
        gone = [self.delete(f'/v1/registries/{one.json["registry"]["uuid"]}',
                            headers={'Idempotency-Key': 'd'}, **NEWEST) for _ in range(2)]
        self.assertEqual([204, 204], [answer.status_int for answer in gone])
        self.assertEqual('true', gone[1].headers['Idempotency-Replayed'])
        self.assert_refused(410, 'made_and_gone', self.post(
            '/v1/registries', body, headers={'Idempotency-Key': 'k'}, **NEWEST))

    def test_bad_input(self):
        good = {'domain': 'quay.io', 'username': 'u', 'password': 'p'}
        for change, words in (
                ({'domain': None}, 'domain'), ({'domain': 'https://quay.io'}, 'domain'),
                ({'domain': 'cs.local'}, 'domain'), ({'domain': 5}, 'domain'),
                ({'username': None}, 'username'), ({'password': None}, 'password'),
                ({'password': 5}, 'password'), ({'password': ''}, 'password'),
                ({'password': 'x' * 4097}, 'password'), ({'username': 'a\nb'}, 'username'),
                ({'name': 'a b'}, 'name'), ({'name': lifecycle.new_uuid()}, 'name')):
            self.refused(400, 'invalid_parameter', 'POST', '/v1/registries',
                         {'registry': {**good, **change}}, words=words)
        for body in ({}, {'registry': None}, {'registry': 'x'}, {'registry': []}):
            self.refused(400, 'invalid_parameter', 'POST', '/v1/registries', body,
                         words='registry')
        for body in (good, {'registry': good, 'more': 1}, {'registry': {**good, 'token': 'x'}}):
            self.refused(400, 'unknown_parameter', 'POST', '/v1/registries', body)
        self.assertEqual([], self.get('/v1/registries', **NEWEST).json['registries'])

    def test_names_are_of_one_project(self):
        self.record(name='mine')
        self.refused(409, 'name_taken', 'POST', '/v1/registries',
                     {'registry': {'name': 'mine', 'domain': 'quay.io'}})
        self.record(name='mine', project='other')
        # Those without a name are not in each other's way.
        self.record()
        self.record()

    def test_others_do_not_exist(self):
        made = self.record(name='mine')
        for ident in (made['uuid'], 'mine'):
            for method, body in (('GET', None), ('DELETE', None), ('PATCH', {'registry': {}})):
                self.refused(404, 'registry_not_found', method, f'/v1/registries/{ident}', body,
                             project='other')
        listed = self.get('/v1/registries', project='other', **NEWEST)
        self.assertEqual([], listed.json['registries'])
        self.refused(400, 'invalid_parameter', 'GET', f'/v1/registries?marker={made["uuid"]}',
                     project='other')
        self.assertEqual([made], self.get('/v1/registries?all_projects=true', project='other',
                                          **NEWEST).json['registries'])

    def test_who_may(self):
        made = self.record()
        path = f'/v1/registries/{made["uuid"]}'
        reader = {**NEWEST, 'persona': base.READER}
        self.assertEqual(200, self.get(path, **reader).status_int)
        for method, where, body in (('POST', '/v1/registries', {}), ('DELETE', path, None),
                                    ('PATCH', path, {})):
            self.refused(403, 'forbidden', method, where, body, **reader)
        self.refused(403, 'forbidden', 'GET', '/v1/registries?all_projects=1',
                     version='latest', persona=base.MEMBER)

    def test_a_password_is_not_sent_elsewhere_by_who_does_not_know_it(self):
        path = f'/v1/registries/{self.record()["uuid"]}'
        for change in ({'domain': 'evil.example.org'}, {'username': 'other'}):
            self.refused(400, 'invalid_parameter', 'PATCH', path, {'registry': change},
                         words='password')
            answer = self.call('PATCH', path, {'registry': {**change, 'password': 'new'}},
                               **NEWEST)
            self.assertEqual(200, answer.status_int)

    def test_pages(self):
        made = [self.record(name=f'r{number}')['uuid'] for number in range(3)]
        first = self.get('/v1/registries?limit=2&sort_key=name&username=u', **NEWEST).json
        self.assertEqual(made[:2], [one['uuid'] for one in first['registries']])
        self.assertIn('username=u', first['next'])
        second = self.get(first['next'].partition('9517')[2], **NEWEST).json
        self.assertEqual((made[2:], None),
                         ([one['uuid'] for one in second['registries']], second['next']))


class TestWithoutKeys(RegistryCase):

    def test_no_password_is_kept_in_the_plain(self):
        self.conf.clear_override('keys_file', group='secrets')
        self.build()
        self.refused(503, 'secrets_unavailable', 'POST', '/v1/registries', {'registry': {
            'domain': 'quay.io', 'username': 'u', 'password': PASSWORD}}, words='create-key')
        self.assertEqual([], self.get('/v1/registries', **NEWEST).json['registries'])
        # One without credentials needs no key.
        self.record(username=None, password=None)


class TestContainers(RegistryCase):
    """``registry`` of a request for a container."""

    def make(self, status=202, **values):
        answer = self.post('/v1/containers', values, **NEWEST)
        self.assertEqual(status, answer.status_int, answer)
        return answer.json

    def test_one_that_is_named(self):
        made = self.record(name='mine')
        for ident in ('mine', made['uuid']):
            for image, whole in (('team/app', 'r.example.org/team/app:latest'),
                                 ('r.example.org/app:1', 'r.example.org/app:1')):
                shown = self.make(image=image, registry=ident)
                self.assertEqual((made['uuid'], whole), (shown['registry_id'], shown['image']))
                self.assertNotIn('registry', self.container(shown['uuid']).spec)

    def test_what_it_cannot_be_used_for(self):
        self.record(name='mine')
        other = self.record(name='theirs', project='other')
        for ident in ('nobody', 'theirs', other['uuid']):
            self.refused(404, 'registry_not_found', 'POST', '/v1/containers',
                         {'image': 'app', 'registry': ident}, words=ident)
        for image in ('quay.io/app', 'r.example.org:5000/app'):
            self.refused(400, 'invalid_parameter', 'POST', '/v1/containers',
                         {'image': image, 'registry': 'mine'}, words='registry: is for')
        self.refused(400, 'invalid_parameter', 'POST', '/v1/containers',
                     {'image': 'a' * 250, 'registry': 'mine'}, words='image: is longer')
        self.assertEqual([], self.get('/v1/containers', **NEWEST).json['containers'])

    def test_one_that_is_used_stays(self):
        path = f'/v1/registries/{self.record(name="mine")["uuid"]}'
        web = self.make(name='web', image='app', registry='mine')
        for status in (None, 'Created'):
            if status:
                self.carry_out(web['uuid'], status)
            self.refused(409, 'registry_in_use', 'DELETE', path, words='container web')
            self.refused(409, 'registry_in_use', 'PATCH', path, {'registry': {
                'domain': 'quay.io', 'password': 'p'}})
        self.assertEqual(202, self.delete('/v1/containers/web', **NEWEST).status_int)
        self.carry_out(web['uuid'])
        self.assertEqual(204, self.delete(path, **NEWEST).status_int)
