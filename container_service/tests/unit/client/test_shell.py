# SPDX-License-Identifier: Apache-2.0
import base64
import io
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
from unittest import mock

from container_service import operations
from container_service.client import asking
from container_service.client import commands
from container_service.client import derived
from container_service.client import http
from container_service.client import outcomes
from container_service.client import progress
from container_service.client import wait
from container_service.client import words
from container_service.tests.unit.client import stub

ACTION = f'/v1/actions/{stub.UUID}'
WAIT = f'{ACTION}/wait'


class ShellTest(stub.CommandTest):

    def accept(self, path, method='POST', **action):
        self.service.answer(method, path, stub.action(**action), status=202)

    def the_request(self):
        self.assertEqual(1, len(self.service.requests), self.service.requests)
        return self.service.requests[0]


class HelpTest(ShellTest):

    def test_without_arguments(self):
        self.assertEqual(self.stdout('--help'), self.stdout())
        self.assertEqual(self.stdout('help'), self.stdout())

    def test_groups_and_exit_codes(self):
        text = self.stdout()
        for part in ('containers:', 'actions:', 'bays:', '  restart ', '  bay create ',
                     'exit status:', '  5  the action never ran'):
            self.assertIn(part, text)

    def test_every_command_has_help(self):
        for group in commands.COMMANDS.values():
            for name in group:
                text = self.stdout(*name.split(), '--help')
                self.assertIn(f'usage: container-service {name} [options]', text)

    def test_every_operation_has_a_command(self):
        names = {name for group in commands.COMMANDS.values() for name in group}
        for operation in operations.OPERATIONS:
            self.assertIn(words.cli_name(operation), names)

    def test_help_of_a_command(self):
        self.assertIn('--timeout SECONDS', self.stdout('help', 'restart'))

    def test_version(self):
        self.assertRegex(self.stdout('--version'), '^container-service ')

    def test_completion(self):
        self.assertIn('restart', self.stdout('complete'))

    def test_what_is_not_a_command(self):
        for argv, suggestion in ((['action'], 'action list'), (['stpo', 'web'], 'stop'),
                                 (['del', 'web'], 'delete'), (['help', 'lst'], 'list')):
            result = self.run_cli(*argv)
            self.assertEqual((2, ''), (result.code, result.out))
            self.assertIn('is not a command', result.err)
            self.assertIn(f'  {suggestion}\n', result.err)
        self.assertEqual([], self.service.requests)


class UsageTest(ShellTest):

    def test_wrong_usage_is_2_and_asks_nothing(self):
        for argv in (['stop'], ['stop', 'web', '--timeout', '-1'], ['stop', 'web', '--bogus'],
                     ['kill', 'web', '--signal', 'a b'], ['show', ''], ['show', '..'],
                     ['delete', 'a', '..'], ['list', '--limit', '0'], ['list', '--status', 'Gone'],
                     ['create'], ['create', '--env', 'A', 'i'], ['create', '--cpu', 'nan', 'i'],
                     ['create', '--restart', 'on-failure:x', 'i'], ['run', '--pull', 'no', 'i'],
                     ['exec', 'web'], ['exec', '--timeout', '0', 'web', 'ls'], ['--bogus', 'list'],
                     ['bay', 'create', 'b'], ['action', 'list', '--operation', 'fly'],
                     ['stop', 'web', '--poll-timeout', '-1'], ['stop', 'web', '-c', 'id'],
                     ['stop', 'web', '--if-busy', 'wait'],
                     ['stop', 'web', '--dry-run', '-c', 'id'],
                     ['stop', 'web', '--idempotency-key', 'a b'],
                     ['stop', 'a', 'b', '--idempotency-key', 'k'],
                     ['stop', 'web', '--operation-timeout', '0'], ['action', 'cancel'],
                     ['action', 'wait'], ['action', 'wait', '--any', *'a' * 101],
                     ['action', 'list', '--unfinished', '--status', 'failed'],
                     ['action', 'list', '--newest-first', '--oldest-first'],
                     ['stop', 'a', 'b', '-f', 'shell'], ['logs', '--stdout', '--stderr', 'web']):
            with self.subTest(argv=argv):
                result = self.run_cli(*argv)
                self.assertEqual((2, ''), (result.code, result.out))
                self.assertNotEqual('', result.err)
                self.assertNotIn('Unforeseen', result.err)
        self.assertEqual([], self.service.requests)

    def test_an_endpoint_that_is_none(self):
        result = self.run_cli('--endpoint', 'here', 'list')
        self.assertEqual(2, result.code)
        self.assertIn("'here' is not an address like http://127.0.0.1:9517", result.err)

    def test_endpoint_before_and_after_the_command(self):
        self.service.answer('GET', '/v1/containers', {'containers': []})
        for argv in (['--endpoint', self.service.endpoint, 'list'],
                     ['list', '--endpoint', self.service.endpoint]):
            self.assertEqual(0, stub.run('http://127.0.0.1:1', *argv).code)

    def test_debug_shows_traffic_on_stderr(self):
        self.service.answer('GET', '/v1/containers', {'containers': []})
        script = 'import sys; from container_service.client import shell; sys.exit(shell.main())'
        done = subprocess.run(
            [sys.executable, '-c', script, 'list', '-f', 'json', '--debug'],
            env={**os.environ, http.ENDPOINT_VARIABLE: self.service.endpoint},
            capture_output=True, text=True, check=True)
        self.assertEqual([], json.loads(done.stdout))
        self.assertIn('RESP: [200]', done.stderr)

    def test_debug_shows_nothing_secret(self):
        self.service.answer('POST', '/v1/registries', {'registry': {'password': 'hunter2'}})
        self.service.answer('POST', '/v1/containers', status=202, body={
            **stub.container(environment={'KEY': 'hunter2'}), 'action': stub.action()})
        self.service.answer('POST', '/v1/containers/web/execute',
                            {'output': 'hunter2', 'exit_code': 0})
        self.service.answer('POST', '/v1/containers/web/put_archive', stub.action('succeeded'))
        path = os.path.join(self.enterContext(tempfile.TemporaryDirectory()), 'file')
        with open(path, 'w') as f:
            f.write('hunter2')
        encoded = base64.b64encode(b'hunter2').decode()
        script = 'import sys; from container_service.client import shell; sys.exit(shell.main())'
        for given, argv in (
                ('hunter2\n', ('registry', 'create', 'r.example', '--username', 'u',
                               '--password-stdin')),
                ('', ('create', '-e', 'KEY=hunter2', '--mount',
                      f'type=bind,source={path},destination=/x', 'alpine')),
                ('hunter2', ('exec', '-i', '-e', 'KEY=hunter2', 'web', 'cat')),
                ('', ('cp', path, 'web:/x'))):
            with self.subTest(argv=argv):
                done = subprocess.run(
                    [sys.executable, '-c', script, '--debug', *argv], input=given,
                    env={**os.environ, http.ENDPOINT_VARIABLE: self.service.endpoint},
                    capture_output=True, text=True, check=True)
                self.assertIn('REQ: POST', done.stderr)
                self.assertIn('RESP: [', done.stderr)
                self.assertNotIn('hunter2', done.stderr)
                self.assertNotIn(encoded.rstrip('='), done.stderr)
                # A packed archive begins with its name; nothing of it is shown either.
                self.assertNotIn('ZmlsZQAA', done.stderr)


