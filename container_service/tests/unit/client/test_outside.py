# SPDX-License-Identifier: Apache-2.0
import json
from unittest import mock

from container_service.client import outside
from container_service.tests.unit.client import stub
from container_service.tests.unit.client import test_shell

EVENT = {'uuid': stub.UUID, 'type': 'container.exited', 'created_at': '2026-11-20T08:00:00+00:00',
         'project_id': 'p', 'bay_uuid': stub.OTHER_UUID, 'container_uuid': stub.UUID,
         'detail': {'exit_code': 3, 'oom_killed': False, 'how': None}}
STRAY = {'uuid': stub.UUID, 'engine_id': 'aa', 'name': 'cs-x-1', 'status': 'Running',
         'reason': 'unknown', 'wanted': None, 'error': None, 'container_uuid': stub.OTHER_UUID,
         'generation': 1, 'image': 'i', 'bay_uuid': stub.UUID,
         'created_at': '2026-11-20T08:00:00+00:00'}


class EventsTest(test_shell.ShellTest):

    def test_list(self):
        self.service.answer('GET', '/v1/events', {'events': [EVENT], 'next': None})
        text = self.stdout('event', 'list')
        self.assertIn('container.exited', text)
        self.assertIn('exit_code 3', text)
        self.assertNotIn('oom_killed', text)
        self.assertEqual([EVENT], json.loads(self.stdout('event', 'list', '-f', 'json')))

    def test_filters(self):
        self.service.answer('GET', '/v1/events', {'events': [], 'next': None})
        self.stdout('event', 'list', '--container', 'web', '--bay', 'one', '--type', 't',
                    '--all-projects', '--limit', '5')
        self.assertEqual({'container': ['web'], 'bay': ['one'], 'type': ['t'],
                          'all_projects': ['true'], 'limit': ['5']}, self.the_request().query)


class StraysTest(test_shell.ShellTest):

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(outside, '_PAUSE_SECONDS', 0.001))

    def strays(self, *found):
        self.service.answer('GET', '/v1/bays/one/strays', {'strays': list(found), 'next': None})

    def test_list(self):
        self.strays(STRAY)
        self.assertIn('cs-x-1', self.stdout('bay', 'strays', 'one'))

    def test_those_of_a_bay_of_another_project(self):
        self.strays({**STRAY, 'wanted': 'remove'})
        self.stdout('bay', 'strays', '--all-projects', 'one')
        result, _ = self.reconcile('--all-projects', '--timeout', '0.01')
        self.assertIn('bay show --all-projects one', result.err)
        for request in self.service.requests:
            self.assertEqual({'all_projects': ['true']}, request.query)

    def reconcile(self, *options):
        self.service.answer('POST', '/v1/bays/one/reconcile', {'strays': []}, status=202)
        result = self.run_cli('reconcile', 'one', *options)
        return result, self.service.asked('POST', '/v1/bays/one/reconcile')[0].body

    def test_without_options_it_lists(self):
        self.strays(STRAY)
        result, body = self.reconcile()
        self.assertEqual((0, {}), (result.code, body))
        self.assertIn('cs-x-1', result.out)

    def test_it_waits_until_it_is_done(self):
        wanted = {**STRAY, 'wanted': 'adopt'}
        for found in ([wanted], [wanted], []):
            self.strays(*found)
        result, body = self.reconcile('--adopt', 'aa', '--adopt', 'bb', '--project', 'p')
        self.assertEqual({'adopt': ['aa', 'bb'], 'project_id': 'p'}, body)
        self.assertEqual((0, ''), (result.code, result.out))
        self.assertEqual(3, len(self.service.asked('GET', '/v1/bays/one/strays')))

    def test_a_new_engine(self):
        self.strays()
        result, body = self.reconcile('--new-engine')
        self.assertEqual((0, {'new_engine': True}), (result.code, body))

    def test_all(self):
        self.strays()
        _, body = self.reconcile('--remove', 'all')
        self.assertEqual({'remove': 'all'}, body)

    def test_what_could_not_be_done(self):
        self.strays({**STRAY, 'error': 'It cannot be adopted.'})
        result, _ = self.reconcile('--adopt', 'all')
        self.assertEqual(1, result.code)
        self.assertIn('It cannot be adopted.', result.out)

    def test_what_is_not_done_in_time(self):
        self.strays({**STRAY, 'wanted': 'remove'})
        result, _ = self.reconcile('--remove', 'all', '--timeout', '0.01')
        self.assertEqual(1, result.code)
        self.assertIn('1 are not done yet', result.err)
