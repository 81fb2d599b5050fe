# SPDX-License-Identifier: Apache-2.0
"""The audit trail.

Revision ID: 0010
Revises: 0009
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0010'
down_revision = '0009'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.add_column('actions', sa.Column('initiator', LongText))
    op.create_table(
        'audit',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('request_id', sa.String(64)),
        sa.Column('user_id', sa.String(64)),
        sa.Column('user_project_id', sa.String(64)),
        sa.Column('roles', LongText),
        sa.Column('source', sa.String(64)),
        sa.Column('authenticated_by', sa.String(16), nullable=False),
        sa.Column('action', sa.String(64), nullable=False),
        sa.Column('target_type', sa.String(32)),
        sa.Column('target_uuid', sa.String(64)),
        sa.Column('target_name', sa.String(255)),
        sa.Column('project_id', sa.String(64)),
        sa.Column('outcome', sa.String(16), nullable=False),
        sa.Column('status', sa.Integer),
        sa.Column('code', sa.String(64)),
        sa.Column('action_uuid', Uuid),
        sa.Column('details', LongText),
        sa.UniqueConstraint('uuid', name='uq_audit_uuid'),
        *(sa.Index(f'ix_audit_{name}', name) for name in (
            'created_at', 'request_id', 'user_id', 'target_uuid', 'project_id', 'action_uuid')),
        **TABLE_OPTIONS)
