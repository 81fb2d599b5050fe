# SPDX-License-Identifier: Apache-2.0
"""The same story with every executor, and with answers that wait: RabbitMQ, MariaDB, Docker."""

import os
import time

import fixtures as pyfixtures

from container_service import concurrency
from container_service import states
from container_service.tests import deployed
from container_service.tests import fixtures

SLEEPS = ['sh', '-c', 'trap "exit 0" TERM; echo hello; sleep 600 & wait']


class ExecutorTestCase(deployed.DeployedTestCase):

    config = ''
    final = False           # whether the answers are those of the end

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        if cls is not ExecutorTestCase:
            cls.image = fixtures.needed('CS_TEST_IMAGE')
            cls.share_configured()

    @classmethod
    def share_configured(cls):
        cls.share(fixtures.Processes(cls.database, config=cls.config))


class Story:

    def test_the_life_of_a_container(self):
        expect = 200 if self.final else 202
        web = self.caller.create(self.image, expect, command=SLEEPS)
        self.ended(web['action'])
        for operation, status in (('start', 'Running'), ('stop', 'Stopped'),
                                  ('start', 'Running')):
            self.ended(self.caller.ask(web, operation, expect))
            self.assertEqual((status, None), (
                lambda shown: (shown['status'], shown['task_state']))(self.caller.show(web)))
        fixtures.eventually(lambda: self.caller.request(
            'GET', f'/v1/containers/{web["uuid"]}/logs', expect=200).json['output'].startswith(
                'hello\n'))
        answer = self.caller.request('POST', f'/v1/containers/{web["uuid"]}/execute',
                                     {'command': ['sh', '-c', 'exit 3']}, expect=200)
        self.assertEqual(3, answer.json['exit_code'])
        self.ended(self.caller.ask(web, 'delete', expect, stop='true'))
        self.caller.show(web, expect=404)
        self.assertEqual([], self.on_engine(web))
        history = self.caller.history(web)
        self.assertEqual({(states.SUCCEEDED, 1)},
                         {(one['status'], one['attempts']) for one in history})
        self.assert_one_after_the_other(history)

    def ended(self, action):
        if self.final:
            self.assertEqual((states.SUCCEEDED, None), (action['status'], action['error']))
        else:
            self.succeeded(action)

    def test_an_image_that_does_not_exist(self):
        registry = fixtures.needed('CS_TEST_REGISTRY')
        web = self.caller.create(f'{registry}/cs-test/nothing:1',
                                 200 if self.final else 202)
        failed = self.caller.wait(web['action'])
        self.assertEqual(('failed', 'image_not_found'),
                         (failed['status'], failed['error']['code']))
        self.ended(self.caller.ask(web, 'delete', 200 if self.final else 202))


class Fired:

    def test_fired_without_waiting(self):
        webs, ends = [], []
        for _ in range(4):
            web = self.caller.create(self.image, command=SLEEPS)
            for operation in ('start', 'stop', 'start'):
                self.caller.ask(web, operation)
            webs.append(web)
            ends.append(self.caller.ask(web, 'delete', stop='true'))
        for web, end in zip(webs, ends):
            self.succeeded(end, 60)
            history = self.caller.history(web)
            self.assertEqual(
                [(name, states.SUCCEEDED, 1) for name in (
                    'create', 'start', 'stop', 'start', 'delete')],
                [(one['operation'], one['status'], one['attempts']) for one in history])
            self.assert_one_after_the_other(history)


class SideBySide:

    def test_what_waits_in_an_engine_holds_nobody_up(self):
        """Six stops that each wait three seconds for a process which does not listen."""
        webs = [self.caller.create(self.image, run=True, command=['sleep', '600'])
                for _ in range(6)]
        for web in webs:
            self.succeeded(web['action'])
        began = time.monotonic()
        stops = [self.caller.ask(web, 'stop', timeout=3) for web in webs]
        for stop in stops:
            self.succeeded(stop)
        took = time.monotonic() - began
        self.note(f'six stops of three seconds each in {took:.1f} s')
        self.assertLess(took, 16)
        for web in webs:
            self.succeeded(self.caller.ask(web, 'delete'))


class IsEventlet:

    def test_it_is_eventlet(self):
        """A pool of 32 and all that waits beside it need no 40 threads."""
        pid = self.processes.conductors[0].pid
        webs = [self.caller.create(self.image) for _ in range(8)]
        for web in webs:
            self.succeeded(self.caller.ask(web, 'delete'))
        threads = len(os.listdir(f'/proc/{pid}/task'))
        self.note(f'{threads} threads')
        self.assertLess(threads, 6)


class TestEventletByEnvironment(Story, Fired, SideBySide, IsEventlet, ExecutorTestCase):

    @classmethod
    def share_configured(cls):
        variable = pyfixtures.EnvironmentVariable(concurrency.VARIABLE, concurrency.EVENTLET)
        with variable:
            super().share_configured()


class TestEventletByFile(Story, IsEventlet, ExecutorTestCase):

    config = 'executor = eventlet'


class TestSynchronous(Story, Fired, ExecutorTestCase):

    config = 'executor = synchronous'


class TestAnswersThatWait(Story, ExecutorTestCase):

    config = '[api]\nasync_enable = false'
    final = True


class TestAnswersThatWaitSynchronous(Story, ExecutorTestCase):

    config = 'executor = synchronous\n[api]\nasync_enable = false'
    final = True


class TestAnswersThatWaitEventlet(Story, ExecutorTestCase):

    config = 'executor = eventlet\n[api]\nasync_enable = false'
    final = True
