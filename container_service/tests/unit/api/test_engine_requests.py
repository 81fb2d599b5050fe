# SPDX-License-Identifier: Apache-2.0
"""Nothing that a request says gives a container more of its host than the allow list has.

Bodies of any kind go through the real application; what is made of those that it takes is the
request that an engine would get.
"""

import io
import json
import random
import re
from unittest import mock
from wsgiref import util

import hypothesis
from hypothesis import strategies as st
from oslo_policy import policy as oslo_policy
from wsme import types as wtypes

from container_service import powers
from container_service.api import creation
from container_service.api.controllers import containers
from container_service.drivers import docker_request
from container_service.tests import safety
from container_service.tests.unit.api import base

EXAMPLES, EACH = 500, 20         # 10 000 in all

FIELDS = [attribute.name for attribute in wtypes.list_attributes(creation.ContainerCreate)]

# Values that fields take, so that enough of the bodies are taken.
VALID = {
    'image': ['busybox', 'r.example.org:5000/a/b@sha256:' + 'a' * 64],
    'name': ['web', 'a.b-c_d'], 'command': [['sh', '-c', 'true'], 'echo hi', []],
    'entrypoint': [['/bin/sh'], ''], 'environment': [{'A': '1'}, {'PATH': '/:/x', 'B': None}],
    'secret_environment': [{'PASSWORD': 'x'}, {}],
    'labels': [{'a': 'b'}, {}], 'workdir': ['/', '/tmp/../etc'], 'hostname': ['h', 'a.b'],
    'user': ['root', '0:0'], 'cpu': [0.5, '1'], 'memory': ['64m', 512], 'disk': [1, '0', None],
    'restart_policy': [{'Name': 'always'}, {'Name': 'on-failure', 'MaximumRetryCount': '3'}],
    'auto_remove': [False, 'true'], 'auto_heal': [False, 'no'], 'tty': [True, 'False'],
    'interactive': [True], 'read_only': [True, False], 'tmpfs': [{'/run': '16m'}, {'/a': None}],
    'stop_signal': ['SIGINT', 9], 'stop_timeout': [0, '10'],
    'healthcheck': [{'cmd': 'true', 'interval': 5}, {'cmd': 'x; y', 'retries': '3'}],
    'exposed_ports': [{'80/tcp': {}}, {'53': None}],
    'published_ports': [[{'container_port': 80, 'host_port': 8080}]],
    'nets': [[{'network': 'mine'}], [{'network': 'n', 'v4-fixed-ip': '10.0.0.5'}]],
    'mounts': [[{'type': 'bind', 'source': 'eA==', 'destination': '/etc/x'}]],
    'image_pull_policy': ['never', 'Always'], 'bay_uuid': ['bay'],
    'availability_zone': ['nova', ''], 'host': ['', 'h'], 'hints': [{}, {'a': 'b'}],
    'runtime': ['kata', ''], 'registry': ['', 'mine'], 'privileged': [False, 'none'],
    'cpu_policy': ['shared'], 'image_driver': ['docker'], 'security_groups': [['default'], []]}

