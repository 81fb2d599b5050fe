# SPDX-License-Identifier: Apache-2.0
"""What actions have given, and what is too large for their rows.

Revision ID: 0005
Revises: 0004
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0005'
down_revision = '0004'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), 'mysql', 'mariadb')


def upgrade():
    op.add_column('actions', sa.Column('result', LongText))
    op.create_table(
        'payloads',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('owner_uuid', sa.String(36), nullable=False),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('part', sa.Integer, nullable=False),
        sa.Column('data', Bytes, nullable=False),
        sa.UniqueConstraint('owner_uuid', 'name', 'part',
                            name='uq_payloads_owner_uuid_name_part'),
        **TABLE_OPTIONS)
