# SPDX-License-Identifier: Apache-2.0
"""What each step costs the database, in statements besides BEGIN and COMMIT.

Pinned, so that a step that begins to cost more is seen when it does.  One of what is accepted and
one of each end is the row of the audit trail.
"""

import sqlalchemy as sa

from container_service import lifecycle
from container_service.db import conductors
from container_service.db import containers
from container_service.db import paging
from container_service.db.base import now
from container_service.drivers import base as drivers
from container_service.states import CREATED
from container_service.tests import base
from container_service.tests.unit.api import base as api

# What the drivers of the databases send by themselves around a transaction.
_AROUND = ('BEGIN', 'COMMIT', 'ROLLBACK', 'PRAGMA', 'SET ')


class Statements:
    """Needs a DatabaseTestCase."""

    def setUp(self):
        super().setUp()
        self.place = self.make_bay()
        self.create('warm-up', labels={'a': 'b'})       # what is asked once per connection

    def cost(self, do):
        """How many statements something sends, and what it returns."""
        sent = []

        def note(conn, cursor, statement, *rest):
            if not statement.lstrip().upper().startswith(_AROUND):
                sent.append(statement)

        sa.event.listen(self.db.engine, 'before_cursor_execute', note)
        try:
            result = do()
        finally:
            sa.event.remove(self.db.engine, 'before_cursor_execute', note)
        return len(sent), result

    def assert_cost(self, statements, do):
        count, result = self.cost(do)
        self.assertEqual(statements, count)
        return result

    def keyed(self, key):
        return lifecycle.Terms(key=key, fingerprint='f')

    def test_reading(self):
        uuid = self.create('c1', labels={'a': 'b'})

        def show():
            with self.db.read() as conn:
                return containers.get(conn, uuid, 'project')

        def listing():
            with self.db.read() as conn:
                return containers.listing(conn, project_id='project', labels=[('a', 'b')],
                                          page=paging.Page(limit=10))

        self.assert_cost(1, show)
        rows, _ = self.assert_cost(1, listing)           # with its labels
        self.assertEqual({'a': 'b'}, rows[0].spec['labels'])

    def test_accepting(self):
        self.assert_cost(4, lambda: self.ask_create(bay=self.place.uuid))
        self.assert_cost(5, lambda: self.ask_create(bay=self.place.uuid, labels={'a': 'b'}))
        self.assert_cost(5, lambda: self.ask_create(
            bay=self.place.uuid, terms=self.keyed('k1')))
        uuid = self.create()
        # One more while it is busy: what it is busy with.
        self.assert_cost(5, lambda: self.ask('start', uuid))
        self.carry_out(uuid)
        self.carry_out(uuid)
        self.assert_cost(4, lambda: self.ask('stop', uuid))
        self.carry_out(uuid)
        self.assert_cost(5, lambda: self.ask('start', uuid, terms=self.keyed('k2')))

    def test_carrying_out(self):
        uuid = self.create()
        self.submit('start', uuid)
        claim = self.assert_cost(4, lambda: self.claim(uuid))
        more = self.assert_cost(5, lambda: lifecycle.succeed(
            self.db, claim, drivers.Observed(CREATED, engine_id='e1')))
        self.assertTrue(more)

    def test_an_end_with_what_was_skipped(self):
        """However many there are, the trail has all of them by one statement."""
        uuid = self.create()
        for operation in ('start', 'pause', 'unpause', 'stop'):
            self.submit(operation, uuid)
        claim = self.claim(uuid)
        self.assert_cost(6, lambda: lifecycle.fail(self.db, claim, {
            'code': 'engine_error', 'detail': 'no'}))

    def test_before_what_nothing_brings_back(self):
        """One: a stop, kill or delete reads its claim again before the call that counts."""
        claim = self.claim(self.create())
        self.assertTrue(self.assert_cost(1, lambda: lifecycle.owns(self.db, claim)))

    def test_looking_at_the_other_conductors(self):
        conductor = base.Conductor()

        def register():
            self.db.transact(lambda conn: conductors.register(conn, 15, {
                'uuid': conductor.uuid, 'host': 'a', 'slot': 0, 'server': 'a.0'}))

        def look():
            with self.db.read() as conn:
                return conductors.heartbeats(conn)

        self.assert_cost(2, register)           # one to inherit what was said of its name
        self.assert_cost(2, lambda: self.db.transact(
            lambda conn: conductors.renew(conn, conductor.uuid, 15, {})))
        self.assertEqual([1], [row.heartbeats for row in self.assert_cost(1, look)])

    def test_looking_in_vain(self):
        uuid = self.create()
        self.claim(uuid)
        self.assertIsNone(self.assert_cost(1, lambda: self.claim(uuid)))


class TestStatementsSQLite(Statements, base.DatabaseTestCase):
    pass


class TestStatementsMariaDB(Statements, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'mysql'


class TestStatementsPostgreSQL(Statements, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'postgresql'

    def test_what_may_run_now_is_found_by_an_index(self):
        """A clock that may tell another time for each row would have all rows read."""
        with self.db.read() as conn:
            conn.exec_driver_sql('SET enable_seqscan = off')
            plan = '\n'.join(conn.execute(sa.text('EXPLAIN ' + str(
                sa.select(containers.table.c.uuid).where(containers.table.c.runnable_at <= now())
                .compile(self.db.engine, compile_kwargs={'literal_binds': True})))).scalars())
        self.assertIn('Index Cond: (runnable_at <=', plan)


class TestOverHttp(Statements, api.ApiTestCase):
    """The same from the request to the answer, once what is asked each second has been."""

    def setUp(self):
        super().setUp()
        self.parts.limits._clock = self.parts.quotas._clock = lambda: 0

    def test_requests(self):
        uuid = self.make('c1', 'Running')
        self.get('/v1/limits')
        self.assert_cost(1, lambda: self.get('/v1/containers/c1'))
        self.assert_cost(1, lambda: self.get('/v1/containers'))
        self.assert_cost(4, lambda: self.post('/v1/containers/c1/pause', version='1.41'))
        self.carry_out(uuid)
        self.assert_cost(5, lambda: self.post('/v1/containers/c1/unpause', version='1.41',
                                              headers={'Idempotency-Key': 'k'}))
        self.assert_cost(4, lambda: self.post('/v1/containers', {'image': 'i'}))
        for bay, cost in ((self.place.uuid, 5), ('bay', 6)):
            self.assert_cost(cost, lambda bay=bay: self.post(
                '/v1/containers', {'image': 'i', 'labels': {'a': 'b'}, 'bay_uuid': bay}))
        # Where there is a limit: take the lock, and count.
        self.put_quota(containers=100)
        self.assert_cost(6, lambda: self.post('/v1/containers', {'image': 'i'}))

    def put_quota(self, **limits):
        self.call('PUT', '/v1/quotas/project', limits, version='latest')
        self.parts.quotas.guard('project')
