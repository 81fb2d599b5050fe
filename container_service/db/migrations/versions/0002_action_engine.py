# SPDX-License-Identifier: Apache-2.0
"""Cancel, deadlines, folding, idempotency keys, shared pulls, lanes.

Revision ID: 0002
Revises: 0001
"""

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0002'
down_revision = '0001'
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.add_column('containers', sa.Column('head_urgent', sa.Integer, nullable=False,
                                          server_default='0'))
    op.create_index('ix_containers_project_id_runnable_at', 'containers',
                    ['project_id', 'runnable_at'])
    for column in (
            sa.Column('cancel_requested_at', Time),
            sa.Column('timeout_seconds', sa.Integer),
            sa.Column('deadline_at', Time),
            sa.Column('parked_at', Time),
            sa.Column('run_anyway', sa.Integer, nullable=False, server_default='0'),
            sa.Column('coalesced', sa.Integer, nullable=False, server_default='0'),
            sa.Column('pull_uuid', Uuid),
            sa.Column('post_mortem', LongText)):
        op.add_column('actions', column)
    op.create_index('ix_actions_pull_uuid', 'actions', ['pull_uuid'])
    op.create_index('ix_actions_finished_at', 'actions', ['finished_at'])
    op.create_index('ix_actions_status_deadline_at', 'actions', ['status', 'deadline_at'])
    for column in (
            sa.Column('saturation_policy', sa.String(16)),
            sa.Column('is_full', sa.Integer, nullable=False, server_default='0')):
        op.add_column('conductors', column)
    op.create_table(
        'action_requests',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('request_id', sa.String(64), nullable=False),
        sa.Column('action_uuid', Uuid, nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.Index('ix_action_requests_request_id', 'request_id'),
        sa.Index('ix_action_requests_action_uuid', 'action_uuid'),
        **TABLE_OPTIONS)
    op.create_table(
        'idempotency_keys',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('key', sa.String(255), nullable=False),
        sa.Column('fingerprint', sa.String(64), nullable=False),
        sa.Column('resource_type', sa.String(16), nullable=False),
        sa.Column('resource_uuid', Uuid, nullable=False),
        sa.Column('created_at', Time, nullable=False),
        sa.UniqueConstraint('project_id', 'key'),
        sa.Index('ix_idempotency_keys_created_at', 'created_at'),
        **TABLE_OPTIONS)
    op.create_table(
        'pulls',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False, unique=True),
        sa.Column('bay_uuid', Uuid, nullable=False),
        sa.Column('image', sa.String(255), nullable=False),
        sa.Column('live_key', sa.String(300), unique=True),
        sa.Column('status', sa.String(16), nullable=False),
        sa.Column('claim_uuid', Uuid),
        sa.Column('conductor_uuid', Uuid),
        sa.Column('conductor', sa.String(255)),
        sa.Column('attempts', sa.Integer, nullable=False, server_default='0'),
        sa.Column('cancel_requested_at', Time),
        sa.Column('runnable_at', Time),
        sa.Column('progress', LongText),
        sa.Column('error', LongText),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('started_at', Time),
        sa.Column('progress_at', Time),
        sa.Column('finished_at', Time),
        sa.Index('ix_pulls_runnable_at', 'runnable_at'),
        sa.Index('ix_pulls_status_conductor_uuid', 'status', 'conductor_uuid'),
        **TABLE_OPTIONS)
