# SPDX-License-Identifier: Apache-2.0
"""/v1/images over HTTP; a conductor on the bench carries out what is asked for."""

from container_service import exceptions
from container_service import lifecycle
from container_service import registries
from container_service import secrets
from container_service.db import images
from container_service.db import models
from container_service.db import pulls
from container_service.tests import base as tests
from container_service.tests.unit.api import base as api
from container_service.tests.unit.conductor import base

IMAGE = 'far/away:1'
NEWEST = {'version': 'latest'}


class ImageCase(api.ApiTestCase, base.BenchCase):

    def pull(self, status=202, repo=IMAGE, **values):
        project = values.pop('project', None)
        answer = self.post('/v1/images', {'repo': repo, 'host': 'bay', **values},
                           project=project, **NEWEST)
        self.assertEqual(status, answer.status_int, answer)
        return answer.json

    def pulled(self, **values):
        made = self.pull(**values)
        self.here.sweep()
        return self.show(made)

    def show(self, image, status=200):
        answer = self.get(f'/v1/images/{image["uuid"]}?all_projects=1', **NEWEST)
        self.assertEqual(status, answer.status_int)
        return answer.json if status == 200 else None

    def refused(self, status, code, method, path, body=None, words='', **values):
        detail = self.assert_refused(status, code, self.call(
            method, path, body, **{**NEWEST, **values}))
        self.assertIn(words, detail)

    def remove(self, image, status=204, **values):
        answer = self.delete(f'/v1/images/{image["uuid"]}', **NEWEST, **values)
        self.assertEqual(status, answer.status_int, answer)
        return answer

    def listed(self, query=''):
        return self.get(f'/v1/images{query}', **NEWEST).json['images']

    def work_of(self, image):
        with self.db.read() as conn:
            return pulls.find(conn, self.row(image).pull_uuid)

    def row(self, image):
        with self.db.read() as conn:
            return conn.execute(models.images.select().where(
                models.images.c.uuid == image['uuid'])).one()


