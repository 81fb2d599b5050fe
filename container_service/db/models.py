# SPDX-License-Identifier: Apache-2.0
"""The tables.  A change here needs a migration beside it; a test compares the two."""

import json

import sqlalchemy as sa
from sqlalchemy.dialects import mysql

metadata = sa.MetaData(naming_convention={
    'ix': 'ix_%(table_name)s_%(column_0_N_name)s',
    'uq': 'uq_%(table_name)s_%(column_0_N_name)s',
    'pk': 'pk_%(table_name)s',
})

# Names, keys and labels are compared byte by byte, as PostgreSQL and SQLite do anyway.
TABLE_OPTIONS = {'mysql_engine': 'InnoDB', 'mysql_charset': 'utf8mb4',
                 'mysql_collate': 'utf8mb4_bin'}

Id = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')   # SQLite counts INTEGER only
Uuid = sa.String(36)
LongText = sa.Text().with_variant(mysql.MEDIUMTEXT(), 'mysql', 'mariadb')
Bytes = sa.LargeBinary().with_variant(mysql.LONGBLOB(), 'mysql', 'mariadb')
Time = sa.DateTime().with_variant(mysql.DATETIME(fsp=6), 'mysql', 'mariadb')


class Json(sa.types.TypeDecorator):
    """A JSON value kept as text, the same on every database."""
    impl = LongText
    cache_ok = True

    def process_bind_param(self, value, dialect):
        return None if value is None else json.dumps(value, separators=(',', ':'))

    def process_result_value(self, value, dialect):
        return None if value is None else json.loads(value)


# What makes a row the head of a queue of actions.  Containers have it now; an image pull or a
# bay that has actions of its own gets the same columns.
def _queue_columns():
    return (
        # Raised by every claim; what was written under an older one is refused.
        sa.Column('fence', sa.BigInteger, nullable=False, server_default='0'),
        sa.Column('next_sequence', sa.BigInteger, nullable=False, server_default='1'),
        # Status when all that is queued has succeeded; null when nothing is unfinished.
        sa.Column('projected_status', sa.String(16)),
        sa.Column('task_state', sa.String(40)),
        sa.Column('running_action_uuid', Uuid),
        # From when the oldest queued action may be claimed; null while one runs or none waits.
        sa.Column('runnable_at', Time),
        # Whether that action may use the slots reserved for urgent ones.
        sa.Column('head_urgent', sa.Integer, nullable=False, server_default='0'),
    )


containers = sa.Table(
    'containers', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('user_id', sa.String(64)),
    sa.Column('name', sa.String(255), nullable=False),
    # The name while it lives, null once deleted: unique per project, and free again.
    sa.Column('live_name', sa.String(255)),
    sa.Column('bay_uuid', Uuid, nullable=False),
    sa.Column('image', sa.String(255), nullable=False),
    # With whose credentials its image is pulled; null until that is known, or with none.
    sa.Column('registry_uuid', Uuid),
    sa.Column('spec', Json, nullable=False),
    # Of the spec, what is summed up: cores, bytes, GiB.
    sa.Column('cpu', sa.Float),
    sa.Column('memory_bytes', sa.BigInteger),
    sa.Column('disk', sa.Integer),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('status_reason', sa.Text),
    sa.Column('status_detail', sa.String(255)),
    *_queue_columns(),
    sa.Column('generation', sa.Integer, nullable=False, server_default='1'),
    sa.Column('engine_id', sa.String(64)),
    sa.Column('exit_code', sa.Integer),
    sa.Column('oom_killed', sa.Boolean, nullable=False),
    sa.Column('health', sa.String(16)),     # by its own check; null: it has none
    sa.Column('addresses', Json),
    sa.Column('ports', Json),
    sa.Column('started_at', Time),
    sa.Column('finished_at', Time),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('updated_at', Time, nullable=False),
    sa.Column('deleted_at', Time),
    sa.UniqueConstraint('project_id', 'live_name'),
    sa.Index('ix_containers_runnable_at', 'runnable_at'),
    sa.Index('ix_containers_project_id_runnable_at', 'project_id', 'runnable_at'),
    sa.Index('ix_containers_project_id_deleted_at', 'project_id', 'deleted_at'),
    sa.Index('ix_containers_bay_uuid_deleted_at', 'bay_uuid', 'deleted_at'),
    sa.Index('ix_containers_bay_uuid_updated_at', 'bay_uuid', 'updated_at'),
    **TABLE_OPTIONS)

