# SPDX-License-Identifier: Apache-2.0
import fixtures
from oslo_context import context
from oslo_policy import policy as oslo_policy

from container_service import policy
from container_service.api import auth
from container_service.api import creation
from container_service.api import endpoints
from container_service.tests import base as tests
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints

_ROLES = {policy.ADMIN: 'admin', policy.MEMBER: 'member', policy.READER: 'reader',
          policy.NOBODY: 'nobody'}
_WHO = {rule.name: _ROLES[rule.check_str] for rule in policy.guards()}

# Every route: method, path, the rule that it asks, who may by default, at which version.
ROUTES = [
    (route.method, test_endpoints.concrete(route.path) + arguments, rule, _WHO[rule],
     test_endpoints.version_of(route))
    for route in test_endpoints.ROUTES if route.endpoint.policy != endpoints.PUBLIC
    for arguments, rule in (
        ('', route.endpoint.policy),
        *((f'?{name}=true', rule) for name, rule in route.endpoint.instead.items()),
        *(('?all_projects=1', 'container:all_projects') for param in route.endpoint.query
          if param.name == 'all_projects' and _WHO[route.endpoint.policy] != 'admin'))]

PERSONAS = {
    'admin': ({'roles': ['admin', 'member', 'reader'], 'is_admin': True},
              {'admin', 'member', 'reader'}),
    'member': ({'roles': ['member', 'reader'], 'is_admin': False}, {'member', 'reader'}),
    'reader': ({'roles': ['reader'], 'is_admin': False}, {'reader'}),
    'other role': ({'roles': ['auditor'], 'is_admin': False}, set()),
    'nobody': ({'roles': [], 'is_admin': False}, set()),
}


class TestSource(tests.TestCase):

    def source(self, told):
        return auth.source_of({'REMOTE_ADDR': told})

    def test_it_is_an_address_and_nothing_else(self):
        for told, expected in (
                ('192.0.2.1', '192.0.2.1'), ('192.0.2.1:443', '192.0.2.1'),
                ('2001:DB8::1', '2001:db8::1'), ('[2001:db8::1]:443', '2001:db8::1'),
                ('[2001:db8::1]', '2001:db8::1'), ('"[2001:db8::1]:4711"', '2001:db8::1'),
                ('198.51.100.1, 192.0.2.1:80', '192.0.2.1'),
                ('fe80::1%eth0', 'fe80::1'), ('[fe80::1%25eth0]:80', 'fe80::1'),
                ('fe80::1%' + 'a' * 300, 'fe80::1'), ('fe80::1%eth\n0', 'fe80::1'),
                ('', None), ('unknown', None), ('192.0.2.1:', None), ('192.0.2.1:x', None),
                ('_hidden:80', None), ('[]:80', None), ('192.0.2', None), ('%eth0', None)):
            self.assertEqual(expected, self.source(told), told)

    def test_what_counts_as_one_caller(self):
        for told, expected in (
                ('192.0.2.1', '192.0.2.1'), ('192.0.2.1:443', '192.0.2.1'),
                ('::ffff:192.0.2.1', '192.0.2.1'), ('[::ffff:192.0.2.1]:80', '192.0.2.1'),
                ('2001:db8::1', '2001:db8::/64'), ('2001:db8::ffff:0:1', '2001:db8::/64'),
                ('2001:db8:0:1::1', '2001:db8:0:1::/64'), ('fe80::1%eth0', 'fe80::/64'),
                ('', None)):
            self.assertEqual(expected, auth.network_of({'REMOTE_ADDR': told}), told)


