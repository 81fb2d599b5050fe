# SPDX-License-Identifier: Apache-2.0
from container_service import bays as bay_rules
from container_service import lifecycle
from container_service import ring
from container_service.db import bays
from container_service.db import conductors
from container_service.tests import base
from container_service.tests import fixtures


class TestRing(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.clock = fixtures.Clock()
        self.ring = ring.Ring(self.db, self.clock)
        self.place = self.make_bay()
        self.containers = [lifecycle.new_uuid() for _ in range(50)]

    def add(self, host, lease=60, **values):
        uuid = lifecycle.new_uuid()
        self.db.transact(lambda conn: conductors.insert(conn, lease, {
            'uuid': uuid, 'host': host, 'slot': 0, 'server': f'{host}.0'}))
        if values:
            self.change(conductors.table, uuid, **values)
        self.clock.advance(2)
        return uuid

    def chosen(self):
        return {uuid: self.ring.choose(uuid, self.place.uuid) for uuid in self.containers}

    def test_nobody_is_there(self):
        self.assertEqual({None}, set(self.chosen().values()))

    def test_an_unknown_bay(self):
        self.add('a')
        self.assertIsNone(self.ring.choose(self.containers[0], lifecycle.new_uuid()))

    def test_all_conductors_get_their_share(self):
        for host in 'abc':
            self.add(host)
        self.assertEqual({'a.0', 'b.0', 'c.0'}, set(self.chosen().values()))

    def test_a_container_stays_with_its_conductor(self):
        for host in 'abc':
            self.add(host)
        before = self.chosen()
        self.clock.advance(2)
        self.assertEqual(before, self.chosen())
        self.assertEqual(before, {uuid: ring.Ring(self.db).choose(uuid, self.place.uuid)
                                  for uuid in self.containers})

    def test_one_more_conductor_moves_few(self):
        for host in 'abc':
            self.add(host)
        before = self.chosen()
        self.add('d')
        after = self.chosen()
        moved = {uuid for uuid in self.containers if before[uuid] != after[uuid]}
        self.assertEqual({'d.0'}, {after[uuid] for uuid in moved})
        self.assertLess(len(moved), len(self.containers) / 2)

    def test_the_dead_and_the_draining_are_left_out(self):
        self.add('dead', lease=-1)
        self.add('gone', state=conductors.GONE)
        self.add('draining', state=conductors.DRAINING)
        self.assertEqual({None}, set(self.chosen().values()))
        self.add('alive')
        self.assertEqual({'alive.0'}, set(self.chosen().values()))

    def test_only_hosts_that_reach_the_bay(self):
        self.add('a')
        self.add('b')
        self.change(bays.table, self.place.uuid, hosts=['b'])
        self.clock.advance(2)
        self.assertEqual({'b.0'}, set(self.chosen().values()))

    def test_membership_is_read_once_a_second(self):
        self.add('a')
        self.chosen()
        reads = []
        read = self.db.read
        self.patch(self.db, 'read', lambda: (reads.append(1), read())[1])
        self.chosen()
        self.assertEqual([], reads)
        self.clock.advance(1)
        self.chosen()
        self.assertEqual([1], reads)

    def test_a_new_bay_is_known_at_once(self):
        self.add('a')
        self.chosen()
        other = self.make_bay('other')
        self.assertEqual('a.0', self.ring.choose(self.containers[0], other.uuid))

    def test_a_deleted_bay_is_forgotten(self):
        self.add('a')
        self.chosen()
        bay_rules.delete(self.admin, self.db, 'bay')
        self.clock.advance(2)
        self.assertEqual({None}, set(self.chosen().values()))

    def test_serves(self):
        self.assertTrue(ring.serves(None, 'a'))
        self.assertTrue(ring.serves(['a'], 'a'))
        self.assertFalse(ring.serves(['b'], 'a'))
        self.assertFalse(ring.serves([], 'a'))

    def test_how_the_conductors_of_a_bay_are(self):
        """What tells a waiting action whether it waits for a slot or for a conductor."""
        self.assertEqual(ring.NONE, self.ring.state(self.place.uuid))
        full = self.add('a', is_full=1)
        self.assertEqual(ring.FULL, self.ring.state(self.place.uuid))
        self.add('b')
        self.assertEqual(ring.FREE, self.ring.state(self.place.uuid))
        self.change(bays.table, self.place.uuid, hosts=['a'])
        self.clock.advance(2)
        self.assertEqual(ring.FULL, self.ring.state(self.place.uuid))
        self.change(conductors.table, full, state='draining')
        self.clock.advance(2)
        self.assertEqual(ring.NONE, self.ring.state(self.place.uuid))

    def test_how_they_are_is_at_most_a_second_old(self):
        uuid = self.add('a')
        self.assertEqual(ring.FREE, self.ring.state(self.place.uuid))
        self.change(conductors.table, uuid, is_full=1)
        self.clock.advance(0.9)
        self.assertEqual(ring.FREE, self.ring.state(self.place.uuid))
        self.clock.advance(0.2)
        self.assertEqual(ring.FULL, self.ring.state(self.place.uuid))
