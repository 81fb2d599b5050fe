# SPDX-License-Identifier: Apache-2.0
"""Walks the table: what is derived from a row is there for every row."""

import dataclasses
import inspect

from container_service import exceptions
from container_service import operations
from container_service import policy
from container_service import states
from container_service.client import commands
from container_service.client import words
from container_service.db import actions
from container_service.db import containers
from container_service.drivers import base as drivers
from container_service.drivers import docker
from container_service.drivers import fake
from container_service.operations import OPERATIONS
from container_service.tests import base

ON_EXISTING = [op for op in operations.of_kind(operations.ASYNC) if not op.creates]

# Every combination of those parameters on which it depends what is accepted.
CHOICES = {'delete': [{}, {'stop': True}, {'force': True}, {'force': True, 'stop': True}],
           'commit': [{'repository': 'mine/web'}]}


def methods():
    """Each driver with each row it must have a method for."""
    for driver in (drivers.Driver, docker.DockerDriver, fake.FakeDriver):
        for op in OPERATIONS.values():
            # What every engine must have is in the base, what is optional in the drivers alone.
            if op.on_engine and (driver is not drivers.Driver or hasattr(driver, op.method)):
                yield driver, op


class TestRows(base.TestCase):

    def test_every_row_has_a_summary(self):
        for op in OPERATIONS.values():
            self.assertRegex(op.summary, r'^[A-Z].*\.$', op.name)

    def test_every_parameter_has_help(self):
        for op in OPERATIONS.values():
            for param in op.params:
                self.assertRegex(param.help, r'^[A-Z].*\.$', f'{op.name} {param.name}')

    def test_every_conversion_says_what_it_takes(self):
        for param in (*(param for op in OPERATIONS.values() for param in op.params),
                      *operations.OPTIONS):
            self.assertTrue(param.convert.words, param.name)
            self.assertIsInstance(param.convert.schema, dict, param.name)

    def test_every_row_has_a_policy_rule(self):
        rules = {rule.name: rule for rule in policy.list_rules()}
        for op in OPERATIONS.values():
            self.assertEqual(op.summary, rules[op.policy].description)
            self.assertEqual([{'method': op.http_method, 'path': op.path}],
                             rules[op.policy].operations)

    def test_no_two_rules_have_one_name(self):
        names = [rule.name for rule in policy.list_rules()]
        self.assertEqual(sorted(set(names)), sorted(names))

    def test_every_row_has_a_method_on_every_driver_that_takes_its_parameters(self):
        for driver, op in methods():
            signature = inspect.signature(getattr(driver, op.method))
            taken = list(signature.parameters.values())[1:]
            first = ['attempt', 'container'] if op.is_async else ['container']
            self.assertEqual(first + [param.name for param in op.params],
                             [one.name for one in taken], f'{driver.__name__}.{op.name}')

    def test_defaults_of_the_table_are_those_of_the_driver_methods(self):
        for driver, op in methods():
            taken = inspect.signature(getattr(driver, op.method)).parameters
            for param in op.params:
                default = inspect.Parameter.empty if param.required else param.default
                self.assertEqual(default, taken[param.name].default,
                                 f'{driver.__name__}.{op.name}({param.name})')

    def test_a_driver_without_a_method_says_so(self):
        class Bare(fake.FakeDriver):
            kill = None

        driver = Bare(drivers.Bay('uuid', 'bare', 'fake://bare'))
        self.assertEqual(driver.stop, driver.method(OPERATIONS['stop']))
        error = self.assertRaises(exceptions.UnsupportedByDriver, driver.method,
                                  OPERATIONS['kill'])
        self.assertEqual('The driver of bay bare has no operation kill.', error.detail)

    def test_microversions_of_an_address(self):
        row = dataclasses.replace(OPERATIONS['stop'], since=(1, 6), until=(1, 13))
        versions = ((1, 5), (1, 6), (1, 13), (1, 14), (1, 40), (1, 41), (1, 50))
        self.assertEqual([False, True, True, False, False, True, True],
                         [row.is_at(version) for version in versions])

    def test_who_asks_waits_longer_than_a_driver_may_take(self):
        for op in operations.of_kind(operations.BLOCKING):
            most = {param.name: param.maximum for param in op.params}
            if op.on_engine:
                self.assertGreater(op.seconds_for(most), max(
                    docker.READ_SECONDS, most.get('timeout_seconds', 0)), op.name)

    def test_no_driver_is_abstract(self):
        for driver in (docker.DockerDriver, fake.FakeDriver):
            self.assertEqual(frozenset(), driver.__abstractmethods__)

    def test_every_row_has_a_command(self):
        known = {name for group in commands.COMMANDS.values() for name in group}
        for op in OPERATIONS.values():
            self.assertIn(words.cli_name(op.name), known)

    def test_what_is_sent_on_the_wire_is_named_once(self):
        for op in OPERATIONS.values():
            names = [param.wire_name for param in op.params]
            self.assertEqual(sorted(set(names)), sorted(names), op.name)

    def test_defaults_are_what_parsing_would_give(self):
        for op in OPERATIONS.values():
            for param in op.params:
                if param.default is not None:
                    self.assertEqual(param.default, param.parse(param.default))
                    self.assertEqual(param.default, param.parse(str(param.default)))
                self.assertEqual(param.default, param.parse(None))
                self.assertEqual(param.default, param.parse_query('None'))

    def test_names_fit_their_columns(self):
        for op in OPERATIONS.values():
            self.assertLessEqual(len(op.name), actions.table.c.operation.type.length)
            self.assertLessEqual(len(states.task_state(op.name)),
                                 containers.table.c.task_state.type.length)
        for status in states.CONTAINER_STATUSES:
            self.assertLessEqual(len(status), containers.table.c.status.type.length)
        for status in states.ACTION_STATUSES:
            self.assertLessEqual(len(status), actions.table.c.status.type.length)


