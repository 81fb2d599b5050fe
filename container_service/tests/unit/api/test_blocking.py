# SPDX-License-Identifier: Apache-2.0
"""Operations whose answer is the content, in the shapes of every version."""

import time

from container_service.db import containers
from container_service.tests.unit.api import base

ADDRESS = {'addr': '10.0.0.2', 'version': 4, 'port': None, 'subnet_id': None,
           'preserve_on_delete': False}


class BlockingCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.make('c1', status='Running')
        self.uuid = self.get('/v1/containers/c1').json['uuid']

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

    def acquire(self, blocking):
        return False
