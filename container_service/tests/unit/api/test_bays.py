# SPDX-License-Identifier: Apache-2.0
"""Who may use a bay, what it is called, and how that is changed."""

import json
import os

from oslo_policy import policy

from container_service import lifecycle
from container_service import secrets
from container_service.db import models
from container_service.tests import certificates
from container_service.tests.unit.api import base

NEWEST = {'version': 'latest'}


class BaysCase(base.ApiTestCase):

    def bay(self, name, project='admins', **values):
        answer = self.post('/v1/bays', {'name': name, 'driver': 'fake', 'endpoint': 'fake://x',
                                        **values}, project=project, **NEWEST)
        self.assertEqual(201, answer.status_int, answer)
        return answer.json

    def update(self, ident, body, query='', project='admins', **values):
        return self.call('PATCH', f'/v1/bays/{ident}{query}', body, project=project,
                         **{**NEWEST, **values})

    def seen_by(self, project, query=''):
        """The bays that a member of a project sees, by name."""
        return [bay['uuid'] for bay in self.get(
            f'/v1/bays{query}', project=project, persona=base.MEMBER).json['bays']]

    def place(self, project, **values):
        return self.post('/v1/containers', {'image': 'i', **values}, project=project,
                         persona=base.MEMBER, **NEWEST)


class TestSharing(BaysCase):

    def test_a_bay_is_private_shared_or_public(self):
        bay = self.bay('b1')
        for shared, public, may in ((None, False, {'admins'}), (['p2', 'p1'], False,
                                    {'admins', 'p1', 'p2'}), ([], True, {'admins', 'p1', 'p3'})):
            if shared is not None:
                changed = self.update('b1', {'shared_with': shared, 'public': public})
                self.assertEqual(200, changed.status_int, changed)
                self.assertEqual((sorted(shared), public), (
                    changed.json['shared_with'], changed.json['public']))
            for project in ('admins', 'p1', 'p3'):
                expected = project in may
                self.assertEqual([bay['uuid']] if expected else [], self.seen_by(project))
                for ident in ('b1', bay['uuid']):
                    answer = self.place(project, bay_uuid=ident)
                    if expected:
                        self.assertEqual(202, answer.status_int)
                    else:
                        self.assert_refused(404, 'bay_not_found', answer)

    def test_shared_when_made(self):
        bay = self.bay('b1', shared_with=['p2', 'p1', 'p1'])
        self.assertEqual(['p1', 'p2'], bay['shared_with'])
        self.assertEqual([bay['uuid']], self.seen_by('p1'))

    def test_with_whom_is_for_administrators(self):
        self.bay('b1', shared_with=['p1', 'p2'])
        shown = self.get('/v1/bays/b1', project='p1', persona=base.MEMBER)
        self.assertNotIn('shared_with', shown.json)
        self.assertNotIn('p2', shown.text)
        self.assertNotIn('admins', shown.text)

    def test_what_went_wrong_with_it_is_for_administrators(self):
        bay = self.bay('b1', public=True)
        self.change(models.bays, bay['uuid'], health_status='UNHEALTHY',
                    health_status_reason='tcp://secret-host:2376 does not answer')
        shown = self.get('/v1/bays/b1', project='p1', persona=base.MEMBER)
        self.assertEqual(('UNHEALTHY', None), (shown.json['health_status'],
                                               shown.json['health_status_reason']))
        self.assertIn('secret-host', self.get('/v1/bays/b1', project='admins').text)

    def test_what_is_there_stays_when_a_share_is_taken_away(self):
        self.bay('b1', shared_with=['p1'])
        uuid = self.place('p1', name='web').json['uuid']
        self.carry_out(uuid, 'Running')
        self.update('b1', {'shared_with': []})
        self.assert_refused(404, 'bay_not_found', self.place('p1', bay_uuid='b1'))
        self.assert_refused(400, 'bay_required', self.place('p1'))
        member = {'project': 'p1', 'persona': base.MEMBER}
        self.assertEqual('Running', self.get('/v1/containers/web', **member).json['status'])
        self.assertEqual(202, self.post('/v1/containers/web/stop', **NEWEST, **member).status_int)
        self.carry_out(uuid)
        self.assertEqual(202, self.delete('/v1/containers/web', **NEWEST, **member).status_int)

    def test_shares_go_with_their_bay(self):
        self.bay('b1', shared_with=['p1'])
        self.assertEqual(204, self.delete('/v1/bays/b1', project='admins').status_int)
        with self.db.read() as conn:
            self.assertEqual([], conn.execute(models.bay_shares.select()).all())

    def test_administrators_see_all_when_they_say_so(self):
        theirs = self.bay('theirs', project='p1')
        everywhere = {bay['name'] for bay in self.get('/v1/bays?all_projects=1').json['bays']}
        self.assertEqual({'theirs'}, everywhere)
        self.assertEqual([], self.get('/v1/bays').json['bays'])
        for ident in ('theirs', theirs['uuid']):
            self.assert_refused(404, 'bay_not_found', self.get(f'/v1/bays/{ident}'))
            self.assert_refused(404, 'bay_not_found', self.update(ident, {'public': True}))
            self.assert_refused(404, 'bay_not_found', self.delete(f'/v1/bays/{ident}'))
            self.assertEqual(200, self.get(f'/v1/bays/{ident}?all_projects=1').status_int)
        self.assertEqual(200, self.update('theirs', {'public': True},
                                         '?all_projects=1').status_int)
        for method, path in (('GET', ''), ('GET', '/theirs'), ('DELETE', '/theirs')):
            self.assert_refused(403, 'forbidden', self.call(
                method, f'/v1/bays{path}?all_projects=1', persona=base.MEMBER))

    def test_whom_policy_lets_have_bays_changes_none_of_others(self):
        self.parts.enforcer.set_rules(policy.Rules.from_dict({
            f'bay:{name}': 'role:member'
            for name in ('create', 'update', 'delete', 'strays', 'reconcile')}),
            overwrite=False, use_conf=False)
        self.bay('theirs', public=True)
        member = {'project': 'p1', 'persona': base.MEMBER, **NEWEST}
        mine = self.post('/v1/bays', {'name': 'mine', 'driver': 'fake', 'endpoint': 'fake://y'},
                         **member)
        self.assertEqual(201, mine.status_int, mine)
        for name, status in (('theirs', 403), ('mine', None)):
            for method, path, body, good in (
                    ('PATCH', '', {'public': True}, 200), ('GET', '/strays', None, 200),
                    ('POST', '/reconcile', {}, 202), ('DELETE', '', None, 204)):
                answer = self.call(method, f'/v1/bays/{name}{path}', body, **member)
                self.assertEqual(status or good, answer.status_int, (name, method, answer))


