# SPDX-License-Identifier: Apache-2.0
"""Shared pulls, as a conductor carries them out on the fake engine."""

import dataclasses
import socket

from container_service import exceptions
from container_service import images as image_rules
from container_service import lifecycle
from container_service import pulls
from container_service import registries
from container_service import states
from container_service.db import images
from container_service.db import pulls as rows
from container_service.drivers import fake
from container_service.tests.unit.conductor import base

IMAGE = 'far/away:1'


class PullerCase(base.BenchCase):

    def pulls(self):
        with self.db.read() as conn:
            return conn.execute(rows.table.select().order_by(rows.table.c.id)).all()

    def pull_meanwhile(self, *functions):
        """Let things happen in the middle of a pull, one after the other."""
        left = list(functions)
        self.engine.pull_seconds = 12
        self.engine.sleep = lambda seconds: left and left.pop(0)()
        self.addCleanup(lambda: self.assertEqual([], left))

    def errors(self, *uuids):
        return [self.actions_of(uuid)[0].error for uuid in uuids]


class TestSources(PullerCase):
    """From where an engine is told to pull."""

    def pull_from(self, domain, addresses=None, **options):
        """Have an image pulled whose registry has these addresses; returns what was wrong."""
        def resolve(name, port, type):
            if addresses is None:
                raise socket.gaierror(socket.EAI_NONAME, 'unknown')
            return [(None, type, 6, '', (address, port)) for address in addresses]

        self.patch(fake.FakeDriver, 'asks_registries', True)
        for name, value in {'egress.allowed_networks': [], **options}.items():
            group, _, option = name.partition('.')
            self.conf.set_override(option, value, group=group)
        sources = self.here.puller._sources = registries.Policy(self.conf)
        sources._way = dataclasses.replace(sources._way, resolve=resolve)
        self.engine.pulls.clear()
        uuid = self.create(image=f'{domain}/web:1')
        self.here.sweep()
        self.here.sweep()
        errors = [action.error or {'detail': action.waiting_detail}
                  for action in self.actions_of(uuid)]
        self.assertEqual(bool(errors[0]['detail']), not self.engine.pulls, errors)
        return errors[0]['detail']

    def test_where_a_registry_leads_is_looked_at_before_each_pull(self):
        for addresses, words in (
                (['127.0.0.1'], 'leads to 127.0.0.1, which is loopback'),
                (['93.184.216.34', '10.0.0.1'], 'leads to 10.0.0.1, which is private'),
                (['169.254.169.254'], 'denied_networks'), (['64:ff9b::7f00:1'], 'loopback'),
                (None, 'cannot be resolved'), (['93.184.216.34'], None)):
            detail = self.pull_from('registry.example', addresses)
            self.assertIn(words or '', detail or '')
            self.assertEqual(words is None, detail is None, detail)

    def test_what_an_operator_allows_is_pulled(self):
        opened = {'egress.allowed_networks': ['10.0.0.0/8']}
        self.assertIsNone(self.pull_from('r.example', ['10.0.0.1'], **opened))
        # By its full name it is taken as it is, by a pattern it is not.
        self.assertIsNone(self.pull_from(
            'a.example:5000', None, **{'images.allowed_registries': ['a.example:5000']}))
        self.assertIn('private', self.pull_from(
            'b.example', ['10.0.0.1'], **{'images.allowed_registries': ['*.example']}))

    def test_a_registry_that_is_not_listed_any_more_is_not_asked(self):
        self.assertIn('is not allowed here: docker.io', self.pull_from(
            'r.example', ['93.184.216.34'], **{'images.allowed_registries': ['docker.io']}))


