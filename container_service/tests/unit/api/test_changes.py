# SPDX-License-Identifier: Apache-2.0
"""Operations that change the record of a container, and answers that older clients wait for."""

import base64
import io
import tarfile
import threading
import time

import sqlalchemy as sa

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.db import payloads
from container_service.drivers import base as drivers
from container_service.tests.unit.api import base

MIB = 1024 * 1024


def _archive():
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode='w') as archive:
        entry = tarfile.TarInfo('a')
        entry.size = 1
        archive.addfile(entry, io.BytesIO(b'1'))
    return made.getvalue()


ARCHIVE = _archive()


class ChangeCase(base.ApiTestCase):

    conf_values = {'sync_timeout': 10}

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.patch(self.parts.doorbell, 'ring', lambda *which: None)
        self.uuid = self.make('web', 'Running')

    def conduct(self, end, queued=1):
        """Have a conductor end the next action with ``end(claim)``.

        It does so as soon as so many are unfinished.
        """
        def work():
            deadline = time.monotonic() + 10
            while time.monotonic() < deadline:
                waiting = [action for action in self.actions_of(self.uuid)
                           if action.status in states.UNFINISHED]
                claim = self.claim(self.uuid) if len(waiting) >= queued else None
                if claim is not None:
                    end(claim)
                    return
                time.sleep(0.02)

        thread = threading.Thread(target=work)
        thread.start()
        self.addCleanup(thread.join)

    def succeed(self, result=None, observe=True):
        self.conduct(lambda claim: lifecycle.succeed(
            self.db, claim, drivers.Observed('Running', engine_id='e1', result=result)
            if observe else None))

    def fail(self, error, queued=1):
        self.conduct(lambda claim: lifecycle.fail(
            self.db, claim, lifecycle.as_error(error), drivers.Observed('Running')), queued)

    def update(self, body, path='', method='PATCH', **how):
        return self.call(method, f'/v1/containers/web{path}', body, **how)


