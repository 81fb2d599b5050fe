# SPDX-License-Identifier: Apache-2.0
"""Every request that changes something, or was to, is in the audit trail: all routes, all ends."""

import json
import os

from container_service import audit
from container_service import exceptions
from container_service import operations
from container_service import secrets
from container_service import states
from container_service.api import auth
from container_service.api import endpoints
from container_service.api import rates
from container_service.api import trail
from container_service.api.controllers import root
from container_service.db import audit as rows
from container_service.db import conductors
from container_service.db import images
from container_service.tests import base as tests
from container_service.tests.unit.api import base

CHANGES = [route for route in endpoints.routes(root.RootController) if route.method != 'GET']

# What is no change of the database; the trail has it when the answer is known.
NOT_IN_SQL = ('resize', 'execute_resize')

NOWHERE = '11111111-2222-3333-4444-555555555555'
SECRET = 'planted-8a7f'


class TrailCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.build()
        self.make_bay()

    def of(self, answer):
        """What the trail has of a request."""
        return self.trail(request_id=answer.headers['X-Openstack-Request-Id'])

    def send(self, route, *, query='', body=None, **values):
        """Make a request to a route; ``at`` are the words in its path."""
        at, version = values.pop('at', {}), 'latest'
        if not route.endpoint.is_at((1, 42)):
            version = '1.41'
        return self.call(route.method, route.path.format_map(at) + query, body,
                         version=version, **values)


def required_of(op):
    if op.name in NOT_IN_SQL:
        size = {'w': 80, 'h': 24}
        return {**size, 'exec_id': 'a' * 64} if op.name == 'execute_resize' else size
    return base.required_of(op) or None


class Ready:
    """What has to be there for a request to a route to succeed: (words in the path, body)."""

    def __init__(self, case):
        self._case = case

    def __call__(self, route):
        op = route.endpoint.operation
        if op is not None and '{container}' in route.path:
            return self._container(op)
        return getattr(self, '_' + '_'.join(
            word.strip('{}') for word in (route.method.lower(), *route.path.split('/')[2:])))()

    def _container(self, op):
        case = self._case
        if not op.is_async:
            case.start_conductor(lambda operation, params: {'result': {
                'output': '', 'exit_code': 0, 'truncated': False}})
        status = next(status for status in (states.RUNNING, states.STOPPED, states.PAUSED)
                      if status in op.allowed)
        case.make('c1', status)
        return {'container': 'c1'}, required_of(op)

    def _post_containers(self):
        return {}, {'name': 'c1', 'image': tests.IMAGE}

    def _post_actions_action_cancel(self):
        return {'action': self._case.actions_of(self._case.make('c1'))[0].uuid}, None

    _put_actions_action_cancel = _post_actions_action_cancel

    def _post_bays(self):
        return {}, {'name': 'other', 'endpoint': 'fake://other', 'driver': 'fake'}

    def _delete_bays_bay(self):
        return {'bay': 'bay'}, None

    def _patch_bays_bay(self):
        return {'bay': 'bay'}, {'public': False}

    def _post_bays_bay_reconcile(self):
        return {'bay': 'bay'}, {}

    def _post_images(self):
        return {}, {'repo': 'nginx'}

    def _post_images_prune(self):
        self._image()
        return {}, {}

    def _delete_images_image(self):
        return {'image': self._image()}, None

    def _post_images_image_tag(self):
        return {'image': self._image()}, {'repo': 'mine'}

    def _image(self):
        case = self._case
        uuid = case.post('/v1/images', {'repo': 'nginx'}, version='1.41').json['uuid']
        case.change(images.table, uuid, status='Available', image_id='sha256:1')
        return uuid

    def _post_registries(self):
        return {}, {'registry': {'domain': 'r.example.org', 'name': 'mine', 'username': 'u',
                                 'password': SECRET}}

    def _patch_registries_registry(self):
        return {'registry': self._registry()}, {'registry': {'username': 'v', 'password': SECRET}}

    def _delete_registries_registry(self):
        return {'registry': self._registry()}, None

    def _registry(self):
        _, body = self._post_registries()
        return self._case.post('/v1/registries', body, version='1.41').json['registry']['uuid']

    def _conductor(self, **values):
        case, uuid = self._case, tests.Conductor().uuid
        case.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': uuid, 'host': 'node1', 'slot': 0, 'server': 'node1.0'}))
        if values:
            case.change(conductors.table, uuid, **values)
        return {}, {'name': 'node1.0'}

    _put_services_enable = _put_services_disable = _put_services_drain = _conductor

    def _put_services_force_down(self):
        return {}, {**self._conductor()[1], 'forced_down': True}

    def _delete_services(self):
        self._conductor(state='gone')
        return {'query': '?name=node1.0'}, None

    def _put_quotas_project(self):
        return {'project': 'other'}, {'containers': 4}

    def _delete_quotas_project(self):
        return {'project': 'other'}, None

    def _put_quota_classes_class(self):
        return {'class': 'default'}, {'containers': 4}