class TestNames(BaysCase):

    def test_a_name_that_another_project_has_can_be_taken(self):
        theirs, mine = self.bay('b1'), self.bay('b1', project='p1')
        self.assertNotEqual(theirs['uuid'], mine['uuid'])
        self.assertEqual(mine['uuid'], self.get('/v1/bays/b1', project='p1').json['uuid'])
        self.assert_refused(409, 'name_taken', self.post('/v1/bays', {
            'name': 'b1', 'driver': 'fake', 'endpoint': 'fake://x'}, project='p1'))
        other = self.bay('c1', project='p1')
        self.assert_refused(409, 'name_taken', self.update(
            other['uuid'], {'name': 'b1'}, project='p1'))

    def test_private_ones_of_others_are_not_in_the_way(self):
        self.bay('b1', project='p2')
        public = self.bay('b1', public=True)
        self.bay('b1', project='p3')
        self.assertEqual(public['uuid'], self.uuid_of('b1'))

    def test_the_own_one_comes_before_shared_before_public_ones(self):
        public = self.bay('b1', public=True)
        self.assertEqual(public['uuid'], self.uuid_of('b1'))
        shared = self.bay('b1', project='p2', shared_with=['p1'])
        self.assertEqual(shared['uuid'], self.uuid_of('b1'))
        own = self.bay('b1', project='p1')
        self.assertEqual(own['uuid'], self.uuid_of('b1'))

    def uuid_of(self, name):
        """The bay of that name to a project, whatever asks for it."""
        uuid = self.get(f'/v1/bays/{name}', project='p1').json['uuid']
        for place in ({'bay_uuid': name}, {'host': name}):
            answer = self.post('/v1/containers', {'image': 'i', **place}, project='p1', **NEWEST)
            self.assertEqual(uuid, answer.json['bay_uuid'])
        for path in ('actions?bay=', 'containers?bay_ident='):
            key = path.partition('?')[0]
            found = self.get(f'/v1/{path}{name}', project='p1').json[key]
            self.assertEqual({uuid}, {each['bay_uuid'] for each in found})
        return uuid

    def test_several_that_are_meant_as_much_are_listed(self):
        uuids = [self.bay('b1', project=project, public=True)['uuid']
                 for project in ('p2', 'p3')]
        for answer in (self.get('/v1/bays/b1', project='p1'),
                       self.place('p1', bay_uuid='b1'),
                       self.delete('/v1/bays/b1', project='p1')):
            detail = self.assert_refused(409, 'ambiguous_name', answer)
            for uuid in uuids:
                self.assertIn(uuid, detail)
        detail = self.assert_refused(400, 'bay_required', self.place('p1'))
        self.assertIn(', '.join(uuids), detail)
        self.assertEqual(202, self.place('p1', bay_uuid=uuids[0]).status_int)