class TestPolicy(base.ApiTestCase):

    def test_every_rule_is_asked_by_a_route(self):
        # Those of fields of a body are tried where these are.
        self.assertEqual({rule.name for rule in policy.guards()},
                         {rule for _, _, rule, _, _ in ROUTES} | set(creation.RULES))

    def test_every_route_for_every_persona(self):
        self.make_bay()
        self.make('c1', 'Running')
        for method, path, rule, role, version in ROUTES:
            for name, (persona, may) in PERSONAS.items():
                if rule == 'container:all_projects' and 'member' not in may:
                    continue               # refused by the rule of the operation already
                if role in may:
                    # Whatever else is wrong with it.
                    body = b'{}' if method == 'POST' else None
                    answer = self.call(method, path + ('&' if '?' in path else '?') + 'junk=1',
                                       body, persona=persona, version=version)
                    self.assertEqual(400, answer.status_int, (method, path, name))
                else:
                    detail = self.assert_refused(403, 'forbidden', self.call(
                        method, path, persona=persona, version=version))
                    self.assertEqual(f'Policy {rule} does not allow this.', detail)

    def test_what_has_no_rule_is_for_nobody(self):
        nobody = oslo_policy.RuleDefault('default', '!')
        [default] = [rule for rule in policy.list_rules() if rule.name == 'default']
        self.assertEqual(nobody.check, default.check)
        caller = context.RequestContext(roles=['admin'], project_id='p', overwrite=False)
        self.assertFalse(self.parts.enforcer.enforce('container:forgotten', {}, caller))
        self.assertRaises(oslo_policy.PolicyNotRegistered, policy.authorize,
                          self.parts.enforcer, caller, 'container:forgotten')

    def test_who_is_shown_what_administrators_see_is_a_rule_too(self):
        for roles, expected in ((['admin'], True), (['member', 'reader'], False), ([], False)):
            caller = context.RequestContext(roles=roles, project_id='p', overwrite=False)
            self.assertIs(expected, policy.is_admin(self.parts.enforcer, caller))

    def test_who_may_what_by_default(self):
        self.assertEqual('admin', _WHO['bay:create'])
        self.assertEqual('member', _WHO['container:execute'])
        self.assertEqual('reader', _WHO['container:logs'])

    def test_what_is_refused_changes_nothing(self):
        self.make_bay()
        reader = {'persona': base.READER}
        answer = self.post('/v1/containers', {'image': 'i', 'name': 'c1'}, **reader)
        self.assertIn('container:create', self.assert_refused(403, 'forbidden', answer))
        self.assert_refused(404, 'container_not_found', self.get('/v1/containers/c1', **reader))

    def test_rules_can_be_changed(self):
        self.make_bay()
        self.make('c1', 'Running')
        # As a file would that the operator wrote.
        self.parts.enforcer.set_rules(oslo_policy.Rules.from_dict({'container:stop': '!'}),
                                      overwrite=False, use_conf=False)
        self.assert_refused(403, 'forbidden', self.post('/v1/containers/c1/stop'))
        self.assertEqual(202, self.post('/v1/containers/c1/pause').status_int)

    def test_what_is_closed_is_so_for_what_does_the_same(self):
        self.make_bay()
        self.make('c1', 'Running')
        self.parts.enforcer.set_rules(oslo_policy.Rules.from_dict({
            'container:execute': 'role:admin', 'container:update': 'role:admin'}),
            overwrite=False, use_conf=False)
        for path, body, rule in (('execution', {'command': ['ls']}, 'container:execute'),
                                 ('resize_container', {'name': 'c2'}, 'container:update')):
            path = f'/v1/containers/c1/{path}'
            for method in ('POST', 'PUT'):
                answer = self.call(method, path, body, version='1.41', persona=base.MEMBER)
                self.assertIn(rule, self.assert_refused(403, 'forbidden', answer))
            self.assertEqual(202, self.post(path, body, version='1.41').status_int)


