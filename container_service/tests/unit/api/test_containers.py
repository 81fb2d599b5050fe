# SPDX-License-Identifier: Apache-2.0
from container_service import exceptions
from container_service import operations
from container_service import states
from container_service.tests import base as tests
from container_service.tests.unit.api import base

ASYNC = [op for op in operations.of_kind(operations.ASYNC) if op.own_path]


class TestCreate(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.bay_row = self.make_bay()

    def test_answers_202_with_the_container_at_every_version(self):
        for version in (None, '1.1', '1.40', '1.41'):
            answer = self.post('/v1/containers', {'image': 'busybox'}, version=version)
            container = answer.json
            self.assertEqual(202, answer.status_int)
            self.assertEqual(f'http://localhost:9517/v1/containers/{container["uuid"]}',
                             answer.headers['Location'])
            [action] = self.actions_of(container['uuid'])
            self.assertEqual(f'<http://localhost:9517/v1/actions/{action.uuid}>; rel="monitor"',
                             answer.headers['Link'])
            self.assertEqual('Creating', container['status'])
            self.assertEqual('create-in-progress', container['task_state'])
            if version == '1.41':
                self.assertEqual(action.uuid, container['action']['uuid'])
            else:
                self.assertNotIn('action', container)

    def test_what_is_shown_later_is_what_was_answered(self):
        created = self.post('/v1/containers', {
            'image': 'busybox', 'name': 'c1', 'command': 'sh -c "echo 1"', 'memory': '64m',
            'cpu': '0.5', 'environment': {'A': 'b\nc', 'N': 1}, 'labels': {'k': 'v'},
            'workdir': '/tmp', 'hostname': 'h.example.org', 'user': 'nobody:nogroup',
            'entrypoint': ['sh'], 'tty': 'True', 'interactive': False,
            'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': '3'},
            'image_pull_policy': 'IfNotPresent', 'bay_uuid': self.bay_row.name},
            version='1.40').json
        shown = self.get('/v1/containers/c1').json
        self.assertEqual(created, shown)
        expected = {
            'command': ['sh', '-c', 'echo 1'], 'memory': '64', 'memory_bytes': 64 * 2 ** 20,
            'cpu': 0.5, 'environment': {'A': 'b\nc', 'N': '1'}, 'labels': {'k': 'v'},
            'workdir': '/tmp', 'hostname': 'h.example.org', 'user': 'nobody:nogroup',
            'entrypoint': ['sh'], 'tty': True, 'interactive': False,
            'restart_policy': {'Name': 'on-failure', 'MaximumRetryCount': '3'},
            'image_pull_policy': 'ifnotpresent', 'bay_uuid': self.bay_row.uuid}
        self.assertEqual(expected, {name: shown[name] for name in expected})

    def test_shape_is_what_clients_of_the_field_read(self):
        container = self.post('/v1/containers', {'image': 'busybox'}).json
        for key in ('uuid name image status status_reason task_state cpu memory command '
                    'environment labels addresses ports restart_policy host links created_at '
                    'updated_at bay_uuid user_id project_id auto_remove auto_heal healthcheck '
                    'security_groups workdir hostname interactive tty disk image_driver runtime '
                    'privileged image_pull_policy registry_id cpu_policy entrypoint '
                    'status_detail').split():
            self.assertIn(key, container)
        self.assertEqual({'Name': 'no', 'MaximumRetryCount': '0'}, container['restart_policy'])
        self.assertEqual(['self', 'bookmark'], [link['rel'] for link in container['links']])
        for link in container['links']:
            path = link['href'].removeprefix('http://localhost:9517')
            self.assertEqual(container['uuid'], self.get(path).json['uuid'])

    def test_some_of_it_is_for_administrators(self):
        container = self.post('/v1/containers', {'image': 'i'}, persona=base.MEMBER).json
        for key in ('host', 'runtime', 'privileged', 'image_pull_policy'):
            self.assertNotIn(key, container)

    def test_run(self):
        for sent in ('true', 'True', '1', 'on', 'yes'):
            answer = self.post(f'/v1/containers?run={sent}', {'image': 'i'})
            [action] = self.actions_of(answer.json['uuid'])
            self.assertEqual('run', action.operation)
        for sent in ('false', 'False', '0', 'None', 'no', 'off'):
            answer = self.post(f'/v1/containers?run={sent}', {'image': 'i'})
            [action] = self.actions_of(answer.json['uuid'])
            self.assertEqual('create', action.operation)
        self.assert_refused(400, 'invalid_parameter',
                            self.post('/v1/containers?run=maybe', {'image': 'i'}))

    def test_what_the_field_s_command_line_sends(self):
        # Seen on the wire: `appcontainer create --cpu 0.5 --memory 64 img sleep 100`.
        answer = self.post('/v1/containers', {
            'name': 'c1', 'image': 'cirros', 'memory': '64', 'cpu': '0.5', 'environment': {},
            'labels': {}, 'auto_remove': False, 'command': ['sleep', '100'], 'hints': {},
            'nets': [], 'mounts': []}, version='1.40')
        self.assertEqual((202, ['sleep', '100'], '64'), (
            answer.status_int, answer.json['command'], answer.json['memory']))

    def test_what_magnum_s_command_line_sends(self):
        answer = self.post('/v1/containers', {
            'name': 'c2', 'image': 'cirros', 'bay_uuid': self.bay_row.uuid,
            'command': 'ping -c 4 8.8.8.8', 'memory': '64m'})
        self.assertEqual((202, ['ping', '-c', '4', '8.8.8.8'], self.bay_row.uuid), (
            answer.status_int, answer.json['command'], answer.json['bay_uuid']))

    def test_neutral_values_are_not_refused(self):
        for name, value in (('auto_remove', 'False'), ('auto_heal', False), ('runtime', None),
                            ('privileged', 'false'), ('healthcheck', {}), ('host', ''),
                            ('image_driver', 'docker'), ('image_driver', 'None'),
                            ('security_groups', ['default']), ('security_groups', []),
                            ('name', None), ('command', None), ('memory', None)):
            answer = self.post('/v1/containers', {'image': 'i', name: value})
            self.assertEqual(202, answer.status_int, answer)
        for name, value in (('auto_remove', True), ('privileged', 'x'), ('mounts', [{}]),
                            ('nets', [{'network': 'n'}]), ('runtime', 'kata'),
                            ('security_groups', ['web'])):
            detail = self.assert_refused(400, 'invalid_parameter', self.post(
                '/v1/containers', {'image': 'i', name: value}))
            self.assertIn(name, detail)

    def test_before_1_36_interactive_means_a_terminal(self):
        for version, tty in (('1.35', True), ('1.36', False)):
            answer = self.post('/v1/containers', {'image': 'i', 'interactive': 'true'},
                               version=version)
            self.assertEqual((True, tty), (answer.json['interactive'], answer.json['tty']))

    def test_name_is_taken(self):
        self.make('c1')
        detail = self.assert_refused(409, 'name_taken', self.post(
            '/v1/containers', {'image': 'i', 'name': 'c1'}))
        self.assertIn('c1', detail)
        self.assertEqual(202, self.post('/v1/containers', {'image': 'i', 'name': 'c1'},
                                        project='other').status_int)

    def test_bay_is_named_or_there_is_only_one(self):
        self.make_bay('bay2')
        detail = self.assert_refused(400, 'bay_required',
                                     self.post('/v1/containers', {'image': 'i'}))
        self.assertIn('bay, bay2', detail)
        self.assert_refused(404, 'bay_not_found', self.post(
            '/v1/containers', {'image': 'i', 'bay_uuid': 'bay3'}))
        self.assertEqual([], self.get('/v1/containers').json['containers'])

    def test_a_large_body_is_refused_though_others_may_be_larger(self):
        # A list of a thousand containers shows them all.
        big = {'image': 'i', 'environment': {f'K{i}': 'x' * 10000 for i in range(7)}}
        self.assert_refused(413, 'body_too_large', self.post('/v1/containers', big))
        del big['environment']['K6']
        self.assertEqual(202, self.post('/v1/containers', big).status_int)


