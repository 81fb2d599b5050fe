# SPDX-License-Identifier: Apache-2.0
"""Whose credentials an image is pulled with, and that these serve nobody else."""

import os

import fixtures as pyfixtures

from container_service import exceptions
from container_service import images as rules
from container_service import lifecycle
from container_service import registries
from container_service import secrets
from container_service import states
from container_service.db import images
from container_service.db import models
from container_service.db import pulls as rows
from container_service.tests import base as tests
from container_service.tests.unit.conductor import base

DOMAIN = 'r.example.org:5000'
IMAGE = f'{DOMAIN}/team/app:1'
RIGHT = {'username': 'u', 'password': 'correct horse'}
OTHER = tests.caller('other')


class PrivateCase(base.BenchCase):

    def setUp(self):
        path = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'keys')
        secrets.create_key(path)
        self._path = path
        super().setUp()
        self.engine.credentials[DOMAIN] = RIGHT

    def make_database(self):
        self.conf.set_override('keys_file', self._path, group='secrets')
        return super().make_database()

    def register(self, context=None, **values):
        values = {'domain': DOMAIN, **RIGHT, **values}
        return registries.create(context or self.context, self.db, secrets.Keys(self.conf),
                                 **values)[0]

    def made(self, image=IMAGE, context=None, **spec):
        """A container of it that was carried out, and its creation."""
        uuid = self.accept_create(image=image, context=context, **spec)[0].uuid
        self.here.sweep()
        self.here.sweep()
        return self.container(uuid), self.actions_of(uuid)[0]

    def refused(self, code, *args, **values):
        container, action = self.made(*args, **values)
        self.assertEqual((states.FAILED, code), (action.status, action.error['code']))
        self.assertEqual(states.ERROR, container.status)
        self.assertIsNone(self.engine.container(container.uuid))
        return action.error

    def images(self):
        with self.db.read() as conn:
            return conn.execute(models.images.select().order_by(models.images.c.id)).all()


class TestCredentials(PrivateCase):

    def test_of_the_one_registry_with_that_domain(self):
        registry = self.register()
        container, action = self.made()
        self.assertEqual((states.SUCCEEDED, registry.uuid),
                         (action.status, container.registry_uuid))
        image, = self.images()
        self.assertEqual(
            ('project', f'{DOMAIN}/team/app', '1', registry.uuid, images.AVAILABLE),
            (image.project_id, image.repo, image.tag, image.registry_uuid, image.status))
        self.assertTrue(image.image_id and image.digest and image.size)

    def test_of_the_one_that_was_named(self):
        self.register(name='wrong', password='wrong')
        self.register(name='right')
        # Which of the two is not to be guessed.
        self.refused('registry_refused')
        self.assertEqual(states.SUCCEEDED, self.made(registry='right')[1].status)
        self.refused('registry_refused', registry='wrong')

    def test_of_another_image_that_a_container_is_made_anew_from(self):
        registry = self.register()
        uuid = self.running('web')
        self.submit('rebuild', uuid, image=IMAGE)
        self.here.sweep()
        self.here.sweep()
        row = self.container(uuid)
        self.assertEqual((IMAGE, registry.uuid, 2), (row.image, row.registry_uuid, row.generation))
        self.engine.credentials[DOMAIN] = None
        self.submit('rebuild', uuid, image=IMAGE)
        self.here.sweep()
        self.here.sweep()
        self.assertEqual('registry_refused', self.actions_of(uuid)[-1].error['code'])
        self.assert_at_rest(uuid, states.RUNNING)

    def test_wrong_ones(self):
        self.register(password='wrong horse')
        error = self.refused('registry_refused')
        self.assertIn('unauthorized', error['detail'])
        self.assertEqual('pulling image', error['stage'])
        self.assertEqual([], self.images())

    def test_they_are_written_nowhere(self):
        self.register()
        self.made()
        with self.db.read() as conn:
            for table in models.metadata.sorted_tables:
                self.assertNotIn('horse', repr(conn.execute(table.select()).all()))
        self.assertNotIn('horse', self.log.output)
        known = next(iter(self.engine.containers.values()))
        self.assertNotIn('horse', repr(known))

    def test_without_the_keys(self):
        registry = self.register()
        os.unlink(self._path)
        uuid = self.create(image=IMAGE)
        self.here.sweep()
        action, = self.actions_of(uuid)
        self.assertEqual((states.QUEUED, 'retrying'), (action.status, action.waiting_code))
        self.assertIn('keys for secrets', action.waiting_detail)
        secrets.create_key(self._path)
        self.register_again(registry)
        self.retry()
        self.retry()
        self.assert_at_rest(uuid, states.CREATED)

    def register_again(self, registry):
        registries.update(self.context, self.db, secrets.Keys(self.conf), registry.uuid,
                          {'password': RIGHT['password']})

    def test_they_are_not_sent_elsewhere(self):
        """A row that says so, whatever wrote it."""
        registry = self.register()
        row = lifecycle._as_row(rows.table, {'image': 'evil.example.org/a:1',
                                             'registry_uuid': registry.uuid})
        self.assertRaises(exceptions.Conflict, registries.credentials, self.db,
                          secrets.Keys(self.conf), row)