class TestStates(base.TestCase):

    def test_a_row_speaks_of_container_statuses_only(self):
        for op in OPERATIONS.values():
            for params in CHOICES.get(op.name, [{}]):
                self.assertLessEqual(op.statuses_for(params), states.CONTAINER_STATUSES)
            self.assertIn(op.during, states.CONTAINER_STATUSES | {None})

    def test_nothing_ends_in_a_transitional_state(self):
        for op in operations.of_kind(operations.ASYNC):
            for status in op.allowed or {states.CREATING}:
                for signal in ('SIGKILL', 'SIGHUP'):
                    target = op.target_for({'signal': signal}, status)
                    self.assertNotIn(target, states.TRANSITIONAL, op.name)

    def test_every_state_has_a_way_out(self):
        """From anywhere a user gets to Deleted, and nothing leads away from there."""
        delete = OPERATIONS['delete']
        for status in states.CONTAINER_STATUSES - {states.DELETED}:
            self.assertIn(status, delete.statuses_for({'force': True}))
            self.assertEqual(states.DELETED, delete.target_for({'force': True}, status))
        for op in ON_EXISTING:
            for params in CHOICES.get(op.name, [{}]):
                self.assertNotIn(states.DELETED, op.statuses_for(params), op.name)

    def test_nothing_but_a_forced_delete_is_accepted_in_a_transitional_state(self):
        for op in ON_EXISTING:
            for params in CHOICES.get(op.name, [{}]):
                if not params.get('force'):
                    self.assertEqual(set(), op.statuses_for(params) & states.TRANSITIONAL)

    def test_what_must_not_run_twice_is_not_run_again_after_a_crash(self):
        never = {op.name for op in operations.of_kind(operations.ASYNC)
                 if not op.may_run_again({param.name: param.default for param in op.params})}
        self.assertEqual({'execution'}, never)
        kill = OPERATIONS['kill']
        for signal, expected in (('SIGKILL', True), ('9', True), ('SIGTERM', False),
                                 ('15', False)):
            self.assertEqual(expected, kill.may_run_again({'signal': signal}), signal)