class TestNamesThatControllersHave(base.ApiTestCase):
    """Containers named after what controllers have were hidden behind it."""

    def test_every_name_is_found(self):
        self.make_bay()
        for name in ('index', 'post', 'get', 'delete', 'parts', 'context', 'child', 'base',
                     'version', 'start', 'logs', 'container_actions', 'v1', 'containers',
                     '0_route', 'None'):
            uuid = self.make(name, status='Stopped')
            self.assertEqual(uuid, self.get(f'/v1/containers/{name}').json['uuid'])
            self.assertEqual(202, self.post(f'/v1/containers/{name}/start').status_int)

    def test_no_attribute_is_an_address(self):
        self.make_bay()
        uuid = self.make(status='Stopped')
        for path in ('/v1/parts', '/parts/conf', '/_v1', '/get', '/index', '/_route',
                     f'/v1/containers/{uuid}/delete', f'/v1/containers/{uuid}/get',
                     f'/v1/containers/{uuid}/create', f'/v1/containers/{uuid}/parts/db/engine',
                     f'/v1/containers/{uuid}/__class__/__init__/__globals__'):
            for method in ('GET', 'POST', 'DELETE', 'PUT'):
                self.assert_refused(404, 'not_found', self.call(method, path))
        self.assertEqual('Stopped', self.get(f'/v1/containers/{uuid}').json['status'])
        self.assertEqual(1, len(self.actions_of(uuid)))