class ErrorTest(ShellTest):

    def test_of_the_api(self):
        self.service.fail('POST', '/v1/containers/web/stop', 409, code='invalid_state',
                          detail='Cannot stop container web in Stopped state.',
                          request_id='req-5', hint='Start it.')
        result = self.run_cli('stop', 'web', '-f', 'json')
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertEqual('Cannot stop container web in Stopped state.\n'
                         'hint: Start it.\nrequest: req-5\n', result.err)

    def test_unreachable(self):
        for argv in (['list'], ['stop', 'a', 'b'], ['run', 'alpine'], ['bay', 'delete', 'a']):
            result = stub.run('http://127.0.0.1:1', *argv)
            self.assertEqual((1, ''), (result.code, result.out))
            self.assertEqual(1, result.err.count('Cannot reach http://127.0.0.1:1'), result.err)

    def test_unforeseen(self):
        self.service.answer('POST', '/v1/containers', {})        # no action in it
        result = self.run_cli('create', 'alpine')
        self.assertEqual((1, ''), (result.code, result.out))
        self.assertIn("Unforeseen error: KeyError('action')", result.err)


class OperationTest(ShellTest):

    def test_returns_at_once_with_the_action(self):
        self.accept('/v1/containers/web/stop')
        text = self.stdout('stop', 'web')
        self.assertIn(stub.UUID, text)
        self.assertNotIn('finished_at', text)
        self.assertEqual({}, self.the_request().body)

    def test_json_has_everything_and_only_json(self):
        self.accept('/v1/containers/web/stop')
        shown = json.loads(self.stdout('stop', 'web', '-f', 'json'))
        self.assertEqual('queued', shown['status'])
        self.assertIsNone(shown['error'])
        self.assertNotIn('links', shown)

    def test_value_in_the_order_that_was_asked_for(self):
        self.accept('/v1/containers/web/stop')
        self.assertEqual(f'queued\n\n{stub.UUID}\n', self.stdout(
            'stop', 'web', '-f', 'value', '-c', 'status', '-c', 'stage', '-c', 'uuid'))

    def test_options_come_from_the_table(self):
        for argv, method, path, query, body in (
                (['stop', 'web', '--timeout', '0'], 'POST', '/web/stop', {}, {'timeout': 0}),
                (['restart', 'web', '--timeout', '9'], 'POST', '/web/reboot', {}, {'timeout': 9}),
                (['kill', 'web', '--signal', 'hup'], 'POST', '/web/kill', {},
                 {'signal': 'SIGHUP'}),
                (['delete', 'web', '--force'], 'DELETE', '/web', {'force': ['true']}, None),
                (['delete', 'web', '--stop'], 'DELETE', '/web', {'stop': ['true']}, None),
                (['delete', 'web'], 'DELETE', '/web', {}, None),
                (['unpause', 'web'], 'POST', '/web/unpause', {}, {})):
            with self.subTest(argv=argv):
                self.service.requests.clear()
                self.accept(f'/v1/containers{path}', method)
                self.stdout(*argv)
                request = self.the_request()
                self.assertEqual((method, query, body),
                                 (request.method, request.query, request.body))

    def test_what_every_asynchronous_command_takes(self):
        given = ('--if-busy', 'reject', '--on-predecessor-failure', 'run')
        sent = {'if_busy': 'reject', 'on_predecessor_failure': 'run'}
        self.service.answer('POST', '/v1/containers', status=202,
                            body=stub.container(action=stub.action()))
        all_commands = {name: command for group in commands.COMMANDS.values()
                        for name, command in group.items()}
        for op in operations.of_kind(operations.ASYNC):
            command = all_commands[words.cli_name(op.name)]
            if not (op.creates or command.__module__ == derived.__name__):
                continue            # of its own kind, and with tests of its own
            with self.subTest(op=op.name):
                self.service.requests.clear()
                in_query = op.creates or op.http_method == 'DELETE'
                if not op.creates:
                    self.accept(op.path.format(container='x'), op.http_method)
                more = {param.wire_name: stub.acceptable(param) for param in op.params
                        if param.required}
                self.stdout(*words.cli_name(op.name).split(), *given, '--operation-timeout', '9',
                            'x', *more.values())
                request = self.the_request()
                told = {name: value[0] for name, value in request.query.items()
                        if name != 'run'} if in_query else request.body
                self.assertEqual({**sent, **more}, told)
                self.assertEqual('9', request.headers['operation-timeout'])
                self.assertRegex(request.headers['idempotency-key'], r'^[0-9a-f-]{36}$')

    def test_keys_are_new_each_time_or_as_told(self):
        self.accept('/v1/containers/web/stop')
        for argv in ((), (), ('--idempotency-key', 'k-1')):
            self.stdout('stop', 'web', *argv)
        first, second, third = (request.headers['idempotency-key']
                                for request in self.service.requests)
        self.assertNotEqual(first, second)
        self.assertEqual('k-1', third)

    def test_a_key_that_was_used_before(self):
        self.service.answer('POST', '/v1/containers/web/stop', stub.action(), 202,
                            {'Idempotency-Replayed': 'true'})
        argv = ('stop', 'web', '--idempotency-key', 'k')
        self.assertIn('accepted before', self.run_cli(*argv, err=stub.Terminal()).err)
        self.assertEqual('', self.run_cli(*argv).err)

    def test_several_are_a_list(self):
        for name in 'abc':
            self.accept(f'/v1/containers/{name}/start', name=name, operation='start')
        shown = json.loads(self.stdout('start', 'a', 'b', 'c', '-f', 'json'))
        self.assertEqual(['a', 'b', 'c'], [action['container_name'] for action in shown])

    def test_one_of_several_is_refused(self):
        self.accept('/v1/containers/a/start', name='a')
        self.service.fail('POST', '/v1/containers/b/start', 404, detail='There is no container b.')
        self.accept('/v1/containers/c/start', name='c')
        result = self.run_cli('start', 'a', 'b', 'c', '-f', 'value', '-c', 'container_name')
        self.assertEqual((1, 'a\nc\n', 'b: There is no container b.\n'),
                         (result.code, result.out, result.err))

    def test_a_service_that_answers_with_the_outcome(self):
        self.accept('/v1/containers/web/stop', status='failed', error={'detail': 'No.'})
        result = self.run_cli('stop', 'web')
        self.assertEqual(1, result.code)
        self.assertIn('stop of web failed: No.', result.err)


