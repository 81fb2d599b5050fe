# SPDX-License-Identifier: Apache-2.0
"""The parts of the Docker driver that need no engine."""

import collections
import contextlib
import datetime
import http.server
import io
import json
import socket
import socketserver
import ssl
import struct
import tempfile
import threading
import time
import urllib.parse

import docker.errors
import hypothesis
from hypothesis import strategies as st
import requests
import testtools
import urllib3.exceptions

from container_service import egress
from container_service import exceptions
from container_service.drivers import base
from container_service.drivers import docker as driver
from container_service.drivers import docker_request
from container_service.states import CREATED, DEAD, PAUSED, RESTARTING, RUNNING, STOPPED, UNKNOWN
from container_service.tests import driver_conformance

NOW = datetime.datetime(2026, 3, 1, 12, 0, 0)


def a_container(image='busybox', **spec):
    return base.Container(uuid='u', name='n', image=image, generation=3, fence=7,
                          deployment='d', spec=spec)


def api_error(status, words):
    response = requests.Response()
    response.status_code = status
    response.raw = io.BytesIO(json.dumps({'message': words}).encode())
    try:
        docker.errors.create_api_error_from_http_exception(
            requests.exceptions.HTTPError(response=response))
    except docker.errors.APIError as exc:
        return exc


# The whole of what may reach the engine.
BODY = {'Image', 'Labels', 'Tty', 'OpenStdin', 'HostConfig', 'Cmd', 'Entrypoint', 'WorkingDir',
        'User', 'StopSignal', 'Hostname', 'Env', 'StopTimeout', 'Healthcheck', 'ExposedPorts',
        'NetworkingConfig'}
HOST = {'Privileged', 'SecurityOpt', 'CapDrop', 'CapAdd', 'IpcMode', 'PidsLimit', 'LogConfig',
        'RestartPolicy', 'Memory', 'MemorySwap', 'NanoCpus', 'ReadonlyRootfs', 'Tmpfs', 'Runtime',
        'StorageOpt', 'PortBindings', 'NetworkMode'}
ALWAYS = {'Privileged': False, 'SecurityOpt': ['no-new-privileges'], 'CapDrop': ['ALL'],
          'CapAdd': list(docker_request.CAPABILITIES), 'IpcMode': 'private', 'PidsLimit': 1024,
          'LogConfig': {'Type': 'json-file', 'Config': {'max-size': '10m', 'max-file': '3'}}}
EVERYTHING = {
    'command': ['a', 'b'], 'entrypoint': ['e'], 'environment': {'B': '2', 'A': '1=x'},
    'labels': {'mine': 'yes', base.LABEL_FENCE: '99'}, 'workdir': '/w', 'hostname': 'h',
    'user': '1:1', 'cpu': 0.1, 'memory_bytes': 64 * 2**20, 'tty': True, 'interactive': True,
    'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': '5'},
    'stop_signal': 'SIGINT', 'stop_timeout': 0, 'read_only': True, 'tmpfs': {'/run': 2**20},
    'healthcheck': {'test': 'true', 'interval': 2, 'timeout': 3, 'retries': 4},
    'exposed_ports': ['53/udp'], 'runtime': 'kata', 'disk': 2, 'auto_remove': True,
    'published_ports': [{'container_port': 80, 'host_port': 8080, 'protocol': 'tcp'}],
    'nets': [{'network': 'id1', 'v4-fixed-ip': '10.0.0.9'}, {'network': 'two'}]}
# Words that options of Docker, ours, and those of others have; and anything.
KEYS = st.one_of(st.sampled_from(sorted(
    BODY | HOST | set(EVERYTHING) | {
        'privileged', 'cap_add', 'devices', 'binds', 'Binds', 'Mounts', 'mounts', 'network_mode',
        'pid_mode', 'PidMode', 'ipc_mode', 'UsernsMode', 'security_opt', 'sysctls', 'Ulimits',
        'VolumesFrom', 'CgroupParent', 'files'})), st.text(max_size=8))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(0, 10**6), st.text(max_size=8),
              st.sampled_from(['host', 'container:x', '/:/host', 'SYS_ADMIN'])),
    lambda inner: st.one_of(st.lists(inner, max_size=3),
                            st.dictionaries(st.text(max_size=6), inner, max_size=3)), max_leaves=6)


