# SPDX-License-Identifier: Apache-2.0
"""What an administrator says of a conductor, and how much waits for it.

Revision ID: 0003
Revises: 0002
"""

from alembic import op
import sqlalchemy as sa

revision = '0003'
down_revision = '0002'
branch_labels = None
depends_on = None


def upgrade():
    for column in (
            sa.Column('disabled', sa.Integer, nullable=False, server_default='0'),
            sa.Column('disabled_reason', sa.Text),
            sa.Column('forced_down', sa.Integer, nullable=False, server_default='0'),
            sa.Column('queued', sa.Integer)):
        op.add_column('conductors', column)
