# SPDX-License-Identifier: Apache-2.0
"""Two projects that do not trust each other: what is alpha's is to beta as if it were not there.

Alpha has one of everything.  Whatever beta asks for with an id of alpha's is compared with the
same request with an id that never was: status, body, headers and the statements that are sent
to the database must be the same.  Routes, arguments and fields of bodies come from the code, so
what is new fails here until it is said what it means.
"""

import os
import re

import fixtures
import hypothesis
from hypothesis import strategies
from oslo_policy import policy as oslo_policy
import sqlalchemy as sa

from container_service import exceptions
from container_service import lifecycle
from container_service import policy
from container_service import secrets
from container_service.api import endpoints
from container_service.api import types
from container_service.api import versions
from container_service.db import actions
from container_service.db import conductors
from container_service.db import events
from container_service.db import models
from container_service.db import strays
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints

ALPHA, BETA = 'alpha-project', 'beta-project'
_UUID = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}')

# What stands for a variable of a path; ``container`` is what all operations have.
VARIABLES = {'container': ('web', 'web_name', 'gone', 'action'),
             'action': ('action', 'ended', 'web'),
             'request_id': ('request', 'action'), 'bay': ('bay', 'bay_name', 'web'),
             'host': ('bay', 'bay_name', 'web'), 'image': ('image', 'bay'),
             'registry': ('registry', 'registry_name', 'web'), 'project': ('project',),
             'class': ('project',), 'entry': ('entry', 'web')}

# What the routes need besides, where their arguments must be given.
BODIES = {
    **{f'{method} /v1/containers/{{container}}/{name}': {**more, 'w': 80, 'h': 24}
       for method in ('POST', 'PUT')
       for name, more in (('resize', {}), ('execute_resize', {'exec_id': 'a' * 64}))},
    'PATCH /v1/bays/{bay}': {'public': True}, 'POST /v1/bays/{bay}/reconcile': {'remove': 'all'},
    'POST /v1/images/{image}/tag': {'repo': 'mine/tagged'},
    'PATCH /v1/registries/{registry}': {'registry': {'name': 'other-name'}},
    'PUT /v1/quotas/{project}': {'containers': 5}, 'PUT /v1/quota_classes/{class}': {'cpu': 5}}

# Routes that are about other projects as such: who may use them at all sees all.
ABOUT_ALL = ('/v1/quotas/{project}', '/v1/quotas/{project}/defaults', '/v1/quota_classes/{class}')

# Arguments of lists that name something: with what of alpha's beta tries them.
FILTERS = {
    'marker': ('web', 'action', 'bay', 'image', 'registry', 'event', 'stray', 'entry'),
    'name': ('web_name', 'registry_name'), 'label': ('label', 'whole_label'),
    'project_id': ('project',), 'user_id': ('user',), 'bay_ident': ('bay', 'bay_name'),
    'host': ('bay', 'bay_name'), 'bay': ('bay', 'bay_name'),
    'container': ('web', 'web_name', 'gone'),
    'request_id': ('request',), 'action': ('action', 'ended'), 'repo': ('repo',), 'tag': ('tag',),
    'domain': ('domain',), 'username': ('user',), 'image': ('repo',),
    'target_uuid': ('web', 'bay', 'registry'), 'action_uuid': ('action', 'ended')}
# Those that name nothing, or that policy has a rule for.
NEUTRAL = {'limit', 'sort_key', 'sort_dir', 'all_projects', 'task_state', 'status', 'memory',
           'auto_remove', 'resource_url', 'expand', 'operation', 'type', 'timeout', 'for',
           'outcome', 'since', 'until'}
# There it is the name of a conductor.
_CONDUCTORS = '/v1/services'
# Pages of these are asked for without effect.
UNPAGED = ('/v1/availability_zones',)

