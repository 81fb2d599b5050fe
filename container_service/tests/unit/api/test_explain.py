# SPDX-License-Identifier: Apache-2.0
"""Why an action is where it is: every code there is, over HTTP, and whether it is dead or slow."""

import datetime

from container_service import lifecycle
from container_service import pulls
from container_service import states
from container_service.api import explain
from container_service.conductor import runner
from container_service.db import actions
from container_service.db import bays
from container_service.db import conductors
from container_service.tests import base as tests
from container_service.tests.unit.api import base

PROGRESS = {'image': 'far/away:1', 'layers': 3, 'layers_done': 1, 'bytes': 5,
            'bytes_total': 12}


class ExplainCase(base.ApiTestCase):

    seen = set()

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        # Who is alive is looked at anew each time.
        self.patch(self.parts.pool.__self__, '_refresh', self.refresh)

    def refresh(self, bay_uuid):
        ring = self.parts.pool.__self__
        with self.db.read() as conn:
            ring._conductors = conductors.live(conn)
            ring._bays = {row.uuid: row.hosts for row in bays.all_rows(conn)}

    def conductor(self, **values):
        """A conductor that is alive; nobody works."""
        made = tests.Conductor(values.get('host', self.conf.host))
        self.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': made.uuid, 'host': self.conf.host, 'slot': 0, 'server': made.server,
            **values}))
        return made

    def show(self, container, which=-1):
        """An action of the container, as it is shown."""
        shown = self.get(f'/v1/actions/{self.actions_of(container)[which].uuid}').json
        if shown['waiting'] is not None:
            self.assertEqual({'code', 'detail', 'retry_at'}, set(shown['waiting']))
            self.assertIn(shown['waiting']['code'], explain.CODES)
            self.assertNotEqual('', shown['waiting']['detail'])
        return shown

    def assert_waiting(self, code, container, which=-1):
        """Why it waits; returns the words."""
        waiting = self.show(container, which)['waiting']
        self.assertEqual(code, waiting['code'], waiting)
        return waiting['detail']

    def unhealthy(self, reason='connection refused'):
        self.change(bays.table, self.place.uuid, health_status='UNHEALTHY',
                    health_status_reason=reason)


