# SPDX-License-Identifier: Apache-2.0
"""How much may be queued, and when to come back."""

import sqlalchemy as sa

from container_service import exceptions
from container_service import states
from container_service.api import limits
from container_service.db import actions
from container_service.db import conductors
from container_service.tests import base as tests
from container_service.tests import fixtures
from container_service.tests.unit.api import base


class LimitsCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.clock = fixtures.Clock()
        self.limits = self.parts.limits
        self.limits._clock = self.parts.quotas._clock = self.clock

    def set(self, **values):
        for name, value in values.items():
            self.conf.set_override(name, value, group='api')

    def finished(self, count):
        """So many actions have ended in the last minute."""
        uuid = self.create()
        row = self.actions_of(uuid)[0]._asdict()
        del row['id']
        self.db.transact(lambda conn: conn.execute(actions.table.delete().where(
            actions.table.c.uuid == row['uuid'])))
        if not count:
            return
        self.db.transact(lambda conn: conn.execute(actions.table.insert(), [
            {**row, 'uuid': f'{number:036}', 'sequence': 100 + number,
             'status': states.SUCCEEDED, 'finished_at': self.database_time()}
            for number in range(count)]))

    def retry_after(self, answer):
        return int(answer.headers['Retry-After'])

    def conductor(self, is_full, policy='reject', slot=0):
        made = tests.Conductor()
        self.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': made.uuid, 'host': self.conf.host, 'slot': slot, 'server': made.server,
            'is_full': is_full, 'saturation_policy': policy}))
        return made

    def accept(self, name, **values):
        return self.post('/v1/containers', {'image': 'i', 'name': name}, **values)


class TestProject(LimitsCase):

    def test_too_many_actions(self):
        self.set(project_action_limit=3)
        for number in range(3):
            self.assertEqual(202, self.accept(f'c{number}').status_int)
        answer = self.accept('c3')
        detail = self.assert_refused(429, 'too_many_actions', answer)
        self.assertIn('3 unfinished actions; its limit is 3', detail)
        self.assertEqual(5, self.retry_after(answer))        # nothing is known of the rate
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c3'))

    def test_others_have_their_own(self):
        self.set(project_action_limit=1)
        self.accept('c0')
        self.assertEqual(429, self.accept('c1').status_int)
        self.assertEqual(202, self.accept('c0', project='other').status_int)

    def test_operations_count_and_delete_is_never_held_up(self):
        self.set(project_action_limit=2)
        uuid = self.make('c0')
        self.post('/v1/containers/c0/start')
        self.assert_refused(429, 'too_many_actions', self.post('/v1/containers/c0/stop'))
        self.assertEqual(204, self.delete('/v1/containers/c0?stop=true').status_int)
        self.assertEqual(3, len(self.actions_of(uuid)))

    def test_what_has_ended_makes_room(self):
        self.set(project_action_limit=1)
        uuid = self.make('c0')
        self.assertEqual(429, self.accept('c1').status_int)
        self.carry_out(uuid)
        self.assertEqual(429, self.accept('c1').status_int)      # seen within a second
        self.clock.advance(1)
        self.assertEqual(202, self.accept('c1').status_int)

    def test_what_was_not_accepted_does_not_count(self):
        self.set(project_action_limit=2)
        uuid = self.make('c0', 'Running')
        self.clock.advance(1)
        for _ in range(5):
            self.assertEqual(409, self.accept('c0').status_int)
            self.assertEqual(404, self.post('/v1/containers/x/start').status_int)
            self.assertEqual(409, self.post('/v1/containers/c0/start').status_int)
            self.assertEqual(200, self.post('/v1/containers/c0/pause?dry_run=1').status_int)
        self.post('/v1/containers/c0/pause')
        for _ in range(5):
            self.assertEqual(202, self.post('/v1/containers/c0/pause').status_int)   # folded
        self.assertEqual(2, len(self.actions_of(uuid)))
        self.assertEqual(202, self.accept('c1').status_int)

    def test_what_is_folded_adds_nothing(self):
        uuid = self.make('c0', 'Running')
        self.clock.advance(1)
        self.set(project_action_limit=1)
        first = self.post('/v1/containers/c0/pause', version='1.41')
        again = self.post('/v1/containers/c0/pause', version='1.41')
        self.assertEqual((202, first.json['uuid'], 1), (
            again.status_int, again.json['uuid'], again.json['coalesced']))
        self.assertEqual(1, self.limits.view('project')['unfinished_actions']['used'])
        # Not what is another request, or is never folded.
        for path in ('unpause', 'kill'):
            self.assert_refused(429, 'too_many_actions',
                                self.post(f'/v1/containers/c0/{path}'))
        self.claim(uuid)
        self.assert_refused(429, 'too_many_actions', self.post('/v1/containers/c0/pause'))
        self.assertEqual(2, len(self.actions_of(uuid)))

    def test_a_request_sent_again_gets_its_answer(self):
        self.set(project_action_limit=1)
        headers = {'Idempotency-Key': 'k'}
        first = self.accept('c0', headers=headers)
        again = self.accept('c0', headers=headers)
        self.assertEqual((202, first.json['uuid'], 'true'), (
            again.status_int, again.json['uuid'], again.headers['Idempotency-Replayed']))
        self.assertEqual(429, self.accept('c1', headers={'Idempotency-Key': 'l'}).status_int)


class TestSystem(LimitsCase):

    def test_system_full(self):
        self.set(action_limit=2)
        self.accept('c0')
        self.accept('c0', project='other')
        answer = self.accept('c0', project='third')
        self.assertIn('as many unfinished', self.assert_refused(503, 'system_full', answer))
        self.assertEqual(5, self.retry_after(answer))


