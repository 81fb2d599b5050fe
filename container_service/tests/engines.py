# SPDX-License-Identifier: Apache-2.0
"""A Docker Engine of a test's own, which it may freeze."""

import contextlib
import os
import shutil
import subprocess
import tempfile

import docker
import fixtures as pyfixtures
from testtools import content
from testtools import content_type

from container_service.tests import fixtures


def _as_root(*command):
    return [*([] if os.geteuid() == 0 else ['sudo', '-n']), *command]


def _run(*command):
    done = subprocess.run(_as_root(*command), stdin=subprocess.DEVNULL, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
    if done.returncode:
        raise AssertionError(f'{" ".join(command)} failed:\n{done.stdout}')


class Engine(pyfixtures.Fixture):
    """dockerd with all that it has in a directory and a network namespace of its own.

    In the namespace of another engine it would take that one's bridge away.  It needs root, or
    sudo that does not ask.  ``endpoint`` is where it listens, ``client`` is one of it, and it has
    the test image.
    """

    def _setUp(self):
        image = fixtures.needed('CS_TEST_IMAGE')
        # Short: the paths of its sockets must fit into 108 bytes.
        self._directory = tempfile.mkdtemp(prefix='cs-', dir='/tmp')
        self.addCleanup(_run, 'rm', '-rf', self._directory)
        self._pid_file = os.path.join(self._directory, 'pid')
        self.endpoint = f'unix://{self._directory}/sock'
        self._start()
        self.addCleanup(self._stop)
        self.client = docker.DockerClient(self.endpoint, version='1.41')
        self.addCleanup(self.client.close)
        fixtures.eventually(self._answers, 60, 0.2)
        with contextlib.closing(docker.DockerClient(fixtures.needed('CS_TEST_DOCKER'))) as other:
            saved = b''.join(other.images.get(image).save(named=True))
        self.client.images.load(saved)
        self.addDetail('dockerd', content.content_from_file(
            os.path.join(self._directory, 'log'), content_type.UTF8_TEXT))

    def _start(self):
        log = os.path.join(self._directory, 'log')
        with open(log, 'ab') as out:
            self._process = subprocess.Popen(
                _as_root(
                    'unshare', '--net', shutil.which(
                        'dockerd', path=f'{os.environ["PATH"]}:/usr/sbin:/usr/local/sbin'),
                    '--data-root', os.path.join(self._directory, 'data'),
                    '--exec-root', os.path.join(self._directory, 'exec'),
                    '--pidfile', self._pid_file, '--host', self.endpoint,
                    '--group', str(os.getgid()), '--iptables=false', '--ip6tables=false'),
                stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                start_new_session=True)

    def _answers(self):
        if self._process.poll() is not None:
            with open(os.path.join(self._directory, 'log'), errors='replace') as f:
                raise AssertionError(f'dockerd ended:\n{f.read()[-2000:]}')
        try:
            return self.client.ping()
        except (docker.errors.DockerException, OSError):
            return False

    def _stop(self):
        self.thaw()
        for container in self.client.containers.list(all=True):
            container.remove(force=True)
        self._signal('TERM')
        try:
            self._process.wait(30)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError('dockerd did not end within 30 seconds of SIGTERM') from None

    def _signal(self, name):
        with open(self._pid_file) as f:
            _run('kill', f'-{name}', f.read().strip())

    def freeze(self):
        """Stop the process as it is: connections are taken, nothing is answered."""
        self._signal('STOP')

    def thaw(self):
        self._signal('CONT')
