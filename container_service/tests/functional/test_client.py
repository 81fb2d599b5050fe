# SPDX-License-Identifier: Apache-2.0
"""Our own client against a standalone service and a real engine: what it shows is there."""

import io
import json
import os
import threading
import uuid

from container_service.tests import clients
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests.unit.client import stub

COUNTS = 'i=0; trap "exit 3" TERM; while :; do i=$((i+1)); echo line $i; sleep 0.1; done'


class TestClient(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(clients.Standalone())

    def setUp(self):
        super().setUp()
        self.name = f'c-{uuid.uuid4().hex[:12]}'
        self.image = fixtures.needed('CS_TEST_IMAGE')
        self.directory = self.useFixture(clients.pyfixtures.TempDir()).path

    def cli(self, *argv, code=0, **streams):
        """Run a command; returns its standard output."""
        result = stub.run(self.processes.url, *argv, **streams)
        self.assertEqual(code, result.code, (argv, result))
        return result.out

    def json(self, *argv):
        return json.loads(self.cli(*argv, '-f', 'json'))

    def run_one(self, *options, command=('sh', '-c', COUNTS)):
        self.cli('run', '--name', self.name, *options, '--poll', self.image, *command)

    def file(self, name, content):
        path = os.path.join(self.directory, name)
        with open(path, 'w') as f:
            f.write(content)
        return path

    def test_everything_that_can_be_asked_for_at_create(self):
        network = self.processes.engine.networks.create(self.name)
        self.addCleanup(network.remove)
        self.addCleanup(self.processes._remove_containers)
        port = fixtures.free_port()
        self.run_one(
            '-e', 'A=1', '-l', 'tier=web', '-w', '/tmp', '-u', '0:0', '-m', '64m', '--cpus', '0.5',
            '--hostname', 'here', '--network', self.name, '-p', f'{port}:80', '--expose', '81',
            '--mount', f'type=bind,source={self.file("f", "content")},destination=/etc/conf',
            '--tmpfs', '/run:size=8m', '--health-cmd', 'true', '--health-interval', '1s',
            '--health-retries', '2', '--restart', 'on-failure:2', '--stop-signal', 'TERM',
            '--stop-timeout', '5', '--auto-heal', '--pull', 'missing', '-t', '-i')
        shown = self.json('show', self.name)
        has = self.processes.engine.containers.get(shown['engine_id']).attrs
        self.assertEqual((64 << 20, 500_000_000, 'on-failure'), (
            has['HostConfig']['Memory'], has['HostConfig']['NanoCpus'],
            has['HostConfig']['RestartPolicy']['Name']))
        self.assertEqual([self.name], list(has['NetworkSettings']['Networks']))
        self.assertEqual({'80/tcp', '81/tcp'}, set(has['Config']['ExposedPorts']))
        self.assertEqual(f'{port}', has['HostConfig']['PortBindings']['80/tcp'][0]['HostPort'])
        self.assertEqual(('here', 'SIGTERM', 5, True), tuple(
            has['Config'][key] for key in ('Hostname', 'StopSignal', 'StopTimeout', 'Tty')))
        self.assertEqual('content', self.cli('exec', self.name, 'cat', '/etc/conf'))
        table = self.cli('show', self.name)
        for text in ('/run=8.0 MiB', '/etc/conf (7 B)', f'{port}:80/tcp', f'{self.name}=1'):
            self.assertIn(text, table)

    def test_read_only_and_gone_when_it_ends(self):
        self.cli('run', '--name', self.name, '--rm', '--read-only', '--poll', self.image,
                 'sh', '-c', 'echo x >/f || sleep 0.5')
        fixtures.eventually(
            lambda: stub.run(self.processes.url, 'show', self.name).code == 1)

    def test_logs_are_followed_to_the_end(self):
        self.run_one()
        out = io.StringIO()
        follower = threading.Thread(target=self.cli, daemon=True, kwargs={'out': out}, args=(
            'logs', '--follow', self.name))
        follower.start()
        fixtures.eventually(lambda: 'line 8\n' in out.getvalue())
        self.cli('stop', '--poll', self.name)
        follower.join(20)
        self.assertFalse(follower.is_alive())
        lines = out.getvalue().splitlines()
        self.assertEqual([f'line {number}' for number in range(1, len(lines) + 1)], lines)
        self.assertEqual(out.getvalue(), self.cli('logs', self.name))
        self.assertEqual('3\n', self.cli('wait', self.name))

    def test_logs_from_a_cursor(self):
        self.run_one(command=('sh', '-c', 'echo one; echo two'))
        self.cli('wait', self.name)
        result = stub.run(self.processes.url, 'logs', '--tail', '1', '--show-cursor', self.name)
        self.assertEqual('two\n', result.out)
        cursor = result.err.removeprefix('cursor: ').strip()
        self.cli('start', '--poll', self.name)
        self.cli('wait', self.name)
        self.assertEqual('one\ntwo\n', self.cli('logs', '--cursor', cursor, self.name))

    def test_exec(self):
        self.run_one()
        self.assertEqual('1 /tmp\n', self.cli('exec', '-e', 'X=1', '-w', '/tmp', self.name, 'sh',
                                              '-c', 'echo $X $PWD'))
        self.assertEqual('in\n', self.cli('exec', '-i', self.name, 'cat',
                                          stdin=io.StringIO('in\n')))
        self.cli('exec', self.name, 'sh', '-c', 'exit 9', code=9)
        action = self.cli('exec', '-d', self.name, 'sh', '-c', 'echo kept; exit 4').strip()
        self.assertEqual('kept\n', self.cli('action', 'result', action, code=4))

    def test_copy(self):
        self.run_one()
        note = self.file('note', 'text')
        for path, there in (('/tmp', '/tmp/note'), ('/tmp/', '/tmp/note'),
                            ('/tmp/other', '/tmp/other'), ('/tmp/other', '/tmp/other')):
            self.cli('cp', note, f'{self.name}:{path}')
            self.assertEqual('text', self.cli('exec', self.name, 'cat', there))
        os.makedirs(os.path.join(self.directory, 'dir', 'deep'))
        os.rename(note, os.path.join(self.directory, 'dir', 'deep', 'note'))
        self.cli('cp', os.path.join(self.directory, 'dir'), f'{self.name}:/tmp/copied')
        self.assertEqual('text', self.cli('exec', self.name, 'cat', '/tmp/copied/deep/note'))
        back = os.path.join(self.directory, 'back')
        for _ in range(2):
            self.cli('cp', f'{self.name}:/tmp/copied/.', back)
            self.cli('cp', f'{self.name}:/tmp/copied', back)
        with open(os.path.join(back, 'deep', 'note')) as f:
            self.assertEqual('text', f.read())
        self.assertEqual(['copied', 'deep'], sorted(os.listdir(back)))
        self.cli('cp', note, f'{self.name}:/nowhere/at/all', code=1)
        self.cli('cp', f'{self.name}:/nowhere', back, code=1)

    def test_what_is_seen_of_it(self):
        self.run_one()
        [stats] = self.json('stats', self.name)
        self.assertGreater(stats['memory_bytes'], 0)
        self.assertIn(self.name, self.cli('stats'))
        self.assertIn('sh -c', self.cli('top', self.name))
        self.cli('exec', self.name, 'sh', '-c', 'echo x >/new')
        self.assertIn('A /new\n', self.cli('diff', self.name))
        [inspected] = json.loads(self.cli('inspect', self.name))
        self.assertTrue(inspected['State']['Running'])
        [network] = self.json('network', 'list', self.name)
        self.assertTrue(network['addresses'][0]['address'])

    def test_changes(self):
        network = self.processes.engine.networks.create(self.name)
        self.addCleanup(network.remove)
        self.addCleanup(self.processes._remove_containers)
        self.run_one()
        self.cli('update', '-m', '128m', '--restart', 'always', '--poll', self.name)
        self.assertEqual('128', self.json('show', self.name)['memory'])
        self.cli('network', 'attach', '--poll', self.name, self.name)
        self.assertIn(f'| {self.name} ', self.cli('network', 'list', self.name))
        self.cli('network', 'detach', '--poll', self.name, self.name)
        self.assertIn('uuid=', self.cli('commit', '--poll', self.name, f'{self.name}:new'))
        image = self.json('image', 'show', f'{self.name}:new')
        self.assertEqual('Available', image['status'])
        self.assertIn(self.name, self.cli('image', 'list'))
        self.cli('image', 'tag', '--poll', f'{self.name}:new', f'{self.name}:other')
        self.cli('rename', '--poll', self.name, f'{self.name}-2')
        self.cli('rebuild', '--image', f'{self.name}:new', '--poll', f'{self.name}-2')
        self.cli('delete', '--force', '--poll', f'{self.name}-2')
        self.cli('image', 'delete', '--poll', f'{self.name}:new', f'{self.name}:other')

    def test_images(self):
        image = f'{fixtures.needed("CS_TEST_REGISTRY")}/cs-test/busybox:latest'
        self.assertIn('| Available ', self.cli('image', 'pull', '--poll', image))
        self.cli('image', 'delete', '--poll', image)
        self.cli('image', 'show', image, code=1)
        self.cli('image', 'pull', '--poll', f'{image}-none', code=1)

    def test_places(self):
        [host] = self.json('host', 'list')
        self.assertEqual(host, self.json('host', 'show', host['hostname']))
        self.assertIn(' nova ', self.cli('availability', 'zone', 'list'))
        self.cli('quota', 'set', '--containers', '5', self.name)
        self.assertRegex(self.cli('quota', 'show', self.name), r'containers +\| 5 +\| 0 ')
        self.cli('quota', 'delete', self.name)
        self.assertRegex(self.cli('quota', 'show', '--class', 'default'), r'containers +\| none ')
        made = self.cli('registry', 'create', '--name', self.name, '--username', 'u',
                        '--password-stdin', 'r.example.org', stdin=io.StringIO('secret\n'))
        self.assertNotIn('secret', made)
        self.assertIn('r.example.org', self.cli('registry', 'show', self.name))
        self.cli('registry', 'delete', self.name)