# What the engine knows and nobody may ask for, in its own words.
FORBIDDEN = {
    'Privileged': True, 'CapAdd': ['SYS_ADMIN'], 'CapDrop': [], 'Capabilities': ['ALL'],
    'Devices': [{'PathOnHost': '/dev/sda', 'PathInContainer': '/dev/sda',
                 'CgroupPermissions': 'rwm'}],
    'DeviceRequests': [{'Count': -1}], 'DeviceCgroupRules': ['a *:* rwm'],
    'NetworkMode': 'container:abc', 'PidMode': 'host', 'IpcMode': 'host', 'UTSMode': 'host',
    'UsernsMode': 'host', 'CgroupnsMode': 'host', 'CgroupParent': '/x', 'Cgroup': 'container:a',
    'Binds': ['/var/run/docker.sock:/var/run/docker.sock'],
    'Mounts': [{'Type': 'bind', 'Source': '/', 'Target': '/host'}], 'VolumesFrom': ['other'],
    'VolumeDriver': 'local', 'Volumes': {'/x': {}}, 'SecurityOpt': ['seccomp=unconfined'],
    'Sysctls': {'kernel.core_pattern': '|/x'}, 'Ulimits': [{'Name': 'nofile', 'Hard': 1 << 40}],
    'Runtime': 'other', 'Init': True, 'InitPath': '/x', 'ExtraHosts': ['a:127.0.0.1'],
    'Dns': ['1.2.3.4'], 'GroupAdd': ['0'], 'OomScoreAdj': -1000, 'OomKillDisable': True,
    'ShmSize': 1 << 40, 'LogConfig': {'Type': 'syslog', 'Config': {}}, 'PidsLimit': -1,
    'MaskedPaths': [], 'ReadonlyPaths': [], 'Isolation': 'host', 'AutoRemove': True,
    'NetworkingConfig': {'EndpointsConfig': {'host': {}}}, 'MacAddress': '02:42:ac:11:00:02',
    'HostConfig': {'Privileged': True}, 'host_config': {'privileged': True}, 'Links': ['a:b'],
    'docker_sock': '/var/run/docker.sock', 'spec': {'privileged': True}, 'opened': ['privileged'],
    'files': [{'destination': '/x'}], 'memory_bytes': -1, 'cap_add': ['ALL'],
    'security_opt': ['apparmor=unconfined'], 'network_mode': 'host', '__proto__': {}}

NAMES = sorted(FORBIDDEN)

# Values that are wrong for these fields alone.
WRONG = {
    'nets': [[{'network': name}] for name in (
        'host', 'none', 'default', 'container:x', 'ns:/proc/1/ns/net', 'HOST', '\uff48ost',
        'h\u200bost', ' host', 'host\n', '', None, ['host'])]
    + [[{'network': 'mine'}, {'network': 'host'}],
       [{'network': 'mine', 'v4-fixed-ip': '127.0.0.1'}]],
    'mounts': [[{'type': 'bind', 'source': 'eA==', 'destination': '/a', **wrong}] for wrong in (
        {'source': '/'}, {'source': '/etc'}, {'source': '/var/run/docker.sock'},
        {'source': '/srv/'}, {'source': '..'}, {'type': 'volume'}, {'type': 'BIND'},
        {'destination': '/proc/x'}, {'destination': '/a/../dev'}, {'destination': '/'},
        {'propagation': 'shared'}, {'read_only': False}, {'source': '/srv/data'},
        {'source': '/srv/more', 'read_only': True}, {'source': '/srv/data/below'},
        {'source': '/srv/more/below'}, {'source': '/srv/data/'}, {'source': '/etc/../proc'},
        {'source': '/run'}, {'source': '/srv/data', 'propagation': 'shared'})],
    'tmpfs': [{'/run': '16m,exec,suid'}, {'/proc': '16m'}, {'/run:exec': '1m'}, {'/a/../dev': ''},
              {'//sys': ''}, {'/': ''}],
    'restart_policy': [{'Name': 'always', 'Privileged': True}, {'Name': 'on-failure:3'}],
    'healthcheck': [{'cmd': 'x', 'Test': ['y']}, {'cmd': ['x']}, {'test': 'x'}],
    'exposed_ports': [{'80/tcp': {'HostPort': '22'}}, {'80/tcp; x': {}}, {'80/icmp': {}}],
    'published_ports': [[{'container_port': 80, 'host_port': 8080, **wrong}] for wrong in (
        {'host_port': 22}, {'host_ip': '0.0.0.0'}, {'host_port': '\uff18080'},
        {'protocol': 'TCP'})],
    'labels': [{'cs.deployment': 'd'}, {'': ''}, {'a': ['b']}],
    'environment': [{'a=b': 'c'}, {'': ''}, {'A\n': 'b'}],
    'secret_environment': [{'a=b': 'c'}, ['A'], {'A\n': 'b'}],
    'privileged': [True, 'true', 'True', 1, 'on', [True], {'a': 1}],
    'runtime': ['/bin/runc', 'kata;x', 'kata\n', '../x', ' kata'],
    'user': ['0:0:0', 'root\n', '-1'], 'hostname': ['a\n', '-x', 'a b']}

