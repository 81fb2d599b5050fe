# SPDX-License-Identifier: Apache-2.0
"""First tables.

Revision ID: 0001
Revises:
"""

import uuid

from alembic import op
import sqlalchemy as sa
from sqlalchemy.dialects import mysql

revision = '0001'
down_revision = None
branch_labels = None
depends_on = None

TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}
Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


def upgrade():
    op.create_table(
        'containers',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False, unique=True),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('user_id', sa.String(64)),
        sa.Column('name', sa.String(255), nullable=False),
        sa.Column('live_name', sa.String(255)),
        sa.Column('bay_uuid', Uuid, nullable=False),
        sa.Column('image', sa.String(255), nullable=False),
        sa.Column('spec', LongText, nullable=False),
        sa.Column('status', sa.String(16), nullable=False),
        sa.Column('status_reason', sa.Text),
        sa.Column('status_detail', sa.String(255)),
        sa.Column('fence', sa.BigInteger, nullable=False, server_default='0'),
        sa.Column('next_sequence', sa.BigInteger, nullable=False, server_default='1'),
        sa.Column('projected_status', sa.String(16)),
        sa.Column('task_state', sa.String(40)),
        sa.Column('running_action_uuid', Uuid),
        sa.Column('runnable_at', Time),
        sa.Column('generation', sa.Integer, nullable=False, server_default='1'),
        sa.Column('engine_id', sa.String(64)),
        sa.Column('exit_code', sa.Integer),
        sa.Column('oom_killed', sa.Boolean, nullable=False),
        sa.Column('addresses', LongText),
        sa.Column('ports', LongText),
        sa.Column('started_at', Time),
        sa.Column('finished_at', Time),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('updated_at', Time, nullable=False),
        sa.Column('deleted_at', Time),
        sa.UniqueConstraint('project_id', 'live_name'),
        sa.Index('ix_containers_runnable_at', 'runnable_at'),
        sa.Index('ix_containers_project_id_deleted_at', 'project_id', 'deleted_at'),
        sa.Index('ix_containers_bay_uuid_deleted_at', 'bay_uuid', 'deleted_at'),
        **TABLE_OPTIONS)
    op.create_table(
        'container_labels',
        sa.Column('container_uuid', Uuid, primary_key=True),
        sa.Column('name', sa.String(255), primary_key=True),
        sa.Column('value', sa.String(255), nullable=False),
        sa.Index('ix_container_labels_name_value', 'name', 'value'),
        **TABLE_OPTIONS)
    op.create_table(
        'actions',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False, unique=True),
        sa.Column('resource_type', sa.String(16), nullable=False),
        sa.Column('resource_uuid', Uuid, nullable=False),
        sa.Column('sequence', sa.BigInteger, nullable=False),
        sa.Column('operation', sa.String(32), nullable=False),
        sa.Column('params', LongText, nullable=False),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('user_id', sa.String(64)),
        sa.Column('request_id', sa.String(64)),
        sa.Column('resource_name', sa.String(255)),
        sa.Column('bay_uuid', Uuid),
        sa.Column('status', sa.String(16), nullable=False),
        sa.Column('stage', sa.String(64)),
        sa.Column('progress', LongText),
        sa.Column('waiting_code', sa.String(32)),
        sa.Column('waiting_detail', sa.Text),
        sa.Column('remembered', LongText),
        sa.Column('conductor_uuid', Uuid),
        sa.Column('conductor', sa.String(255)),
        sa.Column('claim_uuid', Uuid),
        sa.Column('fence', sa.BigInteger),
        sa.Column('attempts', sa.Integer, nullable=False, server_default='0'),
        sa.Column('error', LongText),
        sa.Column('caused_by', Uuid),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('started_at', Time),
        sa.Column('progress_at', Time),
        sa.Column('finished_at', Time),
        sa.UniqueConstraint('resource_type', 'resource_uuid', 'sequence'),
        sa.Index('ix_actions_resource_uuid_status', 'resource_uuid', 'status'),
        sa.Index('ix_actions_status_conductor_uuid', 'status', 'conductor_uuid'),
        sa.Index('ix_actions_project_id', 'project_id'),
        sa.Index('ix_actions_request_id', 'request_id'),
        **TABLE_OPTIONS)
    op.create_table(
        'bays',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False, unique=True),
        sa.Column('project_id', sa.String(64), nullable=False),
        sa.Column('name', sa.String(255), nullable=False, unique=True),
        sa.Column('driver', sa.String(32), nullable=False),
        sa.Column('endpoint', sa.String(255), nullable=False),
        sa.Column('ca_cert', sa.String(255)),
        sa.Column('client_cert', sa.String(255)),
        sa.Column('client_key', sa.String(255)),
        sa.Column('hosts', LongText),
        sa.Column('public', sa.Boolean, nullable=False),
        sa.Column('labels', LongText),
        sa.Column('status', sa.String(32), nullable=False),
        sa.Column('status_reason', sa.Text),
        sa.Column('health_status', sa.String(16), nullable=False),
        sa.Column('health_status_reason', sa.Text),
        sa.Column('engine_id', sa.String(128)),
        sa.Column('reconcile_at', Time, nullable=False),
        sa.Column('reconciled_at', Time),
        sa.Column('created_at', Time, nullable=False),
        sa.Column('updated_at', Time, nullable=False),
        **TABLE_OPTIONS)
    op.create_table(
        'conductors',
        sa.Column('id', Id, primary_key=True, autoincrement=True),
        sa.Column('uuid', Uuid, nullable=False, unique=True),
        sa.Column('host', sa.String(255), nullable=False),
        sa.Column('slot', sa.Integer, nullable=False),
        sa.Column('server', sa.String(255), nullable=False),
        sa.Column('pid', sa.Integer),
        sa.Column('boot_id', sa.String(36)),
        sa.Column('version', sa.String(64)),
        sa.Column('state', sa.String(16), nullable=False),
        sa.Column('heartbeats', sa.BigInteger, nullable=False, server_default='0'),
        sa.Column('workers', sa.Integer),
        sa.Column('in_flight', sa.Integer),
        sa.Column('pool_full', sa.BigInteger),
        sa.Column('lease_until', Time, nullable=False),
        sa.Column('started_at', Time, nullable=False),
        sa.Column('heartbeat_at', Time, nullable=False),
        sa.Index('ix_conductors_state_lease_until', 'state', 'lease_until'),
        **TABLE_OPTIONS)
    op.create_table(
        'settings',
        sa.Column('name', sa.String(64), primary_key=True),
        sa.Column('value', sa.String(255), nullable=False),
        **TABLE_OPTIONS)
    settings = sa.table('settings', sa.column('name'), sa.column('value'))
    op.bulk_insert(settings, [{'name': 'deployment', 'value': str(uuid.uuid4())}])
