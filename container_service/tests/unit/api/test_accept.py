# SPDX-License-Identifier: Apache-2.0
"""The terms of a request over HTTP: options, headers, dry runs, cancels."""

from container_service import operations
from container_service import states
from container_service.db import actions
from container_service.tests.unit.api import base

NEWEST = {'version': '1.41'}


class AcceptCase(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        self.rung = []
        self.patch(self.parts.doorbell, 'ring', lambda *which: self.rung.append(which))

    def running(self, name='c1'):
        uuid = self.make(name, 'Running')
        self.rung.clear()
        return uuid


class TestKey(AcceptCase):

    KEY = {'Idempotency-Key': 'k-1'}

    def test_the_same_again(self):
        uuid = self.running()
        first, again = (self.post('/v1/containers/c1/kill?signal=HUP', headers=self.KEY, **NEWEST)
                        for _ in range(2))
        self.assertEqual((202, 202), (first.status_int, again.status_int))
        self.assertEqual(first.json['uuid'], again.json['uuid'])
        self.assertNotIn('Idempotency-Replayed', first.headers)
        self.assertEqual('true', again.headers['Idempotency-Replayed'])
        for header in ('Link', 'Location'):
            self.assertEqual(first.headers[header], again.headers[header])
        self.assertEqual(1, len(self.rung))
        self.assertEqual(2, len(self.actions_of(uuid)))
        self.assertEqual(2, len(self.get(first.headers['Location']).json['request_ids']))

    def test_a_variable_that_is_called_password(self):
        one, two = (self.post('/v1/containers', {
            'image': 'i', 'environment': {'password': value}}, headers=self.KEY, **NEWEST)
            for value in 'ab')
        self.assertEqual(202, one.status_int)
        self.assert_refused(422, 'idempotency_mismatch', two)

    def test_older_clients_too(self):
        self.running()
        for _ in range(2):
            answer = self.post('/v1/containers/c1/kill', headers=self.KEY, version='1.40')
            self.assertEqual((202, b''), (answer.status_int, answer.body))
        self.assertEqual('true', answer.headers['Idempotency-Replayed'])

    def test_create(self):
        body = {'image': 'i', 'labels': {'a': '1', 'b': '2'}}
        first = self.post('/v1/containers', body, headers=self.KEY, **NEWEST)
        self.carry_out(first.json['uuid'])
        again = self.post('/v1/containers', dict(reversed(body.items())), headers=self.KEY,
                          **NEWEST)
        self.assertEqual((202, first.json['uuid'], first.json['action']['uuid']), (
            again.status_int, again.json['uuid'], again.json['action']['uuid']))
        # As it is now.
        self.assertEqual(('Created', 'succeeded'),
                         (again.json['status'], again.json['action']['status']))

    def test_delete(self):
        self.make('c1', 'Stopped')
        first = self.delete('/v1/containers/c1', headers=self.KEY, **NEWEST)
        self.carry_out(first.json['container_uuid'])
        again = self.delete('/v1/containers/c1', headers=self.KEY, **NEWEST)
        self.assertEqual((202, first.json['uuid'], 'succeeded'),
                         (again.status_int, again.json['uuid'], again.json['status']))

    def test_bays(self):
        body = {'name': 'b2', 'driver': 'fake', 'endpoint': 'fake://x'}
        first, again = (self.post('/v1/bays', body, headers=self.KEY) for _ in range(2))
        self.assertEqual((201, 201), (first.status_int, again.status_int))
        self.assertEqual(first.json['uuid'], again.json['uuid'])
        self.assertNotIn('Idempotency-Replayed', first.headers)
        self.assertEqual('true', again.headers['Idempotency-Replayed'])

    def test_deleting_a_bay(self):
        self.make_bay('b2')
        first, again = (self.delete('/v1/bays/b2', headers=self.KEY) for _ in range(2))
        self.assertEqual((204, 204), (first.status_int, again.status_int))
        self.assertNotIn('Idempotency-Replayed', first.headers)
        self.assertEqual('true', again.headers['Idempotency-Replayed'])
        self.assert_refused(404, 'bay_not_found', self.delete('/v1/bays/b2'))
        self.assert_refused(404, 'bay_not_found', self.delete(
            '/v1/bays/b2', headers={'Idempotency-Key': 'another'}))
        self.make_bay('b3')
        self.assert_refused(422, 'idempotency_mismatch',
                            self.delete('/v1/bays/b3', headers=self.KEY))
        self.assertEqual(200, self.get('/v1/bays/b3').status_int)

    def test_a_bay_that_could_not_be_deleted(self):
        uuid = self.make('c1', 'Stopped', bay_uuid=self.place.uuid)
        for _ in range(2):
            self.assert_refused(409, 'bay_in_use',
                                self.delete('/v1/bays/bay', headers=self.KEY))
        self.delete('/v1/containers/c1')
        self.carry_out(uuid)
        answer = self.delete('/v1/bays/bay', headers=self.KEY)
        self.assertEqual(204, answer.status_int)
        self.assertNotIn('Idempotency-Replayed', answer.headers)

    def test_what_makes_another_request(self):
        self.running()
        self.running('c2')
        self.post('/v1/containers/c1/kill?signal=HUP', headers=self.KEY)
        for call in (lambda: self.post('/v1/containers/c1/kill', headers=self.KEY),
                     lambda: self.post('/v1/containers/c2/kill?signal=HUP', headers=self.KEY),
                     lambda: self.call('PUT', '/v1/containers/c1/kill?signal=HUP',
                                       headers=self.KEY),
                     lambda: self.post('/v1/containers/c1/kill', {'signal': 'HUP'},
                                       headers=self.KEY, **NEWEST),
                     lambda: self.post('/v1/containers', {'image': 'i'}, headers=self.KEY),
                     lambda: self.post('/v1/bays', {
                         'name': 'b2', 'driver': 'fake', 'endpoint': 'fake://x'},
                         headers=self.KEY)):
            self.assertIn('k-1', self.assert_refused(422, 'idempotency_mismatch', call()))

    def test_what_does_not(self):
        self.running()
        first = self.post('/v1/containers/c1/kill?signal=HUP&if_busy=queue', headers=self.KEY)
        again = self.post('/v1/containers/c1/kill/?if_busy=queue&signal=HUP', headers=self.KEY)
        self.assertEqual(first.status_int, again.status_int)

    def test_what_a_key_may_be(self):
        self.running()
        for key in ('x', '"8e03978e-40d5-43dd-bc93-6894a57f9324"', 'k' * 255, '!~'):
            self.assertEqual(202, self.post('/v1/containers/c1/kill?signal=HUP',
                                            headers={'Idempotency-Key': key}).status_int)
        for key in ('', 'a b', 'k' * 256, 'k\xe9'):
            detail = self.assert_refused(400, 'invalid_parameter', self.post(
                '/v1/containers/c1/kill?signal=HUP', headers={'Idempotency-Key': key}))
            self.assertIn('Idempotency-Key', detail)

    def test_a_refusal_is_not_kept(self):
        uuid = self.running()
        self.assertEqual(409, self.post('/v1/containers/c1/start', headers=self.KEY).status_int)
        self.set_status(uuid, states.STOPPED)
        answer = self.post('/v1/containers/c1/start', headers=self.KEY)
        self.assertEqual(202, answer.status_int)
        self.assertNotIn('Idempotency-Replayed', answer.headers)


class TestOptions(AcceptCase):

    def test_if_busy(self):
        self.running()
        pause = self.post('/v1/containers/c1/pause', **NEWEST).json['uuid']
        detail = self.assert_refused(409, 'container_busy', self.post(
            '/v1/containers/c1/unpause?if_busy=reject'))
        self.assertIn(pause, detail)
        self.assertEqual(202, self.post('/v1/containers/c1/unpause?if_busy=queue').status_int)

    def test_on_predecessor_failure(self):
        self.running()
        for path, expected in (('pause', 'skip'), ('unpause?on_predecessor_failure=run', 'run'),
                               ('stop?on_predecessor_failure=skip', 'skip')):
            answer = self.post(f'/v1/containers/c1/{path}', **NEWEST)
            self.assertEqual(expected, answer.json['on_predecessor_failure'])

    def test_they_may_come_in_a_body(self):
        self.running()
        answer = self.post('/v1/containers/c1/stop', {
            'timeout': 3, 'on_predecessor_failure': 'run', 'if_busy': 'reject'}, **NEWEST)
        self.assertEqual(('run', {'timeout_seconds': 3}), (
            answer.json['on_predecessor_failure'], answer.json['parameters']))

    def test_refusals(self):
        self.running()
        for query in ('if_busy=maybe', 'on_predecessor_failure=', 'dry_run=perhaps',
                      'if_busy=queue&if_busy=queue'):
            for method, path, body in (
                    ('POST', '/v1/containers/c1/pause', None),
                    ('POST', '/v1/containers', {'image': 'i'}),
                    ('DELETE', '/v1/containers/c1', None)):
                answer = self.call(method, f'{path}?{query}', body)
                self.assert_refused(400, 'invalid_parameter', answer)
                self.assertIn(query.partition('=')[0], base.error(answer)['detail'])

    def test_every_operation_takes_them(self):
        for op in operations.of_kind(operations.ASYNC):
            if not op.creates:
                answer = self.call(
                    op.http_method, op.path.format(container='x') +
                    '?if_busy=reject&dry_run=true&on_predecessor_failure=run',
                    {} if op.http_method == 'DELETE' else base.required_of(op), **NEWEST)
                self.assert_refused(404, 'container_not_found', answer)


class TestOperationTimeout(AcceptCase):

    def test_it_is_shown(self):
        self.running()
        answer = self.post('/v1/containers/c1/pause', headers={'Operation-Timeout': '90'},
                           **NEWEST)
        self.assertEqual(90, answer.json['timeout_seconds'])
        self.assertGreater(answer.json['deadline_at'], answer.json['created_at'])
        answer = self.post('/v1/containers', {'image': 'i'},
                           headers={'Operation-Timeout': '604800'}, **NEWEST)
        self.assertEqual(604800, answer.json['action']['timeout_seconds'])

    def test_refusals(self):
        self.running()
        for value in ('0', '-1', '1.5', 'x', '', '604801', '9' * 400,
                      '0000000000019999999999999'):
            detail = self.assert_refused(400, 'invalid_parameter', self.post(
                '/v1/containers/c1/pause', headers={'Operation-Timeout': value}))
            self.assertIn('Operation-Timeout', detail)


class TestDryRun(AcceptCase):

    def test_accepted(self):
        uuid = self.running()
        pause = self.post('/v1/containers/c1/pause', **NEWEST).json['uuid']
        self.rung.clear()
        before = self.container(uuid), self.actions_of(uuid)
        for version in (None, '1.41'):
            answer = self.post('/v1/containers/c1/unpause?dry_run=true', version=version)
            self.assertEqual(200, answer.status_int)
            self.assertEqual({
                'dry_run': True, 'accepted': True, 'operation': 'unpause',
                'container_uuid': uuid, 'status': 'Running', 'projected_status': 'Running',
                'folded_into': None, 'cancels': [],
                'waits_for': [{'uuid': pause, 'operation': 'pause', 'status': 'queued'}],
            }, answer.json)
            for header in ('Link', 'Location'):
                self.assertNotIn(header, answer.headers)
        self.assertEqual((before, []), ((self.container(uuid), self.actions_of(uuid)),
                                        self.rung))

    def test_folded_and_cancelled(self):
        self.running()
        pause = self.post('/v1/containers/c1/pause', **NEWEST).json['uuid']
        self.assertEqual(pause, self.post('/v1/containers/c1/pause?dry_run=1').json['folded_into'])
        self.assertEqual([pause], self.delete(
            '/v1/containers/c1?force=true&dry_run=1').json['cancels'])

    def test_create(self):
        answer = self.post('/v1/containers?dry_run=true&run=true', {'image': 'i', 'name': 'c2'})
        self.assertEqual((200, None, 'Running'), (
            answer.status_int, answer.json['container_uuid'], answer.json['projected_status']))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c2'))

    def test_refused_as_it_would_be(self):
        self.running()
        self.assert_refused(409, 'invalid_state', self.post('/v1/containers/c1/start?dry_run=1'))
        self.assert_refused(409, 'name_taken', self.post(
            '/v1/containers?dry_run=1', {'image': 'i', 'name': 'c1'}))


class TestCancel(AcceptCase):

    def test_queued(self):
        uuid = self.running()
        action = self.post('/v1/containers/c1/pause', **NEWEST).json
        self.assertTrue(action['cancellable'])
        self.rung.clear()
        for method in ('POST', 'PUT'):
            answer = self.call(method, f'/v1/actions/{action["uuid"]}/cancel')
            if method == 'POST':
                self.assertEqual((202, 'cancelled', False, 'cancelled'), (
                    answer.status_int, answer.json['status'], answer.json['cancellable'],
                    answer.json['error']['code']))
                self.assertIsNotNone(answer.json['cancel_requested_at'])
            else:
                self.assertIn('ended already',
                              self.assert_refused(409, 'too_late_to_cancel', answer))
        self.assertEqual([], self.rung)
        self.assert_at_rest(uuid, states.RUNNING)

    def test_running(self):
        uuid = self.make('c1')
        claim = self.claim(uuid)
        self.rung.clear()
        for _ in range(2):
            answer = self.post(f'/v1/actions/{claim.action.uuid}/cancel')
            self.assertEqual((202, 'cancelling'), (answer.status_int, answer.json['status']))
        self.assertEqual([(uuid, self.place.uuid)] * 2, self.rung)

    def test_too_late(self):
        uuid = self.running()
        action = self.submit('pause', uuid)
        self.claim(uuid)
        self.assertFalse(self.get(f'/v1/actions/{action}').json['cancellable'])
        self.assertIn('cannot be taken back', self.assert_refused(
            409, 'too_late_to_cancel', self.post(f'/v1/actions/{action}/cancel')))

    def test_refusals(self):
        uuid = self.make('c1')
        action = self.actions_of(uuid)[0].uuid
        self.assert_refused(404, 'action_not_found', self.post('/v1/actions/x/cancel'))
        self.assert_refused(404, 'action_not_found',
                            self.post(f'/v1/actions/{action}/cancel', project='other',
                                      persona=base.MEMBER))
        self.assertEqual(400, self.post(f'/v1/actions/{action}/cancel?x=y').status_int)
        self.assertEqual(405, self.get(f'/v1/actions/{action}/cancel').status_int)
        self.assertEqual('queued', self.action(action).status)


class TestHistory(AcceptCase):
    """Actions stay readable after the container is gone."""

    def test_by_uuid(self):
        uuid = self.make('c1', 'Stopped')
        self.delete('/v1/containers/c1')
        self.carry_out(uuid)
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c1'))
        listed = self.get(f'/v1/actions?container={uuid}').json['actions']
        self.assertEqual(['create', 'delete'], [action['operation'] for action in listed])
        for action in listed:
            shown = self.get(f'/v1/actions/{action["uuid"]}').json
            self.assertEqual((uuid, 'c1', 'succeeded'), (
                shown['container_uuid'], shown['container_name'], shown['status']))

    def test_a_folded_request_leads_to_its_action(self):
        self.running()
        answers = [self.post('/v1/containers/c1/reboot', **NEWEST) for _ in range(3)]
        uuid, = {answer.json['uuid'] for answer in answers}
        self.assertEqual([0, 1, 2], [answer.json['coalesced'] for answer in answers])
        ids = [answer.headers['X-Openstack-Request-Id'] for answer in answers]
        self.assertEqual(ids, self.get(f'/v1/actions/{uuid}').json['request_ids'])
        for request_id in ids:
            found = self.get(f'/v1/actions?request_id={request_id}').json['actions']
            self.assertEqual([uuid], [action['uuid'] for action in found])
        self.assertEqual(1, len(self.rung))

    def test_the_post_mortem_is_shown(self):
        uuid = self.make('c1')
        self.change(actions.table,
                    self.actions_of(uuid)[0].uuid, post_mortem={'log': ['last words']})
        shown = self.get(f'/v1/actions/{self.actions_of(uuid)[0].uuid}').json
        self.assertEqual({'log': ['last words']}, shown['post_mortem'])
