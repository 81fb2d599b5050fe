# SPDX-License-Identifier: Apache-2.0
"""A real Keystone for tests, in an environment of its own: SQLite, some projects, some users."""

import os
import subprocess

from cryptography import fernet
import fixtures as pyfixtures
from keystoneauth1 import session
from keystoneauth1.identity import v3

from container_service.tests import fixtures

PASSWORD = 'a-password'
SERVICE = 'container-service'
REGION = 'RegionOne'

# Who there is besides the administrator: name, project, role.
USERS = (('reader', 'one', 'reader'), ('member', 'one', 'member'), ('other', 'two', 'member'),
         ('revoked', 'one', 'member'), (SERVICE, 'service', 'service'))

# Its command line is that of the commands of Keystone: it must not see ours.
_SERVE = '''
import sys
port, sys.argv = int(sys.argv[1]), ['keystone']
from cheroot import wsgi
from keystone.wsgi import api
wsgi.Server(('127.0.0.1', port), api.application, numthreads=4).safe_start()
'''


class Keystone(pyfixtures.Fixture):
    """Keystone at ``url``, with a service ``container`` in its catalog at ``endpoint``."""

    def __init__(self, endpoint):
        self._endpoint = endpoint

    def _setUp(self):
        self._python = fixtures.needed('CS_TEST_KEYSTONE')
        self._directory = self.useFixture(pyfixtures.TempDir()).path
        self._port = fixtures.free_port()
        self.url = f'http://127.0.0.1:{self._port}/v3'
        self._configure()
        self._manage('db_sync')
        self._manage('bootstrap', '--bootstrap-password', PASSWORD,
                     '--bootstrap-region-id', REGION, '--bootstrap-public-url', self.url,
                     '--bootstrap-internal-url', self.url)
        self.start()
        self.addCleanup(self.stop)
        self._populate()

    def _configure(self):
        for name in ('fernet', 'credential'):
            path = os.path.join(self._directory, name)
            os.mkdir(path, 0o700)
            for number in range(2):
                with open(os.path.join(path, str(number)), 'wb') as file:
                    file.write(fernet.Fernet.generate_key())
        with open(os.path.join(self._directory, 'keystone.conf'), 'w') as file:
            file.write(f'''
[database]
connection = sqlite:///{self._directory}/keystone.sqlite
[fernet_tokens]
key_repository = {self._directory}/fernet
[fernet_receipts]
key_repository = {self._directory}/fernet
[credential]
key_repository = {self._directory}/credential
[cache]
enabled = false
[identity]
password_hash_rounds = 4
''')
        self._environment = {**os.environ, 'OS_KEYSTONE_CONFIG_DIR': self._directory,
                             'PYTHONWARNINGS': 'ignore'}
        self._environment.pop('PYTHONPATH', None)

    def _manage(self, *arguments):
        done = subprocess.run(
            [os.path.join(os.path.dirname(self._python), 'keystone-manage'), '--config-file',
             os.path.join(self._directory, 'keystone.conf'), *arguments],
            env=self._environment, cwd=self._directory, text=True, timeout=60,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if done.returncode:
            raise AssertionError(f'keystone-manage {arguments[0]} failed:\n{done.stdout}')

    def start(self):
        self._log = os.path.join(self._directory, 'log')
        with open(self._log, 'ab') as out:
            self._process = subprocess.Popen(
                [self._python, '-c', _SERVE, str(self._port)], env=self._environment,
                cwd=self._directory, stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True)
        fixtures.eventually(self._is_up, 60, 0.1)

    def stop(self):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def _is_up(self):
        if self._process.poll() is not None:
            with open(self._log, errors='replace') as file:
                raise AssertionError(f'Keystone ended:\n{file.read()[-3000:]}')
        connection = session.Session()
        connection.session.trust_env = False
        try:
            return connection.get(self.url, authenticated=False).status_code == 200
        except Exception:
            return False

    def session(self, user='admin', project='admin'):
        """A keystoneauth session of a user; its project may be None, for an unscoped one."""
        scope = {'project_name': project, 'project_domain_id': 'default'} if project else {}
        made = session.Session(v3.Password(
            self.url, username=user, password=PASSWORD, user_domain_id='default', **scope))
        made.session.trust_env = False
        return made

    def variables(self, user, project):
        """What a user's shell has to tell clients who they are."""
        return {'OS_AUTH_TYPE': 'password', 'OS_AUTH_URL': self.url, 'OS_USERNAME': user,
                'OS_PASSWORD': PASSWORD, 'OS_PROJECT_NAME': project,
                'OS_USER_DOMAIN_ID': 'default', 'OS_PROJECT_DOMAIN_ID': 'default',
                'OS_IDENTITY_API_VERSION': '3', 'OS_REGION_NAME': REGION}

    def ask(self, method, path, body=None):
        """Ask Keystone as administrator; returns what it answers."""
        answer = self._admin.request(f'{self.url}/{path}', method, json=body)
        return answer.json() if answer.content else None

    def _populate(self):
        self._admin = self.session()
        roles = {role['name']: role['id'] for role in self.ask('GET', 'roles')['roles']}
        self.projects = {}
        self.users = {}
        for name, project, role in USERS:
            if project not in self.projects:
                self.projects[project] = self.ask('POST', 'projects', {'project': {
                    'name': project, 'domain_id': 'default'}})['project']['id']
            self.users[name] = self.ask('POST', 'users', {'user': {
                'name': name, 'password': PASSWORD, 'domain_id': 'default'}})['user']['id']
            self.ask('PUT', f'projects/{self.projects[project]}/users/{self.users[name]}/roles/'
                            f'{roles[role]}')
        service = self.ask('POST', 'services', {'service': {
            'name': SERVICE, 'type': 'container'}})['service']['id']
        self.ask('POST', 'endpoints', {'endpoint': {
            'service_id': service, 'interface': 'public', 'region_id': REGION,
            'url': self._endpoint}})
