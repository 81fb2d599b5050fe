# SPDX-License-Identifier: Apache-2.0
"""The trail of what ends long after it was accepted, of what nobody asked for, and its safety."""

import pathlib
import re
from unittest import mock

import sqlalchemy as sa

from container_service import audit
from container_service import bays as bay_rules
from container_service import exceptions
from container_service import images as image_rules
from container_service import lifecycle
from container_service import pulls
from container_service import registries
from container_service import states
from container_service.db import actions
from container_service.db import audit as rows
from container_service.db import models
from container_service.drivers import base as drivers
from container_service.tests import base

FAILED = {'code': 'engine_error', 'title': 'Engine error', 'detail': 'no', 'stage': None,
          'retriable': False, 'hint': None}

# One who can be told from all others in each respect.
CALLER = dict(user_id='alice', roles=['member', 'auditor'], source='192.0.2.9',
              request_id='req-1')


class EndsCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.context = base.caller(**CALLER)

    def ends(self, action):
        """What the trail has of an action besides its beginning."""
        return [row for row in self.trail(action_uuid=action) if row.outcome != audit.PENDING]

    def assert_ended(self, action, outcome, code):
        """It has one end, told of whoever had asked for it."""
        [row] = self.ends(action)
        [began] = self.trail(action_uuid=action, outcome=audit.PENDING)
        self.assertEqual((outcome, code), (row.outcome, row.code))
        same = ('request_id', 'user_id', 'user_project_id', 'roles', 'source',
                'authenticated_by', 'action', 'target_type', 'target_uuid', 'target_name',
                'project_id')
        self.assertEqual([getattr(began, name) for name in same],
                         [getattr(row, name) for name in same])
        self.assertEqual(('alice', ['auditor', 'member'], '192.0.2.9', 'req-1'),
                         (row.user_id, row.roles, row.source, row.request_id))


