# SPDX-License-Identifier: Apache-2.0
"""A name and a password with each request, over the real application."""

import base64
from concurrent import futures
import os
import threading
from unittest import mock

import fixtures as pyfixtures

from container_service import exceptions
from container_service import users
from container_service.api import auth
from container_service.api import endpoints
from container_service.tests.unit import test_users
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints


def basic(name, password):
    token = base64.b64encode(f'{name}:{password}'.encode()).decode()
    return {'Authorization': f'Basic {token}'}


class HttpBasicCase(base.ApiTestCase):

    strategy = auth.HttpBasic

    def setUp(self):
        self.path = os.path.join(self.useFixture(pyfixtures.TempDir()).path, 'users')
        with test_users.cheap():
            for name, project, role in (('reader', 'p1', 'reader'), ('member', 'p1', 'member'),
                                        ('other', 'p2', 'member'), ('admin', 'p1', 'admin')):
                users.add(self.path, users.User(name, users.hashed(f'{name}-secret'), project,
                                                (role,)))
        self.conf_values = {'http_basic_users_file': self.path}
        super().setUp()

    def by(self, name, method, path, body=None, password=None, **values):
        headers = {**basic(name, password or f'{name}-secret'), **values.pop('headers', {})}
        return self.call(method, path, body, headers=headers, **values)

    def assert_asked(self, answer):
        self.assert_refused(401, 'unauthorized', answer)
        self.assertEqual(['Basic realm="container-service", charset="UTF-8"'],
                         answer.headers.getall('WWW-Authenticate'))


class TestHttpBasic(HttpBasicCase):

    def test_every_address_wants_credentials(self):
        """But those that say what there is and how to talk to it."""
        open_to_all = []
        for route in test_endpoints.ROUTES:
            answer = self.call(route.method, test_endpoints.concrete(route.path),
                               version=test_endpoints.version_of(route))
            if answer.status_int < 400:
                open_to_all.append(route.name)
                self.assertEqual(endpoints.PUBLIC, route.endpoint.policy)
            else:
                self.assert_asked(answer)
        self.assertEqual(['GET /', 'GET /v1', 'GET /v1/openapi.json'], open_to_all)
        for method, path in (('GET', '/nowhere'), ('POST', '/'), ('DELETE', '/v1'),
                             ('GET', '/v1/%2e%2e/'), ('OPTIONS', '/v1/containers'),
                             ('GET', '/containers'), ('GET', '//v1//containers'),
                             ('GET', '/v1/containers/')):
            self.assert_asked(self.call(method, path))

    def test_health_needs_none(self):
        for path in ('/healthcheck', '/readiness'):
            answer = self.api.get(path, expect_errors=True)
            self.assertNotEqual(401, answer.status_int)
        self.assertEqual(200, self.api.get('/healthcheck').status_int)
        for path in ('/', '/v1', '/v1/', '/v1/openapi.json'):
            self.assertEqual(200, self.call('HEAD', path).status_int)

    def test_who_it_is(self):
        self.make_bay()
        made = self.by('member', 'POST', '/v1/containers', {'image': 'i', 'name': 'c1'})
        self.assertEqual((202, 'member', 'p1'), (
            made.status_int, made.json['user_id'], made.json['project_id']))
        self.assertEqual(200, self.by('reader', 'GET', '/v1/containers/c1').status_int)
        self.assert_refused(403, 'forbidden', self.by('reader', 'DELETE', '/v1/containers/c1'))
        self.assert_refused(404, 'container_not_found',
                            self.by('other', 'GET', '/v1/containers/c1'))
        self.assert_refused(403, 'forbidden', self.by(
            'member', 'GET', '/v1/containers?all_projects=true'))
        self.assertNotIn('endpoint', self.by('member', 'GET', '/v1/bays/bay').json)
        self.assertIn('endpoint', self.by('admin', 'GET', '/v1/bays/bay').json)

    def test_a_member_may_list_what_it_made(self):
        self.assertEqual(200, self.by('member', 'GET', '/v1/containers').status_int)
        self.assertEqual(200, self.by('admin', 'GET', '/v1/containers').status_int)

    def test_wrong_credentials(self):
        for name, password in (('member', 'wrong'), ('nobody', 'member-secret'), ('', ''),
                               ('member', 'other-secret'), ('admin', 'member-secret')):
            self.assert_asked(self.call('GET', '/v1/containers', headers=basic(name, password)))
        for value in ('', 'Basic', 'Basic ', 'Basic !!!', 'Basic bWVtYmVy', 'Bearer x', 'x',
                      'Digest username="member"', 'Basic \xff', 'Basic ' + 'A' * 60000):
            answer = self.get('/v1/containers', headers={'Authorization': value})
            self.assert_asked(answer)
        for name in ('X-User-Id', 'X-Roles', 'X-Auth-Token', 'X-Identity-Status', 'X-Project-Id'):
            self.assert_asked(self.get('/v1/containers', headers={name: 'admin'}))
        self.assertNotIn('secret', self.log.output)

    def test_it_is_served_to_others_than_the_local_host(self):
        answer = self.by('member', 'GET', '/v1/containers', environ={
            'REMOTE_ADDR': '192.0.2.7', 'HTTP_HOST': 'api.example.org'})
        self.assertEqual(200, answer.status_int)

    def test_passwords_without_tls_are_complained_of_once(self):
        self.by('member', 'GET', '/v1/containers')
        self.by('member', 'GET', '/v1/containers', environ={
            'REMOTE_ADDR': '192.0.2.7', 'wsgi.url_scheme': 'https'})
        self.assertNotIn('TLS', self.log.output)
        for _ in range(2):
            self.by('member', 'GET', '/v1/containers', environ={'REMOTE_ADDR': '192.0.2.7'})
        self.assertEqual(1, self.log.output.count('without TLS'))

    def test_web_pages_of_other_sites(self):
        """A browser adds the password to whatever a page makes it request."""
        at = {'HTTP_HOST': 'api.example.org'}
        for origin in ('http://evil.example', 'null', 'https://api.example.org.evil.example',
                       'http://api.example.org:81', 'https://evil.example/api.example.org'):
            self.assert_refused(403, 'forbidden', self.by(
                'member', 'POST', '/v1/containers/c1/stop',
                environ={**at, 'HTTP_ORIGIN': origin}))
        self.assertEqual(200, self.by('member', 'GET', '/v1/containers', environ={
            **at, 'HTTP_ORIGIN': 'https://api.example.org'}).status_int)

    def test_a_file_that_cannot_be_used_any_more(self):
        os.chmod(self.path, 0o644)
        answer = self.by('member', 'GET', '/v1/containers')
        detail = self.assert_refused(503, 'identity_unavailable', answer)
        self.assertNotIn(self.path, detail)
        self.assertIn(self.path, self.log.output)
        os.chmod(self.path, 0o600)
        self.assertEqual(200, self.by('member', 'GET', '/v1/containers').status_int)

    def test_it_does_not_start_without_a_file(self):
        for path, words in ((None, 'http_basic_users_file'), ('/nowhere', 'no such file')):
            self.conf.set_override('http_basic_users_file', path, group='api')
            self.assertIn(words, self.assertRaises(
                exceptions.Error, auth.HttpBasic, None, self.conf, None).detail)


