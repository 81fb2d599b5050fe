# SPDX-License-Identifier: Apache-2.0
"""The clients that exist in the field, unmodified, against us and a real engine.

What they print is for people; what is compared is what the engine and our API say afterwards.
``openstack appcontainer`` ends with 0 also when it failed.
"""

import json
import os
import re
import time
import uuid

from container_service.tests import clients
from container_service.tests import deployed
from container_service.tests import fixtures

# Ends at once when it is told to.
LASTS = ('sh', '-c', 'trap "exit 0" TERM; echo up; while :; do sleep 0.1; done')


class FieldTestCase(deployed.DeployedTestCase):
    """One deployment and one process of clients for all tests of a class."""

    @classmethod
    def share(cls, processes):
        super().share(processes)
        cls.field = clients.Field(processes.url)
        cls.field.setUp()
        cls.addClassCleanup(cls.field.cleanUp)

    def setUp(self):
        super().setUp()
        self.name = f'c-{uuid.uuid4().hex[:12]}'
        self.image = fixtures.needed('CS_TEST_IMAGE')

    def openstack(self, *arguments, version=None):
        """``openstack appcontainer ...``; returns what it printed, which is no complaint."""
        code, out, err = self.field.openstack(*arguments, version=version)
        self.assertEqual(0, code, (arguments, out, err))
        self.assertNotIn('failed', out)
        return out

    def as_json(self, *arguments, **how):
        """The same with its result as JSON."""
        cut = 2 if arguments[0] in ('action', 'host', 'service', 'image', 'network', 'registry',
                                    'quota', 'availability') else 1
        cut = 3 if arguments[:2] in (('availability', 'zone'), ('quota', 'class')) else cut
        return json.loads(self.openstack(*arguments[:cut], '-f', 'json', *arguments[cut:], **how))

    def complaint(self, *arguments):
        """What a command says that cannot be done."""
        code, out, err = self.field.openstack(*arguments)
        return f'{out}{err}'

    def do(self, *arguments, **how):
        """The same with an action as the outcome, which has succeeded when this returns."""
        out = self.openstack(*arguments, **how)
        self.settled()
        return out

    def settled(self, name=None):
        """Every action of the container has succeeded."""
        for action in self.caller.history(self.container(name)):
            self.succeeded(action)

    def container(self, name=None):
        return self.caller.request('GET', f'/v1/containers/{name or self.name}', expect=200).json

    def engine_has(self, name=None):
        """What ``docker inspect`` says of the container."""
        return self.processes.engine.containers.get(self.container(name)['engine_id']).attrs

    def assert_state(self, status, engine_status):
        self.assertEqual((status, engine_status),
                         (self.container()['status'], self.engine_has()['State']['Status']))

    def run_one(self, *options, command=LASTS):
        self.do('run', '--name', self.name, *options, self.image, *command)


