# SPDX-License-Identifier: Apache-2.0
"""Docker Engines: the one that runs, which is hurt through its links only, and those of a run.

An engine of a run has all that it has in a directory and a network namespace of its own: in the
namespace of another engine it would take that one's bridge away.
"""

import contextlib
import os
import pathlib
import shutil
import signal
import tempfile

import docker

from container_service.drivers import base as drivers
from faults import process

_VERSION = '1.41'

# All that the containers and images of one engine may take.
_DISK = '192m'


class Engine:
    """An engine that is there already.  ``client`` goes straight to it, round the proxies."""

    def __init__(self, name, endpoint):
        self.name, self.endpoint = name, endpoint
        self.client = docker.DockerClient(endpoint, version=_VERSION)

    def __str__(self):
        return self.name

    def answers(self):
        with contextlib.suppress(docker.errors.DockerException, OSError):
            return self.client.ping()
        return False

    def of_deployment(self, deployment):
        """What carries the label of a deployment, as the engine's list has it."""
        return self.client.api.containers(all=True, filters={
            'label': f'{drivers.LABEL_DEPLOYMENT}={deployment}'})

    def remove_all(self, deployment):
        for container in self.of_deployment(deployment):
            with contextlib.suppress(docker.errors.APIError):
                self.client.api.remove_container(container['Id'], force=True, v=True)

    def close(self):
        self.client.close()


class OwnEngine(Engine):
    """A dockerd of this run, with an image of another engine and a small disk in memory.  It needs
    root, or sudo that does not ask.
    """

    def __init__(self, name, image, source):
        # Short: the paths of its sockets must fit into 108 bytes.
        self._directory = tempfile.mkdtemp(prefix='cs-', dir='/tmp')
        super().__init__(name, f'unix://{self._directory}/sock')
        self._disk = f'{self._directory}/data'
        os.mkdir(self._disk)
        try:
            _as_root('mount', '-t', 'tmpfs', '-o', f'size={_DISK}', 'faults', self._disk)
            self.start()
            self.client.images.load(b''.join(source.client.images.get(image).save(named=True)))
        except BaseException:
            self.close()
            raise

    def start(self):
        """Start it; returns when it answers."""
        dockerd = shutil.which('dockerd', path=f'{os.environ["PATH"]}:/usr/sbin:/usr/local/sbin')
        if dockerd is None:
            raise process.Broken('dockerd is not installed')
        log = pathlib.Path(self._directory) / 'log'
        self.process = process.Process(f'dockerd {self.name}', process.as_root([
            'unshare', '--net', dockerd, '--data-root', self._disk,
            '--exec-root', f'{self._directory}/exec', '--pidfile', self._pid_file,
            '--host', self.endpoint, '--group', str(os.getgid()),
            '--iptables=false', '--ip6tables=false']), log)

        def up():
            self.process.check()
            return self.answers()

        process.wait_for(up, f'engine {self.name} does not answer')

    @property
    def _pid_file(self):
        return f'{self._directory}/pid'

    def signal(self, number):
        """Send a signal to dockerd itself: with sudo it is not the process that we started."""
        _send(number, self._pid_file)

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)

    def kill(self):
        """kill -9 of dockerd and of the containerd that it leaves behind.

        A dockerd that finds the pid file of an old containerd waits for it in vain.  The
        processes of containers go on, until the next dockerd ends them.
        """
        containerd = f'{self._directory}/exec/containerd/containerd.pid'
        _send(signal.SIGKILL, self._pid_file)
        self.process.wait()
        _send(signal.SIGKILL, containerd)
        _as_root('rm', '-f', containerd, self._pid_file)

    def stop(self, seconds=30):
        """An orderly end, with that of its containers."""
        self.thaw()
        self.signal(signal.SIGTERM)
        if not self.process.wait(seconds):
            self.kill()

    def fill_disk(self):
        """Leave no byte free on its disk."""
        with contextlib.suppress(process.Broken):       # it ends with an error: the disk is full
            _as_root('dd', 'if=/dev/zero', f'of={self._disk}/filler', 'bs=64k')

    def free_disk(self):
        _as_root('rm', '-f', f'{self._disk}/filler')

    def close(self):
        with contextlib.suppress(process.Broken, OSError, AttributeError):
            if self.process.alive():
                self.thaw()
                for container in self.client.api.containers(all=True):
                    with contextlib.suppress(docker.errors.APIError):
                        self.client.api.remove_container(container['Id'], force=True)
                self.stop()
        super().close()
        # One that was killed leaves what it had mounted.
        with contextlib.suppress(process.Broken):
            _as_root('umount', '--recursive', '--lazy', self._disk)
        _as_root('rm', '-rf', self._directory)


def _as_root(*command):
    process.run(process.as_root(command))


def _send(number, pid_file):
    with contextlib.suppress(FileNotFoundError):
        with open(pid_file) as file:
            pid = file.read().strip()
        _as_root('kill', f'-{int(number)}', pid)