class TestPull(ImageCase):

    def test_from_beginning_to_end(self):
        for version in ('1.1', '1.20', '1.40', 'latest'):
            answer = self.post('/v1/images/', {'repo': 'far/away', 'tag': '1', 'host': 'bay'},
                               version=version)
            image = answer.json
            path = f'/v1/images/{image["uuid"]}'
            self.assertEqual((202, f'http://localhost:9517{path}'),
                             (answer.status_int, answer.headers['Location']))
            self.assertEqual(
                ('far/away', '1', 'bay', 'project', 'Pulling', None),
                tuple(image[key] for key in ('repo', 'tag', 'host', 'project_id', 'status',
                                             'image_id')))
            self.here.sweep()
            image = self.get(path, version=version).json
            self.assertEqual(('Available', None, None), (
                image['status'], image['status_reason'], image['progress']))
            self.assertRegex(image['image_id'], '^sha256:[0-9a-f]{64}$')
            self.assertRegex(image['size'], '^[0-9]+$')
            self.assertEqual([image], self.get('/v1/images/', version=version).json['images'])
            gone = self.delete(path, version=version)
            self.assertEqual((204, b''), (gone.status_int, gone.body))
            self.assertEqual('Deleting', self.get(path).json['status'])
            self.here.sweep()
            self.refused(404, 'image_unknown', 'GET', path)
            self.assertFalse(self.engine.has_image(IMAGE))

    def test_progress_is_shown(self):
        made, seen = self.pull(), []

        def look(seconds):
            self.here.watch()
            seen.append(self.show(made)['progress'])

        self.engine.pull_seconds, self.engine.sleep = 12, look
        self.here.sweep()
        self.assertEqual((IMAGE, 3), (seen[-1]['image'], seen[-1]['layers']))
        self.assertGreater(seen[-1]['bytes'], seen[1]['bytes'])

    def test_why_it_could_not_be_had(self):
        self.engine.missing_images.append('far/*')
        image = self.pulled()
        self.assertEqual('Error', image['status'])
        self.assertIn('manifest unknown', image['status_reason'])
        # What it once had is still there when a newer one cannot be had.
        self.engine.missing_images.clear()
        self.assertEqual('Available', self.pulled()['status'])
        self.engine.missing_images.append('far/*')
        image = self.pulled()
        self.assertEqual('Available', image['status'])
        self.assertIn('manifest unknown', image['status_reason'])

    def test_all_spellings_are_one_image(self):
        made = [self.pull(repo=repo, **tag)['uuid'] for repo, tag in (
            ('nginx', {}), ('nginx:latest', {}), ('docker.io/library/nginx', {'tag': 'latest'}),
            ('nginx:latest', {'tag': 'latest'}))]
        self.assertEqual(1, len(set(made)))
        self.here.sweep()
        self.assertEqual(['nginx:latest'], self.engine.pulls)

    def test_a_container_waits_for_the_same_pull(self):
        image = self.pull()
        container = self.create(image=IMAGE)
        lifecycle.wait_for_pull(self.db, self.claim(container))
        # The image is wanted for itself: it comes although the container is given up.
        self.cancel(self.actions_of(container)[0].uuid)
        self.here.sweep()
        self.assertEqual([IMAGE], self.engine.pulls)
        self.assertEqual('Available', self.show(image)['status'])

    def test_the_policy(self):
        self.pulled()
        self.assertEqual('Available', self.pull(image_pull_policy='ifnotpresent')['status'])
        self.assertEqual('Pulling', self.pull(image_pull_policy='always')['status'])

    def test_its_conductor_dies(self):
        image, other = self.pull(), self.another()

        def die(seconds):
            self.engine.sleep = lambda seconds: None
            self.die(self.here)
            other.sweep()

        self.engine.pull_seconds, self.engine.sleep = 12, die
        self.here.sweep()
        self.assertEqual('Available', self.show(image)['status'])
        self.assertEqual(([IMAGE], 2), (self.engine.pulls, self.work_of(image).attempts))

    def test_its_conductor_dies_before_it_says_that_it_has_ended(self):
        image, settle = self.pull(), images.settle

        def die(*args):
            raise exceptions.DatabaseUnavailable()

        self.patch(images, 'settle', die)
        self.assertRaises(exceptions.DatabaseUnavailable,
                          lambda: [self.here.sweep() for _ in range(2)])
        self.assertEqual('Pulling', self.show(image)['status'])
        self.patch(images, 'settle', settle)
        self.here.sweep()
        self.assertEqual('Available', self.show(image)['status'])

    def test_what_containers_pull_is_listed(self):
        container = self.create(image=IMAGE)
        self.here.sweep()
        self.assert_at_rest(container, 'Created')
        image, = self.listed()
        self.assertEqual(('far/away', '1', 'Available'),
                         (image['repo'], image['tag'], image['status']))

    def test_what_a_container_could_not_pull_is_not(self):
        self.engine.missing_images.append('far/*')
        self.create(image=IMAGE)
        self.here.sweep()
        self.here.sweep()
        self.assertEqual([], self.listed())

    def test_with_the_credentials_of_a_registry(self):
        path = f'{self.conf.state_path}/keys'
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.here.puller._keys = secrets.Keys(self.conf)
        right = {'username': 'u', 'password': 'correct horse'}
        self.engine.credentials['r.x:5000'] = right
        made, _ = registries.create(tests.caller(), self.db, secrets.Keys(self.conf),
                                    name='mine', domain='r.x:5000', **right)
        image = self.pulled(repo='team/app', registry='mine')
        self.assertEqual(('r.x:5000/team/app', 'Available', made.uuid),
                         (image['repo'], image['status'], image['registry_id']))
        other = self.pulled(repo='r.x:5000/team/app', project='other')
        self.assertEqual(('Error', None), (other['status'], other['registry_id']))
        self.assertIn('unauthorized', other['status_reason'])

    def test_bad_input(self):
        good = {'repo': 'a', 'host': 'bay'}
        for change, words in (
                ({'repo': None}, 'repo'), ({'repo': 'A'}, 'repo'), ({'repo': 'sha256:ab'}, 'repo'),
                ({'repo': 5}, 'repo'), ({'repo': 'cs.local/a'}, 'repo'), ({'tag': 'a b'}, 'tag'),
                ({'repo': 'a:1', 'tag': '2'}, 'tag'), ({'tag': 5}, 'tag'),
                ({'image_pull_policy': 'never'}, 'image_pull_policy'),
                ({'bay_uuid': 'other'}, 'host'), ({'size': []}, 'size')):
            self.refused(400, 'invalid_parameter', 'POST', '/v1/images', {**good, **change},
                         words=words)
        self.refused(400, 'unknown_parameter', 'POST', '/v1/images', {**good, 'x': 1})
        self.refused(404, 'bay_not_found', 'POST', '/v1/images', {**good, 'host': 'nowhere'})
        self.refused(404, 'registry_not_found', 'POST', '/v1/images', {**good, 'registry': 'x'})
        self.post('/v1/registries', {'registry': {'name': 'rr', 'domain': 'r.example:5000'}},
                  **NEWEST)
        for repo, words in (('a' * 245, 'repo: '), ('other.example/a', 'registry: ')):
            self.refused(400, 'invalid_parameter', 'POST', '/v1/images',
                         {**good, 'repo': repo, 'registry': 'rr'}, words=words)
        self.assertEqual([], self.listed())


