# SPDX-License-Identifier: Apache-2.0
"""Who may do what, with a real Keystone: five personas at every address, and revoked tokens.

One Keystone and one service, as a process, for all tests.
"""

import json
import urllib.parse

from keystoneauth1 import session as ksa_session
from keystonemiddleware import auth_token
import webtest

from container_service import conf as options
from container_service import rpc
from container_service.api import versions
from container_service.tests import base
from container_service.tests import clients
from container_service.tests import fixtures
from container_service.tests import keystone
from container_service.tests.unit.api import base as api_base
from container_service.tests.unit.api import test_endpoints

# Written down here, not read from policy.py: what only administrators may do.
ADMINISTRATION = {
    'audit': 'all', 'services': 'all', 'hosts': 'all', 'images': 'all', 'quota_classes': 'all',
    'quotas': {'PUT', 'DELETE'}, 'bays': {'POST', 'DELETE', 'PATCH', 'PUT'},
}
STRAYS = '/v1/bays/{bay}/strays'
EVERYBODY = {'GET /', 'GET /v1', 'GET /v1/openapi.json'}
READS = {'GET', 'HEAD'}

# What is a project's own: for others it does not exist.
OWN = ('{container}', '{action}', '{registry}')

# Fields that requests of these addresses must have before they are looked at.
_RESIZE = {'exec_id': 'a' * 64, 'w': 80, 'h': 24}
BODIES = {
    'POST /v1/containers/{container}/execute_resize': _RESIZE,
    'PUT /v1/containers/{container}/execute_resize': _RESIZE,
    'PATCH /v1/containers/{container}': {'name': 'other-name'},
    'PATCH /v1/registries/{registry}': {'registry': {'name': 'other-name'}},
}


class Service(clients.Standalone):
    """container-service-standalone, with a fake engine, that asks a Keystone who calls."""

    def __init__(self):
        fixtures.Processes.__init__(self, 'sqlite')

    def _write_config(self, connection):
        self.keystone = self.useFixture(keystone.Keystone(f'{self.url}/v1'))
        self._config = f'''
[bays]
local_endpoint = fake://{self.host}?present_image={base.IMAGE}
drivers = docker,fake
[api]
auth_strategy = keystone
failed_authentication_rate = 0
[keystone_authtoken]
www_authenticate_uri = {self.keystone.url}
auth_type = password
auth_url = {self.keystone.url}
username = {keystone.SERVICE}
password = {keystone.PASSWORD}
user_domain_id = default
project_name = service
project_domain_id = default
interface = public
'''
        super()._write_config(connection)


