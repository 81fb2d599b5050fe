# SPDX-License-Identifier: Apache-2.0
import getpass
import io
import json
from unittest import mock

from container_service.tests.unit.client import stub

PATH = '/v1/registries'
REGISTRY = {'uuid': stub.UUID, 'name': 'ours', 'domain': 'r.example.org', 'username': 'u',
            'password': '***', 'links': []}


class RegistryTest(stub.CommandTest):

    def asked(self, method, path=PATH):
        return self.service.asked(method, path)[-1]

    def test_list_and_show(self):
        self.service.answer('GET', PATH, {'registries': [REGISTRY]})
        self.service.answer('GET', f'{PATH}/ours', {'registry': REGISTRY})
        self.assertIn('| r.example.org ', self.stdout('registry', 'list', '--domain', 'd'))
        self.assertEqual({'domain': ['d']}, self.asked('GET').query)
        self.assertEqual('***\n', self.stdout('registry', 'show', 'ours', '-f', 'value', '-c',
                                              'password'))

    def test_create_with_a_password_from_standard_input(self):
        self.service.answer('POST', PATH, {'registry': REGISTRY}, 201)
        result = self.run_cli(
            'registry', 'create', '--name', 'ours', '--username', 'u', '--password-stdin',
            'r.example.org', stdin=io.StringIO('s e\ncret\n'))
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual({'registry': {'name': 'ours', 'domain': 'r.example.org',
                                       'username': 'u', 'password': 's e'}},
                         self.asked('POST').body)
        self.assertIn('idempotency-key', self.asked('POST').headers)

    def test_create_asks_on_a_terminal(self):
        self.service.answer('POST', PATH, {'registry': REGISTRY}, 201)
        argv = ('registry', 'create', '--username', 'u', 'r.example.org')
        with mock.patch.object(getpass, 'getpass', return_value='secret') as asked:
            self.assertEqual(0, self.run_cli(*argv, stdin=stub.Terminal()).code)
        self.assertEqual('secret', self.asked('POST').body['registry']['password'])
        self.assertEqual(1, asked.call_count)

    def test_create_without_credentials(self):
        self.service.answer('POST', PATH, {'registry': REGISTRY}, 201)
        self.stdout('registry', 'create', 'r.example.org')
        self.assertEqual({'registry': {'domain': 'r.example.org'}}, self.asked('POST').body)

    def test_no_password_to_be_had(self):
        self.assertIn('use --password-stdin', self.refused(
            'registry', 'create', '--username', 'u', 'r.example.org'))
        self.assertIn('empty', self.refused('registry', 'set', '--password-stdin', 'ours'))
        self.refused('registry', 'create', '--password', 'secret', 'r.example.org', 'x')

    def test_set(self):
        self.service.answer('PATCH', f'{PATH}/ours', {'registry': REGISTRY})
        shown = json.loads(self.stdout('registry', 'set', '--username', 'v', 'ours', '-f', 'json'))
        self.assertEqual('u', shown['username'])
        self.assertEqual({'registry': {'username': 'v'}},
                         self.asked('PATCH', f'{PATH}/ours').body)

    def test_set_nothing(self):
        self.assertIn('Say what to change', self.refused('registry', 'set', 'ours'))

    def test_delete(self):
        self.service.answer('DELETE', f'{PATH}/a', status=204)
        self.service.fail('DELETE', f'{PATH}/b', 404, detail='There is no registry b.')
        result = self.run_cli('registry', 'delete', 'a', 'b')
        self.assertEqual((1, 'b: There is no registry b.\n'), (result.code, result.err))