class TestKeys(ImageCase):
    """Requests with an Idempotency-Key whose answers were lost."""

    def again(self, method, path, body=None, status=202):
        """Ask twice with one key; returns the first answer."""
        key = {'Idempotency-Key': lifecycle.new_uuid()}
        one = self.call(method, path, body, headers=key, **NEWEST)
        self.here.sweep()
        two = self.call(method, path, body, headers=key, **NEWEST)
        self.assertEqual([status] * 2, [one.status_int, two.status_int], two)
        self.assertEqual('true', two.headers['Idempotency-Replayed'])
        self.refused(422, 'idempotency_mismatch', 'POST', '/v1/images',
                     {'repo': 'else', 'host': 'bay'}, headers=key)
        return one

    def test_each_change(self):
        image = self.again('POST', '/v1/images', {'repo': IMAGE, 'host': 'bay'}).json
        self.assertEqual([IMAGE], self.engine.pulls)
        made = self.again('POST', f'/v1/images/{image["uuid"]}/tag', {'repo': 'mine'}).json
        self.assertEqual(1, self.engine.calls['tag_image'])
        for one in (image, made):
            self.again('DELETE', f'/v1/images/{one["uuid"]}', status=204)
        self.assertEqual([], self.listed())


    def test_what_was_made_is_gone(self):
        image = self.pulled()
        tag = f'/v1/images/{image["uuid"]}/tag'
        for number, (path, body) in enumerate((
                (tag, {'repo': 'mine'}), ('/v1/images', {'repo': 'else', 'host': 'bay'}))):
            key = {'Idempotency-Key': f'k{number}'}
            made = self.post(path, body, headers=key, **NEWEST).json
            self.here.sweep()
            self.remove(made)
            self.here.sweep()
            self.refused(410, 'made_and_gone', 'POST', path, body, headers=key,
                         words=f'image {made["uuid"]}')


