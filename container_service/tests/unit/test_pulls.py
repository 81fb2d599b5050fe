# SPDX-License-Identifier: Apache-2.0
"""Shared pulls, as they are recorded; how they are carried out is in conductor/test_puller.py."""

from container_service import exceptions
from container_service import lifecycle
from container_service import pulls
from container_service import states
from container_service.db import containers
from container_service.db import pulls as rows
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests.unit import test_lifecycle

IMAGE = 'far/away:1'
ERROR = {'code': 'image_not_found', 'title': 'Image not found', 'detail': 'manifest unknown',
         'stage': 'pulling image', 'hint': None, 'retriable': False}


class PullCase(test_lifecycle.LifecycleCase):

    def waiting(self, image=IMAGE, **values):
        """A create that waits for its image; returns container and pull."""
        uuid = self.accept_create(image=image, **values)[0].uuid
        return uuid, lifecycle.wait_for_pull(self.db, self.claim(uuid))

    def pull(self, uuid):
        with self.db.read() as conn:
            return rows.find(conn, uuid)

    def runnable(self, *uuids):
        return [self.container(uuid).runnable_at is not None for uuid in uuids]

    def claim_pull(self, pull, conductor=None):
        return pulls.claim(self.db, pull, conductor or base.Conductor())


class TestJoin(PullCase):

    def test_many_containers_one_pull(self):
        found = [self.waiting() for _ in range(5)]
        self.assertEqual(1, len({pull for _, pull in found}))
        for uuid, pull in found:
            action, = self.actions_of(uuid)
            self.assertEqual((states.QUEUED, rows.WAITING, pull, 0, None),
                             (action.status, action.waiting_code, action.pull_uuid,
                              action.attempts, action.claim_uuid))
            self.assertEqual((None, None), (self.container(uuid).runnable_at,
                                            self.container(uuid).running_action_uuid))
            self.assertIsNone(self.claim(uuid))

    def test_another_image_or_bay_is_another_pull(self):
        other = self.make_bay('other')
        found = {self.waiting(bay='bay')[1], self.waiting('far/away:2', bay='bay')[1],
                 self.waiting(bay=other.uuid)[1]}
        self.assertEqual(3, len(found))

    def test_one_that_runs_is_joined(self):
        _, pull = self.waiting()
        self.claim_pull(pull)
        self.assertEqual(pull, self.waiting()[1])

    def test_one_that_has_ended_is_not(self):
        _, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        self.assertNotEqual(pull, self.waiting()[1])

    def test_joined_while_it_ends(self):
        """Between the end of the pull and setting free those who waited for it."""
        first, pull = self.waiting()
        claim = self.claim_pull(pull)
        before, same = self.waiting()
        self.assertEqual(pull, same)
        transact, calls, late = self.db.transact, [], []

        def between(unit, landed=None):
            calls.append(unit)
            if len(calls) == 2:
                late.append(self.waiting())
            return transact(unit, landed)

        self.patch(self.db, 'transact', between)
        self.assertEqual([first, before], pulls.end(self.db, claim, states.SUCCEEDED))
        (after, another), = late
        self.assertNotEqual(pull, another)
        self.assertEqual([True, True, False], self.runnable(first, before, after))

    def test_two_that_begin_it_at_the_same_time(self):
        """The second finds nothing, and then that there is one."""
        uuid = self.create(image=IMAGE)
        claim = self.claim(uuid)
        _, pull = self.waiting()
        join, looks = rows.join, []

        def blind(conn, bay_uuid, image, new_uuid, registry_uuid):
            looks.append(new_uuid)
            if len(looks) == 1:
                conn.execute(rows.table.insert().values(
                    uuid=new_uuid, bay_uuid=bay_uuid, image=image, status=states.QUEUED,
                    live_key=self.pull(pull).live_key, created_at=self.database_time()))
            return join(conn, bay_uuid, image, new_uuid, registry_uuid)

        self.patch(rows, 'join', blind)
        self.assertEqual(pull, lifecycle.wait_for_pull(self.db, claim))
        self.assertEqual(2, len(looks))
        self.assertEqual((states.QUEUED, pull), (
            self.actions_of(uuid)[0].status, self.actions_of(uuid)[0].pull_uuid))


