# SPDX-License-Identifier: Apache-2.0
"""That the checker of the fault suite takes what is right, and nothing else."""

import json
import types

from container_service import operations
from container_service import states
from container_service.tests import base
from faults import checker
from faults import client
from faults import load
from faults import nemesis
from faults import observer


def action(operation, status=states.SUCCEEDED, started=True, **params):
    return types.SimpleNamespace(operation=operation, status=status, params=params, sequence=1,
                                 started_at=1 if started else None)


class TestExplain(base.TestCase):

    def assert_explained(self, letters, *actions, **kwargs):
        self.assertIsNone(checker.explain(letters, actions, **kwargs))

    def assert_not_explained(self, letters, *actions, **kwargs):
        self.assertIsNotNone(checker.explain(letters, actions, **kwargs))

    def test_a_whole_life(self):
        self.assert_explained(
            'CSPUDSKDX', action('create'), action('start'), action('pause'), action('unpause'),
            action('reboot'), action('kill', signal='SIGUSR1'), action('stop'), action('delete'))

    def test_an_effect_that_is_missing(self):
        self.assert_not_explained('C', action('create'), action('start'))

    def test_an_effect_had_twice(self):
        self.assert_not_explained('CSDSDS', action('create'), action('start'), action('reboot'))
        self.assert_not_explained('CSKK', action('run'), action('kill', signal='SIGUSR1'))

    def test_effects_in_another_order(self):
        self.assert_not_explained('CSDS', action('create'), action('start'), action('start'),
                                  action('stop'))

    def test_an_effect_of_nobody(self):
        self.assert_not_explained('CSD', action('run'))
        self.assert_explained('CSD', action('run'), outside='D')

    def test_an_effect_of_a_fault(self):
        self.assert_explained('CSD', action('run'), caused={2})
        self.assert_not_explained('CSDD', action('run'), caused={2})
        # Before, in the middle of, and instead of what an action does.
        self.assert_explained('CSDS', action('run'), action('start'), caused={2})
        self.assert_explained('CDS', action('run'), caused={1})
        self.assert_explained('CSD', action('run'), action('stop'), caused={2})
        self.assert_not_explained('CS', action('run'), action('stop'), caused={1})

    def test_what_a_fault_may_have_caused(self):
        fault = nemesis.Fault('kill -9', 'two', began=10, ended=12, effects='UD')
        for at, engine, name, expected in (
                (11, 'two', 'die', True), (11, 'one', 'die', False), (11, 'two', 'start', False),
                (11, 'two', 'attach', False), (9, 'two', 'die', False), (13, 'two', 'die', False)):
            event = observer.Event(at, engine, 'uuid', 'engine id', name, {})
            self.assertEqual(expected, fault.may_have_caused(event), (at, engine, name))

    def test_a_late_ghost(self):
        self.assert_not_explained('CXC', action('create'), action('delete'))

    def test_what_was_skipped_has_no_effect(self):
        self.assert_explained('C', action('create'), action('start', states.SKIPPED, False))
        self.assert_not_explained('CS', action('create'), action('start', states.SKIPPED, False))

    def test_what_was_interrupted_has_its_effect_once_or_not_at_all(self):
        kill = action('kill', states.INTERRUPTED, signal='SIGKILL')
        self.assert_explained('CS', action('run'), kill)
        self.assert_explained('CSD', action('run'), kill)
        self.assert_not_explained('CSDSD', action('run'), kill)

    def test_what_failed_may_have_come_half_way(self):
        self.assert_explained('C', action('run', states.FAILED))
        self.assert_not_explained('CSD', action('run', states.FAILED))

    def test_a_cancelled_creation_is_undone(self):
        for letters in ('', 'CX', 'CSDX'):
            self.assert_explained(letters, action('run', states.CANCELLED))
        self.assert_explained('', action('run', states.CANCELLED, started=False))
        self.assert_not_explained('CX', action('run', states.CANCELLED, started=False))

    def test_a_stop_of_what_has_ended_does_nothing(self):
        self.assert_explained('CSD', action('run'), action('kill', signal='SIGKILL'),
                              action('stop'))

    def test_a_paused_container_may_be_thawed_on_its_way_out(self):
        for letters in ('CSPDX', 'CSPUDX'):
            self.assert_explained(letters, action('run'), action('pause'), action('delete'))
        self.assert_explained('CSPKU', action('run'), action('pause'),
                              action('kill', signal='SIGUSR1'))

    def test_every_operation_that_is_asked_for_is_known(self):
        for name in set(load.MIX) & set(operations.OPERATIONS):
            self.assertTrue(checker.effects(name, {}, checker.RUNNING))


class TestChecker(base.TestCase):
    """What it says of one container with one action."""

    def setUp(self):
        super().setUp()
        self.audit, self.requests = [], []
        self.status, self.claim, self.who = states.QUEUED, None, 'api1'

    def write(self, who, status, claim=None):
        self.audit.append(types.SimpleNamespace(
            action_uuid='action', who=who, old_status=self.status, status=status,
            old_claim=self.claim, claim=claim))
        self.status, self.claim = status, claim

    def request(self, *answers, key='key'):
        """A request that was answered so: (status, uuid of the action)."""
        self.requests.append(load.Request(
            'client', 'stop', 'POST', '/stop', None, key, 'web', tries=[
                client.Answer(0, 0, 0, status, json.dumps({'uuid': uuid}))
                for status, uuid in answers]))

    def found(self, check):
        container = types.SimpleNamespace(
            audit=self.audit, requests=self.requests, row=types.SimpleNamespace(bay_uuid='bay'),
            actions=[types.SimpleNamespace(uuid='action', sequence=1, operation='stop')])
        world = types.SimpleNamespace(apis=[types.SimpleNamespace(name='api1')], unseen=())
        past = types.SimpleNamespace(containers=[container])
        found = checker.Checker(world, past)
        return [each.invariant for each in (
            found._asked_for(container) if check == 'asked' else getattr(found, check)())]

    def test_a_claim_taken_over_in_order(self):
        self.write('node1', states.ACTION_RUNNING, 'first')
        self.write('node2', states.QUEUED)
        self.write('node2', states.ACTION_RUNNING, 'second')
        self.write('node2', states.SUCCEEDED, 'second')
        self.assertEqual([], self.found('fenced'))

    def test_a_write_under_the_claim_of_another(self):
        self.write('node1', states.ACTION_RUNNING, 'first')
        self.write('node2', states.SUCCEEDED, 'first')
        self.assertEqual(['I5'], self.found('fenced'))

    def test_a_write_to_what_has_ended(self):
        self.write('node1', states.ACTION_RUNNING, 'first')
        self.write('node1', states.SUCCEEDED, 'first')
        self.write('node2', states.SUCCEEDED, 'first')
        self.assertEqual(['I5'], self.found('fenced'))

    def test_a_claim_of_what_is_claimed(self):
        self.write('node1', states.ACTION_RUNNING, 'first')
        self.write('node2', states.ACTION_RUNNING, 'second')
        self.assertEqual(['I2'], self.found('fenced'))

    def test_one_action_whatever_how_often_it_was_asked(self):
        self.request((503, None), (202, 'action'), (202, 'action'))
        self.assertEqual([], self.found('asked'))
        self.request((202, 'action'), (202, 'another'))
        self.assertEqual(['I1'], self.found('asked'))

    def test_an_action_that_nobody_was_told_of(self):
        self.request((409, None))
        self.assertEqual(['I1'], self.found('asked'))
        # Who got no answer may have been heard.
        self.request((503, None), key=None)
        self.assertEqual([], self.found('asked'))
