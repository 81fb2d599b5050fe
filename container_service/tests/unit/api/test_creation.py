# SPDX-License-Identifier: Apache-2.0
"""What a request to create a container says, and what is made of it."""

import base64

from container_service.api import creation
from container_service.api import versions
from container_service.db import containers
from container_service.db import payloads
from container_service.drivers import docker_request
from container_service.tests.unit.api import base

# A value for each field that began with a microversion, and one that says nothing.
SAID = {
    'entrypoint': ['a'], 'hostname': 'h', 'auto_remove': True, 'tty': True, 'privileged': True,
    'runtime': 'kata', 'healthcheck': {'cmd': 'true'}, 'host': 'bay', 'nets': [{'network': 'n'}],
    'mounts': [{'type': 'bind', 'source': 'eA==', 'destination': '/a'}],
    'exposed_ports': {'80/tcp': {}}, 'cpu_policy': 'dedicated', 'registry': 'mine',
    'secret_environment': {'A': 'b'}}
UNSAID = {
    'entrypoint': None, 'hostname': None, 'auto_remove': False, 'tty': 'false',
    'privileged': False, 'runtime': '', 'healthcheck': {}, 'host': '', 'nets': [], 'mounts': [],
    'exposed_ports': {}, 'cpu_policy': 'shared', 'registry': None,
    'secret_environment': {}}


def file(path, data=b'x', **more):
    return {'type': 'bind', 'source': base64.b64encode(data).decode(), 'destination': path, **more}


class CreationCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()

    def create(self, version='1.40', persona=None, **fields):
        return self.post('/v1/containers', {'image': 'busybox', **fields}, version=version,
                         persona=persona)

    def created(self, **values):
        answer = self.create(**values)
        self.assertEqual(202, answer.status_int, answer)
        return answer.json

    def row(self, uuid):
        with self.db.read() as conn:
            return containers.by_uuid(conn, uuid)

    def refused(self, name, answer, words=''):
        detail = self.assert_refused(400, 'invalid_parameter', answer)
        self.assertTrue(detail.startswith(f'{name}: '), detail)
        self.assertIn(words, detail)


class TestVersions(CreationCase):

    def test_a_field_below_its_version_is_refused_and_says_which(self):
        self.assertEqual(set(creation.SINCE), set(SAID))
        for name, since in creation.SINCE.items():
            below = (since[0], since[1] - 1)
            answer = self.create(versions.text(below), **{name: SAID[name]})
            if name == 'privileged':              # for nobody, at any version
                self.assert_refused(403, 'forbidden', answer)
            elif name == 'cpu_policy':            # not there, at any version
                self.refused(name, answer)
            else:
                self.refused(name, answer, f'needs microversion {versions.text(since)}')

    def test_what_says_nothing_is_taken_at_any_version(self):
        made = self.created(version='1.1', **UNSAID)
        self.assertEqual({'tty': False}, self.row(made['uuid']).spec)

    def test_what_the_field_s_client_always_sends(self):
        """With no options given, at every version it may negotiate."""
        sent = {'name': 'c1', 'memory': '64', 'cpu': '0.5', 'environment': {}, 'labels': {},
                'auto_remove': False, 'command': ['sleep', '100'], 'hints': {}, 'nets': [],
                'mounts': []}
        for version in ('1.1', '1.40'):
            made = self.created(version=version, **{**sent, 'name': f'c{version}'})
            self.assertEqual(('64', 0.5, ['sleep', '100'], False), (
                made['memory'], made['cpu'], made['command'], made['auto_remove']))


