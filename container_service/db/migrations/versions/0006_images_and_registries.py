# SPDX-License-Identifier: Apache-2.0
"""Images as a resource, registries and their credentials.

Revision ID: 0006
Revises: 0005
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0006'
down_revision = '0005'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.add_column('containers', sa.Column('registry_uuid', Uuid))
    for column in (
            sa.Column('operation', sa.String(16), nullable=False, server_default='pull'),
            sa.Column('registry_uuid', Uuid),
            sa.Column('target', sa.String(255)),
            sa.Column('result', LongText)):
        op.add_column('pulls', column)
    op.create_table(
        'images',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('user_id', sa.String(64)),
        sa.Column('bay_uuid', Uuid, nullable=False),
        sa.Column('repo', sa.String(255), nullable=False),
        sa.Column('tag', sa.String(128), nullable=False),
        sa.Column('local', sa.Integer, nullable=False, server_default='0'),
        sa.Column('registry_uuid', Uuid),
        sa.Column('image_pull_policy', sa.String(16)),
        sa.Column('status', sa.String(16), nullable=False),
        sa.Column('status_reason', sa.Text),
        sa.Column('asked_for', sa.Integer, nullable=False, server_default='0'),
        sa.Column('pull_uuid', Uuid),
        sa.Column('image_id', sa.String(128)),
        sa.Column('digest', sa.String(128)),
        sa.Column('size', sa.BigInteger),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('updated_at', Time, nullable=False),
        sa.UniqueConstraint('uuid', name='uq_images_uuid'),
        sa.UniqueConstraint('project_id', 'bay_uuid', 'repo', 'tag',
                            name='uq_images_project_id_bay_uuid_repo_tag'),
        sa.Index('ix_images_bay_uuid_repo', 'bay_uuid', 'repo'),
        sa.Index('ix_images_pull_uuid', 'pull_uuid'),
        sa.Index('ix_images_status', 'status'),
        **TABLE_OPTIONS)
    op.create_table(
        'registries',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('user_id', sa.String(64)),
        sa.Column('name', sa.String(255)),
        sa.Column('domain', sa.String(255), nullable=False),
        sa.Column('username', sa.String(255)),
        sa.Column('password', sa.Text),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('updated_at', Time, nullable=False),
        sa.UniqueConstraint('uuid', name='uq_registries_uuid'),
        sa.UniqueConstraint('project_id', 'name', name='uq_registries_project_id_name'),
        **TABLE_OPTIONS)