READER = {'roles': ['reader'], 'is_admin': False}


def actions_of(route):
    return {audit.action_of(rule) for rule in route.rules}


class TestEveryRoute(TrailCase):
    """One test for each route that changes something: it does, and the trail has it."""

    def succeed(self, route):
        at, body = Ready(self)(route)
        query = at.pop('query', '')
        answer = self.send(route, at=at, body=body, query=query)
        self.assertLess(answer.status_int, 300, answer)
        return answer

    def assert_recorded(self, route):
        """By the transaction that makes the change: nobody writes it afterwards."""
        self.patch(trail.Middleware, '_note', lambda *args, **kwargs: None)
        found = self.of(self.succeed(route))
        self.assertEqual(1, len({row.target_uuid for row in found}), found)
        for row in found:
            self.assertIn(row.action, actions_of(route))
            self.assertIn(row.outcome, (audit.PENDING, audit.SUCCESS))
            self.assertEqual(('user', 'project', ['admin', 'member', 'reader'], '192.0.2.7'), (
                row.user_id, row.user_project_id, row.roles, row.source))
            self.assertIsNotNone(row.target_uuid or row.target_name)
            self.assertNotIn(SECRET, str(row))

    def call(self, *args, **values):
        return super().call(*args, **{'environ': {'REMOTE_ADDR': '192.0.2.7'}, **values})


def _test(route):
    if route.endpoint.operation is not None and route.endpoint.operation.name in NOT_IN_SQL:
        def test(self):
            [row] = self.of(self.succeed(route))
            self.assertEqual(({row.action}, audit.SUCCESS, None, '/v1/containers/c1/'), (
                actions_of(route), row.outcome, row.code,
                row.details['path'].rpartition('/')[0] + '/'))
    else:
        def test(self):
            self.assert_recorded(route)
    return test


for _route in CHANGES:
    # PUT is the same as POST where there are both.
    if not (_route.method == 'PUT' and _route.endpoint.operation is not None):
        setattr(TestEveryRoute, f'test_{_route.method}_{_route.path.replace("/", "_")}',
                _test(_route))


