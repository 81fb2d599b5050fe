# SPDX-License-Identifier: Apache-2.0
import json

from container_service import quotas as rules
from container_service.client import places
from container_service.tests.unit.client import stub

HOST = {'uuid': stub.UUID, 'hostname': 'h1', 'cpus': 8, 'cpu_used': 1.5, 'mem_total': 16000,
        'mem_used': 512, 'total_containers': 3, 'os': 'Debian', 'kernel_version': '6.1',
        'architecture': 'x86_64', 'availability_zone': 'nova', 'health_status': 'HEALTHY',
        'links': []}


class HostTest(stub.CommandTest):

    def test_list(self):
        self.service.answer('GET', '/v1/hosts', {'hosts': [HOST], 'next': None})
        text = self.stdout('host', 'list')
        self.assertRegex(text, r'h1 +\| nova +\| HEALTHY +\| 3 +\| 1\.5 of 8 +\| '
                               r'512 of 16000 MiB ')
        self.assertNotIn(stub.UUID, text)
        self.assertIn(stub.UUID, self.stdout('host', 'list', '--long'))

    def test_show(self):
        self.service.answer('GET', '/v1/hosts/h1', HOST)
        self.assertEqual(8, json.loads(self.stdout('host', 'show', 'h1', '-f', 'json'))['cpus'])

    def test_zones(self):
        self.service.answer('GET', '/v1/availability_zones', {
            'availability_zones': [{'availability_zone': 'nova'}], 'next': None})
        self.assertEqual('nova\n', self.stdout('availability', 'zone', 'list', '-f', 'value'))

    def test_zones_come_on_one_page(self):
        self.assertIn('unrecognized arguments: --limit 1',
                      self.refused('availability', 'zone', 'list', '--limit', '1'))


class QuotaTest(stub.CommandTest):

    def test_of_a_project(self):
        self.service.answer('GET', '/v1/quotas/p1', {
            'containers': {'limit': 10, 'in_use': 3}, 'cpu': {'limit': -1, 'in_use': 1.5}})
        text = self.stdout('quota', 'show', 'p1')
        self.assertRegex(text, r'containers +\| 10 +\| 3 ')
        self.assertRegex(text, r'cpu +\| none +\| 1\.5 ')
        self.assertEqual({'usages': ['true']}, self.service.requests[-1].query)

    def test_all_that_is_limited(self):
        self.assertEqual(set(rules.NAMES), set(places.QUOTAS))
        self.service.answer('GET', '/v1/quotas/p1', {'actions': {'limit': 7, 'in_use': 2}})
        self.assertRegex(self.stdout('quota', 'show', 'p1'), r'actions +\| 7 +\| 2 ')
        self.service.answer('PUT', '/v1/quotas/p1', {})
        self.assertEqual('', self.stdout('quota', 'set', '--actions', '9', 'p1'))
        self.assertEqual({'actions': 9}, self.service.requests[-1].body)

    def test_what_a_limit_must_be(self):
        for value in ('x', '1.5', '-2', '4g'):
            self.assertIn('argument --memory: must be a whole number, or -1 for no limit',
                          self.refused('quota', 'set', 'p1', f'--memory={value}'))

    def test_of_a_class(self):
        self.service.answer('GET', '/v1/quota_classes/default', {'containers': 40, 'links': []})
        self.assertRegex(self.stdout('quota', 'show', '--class', 'default'),
                         r'containers +\| 40 ')

    def test_set(self):
        for argv, path in ((['p1'], 'quotas/p1'),
                           (['--class', 'default'], 'quota_classes/default')):
            self.service.answer('PUT', f'/v1/{path}', {})
            self.assertEqual('', self.stdout('quota', 'set', '--containers', '5', '--memory',
                                             '-1', *argv))
            self.assertEqual({'containers': 5, 'memory': -1}, self.service.requests[-1].body)

    def test_delete(self):
        self.service.answer('DELETE', '/v1/quotas/p1', status=204)
        self.assertEqual('', self.stdout('quota', 'delete', 'p1'))

    def test_wrong_usage(self):
        for argv in (('show',), ('set', 'p1'), ('set', 'p1', '--cpu', '-2'), ('delete',),
                     ('set', 'p1', '--disk', 'x'), ('show', 'p1', '--class', 'default')):
            self.refused('quota', *argv)
