# SPDX-License-Identifier: Apache-2.0
import json

from container_service import audit as trail
from container_service.client import audit
from container_service.tests.unit.client import stub
from container_service.tests.unit.client import test_shell

ENTRY = {'uuid': stub.UUID, 'created_at': '2026-11-20T08:00:00+00:00', 'request_id': 'req-1',
         'user_id': 'alice', 'user_project_id': 'p', 'roles': ['member'], 'source': '192.0.2.7',
         'authenticated_by': 'keystone', 'action': 'stop/container', 'target_type': 'container',
         'target_uuid': stub.OTHER_UUID, 'target_name': 'web', 'project_id': 'p',
         'outcome': 'failure', 'status': 409, 'code': 'invalid_state', 'action_uuid': None,
         'details': {'fields': ['timeout']}}


class AuditTest(test_shell.ShellTest):

    def test_list(self):
        by_itself = {**ENTRY, 'user_id': None, 'authenticated_by': 'service', 'code': None,
                     'target_name': None, 'outcome': 'success'}
        self.service.answer('GET', '/v1/audit', {'audit': [ENTRY, by_itself], 'next': None})
        text = self.stdout('audit', 'list')
        for words in ('alice', 'stop/container', 'web', 'failure (invalid_state)', 'service',
                      stub.OTHER_UUID):
            self.assertIn(words, text)
        self.assertIn('192.0.2.7', self.stdout('audit', 'list', '--long'))
        self.assertEqual([ENTRY, by_itself],
                         json.loads(self.stdout('audit', 'list', '-f', 'json')))

    def test_filters(self):
        self.service.answer('GET', '/v1/audit', {'audit': [], 'next': None})
        self.stdout('audit', 'list', '--project', 'p', '--user', 'u', '--action', 'stop/container',
                    '--target', stub.UUID, '--request-id', 'req-1', '--outcome', 'failure',
                    '--since', '2026-03-01', '--until', '2026-04-01', '--all-projects',
                    '--newest-first', '--limit', '5')
        self.assertEqual({
            'project_id': ['p'], 'user_id': ['u'], 'action': ['stop/container'],
            'target_uuid': [stub.UUID], 'request_id': ['req-1'], 'outcome': ['failure'],
            'since': ['2026-03-01'], 'until': ['2026-04-01'], 'all_projects': ['true'],
            'sort_dir': ['desc'], 'limit': ['5']}, self.the_request().query)

    def test_outcomes_are_those_of_the_service(self):
        self.assertEqual(trail.OUTCOMES, audit.OUTCOMES)

    def test_show(self):
        self.service.answer('GET', f'/v1/audit/{stub.UUID}', ENTRY)
        text = self.stdout('audit', 'show', stub.UUID)
        self.assertIn('192.0.2.7', text)
        self.assertNotIn('action_uuid', text)
        self.assertEqual(ENTRY, json.loads(self.stdout(
            'audit', 'show', stub.UUID, '--all-projects', '-f', 'json')))
