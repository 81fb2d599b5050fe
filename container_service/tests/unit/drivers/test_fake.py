# SPDX-License-Identifier: Apache-2.0
import datetime
import threading
import uuid

import testtools

from container_service import exceptions
from container_service.drivers import base
from container_service.drivers import fake
from container_service.states import CREATED, RUNNING, STOPPED
from container_service.tests import driver_conformance


class FakeCase(testtools.TestCase):

    deployment = 'tests'
    image = 'busybox:latest'
    absent_image = 'registry.test/absent:1'
    options = 'missing_image=*/absent:*&present_image=busybox:latest'

    def setUp(self):
        super().setUp()
        self.name = uuid.uuid4().hex
        self.engine = fake.FakeEngine.get(self.name)
        self.addCleanup(fake.FakeEngine.forget, self.name)
        self.slept = []
        self.engine.sleep = self.slept.append
        self.now = datetime.datetime(2026, 1, 1)
        self.engine.clock = self.tick
        self.driver = self.connect(self.options)

    def tick(self):
        self.now += datetime.timedelta(milliseconds=10)
        return self.now

    def connect(self, query):
        return fake.FakeDriver(base.Bay('u', 'bay', f'fake://{self.name}?{query}'))


class TestFakeConformance(driver_conformance.DriverConformance, FakeCase):

    limits_disk = True

    def add_network(self, name):
        return self.engine.add_network(name), len(self.engine.networks)

    def network_id(self, name):
        return self.engine.networks[name][0]

    def file_in(self, container, path):
        return self.engine.container(container.uuid).files[path]

    def add_foreign(self, name, labels):
        # As an engine makes it that is asked for nothing else.
        return self.engine.add_foreign(
            name, labels, powers=['capabilities', 'confinement']).engine_id

    def foreign_is_running(self, engine_id):
        return self.engine.containers[engine_id].status == RUNNING

    def executed_with_a_terminal(self, container):
        self.engine.find(container).execs['b' * 64] = True
        return 'b' * 64


class TestFakeThatCannotLimitDisk(FakeCase):

    limits_disk = False
    container = driver_conformance.DriverConformance.container
    test_disk = driver_conformance.DriverConformance.test_create_with_a_limit_of_the_disk

    def setUp(self):
        super().setUp()
        self.engine.limits_disk = False