class RetryTest(ShellTest):

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(asking, 'LOST_PAUSES', (0.001, 0.001)))
        self.enterContext(mock.patch.object(asking, 'LOST_SECONDS', 5))

    def keys(self, path):
        return [request.headers.get('idempotency-key')
                for request in self.service.asked('POST', path)]

    def test_a_lost_answer(self):
        for argv, path, body in (
                (('stop', 'web'), '/v1/containers/web/stop', stub.action()),
                (('run', 'alpine'), '/v1/containers', stub.container(action=stub.action())),
                (('bay', 'create', 'bay', '--endpoint', 'unix:///x'), '/v1/bays',
                 {'uuid': stub.UUID})):
            with self.subTest(argv=argv):
                self.service.answer('POST', path, stub.LOST)
                self.service.answer('POST', path, body, 202)
                self.stdout(*argv)
                first, second = self.keys(path)
                self.assertEqual(first, second)

    def test_a_terminal_is_told(self):
        self.service.answer('POST', '/v1/containers/web/stop', stub.LOST)
        self.accept('/v1/containers/web/stop')
        result = self.run_cli('stop', 'web', err=stub.Terminal())
        self.assertEqual(0, result.code)
        self.assertRegex(result.err, 'No answer from .* Trying again in 0s')

    def test_an_answer_that_stays_lost_names_the_key(self):
        self.service.answer('POST', '/v1/containers/web/stop', stub.LOST)
        result = self.run_cli('stop', 'web')
        self.assertEqual((1, ''), (result.code, result.out))
        key, = set(self.keys('/v1/containers/web/stop'))
        self.assertIn(f'--idempotency-key {key} does not do it twice', result.err)

    def test_exec_is_never_asked_for_twice(self):
        self.service.answer('POST', '/v1/containers/web/execute', stub.LOST)
        self.assertEqual(1, self.run_cli('exec', 'web', 'ls').code)
        self.assertEqual([None], self.keys('/v1/containers/web/execute'))

    def test_a_full_service_without_poll(self):
        self.service.fail('POST', '/v1/containers/web/stop', 429, {'Retry-After': '7'},
                          detail='Too many.')
        result = self.run_cli('stop', 'web')
        self.assertEqual((1, '', 'Too many.\ntry again in 7 s\n'),
                         (result.code, result.out, result.err))

    def test_a_full_service_with_poll(self):
        for status in (503, 429, 409):
            self.service.fail('POST', '/v1/containers/web/stop', status, {'Retry-After': '0'},
                              detail='Full.')
        self.accept('/v1/containers/web/stop')
        self.service.answer('GET', WAIT, stub.action('succeeded'))
        result = self.run_cli('stop', 'web', '--poll')
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual(1, len(set(self.keys('/v1/containers/web/stop'))))

    def test_a_full_service_for_longer_than_poll_timeout(self):
        self.service.fail('POST', '/v1/containers/web/stop', 429, {'Retry-After': '7'},
                          detail='Too many.')
        result = self.run_cli('stop', 'web', '--poll-timeout', '3')
        self.assertEqual((1, 'Too many.\ntry again in 7 s\n'), (result.code, result.err))


class DryRunTest(ShellTest):

    VERDICT = {'dry_run': True, 'accepted': True, 'operation': 'stop',
               'container_uuid': stub.OTHER_UUID, 'status': 'Running',
               'projected_status': 'Stopped', 'folded_into': None, 'cancels': [],
               'waits_for': [{'uuid': stub.UUID, 'operation': 'start', 'status': 'queued'}]}

    def test_accepted(self):
        self.service.answer('POST', '/v1/containers/web/stop', self.VERDICT)
        self.assertEqual(
            f'stop of web would be accepted; waits for: start {stub.UUID} (queued)\n'
            'container: Running now, Stopped after it\n',
            self.stdout('stop', 'web', '--dry-run', '--poll'))
        self.assertEqual({'dry_run': True}, self.the_request().body)
        self.assertNotIn('idempotency-key', self.the_request().headers)

    def test_create(self):
        self.service.answer('POST', '/v1/containers', {
            **self.VERDICT, 'operation': 'create', 'status': None, 'waits_for': []})
        self.assertIn('create would be accepted\n',
                      self.stdout('create', '--dry-run', 'alpine'))
        self.assertEqual({'dry_run': ['true']}, self.the_request().query)

    def test_data(self):
        self.service.answer('POST', '/v1/containers/web/stop', self.VERDICT)
        argv = ('stop', 'web', '--dry-run')
        self.assertEqual(self.VERDICT, json.loads(self.stdout(*argv, '-f', 'json')))
        self.assertEqual('Stopped\n', self.stdout(*argv, '-f', 'value', '-c',
                                                  'projected_status'))
        self.assertEqual([self.VERDICT] * 2, json.loads(self.stdout(
            'stop', 'web', 'web', '--dry-run', '-f', 'json')))

    def test_refused(self):
        self.service.fail('POST', '/v1/containers/web/stop', 409, detail='It is stopped.',
                          headers={'Retry-After': '1'})
        result = self.run_cli('stop', 'web', '--dry-run', '--poll')
        self.assertEqual((1, '', 'would be refused: It is stopped.\ntry again in 1 s\n'),
                         (result.code, result.out, result.err))


