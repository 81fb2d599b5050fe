# SPDX-License-Identifier: Apache-2.0
from container_service.tests.unit.client import stub


class ShowTest(stub.CommandTest):

    def test_a_table_reads_well(self):
        self.service.answer('GET', '/v1/containers/web', stub.container(
            memory='64', memory_bytes=64 << 20, auto_heal=False, disk=0, exit_code=0,
            read_only=True,
            tmpfs={'/run': 64 << 20}, files=[{'destination': '/etc/a', 'size': 1500}],
            nets=[{'network': 'n', 'v4-fixed-ip': '10.0.0.5'}],
            published_ports=[{'host_port': 8080, 'container_port': 80, 'protocol': 'tcp'}],
            addresses={'n': [{'addr': '10.0.0.5'}]}))
        text = self.stdout('show', 'web')
        for line in (r'tmpfs +\| /run=64\.0 MiB ', r'files +\| /etc/a \(1\.5 kB\) ',
                     r'nets +\| n 10\.0\.0\.5 ', r'published_ports +\| 8080:80/tcp ',
                     r'read_only +\| true ', r'exit_code +\| 0 ', r'addresses +\| n=10\.0\.0\.5 '):
            self.assertRegex(text, line)
        for name in ('memory_bytes', 'auto_heal', 'status_reason', 'healthcheck'):
            self.assertNotIn(name, text)
        self.assertEqual('false\n', self.stdout('show', 'web', '-f', 'value', '-c', 'auto_heal'))


class UpdateTest(stub.CommandTest):

    def test_what_is_asked_for(self):
        self.service.answer('PATCH', '/v1/containers/web', stub.action(operation='update'), 202)
        for argv, body in ((('--cpus', '2', '-m', '128m', '--restart', 'on-failure:3'),
                            {'cpu': 2.0, 'memory': '128m', 'restart_policy': {
                                'Name': 'on-failure', 'MaximumRetryCount': 3}}),
                           (('--name', 'other', '--no-auto-heal'),
                            {'name': 'other', 'auto_heal': False})):
            self.stdout('update', *argv, 'web')
            self.assertEqual(body, self.service.requests[-1].body)

    def test_nothing(self):
        self.assertIn('Say what to change: --cpu, --memory, ', self.refused('update', 'web'))
        self.refused('update', '--memory', 'much', 'web')


class ListTest(stub.CommandTest):

    def test_all_projects(self):
        self.service.answer('GET', '/v1/containers', {'containers': []})
        self.stdout('list', '--all-projects')
        self.assertEqual({'all_projects': ['true']}, self.service.requests[-1].query)