class TestIdentity(base.TestCase):

    time_limit = 240

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.service = Service()
        cls.service.setUp()
        cls.addClassCleanup(cls.service.cleanUp)
        cls.keystone = cls.service.keystone
        cls.anybody = ksa_session.Session()
        cls.anybody.session.trust_env = False
        cls.sessions = {
            'reader': cls.keystone.session('reader', 'one'),
            'member': cls.keystone.session('member', 'one'),
            'other': cls.keystone.session('other', 'two'),
            'admin': cls.keystone.session(),
            'nobody': None,
        }

    def setUp(self):
        super().setUp()
        for name, detail in self.service.getDetails().items():
            self.addDetail(name, detail)

    def call(self, who, method, path, body=None, version='latest', headers=None):
        """A request of somebody, or of nobody; returns the response."""
        connection = self.sessions.get(who, who) or self.anybody
        return connection.request(
            self.service.url + path, method, json=body, raise_exc=False,
            authenticated=connection is not self.anybody,
            headers={'OpenStack-API-Version': f'container {version}', **(headers or {})})

    def make(self, name):
        """A container of the project one; returns it, once it is there."""
        made = self.call('member', 'POST', '/v1/containers',
                         {'name': name, 'image': base.IMAGE})
        self.assertEqual(202, made.status_code, made.text)
        self.eventually_made(name)
        return made.json()

    def eventually_made(self, name):
        def status():
            answer = self.call('reader', 'GET', f'/v1/containers/{name}')
            self.assertEqual(200, answer.status_code, answer.text)
            return answer.json()['status']

        fixtures.eventually(lambda: status() == 'Created')

    def test_every_address_for_every_persona(self):
        container = self.make('matrix')
        [action] = self.call('reader', 'GET', '/v1/actions').json()['actions'][:1]
        registry = self.call('member', 'POST', '/v1/registries',
                             {'registry': {'name': 'matrix', 'domain': 'quay.io'}})
        self.assertEqual(201, registry.status_code, registry.text)
        places = {'{container}': container['uuid'], '{action}': action['uuid'],
                  '{registry}': registry.json()['registry']['uuid'], '{bay}': 'local'}
        seen = 0
        for route in test_endpoints.ROUTES:
            if route.name in EVERYBODY:
                continue
            path = route.path
            for word, value in places.items():
                path = path.replace(word, value)
            path = test_endpoints.concrete(path)
            version = test_endpoints.version_of(route)
            for who, check in expected(route).items():
                # Who may: with an argument that there is not, so that nothing is done.
                answer = self.call(who, route.method, path + ('?junk=1' if check == 400 else ''),
                                   version=version)
                self.assertEqual(check, answer.status_code, (route.name, who, answer.text))
                seen += 1
            if any(word in route.path for word in OWN):
                if route.endpoint.is_at(versions.MAXIMUM):
                    version = 'latest'
                answer = self.call('other', route.method, *asking(route, path), version=version)
                self.assertEqual(404, answer.status_code, (route.name, answer.text))
        self.assertGreater(seen, 300)
        self.assertEqual(container['uuid'], self.call(
            'reader', 'GET', '/v1/containers/matrix').json()['uuid'])

    def test_nobody_gets_anything(self):
        """A crawl of every address, also with what only the middleware may say."""
        for headers in ({}, {'X-Identity-Status': 'Confirmed', 'X-Roles': 'admin',
                             'X-Project-Id': self.keystone.projects['one'], 'X-User-Id': 'u'}):
            given = {route.name for route in test_endpoints.ROUTES if self.call(
                None, route.method, test_endpoints.concrete(route.path), {},
                headers=headers).status_code < 400}
            self.assertEqual(EVERYBODY, given)
        self.assertEqual(401, self.call(None, 'GET', '/v1/containers', headers={
            'X-Auth-Token': 'forged'}).status_code)
        for path, code in (('/healthcheck', 200), ('/readiness', 200), ('/nowhere', 401)):
            self.assertEqual(code, self.call(None, 'GET', path).status_code)
        self.assertEqual(f'Keystone uri="{self.keystone.url}"', self.call(
            None, 'GET', '/v1/containers').headers['WWW-Authenticate'])

    def impatient(self):
        """The application in this process, which asks Keystone again after a second.

        Returns a function that gives the answer to a token.
        """
        conf = self.useFixture(fixtures.Conf()).conf
        for group, opts in auth_token.list_opts():
            conf.register_opts(opts, group=group)
        conf(['--config-file', self.service.config_file], project=options.PROJECT)
        conf.set_override('token_cache_time', 1, group='keystone_authtoken')
        db = self.useFixture(fixtures.SqliteDatabase(conf)).db
        made, _ = fixtures.application(self, conf, db, rpc.transport(conf, 'fake://'))
        api = webtest.TestApp(made)
        return lambda token, path='/v1/containers': api.get(
            path, headers={'X-Auth-Token': token} if token else {}, expect_errors=True)

    def test_a_revoked_token_and_a_user_without_a_role(self):
        answer_to = self.impatient()
        connection = self.keystone.session('revoked', 'one')
        old = connection.get_token()
        connection.auth.invalidate()
        new = connection.get_token()
        self.assertEqual([200, 200], [answer_to(token).status_int for token in (old, new)])
        self.assertEqual(204, connection.delete(
            f'{self.keystone.url}/auth/tokens', headers={'X-Subject-Token': old}).status_code)
        fixtures.eventually(lambda: answer_to(old).status_int == 401)
        # With a new one all is well; until the role is taken.
        self.assertEqual(200, answer_to(new).status_int)
        [role] = [role['id'] for role in self.keystone.ask('GET', 'roles')['roles']
                  if role['name'] == 'member']
        self.keystone.ask('DELETE', f'projects/{self.keystone.projects["one"]}/users/'
                                    f'{self.keystone.users["revoked"]}/roles/{role}')
        fixtures.eventually(lambda: answer_to(new).status_int == 401)

    def test_tokens_that_are_for_no_project(self):
        unscoped = self.keystone.session('member', None)
        answer = self.call(unscoped, 'GET', '/v1/containers')
        self.assertEqual(403, answer.status_code, answer.text)
        self.assertIn('ask Keystone for one that is for a project', answer.text)

    def test_service_tokens(self):
        services = self.keystone.session(keystone.SERVICE, 'service').get_token()
        member = self.sessions['member'].get_token()
        for token, expected_code in ((services, 200), (member, 401)):
            answer = self.call('member', 'GET', '/v1/containers',
                               headers={'X-Service-Token': token})
            self.assertEqual(expected_code, answer.status_code, answer.text)

    def test_the_openstack_client_with_a_password(self):
        field = clients.Field(credentials=self.keystone.variables('member', 'one'))
        self.useFixture(field)

        def openstack(*arguments):
            code, out, err = field.openstack(*arguments)
            return f'{out}{err}'

        made = json.loads(openstack('create', '-f', 'json', '--name', 'by-cli', base.IMAGE))
        self.assertEqual(self.keystone.projects['one'], made['project_id'])
        self.eventually_made('by-cli')
        self.assertIn('by-cli', [found['name'] for found in json.loads(
            openstack('list', '-f', 'json'))])
        self.assertEqual(made['uuid'], json.loads(
            openstack('show', '-f', 'json', 'by-cli'))['uuid'])
        # What policy forbids, and what is of another project.
        self.assertIn('image:list does not allow', openstack('image', 'list'))
        theirs = self.call('other', 'POST', '/v1/containers',
                           {'name': 'theirs', 'image': base.IMAGE})
        self.assertEqual(202, theirs.status_code)
        self.assertIn('There is no container', openstack('show', theirs.json()['uuid']))
        openstack('delete', 'by-cli')
        fixtures.eventually(lambda: self.call(
            'reader', 'GET', '/v1/containers/by-cli').status_code == 404)

    def test_while_keystone_is_down(self):
        answer_to = self.impatient()
        token = self.sessions['member'].get_token()
        self.assertEqual(200, answer_to(token).status_int)
        self.keystone.stop()
        try:
            fixtures.eventually(lambda: answer_to(token).status_int != 200)
            answer = answer_to(token)
            self.assertEqual((503, 'identity_unavailable', '5'), (
                answer.status_int, answer.json['errors'][0]['code'],
                answer.headers['Retry-After']))
            self.assertEqual(401, answer_to(None).status_int)
            self.assertEqual(200, answer_to(token, '/v1').status_int)
        finally:
            self.keystone.start()
        # It is not asked for some seconds after it did not answer.
        fixtures.eventually(lambda: answer_to(token).status_int == 200)


def expected(route):
    """What each persona is answered that asks for what else would be a 400."""
    collection = route.path.split('/')[2]
    methods = ADMINISTRATION.get(collection, ())
    if methods == 'all' or route.method in methods or route.path == STRAYS:
        reader = member = 403
    else:
        reader = 400 if route.method in READS else 403
        member = 400
    return {'nobody': 401, 'reader': reader, 'member': member, 'other': member, 'admin': 400}


def asking(route, path):
    """Path and body of the least request that comes to look for what it names."""
    op = route.endpoint.operation
    if op is None or route.name in BODIES:
        return path, BODIES.get(route.name)
    needed = api_base.required_of(op)
    if route.method == 'GET':
        return f'{path}?{urllib.parse.urlencode(needed)}', None
    return path, needed or None
