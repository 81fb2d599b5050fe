# SPDX-License-Identifier: Apache-2.0
"""The life of an operation, from the request to the last word about it.

First in one process, where the engine is in memory and can be held at every step to see what is
shown meanwhile.  Then as it is deployed: API and conductors as processes of their own, with
RabbitMQ, MariaDB or PostgreSQL, and Docker; and what happens when one of these dies.
"""

import base64
from concurrent import futures
import io
import sys
import tarfile
import time

from testtools import content

from container_service import rpc
from container_service import states
from container_service.tests import base
from container_service.tests import fixtures

WAIT = 30       # seconds until an outcome that does not come is a failure


class Words:
    """Words that the stories are told with; ``request`` is the case's own."""

    def create(self, expect=202, operation='create', **values):
        """Ask for a container; returns it as answered, with its action."""
        run = '?run=true' if operation == 'run' else ''
        return self.request('POST', f'/v1/containers{run}', {'image': base.IMAGE, **values},
                            expect=expect).json

    def ask(self, container, operation, expect=202, **query):
        """Ask for an operation; returns the action as answered."""
        asked = '&'.join(f'{name}={value}' for name, value in query.items())
        method, path = ('DELETE', '') if operation == 'delete' else ('POST', f'/{operation}')
        return self.request(method, f'/v1/containers/{container["uuid"]}{path}?{asked}',
                            expect=expect).json

    def show(self, container, expect=200):
        return self.request('GET', f'/v1/containers/{container["uuid"]}', expect=expect).json

    def action(self, action):
        return self.request('GET', f'/v1/actions/{action["uuid"]}', expect=200).json

    def history(self, container):
        """Its actions, oldest first; also of a container that is gone."""
        return self.request('GET', f'/v1/actions?container={container["uuid"]}&sort_dir=asc',
                            expect=200).json['actions']

    def statuses(self, container):
        return [(action['operation'], action['status']) for action in self.history(container)]

    def wait(self, action, seconds=WAIT):
        """The action once it has ended."""
        def ended():
            found = self.action(action)
            return found if found['status'] in states.FINAL else None

        return fixtures.eventually(ended, seconds)

    def succeeded(self, action, seconds=WAIT):
        ended = self.wait(action, seconds)
        self.assertEqual((states.SUCCEEDED, None), (ended['status'], ended['error']))
        return ended

    def assert_shown(self, container, status, task_state):
        shown = self.show(container)
        self.assertEqual((status, task_state), (shown['status'], shown['task_state']))
        return shown

    def assert_one_after_the_other(self, *actions):
        """They ran in this order and none began before the one before it had ended."""
        for before, after in zip(actions, actions[1:]):
            self.assertLessEqual(before['finished_at'], after['started_at'])


class InOneProcess(Words, base.TestCase):
    """Real WSGI application, in-process bus, one conductor, SQLite; the engine is a fake."""

    options = {}

    def setUp(self):
        super().setUp()
        # The poll would find everything by itself: without it only a wake can start anything.
        self.deployment = self.useFixture(fixtures.Deployment(
            conductor_poll_interval=3600, **self.options))
        self.engine = self.deployment.engine

    def request(self, method, path, body=None, expect=None):
        call = getattr(self.deployment.api, f'{method.lower()}_json' if body else method.lower())
        return call(path, *([body] if body else []), headers=fixtures.NEWEST, status=expect)

    def hold(self, *operations):
        """Let the engine stop before each of these; returns what lets each go."""
        held = {operation: self.engine.hold(operation) for operation in operations}
        for hold in held.values():
            self.addCleanup(hold.release)
        return held

    def effects(self):
        return [operation for operation, _ in self.engine.effects]