class TestOptions(CreationCase):

    def test_each_is_shown(self):
        fields = {
            'auto_heal': 'true', 'disk': '5', 'stop_signal': 'int', 'stop_timeout': 3,
            'tmpfs': {'/run': ''}, 'exposed_ports': {'80': {}, '53/udp': {}}, 'runtime': 'kata',
            'healthcheck': {'cmd': 'true', 'interval': '5', 'retries': 2, 'timeout': ''},
            'nets': [{'network': 'mine', 'v4-fixed-ip': '10.0.0.9', 'v6-fixed-ip': ''}],
            'published_ports': [{'container_port': 80, 'host_port': 8080}]}
        made = self.created(**fields)
        shown = self.get(f'/v1/containers/{made["uuid"]}').json
        for view in (made, shown, self.get('/v1/containers').json['containers'][0]):
            self.assertEqual({
                'auto_heal': True, 'auto_remove': False, 'disk': 5, 'stop_signal': 'SIGINT',
                'stop_timeout': 3, 'tmpfs': {'/run': 64 * 2**20}, 'runtime': 'kata',
                'healthcheck': {'test': 'true', 'interval': 5, 'retries': 2},
                'nets': [{'network': 'mine', 'v4-fixed-ip': '10.0.0.9'}], 'files': [],
                'published_ports': [{'container_port': 80, 'host_port': 8080,
                                     'protocol': 'tcp'}],
                'read_only': False, 'cpu_policy': 'shared', 'host': 'bay', 'privileged': False,
            }, {name: view[name] for name in (
                'auto_heal', 'auto_remove', 'disk', 'stop_signal', 'stop_timeout', 'tmpfs',
                'runtime', 'healthcheck', 'nets', 'files', 'published_ports', 'read_only',
                'cpu_policy', 'host', 'privileged')})
        self.assertEqual(['53/udp', '80/tcp'], self.row(made['uuid']).spec['exposed_ports'])

    def test_some_are_shown_to_administrators_only(self):
        uuid = self.created()['uuid']
        view = self.get(f'/v1/containers/{uuid}', persona=base.MEMBER).json
        self.assertEqual(set(), {'runtime', 'privileged', 'host', 'image_pull_policy'} & set(view))

    def test_what_administrators_only_may_ask_for(self):
        for name, value in (('runtime', 'kata'), ('host', 'bay'), (
                'published_ports', [{'container_port': 80, 'host_port': 8080}])):
            answer = self.create(persona=base.MEMBER, **{name: value})
            detail = self.assert_refused(403, 'forbidden', answer)
            self.assertTrue(detail.startswith(f'{name}: '), detail)
            self.created(**{name: value})
        self.created(persona=base.MEMBER, runtime='', host=None, published_ports=[])

    def test_what_is_closed_is_refused_by_name(self):
        for name, value in (('cap_add', ['SYS_ADMIN']), ('CapAdd', []),
                            ('devices', ['/dev/mem']), ('network_mode', 'host'),
                            ('pid_mode', 'host'), ('ipcMode', 'host'), ('binds', ['/:/host']),
                            ('security_opt', []), ('HostConfig', {}), ('volumes_from', 'x')):
            self.refused(name, self.create(**{name: value}), 'closed')
        self.refused('nets[0].network', self.create(nets=[{'network': 'none'}]), 'closed')

    def test_what_does_not_go_together(self):
        for name, fields in (
                ('auto_remove', {'restart_policy': {'Name': 'always'}, 'auto_remove': True}),
                ('auto_remove', {'auto_heal': True, 'auto_remove': True}),
                ('mounts[0]', {'read_only': True, 'mounts': [file('/a')]}),
                ('mounts[1].destination', {'tmpfs': {'/run': ''},
                                           'mounts': [file('/a'), file('/run/a')]}),
                ('bay_uuid', {'bay_uuid': 'bay', 'host': 'bay'})):
            self.refused(name, self.create(**fields))
        self.created(auto_remove=True, restart_policy={'Name': 'no'})

    def test_nothing_is_in_the_spec_that_was_not_asked_for(self):
        """The digest of a container that exists is made of its spec."""
        made = self.created(name='c1', availability_zone='nova', hints={}, read_only=False,
                            auto_heal='no', tmpfs={}, disk=0)
        self.assertEqual({}, self.row(made['uuid']).spec)

    def test_which_part_is_wrong(self):
        for name, fields in (
                ('nets[1].v4-fixed-ip', {'nets': [{'network': 'a'},
                                                  {'network': 'b', 'v4-fixed-ip': 'x'}]}),
                ('healthcheck.interval', {'healthcheck': {'cmd': 'a', 'interval': 'x'}}),
                ('healthcheck.cmd', {'healthcheck': {'retries': 1}}),
                ('exposed_ports.x', {'exposed_ports': {'x': {}}}),
                ('published_ports[0].host_port', {'published_ports': [
                    {'container_port': 1, 'host_port': 80}]}),
                ('tmpfs./run', {'tmpfs': {'/run': 'x'}}),
                ('mounts[0].source', {'mounts': [
                    {'type': 'bind', 'source': 'etc/passwd', 'destination': '/a'}]}),
                ('mounts[0].type', {'mounts': [{'source': 'v', 'destination': '/a'}]}),
                ('mounts[0].options', {'mounts': [file('/a', options='rw')]})):
            self.refused(name, self.create(**fields))

    def test_large(self):
        answer = self.create(environment={f'k{i}': 'x' * 30000 for i in range(3)})
        self.assert_refused(413, 'body_too_large', answer)
        self.assertEqual([], self.get('/v1/containers').json['containers'])


