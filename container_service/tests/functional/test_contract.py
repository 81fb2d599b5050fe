# SPDX-License-Identifier: Apache-2.0
"""What clients of the field send and get back, at 1.1, 1.20, 1.40 and the newest version.

The rows are theirs, not ours: what python-zunclient and python-magnumclient were seen to send, and
what they need.  The service is whole, with a conductor and an engine in memory.
"""

import base64
import dataclasses
import io
import json
import os
import tarfile
import uuid

import fixtures as pyfixtures
import jsonschema

from container_service import secrets
from container_service import services
from container_service.api import schemas
from container_service.db import conductors
from container_service.tests import base
from container_service.tests import fixtures

VERSIONS = ('1.1', '1.20', '1.40', 'latest')
NEWEST = 'container 1.42'


@dataclasses.dataclass(frozen=True)
class Row:
    """One request, and its answer.

    An answer is a status and what the body is: nothing, ``null``, ``text``, keys in braces, or the
    name of a schema.  ``newest`` is that from 1.41 on, where it differs.  ``{c}`` in a request is
    a container, which is in the status ``on``.
    """
    request: str
    answer: str
    newest: str = None
    body: object = None           # or f(version)
    since: str = '1.1'            # below it is 404
    on: str = 'Running'
    location: str = None          # what Location begins with


def _number(version):
    return (9, 9) if version == 'latest' else tuple(map(int, version.split('.')))


def _create(version):
    """What ``appcontainer create`` sends."""
    command = ['sleep', '600'] if _number(version) >= (1, 20) else '"sleep" "600"'
    return {'image': base.IMAGE, 'memory': '64', 'cpu': '0.5', 'environment': {'A': 'b'},
            'labels': {}, 'auto_remove': False, 'command': command, 'hints': {}, 'nets': [],
            'mounts': []}


def _tar(version):
    if _number(version) < (1, 25):
        text = io.BytesIO()
        with tarfile.open(fileobj=text, mode='w', format=tarfile.USTAR_FORMAT) as tar:
            entry = tarfile.TarInfo('f')
            entry.size = 5
            tar.addfile(entry, io.BytesIO(b'hello'))
        return {'data': text.getvalue().decode()}
    return {'data': base64.b64encode(_tar('1.1')['data'].encode()).decode()}


ACTION = '202 Action'
STATS = '{CONTAINER;CPU %;MEM USAGE(MiB);MEM LIMIT(MiB);MEM %;BLOCK I/O(B);NET I/O(B)}'
EXECUTE = '{output;exit_code;exec_id;proxy_url}'