class FiredWithoutWaiting:
    """Every request is answered 202 at once, and carried out in order."""

    def test_the_life_of_a_container(self):
        held = self.hold('create', 'start', 'stop', 'delete')

        # Create answers with the container, which is not there yet, and with the action that
        # makes it. Two headers say where to look.
        answer = self.request('POST', '/v1/containers', {
            'name': 'web', 'image': base.IMAGE, 'command': ['sleep', '600']}, expect=202)
        web, create = answer.json, answer.json['action']
        self.assertEqual(('web', 'Creating', 'create-in-progress'),
                         (web['name'], web['status'], web['task_state']))
        self.assertEqual(f'http://localhost/v1/containers/{web["uuid"]}',
                         answer.headers['Location'])
        self.assertEqual(f'<http://localhost/v1/actions/{create["uuid"]}>; rel="monitor"',
                         answer.headers['Link'])
        self.assertEqual(('create', 'queued', 0, None, None),
                         tuple(create[key] for key in (
                             'operation', 'status', 'attempts', 'started_at', 'error')))

        # The others are accepted although the container cannot be started, stopped or deleted
        # now: what counts is the status it will have when its turn has come.
        start = self.ask(web, 'start')
        stop = self.ask(web, 'stop', timeout=3)
        delete = self.ask(web, 'delete')
        self.assertEqual(['queued'] * 3, [one['status'] for one in (start, stop, delete)])
        self.assertEqual({'timeout_seconds': 3}, stop['parameters'])

        # Behind a delete nothing is accepted, and the refusal says why.
        refused = self.ask(web, 'start', expect=409)['errors'][0]
        self.assertEqual('invalid_state', refused['code'])
        self.assertIn(f'Deleted state, which it will be in after action {delete["uuid"]}',
                      refused['detail'])

        # The first runs, the others wait; nobody has been told anything but that.
        held['create'].wait_entered()
        self.assertEqual([('create', 'running'), ('start', 'queued'), ('stop', 'queued'),
                          ('delete', 'queued')], self.statuses(web))
        self.assert_shown(web, 'Creating', 'create-in-progress')
        running = self.action(create)
        self.assertEqual((1, f'{self.deployment.conf.host}.0', None),
                         tuple(running[key] for key in ('attempts', 'conductor', 'finished_at')))
        # What it is at is written once that lasts.
        fixtures.eventually(lambda: self.action(create)['stage'] == 'creating')
        self.assertLessEqual(running['created_at'], running['started_at'])

        # Each ends, and the next begins by itself.
        held['create'].release()
        held['start'].wait_entered()
        self.assert_shown(web, 'Created', 'start-in-progress')
        self.assertEqual([('create', 'succeeded'), ('start', 'running'), ('stop', 'queued'),
                          ('delete', 'queued')], self.statuses(web))

        held['start'].release()
        held['stop'].wait_entered()
        shown = self.assert_shown(web, 'Running', 'stop-in-progress')
        self.assertIsNotNone(shown['started_at'])
        self.assertEqual(['fake'], list(shown['addresses']))

        held['stop'].release()
        held['delete'].wait_entered()
        shown = self.assert_shown(web, 'Deleting', 'delete-in-progress')
        self.assertEqual(137, shown['exit_code'])

        held['delete'].release()
        self.succeeded(delete)

        # The container is gone and its name is free; what was done is still told.
        self.show(web, expect=404)
        history = self.history(web)
        self.assertEqual([one['uuid'] for one in (create, start, stop, delete)],
                         [one['uuid'] for one in history])
        self.assertEqual({('succeeded', 1)},
                         {(one['status'], one['attempts']) for one in history})
        self.assert_one_after_the_other(*history)
        self.assertEqual(['create', 'start', 'stop', 'delete'], self.effects())
        self.assertEqual({}, self.engine.containers)
        again = self.create(name='web')
        self.assertNotEqual(web['uuid'], again['uuid'])
        self.succeeded(again['action'])

    def test_one_that_fails(self):
        self.engine.missing_images.append('nowhere/*')
        held = self.hold('pull')
        web = self.create(name='web', image='nowhere/nothing:1')
        start, delete = self.ask(web, 'start'), self.ask(web, 'delete', stop='true')
        held['pull'].wait_entered()
        # It holds no slot while its image is pulled, for it and for whoever else wants it.
        waiting = self.action(web['action'])
        self.assertEqual(('queued', 'shared_pull'),
                         (waiting['status'], waiting['waiting']['code']))
        removing = self.hold('delete')          # nothing to remove: it will not get there
        held['pull'].release()

        # It tells the engine's own words, what it was at and what to do.
        failed = self.wait(web['action'])
        self.assertEqual('failed', failed['status'])
        self.assertEqual(('image_not_found', 'pulling image'),
                         (failed['error']['code'], failed['error']['stage']))
        self.assertIn('manifest unknown', failed['error']['detail'])
        self.assertIn('name and tag', failed['error']['hint'])

        # What depended on it never runs, and names its cause. A delete does not depend on it.
        skipped = self.wait(start)
        self.assertEqual(('skipped', web['action']['uuid'], 0),
                         (skipped['status'], skipped['caused_by'], skipped['attempts']))
        self.succeeded(delete)
        self.assertFalse(removing['delete']._entered.is_set())
        self.assertEqual([], self.effects())

    def test_the_container_of_one_that_failed(self):
        self.engine.fail('create')
        web = self.create(name='web')
        self.wait(web['action'])
        shown = self.assert_shown(web, 'Error', None)
        self.assertIn('told to refuse create', shown['status_reason'])

    def test_containers_do_not_wait_for_each_other(self):
        held = self.hold('create')
        web = self.create(name='web')
        held['create'].wait_entered()
        held['create'].release()
        stuck = self.engine.hold('start', web['uuid'])
        self.addCleanup(stuck.release)
        start = self.ask(web, 'start')
        stuck.wait_entered()
        other = self.create(name='other', operation='run')
        self.succeeded(other['action'])
        self.assertEqual('running', self.action(start)['status'])
        stuck.release()
        self.succeeded(start)

    def test_content_is_asked_for_past_the_queue(self):
        """Logs and commands are no actions: they wait for nothing that is queued."""
        web = self.create(operation='run', command=['sh', '-c', 'echo hello; sleep 600'])
        self.succeeded(web['action'])
        held = self.hold('stop')
        stop = self.ask(web, 'stop')
        held['stop'].wait_entered()
        logs = self.request('GET', f'/v1/containers/{web["uuid"]}/logs', expect=200).json
        self.assertEqual('hello\n', logs['output'])
        answer = self.request('POST', f'/v1/containers/{web["uuid"]}/execute',
                              {'command': ['echo', 'there']}, expect=200).json
        self.assertEqual(('there\n', 0), (answer['output'], answer['exit_code']))
        self.assertEqual(['run', 'stop'], [operation for operation, _ in self.statuses(web)])
        held['stop'].release()
        self.succeeded(stop)