class TestClaim(PullCase):

    def test_one_takes_it(self):
        _, pull = self.waiting()
        conductor = base.Conductor('here')
        claim = self.claim_pull(pull, conductor)
        row = self.pull(pull)
        self.assertEqual((states.ACTION_RUNNING, claim.uuid, conductor.uuid, 'here.0', 1, None),
                         (row.status, row.claim_uuid, row.conductor_uuid, row.conductor,
                          row.attempts, row.runnable_at))
        self.assertIsNone(self.claim_pull(pull))
        self.assertIsNone(self.claim_pull(lifecycle.new_uuid()))

    def test_when_the_answer_of_the_database_is_lost(self):
        for landed in (True, False):
            _, pull = self.waiting(f'lost/{landed}:1'.lower())
            with fixtures.lost_commit(self.db, landed) as lost:
                claim = self.claim_pull(pull)
            self.assertEqual((1, pull), (len(lost), claim.pull.uuid))
            self.assertEqual(1, self.pull(pull).attempts)
            pulls.progress(self.db, claim, {'bytes': 1})

    def test_handed_back(self):
        _, pull = self.waiting()
        pulls.requeue(self.db, self.claim_pull(pull), 60)
        self.assertIsNone(self.claim_pull(pull))
        self.let_pass(61)
        self.assertIsNotNone(self.claim_pull(pull))

    def test_all_that_wait_see_its_progress(self):
        uuids = [self.waiting()[0] for _ in range(2)]
        _, pull = self.waiting()
        pulls.progress(self.db, self.claim_pull(pull), {'bytes': 7})
        for uuid in uuids:
            row = self.action(self.actions_of(uuid)[0].uuid)
            self.assertEqual((states.ACTION_RUNNING, {'bytes': 7}, IMAGE),
                             (row.pull_status, row.pull_progress, row.pull_image))


class TestEnd(PullCase):

    def test_those_that_waited_go_on(self):
        found = [self.waiting()[0] for _ in range(3)]
        elsewhere, _ = self.waiting('far/away:2')
        _, pull = self.waiting()
        freed = pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        self.assertEqual(4, len(freed))
        self.assertEqual([True] * 3 + [False], self.runnable(*found, elsewhere))
        for uuid in found:
            self.assertEqual((pull, 1), (self.claim(uuid).action.pull_uuid,
                                         self.actions_of(uuid)[0].attempts))

    def test_a_failure_says_why(self):
        _, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.FAILED, ERROR)
        row = self.pull(pull)
        self.assertEqual((states.FAILED, ERROR, None), (row.status, row.error, row.live_key))
        self.assertIsNotNone(row.finished_at)

    def test_one_that_was_cancelled_meanwhile_is_not_freed(self):
        """Its container was offered for ever, and nothing of it could be claimed."""
        uuid, pull = self.waiting()
        other, _ = self.waiting()
        claim = self.claim_pull(pull)
        execute, cancelled = rows._waiting_for, []

        def after_the_first_look(conn, pull_uuid):
            found = execute(conn, pull_uuid)
            if not cancelled:
                cancelled.append(uuid)
                # As another transaction would that commits now.
                conn.execute(lifecycle.actions.table.update().where(
                    lifecycle.actions.table.c.resource_uuid == uuid).values(
                        status=states.CANCELLED))
            return found

        self.patch(rows, '_waiting_for', after_the_first_look)
        self.assertEqual([other], pulls.end(self.db, claim, states.SUCCEEDED))
        self.assertEqual([False, True], self.runnable(uuid, other))

    def test_a_container_with_nothing_to_claim_is_offered_once(self):
        uuid = self.running()
        self.change(containers.table, uuid, runnable_at=self.database_time())
        self.assertIsNone(self.claim(uuid))
        self.assert_at_rest(uuid, states.RUNNING)

    def test_when_the_answer_of_the_database_is_lost(self):
        for landed in (True, False):
            uuid, pull = self.waiting(f'lost/{landed}:1'.lower())
            claim = self.claim_pull(pull)
            with fixtures.lost_commit(self.db, landed):
                pulls.progress(self.db, claim, {})
            with fixtures.lost_commit(self.db, landed):
                pulls.requeue(self.db, claim, 0)
            claim = self.claim_pull(pull)
            with fixtures.lost_commit(self.db, landed):
                self.assertEqual([uuid], pulls.end(self.db, claim, states.SUCCEEDED))
            self.assertEqual([True], self.runnable(uuid))

    def test_who_was_taken_over_changes_nothing(self):
        uuid, pull = self.waiting()
        claim = self.claim_pull(pull)
        pulls.sweep(self.db)               # its conductor is not known: dead
        for again in (False, True):
            if again:
                self.claim_pull(pull)
            before = self.pull(pull)
            for write in (lambda: pulls.progress(self.db, claim, {'bytes': 1}),
                          lambda: pulls.requeue(self.db, claim, 1),
                          lambda: pulls.end(self.db, claim, states.SUCCEEDED)):
                self.assertRaises(exceptions.Fenced, write)
            self.assertEqual(before, self.pull(pull))
        self.assertEqual([False], self.runnable(uuid))