CONTAINERS = (
    Row('GET /containers', '200 {containers;next}'),
    Row('GET /containers/', '200 {containers;next}'),
    Row('GET /containers/?limit=5&sort_key=name&sort_dir=desc&all_projects=1',
        '200 {containers;next}'),
    Row('GET /containers/?name=web&image=busybox&project_id=local&user_id=local&memory=64m'
        '&host=bay&task_state=None&status=Running&auto_remove=False&resource_url=x&expand=1',
        '200 {containers;next}'),
    Row('GET /containers/?all_projects=False&bay_ident=bay', '200 {containers;next}'),
    Row('POST /containers', '202 Container', '202 ContainerAccepted', _create,
        location='/v1/containers/'),
    Row('POST /containers/?run=true', '202 Container', '202 ContainerAccepted', _create,
        location='/v1/containers/'),
    Row('GET /containers/{c}', '200 Container'),
    Row('GET /containers/{c}?all_projects=False', '200 Container'),
    Row('PATCH /containers/{c}', '200 Container', ACTION, {'cpu': '2', 'memory': '128'}),
    Row('PATCH /containers/{c}', '200 Container', ACTION, {'auto_heal': True}),
    Row('DELETE /containers/{c}?force=False&stop=False&all_projects=False', '204', ACTION,
        on='Stopped'),
    Row('DELETE /containers/{c}?stop=True', '204', ACTION),
    Row('DELETE /containers/{c}?force=true', '204', ACTION),
    Row('POST /containers/{c}/start', '202', ACTION, on='Created'),
    Row('POST /containers/{c}/start', '202', ACTION, on='Stopped'),
    Row('POST /containers/{c}/stop?timeout=10', '202', ACTION),
    Row('POST /containers/{c}/reboot?timeout=10', '202', ACTION),
    Row('POST /containers/{c}/pause', '202', ACTION),
    Row('POST /containers/{c}/unpause', '202', ACTION, on='Paused'),
    Row('POST /containers/{c}/kill?signal=None', '202', ACTION),
    Row('POST /containers/{c}/kill?signal=hup', '202', ACTION),
    Row('POST /containers/{c}/kill?signal=SIGKILL', '202', ACTION),
    Row('POST /containers/{c}/kill?signal=9', '202', ACTION),
    Row('POST /containers/{c}/rebuild', '202', ACTION),
    Row('POST /containers/{c}/rebuild?image=busybox:1.36&image_driver=docker', '202', ACTION),
    Row('GET /containers/{c}/logs?stdout=True&stderr=True&timestamps=False&tail=all',
        '200 text', '200 {output;cursor}'),
    Row('GET /containers/{c}/logs?since=2026-11-20 10:00:00,123&tail=5', '200 text',
        '200 {output;cursor}'),
    Row('GET /containers/{c}/logs?since=1700000000', '200 text', '200 {output;cursor}'),
    Row('POST /containers/{c}/execute?command="echo" "hi"&run=true&interactive=false',
        f'200 {EXECUTE}', '200 {output;exit_code}'),
    Row('POST /containers/{c}/execute', f'200 {EXECUTE}', '200 {output;exit_code}',
        {'command': 'echo hi', 'run': True, 'interactive': False}),
    Row('GET /containers/{c}/top?ps_args=None', '200 {Titles;Processes}',
        '200 {titles;processes}'),
    Row('GET /containers/{c}/stats', f'200 {STATS}', '200 {cpu_percent;memory_bytes}'),
    Row('GET /containers/{c}/get_archive?path=/tmp', '200 {data;stat}'),
    Row('POST /containers/{c}/put_archive?path=/tmp', '200 null', ACTION, _tar),
    Row('POST /containers/{c}/resize_container', '202 Container', ACTION,
        {'cpu': '1', 'memory': '128'}, since='1.19'),
    Row('POST /containers/{c}/commit?repository=ours/web&tag=v1', '202 {uuid}', ACTION),
    Row('POST /containers/{tty}/resize?w=80&h=24', '200 null', '200 {w;h}'),
    Row('POST /containers/{c}/execute_resize?exec_id={exec}&w=80&h=24', '200 null', '200 {w;h}'),
    Row('GET /containers/{c}/network_list', '200 {networks}', since='1.13'),
    Row('POST /containers/{c}/network_attach?network=other', '200 null', ACTION, since='1.8'),
    Row('POST /containers/{c}/network_detach?network=bridge', '202', ACTION, since='1.6'),
)

HISTORY = (
    Row('GET /containers/{c}/container_actions', '200 {containerActions}'),
    Row('GET /containers/{c}/container_actions/{request}', '200 ContainerActionWithEvents'),
)

HOSTS = (
    Row('GET /hosts', '200 {hosts;next}', since='1.4'),
    Row('GET /hosts/?limit=5&sort_key=hostname&sort_dir=asc', '200 {hosts;next}', since='1.4'),
    Row('GET /hosts/bay', '200 Host', since='1.4'),
    Row('GET /services', '200 {services;next}'),
    Row('GET /services/?limit=5&marker=x&sort_key=host&sort_dir=asc', '200 {services;next}'),
    Row('PUT /services/disable?host={host}&binary={binary}&disabled_reason=why',
        '200 {service}'),
    Row('PUT /services/enable?host={host}&binary={binary}', '200 {service}'),
    Row('PUT /services/force_down?host={gone}&binary={binary}&forced_down=True',
        '200 {service}'),
    Row('DELETE /services?host={gone}&binary={binary}', '204'),
    Row('GET /availability_zones', '200 {availability_zones;next}'),
    Row('GET /availability_zones?limit=5&sort_dir=asc', '200 {availability_zones;next}'),
)

