# SPDX-License-Identifier: Apache-2.0
import json

from container_service.tests.unit.client import stub

WEB = '/v1/containers/web'
STATS = {'cpu_percent': 1.5, 'memory_bytes': 3 * 2**20, 'memory_limit_bytes': 2**30,
         'memory_percent': 0.29, 'network_received_bytes': 1500, 'network_sent_bytes': 0,
         'block_read_bytes': 10**7, 'block_written_bytes': 5, 'processes': 2}


class StatsTest(stub.CommandTest):

    def test_of_one(self):
        self.service.answer('GET', f'{WEB}/stats', STATS)
        text = self.stdout('stats', 'web')
        self.assertRegex(text, r'name .* cpu .* memory .* memory_percent .* network .* disk ')
        self.assertRegex(text, r'web +\| 1\.50% +\| 3\.0 MiB / 1\.0 GiB +\| 0\.29% +\| '
                               r'1\.5 kB / 0 B +\| 10\.0 MB / 5 B +\| 2 +\|')
        self.assertEqual([{'name': 'web', **STATS}],
                         json.loads(self.stdout('stats', 'web', '-f', 'json')))

    def test_of_all_that_run(self):
        self.service.answer('GET', '/v1/containers', {'containers': [
            stub.container(name) for name in ('web', 'db')]})
        self.service.answer('GET', f'{WEB}/stats', {**STATS, 'cpu_percent': None})
        self.service.fail('GET', '/v1/containers/db/stats', 409, detail='It is stopped.')
        result = self.run_cli('stats')
        self.assertEqual((1, 'db: It is stopped.\n'), (result.code, result.err))
        self.assertRegex(result.out, r'web +\|  +\| 3\.0 MiB')
        self.assertEqual({'status': ['Running']}, self.service.requests[0].query)


class TopTest(stub.CommandTest):

    def test_processes(self):
        self.service.answer('GET', f'{WEB}/top', {
            'titles': ['PID', 'CMD'], 'processes': [['7', 'sh'], ['9', 'sleep 5']]})
        self.assertRegex(self.stdout('top', 'web'), r'pid \| cmd +\|')
        self.assertEqual({}, self.service.requests[-1].query)
        self.assertEqual('7 sh\n9 sleep 5\n', self.stdout('top', 'web', '-o pid,cmd', '-f',
                                                          'value').replace('"', ''))
        self.assertEqual({'ps_args': ['-o pid,cmd']}, self.service.requests[-1].query)


class DiffTest(stub.CommandTest):

    def test_as_docker_shows_it(self):
        changes = [{'kind': 'changed', 'path': '/etc'}, {'kind': 'added', 'path': '/etc/a\x1b'},
                   {'kind': 'deleted', 'path': '/tmp/x y'}]
        self.service.answer('GET', f'{WEB}/diff', {'changes': changes})
        self.assertEqual('C /etc\nA /etc/a?\nD /tmp/x y\n', self.stdout('diff', 'web'))
        self.assertEqual(changes, json.loads(self.stdout('diff', 'web', '-f', 'json')))


class InspectTest(stub.CommandTest):

    def test_always_a_list(self):
        self.service.answer('GET', f'{WEB}/inspect', {'Id': 'abc'})
        self.assertEqual([{'Id': 'abc'}], json.loads(self.stdout('inspect', 'web')))
        self.service.fail('GET', '/v1/containers/db/inspect', 404, detail='No.')
        result = self.run_cli('inspect', 'db', 'web')
        self.assertEqual((1, 'db: No.\n'), (result.code, result.err))
        self.assertEqual([{'Id': 'abc'}], json.loads(result.out))


class WaitTest(stub.CommandTest):

    def test_prints_exit_codes(self):
        self.service.answer('GET', f'{WEB}/wait', stub.container(status='Running'))
        self.service.answer('GET', f'{WEB}/wait', stub.container(status='Stopped', exit_code=3))
        self.service.answer('GET', '/v1/containers/db/wait', stub.container(
            status='Created', exit_code=None))
        self.assertEqual('3\nCreated\n', self.stdout('wait', 'web', 'db'))
        self.assertEqual({'timeout': ['20']}, self.service.requests[0].query)

    def test_not_while_something_is_under_way(self):
        self.service.answer('GET', f'{WEB}/wait', stub.container(
            status='Created', task_state='start-in-progress'))
        self.service.answer('GET', f'{WEB}/wait', stub.container(status='Stopped', exit_code=0))
        self.assertEqual('0\n', self.stdout('wait', 'web'))

    def test_time_is_up(self):
        self.service.answer('GET', f'{WEB}/wait', stub.container(status='Running'))
        result = self.run_cli('wait', '--timeout', '0', 'web')
        self.assertEqual((4, '', 'web has not ended yet.\n'),
                         (result.code, result.out, result.err))

    def test_there_is_none(self):
        self.service.fail('GET', f'{WEB}/wait', 404, detail='There is no container web.')
        self.assertEqual(1, self.run_cli('wait', 'web').code)


class NetworksTest(stub.CommandTest):

    def test_of_a_container(self):
        self.service.answer('GET', f'{WEB}/network_list', {'networks': [
            {'network': 'n', 'addresses': [{'address': '10.0.0.5', 'version': 4},
                                           {'address': 'fd00::5', 'version': 6}]}]})
        self.assertIn('| n       | 10.0.0.5, fd00::5 |', self.stdout('network', 'list', 'web'))