# Fields of bodies that name what is there already, with the rest of such a body.
REFERENCES = {
    'POST /v1/containers': ({'image': 'i'}, {
        'bay_uuid': ('bay', 'bay_name'), 'host': ('bay', 'bay_name'),
        'registry': ('registry', 'registry_name'), 'availability_zone': ('zone',),
        'hints': ('hints',)}),
    'POST /v1/images': ({'repo': 'far/away'}, {
        'bay_uuid': ('bay', 'bay_name'), 'host': ('bay', 'bay_name'),
        'registry': ('registry', 'registry_name')}),
    'POST /v1/images/prune': ({}, {'bay_uuid': ('bay', 'bay_name'), 'host': ('bay', 'bay_name')}),
}
# Bodies all of whose fields are new names and values.
PLAIN = {'POST /v1/bays', 'PATCH /v1/bays/{bay}', 'POST /v1/bays/{bay}/reconcile',
         'POST /v1/registries', 'PATCH /v1/registries/{registry}', 'POST /v1/images/{image}/tag',
         'PUT /v1/quotas/{project}', 'PUT /v1/quota_classes/{class}'}
PLAIN_FIELDS = {
    'POST /v1/containers': {
        'image', 'name', 'command', 'entrypoint', 'environment', 'secret_environment', 'labels',
        'workdir', 'hostname', 'user', 'cpu', 'memory', 'disk', 'restart_policy', 'auto_remove',
        'auto_heal', 'tty', 'interactive', 'read_only', 'tmpfs', 'stop_signal', 'stop_timeout',
        'healthcheck', 'exposed_ports', 'published_ports', 'nets', 'mounts', 'image_pull_policy',
        'runtime', 'privileged', 'cpu_policy', 'image_driver', 'security_groups'},
    'POST /v1/images': {'repo', 'tag', 'image_pull_policy', 'image_id', 'size'},
    'POST /v1/images/prune': set()}

MEMBER = base.MEMBER
ADMIN = base.ADMIN


def unlike(value):
    """An id or name of the same form that never was."""
    if isinstance(value, dict):
        return {unlike(name): unlike(text) for name, text in value.items()}
    made = _UUID.sub(lambda match: lifecycle.new_uuid(), value).replace('alpha', 'omega')
    assert made != value, value
    return made


def words(ident):
    """The texts that an id consists of."""
    return [*ident, *ident.values()] if isinstance(ident, dict) else [ident]


def routes(with_variable):
    return [route for route in test_endpoints.ROUTES if ('{' in route.path) == with_variable]


def version_of(route):
    newest = route.endpoint.is_at(versions.MAXIMUM)
    return versions.text(versions.MAXIMUM) if newest else test_endpoints.version_of(route)