class TestUpdate(ChangeCase):

    def test_older_clients_get_the_changed_container(self):
        self.succeed()
        answer = self.update({'cpu': '2', 'memory': '128', 'name': 'shop'}, version='1.40')
        self.assertEqual(200, answer.status_int)
        self.assertEqual((2.0, '128', 'shop'),
                         tuple(answer.json[key] for key in ('cpu', 'memory', 'name')))
        row = self.container(self.uuid)
        self.assertEqual(('shop', 'shop'), (row.name, row.live_name))
        [action] = self.actions_of(self.uuid)[1:]
        self.assertEqual(('update', 2.0, 128 * MIB), (
            action.operation, action.params['cpu'], action.params['memory_bytes']))

    def test_others_get_the_action(self):
        answer = self.update({'memory': '64m', 'restart_policy': {'Name': 'always'}},
                             version='1.41')
        self.assertEqual((202, 'update', states.QUEUED), (
            answer.status_int, answer.json['operation'], answer.json['status']))
        self.assertNotIn('memory_bytes', self.container(self.uuid).spec)
        self.carry_out(self.uuid)
        self.assertEqual({'memory_bytes': 64 * MIB, 'restart_policy': {
            'Name': 'always', 'MaximumRetryCount': 0}}, self.container(self.uuid).spec)

    def test_what_failed_is_told_to_who_waits_and_changes_nothing(self):
        self.fail(exceptions.DriverError('Minimum memory limit allowed is 6MB'))
        answer = self.update({'memory': '6'}, version='1.40')
        detail = self.assert_refused(502, 'engine_error', answer)
        self.assertIn('Minimum memory', detail)
        self.assertEqual({}, self.container(self.uuid).spec)

    def test_what_was_cancelled_is_told_too(self):
        self.conduct(lambda claim: lifecycle.end_cancelled(
            self.db, claim, drivers.Observed('Running'),
            lifecycle.as_error(exceptions.Cancelled())))
        answer = self.update({'cpu': 1}, version='1.40')
        self.assert_refused(409, 'cancelled', answer)

    def test_what_was_skipped_is_told_too(self):
        self.post('/v1/containers/web/pause')
        self.fail(exceptions.DriverError('no'), queued=2)
        self.assert_refused(409, 'skipped', self.update({'cpu': 1}, version='1.40'))

    def test_what_takes_too_long_is_named(self):
        self.conf.set_override('sync_timeout', 1, group='api')
        answer = self.update({'cpu': 1}, version='1.40')
        detail = self.assert_refused(504, 'action_unfinished', answer)
        [action] = self.actions_of(self.uuid)[1:]
        self.assertIn(action.uuid, detail)
        self.assertEqual(states.QUEUED, action.status)

    def test_bad_values_name_the_field_and_change_nothing(self):
        for version in ('1.1', '1.40', '1.41'):
            for body, field in (
                    ({'cpu': 'many'}, 'cpu'), ({'cpu': True}, 'cpu'), ({'cpu': 0}, 'cpu'),
                    ({'cpu': 10 ** 9}, 'cpu'), ({'memory': '5'}, 'memory'),
                    ({'memory': 64.5}, 'memory'), ({'memory': '1t'}, 'memory'),
                    ({'memory': []}, 'memory'), ({'name': 'a'}, 'name'),
                    ({'name': 'a b'}, 'name'), ({'name': self.uuid}, 'name'),
                    ({'name': 7}, 'name'), ({'auto_heal': 'perhaps'}, 'auto_heal'),
                    ({'restart_policy': {'Name': 'sometimes'}}, 'restart_policy'),
                    ({'restart_policy': {'Name': 'always', 'More': 1}}, 'restart_policy'),
                    ({'restart_policy': 'always:3'}, 'restart_policy')):
                answer = self.update(body, version=version)
                self.assertIn(field, self.assert_refused(400, 'invalid_parameter', answer))
            self.assert_refused(400, 'unknown_parameter',
                                self.update({'image': 'other'}, version=version))
            self.assert_refused(400, 'unknown_parameter', self.call(
                'PATCH', '/v1/containers/web?cpu=1', version=version))
        self.assertEqual(1, len(self.actions_of(self.uuid)))

    def test_none_is_a_name_like_others(self):
        """Null has a spelling of its own in JSON, other than in a query."""
        answer = self.update({'name': 'None'}, version='1.41')
        self.assertEqual('None', answer.json['parameters']['name'])
        answer = self.post('/v1/containers/web/execution', {
            'command': ['cat'], 'stdin': 'None'}, version='1.41')
        with self.db.read() as conn:
            self.assertEqual({'stdin': b'None'}, payloads.of(conn, answer.json['uuid']))

    def test_a_new_name_at_every_version(self):
        for version, name in (('1.1', 'n1'), ('1.13', 'n2'), ('1.14', 'n3')):
            answer = self.update({'name': name}, '?dry_run=true', version=version)
            self.assertEqual(200, answer.status_int, answer)

    def test_nothing_to_change(self):
        for version in ('1.40', '1.41'):
            for body in ({}, {'cpu': None, 'name': None}, None):
                for how in ({}, {'path': '/resize_container', 'method': 'POST'}):
                    answer = self.update(body, version=version, **how)
                    self.assertIn('cpu, memory, ', self.assert_refused(
                        400, 'invalid_request', answer))
        self.assertEqual(1, len(self.actions_of(self.uuid)))

    def test_what_does_not_go_with_what_it_has(self):
        self.make('short', 'Running', auto_remove=True)
        for body, field in (({'auto_heal': True}, 'auto_heal'),
                            ({'restart_policy': {'Name': 'always'}}, 'restart_policy')):
            answer = self.call('PATCH', '/v1/containers/short', body, version='1.41')
            self.assertIn(field, self.assert_refused(400, 'invalid_parameter', answer))
        answer = self.call('PATCH', '/v1/containers/short', {
            'auto_heal': False, 'restart_policy': {'Name': 'no'}}, version='1.41')
        self.assertEqual(202, answer.status_int)

    def test_wrong_status(self):
        self.set_status(self.uuid, states.ERROR)
        self.assert_refused(409, 'invalid_state', self.update({'cpu': 1}, version='1.40'))

    def test_unknown_container(self):
        self.assert_refused(404, 'container_not_found',
                            self.call('PATCH', '/v1/containers/nobody', {'cpu': 1}))


class TestResize(ChangeCase):

    def test_it_is_an_update_of_another_shape(self):
        answer = self.update({'cpu': '0.5'}, '/resize_container', 'POST', version='1.19')
        self.assertEqual((202, 'web'), (answer.status_int, answer.json['name']))
        self.carry_out(self.uuid)
        self.assertEqual({'cpu': 0.5}, self.container(self.uuid).spec)

    def test_older_versions_do_not_have_it(self):
        answer = self.update({'cpu': '0.5'}, '/resize_container', 'POST', version='1.18')
        self.assert_refused(404, 'not_found', answer)


