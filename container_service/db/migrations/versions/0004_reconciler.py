# SPDX-License-Identifier: Apache-2.0
"""Who watches a bay, health, what happened on engines, what is there that nobody knows.

Revision ID: 0004
Revises: 0003
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0004'
down_revision = '0003'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.add_column('containers', sa.Column('health', sa.String(16)))
    op.create_index('ix_containers_bay_uuid_updated_at', 'containers',
                    ['bay_uuid', 'updated_at'])
    for column in (
            sa.Column('watcher_uuid', Uuid),
            sa.Column('events_seen', sa.BigInteger),
            sa.Column('steady_since', Time),
            sa.Column('strays', sa.Integer, nullable=False, server_default='0')):
        op.add_column('bays', column)
    op.create_table(
        'strays',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False),
        sa.Column('bay_uuid', Uuid, nullable=False),
        sa.Column('engine_id', sa.String(64), nullable=False),
        sa.Column('name', sa.String(255)),
        sa.Column('container_uuid', sa.String(64)),
        sa.Column('generation', sa.Integer),
        sa.Column('image', sa.String(255)),
        sa.Column('status', sa.String(16), nullable=False),
        sa.Column('reason', sa.String(16), nullable=False),
        sa.Column('wanted', sa.String(16)),
        sa.Column('wanted_by', LongText),
        sa.Column('error', sa.Text),
        sa.Column('created_at', Time, nullable=False),
        sa.UniqueConstraint('uuid', name='uq_strays_uuid'),
        sa.UniqueConstraint('bay_uuid', 'engine_id', name='uq_strays_bay_uuid_engine_id'),
        **TABLE_OPTIONS)
    op.create_table(
        'events',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('type', sa.String(64), nullable=False),
        sa.Column('project_id', sa.String(64)),
        sa.Column('bay_uuid', Uuid),
        sa.Column('container_uuid', Uuid),
        sa.Column('detail', LongText, nullable=False),
        sa.Index('ix_events_created_at', 'created_at'),
        sa.Index('ix_events_container_uuid', 'container_uuid'),
        sa.Index('ix_events_project_id', 'project_id'),
        sa.UniqueConstraint('uuid', name='uq_events_uuid'),
        **TABLE_OPTIONS)
