# SPDX-License-Identifier: Apache-2.0
import collections
import json
import logging
import random

import oslo_messaging
from oslo_messaging.rpc import dispatcher
import sqlalchemy as sa

from container_service import exceptions
from container_service import images
from container_service import lifecycle
from container_service import rpc
from container_service import secrets
from container_service import sparing
from container_service import tickets
from container_service.conductor import endpoint
from container_service.db import bays
from container_service.db import models
from container_service.db import settings
from container_service.drivers import fake
from container_service.tests.unit.conductor import base


class TestWake(base.BenchCase):

    def test_the_in_flight_map_is_told(self):
        uuid = self.create()
        self.assertEqual('accepted', endpoint.Wake(self.here.inflight).wake({}, uuid))
        self.assert_at_rest(uuid, 'Created')

    def test_of_a_container_that_is_not_there(self):
        wake = endpoint.Wake(self.here.inflight)
        self.assertEqual('accepted', wake.wake({}, lifecycle.new_uuid()))


    def test_for_what_is_done_with_an_image(self):
        made, _ = images.pull(self.context, self.db, reference='far/away:1')
        wake = endpoint.Wake(self.here.inflight, pulling=self.here.pulling)
        self.assertEqual('accepted', wake.wake({}, f'{rpc.PULL}{made.pull_uuid}'))
        self.assertEqual(['far/away:1'], self.engine.pulls)

    def test_while_it_drains_peers_are_rung_instead(self):
        uuids = [self.create() for _ in range(3)]
        self.here.drain()
        passed_on = []
        wake = endpoint.Wake(self.here.inflight, passed_on.append)
        self.assertEqual('stopping', wake.wake({}, uuids[0], uuids[1:]))
        self.assertEqual(uuids, passed_on)
        self.assertEqual([('create', 'queued')], self.outcomes(uuids[0]))


