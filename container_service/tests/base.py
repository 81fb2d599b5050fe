# SPDX-License-Identifier: Apache-2.0
"""What test cases stand on: a time limit, the log of a failure, rows to begin with."""

import datetime
import logging

import fixtures as pyfixtures
import sqlalchemy as sa
import testtools
from testtools.content import TracebackContent

from container_service import bays as bay_rules
from container_service import context
from container_service import lifecycle
from container_service import operations
from container_service import states
from container_service.db import actions
from container_service.db import audit
from container_service.db import bays
from container_service.db import containers
from container_service.db import events
from container_service.db import migration
from container_service.db import models
from container_service.db import strays
from container_service.db.base import now
from container_service.drivers import base as drivers
from container_service.tests import fixtures

IMAGE = 'busybox:latest'


class TestCase(testtools.TestCase):
    """A test that is shown with its log when it fails, and never hangs the run.

    It fails when one of its threads ends with an exception that it has not taken care of.
    """

    time_limit = 60         # seconds

    def setUp(self):
        super().setUp()
        self.useFixture(pyfixtures.Timeout(self.time_limit, gentle=True))
        self.log = self.useFixture(pyfixtures.FakeLogger(
            level=logging.INFO,
            format='%(asctime)s %(levelname)s %(threadName)s %(name)s: %(message)s'))
        self._died = []
        self.useFixture(pyfixtures.MonkeyPatch('threading.excepthook', self._died.append))
        self.addCleanup(self._threads_ended_well)

    def _threads_ended_well(self):
        for died in self._died:
            self.addDetail(f'traceback of {died.thread and died.thread.name}', TracebackContent(
                (died.exc_type, died.exc_value, died.exc_traceback), self))
        self.assertEqual([], [died.exc_value for died in self._died])


def caller(project='project', **values):
    """The context of a request."""
    return context.RequestContext(**{
        'project_id': project, 'user_id': 'user', 'roles': ['member'], 'overwrite': False,
        **values})


class Conductor:
    """What ``lifecycle.claim`` wants to know of a conductor."""

    def __init__(self, name='conductor'):
        self.uuid, self.server = lifecycle.new_uuid(), f'{name}.0'


