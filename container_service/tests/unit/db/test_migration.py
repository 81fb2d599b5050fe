# SPDX-License-Identifier: Apache-2.0
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests import schema


class TestSqlite(schema.SchemaMixin, base.TestCase):

    def setUp(self):
        super().setUp()
        conf = self.useFixture(fixtures.Conf()).conf
        self.db = self.useFixture(fixtures.SqliteDatabase(conf, schema=False)).db
