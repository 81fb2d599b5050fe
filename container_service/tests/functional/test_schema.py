# SPDX-License-Identifier: Apache-2.0
"""The same schema on the databases of deployments; SQLite is among the unit tests."""

import uuid

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import migration
from container_service.db import models
from container_service.db import settings
from container_service.tests import base
from container_service.tests import fixtures
from container_service.tests import schema


class ServerSchema(schema.SchemaMixin):

    def setUp(self):
        super().setUp()
        conf = self.useFixture(fixtures.Conf()).conf
        self.db = self.useFixture(fixtures.Database(conf, self.kind)).db

    def test_names_are_compared_byte_by_byte(self):
        migration.sync(self.db)
        values = {'driver': 'fake', 'endpoint': 'fake://x', 'public': True, 'project_id': 'p',
                  'status': 's', 'health_status': 'h', 'reconcile_at': sa.func.now(),
                  'created_at': sa.func.now(), 'updated_at': sa.func.now()}
        names = ['web', 'Web', 'wéb']
        self.db.transact(lambda conn: [conn.execute(models.bays.insert().values(
            uuid=str(uuid.uuid4()), name=name, **values)) for name in names])
        with self.db.read() as conn:
            for name in names:
                self.assertEqual([name], conn.execute(sa.select(models.bays.c.name).where(
                    models.bays.c.name == name)).scalars().all())

    def test_without_a_schema_it_is_told_what_to_do(self):
        error = self.assertRaises(exceptions.DatabaseUnavailable, settings.deployment, self.db)
        self.assertIn('container-service-manage db sync', error.detail)


class TestMariaDB(ServerSchema, base.TestCase):

    kind = 'mysql'


class TestPostgreSQL(ServerSchema, base.TestCase):

    kind = 'postgresql'