class CtrlCTest(ShellTest):
    """What Ctrl-C does while an action is waited for."""

    def poll(self, *answers, cancellable=True, stdin='', err=None, tty=True):
        """Run ``stop web --poll``; Ctrl-C comes where answers have KeyboardInterrupt."""
        self.service.forget('POST', '/v1/containers/web/stop')
        self.accept('/v1/containers/web/stop', cancellable=cancellable)
        answers, real = list(answers), http.Client.get

        def get(client, path, *args, **kwargs):
            if answers and path.endswith('/wait'):
                answer = answers.pop(0)
                if answer is KeyboardInterrupt:
                    raise answer
                return answer
            return real(client, path, *args, **kwargs)

        stdin = (stub.Terminal if tty else io.StringIO)(stdin)
        with (mock.patch.object(http.Client, 'get', get),
              mock.patch.dict(os.environ, {'TERM': 'dumb'})):
            return self.run_cli('stop', 'web', '--poll', stdin=stdin, err=err or stub.Terminal())

    def cancel(self, status='cancelling'):
        self.service.answer('POST', f'{ACTION}/cancel', stub.action(status), 202)

    def test_no(self):
        for answer in ('\n', 'n\n', '', 'what\n'):
            result = self.poll(KeyboardInterrupt, stdin=answer)
            self.assertEqual((130, ''), (result.code, result.out))
            self.assertIn('Cancel the action (stop of web)? [y/N]', result.err)
            self.assertIn('stop of web goes on', result.err)
            self.assertIn(f'container-service action cancel {stub.UUID}', result.err)
        self.assertEqual([], self.service.asked('POST', f'{ACTION}/cancel'))

    def test_yes(self):
        self.cancel()
        result = self.poll(KeyboardInterrupt, stub.action('cancelled'), stdin='y\n')
        self.assertEqual(3, result.code)
        self.assertIn('| cancelled', result.out)
        self.assertIn('stop of web was cancelled', result.err)

    def test_yes_to_one_that_had_not_begun(self):
        self.cancel('cancelled')
        self.assertEqual(3, self.poll(KeyboardInterrupt, stdin='yes\n').code)

    def test_twice(self):
        self.cancel()
        result = self.poll(KeyboardInterrupt, KeyboardInterrupt, stdin='y\n')
        self.assertEqual(130, result.code)
        self.assertEqual(1, result.err.count('[y/N]'))

    def test_too_late(self):
        self.service.fail('POST', f'{ACTION}/cancel', 409, code='too_late_to_cancel',
                          detail='It has ended already.')
        self.service.answer('GET', ACTION, stub.action('succeeded'))
        result = self.poll(KeyboardInterrupt, stub.action('succeeded'), stdin='y\n')
        self.assertEqual(0, result.code)
        self.assertIn('It has ended already.', result.err)

    def test_nobody_is_asked_who_cannot_answer_or_when_it_cannot_be(self):
        for kwargs in ({'tty': False}, {'cancellable': False}, {'err': io.StringIO()}):
            result = self.poll(KeyboardInterrupt, stdin='y\n', **kwargs)
            self.assertEqual(130, result.code)
            self.assertNotIn('[y/N]', result.err)
            self.assertIn('goes on', result.err)
            self.assertEqual('cancellable' not in kwargs,
                             f'action cancel {stub.UUID}' in result.err)


