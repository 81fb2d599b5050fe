# SPDX-License-Identifier: Apache-2.0
"""Secrets of containers and actions.

Revision ID: 0009
Revises: 0008
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0009'
down_revision = '0008'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')


def upgrade():
    op.create_table(
        'confided',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('owner_uuid', sa.String(36), nullable=False),
        sa.Column('name', sa.String(64), nullable=False),
        sa.Column('token', LongText, nullable=False),
        sa.UniqueConstraint('owner_uuid', 'name', name='uq_confided_owner_uuid_name'),
        **TABLE_OPTIONS)