class TestShared(PullerCase):

    def test_many_containers_cost_one_pull(self):
        uuids = [self.create(image=IMAGE) for _ in range(5)]
        self.engine.pull_seconds = 12
        seen = []

        def sleep(seconds):
            if not seen:
                seen.append([(row.status, row.waiting_code) for uuid in uuids
                             for row in self.actions_of(uuid)])
                # As other slots would meanwhile.
                for uuid in uuids[1:]:
                    self.here.inflight.wake(uuid)
                seen.append(len(self.here.inflight))

        self.engine.sleep = sleep
        self.here.sweep()
        for uuid in uuids:
            self.assert_at_rest(uuid, states.CREATED)
            action, = self.actions_of(uuid)
            self.assertEqual((states.SUCCEEDED, 1), (action.status, action.attempts))
        self.assertEqual([IMAGE], self.engine.pulls)
        self.assertEqual(1, len(self.pulls()))
        self.assertEqual(1, self.pulls()[0].attempts)

    def test_those_that_wait_hold_no_slot(self):
        uuids = [self.create(image=IMAGE) for _ in range(3)]
        other = self.create()
        self.pull_meanwhile(self.here.sweep.wake)
        self.here.inflight.wake(uuids[0])
        self.assert_at_rest(other, states.CREATED)
        self.here.sweep()
        for uuid in uuids:
            self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual([IMAGE], self.engine.pulls)

    def test_a_failure_fails_all_in_its_own_words(self):
        self.engine.fail('pull', exceptions.PullFailed('toomanyrequests: slow down'))
        uuids = [self.create(image=IMAGE) for _ in range(3)]
        starts = [self.submit('start', uuid) for uuid in uuids]
        # All wait before the pull begins.
        for uuid in uuids:
            lifecycle.wait_for_pull(self.db, self.claim(uuid))
        self.here.sweep()
        self.here.sweep()
        for error in self.errors(*uuids):
            self.assertEqual(('image_pull_failed', 'toomanyrequests: slow down',
                              'pulling image'), (error['code'], error['detail'], error['stage']))
        for uuid, start in zip(uuids, starts):
            self.assert_at_rest(uuid, states.ERROR)
            self.assertEqual(states.SKIPPED, self.action(start).status)
        self.assertEqual(1, self.engine.calls['pull'])

    def test_what_a_registry_says_is_not_written_as_it_is(self):
        said = 'no\0pe\nERROR root logged in ' + 'x' * 70000
        self.engine.fail('pull', exceptions.PullFailed(said))
        uuid = self.create(image=IMAGE)
        image, _ = image_rules.pull(self.context, self.db, reference=IMAGE)
        self.here.sweep()
        self.here.sweep()
        with self.db.read() as conn:
            reason = images.find(conn, image.uuid).status_reason
        for words in (reason, self.container(uuid).status_reason,
                      self.pulls()[0].error['detail'], self.errors(uuid)[0]['detail']):
            self.assertEqual(('no pe ERROR root', 4096), (words[:16], len(words)))
        self.assertNotIn('\nERROR root', self.log.output)

    def test_a_failure_that_may_pass_is_tried_again(self):
        """Every later attempt failed of the same old pull."""
        error = exceptions.PullFailed('connection refused')
        error.retriable = True
        self.engine.fail('pull', error, times=2)
        uuid = self.create(image=IMAGE)
        self.here.sweep()
        for _ in range(2):
            action, = self.actions_of(uuid)
            self.assertEqual((states.QUEUED, 'retrying'), (action.status, action.waiting_code))
            self.assertIn('connection refused', action.waiting_detail)
            self.retry()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual(3, len(self.pulls()))

    def test_the_newest_image_is_pulled_once_for_each_action(self):
        self.engine.images.add(IMAGE)
        uuid = self.create(image=IMAGE, image_pull_policy='always')
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual([IMAGE], self.engine.pulls)

    def test_an_exception_nobody_foresaw(self):
        self.patch(fake.FakeDriver, 'pull', lambda *args: {}['surprise'])
        uuid = self.create(image=IMAGE)
        self.here.sweep()
        error, = self.errors(uuid)
        self.assertEqual('image_pull_failed', error['code'])
        self.assertIn('KeyError', error['detail'])
        self.assertNotIn('surprise', error['detail'])
        self.assert_at_rest(uuid, states.ERROR)

    def test_nothing_to_do(self):
        self.assertFalse(self.here.puller.work(lifecycle.new_uuid()))
        self.assertIsNone(self.here.puller.pick(()))

    def test_without_a_lease_nothing_is_pulled(self):
        uuid = self.create(image=IMAGE)
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        self.here.clock.advance(self.conf.conductor.lease)
        self.assertIsNone(self.here.puller.pick(()))
        self.assertFalse(self.here.puller.work(pull))
        self.assertEqual(states.QUEUED, self.pulls()[0].status)

    def test_a_database_that_is_down_means_nothing(self):
        def down():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'read', down)
        self.assertIsNone(self.here.puller.pick(()))


