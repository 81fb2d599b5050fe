# SPDX-License-Identifier: Apache-2.0
"""/v1/openapi.json: valid, complete, and its examples work."""

import types as pytypes

import jsonschema
import openapi_spec_validator
from wsme import types as wtypes

from container_service import exceptions
from container_service.api import creation
from container_service.api import openapi
from container_service.api import schemas
from container_service.api import types
from container_service.api import versions
from container_service.api import views
from container_service.api.controllers import root
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import events
from container_service.db import registries
from container_service.db import strays
from container_service.tests.unit.api import base
from container_service.tests.unit.api import test_endpoints

BODIES = {route.endpoint.body: route.endpoint.example for route in test_endpoints.ROUTES
          if route.endpoint.body}


def row(table, **values):
    return pytypes.SimpleNamespace(**{**dict.fromkeys(table.c.keys()), **values})


class TestDocument(base.base.TestCase):

    def setUp(self):
        super().setUp()
        self.document = openapi.document(root.RootController)

    def test_it_is_valid(self):
        openapi_spec_validator.validate(self.document)

    def test_it_has_every_route_of_the_newest_version(self):
        told = {f'{method.upper()} {path}' for path, methods in self.document['paths'].items()
                for method in methods}
        self.assertEqual({route.name for route in test_endpoints.ROUTES
                          if route.endpoint.is_at(versions.MAXIMUM)}, told)

    def test_identifiers_are_unique(self):
        found = [described['operationId'] for methods in self.document['paths'].values()
                 for described in methods.values()]
        self.assertEqual(sorted(set(found)), sorted(found))

    def test_every_field_of_a_body_says_what_it_takes(self):
        for kind in BODIES:
            for attribute in wtypes.list_attributes(kind):
                self.assertNotEqual({}, attribute.datatype.schema, attribute.name)

    def test_a_restart_policy_of_create_is_no_text(self):
        """That of PATCH may be."""
        told = types.schema(creation.ContainerCreate)['properties']['restart_policy']
        validator = jsonschema.Draft202012Validator(told)
        for value in ({'Name': 'always'}, None, 'always', 'on-failure:3', {'Name': 'sometimes'}):
            try:
                types.parse(creation.ContainerCreate, {'image': 'i', 'restart_policy': value})
                taken = True
            except exceptions.InvalidParameter:
                taken = False
            self.assertEqual(taken, validator.is_valid(value), value)

    def test_every_argument_says_what_it_takes(self):
        for route in test_endpoints.ROUTES:
            for param in route.endpoint.query:
                self.assertTrue(param.schema, (route.name, param.name))

    def test_every_answer_is_described(self):
        for route in test_endpoints.ROUTES:
            returns = getattr(route.endpoint.returns, 'item', route.endpoint.returns)
            if isinstance(returns, str) and not route.endpoint.operation:
                self.assertTrue(returns in schemas.SCHEMAS, f'{route.name}: {returns}')

    def test_answers_have_the_keys_that_are_told(self):
        action = row(actions.table, operation='stop', status='queued', attempts=0)
        made = {
            'Container': views.container(row(containers.table, spec={}), '', True),
            'Action': views.action(action, '', True),
            'ContainerAction': views.container_action(action),
            'Bay': views.bay(row(bays.table), '', base.base.caller(is_admin=True), []),
            'Registry': views.registry(row(registries.table), ''),
            'Event': views.event(row(events.table)), 'Stray': views.stray(row(strays.table)),
        }
        for name, view in made.items():
            self.assertEqual(set(view), set(schemas.SCHEMAS[name]['properties']), name)

    def test_examples_of_bodies_are_taken(self):
        for kind, example in BODIES.items():
            self.assertIsNotNone(example, kind)
            types.parse(kind, example)


class TestServed(base.ApiTestCase):

    def test_it_is_served_to_everybody_and_says_where(self):
        answer = self.get('/v1/openapi.json', persona={'roles': [], 'project_id': None})
        self.assertEqual('application/json', answer.content_type)
        self.assertEqual([{'url': 'http://localhost:9517'}], answer.json['servers'])
        openapi_spec_validator.validate(answer.json)
        self.assertIn({'rel': 'service-desc', 'href': 'http://localhost:9517/v1/openapi.json'},
                      self.get('/v1').json['links'])

    def test_an_example_of_a_body_makes_something(self):
        self.make_bay()
        self.assertEqual(202, self.post('/v1/containers',
                                        BODIES[creation.ContainerCreate]).status_int)