class TestGuesses(HttpBasicCase):
    """Who guesses passwords may do so twenty times, as long as nothing comes to that."""

    def setUp(self):
        super().setUp()
        self.conf.set_override('failed_authentication_rate', 0.001, group='api')
        self.build()

    def status(self, name='member', **values):
        return self.by(name, 'GET', '/v1/containers', **values).status_int

    def test_it_is_paid_before(self):
        """Else all that come at once see the same last one of what may come."""
        inside, let_go = threading.Semaphore(0), threading.Event()
        self.addCleanup(let_go.set)

        def check(*_):
            inside.release()
            return not let_go.wait(30)

        for _ in range(19):
            self.assertEqual(401, self.status(password='wrong'))
        with futures.ThreadPoolExecutor(1) as pool, mock.patch('bcrypt.checkpw',
                                                               side_effect=check):
            first = pool.submit(self.status, password='wrong')
            self.assertTrue(inside.acquire(timeout=30))
            self.assertEqual(429, self.status(password='other'))
            let_go.set()
            self.assertEqual(401, first.result(30))

    def test_who_knows_the_password_pays_nothing(self):
        with test_users.cheap():
            for number in range(30):
                users.add(self.path, users.User(f'user{number}', users.hashed('right'), 'p1',
                                                ('reader',)))
        for number in range(30):
            self.assertEqual(200, self.status(f'user{number}', password='right'))

    def test_while_others_are_computed(self):
        with mock.patch.object(users.Users, '_place', side_effect=users.Busy):
            answer = self.by('member', 'GET', '/v1/containers')
        self.assert_refused(503, 'identity_unavailable', answer)
        self.assertEqual('1', answer.headers['Retry-After'])