container_labels = sa.Table(
    'container_labels', metadata,
    sa.Column('container_uuid', Uuid, primary_key=True),
    sa.Column('name', sa.String(255), primary_key=True),
    sa.Column('value', sa.String(255), nullable=False),
    sa.Index('ix_container_labels_name_value', 'name', 'value'),
    **TABLE_OPTIONS)

actions = sa.Table(
    'actions', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    # The queue it stands in, and its place there.
    sa.Column('resource_type', sa.String(16), nullable=False),
    sa.Column('resource_uuid', Uuid, nullable=False),
    sa.Column('sequence', sa.BigInteger, nullable=False),
    sa.Column('operation', sa.String(32), nullable=False),
    sa.Column('params', Json, nullable=False),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('user_id', sa.String(64)),
    sa.Column('request_id', sa.String(64)),
    # Who asked for it, as the audit trail says it of the end of the action too.
    sa.Column('initiator', Json),
    sa.Column('resource_name', sa.String(255)),
    sa.Column('bay_uuid', Uuid),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('stage', sa.String(64)),
    sa.Column('progress', Json),
    sa.Column('waiting_code', sa.String(32)),
    sa.Column('waiting_detail', sa.Text),
    # What tells "done" from "not done" after a crash, stored before acting.
    sa.Column('remembered', Json),
    sa.Column('conductor_uuid', Uuid),
    sa.Column('conductor', sa.String(255)),
    sa.Column('claim_uuid', Uuid),
    sa.Column('fence', sa.BigInteger),
    sa.Column('attempts', sa.Integer, nullable=False, server_default='0'),
    sa.Column('error', Json),
    sa.Column('result', Json),              # what it has given besides its effect
    sa.Column('caused_by', Uuid),
    sa.Column('cancel_requested_at', Time),
    # Asked for by the caller, and counted from acceptance; else the operation's own limit,
    # counted from the first claim without the time it was parked.
    sa.Column('timeout_seconds', sa.Integer),
    sa.Column('deadline_at', Time),
    sa.Column('parked_at', Time),
    sa.Column('run_anyway', sa.Integer, nullable=False, server_default='0'),
    sa.Column('coalesced', sa.Integer, nullable=False, server_default='0'),
    sa.Column('pull_uuid', Uuid),
    sa.Column('post_mortem', Json),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('started_at', Time),
    sa.Column('progress_at', Time),
    sa.Column('finished_at', Time),
    sa.UniqueConstraint('resource_type', 'resource_uuid', 'sequence'),
    sa.Index('ix_actions_resource_uuid_status', 'resource_uuid', 'status'),
    sa.Index('ix_actions_status_conductor_uuid', 'status', 'conductor_uuid'),
    sa.Index('ix_actions_project_id', 'project_id'),
    sa.Index('ix_actions_request_id', 'request_id'),
    sa.Index('ix_actions_pull_uuid', 'pull_uuid'),
    sa.Index('ix_actions_finished_at', 'finished_at'),
    sa.Index('ix_actions_status_deadline_at', 'status', 'deadline_at'),
    **TABLE_OPTIONS)

# The ids of further requests that were answered with an action: folded or repeated ones.
action_requests = sa.Table(
    'action_requests', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('request_id', sa.String(64), nullable=False),
    sa.Column('action_uuid', Uuid, nullable=False),
    sa.Column('created_at', Time, nullable=False),
    sa.Index('ix_action_requests_request_id', 'request_id'),
    sa.Index('ix_action_requests_action_uuid', 'action_uuid'),
    **TABLE_OPTIONS)