class TestEngine(FakeCase):

    container = driver_conformance.DriverConformance.container
    replaced = driver_conformance.DriverConformance.replaced

    def test_effects_are_told_in_order(self):
        container = self.container()
        driver = self.driver
        driver.run(base.Attempt(), container)
        driver.reboot(base.Attempt(), container)
        driver.pause(base.Attempt(), container)
        driver.unpause(base.Attempt(), container)
        driver.kill(base.Attempt(), container, signal='SIGHUP')
        driver.stop(base.Attempt(), container)
        driver.stop(base.Attempt(), container)
        driver.delete(base.Attempt(), container)
        self.assertEqual(['create', 'start', 'reboot', 'pause', 'unpause', 'kill', 'stop',
                          'delete'], [name for name, _ in self.engine.effects])
        self.assertEqual({container.uuid}, {target for _, target in self.engine.effects})

    def test_drivers_of_one_name_share_the_engine(self):
        container = self.container()
        self.driver.create(base.Attempt(), container)
        self.assertEqual(CREATED, self.connect('').observe(container).status)

    def test_a_pull_tells_its_progress(self):
        self.connect('pull_seconds=6')
        reports = []

        class Reporting(base.Attempt):
            def report(self, progress):
                reports.append(progress)

        container = self.container(image='far/away')
        self.assertRaises(exceptions.ImageAbsent, self.driver.create, base.Attempt(), container)
        self.driver.pull(Reporting(), 'far/away')
        self.driver.create(base.Attempt(), container)
        self.driver.create(base.Attempt(), self.container(image='far/away:latest'))
        self.assertEqual(['far/away'], self.engine.pulls)
        self.assertAlmostEqual(6, sum(self.slept))
        self.assertEqual(fake.PULL_STEPS + 1, len(reports))
        self.assertEqual((0, 0), (reports[0]['layers_done'], reports[0]['bytes']))
        self.assertEqual({'image': 'far/away', 'layers': 3, 'layers_done': 3,
                          'bytes': 12_000_000, 'bytes_total': 12_000_000}, reports[-1])

    def test_a_fenced_pull_stops(self):
        self.assertRaises(exceptions.Fenced, self.driver.pull,
                          driver_conformance.FencedAfter(4), 'far/away')
        self.assertEqual([], self.engine.pulls)
        self.assertFalse(self.engine.has_image('far/away'))

    def test_an_engine_that_is_gone_answers_no_probe(self):
        self.engine.unreachable = True
        self.assertRaises(exceptions.EngineUnreachable, self.driver.probe)
        self.assertRaises(exceptions.EngineUnreachable, self.driver.pull, base.Attempt(), 'i')

    def test_another_engine_than_that_of_the_bay(self):
        made = fake.FakeDriver(base.Bay('u', 'bay', f'fake://{self.name}', engine_id='e'))
        container = self.container()
        for call in (made.ping, made.probe, lambda: list(made.list('d')),
                     lambda: made.events('d'), lambda: made.describe('d', 'e'),
                     lambda: made.pull(base.Attempt(), 'i'), lambda: made.observe(container),
                     lambda: made.post_mortem(container)):
            self.assertRaises(exceptions.OtherEngine, call)
        for _, call in driver_conformance.calls(made, container):
            self.assertRaises(exceptions.OtherEngine, call)
        self.assertEqual([], self.engine.effects)
        self.engine.engine_id = 'e'
        made.run(base.Attempt(), container)

    def test_delays(self):
        self.connect('delay=0.25&stop_delay=2')
        container = self.container()
        self.driver.run(base.Attempt(), container)
        self.assertEqual(0.5, sum(self.slept))
        self.driver.stop(base.Attempt(), container)
        self.assertEqual(2.5, sum(self.slept))
        self.driver.stop(base.Attempt(), container)
        self.assertEqual(2.5, sum(self.slept))

    def test_options_do_not_undo_what_a_test_has_set(self):
        driver = self.connect('unreachable=true')
        self.assertRaises(exceptions.EngineUnreachable, driver.ping)
        self.engine.unreachable = False
        self.connect('unreachable=true').ping()

    def test_told_failures(self):
        self.connect('fail=start')
        container = self.container()
        self.assertRaises(exceptions.StartFailed, self.driver.run, base.Attempt(), container)
        self.assertEqual([('create', container.uuid)], self.engine.effects)
        self.engine.succeed('start')
        self.driver.start(base.Attempt(), container)
        own = exceptions.DriverError('no luck')
        self.engine.fail('stop', own, times=2)
        for _ in range(2):
            self.assertIs(own, self.assertRaises(
                exceptions.DriverError, self.driver.stop, base.Attempt(), container))
        self.driver.stop(base.Attempt(), container)
        self.assertEqual(['create', 'start', 'stop'], [name for name, _ in self.engine.effects])

    def test_a_lost_answer_is_found_done_by_the_next_attempt(self):
        container = self.container()
        for name in ('create', 'start', 'pause', 'unpause', 'reboot', 'stop', 'delete'):
            self.engine.lose_answer(name)
            attempt = base.Attempt()
            act = getattr(self.driver, name)
            self.assertRaises(exceptions.EngineUnreachable, act, attempt, container)
            act(base.Attempt(attempt.remembered), container)
        self.assertEqual(['create', 'start', 'pause', 'unpause', 'reboot', 'stop', 'delete'],
                         [name for name, _ in self.engine.effects])

    def test_hold_before_and_after_the_effect(self):
        container = self.container()
        for after_effect in (False, True):
            with self.engine.hold('create', container.uuid, after_effect) as hold:
                thread = threading.Thread(
                    target=self.driver.create, args=(base.Attempt(), container))
                thread.start()
                hold.wait_entered()
                self.assertEqual(int(after_effect), len(self.engine.effects))
            thread.join(10)
            self.assertFalse(thread.is_alive())
            if not after_effect:
                self.driver.delete(base.Attempt(), container)
                self.engine.effects.clear()
        self.assertEqual([('create', container.uuid)], self.engine.effects)

    def test_a_hold_of_one_container_lets_others_pass(self):
        held, other = self.container(), self.container()
        with self.engine.hold('create', held.uuid):
            self.driver.create(base.Attempt(), other)
        self.assertEqual(1, len(self.engine.effects))

    def test_changes_from_outside(self):
        container = self.container()
        self.driver.run(base.Attempt(), container)
        self.engine.stop_outside(container.uuid, exit_code=4)
        observed = self.driver.observe(container)
        self.assertEqual((STOPPED, 4), (observed.status, observed.exit_code))
        self.engine.start_outside(container.uuid)
        self.assertEqual(RUNNING, self.driver.observe(container).status)
        self.engine.write(container.uuid, 'said\n')
        self.assertEqual('said\n', self.driver.logs(container)['output'])
        self.engine.remove_outside(container.uuid)
        self.assertIsNone(self.driver.observe(container))
        self.assertEqual(['create', 'start'], [name for name, _ in self.engine.effects])

    def test_a_main_process_ends_by_itself_in_its_time(self):
        container = self.container(['sh', '-c', 'sleep 30; exit 2'])
        self.driver.run(base.Attempt(), container)
        self.assertEqual(RUNNING, self.driver.observe(container).status)
        self.now += datetime.timedelta(seconds=31)
        observed = self.driver.observe(container)
        self.assertEqual((STOPPED, 2), (observed.status, observed.exit_code))

    def test_removed_while_an_operation_waits_for_its_turn(self):
        container = self.container()
        self.driver.run(base.Attempt(), container)
        self.engine.delay = 1
        self.engine.sleep = lambda seconds: self.engine.remove_outside(container.uuid)
        self.assertRaises(exceptions.EngineContainerMissing, self.driver.stop, base.Attempt(),
                          container)

    def test_racing_creates_make_one(self):
        container = self.container()
        threads = [threading.Thread(target=self.driver.create, args=(base.Attempt(), container))
                   for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual([('create', container.uuid)], self.engine.effects)


class TestEndpoint(testtools.TestCase):

    def check(self, endpoint, **files):
        fake.FakeDriver.check_endpoint(
            endpoint, **{'ca_cert': None, 'client_cert': None, 'client_key': None, 'policy': None,
                         'allow_insecure_tcp': False, **files})

    def test_good(self):
        for endpoint in ('fake://one', 'fake://two?delay=1', 'fake://a-b.c_d/?fail=start,pull',
                         'fake://x?create_delay=0.5&unreachable=true&missing_image=a*&fail='):
            self.check(endpoint)

    def test_bad(self):
        for endpoint in ('fake://', 'tcp://x:1', 'fake://x/y', 'fake://x?delay=soon',
                         'fake://x?delay=nan', 'fake://x?colour=red', 'fake://x?fail=dance',
                         'fake://x?unreachable=maybe', 'fake://x y', 'fake://x?run_delay=1'):
            self.assertRaises(ValueError, self.check, endpoint)
        self.assertRaises(ValueError, self.check, 'fake://x', ca_cert='/ca.pem')

    def test_parsed(self):
        self.assertEqual(
            ('x', {'delay': 0.5, 'missing_image': ['a', 'b*', 'c'], 'fail': ['start']}),
            fake.parse_endpoint('fake://x?delay=0.5&missing_image=a,b*&missing_image=c&'
                                'fail=start'))