class TestCreateRequest(testtools.TestCase):

    def test_everything(self):
        body = docker_request.create_request(a_container(**EVERYTHING), networks=['one', 'two'])
        host = body.pop('HostConfig')
        labels = body.pop('Labels')
        self.assertEqual({
            'Image': 'busybox:latest', 'Cmd': ['a', 'b'], 'Entrypoint': ['e'],
            'Env': ['A=1=x', 'B=2'], 'WorkingDir': '/w', 'Hostname': 'h', 'User': '1:1',
            'Tty': True, 'OpenStdin': True, 'StopSignal': 'SIGINT', 'StopTimeout': 0,
            'Healthcheck': {'Test': ['CMD-SHELL', 'true'], 'Interval': 2 * 10**9,
                            'Timeout': 3 * 10**9, 'Retries': 4},
            'ExposedPorts': {'53/udp': {}, '80/tcp': {}},
            'NetworkingConfig': {'EndpointsConfig': {
                'one': {'IPAMConfig': {'IPv4Address': '10.0.0.9'}}}}}, body)
        self.assertEqual(
            {'mine': 'yes', base.LABEL_DEPLOYMENT: 'd', base.LABEL_CONTAINER: 'u',
             base.LABEL_GENERATION: '3', base.LABEL_FENCE: '7', base.LABEL_NAME: 'n'},
            {name: labels[name] for name in labels if name != base.LABEL_DIGEST})
        self.assertEqual(64, len(labels[base.LABEL_DIGEST]))
        self.assertEqual({
            **ALWAYS, 'Memory': 64 * 2**20, 'MemorySwap': 64 * 2**20, 'NanoCpus': 100_000_000,
            'RestartPolicy': {'Name': 'on-failure', 'MaximumRetryCount': 5},
            'ReadonlyRootfs': True, 'Tmpfs': {'/run': 'rw,nosuid,nodev,noexec,size=1048576'},
            'Runtime': 'kata', 'StorageOpt': {'size': '2G'}, 'NetworkMode': 'one',
            'PortBindings': {'80/tcp': [{'HostPort': '8080'}]}}, host)
        self.assertEqual(BODY, {*body, 'HostConfig', 'Labels'})
        self.assertEqual(HOST, set(host))

    def test_nothing(self):
        body = docker_request.create_request(a_container())
        self.assertEqual({'Image', 'Labels', 'Tty', 'OpenStdin', 'HostConfig'}, set(body))
        self.assertEqual({**ALWAYS, 'RestartPolicy': {'Name': 'no'}}, body['HostConfig'])

    def test_what_holds_for_a_whole_bay(self):
        limits = base.Limits(pids=5, log_max_size='1k', log_max_files=2, memory_bytes=7, cpu=1.5)
        host = docker_request.create_request(a_container(), limits)['HostConfig']
        self.assertEqual((5, {'max-size': '1k', 'max-file': '2'}, 7, 7, 1_500_000_000), (
            host['PidsLimit'], host['LogConfig']['Config'], host['Memory'], host['MemorySwap'],
            host['NanoCpus']))
        host = docker_request.create_request(a_container(memory_bytes=9, cpu=1),
                                             limits)['HostConfig']
        self.assertEqual((9, 10**9), (host['Memory'], host['NanoCpus']))

    def test_a_count_goes_with_on_failure_only(self):
        body = docker_request.create_request(a_container(
            restart_policy={'Name': 'always', 'MaximumRetryCount': '5'}))
        self.assertEqual({'Name': 'always'}, body['HostConfig']['RestartPolicy'])

    def test_safe_whatever_is_asked_for(self):
        body = docker_request.create_request(a_container(
            privileged=True, Privileged=True, HostConfig={'Privileged': True}, binds=['/:/host'],
            cap_add=['SYS_ADMIN'], network_mode='host', devices=['/dev/mem'], auto_remove=True))
        self.assertEqual({**ALWAYS, 'RestartPolicy': {'Name': 'no'}}, body['HostConfig'])
        self.assertEqual((), docker_request.powers_of({'HostConfig': body['HostConfig']}))
        self.assertFalse({'NET_RAW', 'MKNOD', 'AUDIT_WRITE', 'SETFCAP', 'SYS_ADMIN'}
                         & set(docker_request.CAPABILITIES))

    @hypothesis.settings(max_examples=1000, deadline=None, derandomize=True, database=None)
    @hypothesis.given(spec=st.dictionaries(KEYS, VALUES, max_size=6))
    def test_nothing_but_what_is_allowed_reaches_the_engine(self, spec):
        try:
            body = docker_request.create_request(a_container(**spec))
        except (TypeError, ValueError, KeyError, AttributeError):
            return                # never accepted, so it need not be made anything of
        self.assertLessEqual(set(body), BODY)
        self.assertLessEqual(set(body['HostConfig']), HOST)
        self.assertEqual(ALWAYS, {name: body['HostConfig'][name] for name in ALWAYS})
        # Of networks only that there are to be none: their names are asked of the engine.
        self.assertEqual('none' if spec.get('nets') == [] else None,
                         body['HostConfig'].get('NetworkMode'))

    def test_the_socket_of_the_engine_is_refused_wherever_it_is(self):
        container = a_container(opened=['bind_mounts'], mounts=[
            {'source': '/srv/engine', 'destination': '/x', 'read_only': True}])
        docker_request.create_request(container, socket='/srv/other/sock')
        error = self.assertRaises(exceptions.DriverError, docker_request.create_request,
                                  container, socket='/srv/engine/sock')
        self.assertIn('/srv/engine must', error.detail)

    def test_powers_that_somebody_else_has_given(self):
        for host, found in (
                ({'Privileged': True}, ('privileged',)),
                ({'NetworkMode': 'host'}, ('host_network',)),
                ({'NetworkMode': 'container:x'}, ('namespaces',)),
                ({'PidMode': 'host'}, ('namespaces',)), ({'IpcMode': 'host'}, ('namespaces',)),
                ({'IpcMode': 'shareable'}, ('namespaces',)),
                ({'UTSMode': 'host'}, ('namespaces',)),
                ({'UsernsMode': 'host'}, ('namespaces',)),
                ({'CapAdd': ['CAP_CHOWN', 'SYS_ADMIN']}, ('capabilities',)),
                ({'CapAdd': ['CAP_CHOWN']}, ()), ({'CapAdd': None}, ()),
                ({'CapDrop': None}, ('capabilities',)),
                ({'CapDrop': ['MKNOD']}, ('capabilities',)),
                ({'Devices': [{}]}, ('devices',)),
                ({'DeviceCgroupRules': ['c *:* rwm']}, ('devices',)),
                ({'SecurityOpt': None}, ('confinement',)),
                ({'SecurityOpt': ['no-new-privileges', 'seccomp=unconfined']}, ('confinement',)),
                ({'SecurityOpt': ['apparmor=unconfined']}, ('confinement',)),
                ({'MaskedPaths': []}, ('confinement',)),
                ({'ReadonlyPaths': ['/proc/sys']}, ('confinement',)),
                ({'CgroupParent': '/'}, ('cgroups',)), ({'OomScoreAdj': -1000}, ('cgroups',)),
                ({'Sysctls': {'net.ipv4.ip_forward': '1'}}, ('sysctls',)),
                ({'GroupAdd': ['docker']}, ('groups',)), ({'Links': ['/a:/b']}, ('links',)),
                ({'VolumesFrom': ['other']}, ('volumes',)),
                ({'Binds': [f'{"a" * 64}:/x']}, ('volumes',)),
                ({'Mounts': [{'Type': 'volume', 'Source': 'a' * 64}]}, ('volumes',)),
                ({'VolumeDriver': 'nfs'}, ('volumes',)),
                # Of the engine.
                ({'CgroupnsMode': 'host', 'Ulimits': [{'Name': 'nofile'}]}, ())):
            self.assertEqual(found, self.powers_of(host), host)
        own = {'Type': 'volume', 'Name': 'a' * 64, 'Driver': 'local'}
        for mounts, found in (
                ([own, {'Type': 'tmpfs'}], ()), ([{**own, 'Name': 'data'}], ('volumes',)),
                ([{**own, 'Driver': 'nfs'}], ('volumes',)), ([own, {}], ('volumes',)),
                ([own, {'Type': 'bind'}], ('bind_mounts',))):
            self.assertEqual(found, self.powers_of({}, mounts), mounts)

    def powers_of(self, host, mounts=()):
        """What is found of a container of ours, but for something."""
        ours = docker_request.create_request(a_container())['HostConfig']
        return docker_request.powers_of({'HostConfig': {**ours, **host}, 'Mounts': mounts})

    def test_no_network_is_not_the_default_one(self):
        for nets, mode in (({}, None), ({'nets': None}, None), ({'nets': []}, 'none')):
            body = docker_request.create_request(a_container(**nets))
            self.assertEqual(mode, body['HostConfig'].get('NetworkMode'))

    def test_the_digest_of_what_was_made_before_is_the_same(self):
        """A container that exists would not be adopted otherwise."""
        self.assertEqual(
            '3d6da9717a9cd16915db8304b791fe8fe4514d04cec8a8c937872fb669cbe909',
            a_container(command=['sleep', '1'], cpu=0.5).digest)

    def test_digest_tells_options_and_image_apart_and_no_more(self):
        one = a_container(command=['a'], environment={'A': '1', 'B': '2'})
        same = a_container(environment={'B': '2', 'A': '1'}, command=['a'])
        self.assertEqual(one.digest, same.digest)
        self.assertNotEqual(one.digest, a_container(command=['b']).digest)
        self.assertNotEqual(a_container().digest, a_container(image='other').digest)