idempotency_keys = sa.Table(
    'idempotency_keys', metadata,
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

# What is too large for the row it belongs to: the archive of an action until that has ended.
payloads = sa.Table(
    'payloads', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('owner_uuid', Uuid, nullable=False),
    sa.Column('name', sa.String(255), nullable=False),
    sa.Column('part', sa.Integer, nullable=False),     # large ones are kept in several rows
    sa.Column('data', Bytes, nullable=False),
    sa.UniqueConstraint('owner_uuid', 'name', 'part'),
    **TABLE_OPTIONS)

# Secrets of a container, and of an action until it has ended: environment variables.
confided = sa.Table(
    'confided', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('owner_uuid', Uuid, nullable=False),
    sa.Column('name', sa.String(64), nullable=False),   # of the option or parameter
    sa.Column('token', LongText, nullable=False),       # encrypted
    sa.UniqueConstraint('owner_uuid', 'name'),
    **TABLE_OPTIONS)

# What conductors do with images: one row while any number of containers wait for one image on
# one bay, and one for each image that is given another name or removed.
pulls = sa.Table(
    'pulls', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('operation', sa.String(16), nullable=False, server_default='pull'),
    sa.Column('bay_uuid', Uuid, nullable=False),
    sa.Column('image', sa.String(255), nullable=False),
    # With whose credentials; what these have pulled serves nobody else.
    sa.Column('registry_uuid', Uuid),
    sa.Column('target', sa.String(255)),    # the other name
    # What and for whom while it is unfinished, null once ended: one at a time.
    sa.Column('live_key', sa.String(300), unique=True),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('claim_uuid', Uuid),
    sa.Column('conductor_uuid', Uuid),
    sa.Column('conductor', sa.String(255)),
    sa.Column('attempts', sa.Integer, nullable=False, server_default='0'),
    sa.Column('cancel_requested_at', Time),
    sa.Column('runnable_at', Time),
    sa.Column('progress', Json),
    sa.Column('error', Json),
    sa.Column('result', Json),              # what the engine says of the image then
    sa.Column('created_at', Time, nullable=False),
    sa.Column('started_at', Time),
    sa.Column('progress_at', Time),
    sa.Column('finished_at', Time),
    sa.Index('ix_pulls_runnable_at', 'runnable_at'),
    sa.Index('ix_pulls_status_conductor_uuid', 'status', 'conductor_uuid'),
    **TABLE_OPTIONS)

# Images that a project has on a bay.  Several projects may have the same one: it leaves the
# engine with the last of them.
images = sa.Table(
    'images', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('user_id', sa.String(64)),
    sa.Column('bay_uuid', Uuid, nullable=False),
    sa.Column('repo', sa.String(255), nullable=False),
    sa.Column('tag', sa.String(128), nullable=False),         # or digest
    # Made on the bay, under an engine's name of the project's own; no registry has it.
    sa.Column('local', sa.Integer, nullable=False, server_default='0'),
    # Pulled with credentials: whoever else wants it must show that he may pull it too.
    sa.Column('registry_uuid', Uuid),
    sa.Column('image_pull_policy', sa.String(16)),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('status_reason', sa.Text),
    # By a request for the image itself, not only for a container of it.
    sa.Column('asked_for', sa.Integer, nullable=False, server_default='0'),
    sa.Column('pull_uuid', Uuid),           # what is done with it, or was last
    sa.Column('image_id', sa.String(128)),
    sa.Column('digest', sa.String(128)),
    sa.Column('size', sa.BigInteger),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('updated_at', Time, nullable=False),
    sa.UniqueConstraint('project_id', 'bay_uuid', 'repo', 'tag'),
    sa.Index('ix_images_bay_uuid_repo', 'bay_uuid', 'repo'),
    sa.Index('ix_images_pull_uuid', 'pull_uuid'),
    sa.Index('ix_images_status', 'status'),
    **TABLE_OPTIONS)

# Where images come from, and the credentials for it.
registries = sa.Table(
    'registries', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('user_id', sa.String(64)),
    sa.Column('name', sa.String(255)),
    sa.Column('domain', sa.String(255), nullable=False),
    sa.Column('username', sa.String(255)),
    sa.Column('password', sa.Text),         # encrypted
    sa.Column('created_at', Time, nullable=False),
    sa.Column('updated_at', Time, nullable=False),
    sa.UniqueConstraint('project_id', 'name'),
    **TABLE_OPTIONS)

bays = sa.Table(
    'bays', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('name', sa.String(255), nullable=False),
    sa.Column('driver', sa.String(32), nullable=False),
    sa.Column('endpoint', sa.String(255), nullable=False),
    # PEM, as the next one; empty where it was a path that is forgotten: not without TLS.
    sa.Column('ca_cert', sa.Text),
    sa.Column('client_cert', sa.Text),
    sa.Column('client_key', sa.Text),       # encrypted
    sa.Column('hosts', Json),               # conductor hosts that reach it; null: all
    sa.Column('public', sa.Boolean, nullable=False),
    sa.Column('labels', Json),
    sa.Column('status', sa.String(32), nullable=False),
    sa.Column('status_reason', sa.Text),
    sa.Column('health_status', sa.String(16), nullable=False),
    sa.Column('health_status_reason', sa.Text),
    sa.Column('engine_id', sa.String(128)),
    sa.Column('engine_info', Json),         # what the engine tells of its host
    # The incarnation that watches the engine; another takes its place when that is dead.
    sa.Column('watcher_uuid', Uuid),
    # Of the last event of the engine that was dealt with, in nanoseconds by the engine's clock.
    sa.Column('events_seen', sa.BigInteger),
    sa.Column('reconcile_at', Time, nullable=False),   # when somebody last asked for a full pass
    sa.Column('reconciled_at', Time),                  # when the last one began that was complete
    sa.Column('steady_since', Time),                   # since when none has failed or was left out
    sa.Column('strays', sa.Integer, nullable=False, server_default='0'),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('updated_at', Time, nullable=False),
    sa.UniqueConstraint('project_id', 'name'),
    sa.Index('ix_bays_name', 'name'),
    **TABLE_OPTIONS)

# Projects that may use a bay which is not theirs, nor public.
bay_shares = sa.Table(
    'bay_shares', metadata,
    sa.Column('bay_uuid', Uuid, primary_key=True),
    sa.Column('project_id', sa.String(64), primary_key=True),
    **TABLE_OPTIONS)

# What an engine has with our label although our database does not know it.  Never touched unless
# an administrator says so.
strays = sa.Table(
    'strays', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('bay_uuid', Uuid, nullable=False),
    sa.Column('engine_id', sa.String(64), nullable=False),
    sa.Column('name', sa.String(255)),                 # as the engine calls it
    sa.Column('container_uuid', sa.String(64)),        # as its label says
    sa.Column('generation', sa.Integer),
    sa.Column('image', sa.String(255)),
    sa.Column('status', sa.String(16), nullable=False),
    sa.Column('reason', sa.String(16), nullable=False),
    # What an administrator wants to become of it: adopt or remove; and why that did not work.
    sa.Column('wanted', sa.String(16)),
    sa.Column('wanted_by', Json),
    sa.Column('error', sa.Text),
    sa.Column('created_at', Time, nullable=False),
    sa.UniqueConstraint('bay_uuid', 'engine_id'),
    **TABLE_OPTIONS)

# What happened that nobody had asked for.
events = sa.Table(
    'events', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('type', sa.String(64), nullable=False),
    sa.Column('project_id', sa.String(64)),            # null: for administrators only
    sa.Column('bay_uuid', Uuid),
    sa.Column('container_uuid', Uuid),
    sa.Column('detail', Json, nullable=False),
    sa.Index('ix_events_created_at', 'created_at'),
    sa.Index('ix_events_container_uuid', 'container_uuid'),
    sa.Index('ix_events_project_id', 'project_id'),
    **TABLE_OPTIONS)

# Who did what, when, from where and with which outcome.  Rows are added and, when they are old,
# taken away; nothing ever changes one.
audit = sa.Table(
    'audit', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),
    sa.Column('created_at', Time, nullable=False),
    sa.Column('request_id', sa.String(64)),
    # Who: the caller, or for what conductors do of their own accord nobody.
    sa.Column('user_id', sa.String(64)),
    sa.Column('user_project_id', sa.String(64)),
    sa.Column('roles', Json),
    sa.Column('source', sa.String(64)),                # address
    sa.Column('authenticated_by', sa.String(16), nullable=False),
    sa.Column('action', sa.String(64), nullable=False),
    sa.Column('target_type', sa.String(32)),
    sa.Column('target_uuid', sa.String(64)),
    sa.Column('target_name', sa.String(255)),
    # Whose trail it is in: the project of the target, or of the caller where there is none.
    sa.Column('project_id', sa.String(64)),
    sa.Column('outcome', sa.String(16), nullable=False),
    sa.Column('status', sa.Integer),                   # of HTTP, of a request that failed
    sa.Column('code', sa.String(64)),                  # of the error
    sa.Column('action_uuid', Uuid),                    # that it began or ended, or a pull
    sa.Column('details', Json),
    sa.Index('ix_audit_created_at', 'created_at'),
    sa.Index('ix_audit_request_id', 'request_id'),
    sa.Index('ix_audit_user_id', 'user_id'),
    sa.Index('ix_audit_target_uuid', 'target_uuid'),
    sa.Index('ix_audit_project_id', 'project_id'),
    sa.Index('ix_audit_action_uuid', 'action_uuid'),
    **TABLE_OPTIONS)

