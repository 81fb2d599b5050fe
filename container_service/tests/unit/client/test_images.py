# SPDX-License-Identifier: Apache-2.0
import json

from container_service.tests.unit.client import stub

PATH = '/v1/images'
ONE = f'{PATH}/{stub.UUID}'


def image(status='Available', **more):
    return {'uuid': stub.UUID, 'repo': 'app', 'tag': '1.0', 'image_id': f'sha256:{"ab" * 32}',
            'size': '2500000', 'host': 'bay', 'status': status, 'status_reason': None,
            'progress': None, 'created_at': '2026-11-20T05:25:59+00:00', 'links': [], **more}


class LookTest(stub.CommandTest):

    def test_list(self):
        self.service.answer('GET', PATH, {'images': [image()]})
        text = self.stdout('image', 'list', '--repo', 'app', '--status', 'available')
        self.assertRegex(text, r'app +\| 1\.0 \| abababababab \| 2\.5 MB \| bay +\| Available ')
        self.assertEqual({'repo': ['app'], 'status': ['Available']},
                         self.service.requests[-1].query)

    def test_by_name_or_uuid(self):
        self.service.answer('GET', PATH, {'images': [image()]})
        self.service.answer('GET', ONE, image())
        for name, query in (('app:1.0', {'repo': ['app'], 'tag': ['1.0']}),
                            ('docker.io/library/app', {'repo': ['app'], 'tag': ['latest']})):
            shown = json.loads(self.stdout('image', 'show', name, '-f', 'json'))
            self.assertEqual('2500000', shown['size'])
            self.assertEqual(query, self.service.requests[-2].query)
        self.service.requests.clear()
        self.assertIn('2.5 MB', self.stdout('image', 'show', stub.UUID))
        self.assertEqual(1, len(self.service.requests))

    def test_none_or_several(self):
        self.service.answer('GET', PATH, {'images': []})
        result = self.run_cli('image', 'show', 'app')
        self.assertEqual((1, 'There is no image app:latest here.\n'), (result.code, result.err))
        self.service.forget()
        self.service.answer('GET', PATH, {'images': [image(), image(host='other')]})
        result = self.run_cli('image', 'show', 'app')
        self.assertEqual((1, 'app:latest is on several bays: bay, other.\n'
                             'hint: say which one with --bay\n'), (result.code, result.err))

    def test_a_name_that_is_none(self):
        self.assertIn("'A b' is not an image reference", self.refused('image', 'show', 'A b'))


class PullTest(stub.CommandTest):

    def test_returns_at_once(self):
        self.service.answer('POST', PATH, image('Pulling', image_id=None, size=None), 202)
        text = self.stdout('image', 'pull', '--bay', 'b', '--registry', 'r', '--if-not-present',
                           'app:1.0')
        self.assertIn('| Pulling ', text)
        self.assertNotIn('image_id', text)
        self.assertEqual({'repo': 'app:1.0', 'bay_uuid': 'b', 'registry': 'r',
                          'image_pull_policy': 'ifnotpresent'}, self.service.requests[0].body)

    def pulled(self, *states):
        self.service.answer('POST', PATH, image('Pulling'), 202)
        for state in states:
            self.service.answer('GET', ONE, state)

    def test_waits(self):
        self.pulled(image('Pulling', progress={'image': 'app:1.0', 'layers': 2}), image())
        self.assertIn('| Available ', self.stdout('image', 'pull', '--poll', 'app:1.0'))

    def test_fails(self):
        self.pulled(image('Error', status_reason='There is no such image.'))
        result = self.run_cli('image', 'pull', '--poll', 'app:1.0')
        self.assertEqual((1, 'app:1.0: There is no such image.\n'), (result.code, result.err))

    def test_takes_too_long(self):
        self.pulled(image('Pulling'))
        result = self.run_cli('image', 'pull', '--poll-timeout', '0', 'app:1.0')
        self.assertEqual(4, result.code)
        self.assertIn(f'look again: container-service image show {stub.UUID}', result.err)

    def test_shows_how_far_it_is(self):
        self.pulled(image('Pulling', progress={'image': 'app:1.0', 'layers': 4,
                                               'layers_done': 1}), image())
        err = stub.Terminal()
        self.run_cli('image', 'pull', '--poll', 'app:1.0', err=err)
        self.assertIn('1/4 layers', err.getvalue())


class ChangeTest(stub.CommandTest):

    def test_tag(self):
        self.service.answer('GET', PATH, {'images': [image()]})
        self.service.answer('POST', f'{ONE}/tag', image('Tagging', repo='other'), 202)
        self.assertIn('| Tagging ', self.stdout('image', 'tag', 'app:1.0', 'other:2'))
        self.assertEqual({'repo': 'other:2'}, self.service.requests[-1].body)

    def test_delete(self):
        self.service.answer('DELETE', ONE, status=204)
        self.assertEqual('', self.stdout('image', 'delete', stub.UUID))
        self.service.answer('GET', ONE, image('Deleting'))
        self.service.fail('GET', ONE, 404, detail='There is no such image.')
        self.assertEqual('', self.stdout('image', 'delete', '--poll', stub.UUID))

    def test_delete_of_what_is_used(self):
        self.service.fail('DELETE', ONE, 409, detail='Image app:1.0 is used by container web.')
        result = self.run_cli('image', 'delete', stub.UUID)
        self.assertEqual((1, 'Image app:1.0 is used by container web.\n'),
                         (result.code, result.err))

    def test_delete_that_fails_later(self):
        self.service.answer('DELETE', ONE, status=204)
        self.service.answer('GET', ONE, image('Available', status_reason='It is used.'))
        result = self.run_cli('image', 'delete', '--poll', stub.UUID)
        self.assertEqual((1, 'It is used.\n'), (result.code, result.err))

    def test_prune(self):
        self.service.answer('POST', f'{PATH}/prune', {'images': [image('Deleting')]}, 202)
        self.assertIn('| app  | 1.0 | 2.5 MB | bay  |', self.stdout('image', 'prune'))
        self.stdout('image', 'prune', '--bay', 'b')
        self.assertEqual([{}, {'bay_uuid': 'b'}],
                         [request.body for request in self.service.requests])
