# SPDX-License-Identifier: Apache-2.0
from container_service import bays as bay_rules
from container_service import exceptions
from container_service import lifecycle
from container_service.db import bays
from container_service.tests.unit.conductor import base


class TestEngines(base.BenchCase):

    def test_a_driver_is_made_once(self):
        engines = self.here.engines
        self.assertIs(engines.driver(self.place.uuid), engines.driver(self.place.uuid))

    def test_a_bay_that_was_changed_gets_a_new_one(self):
        engines = self.here.engines
        before = engines.driver(self.place.uuid)
        self.change(bays.table, self.place.uuid, endpoint='fake://elsewhere',
                    updated_at=self.database_time())
        self.here.clock.advance(2)
        engines.served()
        after = engines.driver(self.place.uuid)
        self.assertIsNot(before, after)
        self.assertEqual('elsewhere', after.engine.name)

    def test_new_bays_are_seen_at_once_where_they_are_asked_for(self):
        self.here.engines.served()
        other = self.make_bay('other')
        self.assertTrue(self.here.engines.is_available(other.uuid))

    def test_deleted_bays_are_forgotten(self):
        self.here.engines.driver(self.place.uuid)
        bay_rules.delete(self.db, 'bay')
        self.here.clock.advance(2)
        self.assertEqual({}, self.here.engines.served())
        self.assertEqual({}, self.here.engines._drivers)

    def test_hosts(self):
        for hosts, expected in ((None, True), ([self.conf.host], True), (['elsewhere'], False),
                                (['elsewhere', self.conf.host], True)):
            bay = self.make_bay(lifecycle.new_uuid()[:8], hosts=hosts)
            self.assertIs(expected, self.here.engines.is_available(bay.uuid))
            if not expected:
                self.assertRaises(exceptions.NoConductor, self.here.engines.driver, bay.uuid)

    def test_a_bay_that_is_not_there(self):
        self.assertFalse(self.here.engines.is_available(lifecycle.new_uuid()))