class TestThreaded(FiredWithoutWaiting, InOneProcess):

    options = {'conductor_executor': 'threaded'}


class TestSynchronous(FiredWithoutWaiting, InOneProcess):

    options = {'conductor_executor': 'synchronous'}


class AnsweredWhenDone:
    """[api] async_enable = false: the same path, but the answer waits for the outcome."""

    def setUp(self):
        super().setUp()
        self.callers = futures.ThreadPoolExecutor(4)
        self.addCleanup(self.callers.shutdown)

    def held_while(self, operation, function, *args, **kwargs):
        """Ask in another thread; returns its future when the engine has come to it."""
        hold = self.engine.hold(operation)
        self.addCleanup(hold.release)
        asked = self.callers.submit(function, *args, **kwargs)
        hold.wait_entered()
        return asked, hold

    def test_the_life_of_a_container(self):
        # It is recorded and shown as always while the caller waits.
        asked, hold = self.held_while('create', self.create, name='web', expect=200)
        listed, = self.request('GET', '/v1/containers', expect=200).json['containers']
        self.assertEqual(('web', 'Creating', 'create-in-progress'),
                         (listed['name'], listed['status'], listed['task_state']))
        self.assertFalse(asked.done())
        hold.release()
        web = asked.result(WAIT)
        self.assertEqual(('Created', None, 'succeeded'),
                         (web['status'], web['task_state'], web['action']['status']))

        for operation, before, after in (
                ('start', 'Created', 'Running'), ('pause', 'Running', 'Paused'),
                ('unpause', 'Paused', 'Running'), ('stop', 'Running', 'Stopped')):
            asked, hold = self.held_while(operation, self.ask, web, operation, expect=200)
            self.assert_shown(web, before, f'{operation}-in-progress')
            self.assertFalse(asked.done())
            hold.release()
            self.assertEqual((operation, 'succeeded'), (
                asked.result(WAIT)['operation'], asked.result()['status']))
            self.assert_shown(web, after, None)

        asked, hold = self.held_while('delete', self.ask, web, 'delete', expect=200)
        self.assert_shown(web, 'Deleting', 'delete-in-progress')
        hold.release()
        self.assertEqual('succeeded', asked.result(WAIT)['status'])
        self.show(web, expect=404)
        self.assertEqual(['create', 'start', 'pause', 'unpause', 'stop', 'delete'],
                         self.effects())
        self.assert_one_after_the_other(*self.history(web))

    def test_one_that_fails(self):
        self.engine.fail('start')
        web = self.create(expect=200)
        start = self.ask(web, 'start', expect=200)
        self.assertEqual(('failed', 'start_failed'), (start['status'], start['error']['code']))
        self.assert_shown(web, 'Created', None)

    def test_one_that_takes_longer_than_the_answer_may(self):
        self.deployment.conf.set_override('sync_timeout', 1, group='api')
        web = self.create(expect=200)
        asked, hold = self.held_while('start', self.ask, web, 'start', expect=202)
        start = asked.result(WAIT)
        self.assertNotIn(start['status'], states.FINAL)
        hold.release()
        self.succeeded(start)


