# SPDX-License-Identifier: Apache-2.0
"""Whose turn it is, among projects, bays and lanes."""

import collections

from container_service import exceptions
from container_service.conductor import fair
from container_service.db import bays
from container_service.db import containers
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base as bench


class TestFairPick(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        self.clock = fixtures.Clock()
        self.fair = fair.FairPick(self.db, self.clock)

    def queue(self, project, bay=None):
        """One more container of a project that waits, behind all that waits already."""
        row, _ = self.accept_create(context=base.caller(project), bay=bay or self.place.uuid)
        return row.uuid

    def pick(self, taken=(), **values):
        return self.fair([self.place.uuid], taken, **values)

    def take(self, count):
        """The projects of the next so many picks, each of which is then in flight."""
        taken, projects = [], []
        for _ in range(count):
            uuid = self.pick(taken)
            taken.append(uuid)
            projects.append(self.container(uuid).project_id)
        return projects

    def test_projects_in_turn(self):
        for project, count in (('flood', 6), ('few', 2), ('one', 1)):
            for _ in range(count):
                self.queue(project)
        first = self.take(9)
        self.assertEqual({'flood', 'few', 'one'}, set(first[:3]))
        self.assertEqual(['few', 'flood'], sorted(first[3:5]))
        self.assertEqual(['flood'] * 4, first[5:])

    def test_the_longest_waiting_of_a_project_first(self):
        uuids = [self.queue('project') for _ in range(3)]
        self.change(containers.table, uuids[2],
                    runnable_at=self.container(uuids[0]).created_at.replace(year=2020))
        self.assertEqual(uuids[2], self.pick())
        self.assertEqual(uuids[0], self.pick({uuids[2]}))
        self.assertIsNone(self.pick(set(uuids)))

    def test_a_new_project_does_not_wait_behind_a_flood(self):
        flood = {self.queue('flood') for _ in range(5)}
        taken = {self.pick()}
        new = self.queue('new')
        self.clock.advance(1)
        self.assertEqual(new, self.pick(taken))
        self.assertIn(self.pick(taken | {new}), flood)

    def test_a_project_of_which_nothing_is_left_is_forgotten(self):
        for project in ('a', 'b'):
            uuid = self.queue(project)
            self.assertEqual(uuid, self.pick())
            self.carry_out(uuid)
            self.clock.advance(1)
        self.assertIsNone(self.pick())
        self.assertEqual(collections.deque(), self.fair._projects)

    def test_what_is_there_is_found_although_the_list_of_projects_is_old(self):
        self.assertIsNone(self.pick())
        uuid = self.queue('project')
        self.assertEqual(uuid, self.pick())

    def test_urgent_only(self):
        self.queue('project')
        stop = self.queue('project')
        self.carry_out(stop, 'Running')
        self.submit('stop', stop)
        self.assertEqual(stop, self.pick(urgent_only=True))
        self.assertIsNone(self.pick({stop}, urgent_only=True))

    def test_an_urgent_action_behind_another_is_not_urgent_yet(self):
        uuid = self.queue('project')
        self.submit('delete', uuid, stop=True)
        self.assertIsNone(self.pick(urgent_only=True))
        self.carry_out(uuid)
        self.clock.advance(1)
        self.assertEqual(uuid, self.pick(urgent_only=True))

    def test_bays_that_are_left_out(self):
        other = self.make_bay('other')
        uuid = self.queue('project', other.uuid)
        self.assertIsNone(self.pick())
        self.assertIsNone(self.fair([], ()))
        self.assertEqual(uuid, self.fair([self.place.uuid, other.uuid], ()))

    def test_slots_take_their_turns_at_the_same_time(self):
        """One read the list of projects anew while another took its turn."""
        class Waiting(set):
            def __contains__(waiting, project):
                self.fair._projects.rotate()
                return super().__contains__(project)

        self.fair._projects = collections.deque('abc')
        self.assertEqual(set('abcd'), set(self.fair._rotated(Waiting('abcd'))))


class TestPick(bench.BenchCase):
    """What a conductor takes next."""

    def test_bays_of_other_hosts_are_left_out(self):
        self.create()
        self.change(bays.table, self.place.uuid, hosts=['elsewhere'])
        self.here.clock.advance(2)
        self.assertIsNone(self.here._pick(()))

    def test_bays_whose_engine_does_not_answer_are_left_out(self):
        uuid = self.create()
        self.assertEqual(uuid, self.here._pick(()))
        for _ in range(3):
            self.here.engines.failed(self.place.uuid, 'gone')
        self.assertIsNone(self.here._pick(()))

    def test_a_database_that_is_down_means_nothing(self):
        self.create()

        def down():
            raise exceptions.DatabaseUnavailable()

        self.patch(self.here.engines, 'served', down)
        self.assertIsNone(self.here._pick(()))
