# SPDX-License-Identifier: Apache-2.0
"""The two messages over the in-process bus, and what happens when there is no bus."""

import collections
import threading

import oslo_messaging

from container_service import exceptions
from container_service import rpc
from container_service.conductor import endpoint
from container_service.tests import base
from container_service.tests import fixtures

WAIT = 10

Bay = collections.namedtuple('Bay', 'uuid name')
BAY = Bay('b1', 'bay')


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
    def ask(self, context, container_uuid, operation, params):
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

    def choose(self, container_uuid, bay_uuid):
        return self.server

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


class TestCalls(RpcCase):

    def calls(self, slots=2, choose=None):
        calls = rpc.Calls(self.bus, choose or self.choose, slots)
        self.addCleanup(calls.stop)
        return calls

    def ask(self, calls, seconds=WAIT):
        return calls.ask('c1', BAY, 'logs', {'tail': 3}, seconds)

    def test_the_answer_comes_back(self):
        self.listen()
        self.assertEqual('hello\n', self.ask(self.calls()))
        self.assertEqual([('c1', 'logs', {'tail': 3})], self.answers.asked)

    def test_so_does_an_error(self):
        self.listen()
        self.answers.answer = lambda: {'error': exceptions.EngineUnreachable('gone').to_dict()}
        error = self.assertRaises(exceptions.EngineUnreachable, self.ask, self.calls())
        self.assertEqual(('gone', 503), (error.detail, error.status))

    def test_no_conductor(self):
        error = self.assertRaises(exceptions.NoConductor, self.ask,
                                  self.calls(choose=lambda *args: None))
        self.assertEqual(503, error.status)
        self.assertIn('bay', error.detail)

    def test_more_than_there_are_slots(self):
        self.listen()
        asked, let_go = self.event(), self.event()
        self.answers.answer = lambda: (asked.set(), let_go.wait(WAIT), {'result': ''})[2]
        calls = self.calls(slots=1)
        first = threading.Thread(target=self.ask, args=(calls,))
        first.start()
        self.assertTrue(asked.wait(WAIT))
        error = self.assertRaises(exceptions.CallsBusy, self.ask, calls)
        self.assertEqual((503, 1), (error.status, error.retry_after))
        let_go.set()
        first.join(WAIT)
        self.assertEqual('', self.ask(calls))

    def test_a_slot_is_given_back_after_an_error(self):
        self.listen()
        self.answers.answer = lambda: {'error': exceptions.Error().to_dict()}
        calls = self.calls(slots=1)
        for _ in range(3):
            self.assertRaises(exceptions.Error, self.ask, calls)

    def test_a_conductor_that_does_not_answer(self):
        calls = self.calls()          # nobody listens
        self.patch(rpc, '_CALL_MONITOR', 0.5)
        error = self.assertRaises(exceptions.BusUnavailable, self.ask, calls, 1)
        self.assertEqual(503, error.status)

    def test_a_broker_that_does_not_answer(self):
        """The cast before the call hangs, as it does when the broker is down."""
        calls = self.calls()
        let_go = self.event()
        self.patch(calls, '_call', lambda *args: let_go.wait(WAIT))
        self.patch(rpc, '_REACH', 0.1)
        self.assertRaises(exceptions.BusUnavailable, self.ask, calls)

    def test_a_broker_that_refuses(self):
        class Refuses:
            def prepare(self, **kwargs):
                raise ConnectionRefusedError('connection refused')

        calls = self.calls()
        self.patch(calls, '_bell', Refuses())
        self.assertRaises(exceptions.BusUnavailable, self.ask, calls)

    def test_a_wake_as_a_call_returns_when_it_was_carried_out(self):
        self.listen()
        self.calls().ring('c1', 'b1', WAIT)
        self.assertEqual(['c1'], self.wakes.woken)

    def test_a_wake_as_a_call_never_fails(self):
        self.calls(choose=lambda *args: None).ring('c1', 'b1', WAIT)
        self.patch(rpc, '_CALL_MONITOR', 0.2)
        self.calls().ring('c1', 'b1', 0.3)          # nobody listens
        self.assertEqual([], self.wakes.woken)


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