class TestAnsweredWhenDoneThreaded(AnsweredWhenDone, InOneProcess):

    options = {'conductor_executor': 'threaded', 'api_async_enable': False}


class TestAnsweredWhenDoneSynchronous(AnsweredWhenDone, InOneProcess):

    options = {'conductor_executor': 'synchronous', 'api_async_enable': False}


class TestWithoutDoorbell(Words, base.TestCase):
    """Every wake is lost: the poll finds the work."""

    request = InOneProcess.request

    def test_the_life_of_a_container(self):
        self.deployment = self.useFixture(fixtures.Deployment(conductor_poll_interval=0.1))
        self.patch(rpc.Doorbell, '_send', lambda *args: None)
        web = self.create()
        for operation in ('start', 'stop', 'delete'):
            last = self.ask(web, operation)
        self.succeeded(last)
        self.assertEqual({'succeeded'}, {status for _, status in self.statuses(web)})


class Deployed(Words, base.TestCase):
    """Processes of their own, RabbitMQ, a database server and Docker."""

    time_limit = 240
    database = 'mysql'
    sleeps = ['sh', '-c', 'echo hello; sleep 600']     # and ignores SIGTERM, as pid 1 does

    def deploy(self, **values):
        self.processes = self.useFixture(fixtures.Processes(self.database, **values))
        self.request = self.processes.request

    def create(self, **values):
        return super().create(**{'image': fixtures.needed('CS_TEST_IMAGE'), **values})

    def on_engine(self, container):
        """What the engine has of a container."""
        return self.processes.engine.containers.list(
            all=True, filters={'label': f'cs.container={container["uuid"]}'})

    def note(self, text):
        """Say what was measured, also when the test passes."""
        self.addDetailUniqueName('measured', content.text_content(text))
        print(f'{self.id()}: {text}', file=sys.stderr)


