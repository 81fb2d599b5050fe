# SPDX-License-Identifier: Apache-2.0
"""/v1/hosts and /v1/availability_zones."""

from container_service.db import bays
from container_service.drivers import fake
from container_service.tests import base as tests
from container_service.tests.unit.api import base


class TestHosts(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.bay = self.make_bay()
        self.db.transact(lambda conn: bays.update(conn, self.bay.uuid, {
            'engine_info': fake.FakeEngine('e').info, 'labels': {'availability_zone': 'z1'}}))

    def test_a_bay_is_a_host(self):
        self.make('c1', cpu=0.5, memory='64')
        self.post('/v1/containers', {'name': 'c2', 'image': tests.IMAGE, 'cpu': 0.5},
                  project='other')
        host, = self.get('/v1/hosts', version='1.4').json['hosts']
        expected = {
            'uuid': self.bay.uuid, 'hostname': self.bay.name, 'mem_total': 8192, 'mem_used': 64,
            'cpus': 4, 'cpu_used': 1.0, 'total_containers': 2, 'architecture': 'x86_64',
            'os_type': 'linux', 'runtimes': ['fake'], 'availability_zone': 'z1', 'disk_total': 0}
        self.assertEqual(expected, {name: host[name] for name in expected})
        for ident in (self.bay.uuid, self.bay.name):
            self.assertEqual(host, self.get(f'/v1/hosts/{ident}', version='1.4').json)

    def test_one_that_was_never_reached(self):
        self.make_bay('new')
        host = self.get('/v1/hosts/new', version='1.4').json
        self.assertEqual((0, 0, None), (host['cpus'], host['mem_total'], host['os']))

    def test_pages(self):
        self.make_bay('another')
        answer = self.get('/v1/hosts/?limit=1&sort_key=hostname', version='1.4')
        self.assertEqual(['another'], [host['hostname'] for host in answer.json['hosts']])
        answer = self.get(answer.json['next'].removeprefix('http://localhost:9517'),
                          version='1.4')
        self.assertEqual(([self.bay.name], None), (
            [host['hostname'] for host in answer.json['hosts']], answer.json['next']))

    def test_by_label(self):
        self.make_bay('another')
        for query, found in (('label=availability_zone', [self.bay.name]),
                             ('label=availability_zone=z1', [self.bay.name]),
                             ('label=availability_zone=z2', [])):
            answer = self.get(f'/v1/hosts?{query}', version='1.4')
            self.assertEqual(found, [host['hostname'] for host in answer.json['hosts']], query)

    def test_members_are_refused(self):
        for path in ('/v1/hosts', f'/v1/hosts/{self.bay.name}'):
            self.assert_refused(403, 'forbidden', self.get(
                path, version='1.4', persona=base.MEMBER))

    def test_they_are_there_since_1_4(self):
        self.assert_refused(404, 'not_found', self.get('/v1/hosts', version='1.3'))

    def test_unknown(self):
        self.assert_refused(404, 'bay_not_found', self.get('/v1/hosts/none', version='1.4'))


class TestAvailabilityZones(base.ApiTestCase):

    def test_those_of_visible_bays(self):
        self.make_bay('b1')
        for name, zone, values in (('b2', 'z2', {}), ('b3', 'z2', {}),
                                   ('b4', 'z3', {'public': False, 'project_id': 'other'})):
            row = self.make_bay(name)
            self.db.transact(lambda conn, row=row, zone=zone, values=values: bays.update(
                conn, row.uuid, {'labels': {'availability_zone': zone}, **values}))
        answer = self.get('/v1/availability_zones?limit=5&sort_key=any', persona=base.MEMBER)
        self.assertEqual({'availability_zones': [{'availability_zone': 'nova'},
                                                 {'availability_zone': 'z2'}], 'next': None},
                         answer.json)