class TestRename(ChangeCase):

    def test_the_oldest_clients(self):
        self.succeed(observe=False)
        answer = self.post('/v1/containers/web/rename?name=shop', version='1.13')
        self.assertEqual((200, 'shop'), (answer.status_int, answer.json['name']))
        self.assert_at_rest(self.uuid, 'Running')

    def test_versions(self):
        for version in ('1.14', '1.40'):
            answer = self.post('/v1/containers/web/rename?name=shop', version=version)
            self.assert_refused(404, 'not_found', answer)
        answer = self.post('/v1/containers/web/rename', {'name': 'shop'}, version='1.41')
        self.assertEqual(202, answer.status_int)

    def test_a_name_that_is_taken(self):
        self.make('shop', 'Running')
        answer = self.post('/v1/containers/web/rename', {'name': 'shop'}, version='1.41')
        self.assert_refused(409, 'name_taken', answer)
        self.assert_refused(409, 'name_taken', self.update({'name': 'shop'}))
        self.assertEqual(1, len(self.actions_of(self.uuid)))
        # Its own is free to it.
        answer = self.post('/v1/containers/web/rename', {'name': 'web'}, version='1.41')
        self.assertEqual(202, answer.status_int)

    def test_a_name_that_is_taken_before_it_is_given(self):
        self.update({'name': 'shop', 'cpu': 1}, version='1.41')
        claim = self.claim(self.uuid)
        self.make('shop', 'Running')
        observed = drivers.Observed('Running', engine_id='e1')
        error = self.assertRaises(exceptions.NameTaken, lifecycle.succeed, self.db, claim,
                                  observed)
        self.assertIn('shop', error.detail)
        lifecycle.fail(self.db, claim, lifecycle.as_error(error), observed, done=True)
        row = self.container(self.uuid)
        self.assertEqual(('web', 'web', {'cpu': 1.0}), (row.name, row.live_name, row.spec))
        self.assertEqual(('update', states.FAILED), self.outcomes(self.uuid)[-1])

    def test_it_is_required(self):
        for body in ({}, {'name': None}, {'name': ''}):
            answer = self.post('/v1/containers/web/rename', body, version='1.41')
            self.assertIn('name', self.assert_refused(400, 'invalid_parameter', answer))

    def test_another_may_have_the_old_name_then(self):
        self.post('/v1/containers/web/rename', {'name': 'shop'}, version='1.41')
        self.carry_out(self.uuid)
        self.make('web', 'Running')
        self.assertEqual(self.uuid, self.get('/v1/containers/shop').json['uuid'])