class TenancyCase(base.ApiTestCase):
    """Alpha has one of everything; its ids and names are in ``ids``, by what they are of."""

    def setUp(self):
        super().setUp()
        # So many refusals are not recorded one by one else, and one of two requests is cheaper.
        self.useFixture(fixtures.MonkeyPatch(
            'container_service.api.trail.Bounds.BURST', 10 ** 6))
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.build()
        self.public = self.make_bay('public')
        self.ids = {'project': ALPHA, 'user': 'alpha-user', 'zone': 'alpha-zone',
                    'repo': 'r.alpha.org/web', 'tag': 'alpha-tag', 'domain': 'r.alpha.org',
                    'hints': {'alpha-hint': 'alpha-value'}, 'label': 'alpha-label',
                    'whole_label': 'alpha-label=alpha-value', 'key': 'alpha-key',
                    'web_name': 'alpha-web', 'bay_name': 'alpha-bay',
                    'registry_name': 'alpha-registry', 'gone_name': 'alpha-gone'}
        self.furnish()
        self.stop_clocks()

    def alpha(self, method, path, body=None, **values):
        answer = self.call(method, path, body, project=ALPHA, version='latest',
                           persona={**ADMIN, 'user_id': 'alpha-user'}, **values)
        self.assertLess(answer.status_int, 300, answer)
        return answer

    def beta(self, method, path, body=None, persona=MEMBER, version='latest', **values):
        return self.call(method, path, body, project=BETA, version=version,
                         persona={**persona, 'user_id': 'beta-user'}, **values)

    def furnish(self):
        ids = self.ids
        ids['bay'] = self.alpha('POST', '/v1/bays', {
            'name': 'alpha-bay', 'driver': 'fake', 'endpoint': 'fake://alpha-engine',
            'labels': {'availability_zone': 'alpha-zone', **ids['hints']}}).json['uuid']
        ids['registry'] = self.alpha('POST', '/v1/registries', {'registry': {
            'name': 'alpha-registry', 'domain': 'r.alpha.org', 'username': 'alpha-user',
            'password': 'alpha-password'}}).json['registry']['uuid']
        made = self.alpha('POST', '/v1/containers', {
            'name': 'alpha-web', 'image': 'web:alpha-tag', 'registry': 'alpha-registry',
            'bay_uuid': 'alpha-bay', 'labels': {'alpha-label': 'alpha-value'},
            'environment': {'ALPHA': 'alpha-secret'}, 'nets': [{'network': 'alpha-net'}],
            'mounts': [{'type': 'bind', 'source': 'YWxwaGEK', 'destination': '/alpha'}]},
            headers={'Idempotency-Key': 'alpha-key'})
        ids['web'], ids['ended'] = made.json['uuid'], made.json['action']['uuid']
        ids['request'] = made.headers['X-Openstack-Request-Id']
        self.carry_out(ids['web'], 'Running')
        ids['action'] = self.alpha('POST', '/v1/containers/alpha-web/stop').json['uuid']
        ids['gone'] = self.alpha('POST', '/v1/containers', {
            'name': 'alpha-gone', 'image': 'i', 'bay_uuid': 'alpha-bay'}).json['uuid']
        self.carry_out(ids['gone'], 'Stopped')
        self.alpha('DELETE', '/v1/containers/alpha-gone')
        self.carry_out(ids['gone'])
        ids['image'] = self.alpha('POST', '/v1/images', {
            'repo': 'web', 'tag': 'alpha-tag', 'registry': 'alpha-registry',
            'bay_uuid': 'alpha-bay'}).json['uuid']
        self.alpha('PUT', f'/v1/quotas/{ALPHA}', {'containers': 77})
        ids['entry'] = self.alpha('GET', '/v1/audit?limit=1').json['audit'][0]['uuid']
        ids['event'], ids['stray'] = lifecycle.new_uuid(), lifecycle.new_uuid()

        def happened(conn):
            events.insert(conn, events.EXITED, uuid=ids['event'], bay_uuid=ids['bay'],
                          project_id=ALPHA, container_uuid=ids['web'], exit_code=3)
            strays.insert(conn, {'bay_uuid': ids['bay'], 'engine_id': 'alpha-stray',
                                 'status': 'Running', 'reason': strays.UNKNOWN})
            conn.execute(models.strays.update().values(uuid=ids['stray']))

        self.db.transact(happened)

    def stop_clocks(self):
        """What is looked at once a second is looked at before, not by one of two requests."""
        self.beta('GET', '/v1/limits')
        self.parts.quotas.guard(BETA)
        self.parts.pool(self.public.uuid)
        for part in (self.parts.limits, self.parts.quotas, self.parts.pool.__self__):
            now = part._clock()
            part._clock = lambda now=now: now

    def open_policy(self):
        """Let every member do everything: only queries keep projects apart then."""
        self.parts.enforcer.set_rules(oslo_policy.Rules.from_dict({
            rule.name: 'role:member' for rule in policy.list_rules()
            if rule.name != 'container:all_projects'}), overwrite=False, use_conf=False)

    def asked(self, ident, method, path, body=None, **values):
        """What beta is answered, without the id that was asked for, and the statements it took."""
        sent = []

        def note(conn, cursor, statement, *rest):
            sent.append(statement)

        sa.event.listen(self.db.engine, 'before_cursor_execute', note)
        try:
            answer = self.beta(method, path, body, **values)
        finally:
            sa.event.remove(self.db.engine, 'before_cursor_execute', note)
        return answer, (answer.status_int, *self.plain(answer, ident)), sent

    def plain(self, answer, ident):
        """Body and headers of an answer without what is another one each time."""
        text = answer.text.replace(answer.headers['X-Openstack-Request-Id'], 'REQUEST')
        for word in words(ident):
            text = text.replace(word, 'IDENT')
        text = re.sub(r'20\d\d-[0-9:T.+-]+', 'TIME', text)
        headers = {name: re.sub(re.escape(str(ident)), 'IDENT', value)
                   for name, value in answer.headers.items()
                   if name.lower() != 'x-openstack-request-id'}
        return text, headers

    def assert_unknown(self, ident, method, path, body=None, statements=True, **values):
        """Beta learns of an id what it learns of one that never was; ``path`` and ``body`` have
        IDENT in its place.  Returns the answer."""
        seen = []
        for each in (ident, unlike(ident)):
            answer, told, sent = self.asked(
                each, method, path.replace('IDENT', str(each)), _filled(body, each), **values)
            seen.append((answer, told, sent))
        (answer, told, sent), (_, unknown, sent_then) = seen
        self.assertEqual(unknown, told, (method, path, ident))
        self.assertLess(told[0], 500, (method, path, ident, answer))
        if statements:
            self.assertEqual(sent_then, sent, (method, path, ident))
        self.assert_nothing_of_alpha(answer, ident)
        return answer

    def assert_nothing_of_alpha(self, answer, ident=''):
        text = answer.text + repr(sorted(answer.headers.items()))
        for word in filter(None, words(ident)):
            text = text.replace(word, '')
        self.assertNotIn('alpha', text)
        for name, value in self.ids.items():
            if isinstance(value, str):
                self.assertNotIn(value, text, name)

    def rows(self):
        """All that alpha has, as it is stored."""
        with self.db.read() as conn:
            found = {table.name: conn.execute(sa.select(table)).all()
                     for table in models.metadata.sorted_tables}
        known = set(filter(_UUID.fullmatch, filter(lambda v: isinstance(v, str),
                                                   self.ids.values())))
        # What beta has asked for in vain is in beta's own trail.
        return {name: [row for row in rows if BETA not in row and (
                    ALPHA in row or known.intersection(
                        value for value in row if isinstance(value, str)))]
                for name, rows in found.items()}


