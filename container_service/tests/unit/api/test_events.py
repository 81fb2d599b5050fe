# SPDX-License-Identifier: Apache-2.0
"""What happened past the service, over HTTP: events, and strays and what becomes of them."""

from container_service.db import bays
from container_service.db import events
from container_service.db import strays
from container_service.tests.unit.api import base

UUID = '6b0b3e0c-0000-4000-8000-000000000001'


class TestEvents(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.places = [self.make_bay('bay1'), self.make_bay('bay2')]
        self.web = self.make('web', 'Running', bay_uuid='bay1')
        self.happened(events.EXITED, container_uuid=self.web, exit_code=3)
        self.happened(events.HEALTH, container_uuid=UUID, place=1)
        self.happened(events.EXITED, project_id='other')
        self.happened(events.STRAY_FOUND, project_id=None)

    def happened(self, kind, place=0, project_id='project', **values):
        self.db.transact(lambda conn: events.insert(
            conn, kind, bay_uuid=self.places[place].uuid, project_id=project_id, **values))

    def types(self, query=''):
        return [event['type'] for event in self.get(f'/v1/events{query}').json['events']]

    def test_one(self):
        event = self.get('/v1/events').json['events'][0]
        self.assertEqual(
            {'type': events.EXITED, 'project_id': 'project', 'container_uuid': self.web,
             'bay_uuid': self.places[0].uuid, 'detail': {'exit_code': 3}},
            {key: value for key, value in event.items() if key not in ('uuid', 'created_at')})

    def test_those_of_the_project(self):
        self.assertEqual([events.EXITED, events.HEALTH], self.types())

    def test_of_all_projects_and_of_none(self):
        self.assertEqual(4, len(self.types('?all_projects=true')))

    def test_filters(self):
        for query, found in (
                ('container=web', [events.EXITED]),
                (f'container={UUID}', [events.HEALTH]),      # deleted by now
                ('bay=bay2', [events.HEALTH]), (f'bay={self.places[0].uuid}', [events.EXITED]),
                ('type=container.health', [events.HEALTH]),
                ('type=container.health&bay=bay1', []),
                ('sort_dir=desc', [events.HEALTH, events.EXITED])):
            self.assertEqual(found, self.types(f'?{query}'), query)
        for query in ('type=none', 'sort_key=type', 'colour=red', 'limit=0'):
            self.assertIn(self.get(f'/v1/events?{query}').status_int, (400,), query)
        for query in ('container=nobody', 'bay=nobody'):
            self.assertEqual(404, self.get(f'/v1/events?{query}').status_int)

    def test_pages(self):
        first = self.get('/v1/events?limit=1').json
        self.assertEqual(1, len(first['events']))
        second = self.get('/v1' + first['next'].partition('/v1')[2]).json
        self.assertEqual([events.HEALTH], [event['type'] for event in second['events']])
        self.assertIsNone(second['next'])


class TestStrays(base.ApiTestCase):

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        for engine_id in ('aa', 'bb'):
            self.db.transact(lambda conn, engine_id=engine_id: strays.insert(conn, {
                'bay_uuid': self.place.uuid, 'engine_id': engine_id, 'name': f'cs-{UUID}-1',
                'container_uuid': UUID, 'generation': 1, 'status': 'Running',
                'reason': strays.UNKNOWN}))

    def listed(self):
        return [(stray['engine_id'], stray['wanted'])
                for stray in self.get('/v1/bays/bay/strays').json['strays']]

    def ask(self, **body):
        return self.post('/v1/bays/bay/reconcile', body)

    def test_list(self):
        answer = self.get('/v1/bays/bay/strays?limit=1').json
        stray, = answer['strays']
        self.assertEqual(
            {'engine_id': 'aa', 'name': f'cs-{UUID}-1', 'container_uuid': UUID, 'generation': 1,
             'image': None, 'status': 'Running', 'reason': 'unknown', 'wanted': None,
             'error': None, 'bay_uuid': self.place.uuid},
            {key: value for key, value in stray.items() if key not in ('uuid', 'created_at')})
        self.assertIn('/v1/bays/bay/strays?', answer['next'])
        self.assertEqual(404, self.get('/v1/bays/nobody/strays').status_int)

    def test_what_is_wanted_of_them(self):
        answer = self.ask(adopt=['aa'], project_id='theirs')
        self.assertEqual(202, answer.status_int)
        self.assertEqual([('aa', 'adopt'), ('bb', None)], self.listed())
        wanted_by = self.strays()[0].wanted_by
        self.assertEqual(('theirs', 'user'), (wanted_by['project_id'], wanted_by['user_id']))
        self.ask(adopt=['bb'], remove=['aa'])
        self.assertEqual([('aa', 'remove'), ('bb', 'adopt')], self.listed())
        self.assertEqual('project', self.strays()[1].wanted_by['project_id'])
        self.ask(remove='all')
        self.assertEqual([('aa', 'remove'), ('bb', 'remove')], self.listed())

    def test_a_pass_is_asked_for(self):
        before = self.bay(self.place.uuid).reconcile_at
        self.assertEqual(202, self.ask().status_int)
        self.assertGreater(self.bay(self.place.uuid).reconcile_at, before)
        self.assertEqual([('aa', None), ('bb', None)], self.listed())

    def test_its_engine_is_forgotten_only_on_request(self):
        self.change(bays.table, self.place.uuid, engine_id='e')
        for body, known in (({}, 'e'), ({'new_engine': False}, 'e'), ({'new_engine': True}, None)):
            before = self.bay(self.place.uuid).reconcile_at
            self.assertEqual(202, self.ask(**body).status_int)
            row = self.bay(self.place.uuid)
            self.assertEqual(known, row.engine_id)
            self.assertGreater(row.reconcile_at, before)
        self.assertEqual(400, self.ask(new_engine='perhaps').status_int)

    def test_refusals(self):
        for body, word in (({'adopt': ['cc']}, 'cc'), ({'adopt': 'some'}, 'adopt'),
                           ({'remove': ['aa'], 'adopt': 'all'}, 'remove'), ({'keep': []}, 'keep'),
                           ({'remove': [1]}, 'remove'), ({'remove': 'aa'}, 'remove')):
            answer = self.ask(**body)
            self.assertEqual(400, answer.status_int, body)
            self.assertIn(word, answer.json['errors'][0]['detail'])
        self.assertEqual([('aa', None), ('bb', None)], self.listed())
        self.assertEqual(404, self.post('/v1/bays/nobody/reconcile', {}).status_int)
        self.assertEqual(405, self.get('/v1/bays/bay/reconcile').status_int)
        self.assertEqual(404, self.get('/v1/bays/bay/nothing').status_int)

    def test_how_many_there_are_is_shown_on_the_bay(self):
        self.db.transact(lambda conn: strays.count(conn, self.place.uuid))
        self.assertEqual(2, self.get('/v1/bays/bay').json['strays'])
