# SPDX-License-Identifier: Apache-2.0
"""/v1/quotas and /v1/quota_classes, and what they refuse."""

import contextlib
from unittest import mock

from oslo_db import exception as db_exc

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import quotas
from container_service import remembered
from container_service import unified
from container_service.db import quotas as rows
from container_service.drivers import base as drivers
from container_service.tests import base as tests
from container_service.tests import fixtures
from container_service.tests.unit.api import base

ALL = {'containers': -1, 'cpu': -1, 'memory': -1, 'disk': -1, 'actions': 1000}


class QuotaCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()

    def quota(self, method='GET', body=None, project='project', more='', **values):
        return self.call(method, f'/v1/quotas/{project}{more}', body, version='1.40', **values)

    def put_class(self, **limits):
        return self.call('PUT', '/v1/quota_classes/default', limits, version='1.26')

    def create(self, name, **values):
        project = values.pop('project', None)
        return self.post('/v1/containers', {'name': name, 'image': tests.IMAGE, **values},
                         project=project)

    def in_use(self, name):
        return self.quota(more='?usages=true').json[name]['in_use']

    def refused(self, answer):
        return self.assert_refused(403, 'quota_exceeded', answer)


class Keystone:
    """What oslo.limit's Enforcer tells."""

    def __init__(self):
        self.registered = dict.fromkeys(quotas.NAMES, -1)
        self.own, self.asked, self.made, self.error = {}, 0, 0, None
        self.pass_by = lambda project_id: None

    def __call__(self, used):
        self.made += 1
        return self

    def get_registered_limits(self, names):
        self.asked += 1
        self.pass_by(None)
        if self.error:
            raise self.error
        return self.registered.items()

    def get_project_limits(self, project_id, names):
        self.asked += 1
        self.pass_by(project_id)
        return self.own.get(project_id, {}).items()