def _filled(body, ident):
    if body == 'IDENT':
        return ident
    if isinstance(body, dict):
        return {name: _filled(value, ident) for name, value in body.items()}
    return body


class TestIds(TenancyCase):
    """Every route with a variable, with every kind of id that may stand there."""

    time_limit = 180

    def walk(self, persona, statuses, skip=()):
        before = self.rows()
        for route in routes(with_variable=True):
            if route.path in skip:
                continue
            op = route.endpoint.operation
            body = BODIES.get(route.name)
            if body is None and op is not None and route.method in ('POST', 'PUT', 'PATCH'):
                body = base.required_of(op)
            query = '?path=/tmp' if op is not None and op.name == 'get_archive' else ''
            for kind in VARIABLES[re.findall(r'{(\w+)}', route.path)[0]]:
                path = re.sub(r'{\w+}', 'IDENT', route.path, count=1)
                path = path.replace('{request_id}', self.ids['request'])
                answer = self.assert_unknown(
                    self.ids[kind], route.method, path + query, body, persona=persona,
                    version=version_of(route))
                self.assertIn(answer.status_int, statuses, (route.name, kind, answer))
        self.assertEqual(before, self.rows())

    def test_a_member_is_told_what_he_is_told_of_unknown_ids(self):
        self.walk(MEMBER, (403, 404))

    def test_and_where_policy_lets_members_do_everything(self):
        self.open_policy()
        self.walk(MEMBER, (404,), skip=ABOUT_ALL)

    def test_and_an_administrator_who_does_not_ask_for_all_projects(self):
        # Hosts are those of the whole service, for administrators.
        self.walk(ADMIN, (404,), skip=(*ABOUT_ALL, '/v1/hosts/{host}'))

    def test_every_variable_has_its_ids(self):
        self.assertEqual(set(VARIABLES), {name for route in routes(with_variable=True)
                                          for name in re.findall(r'{(\w+)}', route.path)})

    def test_every_body_that_must_be_given_is(self):
        self.assertEqual(set(BODIES), {
            route.name for route in routes(with_variable=True)
            if route.endpoint.body or route.path.endswith('resize')})

    def test_a_request_of_another_project_is_none_of_an_own_container(self):
        self.beta('POST', '/v1/containers', {'name': 'mine', 'image': 'i'})
        answer = self.assert_unknown(self.ids['request'], 'GET',
                                     '/v1/containers/mine/container_actions/IDENT')
        self.assertEqual(404, answer.status_int)