class PollTest(ShellTest):

    def poll(self, *states, argv=('-f', 'json'), **kwargs):
        """Run ``stop web --poll`` while the action goes through these states."""
        self.accept('/v1/containers/web/stop')
        for state in states:
            self.service.answer('GET', WAIT, state)
        return self.run_cli('stop', 'web', '--poll', *argv, **kwargs)

    def test_success_says_nothing_but_the_action(self):
        result = self.poll(stub.action('running', stage='stopping'), stub.action('succeeded'))
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual('succeeded', json.loads(result.out)['status'])

    def test_what_the_container_said_last(self):
        result = self.poll(stub.action('failed', error={'detail': 'It ended.'}, post_mortem={
            'log': [f'line {number}\x07' for number in range(9)]}))
        self.assertEqual(5, result.err.count('log: line '))
        self.assertIn('log: line 8?\n', result.err)

    def test_the_service_waits(self):
        self.poll(stub.action('succeeded'))
        self.assertEqual({'timeout': ['20']}, self.service.asked('GET', WAIT)[0].query)
        self.service.forget()
        with mock.patch.dict(os.environ, {'TERM': 'xterm'}):
            self.poll(stub.action('succeeded'), err=stub.Terminal())
        self.assertEqual({'timeout': ['1']}, self.service.asked('GET', WAIT)[1].query)

    def test_no_room_to_wait(self):
        self.service.fail('GET', WAIT, 503, code='too_many_waiters', detail='Too many.')
        result = self.poll(stub.action('running'), stub.action('succeeded'))
        self.assertEqual((0, ''), (result.code, result.err))
        self.assertEqual(['20', '0', '0'], [request.query['timeout'][0]
                                            for request in self.service.asked('GET', WAIT)])

    def test_failure_says_why(self):
        result = self.poll(stub.action('failed', error={
            'code': 'engine_error', 'title': 'Refused', 'detail': 'device is busy',
            'stage': 'stopping', 'retriable': False, 'hint': 'Look at the engine.'}))
        self.assertEqual(1, result.code)
        self.assertEqual('failed', json.loads(result.out)['status'])
        self.assertEqual('stop of web failed while stopping: device is busy\n'
                         f'hint: Look at the engine.\naction: {stub.UUID}\n', result.err)

    def test_exit_codes(self):
        for status, code, text in (
                ('cancelled', 3, 'stop of web was cancelled'),
                ('skipped', 5, 'stop of web was skipped: create of web failed'),
                ('interrupted', 6, 'stop of web was interrupted, its outcome is unknown')):
            with self.subTest(status=status):
                error = None
                if status == 'skipped':
                    error = {'code': 'skipped', 'detail': 'create of web failed'}
                self.service.forget()
                result = self.poll(stub.action(status, error=error))
                self.assertEqual(code, result.code)
                self.assertIn(text, result.err)

    def test_timeout_says_that_it_goes_on(self):
        result = self.poll(stub.action('running'),
                           argv=('--poll-timeout', '0', '-f', 'value', '-c', 'status'))
        self.assertEqual((4, 'running\n'), (result.code, result.out))
        self.assertIn('it goes on', result.err)
        self.assertIn(f'container-service action show {stub.UUID}', result.err)

    def test_poll_timeout_implies_poll(self):
        self.accept('/v1/containers/web/stop')
        self.service.answer('GET', WAIT, stub.action('succeeded'))
        self.stdout('stop', 'web', '--poll-timeout', '9')
        self.assertEqual(1, len(self.service.asked('GET', WAIT)))

    def test_a_passing_outage_is_not_seen(self):
        self.service.fail('GET', WAIT, 503, {'Retry-After': '0'}, detail='Busy.')
        result = self.poll(stub.action('succeeded'))
        self.assertEqual((0, ''), (result.code, result.err))

    def test_an_error_while_waiting_names_the_action(self):
        self.service.fail('GET', WAIT, 403, detail='Not yours.')
        result = self.poll()
        self.assertEqual(1, result.code)
        self.assertIn('stop of web: Not yours.', result.err)
        self.assertIn(stub.UUID, result.err)

    def test_interrupting_the_wait_says_that_it_goes_on(self):
        with mock.patch.object(wait, '_answers', side_effect=KeyboardInterrupt):
            result = self.poll()
        self.assertEqual((130, ''), (result.code, result.out))
        self.assertIn('stop of web goes on', result.err)

    def test_the_worst_of_several(self):
        other = '77777777-2222-4333-8444-555555555555'
        self.accept('/v1/containers/a/stop', name='a')
        self.service.answer('POST', '/v1/containers/b/stop', {**stub.action(), 'uuid': other})
        self.service.answer('GET', WAIT, stub.action('skipped', name='a'))
        self.service.answer('GET', f'/v1/actions/{other}/wait', stub.action('failed', name='b'))
        result = self.run_cli('stop', 'a', 'b', '--poll', '-f', 'value', '-c', 'status')
        self.assertEqual((1, 'skipped\nfailed\n'), (result.code, result.out))

    def test_a_terminal_sees_progress_on_stderr_only(self):
        pull = {'image': 'alpine:[3]', 'layers': 4, 'layers_done': 1, 'bytes': 5000000,
                'bytes_total': 10000000}
        with mock.patch.dict(os.environ, {'TERM': 'xterm'}):
            result = self.poll(
                stub.action(waiting={'code': 'x', 'detail': 'waits for a slot'}),
                stub.action('running', operation='create', stage='pulling', progress=pull),
                stub.action('succeeded'), err=stub.Terminal())
        self.assertEqual(0, result.code)
        json.loads(result.out)
        self.assertIn('queued, waits for a slot', result.err)
        self.assertIn('pulling 5.0/10.0 MB, 1/4 layers of alpine:[3]', result.err)
        self.assertIn('━', result.err)

    def test_line_of_progress(self):
        for action, text in (
                (stub.action(), 'stop web: queued'),
                (stub.action('running'), 'stop web: running'),
                (stub.action('running', operation='reboot', stage='stopping'),
                 'restart web: stopping'),
                (stub.action('running', stage='stopping', waiting={
                    'code': 'working', 'detail': 'Conductor h.0 is at it.'}),
                 'stop web: stopping'),
                (stub.action(progress={'image': 'a'}, waiting={
                    'code': 'shared_pull', 'detail': 'Image a is being pulled.'}),
                 'stop web: pulling a'),
                (stub.action('cancelling'), 'stop web: cancelling')):
            self.assertEqual(text, progress.line(action))

    def test_every_final_status_has_an_exit_code(self):
        self.assertEqual({0, 1, 3, 5, 6}, {outcomes.exit_code({'status': status})
                                           for status in wait.FINAL})


class CreateTest(ShellTest):

    def setUp(self):
        super().setUp()
        self.service.answer('POST', '/v1/containers', status=202,
                            body=stub.container(action=stub.action(operation='create')))

    def body(self, *argv):
        self.service.requests.clear()
        self.stdout(*argv)
        return self.service.requests[-1].body

    def test_prints_the_action(self):
        self.assertEqual(f'{stub.UUID}\n{stub.OTHER_UUID}\n', self.stdout(
            'create', '-f', 'value', '-c', 'uuid', '-c', 'container_uuid', 'alpine'))

    def test_only_what_was_asked_for_is_sent(self):
        self.assertEqual({'image': 'alpine'}, self.body('create', 'alpine'))

    def test_all_fields(self):
        self.assertEqual({
            'name': 'web', 'image': 'alpine', 'environment': {'A': '1', 'B': 'x=y'},
            'labels': {'l': ''}, 'workdir': '/w', 'hostname': 'h', 'cpu': 0.5, 'memory': '64m',
            'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': 3}, 'tty': True,
            'interactive': True, 'image_pull_policy': 'ifnotpresent',
            'entrypoint': ['/bin/sh', '-c'], 'bay_uuid': stub.UUID, 'command': ['a b', '--poll'],
        }, self.body(
            'create', '--name', 'web', '--env', 'A=1', '--env', 'B=x=y', '--label', 'l=',
            '--workdir', '/w', '--hostname', 'h', '--cpu', '0.5', '--memory', '64m',
            '--restart', 'on-failure:3', '--tty', '--interactive', '--pull', 'missing',
            '--entrypoint', '/bin/sh -c', '--bay', stub.UUID, 'alpine', 'a b', '--poll'))

    def test_all_after_the_image_belongs_to_the_command(self):
        words_of_it = ['ls', '-h', '--help', '--debug', '--endpoint', '-f', 'json', '--', 'x']
        self.assertEqual(words_of_it, self.body('create', 'alpine', *words_of_it)['command'])
        self.assertEqual(['ls'], self.body('create', 'alpine', '--', 'ls')['command'])

    def test_only_the_image_must_be_given(self):
        self.assertIn('arguments are required: IMAGE\n', self.refused('create'))

    def test_a_bay_by_name(self):
        self.service.answer('GET', '/v1/bays/local', {'uuid': stub.OTHER_UUID})
        self.assertEqual(stub.OTHER_UUID, self.body('run', '--bay', 'local', 'i')['bay_uuid'])

    def test_run_asks_for_both(self):
        self.stdout('run', 'alpine')
        self.assertEqual({'run': ['true']}, self.the_request().query)

    def test_a_failed_pull(self):
        self.service.answer('GET', WAIT, stub.action(
            'failed', operation='create', error={'detail': 'manifest unknown', 'stage': 'pulling',
                                                 'hint': 'Check the name.'}))
        result = self.run_cli('create', '--poll', 'nope')
        self.assertEqual(1, result.code)
        self.assertIn('create of web failed while pulling: manifest unknown\n'
                      'hint: Check the name.\n', result.err)