class TestBays(base.ApiTestCase):

    def test_administrators_make_them(self):
        answer = self.post('/v1/bays', {
            'name': 'b1', 'driver': 'fake', 'endpoint': 'fake://x', 'public': 'true',
            'hosts': ['h1'], 'labels': {'a': 'b'}})
        bay = answer.json
        self.assertEqual(201, answer.status_int)
        self.assertEqual(f'http://localhost:9517/v1/bays/{bay["uuid"]}',
                         answer.headers['Location'])
        self.assertEqual(('b1', 'fake://x', ['h1'], True, {'a': 'b'}), tuple(
            bay[key] for key in ('name', 'endpoint', 'hosts', 'public', 'labels')))
        for ident in ('b1', bay['uuid']):
            self.assertEqual(bay, self.get(f'/v1/bays/{ident}').json)
        self.assertEqual([bay], self.get('/v1/bays').json['bays'])

    def test_magnum_s_client_can_read_them(self):
        self.make_bay()
        bay = self.get('/v1/bays/bay').json
        self.assertEqual('CREATE_COMPLETE', bay['status'])
        for key in ('uuid name baymodel_id node_count master_count bay_create_timeout status '
                    'status_reason stack_id discovery_url api_address node_addresses '
                    'master_addresses links created_at updated_at').split():
            self.assertIn(key, bay)

    def test_others_do_not_see_where_they_are(self):
        self.make_bay()
        for bay in (self.get('/v1/bays/bay', persona=base.MEMBER).json,
                    self.get('/v1/bays', persona=base.MEMBER).json['bays'][0]):
            for key in ('endpoint', 'hosts', 'ca_cert', 'client_cert', 'client_key', 'engine_id'):
                self.assertNotIn(key, bay)

    def test_refusals(self):
        good = {'name': 'b1', 'driver': 'fake', 'endpoint': 'fake://x'}
        for changed, word in (({'driver': 'vmware'}, 'driver'), ({'endpoint': 'x'}, 'endpoint'),
                              ({'driver': 'docker', 'endpoint': 'tcp://h:2375'}, 'endpoint'),
                              ({'driver': 'docker', 'endpoint': 'file:///etc'}, 'endpoint'),
                              ({'driver': 'docker', 'endpoint': 'unix:///x'}, 'hosts')):
            detail = self.assert_refused(400, 'invalid_parameter',
                                         self.post('/v1/bays', {**good, **changed}))
            self.assertTrue(detail.startswith(word), detail)
        self.assertEqual(201, self.post('/v1/bays', good).status_int)
        self.assert_refused(409, 'name_taken', self.post('/v1/bays', good))

    def test_delete(self):
        self.make_bay()
        uuid = self.make('c1', 'Stopped')
        self.assertIn('1', self.assert_refused(409, 'bay_in_use', self.delete('/v1/bays/bay')))
        self.delete('/v1/containers/c1')
        self.carry_out(uuid)
        answer = self.delete('/v1/bays/bay')
        self.assertEqual((204, b''), (answer.status_int, answer.body))
        for method in ('GET', 'DELETE'):
            self.assert_refused(404, 'bay_not_found', self.call(method, '/v1/bays/bay'))


