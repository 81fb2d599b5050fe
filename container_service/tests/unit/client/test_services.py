# SPDX-License-Identifier: Apache-2.0
import json

import testtools

from container_service.tests.unit.client import stub

PATH = '/v1/services'


def service(name='node1.0', **more):
    """A conductor as the API shows it."""
    return {'name': name, 'host': name.rpartition('.')[0], 'state': 'up', 'version': '1',
            'workers': 8, 'in_flight': 2, 'queued': 0, 'pool_full': 5,
            'heartbeat_age_seconds': 1.25, 'draining': False, 'disabled': False,
            'disabled_reason': None, 'forced_down': False, 'saturation_policy': 'queue',
            'incarnation': stub.UUID, 'created_at': '2026-11-20T05:25:59+00:00', 'id': 1, **more}


class ServicesTest(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.service = stub.Stub()
        self.service.__enter__()
        self.addCleanup(self.service.__exit__)

    def run_it(self, *argv):
        return stub.run(self.service.endpoint, 'service', *argv)

    def answer(self, change, *found, method='PUT'):
        several = {'services': list(found)} if len(found) > 1 else {}
        self.service.answer(method, f'{PATH}/{change}', {'service': found[0], **several})

    def said(self, *argv, code=0):
        """The lines that a command says of its outcome."""
        result = self.run_it(*argv)
        self.assertEqual((code, ''), (result.code, result.out), result)
        return result.err.splitlines()

    def asked(self, change, method='PUT'):
        return [request.query for request in self.service.asked(method, f'{PATH}{change}')]

    def unknown(self, change, method='PUT'):
        self.service.fail(method, f'{PATH}{change}', 404, code='conductor_not_found',
                          detail='There is no conductor node1. There are: node2.0.')


class TestList(ServicesTest):

    def rows(self, *services, argv=()):
        self.service.forget()
        self.service.answer('GET', PATH, {'services': list(services), 'next': None})
        result = self.run_it('list', *argv)
        self.assertEqual(0, result.code, result)
        return [[cell.strip() for cell in line.strip('|').split('|')]
                for line in result.out.splitlines() if line.startswith('|')]

    def test_columns(self):
        self.assertEqual(
            [['name', 'state', 'version', 'workers', 'in_flight', 'queued', 'pool_full',
              'heartbeat'],
             ['node1.0', 'up', '1', '8', '2', '0', '5 times', '1s ago']],
            self.rows(service()))

    def test_more_columns(self):
        heads, row = self.rows(service(disabled_reason='new kernel'), argv=['--long'])
        for head, cell in {'disabled_reason': 'new kernel', 'host': 'node1',
                           'incarnation': stub.UUID}.items():
            self.assertEqual(cell, row[heads.index(head)])

    def test_state_in_words(self):
        for words, values in {
                'up': {}, 'down': {'state': 'down'}, 'draining': {'draining': True},
                'disabled': {'disabled': True},
                'draining, disabled': {'draining': True, 'disabled': True},
                'down, disabled': {'state': 'down', 'disabled': True},
                'forced down': {'state': 'down', 'forced_down': True, 'disabled': True}}.items():
            self.assertEqual(words, self.rows(service(**values))[1][1])

    def test_how_often_it_was_full(self):
        for words, count in {'never': 0, 'once': 1, '2 times': 2, '': None}.items():
            self.assertEqual(words, self.rows(service(pool_full=count))[1][6])

    def test_for_machines_it_is_what_the_api_sent(self):
        self.service.answer('GET', PATH, {'services': [service()], 'next': None})
        self.assertEqual([service()], json.loads(self.run_it('list', '-f', 'json').out))
        self.assertEqual('up\n', self.run_it('list', '-f', 'value', '-c', 'state').out)


class TestChange(ServicesTest):

    def test_disable(self):
        self.answer('disable', service(disabled=True, in_flight=3))
        self.assertEqual(
            ['Conductor node1.0 takes nothing new; 3 actions are still running there.'],
            self.said('disable', 'node1.0', '--reason', 'new kernel'))
        self.assertEqual([{'name': ['node1.0'], 'disabled_reason': ['new kernel']}],
                         self.asked('/disable'))

    def test_words_for_what_is_running(self):
        for count, words in {0: 'nothing is running there.', None: 'nothing is running there.',
                             1: '1 action is still running there.'}.items():
            self.answer('disable', service(in_flight=count))
            self.assertIn(words, self.said('disable', 'node1.0')[0])
            self.service.forget()

    def test_a_host(self):
        """What is no name is asked for as a host."""
        self.service.fail('PUT', f'{PATH}/disable', 404, code='conductor_not_found', detail='x')
        self.answer('disable', service(in_flight=0), service('node1.1'))
        self.assertEqual(
            ['Conductor node1.0 takes nothing new; nothing is running there.',
             'Conductor node1.1 takes nothing new; 2 actions are still running there.'],
            self.said('disable', 'node1'))
        self.assertEqual([{'name': ['node1']}, {'host': ['node1']}], self.asked('/disable'))

    def test_an_unknown_one(self):
        self.unknown('/enable')
        self.assertEqual(['There is no conductor node1. There are: node2.0.'],
                         self.said('enable', 'node1', code=1))

    def test_several_of_which_one_is_unknown(self):
        self.answer('enable', service())
        self.unknown('/enable')
        self.assertEqual(
            ['Conductor node1.0 takes work again.',
             'node1: There is no conductor node1. There are: node2.0.'],
            self.said('enable', 'node1.0', 'node1', code=1))

    def test_words_of_each_outcome(self):
        down = {'state': 'down'}
        for argv, values, words in (
                (['enable'], {}, 'takes work again.'),
                (['enable'], down, 'is enabled; it takes work as soon as it is up.'),
                (['enable'], {'draining': True}, 'is enabled, but it ends: it was drained.'),
                (['enable'], {**down, 'forced_down': True},
                 'is enabled, but still forced down; see service force-down --unset.'),
                (['disable'], down, 'is down; it will take nothing when it is up again.'),
                (['drain'], {'draining': True, 'in_flight': 0},
                 'takes nothing new and ends when it has finished; nothing is running there.'),
                (['force-down'], {**down, 'forced_down': True},
                 'is forced down; others take over the 2 actions that it ran. Its last heartbeat '
                 'was 1s ago.'),
                (['force-down'], {**down, 'forced_down': True, 'in_flight': 1},
                 'is forced down; others take over the action that it ran. Its last heartbeat '
                 'was 1s ago.'),
                (['force-down'], {**down, 'forced_down': True, 'in_flight': 0},
                 'is forced down; nothing was running there. Its last heartbeat was 1s ago.'),
                (['force-down', '--unset'], {}, 'is not forced down any more; it takes work '
                                                'again.'),
                (['force-down', '--unset'], down, 'is not forced down any more; it takes work as '
                                                  'soon as it is up.'),
                (['force-down', '--unset'], {'disabled': True},
                 'is not forced down any more, but still disabled; see service enable.')):
            self.service.forget()
            self.answer(argv[0].replace('-', '_'), service(**values))
            self.assertEqual([f'Conductor node1.0 {words}'], self.said(*argv, 'node1.0'))

    def test_force_down_and_back(self):
        self.answer('force_down', service(forced_down=True, state='down'))
        self.said('force-down', 'node1.0')
        self.said('force-down', 'node1.0', '--unset')
        self.assertEqual([{'name': ['node1.0'], 'forced_down': ['true']},
                          {'name': ['node1.0'], 'forced_down': ['false']}],
                         self.asked('/force_down'))

    def test_a_lost_answer_is_asked_for_again(self):
        """Saying it twice is saying it once."""
        self.service.answer('PUT', f'{PATH}/drain', stub.LOST)
        self.answer('drain', service(draining=True))
        self.assertEqual(1, len(self.said('drain', 'node1.0')))
        self.assertEqual(2, len(self.asked('/drain')))

    def test_nobody_named(self):
        result = self.run_it('disable')
        self.assertEqual((2, []), (result.code, self.service.requests))


class TestDelete(ServicesTest):

    def test_delete(self):
        self.service.answer('DELETE', PATH, status=204)
        self.assertEqual(['Conductor node1.0 is forgotten.'], self.said('delete', 'node1.0'))
        self.assertEqual([{'name': ['node1.0']}], self.asked('', 'DELETE'))

    def test_one_that_is_alive(self):
        self.service.fail('DELETE', PATH, 409, code='conductor_alive', detail='It is not down.',
                          hint='Drain it.')
        self.assertEqual(['It is not down.', 'hint: Drain it.'],
                         self.said('delete', 'node1.0', code=1))
        self.assertEqual(1, len(self.asked('', 'DELETE')))