class ListTest(ShellTest):

    def containers(self, *names, following=None):
        self.service.answer('GET', '/v1/containers', {
            'containers': [stub.container(name) for name in names], 'next': following})

    def test_table_fits_a_terminal(self):
        self.containers('web')
        lines = self.stdout('list').splitlines()
        self.assertLess(len(lines[0]), 80)
        self.assertIn('web', lines[3])
        self.assertNotIn('None', lines[3])

    def test_all_pages(self):
        self.containers('a', 'b', following='/v1/containers?marker=b')
        self.containers('c')
        self.assertEqual('a\nb\nc\n', self.stdout('list', '-f', 'value', '-c', 'name'))

    def test_limit(self):
        self.containers('a', 'b', following='/v1/containers?marker=b&limit=2')
        self.assertEqual('a\nb\n',
                         self.stdout('list', '--limit', '2', '-f', 'value', '-c', 'name'))
        self.assertEqual({'limit': ['2']}, self.the_request().query)

    def test_filters(self):
        self.containers()
        self.stdout('list', '--name', 'n', '--status', 'running', '--image', 'i', '--label', 'a',
                    '--label', 'b=c', '--marker', 'm')
        self.assertEqual({'name': ['n'], 'status': ['Running'], 'image': ['i'],
                          'label': ['a', 'b=c'], 'marker': ['m']}, self.the_request().query)

    def test_an_empty_filter_is_not_forgotten(self):
        self.containers()
        self.stdout('list', '--name', '')
        self.assertEqual({'name': ['']}, self.the_request().query)

    def test_empty(self):
        self.containers()
        self.assertEqual('', self.stdout('list'))
        self.assertEqual([], json.loads(self.stdout('list', '-f', 'json')))

    def test_a_terminal_is_told_of_more_and_of_none(self):
        self.containers('a', following='/v1/containers?marker=a')
        result = self.run_cli('list', '--limit', '1', err=stub.Terminal())
        self.assertIn(f'--marker {stub.OTHER_UUID}', result.err)
        self.service.forget()
        self.containers()
        self.assertEqual('No containers.\n', self.run_cli('list', err=stub.Terminal()).err)

    def test_sorted(self):
        self.containers('b', 'c', 'a')
        argv = ('list', '-f', 'value', '-c', 'name', '--sort-column', 'name')
        self.assertEqual('a\nb\nc\n', self.stdout(*argv))
        self.assertEqual('c\nb\na\n', self.stdout(*argv, '--sort-descending'))

    def test_long_has_the_uuid(self):
        self.containers('web')
        self.assertIn(stub.OTHER_UUID, self.stdout('list', '--long'))

    def test_actions(self):
        self.service.answer('GET', '/v1/actions', {'actions': [stub.action(operation='reboot')]})
        self.assertIn(' restart ', self.stdout(
            'action', 'list', '--container', 'web', '--operation', 'restart', '--status',
            'queued'))
        self.assertEqual({'container': ['web'], 'operation': ['reboot'], 'status': ['queued'],
                          'sort_dir': ['desc']}, self.the_request().query)

    def test_order_of_actions(self):
        self.service.answer('GET', '/v1/actions', {'actions': []})
        for argv, order in (((), 'desc'), (('--oldest-first',), 'asc'), (('--unfinished',), 'asc'),
                            (('--unfinished', '--newest-first'), 'desc')):
            self.stdout('action', 'list', *argv)
            self.assertEqual([order], self.service.requests[-1].query['sort_dir'])
        self.assertEqual(['unfinished'], self.service.requests[-1].query['status'])

    def test_departures_board(self):
        self.service.answer('GET', '/v1/actions', {'actions': [
            stub.action('running', stage='stopping', conductor='h.0',
                        waiting={'code': 'working', 'detail': 'Long words.', 'retry_at': None}),
            stub.action(operation='start', position=1,
                        waiting={'code': 'queued_behind', 'detail': 'X.', 'retry_at': None})]})
        board = ('action', 'list', '--unfinished')
        lines = self.stdout(*board).splitlines()
        self.assertRegex(lines[1], 'operation .* container_name .* status .* why .* age .* cond')
        self.assertRegex(lines[3], r'stop +\| web +\| running +\| stopping +\| .* h\.0 ')
        self.assertRegex(lines[4], r'start +\| web +\| queued +\| 1 before it')
        self.assertNotIn(stub.UUID, lines[3])
        self.assertIn(stub.UUID, self.stdout(*board, '--long'))
        self.assertEqual('stopping\n1 before it\n',
                         self.stdout(*board, '-f', 'value', '-c', 'why'))
        first = json.loads(self.stdout(*board, '-f', 'json'))[0]
        self.assertNotIn('why', first)
        self.assertEqual('working', first['waiting']['code'])

    def test_a_whole_process_is_quick(self):
        self.containers('web')
        argv = [sys.executable, '-m', 'container_service.client.shell', 'list']
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, env={
            **os.environ, http.ENDPOINT_VARIABLE: self.service.endpoint})
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        # The promise is half a second.  Counted is what it computes, which is nearly all of it,
        # and the same on a busy machine.
        self.assertLess(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, 1)

    def test_costly_modules_are_not_imported(self):
        script = ('import sys; from container_service.client import shell; '
                  'shell.main(["list"]); '
                  'print([m for m in ("rich", "cmd2", "keystoneauth1.identity", "yaml", "pecan", '
                  '"sqlalchemy", "oslo_config") if m in sys.modules])')
        self.containers()
        done = subprocess.run([sys.executable, '-c', script], text=True, capture_output=True,
                              check=True, env={**os.environ,
                                               http.ENDPOINT_VARIABLE: self.service.endpoint})
        self.assertEqual('[]\n', done.stdout)


