# SPDX-License-Identifier: Apache-2.0
from container_service import exceptions
from container_service import images
from container_service import lifecycle
from container_service import rpc
from container_service import secrets
from container_service.conductor import endpoint
from container_service.db import bays
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
        return self.endpoint.ask({}, uuid, operation, params)

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
