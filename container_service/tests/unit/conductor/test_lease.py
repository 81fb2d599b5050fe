# SPDX-License-Identifier: Apache-2.0
from container_service import exceptions
from container_service import states
from container_service.conductor import lease
from container_service.db import conductors
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base


class LeaseCase(base.BenchCase):

    def row(self, uuid=None):
        with self.db.read() as conn:
            return conn.execute(conductors.table.select().where(
                conductors.table.c.uuid == (uuid or self.here.lease.uuid))).one()

    def live(self):
        with self.db.read() as conn:
            return [row.server for row in conductors.live(conn)]


class TestSlot(LeaseCase):

    def test_each_conductor_of_a_host_has_its_own(self):
        other = self.another()
        self.assertEqual((0, 1), (self.here.slot.number, other.slot.number))
        self.assertEqual([f'{self.conf.host}.0', f'{self.conf.host}.1'], self.live())

    def test_a_slot_that_is_free_again_is_taken_again(self):
        """So that the queues on the bus keep their names over restarts."""
        other = self.another()
        self.here.slot.release()
        slot = lease.Slot(self.conf.state_path)
        self.addCleanup(slot.release)
        self.assertEqual(0, slot.number)
        self.assertEqual(1, other.slot.number)

    def test_all_slots_taken(self):
        self.patch(lease, '_SLOTS', 1)
        error = self.assertRaises(OSError, lease.Slot, self.conf.state_path)
        self.assertIn(self.conf.state_path, str(error))


class TestLease(LeaseCase):

    def start_again(self, slot):
        """As a new process in the same slot would."""
        slot.release()
        slot = lease.Slot(self.conf.state_path)
        self.addCleanup(slot.release)
        made = lease.Lease(self.db, self.conf, slot, clock=fixtures.Clock())
        made.start()
        self.addCleanup(made.stop)
        return made

    def test_registration(self):
        row = self.row()
        self.assertEqual(('up', self.conf.host, 0, f'{self.conf.host}.0', 0),
                         (row.state, row.host, row.slot, row.server, row.heartbeats))
        self.assertEqual(self.conf.conductor.lease,
                         round((row.lease_until - row.heartbeat_at).total_seconds(), 1))

    def test_a_renewal_extends_it_and_reports(self):
        self.here.lease._report = lambda: {'in_flight': 3, 'pool_full': 7}
        self.let_pass(10)
        before, incarnation = self.row(), self.here.lease.uuid
        self.here.lease.renew()
        row = self.row()
        self.assertEqual(incarnation, self.here.lease.uuid)
        self.assertGreater(row.lease_until, before.lease_until)
        self.assertEqual((1, 3, 7), (row.heartbeats, row.in_flight, row.pool_full))

    def test_one_that_was_only_slow_goes_on(self):
        """Nobody has declared it dead, so nobody has taken its work."""
        incarnation = self.here.lease.uuid
        self.let_pass(3600)
        self.here.clock.advance(3600)
        self.assertFalse(self.here.lease.holds(incarnation))
        self.here.lease.renew()
        self.assertEqual(incarnation, self.here.lease.uuid)
        self.assertTrue(self.here.lease.holds(incarnation))

    def test_one_that_was_declared_dead_takes_a_new_incarnation(self):
        old = self.here.lease.uuid
        self.die(self.here)
        self.assertEqual([], self.live())
        self.here.lease.renew()
        self.assertNotEqual(old, self.here.lease.uuid)
        self.assertEqual([self.here.lease.server], self.live())
        self.assertFalse(self.here.lease.holds(old))
        self.assertTrue(self.here.lease.holds(self.here.lease.uuid))
        self.assertEqual(('gone', 0), (self.row(old).state, self.row(old).heartbeats))

    def test_an_incarnation_that_nobody_knows_is_not_renewed(self):
        old = self.here.lease.uuid
        self.db.transact(lambda conn: conn.execute(conductors.table.delete()))
        self.here.lease.renew()
        self.assertNotEqual(old, self.here.lease.uuid)

    def test_a_lost_answer_to_the_registration(self):
        with fixtures.lost_commit(self.db, landed=True) as lost:
            other = self.another()
        self.assertEqual(1, len(lost))
        self.assertIn(other.lease.server, self.live())

    def test_work_may_act_until_a_margin_before_the_end(self):
        seconds, incarnation = self.conf.conductor.lease, self.here.lease.uuid
        self.here.clock.advance(seconds * 0.79)
        self.assertTrue(self.here.lease.holds(incarnation))
        self.here.clock.advance(seconds * 0.02)
        self.assertFalse(self.here.lease.holds(incarnation))
        self.here.lease.renew()
        self.assertTrue(self.here.lease.holds(incarnation))

    def test_it_counts_from_when_the_renewal_began(self):
        """A renewal that took long must not seem to last longer than SQL says."""
        incarnation = self.here.lease.uuid
        self.here.lease._report = lambda: (self.here.clock.advance(14), {})[1]
        self.here.lease.renew()
        self.assertFalse(self.here.lease.holds(incarnation))

    def test_who_takes_the_slot_knows_that_its_holder_is_dead(self):
        old = self.here.lease.uuid
        new = self.start_again(self.here.slot)
        self.assertEqual('gone', self.row(old).state)
        self.assertEqual('up', self.row(new.uuid).state)
        self.assertEqual([new.server], self.live())

    def test_other_slots_and_hosts_are_left_alone(self):
        other = self.another()
        self.change(conductors.table, other.lease.uuid, host='elsewhere', slot=0)
        third = self.another()
        self.start_again(self.here.slot)
        for bench in (other, third):
            self.assertEqual('up', self.row(bench.lease.uuid).state)

    def test_another_boot_says_nothing_about_the_lock(self):
        """After a reboot, or with another machine of that name, only the lease tells."""
        self.change(conductors.table, self.here.lease.uuid, boot_id='another')
        self.start_again(self.here.slot)
        self.assertEqual('up', self.row().state)

    def test_draining_takes_no_new_work_and_keeps_what_runs(self):
        self.here.lease.drain()
        self.assertEqual([], self.live())
        self.assertEqual('draining', self.row().state)
        self.here.lease.renew()
        self.assertEqual(('draining', 1), (self.row().state, self.row().heartbeats))

    def test_draining_outlives_a_new_incarnation(self):
        self.here.lease.drain()
        self.die(self.here)
        self.here.lease.renew()
        self.assertEqual('draining', self.row().state)

    def test_draining_is_told_when_the_database_is_back(self):
        def down(*args, **kwargs):
            raise exceptions.DatabaseUnavailable()

        transact = self.db.transact
        self.patch(self.db, 'transact', down)
        self.here.lease.drain()
        self.patch(self.db, 'transact', transact)
        self.assertEqual('up', self.row().state)
        self.here.lease.renew()
        self.assertEqual('draining', self.row().state)

    def test_stopping_says_so(self):
        self.here.lease.stop()
        self.assertEqual('gone', self.row().state)

    def test_what_still_runs_when_it_stops_may_not_act_any_more(self):
        """Others take it over at once."""
        self.here.lease.stop()
        self.assertFalse(self.here.lease.holds(self.here.lease.uuid))

    def test_a_heartbeat_comes_by_itself(self):
        self.conf.set_override('heartbeat_interval', 0.1, group='conductor')
        other = self.another()
        fixtures.eventually(lambda: self.row(other.lease.uuid).heartbeats >= 2)