HOSTILE = [
    True, 'true', 'True', 1, -1, 1e9, 'host', 'container:abc', 'ns:/proc/1/ns/net', 'none',
    'default', '/', '/var/run/docker.sock', '/../..', '/proc/sys', '//', ['/:/host'],
    'unix:///var/run/docker.sock', '1e999', '-1', '9' * 40, '0x10', None, [],
    {}, '', '\0', 'a\nb', 'a\r\nX-Y: z', '\u2028', '\u202e', 'é', 'kata\n', '/bin/runc', 'kata;x',
    *FORBIDDEN.values()]


# Letters that look like others, and one that is not to be seen.
LOOKALIKES = str.maketrans({'e': '\u0435', 'i': '\u0456', 'o': '\uff4f'})

# Values that have parts, where nothing but these belongs.
WITH_PARTS = ('nets', 'mounts', 'healthcheck', 'restart_policy', 'tmpfs', 'published_ports',
              'environment', 'secret_environment', 'labels', 'hints')


class Bodies:
    """Makes bodies by chance: good ones, nearly good ones and hostile ones."""

    def __init__(self, seed, opened=()):
        self.chance, self.opened = random.Random(seed), opened

    def __call__(self):
        """A body as text.  A field may be there twice."""
        chance = self.chance
        pairs = [self.good() for _ in range(chance.randrange(6))]
        bad = chance.choice((0, 0, 1, 1, 2, 4))
        kinds = (self.near, self.wrong, self.forbidden, self.nested)
        pairs += [chance.choice(kinds)() for _ in range(bad)]
        pairs += [pair for pair in self.opened if chance.random() < 0.2]
        if chance.random() < 0.5:
            chance.shuffle(pairs)
        pairs.insert(chance.choice((0, len(pairs))), ('image', 'busybox'))
        return '{' + ', '.join(f'{json.dumps(name)}: {json.dumps(value)}'
                               for name, value in pairs) + '}'

    def good(self):
        name = self.chance.choice(FIELDS)
        return name, self.chance.choice(VALID[name])

    def near(self):
        name = self.chance.choice(FIELDS)
        return name, self.junk()

    def forbidden(self):
        name = self.chance.choice(NAMES)
        return self.lookalike(name), self.chance.choice((FORBIDDEN[name], True, 'host'))

    def nested(self):
        """A field with something among its parts that does not belong there."""
        field, name = self.chance.choice(WITH_PARTS), self.chance.choice(NAMES)
        value = self.chance.choice(VALID[field])
        entry = value[0] if isinstance(value, list) else value
        entry = {**entry, self.lookalike(name): FORBIDDEN[name]}
        return field, [entry] if isinstance(value, list) else entry

    def lookalike(self, name):
        """A name, or a spelling of it that somebody may take for it."""
        return self.chance.choice((
            str, str, str.lower, str.upper, str.swapcase, lambda name: name.replace('_', ''),
            lambda name: name.replace('_', '-'), ' {}'.format, '{} '.format, '{}\0'.format,
            '\ufeff{}'.format, lambda name: name.translate(LOOKALIKES),
            lambda name: f'{name[:1]}\u200b{name[1:]}', 'HostConfig.{}'.format, '{}[]'.format,
            lambda name: re.sub('(?<=.)([A-Z])', r'_\1', name).lower()))(name)

    def wrong(self):
        name = self.chance.choice(list(WRONG))
        return name, self.chance.choice((*WRONG[name], self.junk()))

    def junk(self, depth=2):
        kind = self.chance.random()
        if depth and kind < 0.15:
            return [self.junk(depth - 1) for _ in range(self.chance.randrange(3))]
        if depth and kind < 0.3:
            return {self.chance.choice((*NAMES, 'a', 'network', 'source')): self.junk(depth - 1)
                    for _ in range(self.chance.randrange(3))}
        if kind < 0.35:
            return ''.join(map(chr, self.chance.choices(range(0xd7ff), k=4)))
        return self.chance.choice(HOSTILE)