class LifeMixin:

    def test_from_create_to_delete(self):
        made = self.as_json('create', '--name', self.name, '--cpu', '0.5', '--memory', '64',
                            '--environment', 'A=b', '--label', 'tier=web', '--workdir', '/tmp',
                            '--hostname', 'here', '--restart', 'on-failure:2', '--wait',
                            self.image, *LASTS)
        self.assertEqual((self.name, list(LASTS)), (made['name'], made['command']))
        self.assert_state('Created', 'created')
        has = self.engine_has()
        self.assertEqual((64 << 20, 500_000_000, {'Name': 'on-failure', 'MaximumRetryCount': 2}),
                         tuple(has['HostConfig'][key]
                               for key in ('Memory', 'NanoCpus', 'RestartPolicy')))
        self.assertEqual(('/tmp', 'here', 'web'), (
            has['Config']['WorkingDir'], has['Config']['Hostname'],
            has['Config']['Labels']['tier']))
        self.assertIn('A=b', has['Config']['Env'])

        for command, status, engine_status in (
                (['start'], 'Running', 'running'), (['pause'], 'Paused', 'paused'),
                (['unpause'], 'Running', 'running'), (['restart'], 'Running', 'running'),
                (['stop', '--time', '5'], 'Stopped', 'exited'),
                (['start'], 'Running', 'running'), (['kill'], 'Stopped', 'exited')):
            self.do(*command, self.name)
            self.assert_state(status, engine_status)

        shown = self.as_json('show', self.name)
        self.assertEqual((made['uuid'], 'Stopped'), (shown['uuid'], shown['status']))
        self.assertIn(made['uuid'], [found['uuid'] for found in self.as_json('list')])
        kept = self.container()
        self.openstack('delete', self.name)
        self.succeeded(self.caller.history(kept)[-1])
        self.assertEqual([], self.on_engine(kept))
        self.assertIn('There is no container', self.complaint('show', self.name))

    def test_a_signal_reaches_the_process(self):
        self.run_one(command=('sh', '-c', 'trap "echo got it" USR1; while :; do sleep 0.1; done'))
        self.do('kill', '--signal', 'USR1', self.name)
        fixtures.eventually(lambda: 'got it' in self.openstack('logs', self.name))
        self.assert_state('Running', 'running')

    def test_logs(self):
        self.run_one(command=('sh', '-c', 'echo one; echo two; echo three >&2'))
        fixtures.eventually(lambda: self.container()['status'] == 'Stopped')
        # The engine reads the two streams one by one.
        self.assertEqual(['', 'one', 'three', 'two'],
                         sorted(self.openstack('logs', self.name).splitlines()))
        self.assertEqual('one\ntwo\n\n', self.openstack('logs', '--stdout', self.name))
        self.assertEqual('three\n\n', self.openstack('logs', '--stderr', self.name))
        self.assertEqual(1, len(self.openstack('logs', '--tail', '1', self.name).split()))
        self.assertRegex(self.openstack('logs', '--timestamps', '--stderr', self.name),
                         '^20[0-9-]+T[0-9:.]+Z three')
        later = str(int(time.time()) + 60)
        self.assertEqual('\n', self.openstack('logs', '--since', later, self.name))

    def test_exec(self):
        self.run_one()
        code, out, _ = self.field.openstack('exec', self.name, 'sh', '-c', 'echo out; exit 3')
        self.assertEqual((3, 'out\n\n'), (code, out))
        self.assertEqual('a b\n\n', self.openstack('exec', self.name, 'echo', 'a b'))

    def test_delete_of_what_runs(self):
        self.run_one()
        self.assertIn('state', self.complaint('delete', self.name))
        self.assert_state('Running', 'running')
        kept = self.container()
        self.openstack('delete', '--stop', self.name)
        self.succeeded(self.caller.history(kept)[-1])
        self.assertEqual([], self.on_engine(kept))

    def test_delete_by_force(self):
        self.run_one(command=('sh', '-c', 'trap "" TERM; while :; do sleep 0.1; done'))
        kept = self.container()
        self.openstack('delete', '--force', self.name)
        self.succeeded(self.caller.history(kept)[-1])
        self.assertEqual([], self.on_engine(kept))

    def test_history(self):
        self.run_one()
        listed = self.as_json('action', 'list', self.name)
        self.assertEqual([('run', None)],
                         [(entry['action'], entry['message']) for entry in listed])
        shown = self.as_json('action', 'show', self.name, listed[0]['request_id'])
        self.assertEqual(self.container()['uuid'], shown['container_uuid'])
        self.assertEqual('Success', shown['events'][0]['result'])

    def test_lists(self):
        names = sorted(f'{self.name}-{number}' for number in range(3))
        for name in names:
            self.openstack('create', '--name', name, self.image, 'true')
        listed = self.as_json('list', '--name', names[1])
        self.assertEqual([names[1]], [found['name'] for found in listed])
        # Given a limit, it asks for page after page until it has them all, and drops filters.
        listed = self.as_json('list', '--limit', '2', '--sort-key', 'name', '--sort-dir', 'desc')
        self.assertEqual(2, len(listed))
        found = self.field.zun('containers', 'list', limit=100, sort_key='name')
        self.assertEqual(names, [c['name'] for c in found if c['name'].startswith(self.name)])
        for name in names:
            self.settled(name)

    def test_what_is_refused_is_told(self):
        self.assertIn('There is no container', self.complaint('start', self.name))
        said = self.complaint('create', '--name', '-', self.image)
        self.assertIn('name', said)
        self.assertIn('memory', self.complaint('create', '--memory', 'much', self.image))
        self.assertEqual([], self.as_json('list', '--name', self.name))

    def test_older_versions(self):
        """Commands as one text below 1.20, archives as text below 1.25."""
        self.do('run', '--name', self.name, self.image, *LASTS, version='1.19')
        self.assertEqual(list(LASTS), self.container()['command'])
        self.do('stop', self.name, version='1.1')
        self.assert_state('Stopped', 'exited')

    def test_services(self):
        listed = self.as_json('service', 'list')
        self.assertEqual([('container-service-conductor', 'up')],
                         [(s['Binary'], s['State']) for s in listed])


