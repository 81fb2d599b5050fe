# SPDX-License-Identifier: Apache-2.0
"""A Keystone that is silent holds up those alone whom it is asked about, and not for long."""

from concurrent import futures
import threading

from keystoneauth1 import exceptions as ksa_exceptions
from keystonemiddleware.auth_token import _exceptions as ksm_exceptions

from container_service import exceptions
from container_service.api import identity
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests.unit.api import test_keystone


class Silent:
    """A Keystone that says nothing until it is let go."""
    uri = 'https://keystone.example.org'

    def __init__(self):
        self.asked, self.error = [], None
        self.let_go, self.began = threading.Event(), threading.Semaphore(0)

    def verify_token(self, token, **how):
        self.asked.append(token)
        self.began.release()
        self.let_go.wait(30)
        if self.error is not None:
            raise self.error
        return {'token': token}


class TestAsked(base.TestCase):

    def setUp(self):
        super().setUp()
        self.clock, self.keystone = fixtures.Clock(), Silent()
        self.addCleanup(self.keystone.let_go.set)
        self.asked = identity.Asked(self.keystone, 2, self.clock)
        self.pool = futures.ThreadPoolExecutor(8)
        self.addCleanup(self.pool.shutdown)

    def begin(self, token):
        asking = self.pool.submit(self.asked.verify_token, token)
        self.assertTrue(self.keystone.began.acquire(timeout=30))
        return asking

    def refused(self, token):
        return self.assertRaises(exceptions.IdentityUnavailable,
                                 self.asked.verify_token, token).retry_after

    def test_no_more_than_so_many_at_once(self):
        asking = [self.begin(token) for token in ('a', 'b')]
        self.assertEqual(1, self.refused('c'))
        self.keystone.let_go.set()
        self.assertEqual([{'token': 'a'}, {'token': 'b'}], [each.result(30) for each in asking])
        self.assertEqual({'token': 'c'}, self.asked.verify_token('c'))

    def test_about_one_token_it_is_asked_once(self):
        self.asked.TOGETHER = 30
        asking = [self.begin('a')]
        asking += [self.pool.submit(self.asked.verify_token, 'a') for _ in range(5)]
        self.assertEqual(1, len(self.asked._asking))
        self.keystone.let_go.set()
        self.assertEqual([{'token': 'a'}] * 6, [each.result(30) for each in asking])

    def test_others_do_not_wait_long_for_that_answer(self):
        self.begin('a')
        self.asked.TOGETHER = 0.01
        self.assertEqual(1, self.refused('a'))
        self.assertEqual(['a'], self.keystone.asked)

    def test_who_waits_is_answered_and_nobody_asks_for_a_while(self):
        self.asked.PATIENCE = 0.01
        self.assertEqual(5, self.refused('a'))
        for seconds in (0, self.asked.QUIET - 1):
            self.clock.advance(seconds)
            self.assertEqual(5, self.refused('b'))
        self.assertEqual(['a'], self.keystone.asked)
        self.clock.advance(1)
        self.keystone.let_go.set()
        self.asked.PATIENCE = 30
        self.assertEqual({'token': 'b'}, self.asked.verify_token('b'))

    def test_so_it_is_when_it_cannot_be_reached(self):
        self.keystone.let_go.set()
        self.keystone.error = ksa_exceptions.ConnectTimeout('slow')
        self.assertRaises(ksa_exceptions.ConnectTimeout, self.asked.verify_token, 'a')
        self.assertEqual(5, self.refused('a'))

    def test_a_failure_that_it_told_is_no_silence(self):
        """Else anybody could end it for all with a token that Keystone stumbles over."""
        self.keystone.let_go.set()
        for error in (ksm_exceptions.InvalidToken('x'), ksm_exceptions.ServiceError('x')):
            self.keystone.error = error
            self.assertRaises(type(error), self.asked.verify_token, 'a')
        self.keystone.error = None
        self.assertEqual({'token': 'a'}, self.asked.verify_token('a'))

    def test_all_else_is_as_it_was(self):
        self.assertEqual(self.keystone.uri, self.asked.uri)


class TestSilentKeystone(test_keystone.KeystoneCase):

    def test_who_is_known_goes_on(self):
        self.assertEqual(200, self.by('member', 'GET', '/v1/containers').status_int)
        self.tokens['ann'] = ksa_exceptions.ConnectTimeout('slow')
        for _ in range(3):
            for token in ('ann', 'bogus'):
                self.assert_refused(503, 'identity_unavailable',
                                    self.by(token, 'GET', '/v1/containers'))
            self.assertEqual(200, self.by('member', 'GET', '/v1/containers').status_int)
        self.assertEqual(['member', 'ann'], self.verified)
