# SPDX-License-Identifier: Apache-2.0
"""Waiting for actions to end: many waiters, one query; and never more of them than slots."""

import threading

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.api import waiting
from container_service.db import actions
from container_service.tests import base as tests
from container_service.tests.unit.api import base
from container_service.tests.unit.test_lifecycle import ERROR

WAIT = 20


class WaitingCase(base.ApiTestCase):
    """The thread that looks is let go tick by tick."""

    slots = 16

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.looks, self.free = [], threading.Event()
        self.ticks, self.looked = threading.Semaphore(0), threading.Semaphore(0)
        final = actions.final

        def counted(conn, uuids):
            self.looks.append(set(uuids))
            return final(conn, uuids)

        self.patch(actions, 'final', counted)
        self.patch(waiting.time, 'sleep', self.sleep)
        self.addCleanup(self.free_run)
        self.waiting = waiting.Waiting(self.db, self.slots)
        self.parts_waiting()

    def parts_waiting(self):
        object.__setattr__(self.parts, 'waiting', self.waiting)

    def sleep(self, seconds):
        # The thread of an earlier test may still be about, and a pool of connections yields.
        if (seconds and threading.current_thread() is self.waiting._thread
                and not self.free.is_set()):
            self.looked.release()
            self.ticks.acquire(timeout=WAIT)
        elif seconds:
            threading.Event().wait(0.005)

    def free_run(self):
        """Let the thread look as often as it likes from now on."""
        self.free.set()
        self.ticks.release()

    def begun(self, count):
        """So many wait, and the thread has looked once."""
        self.waiters(count)
        self.assertTrue(self.looked.acquire(timeout=WAIT))

    def tick(self, times=1):
        """Let the thread look so many times, and wait until it has."""
        for _ in range(times):
            self.ticks.release()
            self.assertTrue(self.looked.acquire(timeout=WAIT))

    def waiter(self, *uuids, seconds=WAIT, every=False):
        """Wait in a thread; what is returned gives what came of it."""
        return self.in_background(lambda: self.waiting.wait(uuids, seconds, every))

    def waiters(self, count):
        tests.fixtures.eventually(lambda: len(self.waiting._waiters) == count, WAIT, 0.005)

    def end(self, uuid, how='succeeded'):
        container = self.action(uuid).resource_uuid
        if how == 'succeeded':
            self.carry_out(container)
        elif how == 'failed':
            lifecycle.fail(self.db, self.claim(container), ERROR, status=states.ERROR)
        else:
            self.cancel(uuid)

    def made(self, count):
        return [self.actions_of(self.create())[0].uuid for _ in range(count)]


class TestWaiting(WaitingCase):

    def test_many_waiters_one_query_per_tick(self):
        uuids = self.made(5)
        found = [self.waiter(uuid) for uuid in (*uuids, *uuids)]
        self.begun(10)
        self.tick()                      # the first look may have been before all were there
        before = len(self.looks)
        self.tick(3)
        self.assertEqual([set(uuids)] * 3, self.looks[before:])
        for uuid in uuids:
            self.end(uuid)
        self.free_run()
        self.assertEqual([True] * 10, [result() for result in found])

    def test_any_final_status_ends_it(self):
        self.free_run()
        for how in ('succeeded', 'failed', 'cancelled'):
            uuid, = self.made(1)
            found = self.waiter(uuid)
            self.waiters(1)
            self.end(uuid, how)
            self.assertTrue(found())

    def test_a_skipped_one(self):
        self.free_run()
        uuid, = self.made(1)
        start = self.submit('start', self.action(uuid).resource_uuid)
        found = self.waiter(start)
        self.waiters(1)
        self.end(uuid, 'failed')
        self.assertTrue(found())

    def test_any_and_every(self):
        one, two = self.made(2)
        any_of, all_of = self.waiter(one, two), self.waiter(one, two, every=True)
        self.begun(2)
        self.end(one)
        self.tick()
        self.assertTrue(any_of())
        self.waiters(1)
        self.tick()
        self.assertEqual({two}, self.looks[-1])          # what has ended is asked for no more
        self.end(two)
        self.free_run()
        self.assertTrue(all_of())

    def test_time_is_up(self):
        self.free_run()
        uuid, = self.made(1)
        self.assertFalse(self.waiting.wait([uuid], 0))
        self.assertEqual(set(), self.waiting._waiters)

    def test_nobody_waits_nobody_asks(self):
        self.free_run()
        uuid, = self.made(1)
        self.waiting.wait([uuid], 0)
        self.waiters(0)
        with self.waiting._condition:
            pass
        looks = len(self.looks)
        self.end(uuid)
        self.assertLessEqual(len(self.looks) - looks, 1)

    def test_a_database_that_is_away_for_a_while(self):
        uuid, = self.made(1)
        found = self.waiter(uuid)
        self.begun(1)
        final = actions.final
        for error in (exceptions.DatabaseUnavailable(), ZeroDivisionError()):
            def down(conn, uuids, error=error):
                raise error

            self.patch(actions, 'final', down)
            self.tick()
        self.patch(actions, 'final', final)
        self.end(uuid)
        self.free_run()
        self.assertTrue(found())
        self.assertIn('ZeroDivisionError', self.log.output)