class TestObserved(testtools.TestCase):

    def observe(self, state, **data):
        return driver.observed({'Id': 'e', 'State': {
            'ExitCode': 0, 'Error': '', 'OOMKilled': False,
            'StartedAt': '2026-03-01T10:45:00.123456789Z',
            'FinishedAt': '2026-03-01T11:52:00Z', **state}, **data}, now=NOW)

    def test_statuses(self):
        for name, status in (('created', CREATED), ('running', RUNNING), ('paused', PAUSED),
                             ('restarting', RESTARTING), ('exited', STOPPED), ('dead', DEAD),
                             ('removing', DEAD), ('never heard of', UNKNOWN)):
            self.assertEqual(status, self.observe({'Status': name}).status)
        self.assertEqual(UNKNOWN, driver.observed({}, now=NOW).status)

    def test_running(self):
        observed = self.observe({'Status': 'running'})
        self.assertEqual(datetime.datetime(2026, 3, 1, 10, 45, 0, 123456), observed.started_at)
        # What was before this start is no news.
        self.assertEqual((None, None), (observed.exit_code, observed.finished_at))
        self.assertEqual('Up About an hour', observed.status_detail)
        self.assertEqual('Up About an hour (Paused)',
                         self.observe({'Status': 'paused'}).status_detail)

    def test_ended(self):
        observed = self.observe({'Status': 'exited', 'ExitCode': 137, 'OOMKilled': True})
        self.assertEqual((137, True), (observed.exit_code, observed.oom_killed))
        self.assertEqual(datetime.datetime(2026, 3, 1, 11, 52), observed.finished_at)
        self.assertEqual('Exited (137) 8 minutes ago', observed.status_detail)
        observed = self.observe({'Status': 'restarting', 'ExitCode': 1})
        self.assertEqual((1, 'Restarting (1) 8 minutes ago'),
                         (observed.exit_code, observed.status_detail))

    def test_an_end_noted_before_its_start(self):
        observed = self.observe({'Status': 'exited', 'StartedAt': '2026-03-01T11:00:00.5Z',
                                 'FinishedAt': '2026-03-01T11:00:00.4Z'})
        self.assertEqual(observed.started_at, observed.finished_at)

    def test_a_failed_first_start(self):
        observed = self.observe({'Status': 'created', 'ExitCode': 127, 'Error': 'exec: "x"',
                                 'StartedAt': '0001-01-01T00:00:00Z',
                                 'FinishedAt': '0001-01-01T00:00:00Z'})
        self.assertEqual((CREATED, 'exec: "x"', None, None, None, 'Created'),
                         (observed.status, observed.error, observed.exit_code,
                          observed.started_at, observed.finished_at, observed.status_detail))

    def test_addresses(self):
        def addresses(networks, mode='default'):
            return self.observe({'Status': 'running'}, NetworkSettings={'Networks': networks},
                                HostConfig={'NetworkMode': mode}).addresses
        blank = {'port': None, 'subnet_id': None, 'preserve_on_delete': False}
        self.assertEqual({'bridge': []}, addresses({}))
        self.assertEqual({'lan': []}, addresses(None, mode='lan'))
        self.assertEqual({}, addresses({'none': {'IPAddress': ''}}, mode='none'))
        self.assertEqual({}, addresses({}, mode='none'))
        self.assertEqual({'bridge': []}, addresses({'bridge': {'IPAddress': ''}}))
        self.assertEqual(
            {'a': [{'addr': '10.0.0.2', 'version': 4, **blank},
                   {'addr': 'fd00::2', 'version': 6, **blank}], 'b': []},
            addresses({'a': {'IPAddress': '10.0.0.2', 'GlobalIPv6Address': 'fd00::2'}, 'b': {}}))

    def test_ports(self):
        observed = self.observe({'Status': 'running'}, Config={
            'ExposedPorts': {'80/tcp': {}, '53/udp': {}, '53/tcp': {}}})
        self.assertEqual((53, 80), observed.ports)

    def test_times(self):
        for text, moment in (
                ('2026-01-02T03:04:05Z', datetime.datetime(2026, 1, 2, 3, 4, 5)),
                ('2026-01-02T03:04:05.1Z', datetime.datetime(2026, 1, 2, 3, 4, 5, 100000)),
                ('2026-01-02T03:04:05.123456789+02:00',
                 datetime.datetime(2026, 1, 2, 1, 4, 5, 123456)),
                ('0001-01-01T00:00:00Z', None), ('', None), (None, None), ('soon', None)):
            self.assertEqual(moment, driver.parse_time(text))

    def test_durations(self):
        minute, hour, day = 60, 3600, 86400
        for seconds, words in (
                (-5, 'Less than a second'), (0.9, 'Less than a second'), (1, '1 second'),
                (59, '59 seconds'), (61, 'About a minute'), (3 * minute, '3 minutes'),
                (hour, 'About an hour'), (5 * hour, '5 hours'), (3 * day, '3 days'),
                (20 * day, '2 weeks'), (90 * day, '3 months'), (800 * day, '2 years')):
            self.assertEqual(words, driver.human_duration(seconds))

    def test_list_entry(self):
        labels = {base.LABEL_CONTAINER: 'u', base.LABEL_GENERATION: '4'}
        entry = driver.listed({
            'Id': 'e', 'Names': ['/other/link', '/cs-u-4'], 'Labels': labels, 'State': 'exited',
            'Status': 'Exited (3) 2 hours ago'})
        self.assertEqual(base.Listed('e', 'cs-u-4', 'u', 4, STOPPED, 3, None), entry)
        self.assertTrue(entry.is_well_named)

    def test_list_entries_that_are_odd(self):
        self.assertEqual(base.Listed('e', None, None, None, RUNNING),
                         driver.listed({'Id': 'e', 'State': 'running'}))
        for labels in ({base.LABEL_CONTAINER: 'u'}, {base.LABEL_GENERATION: '1'},
                       {base.LABEL_CONTAINER: 'u', base.LABEL_GENERATION: 'x'},
                       {base.LABEL_CONTAINER: 'u', base.LABEL_GENERATION: '2'}):
            entry = driver.listed({'Id': 'e', 'Names': ['/cs-u-1'], 'Labels': labels})
            self.assertFalse(entry.is_well_named, labels)

    def test_health_in_a_list(self):
        for words, health in (
                ('Up 2 minutes (healthy)', 'healthy'), ('Up 1 second (unhealthy)', 'unhealthy'),
                ('Up 1 second (health: starting)', 'starting'), ('Up 2 minutes (Paused)', None),
                ('Up 2 minutes', None)):
            self.assertEqual(health, driver.listed(
                {'Id': 'e', 'State': 'running', 'Status': words}).health)

    def test_lists_that_come_in_pieces(self):
        items = [{'a': 1, 'b': ['x', {'c': 'é"]'}]}, {}, {'z': '\u2028'}]
        for text in (json.dumps(items), json.dumps(items, ensure_ascii=False, indent=1) + '\n'):
            data = text.encode()
            for size in (1, 2, 7, 1000):
                pieces = [data[i:i + size] for i in range(0, len(data), size)]
                self.assertEqual(items, list(driver.items_of(pieces)))
        self.assertEqual([], list(driver.items_of([b'[]\n'])))
        for bad in (b'', b'{"message": "x"}', b'[{"a": 1}', b'[{"a": 1},', b'[{"a": '):
            self.assertRaises(docker.errors.DockerException, list, driver.items_of([bad]))

    def test_events(self):
        attributes = {base.LABEL_CONTAINER: 'u', 'exitCode': '137', 'name': 'x'}
        data = {'Action': 'die', 'timeNano': 12, 'Actor': {'ID': 'e', 'Attributes': attributes}}
        self.assertEqual(base.Event(12, 'die', 'e', 'u', 137), driver.event(data))
        self.assertEqual('health_status', driver.event(
            {**data, 'Action': 'health_status: healthy'}).kind)
        for action in ('exec_start: sh', 'resize', None):
            self.assertIsNone(driver.event({**data, 'Action': action}))