IMAGES = (
    Row('GET /images/', '200 {images;next}'),
    Row('GET /images/?limit=5&sort_key=repo&sort_dir=asc', '200 {images;next}'),
    Row('POST /images/', '202 Image', body={'repo': 'busybox', 'tag': '1.35', 'host': 'bay'},
        location='/v1/images/'),
    Row('GET /images/{i}', '200 Image'),
    Row('DELETE /images/{i}', '204'),
    Row('GET /registries', '200 {registries}', since='1.30'),
    Row('POST /registries', '201 WrappedRegistry', since='1.30', body=lambda version: {
        'registry': {'name': f'r-{version}', 'domain': 'r.example.org', 'username': 'u',
                     'password': 'p'}}),
    Row('GET /registries/{r}', '200 WrappedRegistry', since='1.30'),
    Row('PATCH /registries/{r}', '200 WrappedRegistry', since='1.30',
        body={'registry': {'username': 'v', 'password': 'w'}}),
    Row('DELETE /registries/{r}', '204', since='1.30'),
    Row('GET /quotas/local', '200 {containers;cpu;memory;disk}', since='1.26'),
    Row('GET /quotas/local?usages=True', '200 QuotaOrUsages', since='1.26'),
    Row('GET /quotas/local/defaults', '200 Quota', since='1.26'),
    Row('PUT /quotas/local', '200 Quota', body={'containers': 500, 'cpu': -1}, since='1.26'),
    Row('DELETE /quotas/local', '200 Quota', since='1.26'),
    Row('GET /quota_classes/default', '200 Quota', since='1.26'),
    Row('PUT /quota_classes/default', '200 Quota', body={'memory': '-1'}, since='1.26'),
)


# Fields of a create: a value that clients send, and the version that it is taken from.
FILE = {'type': 'bind', 'source': base64.b64encode(b'hello').decode(), 'destination': '/tmp/f'}
FIELDS = (
    ('name', 'web', '1.1'), ('name', None, '1.1'),
    ('command', '"sleep" "100"', '1.1'), ('command', ['sleep', '100'], '1.1'),
    ('command', None, '1.1'), ('entrypoint', ['/bin/sh', '-c'], '1.40'),
    ('cpu', '0.5', '1.1'), ('cpu', 2, '1.1'), ('cpu', None, '1.1'),
    ('memory', '64', '1.1'), ('memory', 64, '1.1'), ('memory', '64m', '1.1'),
    ('memory', None, '1.1'), ('environment', {'A': 'b'}, '1.1'), ('environment', None, '1.1'),
    ('labels', {'a': 'b'}, '1.1'), ('labels', {}, '1.1'), ('workdir', '/tmp', '1.1'),
    ('hostname', 'web', '1.9'),
    ('restart_policy', {'Name': 'on-failure', 'MaximumRetryCount': '2'}, '1.1'),
    ('restart_policy', {'Name': 'always', 'MaximumRetryCount': None}, '1.1'),
    ('auto_remove', False, '1.1'), ('auto_remove', True, '1.3'), ('auto_remove', None, '1.1'),
    ('image_pull_policy', 'ifnotpresent', '1.1'), ('image_pull_policy', 'Always', '1.1'),
    ('interactive', True, '1.1'), ('interactive', 'true', '1.1'), ('tty', True, '1.36'),
    ('privileged', False, '1.1'), ('privileged', 'false', '1.1'), ('runtime', None, '1.1'),
    ('healthcheck', {'cmd': 'true', 'interval': 5, 'retries': 2, 'timeout': 3}, '1.22'),
    ('host', 'bay', '1.39'), ('availability_zone', 'nova', '1.1'), ('hints', {}, '1.1'),
    ('nets', [], '1.1'), ('nets', [{'network': 'other'}], '1.2'), ('mounts', [], '1.1'),
    ('mounts', [FILE], '1.23'), ('auto_heal', True, '1.1'), ('auto_heal', 'false', '1.1'),
    ('image_driver', 'docker', '1.1'), ('security_groups', ['default'], '1.1'),
    ('exposed_ports', {'80/tcp': {}}, '1.24'), ('disk', 20, '1.1'), ('disk', '20', '1.1'),
)

# What is refused, at whatever version, by the name of the field.
REFUSED = (
    ('privileged', 'perhaps'), ('cpu_policy', 'dedicated'), ('image_driver', 'glance'),
    ('mounts', [{'type': 'volume', 'source': 'v', 'destination': '/v', 'size': '1'}]),
    ('nets', [{'network': 'none'}]), ('security_groups', ['web']),
    ('availability_zone', 'elsewhere'), ('name', '-'), ('cpu', 'much'), ('memory', True),
)


