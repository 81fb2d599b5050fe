# SPDX-License-Identifier: Apache-2.0
"""Blocking calls over the in-process bus: who is asked, who is asked next, and every limit."""

import collections
import contextlib
import threading

import oslo_messaging

from container_service import calls
from container_service import exceptions
from container_service import rpc
from container_service.tests.unit import test_rpc
from container_service.tests.unit.test_rpc import WAIT

Bay = collections.namedtuple('Bay', 'uuid name')
BAY = Bay('b1', 'bay')


class Older:
    """A conductor of an earlier version."""

    target = oslo_messaging.Target(version='1.0')

    @oslo_messaging.expose
    def ask(self, context, container_uuid, operation, params):
        return {'result': 'older'}


class Tickets:
    """As if they were in a database."""

    @contextlib.contextmanager
    def issued(self, *asked):
        yield 'ticket'


class CallsCase(test_rpc.RpcCase):

    def calls(self, slots=2, choose=None):
        made = calls.Calls(self.bus, choose or self.choose, slots, Tickets())
        self.addCleanup(made.stop)
        return made

    def ask(self, made, seconds=WAIT, operation='logs'):
        return made.ask('c1', BAY, operation, {'tail': 3}, seconds)


class TestCalls(CallsCase):

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
        made = self.calls(slots=1)
        first = threading.Thread(target=self.ask, args=(made,))
        first.start()
        self.assertTrue(asked.wait(WAIT))
        error = self.assertRaises(exceptions.CallsBusy, self.ask, made)
        self.assertEqual((503, 1), (error.status, error.retry_after))
        let_go.set()
        first.join(WAIT)
        self.assertEqual('', self.ask(made))

    def test_one_project_gets_half_of_them(self):
        self.listen()
        asked, let_go = self.event(), self.event()
        self.answers.answer = lambda: (asked.set(), let_go.wait(WAIT), {'result': ''})[2]
        made = self.calls(slots=2)

        def ask(project):
            return made.ask('c1', BAY, 'logs', {'tail': 3}, WAIT, project)

        first = threading.Thread(target=ask, args=('one',))
        first.start()
        self.assertTrue(asked.wait(WAIT))
        error = self.assertRaises(exceptions.CallsBusy, ask, 'one')
        self.assertEqual((503, 1), (error.status, error.retry_after))
        let_go.set()
        self.assertEqual('', ask('other'))
        first.join(WAIT)
        self.assertEqual('', ask('one'))

    def test_a_slot_is_given_back_after_an_error(self):
        self.listen()
        self.answers.answer = lambda: {'error': exceptions.Error().to_dict()}
        made = self.calls(slots=1)
        for _ in range(3):
            self.assertRaises(exceptions.Error, self.ask, made)

    def test_a_conductor_of_an_earlier_version(self):
        server = rpc.server(self.bus, rpc.ASK_TOPIC, self.server, Older())
        server.start()
        self.addCleanup(server.stop)
        # It would believe whoever sends it a message.
        self.assertRaises(exceptions.ConductorSilent, self.ask, self.calls())

    def test_while_this_process_ends(self):
        made = self.calls(slots=1)
        made.stop()
        for _ in range(2):
            self.assertRaises(exceptions.BusUnavailable, self.ask, made)

    def test_a_wake_as_a_call_returns_when_it_was_carried_out(self):
        self.listen()
        self.calls().ring('c1', 'b1', WAIT)
        self.assertEqual(['c1'], self.wakes.woken)

    def test_a_wake_as_a_call_never_fails(self):
        self.calls(choose=lambda *args: None).ring('c1', 'b1', WAIT)
        self.patch(calls, '_CALL_MONITOR', 0.2)
        self.calls().ring('c1', 'b1', 0.3)          # nobody listens
        self.assertEqual([], self.wakes.woken)


