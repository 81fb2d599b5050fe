# SPDX-License-Identifier: Apache-2.0
"""Operations whose answer is the content, in the shapes of every version."""

import base64
import time
import urllib.parse

from container_service import operations
from container_service import states
from container_service.db import containers
from container_service.tests.unit.api import base

ADDRESS = {'addr': '10.0.0.2', 'version': 4, 'port': None, 'subnet_id': None,
           'preserve_on_delete': False}


class BlockingCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.begin()
        self.make('c1', status='Running')
        self.uuid = self.get('/v1/containers/c1').json['uuid']

    def begin(self):
        """What must be there before the first request."""

    def put(self, **values):
        """Change what is recorded of the container."""
        self.change(containers.table, self.uuid, **values)


class TestRecorded(BlockingCase):
    """What is answered from the record: no conductor is there."""

    def test_networks_in_the_shapes_of_all_versions(self):
        self.put(addresses={'web': [ADDRESS, {**ADDRESS, 'addr': 'fe80::2', 'version': 6}],
                            'idle': []})
        path = '/v1/containers/c1/network_list'
        for version in (None, '1.12'):
            self.assert_refused(404, 'not_found', self.get(path, version=version))
        fixed = [{'ip_address': '10.0.0.2', 'version': 4, 'subnet_id': None},
                 {'ip_address': 'fe80::2', 'version': 6, 'subnet_id': None}]
        web = {'net_id': 'web', 'port_id': None}
        for version in ('1.13', '1.17'):
            self.assertEqual({'networks': [{**web, **each} for each in fixed]},
                             self.get(path, version=version).json)
        for version in ('1.18', '1.40'):
            self.assertEqual(
                {'networks': [{'net_id': 'idle', 'port_id': None, 'fixed_ips': []},
                              {**web, 'fixed_ips': fixed}]},
                self.get(path, version=version).json)
        self.assertEqual(
            {'networks': [
                {'network': 'idle', 'addresses': []},
                {'network': 'web', 'addresses': [{'address': '10.0.0.2', 'version': 4},
                                                 {'address': 'fe80::2', 'version': 6}]}]},
            self.get(path, version='latest').json)

    def wait(self, query='', **values):
        return self.get(f'/v1/containers/c1/wait{query}', version='latest', **values)

    def test_one_that_does_not_run_is_not_waited_for(self):
        for status in ('Created', 'Stopped', 'Error', 'Dead'):
            self.put(status=status, exit_code=3)
            answer = self.wait('?timeout=300')
            self.assertEqual((200, status, 3), (answer.status_int, answer.json['status'],
                                                answer.json['exit_code']))

    def test_it_is_waited_for_until_the_time_is_up(self):
        for status, task_state in (('Running', None), ('Paused', None), ('Restarting', None),
                                   ('Unknown', None), ('Creating', 'run-in-progress'),
                                   ('Stopped', 'start-in-progress')):
            self.put(status=status, task_state=task_state)
            began = time.monotonic()
            answer = self.wait('?timeout=1')
            self.assertEqual((200, status), (answer.status_int, answer.json['status']))
            self.assertGreaterEqual(time.monotonic() - began, 1)
            self.assertEqual(200, self.wait('?timeout=0').status_int)

    def test_its_end_ends_the_wait(self):
        for status in ('Stopped', 'Deleted'):
            self.put(status='Running')
            waiting = self.in_background(self.wait)
            self.put(status=status, exit_code=7)
            self.assertEqual((status, 7), (waiting().json['status'],
                                           self.container(self.uuid).exit_code))

    def test_waits_are_bounded(self):
        for query in ('?timeout=-1', '?timeout=301', '?timeout=x', '?timeout=1.5'):
            detail = self.assert_refused(400, 'invalid_parameter', self.wait(query))
            self.assertIn('timeout', detail)
        self.assert_refused(404, 'container_not_found', self.wait(project='other',
                                                                  persona=base.MEMBER))
        self.assert_refused(404, 'not_found', self.get('/v1/containers/c1/wait', version='1.40'))
        self.patch(self.parts.waiting, '_slots', _NoSlots())
        self.assert_refused(503, 'too_many_waiters', self.wait())


class _NoSlots:

    def take(self, project_id):
        return False