class OperationsMixin:

    def test_copy(self):
        self.run_one()
        with open(os.path.join(self.field.directory, 'note'), 'wb') as f:
            f.write(b'\x00\xffnote')
        self.do('cp', 'note', f'{self.name}:/tmp')
        inside = self.processes.engine.containers.get(self.container()['engine_id'])
        self.assertEqual(b'\x00\xffnote', inside.exec_run(['cat', '/tmp/note']).output)
        os.mkdir(os.path.join(self.field.directory, 'back'))
        self.openstack('cp', f'{self.name}:/tmp/note', 'back')
        with open(os.path.join(self.field.directory, 'back', 'note'), 'rb') as f:
            self.assertEqual(b'\x00\xffnote', f.read())

    def test_set(self):
        self.run_one()
        shown = self.as_json('set', '--cpu', '0.5', '--memory', '128', self.name)
        self.assertEqual((0.5, '128'), (shown['cpu'], shown['memory']))
        has = self.engine_has()['HostConfig']
        self.assertEqual((500_000_000, 128 << 20), (has['NanoCpus'], has['Memory']))
        renamed = f'{self.name}-new'
        self.openstack('set', '--name', renamed, self.name)
        self.assertIn('There is no container', self.complaint('show', self.name))
        self.name = renamed
        self.assertEqual('Running', self.as_json('show', renamed)['status'])

    def test_commit_and_rebuild(self):
        self.run_one()
        self.openstack('exec', self.name, 'sh', '-c', 'echo new >/changed')
        out = self.do('commit', self.name, f'{self.name}:new')
        image = re.search('The image is ([0-9a-f-]{36})', out)[1]
        [listed] = [found for found in self.as_json('image', 'list') if found['uuid'] == image]
        self.assertEqual((self.name, 'new'), (listed['repo'], listed['tag']))
        self.do('rebuild', '--image', f'{self.name}:new', self.name)
        self.assert_state('Running', 'running')
        self.assertEqual('new\n\n', self.openstack('exec', self.name, 'cat', '/changed'))
        before = self.container()['engine_id']
        self.do('rebuild', self.name)
        self.assertNotEqual(before, self.container()['engine_id'])
        kept = self.container()
        self.openstack('delete', '--stop', self.name)
        self.succeeded(self.caller.history(kept)[-1])
        self.openstack('image', 'delete', image)
        fixtures.eventually(lambda: not [
            tag for tag in fixtures.image_tags(self.processes.engine) if self.name in tag])

    def test_what_it_uses(self):
        self.run_one()
        stats = self.as_json('stats', self.name)
        self.assertEqual({'CONTAINER', 'CPU %', 'MEM USAGE(MiB)', 'MEM LIMIT(MiB)', 'MEM %',
                          'BLOCK I/O(B)', 'NET I/O(B)'}, set(stats))
        self.assertGreater(stats['MEM USAGE(MiB)'], 0)
        # The command fails by itself once it has the answer.
        top = self.field.zun('containers', 'top', id=self.name)
        self.assertIn('sh', ' '.join(' '.join(process) for process in top['Processes']))
        self.assertEqual(len(top['Titles']), len(top['Processes'][0]))

    def test_networks(self):
        network = self.processes.engine.networks.create(self.name)
        self.addCleanup(network.remove)
        self.addCleanup(self.processes._remove_containers)
        self.run_one()
        self.do('network', 'attach', '--network', self.name, self.name)
        address = self.engine_has()['NetworkSettings']['Networks'][self.name]['IPAddress']
        self.assertTrue(address)
        # The command fails by itself once it has the answer.
        listed = self.field.zun('containers', 'network_list', container=self.name)
        self.assertIn(address, [fixed['ip_address'] for found in listed
                                for fixed in found['fixed_ips']])
        self.do('network', 'detach', '--network', self.name, self.name)
        self.assertNotIn(self.name, self.engine_has()['NetworkSettings']['Networks'])

    def test_a_network_from_the_beginning(self):
        network = self.processes.engine.networks.create(self.name)
        self.addCleanup(network.remove)
        self.addCleanup(self.processes._remove_containers)
        self.run_one('--net', f'network={self.name}')
        self.assertEqual([self.name], list(self.engine_has()['NetworkSettings']['Networks']))

    def test_more_of_create(self):
        with open(os.path.join(self.field.directory, 'conf'), 'w') as f:
            f.write('content')
        # With run, the client would attach to a terminal.
        self.do('create', '--name', self.name, '--interactive', '--auto-heal',
                '--mount', 'type=bind,source=conf,destination=/etc/conf',
                '--healthcheck', 'cmd=true,interval=1s,retries=3,timeout=5s',
                '--entrypoint', 'env X=1', '--expose-port', '80/tcp',
                '--image-pull-policy', 'never', self.image, *LASTS)
        self.do('start', self.name)
        has = self.engine_has()
        self.assertEqual((True, ['env', 'X=1'], ['CMD-SHELL', 'true']), (
            has['Config']['Tty'], has['Config']['Entrypoint'],
            has['Config']['Healthcheck']['Test']))
        self.assertIn('80/tcp', has['Config']['ExposedPorts'])
        self.assertEqual('content\n', self.openstack('exec', self.name, 'cat', '/etc/conf'))

    def test_gone_when_it_has_ended(self):
        self.openstack('run', '--name', self.name, '--auto-remove', self.image, 'true')
        made = self.caller.request('GET', '/v1/actions?operation=run', expect=200).json
        [made] = [a for a in made['actions'] if a['container_name'] == self.name]
        fixtures.eventually(lambda: self.caller.request(
            'GET', f'/v1/containers/{self.name}').status == 404)
        self.assertEqual([], self.on_engine({'uuid': made['container_uuid']}))


