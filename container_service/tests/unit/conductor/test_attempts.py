# SPDX-License-Identifier: Apache-2.0
"""Attempts and the watch over them, with the clock in the test's hand."""

import sqlalchemy as sa

from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service import states
from container_service.conductor import attempts
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base


class AttemptCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.clock = fixtures.Clock()
        self.written = []

    def make(self, write=None, **values):
        return attempts.Attempt(
            'claim', lambda: True, write or (lambda *what: self.written.append(what)),
            clock=self.clock, **values)

    def claimed(self):
        """A create that this conductor has claimed: the claim and its attempt."""
        uuid = self.create()
        claim = self.claim(uuid, self.here.lease)
        return claim, attempts.of_action(self.db, claim, lambda: True, 3600)

    def statements(self):
        """What is sent to the database from now on."""
        sent = []

        def note(conn, cursor, statement, *rest):
            sent.append(statement)

        sa.event.listen(self.db.engine, 'before_cursor_execute', note)
        self.addCleanup(sa.event.remove, self.db.engine, 'before_cursor_execute', note)
        return sent


class TestWords(AttemptCase):
    """What an attempt tells is kept until the watch comes by."""

    def test_a_quick_action_costs_no_statement_for_them(self):
        _, attempt = self.claimed()
        sent = self.statements()
        attempt.enter('creating')
        for done in range(5):
            attempt.report({'bytes': done})
        self.assertEqual([], sent)

    def test_of_an_action_that_is_over_at_once_nothing_is_written(self):
        self.patch(attempts, 'SETTLED', 1.0)
        attempt = self.make()
        attempt.enter('creating')
        attempt.look()
        self.assertEqual([], self.written)
        self.clock.advance(1)
        attempt.look()
        self.assertEqual([('creating', None)], self.written)

    def test_the_watch_writes_the_last(self):
        claim, attempt = self.claimed()
        with self.here.watch.over(attempt):
            attempt.enter('pulling image')
            for done in range(5):
                attempt.report({'bytes': done})
            self.here.watch()
            row, = self.actions_of(claim.container.uuid)
            self.assertEqual(('pulling image', {'bytes': 4}), (row.stage, row.progress))
            self.assertGreaterEqual(row.progress_at, row.started_at)
            attempt.enter('creating')
            self.here.watch()
            row, = self.actions_of(claim.container.uuid)
            self.assertEqual(('creating', None), (row.stage, row.progress))

    def test_what_has_not_changed_is_not_written(self):
        attempt = self.make()
        attempt.look()
        self.assertEqual([], self.written)
        attempt.enter('creating')
        attempt.report({'bytes': 1})
        for _ in range(3):
            attempt.report({'bytes': 1})
            attempt.look()
        self.assertEqual([('creating', {'bytes': 1})], self.written)

    def test_without_attempts_the_watch_asks_nothing(self):
        sent = self.statements()
        self.here.watch()
        self.assertEqual([], sent)

    def test_one_question_for_any_number_of_attempts(self):
        made = [self.claimed()[1] for _ in range(5)]
        for attempt in made:
            self.here.watch._attempts[attempt.claim_uuid] = attempt
        sent = self.statements()
        self.here.watch()
        self.assertEqual(2, len([one for one in sent if not one.startswith('BEGIN')]))

    def test_what_is_remembered_adds_up_and_is_stored_before_it_returns(self):
        claim, attempt = self.claimed()
        uuid = claim.container.uuid
        attempt.remember(engine_id='e1')
        attempt.remember(started_at=3)
        self.assertEqual({'engine_id': 'e1', 'started_at': 3},
                         self.actions_of(uuid)[0].remembered)
        lifecycle.take_over(self.db, self.actions_of(uuid)[0])
        again = attempts.of_action(self.db, self.claim(uuid), lambda: True, 3600)
        self.assertEqual({'engine_id': 'e1', 'started_at': 3}, again.remembered)

    def test_the_words_of_a_fenced_attempt_stop_it(self):
        claim, attempt = self.claimed()
        lifecycle.take_over(self.db, self.actions_of(claim.container.uuid)[0])
        attempt.enter('creating')
        self.assertRaises(exceptions.Fenced, attempt.remember, a=1)
        with self.here.watch.over(attempt):
            self.here.watch()
        self.assertRaises(exceptions.Fenced, attempt.gate)

    def test_a_first_attempt_says_so(self):
        claim, attempt = self.claimed()
        self.assertTrue(attempt.first)
        lifecycle.requeue(self.db, claim, 'bay_unreachable', 'x', 0, parked=True)
        again = self.claim(claim.container.uuid)
        self.assertFalse(attempts.of_action(self.db, again, lambda: True, 1).first)

    def test_after_a_shared_pull_it_is_still_the_first(self):
        """Nothing was asked of the engine but whether it has the image."""
        claim, _ = self.claimed()
        pull = lifecycle.wait_for_pull(self.db, claim)
        pulls.end(self.db, pulls.claim(self.db, pull, self.here.lease), states.SUCCEEDED)
        self.assertTrue(self.claim(claim.container.uuid).first)