class TestUnified(QuotaCase):
    """Limits that are kept in Keystone (S-15)."""

    def setUp(self):
        self.keystone, self.clock = Keystone(), fixtures.Clock()
        super().setUp()
        self.conf.set_override('driver', 'unified', group='quotas')
        self.patch(unified, '_make', self.keystone)
        self.build()
        self.limits = self.parts.quotas._source
        self.limits._known._clock = self.limits._stale._clock = self.clock

    def test_limits_are_those_of_keystone(self):
        self.keystone.registered['containers'] = 1
        self.keystone.own['other'] = {'containers': 2}
        self.assertEqual(202, self.create('c1').status_int)
        self.refused(self.create('c2'))
        for name in ('c1', 'c2'):
            self.assertEqual(202, self.create(name, project='other').status_int)
        self.refused(self.create('c3', project='other'))
        self.assertEqual({'limit': 1, 'in_use': 1},
                         self.quota(more='?usages=true').json['containers'])
        self.assertEqual(1, self.quota(more='/defaults').json['containers'])

    def test_unfinished_actions(self):
        self.keystone.registered['actions'] = 1
        self.assertEqual(202, self.create('c1').status_int)
        self.assert_refused(429, 'too_many_actions', self.create('c2'))

    def test_they_are_counted_in_the_transaction(self):
        self.keystone.registered['containers'] = 1
        first, second = (self.parts.quotas.guard('project') for _ in range(2))
        self.assertEqual(202, self.create('c1').status_int)
        for guard in (first, second):
            with self.db.read() as conn:
                self.assertRaises(exceptions.QuotaExceeded, guard, conn, {})

    def test_a_limit_is_believed_for_a_minute(self):
        self.create('c1')
        self.create('c2')
        self.create('c3', project='other')
        self.assertEqual((4, 1), (self.keystone.asked, self.keystone.made))
        self.keystone.registered['containers'] = 2
        self.clock.advance(61)
        self.refused(self.create('c4'))

    def test_what_is_not_registered_is_nothing(self):
        del self.keystone.registered['disk']
        self.keystone.registered['others'] = 7
        self.assertEqual({**ALL, 'actions': -1, 'disk': 0}, self.limits.of('project'))

    def held(self, project_id):
        """Somebody asks for the limits of a project, and waits for Keystone."""
        gate = base.Gate()
        self.addCleanup(gate.open)
        self.keystone.pass_by = lambda other: other == project_id and gate()
        asked = self.in_background(lambda: self.limits.of(project_id))
        self.assertTrue(gate.entered.acquire(timeout=20))
        return asked, gate

    def test_nobody_waits_for_the_limits_of_another_project(self):
        asked, gate = self.held('slow')
        other = self.in_background(lambda: self.limits.of('project'))
        self.assertIsNotNone(other(10))        # the gate is closed for longer
        together = self.in_background(lambda: self.limits.of('slow'))
        gate.open()
        self.assertEqual(asked(), together())
        self.assertEqual(4, self.keystone.asked)

    def test_what_was_known_is_good_while_somebody_asks_anew(self):
        known = self.limits.of('project')
        self.clock.advance(61)
        self.keystone.registered['containers'] = 7
        asked, gate = self.held('project')
        self.assertEqual(known, self.in_background(
            lambda: self.limits.of('project'))(10))
        gate.open()
        self.assertEqual(7, asked()['containers'])
        self.assertEqual(7, self.limits.of('project')['containers'])

    def test_no_connection_is_held_while_keystone_is_asked(self):
        read, opened, held = self.db.read, [], []

        @contextlib.contextmanager
        def counted():
            with read() as conn:
                opened.append(conn)
                try:
                    yield conn
                finally:
                    opened.remove(conn)

        self.patch(self.db, 'read', counted)
        self.keystone.pass_by = lambda project: held.append(len(opened))
        for more in ('', '?usages=true', '/defaults'):
            self.limits._known = remembered.Remembered()
            self.assertEqual(200, self.quota(more=more).status_int)
        self.assertEqual(200, self.get('/v1/quota_classes/default', version='1.26').status_int)
        self.assertEqual({0}, set(held))

    def test_while_keystone_does_not_answer(self):
        self.assertEqual(202, self.create('c1').status_int)
        self.keystone.error = OSError('refused')
        self.assertEqual(202, self.create('c2').status_int)        # known still
        self.clock.advance(61)
        answer = self.create('c3')
        self.assert_refused(503, 'limits_unavailable', answer)
        self.assertIn('Retry-After', answer.headers)
        asked = self.keystone.asked
        self.assert_refused(503, 'limits_unavailable', self.create('c3'))
        self.assertEqual(asked, self.keystone.asked)
        # What needs no more of anything goes on.
        self.assertEqual(202, self.post('/v1/containers/c2/start').status_int)
        self.assertEqual(204, self.delete('/v1/containers/c1?force=true').status_int)
        self.assertEqual(200, self.get('/v1/containers').status_int)
        self.keystone.error = None
        self.clock.advance(6)
        self.assertEqual(202, self.create('c3').status_int)

    def test_they_are_not_set_here(self):
        for answer in (self.quota('PUT', {'containers': 9}), self.quota('DELETE'),
                       self.put_class(containers=9)):
            self.assert_refused(403, 'limits_elsewhere', answer)