class Service(base.TestCase):
    """The whole service in one process."""
    time_limit = 300

    def setUp(self):
        super().setUp()
        keys = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'keys')
        secrets.create_key(keys)
        self.deployment = self.useFixture(fixtures.Deployment(
            api_action_limit=10000, api_project_action_limit=10000, secrets_keys_file=keys))
        self.deployment.engine.add_network('other')
        self.made = 0

    def call(self, request, version=None, body=None):
        method, path = request.split(' ', 1)
        headers = {'OpenStack-API-Version': f'container {version}'} if version else {}
        values = {} if body is None else {
            'body': json.dumps(body).encode(), 'content_type': 'application/json'}
        return self.deployment.api.request(
            path.replace(' ', '%20').replace('"', '%22'), method=method, headers=headers,
            expect_errors=True, **values)

    def container(self, status='Running', **values):
        """The name of a container at rest in a status."""
        self.made += 1
        name = f'c{self.made}'
        run = '' if status == 'Created' else '?run=true'
        answer = self.call(f'POST /v1/containers{run}', 'latest', {
            'name': name, 'image': base.IMAGE, 'command': 'sleep 600', **values})
        self.assertEqual(202, answer.status_int, answer)
        self.ends(name, {'Created': 'Created'}.get(status, 'Running'))
        for operation, after in (('stop', 'Stopped'), ('pause', 'Paused')):
            if status == after:
                self.call(f'POST /v1/containers/{name}/{operation}', 'latest')
                self.ends(name, status)
        return name

    def ends(self, name, status):
        def there():
            shown = self.call(f'GET /v1/containers/{name}', 'latest').json
            return shown['task_state'] is None and shown['status'] == status

        fixtures.eventually(there, 20, 0.01)

    def words(self, row):
        """What stands for the variables of a row's request."""
        found = {}
        for name, make in (
                ('{c}', lambda: self.container(row.on)),
                ('{tty}', lambda: self.container(tty=True, interactive=True)),
                ('{binary}', lambda: services.BINARY),
                ('{host}', lambda: self.deployment.conf.host),
                ('{gone}', self.gone_conductor), ('{i}', self.image),
                ('{r}', self.registry)):
            if name in row.request:
                found[name] = make()
        if '{exec}' in row.request:
            answer = self.call(f'POST /v1/containers/{found["{c}"]}/execute?command=true', '1.40')
            found['{exec}'] = answer.json['exec_id']
            # Only one that is attached to has a terminal, which is not possible here.
            for known in self.deployment.engine.containers.values():
                known.execs.update(dict.fromkeys(known.execs, True))
        if '{request}' in row.request:
            listed = self.call(f'GET /v1/containers/{found["{c}"]}/container_actions', '1.40')
            found['{request}'] = listed.json['containerActions'][0]['request_id']
        return found


    def gone_conductor(self):
        """The host of a conductor that is down."""
        self.made += 1
        host = f'gone{self.made}'
        self.deployment.db.transact(lambda conn: conductors.insert(conn, -1, {
            'uuid': str(uuid.uuid4()), 'state': conductors.GONE, 'host': host, 'slot': 0,
            'server': f'{host}.0'}))
        return host

    def image(self):
        self.made += 1
        return self.call('POST /v1/images', 'latest', {
            'repo': 'busybox', 'tag': f't{self.made}', 'host': 'bay'}).json['uuid']

    def registry(self):
        self.made += 1
        return self.call('POST /v1/registries', 'latest', {'registry': {
            'name': f'r{self.made}', 'domain': 'r.example.org'}}).json['registry']['uuid']


