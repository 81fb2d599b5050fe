# SPDX-License-Identifier: Apache-2.0
from container_service import powers
from container_service.tests import base

NEVER = ('/', '//', '', '.', 'srv', 'srv/data', '/srv/', '/srv/../etc', '/srv/./x', '//srv',
         '/var', '/var/run', '/run', '/var/run/docker.sock', '/run/docker.sock', '/proc',
         '/proc/1/root', '/sys', '/sys/fs/cgroup', '/dev', '/dev/sda', '/var/lib',
         '/var/lib/docker', '/var/lib/docker/volumes', '/var/lib/containerd', '/run/containerd',
         '/run/podman', '/var/run/podman/podman.sock', '/srv/docker.sock', '/a\nb', '/a\0',
         '/srv/\u202edata', '/srv/a\u2028')


class TestRefused(base.TestCase):

    def test_what_nobody_can_open(self):
        for path in NEVER:
            self.assertIsNotNone(powers.refused(path), path)

    def test_the_rest(self):
        for path in ('/srv', '/srv/data', '/etc/x', '/variable', '/runs', '/process', '/devices'):
            self.assertIsNone(powers.refused(path), path)

    def test_the_socket_of_the_engine_wherever_it_is(self):
        for path in ('/srv/engine', '/srv/engine/it', '/srv'):
            self.assertIsNotNone(powers.refused(path, '/srv/engine/it'), path)
        self.assertIsNone(powers.refused('/srv/other', '/srv/engine/it'))


class TestIsAllowed(base.TestCase):

    def test_the_directory_alone(self):
        self.assertTrue(powers.is_allowed('/srv/a', ['/srv/a', '/srv/b']))
        for path in ('/srv', '/srv/a/below', '/srv/ab', '/srv/A'):
            self.assertFalse(powers.is_allowed(path, ['/srv/a', '/srv/b']))

    def test_not_below_another(self):
        """A container that has /srv could make a link of /srv/a."""
        self.assertFalse(powers.is_allowed('/srv/a', ['/srv', '/srv/a']))
        self.assertTrue(powers.is_allowed('/srv', ['/srv', '/srv/a']))