class TestUpdate(BaysCase):

    def test_what_can_be_changed(self):
        bay = self.bay('b1', labels={'a': 'b'}, hosts=['h1'])
        for change in ({'name': 'c1'}, {'labels': {'x': 'y'}}, {'labels': {}}, {'public': True},
                       {'public': False}, {'shared_with': ['p1']}, {'hosts': ['h2', 'h3']}):
            changed = self.update(bay['uuid'], change)
            self.assertEqual(200, changed.status_int, changed)
            for name, value in change.items():
                self.assertEqual(value, changed.json[name])
            self.assertGreater(changed.json['updated_at'], bay['updated_at'])
            bay = self.get(f'/v1/bays/{bay["uuid"]}', project='admins').json
            self.assertEqual(changed.json, bay)
        self.assertIsNone(self.update(bay['uuid'], {'hosts': []}).json['hosts'])

    def test_what_is_refused_changes_nothing(self):
        bay = self.bay('b1', shared_with=['p1'])
        self.bay('taken')
        for change, name in (
                ({'name': 5}, 'name'), ({'name': 'a b'}, 'name'),
                ({'public': 'maybe'}, 'public'), ({'shared_with': 'p1'}, 'shared_with'),
                ({'shared_with': [5]}, 'shared_with'), ({'shared_with': ['']}, 'shared_with'),
                ({'shared_with': ['p' * 65]}, 'shared_with'),
                ({'shared_with': ['a\nb']}, 'shared_with'),
                ({'shared_with': [f'p{number}' for number in range(257)]}, 'shared_with'),
                ({'labels': ['a']}, 'labels'), ({'hosts': 'h1'}, 'hosts')):
            for body in (change, {'public': True, **change}):
                detail = self.assert_refused(400, 'invalid_parameter', self.update('b1', body))
                self.assertTrue(detail.startswith(name), detail)
        self.assert_refused(400, 'unknown_parameter', self.update('b1', {'driver': 'docker'}))
        self.assert_refused(400, 'invalid_request', self.update('b1', {}))
        self.assert_refused(409, 'name_taken',
                            self.update('b1', {'shared_with': [], 'name': 'taken'}))
        self.assert_refused(404, 'bay_not_found', self.update(
            lifecycle.new_uuid(), {'name': 'c1'}))
        self.assertEqual(bay, self.get('/v1/bays/b1', project='admins').json)

    def test_a_socket_keeps_its_hosts(self):
        self.bay('b1', driver='docker', endpoint='unix:///x', hosts=['h1'])
        self.assertIn('hosts', self.assert_refused(
            400, 'invalid_parameter', self.update('b1', {'hosts': []})))

    def test_who_may_and_since_when(self):
        self.bay('b1', public=True)
        for persona in (base.MEMBER, base.READER):
            self.assert_refused(403, 'forbidden', self.update(
                'b1', {'name': 'c1'}, persona=persona))
        self.assert_refused(404, 'not_found', self.update('b1', {'name': 'c1'}, version='1.41'))


