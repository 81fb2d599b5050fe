# SPDX-License-Identifier: Apache-2.0
"""Cancel at every point of an action's life, on real services; what was said is what happens."""

from container_service import states
from container_service.tests import base
from container_service.tests import deployed
from container_service.tests import fixtures


class TestCancel(deployed.DeployedTestCase):

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.share(deployed.EngineHere(cls.database))

    def create(self, **values):
        return self.caller.create(base.IMAGE, bay_uuid='fake', **values)

    def hold(self, operation, container=None, after_effect=False):
        hold = self.processes.fake.hold(operation, container and container['uuid'], after_effect)
        self.addCleanup(hold.release)
        return hold

    def assert_cancelled(self, web, words):
        ended = self.caller.wait(web['action'])
        self.assertEqual((states.CANCELLED, 'cancelled'),
                         (ended['status'], (ended['error'] or {}).get('code')), ended)
        self.assertIn(words, ended['error']['detail'])
        shown = self.caller.show(web)
        self.assertEqual(('Error', 'create cancelled', None),
                         (shown['status'], shown['status_reason'], shown['task_state']))
        self.assertIsNone(self.processes.fake.container(web['uuid']))

    def test_queued(self):
        web = self.create(run=True)
        hold = self.hold('stop', web)
        stop, start = self.caller.ask(web, 'stop'), self.caller.ask(web, 'start')
        hold.wait_entered()
        cancelled = self.caller.cancel(start)
        self.assertEqual(('cancelled', 'Cancelled before it ran; it had no effect.'),
                         (cancelled['status'], cancelled['error']['detail']))
        hold.release()
        self.succeeded(stop)
        self.assertEqual(['create', 'start', 'stop'], self.processes.effects_on(web))
        self.assertEqual('Stopped', self.caller.show(web)['status'])

    def test_a_create_that_runs(self):
        hold = self.hold('create')
        web = self.create()
        start = self.caller.ask(web, 'start')
        hold.wait_entered()
        self.assertTrue(self.caller.action(web['action'])['cancellable'])
        cancelled = self.caller.cancel(web['action'])
        self.assertEqual('cancelling', cancelled['status'])
        hold.release()
        self.assert_cancelled(web, 'Cancelled; ')
        skipped = self.caller.wait(start)
        self.assertEqual((states.SKIPPED, web['action']['uuid']),
                         (skipped['status'], skipped['caused_by']))

    def test_a_create_that_is_done_before_it_has_heard_of_it(self):
        """Who asked was told that it will be undone."""
        for _ in range(5):
            hold = self.hold('create', after_effect=True)
            web = self.create()
            hold.wait_entered()
            self.caller.cancel(web['action'])
            hold.release()
            self.assert_cancelled(web, 'the container that it had made was removed')
            self.assertEqual(['create', 'delete'], self.processes.effects_on(web))

    def test_too_late(self):
        web = self.create(run=True)
        self.succeeded(web['action'])
        hold = self.hold('stop', web)
        stop = self.caller.ask(web, 'stop')
        hold.wait_entered()
        self.assertFalse(self.caller.action(stop)['cancellable'])
        for action in (stop, web['action']):
            self.assertEqual('too_late_to_cancel',
                             self.caller.cancel(action, expect=409)['errors'][0]['code'])
        hold.release()
        self.succeeded(stop)

    def test_by_a_forced_delete(self):
        hold = self.hold('create')
        web = self.create()
        start = self.caller.ask(web, 'start')
        hold.wait_entered()
        delete = self.caller.ask(web, 'delete', force='true')
        hold.release()
        self.succeeded(delete)
        self.assertEqual(
            [(web['action']['uuid'], states.CANCELLED), (start['uuid'], states.CANCELLED),
             (delete['uuid'], states.SUCCEEDED)],
            [(one['uuid'], one['status']) for one in self.caller.history(web)])
        self.assertIsNone(self.processes.fake.container(web['uuid']))
        self.caller.show(web, expect=404)


class TestKilledConductor(deployed.DeployedTestCase):
    """What is asked of an action whose conductor is dead is done by the next one."""

    def setUp(self):
        super().setUp()
        self.deploy(config='[bays]\ndrivers = docker, fake')
        self.processes.request('POST', '/v1/bays', {
            'name': 'fake', 'driver': 'fake', 'public': True,
            'endpoint': f'fake://killed?present_image={base.IMAGE}&create_delay=3'},
            expect=201)

    def test_cancel_while_nobody_is_there(self):
        webs = [self.caller.create(base.IMAGE, bay_uuid='fake') for _ in range(3)]
        starts = [self.caller.ask(web, 'start') for web in webs]
        for web in webs:
            fixtures.eventually(lambda web=web: self.caller.action(web['action'])['stage'])
        killed = self.processes.conductors[0]
        killed.kill()
        # One in mid air, one queued behind, and one that nobody touches.
        self.assertEqual('cancelling', self.caller.cancel(webs[0]['action'])['status'])
        self.assertEqual('cancelled', self.caller.cancel(starts[1])['status'])
        shown = fixtures.eventually(lambda: (
            lambda one: one if one['liveness']['owner'] == 'lost' else None)(
                self.caller.action(webs[2]['action'])), 20)
        self.assertEqual('no_conductor_for_bay', shown['waiting']['code'])

        self.processes.start_conductor()
        ends = [[self.caller.wait(action)['status'] for action in (web['action'], start)]
                for web, start in zip(webs, starts)]
        self.assertEqual([['cancelled', 'skipped'], ['succeeded', 'cancelled'],
                          ['succeeded', 'succeeded']], ends)
        self.assertEqual(['Error', 'Created', 'Running'],
                         [self.caller.show(web)['status'] for web in webs])
        # A death counts as an attempt only for what was all that the conductor ran.
        self.assertEqual([1, 1, 1],
                         [self.caller.action(web['action'])['attempts'] for web in webs])