class TestOperations(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()

    def at_rest(self, op, name):
        """A container in a status in which the operation is possible."""
        return self.make(name, status=sorted(op.allowed & states.CONTAINER_STATUSES)[0])

    def test_every_operation_of_the_table_has_its_address(self):
        for op in ASYNC:
            if op.waited or op.since > (1, 1) or op.older_body != operations.EMPTY:
                continue              # these have tests of their own
            for number, method in enumerate(('POST', 'PUT')):
                for version in (None, '1.1', '1.40'):
                    uuid = self.at_rest(op, f'{op.name}{number}{version}')
                    answer = self.call(method, f'/v1/containers/{uuid}/{op.name}',
                                       version=version)
                    self.assertEqual((202, b''), (answer.status_int, answer.body), op.name)
                    self.assertNotIn('Content-Type', answer.headers)
                    action = self.actions_of(uuid)[-1]
                    self.assertEqual((op.name, 'queued'), (action.operation, action.status))
                    self.assertEqual(
                        f'<http://localhost:9517/v1/actions/{action.uuid}>; rel="monitor"',
                        answer.headers['Link'])

    def test_from_1_41_the_action_is_the_answer(self):
        for op in ASYNC:
            for number, method in enumerate(('POST', 'PUT')):
                uuid = self.at_rest(op, f'{op.name}{number}')
                answer = self.call(method, f'/v1/containers/{uuid}/{op.name}',
                                   base.required_of(op), version='1.41')
                self.assertEqual(202, answer.status_int, answer)
                self.assertEqual((op.name, 'queued', uuid), (
                    answer.json['operation'], answer.json['status'],
                    answer.json['container_uuid']))
                self.assertEqual(f'http://localhost:9517/v1/actions/{answer.json["uuid"]}',
                                 answer.headers['Location'])
                self.assert_shown(answer.json)

    def test_delete(self):
        uuid = self.make('c1', status='Stopped')
        answer = self.delete('/v1/containers/c1', version='1.40')
        self.assertEqual((204, b''), (answer.status_int, answer.body))
        self.assertNotIn('Content-Type', answer.headers)
        self.assertIn('rel="monitor"', answer.headers['Link'])
        self.assertEqual('delete', self.actions_of(uuid)[-1].operation)
        self.make('c2', status='Stopped')
        answer = self.delete('/v1/containers/c2', version='1.41')
        self.assertEqual((202, 'delete'), (answer.status_int, answer.json['operation']))

    def test_the_text_false_is_false(self):
        # The field's command line always sends all three; taken for true, they would delete
        # what runs, of any project.
        uuid = self.make('c1', status='Running')
        query = 'force=False&stop=False&all_projects=False'
        self.assert_refused(409, 'invalid_state', self.delete(f'/v1/containers/c1?{query}'))
        self.set_status(uuid, 'Stopped')
        member = {'persona': base.MEMBER}
        self.assertEqual(204, self.delete(f'/v1/containers/c1?{query}', **member).status_int)
        self.assertEqual({'force': False, 'stop': False}, self.actions_of(uuid)[-1].params)

    def test_the_text_true_is_true(self):
        uuid = self.make('c1', status='Running')
        self.assertEqual(204, self.delete('/v1/containers/c1?stop=True').status_int)
        self.assertEqual({'force': False, 'stop': True}, self.actions_of(uuid)[-1].params)

    def test_junk_is_no_boolean(self):
        uuid = self.make('c1', status='Stopped')
        for query in ('force=2', 'stop=', 'stop=falsee', 'all_projects=x',
                      'force=True&force=False'):
            self.assert_refused(400, 'invalid_parameter',
                                self.delete(f'/v1/containers/c1?{query}'))
        self.assertEqual(1, len(self.actions_of(uuid)))

    def test_the_text_none_is_null(self):
        uuid = self.make('c1', status='Running')
        self.assertEqual(202, self.post('/v1/containers/c1/kill?signal=None').status_int)
        self.assertEqual({'signal': 'SIGKILL'}, self.actions_of(uuid)[-1].params)

    def test_parameters_come_in_the_query(self):
        uuid = self.make('c1', status='Running')
        self.assertEqual(202, self.post('/v1/containers/c1/stop?timeout=3').status_int)
        self.assertEqual({'timeout_seconds': 3}, self.actions_of(uuid)[-1].params)

    def test_from_1_41_parameters_may_come_in_a_body(self):
        uuid = self.make('c1', status='Running')
        path = '/v1/containers/c1/stop'
        self.assert_refused(400, 'invalid_request',
                            self.post(path, {'timeout': 3}, version='1.40'))
        self.assert_refused(400, 'invalid_parameter', self.post(
            path + '?timeout=4', {'timeout': 3}, version='1.41'))
        self.assertEqual(1, len(self.actions_of(uuid)))
        answer = self.post(path + '?timeout=3', {'timeout': 3}, version='1.41')
        self.assertEqual({'timeout_seconds': 3}, answer.json['parameters'])

    def test_an_empty_object_is_no_parameter(self):
        self.make('c1', status='Running')
        for body in ({}, b'', b' '):
            self.assertEqual(202, self.post('/v1/containers/c1/kill?signal=HUP', body,
                                            version='1.40').status_int)

    def test_refusals_of_parameters_name_them(self):
        self.make('c1', status='Running')
        for name, query in (('timeout', 'stop?timeout=-1'), ('timeout', 'stop?timeout=1.5'),
                            ('timeout', 'stop?timeout=3601'), ('timeout', 'stop?timeout=1_0'),
                            ('timeout', 'stop?timeout=1&timeout=2'), ('x', 'start?x=1'),
                            ('signal', 'kill?signal='), ('signal', 'kill?signal=99'),
                            ('signal', 'kill?signal=%C2%B2'), ('signal', 'kill?signal=a%20b')):
            answer = self.post(f'/v1/containers/c1/{query}')
            self.assertEqual(400, answer.status_int, query)
            self.assertIn(name, base.error(answer)['detail'])

    def test_wrong_status_is_told_with_what_to_do(self):
        self.make('c1', status='Running')
        answer = self.post('/v1/containers/c1/start')
        detail = self.assert_refused(409, 'invalid_state', answer)
        self.assertIn('Running', detail)
        self.assertIn('Stopped', base.error(answer)['hint'])

    def test_unknown_containers(self):
        for method, path in (('GET', ''), ('DELETE', ''), ('POST', '/start'), ('PUT', '/stop'),
                             ('GET', '/logs'), ('POST', '/execute?command=ls'),
                             ('GET', '/container_actions'), ('GET', '/container_actions/req-x')):
            for ident in ('nobody', '8a1ff1a6-8f25-4a5c-9d3c-8f9bd1b2a7c1', 'n' * 3000, '%C3%BC',
                          "x'%20or%201=1--"):
                self.assert_refused(404, 'container_not_found', self.call(
                    method, f'/v1/containers/{ident}{path}'))


class TestSynchronous(base.ApiTestCase):
    """[api] async_enable = false: the same path, and then the answer waits."""

    conf_values = {'async_enable': False, 'sync_timeout': 1}

    def test_time_is_up(self):
        self.make_bay()
        answer = self.post('/v1/containers', {'image': 'i'}, version='1.41')
        self.assertEqual((202, 'queued'), (answer.status_int, answer.json['action']['status']))

    def test_it_has_ended(self):
        self.make_bay()
        self.parts.calls.ring = lambda uuid, bay, *more: self.carry_out(uuid)
        answer = self.post('/v1/containers', {'image': 'i', 'name': 'c0'}, version='1.40')
        self.assertEqual((202, 'Created'), (answer.status_int, answer.json['status']))
        answer = self.post('/v1/containers', {'image': 'i', 'name': 'c1'}, version='1.41')
        self.assertEqual((200, 'Created', None, 'succeeded'), (
            answer.status_int, answer.json['status'], answer.json['task_state'],
            answer.json['action']['status']))
        answer = self.post('/v1/containers/c1/start', version='1.41')
        self.assertEqual((200, 'succeeded'), (answer.status_int, answer.json['status']))
        answer = self.post('/v1/containers/c1/stop', version='1.40')
        self.assertEqual((202, b''), (answer.status_int, answer.body))


class TestHistory(base.ApiTestCase):
    """container_actions, the older view of what became of a request."""

    def test_shape(self):
        self.make_bay()
        created = self.post('/v1/containers', {'image': 'i', 'name': 'c1'})
        uuid = created.json['uuid']
        self.carry_out(uuid)
        started = self.post('/v1/containers/c1/start')
        request_id = started.headers['X-Openstack-Request-Id']
        listed = self.get('/v1/containers/c1/container_actions').json
        self.assertEqual(['containerActions'], list(listed))
        self.assertEqual({'create', 'start'}, {a['action'] for a in listed['containerActions']})
        shown = self.get(f'/v1/containers/c1/container_actions/{request_id}').json
        self.assertEqual(('start', uuid, request_id, None, None, 'project', 'user'), tuple(
            shown[key] for key in ('action', 'container_uuid', 'request_id', 'finish_time',
                                   'message', 'project_id', 'user_id')))
        self.assertRegex(shown['start_time'],
                         r'^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}$')
        [event] = shown.pop('events')
        self.assertEqual({'event', 'start_time', 'finish_time', 'result', 'traceback'},
                         set(event))
        self.assertIn(shown, listed['containerActions'])

    def test_outcome(self):
        self.make_bay()
        self.make('c1', status='Created')
        answer = self.post('/v1/containers/c1/start')
        self.carry_out(self.get('/v1/containers/c1').json['uuid'])
        shown = self.get('/v1/containers/c1/container_actions/'
                         + answer.headers['X-Openstack-Request-Id']).json
        self.assertIsNotNone(shown['finish_time'])
        self.assertIsNone(shown['message'])
        self.assertEqual('Success', shown['events'][0]['result'])

    def test_unknown(self):
        self.make_bay()
        self.make('c1')
        for request in ('req-1', 'x' * 3000, '%C3%BC'):
            self.assert_refused(404, 'action_not_found',
                                self.get(f'/v1/containers/c1/container_actions/{request}'))
        self.assert_refused(404, 'not_found',
                            self.get('/v1/containers/c1/container_actions/a/b'))


class TestCalls(base.ApiTestCase):
    """logs and execute: the answer is the content, over the bus."""

    conf_values = {'call_slots': 1}

    def setUp(self):
        super().setUp()
        self.make_bay()
        self.asked, self.answer = [], ''
        self.start_conductor(self.ask)
        self.make('c1', status='Running')

    def ask(self, operation, params):
        self.asked.append((operation, params))
        if callable(self.answer):
            return self.answer()
        return {'result': self.answer}

    def test_logs_in_the_shapes_of_both_clients(self):
        path = '/v1/containers/c1/logs'
        for text in ('a\nü\n', ''):
            self.answer = {'output': text, 'cursor': 'x-1', 'truncated': False, 'more': False}
            for version in ('1.1', '1.40'):
                answer = self.get(path, version=version)
                self.assertEqual((200, text), (answer.status_int, answer.json))
            self.assertEqual({'output': text}, self.get(path).json)
            for version in ('1.41', 'latest'):
                self.assertEqual(self.answer, self.get(path, version=version).json)

    def test_logs_parameters_as_the_field_s_command_line_sends_them(self):
        self.answer = {'output': ''}
        self.get('/v1/containers/c1/logs?stdout=True&stderr=False&timestamps=False&tail=all')
        self.assertEqual([('logs', {'stdout': True, 'stderr': False, 'timestamps': False,
                                    'tail': None, 'since': None, 'cursor': None})], self.asked)

    def test_execute(self):
        self.answer = {'output': 'hi\n', 'exit_code': 3, 'exec_id': 'e'}
        for method, query, body, version in (
                ('POST', '?command=%22echo%22%20%22hi%22', None, '1.40'),
                ('PUT', '?command=echo+hi', None, None),
                ('POST', '', {'command': 'echo hi'}, '1.40'),
                ('POST', '', {'command': ['echo', 'hi']}, '1.41')):
            answer = self.call(method, f'/v1/containers/c1/execute{query}', body,
                               version=version)
            older = {} if version == '1.41' else {'proxy_url': None}
            self.assertEqual((200, {**self.answer, **older}), (answer.status_int, answer.json))
        self.assertEqual([['echo', 'hi']] * 4, [params['command'] for _, params in self.asked])

    def test_execute_of_more_than_one_line(self):
        self.answer = {'output': '', 'exit_code': 0, 'exec_id': 'e'}
        self.post("/v1/containers/c1/execute?command=sh+-c+'a%0Ab'")
        self.assertEqual(['sh', '-c', 'a\nb'], self.asked[0][1]['command'])

    def test_execute_refuses_what_it_cannot_do(self):
        path = '/v1/containers/c1/execute'
        for query in ('', '?command=', '?command=%22', '?command=a%00b', '?command=ls&run=false',
                      '?command=ls&interactive=True', '?command=ls&timeout=0'):
            self.assert_refused(400, 'invalid_parameter', self.post(path + query))
        self.assertEqual([], self.asked)

    def test_wrong_status_asks_nobody(self):
        self.make('c2', status='Stopped')
        self.assert_refused(409, 'invalid_state',
                            self.post('/v1/containers/c2/execute?command=ls'))
        self.assertEqual([], self.asked)

    def test_errors_of_the_conductor_are_told_as_they_are(self):
        for raised in (exceptions.EngineUnreachable('Engine says: no route.'),
                       exceptions.ExecuteTimeout(seconds=3),
                       exceptions.EngineContainerMissing(),
                       exceptions.DriverError('Engine says: no.'),
                       exceptions.UnsupportedByDriver(),
                       exceptions.NoConductor(bay='bay'), exceptions.Error()):
            self.answer = lambda e=raised: {'error': e.to_dict()}
            answer = self.get('/v1/containers/c1/logs')
            self.assertEqual(raised.detail,
                             self.assert_refused(raised.status, raised.code, answer))

    def test_no_more_calls_than_slots(self):
        gate = base.Gate()
        self.addCleanup(gate.open)
        self.answer = lambda: gate() or {'result': {'output': 'late'}}
        first = self.in_background(lambda: self.get('/v1/containers/c1/logs'))
        self.assertTrue(gate.entered.acquire(timeout=20))
        self.assert_refused(503, 'calls_busy', self.get('/v1/containers/c1/logs'))
        gate.open()
        self.assertEqual({'output': 'late'}, first().json)
        self.assertEqual({'output': 'late'}, self.get('/v1/containers/c1/logs').json)


class TestCallsWithoutConductor(base.ApiTestCase):

    def test_nobody_can_be_asked(self):
        self.make_bay()
        self.make('c1', status='Running')
        for answer in (self.get('/v1/containers/c1/logs'),
                       self.post('/v1/containers/c1/execute?command=ls')):
            self.assert_refused(503, 'no_conductor_for_bay', answer)


class TestOutage(base.ApiTestCase):
    """The database is down: 503 that says when to come back, and nothing half done."""

    def test_every_address(self):
        self.conf.set_override('connection', 'sqlite:////nonexistent/directory/db',
                               group='database')
        for method, path, body in (
                ('GET', '/v1/containers', None), ('POST', '/v1/containers', {'image': 'i'}),
                ('GET', '/v1/containers/c', None), ('DELETE', '/v1/containers/c', None),
                ('POST', '/v1/containers/c/start', None), ('GET', '/v1/containers/c/logs', None),
                ('GET', '/v1/containers/c/container_actions', None),
                ('GET', '/v1/actions', None), ('GET', '/v1/actions/a', None),
                ('GET', '/v1/bays', None), ('GET', '/v1/bays/b', None),
                ('DELETE', '/v1/bays/b', None),
                ('POST', '/v1/bays', {'name': 'bb', 'endpoint': 'fake://x', 'driver': 'fake'})):
            self.assert_refused(503, 'database_unavailable', self.call(method, path, body))
        self.assertEqual(200, self.get('/').status_int)

    def test_nothing_is_half_done(self):
        self.make_bay()
        self.make('c1', status='Created')
        with tests.fixtures.lost_commit(self.db, landed=False, times=100):
            self.assert_refused(503, 'outcome_unknown',
                                self.post('/v1/containers/c1/start'))
            self.assert_refused(503, 'outcome_unknown',
                                self.post('/v1/containers', {'image': 'i', 'name': 'c2'}))
        self.assertEqual((None, 1), (self.get('/v1/containers/c1').json['task_state'],
                                     len(self.get('/v1/actions').json['actions'])))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c2'))

    def test_a_bus_that_is_down_stops_nothing_that_is_accepted(self):
        self.make_bay()

        def broken(*args, **kwargs):
            raise OSError('no broker')

        self.useFixture(tests.pyfixtures.MonkeyPatch(
            'container_service.rpc.Doorbell._send', broken))
        uuid = self.make('c1')
        self.assertEqual('queued', self.actions_of(uuid)[0].status)