class TestLists(TenancyCase):

    def setUp(self):
        super().setUp()
        self.open_policy()
        self.beta('POST', '/v1/containers', {'name': 'mine', 'image': 'i'})

    def lists(self):
        return [route for route in routes(with_variable=False)
                if route.method == 'GET' and isinstance(route.endpoint.returns, endpoints.Listing)
                and not route.path.startswith(_CONDUCTORS)]

    def test_every_argument_is_known(self):
        names = {param.name for route in self.lists() for param in route.endpoint.query}
        self.assertEqual(set(), names - set(FILTERS) - NEUTRAL)

    def test_through_every_argument(self):
        for route in self.lists():
            for param in route.endpoint.query:
                for kind in FILTERS.get(param.name, ()):
                    answer = self.assert_unknown(
                        self.ids[kind], 'GET', f'{route.path}?{param.wire_name}=IDENT',
                        version=version_of(route))
                    if answer.status_int == 200 and route.path not in UNPAGED:
                        self.assertEqual([], answer.json[route.endpoint.returns.key],
                                         (route.name, param.name))

    def test_in_every_order_and_page(self):
        for route in self.lists():
            for param in route.endpoint.query:
                keys = param.schema.get('enum', ()) if param.name == 'sort_key' else ()
                for key in keys:
                    for more in ('', '&sort_dir=desc', '&limit=1'):
                        answer = self.beta('GET', f'{route.path}?sort_key={key}{more}',
                                           version=version_of(route))
                        self.assertEqual(200, answer.status_int, answer)
                        self.assert_nothing_of_alpha(answer)
                        self.assertIsNone(answer.json.get('next'))

    def test_everything_else_without_an_id(self):
        for route in routes(with_variable=False):
            if route.method == 'GET' and not route.path.startswith('/v1/actions/wait'):
                self.assert_nothing_of_alpha(self.beta(
                    'GET', route.path, version=version_of(route)))

    def test_waiting_for_several(self):
        uuid = self.beta('POST', '/v1/containers', {'image': 'i'}).json['action']['uuid']
        for kind in ('action', 'ended', 'web'):
            for query in (f'action={uuid}&action=IDENT', f'action=IDENT&action={uuid}&for=any',
                          'action=IDENT&timeout=0'):
                answer = self.assert_unknown(self.ids[kind], 'GET', f'/v1/actions/wait?{query}')
                self.assertEqual(404, answer.status_int)

    def test_another_s_numbers_are_not_in_own_ones(self):
        used = self.beta('GET', '/v1/limits').json['limits']['unfinished_actions']['used']
        self.assertEqual(1, used)
        quota = self.beta('GET', f'/v1/quotas/{BETA}?usages=1').json
        self.assertEqual({'limit': -1, 'in_use': 1}, quota['containers'])
        zones = self.beta('GET', '/v1/availability_zones').json['availability_zones']
        self.assertEqual([{'availability_zone': 'nova'}], zones)

    def test_administrators_see_all_by_policy_only(self):
        for route in self.lists():
            if 'all_projects' not in [param.name for param in route.endpoint.query]:
                continue
            path = f'{route.path}?all_projects=1'
            answer = self.beta('GET', path, version=version_of(route))
            self.assertIn('container:all_projects', self.assert_refused(403, 'forbidden', answer))
            everything = self.beta('GET', path, persona=ADMIN, version=version_of(route))
            self.assertIn('alpha', everything.text, route.name)
            self.assert_nothing_of_alpha(self.beta(
                'GET', route.path, persona=ADMIN, version=version_of(route)))