class TestAcceptance(base.DatabaseTestCase):
    """Each operation in each status: accepted or refused as its row says."""

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.uuid = self.create('web')
        self.carry_out(self.uuid)

    def accepts(self, op, status, params):
        self.change(containers.table, self.uuid, status=status, task_state=None,
                    projected_status=None)
        self.db.transact(lambda conn: conn.execute(actions.table.delete()))
        try:
            self.submit(op.name, self.uuid, **params)
        except exceptions.InvalidState as exc:
            self.assertEqual(409, exc.status)
            self.assertIn(f'{op.name} container {self.uuid} in {status} state', exc.detail)
            row = self.container(self.uuid)
            self.assertEqual((None, None), (row.task_state, row.projected_status))
            self.assertEqual([], self.actions_of(self.uuid))
            return False
        self.assertEqual([(op.name, states.QUEUED)], self.outcomes(self.uuid))
        return True


def _acceptance_test(op, params):
    def test(self):
        accepted = {status for status in states.CONTAINER_STATUSES
                    if self.accepts(op, status, params)}
        self.assertEqual(op.statuses_for(params), accepted)
    return test


for _op in ON_EXISTING:
    for _params in CHOICES.get(_op.name, [{}]):
        setattr(TestAcceptance, '_'.join(('test', _op.name, *_params)),
                _acceptance_test(_op, _params))


class TestConversions(base.TestCase):

    def converts(self, function, pairs):
        for value, expected in pairs:
            self.assertEqual(expected, function(value), repr(value))

    def refuses(self, function, values):
        for value in values:
            self.assertRaises(ValueError, function, value)

    def test_boolean(self):
        self.converts(operations.boolean, [
            (True, True), (False, False), ('true', True), ('False', False), ('1', True),
            ('0', False), ('on', True), ('OFF', False), (' yes ', True), (1, True), (0, False)])
        self.refuses(operations.boolean, ['', 'maybe', 2, None, [], 'nope'])

    def test_integer(self):
        self.converts(operations.integer, [(7, 7), ('7', 7), ('-1', -1)])
        self.refuses(operations.integer, [True, 1.0, '1.5', '', None, [], 'seven'])

    def test_text(self):
        self.converts(operations.text, [('a b', 'a b'), ('', ''), ('a\tb', 'a\tb')])
        self.refuses(operations.text, [1, None, 'a\nb', 'a\0'])

    def test_command(self):
        self.converts(operations.command, [
            ('sh -c "a b"', ['sh', '-c', 'a b']), (['sh', '-c', 'a b'], ['sh', '-c', 'a b']),
            ([], [])])
        self.refuses(operations.command, ['sh "', ['a', 1], {'a': 1}, None, ['a\0'],
                                           ['a' * 40000] * 2, 'a ' * 40000])

    def test_environment(self):
        self.converts(operations.environment, [
            (['A=1=2', 'B='], {'A': '1=2', 'B': ''}), ({'A': 'x' * 32768}, {'A': 'x' * 32768})])
        self.refuses(operations.environment, [
            ['A'], {'A': 1}, {'A B': ''}, {'A': 'x' * 32769}, dict.fromkeys('ABC', 'x' * 30000)])

    def test_signal(self):
        self.converts(operations.signal, [
            ('HUP', 'SIGHUP'), ('sigterm', 'SIGTERM'), ('9', '9'), (15, '15'),
            ('RTMIN+3', 'SIGRTMIN+3')])
        self.refuses(operations.signal, ['', '0', '65', True, 'SIG', 'a b', 'KILL;ls'])

    def test_tail(self):
        self.converts(operations.tail, [('all', None), ('0', 0), (5, 5)])
        self.refuses(operations.tail, [-1, '-1', 'some', True])

    def test_range(self):
        timeout = OPERATIONS['stop'].params[0]
        self.assertEqual(0, timeout.parse('0'))
        self.assertEqual(3600, timeout.parse(3600))
        self.assertRaisesRegex(ValueError, 'at least 0', timeout.parse, -1)
        self.assertRaisesRegex(ValueError, 'at most 3600', timeout.parse, 3601)