class TestFiles(CreationCase):

    def of(self, uuid):
        with self.db.read() as conn:
            return payloads.of(conn, uuid)

    def test_are_kept_until_the_container_is_deleted(self):
        data = {'/a': bytes(range(256)) * 1000, '/b/c': b''}
        made = self.created(mounts=[file(path, content, size='')
                                    for path, content in data.items()])
        self.assertEqual(data, self.of(made['uuid']))
        self.assertEqual([('/a', 256000), ('/b/c', 0)], [
            (one['destination'], one['size']) for one in made['files']])
        self.carry_out(made['uuid'])
        self.assertEqual(data, self.of(made['uuid']))
        self.delete(f'/v1/containers/{made["uuid"]}')
        self.carry_out(made['uuid'])
        self.assertEqual({}, self.of(made['uuid']))

    def test_their_content_is_part_of_what_a_container_is_made_of(self):
        one, other = (self.row(self.created(mounts=[file('/a', data)])['uuid']).spec
                      for data in (b'x', b'y'))
        self.assertNotEqual(one, other)

    def test_nothing_is_kept_of_what_is_refused(self):
        self.created(name='c1')
        answer = self.create(name='c1', mounts=[file('/a')])
        self.assertEqual(409, answer.status_int)
        self.assertEqual(0, self.count_payloads())

    def count_payloads(self):
        with self.db.read() as conn:
            return len(conn.execute(payloads.table.select()).all())


class TestPlace(CreationCase):

    def setUp(self):
        super().setUp()
        self.make_bay('east1', labels={'availability_zone': 'east', 'disk': 'ssd'})
        self.make_bay('east2', labels={'availability_zone': 'east'})
        self.make_bay('private', public=False, labels={'availability_zone': 'north'})

    def place(self, **fields):
        return self.row(self.created(**fields)['uuid']).bay_name

    def test_by_zone(self):
        self.assertEqual('bay', self.place(availability_zone='nova'))
        # The one with fewer containers, one after the other.
        self.assertEqual(['east1', 'east2', 'east1', 'east2'], [
            self.place(availability_zone='east') for _ in range(4)])

    def test_by_host_and_hints(self):
        self.assertEqual('east2', self.place(host='east2'))
        self.assertEqual('east1', self.place(hints={'disk': 'ssd'}))
        self.assertEqual('east1', self.place(availability_zone='east', hints={'disk': 'ssd'}))

    def test_none_fits(self):
        for fields in ({'availability_zone': 'west'}, {'host': 'nobody'}, {'hints': {'a': 'b'}},
                       {'availability_zone': 'nova', 'host': 'east1'}):
            detail = self.assert_refused(400, 'no_bay_fits', self.create(**fields))
            self.assertIn(next(iter(fields)), detail)
        other = {**base.MEMBER, 'project_id': 'other'}
        self.assert_refused(400, 'no_bay_fits', self.create(
            persona=other, availability_zone='north'))

    def test_one_that_does_not_answer_is_the_last(self):
        self.db.transact(lambda conn: conn.exec_driver_sql(
            "UPDATE bays SET health_status = 'UNHEALTHY' WHERE name = 'east1'"))
        self.assertEqual(['east2'] * 3, [
            self.place(availability_zone='east') for _ in range(3)])

    def test_bays_by_label(self):
        for query, found in (('', ['bay', 'east1', 'east2']),
                             ('label=availability_zone=east', ['east1', 'east2']),
                             ('label=disk', ['east1']), ('label=Disk', []), ('label=ssd', []),
                             ('label=disk=SSD', []),
                             ('label=availability_zone=east&label=disk=ssd', ['east1'])):
            answer = self.get(f'/v1/bays?{query}')
            self.assertEqual(found, [bay['name'] for bay in answer.json['bays']
                                     if bay['name'] != 'local'], query)


class TestWhatReachesTheEngine(CreationCase):

    def test_every_option_that_is_the_engine_s_business(self):
        """From a request to the body of the engine's own."""
        made = self.created(**{
            'command': ['a'], 'read_only': True, 'stop_timeout': 0, 'runtime': 'kata',
            'healthcheck': {'cmd': 'true', 'interval': 5}, 'exposed_ports': {'53/udp': {}},
            'published_ports': [{'container_port': 80, 'host_port': 8080}],
            'tmpfs': {'/run': 16}, 'disk': 2, 'auto_remove': True})
        row = self.row(made['uuid'])
        container = docker_request.base.Container(
            uuid=row.uuid, name=row.name, image=row.image, generation=1, fence=1,
            deployment='d', spec=row.spec)
        body = docker_request.create_request(container)
        host = body['HostConfig']
        self.assertEqual(
            ({'Test': ['CMD-SHELL', 'true'], 'Interval': 5 * 10**9}, 0,
             {'53/udp': {}, '80/tcp': {}}, True, 'kata', {'size': '2G'},
             {'/run': 'rw,nosuid,nodev,noexec,size=16777216'}),
            (body['Healthcheck'], body['StopTimeout'], body['ExposedPorts'],
             host['ReadonlyRootfs'], host['Runtime'], host['StorageOpt'], host['Tmpfs']))
        self.assertNotIn('AutoRemove', host)