class Story:

    def test_the_life_of_a_container(self):
        self.deploy()
        web = self.create(name='web', command=self.sleeps)
        start = self.ask(web, 'start')
        self.succeeded(start)
        shown = self.assert_shown(web, 'Running', None)
        engine, = self.on_engine(web)
        self.assertEqual(('running', shown['engine_id']), (engine.status, engine.id))

        path = f'/v1/containers/{web["uuid"]}'
        fixtures.eventually(lambda: self.request(
            'GET', f'{path}/logs', expect=200).json['output'] == 'hello\n')
        answer = self.request('POST', f'{path}/execute',
                              {'command': ['sh', '-c', 'echo there; exit 3']}, expect=200).json
        self.assertEqual(('there\n', 3), (answer['output'], answer['exit_code']))
        self.look_into(path, shown['engine_id'])

        with futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(self.request, 'GET', f'{path}/wait', expect=200)
            stop = self.ask(web, 'stop', timeout=0)
            self.succeeded(stop)
            self.assertEqual(('Stopped', 137), (waiting.result().json['status'],
                                                waiting.result().json['exit_code']))
        self.assert_shown(web, 'Stopped', None)
        self.assertEqual('exited', self.on_engine(web)[0].status)
        self.succeeded(self.ask(web, 'delete'))
        self.show(web, expect=404)
        self.assertEqual([], self.on_engine(web))

        # All of it again, without waiting for anything.
        web = self.create(name='web', command=self.sleeps)
        start, stop = self.ask(web, 'start'), self.ask(web, 'stop', timeout=0)
        delete = self.ask(web, 'delete')
        self.succeeded(delete)
        history = self.history(web)
        self.assertEqual(
            [(one['uuid'], 'succeeded') for one in (web['action'], start, stop, delete)],
            [(one['uuid'], one['status']) for one in history])
        self.assert_one_after_the_other(*history)
        self.assertEqual([], self.on_engine(web))

    def look_into(self, path, engine_id):
        """All that is answered by the engine, through API, bus and conductor."""
        def told(what):
            return self.request('GET', f'{path}/{what}', expect=200).json

        logs = told('logs?tail=1')
        self.assertEqual('', told(f'logs?cursor={logs["cursor"]}')['output'])
        answer = self.request('POST', f'{path}/execute', {
            'command': ['cat'], 'stdin': 'in\n', 'workdir': '/', 'user': '0',
            'environment': {'A': 'b'}}, expect=200).json
        self.assertEqual('in\n', answer['output'])
        self.assertIn('sleep 600', [process[-1] for process in told('top')['processes']])
        self.assertGreater(told('stats')['memory_bytes'], 0)
        self.assertEqual(engine_id, told('inspect')['Id'])
        archive = io.BytesIO(base64.b64decode(told('get_archive?path=/etc/hostname')['data']))
        with tarfile.open(fileobj=archive) as files:
            self.assertEqual(['hostname'], files.getnames())
        self.assertEqual('path_not_found', self.request(
            'GET', f'{path}/get_archive?path=/no/such', expect=404).json['errors'][0]['code'])
        network, = told('network_list')['networks']
        self.assertEqual(4, network['addresses'][0]['version'])
        self.assertEqual('no_terminal', self.request(
            'POST', f'{path}/resize?w=80&h=24', expect=409).json['errors'][0]['code'])