class TestTls(BaysCase):
    """Certificates and keys by which a bay and its conductors know each other."""

    ENDPOINT = 'tcp://engine.example.org:2376'

    def setUp(self):
        super().setUp()
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.authority = certificates.Authority()
        self.tls = self.issued()

    def issued(self, name='conductor', days=365):
        cert, key = self.authority.issue(name, days)
        return {'ca_cert': self.authority.cert, 'client_cert': cert, 'client_key': key}

    def make(self, **values):
        return self.post('/v1/bays', {'name': 'b1', 'endpoint': self.ENDPOINT, **self.tls,
                                      **values}, project='admins', **NEWEST)

    def row(self):
        with self.db.read() as conn:
            return conn.execute(models.bays.select()).one()

    def assert_not_told(self, *answers):
        secret = self.tls['client_key'].splitlines()[1]
        for answer in answers:
            self.assertNotIn(secret, answer.text)

    def test_a_key_is_kept_encrypted_and_never_told(self):
        made = self.make()
        self.assertEqual(201, made.status_int, made)
        told = made.json
        self.assertEqual(('CN=conductor', True), (told['client_cert']['subject'],
                                                  told['client_key']))
        self.assertEqual('CN=an authority', told['ca_cert']['subject'])
        self.assertEqual({'subject', 'issuer', 'fingerprint', 'not_after'},
                         set(told['client_cert']))
        token = self.row().client_key
        self.assertNotIn('PRIVATE', token)
        self.assertEqual(self.tls['client_key'], secrets.Keys(self.conf).decrypt(token))
        self.assert_not_told(made, self.get('/v1/bays/b1', project='admins'),
                             self.get('/v1/bays', project='admins'),
                             self.update('b1', self.tls), self.make())
        everything = json.dumps([str(row) for table in models.metadata.sorted_tables
                                 for row in self.rows(table)])
        self.assertNotIn(self.tls['client_key'].splitlines()[1], everything)

    def rows(self, table):
        with self.db.read() as conn:
            return conn.execute(table.select()).all()

    def test_a_key_is_rotated_with_all_other_secrets(self):
        self.make()
        before = self.row().client_key
        secrets.create_key(self.conf.secrets.keys_file)
        secrets.rotate(self.db, secrets.Keys(self.conf))
        self.assertNotEqual(before, self.row().client_key)
        self.assertEqual(self.tls['client_key'],
                         secrets.Keys(self.conf).decrypt(self.row().client_key))

    def test_what_is_wrong_is_named_and_nothing_is_made(self):
        other = certificates.Authority().issue('other')
        for name, value, words in (
                ('ca_cert', '/etc/ca.pem', 'not a path'), ('client_cert', 'x', 'PEM'),
                ('client_key', other[1], 'does not belong'),
                ('client_cert', other[0], 'does not belong'),
                ('client_key', self.tls['client_cert'], 'must be a private key'),
                ('ca_cert', self.tls['client_key'], 'has a private key in it'),
                ('client_cert', self.issued('late', -1)['client_cert'], 'has expired'),
                ('endpoint', 'tcp://127.0.0.1:2376', 'loopback'),
                ('endpoint', 'tcp://2130706433:2376', 'loopback'),
                ('endpoint', 'tcp://169.254.169.254:2376', 'denied_networks'),
                ('endpoint', 'tcp://[::ffff:169.254.169.254]:2376', 'denied_networks'),
                ('endpoint', 'ssh://root@host', 'not supported'),
                ('client_key', None, 'client_key')):
            answer = self.make(**{name: value})
            self.assertIn(words, self.assert_refused(400, 'invalid_parameter', answer))
            self.assert_not_told(answer)
        self.assertEqual([], self.rows(models.bays))

    def test_an_endpoint_is_kept_in_its_own_spelling(self):
        self.assertEqual('tcp://93.184.216.34:2376', self.make(
            endpoint='TCP://９３.184.0xd8.34:2376/#').json['endpoint'])
        self.assertEqual('tcp://93.184.216.34:2376', self.row().endpoint)
        self.assertIn('blanks or control characters', self.assert_refused(
            400, 'invalid_parameter', self.make(name='b2', endpoint='tcp://host\t:2376')))

    def test_pem_is_ascii_and_as_long_as_it_says(self):
        for name, text in self.tls.items():
            for wrong in ('\0', '\t', '\x7f', '\xfc', '\U0001f600' * 31000):
                answer = self.make(**{name: f'#{wrong}\n{text}'})
                detail = self.assert_refused(400, 'invalid_parameter', answer)
                self.assertTrue(detail.startswith(f'{name}: must be in ASCII'), detail)
                self.assert_not_told(answer)
        self.assertEqual(201, self.make(ca_cert='# ok\r\n' + self.authority.cert).status_int)
        self.assertEqual(self.authority.cert, self.row().ca_cert)

    def test_without_certificates_only_where_the_operator_lets_it(self):
        bare = dict.fromkeys(self.tls)
        self.assertIn('whoever reaches', self.assert_refused(
            400, 'invalid_parameter', self.make(**bare)))
        self.conf.set_override('allow_insecure_tcp', True, group='bays')
        self.assertEqual(201, self.make(**bare).status_int)
        self.assertIn('without mutual TLS', self.log.output)

    def test_one_that_cannot_be_read_any_more_hides_no_bay(self):
        self.make()
        self.change(models.bays, self.row().uuid, ca_cert='x')
        for shown in (self.get('/v1/bays/b1', project='admins').json,
                      self.get('/v1/bays', project='admins').json['bays'][0]):
            self.assertIsNone(shown['ca_cert']['subject'])
            self.assertEqual('CN=conductor', shown['client_cert']['subject'])
            self.assertIn('ca_cert cannot be read', shown['status_reason'])

    def test_certificates_are_renewed(self):
        bay = self.make().json
        renewed = self.issued('renewed')
        changed = self.update('b1', {name: renewed[name] for name in ('client_cert',
                                                                     'client_key')})
        self.assertEqual('CN=renewed', changed.json['client_cert']['subject'])
        self.assertGreater(changed.json['updated_at'], bay['updated_at'])
        self.assertEqual(renewed['client_key'],
                         secrets.Keys(self.conf).decrypt(self.row().client_key))
        self.authority = certificates.Authority('another')
        self.assertEqual('CN=another', self.update(
            'b1', {'ca_cert': self.authority.cert}).json['ca_cert']['subject'])

    def test_what_cannot_be_renewed_changes_nothing(self):
        self.make()
        before = self.row()
        for change, name in (
                ({'client_cert': self.tls['client_cert']}, 'client_key'),
                ({'client_key': self.tls['client_key']}, 'client_cert'),
                ({**self.issued(), 'client_key': self.tls['client_key']}, 'client_key'),
                ({'ca_cert': 'x'}, 'ca_cert')):
            detail = self.assert_refused(400, 'invalid_parameter', self.update('b1', change))
            self.assertTrue(detail.startswith(name), detail)
        self.assertEqual(before, self.row())
        self.bay('b2')
        self.assertIn('does not go with the endpoint', self.assert_refused(
            400, 'invalid_parameter', self.update('b2', self.tls)))

    def test_a_driver_that_is_not_installed_is_named(self):
        self.make()
        self.change(models.bays, self.row().uuid, driver='gone')
        self.assertIn('driver: gone is not installed', self.assert_refused(
            400, 'invalid_parameter', self.update('b1', self.issued())))

    def test_an_end_that_is_near_is_told_to_administrators(self):
        self.tls = self.issued(days=20)
        self.assertIn('in 19 days', self.make(public=True).json['status_reason'])
        self.assertIsNone(self.get('/v1/bays/b1', project='p1',
                                   persona=base.MEMBER).json['status_reason'])
        self.assertIsNone(self.update('b1', self.issued()).json['status_reason'])