class TestPullProgress(testtools.TestCase):

    def test_adds_up(self):
        progress = driver.PullProgress('busybox')
        told = [progress.feed(item) for item in (
            {'status': 'Pulling from library/busybox', 'id': 'latest'},
            {'status': 'Already exists', 'id': 'a', 'progressDetail': {}},
            {'status': 'Pulling fs layer', 'id': 'b', 'progressDetail': {}},
            {'status': 'Waiting', 'id': 'c', 'progressDetail': {}},
            {'status': 'Downloading', 'id': 'b', 'progressDetail': {'current': 3, 'total': 10}},
            {'status': 'Downloading', 'id': 'c', 'progressDetail': {'current': 5, 'total': -1}})]
        self.assertEqual([False] + [True] * 5, told)
        self.assertEqual({'image': 'busybox', 'layers': 3, 'layers_done': 1, 'bytes': 8,
                          'bytes_total': 15}, progress.to_dict())
        for item in ({'status': 'Verifying Checksum', 'id': 'b'},
                     {'status': 'Download complete', 'id': 'b'},
                     {'status': 'Extracting', 'id': 'b',
                      'progressDetail': {'current': 1, 'total': 10}},
                     {'status': 'Pull complete', 'id': 'b'},
                     {'status': 'Extracting', 'id': 'd',
                      'progressDetail': {'current': 4, 'total': 4}},
                     {'status': 'Digest: sha256:00'},
                     {'status': 'Status: Downloaded newer image'}):
            progress.feed(item)
        self.assertEqual({'image': 'busybox', 'layers': 4, 'layers_done': 2, 'bytes': 19,
                          'bytes_total': 19}, progress.to_dict())

    def test_nothing_yet(self):
        self.assertEqual({'image': 'i', 'layers': 0, 'layers_done': 0, 'bytes': 0,
                          'bytes_total': 0}, driver.PullProgress('i').to_dict())


