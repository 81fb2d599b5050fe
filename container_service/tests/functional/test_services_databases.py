# SPDX-License-Identifier: Apache-2.0
"""What is said of conductors, on the databases of deployments: the cases of the unit tests, and
what happens when a conductor registers at the same moment.
"""

import threading

from container_service import services
from container_service.db import conductors
from container_service.tests import base
from container_service.tests.unit.api import test_services


class AtOnce:
    """One transaction is held while the other begins; needs a ServicesCase on a server."""

    def holding(self, function, name):
        """Make a function of ``conductors`` wait, after it is done, for the other side."""
        reached, go_on = threading.Event(), threading.Event()
        self.addCleanup(go_on.set)
        done = getattr(conductors, name)

        def held(*args, **values):
            result = done(*args, **values)
            if threading.current_thread() is thread:
                reached.set()
                go_on.wait(20)
            return result

        self.patch(conductors, name, held)
        thread = threading.Thread(target=function)
        thread.start()
        self.assertTrue(reached.wait(20))
        return thread, go_on

    def follow(self, held, function):
        """Begin the second while the first is held, then let that go; both end."""
        thread, go_on = held
        second = threading.Thread(target=function)
        second.start()
        second.join(0.5)
        self.assertTrue(second.is_alive(), 'it did not wait')
        go_on.set()
        for one in (thread, second):
            one.join(20)
            self.assertFalse(one.is_alive())

    def start_again(self):
        uuid = base.Conductor().uuid
        self.db.transact(lambda conn: conductors.register(conn, 60, {
            'uuid': uuid, 'host': 'node1', 'slot': 0, 'server': 'node1.0', 'pid': 8}))

    def disable(self):
        services.disable(self.context, self.db, services.Which(host='node1'), 'new kernel')

    def assert_disabled(self):
        shown = self.services()['node1.0']
        self.assertEqual((True, 'new kernel'), (shown['disabled'], shown['disabled_reason']))
        self.assertNotEqual(self.ids['node1.0'], shown['incarnation'])

    def test_said_while_it_registers(self):
        self.follow(self.holding(self.start_again, 'insert'), self.disable)
        self.assert_disabled()

    def test_registered_while_it_is_said(self):
        self.follow(self.holding(self.disable, 'say'), self.start_again)
        self.assert_disabled()


class MysqlMixin(base.ServerDatabaseMixin):
    kind = 'mysql'


class PostgresqlMixin(base.ServerDatabaseMixin):
    kind = 'postgresql'


class TestListMysql(MysqlMixin, test_services.TestList):
    pass


class TestListPostgresql(PostgresqlMixin, test_services.TestList):
    pass


class TestChangeMysql(MysqlMixin, AtOnce, test_services.TestChange):
    pass


class TestChangePostgresql(PostgresqlMixin, AtOnce, test_services.TestChange):
    pass


class TestDeleteMysql(MysqlMixin, test_services.TestDelete):
    pass


class TestDeletePostgresql(PostgresqlMixin, test_services.TestDelete):
    pass
