# SPDX-License-Identifier: Apache-2.0
"""The two messages over the in-process bus, and what happens when there is no bus."""

import threading

import oslo_messaging

from container_service import exceptions
from container_service import rpc
from container_service.conductor import endpoint
from container_service.tests import base
from container_service.tests import fixtures

WAIT = 10


class Wakes:
    """An in-flight map that remembers what it was told."""

    def __init__(self):
        self.woken, self.came = [], threading.Semaphore(0)
        self.before = lambda: None

    def wake(self, container_uuid, caller_may_run=False):
        # Who comes over the bus may be made to do the work: that slows it down.
        assert caller_may_run
        self.before()
        self.woken.append(container_uuid)
        self.came.release()
        return 'accepted'


class Answers:
    """The other endpoint; answers what it is told to."""

    target = oslo_messaging.Target(version=rpc.VERSION)

    def __init__(self):
        self.asked, self.answer = [], lambda: {'result': 'hello\n'}

    @oslo_messaging.expose
    def ready(self, context):
        return True

    @oslo_messaging.expose
    def ask(self, context, ticket, container_uuid, operation, params):
        self.asked.append((container_uuid, operation, params))
        return self.answer()


class RpcCase(base.TestCase):

    def setUp(self):
        super().setUp()
        self.conf = self.useFixture(fixtures.Conf()).conf
        self.bus = rpc.transport(self.conf, 'fake://')
        self.addCleanup(self.bus.cleanup)
        self.wakes, self.answers = Wakes(), Answers()
        self.server = f'{self.conf.host}.0'

    def listen(self):
        for topic, target in ((rpc.WAKE_TOPIC, endpoint.Wake(self.wakes)),
                              (rpc.ASK_TOPIC, self.answers)):
            server = rpc.server(self.bus, topic, self.server, target)
            server.start()
            self.addCleanup(server.stop)

    def choose(self, container_uuid, bay_uuid, leave_out=()):
        return None if self.server in leave_out else self.server

    def event(self):
        event = threading.Event()
        self.addCleanup(event.set)
        return event


class TestDoorbell(RpcCase):

    def bell(self, choose=None):
        bell = rpc.Doorbell(self.bus, choose or self.choose)
        self.addCleanup(bell.stop)
        return bell

    def test_a_wake_arrives(self):
        self.listen()
        self.bell().ring('c1', 'b1')
        self.assertTrue(self.wakes.came.acquire(timeout=WAIT))
        self.assertEqual(['c1'], self.wakes.woken)

    def test_the_caller_waits_for_nothing(self):
        """Neither for the choice, which reads SQL, nor for the broker."""
        self.listen()
        asked, let_go = self.event(), self.event()
        bell = self.bell(lambda *args: (asked.set(), let_go.wait(WAIT), self.server)[2])
        bell.ring('c1', 'b1')
        bell.ring('c2', 'b1')
        self.assertTrue(asked.wait(WAIT))
        self.assertEqual([], self.wakes.woken)
        let_go.set()
        for _ in range(2):
            self.assertTrue(self.wakes.came.acquire(timeout=WAIT))
        self.assertEqual({'c1', 'c2'}, set(self.wakes.woken))

    def test_no_thread_before_the_first_ring(self):
        """A WSGI server may fork after it has loaded the application."""
        self.assertIsNone(self.bell()._thread)

    def test_what_fails_is_dropped_counted_and_told_once(self):
        self.listen()
        failing = [OSError('connection refused')] * 3

        def choose(*args):
            if failing:
                raise failing.pop()
            return self.server

        bell = self.bell(choose)
        for name in ('c1', 'c2', 'c3', 'c4'):
            bell.ring(name, 'b1')
        self.assertTrue(self.wakes.came.acquire(timeout=WAIT))
        self.assertEqual((['c4'], 3), (self.wakes.woken, bell.dropped))
        self.assertEqual(1, self.log.output.count('connection refused'))

    def test_no_conductor_is_no_error(self):
        done = self.event()
        bell = self.bell(lambda *args: done.set())
        bell.ring('c1', 'b1')
        self.assertTrue(done.wait(WAIT))
        bell.stop()
        self.assertEqual(0, bell.dropped)

    def test_a_full_queue_drops(self):
        self.patch(rpc.Doorbell, 'LIMIT', 2)
        asked, let_go = self.event(), self.event()
        bell = self.bell(lambda *args: (asked.set(), let_go.wait(WAIT), None)[2])
        bell.ring('c1', 'b1')
        self.assertTrue(asked.wait(WAIT))
        for name in ('c2', 'c3', 'c4', 'c5'):
            bell.ring(name, 'b1')
        self.assertEqual(2, bell.dropped)
        let_go.set()


