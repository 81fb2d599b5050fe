# SPDX-License-Identifier: Apache-2.0
"""Tickets where the database is not well; what they are good for is in test_endpoint."""

from container_service import exceptions
from container_service import tickets
from container_service.tests import base
from container_service.tests import fixtures


class TestTickets(base.DatabaseTestCase):

    def test_an_answer_to_commit_that_is_lost(self):
        known = tickets.Tickets(self.db)
        for landed in (True, False):
            with fixtures.lost_commit(self.db, landed) as lost:
                issued = known.issued('a', 'logs', {})
                ticket = issued.__enter__()
            self.assertEqual(1, len(lost))
            known.redeem(ticket, 'a', 'logs', {})
            self.assertRaises(exceptions.Forbidden, known.redeem, ticket, 'a', 'logs', {})
            issued.__exit__(None, None, None)