class TestPutArchive(ChangeCase):

    conf_values = {'sync_timeout': 10, 'max_archive_bytes': 1024 * 1024}
    PATH = '/v1/containers/web/put_archive'

    def put(self, data, path='/tmp', **how):
        body = {'data': base64.b64encode(data).decode() if isinstance(data, bytes) else data}
        return self.post(f'{self.PATH}?path={path}', body, **how)

    def payloads(self):
        with self.db.read() as conn:
            return conn.execute(sa.select(payloads.table)).all()

    def test_older_clients_wait(self):
        self.succeed()
        answer = self.put(ARCHIVE, version='1.40')
        self.assertEqual((200, None), (answer.status_int, answer.json))
        [action] = self.actions_of(self.uuid)[1:]
        self.assertEqual({'path': '/tmp'}, action.params)
        self.assertEqual([], self.payloads())

    def test_others_get_the_action(self):
        answer = self.post(self.PATH, {
            'path': '/tmp', 'data': base64.b64encode(ARCHIVE).decode()}, version='1.41')
        self.assertEqual((202, {'path': '/tmp'}),
                         (answer.status_int, answer.json['parameters']))
        [kept] = self.payloads()
        self.assertEqual((answer.json['uuid'], 'data'), (kept.owner_uuid, kept.name))
        with tarfile.open(fileobj=io.BytesIO(kept.data)) as archive:
            self.assertEqual(['a'], archive.getnames())

    def test_what_ends_without_running_leaves_nothing(self):
        for end in ('cancel', 'skip', 'delete'):
            uuid = self.make(end, 'Running')
            self.post(f'/v1/containers/{end}/kill?signal=HUP')
            self.PATH = f'/v1/containers/{end}/put_archive'
            answer = self.put(ARCHIVE, version='1.41')
            self.assertEqual(1, len(self.payloads()))
            if end == 'cancel':
                self.cancel(answer.json['uuid'])
            elif end == 'skip':
                lifecycle.fail(self.db, self.claim(uuid), {'code': 'x', 'detail': 'x'},
                               drivers.Observed('Running'))
            else:
                self.delete(f'/v1/containers/{end}?force=true')
            self.assertEqual([], self.payloads(), end)

    def test_before_1_25_it_is_plain_text(self):
        self.succeed()
        answer = self.put(ARCHIVE.decode(), version='1.24')
        self.assertEqual(200, answer.status_int)
        self.assert_refused(400, 'invalid_parameter', self.put(ARCHIVE.decode(), version='1.25'))

    def test_nothing_is_unpacked_for_a_container_that_is_not_there(self):
        self.PATH = '/v1/containers/nowhere/put_archive'
        self.assert_refused(404, 'container_not_found', self.put(b'x', version='1.41'))

    def test_bad_input_changes_nothing(self):
        hostile = io.BytesIO()
        with tarfile.open(fileobj=hostile, mode='w') as archive:
            archive.addfile(tarfile.TarInfo('../../etc/passwd'))
        for answer, status, code, field in (
                (self.put(hostile.getvalue(), version='1.40'), 400, 'hostile_archive', 'data'),
                (self.put('%%%', version='1.40'), 400, 'invalid_parameter', 'data'),
                (self.put(b'x', version='1.40'), 400, 'invalid_parameter', 'data'),
                (self.put(7, version='1.40'), 400, 'invalid_parameter', 'data'),
                (self.put('', version='1.40'), 400, 'invalid_parameter', 'data'),
                (self.post(f'{self.PATH}?path=/tmp', version='1.40'), 400, 'invalid_parameter',
                 'data'),
                (self.post(self.PATH, {'data': 'x'}, version='1.40'), 400, 'invalid_parameter',
                 'path'),
                (self.put(ARCHIVE, '%00', version='1.40'), 400, 'invalid_parameter', 'path'),
                (self.post(f'{self.PATH}?path=/tmp&data=x', version='1.40'), 400,
                 'unknown_parameter', 'data'),
                (self.put(b'x' * (1024 * 1024 + 1), version='1.40'), 413, 'archive_too_large',
                 'data'),
                (self.put(b'x' * (2 * 1024 * 1024), version='1.40'), 413, 'body_too_large',
                 'body')):
            self.assertIn(field, self.assert_refused(status, code, answer))
        self.set_status(self.uuid, states.ERROR)
        self.assert_refused(409, 'invalid_state', self.put(ARCHIVE, version='1.40'))
        self.assertEqual([], self.payloads())
        self.assertEqual(1, len(self.actions_of(self.uuid)))

    def test_others_may_not_be_as_large(self):
        answer = self.update({'name': 'x' * 2 * MIB})
        self.assert_refused(413, 'body_too_large', answer)


