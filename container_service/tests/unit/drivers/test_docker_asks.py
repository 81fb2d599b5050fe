# SPDX-License-Identifier: Apache-2.0
"""What the Docker driver asks of an engine besides creating: nothing that widens a container.

The engine is one that writes down what it is asked for and says yes.
"""

import http.server
import json
import re
import socketserver
import struct
import tempfile
import threading
import urllib.parse

import testtools

from container_service import operations
from container_service.drivers import base
from container_service.drivers import docker as driver
from container_service.tests import safety

# Arguments that would do something else if anybody took them for more than arguments.
INJECTIONS = (
    '; reboot', '$(reboot)', '`reboot`', '| sh', '&& true', '> /etc/passwd', '\n', '\r\n\r\n',
    '--privileged', '-u0', '"', "'", '\\', '*', '~', '$HOME', '%s', '{"Privileged": true}',
    '", "Privileged": true, "x": "', '../../x', '\x1b[2J', 'é\u202e', ' ', '')

UPDATED = {'Memory', 'MemorySwap', 'NanoCpus', 'RestartPolicy'}
EXECUTED = {'Cmd', 'AttachStdin', 'AttachStdout', 'AttachStderr', 'User', 'WorkingDir', 'Env'}


class Yes(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An engine with one container, that writes down what it is asked."""
    daemon_threads = True

    def __init__(self, path, container):
        super().__init__(path, Handler)
        self.container, self.posted, self.output = container, [], b''

    def handle_error(self, *_):
        pass                           # the driver closes what it does not need any more


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = 'HTTP/1.1'

    def do_GET(self):  # noqa: N802 - named by the library
        path = re.sub(r'^/v[0-9.]+', '', self.path.partition('?')[0])
        container = self.server.container
        inspected = {
            'Id': 'e' * 64, 'Name': f'/{container.engine_name}', 'NetworkSettings': {
                'Networks': {}}, 'State': {'Status': 'running',
                                           'StartedAt': '2026-01-01T00:00:00Z'},
            'Config': {'Labels': container.engine_labels, 'Tty': False}, 'HostConfig': {}}
        answers = {
            'version': {'ApiVersion': '1.41'}, 'info': {'ID': 'E'}, 'exec': {
                'Running': False, 'ExitCode': 0, 'ContainerID': 'e' * 64},
            'networks': {'Name': 'mine', 'Id': 'n', 'Driver': 'bridge'},
            'images': {'Id': 'i', 'Comment': 'x', 'RepoDigests': []}, 'containers': inspected}
        self.answer(200, json.dumps(
            [] if path == '/containers/json' else answers.get(path.split('/')[1], {})).encode())

    def do_POST(self):  # noqa: N802 - named by the library
        raw = self.rfile.read(int(self.headers.get('Content-Length') or 0))
        url = urllib.parse.urlsplit(re.sub(r'^/v[0-9.]+', '', self.path))
        self.server.posted.append((url.path, urllib.parse.parse_qs(url.query),
                                   json.loads(raw or b'{}')))
        if url.path.startswith('/exec/'):
            output = self.server.output
            self.answer(200, struct.pack('>BxxxL', 1, len(output)) + output)
        else:
            self.answer(201, json.dumps({'Id': 'x' * 64}).encode())

    def do_PUT(self):  # noqa: N802 - named by the library
        self.do_POST()

    def answer(self, status, body):
        self.send_response(status)
        self.send_header('Content-Length', str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self):
        return 'unix'

    def log_message(self, *_):
        pass


class AsksCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='cs-')
        self.addCleanup(directory.cleanup)
        self.container = base.Container(
            uuid='u', name='n', image='busybox', generation=1, fence=1, deployment='d',
            spec={'privileged': True, 'cap_add': ['ALL'], 'HostConfig': {'Privileged': True}})
        self.engine = Yes(f'{directory.name}/sock', self.container)
        thread = threading.Thread(target=self.engine.serve_forever, args=(0.01,))
        thread.start()
        self.addCleanup(self.engine.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(self.engine.shutdown)
        self.driver = driver.DockerDriver(base.Bay('u', 'b', f'unix://{directory.name}/sock'))
        self.addCleanup(lambda: self.driver._shared_client.close())

    def asked(self, path):
        """The bodies of what was posted to paths of that end."""
        return [body for where, _, body in self.engine.posted if where.endswith(path)]


class TestExecute(AsksCase):
    """S-09: an argument array, as it came, and never with more rights."""

    def execute(self, command, **more):
        self.engine.posted.clear()
        done = self.driver.execute(self.container, command, **more)
        body, = self.asked(f'/containers/{"e" * 64}/exec')
        self.assertLessEqual(set(body), EXECUTED)
        self.assertEqual([{'Detach': False, 'Tty': False}], self.asked('/start'))
        return done, body

    def test_arguments_arrive_as_they_are(self):
        for text in INJECTIONS:
            for command in ([text], ['echo', text], ['sh', '-c', text]):
                self.assertEqual(command, self.execute(command)[1]['Cmd'])

    def test_variables_user_and_directory_arrive_as_they_are(self):
        for text in INJECTIONS:
            body = self.execute(['true'], environment={'A': text}, user='u:g',
                                workdir=f'/{text}')[1]
            self.assertEqual(([f'A={text}'], 'u:g', f'/{text}'),
                             (body['Env'], body['User'], body['WorkingDir']))

    def test_privileged_is_never_asked_for(self):
        for command in (['--privileged'], ['true']):
            body = self.execute(command, environment={'Privileged': 'true'})[1]
            self.assertEqual([], [name for name in body if name.lower() == 'privileged'])

    def test_output_is_cut(self):
        self.engine.output = b'x' * (2 ** 20 + 1)
        done, _ = self.execute(['yes'])
        self.assertEqual((2 ** 20, True), (len(done.output), done.truncated))
        self.engine.output = b'x' * 2 ** 20
        done, _ = self.execute(['yes'])
        self.assertEqual((2 ** 20, False), (len(done.output), done.truncated))


class TestWhatIsTaken(testtools.TestCase):
    """S-09: what a request to execute something may say at all."""

    op = operations.OPERATIONS['execute']

    def param(self, name):
        return next(param for param in self.op.params if param.name == name)

    def refused(self, name, *values):
        for value in values:
            self.assertRaises(ValueError, self.param(name).parse, value)

    def test_commands(self):
        command = self.param('command')
        for text in INJECTIONS:
            self.assertEqual(['a', text], command.parse(['a', text]))
        # One text is split into words, and no shell of ours looks at it.
        self.assertEqual(['echo', '$(reboot)', ';', 'ls', '|', 'x'],
                         command.parse('echo "$(reboot)" ; ls | x'))
        self.refused('command', ['a\0b'], 'a\0b', {'a': 1}, [['a']], [1], 7, '"open')

    def test_64_kib_in_all(self):
        self.assertEqual(1, len(self.param('command').parse(['x' * 65536])))
        self.refused('command', ['x' * 65537], ['x' * 40000, 'y' * 40000], 'x' * 65537,
                     ['é' * 40000])
        self.refused('environment', {'A': 'x' * 32768, 'B': 'x' * 32768, 'C': 'x'})

    def test_user_directory_and_variables(self):
        self.refused('user', '', 'root;id', 'a b', '-1', 'root\n', '0:0:0', 'é', '../x')
        self.refused('workdir', '', 'tmp', '/a\nb', '/a\0', '/\x1b[2J', '/' + 'x' * 4096)
        self.refused('environment', {'A=B': 'c'}, {'': 'x'}, {'A\n': 'x'}, {'A': 'x\0'},
                     {'\x1b[2J': 'x'}, {'\u202eA': 'x'}, {'A': 7}, ['A'], {'A ': 'x'},
                     {f'A{i}': '' for i in range(257)})

    def test_time_is_limited(self):
        self.refused('timeout_seconds', 0, -1, 10 ** 6)

    def test_nothing_else(self):
        self.assertEqual([], [param.name for row in (self.op, operations.OPERATIONS['execution'])
                              for param in row.params if 'privileged' in param.wire_name.lower()])


class TestChanges(AsksCase):
    """S-04: what changes a container gives it nothing more of its host."""

    def test_update(self):
        self.driver.update(base.Attempt(), self.container, cpu=1, memory_bytes=2 ** 26,
                           restart_policy={'Name': 'always', 'Privileged': True})
        body, = self.asked('/update')
        self.assertEqual(UPDATED, set(body))
        self.assertEqual({'Name': 'always'}, body['RestartPolicy'])

    def test_start_and_kill(self):
        self.driver.start(base.Attempt(), self.container)
        self.driver.kill(base.Attempt(), self.container, 'SIGHUP')
        self.assertEqual([], [body for _, _, body in self.engine.posted if body])

    def test_create(self):
        attempt = base.Attempt()
        attempt.first = True           # it does not look first, so it asks
        self.driver.create(attempt, self.container)
        body, = self.asked('/containers/create')
        self.assertEqual([], safety.faults_of_request(body))

    def test_networks(self):
        self.driver.network_attach(base.Attempt(), self.container, 'mine', fixed_ip='10.0.0.5')
        body, = self.asked('/connect')
        self.assertEqual({'Container': 'e' * 64, 'EndpointConfig': {
            'IPAMConfig': {'IPv4Address': '10.0.0.5'}}}, body)

    def test_commit(self):
        attempt = base.Attempt()
        self.driver.commit(attempt, self.container, 'mine/web', '1')
        (_, query, body), = [one for one in self.engine.posted if one[0] == '/commit']
        self.assertEqual(({}, {'container', 'repo', 'tag', 'comment'}), (body, set(query)))