class TestQuotas(QuotaCase):

    def test_there_is_no_limit_at_first(self):
        self.assertEqual(ALL, self.quota().json)
        self.assertEqual(ALL, self.quota(more='/defaults').json)

    def test_a_project_has_its_own_and_those_of_the_default_class(self):
        self.assertEqual({**ALL, 'cpu': 4}, self.put_class(cpu=4).json)
        self.assertEqual({**ALL, 'containers': 2, 'cpu': 4},
                         self.quota('PUT', {'containers': '2'}).json)
        self.assertEqual({**ALL, 'containers': 2, 'cpu': 4}, self.quota().json)
        self.assertEqual({**ALL, 'cpu': 4}, self.quota(more='/defaults').json)
        self.assertEqual({**ALL, 'cpu': 4}, self.quota(project='other').json)
        self.assertEqual({**ALL, 'cpu': 4}, self.quota('DELETE').json)
        self.assertEqual({**ALL, 'cpu': 4}, self.quota().json)

    def test_two_who_set_the_first_one_at_once(self):
        put, asked = rows.put, []

        def late(*args):
            asked.append(args)
            if len(asked) == 1:
                raise db_exc.DBDuplicateEntry()
            put(*args)

        with mock.patch.object(rows, 'put', late):
            self.assertEqual({**ALL, 'cpu': 4}, self.quota('PUT', {'cpu': 4}).json)

    def test_unfinished_actions(self):
        self.conf.set_override('project_action_limit', 5, group='api')
        self.assertEqual(5, self.quota().json['actions'])
        self.quota('PUT', {'actions': 2})
        self.put_class(actions=3)
        for name in ('c1', 'c2'):
            self.assertEqual(202, self.create(name).status_int)
        self.assertEqual({'limit': 2, 'in_use': 2},
                         self.quota(more='?usages=true').json['actions'])
        self.assert_refused(429, 'too_many_actions', self.create('c3'))
        self.assertEqual(2, self.get('/v1/limits').json['limits']['unfinished_actions']['limit'])
        answers = [self.create(f'c{number}', project='other').status_int for number in range(4)]
        self.assertEqual([202, 202, 202, 429], answers)
        self.quota('PUT', {'actions': -1})
        for number in range(6):
            self.assertEqual(202, self.create(f'more{number}').status_int)

    def test_a_limit_is_put_twice(self):
        for _ in range(2):
            self.assertEqual(200, self.quota('PUT', {'containers': 2}).status_int)
            self.assertEqual(200, self.put_class(containers=2).status_int)

    def test_usages(self):
        self.create('c1', cpu=0.5, memory='64')
        self.create('c2', cpu='1', memory='64m')
        self.create('c3', project='other')
        self.assertEqual({'containers': {'limit': -1, 'in_use': 2},
                          'cpu': {'limit': -1, 'in_use': 1.5},
                          'memory': {'limit': -1, 'in_use': 128},
                          'disk': {'limit': -1, 'in_use': 0},
                          'actions': {'limit': 1000, 'in_use': 2}},
                         self.quota(more='?usages=True').json)
        # The text False is not true.
        self.assertEqual(ALL, self.quota(more='?usages=False').json)

    def test_words_that_no_column_holds(self):
        for method, body in (('GET', None), ('PUT', {'cpu': 1}), ('DELETE', None)):
            for word, path in (('project', '/v1/quotas/'), ('class', '/v1/quota_classes/')):
                if (word, method) == ('class', 'DELETE'):
                    continue
                answer = self.call(method, path + 'p' * 65, body, version='1.41')
                self.assertIn(f'{word}: ', self.assert_refused(400, 'invalid_parameter', answer))
                self.assertEqual(200, self.call(
                    method, path + 'p' * 64, body, version='1.41').status_int)

    def test_nothing_to_put(self):
        for path in ('quotas/project', 'quota_classes/default'):
            for body in ({}, {'cpu': None}, None):
                answer = self.call('PUT', f'/v1/{path}', body, version='1.41')
                self.assertIn('containers, cpu', self.assert_refused(
                    400, 'invalid_request', answer))

    def test_other_classes_are_kept(self):
        self.call('PUT', '/v1/quota_classes/gold', {'disk': 7}, version='1.26')
        self.assertEqual({**ALL, 'disk': 7},
                         self.get('/v1/quota_classes/gold', version='1.26').json)
        self.assertEqual(ALL, self.quota().json)

    def test_members_read_their_own_and_change_nothing(self):
        member = {'persona': base.MEMBER}
        self.assertEqual(200, self.quota(**member).status_int)
        for answer in (self.quota(project='other', **member),
                       self.quota(project='other', more='/defaults', **member),
                       self.quota('PUT', {'containers': 1}, **member),
                       self.quota('DELETE', **member),
                       self.get('/v1/quota_classes/default', version='1.26', **member)):
            self.assert_refused(403, 'forbidden', answer)

    def test_bad_limits_are_named(self):
        for name, value in (('containers', -2), ('cpu', 1.5), ('memory', 'much'), ('disk', True),
                            ('containers', 2 ** 31)):
            self.assertIn(name, self.assert_refused(
                400, 'invalid_parameter', self.quota('PUT', {name: value})))
        self.assertIn('pods', self.assert_refused(
            400, 'unknown_parameter', self.quota('PUT', {'pods': 1})))
        self.assertEqual(ALL, self.quota().json)

    def test_they_are_there_since_1_26(self):
        for path in ('/v1/quotas/project', '/v1/quotas/project/defaults',
                     '/v1/quota_classes/default'):
            self.assert_refused(404, 'not_found', self.get(path, version='1.25'))


