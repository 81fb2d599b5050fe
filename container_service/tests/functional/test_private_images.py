# SPDX-License-Identifier: Apache-2.0
"""Images of a registry that wants a password, by the shipped commands and Docker."""

import json
import os

import sqlalchemy as sa

from container_service import states
from container_service.db import models
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests import registries


class PrivateCase(deployed.DeployedTestCase):

    def setUp(self):
        super().setUp()
        self.processes = self.useFixture(deployed.ForProjects(self.database))
        self.caller = self.new_caller()
        self.registry = self.useFixture(registries.PrivateRegistry())
        pushed = self.useFixture(registries.Image(
            layers=1, layer_bytes=10_000, registry=self.registry))
        self.image = f'{self.registry.address}/{pushed.name}:latest'
        self.addCleanup(self.remove_image)

    def remove_image(self):
        engine = self.processes.engine
        if self.is_there():
            for container in engine.containers.list(all=True, filters={'ancestor': self.image}):
                container.remove(force=True)
            engine.images.remove(self.image)

    def is_there(self):
        return self.image in fixtures.image_tags(self.processes.engine)

    def failed(self, caller=None, image=None, **values):
        caller = caller or self.caller
        ended = caller.wait(caller.create(image or self.image, **values)['action'])
        self.assertEqual((states.FAILED, 'registry_refused'),
                         (ended['status'], ended['error']['code']), ended)
        return ended['error']

    def register(self, password, **values):
        return self.caller.request('POST', '/v1/registries', {'registry': {
            'domain': self.registry.address, 'username': self.registry.username,
            'password': password, **values}}, expect=201).json['registry']


class TestCredentials(PrivateCase):

    def test_from_none_to_the_right_ones(self):
        error = self.failed()
        self.assertIn('no basic auth credentials', error['detail'])
        registry = self.register('hidden-wrong', name='ours')
        self.assertIn('registry', self.failed(registry='ours')['hint'])
        self.assertFalse(self.is_there())

        path = f'/v1/registries/{registry["uuid"]}'
        self.caller.request('PATCH', path, {'registry': {'password': self.registry.password}},
                            expect=200)
        web = self.caller.create(self.image, name='web')
        self.succeeded(web['action'])
        self.assertEqual(registry['uuid'], self.caller.show(web)['registry_id'])
        self.assertTrue(self.is_there())
        self.caller.request('DELETE', path, expect=409)

        # The image is there, and its name is known to another project.
        other = self.new_caller(project='other')
        for policy in ('ifnotpresent', 'always'):
            self.failed(other, image_pull_policy=policy)

        image, = self.caller.request('GET', '/v1/images', expect=200).json['images']
        self.assertEqual(('Available', registry['uuid'], 'bay'),
                         (image['status'], image['registry_id'], image['host']))
        self.assertRegex(image['digest'], '^sha256:[0-9a-f]{64}$')
        # By its digest the engine would ask nobody.
        self.failed(other, f'{image["repo"]}@{image["digest"]}')
        where = f'/v1/images/{image["uuid"]}'
        self.caller.request('DELETE', where, expect=409)
        self.assert_hidden(web)

        self.succeeded(self.caller.ask(web, 'delete'))
        self.caller.request('DELETE', where, expect=204)
        fixtures.eventually(
            lambda: self.caller.request('GET', where).status == 404, 20, 0.1)
        self.assertFalse(self.is_there())
        self.caller.request('DELETE', path, expect=204)

    def assert_hidden(self, container):
        """The password is in no log, row or container."""
        found = json.dumps([one.attrs for one in self.on_engine(container)])
        for name in os.listdir(self.processes.directory):
            if name.endswith('.log'):
                with open(os.path.join(self.processes.directory, name)) as log:
                    found += log.read()
        with self.processes.db.read() as conn:
            for table in models.metadata.sorted_tables:
                found += repr(conn.execute(sa.select(table)).all())
        self.assertIn(self.registry.address, found)
        self.assertNotIn('hidden-', found)


class TestImages(PrivateCase):

    database = 'postgresql'

    def test_an_image_by_itself(self):
        self.register(self.registry.password)
        asked = {'repo': self.image, 'host': 'bay'}
        made = self.caller.request('POST', '/v1/images', asked, expect=202)
        self.assertEqual('Pulling', made.json['status'])
        where = f'/v1/images/{made.json["uuid"]}'

        def ended():
            shown = self.caller.request('GET', where, expect=200).json
            return shown if shown['status'] not in ('Pulling', 'Tagging') else None

        image = fixtures.eventually(ended, 20, 0.1)
        self.assertEqual(('Available', None), (image['status'], image['status_reason']))
        tagged = self.caller.request('POST', f'{where}/tag', {'repo': 'mine', 'tag': '1'},
                                     expect=202).json
        where = f'/v1/images/{tagged["uuid"]}'
        self.assertEqual(image['image_id'], fixtures.eventually(ended, 20, 0.1)['image_id'])
        web = self.caller.create('mine:1')
        self.succeeded(web['action'])
        on_engine, = self.on_engine(web)
        self.assertRegex(on_engine.attrs['Config']['Image'], r'^cs\.local/[0-9a-f]{16}/mine:1$')
        self.succeeded(self.caller.ask(web, 'delete'))
        pruned = self.caller.request('POST', '/v1/images/prune', {'host': 'bay'}, expect=202)
        self.assertEqual(2, len(pruned.json['images']))
        fixtures.eventually(lambda: not self.caller.request(
            'GET', '/v1/images', expect=200).json['images'], 20, 0.1)
        self.assertFalse(self.is_there())