class TestReferences(TenancyCase):
    """What requests name in their bodies."""

    def setUp(self):
        super().setUp()
        self.open_policy()

    def test_every_field_is_known(self):
        for route in test_endpoints.ROUTES:
            if route.endpoint.body is None or route.name in PLAIN:
                continue
            _, fields = REFERENCES[route.name]
            self.assertEqual(set(types.names(route.endpoint.body)),
                             set(fields) | PLAIN_FIELDS[route.name], route.name)

    def test_through_every_field(self):
        for name, (rest, fields) in REFERENCES.items():
            method, path = name.split()
            for field, kinds in fields.items():
                for kind in kinds:
                    answer = self.assert_unknown(
                        self.ids[kind], method, path, {**rest, field: 'IDENT'})
                    self.assertIn(answer.status_int, (400, 404), (name, field, answer))

    def test_names_that_another_has_can_be_taken(self):
        for path, body in (
                ('containers', {'name': 'alpha-web', 'image': 'i'}),
                ('registries', {'registry': {'name': 'alpha-registry', 'domain': 'r.alpha.org'}}),
                ('bays', {'name': 'alpha-bay', 'driver': 'fake',
                          'endpoint': 'fake://alpha-engine'}),
                ('images', {'repo': 'far/away', 'bay_uuid': 'public'})):
            answer = self.beta('POST', f'/v1/{path}', body)
            self.assertLess(answer.status_int, 300, answer)
            for kind in ('web', 'bay', 'registry', 'image', 'action'):
                self.assertNotIn(self.ids[kind], answer.text)

    def test_a_key_that_another_has_used_is_a_new_one(self):
        key = {'Idempotency-Key': 'alpha-key'}
        body = {'name': 'mine', 'image': 'i', 'bay_uuid': 'public'}
        for dry_run in ('?dry_run=1', ''):
            made = self.beta('POST', f'/v1/containers{dry_run}', body, headers=key)
            self.assertNotIn('Idempotency-Replayed', made.headers)
            self.assertIn(made.status_int, (200, 202), made)
            self.assert_nothing_of_alpha(made)
        again = self.beta('POST', '/v1/containers', body, headers=key)
        self.assertEqual(('true', made.json['uuid']), (
            again.headers['Idempotency-Replayed'], again.json['uuid']))
        # And what it was used for is still alpha's.
        self.assertEqual(1, len([row for row in self.rows()['idempotency_keys']]))

    def test_a_key_of_what_is_gone_is_a_new_one_too(self):
        body = {'registry': {'name': 'temporary', 'domain': 'r.example.org'}}
        key = {'Idempotency-Key': 'alpha-key-2'}
        made = self.alpha('POST', '/v1/registries', body, headers=key).json['registry']
        self.alpha('DELETE', f'/v1/registries/{made["uuid"]}')
        answer = self.beta('POST', '/v1/registries', body, headers=key)
        self.assertEqual(201, answer.status_int, answer)
        self.assertNotEqual(made['uuid'], answer.json['registry']['uuid'])

    def test_pruning_leaves_alone_what_is_another_s(self):
        for project, name in ((ALPHA, 'far/away'), (BETA, 'far/off')):
            made = self.call('POST', '/v1/images', {'repo': name, 'bay_uuid': 'public'},
                             project=project, version='latest')
            self.change(models.images, made.json['uuid'], status='Available')
        before = self.rows()
        answer = self.beta('POST', '/v1/images/prune', {'bay_uuid': 'public'})
        self.assertEqual(['far/off'], [image['repo'] for image in answer.json['images']])
        self.assertEqual(before, self.rows())

    def test_what_is_adopted_becomes_nobody_else_s(self):
        self.beta('POST', '/v1/bays', {'name': 'mine', 'driver': 'fake', 'endpoint': 'fake://x'})
        answer = self.beta('POST', '/v1/bays/mine/reconcile', {'adopt': 'all',
                                                               'project_id': ALPHA})
        self.assert_refused(403, 'forbidden', answer)

    def test_how_much_another_has_is_in_no_refusal(self):
        self.conf.set_override('action_limit', 1, group='api')
        answer = self.beta('POST', '/v1/containers', {'image': 'i'})
        detail = self.assert_refused(503, 'system_full', answer)
        self.assertNotRegex(detail, r'\d')


