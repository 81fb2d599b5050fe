# SPDX-License-Identifier: Apache-2.0
"""/v1/audit: the trail as it is read."""

from container_service import lifecycle
from container_service.db import actions
from container_service.tests.unit.api import base

MEMBER = {'roles': ['member', 'reader'], 'is_admin': False}
NOWHERE = '11111111-2222-3333-4444-555555555555'


class TestAudit(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.uuid = self.make('c1', 'Running')
        self.stopped = self.post('/v1/containers/c1/stop', version='1.41',
                                 persona={'user_id': 'bob', 'project_id': 'project'})
        self.post('/v1/containers', {'name': 'theirs', 'image': 'i'}, version='1.41',
                  project='other')

    def list(self, query='', **values):
        answer = self.get(f'/v1/audit{query}', version='1.42', **values)
        self.assertEqual(200, answer.status_int, answer)
        return answer.json['audit']

    def test_the_trail_of_the_own_project(self):
        found = self.list()
        self.assertEqual(
            [('create/container', 'pending', 'c1'), ('create/container', 'success', 'c1'),
             ('stop/container', 'pending', 'c1')],
            [(row['action'], row['outcome'], row['target_name']) for row in found])
        self.assertEqual(found[-1], self.get(
            f'/v1/audit/{found[-1]["uuid"]}', version='1.42').json)
        self.assertEqual(self.stopped.json['uuid'], found[-1]['action_uuid'])

    def test_filters(self):
        for query, count in ((f'target_uuid={self.uuid}', 3), ('user_id=bob', 1),
                             ('action=stop/container', 1), ('outcome=success', 1),
                             (f'request_id={self.stopped.headers["X-Openstack-Request-Id"]}', 1),
                             (f'action_uuid={self.stopped.json["uuid"]}', 1),
                             ('since=2020-01-01', 3), ('until=2020-01-01T08:00:00%2B02:00', 0),
                             ('project_id=other', 0), ('project_id=other&all_projects=1', 1),
                             ('user_id=nobody', 0)):
            self.assertEqual((query, count), (query, len(self.list(f'?{query}'))))
        newest = self.list('?sort_dir=desc&limit=1')
        self.assertEqual(['stop/container'], [row['action'] for row in newest])

    def test_pages(self):
        everything = [row['uuid'] for row in self.list('?all_projects=1')]
        found, path = [], '/v1/audit?all_projects=1&limit=2'
        while path:
            page = self.get(path, version='1.42').json
            found += [row['uuid'] for row in page['audit']]
            path = page['next'] and page['next'].removeprefix('http://localhost:9517')
        self.assertEqual(everything, found)

    def test_bad_filters(self):
        for query in ('since=yesterday', 'until=', 'outcome=maybe', 'nonsense=1', 'sort_key=user',
                      'since=9999-12-31T23:59:59-12:00'):
            answer = self.get(f'/v1/audit?{query}', version='1.42')
            self.assertEqual((query, 400), (query, answer.status_int))

    def test_who_may_read_it(self):
        for path in ('/v1/audit', f'/v1/audit/{NOWHERE}'):
            self.assert_refused(403, 'forbidden', self.get(path, version='1.42', persona=MEMBER))
            self.assert_refused(404, 'not_found', self.get(path, version='1.41'))

    def test_what_others_have(self):
        """Also where an operator has given the rules to others than administrators."""
        theirs = self.list('?all_projects=1&project_id=other')[0]
        self.parts.enforcer.set_rules(
            {**self.parts.enforcer.rules, **dict.fromkeys(
                ('audit:list', 'audit:show'), self.parts.enforcer.rules['container:list'])},
            use_conf=False)
        unknown = self.get(f'/v1/audit/{NOWHERE}', version='1.42', persona=MEMBER)
        found = self.get(f'/v1/audit/{theirs["uuid"]}', version='1.42', persona=MEMBER)
        self.assertEqual(404, found.status_int)
        self.assertEqual(base.error(unknown)['detail'].replace(NOWHERE, theirs['uuid']),
                         base.error(found)['detail'])
        self.assertEqual(3, len(self.list(persona=MEMBER)))
        self.assertEqual([], self.list(f'?target_uuid={theirs["target_uuid"]}', persona=MEMBER))
        answer = self.get('/v1/audit?all_projects=1', version='1.42', persona=MEMBER)
        self.assertEqual(403, answer.status_int)

    def test_what_is_for_administrators(self):
        self.claim(self.uuid)
        with self.db.read() as conn:
            action = actions.get(conn, self.stopped.json['uuid'], None)
        lifecycle.hand_back(self.db, action, 0)
        address = {'REMOTE_ADDR': '192.0.2.7'}
        # An administrator of another project, and one of ours.
        for project in ('other', 'project'):
            self.call('PUT', '/v1/quotas/project', {'cpu': 9}, version='1.41', project=project,
                      environ=address)
        self.parts.enforcer.set_rules(
            {**self.parts.enforcer.rules,
             'audit:list': self.parts.enforcer.rules['container:list'],
             'audit:show': self.parts.enforcer.rules['container:list']}, use_conf=False)
        for persona, conductors, sources in (
                (None, [action.conductor], {'other': '192.0.2.7', 'project': '192.0.2.7'}),
                (MEMBER, [None], {'other': None, 'project': '192.0.2.7'})):
            values = {'persona': persona} if persona else {}
            given = self.list('?action=hand_back/action', **values)
            self.assertEqual(conductors, [row['details'].get('conductor') for row in given])
            found = self.list('?action=update/quota', **values)
            self.assertEqual(sources, {row['user_project_id']: row['source'] for row in found})
            entry = self.get(f'/v1/audit/{given[0]["uuid"]}', version='1.42', **values)
            self.assertEqual(given[0], entry.json)

    def test_nothing_but_reading(self):
        entry = self.list()[0]['uuid']
        for method in ('POST', 'PUT', 'PATCH', 'DELETE'):
            for path in ('/v1/audit', f'/v1/audit/{entry}'):
                self.assertEqual(405, self.call(method, path, version='1.42').status_int)