class TestRows(Service):

    def check(self, rows):
        wrong = []
        for row in rows:
            for version in VERSIONS:
                try:
                    self.check_row(row, version)
                except Exception as exc:
                    wrong.append(f'{row.request} at {version}: {type(exc).__name__} '
                                 f'{str(exc)[:300]}')
        self.assertEqual([], wrong, '\n'.join(wrong))

    def check_row(self, row, version):
        request = row.request
        there = _number(version) >= _number(row.since)
        for name, word in (self.words(row) if there else {}).items():
            request = request.replace(name, word)
        body = row.body(version) if callable(row.body) else row.body
        answer = self.call(request.replace(' /', ' /v1/', 1), version, body)
        self.assert_headers(answer, version)
        if not there:
            self.assertEqual(404, answer.status_int, answer)
            return
        expected = (row.newest or row.answer) if version == 'latest' else row.answer
        status, _, content = expected.partition(' ')
        self.assertEqual(int(status), answer.status_int, answer.text)
        self.assert_content(content, answer)
        if row.location:
            self.assertIn(row.location, answer.headers['Location'])

    def assert_headers(self, answer, version):
        used = NEWEST if version == 'latest' else f'container {version}'
        headers = {
            'OpenStack-API-Version': used, 'OpenStack-API-Minimum-Version': 'container 1.1',
            'OpenStack-API-Maximum-Version': NEWEST}
        self.assertEqual(headers, {name: answer.headers.get(name) for name in headers})
        self.assertIn('OpenStack-API-Version', answer.headers['Vary'])
        self.assertRegex(answer.headers['X-Openstack-Request-Id'], '^req-')
        if answer.status_int >= 400:
            error, = answer.json['errors']
            self.assertTrue(error['title'] and error['detail'])

    def assert_content(self, content, answer):
        if not content:
            self.assertIn(answer.body, (b'', b'null'))
        elif content == 'null':
            self.assertIsNone(answer.json)
        elif content == 'text':
            self.assertIsInstance(answer.json, str)
        elif content.startswith('{'):
            self.assertEqual(set(), set(content[1:-1].split(';')) - set(answer.json))
        else:
            jsonschema.validate(answer.json, {
                '$ref': f'#/components/schemas/{content}',
                'components': {'schemas': schemas.SCHEMAS}})

    def test_containers(self):
        self.check(CONTAINERS)

    def test_fields_of_a_create(self):
        wrong = []
        for field, value, since in FIELDS:
            for version in VERSIONS:
                answer = self.would_create(field, value, version)
                expected = 200 if _number(version) >= _number(since) else 400
                if answer.status_int != expected:
                    wrong.append(f'{field} {value!r} at {version}: {answer.text[:300]}')
        self.assertEqual([], wrong, '\n'.join(wrong))

    def test_fields_that_are_refused(self):
        for field, value in REFUSED:
            for version in VERSIONS:
                answer = self.would_create(field, value, version)
                self.assertIn(answer.status_int, (400, 403), (field, value, version))
                self.assertIn(field, answer.json['errors'][0]['detail'])

    def would_create(self, field, value, version):
        answer = self.call('POST /v1/containers?dry_run=true', version,
                           {'image': base.IMAGE, field: value})
        self.assert_headers(answer, version)
        return answer

    def test_history(self):
        self.check(HISTORY)

    def test_hosts_and_services(self):
        self.check(HOSTS)

    def test_images_registries_and_quotas(self):
        self.check(IMAGES)


class TestMagnum(Service):
    """python-magnumclient: no version header, PUT for operations, other bodies of two calls."""

    def test_bays(self):
        bay, = self.call('GET /v1/bays').json['bays']
        for key in ('uuid', 'name', 'node_count', 'master_count', 'status'):
            self.assertIn(key, bay)
        shown = self.call('GET /v1/bays/bay').json
        self.assertEqual('CREATE_COMPLETE', shown['status'])
        fields = {'baymodel_id', 'bay_create_timeout', 'status_reason', 'stack_id',
                  'discovery_url', 'api_address', 'node_addresses', 'master_addresses', 'links',
                  'created_at', 'updated_at'}
        self.assertEqual(set(), fields - set(shown))

    def test_containers(self):
        bay = self.call('GET /v1/bays/bay').json['uuid']
        answer = self.call('POST /v1/containers', body={
            'name': 'm1', 'image': base.IMAGE, 'bay_uuid': bay, 'command': 'ping x',
            'memory': '64m'})
        self.assertEqual(202, answer.status_int, answer)
        self.assertEqual((bay, ['ping', 'x'], '64'), tuple(
            answer.json[key] for key in ('bay_uuid', 'command', 'memory')))
        self.ends('m1', 'Created')
        for path in ('/v1/containers/?bay_ident=bay', f'/v1/containers/?bay_ident={bay}',
                     '/v1/containers/?limit=1&sort_key=name'):
            listed, = self.call(f'GET {path}').json['containers']
            self.assertEqual('m1', listed['name'])
        self.assertEqual('m1', self.call('GET /v1/containers/m1').json['name'])

    def test_unset_options_are_null(self):
        answer = self.call('POST /v1/containers', body={
            'name': 'm1', 'image': base.IMAGE, 'bay_uuid': 'bay', 'command': None,
            'memory': None})
        self.assertEqual(202, answer.status_int, answer)

    def test_operations(self):
        name = self.container('Created')
        for operation, status in (('start', 'Running'), ('pause', 'Paused'),
                                  ('unpause', 'Running'), ('reboot', 'Running'),
                                  ('stop', 'Stopped')):
            answer = self.call(f'PUT /v1/containers/{name}/{operation}')
            self.assertEqual((202, b''), (answer.status_int, answer.body), operation)
            self.ends(name, status)
        self.assertEqual(204, self.call(f'DELETE /v1/containers/{name}').status_int)

    def test_what_is_asked_at_once(self):
        name = self.container()
        self.assertIsInstance(self.call(f'GET /v1/containers/{name}/logs').json['output'], str)
        answer = self.call(f'PUT /v1/containers/{name}/execute?command=echo+hi')
        self.assertEqual((200, 'hi\n'), (answer.status_int, answer.json['output']))