class TestOthers(PrivateCase):
    """The image is on the engine, and another project knows its name."""

    def setUp(self):
        super().setUp()
        self.register()
        self.assertEqual(states.SUCCEEDED, self.made()[1].status)
        self.assertTrue(self.engine.has_image(IMAGE))

    def test_they_cannot_use_it(self):
        self.refused('registry_refused', context=OTHER)
        error = self.refused('image_not_found', context=OTHER, image_pull_policy='never')
        self.assertIn('private', error['detail'])
        self.assertEqual(['project'], [row.project_id for row in self.images()])

    def test_with_credentials_of_their_own_they_can(self):
        self.register(OTHER)
        self.assertEqual(states.SUCCEEDED, self.made(context=OTHER)[1].status)
        self.assertEqual(['project', 'other'], [row.project_id for row in self.images()])

    def test_those_of_its_project_are_looked_at_each_time(self):
        self.assertEqual(states.SUCCEEDED, self.made()[1].status)
        self.assertEqual(2, len(self.engine.pulls))
        self.engine.credentials[DOMAIN] = {**RIGHT, 'password': 'changed'}
        self.refused('registry_refused')

    def test_a_pull_is_not_shared_with_them(self):
        ours, theirs = self.create(image=IMAGE), self.accept_create(
            image=IMAGE, context=OTHER)[0].uuid
        for uuid in (ours, theirs):
            lifecycle.wait_for_pull(self.db, self.claim(uuid))
        self.here.sweep()
        self.here.sweep()
        self.assertEqual([states.SUCCEEDED, states.FAILED],
                         [self.actions_of(uuid)[0].status for uuid in (ours, theirs)])

    def test_one_whose_pull_was_not_seen_to_its_end(self):
        """It may have come all the same."""
        image = IMAGE.replace('app', 'other')
        self.engine.fail('pull', exceptions.PullFailed('broken pipe'), times=1)
        self.engine.images.add(image)
        self.create(image=image, image_pull_policy='always')
        self.here.sweep()
        self.here.sweep()
        self.assertEqual([images.AVAILABLE, images.ERROR], [row.status for row in self.images()])
        self.refused('registry_refused', image, context=OTHER)
        # Nor do those know better who may not pull it any more.
        self.engine.credentials[DOMAIN] = {**RIGHT, 'password': 'changed'}
        self.refused('registry_refused', image)
        self.refused('registry_refused', image, context=OTHER)

    def test_what_is_public_is_not_asked_for_again(self):
        for context in (None, OTHER):
            self.assertEqual(states.SUCCEEDED, self.made('far/away:1', context)[1].status)
        self.assertEqual(1, self.engine.pulls.count('far/away:1'))