class TestSweep(PullCase):

    def test_a_conductor_dies_during_a_pull(self):
        _, pull = self.waiting()
        pulls.progress(self.db, self.claim_pull(pull), {'bytes': 7})
        pulls.sweep(self.db)
        row = self.pull(pull)
        self.assertEqual((states.QUEUED, None, None), (row.status, row.claim_uuid, row.progress))
        self.assertEqual(2, self.claim_pull(pull).pull.attempts)

    def test_a_conductor_dies_while_it_ends_a_pull_nobody_wants(self):
        uuid, pull = self.waiting()
        self.claim_pull(pull)
        self.cancel(self.actions_of(uuid)[0].uuid)
        pulls.sweep(self.db)
        self.assertEqual((states.CANCELLED, None),
                         (self.pull(pull).status, self.pull(pull).live_key))
        self.assertIsNone(self.claim_pull(pull))

    def test_a_conductor_dies_between_the_end_and_those_that_waited(self):
        uuid, pull = self.waiting()
        claim = self.claim_pull(pull)

        class Killed(BaseException):
            pass

        def die(*args):
            raise Killed

        free_waiters = rows.free_waiters
        self.patch(rows, 'free_waiters', die)
        self.assertRaises(Killed, pulls.end, self.db, claim, states.SUCCEEDED)
        self.assertEqual((states.SUCCEEDED, [False]), (self.pull(pull).status,
                                                       self.runnable(uuid)))
        self.patch(rows, 'free_waiters', free_waiters)
        pulls.sweep(self.db)
        self.assertEqual([True], self.runnable(uuid))
        claim = self.claim(uuid)
        pulls.sweep(self.db)               # what was freed is left alone
        self.assertEqual(claim.action.uuid, self.container(uuid).running_action_uuid)

    def test_nothing_to_do(self):
        uuid, pull = self.waiting()
        before = self.pull(pull), self.rows(uuid)
        pulls.sweep(self.db)
        self.assertEqual(before, (self.pull(pull), self.rows(uuid)))

    def test_ended_pulls_are_forgotten_after_a_while(self):
        _, pull = self.waiting()
        _, unfinished = self.waiting('far/away:2')
        pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        self.let_pass(100)
        for seconds, left in ((200, True), (50, False)):
            self.db.transact(lambda conn, seconds=seconds: rows.purge(conn, seconds))
            self.assertEqual(left, self.pull(pull) is not None)
        self.assertIsNotNone(self.pull(unfinished))


class TestRetry(PullCase):

    def test_the_next_attempt_asks_for_the_image_anew(self):
        """A pull that had stalled failed every later attempt, and was never begun again."""
        uuid, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.FAILED, ERROR)
        lifecycle.requeue(self.db, self.claim(uuid), 'retrying', 'stalled', 0)
        again = self.claim(uuid)
        self.assertIsNone(again.action.pull_uuid)
        self.assertNotEqual(pull, lifecycle.wait_for_pull(self.db, again))

    def test_parked_it_remembers_that_its_image_was_pulled(self):
        uuid, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        lifecycle.requeue(self.db, self.claim(uuid), 'bay_unreachable', 'x', 0, parked=True)
        self.assertEqual(pull, self.claim(uuid).action.pull_uuid)

    def test_a_later_attempt_remembers_it_too(self):
        """It waited for the same image again, and was taken for one that had done nothing."""
        uuid, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        lifecycle.requeue(self.db, self.claim(uuid), 'retrying', 'busy', 0)
        self.assertEqual(pull, self.claim(uuid).action.pull_uuid)


class TestCancelOfWhatHasActed(PullCase):

    def again(self):
        """A create that has noted something on the engine, and waits for its image again."""
        uuid, pull = self.waiting()
        pulls.end(self.db, self.claim_pull(pull), states.SUCCEEDED)
        claim = self.claim(uuid)
        lifecycle.remember(self.db, claim, {'replaces': 'old'})
        return uuid, lifecycle.wait_for_pull(self.db, claim)

    def test_it_is_undone(self):
        """It was said to have made nothing, and what it had stopped stayed so."""
        for cancel in (lambda uuid: self.cancel(self.actions_of(uuid)[0].uuid),
                       lambda uuid: self.submit('delete', uuid, force=True)):
            uuid, pull = self.again()
            cancel(uuid)
            action = self.actions_of(uuid)[0]
            self.assertEqual((states.QUEUED, [True]), (action.status, self.runnable(uuid)))
            claim = self.claim(uuid)
            self.assertEqual((states.CANCELLING, False), (claim.action.status, claim.first))
            lifecycle.end_cancelled(self.db, claim, None, ERROR)
            self.assertEqual(states.CANCELLED, self.actions_of(uuid)[0].status)
            self.assertEqual(states.CANCELLED, self.pull(pull).status)

    def test_the_pull_goes_on_for_others(self):
        uuid, pull = self.again()
        self.assertEqual(pull, self.waiting()[1])
        self.cancel(self.actions_of(uuid)[0].uuid)
        lifecycle.end_cancelled(self.db, self.claim(uuid), None, ERROR)
        self.assertEqual(states.QUEUED, self.pull(pull).status)