class TestAsked(BlockingCase):
    """What a conductor is asked for; a driver's answers are given by hand."""

    def begin(self):
        self.asked, self.answers = [], {}
        self.start_conductor(self.ask)

    def ask(self, operation, params):
        self.asked.append((operation, params))
        return {'result': self.answers[operation]}

    def shown(self, method, path, versions, **values):
        """The answer, which is the same at these versions."""
        found = [self.call(method, f'/v1/containers/c1/{path}', version=version, **values)
                 for version in versions]
        self.assertEqual({200}, {answer.status_int for answer in found}, found)
        self.assertEqual([found[0].json] * len(found), [answer.json for answer in found])
        return found[0].json

    def test_top(self):
        self.answers['top'] = {'titles': ['PID'], 'processes': [['1']]}
        self.assertEqual({'Titles': ['PID'], 'Processes': [['1']]},
                         self.shown('GET', 'top?ps_args=None', (None, '1.1', '1.20', '1.40')))
        self.assertEqual(self.answers['top'], self.shown('GET', 'top', ('1.41', 'latest')))
        self.shown('GET', 'top?ps_args=-o+pid,comm+--sort%3D-%25cpu', ('1.40',))
        self.assertEqual([{'ps_args': None}] * 6 + [{'ps_args': '-o pid,comm --sort=-%cpu'}],
                         [params for _, params in self.asked])

    def test_stats(self):
        self.answers['stats'] = {
            'read_at': '2026-01-01T00:00:00Z', 'cpu_percent': 12.5, 'cpus': 2,
            'memory_bytes': 3 * 2 ** 19, 'memory_limit_bytes': 2 ** 26, 'memory_percent': 2.34,
            'block_read_bytes': 1, 'block_written_bytes': 2, 'network_received_bytes': 3,
            'network_sent_bytes': 4, 'processes': 5}
        self.assertEqual(
            {'CONTAINER': 'c1', 'CPU %': 12.5, 'MEM USAGE(MiB)': 1.5, 'MEM LIMIT(MiB)': 64.0,
             'MEM %': 2.34, 'BLOCK I/O(B)': '1/2', 'NET I/O(B)': '3/4'},
            self.shown('GET', 'stats', (None, '1.1', '1.20', '1.40')))
        self.assertEqual(self.answers['stats'], self.shown('GET', 'stats', ('1.41', 'latest')))
        self.answers['stats'].update(cpu_percent=None, memory_percent=None)
        older = self.shown('GET', 'stats', ('1.40',))
        self.assertEqual((0, 0), (older['CPU %'], older['MEM %']))

    def test_get_archive(self):
        stat = {'name': 'f', 'size': 3, 'mode': 420, 'mtime': 'x', 'linkTarget': ''}
        for data, text in ((b'tar\xc3\xa4', 'tar\u00e4'), (b'\0', '\0')):
            given = {'data': base64.b64encode(data).decode(), 'stat': stat}
            self.answers['get_archive'] = given
            self.assertEqual(given, self.shown('GET', 'get_archive?path=/f',
                                               ('1.25', '1.40', 'latest')))
            self.assertEqual({'data': text, 'stat': stat},
                             self.shown('GET', 'get_archive?path=/f', (None, '1.24')))
        self.answers['get_archive'] = {'data': base64.b64encode(b'\xff').decode(), 'stat': stat}
        detail = self.assert_refused(400, 'invalid_parameter', self.get(
            '/v1/containers/c1/get_archive?path=/f', version='1.24'))
        self.assertIn('1.25', detail)

    def test_terminals(self):
        exec_id = 'a1' * 32
        self.answers = {'resize': {'w': 3, 'h': 4}, 'execute_resize': {'w': 3, 'h': 4}}
        for method in ('POST', 'PUT'):
            for path in ('resize?w=3&h=4', f'execute_resize?exec_id={exec_id}&w=3&h=4'):
                self.assertIsNone(self.shown(method, path, (None, '1.1', '1.40')))
                self.assertEqual({'w': 3, 'h': 4}, self.shown(method, path, ('latest',)))
        self.assertEqual({'exec_id': exec_id, 'w': 3, 'h': 4}, self.asked[-1][1])

    def test_inspect_is_ours(self):
        self.answers['inspect'] = {'Id': 'x'}
        self.assertEqual({'Id': 'x'}, self.shown('GET', 'inspect', ('1.41', 'latest')))
        self.assert_refused(404, 'not_found', self.get('/v1/containers/c1/inspect',
                                                       version='1.40'))

    def test_execute_with_all_that_it_takes(self):
        self.answers['execute'] = {'output': '', 'exit_code': 0, 'exec_id': 'e',
                                   'truncated': False}
        self.shown('POST', 'execute', ('1.1', '1.40'), body={
            'command': ['env'], 'environment': {'A': 'b\nc', 'E': ''}, 'user': 'app:staff',
            'workdir': '/srv', 'stdin': 'one\ntwo\0', 'timeout': 7})
        self.shown('POST', 'execute?command=env&user=1&workdir=/&timeout=7', ('latest',))
        self.assertEqual(
            {'command': ['env'], 'environment': {'A': 'b\nc', 'E': ''}, 'user': 'app:staff',
             'workdir': '/srv', 'stdin': 'one\ntwo\0', 'timeout_seconds': 7, 'run': True,
             'interactive': False, 'secret_environment': None}, self.asked[0][1])
        self.assertEqual(('1', '/', None), tuple(
            self.asked[-1][1][name] for name in ('user', 'workdir', 'stdin')))

    def test_bad_input_names_the_field_and_asks_nobody(self):
        good = 'a' * 64
        for method, path, names in (
                ('GET', 'top', {'ps_args': ('', 'x' * 256, '-o;ls', '$(ls)', '-o\npid', 'ä')}),
                ('GET', 'get_archive', {'path': ('', 'x' * 4097, 'a\0b', 'a\nb')}),
                ('POST', 'resize?h=1', {'w': ('', '0', '-1', '65536', '1.5', 'x')}),
                ('POST', 'resize?w=1', {'h': ('0', '99999999999999999999')}),
                ('POST', f'execute_resize?exec_id={good}&w=1', {'h': ('0', '')}),
                ('POST', 'execute_resize?h=1&w=1',
                 {'exec_id': ('', 'a' * 63, 'a' * 65, 'A' * 64, 'g' * 64, '../' * 21 + 'a')}),
                ('POST', 'execute?command=ls',
                 {'user': ('', ':', 'a b', 'x' * 65, '-u'), 'workdir': ('', 'tmp', 'x' * 4097)})):
            for name, values in names.items():
                for value in values:
                    mark = '&' if '?' in path else '?'
                    answer = self.call(method, f'/v1/containers/c1/{path}{mark}'
                                       f'{name}={urllib.parse.quote(value)}')
                    self.assertIn(name, self.assert_refused(400, 'invalid_parameter', answer))
        for body in ({'environment': 'A'}, {'environment': [1]}, {'environment': {'A=': 'b'}},
                     {'environment': {'': 'b'}}, {'environment': {'A': 1}},
                     {'environment': {'A': 'b\0'}}, {'environment': {'A': 'x' * 32769}},
                     {'environment': {str(n): '' for n in range(257)}}, {'stdin': 3},
                     {'stdin': ['a']}):
            answer = self.post('/v1/containers/c1/execute', {'command': 'ls', **body},
                               version='latest')
            self.assertIn(list(body)[0], self.assert_refused(400, 'invalid_parameter', answer))
        for query in ('environment=A', 'stdin=x'):
            self.assert_refused(400, 'unknown_parameter', self.post(
                f'/v1/containers/c1/execute?command=ls&{query}', version='latest'))
        for path in ('get_archive', 'resize', 'resize?w=1', 'execute_resize?w=1&h=1'):
            method = 'GET' if path == 'get_archive' else 'POST'
            self.assert_refused(400, 'invalid_parameter',
                                self.call(method, f'/v1/containers/c1/{path}'))
        self.assertEqual([], self.asked)

    def test_wrong_status_asks_nobody(self):
        for op in operations.of_kind(operations.BLOCKING):
            for status in states.CONTAINER_STATUSES - op.allowed - {states.DELETED}:
                self.put(status=status)
                given = {param.wire_name: 'a' * 64 if param.name == 'exec_id' else '1'
                         for param in op.params if param.required}
                answer = self.call(
                    op.http_method,
                    f'/v1/containers/c1/{op.name}?{urllib.parse.urlencode(given)}',
                    version='latest')
                self.assert_refused(409, 'invalid_state', answer)
        self.assertEqual([], self.asked)
