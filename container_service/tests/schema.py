# SPDX-License-Identifier: Apache-2.0
"""Compares the tables of the models with what the migrations make; for every database."""

import datetime

from alembic import autogenerate
from alembic.runtime import migration as alembic_migration
import sqlalchemy as sa

from container_service.db import migration
from container_service.db import models
from container_service.db import settings


class SchemaMixin:
    """Needs ``self.db``, a database without tables."""

    def differences(self):
        with self.db.read() as conn:
            context = alembic_migration.MigrationContext.configure(
                conn, opts={'compare_type': True, 'compare_server_default': True})
            return autogenerate.compare_metadata(context, models.metadata)

    def test_migrations_make_what_the_models_say(self):
        migration.sync(self.db)
        self.assertEqual([], self.differences())

    def test_models_make_what_the_migrations_make(self):
        """Names of constraints too, which a later migration needs."""
        models.metadata.create_all(self.db.engine)
        by_models = self.reflected()
        models.metadata.drop_all(self.db.engine)
        migration.sync(self.db)
        by_migrations = self.reflected()
        by_migrations.pop('alembic_version')
        self.maxDiff = None
        self.assertEqual(by_models, by_migrations)

    def reflected(self):
        inspector = sa.inspect(self.db.engine)
        return {table: {
            # By name: what a migration adds to a table stands at its end.
            'columns': {column['name']: {key: str(value) for key, value in column.items()}
                        for column in inspector.get_columns(table)},
            'indexes': sorted(map(str, inspector.get_indexes(table))),
            'unique': sorted(map(str, inspector.get_unique_constraints(table))),
            'primary key': str(inspector.get_pk_constraint(table)),
            'options': str(inspector.get_table_options(table)),
        } for table in inspector.get_table_names()}

    def test_sync_twice_is_sync_once(self):
        self.assertIsNone(migration.current(self.db))
        migration.sync(self.db)
        self.assertEqual(migration.newest(), migration.current(self.db))
        before, deployment = self.reflected(), settings.deployment(self.db)
        migration.sync(self.db)
        self.assertEqual((before, deployment), (self.reflected(), settings.deployment(self.db)))

    def test_certificates_that_were_paths_are_not_taken_for_none(self):
        migration.sync(self.db, '0011')
        at, paths = datetime.datetime(2026, 1, 1), {'ca_cert': '/ca.pem', 'client_cert': '/c.pem',
                                                    'client_key': '/k.pem'}
        table = sa.Table('bays', sa.MetaData(), autoload_with=self.db.engine)
        self.db.transact(lambda conn: [conn.execute(table.insert().values(
            uuid=name, project_id='p', name=name, driver='docker', endpoint='tcp://10.0.0.1:2376',
            public=False, status='CREATE_COMPLETE', health_status='UNKNOWN', reconcile_at=at,
            created_at=at, updated_at=at, **tls)) for name, tls in (
                ('plain', {}), ('all', paths), ('ca', {'ca_cert': '/ca.pem'}))])
        migration.sync(self.db)
        with self.db.read() as conn:
            rows = {row.name: row for row in conn.execute(sa.select(models.bays))}
        for name, ca_cert in (('plain', None), ('all', ''), ('ca', '')):
            row = rows[name]
            self.assertEqual((ca_cert, None, None),
                             (row.ca_cert, row.client_cert, row.client_key))
            self.assertEqual(ca_cert == '', 'given again' in (row.status_reason or ''))

    def test_the_comparison_sees_a_difference(self):
        migration.sync(self.db)
        self.db.transact(lambda conn: conn.exec_driver_sql(
            'ALTER TABLE containers ADD COLUMN surprise INTEGER'))
        self.assertEqual(['remove_column'], [change[0] for change in self.differences()])