class TestEnforcement(QuotaCase):

    def test_containers(self):
        self.quota('PUT', {'containers': 1})
        self.assertEqual(202, self.create('c1').status_int)
        self.assertIn('1 containers', self.refused(self.create('c2')))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c2'))
        self.assertEqual(202, self.create('c3', project='other').status_int)

    def test_amounts(self):
        values = {'cpu': 0.6, 'memory': '60'}
        for name, limit in (('cpu', 1), ('memory', 150)):
            self.quota('DELETE')
            self.quota('PUT', {name: limit})
            self.assertEqual(202, self.create(f'{name}-1', **values).status_int)
            self.refused(self.create(f'{name}-2', **values))

    def test_who_does_not_say_takes_the_defaults(self):
        self.quota('PUT', {'memory': 5000})
        for name in ('c1', 'c2'):
            self.assertEqual(202, self.create(name).status_int)
        self.assertEqual({'limit': 5000, 'in_use': 4096},
                         self.quota(more='?usages=true').json['memory'])
        self.assertIn('2048 more', self.refused(self.create('c3')))
        self.assertEqual(202, self.create('c3', memory='900').status_int)

    def test_who_does_not_say_and_there_is_no_default(self):
        """It could take all that its host has, and would count for nothing."""
        self.create('before')
        self.quota('PUT', {'cpu': 1})
        self.assertIn('must be given', self.assert_refused(
            400, 'invalid_parameter', self.create('c1')))
        self.assertEqual(202, self.create('c1', cpu=0.5).status_int)
        self.assertEqual(0.5, self.quota(more='?usages=true').json['cpu']['in_use'])
        # What is there already may be changed otherwise.
        self.assertEqual(202, self.call('PATCH', '/v1/containers/before', {'memory': '64'},
                                        version='1.41').status_int)
        # Most engines cannot limit it.
        self.quota('PUT', {'cpu': -1, 'disk': 1})
        self.assertEqual(202, self.create('c2').status_int)

    def test_changes_of_what_was_left_to_the_defaults(self):
        self.quota('PUT', {'memory': 3000})
        uuid = self.create('c1').json['uuid']
        self.carry_out(uuid, 'Created')

        def update(memory):
            return self.call('PATCH', '/v1/containers/c1', {'memory': memory}, version='1.41')

        self.assertIn('1000 more', self.refused(update('3048')))
        self.assertEqual(202, update('100').status_int)
        self.assertEqual(2048, self.in_use('memory'))                # until it has less
        self.carry_out(uuid, 'Created')
        self.assertEqual(100, self.in_use('memory'))

    def test_changes_of_amounts(self):
        self.quota('PUT', {'memory': 106, 'cpu': 3})
        uuid = self.create('c1', memory='40', cpu=0.5).json['uuid']
        self.create('c2', memory='40', cpu=0.5)
        self.carry_out(uuid, 'Created')

        def update(**body):
            return self.call('PATCH', '/v1/containers/c1', body, version='1.41')

        self.refused(update(memory='67'))
        self.assertEqual(202, update(memory='60', cpu=1.5).status_int)
        # It is not given away while the change waits, nor taken when that has failed.
        self.assertIn('memory', self.refused(self.create('c3', memory='7', cpu=0.1)))
        self.assertIn('cores', self.refused(self.create('c3', memory='6', cpu=1.1)))
        lifecycle.fail(self.db, self.claim(uuid), {'code': 'x', 'detail': 'x'},
                       drivers.Observed('Created'))
        self.assertEqual(202, self.create('c3', memory='26', cpu=0.1).status_int)
        self.refused(update(memory='41'))
        self.assertEqual(202, update(memory='30').status_int)
        self.carry_out(uuid, 'Created')
        self.assertEqual(202, self.create('c4', memory='10', cpu=0.1).status_int)

    def test_what_waiting_changes_will_take_is_kept_for_them(self):
        """Whatever ends meanwhile: none of it is given away until nothing waits for it."""
        self.quota('PUT', {'cpu': 100})
        uuid = self.create('c1', cpu=1).json['uuid']
        self.carry_out(uuid, 'Created')

        def queue(operation, **params):
            terms = lifecycle.Terms(on_predecessor_failure=operations.RUN)
            lifecycle.submit(self.context, self.db, operations.OPERATIONS[operation], uuid,
                             params, terms)

        def fail():
            lifecycle.fail(self.db, self.claim(uuid), {'code': 'x', 'detail': 'x'},
                           drivers.Observed('Created'))

        def attach():
            lifecycle.succeed(self.db, self.claim(uuid), drivers.Observed(
                'Created', result={'network': 'n', 'networks': {'n': 'id'}}))

        def succeed():
            self.carry_out(uuid, 'Created')

        for before, ended, then in (
                (('update', {'cpu': 2.0}), succeed, 2), (('update', {'cpu': 4.0}), fail, 2),
                (('network_attach', {'network': 'n'}), attach, 2), (('start', {}), fail, 2),
                (('rename', {'name': 'new'}), succeed, 2)):
            queue(before[0], **before[1])
            queue('update', cpu=8.0)
            ended()
            self.assertEqual(8, self.in_use('cpu'), before)
            fail()
            self.assertEqual(then, self.in_use('cpu'), before)
        queue('update', cpu=8.0)
        queue('update', cpu=4.0)
        for left in (8, 4):
            succeed()
            self.assertEqual(left, self.in_use('cpu'))

    def test_what_waits_beside_a_default(self):
        self.quota('PUT', {'memory': 9000})
        uuid = self.create('c1').json['uuid']
        self.carry_out(uuid, 'Created')
        for memory in ('4096', '64'):
            self.call('PATCH', '/v1/containers/c1', {
                'memory': memory, 'on_predecessor_failure': 'run'}, version='1.41')
        for left in (4096, 2048):
            self.assertEqual(4096, self.in_use('memory'))
            lifecycle.fail(self.db, self.claim(uuid), {'code': 'x', 'detail': 'x'},
                           drivers.Observed('Created'))
            self.assertEqual(left, self.in_use('memory'))

    def test_a_limit_of_the_default_class(self):
        self.put_class(containers=1)
        self.assertEqual(202, self.create('c1').status_int)
        self.refused(self.create('c2'))
        self.assertEqual(202, self.create('c1', project='other').status_int)
        self.quota('PUT', {'containers': -1})
        self.assertEqual(202, self.create('c2').status_int)

    def test_what_is_gone_does_not_count(self):
        self.quota('PUT', {'containers': 1})
        uuid = self.create('c1').json['uuid']
        self.carry_out(uuid, 'Created')
        self.delete('/v1/containers/c1')
        self.carry_out(uuid, 'Deleted')
        self.assertEqual(202, self.create('c2').status_int)

    def test_the_same_request_again_is_not_refused(self):
        self.quota('PUT', {'containers': 1})
        for _ in range(2):
            answer = self.post('/v1/containers', {'name': 'c1', 'image': tests.IMAGE},
                               headers={'Idempotency-Key': 'k'})
            self.assertEqual(202, answer.status_int)

    def test_two_at_once_do_not_both_take_the_last_place(self):
        self.quota('PUT', {'containers': 1})
        guard, gate = self.parts.quotas.guard('project'), base.Gate()

        def held(conn, spec):
            guard(conn, spec)
            gate()

        first = self.in_background(lambda: lifecycle.create(
            self.context, self.db, operations.OPERATIONS['create'], name='c1',
            image=tests.IMAGE, spec={}, guard=held))
        gate.entered.acquire()
        second = self.in_background(lambda: self.create('c2'))
        gate.open()
        first()
        self.refused(second())

    def test_a_limit_that_another_process_has_just_set_stays(self):
        self.put_class(containers=10)
        known = quotas.Quotas(self.db)
        known.guard('other')                                     # it has looked just now
        quotas.change(self.context, self.db, 'project', {'containers': 2})
        self.assertIsNotNone(known.guard('project'))
        self.assertEqual(2, self.quota().json['containers'])

    def test_there_is_something_to_lock_after_the_limits_were_taken_away(self):
        self.put_class(containers=1)
        quotas.change(self.context, self.db, 'project', {'cpu': 2})
        quotas.reset(self.context, self.db, 'project')
        with self.db.read() as conn:
            self.assertEqual({'project': False}, rows.limited_projects(conn))
        self.assertEqual({**ALL, 'containers': 1}, self.quota().json)

    def test_what_others_changed_is_known_after_a_second(self):
        time = [0.0]
        known = quotas.Quotas(self.db, lambda: time[0])
        self.assertIsNone(known.guard('project'))
        quotas.change(self.context, self.db, 'project', {'containers': 1})
        self.assertIsNone(known.guard('project'))
        time[0] = 1.0
        self.assertIsNotNone(known.guard('project'))
