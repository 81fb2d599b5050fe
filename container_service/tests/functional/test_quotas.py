# SPDX-License-Identifier: Apache-2.0
"""A limit holds however many take from it at once, on each database."""

from concurrent import futures

from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import quotas
from container_service.tests import base

LIMIT, AT_ONCE = 3, 8


class Crowd:
    """Needs a DatabaseTestCase."""

    def create(self, number):
        """Whether a creation was let through."""
        guard = quotas.Quotas(self.db).guard('project')
        try:
            lifecycle.create(
                base.caller(), self.db, operations.OPERATIONS['create'], name=f'c{number}',
                image=base.IMAGE, spec={'cpu': 1.0}, bay='bay', guard=guard)
        except exceptions.QuotaExceeded:
            return False
        return True

    def assert_limit_holds(self):
        self.make_bay()
        with futures.ThreadPoolExecutor(AT_ONCE) as pool:
            through = sum(pool.map(self.create, range(AT_ONCE)))
        self.assertEqual(LIMIT, through)
        with self.db.read() as conn:
            self.assertEqual((LIMIT, LIMIT), tuple(
                quotas.in_use(conn, 'project')[name] for name in ('containers', 'cpu')))

    def test_of_a_project(self):
        quotas.change(self.context, self.db, 'project', {'containers': LIMIT})
        self.assert_limit_holds()

    def test_of_the_default_class(self):
        quotas.change_class(self.context, self.db, 'default', {'cpu': LIMIT})
        self.assert_limit_holds()


class TestQuotasSQLite(Crowd, base.DatabaseTestCase):
    pass


class TestQuotasMariaDB(Crowd, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'mysql'


class TestQuotasPostgreSQL(Crowd, base.ServerDatabaseMixin, base.DatabaseTestCase):
    kind = 'postgresql'