class TestSlots(WaitingCase):

    slots = 2

    def test_more_are_answered_at_once(self):
        one, = self.made(1)
        found = [self.waiter(one) for _ in range(2)]
        self.waiters(2)
        error = self.assertRaises(exceptions.TooManyWaiters, self.waiting.wait, [one], WAIT)
        self.assertEqual((503, 1), (error.status, error.retry_after))
        answer = self.get(f'/v1/actions/{one}/wait?timeout=20')
        self.assert_refused(503, 'too_many_waiters', answer)
        self.assertEqual('1', answer.headers['Retry-After'])
        # A request that only would have waited is accepted all the same, and says so.
        answer = self.post('/v1/containers', {'image': 'i'}, version='1.41',
                           headers={'Prefer': 'wait=20'})
        self.assertEqual((202, '1'), (answer.status_int, answer.headers['Retry-After']))
        self.assertNotIn('Preference-Applied', answer.headers)
        self.assertEqual(200, self.get('/v1/containers').status_int)
        self.end(one)
        self.free_run()
        self.assertEqual([True, True], [result() for result in found])
        self.assertFalse(self.waiting.wait(self.made(1), 0))         # the slots are free again

    def test_one_project_gets_half_of_them(self):
        one, = self.made(1)
        first = self.in_background(lambda: self.get(f'/v1/actions/{one}/wait?timeout=20'))
        self.waiters(1)
        container = self.get(f'/v1/actions/{one}').json['container_uuid']
        for path in (f'actions/{one}/wait?', f'actions/wait?action={one}&',
                     f'containers/{container}/wait?'):
            answer = self.get(f'/v1/{path}timeout=1', version='1.41')
            self.assert_refused(503, 'too_many_waiters', answer)
            self.assertEqual('1', answer.headers['Retry-After'])
        theirs = self.post('/v1/containers', {'image': 'i'}, version='1.41',
                           project='other').json['action']['uuid']
        second = self.in_background(lambda: self.get(
            f'/v1/actions/{theirs}/wait?timeout=20', project='other'))
        self.waiters(2)
        self.end(one)
        self.end(theirs)
        self.free_run()
        self.assertEqual([200, 200], [first().status_int, second().status_int])

    def test_what_was_accepted_is_told_when_the_wait_fails(self):
        """Not an error that says that nothing was changed."""
        def fail(*args, **values):
            raise exceptions.DatabaseUnavailable()

        self.patch(self.waiting, 'wait', fail)
        answer = self.post('/v1/containers', {'image': 'i'}, headers={'Prefer': 'wait=20'})
        self.assertEqual(202, answer.status_int)
        self.assertNotIn('Preference-Applied', answer.headers)

    def test_what_has_ended_needs_no_slot(self):
        one, two = self.made(2)
        self.end(two)
        found = [self.waiter(one) for _ in range(2)]
        self.waiters(2)
        for path in (f'{two}/wait', f'wait?action={two}', f'{one}/wait?timeout=0',
                     f'wait?action={two}&action={one}&for=any'):
            self.assertEqual(200, self.get(f'/v1/actions/{path}').status_int, path)
        self.end(one)
        self.free_run()
        self.assertEqual([True, True], [result() for result in found])