class TestNoAuthentication(base.ApiTestCase):
    """Everybody is administrator, so only the local host is served."""

    strategy = auth.NoAuthentication

    def asked(self, host='localhost:9517', peer='127.0.0.1', origin=None, method='GET'):
        environ = {'HTTP_HOST': host, 'REMOTE_ADDR': peer}
        if origin is not None:
            environ['HTTP_ORIGIN'] = origin
        return self.call(method, '/v1/containers', {'image': 'i'} if method == 'POST' else None,
                         environ=environ)

    def test_the_local_host(self):
        for host in ('localhost', 'localhost:9517', 'LOCALHOST:1', '127.0.0.1', '127.0.0.1:9517',
                     '127.9.9.9', '[::1]', '[::1]:9517', 'me.localhost', '[::ffff:127.0.0.1]:1',
                     'localhost:'):
            self.assertEqual(200, self.asked(host=host).status_int, host)

    def test_other_names_of_it(self):
        # A name that resolves to a loopback address is how web pages reach it.
        for host in ('', 'example.org', 'example.org:9517', '10.0.0.1', '[fe80::1]', '[::2]',
                     'localhost.example.org', 'notlocalhost', '127.0.0.1.example.org',
                     '127.1.example.org:9517', 'localhost:9517:1', 'localhost:example.org',
                     'a@localhost', 'localhost/', 'localhost, example.org', '[::1', '::1', ' ',
                     '0.0.0.0', '[::]', '127.0.0.1%0a', 'x' * 9000, '\xff', '[::1]x'):
            # What is no name at all is refused even before.
            self.assertIn(self.asked(host=host).status_int, (400, 403), host)

    def test_peers(self):
        for peer in ('127.0.0.1', '127.1.2.3', '::1', '::ffff:127.0.0.1', ''):
            self.assertEqual(200, self.asked(peer=peer).status_int, peer)
        for peer in ('10.0.0.1', '8.8.8.8', 'fe80::1', 'fe80::1%eth0', '::ffff:10.0.0.1',
                     '0.0.0.0', 'localhost', 'x'):
            self.assert_refused(403, 'forbidden', self.asked(peer=peer))

    def test_web_pages(self):
        self.make_bay()
        for origin in ('http://example.org', 'https://localhost.example.org', 'null', 'http://',
                       'http://10.0.0.1:80', 'http://localhost@example.org', 'file://', 'x',
                       'chrome-extension://abc', 'http://127.0.0.1.nip.io', '\xff'):
            self.assert_refused(403, 'forbidden', self.asked(origin=origin, method='POST'))
            self.assert_refused(403, 'forbidden', self.asked(origin=origin))
        for origin in ('http://localhost:3000', 'https://127.0.0.1', 'http://[::1]:80'):
            self.assertEqual(202, self.asked(origin=origin, method='POST').status_int)
        self.assertEqual(3, len(self.get('/v1/containers').json['containers']))

    def test_every_address_is_guarded(self):
        for method, path, *_ in [*ROUTES, ('GET', '/'), ('GET', '/x')]:
            self.assert_refused(403, 'forbidden', self.call(
                method, path, environ={'HTTP_HOST': 'example.org'}))

    def test_forwarded_headers_open_nothing(self):
        for name in ('HTTP_X_FORWARDED_FOR', 'HTTP_X_FORWARDED_HOST', 'HTTP_FORWARDED',
                     'HTTP_X_REAL_IP'):
            self.assert_refused(403, 'forbidden', self.get('/v1/containers', environ={
                'REMOTE_ADDR': '10.0.0.1', 'HTTP_HOST': 'example.org', name: '127.0.0.1'}))

    def test_the_body_of_who_is_refused_is_not_read(self):
        class Unread:
            def read(self, *args):
                raise AssertionError('read')
            readline = readlines = __iter__ = read

        self.assert_refused(403, 'forbidden', self.post(
            '/v1/containers', {'image': 'i'}, drop=['webob.is_body_seekable'],
            environ={'HTTP_HOST': 'example.org', 'wsgi.input': Unread()}))

    def test_the_operator_may_say_that_another_guard_is_in_front(self):
        self.conf.set_override('allow_unauthenticated', True, group='api')
        self.build()
        answer = self.asked(host='example.org', peer='10.0.0.1', origin='http://example.org')
        self.assertEqual(200, answer.status_int)

    def test_everybody_is_one_administrator(self):
        self.make_bay()
        created = self.asked(method='POST').json
        self.assertEqual(('local', 'local'), (created['project_id'], created['user_id']))
        self.assertIn('endpoint', self.get('/v1/bays/bay').json)

    def contexts(self):
        """Those of the requests that follow, as they go through policy."""
        seen = []

        def authorize(enforcer, caller, rule):
            self.assertIs(caller, context.get_current())
            seen.append(caller)

        self.useFixture(fixtures.MonkeyPatch('container_service.policy.authorize', authorize))
        return seen

    def test_the_log_names_each_request(self):
        seen = self.contexts()
        ids = [self.get('/v1/containers').headers['X-Openstack-Request-Id'] for _ in range(2)]
        self.assertEqual(ids, [caller.request_id for caller in seen])

    def test_where_a_request_came_from(self):
        seen = self.contexts()
        for peer in ('127.0.0.1', '::1', ''):
            self.get('/v1/containers', environ={'REMOTE_ADDR': peer})
        self.assertEqual(['127.0.0.1', '::1', None], [caller.source for caller in seen])

    def test_behind_a_proxy_it_is_what_the_proxy_saw(self):
        self.conf.set_override('enable_proxy_headers_parsing', True, group='oslo_middleware')
        self.conf.set_override('allow_unauthenticated', True, group='api')
        self.build()
        seen = self.contexts()
        for told in ('203.0.113.7', '10.0.0.1, 203.0.113.7', 'x\x1b[2J', '2001:db8::1'):
            self.get('/v1/containers', environ={'HTTP_X_FORWARDED_FOR': told})
        self.assertEqual(['203.0.113.7', '203.0.113.7', None, '2001:db8::1'],
                         [caller.source for caller in seen])

    def test_the_caller_s_request_id_is_the_global_one(self):
        theirs = 'req-12345678-1234-1234-1234-123456789012'
        seen = self.contexts()
        for sent in (theirs, 'junk', theirs + 'x', ''):
            self.get('/v1/containers', environ={'HTTP_X_OPENSTACK_REQUEST_ID': sent})
        self.assertEqual([theirs, None, None, None],
                         [caller.global_request_id for caller in seen])
        self.assertNotIn(theirs, [caller.request_id for caller in seen])