class TestOutput(testtools.TestCase):

    def test_frames_cut_anywhere(self):
        frames = b''.join(struct.pack('>BxxxL', kind, len(text)) + text for kind, text in
                          ((1, b'one\n'), (2, b''), (2, b'error\n'), (1, b'x' * 300)))
        for size in (1, 3, 7, 8, 9, 1000):
            frame = driver.Demultiplexer()
            output = b''.join(frame.feed(frames[i:i + size])
                              for i in range(0, len(frames), size))
            self.assertEqual(b'one\nerror\n' + b'x' * 300, output)

    def test_a_terminal_has_no_frames(self):
        self.assertEqual(b'\x01\x00abc', driver.Demultiplexer(tty=True).feed(b'\x01\x00abc'))

    def log(self, data, size, tty=False):
        pieces = [data[i:i + size] for i in range(0, len(data), size)]
        return [tuple(entry) for entry in driver.log_entries(iter(pieces), tty)]

    def test_entries_of_a_log_cut_anywhere(self):
        stamp = b'2026-01-01T00:00:01.000000002Z '
        data = b''.join(struct.pack('>BxxxL', kind, len(stamp + text)) + stamp + text
                        for kind, text in ((1, b'one\n'), (2, b'two\n'), (1, b'x' * 300)))
        moment = 1767225601 * 10 ** 9 + 2
        for size in (1, 7, 8, 9, 1000):
            self.assertEqual([(moment, 'stdout', b'one\n'), (moment, 'stderr', b'two\n'),
                              (moment, 'stdout', b'x' * 300)], self.log(data, size))

    def test_entries_of_a_terminal_cut_anywhere(self):
        first = b'2026-01-01T01:00:01.000000002+01:00 '
        second = b'2026-01-01T00:00:01.100000000Z '
        long = b'x' * 16384
        data = (first + b'one\r\n' + first + long + second + long + second + b'y\n'
                + second + b'2026-01-01T00:00:01.100000000Z told\n' + first + b'end')
        moment, later = 1767225601 * 10 ** 9 + 2, 1767225601 * 10 ** 9 + 10 ** 8
        for size in (1, 13, 16384, 100000):
            self.assertEqual(
                [(moment, 'stdout', b'one\r\n'), (moment, 'stdout', long),
                 (later, 'stdout', long), (later, 'stdout', b'y\n'),
                 (later, 'stdout', b'2026-01-01T00:00:01.100000000Z told\n'),
                 (moment, 'stdout', b'end')], self.log(data, size, tty=True))

    def test_a_log_without_times_is_not_guessed_at(self):
        self.assertRaises(docker.errors.DockerException, self.log, b'one\n', 9, True)


