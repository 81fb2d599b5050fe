# SPDX-License-Identifier: Apache-2.0
import base64
import os
import tempfile
from unittest import mock

from container_service.tests.unit.client import stub


class OptionsTest(stub.CommandTest):

    def setUp(self):
        super().setUp()
        self.service.answer('POST', '/v1/containers', status=202,
                            body=stub.container(action=stub.action(operation='create')))
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.path = os.path.join(directory, 'file')

    def body(self, *argv):
        """What is asked for with these options, besides the image."""
        self.service.requests.clear()
        self.stdout('create', *argv, 'alpine')
        body = self.service.requests[-1].body
        self.assertEqual('alpine', body.pop('image'))
        return body

    def test_nothing_that_was_not_asked_for(self):
        self.assertEqual({}, self.body())

    def test_short_names_as_docker_has_them(self):
        self.assertEqual(
            {'environment': {'A': '1', 'B': 'x=y'}, 'labels': {'tier': 'web'}, 'workdir': '/w',
             'user': 'me:us', 'tty': True, 'interactive': True, 'memory': '64m', 'cpu': 0.5},
            self.body('-e', 'A=1', '-e', 'B=x=y', '-l', 'tier=web', '-w', '/w', '-u', 'me:us',
                      '-t', '-i', '-m', '64m', '--cpus', '0.5'))

    def test_environment_from_here_and_from_files(self):
        with open(self.path, 'w') as f:
            f.write('# comment\nA=file\n\nB=file\n')
        with mock.patch.dict(os.environ, {'HERE': 'ours'}):
            self.assertEqual({'environment': {'A': 'option', 'B': 'file', 'HERE': 'ours'}},
                             self.body('-e', 'HERE', '-e', 'A=option', '--env-file', self.path))

    def test_secret_variables(self):
        with open(self.path, 'w') as f:
            f.write('# comment\nA=file\n\n  B=file = x\n')
        with mock.patch.dict(os.environ, {'HERE': 'ours'}):
            self.assertEqual(
                {'secret_environment': {'A': 'option', 'B': 'file = x', 'HERE': 'ours'}},
                self.body('--secret-env', 'HERE', '--secret-env', 'A=option',
                          '--secret-env-file', self.path))

    def test_what_is_wrong_with_secret_variables_is_told_without_them(self):
        for text in ('=hidden', 'A=1\nhidden'):
            with open(self.path, 'w') as f:
                f.write(text)
            told = self.refused('create', '--secret-env-file', self.path, 'alpine')
            self.assertIn(f'{self.path}: line', told)
            self.assertNotIn('hidden', told)
        self.assertNotIn('hidden', self.refused('create', '--secret-env', '=hidden', 'alpine'))

    def test_networks_and_ports(self):
        self.assertEqual(
            {'nets': [{'network': 'n1'},
                      {'network': 'n2', 'v4-fixed-ip': '10.0.0.5', 'v6-fixed-ip': 'fd00::5'}],
             'published_ports': [
                 {'host_port': 8080, 'container_port': 80, 'protocol': 'tcp'},
                 {'host_port': 53, 'container_port': 5353, 'protocol': 'udp'}],
             'exposed_ports': {'80/tcp': {}, '53/udp': {}}, 'hostname': 'h'},
            self.body('--network', 'n1', '--network', 'name=n2,ip=10.0.0.5,ip6=fd00::5',
                      '-p', '8080:80', '-p', '53:5353/udp', '--expose', '80', '--expose',
                      '53/udp', '--hostname', 'h'))

    def test_files(self):
        with open(self.path, 'wb') as f:
            f.write(b'\x00\xff')
        self.assertEqual(
            {'mounts': [{'type': 'bind', 'destination': '/etc/conf',
                         'source': base64.b64encode(b'\x00\xff').decode()}],
             'tmpfs': {'/run': '64m', '/tmp': '1g'}, 'read_only': True},
            self.body('--mount', f'type=bind,src={self.path},target=/etc/conf', '--tmpfs', '/run',
                      '--tmpfs', '/tmp:size=1g', '--read-only'))

    def test_what_would_be_taken_for_a_directory_of_the_host(self):
        with open(self.path, 'wb') as f:
            f.write(b'\xff\xd8')
        self.assertEqual(
            {'mounts': [{'type': 'bind', 'destination': '/a', 'source': '\n/9g='},
                        {'type': 'bind', 'destination': '/b', 'source': '/srv', 'read_only': True},
                        {'type': 'bind', 'destination': '/c', 'source': '/d',
                         'read_only': False}]},
            self.body('--mount', f'src={self.path},target=/a', '--volume', '/srv:/b:ro',
                      '--volume', '/d:/c'))

    def test_health(self):
        self.assertEqual(
            {'healthcheck': {'cmd': 'true', 'interval': 60, 'timeout': 5, 'retries': 3}},
            self.body('--health-cmd', 'true', '--health-interval', '1m', '--health-timeout', '5s',
                      '--health-retries', '3'))

    def test_end_and_place(self):
        self.assertEqual(
            {'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': 3},
             'auto_remove': True, 'auto_heal': True, 'stop_signal': 'SIGINT', 'stop_timeout': 0,
             'registry': 'ours', 'availability_zone': 'z', 'host': 'h', 'runtime': 'runc',
             'disk': 5, 'image_pull_policy': 'ifnotpresent', 'hints': {'rack': 'r1'}},
            self.body('--restart', 'on-failure:3', '--rm', '--auto-heal', '--stop-signal', 'int',
                      '--stop-timeout', '0', '--registry', 'ours', '--availability-zone', 'z',
                      '--host', 'h', '--runtime', 'runc', '--disk', '5', '--pull', 'missing',
                      '--hint', 'rack=r1'))

    def test_wrong_usage_names_what_is_wrong(self):
        for argv, told in (
                (['-e', 'CS_NOT_SET_HERE'], 'is not set here'),
                (['--env-file', self.path], 'No such file'),
                (['-p', '80'], 'must be HOST:PORT'), (['-p', '80:x'], 'must be HOST:PORT'),
                (['--expose', 'http'], 'must be PORT'),
                (['--network', 'ip=10.0.0.5'], 'has no name=NETWORK'),
                (['--network', 'name=n,gw=x'], "'gw' is not one of name, ip, ip6"),
                (['--mount', 'type=volume,source=a,destination=/b'], 'only type=bind'),
                (['--mount', 'source=a'], 'needs source=FILE and destination=PATH'),
                (['--mount', f'source={self.path},destination=/b'], 'No such file'),
                (['--volume', 'a:/b'], 'must be DIRECTORY:PATH'),
                (['--volume', '/a:/b:rx'], 'must be DIRECTORY:PATH'),
                (['--mount', '/a:/b'], 'must be KEY=VALUE'),
                (['--tmpfs', 'run'], 'must be PATH'), (['--tmpfs', '/run:64m'], 'must be PATH'),
                (['--health-interval', '0'], 'must be a time'),
                (['--health-retries', '3'], 'go with --health-cmd'),
                (['--stop-signal', 'a b'], 'signal'), (['--stop-timeout', '-1'], 'number'),
                (['--disk', '0'], 'number')):
            with self.subTest(argv=argv):
                self.assertIn(told, self.refused('create', *argv, 'alpine'))