class TestCancel(PullerCase):

    def cancel_all(self, *uuids):
        for uuid in uuids:
            self.assertEqual(states.CANCELLED, self.cancel(self.actions_of(uuid)[0].uuid).status)

    def test_the_last_that_waits_ends_it(self):
        one, two = self.create(image=IMAGE), self.create(image=IMAGE)
        for uuid in (one, two):
            lifecycle.wait_for_pull(self.db, self.claim(uuid))
        pulling = []
        self.pull_meanwhile(
            lambda: (self.cancel_all(one), self.here.watch()),
            lambda: pulling.append(self.pulls()[0].status),
            lambda: (self.cancel_all(two), self.here.watch()))
        self.here.sweep()
        self.assertEqual([states.ACTION_RUNNING], pulling)
        self.assertEqual([], self.engine.pulls)
        self.assertFalse(self.engine.has_image(IMAGE))
        self.assertEqual((states.CANCELLED, None),
                         (self.pulls()[0].status, self.pulls()[0].live_key))
        for uuid in (one, two):
            self.assert_at_rest(uuid, states.ERROR)

    def test_it_closes_what_the_driver_waits_on(self):
        uuid = self.create(image=IMAGE)
        closed = []

        def pull(driver, attempt, image, credentials):
            with attempt.closing(lambda: closed.append(image)):
                self.cancel_all(uuid)
                self.here.watch()
                self.assertEqual([IMAGE], closed)
                raise ValueError('I/O operation on closed file')

        self.patch(fake.FakeDriver, 'pull', pull)
        self.here.sweep()
        self.assertEqual([IMAGE], closed)
        self.assertEqual(states.CANCELLED, self.pulls()[0].status)
        self.assertNotIn('closed file', self.log.output)

    def test_who_comes_while_it_ends_gets_another(self):
        one, found = self.create(image=IMAGE), []
        lifecycle.wait_for_pull(self.db, self.claim(one))

        def come():
            self.cancel_all(one)
            found.append(self.create(image=IMAGE))
            lifecycle.wait_for_pull(self.db, self.claim(found[0]))
            self.here.watch()

        self.pull_meanwhile(come)
        self.here.sweep()
        self.here.sweep()
        self.assertEqual([states.CANCELLED, states.SUCCEEDED],
                         [pull.status for pull in self.pulls()])
        self.assert_at_rest(one, states.ERROR)
        self.assert_at_rest(found[0], states.CREATED)


class TestTrouble(PullerCase):

    def test_a_pull_that_comes_no_further(self):
        uuid = self.create(image=IMAGE)

        def stall():
            attempt, = [one for one in self.here.watch._attempts.values()
                        if one.stall_seconds]
            attempt._moved_at -= self.conf.conductor.pull_stall + 1
            self.here.watch()

        self.pull_meanwhile(stall)
        self.here.sweep()
        error, = self.errors(uuid)
        self.assertEqual(('image_pull_stalled', 'pulling image', True),
                         (error['code'], error['stage'], error['retriable']))
        self.assertIn('60 seconds', error['detail'])
        self.assertEqual([], self.engine.pulls)

    def test_its_engine_goes_away(self):
        uuid = self.create(image=IMAGE)

        def gone():
            self.engine.unreachable = True

        self.pull_meanwhile(gone)
        self.here.sweep()
        pull, = self.pulls()
        self.assertEqual((states.QUEUED, None), (pull.status, pull.claim_uuid))
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.engine.unreachable = False
        self.let_pass(2)
        self.here.lease.renew()
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual([IMAGE], self.engine.pulls)

    def test_its_conductor_dies(self):
        uuid = self.create(image=IMAGE)
        other = self.another()

        def die():
            self.die(self.here)
            self.engine.sleep = lambda seconds: None
            other.sweep()

        self.pull_meanwhile(die)
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        pull, = self.pulls()
        self.assertEqual((states.SUCCEEDED, other.lease.server, 2),
                         (pull.status, pull.conductor, pull.attempts))
        self.assertEqual([IMAGE], self.engine.pulls)
        self.assertIn('left to others', self.log.output)

    def test_its_conductor_dies_before_it_says_that_it_has_ended(self):
        uuid = self.create(image=IMAGE)
        free_waiters = rows.free_waiters

        def die(*args):
            raise exceptions.DatabaseUnavailable()

        self.patch(rows, 'free_waiters', die)
        self.assertRaises(exceptions.DatabaseUnavailable, self.twice)
        self.patch(rows, 'free_waiters', free_waiters)
        self.assertEqual((states.SUCCEEDED, [('create', 'queued')]),
                         (self.pulls()[0].status, self.outcomes(uuid)))
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual([IMAGE], self.engine.pulls)

    def twice(self):
        self.here.sweep()
        self.here.sweep()

    def test_an_own_pull_that_nobody_here_carries_out(self):
        uuid = self.create(image=IMAGE)
        pull = lifecycle.wait_for_pull(self.db, self.claim(uuid))
        pulls.claim(self.db, pull, self.here.lease)
        self.here.sweep()
        self.assertEqual(states.ACTION_RUNNING, self.pulls()[0].status)
        self.here.sweep()
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
