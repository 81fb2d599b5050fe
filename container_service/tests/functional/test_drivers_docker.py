# SPDX-License-Identifier: Apache-2.0
"""The Docker driver against a real engine and a real registry.

CS_TEST_DOCKER    where the engine is (a unix:// address)
CS_TEST_REGISTRY  host:port of a registry that the engine may push to without credentials
CS_TEST_IMAGE     an image on the engine with busybox's commands

One that does not answer is a failure, never a skip.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import random
import select
import shutil
import socket
import ssl
import subprocess
import tarfile
import tempfile
import threading
import time
from unittest import mock
import uuid

import docker as sdk
import docker.errors
import docker.types
import requests
import testtools

from container_service import egress
from container_service import exceptions
from container_service import operations
from container_service.drivers import base
from container_service.drivers import docker as driver_module
from container_service.drivers import docker_request
from container_service.drivers import docker_streams
from container_service.drivers.docker import DockerDriver
from container_service.states import CREATED, DELETED, RESTARTING, RUNNING, STOPPED
from container_service.tests import driver_conformance
from container_service.tests import safety

ENGINE = os.environ.get('CS_TEST_DOCKER', 'unix:///var/run/docker.sock')
REGISTRY = os.environ.get('CS_TEST_REGISTRY', '127.0.0.1:5000')
IMAGE = os.environ.get('CS_TEST_IMAGE', 'cs-test/busybox:latest')

# Where the engines of these tests are.
LOOPBACK = egress.Policy(allowed=egress.networks(['127.0.0.1/32']))


class Between:
    """Stands between the driver and the engine: passes bytes on, or does not.

    ``freeze`` lets both sides hang.  ``lose_answer_to(start of a request)`` passes that request
    on, waits until the engine has answered it, and cuts the connection.
    """

    def __init__(self, tls=None):
        self.directory = tempfile.mkdtemp()
        if tls:
            self._listener = socket.create_server(('127.0.0.1', 0))
            self.endpoint = f'tcp://127.0.0.1:{self._listener.getsockname()[1]}'
        else:
            path = os.path.join(self.directory, 'engine.sock')
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(path)
            self._listener.listen(50)
            self.endpoint = f'unix://{path}'
        self._tls = tls
        self._frozen = threading.Event()
        self._closed = threading.Event()
        self._lose = None
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self):
        self._frozen.set()

    def lose_answer_to(self, request):
        self._lose = request

    def close(self):
        self._closed.set()
        self._listener.close()
        shutil.rmtree(self.directory)

    def _accept(self):
        while not self._closed.is_set():
            try:
                client, _ = self._listener.accept()
                if self._tls:
                    client = self._tls.wrap_socket(client, server_side=True)
            except OSError:
                continue
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        engine = socket.socket(socket.AF_UNIX)
        engine.connect(ENGINE.removeprefix('unix://'))
        lose = ended = False
        with client, engine, contextlib.suppress(OSError):
            while not self._closed.is_set():
                if self._tls and client.pending():
                    ready = [client]
                else:
                    ready = select.select([engine] if ended else [client, engine], [], [], 0.1)[0]
                if self._frozen.is_set():
                    time.sleep(0.1)
                    continue
                for end in ready:
                    data = end.recv(65536)
                    if not data and end is client and not ended:
                        # As engines do: what is asked for has an end, the answer is to come.
                        engine.shutdown(socket.SHUT_WR)
                        ended = True
                        continue
                    if not data or (end is engine and lose):
                        return
                    if end is client and self._lose and data.startswith(b'POST') and (
                            self._lose in data.split(b'\r\n')[0]):
                        self._lose, lose = None, True
                    (engine if end is client else client).sendall(data)


class DockerCase(testtools.TestCase):

    image = IMAGE
    absent_image = f'{REGISTRY}/cs-test/absent:{uuid.uuid4().hex}'

    def setUp(self):
        super().setUp()
        self.deployment = f'test-{uuid.uuid4()}'
        self.engine = sdk.APIClient(ENGINE, version='auto', timeout=30)
        self.addCleanup(self.engine.close)
        self.engine.inspect_image(IMAGE)     # fails loudly when engine or image are not there
        self.label = f'cs-test.run={self.deployment}'
        self.addCleanup(self.remove_all)
        self.driver = self.connect(ENGINE)

    def connect(self, endpoint, **tls):
        driver = DockerDriver(base.Bay('u', 'north', endpoint, **tls))
        # Not in the driver: it lives as long as its process.
        self.addCleanup(lambda: driver._shared_client and driver._shared_client.close())
        return driver

    def connect_between(self, **values):
        between = Between(**values)
        self.addCleanup(between.close)
        return between, self.connect(between.endpoint)

    def remove_all(self):
        """Remove what the test has made; it fails if the driver made what is not safe."""
        faults = []
        for label in (self.label, f'{base.LABEL_DEPLOYMENT}={self.deployment}'):
            for data in self.engine.containers(all=True, filters={'label': label}):
                with contextlib.suppress(docker.errors.NotFound):
                    if self.label.split('=')[0] not in data['Labels']:
                        faults += safety.faults_of_inspect(
                            self.engine.inspect_container(data['Id']))
                    self.engine.remove_container(data['Id'], force=True, v=True)
        self.assertEqual([], faults)

    def add_foreign(self, name, labels):
        engine_id = self.engine.create_container(
            IMAGE, ['sleep', '1000'], name=name,
            labels={**labels, self.label.split('=')[0]: self.deployment})['Id']
        self.engine.start(engine_id)
        return engine_id

    def foreign_is_running(self, engine_id):
        return self.engine.inspect_container(engine_id)['State']['Running']

    def executed_with_a_terminal(self, container):
        made = self.engine.exec_create(container.engine_name, ['sleep', '1000'], tty=True)
        self.engine.exec_start(made['Id'], detach=True)
        return made['Id']

    def add_network(self, name):
        """Make one of a subnet that is free: others run tests on the engine too."""
        for n in random.sample(range(256), 20):
            pool = docker.types.IPAMPool(subnet=f'10.213.{n}.0/24')
            try:
                made = self.engine.create_network(
                    name, driver='bridge', ipam=docker.types.IPAMConfig(pool_configs=[pool]))
            except docker.errors.APIError as exc:
                if 'overlaps' not in str(exc):
                    raise
                continue
            self.addCleanup(self.remove_network, name)
            return made['Id'], n
        self.fail('no subnet of 10.213.0.0/16 is free')

    def remove_network(self, name):
        self.remove_all()
        self.engine.remove_network(name)

    def network_id(self, name):
        return self.engine.inspect_network(name)['Id']

    def file_in(self, container, path):
        pieces, _ = self.engine.get_archive(container.engine_name, path)
        with tarfile.open(fileobj=io.BytesIO(b''.join(pieces))) as archive:
            return archive.extractfile(archive.next()).read()

    @property
    def limits_disk(self):
        info = self.engine.info()
        return info['Driver'] == 'overlay2' and ['Backing Filesystem', 'xfs'] in info[
            'DriverStatus'] or info['Driver'] in ('btrfs', 'zfs', 'devicemapper')

    def inspect(self, container):
        return self.engine.inspect_container(container.engine_name)

    container = driver_conformance.DriverConformance.container
    replaced = driver_conformance.DriverConformance.replaced
    listed = driver_conformance.DriverConformance.listed
    running = driver_conformance.DriverConformance.running
    wait_for = driver_conformance.DriverConformance.wait_for
    ended = driver_conformance.DriverConformance.ended


class TestDockerConformance(driver_conformance.DriverConformance, DockerCase):
    pass


class TestFiles(DockerCase):

    def test_nothing_is_left_of_what_could_not_be_given_its_files(self):
        container = self.container(files=lambda: {'/etc': b'x'},
                                   spec={'files': [{'destination': '/etc'}]})
        error = self.assertRaises(exceptions.DriverError, self.driver.run, base.Attempt(),
                                  container)
        self.assertIn('directory', error.detail)
        self.assertIsNone(self.driver.observe(container))


class TestWhichEngine(DockerCase):

    def test_it_is_compared_with_that_of_the_bay(self):
        engine_id = self.driver.ping()
        self.assertEqual(self.engine.info()['ID'], engine_id)
        self.assertEqual([], list(self.connect(ENGINE, engine_id=engine_id).list('d')))
        other = self.connect(ENGINE, engine_id='another')
        container = self.container()
        error = self.assertRaises(exceptions.OtherEngine, other.run, base.Attempt(), container)
        self.assertIn(engine_id, error.detail)
        self.assertIsNone(self.driver.observe(container))


class KnownFirst:
    """The driver as the runner uses it: with what is recorded of a container, at first.

    An attempt that a test makes from what another one remembered comes as a later one, with the
    record as it was before the first.
    """

    def __init__(self, driver):
        self._driver = driver
        self._recorded = {}

    def __getattr__(self, name):
        method = getattr(self._driver, name)
        if name not in operations.OPERATIONS or not operations.OPERATIONS[name].is_async:
            return method

        def with_record(attempt, container, **params):
            key = name, container.uuid, container.generation
            attempt.first = not getattr(attempt, 'later', False)
            if attempt.first:
                self._recorded[key] = self._driver.observe(container)
            known = self._recorded.get(key)
            if known is not None:
                container = dataclasses.replace(
                    container, engine_id=known.engine_id, started_at=known.started_at)
            return method(attempt, container, **params)

        return with_record


class TestDockerConformanceOfFirstAttempts(driver_conformance.DriverConformance, DockerCase):
    """The same once more on the shorter way that a first attempt takes."""

    def setUp(self):
        super().setUp()
        self.driver = KnownFirst(self.driver)


class TestDocker(DockerCase):

    def test_what_reaches_the_engine(self):
        container = self.container(spec={
            'environment': {'A': '1'}, 'labels': {'mine': 'x', base.LABEL_CONTAINER: 'forged'},
            'workdir': '/tmp', 'hostname': 'there', 'user': '1000', 'cpu': 0.5,
            'memory_bytes': 64 * 2**20, 'privileged': True,
            'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': '2'}})
        self.driver.run(base.Attempt(), container)
        data = self.inspect(container)
        config, host = data['Config'], data['HostConfig']
        self.assertEqual((container.uuid, 'x', self.deployment),
                         tuple(config['Labels'][name] for name in
                               (base.LABEL_CONTAINER, 'mine', base.LABEL_DEPLOYMENT)))
        self.assertEqual(('/tmp', 'there', '1000'),
                         (config['WorkingDir'], config['Hostname'], config['User']))
        self.assertIn('A=1', config['Env'])
        self.assertEqual((64 * 2**20, 500_000_000, 1024, False, False),
                         (host['Memory'], host['NanoCpus'], host['PidsLimit'],
                          host['Privileged'], host['AutoRemove']))
        self.assertEqual({'Name': 'on-failure', 'MaximumRetryCount': 2}, host['RestartPolicy'])
        self.assertEqual('10m', host['LogConfig']['Config']['max-size'])
        status = dict(line.split(':\t') for line in self.driver.execute(
            container, ['cat', '/proc/1/status']).output.splitlines() if ':\t' in line)
        self.assertEqual('1', status['NoNewPrivs'])
        self.assertEqual('2', status['Seccomp'])

    def test_capabilities_of_root(self):
        container = self.running()
        status = self.driver.execute(container, ['cat', '/proc/1/status']).output
        (bounding,) = [int(line.split()[1], 16) for line in status.splitlines()
                       if line.startswith('CapBnd')]
        for number in (13, 27, 29, 31, 21):    # NET_RAW MKNOD AUDIT_WRITE SETFCAP SYS_ADMIN
            self.assertFalse(bounding & 1 << number, number)
        self.assertTrue(bounding & 1)          # CHOWN

    def test_racing_creates_make_one(self):
        container = self.container()
        found, errors = set(), []

        def create():
            try:
                found.add(self.driver.create(base.Attempt(), container).engine_id)
            except Exception as exc:
                errors.append(exc)
        threads = [threading.Thread(target=create) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual(([], 1), (errors, len(found)))

    def test_renamed_by_hand_is_still_ours(self):
        container = self.running()
        container = dataclasses.replace(
            container, engine_id=self.driver.observe(container).engine_id)
        self.engine.rename(container.engine_name, f'renamed-{container.uuid}')
        self.assertEqual(RUNNING, self.driver.observe(container).status)
        self.driver.create(base.Attempt(), container)
        self.assertEqual([(container.uuid, 1)], list(self.listed()))
        self.driver.delete(base.Attempt(), container, force=True)
        self.assertEqual({}, self.listed())

    def test_a_graceful_stop_is_not_a_kill(self):
        container = self.running(
            ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.05; done'])
        time.sleep(0.3)            # until the trap is set
        began = time.monotonic()
        observed = self.driver.stop(base.Attempt(), container, timeout_seconds=20)
        self.assertEqual(7, observed.exit_code)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_paused_process_gets_its_grace(self):
        container = self.running(
            ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.05; done'])
        time.sleep(0.3)
        self.driver.pause(base.Attempt(), container)
        observed = self.driver.stop(base.Attempt(), container, timeout_seconds=20)
        self.assertEqual(7, observed.exit_code)

    def test_a_stop_taken_over_has_what_is_left_of_the_grace(self):
        container = self.running()
        first = driver_conformance.FencedAfter(2)
        with mock.patch.object(driver_module, 'WAIT_SLICE_SECONDS', 0.5):
            self.assertRaises(exceptions.Fenced, self.driver.stop, first, container,
                              timeout_seconds=300)
        self.assertEqual(RUNNING, self.driver.observe(container).status)
        began = first.remembered['stop_began']
        second = base.Attempt({**first.remembered, 'stop_began': began - 299})
        started = time.monotonic()
        self.assertEqual(STOPPED, self.driver.stop(second, container, timeout_seconds=300).status)
        self.assertLess(time.monotonic() - started, 10)

    def test_a_stopped_container_does_not_come_back_by_its_restart_policy(self):
        container = self.running(spec={'restart_policy': {'Name': 'always'}})
        self.driver.stop(base.Attempt(), container, timeout_seconds=0)
        time.sleep(1)
        self.assertEqual(STOPPED, self.driver.observe(container).status)

    def crash_looping(self):
        container = self.running(['false'], spec={'restart_policy': {'Name': 'always'}})
        observed = self.wait_for(container, RESTARTING)
        self.assertEqual(1, observed.exit_code)
        return container

    def test_what_the_restart_policy_restarts(self):
        container = self.crash_looping()
        self.assertRaises(exceptions.WrongState, self.driver.delete, base.Attempt(), container)
        self.assertRaises(exceptions.WrongState, self.driver.pause, base.Attempt(), container)
        self.assertEqual(STOPPED,
                         self.driver.stop(base.Attempt(), container, timeout_seconds=1).status)
        time.sleep(1)
        self.assertEqual(STOPPED, self.driver.observe(container).status)

    def test_kill_and_reboot_of_what_the_restart_policy_restarts(self):
        container = self.crash_looping()
        self.assertEqual(STOPPED, self.driver.kill(base.Attempt(), container).status)
        container = self.crash_looping()
        before = self.driver.observe(container)
        after = self.driver.reboot(base.Attempt(), container, timeout_seconds=1)
        self.assertLess(before.started_at, after.started_at)
        self.assertIn(after.status, (RUNNING, RESTARTING))
        self.driver.delete(base.Attempt(), container, force=True)

    def test_an_unknown_signal(self):
        container = self.running()
        error = self.assertRaises(exceptions.DriverError, self.driver.kill, base.Attempt(),
                                  container, signal='SIGNOTHING')
        self.assertIn('SIGNOTHING', error.detail)

    def test_out_of_memory_is_told(self):
        # The engine hears of it apart from the end, and at times too late to note it.
        for _ in range(10):
            container = self.ended(('sh', '-c', 'x=a; while :; do x=$x$x; done'), memory_mib=8)
            observed = self.driver.observe(container)
            self.assertEqual(137, observed.exit_code)
            if observed.oom_killed:
                return
        self.fail('the engine never said that memory ran out')

    def ended(self, command, memory_mib=None):
        spec = {'memory_bytes': memory_mib * 2**20} if memory_mib else {}
        container = self.running(list(command), spec=spec)
        self.wait_for(container, STOPPED)
        return container

    def test_delete_from_two_sides_at_once(self):
        container = self.running()
        errors = []

        def delete():
            try:
                self.driver.delete(base.Attempt(), container, force=True)
            except Exception as exc:
                errors.append(exc)
        threads = [threading.Thread(target=delete) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        self.assertEqual([], errors)
        self.assertIsNone(self.driver.observe(container))

    def test_forty_threads_share_one_driver(self):
        errors = []

        def live():
            try:
                container = self.container()
                self.driver.run(base.Attempt(), container)
                self.driver.execute(container, ['echo', 'x'])
                self.driver.delete(base.Attempt(), container, force=True)
            except Exception as exc:
                errors.append(exc)
        threads = [threading.Thread(target=live) for _ in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        self.assertEqual([], errors)
        self.assertEqual({}, self.listed())

    # Output

    def test_the_end_of_long_logs(self):
        container = self.ended(
            ('sh', '-c', 'i=0; while [ $i -lt 30000 ]; do '
                         'echo $i 0123456789012345678901234567890123456789; i=$((i+1)); done'))
        answer = self.driver.logs(container)
        self.assertTrue(answer['truncated'])
        self.assertTrue(1024 * 1024 - 100 < len(answer['output']) <= 1024 * 1024)
        self.assertTrue(answer['output'].endswith(
            '29999 0123456789012345678901234567890123456789\n'))

    def test_all_of_a_long_log_by_its_cursor(self):
        container = self.ended(
            ('sh', '-c', 'i=0; while [ $i -lt 30000 ]; do '
                         'echo $i 0123456789012345678901234567890123456789; i=$((i+1)); done'))
        engine_id = self.driver.observe(container).engine_id
        answer = self.driver.logs(container, cursor=f'{engine_id[:12]}-0-0-0-00000000')
        lines = answer['output'].splitlines()
        self.assertTrue(answer['more'])
        while answer['more']:
            answer = self.driver.logs(container, cursor=answer['cursor'])
            lines += answer['output'].splitlines()
        self.assertEqual(list(range(30000)), [int(line.split()[0]) for line in lines])
        self.assertEqual('', self.driver.logs(container, cursor=answer['cursor'])['output'])

    def test_a_line_that_the_engine_cuts_into_pieces(self):
        for tty in (False, True):
            container = self.container(
                ['sh', '-c', 'head -c 40000 /dev/zero | tr "\\0" x; echo; echo end'],
                spec={'tty': tty})
            self.driver.run(base.Attempt(), container)
            self.wait_for(container, STOPPED)
            text = self.driver.logs(container)['output'].replace('\r', '')
            self.assertEqual('x' * 40000 + '\nend\n', text)
            cursor = self.driver.logs(container)['cursor']
            self.assertEqual('', self.driver.logs(container, cursor=cursor)['output'])

    def test_logs_of_a_terminal(self):
        container = self.running(['sh', '-c', 'echo out; echo err >&2'], spec={'tty': True})
        self.wait_for(container, STOPPED)
        self.assertEqual('out\r\nerr\r\n', self.driver.logs(container)['output'])

    def test_logs_that_are_not_text(self):
        container = self.ended(('printf', r'\377\000a'))
        self.assertEqual('\ufffd\0a', self.driver.logs(container)['output'])

    def test_long_output_is_cut(self):
        executed = self.driver.execute(
            self.running(), ['sh', '-c', 'head -c 3000000 /dev/zero; exit 5'])
        self.assertEqual((1024 * 1024, True, 5),
                         (len(executed.output), executed.truncated, executed.exit_code))

    def test_output_that_comes_at_once_is_never_lost(self):
        container = self.running()
        for _ in range(30):
            self.assertEqual('x\n', self.driver.execute(container, ['echo', 'x']).output)

    def test_output_without_end_ends_at_the_time_limit(self):
        began = time.monotonic()
        self.assertRaises(exceptions.ExecuteTimeout, self.driver.execute, self.running(), ['yes'],
                          timeout_seconds=1)
        self.assertLess(time.monotonic() - began, 10)

    # Engines that do not answer

    def test_nobody_listens(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
        error = self.assertRaises(exceptions.EngineUnreachable,
                                  self.connect(f'tcp://127.0.0.1:{port}', policy=LOOPBACK).ping)
        self.assertIn('connection refused', error.detail)

    def test_a_frozen_engine(self):
        between, driver = self.connect_between()
        container = self.running()
        driver.ping()
        driver.read_seconds = driver._shared_client.timeout = 1
        between.freeze()
        for call in (driver.ping, lambda: driver.observe(container),
                     lambda: list(driver.list(self.deployment)), lambda: driver.logs(container),
                     lambda: driver.stop(base.Attempt(), container)):
            began = time.monotonic()
            error = self.assertRaises(exceptions.EngineUnreachable, call)
            self.assertIn('no answer in time', error.detail)
            self.assertLess(time.monotonic() - began, 10)

    def test_an_answer_that_takes_too_long_is_not_waited_for(self):
        container = self.running()
        self.driver.read_seconds = 0.5           # the engine compares two looks a second apart
        began = time.monotonic()
        error = self.assertRaises(exceptions.EngineUnreachable, self.driver.stats, container)
        self.assertIn('no answer in time', error.detail)
        self.assertLess(time.monotonic() - began, 1.5)
        self.assertEqual(RUNNING, self.driver.observe(container).status)

    def test_an_engine_that_is_frozen_from_the_first_call_on(self):
        between, driver = self.connect_between()
        between.freeze()
        driver.read_seconds = 1
        self.assertRaises(exceptions.EngineUnreachable, driver.ping)
        began = time.monotonic()
        driver.read_seconds = 30
        self.assertRaises(exceptions.ExecuteTimeout, driver.execute, self.container(), ['true'],
                          timeout_seconds=1)
        self.assertLess(time.monotonic() - began, 10)

    def test_execute_ends_at_its_time_limit_though_the_engine_freezes(self):
        between, driver = self.connect_between()
        container = self.running()
        threading.Timer(1, between.freeze).start()
        began = time.monotonic()
        self.assertRaises(exceptions.ExecuteTimeout, driver.execute, container,
                          ['sh', '-c', 'while :; do echo x; sleep 0.1; done'], timeout_seconds=2)
        self.assertLess(time.monotonic() - began, 10)

    def test_a_lost_answer_is_found_done_by_the_next_attempt(self):
        between, driver = self.connect_between()
        container = self.container()
        for name, path in (('create', b'/containers/create'), ('start', b'/start'),
                           ('pause', b'/pause'), ('unpause', b'/unpause'), ('kill', b'/kill')):
            between.lose_answer_to(path)
            attempt = base.Attempt()
            act = getattr(driver, name)
            self.assertRaises(exceptions.EngineUnreachable, act, attempt, container)
            before = self.inspect(container)
            act(base.Attempt(attempt.remembered), container)
            self.assertEqual((before['Id'], before['State']['StartedAt']),
                             (self.inspect(container)['Id'],
                              self.inspect(container)['State']['StartedAt']))
        self.assertEqual(STOPPED, driver.observe(container).status)

    def test_reboot_whose_start_got_no_answer_starts_once(self):
        between, driver = self.connect_between()
        container = self.running()
        between.lose_answer_to(b'/start')
        attempt = base.Attempt()
        self.assertRaises(exceptions.EngineUnreachable, driver.reboot, attempt, container,
                          timeout_seconds=0)
        started_at = self.wait_for(container, RUNNING).started_at
        again = driver.reboot(base.Attempt(attempt.remembered), container, timeout_seconds=0)
        self.assertEqual(started_at, again.started_at)

    def test_an_engine_of_another_version_is_asked_again(self):
        driver = self.driver
        driver.ping()
        driver._shared_client._version = '9.99'
        self.assertRaises(exceptions.DriverError, driver.ping)
        driver.ping()


class TestTLS(DockerCase):

    def setUp(self):
        super().setUp()
        self.directory = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, self.directory)
        for authority in ('ca', 'other'):
            self.openssl('req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '1',
                         '-subj', f'/CN={authority}', '-keyout', self.path(authority, 'key'),
                         '-out', self.path(authority, 'pem'))
        for name, authority in (('server', 'ca'), ('client', 'ca'), ('stranger', 'other')):
            self.openssl('req', '-newkey', 'rsa:2048', '-nodes', '-subj', f'/CN={name}',
                         '-keyout', self.path(name, 'key'), '-out', self.path(name, 'csr'))
            with open(self.path(name, 'ext'), 'w') as extensions:
                extensions.write('subjectAltName=IP:127.0.0.1\n')
            self.openssl('x509', '-req', '-days', '1', '-in', self.path(name, 'csr'),
                         '-CA', self.path(authority, 'pem'), '-CAkey', self.path(authority, 'key'),
                         '-CAcreateserial', '-extfile', self.path(name, 'ext'),
                         '-out', self.path(name, 'pem'))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.path('server', 'pem'), self.path('server', 'key'))
        context.load_verify_locations(self.path('ca', 'pem'))
        context.verify_mode = ssl.CERT_REQUIRED
        self.between = Between(tls=context)
        self.addCleanup(self.between.close)

    def path(self, name, kind):
        return os.path.join(self.directory, f'{name}.{kind}')

    def openssl(self, *arguments):
        subprocess.run(['openssl', *arguments], check=True, capture_output=True)

    def connect_with(self, authority, name):
        return self.connect(
            self.between.endpoint, ca_cert=self.text(authority, 'pem'),
            client_cert=self.text(name, 'pem'), client_key=self.text(name, 'key'),
            policy=LOOPBACK)

    def text(self, name, kind):
        with open(self.path(name, kind)) as file:
            return file.read()

    def test_everything_works(self):
        driver = self.connect_with('ca', 'client')
        self.assertEqual(self.driver.ping(), driver.ping())
        container = self.container(['sh', '-c', 'echo logged; sleep 1000'])
        driver.run(base.Attempt(), container)
        self.assertEqual('x\n', driver.execute(container, ['echo', 'x']).output)
        for text in ('', 'one\n' * 100_000):
            executed = driver.execute(container, ['cat'], stdin=text, timeout_seconds=20)
            self.assertEqual((text, 0), (executed.output, executed.exit_code))
        for stdin in (None, 'x'):
            self.assertRaises(exceptions.ExecuteTimeout, driver.execute, container,
                              ['sleep', '9'], timeout_seconds=1, stdin=stdin)
        self.assertEqual('logged\n', driver.logs(container)['output'])
        self.addCleanup(driver.remove_image, base.Attempt(),
                        base.committed(container, 'made', 'v1'))
        driver.commit(base.Attempt(), container, repository='made', tag='v1')
        self.assertEqual(STOPPED,
                         driver.stop(base.Attempt(), container, timeout_seconds=1).status)
        self.assertEqual(DELETED, driver.delete(base.Attempt(), container).status)

    def test_neither_side_takes_a_stranger(self):
        for authority, name in (('other', 'client'), ('ca', 'stranger')):
            driver = self.connect_with(authority, name)
            error = self.assertRaises(exceptions.EngineUnreachable, driver.ping)
            self.assertRegex(error.detail, 'not from an authority|client_cert')
            bay = driver.bay
            with docker_streams.Connection(bay, lambda: 5, 5) as stream:
                self.assertRaises(ssl.SSLError, stream.post, '/_ping', {})


class TestPull(DockerCase):

    def setUp(self):
        super().setUp()
        self.name = f'{REGISTRY}/cs-test/{uuid.uuid4().hex}'
        self.digests = []
        self.addCleanup(self.remove_images)

    def remove_images(self):
        self.remove_all()
        for image in self.engine.images():
            for reference in [*(image['RepoTags'] or ()), *(image['RepoDigests'] or ())]:
                if reference.startswith(self.name):
                    with contextlib.suppress(docker.errors.NotFound):
                        self.engine.remove_image(reference, force=True)
        repository = self.name.removeprefix(f'{REGISTRY}/')
        for digest in self.digests:
            # A registry that does not allow it (405) keeps the image; no reason to fail.
            requests.delete(f'http://{REGISTRY}/v2/{repository}/manifests/{digest}', timeout=10)

    def publish(self, *tags, layer_bytes=300_000, extra='', keep=False):
        """Push an image of our own with two layers that no other has; returns its digest."""
        digest = None
        for tag in tags:
            context = io.BytesIO()
            with tarfile.open(fileobj=context, mode='w') as tar:
                files = {'Dockerfile': (f'FROM {IMAGE}\nCOPY one /one\nCOPY two /two\n'
                                        f'{extra}').encode(),
                         'one': os.urandom(layer_bytes), 'two': os.urandom(layer_bytes)}
                for name, data in files.items():
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
            context.seek(0)
            reference = f'{self.name}:{tag}'
            for item in self.engine.build(fileobj=context, custom_context=True, tag=reference,
                                          rm=True, forcerm=True, decode=True):
                self.assertNotIn('error', item)
            for item in self.engine.push(self.name, tag=tag, stream=True, decode=True):
                self.assertNotIn('error', item)
                digest = (item.get('aux') or {}).get('Digest', digest)
            self.digests.append(digest)
            if not keep:
                self.engine.remove_image(reference, force=True)
        return digest

    def tags_on_engine(self):
        return {tag for image in self.engine.images(self.name) for tag in image['RepoTags'] or ()}

    def reporting(self):
        class Reporting(base.Attempt):
            reports, stages = [], []

            def enter(self, stage):
                super().enter(stage)
                self.stages.append(stage)

            def report(self, progress):
                self.reports.append(progress)
        return Reporting()

    def pull_and_create(self, container):
        """As the runner does it."""
        self.assertRaises(exceptions.ImageAbsent, self.driver.create, base.Attempt(), container)
        attempt = base.Attempt()
        self.driver.pull(attempt, container.image)
        attempt.pulled = True
        return self.driver.create(attempt, container)

    def test_pull_of_latest_only_with_progress(self):
        self.publish('latest', 'other', layer_bytes=3_000_000)
        container = self.container(image=self.name)
        attempt = self.reporting()
        self.assertRaises(exceptions.ImageAbsent, self.driver.create, attempt, container)
        self.assertEqual(set(), self.tags_on_engine())
        self.driver.pull(attempt, self.name)
        self.assertEqual(CREATED, self.driver.create(attempt, container).status)
        self.assertEqual(['creating', 'pulling image', 'creating'], attempt.stages)
        self.assertEqual({f'{self.name}:latest'}, self.tags_on_engine())
        last = attempt.reports[-1]
        self.assertEqual((self.name, last['layers'], last['bytes_total']),
                         (last['image'], last['layers_done'], last['bytes']))
        self.assertGreaterEqual(last['layers'], 2)
        self.assertGreaterEqual(last['bytes'], 6_000_000)
        self.assertEqual(0, attempt.reports[0]['layers_done'])

    def test_present_is_not_pulled_unless_always(self):
        self.publish('1', keep=True)
        old = self.engine.inspect_image(f'{self.name}:1')['Id']
        attempt = self.reporting()
        self.driver.create(attempt, self.container(image=f'{self.name}:1'))
        self.assertEqual(['creating'], attempt.stages)
        self.publish('1')
        self.engine.tag(old, self.name, '1')
        self.driver.create(base.Attempt(), self.container(
            image=f'{self.name}:1', spec={'image_pull_policy': 'never'}))
        self.assertEqual(old, self.engine.inspect_image(f'{self.name}:1')['Id'])
        self.pull_and_create(self.container(
            image=f'{self.name}:1', spec={'image_pull_policy': 'Always'}))
        self.assertNotEqual(old, self.engine.inspect_image(f'{self.name}:1')['Id'])
        self.engine.remove_image(old, force=True)

    def test_by_digest(self):
        digest = self.publish('1')
        for number, reference in enumerate((f'{self.name}@{digest}', f'{self.name}:1@{digest}')):
            container = self.container(image=reference)
            if number == 0:
                self.pull_and_create(container)
            self.driver.run(base.Attempt(), container)
            self.assertEqual(f'{self.name}@{digest}', self.inspect(container)['Config']['Image'])
        absent = f'{self.name}@sha256:{hashlib.sha256(b"absent").hexdigest()}'
        self.assertRaises(exceptions.ImageAbsent, self.driver.create, base.Attempt(),
                          self.container(image=absent))
        self.assertRaises(exceptions.ImageNotFound, self.driver.pull, base.Attempt(), absent)

    def test_a_fenced_pull_stops(self):
        self.publish('1', layer_bytes=3_000_000)
        self.assertRaises(exceptions.Fenced, self.driver.pull,
                          driver_conformance.FencedAfter(3), f'{self.name}:1')
        self.assertEqual(set(), self.tags_on_engine())

    def test_no_registry_there(self):
        with socket.create_server(('127.0.0.1', 0)) as server:
            port = server.getsockname()[1]
        error = self.assertRaises(
            exceptions.PullFailed, self.driver.pull, base.Attempt(),
            f'127.0.0.1:{port}/cs-test/x:1')
        self.assertIn('connection refused', error.detail)
        self.assertTrue(error.retriable)

    def test_a_pull_that_hangs(self):
        with socket.create_server(('127.0.0.1', 0)) as server:    # takes, and never answers
            port = server.getsockname()[1]
            with mock.patch.object(driver_module, 'PULL_STALL_SECONDS', 1):
                error = self.assertRaises(
                    exceptions.PullFailed, self.driver.pull, base.Attempt(),
                    f'127.0.0.1:{port}/cs-test/x:1')
        self.assertIn('no progress for 1 seconds', error.detail)
        self.assertTrue(error.retriable)

    def test_a_pull_is_aborted_from_another_thread(self):
        self.publish('1', layer_bytes=10_000_000)
        pull = driver_module._Pull(self.driver._client(), self.name, '1', None)
        ended = threading.Event()

        def read():
            with contextlib.suppress(Exception):
                for _ in pull:
                    pass
            ended.set()
        threading.Thread(target=read, daemon=True).start()
        pull.close()
        self.assertTrue(ended.wait(5))
        time.sleep(1)
        self.assertEqual(set(), self.tags_on_engine())

    def test_whatever_more_somebody_else_has_given_is_seen(self):
        other = self.driver.create(base.Attempt(), self.container()).engine_id
        for more in (
                {'CapDrop': None}, {'CapAdd': ['NET_RAW']}, {'SecurityOpt': None},
                {'SecurityOpt': ['no-new-privileges', 'seccomp=unconfined']},
                {'SecurityOpt': ['no-new-privileges', 'apparmor=unconfined']},
                {'MaskedPaths': []}, {'ReadonlyPaths': []}, {'CgroupParent': '/x'},
                {'OomScoreAdj': -500}, {'DeviceCgroupRules': ['c *:* rwm']},
                {'Devices': [{'PathOnHost': '/dev/null', 'PathInContainer': '/dev/x',
                              'CgroupPermissions': 'r'}]},
                {'VolumesFrom': [other]}, {'Binds': ['/etc:/x']},
                {'Mounts': [{'Type': 'bind', 'Source': '/etc', 'Target': '/x'}]},
                {'Sysctls': {'net.ipv4.ip_forward': '1'}}, {'GroupAdd': ['daemon']},
                {'PidMode': 'host'}, {'IpcMode': 'shareable'}, {'UTSMode': 'host'},
                {'NetworkMode': f'container:{other}'}):
            container = self.container()
            body = docker_request.create_request(container)
            body['HostConfig'].update(more)
            made = self.engine.create_container_from_config(body, container.engine_name)['Id']
            found = self.driver.describe(self.deployment, made)
            self.engine.remove_container(made, v=True)
            self.assertNotEqual((), found.powers, more)

    def test_anonymous_volumes_go_with_their_container(self):
        self.publish('1', extra='VOLUME /data\n', keep=True)
        container = self.container(image=f'{self.name}:1')
        self.driver.run(base.Attempt(), container)
        (mount,) = self.inspect(container)['Mounts']
        # Nothing that keeps it from being adopted.
        engine_id = self.driver.observe(container).engine_id
        self.assertEqual((), self.driver.describe(self.deployment, engine_id).powers)
        self.driver.delete(base.Attempt(), container, force=True)
        names = [volume['Name'] for volume in self.engine.volumes()['Volumes'] or ()]
        self.assertNotIn(mount['Name'], names)