class TestWithMariaDB(Story, Deployed):

    def test_two_conductors_share_the_work(self):
        self.deploy(conductors=2)
        seen, last = set(), []

        def both():
            web = self.create()
            last.append(self.ask(web, 'delete'))
            for one in self.history(web):
                seen.add(one['conductor'])
            return len(seen - {None}) == 2

        # Which one a container goes to is up to its uuid.
        fixtures.eventually(both, WAIT)
        for delete in last:
            self.succeeded(delete)

    def test_a_conductor_killed_in_mid_action_and_restarted(self):
        self.deploy()
        web = self.create(operation='run', command=self.sleeps)
        self.succeeded(web['action'])
        stop, delete = self.ask(web, 'stop', timeout=4), self.ask(web, 'delete')
        fixtures.eventually(lambda: self.action(stop)['stage'])
        conductor, = self.processes.conductors
        conductor.kill()

        # It can be asked for more although nobody is there to do it.
        other = self.create(name='other')
        self.assertEqual('running', self.action(stop)['status'])

        self.processes.start_conductor()
        ended = self.succeeded(stop)
        self.assertEqual(2, ended['attempts'])
        self.succeeded(delete)
        self.succeeded(other['action'])
        self.assertEqual([], self.on_engine(web))
        self.assert_one_after_the_other(*self.history(web))

    def test_another_conductor_takes_over_from_one_that_was_killed(self):
        self.deploy(conductors=2)
        web = self.create(operation='run', command=self.sleeps)
        self.succeeded(web['action'])
        stop = self.ask(web, 'stop', timeout=6)
        fixtures.eventually(lambda: self.action(stop)['stage'])
        owner = self.action(stop)['conductor']
        killed, = [row.pid for row in self.processes.live_conductors() if row.server == owner]
        next(one for one in self.processes.conductors if one.pid == killed).kill()
        ended = self.succeeded(stop)
        self.assertNotEqual(owner, ended['conductor'])
        self.assertEqual(2, ended['attempts'])
        self.assert_shown(web, 'Stopped', None)

    def test_an_image_that_does_not_exist(self):
        self.deploy()
        image = f'{fixtures.needed("CS_TEST_REGISTRY")}/cs-test/nothing:1'
        web = self.create(image=image)
        start = self.ask(web, 'start')
        failed = self.wait(web['action'])
        self.assertEqual(('failed', 'image_not_found'),
                         (failed['status'], failed['error']['code']))
        self.assertEqual('skipped', self.wait(start)['status'])
        shown = self.assert_shown(web, 'Error', None)
        self.assertEqual(failed['error']['detail'], shown['status_reason'])
        self.assertEqual([], self.on_engine(web))

    def test_a_process_that_ends_by_itself(self):
        self.deploy(config='reconcile_interval = 0.5')
        web = self.create(operation='run', command=['sh', '-c', 'sleep 1; exit 3'])
        self.succeeded(web['action'])
        fixtures.eventually(lambda: self.show(web)['status'] == 'Stopped')
        self.assertEqual(3, self.show(web)['exit_code'])

    def test_changes_of_a_container(self):
        """Its limits and name, what is in it, an image of that, itself anew."""
        self.deploy()
        web = self.create(operation='run', command=self.sleeps, stop_timeout=0)
        self.succeeded(web['action'])
        path = f'/v1/containers/{web["uuid"]}'

        def ask(operation, **body):
            action = self.request('POST', f'{path}/{operation}', body, expect=202).json
            return self.succeeded(action)['result']

        before = self.show(web)
        self.succeeded(self.request('PATCH', path, {
            'memory': '64m', 'cpu': 0.5, 'name': 'shop'}, expect=202).json)
        shown = self.show(web)
        self.assertEqual(('shop', '64', 0.5, before['started_at']), tuple(
            shown[key] for key in ('name', 'memory', 'cpu', 'started_at')))
        self.assertEqual(64 * 2 ** 20,
                         self.on_engine(web)[0].attrs['HostConfig']['Memory'])

        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode='w') as made:
            entry = tarfile.TarInfo('note')
            entry.size = 5
            made.addfile(entry, io.BytesIO(b'hello'))
        ask('put_archive', path='/tmp', data=base64.b64encode(archive.getvalue()).decode())
        given = ask('execution', command=['cat', '/tmp/note'])
        self.assertEqual(('hello', 0), (given['output'], given['exit_code']))

        image = ask('commit', repository=f'made-{web["uuid"]}')
        ask('rebuild', image=f'made-{web["uuid"]}')
        shown = self.show(web)
        self.assertEqual(('Running', '64'), (shown['status'], shown['memory']))
        self.assertNotEqual(before['engine_id'], shown['engine_id'])
        self.assertEqual([shown['engine_id']], [one.id for one in self.on_engine(web)])
        self.assertEqual('hello', ask('execution', command=['cat', '/tmp/note'])['output'])
        self.succeeded(self.ask(web, 'delete', force='true'))
        self.request('DELETE', f'/v1/images/{image["uuid"]}')
        fixtures.eventually(lambda: self.request(
            'GET', f'/v1/images/{image["uuid"]}').status == 404, WAIT)

    def test_what_containers_have_done_by_themselves(self):
        """One gets its file, is removed by hand, and comes back with it; one goes as it ends."""
        self.deploy()
        file = {'type': 'bind', 'destination': '/etc/mine/file',
                'source': base64.b64encode(b'hello').decode()}
        web = self.create(operation='run', command=self.sleeps, auto_heal=True, mounts=[file],
                          tmpfs={'/run': '1m'}, stop_timeout=0)
        short = self.create(operation='run', command=['sleep', '1'], auto_remove=True)
        for made in (web, short):
            self.succeeded(made['action'])
        self.on_engine(web)[0].remove(force=True)
        fixtures.eventually(lambda: self.show(web)['status'] == 'Running'
                            and len(self.history(web)) > 1
                            # A start too, if it was seen to end before it was seen to be gone.
                            and {status for _, status in self.statuses(web)} == {'succeeded'},
                            WAIT)
        self.assertEqual([('run', 'succeeded'), ('rebuild', 'succeeded')],
                         self.statuses(web)[:2])
        answer = self.ask(web, 'execute', expect=200, command='cat+/etc/mine/file')
        self.assertEqual('hello', answer['output'])
        fixtures.eventually(lambda: self.statuses(short)[1:] == [('delete', 'succeeded')], WAIT)
        self.assertEqual([], self.on_engine(short))
        self.assertEqual(short['user_id'], self.history(short)[1]['user_id'])

    def test_daemons_end_when_they_are_told_to(self):
        self.deploy()
        self.assertIn('nothing to do', self.processes.manage('db', 'sync'))
        self.assertEqual(0, self.processes.api.stop())
        self.assertEqual(0, self.processes.conductors[0].stop())
        self.assertEqual([], self.processes.live_conductors())


