# SPDX-License-Identifier: Apache-2.0
"""Names of bays are those of their project, and bays are shared with projects.

Revision ID: 0008
Revises: 0007
"""

from alembic import op
import sqlalchemy as sa

revision = '0008'
down_revision = '0007'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}


def upgrade():
    with op.batch_alter_table('bays') as batch:
        batch.drop_constraint('uq_bays_name', type_='unique')
        batch.create_unique_constraint('uq_bays_project_id_name', ['project_id', 'name'])
        batch.create_index('ix_bays_name', ['name'])
    op.create_table(
        'bay_shares',
        sa.Column('bay_uuid', sa.String(36), primary_key=True),
        sa.Column('project_id', sa.String(64), primary_key=True),
        **TABLE_OPTIONS)