class TestErrors(testtools.TestCase):

    def translate(self, exc):
        return driver.driver_error(exc, 'north')

    def test_what_the_engine_answers(self):
        for status, words, kind, retriable in (
                (404, 'No such container: x', exceptions.EngineContainerMissing, False),
                (404, 'No such image: x:latest', exceptions.ImageNotFound, False),
                (400, 'invalid hostname', exceptions.DriverError, False),
                (409, 'is paused', exceptions.DriverError, False),
                (429, 'slow down', exceptions.DriverError, True),
                (500, 'disk on fire', exceptions.DriverError, True)):
            error = self.translate(api_error(status, words))
            self.assertIs(kind, type(error))
            self.assertEqual(retriable, error.retriable)
            if kind is not exceptions.EngineContainerMissing:
                self.assertEqual(words, error.detail)

    def test_retriable_is_said_of_the_one_error_only(self):
        self.translate(api_error(500, 'once'))
        self.assertFalse(exceptions.DriverError.retriable)

    def test_no_answer(self):
        def wrapped(cause):
            return requests.exceptions.ConnectionError(
                urllib3.exceptions.ProtocolError('Connection aborted.', cause))
        timeout = urllib3.exceptions.ReadTimeoutError(None, '/x', 'Read timed out.')
        for exc, words in (
                (wrapped(ConnectionRefusedError(111, 'Connection refused')),
                 'connection refused'),
                (wrapped(FileNotFoundError(2, 'No such file or directory')),
                 'no such file or directory'),
                (wrapped(PermissionError(13, 'Permission denied')), 'permission denied'),
                (requests.exceptions.ReadTimeout(timeout), 'gave no answer in time'),
                (requests.exceptions.ConnectionError(timeout), 'gave no answer in time'),
                (requests.exceptions.ConnectTimeout('x'), 'no connection within 3 seconds'),
                (wrapped(socket.gaierror(-2, 'Name or service not known')), 'host name'),
                (requests.exceptions.SSLError(ssl.SSLError(1, 'certificate unknown')), 'TLS'),
                (docker.errors.DockerException('something else'), 'something else')):
            error = self.translate(exc)
            self.assertIsInstance(error, exceptions.EngineUnreachable)
            self.assertTrue(error.retriable)
            self.assertIn(words, error.detail)
            self.assertIn('bay north', error.detail)

    def test_a_pull_that_failed(self):
        for words, status, kind, retriable in (
                ('manifest for a:b not found: manifest unknown: manifest unknown', None,
                 exceptions.ImageNotFound, False),
                ('pull access denied for a, repository does not exist or may require '
                 "'docker login': denied", None, exceptions.ImageNotFound, False),
                ('anything', 404, exceptions.ImageNotFound, False),
                ('Get "http://r/v2/": dial tcp 127.0.0.1:1: connect: connection refused', 500,
                 exceptions.PullFailed, True),
                ('Get "https://r/v2/": dial tcp: lookup r: no such host', 500,
                 exceptions.PullFailed, True),
                ('toomanyrequests: You have reached your pull rate limit', 500,
                 exceptions.PullFailed, True),
                ('unauthorized: authentication required', 500, exceptions.RegistryRefused, False),
                ('Head "http://r:5000/v2/a/manifests/latest": no basic auth credentials', 500,
                 exceptions.RegistryRefused, False),
                ('no space left on device', None, exceptions.PullFailed, False)):
            error = driver.pull_error(words, status)
            self.assertIs(kind, type(error), words)
            self.assertEqual((words, retriable), (error.detail, error.retriable))

    def test_a_start_that_failed(self):
        for words, retriable in (
                ('transport is closing: unavailable', True),
                ('failed to update store for object type *libnetwork.endpoint: open : no such '
                 'file or directory', True),
                ('grpc: the client connection is closing: unknown', True),
                ('failed to create task: exec: "nope": executable file not found', False),
                ('driver failed programming external connectivity: port is allocated', False)):
            error = driver.start_error(words)
            self.assertEqual(('start_failed', words, retriable, not retriable),
                             (error.code, error.detail, error.retriable, bool(error.hint)))