class TestEveryCreate(base.ApiTestCase):
    """S-04, over many bodies."""
    time_limit = 300

    def setUp(self):
        super().setUp()
        self.asked, self.opened = [], set()
        self.enterContext(mock.patch.object(containers.accept, 'creation', self.accept))

    def accept(self, controller, op, **made):
        """In the place of what writes rows: keep what would be written."""
        self.asked.append(made)
        return {}

    def send(self, body, persona):
        """What would be written for a body; None when it is refused."""
        self.asked.clear()
        said = []
        raw = body.encode()
        environ = {'REQUEST_METHOD': 'POST', 'PATH_INFO': '/v1/containers', 'QUERY_STRING': '',
                   'CONTENT_TYPE': 'application/json', 'CONTENT_LENGTH': str(len(raw)),
                   'HTTP_X_PERSONA': persona, 'HTTP_OPENSTACK_API_VERSION': 'container latest',
                   'HTTP_HOST': 'localhost:9517', 'REMOTE_ADDR': '127.0.0.1'}
        util.setup_testing_defaults(environ)
        environ['wsgi.input'] = io.BytesIO(raw)
        answer = b''.join(self.app(environ, lambda status, *more: said.append(status)))
        status = int(said[0][:3])
        self.assertIn(status, (200, 400, 403, 413), (body, answer))
        self.assertEqual(int(status == 200), len(self.asked), body)
        return self.asked[0] if self.asked else None

    def request_of(self, made):
        """What an engine would get."""
        spec = json.loads(json.dumps(made['spec']))
        container = docker_request.base.Container(
            uuid='u', name=made['name'] or 'n', image=made['image'], generation=1, fence=1,
            deployment='d', spec=spec)
        return docker_request.create_request(
            container, networks=[net['network'] for net in spec.get('nets') or ()])

    def check(self, body, admin):
        """Returns whether it was taken."""
        made = self.send(body, json.dumps(base.ADMIN if admin else base.MEMBER))
        if made is None:
            return False
        request, opened = self.request_of(made), made['spec'].get('opened', ())
        self.assertEqual([], safety.faults_of_request(request, opened), body)
        self.opened.update(opened)
        if not admin:
            self.assertEqual(set(), {'Runtime', 'PortBindings'} & set(request['HostConfig']), body)
        self.assertNotIn('docker.sock', json.dumps(request['HostConfig']))
        return True

    def check_many(self, examples, opened=()):
        """How many bodies were taken, and which fields these had."""
        taken, fields = 0, set()

        @hypothesis.settings(max_examples=examples, deadline=None, derandomize=True, database=None,
                             phases=[hypothesis.Phase.generate],
                             suppress_health_check=list(hypothesis.HealthCheck))
        @hypothesis.given(st.integers(0, 2**64), st.booleans())
        def check(seed, admin):
            nonlocal taken
            bodies = Bodies(seed, opened)
            for _ in range(EACH):
                body = bodies()
                if self.check(body, admin):
                    taken += 1
                    fields.update(json.loads(body))

        check()
        return taken, fields

    def test_nothing_forbidden_reaches_the_engine(self):
        taken, fields = self.check_many(EXAMPLES)
        self.assertEqual(set(), self.opened)
        # It says nothing if hardly any was taken.
        self.assertGreater(taken, EXAMPLES * EACH // 5)
        self.assertEqual(set(), set(FIELDS) - fields)

    def test_nothing_but_what_is_opened_reaches_the_engine(self):
        self.parts.enforcer.load_rules()
        self.parts.enforcer.set_rules(oslo_policy.Rules.from_dict(
            dict.fromkeys(powers.RULES.values(), 'role:admin')),
            overwrite=False, use_conf=False)
        self.conf.set_override('bind_mount_paths', ['/srv/data', '/srv/more', '/srv/more/below',
                                                    '/etc/../proc', '/var/run/docker.sock'],
                               group='bays')
        self.check_many(EXAMPLES // 5, opened=(
            ('privileged', True), ('nets', [{'network': 'host'}]),
            ('mounts', [{'type': 'bind', 'source': '/srv/data', 'destination': '/data'}])))
        self.assertEqual(set(powers.RULES), self.opened)