class TestWithPostgreSQL(Story, Deployed):

    database = 'postgresql'


class TestBrokerLost(Deployed):
    """RabbitMQ dies between two requests: nothing is lost and nobody waits."""

    def test_requests_are_answered_and_carried_out(self):
        broker = self.useFixture(fixtures.Broker())
        self.deploy(transport_url=broker.transport_url)
        web = self.create(name='web', operation='run', command=self.sleeps)
        self.succeeded(web['action'])

        broker.kill()
        path = f'/v1/containers/{web["uuid"]}'
        answers = [self.request('POST', f'{path}/{operation}', expect=202)
                   for operation in ('pause', 'unpause', 'stop?timeout=0')]
        answers.append(self.request('DELETE', path, expect=202))
        for answer in answers:
            self.assertLess(answer.seconds, 8)
        ended = [self.succeeded(answer.json, 20) for answer in answers]
        self.note('without RabbitMQ: 202 within '
                  + ', '.join(f'{answer.seconds * 1000:.0f}' for answer in answers) + ' ms')
        self.assert_one_after_the_other(*ended)
        self.assertEqual([], self.on_engine(web))

        # What needs the bus says so, soon.
        other = self.create(name='other', operation='run', command=self.sleeps)
        self.succeeded(other['action'], 20)
        logs = f'/v1/containers/{other["uuid"]}/logs'
        answer = self.request('GET', logs, expect=503)
        self.assertEqual('bus_unavailable', answer.json['errors'][0]['code'])
        self.assertLess(answer.seconds, 20)
        self.note(f'without RabbitMQ: 503 for logs within {answer.seconds:.1f} s')

        # A conductor can be ended and started all the same.
        conductor, = self.processes.conductors
        began = time.monotonic()
        self.assertEqual(0, conductor.stop())
        self.note(f'without RabbitMQ: a conductor ended within {time.monotonic() - began:.1f} s')
        stop = self.ask(other, 'stop', timeout=0)
        self.processes.start_conductor()
        self.succeeded(stop)
        self.succeeded(self.ask(other, 'start'))

        # When the broker is back, so is everything.
        broker.start()
        answer = fixtures.eventually(lambda: [one for one in [self.request('GET', logs)]
                                              if one.status == 200], 90, 0.5)[0]
        self.assertIn('hello\n', answer.json['output'])
        self.succeeded(self.ask(other, 'delete', force='true'))
