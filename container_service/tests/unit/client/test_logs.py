# SPDX-License-Identifier: Apache-2.0
import time
from unittest import mock

from container_service.client import logs
from container_service.tests.unit.client import stub

PATH = '/v1/containers/web/logs'


class LogsTest(stub.CommandTest):

    def setUp(self):
        super().setUp()
        self.enterContext(mock.patch.object(logs, 'FIRST_PAUSE_SECONDS', 0.001))
        self.enterContext(mock.patch.object(logs, 'LONGEST_PAUSE_SECONDS', 0.001))

    def wrote(self, output, cursor='c', **more):
        self.service.answer('GET', PATH, {'output': output, 'cursor': cursor, **more})

    def status(self, status, **more):
        self.service.answer('GET', '/v1/containers/web', stub.container(status=status, **more))

    def asked(self):
        return [{name: value for name, (value,) in request.query.items()}
                for request in self.service.asked('GET', PATH)]

    def test_what_a_container_wrote_is_not_changed(self):
        self.wrote('a\n\x1b[1mb')
        self.assertEqual('a\n\x1b[1mb', self.stdout('logs', 'web'))
        self.assertEqual([{}], self.asked())

    def test_options(self):
        self.wrote('')
        self.stdout('logs', '-n', 'all', '--since', '100', '-t', '--stderr', 'web')
        self.stdout('logs', '--tail', '0', '--stdout', 'web')
        self.assertEqual([{'tail': 'all', 'since': '100', 'timestamps': 'true',
                           'stdout': 'false'}, {'tail': '0', 'stderr': 'false'}], self.asked())

    def test_since_a_time_ago(self):
        self.wrote('')
        for text, seconds in (('90s', 90), ('10m', 600), ('2h', 7200), ('1d', 86400)):
            self.stdout('logs', '--since', text, 'web')
            self.assertAlmostEqual(time.time() - seconds, int(self.asked()[-1]['since']), delta=5)
        self.stdout('logs', '--since', '2026-11-20 05:30:00', 'web')
        self.assertEqual('2026-11-20 05:30:00', self.asked()[-1]['since'])

    def test_wrong_usage(self):
        for argv in (('--tail', '-1'), ('--tail', 'x'), ('--stdout', '--stderr'),
                     ('--cursor', 'c', '--tail', '1'), ('--cursor', 'c', '--since', '1h')):
            self.refused('logs', *argv, 'web')

    def test_from_a_cursor_to_the_next(self):
        self.wrote('new\n', cursor='c-2')
        result = self.run_cli('logs', '--cursor', 'c-1', '--show-cursor', '-t', 'web')
        self.assertEqual((0, 'new\n', 'cursor: c-2\n'), (result.code, result.out, result.err))
        self.assertEqual([{'cursor': 'c-1', 'timestamps': 'true'}], self.asked())

    def test_more_than_one_answer_has(self):
        self.wrote('one\n', cursor='c-1', more=True)
        self.wrote('two\n', cursor='c-2', more=False)
        self.assertEqual('one\ntwo\n', self.stdout('logs', '--cursor', 'c-0', 'web'))
        self.assertEqual(['c-0', 'c-1'], [query['cursor'] for query in self.asked()])

    def test_what_is_missing_is_said(self):
        self.wrote('end\n', truncated=True)
        result = self.run_cli('logs', 'web')
        self.assertEqual((0, 'end\n'), (result.code, result.out))
        self.assertIn('missing', result.err)

    def test_follow_to_the_end(self):
        self.wrote('one\n', cursor='c-1')
        self.wrote('', cursor='c-2')
        self.status('Running')
        self.wrote('two\n', cursor='c-3')
        self.wrote('', cursor='c-3')
        self.status('Stopped')
        # It wrote this between being asked for the first and the second time.
        self.wrote('three\n', cursor='c-4')
        self.wrote('', cursor='c-5')
        self.assertEqual('one\ntwo\nthree\n',
                         self.stdout('logs', '-f', '--tail', '1', '--stdout', 'web'))
        asked = self.asked()
        self.assertEqual({'tail': '1', 'stderr': 'false'}, asked[0])
        self.assertEqual({'cursor': 'c-1', 'stderr': 'false'}, asked[1])
        self.assertEqual(['c-2', 'c-3', 'c-3', 'c-4'], [query['cursor'] for query in asked[2:]])

    def test_follow_of_what_is_being_started(self):
        self.wrote('')
        self.wrote('')
        self.wrote('up\n')
        self.wrote('')
        self.status('Created', task_state='start-in-progress')
        self.status('Created', task_state='start-in-progress')
        self.status('Stopped')
        self.assertEqual('up\n', self.stdout('logs', '--follow', 'web'))

    def test_follow_goes_on_after_trouble(self):
        self.wrote('one\n', cursor='c-1')
        self.service.fail('GET', PATH, 503, detail='Busy.')
        self.service.answer('GET', PATH, stub.LOST)
        self.wrote('two\n', cursor='c-2')
        self.wrote('')
        self.status('Stopped')
        self.assertEqual('one\ntwo\n', self.stdout('logs', '--follow', 'web'))
        self.assertEqual({'c-1'}, {query['cursor'] for query in self.asked()[1:4]})

    def test_follow_ends_when_it_is_removed(self):
        self.wrote('one\n')
        self.service.fail('GET', PATH, 404, detail='There is no container web.')
        self.assertEqual('one\n', self.stdout('logs', '--follow', 'web'))

    def test_there_is_none(self):
        self.service.fail('GET', PATH, 404, detail='There is no container web.')
        self.assertEqual(1, self.run_cli('logs', '--follow', 'web').code)

    def test_ctrl_c_says_where_to_go_on(self):
        self.wrote('one\n', cursor='c-1')
        with mock.patch.object(logs.time, 'sleep', side_effect=KeyboardInterrupt):
            result = self.run_cli('logs', '--follow', '--show-cursor', 'web')
        self.assertEqual((130, 'one\n', 'cursor: c-1\n'), (result.code, result.out, result.err))