class TestEnds(EndsCase):

    def test_success(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        self.assertEqual([], self.ends(action))
        self.carry_out(uuid)
        self.assert_ended(action, audit.SUCCESS, None)

    def test_failure_and_what_was_skipped(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        skipped = [self.submit('start', uuid), self.submit('stop', uuid)]
        lifecycle.fail(self.db, self.claim(uuid), FAILED)
        self.assert_ended(action, audit.FAILURE, 'engine_error')
        for each in skipped:
            self.assert_ended(each, audit.FAILURE, states.SKIPPED)

    def test_cancelled_before_it_ran(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        self.cancel(action, base.caller(user_id='bob'))
        self.assert_ended(action, audit.FAILURE, states.CANCELLED)
        [row] = self.trail(action='cancel/action')
        self.assertEqual(('bob', action), (row.user_id, row.target_uuid))

    def test_cancelled_while_it_ran(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        claim = self.claim(uuid)
        self.cancel(action)
        self.assertEqual([], self.ends(action))
        lifecycle.end_cancelled(self.db, claim, None, FAILED)
        self.assert_ended(action, audit.FAILURE, 'engine_error')

    def test_cancelled_by_a_forced_delete(self):
        uuid = self.create('c1')
        self.carry_out(uuid, states.RUNNING)
        action = self.submit('stop', uuid)
        self.submit('delete', uuid, force=True)
        self.assert_ended(action, audit.FAILURE, states.CANCELLED)

    def test_its_time_is_over(self):
        action = self.ask_create('c1', terms=lifecycle.Terms(timeout_seconds=1)).action.uuid
        self.let_pass(5)
        with self.db.read() as conn:
            [row] = actions.overdue(conn)
        self.assertTrue(lifecycle.expire(self.db, row))
        self.assert_ended(action, audit.FAILURE, exceptions.DeadlineExceeded.code)

    def test_interrupted_with_its_conductor(self):
        """Whether it took effect is not known, and so the trail says."""
        uuid = self.create('c1')
        self.carry_out(uuid, states.RUNNING)
        action = self.submit('execution', uuid, command=['ls'])
        self.claim(uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.action(action)))
        self.assert_ended(action, audit.UNKNOWN, 'interrupted')

    def test_taken_over_and_given_up(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        self.claim(uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.action(action)))
        [row] = self.trail(action='take_over/action')
        self.assertEqual((action, None, audit.SERVICE, 'conductor.0'), (
            row.target_uuid, row.user_id, row.authenticated_by, row.details['conductor']))
        self.claim(uuid)
        self.assertTrue(lifecycle.take_over(self.db, self.action(action), max_attempts=2))
        self.assert_ended(action, audit.FAILURE, exceptions.AttemptsExhausted.code)

    def test_handed_back(self):
        uuid = self.create('c1')
        self.assertTrue(lifecycle.hand_back(self.db, self.claim(uuid).action, 0))
        self.assertEqual(1, len(self.trail(action='hand_back/action')))

    def test_what_was_accepted_before_there_was_a_trail(self):
        uuid, action = (row.uuid for row in self.accept_create('c1'))
        self.change(actions.table, action, initiator=None)
        self.carry_out(uuid)
        [row] = self.ends(action)
        self.assertEqual(('alice', 'req-1', 'unknown'),
                         (row.user_id, row.request_id, row.authenticated_by))


class TestEndsOfImages(EndsCase):

    def end(self, image, status, error=None, result=None):
        claim = pulls.claim(self.db, image.pull_uuid, base.Conductor())
        pulls.end(self.db, claim, status, error, result)

    def ask_pull(self, **caller):
        return image_rules.pull(base.caller(**{**CALLER, **caller}), self.db,
                                reference='nginx:1')[0]

    def test_success(self):
        image = self.ask_pull()
        self.end(image, states.SUCCEEDED)
        self.assert_ended(image.pull_uuid, audit.SUCCESS, None)

    def test_what_is_asked_for_again_has_no_end_of_its_own(self):
        """All ends are written at once, and anybody may ask any number of times."""
        image = self.ask_pull()
        for number in range(20):
            self.ask_pull(user_id='bob', request_id=f'req-{number}')
        asked = self.trail(user_id='bob')
        self.assertEqual({(audit.SUCCESS, image.pull_uuid, True)}, {
            (row.outcome, row.action_uuid, row.details['folded']) for row in asked})
        before = len(self.trail())
        self.end(image, states.FAILED, FAILED)
        self.assertEqual(before + 1, len(self.trail()))
        self.assertEqual([('alice', 'engine_error')], [
            (row.user_id, row.code) for row in self.trail(outcome=audit.FAILURE)])

    def test_what_a_container_is_waiting_for_is_asked_for_the_first_time(self):
        uuid = self.create('c1', image='nginx:1')
        lifecycle.wait_for_pull(self.db, self.claim(uuid))
        image = self.ask_pull()
        self.end(image, states.SUCCEEDED)
        self.assert_ended(image.pull_uuid, audit.SUCCESS, None)

    def test_deleted_twice(self):
        image = self.ask_pull()
        self.end(image, states.SUCCEEDED, result={'image_id': 'sha256:1'})
        row, _ = image_rules.delete(self.context, self.db, image.uuid)
        image_rules.delete(base.caller(user_id='bob'), self.db, image.uuid)
        self.end(row, states.SUCCEEDED)
        self.assertEqual([('alice', None)], [
            (row.user_id, row.code) for row in self.ends(row.pull_uuid)
            if not (row.details or {}).get('folded')])

    def test_its_bay_is_deleted(self):
        image = self.ask_pull()
        bay_rules.delete(base.caller(is_admin=True), self.db, 'bay')
        self.assert_ended(image.pull_uuid, audit.FAILURE, states.CANCELLED)

    def test_a_delete_that_a_create_overtakes(self):
        image = self.ask_pull()
        self.end(image, states.SUCCEEDED, result={'image_id': 'sha256:1'})
        row, _ = image_rules.delete(self.context, self.db, image.uuid)
        uuid = self.create('c1', image='nginx:1')
        lifecycle.wait_for_pull(self.db, self.claim(uuid))
        self.end(row, states.SUCCEEDED)
        self.assert_ended(row.pull_uuid, audit.FAILURE, states.CANCELLED)

    def test_pulled_again_with_a_registry(self):
        image = self.ask_pull()
        registries.create(self.context, self.db, mock.Mock(), domain='docker.io', name='mine')
        again = self.ask_pull()
        self.assertEqual(image.uuid, again.uuid)
        self.end(image, states.SUCCEEDED)
        self.end(again, states.SUCCEEDED)
        self.assert_ended(image.pull_uuid, audit.FAILURE, states.CANCELLED)
        self.assert_ended(again.pull_uuid, audit.SUCCESS, None)

    def test_a_tag_that_a_commit_overtakes(self):
        image = self.ask_pull()
        self.end(image, states.SUCCEEDED, result={'image_id': 'sha256:1'})
        tagged, _ = image_rules.tag(self.context, self.db, image.uuid, 'mine', '1')
        uuid = self.create('c1')
        self.carry_out(uuid, states.RUNNING)
        self.submit('commit', uuid, repository='mine', tag='1')
        made = {'repo': 'mine', 'tag': '1', 'image_id': 'sha256:2', 'digest': None, 'size': 1}
        lifecycle.succeed(self.db, self.claim(uuid), drivers.Observed(
            states.RUNNING, engine_id='e1', result=made))
        self.end(tagged, states.SUCCEEDED)
        self.assert_ended(tagged.pull_uuid, audit.FAILURE, states.CANCELLED)

    def test_given_up(self):
        image = self.ask_pull()
        image_rules.delete(self.context, self.db, image.uuid)
        self.assert_ended(image.pull_uuid, audit.FAILURE, states.CANCELLED)


class TestTogether(EndsCase):
    """A change and its row are there together, or neither is."""

    def test_no_change_without_a_row(self):
        uuid = self.create('c1')
        self.carry_out(uuid, states.RUNNING)
        claimed = self.create('c2')
        claim = self.claim(claimed)
        row = self.action(claim.action.uuid)
        before = self.everything()
        with mock.patch.object(rows, 'insert', side_effect=ZeroDivisionError):
            for change in (
                    lambda: self.create('c3'),
                    lambda: self.submit('stop', uuid),
                    lambda: self.cancel(claim.action.uuid),
                    lambda: lifecycle.fail(self.db, claim, FAILED),
                    lambda: lifecycle.take_over(self.db, row),
                    lambda: self.make_bay('other'),
                    lambda: bay_rules.reconcile(base.caller(is_admin=True), self.db, 'bay'),
                    lambda: image_rules.pull(self.context, self.db, reference='nginx')):
                self.assertRaises(ZeroDivisionError, change)
        self.assertEqual(before, self.everything())

    def test_no_row_without_a_change(self):
        uuid = self.create('c1')
        before = self.everything()
        self.assertRaises(exceptions.InvalidState, self.submit, 'unpause', uuid)
        self.assertRaises(exceptions.NameTaken, self.create, 'c1')
        self.assertEqual(before, self.everything())

    def test_nobody_is_told_of_what_was_rolled_back(self):
        told = []
        self.db.tell = told.append
        self.assertRaises(exceptions.BayNotFound, self.create, 'c1', bay='nowhere')
        self.assertRaises(ZeroDivisionError, self.db.transact, self.record_and_fail)
        self.assertEqual([], told)
        self.create('c1')
        self.assertEqual(['create/container'], [row['action'] for row in told])

    def record_and_fail(self, conn):
        audit.record(conn, self.context, 'bay:create', audit.Target('bay'))
        raise ZeroDivisionError

    def everything(self):
        with self.db.read() as conn:
            return {table.name: conn.execute(sa.select(table)).all()
                    for table in models.metadata.sorted_tables}


class TestAppendOnly(EndsCase):

    def test_nothing_changes_a_row(self):
        """All that a life does to the table: INSERT, SELECT, and for age alone DELETE."""
        sent = []
        sa.event.listen(self.db.engine, 'before_cursor_execute',
                        lambda conn, cursor, statement, *rest: sent.append(statement))
        uuid = self.create('c1')
        self.carry_out(uuid, states.RUNNING)
        self.submit('stop', uuid)
        self.submit('stop', uuid)
        self.submit('delete', uuid, force=True)
        self.carry_out(uuid)
        image_rules.pull(self.context, self.db, reference='nginx')
        self.db.transact(lambda conn: rows.purge(conn, 3600))
        ours = {statement.split()[0].upper() for statement in sent
                if re.search(r'\baudit\b', statement)}
        self.assertEqual({'INSERT', 'SELECT'}, ours)

    def test_no_statement_in_the_code_does(self):
        """Of all modules one alone names the table, and takes rows away in one place."""
        found = {}
        for path in pathlib.Path(audit.__file__).parent.rglob('*.py'):
            if 'tests' in path.parts or 'migrations' in path.parts:
                continue
            text = path.read_text()
            if re.search(r'models import audit\b|models\.audit\b', text):
                found[path.name] = re.findall(r'table\.(update|delete|insert)\(', text)
        self.assertEqual({'audit.py': ['insert', 'delete']}, found)

    def test_only_what_is_old_is_taken_away(self):
        self.create('c1')
        self.let_pass(100)
        self.create('c2')
        self.assertEqual(2, self.db.transact(lambda conn: rows.purge(conn, 50)))
        self.assertEqual(['c2'], [row.target_name for row in self.trail()])