class TestEndpoint(testtools.TestCase):

    def check(self, endpoint, ca=None, cert=None, key=None, insecure=False):
        return driver.DockerDriver.check_endpoint(
            endpoint, ca, cert, key, insecure,
            egress.Policy(allowed=egress.networks(['127.0.0.0/8'])))

    def test_an_endpoint_has_one_spelling(self):
        tls = ('ca', 'cert', 'key')
        for endpoint, one in (
                ('unix:///var/run/docker.sock', 'unix:///var/run/docker.sock'),
                ('tcp://engine.example.org:2376/', 'tcp://engine.example.org:2376'),
                ('TCP://Engine.Example.Org.:02376', 'tcp://engine.example.org:2376'),
                ('tcp://93.184.216.34:2376#', 'tcp://93.184.216.34:2376'),
                ('tcp://93.184.216.34:2376?', 'tcp://93.184.216.34:2376'),
                ('tcp://９３.184.216.34:2376', 'tcp://93.184.216.34:2376'),
                ('tcp://0x5db8d822:2376', 'tcp://93.184.216.34:2376'),
                ('tcp://b\xfccher.example:2376', 'tcp://xn--bcher-kva.example:2376'),
                ('tcp://[2606:2800:220:1:0::1]:2376', 'tcp://[2606:2800:220:1::1]:2376')):
            self.assertEqual(one, self.check(endpoint, *tls if one[0] == 't' else ()))
        for endpoint in ('tcp://93.184.216.34\t:2376', 'tcp://ho\tst:2376', 'tcp://host:2376\t',
                         'tcp://host:2376 ', '\ttcp://host:2376', 'tcp://@host:2376'):
            self.assertRaises(ValueError, self.check, endpoint, *tls)

    def test_good(self):
        self.check('unix:///var/run/docker.sock')
        tls = ('ca', 'cert', 'key')
        for endpoint in ('tcp://engine.example.org:2376', 'tcp://93.184.216.34:2376/',
                         'tcp://[2606:2800:220:1::1]:2376'):
            self.check(endpoint, *tls)
        self.check('tcp://127.0.0.1:2375', insecure=True)
        self.check('tcp://127.0.0.1:2376', ca='ca', insecure=True)

    def test_bad(self):
        tls = ('ca', 'cert', 'key')
        for endpoint, files, words in (
                ('unix://docker.sock', (), 'absolute'),
                ('unix:///', (), 'absolute'),
                ('unix:///a.sock', tls, 'takes no'),
                ('http://host:1', tls, 'unix:// or tcp://'),
                ('ssh://host', (), 'ssh, which is not supported'),
                ('', (), 'unix:// or tcp://'),
                ('tcp://', tls, 'host and port'),
                ('tcp://host', tls, 'host and port'),
                ('tcp://:2376', tls, 'host and port'),
                ('tcp://host:port', tls, 'valid'),
                ('tcp://host:99999', tls, 'valid'),
                ('tcp://[::1:2376', tls, 'valid'),
                ('tcp://user@host:2376', tls, 'nothing but'),
                ('tcp://host:2376/v1', tls, 'nothing but'),
                ('tcp://host:2376?a=b', tls, 'nothing but'),
                ('tcp://host:2375', (), 'whoever'),
                ('tcp://host:2376', tls[:1], 'whoever'),
                ('tcp://169.254.169.254:2376', tls, 'link-local'),
                ('tcp://0xa9fea9fe:2376', tls, 'link-local'),
                ('tcp://[::ffff:10.0.0.1]:2376', tls, 'private'),
                ('tcp://10.0.0.1:2376', tls, 'private')):
            error = self.assertRaises(ValueError, self.check, endpoint, *files)
            self.assertIn(words, str(error), endpoint)
        for files in (('ca', 'cert'), (None, 'cert', 'key')):
            self.assertRaises(ValueError, self.check, 'tcp://host:2376', *files, insecure=True)


class TestUnreachable(testtools.TestCase):

    def test_making_a_driver_connects_to_nothing(self):
        made = driver.DockerDriver(base.Bay('u', 'north', 'unix:///nowhere/engine.sock'))
        error = self.assertRaises(exceptions.EngineUnreachable, made.ping)
        self.assertIn('no such file', error.detail)
        self.assertNotIn('/nowhere', error.detail)
        for name in ('start', 'stop', 'create', 'delete'):
            self.assertRaises(exceptions.EngineUnreachable, getattr(made, name), base.Attempt(),
                              a_container())
        self.assertRaises(exceptions.EngineUnreachable, made.observe, a_container())
        self.assertRaises(exceptions.EngineUnreachable, made.execute, a_container(), ['true'])