class TestAbort(AttemptCase):

    def test_the_next_gate_raises_it(self):
        attempt = self.make()
        attempt.gate()
        attempt.abort(exceptions.Cancelled())
        self.assertRaises(exceptions.Cancelled, attempt.gate)

    def test_the_first_reason_stays(self):
        attempt = self.make()
        attempt.abort(exceptions.Cancelled())
        attempt.abort(exceptions.DeadlineExceeded(seconds=1, last='x'))
        self.assertIsInstance(attempt.aborted, exceptions.Cancelled)

    def test_it_closes_what_the_driver_waits_on(self):
        attempt, closed = self.make(), []
        with attempt.closing(lambda: closed.append('one')):
            with attempt.closing(lambda: closed.append('two')):
                attempt.abort(exceptions.Cancelled())
        self.assertEqual(['one', 'two'], closed)

    def test_what_is_over_is_not_closed(self):
        attempt, closed = self.make(), []
        with attempt.closing(lambda: closed.append('one')):
            pass
        attempt.abort(exceptions.Cancelled())
        self.assertEqual([], closed)

    def test_one_that_cannot_be_closed_does_not_keep_the_others_open(self):
        attempt, closed = self.make(), []
        with attempt.closing(lambda: 1 / 0), attempt.closing(lambda: closed.append('two')):
            attempt.abort(exceptions.Cancelled())
        self.assertEqual(['two'], closed)
        self.assertIn('ZeroDivisionError', self.log.output)

    def test_aborted_just_before_it_would_wait(self):
        attempt = self.make()
        attempt.abort(exceptions.Cancelled())

        def wait():
            with attempt.closing(lambda: None):
                self.fail('it waits')

        self.assertRaises(exceptions.Cancelled, wait)
        self.assertEqual([], attempt._closers)

    def test_undoing_is_fenced_but_not_aborted(self):
        held = [True]
        attempt = attempts.Attempt('claim', lambda: held[0], None)
        attempt.abort(exceptions.Cancelled())
        attempt.gate_lease()
        held[0] = False
        self.assertRaises(exceptions.Fenced, attempt.gate_lease)

    def test_all_that_runs_is_ended_at_once(self):
        made = [self.make(), self.make()]
        with self.here.watch.over(made[0]):
            made[1].claim_uuid = 'other'
            with self.here.watch.over(made[1]):
                self.here.watch.abort_all(exceptions.Fenced('stops'))
        for attempt in made:
            self.assertRaises(exceptions.Fenced, attempt.gate)


