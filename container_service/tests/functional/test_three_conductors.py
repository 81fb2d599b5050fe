# SPDX-License-Identifier: Apache-2.0
"""The documented deployment of three conductors and two engines, by the commands of its page.

The hosts of the page are namespaces: each has a host name, file systems and processes of its own,
and all share one network in which nothing else is.  The commands are typed as they stand there.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import textwrap

import fixtures as pyfixtures
from testtools import content
from testtools import content_type

from container_service.tests import base
from container_service.tests import engines
from container_service.tests import fixtures

PAGE = os.path.join(os.path.dirname(__file__), '../../../doc/source/install/three-conductors.rst')

PROMPT = re.compile(r'(?:root|user)@(\w+):~[#$] (.*)')

NODES = ('node1', 'node2')


def commands():
    """(host, command) for each line of the page that begins with a prompt."""
    with open(PAGE) as f:
        matches = [PROMPT.fullmatch(line.strip()) for line in f]
    return [match.groups() for match in matches if match]


def as_root(*command):
    return [*([] if os.geteuid() == 0 else ['sudo', '-n', '--preserve-env']), *command]


class Shell:
    """A shell with job control in a host, which is given one command after the other."""

    _MARK = 'the exit status is'

    def __init__(self, enter, environment):
        self._process = subprocess.Popen(
            [*enter, 'bash', '--norc', '--noprofile'], text=True, env=environment,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        self._type('set -m; cd /')

    def _type(self, line):
        self._process.stdin.write(f'{line}\n')
        self._process.stdin.flush()

    def run(self, command):
        """Type a command; returns (exit status, what was printed)."""
        # It must not read what is typed next; and what runs in the background must not write
        # between the lines of others.
        if command.endswith('&'):
            command = f'{command[:-1]} </dev/null >>~/{command.split()[0]}.log 2>&1 &'
        else:
            command = f'{command} </dev/null'
        self._type(f'{command}\necho "{self._MARK} $?"')
        printed = []
        for line in self._process.stdout:
            if line.startswith(self._MARK):
                return int(line.rsplit(' ', 1)[1]), ''.join(printed)
            printed.append(line)
        raise AssertionError(f'the shell ended in: {command}\n{"".join(printed)}')

    def close(self):
        self._process.stdin.close()
        self._process.stdout.read()
        self._process.wait(10)


# SIOCSIFFLAGS, IFF_UP; then it is there until its standard input is closed.
_LOOPBACK_UP = '''
import fcntl, socket, struct, sys
fcntl.ioctl(socket.socket(), 0x8914, struct.pack('16sh14x', b'lo', 1))
print('up', flush=True)
sys.stdin.read()
'''


class Network(pyfixtures.Fixture):
    """A network namespace with a loopback interface and nothing else."""

    def _setUp(self):
        self._holder = subprocess.Popen(
            as_root('unshare', '--net', sys.executable, '-c', _LOOPBACK_UP),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(self._end)
        if self._holder.stdout.readline() != 'up\n':
            raise AssertionError('cannot make a network namespace')
        pid = fixtures.eventually(self._find)
        self.enter = as_root('nsenter', f'--net=/proc/{pid}/ns/net')

    def _find(self):
        """The pid in the namespace: of a child, where sudo stands before it."""
        pid = self._holder.pid
        while True:
            with open(f'/proc/{pid}/task/{pid}/children') as f:
                children = f.read().split()
            if not children:
                return pid
            pid = int(children[0])

    def _end(self):
        self._holder.stdin.close()
        self._holder.wait(10)
        self._holder.stdout.close()


class Services(pyfixtures.Fixture):
    """Database and broker at their usual ports, in a network of their own."""

    def __init__(self, enter):
        self._enter = enter

    def _setUp(self):
        self.directory = tempfile.mkdtemp(prefix='cs-', dir='/tmp')
        os.chmod(self.directory, 0o755)
        self.addCleanup(subprocess.run, as_root('rm', '-rf', self.directory), check=True)
        self.addCleanup(self._run, 'stop', 'rabbitmq', 'mariadb')
        self._run('start', 'rabbitmq', 'mariadb')

    def _run(self, *arguments):
        done = subprocess.run(
            [*self._enter, 'env', f'CONTAINER_SERVICE_SERVICES_DIR={self.directory}',
             fixtures.needed('CS_TEST_SERVICES'), *arguments],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True, timeout=180)
        if done.returncode:
            raise AssertionError(f'services.sh {" ".join(arguments)} failed:\n{done.stdout}')


class Hosts(pyfixtures.Fixture):
    """The hosts of the page."""

    def __init__(self, network, services, sockets):
        self._network, self._services, self._sockets = network, services, sockets
        self._shells = {}

    def _setUp(self):
        self._root = self.useFixture(pyfixtures.TempDir()).path
        self.addCleanup(subprocess.run, as_root('rm', '-rf', self._root), check=True)
        self.addDetail('logs', content.Content(
            content_type.UTF8_TEXT, lambda: [self._logs().encode()]))
        self._environment = {
            'PATH': f'{os.path.dirname(sys.executable)}:{os.environ["PATH"]}:/usr/sbin:/sbin',
            'HOME': self._root, 'LC_ALL': 'C.UTF-8', 'NO_PROXY': '*',
            'PYTHONPATH': os.environ.get('PYTHONPATH', '')}
        for node in NODES:
            self._make_node(node)
        self._make_services()
        self.addCleanup(self._end)

    def _make_node(self, node):
        root = os.path.join(self._root, node)
        os.makedirs(f'{root}/home')
        subprocess.run(as_root('cp', '-a', '/etc', f'{root}/etc'), check=True)
        os.makedirs(f'{root}/add/container-service')
        shutil.copy(os.path.join(os.path.dirname(PAGE), 'three-conductors',
                                 'container-service.conf'), f'{root}/add/container-service')
        with open(f'{root}/add/hosts', 'w') as f:
            f.write(f'127.0.0.1 localhost services {node}\n')
        subprocess.run(as_root('cp', '-r', f'{root}/add/.', f'{root}/etc'), check=True)
        mounts = textwrap.dedent(f'''\
            hostname {node}
            mount --make-rprivate /
            mount --bind {root}/etc /etc
            mount --bind {self._sockets[node]} /var/run/docker.sock
            export HOME={root}/home
            exec "$@"''')
        self._enter(node, 'unshare', '--mount', '--uts', '--pid', '--fork', '--kill-child',
                    '--mount-proc', 'sh', '-ec', mounts, 'sh')

    def _make_services(self):
        root = os.path.join(self._root, 'services')
        os.makedirs(root)
        for name, command in (
                ('mariadb', f'mariadb --socket {self._services.directory}/mariadb/sock '
                            '-u openstack_citest -popenstack_citest'),
                ('rabbitmqctl', f'env CONTAINER_SERVICE_SERVICES_DIR={self._services.directory} '
                                f'{fixtures.needed("CS_TEST_SERVICES")} rabbitmqctl')):
            with open(f'{root}/{name}', 'w') as f:
                f.write(f'#!/bin/sh\nPATH={self._environment["PATH"]}\nexec {command} "$@"\n')
            os.chmod(f'{root}/{name}', 0o755)
        self._enter('services', 'env', f'PATH={root}:{self._environment["PATH"]}')

    def _enter(self, host, *command):
        self._shells[host] = Shell([*self._network.enter, *command], self._environment)

    def type(self, host, command):
        """Returns (exit status, what was printed)."""
        return self._shells[host].run(command)

    def run(self, host, command):
        """Returns what was printed.  Raises AssertionError unless it succeeds."""
        status, printed = self.type(host, command)
        if status:
            raise AssertionError(f'{host}: {command}: exit status {status}\n{printed}')
        return printed

    def _logs(self):
        text = []
        for node in NODES:
            directory = os.path.join(self._root, node, 'home')
            for name in sorted(os.listdir(directory)):
                if not name.endswith('.log'):
                    continue
                with open(os.path.join(directory, name), errors='replace') as f:
                    text.append(f'--- {node} {name}\n{f.read()}')
        return '\n'.join(text)

    def _end(self):
        for shell in self._shells.values():
            shell.close()


class TestThreeConductors(base.TestCase):

    time_limit = 300

    def test_the_commands_of_the_page(self):
        one, two = self.useFixture(engines.Engine()), self.useFixture(engines.Engine())
        for engine in (one, two):
            engine.client.images.get(fixtures.needed('CS_TEST_IMAGE')).tag('busybox', 'latest')
        network = self.useFixture(Network())
        services = self.useFixture(Services(network.enter))
        hosts = self.useFixture(Hosts(network, services, {
            'node1': one.endpoint.removeprefix('unix://'),
            'node2': two.endpoint.removeprefix('unix://')}))
        # The broker comes with an account of that name.
        hosts.run('services', 'rabbitmqctl -q delete_user container_service')
        typed = commands()
        self.assertGreater(len(typed), 25)
        for host, command in typed:
            printed = self.until(hosts, host, command, self.EXPECTED.get(command, {}))
            if command == 'docker ps':
                self.assertEqual(1, printed.count('sleep 600'))
                self.assertEqual(1, len(one.client.containers.list()))
        for node in NODES:
            hosts.run(node, 'while [ "$(jobs -r)" ]; do sleep 0.1; done')
            self.assertNotIn('Exit', hosts.run(node, 'jobs'))
        self.assertEqual([], one.client.containers.list(all=True))
        self.assertEqual([], two.client.containers.list(all=True))

    # What a reader sees there, at the latest after a moment: a text, and how often.
    EXPECTED = {
        'container-service service list': {' up ': 3, 'node1.0': 1, 'node1.1': 1, 'node2.0': 1},
        'container-service bay list': {'HEALTHY': 2},
        'container-service list': {'Running': 2},
    }

    def until(self, hosts, host, command, expected):
        """Type it; where something is expected, until it is there."""
        if not expected:
            return hosts.run(host, command)

        def look():
            status, printed = hosts.type(host, command)
            return status == 0 and all(
                printed.count(text) == count for text, count in expected.items()) and printed

        return fixtures.eventually(look, 40, 1)