class Engine(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """Answers with its id and an empty list."""
    daemon_threads = True
    engine_id, breaks = 'first', False

    class RequestHandlerClass(http.server.BaseHTTPRequestHandler):
        protocol_version = 'HTTP/1.1'

        def do_GET(self):  # noqa: N802 - named by the library
            name = self.path.partition('?')[0].rpartition('/')[2]
            self.server.asked[name] += 1
            if self.server.breaks:
                self.close_connection = True
                return
            body = json.dumps({'version': {'ApiVersion': '1.41'},
                               'info': {'ID': self.server.engine_id}}.get(name, [])).encode()
            self.send_response(200)
            self.send_header('Content-Length', str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_POST(self):  # noqa: N802 - named by the library
            self.rfile.read(int(self.headers['Content-Length']))
            self.server.posted.append(urllib.parse.urlsplit(self.path))
            status, body = self.server.answer_late()
            # Whoever asked may have given up by now.
            with contextlib.suppress(BrokenPipeError):
                self.send_response(status)
                self.send_header('Content-Length', str(len(body)))
                self.end_headers()
                self.wfile.write(body)

        def address_string(self):
            return 'unix'

        def log_message(self, *_):
            pass

    def __init__(self, path):
        super().__init__(path, self.RequestHandlerClass)
        self.asked = collections.Counter()
        self.posted = []


class EngineCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        directory = tempfile.TemporaryDirectory(prefix='cs-')
        self.addCleanup(directory.cleanup)
        self.path = f'{directory.name}/sock'
        self.engine = Engine(self.path)
        self.addCleanup(self.engine.server_close)
        threading.Thread(target=self.engine.serve_forever, args=(0.01,), daemon=True).start()
        self.addCleanup(self.engine.shutdown)

    def connect(self, engine_id):
        made = driver.DockerDriver(
            base.Bay('u', 'north', f'unix://{self.path}', engine_id=engine_id))
        self.addCleanup(lambda: made._shared_client and made._shared_client.close())
        return made


class TestCommit(EngineCase):
    """What takes longer than any other call."""

    def setUp(self):
        super().setUp()
        self.made = self.connect(None)
        self.made.read_seconds = 0.1
        self.image = base.Image('i', 1)
        for name, answer in (('_require', {'Id': 'e'}), ('_require_id', {'Id': 'e'}),
                             ('_is_marked', False), ('find_image', self.image)):
            self.patch(self.made, name, lambda *args, answer=answer: answer)

    def commit(self, attempt):
        return self.made.commit(attempt, a_container(), 'mine', 'v1')

    def test_it_is_asked_for_once_however_long_it_takes(self):
        """It was sent again and again, and the engine taken for one that does not answer."""
        self.made._client().timeout = 0.1

        def answer():
            time.sleep(0.5)
            return 201, b'{"Id": "sha256:1"}'

        self.engine.answer_late = answer
        attempt = base.Attempt()
        self.assertEqual('i', self.commit(attempt).result['image_id'])
        [asked] = self.engine.posted
        self.assertEqual('/v1.41/commit', asked.path)
        self.assertEqual({'container': ['e'], 'repo': [base.committed(a_container(), 'mine', 'v1')
                                                       .rpartition(':')[0]],
                          'tag': ['v1'], 'comment': [attempt.remembered['mark']]},
                         urllib.parse.parse_qs(asked.query))

    def test_a_refusal(self):
        for status, retriable in ((409, False), (500, True)):
            self.engine.answer_late = lambda status=status: (status, b'{"message": "m"}')
            error = self.assertRaises(exceptions.DriverError, self.commit, base.Attempt())
            self.assertEqual(('m', retriable), (error.detail, error.retriable))

    def test_the_end_of_the_attempt_ends_the_wait(self):
        self.patch(driver, 'WAIT_SLICE_SECONDS', 0.05)
        attempt, asked = base.Attempt(), threading.Event()
        over = threading.Event()
        self.addCleanup(over.set)

        def answer():
            asked.set()
            over.wait(30)
            return 201, b'{}'

        def gate():
            if asked.is_set():
                raise exceptions.DeadlineExceeded(seconds=1, last='x')

        self.engine.answer_late, attempt.gate = answer, gate
        self.assertRaises(exceptions.DeadlineExceeded, self.commit, attempt)


class TestOtherEngine(EngineCase):

    def look(self, made):
        return list(made.list('d'))

    def test_one_that_is_not_known_yet_is_taken_for_the_right_one(self):
        made = self.connect(None)
        self.assertEqual([], self.look(made))
        self.assertEqual(0, self.engine.asked['info'])
        self.assertEqual('first', made.ping())

    def test_it_is_asked_for_its_id_once(self):
        made = self.connect('first')
        for _ in range(3):
            self.look(made)
            made.probe()
        self.assertEqual(1, self.engine.asked['info'])

    def test_nothing_is_asked_of_another_one(self):
        made = self.connect('second')
        for call in (made.ping, made.probe, lambda: self.look(made), lambda: made.events('d'),
                     lambda: made.observe(a_container()),
                     lambda: made.describe('d', 'e'), lambda: made.pull(base.Attempt(), 'i')):
            error = self.assertRaises(exceptions.OtherEngine, call)
            self.assertTrue(error.retriable)
            for words in ('north', 'first', 'second', '--new-engine'):
                self.assertIn(words, error.detail)
        attempt = base.Attempt()
        attempt.first = True
        for _, call in driver_conformance.calls(made, a_container(), attempt):
            self.assertRaises(exceptions.OtherEngine, call)
        self.assertEqual({'version', 'info', '_ping'}, set(self.engine.asked))

    def test_one_that_was_put_there_while_it_was_away(self):
        made = self.connect('first')
        self.look(made)
        self.engine.breaks = True
        self.assertRaises(exceptions.EngineUnreachable, self.look, made)
        self.engine.engine_id, self.engine.breaks = 'second', False
        self.assertRaises(exceptions.OtherEngine, self.look, made)
        self.engine.engine_id = 'first'
        self.assertEqual([], self.look(made))

    def test_one_whose_event_stream_has_ended(self):
        made = self.connect('first')

        def follow():
            with made.events('d') as stream:
                list(stream)

        error = self.assertRaises(exceptions.EngineUnreachable, follow)
        self.assertIn('ended its event stream', error.detail)
        self.engine.engine_id = 'second'
        self.assertRaises(exceptions.OtherEngine, self.look, made)

    def test_one_that_was_put_there_between_two_calls_is_seen_by_a_probe(self):
        for seconds, kind in ((driver.COMPARE_SECONDS, None), (0, exceptions.OtherEngine)):
            self.patch(driver, 'COMPARE_SECONDS', seconds)
            self.engine.engine_id = 'first'
            made = self.connect('first')
            self.look(made)
            self.engine.engine_id = 'second'
            if kind is None:
                made.probe()
            else:
                self.assertRaises(kind, made.probe)
                self.assertRaises(kind, self.look, made)
