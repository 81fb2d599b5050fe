# SPDX-License-Identifier: Apache-2.0
"""Tickets: that an API has accepted a blocking call.

Revision ID: 0011
Revises: 0010
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0011'
down_revision = '0010'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.create_table(
        'tickets',
        sa.Column('uuid', sa.String(36), primary_key=True),
        sa.Column('digest', sa.String(64), nullable=False),
        sa.Column('valid_until', Time, nullable=False),
        **TABLE_OPTIONS)
    op.create_index('ix_tickets_valid_until', 'tickets', ['valid_until'])