class TestDelete(ImageCase):

    def test_what_is_used_stays(self):
        image = self.pulled()
        container = self.create('web', image=IMAGE)
        self.refused(409, 'image_in_use', 'DELETE', f'/v1/images/{image["uuid"]}',
                     words='container web')
        self.here.sweep()
        self.remove(image, 409)
        self.submit('delete', container, force=True)
        self.here.sweep()
        self.remove(image)
        self.here.sweep()
        self.show(image, 404)

    def test_a_container_that_was_never_made_does_not_use_it(self):
        image = self.pulled()
        self.engine.fail('create', times=1)
        self.create('web', image=IMAGE)
        self.here.sweep()
        self.assertEqual('Error', self.get('/v1/containers/web').json['status'])
        self.remove(image)

    def test_it_leaves_the_engine_with_its_last_project(self):
        ours, theirs = self.pulled(), self.pulled(project='other')
        self.remove(ours)
        self.here.sweep()
        self.show(ours, 404)
        self.assertTrue(self.engine.has_image(IMAGE))
        self.remove(theirs, project='other')
        self.here.sweep()
        self.assertFalse(self.engine.has_image(IMAGE))

    def test_one_that_is_being_pulled(self):
        image = self.pull()
        self.remove(image)
        self.here.sweep()
        self.here.sweep()
        self.show(image, 404)
        self.assertEqual([], self.engine.pulls)

    def test_one_that_never_came(self):
        self.engine.missing_images.append('far/*')
        image = self.pulled()
        self.remove(image)
        self.show(image, 404)

    def test_what_the_engine_does_not_give_up(self):
        image = self.pulled()
        self.engine.add_foreign('x').image = IMAGE
        self.remove(image)
        self.here.sweep()
        image = self.show(image)
        self.assertEqual('Available', image['status'])
        self.assertIn('is using its referenced image', image['status_reason'])

    def test_its_conductor_dies(self):
        image, other = self.pulled(), self.another()
        self.remove(image)
        self.engine.lose_answer('remove_image')
        self.here.sweep()
        self.assertEqual('Deleting', self.show(image)['status'])
        self.die(self.here)
        self.let_pass(2)
        other.lease.renew()
        other.sweep()
        self.show(image, 404)

    def test_twice_is_once(self):
        image = self.pulled()
        self.remove(image)
        self.remove(image)
        self.here.sweep()
        self.remove(image, 404)
        self.assertEqual(1, self.engine.calls['remove_image'])

    def test_prune(self):
        used, unused, theirs = (self.pulled(repo=f'far/{name}', project=project)
                                for name, project in (('a', None), ('b', None), ('c', 'other')))
        self.create(image='far/a')
        gone = self.post('/v1/images/prune', {'bay_uuid': 'bay'}, **NEWEST)
        self.assertEqual(202, gone.status_int)
        self.assertEqual([unused['uuid'], theirs['uuid']],
                         [one['uuid'] for one in gone.json['images']])
        self.here.sweep()
        self.assertEqual([used['uuid']],
                         [one['uuid'] for one in self.listed('?all_projects=1')])
        self.assertFalse(self.engine.has_image('far/b') or self.engine.has_image('far/c'))
        self.refused(404, 'bay_not_found', 'POST', '/v1/images/prune', {'host': 'x'})

    def test_with_its_bay(self):
        image = self.pulled()
        self.pull(repo='far/b')
        self.assertEqual(204, self.delete('/v1/bays/bay', **NEWEST).status_int)
        self.show(image, 404)
        with self.db.read() as conn:
            self.assertEqual([], conn.execute(models.pulls.select().where(
                models.pulls.c.status == 'queued')).all())


