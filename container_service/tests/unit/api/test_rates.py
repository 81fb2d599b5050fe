# SPDX-License-Identifier: Apache-2.0
"""How fast one may ask (S-15)."""

import sqlalchemy as sa

from container_service import exceptions
from container_service.api import rates
from container_service.db import models
from container_service.tests import base as tests
from container_service.tests import fixtures
from container_service.tests.unit.api import base

CREATE = {'name': 'c1', 'image': 'i'}

# Three at once, and then one in some minutes.
SLOWLY = {'request_burst': 300.0}
RATE = 0.01


class TestBuckets(tests.TestCase):

    def setUp(self):
        super().setUp()
        self.clock = fixtures.Clock()

    def test_a_burst_and_then_the_rate(self):
        made = rates.Buckets(2, 6, self.clock)
        self.assertEqual([0] * 6, [made.wait('a') for _ in range(6)])
        self.assertEqual(0.5, made.wait('a'))
        self.assertEqual(0, made.wait('b'))
        self.clock.advance(0.5)
        self.assertEqual((0, 0.5), (made.wait('a'), made.wait('a')))
        self.clock.advance(3600)
        self.assertEqual([0] * 6, [made.wait('a') for _ in range(6)])
        self.assertLess(0, made.wait('a'))

    def test_none_at_all(self):
        made = rates.Buckets(0, 3, self.clock)
        self.assertEqual({0}, {made.wait('a') for _ in range(1000)})

    def test_what_is_given_back(self):
        made = rates.Buckets(1, 2, self.clock)
        made.give_back('a')
        self.assertEqual([0, 0], [made.wait('a') for _ in range(2)])
        made.give_back('a')
        self.assertEqual([0, 1], [made.wait('a') for _ in range(2)])

    def test_who_asks_no_more_is_forgotten(self):
        made = rates.Buckets(1, 1, self.clock)
        for key in range(made.MOST):
            made.wait(key)
        self.clock.advance(1)
        made.wait('a')
        self.assertEqual(['a'], list(made._known))


class TestRates(base.ApiTestCase):

    conf_values = {**SLOWLY, 'project_change_rate': RATE}

    def setUp(self):
        super().setUp()
        self.make_bay()

    def rows(self):
        with self.db.read() as conn:
            return {table.name: conn.scalar(sa.select(sa.func.count()).select_from(table))
                    for table in models.metadata.sorted_tables}

    def refused(self, answer):
        self.assert_refused(429, 'too_many_requests', answer)
        self.assertTrue(1 <= int(answer.headers['Retry-After']) <= 100)

    def test_changes_of_one_project(self):
        for name in ('c1', 'c2', 'c3'):
            self.assertEqual(202, self.post('/v1/containers', {**CREATE, 'name': name}).status_int)
        before = self.rows()
        # Neither is the body looked at, nor is there a row in any table.
        for body in ({**CREATE, 'name': 'c4'}, b'{', {}):
            self.refused(self.post('/v1/containers', body))
        self.refused(self.delete('/v1/containers/c1'))
        self.assertEqual(before, self.rows())
        self.assertEqual(200, self.get('/v1/containers').status_int)
        self.assertEqual(202, self.post('/v1/containers', CREATE, project='other').status_int)

    def test_all_requests_of_one_project(self):
        for name, value in (('project_request_rate', RATE), ('project_change_rate', 0)):
            self.conf.set_override(name, value, group='api')
        self.build()
        for _ in range(3):
            self.assertEqual(200, self.get('/v1/containers').status_int)
        self.refused(self.get('/v1/containers'))
        self.refused(self.post('/v1/containers', CREATE))
        self.assertEqual(200, self.get('/v1/containers', project='other').status_int)

    def test_not_at_all(self):
        self.conf.set_override('project_change_rate', 0, group='api')
        self.build()
        for _ in range(20):
            self.assertEqual(400, self.post('/v1/containers', {}).status_int)


class TestStrangers(base.ApiTestCase):

    conf_values = {'failed_authentication_rate': RATE, 'failed_authentication_burst': 3}

    class strategy(base.Personas):  # noqa: N801
        """Knows who has the word, and counts how often it had to look."""
        looked = 0

        def __call__(self, environ, start_response):
            type(self).looked += 1
            if environ.get('HTTP_X_WORD') != 'right':
                raise exceptions.Unauthorized(challenge='Basic')
            return super().__call__(environ, start_response)

    def ask(self, word, source):
        return self.get('/v1/containers', headers={'X-Word': word},
                        environ={'REMOTE_ADDR': source})

    def test_who_guesses_may_do_so_slowly_only(self):
        for _ in range(20):
            self.assertEqual(200, self.ask('right', '192.0.2.1').status_int)
        for _ in range(3):
            self.assertEqual(401, self.ask('wrong', '192.0.2.1').status_int)
        looked = self.strategy.looked
        for word in ('wrong', 'right'):
            answer = self.ask(word, '192.0.2.1')
            self.assert_refused(429, 'too_many_requests', answer)
            self.assertIn('Retry-After', answer.headers)
        self.assertEqual(looked, self.strategy.looked)
        self.assertEqual(200, self.ask('right', '192.0.2.2').status_int)

    def test_a_network_of_ipv6_is_one_caller(self):
        for number in range(3):
            self.assertEqual(401, self.ask('wrong', f'2001:db8::{number}').status_int)
        self.assertEqual(429, self.ask('wrong', '2001:db8::99').status_int)
        self.assertEqual(401, self.ask('wrong', '2001:db8:0:1::1').status_int)