class TestExecution(ChangeCase):

    BODY = {'command': ['cat'], 'stdin': 'in', 'environment': {'A': '1'}, 'timeout': 30}
    PREFERRED = {'Prefer': 'respond-async'}

    def asked(self, answer):
        self.assertEqual(202, answer.status_int, answer)
        action = self.actions_of(self.uuid)[-1]
        self.assertEqual((answer.json['uuid'], 'execution'), (action.uuid, action.operation))
        self.assertEqual({'command': ['cat'], 'environment': {'A': '1'},
                          'secret_environment': None, 'timeout_seconds': 30,
                          'user': None, 'workdir': None}, action.params)
        with self.db.read() as conn:
            self.assertEqual({'stdin': b'in'}, payloads.of(conn, action.uuid))
        self.assertTrue(answer.headers['Location'].endswith(f'/v1/actions/{action.uuid}'))

    def test_its_own_address(self):
        self.asked(self.post('/v1/containers/web/execution', self.BODY, version='1.41'))

    def test_variables_are_not_shown(self):
        answer = self.post('/v1/containers/web/execution', {
            **self.BODY, 'environment': {'TOKEN': 's3cr3t'}}, version='1.41')
        self.assertEqual({'TOKEN': '***'}, answer.json['parameters']['environment'])
        for path in ('/v1/actions', answer.headers['Location']):
            shown = self.get(path, version='1.41', persona=base.READER)
            self.assertIn('TOKEN', shown.text)
            self.assertNotIn('s3cr3t', shown.text)
        self.assertEqual({'TOKEN': 's3cr3t'}, self.claim(self.uuid).action.params['environment'])

    def test_a_command_and_its_variables_are_bounded(self):
        for field, body in (('command', {'command': ['a' * 65537]}),
                            ('environment', {**self.BODY, 'environment': {
                                f'A{n}': 'x' * 3000 for n in range(30)}})):
            for path in ('execution', 'execute'):
                self.assertIn(field, self.assert_refused(400, 'invalid_parameter', self.post(
                    f'/v1/containers/web/{path}', body, version='1.41')))

    def test_a_call_that_nobody_waits_for(self):
        answer = self.post('/v1/containers/web/execute', self.BODY, version='1.41',
                           headers=self.PREFERRED)
        self.asked(answer)
        self.assertEqual('respond-async', answer.headers['Preference-Applied'])

    def test_older_clients_have_none_of_it(self):
        self.assert_refused(404, 'not_found', self.post(
            '/v1/containers/web/execution', {'command': 'ls'}, version='1.40'))
        self.patch(self.parts.calls, 'ask', lambda *call: {'output': '', 'exit_code': 0})
        answer = self.post('/v1/containers/web/execute?command=ls', version='1.40',
                           headers=self.PREFERRED)
        self.assertEqual((200, 0), (answer.status_int, answer.json['exit_code']))
        self.assertEqual(1, len(self.actions_of(self.uuid)))

    def test_what_it_gave_is_kept(self):
        answer = self.post('/v1/containers/web/execution', self.BODY, version='1.41')
        result = {'output': 'in', 'exit_code': 0, 'exec_id': 'x', 'truncated': False}
        lifecycle.succeed(self.db, self.claim(self.uuid), drivers.Observed(
            'Running', result=result))
        self.assertEqual(result, self.get(answer.headers['Location']).json['result'])
        with self.db.read() as conn:
            self.assertEqual({}, payloads.of(conn, answer.json['uuid']))

    def test_what_its_conductor_died_of_is_not_run_again(self):
        answer = self.post('/v1/containers/web/execution', self.BODY, version='1.41')
        claim = self.claim(self.uuid)
        lifecycle.take_over(self.db, self.action(claim.action.uuid))
        action = self.action(answer.json['uuid'])
        self.assertEqual((states.INTERRUPTED, 'interrupted'),
                         (action.status, action.error['code']))

    def test_bad_input(self):
        for body, field in (({}, 'command'), ({'command': []}, 'command'),
                            ({'command': ['a', 1]}, 'command'),
                            ({'command': 'ls', 'timeout': 601}, 'timeout'),
                            ({'command': 'ls', 'environment': ['A']}, 'environment'),
                            ({'command': 'ls', 'workdir': 'tmp'}, 'workdir'),
                            ({'command': 'ls', 'stdin': 1}, 'stdin')):
            for path in ('execution', 'execute'):
                answer = self.post(f'/v1/containers/web/{path}', body, version='1.41',
                                   headers=self.PREFERRED)
                self.assertIn(field, self.assert_refused(400, 'invalid_parameter', answer))
        self.set_status(self.uuid, states.PAUSED)
        self.assert_refused(409, 'invalid_state', self.post(
            '/v1/containers/web/execution', {'command': 'ls'}, version='1.41'))


