# SPDX-License-Identifier: Apache-2.0
import io
import json

from container_service.tests.unit.client import stub

EXECUTE = '/v1/containers/web/execute'
ACTION = f'/v1/actions/{stub.UUID}'


class ExecTest(stub.CommandTest):

    def the_request(self):
        self.assertEqual(1, len(self.service.requests), self.service.requests)
        return self.service.requests[0]

    def test_exec_ends_as_the_command_does(self):
        self.service.answer('POST', '/v1/containers/web/execute',
                            {'output': 'no such file\n', 'exit_code': 42, 'truncated': True})
        result = self.run_cli('exec', '--timeout', '5', 'web', 'ls', '-h', '--timeout', '7')
        self.assertEqual((42, 'no such file\n'), (result.code, result.out))
        self.assertIn('its end is missing', result.err)
        self.assertEqual({'command': ['ls', '-h', '--timeout', '7'], 'timeout': 5},
                         self.the_request().body)

    def test_exec_after_dashes(self):
        self.service.answer('POST', '/v1/containers/web/execute', {'output': '', 'exit_code': 0})
        self.stdout('exec', 'web', '--', 'true')
        self.assertEqual({'command': ['true']}, self.the_request().body)

    def test_exec_without_exit_code_is_not_success(self):
        self.service.answer('POST', '/v1/containers/web/execute',
                            {'output': '', 'exit_code': None})
        self.assertEqual(1, self.run_cli('exec', 'web', 'true').code)

    def test_how_it_runs(self):
        self.service.answer('POST', EXECUTE, {'output': '', 'exit_code': 0})
        argv = ('exec', '-e', 'A=1', '--secret-env', 'B=2', '-u', 'me', '-w', '/w', '-i', 'web',
                'cat', '-e')
        self.assertEqual(0, self.run_cli(*argv, stdin=io.StringIO('in\n')).code)
        self.assertEqual({'command': ['cat', '-e'], 'environment': {'A': '1'}, 'user': 'me',
                          'secret_environment': {'B': '2'}, 'workdir': '/w', 'stdin': 'in\n'},
                         self.the_request().body)

    def test_standard_input_that_is_no_text(self):
        stdin = io.TextIOWrapper(io.BytesIO(b'\xff'), encoding='utf-8')
        self.assertIn('not text', self.refused('exec', '-i', 'web', 'cat', stdin=stdin))

    def test_detached(self):
        self.service.answer('POST', EXECUTE, stub.action(operation='execution'), 202)
        self.assertEqual(f'{stub.UUID}\n', self.stdout('exec', '-d', 'web', 'make'))
        request = self.the_request()
        self.assertEqual('respond-async', request.headers['prefer'])
        self.assertIn('idempotency-key', request.headers)


class ResultTest(stub.CommandTest):

    def ended(self, status='succeeded', **more):
        self.service.answer('GET', ACTION, stub.action('running'))
        self.service.answer('GET', f'{ACTION}/wait', stub.action(status, **more))

    def test_of_a_command(self):
        self.ended(result={'output': 'made\n', 'exit_code': 3, 'truncated': True})
        result = self.run_cli('action', 'result', stub.UUID)
        self.assertEqual((3, 'made\n'), (result.code, result.out))
        self.assertIn('its end is missing', result.err)

    def test_of_something_else(self):
        self.ended(result={'image': 'i'})
        self.assertEqual({'image': 'i'}, json.loads(self.stdout('action', 'result', stub.UUID)))

    def test_of_what_failed(self):
        self.ended('interrupted', error={'detail': 'Lost.'})
        result = self.run_cli('action', 'result', stub.UUID)
        self.assertEqual((6, ''), (result.code, result.out))
        self.assertIn('Lost.', result.err)

    def test_in_an_explanation(self):
        self.service.answer('GET', ACTION, stub.action(
            'succeeded', result={'output': 'a\n\x1b[1m' + 'b' * 300, 'exit_code': 0}))
        text = self.stdout('action', 'show', stub.UUID)
        self.assertRegex(text, r'result +\| output=a\?\?\[1mb+\.\.\., exit_code=0 ')