class TestWhatAnAdministratorSays(LeaseCase):

    def say(self, **values):
        self.change(conductors.table, self.here.lease.uuid, **values)
        self.here.lease.renew()

    def test_a_disabled_one_takes_no_work(self):
        self.say(disabled=1, disabled_reason='new kernel')
        self.assertIn('new kernel', self.log.output)
        self.assertEqual([], self.live())
        self.assertFalse(self.here.lease.may_claim())
        self.assertTrue(self.here.lease.holds(self.here.lease.uuid))    # what runs goes on
        uuid = self.create()
        self.here.sweep()
        self.here.inflight.wake(uuid)
        self.assertEqual([('create', 'queued')], self.outcomes(uuid))
        self.say(disabled=0)
        self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)

    def test_a_disabled_one_does_not_take_over(self):
        uuid = self.create()
        self.claim(uuid)                    # by one that is not known: dead
        self.say(disabled=1)
        self.here.sweep()
        self.assertEqual([('create', 'running')], self.outcomes(uuid))

    def test_one_that_was_forced_down_is_idle_until_that_is_taken_back(self):
        old = self.here.lease.uuid
        self.say(forced_down=1, state=conductors.GONE)
        self.assertNotEqual(old, self.here.lease.uuid)
        self.assertEqual((1, 'up'), (self.row().forced_down, self.row().state))
        self.assertFalse(self.here.lease.may_claim())
        self.assertEqual([], self.live())
        self.say(forced_down=0)
        self.assertTrue(self.here.lease.may_claim())

    def test_what_was_said_holds_after_a_restart(self):
        self.say(disabled=1, disabled_reason='new kernel')
        self.here.lease.stop()
        self.here.slot.release()
        again = self.another()
        self.assertEqual((1, 'new kernel'), (self.row(again.lease.uuid).disabled,
                                             self.row(again.lease.uuid).disabled_reason))
        self.assertFalse(again.lease.may_claim())

    def test_it_is_said_of_one_server_only(self):
        self.say(disabled=1)
        self.assertTrue(self.another().lease.may_claim())

    def test_it_is_not_forgotten_with_the_dead(self):
        self.say(disabled=1)
        self.here.lease.stop()
        self.let_pass(8 * 24 * 3600)
        other = self.another()
        other.sweep.purge()
        self.assertEqual(1, self.row(self.here.lease.uuid).disabled)
        self.change(conductors.table, self.here.lease.uuid, disabled=0)
        other.sweep.purge()
        with self.db.read() as conn:
            self.assertIsNone(conductors.find(conn, self.here.lease.uuid))

    def test_it_drains_when_told_to(self):
        self.say(state=conductors.DRAINING)
        self.assertTrue(self.here.drained)
        self.assertFalse(self.here.lease.may_claim())


class TestClock(LeaseCase):

    def test_it_does_not_go_back(self):
        before = lease.elapsed()
        self.assertGreaterEqual(lease.elapsed(), before)
