# SPDX-License-Identifier: Apache-2.0
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

    def test_a_lapsed_one_is_not_renewed(self):
        old = self.here.lease.uuid
        self.die(self.here)
        self.assertEqual([], self.live())
        self.here.lease.renew()
        self.assertNotEqual(old, self.here.lease.uuid)
        self.assertEqual([self.here.lease.server], self.live())
        self.assertFalse(self.here.lease.holds(old))
        self.assertTrue(self.here.lease.holds(self.here.lease.uuid))
        self.assertEqual(0, self.row(old).heartbeats)

    def test_one_that_was_declared_dead_is_not_renewed(self):
        old = self.here.lease.uuid
        self.change(conductors.table, old, state=conductors.GONE)
        self.here.lease.renew()
        self.assertNotEqual(old, self.here.lease.uuid)

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