class TestRefused(TrailCase):

    def refusals(self, status, code, **values):
        """Have every route refuse a request; nothing but the trail may change."""
        at = dict.fromkeys(('container', 'action', 'bay', 'image', 'registry', 'project', 'class'),
                           NOWHERE)
        for route in CHANGES:
            answer = self.send(route, at=at, **values)
            self.assertEqual((route.name, status), (route.name, answer.status_int), answer)
            [row] = self.of(answer)
            self.assertIn(row.action, actions_of(route))
            self.assertEqual((audit.FAILURE, status, code, 'project', route.method), (
                row.outcome, row.status, row.code, row.project_id, row.details['method']))
            if '{' in route.path:
                self.assertEqual(NOWHERE, row.target_uuid)

    def test_by_policy(self):
        self.refusals(403, 'forbidden', persona=READER)

    def test_bad_input(self):
        self.refusals(400, 'unknown_parameter', query='?nonsense=1')

    def test_by_state(self):
        uuid = self.make('c1')
        for op in operations.OPERATIONS.values():
            if op.http_method == 'GET' or op.creates:
                continue
            [wrong] = sorted(states.CONTAINER_STATUSES - {states.DELETED} - op.allowed.union(
                *op.allowed_with.values()))[:1] or [None]
            if wrong is None:
                continue
            self.change(tests.containers.table, uuid, status=wrong, projected_status=None,
                        task_state=None)
            route = next(route for route in CHANGES if route.endpoint.operation is op)
            answer = self.send(route, at={'container': 'c1'}, body=required_of(op))
            self.assert_refused(409, 'invalid_state', answer)
            [row] = self.of(answer)
            self.assertEqual((audit.action_of(op.policy), audit.FAILURE, 409, 'invalid_state'),
                             (row.action, row.outcome, row.status, row.code))

    def test_what_is_not_there(self):
        self.assert_refused(404, 'container_not_found', answer := self.post(
            '/v1/containers/nobody/stop', version='1.41'))
        [row] = self.of(answer)
        self.assertEqual((None, 'nobody', 'stop/container', 'container_not_found'), (
            row.target_uuid, row.target_name, row.action, row.code))

    def test_what_another_project_has_is_in_the_trail_of_who_asked(self):
        """Else the trail would tell whose it is."""
        uuid = self.make('c1', 'Running')
        answer = self.post(f'/v1/containers/{uuid}/stop', version='1.41', project='other')
        self.assertEqual(404, answer.status_int)
        self.assertEqual(['other'], [row.project_id for row in self.of(answer)])

    def test_an_address_that_there_is_not(self):
        answer = self.post('/v1/', version='1.41', environ={
            'PATH_INFO': '/v1/nonsense\x1b' + 'x' * 400})
        [row] = self.of(answer)
        self.assertEqual(('unknown', answer.status_int), (row.action, row.status))
        self.assertEqual(255, len(row.details['path']))
        self.assertNotIn('\x1b', row.details['path'])

    def test_a_failure_of_ours(self):
        self.patch(self.parts.limits, 'check', lambda *args, **kwargs: 1 / 0)
        answer = self.post('/v1/containers', {'image': tests.IMAGE}, version='1.41')
        self.assertEqual(500, answer.status_int)
        self.assertEqual([(audit.FAILURE, 500, 'internal_error')],
                         [(row.outcome, row.status, row.code) for row in self.of(answer)])

    def test_reading_leaves_nothing(self):
        for path in ('/v1/containers', '/v1/containers/nobody', '/v1/nonsense'):
            self.get(path, version='1.41')
        self.assertEqual([], self.trail(action='list/container'))
        self.assertEqual(['create/bay'], [row.action for row in self.trail()])

    def test_a_trail_that_cannot_be_written_changes_no_answer(self):
        self.patch(rows, 'insert', lambda conn, rows: 1 / 0)
        answer = self.post('/v1/containers/nobody/stop', version='1.41')
        self.assertEqual(404, answer.status_int)
        self.assertIn('The audit trail lacks the 404 answer', self.log.output)


class TestStrangers(TrailCase):
    """Who is not let in writes nothing, whatever it sends."""

    strategy = auth.NoAuthentication

    def test_who_is_not_let_in(self):
        answer = self.post('/v1/containers', {'image': tests.IMAGE},
                           environ={'REMOTE_ADDR': '192.0.2.7'})
        self.assertEqual(403, answer.status_int)
        self.assertEqual(['create/bay'], [row.action for row in self.trail()])