class TestWaiting(ExplainCase):

    def test_no_conductor_for_bay(self):
        uuid = self.make()
        self.assertIn('bay', self.assert_waiting('no_conductor_for_bay', uuid))

    def test_no_conductor_on_its_hosts(self):
        self.conductor()
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.assert_waiting('no_conductor_for_bay', self.make())

    def test_waking(self):
        self.conductor()
        self.assert_waiting('waking', self.make())

    def test_pool_full(self):
        self.conductor(is_full=1)
        uuid = self.make()
        self.assert_waiting('pool_full', uuid)
        self.conductor()
        self.assert_waiting('waking', uuid)

    def test_queued_behind(self):
        self.conductor()
        uuid = self.make()
        create = self.actions_of(uuid)[0].uuid
        start, stop = self.submit('start', uuid), self.submit('stop', uuid)
        self.assertEqual(0, self.show(uuid, 0)['position'])
        self.assertEqual(f'Queued behind action {create} (create).',
                         self.assert_waiting('queued_behind', uuid, 1))
        self.assertEqual(f'Queued behind action {start} (start), 2 in all before it.',
                         self.assert_waiting('queued_behind', uuid, 2))
        self.assertEqual((2, stop), (self.show(uuid)['position'], self.show(uuid)['uuid']))
        self.carry_out(uuid)
        self.assertEqual(1, self.show(uuid)['position'])

    def test_bay_unreachable(self):
        self.conductor()
        uuid = self.make()
        self.unhealthy('no route to host')
        self.assertEqual('no route to host', self.assert_waiting('bay_unreachable', uuid))
        self.change(bays.table, self.place.uuid, health_status_reason=None)
        self.assertIn('bay', self.assert_waiting('bay_unreachable', uuid))

    def test_bay_unreachable_when_it_was_tried(self):
        self.conductor()
        uuid = self.make()
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'timed out', 60,
                          parked=True)
        waiting = self.show(uuid)['waiting']
        self.assertEqual(('bay_unreachable', 'timed out'), (waiting['code'], waiting['detail']))
        self.assert_in_a_minute(waiting['retry_at'])
        # Its time has come: it waits for a conductor now, and the words say why it still does.
        self.let_pass(61)
        self.conductor()
        waiting = self.show(uuid)['waiting']
        self.assertEqual(('waking', 'timed out', None), tuple(waiting.values()))

    def assert_in_a_minute(self, time):
        seconds = (datetime.datetime.fromisoformat(time).replace(tzinfo=None)
                   - self.database_time()).total_seconds()
        self.assertTrue(50 < seconds <= 60, time)

    def test_retrying(self):
        self.conductor()
        uuid = self.make()
        lifecycle.requeue(self.db, self.claim(uuid), 'retrying', 'Attempt 1 failed: disk full',
                          60)
        waiting = self.show(uuid)['waiting']
        self.assertEqual(('retrying', 'Attempt 1 failed: disk full'),
                         (waiting['code'], waiting['detail']))
        self.assert_in_a_minute(waiting['retry_at'])

    def test_what_conductors_write_is_in_the_catalogue(self):
        """Also when what could not be reached was not the engine."""
        for exc in (runner.exceptions.EngineUnreachable(),
                    runner.exceptions.NoConductor(bay='b'),
                    runner.exceptions.DatabaseUnavailable(), runner.exceptions.Unavailable()):
            uuid = self.create()
            made = runner.Runner(self.db, self.conf, type('Engines', (), {
                'failed': lambda *args: None})(), type('Lease', (), {'uuid': 'u'})(), None, None,
                None, None)
            made._park(self.claim(uuid), exc)
            self.assertIn(self.show(uuid)['waiting']['code'], explain.CODES)

    def test_shared_pull(self):
        self.conductor()
        uuid, other = self.create(image='far/away:1'), self.create(image='far/away:1')
        for one in (uuid, other):
            pull = lifecycle.wait_for_pull(self.db, self.claim(one))
        self.assertIn('about to be pulled', self.assert_waiting('shared_pull', uuid))
        claim = pulls.claim(self.db, pull, tests.Conductor())
        pulls.progress(self.db, claim, PROGRESS)
        for one in (uuid, other):
            self.assertEqual('Image far/away:1 is being pulled: 1 of 3 layers, 5 of 12 bytes.',
                             self.assert_waiting('shared_pull', one))
            self.assertEqual(PROGRESS, self.show(one)['progress'])
        pulls.end(self.db, claim, states.SUCCEEDED)
        self.assert_waiting('waking', uuid)

    def test_working(self):
        conductor = self.conductor()
        uuid = self.make()
        claim = self.claim(uuid, conductor)
        self.assertEqual(f'Conductor {conductor.server} is at it.',
                         self.assert_waiting('working', uuid))
        lifecycle.progress(self.db, claim, stage='creating', progress={'bytes': 1})
        self.assertIn('is at it, creating.', self.assert_waiting('working', uuid))
        shown = self.show(uuid)
        self.assertEqual(('creating', {'bytes': 1}, conductor.server, 1),
                         (shown['stage'], shown['progress'], shown['conductor'],
                          shown['attempts']))
        self.submit('start', uuid)
        self.assert_waiting('queued_behind', uuid)

    def test_working_on_an_engine_that_does_not_answer(self):
        uuid = self.make()
        self.claim(uuid, self.conductor())
        self.unhealthy()
        self.assertEqual('connection refused', self.assert_waiting('bay_unreachable', uuid))

    def test_cancelling(self):
        uuid = self.make()
        claim = self.claim(uuid, self.conductor())
        lifecycle.progress(self.db, claim, stage='creating')
        self.cancel(claim.action.uuid)
        self.assertIn('undoing it, creating.', self.assert_waiting('cancelling', uuid))

    def test_owner_lost(self):
        conductor = self.conductor()
        self.conductor(host='another')
        uuid = self.make()
        self.claim(uuid, conductor)
        for change in ({'lease_until': self.database_time()}, {'state': 'gone'}):
            self.change(conductors.table, conductor.uuid, **change)
            self.assertIn(conductor.server, self.assert_waiting('owner_lost', uuid))
        self.db.transact(lambda conn: conn.execute(conductors.table.delete()))
        self.assertIn(conductor.server, self.assert_waiting('no_conductor_for_bay', uuid))
        self.conductor()
        self.assert_waiting('owner_lost', uuid)
        lifecycle.take_over(self.db, self.actions_of(uuid)[0])
        self.assertIn('died', self.assert_waiting('waking', uuid))

    def test_handed_back(self):
        uuid = self.make()
        self.claim(uuid, self.conductor())
        lifecycle.hand_back(self.db, self.actions_of(uuid)[0], 60)
        self.assertIn('stopped', self.assert_waiting('handed_back', uuid))
        self.assertIsNotNone(self.show(uuid)['waiting']['retry_at'])

    def test_what_has_ended_waits_for_nothing(self):
        uuid = self.make(status='Created')
        shown = self.show(uuid)
        self.assertEqual((None, None, None),
                         (shown['waiting'], shown['liveness'], shown['position']))

    def test_every_code_has_a_test(self):
        tested = {name.removeprefix('test_') for name in dir(type(self))}
        self.assertEqual(set(), set(explain.CODES) - tested)

    def test_every_code_says_what_it_means(self):
        for code, words in explain.CODES.items():
            self.assertRegex(words, r'^[A-Z].*\.$', code)
            self.assertLessEqual(len(code), actions.table.c.waiting_code.type.length)