class TestRetryAfter(LimitsCase):
    """Computed from how many actions have ended lately."""

    def test_the_rate_decides(self):
        self.set(project_action_limit=1)
        for count, seconds in ((0, 5), (6, 10), (60, 1), (600, 1)):
            self.db.transact(lambda conn: conn.execute(actions.table.delete()))
            self.finished(count)
            self.clock.advance(2)
            self.accept(f'c{count}')
            self.assertEqual(seconds, self.retry_after(self.accept('cx')), count)

    def test_how_much_is_too_much_decides(self):
        self.finished(60)
        for _ in range(30):
            self.create()
        self.set(project_action_limit=10)
        # 21 must end before there is room, one in a second.
        self.assertEqual(21, self.retry_after(self.accept('cx')))

    def test_at_most_five_minutes(self):
        self.finished(1)
        self.set(project_action_limit=1)
        for _ in range(20):
            self.create()
        self.assertEqual(300, self.retry_after(self.accept('cx')))

    def test_old_ends_do_not_count(self):
        self.set(project_action_limit=1)
        self.finished(60)
        self.let_pass(61)
        self.accept('c0')
        self.assertEqual(5, self.retry_after(self.accept('cx')))

    def test_queue_full(self):
        self.set(container_queue_limit=2)
        self.finished(12)
        self.make('c0')
        self.post('/v1/containers/c0/start')
        answer = self.post('/v1/containers/c0/stop')
        self.assert_refused(409, 'queue_full', answer)
        self.assertEqual(5, self.retry_after(answer))
        self.assertEqual(204, self.delete('/v1/containers/c0?stop=1').status_int)


class TestPoolFull(LimitsCase):

    def test_every_conductor_is_full(self):
        self.conductor(1)
        answer = self.accept('c0')
        self.assert_refused(503, 'pool_full', answer)
        self.assertEqual(5, self.retry_after(answer))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c0'))

    def test_one_is_not(self):
        self.conductor(1)
        self.conductor(0, slot=1)
        self.assertEqual(202, self.accept('c0').status_int)

    def test_with_another_policy_it_is_queued(self):
        for slot, policy in enumerate(('queue', 'caller_runs', None)):
            self.db.transact(lambda conn: conn.execute(conductors.table.delete()))
            self.conductor(1, policy, slot)
            self.clock.advance(2)
            self.assertEqual(202, self.accept(f'c{slot}').status_int)

    def test_without_any_conductor_it_is_queued(self):
        self.assertEqual(202, self.accept('c0').status_int)

    def test_a_dead_one_does_not_count(self):
        made = self.conductor(1)
        self.change(conductors.table, made.uuid, lease_until=self.database_time())
        self.assertEqual(202, self.accept('c0').status_int)

    def test_what_is_urgent_has_its_own_slots(self):
        for number in range(3):
            self.make(f'c{number}', 'Running')
        self.conductor(1)
        self.clock.advance(2)
        self.assert_refused(503, 'pool_full', self.post('/v1/containers/c0/pause'))
        for number, path in enumerate(('stop', 'kill')):
            self.assertEqual(202, self.post(f'/v1/containers/c{number}/{path}').status_int)
        self.assertEqual(204, self.delete('/v1/containers/c2?stop=true').status_int)

    def test_when_it_is_over(self):
        made = self.conductor(1)
        self.assertEqual(503, self.accept('c0').status_int)
        self.change(conductors.table, made.uuid, is_full=0)
        self.clock.advance(1)
        self.assertEqual(202, self.accept('c0').status_int)


class TestCost(LimitsCase):

    def test_requests_of_one_second_cost_one_look(self):
        sent = []

        def note(conn, cursor, statement, *rest):
            if not statement.startswith('BEGIN'):
                sent.append(statement)

        sa.event.listen(self.db.engine, 'before_cursor_execute', note)
        self.addCleanup(sa.event.remove, self.db.engine, 'before_cursor_execute', note)
        for _ in range(50):
            self.limits.check('project')
        # Three of what there is, and three of who may have how much.
        self.assertEqual(6, len(sent))
        self.assertEqual(50, self.limits.view('project')['unfinished_actions']['used'])
        self.clock.advance(1)
        self.limits.check('project')
        self.assertEqual(12, len(sent))

    def test_what_is_given_back_never_falls_below_nothing(self):
        self.limits.check('project')
        for _ in range(3):
            self.limits.not_used('project')
            self.limits.not_used('unknown')
        self.assertEqual((0, 0), (self.limits._counts['project'], self.limits._total))

    def test_a_database_that_is_down(self):
        def down():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'read', down)
        answer = self.accept('c0')
        self.assert_refused(503, 'database_unavailable', answer)


class TestView(LimitsCase):

    def test_allowance_and_use(self):
        self.set(project_action_limit=7, container_queue_limit=3)
        self.finished(30)
        self.accept('c0')
        self.accept('c0', project='other')
        shown = self.get('/v1/limits').json['limits']
        self.assertEqual({'limit': 7, 'used': 1}, shown['unfinished_actions'])
        self.assertEqual(3, shown['unfinished_actions_per_container']['limit'])
        self.assertEqual(0.5, shown['drain_rate_per_second'])

    def test_the_defaults_are_the_options(self):
        made = limits.Limits(self.conf, self.db, self.parts.quotas.most_actions)
        self.assertEqual(self.conf.api.project_action_limit,
                         made.view('x')['unfinished_actions']['limit'])
