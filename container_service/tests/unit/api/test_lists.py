# SPDX-License-Identifier: Apache-2.0
from urllib import parse

from container_service import lifecycle
from container_service.db import images
from container_service.tests.unit.api import base


def names(answer):
    return [container['name'] for container in answer.json['containers']]


def letters(answer):
    """The second letters of the names."""
    return ''.join(name[1] for name in names(answer))


class TestFilters(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.bays = [self.make_bay('bay1'), self.make_bay('bay2')]
        self.make('ca', 'Running', bay_uuid='bay1', labels={'tier': 'web', 'env': 'x=y'})
        self.make('cb', 'Stopped', bay_uuid='bay1', labels={'tier': 'db'})
        self.make('cc', bay_uuid='bay2', labels={'tier': 'web'}, image='debian:12')
        self.make('cd', 'Running', bay_uuid='bay2', auto_remove=True, memory='64m', tty=True)

    def test_filters(self):
        for query, found in (
                ('', 'abcd'), ('name=cb', 'b'), ('name=cB', ''), ('status=Running', 'ad'),
                ('status=running', ''), ('image=debian:12', 'c'), ('label=tier', 'abc'),
                ('label=tier=web', 'ac'), ('label=tier%3Dweb&label=env', 'a'),
                ('label=env=x=y', 'a'), ('label=env=x', ''), ('label=tier=', ''),
                ('label==', ''), ('bay_ident=bay2', 'cd'),
                (f'bay_ident={self.bays[0].uuid}', 'ab'), ('bay_ident=bay1&status=Running', 'a'),
                ('task_state=create-in-progress', 'c'), ('user_id=user', 'abcd'),
                ('user_id=other', ''), ('project_id=project', 'abcd'), ('project_id=other', ''),
                ('name=None&status=None&limit=None&marker=None', 'abcd'),
                ('all_projects=False', 'abcd'), ('all_projects=None', 'abcd'),
                ('host=h', ''), ('host=bay2', 'cd'), ('auto_remove=True', 'd'),
                ('auto_remove=False', 'abc'), ('memory=64', 'd'), ('memory=64m', 'd'),
                ('memory=65536k', 'd'), ('memory=6', ''), ('memory=640', ''),
                ('memory=64&auto_remove=1&host=bay2', 'd'),
                ('resource_url=x&expand=y', 'abcd'),
                ("name=' or 1=1--", ''), ('name=%25', ''), ('label=%25', '')):
            self.assertEqual(found, letters(self.get(
                '/v1/containers?' + query.replace(' ', '+'))), query)

    def test_with_a_slash_and_without(self):
        for path in ('/v1/containers/?name=ca', '/containers?name=ca',
                     '//v1//containers?name=ca'):
            self.assertEqual('a', letters(self.get(path)))

    def test_sorting(self):
        for query, found in (
                ('sort_key=name', 'abcd'), ('sort_key=name&sort_dir=desc', 'dcba'),
                ('sort_dir=desc', 'dcba'), ('sort_key=image&sort_dir=desc', 'cdba'),
                ('sort_key=status', 'cadb'), ('sort_key=created_at', 'abcd'),
                ('sort_key=None&sort_dir=None', 'abcd')):
            self.assertEqual(found, letters(self.get('/v1/containers?' + query)), query)

    def test_refusals_name_what_is_wrong(self):
        for query, code, word in (
                ('limit=0', 'invalid_parameter', 'limit'),
                ('limit=-1', 'invalid_parameter', 'limit'),
                ('limit=x', 'invalid_parameter', 'limit'),
                ('limit=1.5', 'invalid_parameter', 'limit'),
                ('limit=1&limit=2', 'invalid_parameter', 'limit'),
                ('limit=' + '9' * 5000, 'invalid_parameter', 'limit'),
                ('limit=%D9%A3', 'invalid_parameter', 'limit'),
                ('sort_key=spec', 'invalid_parameter', 'sort_key'),
                ('sort_key=name&sort_key=id', 'invalid_parameter', 'sort_key'),
                ('sort_dir=up', 'invalid_parameter', 'sort_dir'),
                ('marker=nobody', 'invalid_parameter', 'marker'),
                ('marker=ca', 'invalid_parameter', 'marker'),
                ('name=a&name=b', 'invalid_parameter', 'name'),
                ('name=%00', 'invalid_parameter', 'name'),
                ('name=%C2%9B', 'invalid_parameter', 'name'),
                ('&'.join(['label=a'] * 17), 'invalid_parameter', 'label'),
                ('all_projects=maybe', 'invalid_parameter', 'all_projects'),
                ('memory=big', 'invalid_parameter', 'memory'),
                ('auto_remove=perhaps', 'invalid_parameter', 'auto_remove'),
                ('limits=1', 'unknown_parameter', 'limits'),
                ('=x', 'unknown_parameter', ''), ('%00', 'unknown_parameter', 'x00')):
            answer = self.get('/v1/containers?' + query)
            self.assertIn(word, self.assert_refused(400, code, answer), query)

    def test_unknown_bay(self):
        self.assert_refused(404, 'bay_not_found', self.get('/v1/containers?bay_ident=bay3'))

    def test_what_is_deleted_is_gone_from_the_list(self):
        uuid = self.get('/v1/containers/cb').json['uuid']
        self.delete('/v1/containers/cb')
        self.carry_out(uuid)
        self.assertEqual('acd', letters(self.get('/v1/containers')))
        self.assert_refused(404, 'container_not_found', self.get(f'/v1/containers/{uuid}'))
        history = self.get(f'/v1/actions?container={uuid}').json['actions']
        self.assertEqual(['create', 'delete'], [action['operation'] for action in history])


class TestPages(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        for number in range(7):
            self.make(f'c{number}', labels={'k': str(number % 2)})

    def walk(self, path, collection='containers', most=20, version=None):
        """The pages behind an address, followed by ``next`` as given."""
        pages = []
        while path and len(pages) < most:
            answer = self.get(path, version=version)
            self.assertEqual(200, answer.status_int, answer)
            pages.append(answer.json[collection])
            path = answer.json['next']
            if path:
                path = path.removeprefix('http://localhost:9517')
                self.assertTrue(path.startswith('/v1/'), path)
        return pages

    def test_pages_are_complete_and_end(self):
        for limit, sizes in ((1, [1] * 7), (3, [3, 3, 1]), (7, [7]), (8, [7]), (1000, [7]),
                             (10 ** 15, [7])):
            for order in ('', '&sort_key=name', '&sort_key=status', '&sort_key=created_at',
                          '&sort_dir=desc', '&sort_key=image&sort_dir=desc', '&sort_key=uuid'):
                pages = self.walk(f'/v1/containers?limit={limit}{order}')
                self.assertEqual(sizes, [len(page) for page in pages])
                self.assertEqual(7, len({c['uuid'] for page in pages for c in page}))

    def test_what_has_no_value_to_sort_by(self):
        for number, name in enumerate((None, 'bb', None, 'aa', None)):
            self.post('/v1/registries', {'registry': {
                'domain': f'r{number}.example', 'name': name}}, version='1.41')
            image = self.post('/v1/images', {'repo': f'i{number}'}, version='1.41').json['uuid']
            size = number * 100 if name else None
            self.db.transact(lambda conn: images.update(conn, image, {'size': size}))  # noqa: B023
        for collection, key, order in (('registries', 'name', [None] * 3 + ['aa', 'bb']),
                                       ('images', 'size', [None] * 3 + ['100', '300'])):
            for way, wanted in (('asc', order), ('desc', order[::-1])):
                for limit in (1, 2, 3, 10):
                    pages = self.walk(f'/v1/{collection}?sort_key={key}&sort_dir={way}'
                                      f'&limit={limit}', collection, version='1.41')
                    found = [item for page in pages for item in page]
                    self.assertEqual(wanted, [item[key] for item in found])
                    self.assertEqual(5, len({item['uuid'] for item in found}))

    def test_next_keeps_the_filters(self):
        query = 'limit=1&label=k%3D1&label=k&sort_dir=desc&name=None&all_projects=True'
        pages = self.walk(f'/v1/containers?{query}')
        self.assertEqual([['c5'], ['c3'], ['c1']], [[c['name'] for c in page] for page in pages])
        link = self.get(f'/v1/containers/?{query}').json['next']
        sent, marker = parse.parse_qs(link.partition('?')[2]), pages[0][0]['uuid']
        self.assertEqual({**parse.parse_qs(query), 'marker': [marker]}, sent)

    def test_without_limit_a_page_has_the_most_allowed(self):
        self.conf.set_override('max_limit', 4, group='api')
        for path in ('/v1/containers', '/v1/containers?limit=100'):
            self.assertEqual([4, 3], [len(page) for page in self.walk(path)])

    def test_others_page_too(self):
        for number in range(3):
            self.make_bay(f'bay{number}')
        self.assertEqual([2, 2], [len(page) for page in self.walk('/v1/bays?limit=2', 'bays')])
        self.assertEqual([5, 2], [len(page) for page in self.walk(
            '/v1/actions?limit=5&status=unfinished&operation=create', 'actions')])


class TestActions(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.bay_row = self.make_bay()
        self.done = self.make('c1', 'Stopped')
        self.started = self.post('/v1/containers/c1/start', version='1.41').json
        self.post('/v1/containers', {'image': 'i', 'name': 'c2'})

    def test_filters(self):
        request_id = self.started['request_id']
        for query, found in (
                ('', ['create', 'start', 'create']),
                ('bay=bay', ['create', 'start', 'create']), ('operation=start', ['start']),
                ('status=unfinished', ['start', 'create']), ('status=succeeded', ['create']),
                ('status=succeeded&status=queued', ['create', 'start', 'create']),
                ('container=c1', ['create', 'start']),
                (f'container={self.done}', ['create', 'start']),
                (f'container={lifecycle.new_uuid()}', []),
                (f'request_id={request_id}', ['start']), ('request_id=x', []),
                ('sort_dir=desc', ['create', 'start', 'create'])):
            actions = self.get(f'/v1/actions?{query}').json['actions']
            self.assertEqual(found, [action['operation'] for action in actions], query)

    def test_refusals(self):
        for query in ('operation=x', 'operation=start&operation=stop', 'status=x', 'marker=x',
                      'sort_key=operation', 'x=y'):
            self.assertEqual(400, self.get(f'/v1/actions?{query}').status_int, query)
        self.assert_refused(404, 'container_not_found', self.get('/v1/actions?container=c3'))
        self.assert_refused(404, 'bay_not_found', self.get('/v1/actions?bay=b'))

    def test_show(self):
        shown = self.get(f'/v1/actions/{self.started["uuid"]}').json
        self.assert_shown(self.started)
        for key in ('operation status stage progress waiting conductor attempts error request_id '
                    'created_at started_at finished_at links parameters').split():
            self.assertIn(key, shown)

    def test_unknown(self):
        for uuid in (lifecycle.new_uuid(), 'x', 'x' * 3000, self.done):
            self.assert_refused(404, 'action_not_found', self.get(f'/v1/actions/{uuid}'))
        self.assert_refused(404, 'not_found',
                            self.get(f'/v1/actions/{self.started["uuid"]}/x'))


class TestTenants(base.ApiTestCase):
    """What is another project's is as if it were not there."""

    def setUp(self):
        super().setUp()
        self.make_bay('public')
        self.mine = self.make('mine', 'Running')
        body = {'image': 'i', 'name': 'theirs', 'labels': {'k': 'v'}}
        answer = self.post('/v1/containers', body, project='other', version='1.41')
        self.theirs, self.their_action = answer.json['uuid'], answer.json['action']['uuid']
        self.their_request = answer.headers['X-Openstack-Request-Id']
        self.their_bay = self.post('/v1/bays', {
            'name': 'private', 'driver': 'fake', 'endpoint': 'fake://y'}, project='other').json

    def test_containers(self):
        for ident in ('theirs', self.theirs):
            for method, path in (('GET', ''), ('DELETE', '?force=true'), ('POST', '/start'),
                                 ('PUT', '/kill'), ('GET', '/logs'),
                                 ('POST', '/execute?command=ls'), ('GET', '/container_actions'),
                                 ('GET', f'/container_actions/{self.their_request}')):
                detail = self.assert_refused(404, 'container_not_found', self.call(
                    method, f'/v1/containers/{ident}{path}'))
                self.assertEqual(f'There is no container {ident}.', detail)
        self.assertEqual(1, len(self.actions_of(self.theirs)))

    def test_lists(self):
        for query in ('', 'name=theirs', 'label=k', 'project_id=other', 'limit=1',
                      'sort_key=name&sort_dir=desc', 'bay_ident=public'):
            found = self.get(f'/v1/containers?{query}').json
            self.assertNotIn('theirs', [c['name'] for c in found['containers']], query)
            self.assertIsNone(found['next'])
        for query in ('', f'container={self.theirs}', f'request_id={self.their_request}',
                      'bay=public'):
            found = self.get(f'/v1/actions?{query}').json['actions']
            self.assertNotIn(self.their_action, [action['uuid'] for action in found], query)

    def test_marker_of_another_is_unknown(self):
        for path, marker in (('/v1/containers', self.theirs), ('/v1/actions', self.their_action),
                             ('/v1/bays', self.their_bay['uuid'])):
            unknown = lifecycle.new_uuid()
            details = [self.assert_refused(400, 'invalid_parameter',
                                           self.get(f'{path}?marker={uuid}'))
                       for uuid in (marker, unknown)]
            self.assertEqual(details[1].replace(unknown, marker), details[0])

    def test_action(self):
        self.assert_refused(404, 'action_not_found', self.get(f'/v1/actions/{self.their_action}'))

    def test_bays(self):
        for ident in ('private', self.their_bay['uuid']):
            self.assert_refused(404, 'bay_not_found', self.get(f'/v1/bays/{ident}'))
            for answer in (self.get(f'/v1/containers?bay_ident={ident}'),
                           self.get(f'/v1/actions?bay={ident}'),
                           self.post('/v1/containers', {'image': 'i', 'bay_uuid': ident})):
                self.assert_refused(404, 'bay_not_found', answer)
        self.assertEqual(['public'], [bay['name'] for bay in self.get('/v1/bays').json['bays']])

    def test_administrators_see_all_when_they_say_so(self):
        both = {'mine', 'theirs'}
        self.assertEqual(both, set(names(self.get('/v1/containers?all_projects=1'))))
        self.assertEqual({'theirs'}, set(names(self.get(
            '/v1/containers?all_projects=true&project_id=other'))))
        self.assertEqual(200, self.get(
            f'/v1/containers/{self.theirs}?all_projects=True').status_int)
        # A name says nothing among all projects.
        self.assert_refused(404, 'container_not_found',
                            self.get('/v1/containers/theirs?all_projects=True'))
        self.assertEqual(204, self.delete(
            f'/v1/containers/{self.theirs}?force=True&all_projects=True').status_int)

    def test_nobody_else_sees_all(self):
        member = {'persona': base.MEMBER}
        for answer in (self.get('/v1/containers?all_projects=1', **member),
                       self.get('/v1/containers/mine?all_projects=1', **member),
                       self.delete('/v1/containers/mine?all_projects=1', **member)):
            self.assertIn('container:all_projects',
                          self.assert_refused(403, 'forbidden', answer))

    def test_credentials_without_a_project_see_nothing(self):
        # No project would mean every project to the queries.
        for path in ('/v1/containers', '/v1/actions', '/v1/bays', f'/v1/containers/{self.mine}'):
            answer = self.get(path, persona={'project_id': None})
            self.assert_refused(403, 'forbidden', answer)
