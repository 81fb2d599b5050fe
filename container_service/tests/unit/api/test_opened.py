# SPDX-License-Identifier: Apache-2.0
"""What gives a container power over its host is for nobody, until the operator opens it."""

import fixtures
from oslo_policy import policy as oslo_policy

from container_service import powers
from container_service.api import versions
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_creation


def directory(source='/srv/data', **more):
    return {'type': 'bind', 'source': source, 'destination': '/data', **more}


ASKED = {
    powers.PRIVILEGED: ('privileged', {'privileged': True}),
    powers.HOST_NETWORK: ('nets[0].network', {'nets': [{'network': 'host'}]}),
    powers.BIND_MOUNTS: ('mounts[0].source', {'mounts': [directory()]}),
}


class OpenedCase(test_creation.CreationCase):

    def setUp(self):
        super().setUp()
        self.conf.set_override('bind_mount_paths', ['/srv/data'], group='bays')

    def open(self, power, check='role:admin'):
        self.parts.enforcer.load_rules()
        self.parts.enforcer.set_rules(oslo_policy.Rules.from_dict({powers.RULES[power]: check}),
                                      overwrite=False, use_conf=False)

    def create(self, version='latest', **values):
        return super().create(version, **values)


class TestPowers(OpenedCase):

    def test_are_for_nobody(self):
        self.assertEqual(set(powers.RULES), set(ASKED))
        for power, (field, asked) in ASKED.items():
            for persona in (base.ADMIN, base.MEMBER):
                detail = self.assert_refused(
                    403, 'forbidden', self.create(persona=persona, **asked))
                self.assertEqual(f'{field}: Policy {powers.RULES[power]} does not allow this.',
                                 detail)
        self.assertEqual([], self.get('/v1/containers').json['containers'])

    def test_one_that_is_opened_opens_no_other(self):
        for power, (_, asked) in ASKED.items():
            self.open(power)
            self.assert_refused(403, 'forbidden', self.create(persona=base.MEMBER, **asked))
            self.assertEqual([power], self.row(self.created(**asked)['uuid']).spec['opened'])
            for other in set(ASKED) - {power}:
                self.assert_refused(403, 'forbidden', self.create(**asked, **ASKED[other][1]))
            self.open(power, '!')

    def test_what_was_opened_is_recorded_and_shown(self):
        log = self.useFixture(fixtures.FakeLogger('container_service'))
        for power in ASKED:
            self.open(power)
        made = self.created(privileged='true', nets=[{'network': 'host'}], name='strong',
                            mounts=[directory(read_only=True), test_creation.file('/a')])
        self.assertEqual({
            'opened': ['privileged', 'host_network', 'bind_mounts'],
            'nets': [{'network': 'host'}],
            'mounts': [{'source': '/srv/data', 'destination': '/data', 'read_only': True}]},
            {name: value for name, value in self.row(made['uuid']).spec.items()
             if name != 'files'})
        self.assertEqual((True, ['/srv/data'], ['/a']), (
            made['privileged'], [mount['source'] for mount in made['mounts']],
            [file['destination'] for file in made['files']]))
        self.assertIn('given privileged, host_network, bind_mounts', log.output)

    def test_nobody_can_say_that_it_was_opened(self):
        self.assert_refused(400, 'unknown_parameter', self.create(opened=['privileged']))


class TestHostPaths(OpenedCase):

    def setUp(self):
        super().setUp()
        self.open(powers.BIND_MOUNTS)

    def mount(self, source, version='latest', **more):
        return self.create(version, mounts=[directory(source, **more)])

    def test_only_what_the_operator_names(self):
        for source in ('/srv', '/srv/data/below', '/srv/other', '/etc', '/SRV/data'):
            self.refused('mounts[0].source', self.mount(source), 'operator')
        self.conf.set_override('bind_mount_paths', [], group='bays')
        self.refused('mounts[0].source', self.mount('/srv/data'), 'operator')

    def test_never_what_is_the_host(self):
        never = ('/', '/var/run/docker.sock', '/run', '/proc', '/dev', '/var/lib/docker')
        self.conf.set_override('bind_mount_paths', list(never), group='bays')
        for source in never:
            self.refused('mounts[0].source', self.mount(source), 'must not')
        for source in ('/srv/../etc', '/srv/data/'):
            self.refused('mounts[0].source', self.mount(source), 'absolute path without')
        self.refused('mounts[0].source', self.mount('//srv/data'), 'base64')

    def test_a_path_is_never_content(self):
        """/etc is base64 too."""
        self.open(powers.BIND_MOUNTS, '!')
        self.assert_refused(403, 'forbidden', self.mount('/etc'))
        self.open(powers.BIND_MOUNTS)
        self.refused('mounts[0].source', self.mount('/9j/' + 'A' * 251), 'operator')
        self.refused('mounts[0].source', self.mount('/9j//AAA'), 'line break')

    def test_content_that_begins_like_a_path(self):
        """As that of pictures, and of text in UTF-16."""
        for source, size in (('/9j/' + 'A' * 252, 192), ('//5hAA==', 4),
                             ('\n/9j/4AAQSkZJRg==', 10)):
            made = self.created(mounts=[directory(source)])
            self.assertEqual(([], size), (made['mounts'], made['files'][0]['size']))

    def test_from_its_version_on(self):
        self.refused('mounts[0].source', self.mount('/srv/data', '1.41'), '1.42')
        self.assertEqual((1, 42), versions.MAXIMUM)

    def test_what_goes_with_it(self):
        made = self.created(read_only=True, mounts=[directory(read_only='no')])
        self.assertFalse(made['mounts'][0]['read_only'])
        self.refused('mounts[0].read_only', self.create(
            mounts=[directory('eA==', read_only=True)]))
        self.refused('mounts[0].propagation', self.mount('/srv/data', propagation='shared'))
        self.refused('mounts[1].destination', self.create(
            mounts=[directory(), test_creation.file('/data/x')]))
        self.refused('mounts[0].destination', self.create(
            mounts=[directory()], tmpfs={'/data': ''}))


class TestHostNetwork(OpenedCase):

    def setUp(self):
        super().setUp()
        self.open(powers.HOST_NETWORK)

    def test_alone(self):
        for nets in ([{'network': 'mine'}, {'network': 'host'}],
                     [{'network': 'host'}, {'network': 'mine'}],
                     [{'network': 'host', 'v4-fixed-ip': '10.0.0.5'}]):
            answer = self.create(nets=nets)
            self.assertIn('must be alone', self.assert_refused(400, 'invalid_parameter', answer))
        self.refused('published_ports', self.create(nets=[{'network': 'host'}], published_ports=[
            {'container_port': 80, 'host_port': 8080}]))