class PlacesMixin:

    def test_hosts_and_zones(self):
        [host] = self.as_json('host', 'list')
        shown = self.as_json('host', 'show', host['hostname'])
        self.assertEqual((host['uuid'], True), (shown['uuid'], shown['cpus'] >= 1))
        self.assertEqual([{'availability_zone': 'nova'}],
                         self.as_json('availability', 'zone', 'list'))
        made = self.as_json('create', '--name', self.name, '--availability-zone', 'nova',
                            '--host', host['hostname'], self.image, 'true')
        self.settled()
        self.assertEqual(made['uuid'], self.container()['uuid'])

    def test_images(self):
        [host] = self.as_json('host', 'list')
        self.openstack('image', 'pull', self.registry_image, host['hostname'])
        image = fixtures.eventually(lambda: next(
            (found for found in self.as_json('image', 'list')
             if found['repo'] in self.registry_image and found['image_id']), None))
        self.assertEqual(image['image_id'], self.as_json('image', 'show', image['uuid'])[
            'image_id'])
        self.openstack('image', 'delete', image['uuid'])
        fixtures.eventually(lambda: image['uuid'] not in [
            found['uuid'] for found in self.as_json('image', 'list')])

    @property
    def registry_image(self):
        return f'{fixtures.needed("CS_TEST_REGISTRY")}/cs-test/busybox:latest'

    def test_registries(self):
        made = self.as_json('registry', 'create', '--name', self.name, '--username', 'u',
                            '--password', 'secret', '--domain', 'registry.example.org')
        self.assertEqual('***', made['password'])
        self.assertIn(self.name, [found['name'] for found in self.as_json('registry', 'list')])
        self.assertIn('password', self.complaint('registry', 'update', self.name,
                                                 '--username', 'v'))
        self.as_json('registry', 'update', self.name, '--username', 'v', '--password', 'other')
        self.assertEqual('v', self.as_json('registry', 'show', self.name)['username'])
        self.openstack('registry', 'delete', self.name)
        self.assertNotIn(self.name, self.openstack('registry', 'list'))

    def test_quotas(self):
        project = uuid.uuid4().hex
        self.openstack('quota', 'update', '--containers', '5', project)
        self.assertEqual(5, self.as_json('quota', 'get', project)['containers'])
        self.openstack('quota', 'delete', project)
        default = self.as_json('quota', 'default', project)
        self.assertEqual(default, self.as_json('quota', 'get', project))
        self.assertEqual(default, self.as_json('quota', 'class', 'get', 'default'))

    def test_switching_a_conductor_off(self):
        [service] = self.as_json('service', 'list')
        host, binary = service['Host'], service['Binary']
        self.openstack('service', 'disable', '--reason', 'test', host, binary)
        [service] = self.as_json('service', 'list')
        self.assertEqual((True, 'test'), (service['Disabled'], service['Disabled Reason']))
        self.openstack('service', 'enable', host, binary)
        self.assertFalse(self.as_json('service', 'list')[0]['Disabled'])