class TestBounds(TrailCase):
    """Requests that cost nothing must not fill the trail."""

    def test_refusals_are_bounded_by_project(self):
        self.patch(trail.Bounds, 'BURST', 3)
        self.patch(trail.Bounds, 'PER_SECOND', 1e-9)
        self.build()
        for project, kept in (('project', 3), ('other', 3)):
            for _ in range(5):
                self.post('/v1/containers/nobody/stop', version='1.41', project=project)
            self.assertEqual(kept, len(self.trail(project_id=project, action='stop/container')))
        self.make('c1')                 # what changes something is always there
        self.assertEqual(1, len(self.trail(action='create/container')))

    def test_requests_that_are_folded_are_bounded_too(self):
        self.patch(trail.Bounds, 'BURST', 3)
        self.patch(trail.Bounds, 'PER_SECOND', 1e-9)
        self.build()
        uuid = self.make('c1', 'Running')
        answers = [self.post('/v1/containers/c1/stop', version='1.41') for _ in range(6)]
        self.assertEqual({202}, {answer.status_int for answer in answers})
        self.assertEqual(5, answers[-1].json['coalesced'])
        self.assertEqual(1 + 3, len(self.trail(target_uuid=uuid, action='stop/container')))
        # The next one that is written tells of it.
        self.patch(rates.Buckets, '_left', lambda bucket, *args: bucket._size)   # later
        self.post('/v1/containers/c1/stop', version='1.41')
        self.assertEqual([2], [row.details['left_out_before'] for row in self.trail(
            target_uuid=uuid) if 'left_out_before' in (row.details or {})])

    def test_so_are_requests_for_what_is_done_with_an_image_already(self):
        self.patch(trail.Bounds, 'BURST', 3)
        self.patch(trail.Bounds, 'PER_SECOND', 1e-9)
        self.build()
        for _ in range(6):
            self.assertEqual(202, self.post('/v1/images', {'repo': 'busybox'},
                                            version='1.41').status_int)
        self.assertEqual(1 + 3, len(self.trail(action='pull/image')))

    def test_what_was_left_out_is_counted(self):
        time = [0.0]
        self.patch(trail.Bounds, 'BURST', 2)
        bounds = trail.Bounds(lambda: time[0])
        self.assertEqual([(True, 0), (True, 0), (False, 1), (False, 2)],
                         [bounds.admit('p') for _ in range(4)])
        time[0] += 1 / trail.Bounds.PER_SECOND
        self.assertEqual([(True, 2), (False, 1)], [bounds.admit('p') for _ in range(2)])

    def test_projects_that_have_nothing_left_out_are_forgotten(self):
        time = [0.0]
        self.patch(rates.Buckets, 'MOST', 5)
        bounds = trail.Bounds(lambda: time[0])
        for number in range(20):
            bounds.admit(number)
            time[0] += 1
        self.assertLessEqual(len(bounds._buckets._known), 7)


class TestNothingChanged(TrailCase):

    def test_a_dry_run_that_would_be_accepted_leaves_nothing(self):
        self.make('c1', 'Running')
        answer = self.post('/v1/containers/c1/stop?dry_run=true', version='1.41')
        self.assertEqual(200, answer.status_int)
        self.assertEqual([], self.of(answer))
        answer = self.post('/v1/containers?dry_run=true', {'image': tests.IMAGE}, version='1.41')
        self.assertEqual((200, []), (answer.status_int, self.of(answer)))

    def test_a_dry_run_that_is_refused_is_there(self):
        answer = self.post('/v1/containers/c1/stop?dry_run=true', version='1.41', persona=READER)
        self.assertEqual([403], [row.status for row in self.of(answer)])

    def test_a_request_that_is_sent_again(self):
        for path, body in (('/v1/containers', {'image': tests.IMAGE}),
                           ('/v1/registries', {'registry': {'domain': 'r.example.org'}})):
            answers = [self.post(path, body, version='1.41', headers={'Idempotency-Key': path})
                       for _ in range(2)]
            first, again = map(self.of, answers)
            self.assertEqual([None], [(row.details or {}).get('replayed') for row in first])
            self.assertEqual([(audit.SUCCESS, True)],
                             [(row.outcome, row.details['replayed']) for row in again])

    def test_a_request_that_was_folded(self):
        uuid = self.make('c1', 'Running')
        for _ in range(2):
            answer = self.post('/v1/containers/c1/stop', version='1.41')
        [row] = self.of(answer)
        self.assertEqual((uuid, answer.json['uuid'], audit.PENDING, True), (
            row.target_uuid, row.action_uuid, row.outcome, row.details['folded']))