class TestWhatIsInside(TenancyCase):
    """Hosts, addresses and what engines and conductors say of them are for administrators."""

    SECRET = 'inside-host'

    def setUp(self):
        super().setUp()
        made = self.beta('POST', '/v1/containers', {'name': 'mine', 'image': 'i'}).json
        self.mine, self.action = made['uuid'], made['action']['uuid']

    def furnish(self):
        self.start_conductor(self.ask)
        super().furnish()

    def ask(self, operation, params):
        return {'error': exceptions.EngineUnreachable(f'{self.SECRET} is gone').to_dict()}

    def assert_inside(self, method, path, **values):
        """An administrator is told, and a member is not."""
        for persona, check in ((ADMIN, self.assertIn), (MEMBER, self.assertNotIn)):
            answer = self.beta(method, path, persona=persona, **values)
            check(self.SECRET, answer.text)
        return answer

    def assert_actions(self, code):
        for path in (f'/v1/actions/{self.action}', f'/v1/actions/{self.action}/wait?timeout=0',
                     '/v1/actions', f'/v1/actions/wait?action={self.action}&timeout=0'):
            answer = self.assert_inside('GET', path)
            self.assertIn(f'"code": "{code}"', answer.text)

    def test_who_runs_an_action(self):
        self.claim(self.mine, base.base.Conductor(self.SECRET))
        self.assert_actions('owner_lost')
        with self.db.read() as conn:
            claimed = actions.find(conn, actions.table.c.uuid == self.action)
        self.db.transact(lambda conn: conductors.insert(conn, 60, {
            'uuid': claimed.conductor_uuid, 'host': self.SECRET, 'slot': 0,
            'server': claimed.conductor}))
        self.assert_actions('working')

    def test_why_a_bay_does_not_answer(self):
        self.change(models.bays, self.public.uuid, health_status='UNHEALTHY',
                    health_status_reason=f'tcp://{self.SECRET}:2376 does not answer')
        self.assert_actions('bay_unreachable')
        self.assert_inside('GET', '/v1/bays/public')
        self.assert_inside('GET', '/v1/bays')

    def test_why_a_call_cannot_be_made(self):
        self.carry_out(self.mine, 'Running')
        for path in ('top', 'stats', 'logs'):
            answer = self.assert_inside('GET', f'/v1/containers/mine/{path}')
            self.assert_refused(503, 'bay_unreachable', answer)


class TestAnything(TenancyCase):
    """Whatever beta asks for, in whatever order, what alpha has stays as it is."""

    time_limit = 180

    def test_nothing_of_alpha_changes(self):
        self.open_policy()
        before, changing = self.rows(), {}
        for route in test_endpoints.ROUTES:
            if route.method != 'GET' and not route.path.startswith((*ABOUT_ALL, _CONDUCTORS)):
                variable = re.search(r'{(\w+)}', route.path)
                changing.setdefault(route.path.split('/')[2], []).extend(
                    (route, kind) for kind in (
                        VARIABLES[variable[1]] if variable else ('bay', 'bay_name', 'registry')))
        queries = ('force=true', 'stop=true', 'if_busy=reject', 'run=true')

        @hypothesis.settings(
            max_examples=60, deadline=None, derandomize=True, database=None,
            suppress_health_check=list(hypothesis.HealthCheck),
            phases=[hypothesis.Phase.explicit, hypothesis.Phase.generate])
        @hypothesis.given(strategies.lists(strategies.tuples(
            strategies.one_of(map(strategies.sampled_from, changing.values())),
            strategies.sampled_from(queries), strategies.sampled_from((MEMBER, ADMIN)),
            strategies.booleans()), min_size=5, max_size=10))
        def ask(requests):
            for (route, kind), query, persona, keyed in requests:
                path = re.sub(r'{\w+}', self.ids[kind], route.path)
                known = [param.wire_name for param in route.endpoint.query]
                query = f'?{query}' if query.partition('=')[0] in known else ''
                self.beta(route.method, path + query, self.body(route, self.ids[kind]),
                          persona=persona, version=version_of(route),
                          headers={'Idempotency-Key': 'alpha-key'} if keyed else None)
            self.assertEqual(before, self.rows())

        ask()

    def body(self, route, ident):
        """A body that names something of alpha's wherever it can."""
        if route.name in REFERENCES:
            rest, fields = REFERENCES[route.name]
            return {**rest, **{name: ident for name in list(fields)[:1]}}
        op = route.endpoint.operation
        if route.name in BODIES or op is None or route.method == 'DELETE':
            return BODIES.get(route.name)
        return {**base.required_of(op), **({'name': ident} if op.name == 'rename' else {})}


class TestWithoutProject(TenancyCase):

    def test_nothing_is_seen(self):
        for project in (None, ''):
            for route in test_endpoints.ROUTES:
                if route.endpoint.policy == endpoints.PUBLIC:
                    continue
                path = re.sub(r'{\w+}', self.ids['web'], route.path)
                for persona in (MEMBER, ADMIN):
                    answer = self.call(
                        route.method, path, persona={**persona, 'project_id': project},
                        version=version_of(route))
                    self.assert_refused(403, 'forbidden', answer)
                    self.assert_nothing_of_alpha(answer, self.ids['web'])
