# SPDX-License-Identifier: Apache-2.0
"""Tokens of Keystone over the real application and middleware; only Keystone itself is played.

A real one is in functional/test_identity.py.
"""

from unittest import mock

import fixtures as pyfixtures
from keystoneauth1 import exceptions as ksa_exceptions
from keystoneauth1 import fixture as ksa_fixture
from keystonemiddleware import auth_token
from keystonemiddleware.auth_token import _exceptions as ksm_exceptions

from container_service import exceptions
from container_service.api import auth
from container_service.tests import fixtures
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints

_URI = 'https://keystone.example.org/v3'


class KeystoneCase(base.ApiTestCase):

    strategy = auth.Keystone

    def setUp(self):
        super().setUp()
        self.tokens = {}
        for name, roles in (('reader', ['reader']), ('member', ['member', 'reader']),
                            ('admin', ['admin', 'member', 'reader'])):
            self.token(name, roles, project_id='p1')
        self.token('other', ['member', 'reader'], project_id='p2')
        self.useFixture(pyfixtures.MockPatch(
            'keystonemiddleware.auth_token._identity.IdentityServer.verify_token',
            side_effect=self.verify))
        self.verified = []

    def build(self):
        # As an operator's file would say it.
        for group, options in auth_token.list_opts():
            self.conf.register_opts(options, group=group)
        self.tell(www_authenticate_uri=_URI, auth_type='none')
        super().build()

    def tell(self, **values):
        for name, value in values.items():
            self.conf.set_override(name, value, group='keystone_authtoken')

    def token(self, name, roles, project_id=None, **values):
        token = ksa_fixture.V3Token(user_id=f'{name}-id', user_name=name, **values)
        if project_id:
            token.set_project_scope(id=project_id, name=f'{project_id}-name')
        for role in roles:
            token.add_role(name=role)
        self.tokens[name] = token

    def verify(self, token, *_, **__):
        self.verified.append(token)
        found = self.tokens.get(token)
        if found is None:
            raise ksm_exceptions.InvalidToken()
        if isinstance(found, Exception):
            raise found
        return found

    def by(self, name, method, path, body=None, **values):
        headers = {'X-Auth-Token': name, **values.pop('headers', {})}
        return self.call(method, path, body, headers=headers, **values)

    def assert_asked(self, answer):
        self.assert_refused(401, 'unauthorized', answer)
        self.assertEqual([f'Keystone uri="{_URI}"'], answer.headers.getall('WWW-Authenticate'))