class ShowTest(ShellTest):

    def test_container(self):
        self.service.answer('GET', '/v1/containers/web', stub.container(host='h1'))
        text = self.stdout('show', 'web')
        self.assertIn('2026-11-20 05:25:59', text)
        self.assertIn('sleep 600', text)
        shown = json.loads(self.stdout('show', 'web', '-f', 'json'))
        self.assertEqual(['sleep', '600'], shown['command'])
        self.assertEqual('h1', shown['host'])
        self.assertEqual('h1\n', self.stdout('show', 'web', '-f', 'value', '-c', 'host'))

    def test_a_column_that_is_not_there(self):
        self.service.answer('GET', '/v1/containers/web', stub.container())
        result = self.run_cli('show', 'web', '-c', 'id')
        self.assertEqual((2, ''), (result.code, result.out))
        self.assertIn('No such column: id. There are: uuid, name,', result.err)

    def test_action_is_readable(self):
        self.service.answer('GET', ACTION, stub.action(
            'failed', error={'code': 'x', 'detail': 'manifest unknown', 'hint': 'Check it.'},
            progress={'image': 'a', 'layers': 2, 'layers_done': 1}))
        text = self.stdout('action', 'show', stub.UUID)
        self.assertRegex(text, r'error +\| manifest unknown ')
        self.assertRegex(text, r'hint +\| Check it\.')
        self.assertRegex(text, r'progress +\| a: 1/2 layers')
        self.assertNotIn('finished_at', text)

    def test_action_as_json_is_what_the_api_says(self):
        action = stub.action('failed', error={'detail': 'No.', 'hint': 'Yes.'},
                             request_ids=['req-1', 'req-2'])
        self.service.answer('GET', ACTION, action)
        del action['links']
        self.assertEqual(action, json.loads(self.stdout('action', 'show', stub.UUID,
                                                        '-f', 'json')))


    def test_a_column_of_an_action_is_data(self):
        self.service.answer('GET', ACTION, stub.action(waiting={'code': 'waking'}))
        self.assertEqual('{"code": "waking"}\n', self.stdout(
            'action', 'show', stub.UUID, '-f', 'value', '-c', 'waiting'))

    def test_an_explanation_on_a_terminal_breaks_between_words(self):
        self.service.answer('GET', ACTION, stub.action(waiting={
            'code': 'x', 'detail': f'Queued behind action {stub.OTHER_UUID} (start).'}))
        out = stub.Terminal()
        narrow = os.terminal_size((60, 9))
        with mock.patch.object(shutil, 'get_terminal_size', return_value=narrow):
            self.run_cli('action', 'show', stub.UUID, out=out)
        self.assertIn('| Queued behind action  ', out.getvalue())
        self.assertIn(f'| {stub.OTHER_UUID} ', out.getvalue())


class CancelTest(ShellTest):

    CANCEL = f'{ACTION}/cancel'

    def test_returns_at_once(self):
        self.service.answer('POST', self.CANCEL, stub.action('cancelling'), 202)
        self.assertIn('| cancelling ', self.stdout('action', 'cancel', stub.UUID))

    def test_cancelled_is_what_was_asked_for(self):
        self.service.answer('POST', self.CANCEL, stub.action('cancelling'), 202)
        self.service.answer('GET', WAIT, stub.action('cancelled', error={'detail': 'Undone.'}))
        self.assertIn('| cancelled ', self.stdout('action', 'cancel', '--poll', stub.UUID))

    def test_cancelled_already(self):
        self.service.fail('POST', self.CANCEL, 409, code='too_late_to_cancel', detail='Ended.')
        self.service.answer('GET', ACTION, stub.action('cancelled'))
        self.stdout('action', 'cancel', stub.UUID)

    def test_too_late(self):
        self.service.fail('POST', self.CANCEL, 409, code='too_late_to_cancel', detail='Ended.')
        self.service.answer('GET', ACTION, stub.action('succeeded'))
        result = self.run_cli('action', 'cancel', stub.UUID)
        self.assertEqual((1, '', 'Ended.\n'), (result.code, result.out, result.err))

    def test_ended_otherwise_first(self):
        for status, text in (('succeeded', 'was not cancelled: it succeeded first'),
                             ('failed', 'was not cancelled\nstop of web failed: No.')):
            self.service.forget()
            self.service.answer('POST', self.CANCEL, stub.action('cancelling'), 202)
            self.service.answer('GET', WAIT, stub.action(status, error={'detail': 'No.'}))
            result = self.run_cli('action', 'cancel', '--poll', stub.UUID)
            self.assertEqual(1, result.code)
            self.assertIn(text, result.err)

    def test_several(self):
        self.service.answer('POST', self.CANCEL, stub.action('cancelled'), 202)
        self.service.fail('POST', '/v1/actions/x/cancel', 404, detail='There is no action x.')
        result = self.run_cli('action', 'cancel', 'x', stub.UUID, '-f', 'value', '-c', 'status')
        self.assertEqual((1, 'cancelled\n', 'x: There is no action x.\n'),
                         (result.code, result.out, result.err))

    def test_a_lost_answer(self):
        self.service.answer('POST', self.CANCEL, stub.LOST)
        self.service.answer('POST', self.CANCEL, stub.action('cancelled'), 202)
        with mock.patch.object(asking, 'LOST_PAUSES', (0.001,)):
            self.stdout('action', 'cancel', stub.UUID)


class WaitTest(ShellTest):

    PATH = '/v1/actions/wait'

    def answer(self, *statuses):
        self.service.answer('GET', self.PATH, {'actions': [
            {**stub.action(status), 'uuid': uuid} for uuid, status in zip('abc', statuses)]})

    def test_one(self):
        self.answer('running')
        self.answer('succeeded')
        self.assertIn('| succeeded ', self.stdout('action', 'wait', 'a'))
        self.assertEqual({'action': ['a'], 'for': ['all'], 'timeout': ['20']},
                         self.service.requests[0].query)

    def test_all_end_with_the_worst(self):
        self.answer('succeeded', 'skipped', 'cancelled')
        result = self.run_cli('action', 'wait', *'abc', '-f', 'value', '-c', 'status')
        self.assertEqual((3, 'succeeded\nskipped\ncancelled\n'), (result.code, result.out))

    def test_any_shows_what_has_ended(self):
        self.answer('running', 'succeeded')
        self.assertEqual('b\n', self.stdout('action', 'wait', '--any', 'a', 'b', '-f', 'value',
                                            '-c', 'uuid'))

    def test_time_is_up(self):
        self.answer('running', 'succeeded')
        result = self.run_cli('action', 'wait', 'a', 'b', '--poll-timeout', '0', '-f', 'value',
                              '-c', 'status')
        self.assertEqual((4, 'running\nsucceeded\n'), (result.code, result.out))
        self.assertEqual(1, result.err.count('it goes on'))

    def test_an_unknown_one(self):
        self.service.fail('GET', self.PATH, 404, detail='There is no action a.')
        result = self.run_cli('action', 'wait', 'a')
        self.assertEqual((1, 'There is no action a.\n'), (result.code, result.err))

    def test_nobody_there(self):
        result = stub.run('http://127.0.0.1:1', 'action', 'wait', 'a', '--poll-timeout', '0')
        self.assertEqual(1, result.code)
        self.assertIn('Cannot reach', result.err)

    def test_ctrl_c_offers_nothing(self):
        self.answer('running', 'succeeded')
        with mock.patch.object(wait, '_answers', side_effect=KeyboardInterrupt):
            result = self.run_cli('action', 'wait', 'a', 'b')
        self.assertEqual((130, ''), (result.code, result.out))