class TestTag(ImageCase):

    def tag(self, image, status=202, **values):
        answer = self.post(f'/v1/images/{image["uuid"]}/tag', values, **NEWEST)
        self.assertEqual(status, answer.status_int, answer)
        return answer.json

    def test_a_name_of_the_project_s_own(self):
        image = self.pulled()
        made = self.tag(image, repo='busybox', tag='mine')
        self.assertEqual(('busybox', 'mine', 'Tagging', True), (
            made['repo'], made['tag'], made['status'], made['local']))
        self.here.sweep()
        made = self.show(made)
        self.assertEqual(('Available', image['image_id']), (made['status'], made['image_id']))
        self.assertFalse(self.engine.has_image('busybox:mine'))

        container = self.create(image='busybox:mine', image_pull_policy='always')
        self.here.sweep()
        self.assert_at_rest(container, 'Created')
        self.assertRegex(self.engine.container(container).image, '^cs.local/.*/busybox:mine$')
        self.assertEqual('busybox:mine', self.container(container).image)
        self.assertEqual([IMAGE], self.engine.pulls)
        self.remove(made, 409)

        # To others it is what their registry has.
        other = self.accept_create(image='busybox:mine', context=tests.caller('other'))[0].uuid
        self.here.sweep()
        self.assertEqual('busybox:mine', self.engine.container(other).image)

    def test_one_that_is_gone_is_looked_for_nowhere(self):
        made = self.tag(self.pulled(), repo='mine')
        self.here.sweep()
        self.engine.images -= {name for name in self.engine.images if 'cs.local' in name}
        container = self.create(image='mine')
        self.here.sweep()
        error = self.actions_of(container)[0].error
        self.assertEqual('image_not_found', error['code'])
        self.assertEqual([IMAGE], self.engine.pulls)
        self.assertEqual('Available', self.show(made)['status'])

    def test_it_is_removed_under_its_name(self):
        image = self.pulled()
        made = self.tag(image, repo='mine')
        self.here.sweep()
        self.remove(made)
        self.here.sweep()
        self.show(made, 404)
        self.assertTrue(self.engine.has_image(IMAGE))

    def test_refused(self):
        image, other = self.pulled(), self.pull(repo='far/b')
        self.tag(other, 409, repo='mine')
        self.tag(image, 409, repo='far/away', tag='1')
        for values in ({}, {'repo': 'r.x/mine'}, {'repo': 'Mine'}, {'repo': 'a', 'tag': 'b c'},
                       {'repo': 'a:1', 'tag': '2'}):
            self.tag(image, 400, **values)
        self.tag({'uuid': lifecycle.new_uuid()}, 404, repo='mine')

    def test_the_source_is_gone(self):
        image = self.pulled()
        self.engine.images.discard(IMAGE)
        made = self.tag(image, repo='mine')
        self.here.sweep()
        made = self.show(made)
        self.assertEqual('Error', made['status'])
        self.assertIn('No such image', made['status_reason'])


class TestList(ImageCase):

    def test_others_do_not_exist(self):
        image = self.pulled()
        path = f'/v1/images/{image["uuid"]}'
        for method, where, body in (('GET', path, None), ('DELETE', path, None),
                                    ('POST', f'{path}/tag', {'repo': 'a'})):
            self.refused(404, 'image_unknown', method, where, body, project='other')
        self.assertEqual([], self.get('/v1/images', project='other').json['images'])
        self.refused(404, 'image_unknown', 'GET', '/v1/images/busybox')

    def test_who_may(self):
        for persona in (api.MEMBER, api.READER):
            self.refused(403, 'forbidden', 'GET', '/v1/images', persona=persona)
            self.refused(403, 'forbidden', 'POST', '/v1/images', {}, persona=persona)

    def test_filters_and_pages(self):
        made = [self.pull(repo=f'far/{name}')['uuid'] for name in 'abc']
        for query, found in (('repo=far/b', made[1:2]), ('tag=latest', made), ('status=Error', []),
                             ('bay=bay&sort_key=repo&sort_dir=desc', made[::-1])):
            self.assertEqual(found, [one['uuid'] for one in self.listed(f'?{query}')])
        first = self.get('/v1/images?limit=2', **NEWEST).json
        second = self.get(first['next'].partition('9517')[2], **NEWEST).json
        self.assertEqual((made, None), ([
            one['uuid'] for page in (first, second) for one in page['images']], second['next']))
        self.refused(400, 'invalid_parameter', 'GET', '/v1/images?status=x')
