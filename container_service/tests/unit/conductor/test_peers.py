# SPDX-License-Identifier: Apache-2.0
"""Who is declared dead, by whom and when; the clocks are in the test's hand."""

from container_service import exceptions
from container_service import states
from container_service.conductor import lease
from container_service.db import actions
from container_service.db import conductors
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base


class PeersCase(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.seconds = self.conf.conductor.lease
        self.other = self.another()
        # As on another machine, unless a test is about this one.
        self.change(conductors.table, self.other.lease.uuid, boot_id='another')

    def state(self, bench):
        with self.db.read() as conn:
            return conductors.find(conn, bench.lease.uuid).state

    def look(self, seconds=0, of=None, renewing=()):
        """Let time pass at an observer, who looks each second, as do renewals of its own."""
        of = of or self.here
        of.peers()
        for _ in range(round(seconds)):
            of.clock.advance(1)
            of.lease.renew()
            for bench in renewing:
                bench.lease.renew()
            of.peers()


class TestSilence(PeersCase):

    def test_a_full_lease_of_silence_is_death(self):
        self.look(self.seconds - 1)
        self.assertEqual('up', self.state(self.other))
        self.look(1)
        self.assertEqual('gone', self.state(self.other))
        self.assertIn(self.other.lease.uuid, self.log.output)

    def test_who_renews_lives(self):
        self.look(10 * self.seconds, renewing=[self.other])
        self.assertEqual('up', self.state(self.other))

    def test_one_heartbeat_begins_it_anew(self):
        self.look(self.seconds - 1)
        self.other.lease.renew()
        self.look(self.seconds - 1)
        self.assertEqual('up', self.state(self.other))

    def test_the_clock_of_the_database_decides_nothing(self):
        """It jumps by an hour, there and back."""
        self.look(1)
        self.let_pass(3600)
        self.look(2)
        self.let_pass(-7200)
        self.look(2)
        self.assertEqual('up', self.state(self.other))
        self.look(self.seconds)
        self.assertEqual('gone', self.state(self.other))

    def test_a_heartbeat_in_the_last_moment_wins(self):
        self.look(self.seconds - 1)
        self.here.clock.advance(1)
        self.here.lease.renew()
        read = conductors.heartbeats

        def then_it_renews(conn):
            rows = read(conn)
            self.other.lease.renew()
            return rows

        self.patch(conductors, 'heartbeats', then_it_renews)
        self.here.peers()
        self.assertEqual('up', self.state(self.other))

    def test_what_was_not_watched_does_not_count(self):
        """The observer was suspended, or the database down and nobody could renew."""
        self.look(1)
        self.here.clock.advance(10 * self.seconds)
        self.here.lease.renew()
        self.look(1)
        self.assertEqual('up', self.state(self.other))
        self.look(self.seconds)
        self.assertEqual('gone', self.state(self.other))

    def test_who_may_not_act_for_itself_does_not_judge(self):
        for _ in range(2 * round(self.seconds)):    # its own lease lapses meanwhile
            self.here.peers()
            self.here.clock.advance(1)
        self.assertEqual('up', self.state(self.other))
        self.look(self.seconds - 1)                 # and what it saw meanwhile does not count
        self.assertEqual('up', self.state(self.other))
        self.look(2)
        self.assertEqual('gone', self.state(self.other))

    def test_its_own_lease_may_be_longer_than_ours(self):
        self.conf.set_override('lease', 2 * self.seconds, group='conductor')
        slow = self.another()
        self.change(conductors.table, slow.lease.uuid, boot_id='another')
        self.conf.set_override('lease', self.seconds, group='conductor')
        self.look(1.5 * self.seconds)
        self.assertEqual(('gone', 'up'), (self.state(self.other), self.state(slow)))
        self.look(self.seconds)
        self.assertEqual('gone', self.state(slow))

    def test_two_observers_declare_it_once(self):
        third = self.another()
        self.look(self.seconds, renewing=[third])
        third.peers()
        self.assertEqual(1, self.log.output.count('is dead'))

    def test_a_lost_answer_to_the_declaration(self):
        uuid = self.create()
        self.claim(uuid, self.other.lease)
        self.look(self.seconds - 1)
        self.here.clock.advance(1)
        self.here.lease.renew()
        with fixtures.lost_commit(self.db, landed=True) as lost:
            self.here.peers()
        self.assertEqual(1, len(lost))
        self.assertEqual('gone', self.state(self.other))
        self.assert_at_rest(uuid, states.CREATED)

    def test_its_work_goes_on_at_once(self):
        uuid = self.create()
        self.claim(uuid, self.other.lease)
        self.look(self.seconds)
        self.assert_at_rest(uuid, states.CREATED)
        self.assertEqual(2, self.actions_of(uuid)[0].attempts)

    def test_it_does_not_look_at_itself(self):
        self.other.lease.stop()
        self.look(2 * self.seconds)
        self.assertEqual('up', self.state(self.here))

    def test_what_it_ran_is_counted_before_anybody_takes_a_part(self):
        uuids = [self.create() for _ in range(3)]
        for uuid in uuids:
            self.claim(uuid, self.other.lease)
        self.db.transact(lambda conn: conductors.declare_dead(conn, self.other.lease.uuid))
        with self.db.read() as conn:
            self.assertEqual([3, 3, 3], [row.ran for row in actions.abandoned(conn)])


class TestSameMachine(PeersCase):

    def setUp(self):
        super().setUp()
        self.change(conductors.table, self.other.lease.uuid, boot_id=lease.boot_id())

    def test_a_lock_that_is_free_is_death_at_once(self):
        self.look()
        self.assertEqual('up', self.state(self.other))
        self.other.slot.release()
        self.look()
        self.assertEqual('gone', self.state(self.other))

    def test_of_another_slot_by_one_that_has_just_started(self):
        self.other.slot.release()
        self.here.slot.release()
        again = self.another()
        self.assertEqual(self.here.slot.number, again.slot.number)
        again.peers()
        self.assertEqual(('gone', 'gone', 'up'), (
            self.state(self.here), self.state(self.other), self.state(again)))

    def test_only_who_is_named_in_the_file(self):
        """Another conductor with a directory of its own had that slot."""
        self.other.slot.name('somebody-else')
        self.other.slot.release()
        self.look()
        self.assertEqual('up', self.state(self.other))

    def test_a_file_that_is_not_there_says_nothing(self):
        self.change(conductors.table, self.other.lease.uuid, slot=200)
        self.look()
        self.assertEqual('up', self.state(self.other))

    def test_another_boot_or_host_says_nothing(self):
        self.other.slot.release()
        for changed in ({'boot_id': 'another'}, {'boot_id': lease.boot_id(), 'host': 'another'}):
            self.change(conductors.table, self.other.lease.uuid, **changed)
            self.look()
            self.assertEqual('up', self.state(self.other))

    def test_a_new_incarnation_of_the_same_process_is_named(self):
        self.die(self.other)
        self.other.lease.renew()
        self.change(conductors.table, self.other.lease.uuid, boot_id=lease.boot_id())
        self.look()
        self.assertEqual('up', self.state(self.other))
        self.other.slot.release()
        self.look()
        self.assertEqual('gone', self.state(self.other))

    def test_one_that_could_not_register_forgets_no_predecessor(self):
        self.other.slot.release()
        slot = lease.Slot(self.conf.state_path)
        self.assertEqual(self.other.slot.number, slot.number)
        transact = self.db.transact

        def down(*args, **kwargs):
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'transact', down)
        self.assertRaises(exceptions.DatabaseUnavailable, lease.Lease(
            self.db, self.conf, slot).start)
        self.patch(self.db, 'transact', transact)
        slot.release()
        self.assertEqual(slot.number, self.another().slot.number)
        self.assertEqual('gone', self.state(self.other))

    def test_the_file_names_nobody_of_long_ago(self):
        bench = self.other
        for _ in range(3):
            bench.slot.release()
            bench = self.another()
        bench.slot.release()
        self.assertEqual((bench.lease.uuid,),
                         lease.left_by(bench.slot.directory, bench.slot.number))

    def test_one_that_died_between_naming_itself_and_registering(self):
        """Its predecessor is still named, and is found dead by the next one."""
        self.other.slot.name(self.other.lease.uuid, 'never-registered')
        self.other.slot.release()
        again = self.another()
        self.assertEqual(self.other.slot.number, again.slot.number)
        self.assertEqual('gone', self.state(self.other))