conductors = sa.Table(
    'conductors', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('uuid', Uuid, nullable=False, unique=True),     # the incarnation
    sa.Column('host', sa.String(255), nullable=False),
    sa.Column('slot', sa.Integer, nullable=False),
    sa.Column('server', sa.String(255), nullable=False),      # its name on the bus
    sa.Column('pid', sa.Integer),
    sa.Column('boot_id', sa.String(36)),
    sa.Column('version', sa.String(64)),
    sa.Column('state', sa.String(16), nullable=False),        # up, draining, gone
    sa.Column('heartbeats', sa.BigInteger, nullable=False, server_default='0'),
    sa.Column('workers', sa.Integer),
    sa.Column('in_flight', sa.Integer),
    sa.Column('pool_full', sa.BigInteger),                    # how often the pool was full
    sa.Column('saturation_policy', sa.String(16)),
    sa.Column('is_full', sa.Integer, nullable=False, server_default='0'),
    sa.Column('queued', sa.Integer),                          # that could run here, and waits
    # Said by an administrator; a restarted conductor of the same name inherits it.
    sa.Column('disabled', sa.Integer, nullable=False, server_default='0'),
    sa.Column('disabled_reason', sa.Text),
    sa.Column('forced_down', sa.Integer, nullable=False, server_default='0'),
    sa.Column('lease_until', Time, nullable=False),
    sa.Column('started_at', Time, nullable=False),
    sa.Column('heartbeat_at', Time, nullable=False),
    sa.Index('ix_conductors_state_lease_until', 'state', 'lease_until'),
    **TABLE_OPTIONS)

