# SPDX-License-Identifier: Apache-2.0
"""What every driver must do, run by the tests of each: fake and docker prove the same.

A test class mixes this in and gives ``driver``, ``deployment``, ``image`` (with ``sh``, ``echo``,
``sleep`` and ``true``), ``absent_image`` (in no registry), ``add_foreign(name, labels)`` that
starts a container that is not ours and returns its engine id,
``foreign_is_running(engine id)``, ``add_network(name)`` that makes a network of 10.213.N.0/24 and
returns its id and N, ``network_id(name)``, ``file_in(container, path)`` for the bytes of a file,
``limits_disk``, and ``executed_with_a_terminal(container)`` that returns the exec id of a command
that runs.  The image is on the engine when a test begins.
"""

import base64
import dataclasses
import datetime
import functools
import io
import json
import tarfile
import threading
import time
import uuid

from container_service import exceptions
from container_service import operations
from container_service.drivers import base
from container_service.states import CREATED, DELETED, PAUSED, RUNNING, STOPPED

FOREVER = ['sleep', '1000']
AT_ONCE = {'stop_timeout': 0}       # such a process takes no notice of the stop signal


def later(attempt):
    """The attempt after one that ended somewhere: it knows what that one remembered."""
    again = base.Attempt(attempt.remembered)
    again.later = True
    return again


def calls(driver, container, attempt=None):
    """Each operation of the table with a call of its method, with as little as that takes."""
    for op in operations.OPERATIONS.values():
        if op.on_engine:
            given = {param.name: _least(param) for param in op.params if param.required}
            first = (attempt or base.Attempt(), container) if op.is_async else (container,)
            yield op, functools.partial(driver.method(op), *first, **given)


def _least(param):
    return {operations.command: ['true'], operations.integer: param.minimum}.get(
        param.convert, 'a' * 64)


class FencedAfter(base.Attempt):
    """An attempt that another conductor takes over after so many looks at the gate."""

    def __init__(self, looks, remembered=None):
        super().__init__(remembered)
        self.looks = looks

    def gate(self):
        if self.looks <= 0:
            raise exceptions.Fenced(container='this')
        self.looks -= 1


class NotOurs(base.Attempt):
    """An attempt whose lease seems to hold, while SQL says that it was taken over."""

    def gate_destructive(self):
        raise exceptions.Fenced(container='this')