class MagnumMixin:
    """python-magnumclient 2.1.0: no versions, PUT for actions, texts for commands."""

    def magnum(self, method, **kwargs):
        return self.field.magnum('containers', method, **kwargs)

    def test_bays(self):
        [bay] = self.field.magnum('bays', 'list')
        self.assertEqual('CREATE_COMPLETE', bay['status'])
        shown = self.field.magnum('bays', 'get', id=bay['name'])
        self.assertEqual((bay['uuid'], 1), (shown['uuid'], shown['node_count']))
        self.assertIn('links', shown)

    def test_life(self):
        [bay] = self.field.magnum('bays', 'list')
        made = self.magnum('create', name=self.name, image=self.image, bay_uuid=bay['uuid'],
                           command='sh -c \'trap "exit 0" TERM; echo up; '
                                   'while :; do sleep 0.1; done\'', memory='64m')
        self.settled()
        self.assertEqual(64 << 20, self.engine_has()['HostConfig']['Memory'])
        for method, status, engine_status in (
                ('start', 'Running', 'running'), ('pause', 'Paused', 'paused'),
                ('unpause', 'Running', 'running'), ('reboot', 'Running', 'running')):
            self.magnum(method, id=made['uuid'])
            self.settled()
            self.assert_state(status, engine_status)
        self.assertEqual('hi\n', self.magnum('execute', id=self.name, command='echo hi'))
        fixtures.eventually(lambda: 'up' in self.magnum('logs', id=self.name))
        self.assertEqual(self.name, self.magnum('get', id=made['uuid'])['name'])
        for listed in (self.magnum('list'), self.magnum('list', bay_ident=bay['name'])):
            self.assertIn((made['uuid'], bay['uuid']),
                          [(found['uuid'], found['bay_uuid']) for found in listed])
        self.magnum('stop', id=made['uuid'])
        self.settled()
        self.assert_state('Stopped', 'exited')
        self.magnum('delete', id=made['uuid'])
        self.succeeded(self.caller.history(made)[-1])
        self.assertEqual([], self.on_engine(made))

    def test_what_is_refused_is_told(self):
        error = self.assertRaises(clients.ClientRaised, self.magnum, 'get', id=self.name)
        self.assertIn(self.name, error.text)


class AllMixin(LifeMixin, OperationsMixin, PlacesMixin, MagnumMixin):
    pass


class TestStandalone(AllMixin, FieldTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(clients.Standalone())

    def test_as_people_call_it(self):
        address = f'{self.processes.url}/v1'
        for arguments in (
                ('--os-auth-type', 'none', '--os-endpoint', address),
                ('--os-auth-type', 'admin_token', '--os-token', 'any', '--os-endpoint',
                 f'{address}/')):
            done = self.field.openstack_process(
                *arguments, 'appcontainer', 'list', '-f', 'json', OS_AUTH_TYPE='', OS_ENDPOINT='')
            self.assertEqual((0, ''), (done.returncode, done.stderr), arguments)
            self.assertIsInstance(json.loads(done.stdout), list)


class TestDeployment(AllMixin, FieldTestCase):
    """API and conductor as processes, RabbitMQ, MariaDB."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(fixtures.Processes('mysql'))

    def test_as_people_call_it(self):
        self.run_one()
        done = self.field.openstack_process(
            'appcontainer', 'exec', self.name, 'sh', '-c', 'exit 7')
        self.assertEqual((7, '\n'), (done.returncode, done.stdout))