class TestStuckDoorbell(RpcCase):
    """A broker that takes a message and never confirms it."""

    def setUp(self):
        super().setUp()
        self.listen()
        self.clock = fixtures.Clock()
        self.bell = rpc.Doorbell(self.bus, self.choose, self.clock)
        self.addCleanup(self.bell.stop)
        self.let_go, self.sending, self.send = self.event(), threading.Semaphore(0), None
        self.stuck = {'c1'}
        send = self.bell._send

        def sometimes(server, uuids):
            if self.stuck & set(uuids):
                self.sending.release()
                self.let_go.wait(WAIT)
            return send(server, uuids)

        self.patch(self.bell, '_send', sometimes)

    def get_stuck(self, name):
        self.stuck.add(name)
        self.bell.ring(name, 'b1')
        self.assertTrue(self.sending.acquire(timeout=WAIT))

    def test_another_thread_rings_on(self):
        self.get_stuck('c1')
        self.bell.ring('c2', 'b1')
        self.clock.advance(rpc.Doorbell.STUCK + 1)
        self.bell.ring('c3', 'b1')
        for _ in range(2):
            self.assertTrue(self.wakes.came.acquire(timeout=WAIT))
        self.assertEqual(['c2', 'c3'], sorted(self.wakes.woken))
        self.let_go.set()
        self.assertTrue(self.wakes.came.acquire(timeout=WAIT))
        fixtures.eventually(lambda: self.bell._left_behind == 0)

    def test_not_before_it_has_had_its_time(self):
        self.get_stuck('c1')
        thread = self.bell._thread
        self.clock.advance(rpc.Doorbell.STUCK - 1)
        self.bell.ring('c2', 'b1')
        self.assertIs(thread, self.bell._thread)

    def test_threads_left_behind_are_few(self):
        for number in range(rpc.Doorbell.SPARE + 1):
            self.get_stuck(f'c{number}')
            self.clock.advance(rpc.Doorbell.STUCK + 1)
        thread = self.bell._thread
        self.bell.ring('last', 'b1')
        self.assertIs(thread, self.bell._thread)
        self.let_go.set()
        fixtures.eventually(lambda: 'last' in self.wakes.woken)
        fixtures.eventually(lambda: self.bell._left_behind == 0)


class TestSerializer(base.TestCase):

    def test_what_arrives_is_what_json_makes_of_it(self):
        serializer = rpc.JsonSerializer()
        sent = {'tuple': (1, 2), 'none': None}
        received = serializer.deserialize_entity(None, serializer.serialize_entity(None, sent))
        self.assertEqual({'tuple': [1, 2], 'none': None}, received)

    def test_what_json_does_not_know_fails_where_it_is_sent(self):
        self.assertRaises(TypeError, rpc.JsonSerializer().serialize_entity, None, {'a': object()})


class TestErrorsAcrossTheBus(base.TestCase):

    def test_every_class_arrives_as_one_of_its_code(self):
        for kind in exceptions._subclasses(exceptions.Error):
            sent = kind('the words')
            received = exceptions.Error.from_dict(sent.to_dict())
            self.assertEqual((sent.code, sent.detail, sent.hint),
                             (received.code, received.detail, received.hint))

    def test_an_unknown_code(self):
        received = exceptions.Error.from_dict({'code': 'from_the_future', 'detail': 'words'})
        self.assertEqual((500, 'words'), (received.status, received.detail))
