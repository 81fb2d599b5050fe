# SPDX-License-Identifier: Apache-2.0
"""Who the user is: clouds.yaml and OS_*, from the command line to the request."""

import base64
import os
import subprocess
import sys
import tempfile
from unittest import mock

from keystoneauth1 import fixture as ksa_fixture
import yaml

from container_service.tests.unit.client import stub

TOKENS = '/v3/auth/tokens'


class CredentialsTest(stub.CommandTest):
    """``service`` plays Keystone and the API."""

    def setUp(self):
        super().setUp()
        directory = self.enterContext(tempfile.TemporaryDirectory())
        self.clouds = os.path.join(directory, 'clouds.yaml')
        kept = {name: value for name, value in os.environ.items() if not name.startswith('OS_')}
        self.enterContext(mock.patch.dict(os.environ, kept, clear=True))
        self.tell(OS_CLIENT_CONFIG_FILE=self.clouds)
        self.service.answer('GET', '/v1/bays', {'bays': [{'uuid': stub.UUID, 'name': 'one'}]})
        # The catalog, as Keystone gives it with a token.
        self.catalog('container')

    def catalog(self, kind):
        url = self.service.endpoint
        token = ksa_fixture.V3Token(user_name='ann', project_name='shop')
        token.set_project_scope(name='shop')
        token.add_service(kind).add_standard_endpoints(region='RegionOne', public=f'{url}/v1')
        self.service.forget('POST', TOKENS)
        self.service.answer('POST', TOKENS, token, status=201,
                            headers={'X-Subject-Token': 'the-token'})

    def tell(self, **variables):
        os.environ.update(variables)

    def tell_password(self, **more):
        self.tell(OS_AUTH_URL=f'{self.service.endpoint}/v3', OS_USERNAME='ann',
                  OS_PASSWORD='a-secret', OS_PROJECT_NAME='shop', OS_USER_DOMAIN_ID='default',
                  OS_PROJECT_DOMAIN_ID='default', OS_AUTH_TYPE='v3password', **more)

    def write_clouds(self, **clouds):
        with open(self.clouds, 'w') as file:
            yaml.safe_dump({'clouds': clouds}, file)

    def listed(self, *argv, endpoint=''):
        """The request that a list becomes."""
        result = stub.run(endpoint, *argv, 'bay', 'list', '-f', 'value')
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertIn('one', result.out)
        [request] = self.service.asked('GET', '/v1/bays')
        return request

    def fails(self, *argv, endpoint=''):
        result = stub.run(endpoint, *argv, 'bay', 'list')
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertNotIn('Unforeseen', result.err)
        self.assertNotIn('a-secret', result.err)
        return result.err

    def test_a_password_of_the_environment(self):
        self.tell_password()
        self.assertEqual('the-token', self.listed().headers['x-auth-token'])
        [asked] = self.service.asked('POST', TOKENS)
        self.assertEqual(('ann', 'shop'), (
            asked.body['auth']['identity']['password']['user']['name'],
            asked.body['auth']['scope']['project']['name']))

    def test_a_cloud_by_name(self):
        auth = {'auth_url': f'{self.service.endpoint}/v3', 'username': 'ann',
                'password': 'a-secret', 'project_name': 'shop', 'user_domain_id': 'default',
                'project_domain_id': 'default'}
        self.write_clouds(mine={'auth_type': 'v3password', 'auth': auth,
                                'region_name': 'RegionOne'})
        self.assertEqual('the-token', self.listed('--os-cloud', 'mine').headers['x-auth-token'])
        self.service.requests.clear()
        self.tell(OS_CLOUD='mine')
        self.assertEqual('the-token', self.listed().headers['x-auth-token'])

    def test_http_basic(self):
        self.tell(OS_AUTH_TYPE='http_basic', OS_USERNAME='ann', OS_PASSWORD='a-secret')
        expected = 'Basic ' + base64.b64encode(b'ann:a-secret').decode()
        self.assertEqual(expected, self.listed(
            endpoint=self.service.endpoint).headers['authorization'])
        self.service.requests.clear()
        self.tell(OS_ENDPOINT=self.service.endpoint)
        self.assertEqual(expected, self.listed().headers['authorization'])

    def test_http_basic_without_a_user(self):
        self.tell(OS_AUTH_TYPE='http_basic', OS_ENDPOINT=self.service.endpoint)
        self.assertIn('OS_USERNAME and OS_PASSWORD', self.fails())

    def test_an_endpoint_that_is_named_wins_over_the_catalog(self):
        self.tell_password()
        with stub.Stub() as other:
            other.answer('GET', '/v1/bays', {'bays': []})
            self.assertEqual(0, stub.run(other.endpoint, 'bay', 'list').code)
            self.assertEqual('the-token', other.requests[0].headers['x-auth-token'])

    def test_without_credentials_none_are_sent(self):
        request = self.listed(endpoint=self.service.endpoint)
        self.assertNotIn('authorization', request.headers)
        self.assertEqual([], self.service.asked('POST', TOKENS))

    def test_they_are_never_shown(self):
        self.tell_password()
        shown = stub.run('', '--debug', 'bay', 'list').err
        self.assertNotIn('a-secret', shown)
        self.assertNotIn('the-token', shown)

    def test_what_keystone_does_not_accept(self):
        self.tell_password()
        self.service.forget('POST', TOKENS)
        self.service.answer('POST', TOKENS, {'error': {
            'code': 401, 'message': 'The request you have made requires authentication.'}},
            status=401)
        told = self.fails()
        self.assertIn('Keystone does not accept the credentials', told)
        self.assertIn('hint: look at user, project', told)

    def test_a_catalog_without_the_service(self):
        self.catalog('compute')
        self.tell_password()
        told = self.fails()
        self.assertIn('no endpoint of a service of the type container', told)
        self.assertIn('--endpoint', told)

    def test_a_keystone_that_is_not_there(self):
        self.tell_password()
        self.tell(OS_AUTH_URL='http://127.0.0.1:1/v3')
        self.assertIn('Keystone at http://127.0.0.1:1/v3 gives no token', self.fails())

    def test_credentials_that_cannot_be_used(self):
        for variables in ({'OS_CLOUD': 'nowhere'}, {'OS_AUTH_TYPE': 'nonsense'},
                          {'OS_AUTH_TYPE': 'v3password', 'OS_AUTH_URL': 'http://127.0.0.1:1'}):
            with mock.patch.dict(os.environ, variables):
                told = self.fails()
            self.assertIn('hint: ', told)

    def test_what_the_service_says_of_it(self):
        self.service.forget()
        self.service.fail('GET', '/v1/bays', 401, detail='The request carries no credentials.')
        self.assertIn('hint: say who you are, with --os-cloud',
                      self.fails(endpoint=self.service.endpoint))
        self.service.forget()
        self.service.fail('GET', '/v1/bays', 403, detail='Policy says no.', hint='Ask.')
        self.assertIn('Policy says no.\nhint: Ask.', self.fails(endpoint=self.service.endpoint))

    def test_nobody_waits_for_what_reads_them(self):
        """Importing that takes longer than a command."""
        asked = ('import sys; from container_service.client import shell; '
                 'print("openstack" in sys.modules)')
        self.assertEqual('False\n', subprocess.run(
            [sys.executable, '-c', asked], capture_output=True, text=True, check=True).stdout)