class TestSilence(CallsCase):
    """Conductors that do not answer; nobody listens as ``dead.0``."""

    def setUp(self):
        super().setUp()
        self.patch(calls, '_READY', 1)       # one that is there must answer on a busy machine
        self.listen()

    def first_dead(self, container_uuid, bay_uuid, leave_out=()):
        return 'dead.0' if 'dead.0' not in leave_out else self.choose(
            container_uuid, bay_uuid, leave_out)

    def test_another_one_is_asked(self):
        """Also for what must not run twice: the first one was not asked for it."""
        for operation in ('logs', 'execute'):
            self.assertEqual('hello\n', self.ask(
                self.calls(choose=self.first_dead), operation=operation))
        self.assertEqual(2, len(self.answers.asked))

    def test_there_is_no_other(self):
        made = self.calls(choose=lambda container, bay, leave_out: (
            None if leave_out else 'dead.0'))
        for operation in ('logs', 'execute'):
            error = self.assertRaises(exceptions.ConductorSilent, self.ask, made,
                                      operation=operation)
            self.assertEqual((504, 'conductor_silent'), (error.status, error.code))
            # Where it is tells a tenant nothing but who is on which host.
            self.assertNotIn('dead.0', error.detail)
            self.assertIn('dead.0', self.log.output)

    def test_not_all_of_many(self):
        asked = []

        def choose(container_uuid, bay_uuid, leave_out):
            asked.append(f'dead.{len(leave_out)}')
            return asked[-1]

        self.assertRaises(exceptions.ConductorSilent, self.ask, self.calls(choose=choose))
        self.assertEqual(calls._TRIES + 1, len(asked))

    def falls_silent(self):
        """It takes the call, and that was the last that was heard of it."""
        came, let_go = [], self.event()

        def answer():
            came.append(True)
            if len(came) == 1:
                raise oslo_messaging.MessagingTimeout('the monitor heard nothing')
            return {'result': 'from another one'}

        self.answers.answer = answer
        made = self.calls(choose=lambda container, bay, leave_out: self.server)
        ask = made._client.prepare
        self.let_go = let_go

        class Silent:
            def __init__(self, **kwargs):
                self.call_for_real = ask(**kwargs).call

            def call(self, context, method, **kwargs):
                try:
                    return self.call_for_real(context, method, **kwargs)
                except oslo_messaging.RemoteError as exc:
                    raise oslo_messaging.MessagingTimeout() from exc

        self.patch(made._client, 'prepare', lambda **kwargs: Silent(**kwargs))
        return made, came

    def test_one_falls_silent_at_work(self):
        made, came = self.falls_silent()
        self.assertEqual('from another one', self.ask(made))
        self.assertEqual(2, len(came))

    def test_at_what_must_not_run_twice(self):
        made, came = self.falls_silent()
        error = self.assertRaises(exceptions.CallOutcomeUnknown, self.ask, made,
                                  operation='execute')
        self.assertEqual((504, 'call_outcome_unknown', 1), (error.status, error.code, len(came)))

    def test_one_that_takes_too_long(self):
        """It is at work: asking another one would not be faster."""
        let_go = self.event()
        self.answers.answer = lambda: (let_go.wait(WAIT), {'result': ''})[1]
        error = self.assertRaises(exceptions.GatewayTimeout, self.ask, self.calls(), 1)
        self.assertEqual((504, 'timeout'), (error.status, error.code))
        self.assertEqual(1, len(self.answers.asked))


class TestStuckBus(CallsCase):

    def test_a_broker_that_refuses(self):
        made = self.calls()

        def refuse(**kwargs):
            raise ConnectionRefusedError('connection refused')

        self.patch(made._client, 'prepare', lambda **kwargs: Bus(refuse))
        self.assertRaises(exceptions.BusUnavailable, self.ask, made)

    def test_one_that_is_lost_while_the_call_is_on_its_way(self):
        """It may have been taken: no promise that it was not."""
        made = self.calls()

        def lose(method):
            if method == 'ask':
                raise oslo_messaging.MessageDeliveryFailure('connection lost')

        self.patch(made._client, 'prepare', lambda **kwargs: Bus(lose, True))
        self.assertRaises(exceptions.BusUnavailable, self.ask, made)
        self.assertRaises(exceptions.CallOutcomeUnknown, self.ask, made, operation='execute')

    def test_a_broker_that_confirms_nothing(self):
        """What is stuck gives its slot back, and is no more than so many threads."""
        self.patch(calls, '_REACH', 0.1)
        made, let_go = self.calls(slots=1), self.event()
        self.patch(made._client, 'prepare', lambda **kwargs: Bus(lambda: let_go.wait(WAIT)))
        for _ in range(3):
            self.assertRaises(exceptions.BusUnavailable, self.ask, made)
        self.assertEqual(1, made._stuck)
        let_go.set()
        test_rpc.fixtures.eventually(lambda: made._stuck == 0)


class Bus:
    """A client whose calls come to this."""

    def __init__(self, what, named=False):
        self._what, self._named = what, named

    def call(self, context, method, **kwargs):
        return self._what(method) if self._named else self._what()
