# SPDX-License-Identifier: Apache-2.0
"""From which registries images may be asked for."""

from container_service import lifecycle
from container_service import references
from container_service.db import images
from container_service.tests.unit.api import base

NEWEST = {'version': 'latest'}


class TestAllowedRegistries(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()

    def allow(self, *listed, networks=()):
        self.conf.set_override('allowed_registries', list(listed), group='images')
        self.conf.set_override('allowed_networks', list(networks), group='egress')
        # They are read when a process begins.
        self.build()

    def ask_for(self, image):
        """All requests that name an image, or the registry that it is in."""
        domain = references.parse(image).domain
        yield 'image', self.post('/v1/containers', {'image': image}, **NEWEST)
        yield 'image', self.post('/v1/containers?run=true', {'image': image}, **NEWEST)
        yield 'repo', self.post('/v1/images', {'repo': image}, **NEWEST)
        if domain != references.DEFAULT_DOMAIN:
            yield 'domain', self.post('/v1/registries', {'registry': {'domain': domain}}, **NEWEST)

    def assert_allowed(self, *wanted):
        for image in wanted:
            for _, answer in self.ask_for(image):
                self.assertIn(answer.status_int, (201, 202), (image, answer))

    def assert_not_allowed(self, words, *wanted):
        for image in wanted:
            for name, answer in self.ask_for(image):
                detail = self.assert_refused(400, 'invalid_parameter', answer)
                self.assertTrue(detail.startswith(name), detail)
                self.assertIn(words, detail)

    def test_a_list_closes_all_others(self):
        self.allow('docker.io', 'registry.example.org:5000', '*.example.net')
        self.assert_allowed('busybox', 'docker.io/mine/web:1', 'registry.example.org:5000/web',
                            'a.example.net/web', 'A.Example.NET/web')
        self.assert_not_allowed(
            'is not allowed here: docker.io, registry.example.org:5000, *.example.net',
            'registry.example.org/web', 'registry.example.org:5001/web', 'example.net/web',
            'a.example.net:5000/web', 'a.example.net.evil.example/web', 'evil.example/docker.io/x',
            '127.0.0.1:5000/web')
        self.allow('registry.example.org')
        self.assert_not_allowed('is not allowed here', 'busybox', 'docker.io/mine/web:1')

    def test_an_address_must_be_let_through(self):
        self.allow()
        self.assert_allowed('busybox', 'registry.example.org/web', '93.184.216.34:5000/web')
        self.assert_not_allowed('loopback', '127.0.0.1:5000/web', '0x7f.1:5000/web')
        self.assert_not_allowed('denied_networks', '169.254.169.254/web')
        self.assert_not_allowed('private', '10.0.0.1:5000/web')
        self.assert_not_allowed('allowed_ports', '93.184.216.34:22/web')
        self.allow(networks=['127.0.0.0/8'])
        self.assert_allowed('127.0.0.1:5000/web')
        self.allow('127.0.0.1:5000')
        self.assert_allowed('127.0.0.1:5000/web')

    def test_a_container_is_not_made_anew_from_elsewhere(self):
        uuid = self.post('/v1/containers', {'image': 'busybox'}, **NEWEST).json['uuid']
        self.carry_out(uuid, 'Running')
        self.allow('docker.io')
        for image, status in (('evil.example/web', 400), ('nginx', 202)):
            answer = self.post(f'/v1/containers/{uuid}/rebuild', {'image': image}, **NEWEST)
            self.assertEqual(status, answer.status_int, answer)

    def test_a_registry_is_not_moved_elsewhere(self):
        made = self.post('/v1/registries', {'registry': {'domain': 'good.example'}}, **NEWEST)
        path = f'/v1/registries/{made.json["registry"]["uuid"]}'
        self.allow('*.example', 'docker.io')
        self.assert_refused(400, 'invalid_parameter', self.call(
            'PATCH', path, {'registry': {'domain': 'evil.test'}}, **NEWEST))
        self.assertEqual(200, self.call(
            'PATCH', path, {'registry': {'domain': 'other.example'}}, **NEWEST).status_int)

    def test_what_was_made_on_the_bay_needs_no_registry(self):
        bay = self.get('/v1/bays?all_projects=1').json['bays'][0]['uuid']
        self.allow('registry.example.org')
        answer = self.post('/v1/containers', {'image': 'mine:v1'}, **NEWEST)
        self.assert_refused(400, 'invalid_parameter', answer)
        self.db.transact(lambda conn: images.put(conn, None, lifecycle.new_uuid(), {
            'project_id': 'project', 'bay_uuid': bay, 'repo': 'mine', 'tag': 'v1',
            'user_id': 'u', 'local': 1, 'status': images.AVAILABLE, 'asked_for': 1}))
        self.assertEqual(202, self.post('/v1/containers', {'image': 'mine:v1'},
                                        **NEWEST).status_int)
