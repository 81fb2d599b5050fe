# SPDX-License-Identifier: Apache-2.0
"""What engines of different releases and hosts answer, and what we make of it."""

import testtools

from container_service.drivers import base
from container_service.drivers import docker_answers


class TestStats(testtools.TestCase):

    # As Docker 20.10 answers on a host with control groups version 1, less what is not read.
    FIRST = {
        'read': '2026-11-20T12:32:42.087046329Z', 'pids_stats': {'current': 3},
        'blkio_stats': {'io_service_bytes_recursive': [
            {'major': 8, 'minor': 0, 'op': 'Read', 'value': 4096},
            {'major': 8, 'minor': 0, 'op': 'Write', 'value': 100},
            {'major': 8, 'minor': 0, 'op': 'Total', 'value': 4196},
            {'major': 9, 'minor': 0, 'op': 'Read', 'value': 1}]},
        'cpu_stats': {'cpu_usage': {'total_usage': 3_000, 'percpu_usage': [1, 2]},
                      'system_cpu_usage': 20_000, 'online_cpus': 2},
        'precpu_stats': {'cpu_usage': {'total_usage': 2_000, 'percpu_usage': [1, 2]},
                         'system_cpu_usage': 16_000, 'online_cpus': 2},
        'memory_stats': {'usage': 1000, 'limit': 4000,
                         'stats': {'total_inactive_file': 200, 'inactive_file': 7}},
        'networks': {'eth0': {'rx_bytes': 5, 'tx_bytes': 6},
                     'eth1': {'rx_bytes': 10, 'tx_bytes': 20}}}
    # Later releases, and version 2 of control groups.
    SECOND = {
        **FIRST, 'blkio_stats': {'io_service_bytes_recursive': [
            {'op': 'read', 'value': 4097}, {'op': 'write', 'value': 100}]},
        'cpu_stats': {'cpu_usage': {'total_usage': 3_000}, 'system_cpu_usage': 20_000,
                      'online_cpus': 2},
        'memory_stats': {'usage': 1000, 'limit': 4000, 'stats': {'inactive_file': 200}},
        'os_type': 'linux'}
    READ = {
        'read_at': '2026-11-20T12:32:42.087046329Z', 'cpu_percent': 50.0, 'cpus': 2,
        'memory_bytes': 800, 'memory_limit_bytes': 4000, 'memory_percent': 20.0,
        'block_read_bytes': 4097, 'block_written_bytes': 100, 'network_received_bytes': 15,
        'network_sent_bytes': 26, 'processes': 3}

    def test_both_versions_of_control_groups(self):
        for answer in (self.FIRST, self.SECOND):
            self.assertEqual(self.READ, docker_answers.stats(answer))

    def test_what_is_not_there(self):
        for answer, expected in (
                ({'networks': None}, {'network_received_bytes': 0, 'network_sent_bytes': 0}),
                ({'precpu_stats': {}}, {'cpu_percent': None}),
                ({'precpu_stats': self.FIRST['cpu_stats']}, {'cpu_percent': 0.0}),
                ({'blkio_stats': {'io_service_bytes_recursive': None}},
                 {'block_read_bytes': 0, 'block_written_bytes': 0}),
                ({'memory_stats': {}}, {'memory_bytes': 0, 'memory_limit_bytes': 0,
                                        'memory_percent': None}),
                ({'pids_stats': {}}, {'processes': 0}),
                ({'cpu_stats': {**self.FIRST['cpu_stats'], 'online_cpus': 0}}, {'cpus': 2})):
            self.assertEqual({**self.READ, **expected},
                             docker_answers.stats({**self.FIRST, **answer}))

    def test_what_does_not_run(self):
        self.assertIsNone(docker_answers.stats({'read': '0001-01-01T00:00:00Z'}))


class TestInspected(testtools.TestCase):

    def test_only_what_is_allowed(self):
        shown = docker_answers.inspected({
            'Id': 'x', 'ResolvConfPath': '/var/lib', 'New': 'in a later release',
            'State': {'Status': 'running', 'Pid': 7},
            'Config': {'Env': ['A=b'], 'Labels': {'mine': 'yes', base.LABEL_FENCE: '3'}},
            'HostConfig': {'Memory': 3, 'Binds': ['/etc:/x'], 'CgroupParent': 'y'},
            'GraphDriver': {'Data': {}}, 'Mounts': [
                {'Type': 'bind', 'Source': '/etc', 'Destination': '/x', 'RW': True}],
            'NetworkSettings': {'SandboxKey': '/var/run', 'IPAddress': '1', 'Networks': {
                'web': {'IPAddress': '10.0.0.2', 'EndpointID': 'e'}}}})
        self.assertEqual({
            'Id': 'x', 'State': {'Status': 'running'},
            'Config': {'Env': ['A=b'], 'Labels': {'mine': 'yes'}}, 'HostConfig': {'Memory': 3},
            'Mounts': [{'Type': 'bind', 'Destination': '/x', 'RW': True}],
            'NetworkSettings': {'Networks': {'web': {'IPAddress': '10.0.0.2'}}}}, shown)

    def test_what_is_null_stays_so(self):
        self.assertEqual({'Mounts': None, 'Config': {'Labels': None}},
                         docker_answers.inspected({'Mounts': None, 'Config': {'Labels': None}}))
