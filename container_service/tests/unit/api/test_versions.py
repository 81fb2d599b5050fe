# SPDX-License-Identifier: Apache-2.0
from container_service.tests.unit.api import base


class TestDocument(base.ApiTestCase):

    def test_root_is_what_clients_discover_versions_by(self):
        document = self.get('/').json
        [v1] = document['versions']
        self.assertEqual(v1, document['default_version'])
        self.assertEqual(('v1', 'CURRENT', '1.1', '1.42'),
                         (v1['id'], v1['status'], v1['min_version'], v1['max_version']))
        self.assertEqual([{'rel': 'self', 'href': 'http://localhost:9517/v1/'}], v1['links'])

    def test_v1_lists_the_collections(self):
        for path in ('/v1', '/v1/'):
            document = self.get(path).json
            self.assertEqual('v1', document['id'])
            for name in ('containers', 'actions', 'bays'):
                self.assertEqual({'rel': 'self', 'href': f'http://localhost:9517/v1/{name}/'},
                                 document[name][0])

    def test_mount_point_is_in_links_but_next_begins_with_v1(self):
        self.make_bay()
        self.make('c1')
        self.make('c2')
        mounted = {'SCRIPT_NAME': '/container'}
        self.assertEqual('http://localhost:9517/container/v1/',
                         self.get('/', environ=mounted).json['versions'][0]['links'][0]['href'])
        page = self.get('/v1/containers?limit=1', environ=mounted).json
        self.assertEqual('http://localhost:9517/container/v1/containers/' +
                         page['containers'][0]['uuid'], page['containers'][0]['links'][0]['href'])
        self.assertTrue(page['next'].startswith('http://localhost:9517/v1/containers?'))

    def test_the_document_is_there_whatever_version_is_asked_for(self):
        # A client finds out by it which versions there are.
        for header in ('container 1.99', 'container', 'compute 2.1'):
            answer = self.get('/', headers={'OpenStack-API-Version': header})
            self.assertEqual(200, answer.status_int)

    def test_the_document_needs_no_credentials(self):
        self.assertEqual(200, self.get('/', persona={'roles': []}).status_int)

    def test_healthcheck(self):
        for path in ('/healthcheck', '/healthcheck/'):
            answer = self.get(path)
            self.assertEqual((200, 'text/plain'), (answer.status_int, answer.content_type))
        self.assertEqual(204, self.call('HEAD', '/healthcheck').status_int)
        self.assert_refused(404, 'not_found', self.post('/healthcheck'))


class TestNegotiation(base.ApiTestCase):

    def asked(self, header, path='/v1/containers'):
        return self.get(path, headers={'OpenStack-API-Version': header} if header else {})

    def test_version_is_echoed(self):
        for header, used in ((None, '1.1'), ('container 1.1', '1.1'),
                             ('container 1.20', '1.20'), ('container 1.40', '1.40'),
                             ('container 1.41', '1.41'), ('container latest', '1.42'),
                             ('CONTAINER 1.7', '1.7'), ('container  1.7', '1.7'),
                             ('compute 2.90, container 1.7', '1.7')):
            answer = self.asked(header)
            self.assertEqual(200, answer.status_int, header)
            self.assertEqual(f'container {used}', answer.headers['OpenStack-API-Version'])

    def test_version_is_echoed_on_errors_and_without_a_body(self):
        self.make_bay()
        uuid = self.make(status='Stopped')
        for answer, status in ((self.get('/v1/containers/x', version='1.20'), 404),
                               (self.get('/nothing', version='1.20'), 404),
                               (self.get('/v1/containers?x=y', version='1.20'), 400),
                               (self.delete(f'/v1/containers/{uuid}', version='1.20'), 204)):
            self.assertEqual((status, 'container 1.20'),
                             (answer.status_int, answer.headers['OpenStack-API-Version']))

    def test_others_are_not_acceptable(self):
        for header in ('container 1.0', 'container 1.43', 'container 2.1', 'container 0.1',
                       'container 1', 'container', 'container 1.x', 'container 01.10',
                       'container 1.010', 'container -1.1', '1.20', 'latest', 'compute 2.1',
                       'containers 1.20', 'container 1.20 x', 'container 1.²', 'x' * 9000):
            answer = self.asked(header)
            detail = self.assert_refused(406, 'unsupported_version', answer)
            self.assertLess(len(detail), 200)
            error = base.error(answer)
            self.assertEqual(('1.1', '1.42'), (error['min_version'], error['max_version']))

    def test_nothing_is_done_at_a_version_that_there_is_not(self):
        self.make_bay()
        answer = self.post('/v1/containers', {'image': 'i', 'name': 'c1'}, version='1.99')
        self.assert_refused(406, 'unsupported_version', answer)
        self.assertEqual([], self.get('/v1/containers').json['containers'])


class TestRequestId(base.ApiTestCase):

    def test_each_request_has_its_own(self):
        ids = {self.get('/').headers['X-Openstack-Request-Id'] for _ in range(3)}
        self.assertEqual(3, len(ids))

    def test_it_is_on_the_action(self):
        self.make_bay()
        answer = self.post('/v1/containers', {'image': 'i'}, version='1.41')
        self.assertEqual(answer.headers['X-Openstack-Request-Id'],
                         answer.json['action']['request_id'])

    def test_that_of_the_caller_is_not_taken_for_ours(self):
        theirs = 'req-12345678-1234-1234-1234-123456789012'
        answer = self.get('/', headers={'X-Openstack-Request-Id': theirs})
        self.assertNotEqual(theirs, answer.headers['X-Openstack-Request-Id'])