class TestAsk(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.endpoint = endpoint.Ask(self.db, self.here.engines, settings.deployment(self.db),
                                     secrets.Keys(self.conf))

    def ask(self, uuid, operation, **params):
        with tickets.Tickets(self.db).issued(uuid, operation, params) as ticket:
            return self.endpoint.ask({}, ticket, uuid, operation, params)

    def test_the_answer_is_the_content(self):
        uuid = self.running(command=['sh', '-c', 'echo hello; sleep 600'])
        self.assertEqual('hello\n', self.ask(uuid, 'logs')['result']['output'])
        answer = self.ask(uuid, 'execute', command=['echo', 'there'])['result']
        self.assertEqual(('there\n', 0, False),
                         (answer['output'], answer['exit_code'], answer['truncated']))

    def test_nothing_is_recorded(self):
        uuid = self.running()
        before = self.container(uuid), self.actions_of(uuid)
        self.ask(uuid, 'logs')
        self.assertEqual(before, (self.container(uuid), self.actions_of(uuid)))

    def error(self, *args, **kwargs):
        return exceptions.Error.from_dict(self.ask(*args, **kwargs)['error'])

    def test_errors_cross_the_bus(self):
        uuid = self.running()
        self.engine.unreachable = True
        error = self.error(uuid, 'logs')
        self.assertIsInstance(error, exceptions.EngineUnreachable)
        self.assertIn('connection refused', error.detail)
        self.assertEqual(exceptions.EngineUnreachable.hint, error.hint)

    def test_an_unknown_container(self):
        self.assertIsInstance(self.error(lifecycle.new_uuid(), 'logs'),
                              exceptions.ContainerNotFound)

    def test_a_bay_that_this_conductor_does_not_reach(self):
        uuid = self.running()
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.here.clock.advance(2)
        self.here.engines.served()
        self.assertIsInstance(self.error(uuid, 'logs'), exceptions.NoConductor)

    def test_only_blocking_operations_are_asked_for(self):
        """A message names a method of the driver: only those of the table, and none that acts."""
        uuid = self.running()
        for name in ('delete', 'stop', 'ping', '__init__', 'nothing'):
            self.assertIsInstance(self.error(uuid, name), exceptions.Invalid)
        self.assertEqual(['create', 'start'], self.effects(uuid))

    def test_an_exception_nobody_foresaw_tells_nothing_but_that(self):
        uuid = self.running()
        self.patch(fake.FakeDriver, 'logs', lambda *args, **kwargs: {}['secret'])
        error = self.error(uuid, 'logs')
        self.assertEqual(('internal_error', exceptions.Error.message), (error.code, error.detail))
        self.assertIn('secret', self.log.output)


Message = collections.namedtuple('Message', 'ctxt message client_timeout')


class TestForged(base.BenchCase):
    """Whoever has credentials for the broker, and none for the database, sends messages (S-14)."""

    def setUp(self):
        super().setUp()
        self.uuid = self.running()
        self.ask = endpoint.Ask(self.db, self.here.engines, settings.deployment(self.db),
                                secrets.Keys(self.conf))
        self.wake = endpoint.Wake(self.here.inflight, self.here.pass_on, self.here.pulling)
        self.known = tickets.Tickets(self.db)
        self.command = {'command': ['rm', '-rf', '/']}

    def everything(self):
        """Every row of every table but what a conductor says of itself, and the engine."""
        with self.db.read() as conn:
            rows = {table.name: sorted(map(repr, conn.execute(sa.select(table))))
                    for table in models.metadata.sorted_tables if table.name != 'conductors'}
        return rows, list(self.engine.effects)

    def refused(self, ticket, uuid=None, operation='execute', params=None):
        answer = self.ask.ask({}, ticket, uuid or self.uuid, operation, params or self.command)
        self.assertEqual('forbidden', answer['error']['code'])

    def test_a_command_without_a_ticket_is_not_executed(self):
        before = self.everything()
        for ticket in (None, '', 'x', lifecycle.new_uuid(), 7, [], {}, 'é' * 36, True):
            self.refused(ticket)
        self.assertEqual(before, self.everything())

    def test_what_no_ticket_looks_like_is_not_asked_of_the_database(self):
        """A driver of a database may have no way to say it: psycopg2 raises ValueError for NUL."""
        before = self.db.transact
        self.patch(self.db, 'transact', lambda *args, **kwargs: self.fail('It was asked.'))
        for ticket in ('\0' * 36, 'g' * 36, f'{lifecycle.new_uuid()[:35]}\n'):
            self.refused(ticket)
        self.patch(self.db, 'transact', before)

    def test_what_goes_wrong_with_strangers_is_logged_sparingly(self):
        def fail(*args, **kwargs):
            raise ValueError

        self.patch(self.db, 'transact', fail)
        for _ in range(100):
            answer = self.ask.ask({}, lifecycle.new_uuid(), 'x\nforged', 'y\nforged' * 1000, {})
            self.assertEqual('internal_error', answer['error']['code'])
        self.assertEqual(5, self.log.output.count('Traceback'))
        self.assertNotIn('\nforged', self.log.output)
        self.assertLess(max(map(len, self.log.output.splitlines())), 1000)

    def test_a_ticket_is_good_for_what_was_accepted_alone(self):
        other = self.running(name='other')
        before = self.everything()
        with self.known.issued(self.uuid, 'logs', {'tail': 3}) as ticket:
            self.refused(ticket)
            self.refused(ticket, operation='logs', params={'tail': 4})
            self.refused(ticket, other, 'logs', {'tail': 3})
        self.assertEqual(before[1:], self.everything()[1:])

    def test_a_ticket_is_good_once(self):
        params = {'command': ['echo', 'once']}
        with self.known.issued(self.uuid, 'execute', params) as ticket:
            first = self.ask.ask({}, ticket, self.uuid, 'execute', params)
            self.assertEqual('once\n', first['result']['output'])
            self.refused(ticket, params=params)

    def test_a_ticket_is_not_good_for_long(self):
        self.patch(tickets, 'LIFE', -1)
        with self.known.issued(self.uuid, 'execute', self.command) as ticket:
            self.refused(ticket)
        self.here.sweep.purge()
        self.assertEqual([], self.everything()[0]['tickets'])

    def test_a_ticket_of_a_call_that_was_given_up_is_gone(self):
        try:
            with self.known.issued(self.uuid, 'execute', self.command) as ticket:
                raise exceptions.GatewayTimeout(seconds=1)
        except exceptions.GatewayTimeout:
            self.refused(ticket)
        self.assertEqual([], self.everything()[0]['tickets'])

    def words(self, chance):
        """Anything, and what is nearly right."""
        deep = []
        for _ in range(50):
            deep = [deep]
        return chance.choice([
            None, True, 0, -1, 10 ** 30, 1.5, '', 'x', 'x' * 10000, '\0\n\x1b[31m', 'é', [], {},
            [None], {'x': {}}, deep, self.uuid, self.uuid.upper(), f'{rpc.PULL}{self.uuid}',
            rpc.PULL, [self.uuid] * 1000, lifecycle.new_uuid(), "' OR 1=1 --", 'logs', 'execute',
            'delete', 'stop', '__init__', self.command, {'tail': 3}, {'self': 1}])

    def message(self, chance):
        arguments = ['ticket', 'container_uuid', 'operation', 'params', 'more', 'x']
        if chance.random() < 0.1:
            arguments += ['context', 'self', '']
        message = {
            'method': chance.choice(['ask', 'wake'] * 4 + [
                'ready', '_ask', '__init__', 'redeem', '', 'stop']),
            'args': {name: self.words(chance)
                     for name in chance.sample(arguments, chance.randrange(6))},
            'version': chance.choice(['1.2'] * 9 + ['1.1', '1.0', '9.9', None, 'x'])}
        if chance.random() < 0.3:
            message['args'].update(container_uuid=self.uuid, operation='execute',
                                   params=self.command)
        for name in list(message):
            if chance.random() < 0.03:
                del message[name]
        return {**message, 'args': {
            name: json.dumps(value) if chance.random() < 0.95 else '{"' for name, value
            in message.get('args', {}).items()}}

    def test_thousands_of_forged_messages_do_nothing(self):
        before, chance = self.everything(), random.Random(14)
        logged = len(self.log.output)
        sides = [dispatcher.RPCDispatcher([end], rpc.JsonSerializer(),
                                          oslo_messaging.ExplicitRPCAccessPolicy)
                 for end in (self.ask, self.wake)]
        taken = 0
        for _ in range(4000):
            message = Message({}, self.message(chance), None)
            try:
                chance.choice(sides).dispatch(message)
                taken += 1
            except Exception as exc:
                # What the library refuses by itself, before anything of ours is called.
                self.assertNotIsInstance(exc, exceptions.Error)
        self.assertGreater(taken, 500)
        self.assertEqual(before, self.everything())
        self.assertLess(len(self.log.output) - logged, 10000)
        # It is as well as before.
        self.assertEqual('accepted', self.wake.wake({}, self.uuid))
        with self.known.issued(self.uuid, 'execute', {'command': ['echo', 'well']}) as ticket:
            answer = self.ask.ask({}, ticket, self.uuid, 'execute', {'command': ['echo', 'well']})
        self.assertEqual('well\n', answer['result']['output'])

    def test_what_the_library_says_of_such_messages_is_bounded(self):
        clock = base.fixtures.Clock()
        quiet = sparing.Filter(clock)
        record = logging.makeLogRecord({'msg': 'Exception during message handling'})
        self.assertEqual(5, sum(bool(quiet.filter(record)) for _ in range(1000)))
        clock.advance(60)
        self.assertTrue(quiet.filter(record))
