# SPDX-License-Identifier: Apache-2.0
"""The audit trail on the databases of deployments: times, several rows at once, pages."""

import datetime

from container_service import lifecycle
from container_service import states
from container_service.db import audit
from container_service.db import paging
from container_service.tests import base


class Audit:
    """Needs a DatabaseTestCase."""

    def test_from_the_beginning_to_the_end_and_until_it_is_old(self):
        self.make_bay()
        self.context = base.caller(user_id='älice\U0001f433', source='2001:db8::7')
        uuid = self.create('c1')
        skipped = [self.submit(operation, uuid) for operation in ('start', 'stop')]
        lifecycle.fail(self.db, self.claim(uuid), {'code': 'engine_error', 'detail': 'no'})
        found = self.trail(target_uuid=uuid)
        self.assertEqual(
            [('pending', None)] * 3 + [('failure', 'engine_error')]
            + [('failure', states.SKIPPED)] * 2, [(row.outcome, row.code) for row in found])
        self.assertEqual(skipped, [row.action_uuid for row in found[4:]])
        self.assertEqual({('älice\U0001f433', '2001:db8::7')},
                         {(row.user_id, row.source) for row in found})
        self.assert_found_by_time(found)
        self.assert_found_in_pages(found)
        self.let_pass(100)
        self.create('c2')
        purge = self.trail()
        self.assertEqual(len(purge) - 1, self.db.transact(lambda conn: audit.purge(conn, 50)))
        self.assertEqual(['c2'], [row.target_name for row in self.trail()])

    def list(self, **values):
        with self.db.read() as conn:
            return audit.listing(conn, project_id='project', **values)

    def assert_found_by_time(self, found):
        since, until = found[1].created_at, found[3].created_at
        rows, _ = self.list(since=since, until=until, page=paging.Page(limit=100))
        self.assertEqual([row.uuid for row in found if since <= row.created_at < until],
                         [row.uuid for row in rows])
        later = found[-1].created_at + datetime.timedelta(microseconds=1)
        self.assertEqual(([], False), self.list(since=later, page=paging.Page(limit=100)))

    def assert_found_in_pages(self, found):
        for key in audit.SORT_KEYS:
            seen, marker = [], None
            while True:
                rows, more = self.list(page=paging.Page(
                    limit=2, marker=marker, sort_key=key, descending=True))
                seen += [row.uuid for row in rows]
                if not more:
                    break
                marker = seen[-1]
            self.assertEqual(sorted(row.uuid for row in found), sorted(seen))


class TestAuditMariaDB(Audit, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'mysql'


class TestAuditPostgreSQL(Audit, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'postgresql'