class TestMarks(PrivateCase):
    """Nothing that its project does opens an image to others while it is on the engine."""

    def left(self, uuid, meanwhile=lambda: None):
        """Let the project delete its container, and then its image; returns what it has then."""
        self.submit('delete', uuid, stop=True)
        self.here.sweep()
        row, = [row for row in self.images() if row.project_id == 'project']
        meanwhile()
        rules.delete(self.context, self.db, row.uuid)
        self.here.sweep()
        self.here.sweep()
        return [row for row in self.images() if row.project_id == 'project']

    def on_the_hub(self):
        self.engine.credentials['team'] = RIGHT       # as this engine calls the hub's part
        self.register(domain='docker.io')

    def test_another_image_is_just_given_its_name(self):
        """The end of that was told to the row, and it said no more that there is a private one."""
        self.on_the_hub()
        source, _ = rules.pull(self.context, self.db, reference='busybox:latest')
        self.here.sweep()
        rules.tag(self.context, self.db, source.uuid, 'team/app', '1')
        action = self.accept_create(image='team/app:1')[1]
        self.here.sweep()
        self.here.sweep()
        self.assertEqual('image_not_found', self.action(action.uuid).error['code'])
        self.assertNotIn('team/app:1', self.engine.pulls)
        self.assertEqual(1, self.images()[-1].local)
        self.assertEqual(states.SUCCEEDED, self.made('team/app:1')[1].status)
        self.refused('registry_refused', 'team/app:1', context=OTHER)

    def test_deleted_while_others_wait_for_it(self):
        self.register()
        found = []
        self.assertEqual([], self.left(self.made()[0].uuid, lambda: found.append(
            self.accept_create(image=IMAGE, context=OTHER)[0].uuid)))
        self.assertFalse(self.engine.has_image(IMAGE))
        self.assertEqual('registry_refused', self.actions_of(found[0])[0].error['code'])

    def test_deleted_and_then_made_a_container_of(self):
        """The end of the removal ended the row, and then the image came again."""
        self.register()
        self.submit('delete', self.made()[0].uuid)
        self.here.sweep()
        rules.delete(self.context, self.db, self.images()[0].uuid)
        uuid = self.create(image=IMAGE)
        lifecycle.wait_for_pull(self.db, self.claim(uuid))
        for _ in range(4):
            self.here.sweep()
        self.assert_at_rest(uuid, states.CREATED)
        self.assertTrue(self.engine.has_image(IMAGE))
        self.assertEqual([images.AVAILABLE], [row.status for row in self.images()])
        self.refused('registry_refused', context=OTHER)

    def test_deleted_while_others_have_what_was_not_private_once(self):
        self.engine.credentials[DOMAIN] = None
        theirs = self.made(context=OTHER)[0].uuid
        self.engine.credentials[DOMAIN] = RIGHT
        self.register()
        row, = self.left(self.made(image_pull_policy='always')[0].uuid)
        self.assertEqual(images.AVAILABLE, row.status)
        self.assertIn('is using', row.status_reason)
        self.assert_at_rest(theirs, states.CREATED)
        self.refused('registry_refused', context=OTHER)

    def test_deleted_while_others_may_have_it(self):
        self.register()
        self.register(OTHER)
        ours, theirs = self.made()[0].uuid, self.made(context=OTHER)[0].uuid
        self.assertEqual([], self.left(ours))
        self.assertTrue(self.engine.has_image(IMAGE))
        self.refused('registry_refused', context=tests.caller('third'))
        self.assert_at_rest(theirs, states.CREATED)

    def test_a_commit_over_it_is_refused(self):
        self.on_the_hub()
        uuid = self.running('web')
        self.assertEqual(states.SUCCEEDED, self.made('team/app:1')[1].status)
        before = self.images()
        error = self.assertRaises(exceptions.NameTaken, self.submit, 'commit', uuid,
                                  repository='team/app', tag='1')
        self.assertIn('pulled image named team/app:1', error.detail)
        self.assertEqual(before, self.images())
        self.refused('registry_refused', 'team/app:1', context=OTHER)

    def test_one_that_is_pulled_before_the_commit_is_carried_out(self):
        self.on_the_hub()
        uuid = self.running('web')
        action = self.submit('commit', uuid, repository='team/app', tag='1')
        waits = self.create(image='team/app:1')
        lifecycle.wait_for_pull(self.db, self.claim(waits))
        self.here.sweep()
        self.here.sweep()
        self.assertEqual((states.FAILED, 'name_taken'),
                         (self.action(action).status, self.action(action).error['code']))
        self.assert_at_rest(uuid, states.RUNNING)
        self.assert_at_rest(waits, states.CREATED)
        self.assertEqual([(0, images.AVAILABLE)],
                         [(row.local, row.status) for row in self.images()])
        self.refused('registry_refused', 'team/app:1', context=OTHER)