class TestHttp(WaitingCase):

    def setUp(self):
        super().setUp()
        self.free_run()

    def path(self, *uuids, **values):
        values = [*(('action', uuid) for uuid in uuids), *values.items()]
        return '/v1/actions/wait?' + '&'.join(f'{name}={value}' for name, value in values)

    def test_one(self):
        uuid, = self.made(1)
        answer = self.in_background(lambda: self.get(f'/v1/actions/{uuid}/wait?timeout=20'))
        self.waiters(1)
        self.end(uuid, 'failed')
        self.assertEqual((200, 'failed', ERROR['detail']), (
            answer().status_int, answer().json['status'], answer().json['error']['detail']))

    def test_one_that_does_not_end_in_time(self):
        uuid, = self.made(1)
        answer = self.get(f'/v1/actions/{uuid}/wait?timeout=0')
        self.assertEqual((200, 'queued'), (answer.status_int, answer.json['status']))

    def test_several(self):
        one, two = self.made(2)
        self.end(two)
        answer = self.get(self.path(one, two, **{'for': 'any'}))
        self.assertEqual([(one, 'queued'), (two, 'succeeded')], [
            (action['uuid'], action['status']) for action in answer.json['actions']])
        answer = self.in_background(lambda: self.get(self.path(two, one, two, timeout=20)))
        self.waiters(1)
        self.end(one)
        self.assertEqual([two, one], [action['uuid'] for action in answer().json['actions']])

    def test_refusals(self):
        uuid, = self.made(1)
        for path in (self.path(), self.path(uuid, timeout=301), self.path(uuid, timeout=-1),
                     self.path(uuid, **{'for': 'some'}), self.path(*[uuid[:-3] + f'{i:03}'
                                                                     for i in range(101)]),
                     f'/v1/actions/{uuid}/wait?timeout=x', f'/v1/actions/{uuid}/wait?for=any'):
            self.assertEqual(400, self.get(path).status_int, path)
        self.assert_refused(404, 'action_not_found', self.get(self.path(uuid, 'x')))
        self.assert_refused(404, 'action_not_found',
                            self.get(self.path(uuid), project='other'))

    def accepted(self, path, body=None, **values):
        """Ask and wait, and let what was accepted succeed meanwhile."""
        answer = self.in_background(lambda: self.post(
            path, body, headers={'Prefer': values.pop('prefer', 'wait=20')}, **values))
        self.waiters(1)
        with self.db.read() as conn:
            head = conn.execute(actions.table.select().where(
                actions.table.c.status == 'queued')).one()
        self.carry_out(head.resource_uuid)
        return answer()

    def test_prefer(self):
        answer = self.accepted('/v1/containers', {'image': 'i', 'name': 'c1'}, version='1.41')
        self.assertEqual((200, 'Created', 'succeeded', 'wait'), (
            answer.status_int, answer.json['status'], answer.json['action']['status'],
            answer.headers['Preference-Applied']))
        answer = self.accepted('/v1/containers/c1/start', version='1.41',
                               prefer='respond-async, Wait="20"; x=y')
        self.assertEqual((200, 'succeeded', 'wait'), (
            answer.status_int, answer.json['status'], answer.headers['Preference-Applied']))
        # Older clients get what they know, only later.
        answer = self.accepted('/v1/containers/c1/stop', version='1.40')
        self.assertEqual((202, b'', 'wait'), (
            answer.status_int, answer.body, answer.headers['Preference-Applied']))

    def test_prefer_when_time_is_up(self):
        answer = self.post('/v1/containers', {'image': 'i'}, version='1.41',
                           headers={'Prefer': 'wait=0'})
        self.assertEqual((202, 'queued', 'wait'), (
            answer.status_int, answer.json['action']['status'],
            answer.headers['Preference-Applied']))

    def test_other_preferences_mean_nothing(self):
        for prefer in ('', 'respond-async', 'return=minimal', 'waiting=3'):
            answer = self.post('/v1/containers', {'image': 'i'}, headers={'Prefer': prefer})
            self.assertEqual(202, answer.status_int)
            self.assertNotIn('Preference-Applied', answer.headers)

    def test_a_bad_preference_is_refused_before_anything_is_accepted(self):
        """It was a 400, and the container was made."""
        self.make('c1', 'Running')
        for prefer in ('wait=x', 'wait=-1', 'wait', 'wait=1.5', f'wait={"0" * 12}{"9" * 5000}'):
            for path, body in (('/v1/containers', {'image': 'i', 'name': 'c2'}),
                               ('/v1/containers/c1/pause', None)):
                self.assert_refused(400, 'invalid_parameter', self.post(
                    path, body, headers={'Prefer': prefer}))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c2'))
        self.assertEqual(1, len(self.actions_of(self.get('/v1/containers/c1').json['uuid'])))
