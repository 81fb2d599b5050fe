# SPDX-License-Identifier: Apache-2.0
"""A message bus that is frozen, silent, full, or has lost its queues: requests are accepted as
always, and begin soon; calls end in seconds; all is well when the bus is."""

import datetime
import time

from container_service import rpc
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures
from container_service.tests import links
from faults import proxy

# Seconds of load in each fault, requests a second, and how long one may take (p99, most) on a
# machine that is busy; who waited for the bus would take ten seconds and more.
LOAD, RATE, QUICK, MOST = 6, 10, 2.0, 6.0

# Seconds until an action begins; calls are answered; and all is well when the bus is.
BEGINS, ANSWERED, WELL = 10, 20, 30


def waited(action):
    """Seconds from its acceptance to its beginning."""
    began, accepted = (datetime.datetime.fromisoformat(action[name])
                       for name in ('started_at', 'created_at'))
    return (began - accepted).total_seconds()


class OnBroker(deployed.EngineHere):
    """A deployment whose bus is a broker of its own, behind a link."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, conductor_poll_interval=2, **kwargs)

    def _setUp(self):
        self.broker = self.useFixture(fixtures.Broker())
        address = proxy.parsed(self.broker.transport_url.split('@')[1].split('/')[0])[1]
        self.link = self.useFixture(links.Links()).link(
            'broker', '127.0.0.1:0', '%s:%d' % address)
        self._transport_url = self.broker.transport_url.replace(
            '%s:%d' % address, self.link.address)
        super()._setUp()


class TestBus(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(OnBroker('mysql'))

    def setUp(self):
        super().setUp()
        self.broker, self.link = self.processes.broker, self.processes.link
        self.addCleanup(self.link.heal)
        self.container = self.create()
        self.succeeded(self.container['action'])
        self.all_is_well()

    def create(self):
        return self.caller.create(base.IMAGE, bay_uuid=self.processes.fake_bay)

    def logs(self):
        return self.caller.request('GET', f'/v1/containers/{self.container["uuid"]}/logs')

    def all_is_well(self, seconds=WELL):
        """A call works, and a wake comes before anybody has looked for it."""
        fixtures.eventually(lambda: self.logs().status == 200, seconds, 0.2)

        def quick():
            ended = self.caller.wait(self.create()['action'])
            return waited(ended) < 0.5

        fixtures.eventually(lambda: quick() and quick() and quick(), seconds, 0.1)

    def assert_carried_on(self):
        """Under load: all is accepted, quickly, begins soon, and has its effect once."""
        caller, made, times = self.new_caller(), [], []
        asking = fixtures.background(self.logs)
        until = time.monotonic() + LOAD
        while time.monotonic() < until:
            answer = caller.request('POST', '/v1/containers', {
                'image': base.IMAGE, 'bay_uuid': self.processes.fake_bay}, 202)
            made.append(answer.json)
            times.append(answer.seconds)
            time.sleep(max(0, 1 / RATE - answer.seconds))
        called = asking.result(30)
        self.assertIn(called.status, (200, 503, 504))
        self.assertLess(called.seconds, ANSWERED)
        times.sort()
        self.assertLess(times[int(len(times) * 0.99) - 1], QUICK)
        self.assertLess(times[-1], MOST)
        waits = []
        for container in made:
            ended = self.succeeded(container['action'])
            waits.append(waited(ended))
            self.assertEqual(['create'], self.processes.effects_on(container))
        self.assertLess(max(waits), BEGINS)
        self.note(f'{len(made)} accepted, slowest in {times[-1]:.3f} s, began after at most '
                  f'{max(waits):.1f} s; a call was answered {called.status} in '
                  f'{called.seconds:.1f} s')

    def test_a_link_that_is_cut(self):
        self.link.cut()
        self.assert_carried_on()
        self.link.heal()
        self.all_is_well()

    def test_a_link_that_passes_nothing(self):
        self.link.stall()
        self.assert_carried_on()
        self.link.heal()
        self.all_is_well()

    def test_answers_of_the_broker_that_do_not_come(self):
        self.link.stall(proxy.DOWN)
        self.assert_carried_on()
        self.link.heal()
        self.all_is_well()

    def test_a_broker_that_is_frozen(self):
        with self.broker.frozen():
            self.assert_carried_on()
        self.all_is_well()

    def test_a_broker_that_is_killed_and_restarted(self):
        self.broker.kill()
        self.assert_carried_on()
        self.broker.start()
        self.all_is_well()

    def test_all_queues_are_deleted(self):
        for queue in self.broker.control('list_queues', '--no-table-headers', 'name'
                                         ).split():
            self.broker.control('delete_queue', queue)
        self.assert_carried_on()
        self.all_is_well()

    def test_a_broker_without_room_for_messages(self):
        """It takes them and confirms none, for as long as that lasts."""
        self.broker.control('set_vm_memory_high_watermark', '0')
        self.addCleanup(self.broker.control, 'set_vm_memory_high_watermark', '0.4')
        self.assert_carried_on()
        self.broker.control('set_vm_memory_high_watermark', '0.4')
        self.all_is_well()


class TestMessagesThatComeThreeTimes(base.TestCase):

    def test_each_effect_is_had_once(self):
        send = rpc.Doorbell._send
        self.patch(rpc.Doorbell, '_send', lambda bell, server, uuids: [
            send(bell, server, uuids) for _ in range(3)])
        here = self.useFixture(fixtures.Deployment(
            f'present_image={base.IMAGE}', conductor_workers=8))

        wanted = ['create', 'start', 'pause', 'unpause', 'stop', 'delete']

        def history():
            uuid = here.api.post_json('/v1/containers', {'image': base.IMAGE}).json['uuid']
            for operation in wanted[1:-1]:
                here.api.post(f'/v1/containers/{uuid}/{operation}')
            here.api.delete(f'/v1/containers/{uuid}')
            return uuid

        for uuid in [history() for _ in range(10)]:
            fixtures.eventually(lambda uuid=uuid: here.api.get(
                f'/v1/containers/{uuid}', status='*').status_int == 404)
            self.assertEqual(wanted, [name for name, of in here.engine.effects if of == uuid])