class TestRules(Service):
    """The rules that decide whether a client works at all."""

    def test_the_document_of_versions(self):
        document = self.call('GET /', '1.1').json
        self.assertLessEqual({'name', 'description', 'versions', 'default_version'},
                             set(document))
        current, = [each for each in document['versions'] if each['status'] == 'CURRENT']
        self.assertEqual(('v1', '1.1', '1.42'), tuple(
            current[key] for key in ('id', 'min_version', 'max_version')))
        for path in ('/v1', '/v1/'):
            self.assertLessEqual({'id', 'media_types', 'links', 'containers'},
                                 set(self.call(f'GET {path}').json))

    def test_paths_without_a_version(self):
        name = self.container()
        self.assertEqual(name, self.call(f'GET /containers/{name}', '1.40').json['name'])
        self.assertEqual(202, self.call(f'POST /containers/{name}/stop', '1.40').status_int)

    def test_healthcheck(self):
        answer = self.call('GET /healthcheck')
        self.assertEqual((200, 'text/plain'), (answer.status_int, answer.content_type))

    def test_the_text_false_is_false(self):
        name = self.container()
        answer = self.call(f'DELETE /v1/containers/{name}?force=False&stop=False', '1.40')
        self.assertEqual(409, answer.status_int)
        for word in ('true', 'True', 'TRUE', '1', 'on', 'yes'):
            answer = self.call(f'GET /v1/containers?all_projects={word}', '1.40')
            self.assertEqual(200, answer.status_int, word)
        self.assertEqual(400, self.call('GET /v1/containers?all_projects=2', '1.40').status_int)

    def test_what_is_unknown_is_named(self):
        name = self.container()
        for request, body in ((f'GET /v1/containers/{name}?nonsense=1', None),
                              (f'POST /v1/containers/{name}/stop?nonsense=1', None),
                              ('POST /v1/containers', {'image': 'i', 'nonsense': 1}),
                              (f'PATCH /v1/containers/{name}', {'nonsense': 1})):
            answer = self.call(request, '1.40', body)
            self.assertEqual(400, answer.status_int, request)
            self.assertIn('nonsense', answer.json['errors'][0]['detail'])

    def test_versions_that_are_none(self):
        for header in ('1.0', '1.43', '2.0', 'new', '1'):
            answer = self.call('GET /v1/containers', header)
            self.assertEqual(406, answer.status_int, header)
            error, = answer.json['errors']
            self.assertEqual(('1.1', '1.42'), (error['min_version'], error['max_version']))

    def test_headers_that_clients_send_without_a_body(self):
        name = self.container()
        answer = self.deployment.api.request(
            f'/v1/containers/{name}?force=true', method='DELETE', expect_errors=True, headers={
                'OpenStack-API-Version': 'container 1.40', 'Accept': '*/*',
                'Content-Type': 'application/octet-stream', 'X-Auth-Token': 'notused'})
        self.assertEqual((204, 'container 1.40'), (
            answer.status_int, answer.headers['OpenStack-API-Version']))

    def test_next_keeps_filters_and_its_path_begins_with_v1(self):
        for _ in range(2):
            self.container('Created', labels={'a': 'b'})
        answer = self.call('GET /containers?limit=1&sort_key=name&image=busybox:latest', '1.40')
        address = answer.json['next'].removeprefix('http://localhost')
        self.assertTrue(address.startswith('/v1/containers?'), address)
        self.assertIn('image=busybox%3Alatest', address)
        last = self.call(f'GET {address}', '1.40').json
        self.assertEqual((1, None), (len(last['containers']), last['next']))