# Facts about this installation: 'deployment' is a random uuid that marks what is ours on an
# engine, so that nothing of another installation is ever taken for ours.
settings = sa.Table(
    'settings', metadata,
    sa.Column('name', sa.String(64), primary_key=True),
    sa.Column('value', sa.String(255), nullable=False),
    **TABLE_OPTIONS)

# That an API has accepted a blocking call: what a message on the bus says is not believed.
tickets = sa.Table(
    'tickets', metadata,
    sa.Column('uuid', Uuid, primary_key=True),
    sa.Column('digest', sa.String(64), nullable=False),       # of all that is asked
    sa.Column('valid_until', Time, nullable=False),
    sa.Index('ix_tickets_valid_until', 'valid_until'),
    **TABLE_OPTIONS)

# How much a project may have at most; null: as the class ``default`` says.
quotas = sa.Table(
    'quotas', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('project_id', sa.String(64), nullable=False),
    sa.Column('resource', sa.String(32), nullable=False),
    sa.Column('hard_limit', sa.BigInteger),
    sa.UniqueConstraint('project_id', 'resource'),
    **TABLE_OPTIONS)

quota_classes = sa.Table(
    'quota_classes', metadata,
    sa.Column('id', Id, primary_key=True, autoincrement=True),
    sa.Column('class_name', sa.String(64), nullable=False),
    sa.Column('resource', sa.String(32), nullable=False),
    sa.Column('hard_limit', sa.BigInteger),
    sa.UniqueConstraint('class_name', 'resource'),
    **TABLE_OPTIONS)