class RecordsMixin:
    """Words for tests of what is recorded.  Needs ``self.conf`` and ``self.db``."""

    context = caller()
    admin = caller('admins', is_admin=True)

    def make_bay(self, name='bay', endpoint=None, **values):
        values = {'driver': 'fake', 'public': True, **values}
        return bay_rules.create(
            self.admin, self.conf, self.db, name=name,
            endpoint=endpoint or f'fake://{self.conf.host}', **values)[0]

    def create(self, name=None, operation='create', image=IMAGE, **spec):
        """Accept the creation of a container; returns its uuid."""
        return self.accept_create(name, operation, image, **spec)[0].uuid

    def accept_create(self, name=None, operation='create', image=IMAGE, bay=None, context=None,
                      **spec):
        """Accept the creation of a container; returns the rows of container and action."""
        accepted = self.ask_create(name, operation, image, bay=bay, context=context, **spec)
        return accepted.container, accepted.action

    def ask_create(self, name=None, operation='create', image=IMAGE, bay=None, context=None,
                   terms=lifecycle.Terms(), **spec):  # noqa: B008
        """As ``accept_create``; returns all that acceptance tells."""
        return lifecycle.create(
            context or self.context, self.db, operations.OPERATIONS[operation], name=name,
            image=image, spec=spec, bay=bay, terms=terms)

    def submit(self, operation, container, **params):
        """Accept an operation; returns the uuid of the action."""
        return self.ask(operation, container, **params).action.uuid

    def ask(self, operation, container, context=None, terms=lifecycle.Terms(),  # noqa: B008
            **params):
        """Accept an operation; returns all that acceptance tells."""
        op = operations.OPERATIONS[operation]
        given = {param.name: param.default for param in op.params}
        if op.makes_image:
            given['repository'] = 'mine'        # it is looked at when it is asked for
        return lifecycle.submit(
            context or self.context, self.db, op, container, given | params, terms)

    def cancel(self, action, context=None):
        return lifecycle.cancel(context or self.context, self.db, action)

    def claim(self, container, conductor=None, admit=lambda bay, urgent: True,
              limit_of=lambda op: op.deadline_seconds):
        return lifecycle.claim(self.db, container, conductor or Conductor(), admit, limit_of)

    def carry_out(self, container, status=None):
        """Claim the next action and end it as succeeded, in its target status by default."""
        claim = self.claim(container)
        status = status or claim.operation.target_for(claim.action.params,
                                                      claim.container.status)
        lifecycle.succeed(self.db, claim, drivers.Observed(status, engine_id='e1'))
        return claim

    def container(self, uuid):
        """The row, also of a container that was deleted."""
        with self.db.read() as conn:
            return conn.execute(sa.select(containers.table).where(
                containers.table.c.uuid == uuid)).one()

    def action(self, uuid):
        with self.db.read() as conn:
            return actions.get(conn, uuid, None)

    def actions_of(self, container):
        """All its actions, oldest first."""
        with self.db.read() as conn:
            return conn.execute(sa.select(actions.table).where(
                actions.table.c.resource_uuid == container)
                .order_by(actions.table.c.sequence)).all()

    def events(self, kind=None):
        """What was told to have happened, oldest first."""
        with self.db.read() as conn:
            return [row for row in conn.execute(sa.select(events.table)
                                                .order_by(events.table.c.id))
                    if kind in (None, row.type)]

    def trail(self, **wanted):
        """Rows of the audit trail, oldest first."""
        with self.db.read() as conn:
            return conn.execute(sa.select(audit.table).where(*(
                audit.table.c[name] == value for name, value in wanted.items()))
                .order_by(audit.table.c.id)).all()

    def strays(self):
        """What is recorded to be on engines and known to nobody."""
        with self.db.read() as conn:
            return conn.execute(sa.select(strays.table).order_by(strays.table.c.id)).all()

    def outcomes(self, container):
        return [(row.operation, row.status) for row in self.actions_of(container)]

    def bay(self, uuid):
        with self.db.read() as conn:
            return bays.get(conn, uuid, None)

    def change(self, table, uuid, **values):
        """Change a row behind everybody's back."""
        self.db.transact(lambda conn: conn.execute(
            table.update().where(table.c.uuid == uuid).values(**values)))

    def set_status(self, container, status):
        self.change(containers.table, container, status=status)

    def let_pass(self, seconds):
        """Let time pass in the database, by making all that is recorded so much older."""
        age = datetime.timedelta(seconds=seconds)

        def unit(conn):
            for table in models.metadata.sorted_tables:
                times = [c for c in table.c if isinstance(c.type, sa.DateTime)]
                if not times:
                    continue
                keys = list(table.primary_key)
                for row in conn.execute(sa.select(*keys, *times)).all():
                    values = {c.name: row._mapping[c.name] - age for c in times
                              if row._mapping[c.name] is not None}
                    which = [key == row._mapping[key.name] for key in keys]
                    conn.execute(table.update().where(*which).values(**values))

        self.db.transact(unit)

    def database_time(self):
        with self.db.read() as conn:
            return conn.execute(sa.select(now())).scalar_one()

    def assert_at_rest(self, container, status):
        """Nothing is under way and the status is that."""
        row = self.container(container)
        self.assertEqual(
            (status, None, None, None, None),
            (row.status, row.task_state, row.projected_status, row.running_action_uuid,
             row.runnable_at))
        self.assertEqual([], [a.uuid for a in self.actions_of(container)
                              if a.status not in states.FINAL])


class DatabaseTestCase(RecordsMixin, TestCase):
    """A test with a SQLite database of its own."""

    def setUp(self):
        super().setUp()
        self.conf = self.useFixture(fixtures.Conf()).conf
        self.db = self.make_database()

    def make_database(self):
        return self.useFixture(fixtures.SqliteDatabase(self.conf)).db


class ServerDatabaseMixin:
    """Puts a DatabaseTestCase on a server: one database per class, empty for each test.

    ``kind`` is mysql or postgresql.
    """

    kind = None

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        conf = fixtures.Conf()
        conf.setUp()
        cls.addClassCleanup(conf.cleanUp)
        database = fixtures.Database(conf.conf, cls.kind)
        database.setUp()
        cls.addClassCleanup(database.cleanUp)
        migration.sync(database.db)
        cls.database = database.db

    def make_database(self):
        def unit(conn):
            for table in models.metadata.sorted_tables:
                if table is not models.settings:
                    conn.execute(table.delete())

        self.database.transact(unit)
        return self.database