class TestLists(ExplainCase):
    """A list of actions explains each as showing one does."""

    def test_a_departures_board(self):
        self.conductor()
        uuid = self.make()
        self.submit('start', uuid)
        self.claim(uuid, self.conductor())
        listed = self.get('/v1/actions?status=unfinished').json['actions']
        self.assertEqual(['working', 'queued_behind'],
                         [action['waiting']['code'] for action in listed])
        self.assertEqual([0, 1], [action['position'] for action in listed])


class TestLiveness(ExplainCase):

    def test_nobody_has_it(self):
        self.assertEqual({'owner': 'none', 'heartbeat_age_seconds': None,
                          'progress_age_seconds': None, 'engine': 'unknown'},
                         self.show(self.make())['liveness'])

    def test_slow(self):
        conductor = self.conductor()
        uuid = self.make()
        claim = self.claim(uuid, conductor)
        self.change(bays.table, self.place.uuid, health_status='HEALTHY')
        liveness = self.show(uuid)['liveness']
        self.assertEqual(('alive', 'answers'), (liveness['owner'], liveness['engine']))
        self.assertLess(liveness['progress_age_seconds'], 5)
        self.let_pass(30)
        liveness = self.show(uuid)['liveness']
        self.assertEqual('alive', liveness['owner'])
        for key in ('heartbeat_age_seconds', 'progress_age_seconds'):
            self.assertTrue(30 <= liveness[key] < 35, liveness)
        self.db.transact(lambda conn: conductors.renew(conn, conductor.uuid, 60, {}))
        lifecycle.progress(self.db, claim, stage='creating')
        liveness = self.show(uuid)['liveness']
        for key in ('heartbeat_age_seconds', 'progress_age_seconds'):
            self.assertLess(liveness[key], 5)

    def test_dead(self):
        conductor = self.conductor()
        uuid = self.make()
        self.claim(uuid, conductor)
        self.let_pass(61)
        self.unhealthy()
        liveness = self.show(uuid)['liveness']
        self.assertEqual(('lost', 'does not answer'), (liveness['owner'], liveness['engine']))
        self.assertGreater(liveness['heartbeat_age_seconds'], 60)