class ServiceTest(ShellTest):

    def test_limits(self):
        limits = {'unfinished_actions': {'limit': 1000, 'used': 3},
                  'unfinished_actions_per_container': {'limit': 16},
                  'drain_rate_per_second': 1.5}
        self.service.answer('GET', '/v1/limits', {'limits': limits})
        self.assertRegex(self.stdout('limits'), r'unfinished_actions +\| 3 of 1000 ')
        self.assertEqual(limits, json.loads(self.stdout('limits', '-f', 'json')))


class BayTest(ShellTest):

    def test_create(self):
        self.service.answer('POST', '/v1/bays', {'uuid': stub.UUID, 'name': 'b'}, status=201)
        ca, cert, key = (self.file(text) for text in ('ca', 'cert', 'key'))
        self.stdout('bay', 'create', 'b', '--endpoint', 'tcp://h:2376', '--ca-cert', ca,
                    '--client-cert', cert, '--client-key', key, '--host', 'x', '--host', 'y',
                    '--public', '--label', 'availability_zone=east', '--label', 'a=')
        self.assertEqual({
            'name': 'b', 'driver': 'docker', 'endpoint': 'tcp://h:2376', 'ca_cert': 'ca',
            'client_cert': 'cert', 'client_key': 'key', 'hosts': ['x', 'y'], 'public': True,
            'labels': {'availability_zone': 'east', 'a': ''}},
            self.the_request().body)

    def test_create_shared(self):
        self.service.answer('POST', '/v1/bays', {'uuid': stub.UUID, 'name': 'b'}, status=201)
        self.stdout('bay', 'create', 'b', '--endpoint', 'fake://x', '--share', 'p1',
                    '--share', 'p2')
        self.assertEqual(['p1', 'p2'], self.the_request().body['shared_with'])

    def test_update(self):
        self.service.answer('PATCH', '/v1/bays/b', {'uuid': stub.UUID, 'name': 'c'})
        for options, body in (
                (('--name', 'c', '--share', 'p1', '--label', 'a=b', '--host', 'h', '--public'),
                 {'name': 'c', 'shared_with': ['p1'], 'labels': {'a': 'b'}, 'hosts': ['h'],
                  'public': True}),
                (('--no-share', '--no-label', '--no-host', '--no-public'),
                 {'shared_with': [], 'labels': {}, 'hosts': [], 'public': False})):
            self.assertRegex(self.stdout('bay', 'update', 'b', *options), r'\| name +\| c ')
            self.assertEqual(body, self.service.requests.pop().body)
        self.stdout('bay', 'update', '--all-projects', 'b', '--public')
        self.assertEqual(['true'], self.the_request().query['all_projects'])

    def test_show(self):
        self.service.answer('GET', '/v1/bays/b', {'uuid': stub.UUID, 'name': 'b'})
        for options, query in (((), {}), (('--all-projects',), {'all_projects': ['true']})):
            self.assertRegex(self.stdout('bay', 'show', 'b', *options), r'\| name +\| b ')
            self.assertEqual(query, self.service.requests.pop().query)

    def test_update_of_nothing(self):
        self.assertIn('Say what to change', self.run_cli('bay', 'update', 'b').err)
        self.assertEqual([], self.service.requests)

    def file(self, text):
        path = os.path.join(tempfile.mkdtemp(), 'file')
        self.addCleanup(shutil.rmtree, os.path.dirname(path))
        with open(path, 'w') as file:
            file.write(text)
        return path

    def test_new_certificates(self):
        self.service.answer('PATCH', '/v1/bays/b', {'uuid': stub.UUID, 'name': 'b'})
        self.stdout('bay', 'update', 'b', '--client-cert', self.file('cert'), '--client-key',
                    self.file('key'))
        self.assertEqual({'client_cert': 'cert', 'client_key': 'key'}, self.the_request().body)

    def test_a_file_that_cannot_be_read(self):
        result = self.run_cli('bay', 'update', 'b', '--client-key', '/nowhere/key.pem')
        self.assertEqual(2, result.code)
        self.assertIn('cannot be read: no such file', result.err)

    def test_list_by_label(self):
        self.service.answer('GET', '/v1/bays', {'bays': []})
        self.stdout('bay', 'list', '--label', 'a=b', '--label', 'c')
        self.assertEqual(['a=b', 'c'], self.the_request().query['label'])

    def test_list_and_show(self):
        bay = {'uuid': stub.UUID, 'name': 'b', 'hosts': ['x', 'y'], 'links': []}
        self.service.answer('GET', '/v1/bays', {'bays': [bay]})
        self.service.answer('GET', '/v1/bays/b', bay)
        self.assertIn('| b ', self.stdout('bay', 'list'))
        self.assertIn('| x, y ', self.stdout('bay', 'show', 'b'))

    def test_delete_several(self):
        self.service.answer('DELETE', '/v1/bays/a', status=204)
        self.service.fail('DELETE', '/v1/bays/b', 409, detail='Bay b still has 1 containers.')
        self.service.answer('DELETE', '/v1/bays/c', status=204)
        result = self.run_cli('bay', 'delete', 'a', 'b', 'c')
        self.assertEqual((1, '', 'b: Bay b still has 1 containers.\n'),
                         (result.code, result.out, result.err))
        self.assertEqual(3, len(self.service.requests))