class TestDestructive(AttemptCase):
    """Before what nothing brings back the claim is read again."""

    def test_while_the_claim_holds(self):
        _, attempt = self.claimed()
        sent = self.statements()
        attempt.gate()
        self.assertEqual([], sent)
        attempt.gate_destructive()
        self.assertEqual(1, len([one for one in sent if one.startswith('SELECT')]))

    def test_when_it_was_taken_over(self):
        claim, attempt = self.claimed()
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        attempt.gate()                      # by the clock nothing has happened
        self.assertRaises(exceptions.Fenced, attempt.gate_destructive)
        self.claim(claim.container.uuid)
        self.assertRaises(exceptions.Fenced, attempt.gate_destructive)

    def test_when_it_cannot_be_read(self):
        _, attempt = self.claimed()

        def down():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'read', down)
        self.assertRaises(exceptions.DatabaseUnavailable, attempt.gate_destructive)

    def test_when_the_look_took_as_long_as_the_lease(self):
        held = [True]

        def owns():
            held[0] = False
            return True

        attempt = attempts.Attempt('claim', lambda: held[0], None, owns=owns)
        self.assertRaises(exceptions.Fenced, attempt.gate_destructive)

    def test_undoing_reads_it_too_but_is_not_aborted(self):
        claim, attempt = self.claimed()
        attempt.abort(exceptions.Cancelled())
        plain = self.here.runner._plain(attempt)
        plain.gate_destructive()
        self.assertRaises(exceptions.Cancelled, attempt.gate_destructive)
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        plain.gate()
        self.assertRaises(exceptions.Fenced, plain.gate_destructive)


class TestWatch(AttemptCase):

    def test_a_cancel_reaches_the_attempt(self):
        claim, attempt = self.claimed()
        other, untouched = self.claimed()
        self.cancel(claim.action.uuid)
        with self.here.watch.over(attempt), self.here.watch.over(untouched):
            self.here.watch()
            self.assertIsInstance(attempt.aborted, exceptions.Cancelled)
            self.assertIsNone(untouched.aborted)

    def test_a_cancel_of_a_pull_reaches_it(self):
        uuid = self.create(image='far/away:1')
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        claim = pulls.claim(self.db, pull, self.here.lease)
        attempt = attempts.of_pull(self.db, claim, lambda: True, 60)
        self.cancel(self.actions_of(uuid)[0].uuid)
        with self.here.watch.over(attempt):
            self.here.watch()
        self.assertIsInstance(attempt.aborted, exceptions.Cancelled)

    def test_what_is_over_is_not_watched(self):
        claim, attempt = self.claimed()
        with self.here.watch.over(attempt):
            pass
        self.cancel(claim.action.uuid)
        self.here.watch()
        self.assertIsNone(attempt.aborted)

    def test_the_deadline(self):
        attempt = self.make(seconds_left=10, limit=60)
        attempt.enter('starting')
        self.clock.advance(10)
        attempt.look()
        attempt.gate()
        self.clock.advance(0.1)
        attempt.look()
        error = self.assertRaises(exceptions.DeadlineExceeded, attempt.gate)
        self.assertIn('60 seconds', error.detail)
        self.assertIn('it was starting', error.detail)

    def test_a_deadline_that_passed_before_it_began(self):
        for last, words in ((None, 'it was beginning'), ('disk full', 'Last: disk full')):
            attempt = self.make(seconds_left=-1, limit=60, last=last)
            attempt.look()
            self.assertIn(words, attempt.aborted.detail)

    def test_a_pull_that_comes_no_further(self):
        uuid = self.create(image='far/away:1')
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        claim = pulls.claim(self.db, pull, self.here.lease)
        attempt = attempts.of_pull(self.db, claim, lambda: True, 60)
        attempt._clock, attempt._moved_at = self.clock, self.clock()
        attempt.enter('pulling image')
        for number in range(200):               # hours, but it moves
            self.clock.advance(59)
            attempt.report({'bytes': number})
            attempt.look()
        self.assertIsNone(attempt.aborted)
        for _ in range(3):                      # the same again is no progress
            self.clock.advance(25)
            attempt.report({'bytes': 199})
            attempt.look()
        error = self.assertRaises(exceptions.PullStalled, attempt.gate)
        self.assertTrue(error.retriable)
        self.assertIn('60 seconds', error.detail)

    def test_of_many_one_that_fails_is_the_only_one(self):
        """Its claim is gone: the others are looked after all the same."""
        gone, first = self.claimed()
        kept, second = self.claimed()
        lifecycle.take_over(self.db, self.actions_of(gone.container.uuid)[0])
        with self.here.watch.over(first), self.here.watch.over(second):
            first.enter('creating')
            second.enter('creating')
            self.here.watch()
        self.assertIsInstance(first.aborted, exceptions.Fenced)
        self.assertEqual('creating', self.actions_of(kept.container.uuid)[0].stage)