class TestExecute(TrailCase):
    """S-09: what runs in a container is in the trail by its digest, and before it runs."""

    def setUp(self):
        super().setUp()
        self.given = lambda: {'output': 'x', 'exit_code': 0, 'truncated': False}
        self.seen = []
        self.start_conductor(lambda operation, params: self.answer())
        self.make('c1', 'Running')

    def answer(self):
        self.seen[:] = self.trail(action='execute/container')
        return {'result': {'output': 'x', 'exit_code': 0, 'truncated': False}}

    def execute(self):
        return self.post('/v1/containers/c1/execute', {'command': ['login', SECRET]},
                         version='1.41')

    def test_its_beginning_and_its_end(self):
        answer = self.execute()
        self.assertEqual(200, answer.status_int, answer)
        self.assertEqual([audit.PENDING], [row.outcome for row in self.seen])
        began, ended = self.of(answer)
        self.assertEqual((audit.PENDING, audit.SUCCESS), (began.outcome, ended.outcome))
        for row in (began, ended):
            self.assertEqual(audit.of_command(['login', SECRET])['command_sha256'],
                             row.details['command_sha256'])
            self.assertEqual(len('login') + len(SECRET), row.details['command_bytes'])
            self.assertNotIn(SECRET, str(row))

    def test_one_that_fails(self):
        self.answer = lambda: {'error': exceptions.GatewayTimeout(seconds=1).to_dict()}
        answer = self.execute()
        self.assertEqual(504, answer.status_int, answer)
        self.assertEqual([(audit.PENDING, None), (audit.UNKNOWN, 'timeout')],
                         [(row.outcome, row.code) for row in self.of(answer)])

    def test_without_a_trail_nothing_runs(self):
        self.patch(rows, 'insert', lambda conn, rows: 1 / 0)
        self.assertEqual(500, self.execute().status_int)
        self.assertEqual([], self.seen)

    def test_recorded(self):
        answer = self.post('/v1/containers/c1/execution', {'command': ['login', SECRET]},
                           version='1.41')
        [row] = self.of(answer)
        self.assertIn('command_sha256', row.details)
        self.assertNotIn(SECRET, str(row))


class TestDetails(TrailCase):

    def test_names_of_fields_and_no_values(self):
        answer = self.post('/v1/containers', {
            'name': 'c1', 'image': tests.IMAGE, 'environment': {'TOKEN': SECRET},
            'secret_environment': {'KEY': SECRET}, 'labels': {'a': SECRET}, 'command': [SECRET]},
            version='1.42')
        self.assertEqual(202, answer.status_int, answer)
        [row] = self.of(answer)
        sent = {'command', 'environment', 'secret_environment', 'labels'}
        self.assertEqual(sent, set(row.details['fields']) & sent)
        self.assertNotIn(SECRET, json.dumps([str(value) for value in row]))

    def test_a_path_without_its_query(self):
        refused = self.post(f'/v1/bays/nobody/reconcile?x={SECRET}', {'nonsense': SECRET},
                            version='1.41')
        [row] = self.of(refused)
        self.assertEqual((400, '/v1/bays/nobody/reconcile', 'nobody'), (
            row.status, row.details['path'], row.target_name))
        self.assertNotIn(SECRET, json.dumps([str(value) for value in row]))

    def test_what_policy_opened(self):
        answer = self.post('/v1/containers', {
            'image': tests.IMAGE,
            'published_ports': [{'container_port': 80, 'host_port': 8080}]}, version='1.41')
        self.assertEqual(202, answer.status_int, answer)
        self.assertEqual([['container:create_published_ports']],
                         [row.details['opened'] for row in self.of(answer)])

    def test_power_over_a_host(self):
        """Whether it was given or only asked for."""
        wanted = {'image': tests.IMAGE, 'privileged': True}
        answers = [self.post('/v1/containers', wanted, version='1.41')]
        self.parts.enforcer.set_rules({
            **self.parts.enforcer.rules,
            'container:create_privileged': self.parts.enforcer.rules['container:create']},
            use_conf=False)
        answers.append(self.post('/v1/containers', wanted, version='1.41'))
        self.assertEqual([403, 202], [answer.status_int for answer in answers])
        told = [row for answer in answers for row in self.of(answer)]
        self.assertEqual(
            [(audit.FAILURE, ['container:create_privileged']),
             (audit.PENDING, ['container:create_privileged'])],
            [(row.outcome, row.details['opened']) for row in told])
