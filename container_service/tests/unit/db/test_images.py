# SPDX-License-Identifier: Apache-2.0
"""Images that are made on a bay, as whoever makes one records it."""

from container_service import lifecycle
from container_service import references
from container_service.db import images
from container_service.tests import base

ABOUT = {'image_id': 'sha256:1', 'digest': None, 'size': 7}


class TestRecordLocal(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()

    def record(self, repo='mine', tag=None, project='project', **about):
        return self.db.transact(lambda conn: images.record_local(
            conn, lifecycle.new_uuid(), project_id=project, user_id='user',
            bay_uuid=self.place.uuid, repo=repo, tag=tag, about={**ABOUT, **about}))

    def wanted(self, image, project='project'):
        with self.db.read() as conn:
            return images.wanted(conn, project, self.place.uuid, image)

    def shown(self, uuid):
        with self.db.read() as conn:
            return images.shown(conn, uuid, None)

    def test_its_project_finds_it_by_its_name(self):
        row = self.shown(self.record('mine', '1'))
        self.assertEqual(('mine', '1', 1, images.AVAILABLE, 'sha256:1', 7), (
            row.repo, row.tag, row.local, row.status, row.image_id, row.size))
        name = str(references.local('project', 'mine', '1'))
        for image in ('mine:1', 'docker.io/library/mine:1'):
            self.assertEqual(images.Wanted(name, local=True), self.wanted(image))
        for image, project in (('mine:2', 'project'), ('mine', 'project'), ('mine:1', 'other'),
                               ('r.x/mine:1', 'project')):
            self.assertEqual(images.Wanted(image), self.wanted(image, project))

    def test_what_had_the_name_is_not_meant_any_more(self):
        one = self.record()
        self.assertEqual(one, self.record(image_id='sha256:2'))
        self.assertEqual('sha256:2', self.shown(one).image_id)
        self.assertNotEqual(one, self.record(project='other'))

    def test_two_at_the_same_time(self):
        one, looks = self.record(), []
        named = images.named

        def blind(*args, **key):
            looks.append(key)
            return named(*args, **key) if len(looks) > 1 else None

        self.patch(images, 'named', blind)
        self.assertEqual(one, self.record(image_id='sha256:2'))
        self.assertEqual('sha256:2', self.shown(one).image_id)

    def test_what_cannot_be_asked_for_is_looked_for_on_the_engine_alone(self):
        """An adopted container may be of an image that has no name."""
        self.assertEqual(images.Wanted('sha256:abc', local=True), self.wanted('sha256:abc'))