class TestNetworks(ChangeCase):

    def ask_for(self, what, **how):
        return self.post(f'/v1/containers/web/network_{what}', **how)

    def test_answers_to_older_clients(self):
        answer = self.ask_for('attach?network=backend&fixed_ip=10.0.0.5', version='1.40')
        self.assertEqual((200, None), (answer.status_int, answer.json))
        answer = self.ask_for('detach?network=backend', version='1.40')
        self.assertEqual((202, None), (answer.status_int, answer.json))
        self.assertEqual(
            [('network_attach', {'network': 'backend', 'port': None, 'fixed_ip': '10.0.0.5'}),
             ('network_detach', {'network': 'backend', 'port': None})],
            [(action.operation, action.params) for action in self.actions_of(self.uuid)[1:]])

    def test_versions(self):
        for what, since in (('attach', 8), ('detach', 6)):
            answer = self.ask_for(f'{what}?network=backend', version=f'1.{since - 1}')
            self.assert_refused(404, 'not_found', answer)
            self.assertLess(self.ask_for(f'{what}?network=backend', version=f'1.{since}')
                            .status_int, 300)
            self.assertEqual(202, self.ask_for(what, body={'network': 'backend'},
                                               version='1.41').status_int)

    def test_what_it_is_attached_to_is_an_option_of_it(self):
        """So that it is attached to the same when it is made anew."""
        for what, fixed, networks, nets in (
                ('attach', '10.0.0.5', ('bridge', 'backend'),
                 [{'network': 'bridge'}, {'network': 'backend', 'v4-fixed-ip': '10.0.0.5'}]),
                ('attach', 'fd00::5', ('bridge', 'backend', 'six'),
                 [{'network': 'bridge'}, {'network': 'backend', 'v4-fixed-ip': '10.0.0.5'},
                  {'network': 'six', 'v6-fixed-ip': 'fd00::5'}]),
                ('detach', None, ('backend', 'six'),
                 [{'network': 'backend', 'v4-fixed-ip': '10.0.0.5'},
                  {'network': 'six', 'v6-fixed-ip': 'fd00::5'}])):
            name = networks[-1] if what == 'attach' else 'bridge'
            self.ask_for(what, body={'network': name, **({'fixed_ip': fixed} if fixed else {})},
                         version='1.41')
            lifecycle.succeed(self.db, self.claim(self.uuid), drivers.Observed(
                'Running', result={'network': name,
                                   'networks': {each: f'id-{each}' for each in networks}}))
            self.assertEqual(nets, self.container(self.uuid).spec['nets'])

    def test_bad_input(self):
        for query, field in (
                ('', 'network'), ('network=', 'network'), ('network=host', 'network'),
                ('network=none', 'network'), ('network=container:x', 'network'),
                ('network=a/b', 'network'), ('network=a&port=p', 'port')):
            for what in ('attach', 'detach'):
                answer = self.ask_for(f'{what}?{query}', version='1.40')
                self.assertIn(field, self.assert_refused(400, 'invalid_parameter', answer))
        for address in ('here', '10.0.0.256', '10.0.0.0/8', ''):
            answer = self.ask_for(f'attach?network=a&fixed_ip={address}', version='1.40')
            self.assertIn('fixed_ip', self.assert_refused(400, 'invalid_parameter', answer))
        self.assertEqual(1, len(self.actions_of(self.uuid)))


class TestCommit(ChangeCase):

    MADE = {'repo': 'mine/web', 'tag': 'v1', 'image_id': 'sha256:1', 'digest': None, 'size': 7}

    def test_older_clients_get_the_image(self):
        self.succeed(dict(self.MADE))
        answer = self.post('/v1/containers/web/commit?repository=mine/web&tag=v1',
                           version='1.40')
        self.assertEqual(202, answer.status_int)
        self.assertEqual(self.MADE, {name: answer.json[name] for name in self.MADE})
        image = self.get(f'/v1/images/{answer.json["uuid"]}', version='1.41').json
        self.assertEqual(('mine/web', 'v1', 'sha256:1'),
                         (image['repo'], image['tag'], image['image_id']))

    def test_the_image_is_there_as_soon_as_the_action_has_succeeded(self):
        uuids = set()
        for _ in range(2):
            answer = self.post('/v1/containers/web/commit', {'repository': 'mine/web'},
                               version='1.41')
            self.assertEqual(
                {'repository': 'mine/web', 'tag': 'latest'}, answer.json['parameters'])
            lifecycle.succeed(self.db, self.claim(self.uuid), drivers.Observed(
                'Running', result=dict(self.MADE)))
            uuids.add(self.get(answer.headers['Location']).json['result']['uuid'])
        # The name is that of one image.
        self.assertEqual(1, len(uuids))

    def test_bad_input(self):
        for query, field in (
                ('', 'repository'), ('repository=', 'repository'), ('repository=A', 'repository'),
                ('repository=a:b', 'repository'), ('repository=reg.example.org/a', 'repository'),
                ('repository=a%40sha256:1', 'repository'),
                ('repository=' + 'a' * 300, 'repository'),
                ('repository=a&tag=b/c', 'tag'), ('repository=a&tag=' + 'b' * 129, 'tag')):
            answer = self.post(f'/v1/containers/web/commit?{query}', version='1.40')
            self.assertIn(field, self.assert_refused(400, 'invalid_parameter', answer))
        self.set_status(self.uuid, states.CREATED)
        self.assert_refused(409, 'invalid_state', self.post(
            '/v1/containers/web/commit?repository=a', version='1.40'))
        self.assertEqual(1, len(self.actions_of(self.uuid)))