class DriverConformance:
    """Mix in before a test case with testtools' ``assertRaises``, which returns the error."""

    end_seconds = 1              # grace for main processes, which ignore the stop signal

    def container(self, command=None, **values):
        """Describe a container; it is not on the engine yet."""
        spec = {'command': FOREVER if command is None else command}
        spec.update(values.pop('spec', {}))
        return base.Container(**{
            'uuid': str(uuid.uuid4()), 'name': 'c', 'image': self.image, 'generation': 1,
            'fence': 1, 'deployment': self.deployment, 'spec': spec, **values})

    def running(self, command=None, **values):
        container = self.container(command, **values)
        self.driver.run(base.Attempt(), container)
        return container

    def paused(self):
        container = self.running()
        self.driver.pause(base.Attempt(), container)
        return container

    def ended(self, command=('true',)):
        container = self.running(list(command))
        self.wait_for(container, STOPPED)
        return container

    def wait_for(self, container, status, seconds=15):
        deadline = time.monotonic() + seconds
        while True:
            observed = self.driver.observe(container)
            if observed and observed.status == status:
                return observed
            self.assertLess(time.monotonic(), deadline, f'not {status}: {observed}')
            time.sleep(0.02)

    def listed(self):
        """What the engine lists, by uuid and generation."""
        return {(entry.uuid, entry.generation): entry
                for entry in self.driver.list(self.deployment)}

    def replaced(self, container, **values):
        return base.Container(**{**vars(container), **values})

    # create

    def test_ping_is_the_same_each_time(self):
        self.assertTrue(self.driver.ping())
        self.assertEqual(self.driver.ping(), self.driver.ping())

    def test_info(self):
        told = self.driver.info()
        self.assertEqual(set(base.INFO), set(told))
        for name, value in told.items():
            self.assertIsInstance(value, base.INFO[name], name)
        self.assertGreater(told['cpus'], 0)
        self.assertGreater(told['memory_bytes'], 2 ** 20)

    def test_what_was_never_created_is_not_observed(self):
        self.assertIsNone(self.driver.observe(self.container()))
        self.assertEqual({}, self.listed())

    def test_create(self):
        container = self.container()
        attempt = base.Attempt()
        observed = self.driver.create(attempt, container)
        self.assertEqual(CREATED, observed.status)
        self.assertTrue(observed.engine_id)
        self.assertIsNone(observed.exit_code)
        self.assertIsNone(observed.started_at)
        self.assertEqual([[]], list(observed.addresses.values()))
        self.assertEqual('creating', attempt.stage)
        self.assertEqual(observed.engine_id, self.driver.observe(container).engine_id)
        listed = self.listed()
        self.assertEqual([(container.uuid, 1)], list(listed))
        self.assertEqual(CREATED, listed[container.uuid, 1].status)

    def test_create_again_adopts_also_under_a_higher_fence(self):
        container = self.container()
        first = self.driver.create(base.Attempt(), container)
        again = self.driver.create(base.Attempt(), self.replaced(container, fence=2))
        self.assertEqual(first.engine_id, again.engine_id)

    def test_create_with_other_options_is_a_conflict(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        other = self.replaced(container, spec={'command': ['echo', 'other']})
        self.assertRaises(exceptions.EngineConflict, self.driver.create, base.Attempt(), other)

    def test_generations_are_containers_of_their_own(self):
        first = self.container()
        second = self.replaced(first, generation=2)
        self.driver.create(base.Attempt(), first)
        self.driver.create(base.Attempt(), second)
        self.assertEqual({(first.uuid, 1), (first.uuid, 2)},
                         set(self.listed()))
        self.driver.delete(base.Attempt(), second)
        self.assertEqual({}, self.listed())

    def test_create_without_the_image_and_without_pulling(self):
        container = self.container(image=self.absent_image, spec={'image_pull_policy': 'never'})
        error = self.assertRaises(exceptions.ImageNotFound, self.driver.create, base.Attempt(),
                                  container)
        self.assertIn(self.absent_image, error.detail)
        self.assertIn('never', error.detail)

    def test_create_of_an_image_that_is_absent(self):
        """To pull is another's business: many containers may wait for one pull."""
        for policy in ({}, {'image_pull_policy': 'always'}, {'image_pull_policy': 'ifnotpresent'}):
            container = self.container(image=self.absent_image, spec=policy)
            for act in (self.driver.create, self.driver.run):
                error = self.assertRaises(exceptions.ImageAbsent, act, base.Attempt(), container)
                self.assertIn(self.absent_image, error.detail)
            self.assertIsNone(self.driver.observe(container))

    def test_create_that_wants_the_newest_image(self):
        container = self.container(spec={'image_pull_policy': 'always'})
        attempt = base.Attempt()
        self.assertRaises(exceptions.ImageAbsent, self.driver.create, attempt, container)
        attempt.pulled = True
        self.assertEqual(CREATED, self.driver.create(attempt, container).status)
        # It is there: no newer image is wanted for it.
        self.assertEqual(CREATED, self.driver.create(later(base.Attempt()), container).status)

    def test_a_first_attempt_that_finds_its_container_adopts_it(self):
        """It does not look first, so the engine must tell."""
        container = self.container()
        made = self.driver.create(base.Attempt(), container)
        attempt = base.Attempt()
        attempt.first = True
        self.assertEqual(made.engine_id, self.driver.create(attempt, container).engine_id)

    # create: networks

    def networks(self):
        """Two networks of the test's own, as (name, id, N)."""
        names = [f'cs-test-{uuid.uuid4().hex[:12]}' for _ in range(2)]
        return [(name, *self.add_network(name)) for name in names]

    def test_create_on_networks_with_fixed_addresses(self):
        (one, one_id, i), (two, _, j) = self.networks()
        wanted = {one: [f'10.213.{i}.9'], two: [f'10.213.{j}.7']}
        container = self.container(spec={'nets': [
            {'network': one_id, 'v4-fixed-ip': f'10.213.{i}.9'},
            {'network': two, 'v4-fixed-ip': f'10.213.{j}.7'}]})
        made = self.driver.create(base.Attempt(), container)
        self.assertEqual({one: [], two: []}, made.addresses)
        self.assertEqual(made.engine_id,
                         self.driver.create(later(base.Attempt()), container).engine_id)
        started = self.driver.start(base.Attempt(), container)
        self.assertEqual(wanted, {
            name: [address['addr'] for address in addresses]
            for name, addresses in started.addresses.items()})
        described = self.driver.describe(self.deployment, made.engine_id).spec
        self.assertEqual({**container.spec, 'nets': [
            {'network': one, 'v4-fixed-ip': f'10.213.{i}.9'},
            {'network': two, 'v4-fixed-ip': f'10.213.{j}.7'}]}, described)

    def test_networks_of_the_host_and_none_are_refused_by_name_and_id(self):
        for reference in ('host', 'none', self.network_id('host'), self.network_id('none')):
            container = self.container(spec={'nets': [{'network': reference}]})
            error = self.assertRaises(exceptions.NetworkRefused, self.driver.run, base.Attempt(),
                                      container)
            self.assertIn('nets[0].network', error.detail)
            self.assertIsNone(self.driver.observe(container))

    def test_a_network_that_is_not_there(self):
        one = self.networks()[0][0]
        container = self.container(spec={'nets': [{'network': one}, {'network': 'no-such'}]})
        error = self.assertRaises(exceptions.NetworkNotFound, self.driver.create, base.Attempt(),
                                  container)
        self.assertIn('nets[1].network', error.detail)
        self.assertIsNone(self.driver.observe(container))

    # create: files

    FILES = {'/etc/mine/deep/one.conf': b'one\n', '/two': bytes(range(256))}

    def with_files(self, **values):
        return self.container(files=lambda: self.FILES, spec={'files': [
            {'destination': path, 'size': len(data)} for path, data in self.FILES.items()]},
            **values)

    def test_files_are_there_before_the_first_start(self):
        container = self.with_files()
        attempt = base.Attempt()
        self.driver.create(attempt, container)
        self.assertEqual('copying files', attempt.stage)
        self.driver.start(base.Attempt(), container)
        for path, data in self.FILES.items():
            self.assertEqual(data, self.file_in(container, path))

    def test_files_and_networks_of_a_create_that_was_taken_over_at_any_gate(self):
        nets = [{'network': name} for name, _, _ in self.networks()]
        for looks in range(4):
            container = self.with_files()
            container.spec['nets'] = nets
            first = FencedAfter(looks)
            try:
                self.driver.create(first, container)
            except exceptions.Fenced:
                pass
            observed = self.driver.run(later(first), container)
            self.assertEqual((RUNNING, 2), (observed.status, len(observed.addresses)))
            self.assertEqual(self.FILES['/two'], self.file_in(container, '/two'))

    def test_what_has_been_started_gets_no_files(self):
        container = self.running()
        again = self.replaced(container, files=None, spec=container.spec)
        self.assertEqual(RUNNING, self.driver.run(later(base.Attempt()), again).status)

    # create: other options

    def test_ports_are_observed(self):
        container = self.container(spec={'exposed_ports': ['53/udp', '80/tcp']})
        self.assertEqual((53, 80), self.driver.create(base.Attempt(), container).ports)

    def test_create_with_a_limit_of_the_disk(self):
        container = self.container(spec={'disk': 1})
        if self.limits_disk:
            self.assertEqual(CREATED, self.driver.create(base.Attempt(), container).status)
            return
        error = self.assertRaises(exceptions.UnsupportedByDriver, self.driver.create,
                                  base.Attempt(), container)
        self.assertTrue(error.detail.startswith('disk: '), error.detail)
        self.assertIsNone(self.driver.observe(container))

    def test_options_run_and_are_told_again(self):
        container = self.container(spec={
            'read_only': True, 'tmpfs': {'/scratch': 2**20}, 'stop_signal': 'SIGKILL',
            'stop_timeout': 7, 'exposed_ports': ['53/udp'], 'hostname': 'here', 'user': '1000',
            'healthcheck': {'test': 'true', 'interval': 1, 'timeout': 2, 'retries': 3}})
        made = self.driver.run(base.Attempt(), container)
        self.assertEqual(container.spec, self.driver.describe(
            self.deployment, made.engine_id).spec)
        self.assertEqual(STOPPED, self.driver.stop(base.Attempt(), container).status)

    # pull

    def test_pull_of_an_image_that_no_registry_has(self):
        attempt = base.Attempt()
        error = self.assertRaises(exceptions.ImageNotFound, self.driver.pull, attempt,
                                  self.absent_image)
        self.assertIn('not found', error.detail)
        self.assertEqual('pulling image', attempt.stage)

    def test_a_fenced_pull_begins_nothing(self):
        self.assertRaises(exceptions.Fenced, self.driver.pull, FencedAfter(0), self.image)

    # images

    def tagged(self):
        """Another name for the image, which goes with the test."""
        name = f'cs.local/test/{uuid.uuid4().hex}:1'
        self.addCleanup(self.driver.remove_image, base.Attempt(), name)
        return name, self.driver.tag_image(base.Attempt(), self.image, name)

    def test_find_image(self):
        found = self.driver.find_image(self.image)
        self.assertRegex(found.image_id, '^sha256:[0-9a-f]{64}$')
        self.assertGreater(found.size, 0)
        self.assertIsNone(self.driver.find_image(self.absent_image))

    def test_an_image_has_another_name_until_that_is_removed(self):
        name, found = self.tagged()
        self.assertEqual(self.driver.find_image(self.image).image_id, found.image_id)
        self.assertIsNone(found.digest)
        self.assertEqual(found, self.driver.find_image(name))
        # Again is the same.
        self.assertEqual(found, self.driver.tag_image(base.Attempt(), self.image, name))
        container = self.container(image=name)
        self.assertEqual(CREATED, self.driver.create(base.Attempt(), container).status)
        # The name may go: the image has another one, so the container has its image.
        self.driver.remove_image(base.Attempt(), name)
        self.assertEqual(CREATED, self.driver.observe(container).status)
        other, _ = self.tagged()
        for _ in range(2):
            attempt = base.Attempt()
            self.assertIsNone(self.driver.remove_image(attempt, other))
            self.assertEqual('removing image', attempt.stage)
            self.assertIsNone(self.driver.find_image(other))
        self.assertIsNotNone(self.driver.find_image(self.image))

    def test_names_of_an_image_that_are_removed_at_once(self):
        names = [self.tagged()[0] for _ in range(4)]
        failed = []

        def remove(name):
            try:
                self.driver.remove_image(base.Attempt(), name)
            except exceptions.Error as exc:
                failed.append(exc)

        threads = [threading.Thread(target=remove, args=(name,)) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([], failed)
        self.assertEqual([None] * 4, [self.driver.find_image(name) for name in names])

    def test_a_name_for_an_image_that_is_not_there(self):
        self.assertRaises(exceptions.ImageNotFound, self.driver.tag_image, base.Attempt(),
                          self.absent_image, 'cs.local/test/never:1')

    def test_fenced_attempts_leave_images_alone(self):
        name, _ = self.tagged()
        self.assertRaises(exceptions.Fenced, self.driver.tag_image, FencedAfter(0), self.image,
                          'cs.local/test/fenced:1')
        self.assertIsNone(self.driver.find_image('cs.local/test/fenced:1'))
        for attempt in (FencedAfter(0), NotOurs()):
            self.assertRaises(exceptions.Fenced, self.driver.remove_image, attempt, name)
        self.assertIsNotNone(self.driver.find_image(name))

    # probe, post_mortem

    def test_probe(self):
        self.assertIsNone(self.driver.probe())

    def test_post_mortem(self):
        container = self.ended(('sh', '-c', 'echo one; echo two; exit 3'))
        found = self.driver.post_mortem(container)
        self.assertEqual(
            {'log', 'exit_code', 'oom_killed', 'image_digest', 'engine_error'}, set(found))
        self.assertEqual((['one', 'two'], 3, False),
                         (found['log'], found['exit_code'], found['oom_killed']))
        self.assertTrue(found['image_digest'])
        self.assertIsNone(self.driver.post_mortem(self.container()))

    def test_post_mortem_of_what_did_not_start(self):
        container = self.container(['no-such-command'])
        self.driver.create(base.Attempt(), container)
        self.assertRaises(exceptions.StartFailed, self.driver.start, base.Attempt(), container)
        self.assertIn('no-such-command', self.driver.post_mortem(container)['engine_error'])

    # start, run

    def test_start(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        observed = self.driver.start(base.Attempt(), container)
        self.assertEqual(RUNNING, observed.status)
        self.assertIsInstance(observed.started_at, datetime.datetime)
        self.assertIsNone(observed.started_at.tzinfo)
        self.assertTrue(observed.status_detail.startswith('Up'))
        (addresses,) = observed.addresses.values()
        self.assertEqual({'addr', 'version', 'port', 'subnet_id', 'preserve_on_delete'},
                         set(addresses[0]))
        self.assertEqual(4, addresses[0]['version'])
        self.assertEqual(RUNNING, self.listed()[container.uuid, 1].status)

    def test_start_of_what_runs_changes_nothing(self):
        container = self.running()
        before = self.driver.observe(container)
        after = self.driver.start(base.Attempt(), container)
        self.assertEqual(before.started_at, after.started_at)

    def test_start_again_in_the_same_action_is_done_though_it_has_ended(self):
        container = self.container(['true'])
        self.driver.create(base.Attempt(), container)
        first = base.Attempt()
        self.driver.start(first, container)
        ended = self.wait_for(container, STOPPED)
        again = self.driver.start(later(first), container)
        self.assertEqual(STOPPED, again.status)
        self.assertEqual(ended.started_at, again.started_at)

    def test_start_in_another_action_starts_again(self):
        container = self.ended()
        before = self.driver.observe(container)
        after = self.driver.start(base.Attempt(), container)
        self.assertNotEqual(before.started_at, after.started_at)

    def test_start_taken_over_before_its_effect_starts(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        first = FencedAfter(0)
        self.assertRaises(exceptions.Fenced, self.driver.start, first, container)
        self.assertEqual(CREATED, self.driver.observe(container).status)
        again = self.driver.start(later(first), container)
        self.assertEqual(RUNNING, again.status)

    def test_start_of_a_missing_command_fails_in_the_engine_words(self):
        container = self.container(['no-such-command'])
        self.driver.create(base.Attempt(), container)
        error = self.assertRaises(exceptions.StartFailed, self.driver.start, base.Attempt(),
                                  container)
        self.assertIn('no-such-command', error.detail)
        observed = self.driver.observe(container)
        self.assertEqual(CREATED, observed.status)
        self.assertIn('no-such-command', observed.error)
        self.assertIsNone(observed.exit_code)

    def test_start_of_what_is_paused(self):
        container = self.paused()
        self.assertRaises(exceptions.WrongState, self.driver.start, base.Attempt(), container)
        self.assertEqual(PAUSED, self.driver.observe(container).status)

    def test_run_again_in_the_same_action(self):
        container = self.container()
        attempt = base.Attempt()
        first = self.driver.run(attempt, container)
        again = self.driver.run(later(attempt), container)
        self.assertEqual((first.engine_id, first.started_at),
                         (again.engine_id, again.started_at))

    def test_exit_code(self):
        container = self.ended(('sh', '-c', 'exit 3'))
        observed = self.driver.observe(container)
        self.assertEqual(3, observed.exit_code)
        self.assertTrue(observed.status_detail.startswith('Exited (3)'))
        self.assertLessEqual(observed.started_at, observed.finished_at)
        self.assertEqual([[]], list(observed.addresses.values()))

    # stop, reboot

    def test_stop(self):
        container = self.running()
        attempt = base.Attempt()
        observed = self.driver.stop(attempt, container, timeout_seconds=self.end_seconds)
        self.assertEqual(STOPPED, observed.status)
        self.assertEqual('stopping', attempt.stage)
        again = self.driver.stop(base.Attempt(), container, timeout_seconds=self.end_seconds)
        self.assertEqual(observed.finished_at, again.finished_at)

    def test_stop_of_what_is_paused(self):
        container = self.paused()
        observed = self.driver.stop(base.Attempt(), container, timeout_seconds=self.end_seconds)
        self.assertEqual(STOPPED, observed.status)

    def test_stop_of_what_never_started_is_done(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        self.assertEqual(CREATED, self.driver.stop(base.Attempt(), container).status)

    def test_reboot_restarts_once_over_all_attempts(self):
        container = self.running()
        before = self.driver.observe(container)
        attempt = base.Attempt()
        first = self.driver.reboot(attempt, container, timeout_seconds=self.end_seconds)
        self.assertEqual(RUNNING, first.status)
        self.assertEqual(before.engine_id, first.engine_id)
        self.assertLess(before.started_at, first.started_at)
        again = self.driver.reboot(later(attempt), container)
        self.assertEqual(first.started_at, again.started_at)

    def test_reboot_taken_over_at_any_gate_ends_running(self):
        for looks in range(4):
            container = self.running()
            before = self.driver.observe(container)
            first = FencedAfter(looks)
            try:
                self.driver.reboot(first, container, timeout_seconds=0)
            except exceptions.Fenced:
                pass
            again = self.driver.reboot(later(first), container,
                                       timeout_seconds=0)
            self.assertEqual(RUNNING, again.status)
            self.assertLess(before.started_at, again.started_at)

    def test_reboot_of_what_does_not_run_starts_it(self):
        created = self.container()
        self.driver.create(base.Attempt(), created)
        for container in (created, self.ended(('sh', '-c', 'sleep 0.2'))):
            observed = self.driver.reboot(base.Attempt(), container)
            self.assertEqual(RUNNING, observed.status)

    # pause, unpause

    def test_pause_and_unpause_twice(self):
        container = self.running()
        for _ in range(2):
            self.assertEqual(PAUSED, self.driver.pause(base.Attempt(), container).status)
            self.assertEqual(PAUSED, self.listed()[container.uuid, 1].status)
        for _ in range(2):
            self.assertEqual(RUNNING, self.driver.unpause(base.Attempt(), container).status)

    def test_pause_and_unpause_of_what_does_not_run(self):
        container = self.ended()
        for name in ('pause', 'unpause'):
            error = self.assertRaises(exceptions.WrongState, getattr(self.driver, name),
                                      base.Attempt(), container)
            self.assertEqual(f'Cannot {name} a container in Stopped state.', error.detail)

    # kill

    def test_nothing_is_ended_or_removed_without_reading_the_claim_again(self):
        for operation, params in (
                ('stop', {'timeout_seconds': 0}), ('stop', {'timeout_seconds': 1}),
                ('kill', {'signal': 'SIGTERM'}), ('kill', {}), ('delete', {'force': True}),
                ('delete', {'stop': True}), ('reboot', {'timeout_seconds': 0})):
            for container in (self.running(), self.paused()):
                before = self.driver.observe(container)
                for first in (True, False):
                    attempt = NotOurs()
                    attempt.first = first
                    self.assertRaises(exceptions.Fenced, getattr(self.driver, operation),
                                      attempt, container, **params)
                    after = self.driver.observe(container)
                    self.assertEqual((before.status, before.started_at),
                                     (after.status, after.started_at), operation)

    def test_kill(self):
        for signal in ('SIGKILL', '9'):
            container = self.running()
            attempt = base.Attempt()
            observed = self.driver.kill(attempt, container, signal=signal)
            self.assertEqual((STOPPED, 137), (observed.status, observed.exit_code))
            again = self.driver.kill(later(attempt), container, signal=signal)
            self.assertEqual(observed.finished_at, again.finished_at)

    def test_kill_of_what_is_paused(self):
        container = self.paused()
        self.assertEqual(STOPPED, self.driver.kill(base.Attempt(), container).status)

    def test_kill_of_what_does_not_run(self):
        container = self.ended()
        for signal in ('SIGKILL', 'SIGHUP'):
            self.assertRaises(exceptions.WrongState, self.driver.kill, base.Attempt(), container,
                              signal=signal)

    def test_another_signal_is_never_sent_twice_in_one_action(self):
        container = self.running()
        attempt = base.Attempt()
        observed = self.driver.kill(attempt, container, signal='SIGUSR1')
        self.assertEqual(RUNNING, observed.status)
        error = self.assertRaises(exceptions.DriverError, self.driver.kill,
                                  later(attempt), container, signal='SIGUSR1')
        self.assertFalse(error.retriable)

    # delete

    def test_delete(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        for _ in range(2):
            observed = self.driver.delete(base.Attempt(), container)
            self.assertEqual(DELETED, observed.status)
        self.assertIsNone(self.driver.observe(container))

    def test_delete_of_what_runs_needs_stop_or_force(self):
        for container in (self.running(), self.paused()):
            error = self.assertRaises(exceptions.WrongState, self.driver.delete, base.Attempt(),
                                      container)
            self.assertIn('force', error.hint)
            self.assertIsNotNone(self.driver.observe(container))

    def test_delete_with_force(self):
        for container in (self.running(), self.paused(), self.ended()):
            self.driver.delete(base.Attempt(), container, force=True)
            self.assertIsNone(self.driver.observe(container))

    def test_delete_with_stop(self):
        for container in (self.running(['sh', '-c', 'sleep 1']), self.ended()):
            self.driver.delete(base.Attempt(), container, stop=True)
            self.assertIsNone(self.driver.observe(container))

    def test_delete_of_all_generations_or_none(self):
        ended = self.ended()
        running = self.replaced(ended, generation=2, spec={'command': FOREVER})
        self.driver.run(base.Attempt(), running)
        self.assertRaises(exceptions.WrongState, self.driver.delete, base.Attempt(), running)
        self.assertEqual(2, len(self.listed()))
        self.driver.delete(base.Attempt(), running, force=True)
        self.assertEqual({}, self.listed())

    # What is not ours

    def test_a_copy_with_our_labels_is_not_touched(self):
        container = self.running()
        copy = self.add_foreign(f'copy-of-{container.uuid}', container.engine_labels)
        self.driver.delete(base.Attempt(), container, force=True)
        self.assertTrue(self.foreign_is_running(copy))
        self.assertIsNone(self.driver.observe(container))
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.stop, base.Attempt(),
                          container)
        self.assertTrue(self.foreign_is_running(copy))

    def test_a_foreign_container_in_our_place_is_not_touched(self):
        container = self.container()
        for labels in ({}, {base.LABEL_DEPLOYMENT: 'other', base.LABEL_CONTAINER: container.uuid},
                       {base.LABEL_DEPLOYMENT: self.deployment, base.LABEL_CONTAINER: 'other'}):
            container = self.container()
            foreign = self.add_foreign(container.engine_name, labels)
            self.assertRaises(exceptions.EngineConflict, self.driver.create, base.Attempt(),
                              container)
            self.assertIsNone(self.driver.observe(container))
            for name in ('start', 'stop', 'reboot', 'pause', 'unpause', 'kill'):
                self.assertRaises(exceptions.EngineContainerMissing, getattr(self.driver, name),
                                  base.Attempt(), container)
            self.driver.delete(base.Attempt(), container, force=True)
            self.assertTrue(self.foreign_is_running(foreign))

    def test_list(self):
        ended, running = self.ended(['sh', '-c', 'exit 3']), self.running()
        found = self.listed()
        self.assertEqual({(ended.uuid, 1): (STOPPED, 3), (running.uuid, 1): (RUNNING, None)},
                         {key: (entry.status, entry.exit_code) for key, entry in found.items()})
        for container in (ended, running):
            entry = found[container.uuid, 1]
            self.assertEqual((self.driver.observe(container).engine_id, container.engine_name,
                              True, None),
                             (entry.engine_id, entry.name, entry.is_well_named, entry.health))
        self.assertEqual([running.uuid], [
            entry.uuid for entry in self.driver.list(self.deployment, running.uuid)])

    def test_what_has_our_label_and_another_name_is_listed_as_that(self):
        container = self.container()
        self.add_foreign('cs-somebodys', {**container.engine_labels})
        self.add_foreign('cs-nobodys', {base.LABEL_DEPLOYMENT: self.deployment,
                                        base.LABEL_GENERATION: 'x'})
        self.assertEqual(
            {('cs-somebodys', container.uuid, 1, False), ('cs-nobodys', None, None, False)},
            {(entry.name, entry.uuid, entry.generation, entry.is_well_named)
             for entry in self.driver.list(self.deployment)})

    def test_list_is_of_one_deployment(self):
        container = self.container(deployment=f'{self.deployment}-other')
        self.driver.create(base.Attempt(), container)
        try:
            self.assertEqual({}, self.listed())
        finally:
            self.driver.delete(base.Attempt(), container)

    # Events

    def happened(self, since=None, until=None, seconds=15):
        """What an event stream tells until a kind has come, as [(kind, uuid, exit code)]."""
        told, deadline = [], time.monotonic() + seconds
        with self.driver.events(self.deployment, since, quiet_seconds=seconds) as events:
            for event in events:
                told.append(event)
                if event.kind == until:
                    break
                self.assertLess(time.monotonic(), deadline, told)
        return told

    def test_events_are_told_while_they_happen(self):
        container = self.container(['sh', '-c', 'exit 3'])
        with self.driver.events(self.deployment) as events:
            told = iter(events)
            self.driver.create(base.Attempt(), container)
            self.assertEqual('create', next(told).kind)
            self.driver.start(later(base.Attempt()), container)
            found = [next(told), next(told)]
        self.assertEqual({('start', None), ('die', 3)},
                         {(event.kind, event.exit_code) for event in found})
        self.assertEqual({(container.uuid, self.driver.observe(container).engine_id)},
                         {(event.uuid, event.engine_id) for event in found})

    def test_events_since_one_that_was_seen(self):
        container = self.container()
        with self.driver.events(self.deployment) as events:
            told = iter(events)
            self.driver.run(base.Attempt(), container)
            found = [next(told), next(told)]
            self.assertEqual(['create', 'start'], [event.kind for event in found])
        self.driver.pause(base.Attempt(), container)
        self.driver.unpause(base.Attempt(), container)
        again = self.happened(found[0].time, 'unpause')
        self.assertEqual(['start', 'pause', 'unpause'], [event.kind for event in again])
        self.assertEqual(found[1], again[0])
        self.assertEqual(sorted(event.time for event in again), [event.time for event in again])

    def test_events_are_of_one_deployment(self):
        other = self.container(deployment=f'{self.deployment}-other')
        ours = self.container()
        with self.driver.events(self.deployment) as events:
            self.driver.create(base.Attempt(), other)
            self.addCleanup(self.driver.delete, base.Attempt(), other)
            self.driver.create(base.Attempt(), ours)
            self.assertEqual(ours.uuid, next(iter(events)).uuid)

    def test_events_end_when_nothing_happens(self):
        with self.driver.events(self.deployment, quiet_seconds=0.2) as events:
            self.assertEqual([], list(events))

    def test_events_end_when_they_are_closed(self):
        with self.driver.events(self.deployment) as events:
            closer = threading.Timer(0.2, events.close)
            closer.start()
            self.addCleanup(closer.join)
            self.assertEqual([], list(events))

    # What the database does not know

    def test_describe(self):
        container = self.container(
            ['sleep', '1000'], name='web', spec={
                'labels': {'mine': 'yes'}, 'environment': {'A': '1=x'}, 'cpu': 0.5,
                'memory_bytes': 64 * 2 ** 20, 'workdir': '/tmp',  # noqa: S108
                'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': 3}})
        made = self.driver.run(base.Attempt(), container)
        found = self.driver.describe(self.deployment, made.engine_id)
        self.assertEqual((container.image, container.spec, 'web', ()), (
            found.image, found.spec, found.labels[base.LABEL_NAME], found.powers))
        self.assertEqual(self.listed()[container.uuid, 1], found.listed)
        self.assertEqual((RUNNING, made.engine_id),
                         (found.observed.status, found.observed.engine_id))

    # what policy has opened

    STRONG = {'nets': [{'network': 'host'}], 'mounts': [
        {'source': '/etc', 'destination': '/of-the-host', 'read_only': True}]}

    def test_what_was_opened(self):
        container = self.container(spec={**self.STRONG, 'opened': [
            'privileged', 'host_network', 'bind_mounts']})
        made = self.driver.create(base.Attempt(), container)
        found = self.driver.describe(self.deployment, made.engine_id)
        self.assertEqual(('privileged', 'host_network', 'bind_mounts'), found.powers)
        told = self.driver.inspect(container)
        self.assertIs(True, told['HostConfig']['Privileged'])
        self.assertEqual([('bind', '/of-the-host', False)], [
            (mount['Type'], mount['Destination'], mount['RW']) for mount in told['Mounts']])
        self.assertEqual({'host': []}, made.addresses)
        self.driver.delete(base.Attempt(), container)

    def test_what_was_not_opened(self):
        """Whatever else is in the spec."""
        container = self.container(spec={'mounts': self.STRONG['mounts'], 'privileged': True,
                                         'opened': ['host_network']})
        made = self.driver.create(base.Attempt(), container)
        self.assertEqual((), self.driver.describe(self.deployment, made.engine_id).powers)
        self.assertRaises(exceptions.NetworkRefused, self.driver.create, base.Attempt(),
                          self.container(spec={'nets': self.STRONG['nets'],
                                               'opened': ['privileged']}))

    def test_what_somebody_else_has_made(self):
        foreign = self.add_foreign('more', {base.LABEL_DEPLOYMENT: self.deployment})
        self.assertLessEqual({'capabilities', 'confinement'}, set(
            self.driver.describe(self.deployment, foreign).powers))

    def test_what_cannot_be_opened(self):
        for source in ('/', '/var/run/docker.sock', '/run', '/proc'):
            container = self.container(spec={'opened': ['bind_mounts'], 'mounts': [
                {'source': source, 'destination': '/x', 'read_only': True}]})
            error = self.assertRaises(exceptions.DriverError, self.driver.create, base.Attempt(),
                                      container)
            self.assertIn(f'{source} must', error.detail)
            self.assertIsNone(self.driver.observe(container))

    def test_describe_what_is_not_there_or_not_ours(self):
        foreign = self.add_foreign('foreign', {})
        for engine_id in (foreign, 'f' * 64):
            self.assertIsNone(self.driver.describe(f'{self.deployment}-other', engine_id))
        self.assertIsNone(self.driver.describe(self.deployment, 'f' * 64))

    def test_remove(self):
        container, other = self.running(), self.running()
        engine_id = self.driver.observe(container).engine_id
        arguments = (self.deployment, engine_id, container.engine_name)
        self.assertTrue(self.driver.remove(base.Attempt(), *arguments))
        self.assertFalse(self.driver.remove(base.Attempt(), *arguments))
        self.assertEqual([(other.uuid, 1)], list(self.listed()))

    def test_remove_only_what_has_label_and_name(self):
        container = self.running()
        engine_id = self.driver.observe(container).engine_id
        for deployment, name in ((f'{self.deployment}-other', container.engine_name),
                                 (self.deployment, 'another')):
            self.assertFalse(self.driver.remove(base.Attempt(), deployment, engine_id, name))
        self.assertEqual(RUNNING, self.driver.observe(container).status)

    def test_remove_is_fenced(self):
        container = self.running()
        engine_id = self.driver.observe(container).engine_id
        self.assertRaises(exceptions.Fenced, self.driver.remove, FencedAfter(0), self.deployment,
                          engine_id, container.engine_name)
        self.assertEqual(RUNNING, self.driver.observe(container).status)

    # Faults

    def test_a_fenced_attempt_changes_nothing(self):
        container = self.container()
        self.assertRaises(exceptions.Fenced, self.driver.create, FencedAfter(0), container)
        self.assertIsNone(self.driver.observe(container))
        for made, names in ((self.running, ('stop', 'reboot', 'pause', 'kill')),
                            (self.paused, ('stop', 'unpause', 'kill')),
                            (self.ended, ('start', 'reboot', 'delete'))):
            container = made()
            before = self.driver.observe(container)
            for name in names:
                self.assertRaises(exceptions.Fenced, getattr(self.driver, name), FencedAfter(0),
                                  container)
            after = self.driver.observe(container)
            self.assertEqual((before.status, before.started_at, before.finished_at),
                             (after.status, after.started_at, after.finished_at))

    def test_what_is_missing_is_said_to_be_missing(self):
        container = self.container()
        for op, call in calls(self.driver, container):
            # These make it, or are done when it is not there.
            if not op.creates and op.name not in ('rebuild', 'delete'):
                self.assertRaises(exceptions.EngineContainerMissing, call)

    # logs

    def text(self, container, **params):
        return self.driver.logs(container, **params)['output']

    def test_logs(self):
        container = self.ended(('sh', '-c', 'echo one; echo two; echo three >&2'))
        self.assertEqual({'one', 'two', 'three'}, set(self.text(container).split()))
        self.assertEqual('one\ntwo\n', self.text(container, stderr=False))
        self.assertEqual('three\n', self.text(container, stdout=False))
        self.assertEqual('', self.text(container, stdout=False, stderr=False))
        stamped = self.text(container, stderr=False, timestamps=True).splitlines()
        for line, word in zip(stamped, ('one', 'two'), strict=True):
            self.assertRegex(line, rf'\d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z {word}$')

    def test_the_last_lines_of_logs(self):
        container = self.ended(('sh', '-c', 'echo one; echo two; echo three'))
        for tail, text in ((0, ''), (1, 'three\n'), (2, 'two\nthree\n'),
                           (9, 'one\ntwo\nthree\n'), (None, 'one\ntwo\nthree\n')):
            self.assertEqual(text, self.text(container, tail=tail))
        # As the engine does it: the last lines of both streams, then those of one.
        self.assertEqual('', self.text(container, tail=1, stdout=False))

    def test_logs_since(self):
        container = self.ended(('echo', 'hello'))
        started_at = self.driver.observe(container).started_at
        for seconds, text in ((-60, 'hello\n'), (60, '')):
            moment = started_at + datetime.timedelta(seconds=seconds)
            epoch = moment.replace(tzinfo=datetime.UTC).timestamp()
            for since in (f'{epoch:.3f}', f'{epoch:.0f}', f'{moment:%Y-%m-%d %H:%M:%S}',
                          f'{moment:%Y-%m-%d %H:%M:%S},123'):
                self.assertEqual(text, self.text(container, since=since), since)
        for since in ('yesterday', '-5', 'nan', '2026-13-01 00:00:00', ''):
            error = self.assertRaises(exceptions.InvalidParameter, self.driver.logs, container,
                                      since=since)
            self.assertIn('since', error.detail)

    def test_logs_of_what_never_ran(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        self.assertEqual('', self.text(container))

    def test_logs_go_on_after_the_cursor(self):
        container = self.ended(('sh', '-c', 'echo one; echo two >&2; echo three'))
        first = self.driver.logs(container)
        self.assertEqual({'one', 'two', 'three'}, set(first['output'].split()))
        self.assertEqual((False, False), (first['truncated'], first['more']))
        again = self.driver.logs(container, cursor=first['cursor'])
        self.assertEqual(('', first['cursor']), (again['output'], again['cursor']))
        self.driver.start(base.Attempt(), container)
        self.wait_for(container, STOPPED)
        # Also those of the stream that nobody wanted to see are behind it then.
        again = self.driver.logs(container, cursor=first['cursor'], stderr=False)
        self.assertEqual('one\nthree\n', again['output'])
        again = self.driver.logs(container, cursor=again['cursor'])
        self.assertEqual('', again['output'])

    def test_a_cursor_from_before_the_first_line(self):
        container = self.container(['echo', 'hello'])
        self.driver.create(base.Attempt(), container)
        cursor = self.driver.logs(container)['cursor']
        self.driver.start(base.Attempt(), container)
        self.wait_for(container, STOPPED)
        self.assertEqual('hello\n', self.text(container, cursor=cursor))

    def test_logs_go_on_after_the_last_lines(self):
        container = self.ended(('sh', '-c', 'echo one; echo two; echo three'))
        cursors = {self.driver.logs(container, tail=tail)['cursor'] for tail in (0, 1, 3, None)}
        self.driver.start(base.Attempt(), container)
        self.wait_for(container, STOPPED)
        for cursor in cursors:
            self.assertEqual('one\ntwo\nthree\n', self.text(container, cursor=cursor))

    def test_a_cursor_of_another_container_begins_at_the_start(self):
        cursor = self.driver.logs(self.ended(('echo', 'one')))['cursor']
        container = self.ended(('echo', 'two'))
        self.assertEqual('two\n', self.text(container, cursor=cursor))

    def test_a_cursor_goes_alone_and_is_one_of_ours(self):
        container = self.ended(('echo', 'one'))
        cursor = self.driver.logs(container)['cursor']
        for params in ({'cursor': 'x'}, {'cursor': f'{cursor}0'}, {'cursor': ''},
                       {'cursor': cursor, 'tail': 3}, {'cursor': cursor, 'since': '3'}):
            error = self.assertRaises(exceptions.InvalidParameter, self.driver.logs, container,
                                      **params)
            self.assertIn(list(params)[-1], error.detail)

    # execute

    def test_execute(self):
        container = self.running()
        executed = self.driver.execute(container, ['sh', '-c', 'echo out; echo err >&2; exit 3'])
        self.assertEqual({'out', 'err'}, set(executed.output.split()))
        self.assertEqual((3, False), (executed.exit_code, executed.truncated))
        executed = self.driver.execute(container, ['echo', '$HOME; true'])
        self.assertEqual(('$HOME; true\n', 0), (executed.output, executed.exit_code))

    def test_execute_of_a_missing_command_is_an_exit_code(self):
        executed = self.driver.execute(self.running(), ['no-such-command'])
        self.assertIn(executed.exit_code, (126, 127))
        self.assertIn('no-such-command', executed.output)

    def test_execute_ends_at_its_time_limit(self):
        began = time.monotonic()
        error = self.assertRaises(exceptions.ExecuteTimeout, self.driver.execute, self.running(),
                                  ['sleep', '30'], timeout_seconds=1)
        self.assertIn('1 seconds', error.detail)
        self.assertLess(time.monotonic() - began, 5)

    def test_execute_where_nothing_runs(self):
        for container in (self.ended(), self.paused()):
            error = self.assertRaises(exceptions.WrongState, self.driver.execute, container,
                                      ['true'])
            self.assertIn('execute', error.detail)

    def test_execute_with_environment_user_and_directory(self):
        container = self.running()
        executed = self.driver.execute(container, ['env'], environment={'A': 'b=c', 'B': 'x y'},
                                       secret_environment={'C': 'hidden'})
        self.assertLessEqual({'A=b=c', 'B=x y', 'C=hidden'}, set(executed.output.splitlines()))
        executed = self.driver.execute(container, ['pwd'], workdir='/tmp')
        self.assertEqual('/tmp\n', executed.output)
        executed = self.driver.execute(container, ['id', '-u'], user='1234:5')
        self.assertEqual('1234\n', executed.output)

    def test_execute_with_standard_input(self):
        container = self.running()
        for text in ('one\ntwo', '', '\u00e4\n' * 100_000):
            executed = self.driver.execute(container, ['cat'], stdin=text, timeout_seconds=20)
            self.assertEqual((text, 0), (executed.output, executed.exit_code))
        executed = self.driver.execute(container, ['true'], stdin='x' * 100_000)
        self.assertEqual(('', 0), (executed.output, executed.exit_code))

    # top, stats, inspect, resize

    def test_top(self):
        container = self.running()
        told = self.driver.top(container)
        self.assertIn('PID', told['titles'])
        [process] = told['processes']
        self.assertEqual(len(told['titles']), len(process))
        self.assertEqual(' '.join(FOREVER), process[-1])
        error = self.assertRaises(exceptions.InvalidParameter, self.driver.top, container,
                                  ps_args='--bogus')
        self.assertIn('ps_args: ps: error', error.detail)

    def test_stats(self):
        told = self.driver.stats(self.running(spec={'memory_bytes': 64 * 2 ** 20}))
        self.assertEqual((64 * 2 ** 20, 1),
                         (told['memory_limit_bytes'], told['processes']))
        self.assertTrue(0 < told['memory_bytes'] < 64 * 2 ** 20)
        self.assertTrue(0 < told['memory_percent'] < 100)
        for name in ('cpu_percent', 'cpus', 'block_read_bytes', 'block_written_bytes',
                     'network_received_bytes', 'network_sent_bytes'):
            self.assertGreaterEqual(told[name], 0, name)

    def test_what_needs_a_container_that_runs(self):
        for container in (self.ended(), self.paused()):
            for ask in (self.driver.top, self.driver.stats,
                        lambda container: self.driver.resize(container, 80, 24),
                        lambda container: self.driver.execute_resize(container, 'a' * 64, 1, 1)):
                self.assertRaises(exceptions.WrongState, ask, container)

    def test_inspect_shows_nothing_of_the_host_or_ours(self):
        container = self.running(spec={'environment': {'A': 'b'}, 'labels': {'mine': 'yes'},
                                       'memory_bytes': 64 * 2 ** 20})
        told = self.driver.inspect(container)
        self.assertEqual((True, 'running', 64 * 2 ** 20),
                         (told['State']['Running'], told['State']['Status'],
                          told['HostConfig']['Memory']))
        self.assertIn('A=b', told['Config']['Env'])
        self.assertEqual({'mine': 'yes'}, told['Config']['Labels'])
        self.assertEqual(self.driver.observe(container).engine_id, told['Id'])
        text = json.dumps(told)
        for secret in ('/var/lib', '/run/', 'Pid"', 'GraphDriver', 'Source', self.deployment):
            self.assertNotIn(secret, text)

    def test_resize(self):
        container = self.running(spec={'tty': True})
        self.assertEqual({'w': 100, 'h': 7}, self.driver.resize(container, 100, 7))
        self.assertRaises(exceptions.NoTerminal, self.driver.resize, self.running(), 80, 24)

    def test_resize_of_a_command(self):
        container, other = self.running(), self.running()
        exec_id = self.executed_with_a_terminal(container)
        self.assertEqual({'w': 100, 'h': 7},
                         self.driver.execute_resize(container, exec_id, 100, 7))
        for wrong in (other, container):
            self.assertRaises(exceptions.ExecNotFound, self.driver.execute_resize, wrong,
                              exec_id if wrong is other else 'a' * 64, 100, 7)
        plain = self.driver.execute(container, ['true']).exec_id
        self.assertRegex(plain, '^[0-9a-f]{64}$')
        self.assertRaises(exceptions.NoTerminal, self.driver.execute_resize, container, plain,
                          80, 24)

    def test_diff(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        self.assertEqual({'changes': []}, self.driver.diff(container))
        told = self.driver.diff(self.holding_files())['changes']
        self.assertIn({'path': '/tmp/below/two', 'kind': 'added'}, told)
        self.assertLessEqual({each['kind'] for each in told}, {'added', 'changed'})

    # get_archive

    def archive(self, container, path):
        """What is in an archive, by the names there."""
        told = self.driver.get_archive(container, path)
        data = io.BytesIO(base64.b64decode(told['data']))
        with tarfile.open(fileobj=data, mode='r:') as archive:
            found = {entry.name: archive.extractfile(entry).read() if entry.isfile() else None
                     for entry in archive}
        return told['stat'], found

    def holding_files(self):
        files = {'/tmp/one': b'1\n', '/tmp/below/two': b'\0\xff' * 100}
        container = self.container(
            spec={'files': [{'destination': name, 'size': len(data), 'sha256': ''}
                            for name, data in files.items()]}, files=lambda: files)
        self.driver.run(base.Attempt(), container)
        return container

    def test_archives_of_a_file_and_a_directory(self):
        container = self.holding_files()
        for path in ('/tmp/one', 'tmp/one', '/tmp/../tmp/one', '../../../../tmp/one'):
            stat, found = self.archive(container, path)
            self.assertEqual({'one': b'1\n'}, found)
            self.assertEqual(('one', 2, ''), (stat['name'], stat['size'], stat['linkTarget']))
            self.assertEqual(0o644, stat['mode'] & 0o777)
            self.assertRegex(stat['mtime'], r'^\d{4}-\d\d-\d\dT\d\d:')
        stat, found = self.archive(container, '/tmp/below')
        self.assertEqual(('below', b'\0\xff' * 100), (stat['name'], found['below/two']))

    def test_archives_of_what_does_not_run(self):
        container = self.holding_files()
        self.driver.stop(base.Attempt(), container, timeout_seconds=0)
        self.assertEqual({'one': b'1\n'}, self.archive(container, '/tmp/one')[1])

    def test_archives_of_what_is_not_there(self):
        container = self.running()
        for path in ('/tmp/none', '/etc/no-such-directory/x', '/../no-such'):
            self.assertRaises(exceptions.PathNotFound, self.driver.get_archive, container, path)

    def test_archives_that_are_too_large(self):
        container = self.holding_files()
        driver = type(self.driver.ping.__self__)(dataclasses.replace(
            self.driver.bay, limits=base.Limits(archive_bytes=1024)))
        error = self.assertRaises(exceptions.ArchiveTooLarge, driver.get_archive, container,
                                  '/tmp')
        self.assertIn('1024 bytes', error.detail)
        self.assertTrue(driver.ping())

    # Variables whose values are secrets

    secret = {'PASSWORD': 'hidden away', 'TOKEN.2': 'a=b "c" $d'}

    def secretive(self):
        container = self.container(
            spec={'environment': {'PLAIN': 'seen'}, 'secret_environment': sorted(self.secret)},
            secret=lambda: self.secret)
        self.driver.run(base.Attempt(), container)
        return container

    def variables_of(self, container):
        lines = self.driver.execute(container, ['env']).output.splitlines()
        return dict(line.partition('=')[::2] for line in lines)

    def test_secret_variables_reach_the_process_and_are_not_shown(self):
        container = self.secretive()
        self.assertLessEqual({'PLAIN': 'seen', **self.secret}.items(),
                             self.variables_of(container).items())
        shown = self.driver.inspect(container)
        self.assertLessEqual({'PLAIN=seen', 'PASSWORD=***', 'TOKEN.2=***'},
                             set(shown['Config']['Env']))
        self.assert_not_in(f'{shown} {container}')

    def assert_not_in(self, text):
        self.assertEqual([], [value for value in self.secret.values() if value in text])

    def test_secret_variables_are_told_apart_by_whoever_finds_them(self):
        found = self.driver.describe(self.deployment,
                                     self.driver.observe(self.secretive()).engine_id)
        self.assertEqual((sorted(self.secret), {'PLAIN': 'seen'}, self.secret), (
            found.spec['secret_environment'], found.spec['environment'], found.secret))
        self.assert_not_in(str(found))

    def test_rebuild_carries_secret_variables_on(self):
        container = self.secretive()
        self.driver.rebuild(base.Attempt(), container)
        self.assertLessEqual(self.secret.items(),
                             self.variables_of(container.rebuilt()).items())

    def test_commit_leaves_the_values_of_secret_variables_out(self):
        name, _ = self.commit(base.Attempt(), self.secretive())
        made = self.running(image=name)
        self.addCleanup(self.driver.delete, base.Attempt(), made, force=True)
        found = self.variables_of(made)
        self.assertEqual(('seen', '', ''), tuple(
            found[name] for name in ('PLAIN', *self.secret)))

    # update

    def spec_of(self, container):
        """What the engine has of its options."""
        engine_id = self.driver.observe(container).engine_id
        return self.driver.describe(self.deployment, engine_id).spec

    def test_update_of_what_runs_or_is_paused(self):
        for container in (self.running(), self.paused()):
            before = self.driver.observe(container)
            attempt = base.Attempt()
            observed = self.driver.update(
                attempt, container, cpu=0.5, memory_bytes=64 * 2**20,
                restart_policy={'Name': 'on-failure', 'MaximumRetryCount': 3})
            self.assertEqual((before.status, before.started_at, before.engine_id),
                             (observed.status, observed.started_at, observed.engine_id))
            self.assertEqual('updating', attempt.stage)
            spec = self.spec_of(container)
            self.assertEqual((0.5, 64 * 2**20, {'Name': 'on-failure', 'MaximumRetryCount': 3}), (
                spec['cpu'], spec['memory_bytes'], spec['restart_policy']))

    def test_update_again_and_of_one_thing_leaves_the_others(self):
        container = self.container(spec={'memory_bytes': 32 * 2**20, 'cpu': 0.5})
        self.driver.create(base.Attempt(), container)
        for size in (128, 128, 16):             # up and down, the limit of swap with it
            attempt = base.Attempt()
            self.driver.update(attempt, container, memory_bytes=size * 2**20)
            self.driver.update(later(attempt), container, memory_bytes=size * 2**20)
            spec = self.spec_of(container)
            self.assertEqual((0.5, size * 2**20), (spec['cpu'], spec['memory_bytes']))

    def test_update_of_what_is_missing(self):
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.update, base.Attempt(),
                          self.container(), cpu=1.0)

    def test_update_after_it_was_taken_over(self):
        container = self.running()
        self.assertRaises(exceptions.Fenced, self.driver.update, FencedAfter(0), container,
                          cpu=0.5)
        self.assertNotIn('cpu', self.spec_of(container))

    # rebuild

    def rebuilt(self, container, image=None):
        return self.replaced(container, generation=container.generation + 1,
                             image=image or container.image)

    def test_rebuild_of_what_runs(self):
        container = self.running(spec=AT_ONCE)
        before = self.driver.observe(container)
        attempt = base.Attempt()
        observed = self.driver.rebuild(attempt, container)
        self.assertEqual(RUNNING, observed.status)
        self.assertNotEqual(before.engine_id, observed.engine_id)
        self.assertEqual([(container.uuid, 2)], list(self.listed()))
        self.assertIsNone(self.driver.observe(container))
        self.assertEqual(observed.engine_id,
                         self.driver.observe(self.rebuilt(container)).engine_id)

    def test_rebuild_of_what_does_not_run(self):
        created, ended = self.container(), self.ended()
        self.driver.create(base.Attempt(), created)
        for container in (created, ended):
            self.assertEqual(CREATED, self.driver.rebuild(base.Attempt(), container).status)
            self.assertEqual({2}, {generation for uuid, generation in self.listed()
                                   if uuid == container.uuid})

    def test_rebuild_again_after_each_step(self):
        """However far it came, the next attempt ends in the same."""
        for looks in range(6):
            container = self.running(spec=AT_ONCE)
            attempt = FencedAfter(looks)
            try:
                self.driver.rebuild(attempt, container)
            except exceptions.Fenced:
                pass
            again = later(attempt)
            self.assertEqual(RUNNING, self.driver.rebuild(again, container).status)
            once_more = self.driver.rebuild(later(again), container)
            self.assertEqual(RUNNING, once_more.status)
            self.assertEqual({2}, {generation for uuid, generation in self.listed()
                                   if uuid == container.uuid}, looks)

    def test_rebuild_of_what_is_missing_makes_it_again(self):
        never_ran = self.container()
        self.assertEqual(CREATED, self.driver.rebuild(base.Attempt(), never_ran).status)
        ran = self.container(started_at=datetime.datetime(2026, 1, 1), engine_id='gone')
        attempt = base.Attempt()
        self.assertEqual(RUNNING, self.driver.rebuild(attempt, ran).status)
        self.assertEqual(RUNNING, self.driver.rebuild(later(attempt), ran).status)

    def test_rebuild_from_an_image_that_must_be_pulled_changes_nothing(self):
        container = self.running(spec=AT_ONCE)
        before = self.driver.observe(container)
        error = self.assertRaises(exceptions.ImageAbsent, self.driver.rebuild, base.Attempt(),
                                  container, image=self.absent_image)
        self.assertIn(self.absent_image, error.detail)
        self.assertEqual([(container.uuid, 1)], list(self.listed()))
        self.assertEqual(before, dataclasses.replace(
            self.driver.observe(container), status_detail=before.status_detail))

    def test_rebuild_that_does_not_start_leaves_the_old_one(self):
        container = self.running(spec=AT_ONCE)
        broken = self.replaced(container, spec={'command': ['/no-such-command'], **AT_ONCE})
        attempt = base.Attempt()
        self.assertRaises(exceptions.StartFailed, self.driver.rebuild, attempt, broken)
        self.assertIsNone(self.driver.undo_rebuild(later(attempt), broken))
        self.assertEqual([(container.uuid, 1)], list(self.listed()))
        self.assertEqual(RUNNING, self.driver.observe(container).status)
        # Now that the cause is mended.
        self.assertEqual(RUNNING, self.driver.rebuild(base.Attempt(), container).status)

    def test_undo_of_a_rebuild_that_was_through(self):
        container = self.running(spec=AT_ONCE)
        attempt = base.Attempt()
        observed = self.driver.rebuild(attempt, container)
        done = self.driver.undo_rebuild(later(attempt), container)
        self.assertEqual((RUNNING, observed.engine_id), (done.status, done.engine_id))
        self.assertEqual([(container.uuid, 2)], list(self.listed()))

    def test_rebuild_takes_the_place_of_what_another_one_has_left(self):
        container = self.running(spec=AT_ONCE)
        self.driver.create(base.Attempt(), self.replaced(
            container, generation=2, spec={'command': ['echo', 'other']}))
        self.assertEqual(RUNNING, self.driver.rebuild(base.Attempt(), container).status)
        self.assertEqual([(container.uuid, 2)], list(self.listed()))

    # put_archive

    def packed(self, **files):
        """A tar archive of small files."""
        made = io.BytesIO()
        with tarfile.open(fileobj=made, mode='w') as archive:
            for name, data in files.items():
                entry = tarfile.TarInfo(f'{name}.txt')
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        return made.getvalue()

    def content(self, container, path):
        told = self.driver.get_archive(container, path)['data']
        with tarfile.open(fileobj=io.BytesIO(base64.b64decode(told))) as archive:
            [entry] = archive
            return archive.extractfile(entry).read()

    def test_put_archive_whatever_it_does(self):
        created = self.container()
        self.driver.create(base.Attempt(), created)
        for container in (created, self.running(), self.paused(), self.ended()):
            before = self.driver.observe(container)
            first = base.Attempt()
            for attempt in (first, later(first)):
                observed = self.driver.put_archive(
                    attempt, container, path='/tmp', data=self.packed(one=b'1', two=b'\xff'))
                self.assertEqual((before.status, before.started_at),
                                 (observed.status, observed.started_at))
            self.assertEqual('copying', attempt.stage)
            self.assertEqual(b'1', self.content(container, '/tmp/one.txt'))
            self.assertEqual(b'\xff', self.content(container, '/tmp/two.txt'))

    def test_put_archive_where_there_is_no_directory(self):
        container = self.running()
        self.driver.put_archive(base.Attempt(), container, path='/tmp', data=self.packed(a=b'1'))
        for path in ('/no-such-directory', '/tmp/a.txt', '/tmp/a.txt/b'):
            error = self.assertRaises(
                exceptions.PathNotFound, self.driver.put_archive, base.Attempt(), container,
                path=path, data=self.packed(one=b'1'))
            self.assertIn(path, error.detail)

    def test_put_archive_to_what_is_missing(self):
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.put_archive,
                          base.Attempt(), self.container(), path='/tmp', data=self.packed(a=b''))

    def test_put_archive_after_it_was_taken_over(self):
        container = self.running()
        self.assertRaises(exceptions.Fenced, self.driver.put_archive, FencedAfter(0), container,
                          path='/tmp', data=self.packed(one=b'1'))
        self.assertRaises(exceptions.PathNotFound, self.driver.get_archive, container,
                          '/tmp/one.txt')

    # execution

    def test_execution_keeps_what_the_command_gave(self):
        container = self.running()
        attempt = base.Attempt()
        observed = self.driver.execution(
            attempt, container, command=['sh', '-c', 'echo out; exit 3'])
        self.assertEqual((RUNNING, 'executing'), (observed.status, attempt.stage))
        self.assertEqual(('out\n', 3, False), tuple(
            observed.result[key] for key in ('output', 'exit_code', 'truncated')))
        for data in (b'a\nb', b''):
            observed = self.driver.execution(base.Attempt(), container, command=['cat'],
                                             stdin=data)
            self.assertEqual(data.decode(), observed.result['output'])
        observed = self.driver.execution(base.Attempt(), container, command=['pwd'],
                                         workdir='/tmp')
        self.assertEqual('/tmp\n', observed.result['output'])

    def test_execution_is_never_done_twice(self):
        container = self.running()
        attempt = base.Attempt()
        self.driver.execution(attempt, container, command=['true'])
        error = self.assertRaises(exceptions.DriverError, self.driver.execution, later(attempt),
                                  container, command=['true'])
        self.assertFalse(error.retriable)
        self.assertRaises(exceptions.Fenced, self.driver.execution, NotOurs(), container,
                          command=['true'])

    def test_execution_cuts_long_output(self):
        container = self.running()
        word = 'x' * 1000
        done = self.driver.execution(base.Attempt(), container, command=[
            'echo', *[word] * 70])
        self.assertTrue(done.result['truncated'])
        self.assertEqual(base.KEPT_OUTPUT_BYTES, len(done.result['output']))

    def test_execution_in_what_does_not_run(self):
        for container in (self.paused(), self.ended()):
            attempt = base.Attempt()
            self.assertRaises(exceptions.WrongState, self.driver.execution, attempt, container,
                              command=['true'])
            self.assertEqual({}, attempt.remembered)
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.execution,
                          base.Attempt(), self.container(), command=['true'])

    def test_execution_that_takes_too_long(self):
        self.assertRaises(exceptions.ExecuteTimeout, self.driver.execution, base.Attempt(),
                          self.running(), command=['sleep', '5'], timeout_seconds=1)

    # network_attach and network_detach

    def addresses(self, observed):
        return {name: [address['addr'] for address in addresses]
                for name, addresses in observed.addresses.items()}

    def test_networks_of_what_runs_come_and_go(self):
        (one, one_id, i), (two, two_id, _) = self.networks()
        container = self.running()
        [first] = self.driver.observe(container).addresses
        first_try = base.Attempt()
        for attempt in (first_try, later(first_try)):
            observed = self.driver.network_attach(
                attempt, container, network=one_id, fixed_ip=f'10.213.{i}.9')
            self.assertEqual({first, one}, set(observed.addresses))
            self.assertEqual([f'10.213.{i}.9'], self.addresses(observed)[one])
            self.assertEqual((one, one_id), (
                observed.result['network'], observed.result['networks'][one]))
        self.driver.network_attach(base.Attempt(), container, network=two)
        error = self.assertRaises(
            exceptions.EngineConflict, self.driver.network_attach, base.Attempt(), container,
            network=one, fixed_ip=f'10.213.{i}.10')
        self.assertIn(one, error.detail)
        first_try = base.Attempt()
        for attempt in (first_try, later(first_try)):
            observed = self.driver.network_detach(attempt, container, network=one)
            self.assertEqual({first, two}, set(observed.addresses))
            self.assertEqual({first, two}, set(observed.result['networks']))
        self.driver.network_detach(base.Attempt(), container, network=first)
        observed = self.driver.network_detach(base.Attempt(), container, network=two_id)
        self.assertEqual({}, observed.result['networks'])

    def test_networks_of_what_does_not_run(self):
        (one, _, i), _ = self.networks()
        container = self.container()
        self.driver.create(base.Attempt(), container)
        self.driver.network_attach(base.Attempt(), container, network=one,
                                   fixed_ip=f'10.213.{i}.9')
        self.assertEqual([f'10.213.{i}.9'], self.addresses(
            self.driver.start(base.Attempt(), container))[one])

    def test_what_is_on_no_network_is_made_anew_on_none(self):
        one, one_id, i = self.networks()[0]
        container = self.container(spec={'nets': [], 'stop_timeout': 0})
        made = self.driver.run(base.Attempt(), container)
        self.assertEqual((RUNNING, {}), (made.status, made.addresses))
        self.assertEqual(
            [], self.driver.describe(self.deployment, made.engine_id).spec.get('nets'))
        again = self.driver.rebuild(base.Attempt(), container)
        self.assertEqual({}, again.addresses)
        container = container.rebuilt()
        first_try = base.Attempt()
        for attempt in (first_try, later(first_try)):
            observed = self.driver.network_attach(
                attempt, container, network=one_id, fixed_ip=f'10.213.{i}.9')
            self.assertEqual({one: one_id}, observed.result['networks'])
            self.assertEqual({one: [f'10.213.{i}.9']}, self.addresses(observed))
        self.driver.stop(base.Attempt(), container, timeout_seconds=0)
        self.assertEqual([one], list(self.driver.start(base.Attempt(), container).addresses))
        observed = self.driver.network_detach(base.Attempt(), container, network=one)
        self.assertEqual(({}, {}), (observed.result['networks'], observed.addresses))

    def test_networks_that_are_refused_or_not_there(self):
        container = self.running()
        for method in (self.driver.network_attach, self.driver.network_detach):
            for reference in ('host', self.network_id('host'), self.network_id('none')):
                self.assertRaises(exceptions.NetworkRefused, method, base.Attempt(), container,
                                  network=reference)
            self.assertRaises(exceptions.NetworkNotFound, method, base.Attempt(), container,
                              network='no-such')
        one = self.networks()[0][0]
        self.assertRaises(exceptions.Fenced, self.driver.network_attach, FencedAfter(0),
                          container, network=one)
        self.assertNotIn(one, self.driver.observe(container).addresses)

    # commit

    def commit(self, attempt, container):
        name = base.committed(container, 'mine/made', 'v1')
        self.addCleanup(self.driver.remove_image, base.Attempt(), name)
        return name, self.driver.commit(attempt, container, repository='mine/made', tag='v1')

    def test_commit_makes_an_image_that_containers_can_be_made_of(self):
        container = self.running(project_id=str(uuid.uuid4()))
        attempt = base.Attempt()
        name, observed = self.commit(attempt, container)
        self.assertEqual((RUNNING, 'committing'), (observed.status, attempt.stage))
        found = self.driver.find_image(name)
        self.assertEqual({'repo': 'mine/made', 'tag': 'v1', 'image_id': found.image_id,
                          'size': found.size, 'digest': found.digest}, observed.result)
        other = self.container(image=name)
        self.assertEqual(RUNNING, self.driver.run(base.Attempt(), other).status)
        self.driver.delete(base.Attempt(), other, force=True)

    def test_commit_is_found_again_by_a_later_attempt(self):
        container = self.paused()
        attempt = base.Attempt()
        _, first = self.commit(attempt, container)
        again = later(attempt)
        self.assertEqual(first.result, self.commit(again, container)[1].result)
        self.assertIsNone(again.stage)
        self.assertEqual(PAUSED, self.driver.observe(container).status)

    def test_commit_of_projects_with_the_same_name_for_it(self):
        one, two = (self.ended() for _ in range(2))
        names = {self.commit(base.Attempt(), self.replaced(container, project_id=project))[0]
                 for container, project in ((one, 'one'), (two, 'two'))}
        self.assertEqual(2, len(names))

    def test_commit_of_what_is_missing_or_was_taken_over(self):
        missing = self.container()
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.commit, base.Attempt(),
                          missing, repository='made')
        self.assertRaises(exceptions.Fenced, self.driver.commit, FencedAfter(0),
                          self.running(project_id='fenced'), repository='made')
        self.assertIsNone(self.driver.find_image(base.committed(
            self.replaced(missing, project_id='fenced'), 'made', 'latest')))