class TestKeystone(KeystoneCase):

    def test_who_it_is(self):
        self.make_bay()
        made = self.by('member', 'POST', '/v1/containers', {'image': 'i', 'name': 'c1'})
        self.assertEqual((202, 'member-id', 'p1'), (
            made.status_int, made.json['user_id'], made.json['project_id']))
        self.assertEqual(200, self.by('reader', 'GET', '/v1/containers/c1').status_int)
        self.assert_refused(403, 'forbidden', self.by('reader', 'DELETE', '/v1/containers/c1'))
        self.assert_refused(404, 'container_not_found',
                            self.by('other', 'GET', '/v1/containers/c1'))
        self.assertNotIn('endpoint', self.by('member', 'GET', '/v1/bays/bay').json)
        self.assertIn('endpoint', self.by('admin', 'GET', '/v1/bays/bay').json)

    def test_every_address_wants_a_token(self):
        open_to_all = []
        for route in test_endpoints.ROUTES:
            answer = self.call(route.method, test_endpoints.concrete(route.path),
                               version=test_endpoints.version_of(route))
            if answer.status_int < 400:
                open_to_all.append(route.name)
            else:
                self.assert_asked(answer)
        self.assertEqual(['GET /', 'GET /v1', 'GET /v1/openapi.json'], open_to_all)
        self.assert_asked(self.get('/nowhere'))
        self.assertEqual([], self.verified)

    def test_tokens_that_are_none(self):
        for token in ('forged', '', ' ', 'a b', '\xff', 'x' * 5000, 'member\x7f'):
            self.assert_asked(self.by(token, 'GET', '/v1/containers'))
        # What Keystone would not understand it is not asked about.
        self.assertEqual({'forged'}, set(self.verified))

    def test_headers_that_only_the_middleware_may_write(self):
        forged = {'X-Identity-Status': 'Confirmed', 'X-User-Id': 'u', 'X-Project-Id': 'p1',
                  'X-Roles': 'admin', 'X-Service-Identity-Status': 'Confirmed',
                  'Container-Service-Admitted': '1'}
        self.assert_asked(self.get('/v1/containers', headers=forged))
        self.assert_refused(403, 'forbidden', self.by('member', 'GET', '/v1/images',
                                                      headers=forged))
        self.assert_refused(403, 'forbidden', self.by(
            'member', 'GET', '/v1/images', headers={'X-Is-Admin-Project': 'True'}))

    def test_tokens_that_are_for_no_project(self):
        self.token('unscoped', [])
        self.token('domain', ['admin'])
        self.tokens['domain'].set_domain_scope()
        self.token('system', ['admin', 'reader'])
        self.tokens['system'].set_system_scope()
        for name, words in (('unscoped', 'nothing in particular'), ('domain', 'a domain'),
                            ('system', 'the whole system')):
            for path in ('/v1/containers', '/v1/bays', '/v1/containers?all_projects=1'):
                detail = self.assert_refused(403, 'forbidden', self.by(name, 'GET', path))
                self.assertIn(words, detail)

    def test_a_revoked_token_works_for_a_minute_at_most(self):
        """Whatever the operator says: the default of the library is five minutes."""
        for told in (None, 300, 10):
            if told is not None:
                self.tell(token_cache_time=told)
            self.build()
            clock = fixtures.Clock()
            self.strategy_in_use()._cache._clock = clock
            self.token('ann', ['reader'], project_id='p1')
            self.assertEqual(200, self.by('ann', 'GET', '/v1/containers').status_int)
            del self.tokens['ann']
            most = min(told or 60, 60)
            clock.advance(most - 1)
            self.assertEqual(200, self.by('ann', 'GET', '/v1/containers').status_int)
            clock.advance(2)
            self.assert_asked(self.by('ann', 'GET', '/v1/containers'))

    def strategy_in_use(self):
        found = self.app
        while not isinstance(found, auth.Keystone):
            found = getattr(found, '_app', None) or found.application
        return found

    def test_a_token_is_asked_about_once_in_that_time(self):
        for _ in range(3):
            self.by('member', 'GET', '/v1/containers')
        self.assertEqual(['member'], self.verified)
        self.assertNotIn('deprecated', self.log.output)

    def test_a_keystone_that_does_not_answer(self):
        for error in (ksa_exceptions.ConnectFailure('no route'), ksm_exceptions.ServiceError('x'),
                      ksa_exceptions.ConnectTimeout('slow'), ksa_exceptions.EndpointNotFound('x'),
                      ksa_exceptions.DiscoveryFailure('x')):
            self.build()                # one that is silent is not asked for a while
            self.tokens['ann'] = error
            answer = self.by('ann', 'GET', '/v1/containers')
            self.assert_refused(503, 'identity_unavailable', answer)
            self.assertEqual('5', answer.headers['Retry-After'])
            self.assertNotIn('WWW-Authenticate', answer.headers)

    def test_an_error_behind_it_is_not_one_of_keystone(self):
        with mock.patch('container_service.policy.authorize',
                        side_effect=ksa_exceptions.ConnectFailure('of something else')):
            self.assert_refused(500, 'internal_error', self.by('member', 'GET', '/v1/containers'))

    def test_service_tokens(self):
        self.token('service', ['service'], project_id='services')
        for service, expected in (('service', 200), ('member', 401), ('forged', 401)):
            answer = self.by('member', 'GET', '/v1/containers',
                             headers={'X-Service-Token': service})
            self.assertEqual(expected, answer.status_int, service)
        self.assert_asked(self.get('/v1/containers', headers={'X-Service-Token': 'service'}))

    def test_expired_tokens(self):
        old = '2020-01-01T00:00:00.000000Z'
        self.token('old', ['member'], project_id='p1', expires=old)
        self.assert_asked(self.by('old', 'GET', '/v1/containers'))

    def test_a_token_goes_nowhere(self):
        seen = []
        with mock.patch('container_service.policy.authorize',
                        side_effect=lambda enforcer, caller, rule: seen.append(caller)):
            self.by('member', 'GET', '/v1/containers', headers={'X-Service-Token': ''})
        self.assertIsNone(seen[0].auth_token)
        self.assertNotIn('token-of', str(seen[0].to_dict()))

    def test_it_does_not_start_without_what_it_needs(self):
        for name in ('www_authenticate_uri', 'auth_type'):
            before = self.conf.keystone_authtoken[name]
            self.tell(**{name: None})
            error = self.assertRaises(exceptions.Error, auth.Keystone, None, self.conf, None)
            self.assertIn(name, error.detail)
            self.tell(**{name: before})
        for name in ('password', 'nonsense'):
            self.tell(auth_type=name)
            self.assertIn('[keystone_authtoken]', self.assertRaises(
                exceptions.Error, auth.Keystone, None, self.conf, None).detail)

    def test_tokens_without_tls_are_complained_of_once(self):
        for _ in range(2):
            self.by('member', 'GET', '/v1/containers', environ={'REMOTE_ADDR': '192.0.2.7'})
        self.assertEqual(1, self.log.output.count('without TLS'))
