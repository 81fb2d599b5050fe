# SPDX-License-Identifier: Apache-2.0
"""What engines tell of their hosts, what containers take in columns of their own, quotas.

Revision ID: 0007
Revises: 0006
"""

import json

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0007'
down_revision = '0006'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')


def upgrade():
    op.add_column('bays', sa.Column('engine_info', LongText))
    for column in (sa.Column('cpu', sa.Float), sa.Column('memory_bytes', sa.BigInteger),
                   sa.Column('disk', sa.Integer)):
        op.add_column('containers', column)
    _fill(op.get_bind())
    for table, whose in (('quotas', 'project_id'), ('quota_classes', 'class_name')):
        op.create_table(
            table,
            sa.Column('id', Id, primary_key=True, autoincrement=True),
            sa.Column(whose, sa.String(64), nullable=False),
            sa.Column('resource', sa.String(32), nullable=False),
            sa.Column('hard_limit', sa.BigInteger),
            sa.UniqueConstraint(whose, 'resource', name=f'uq_{table}_{whose}_resource'),
            **TABLE_OPTIONS)


def _fill(conn):
    """What containers take, out of their specs."""
    table = sa.table('containers', *(sa.column(name) for name in (
        'id', 'spec', 'deleted_at', 'cpu', 'memory_bytes', 'disk')))
    for row in conn.execute(sa.select(table.c.id, table.c.spec).where(
            table.c.deleted_at.is_(None))).all():
        spec = json.loads(row.spec)
        values = {name: spec[name] for name in ('cpu', 'memory_bytes', 'disk') if spec.get(name)}
        if values:
            conn.execute(table.update().where(table.c.id == row.id).values(**values))
