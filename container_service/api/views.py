# SPDX-License-Identifier: Apache-2.0
"""Rows as clients see them.  Plain dicts: a list of a thousand must not cost a conversion each."""

from container_service import certificates
from container_service import lifecycle
from container_service import operations
from container_service import powers
from container_service import services
from container_service import states
from container_service.api import explain
from container_service.api.types import MIB
from container_service.db import bays
from container_service.db import conductors
from container_service.db import images

HIDDEN = '***'


def time(value):
    """ISO 8601 with zone; None stays None."""
    return value and value.isoformat(timespec='microseconds') + '+00:00'


def links(base, collection, uuid):
    return [{'rel': 'self', 'href': f'{base}/v1/{collection}/{uuid}'},
            {'rel': 'bookmark', 'href': f'{base}/{collection}/{uuid}'}]


def container(row, base, admin):
    """A container, the same at every version: newer keys break no older client."""
    spec = row.spec
    memory = spec.get('memory_bytes')
    restart = spec.get('restart_policy') or {'Name': 'no', 'MaximumRetryCount': 0}
    view = {
        'uuid': row.uuid, 'name': row.name, 'links': links(base, 'containers', row.uuid),
        'image': row.image, 'command': spec.get('command') or [],
        'entrypoint': spec.get('entrypoint') or [],
        'status': row.status, 'status_reason': row.status_reason,
        'status_detail': row.status_detail, 'task_state': row.task_state,
        'cpu': spec.get('cpu'), 'cpu_policy': 'shared',
        'memory': memory and str(memory // MIB), 'memory_bytes': memory,
        'disk': spec.get('disk', 0),
        'environment': spec.get('environment') or {},
        'secret_environment': dict.fromkeys(spec.get('secret_environment') or (), HIDDEN),
        'labels': spec.get('labels') or {},
        'workdir': spec.get('workdir'), 'hostname': spec.get('hostname'),
        'user': spec.get('user'), 'ports': row.ports or [], 'addresses': row.addresses or {},
        'image_driver': 'docker', 'security_groups': [],
        'restart_policy': {'Name': restart['Name'],
                           'MaximumRetryCount': str(restart['MaximumRetryCount'])},
        'interactive': spec.get('interactive', False), 'tty': spec.get('tty', False),
        'auto_remove': spec.get('auto_remove', False), 'auto_heal': spec.get('auto_heal', False),
        'healthcheck': spec.get('healthcheck') or {},
        'stop_signal': spec.get('stop_signal'), 'stop_timeout': spec.get('stop_timeout'),
        'read_only': spec.get('read_only', False), 'tmpfs': spec.get('tmpfs') or {},
        'published_ports': spec.get('published_ports') or [],
        'nets': spec.get('nets') or [], 'files': spec.get('files') or [],
        'mounts': spec.get('mounts') or [],
        'registry_id': row.registry_uuid,
        'bay_uuid': row.bay_uuid, 'exit_code': row.exit_code, 'oom_killed': row.oom_killed,
        'health': row.health, 'engine_id': row.engine_id,
        'user_id': row.user_id, 'project_id': row.project_id,
        'created_at': time(row.created_at), 'updated_at': time(row.updated_at),
        'started_at': time(row.started_at), 'finished_at': time(row.finished_at),
    }
    if admin:
        view.update(image_pull_policy=spec.get('image_pull_policy', 'ifnotpresent'),
                    host=getattr(row, 'bay_name', None), runtime=spec.get('runtime'),
                    privileged=powers.PRIVILEGED in powers.of(spec))
    return view


def action(row, base, admin, pool=None, *, position=None, behind=None):
    """An action, as the resource of its own; on which hosts it runs is for administrators.

    ``row`` comes explained from the database, and ``pool`` says how the conductors of a bay
    are; or it was just accepted, with ``position`` actions before it, the last one ``behind``.
    """
    accepted_now = not hasattr(row, 'db_now')
    if accepted_now:
        waiting, liveness, progress = _just_accepted(row, position, behind), None, None
    else:
        waiting, liveness = explain.waiting(row, pool or (lambda bay: None), admin), \
            explain.liveness(row)
        position, progress = row.position, row.progress
        if waiting is not None:
            waiting['retry_at'] = time(waiting['retry_at'])
        if progress is None and row.status in states.UNFINISHED:
            progress = row.pull_progress
    return {
        'uuid': row.uuid, 'operation': row.operation, 'status': row.status,
        'container_uuid': row.resource_uuid, 'container_name': row.resource_name,
        'bay_uuid': row.bay_uuid, 'project_id': row.project_id, 'user_id': row.user_id,
        'request_id': row.request_id, 'parameters': _parameters(row), 'stage': row.stage,
        'progress': progress, 'position': position, 'waiting': waiting, 'liveness': liveness,
        'conductor': row.conductor if admin else None, 'attempts': row.attempts,
        'error': row.error, 'result': row.result, 'caused_by': row.caused_by,
        'coalesced': row.coalesced,
        'cancellable': lifecycle.too_late(row) is None,
        'cancel_requested_at': time(row.cancel_requested_at),
        'on_predecessor_failure': operations.RUN if row.run_anyway else operations.SKIP,
        'timeout_seconds': row.timeout_seconds, 'deadline_at': time(row.deadline_at),
        'post_mortem': row.post_mortem,
        'created_at': time(row.created_at), 'started_at': time(row.started_at),
        'progress_at': time(row.progress_at), 'finished_at': time(row.finished_at),
        'links': links(base, 'actions', row.uuid),
    }


def _parameters(row):
    """Those of an action; of variables, which may be secrets, only the names."""
    op = operations.OPERATIONS.get(row.operation)
    hidden = {param.name: dict.fromkeys(row.params[param.name], HIDDEN)
              for param in (op.secrets if op else ()) if (row.params or {}).get(param.name)}
    return {**row.params, **hidden} if hidden else row.params


def _just_accepted(row, position, behind):
    if behind is not None:
        return {'code': explain.QUEUED_BEHIND, 'retry_at': None,
                'detail': f'Queued behind action {behind[0]} ({behind[1]}).'}
    if row.status in states.FINAL:
        return None
    return {'code': explain.WAKING, 'detail': explain.CODES[explain.WAKING], 'retry_at': None}


def service(row):
    """A conductor, in the shape that clients of the field know, with what is ours added."""
    up = row.state != conductors.GONE and not row.forced_down and row.lease_until > row.db_now
    return {
        'id': row.id, 'host': row.host, 'binary': services.BINARY,
        'state': 'up' if up else 'down', 'disabled': bool(row.disabled),
        'disabled_reason': row.disabled_reason, 'forced_down': bool(row.forced_down),
        'last_seen_up': time(row.heartbeat_at),
        'report_count': row.heartbeats, 'availability_zone': None,
        'created_at': time(row.started_at), 'updated_at': time(row.heartbeat_at),
        'name': row.server, 'incarnation': row.uuid, 'version': row.version,
        'draining': row.state == conductors.DRAINING, 'workers': row.workers,
        'in_flight': row.running, 'queued': row.queued if up else None,
        'pool_full': row.pool_full,
        'saturation_policy': row.saturation_policy,
        'heartbeat_age_seconds': round((row.db_now - row.heartbeat_at).total_seconds(), 3),
    }


def container_action(row):
    """An action in the shape of the older history resource."""
    def plain(value):
        return value and value.isoformat(timespec='microseconds')

    failed = row.status in states.FINAL and row.status != states.SUCCEEDED
    return {
        'action': row.operation, 'container_uuid': row.resource_uuid,
        'request_id': row.request_id, 'start_time': plain(row.created_at),
        'finish_time': plain(row.finished_at),
        'message': (row.error or {}).get('detail') or (row.status if failed else None),
        'project_id': row.project_id, 'user_id': row.user_id, 'action_uuid': row.uuid,
    }


def container_action_event(row):
    """The one event of an action, as the older history resource shows it."""
    view = container_action(row)
    result = {states.SUCCEEDED: 'Success'}.get(row.status)
    if result is None and row.status in states.FINAL:
        result = 'Error'
    return {'event': f'container_{row.operation}', 'start_time': view['start_time'],
            'finish_time': view['finish_time'], 'result': result, 'traceback': None}


def bay(row, base, context, shared_with):
    """A bay, in the shape that clients of the field know, with what is ours added.

    Whose it is when it is another's, and who else may use it, is for administrators; so is what
    went wrong, since the words of an engine or a conductor name hosts and addresses.
    """
    admin = context.is_admin
    own = admin or row.project_id == context.project_id
    view = {
        'uuid': row.uuid, 'name': row.name, 'driver': row.driver, 'public': row.public,
        'labels': row.labels or {}, 'status': row.status,
        'status_reason': row.status_reason or (
            certificates.warning(row.ca_cert, row.client_cert) if admin else None),
        'health_status': row.health_status,
        'health_status_reason': row.health_status_reason if admin else None,
        'baymodel_id': None, 'node_count': 1, 'master_count': 0, 'bay_create_timeout': None,
        'stack_id': None, 'discovery_url': None, 'api_address': None, 'node_addresses': [],
        'master_addresses': [], 'project_id': row.project_id if own else None,
        'links': links(base, 'bays', row.uuid),
        'created_at': time(row.created_at), 'updated_at': time(row.updated_at),
    }
    if admin:
        view.update(endpoint=row.endpoint, hosts=row.hosts, shared_with=shared_with,
                    ca_cert=certificates.about(row.ca_cert),
                    client_cert=certificates.about(row.client_cert),
                    client_key=row.client_key is not None, engine_id=row.engine_id,
                    reconciled_at=time(row.reconciled_at), strays=row.strays,
                    watcher=row.watcher_uuid)
    return view


def host(row, base, used):
    """A bay's engine as a host, in the shape that clients of the field know.

    ``used`` is sums over its containers; what nobody has been told of yet is 0 or null.
    """
    info = row.engine_info or {}
    return {
        'uuid': row.uuid, 'hostname': row.name,
        'mem_total': info.get('memory_bytes', 0) // MIB,
        'mem_used': sum(int(each.memory_bytes) for each in used) // MIB,
        'cpus': info.get('cpus', 0), 'cpu_used': float(sum(each.cpu for each in used)),
        'disk_total': info.get('disk_gib', 0), 'disk_used': sum(int(each.disk) for each in used),
        'disk_quota_supported': False, 'total_containers': sum(each.containers for each in used),
        'architecture': info.get('architecture'), 'os_type': info.get('os_type'),
        'os': info.get('os'), 'kernel_version': info.get('kernel_version'),
        'labels': row.labels or {}, 'runtimes': info.get('runtimes') or [],
        'enable_cpu_pinning': False, 'availability_zone': bays.zone_of(row),
        'engine_version': info.get('engine_version'), 'health_status': row.health_status,
        'links': links(base, 'hosts', row.uuid),
    }


def stray(row):
    """What an engine has with our label and nobody knows."""
    return {
        'uuid': row.uuid, 'bay_uuid': row.bay_uuid, 'engine_id': row.engine_id, 'name': row.name,
        'container_uuid': row.container_uuid, 'generation': row.generation, 'image': row.image,
        'status': row.status, 'reason': row.reason, 'wanted': row.wanted, 'error': row.error,
        'created_at': time(row.created_at),
    }


def event(row):
    """Something that happened."""
    return {
        'uuid': row.uuid, 'type': row.type, 'created_at': time(row.created_at),
        'project_id': row.project_id, 'bay_uuid': row.bay_uuid,
        'container_uuid': row.container_uuid, 'detail': row.detail,
    }


def audit_entry(row, context):
    """Something that was done, or was tried.

    Which conductor it was about, and from where users of other projects came, is for
    administrators.
    """
    details, source = dict(row.details or {}), row.source
    if not context.is_admin:
        details.pop('conductor', None)
        if row.user_project_id != context.project_id:
            source = None
    return {
        'uuid': row.uuid, 'created_at': time(row.created_at), 'request_id': row.request_id,
        'user_id': row.user_id, 'user_project_id': row.user_project_id, 'roles': row.roles or [],
        'source': source, 'authenticated_by': row.authenticated_by, 'action': row.action,
        'target_type': row.target_type, 'target_uuid': row.target_uuid,
        'target_name': row.target_name, 'project_id': row.project_id, 'outcome': row.outcome,
        'status': row.status, 'code': row.code, 'action_uuid': row.action_uuid,
        'details': details,
    }


def registry(row, base):
    """Where images come from; of its password nothing but that it may have one."""
    return {
        'uuid': row.uuid, 'name': row.name, 'links': links(base, 'registries', row.uuid),
        'domain': row.domain, 'username': row.username, 'password': HIDDEN,
        'project_id': row.project_id, 'user_id': row.user_id,
        'created_at': time(row.created_at), 'updated_at': time(row.updated_at),
    }


def image(row, base):
    """An image that a project has on a bay."""
    return {
        'uuid': row.uuid, 'links': links(base, 'images', row.uuid), 'repo': row.repo,
        'tag': row.tag, 'image_id': row.image_id, 'digest': row.digest,
        'size': None if row.size is None else str(row.size), 'host': row.bay_name,
        'bay_uuid': row.bay_uuid, 'project_id': row.project_id, 'user_id': row.user_id,
        'image_pull_policy': row.image_pull_policy, 'registry_id': row.registry_uuid,
        'local': bool(row.local), 'status': row.status, 'status_reason': row.status_reason,
        'progress': row.progress if row.status == images.PULLING else None,
        'created_at': time(row.created_at), 'updated_at': time(row.updated_at),
    }
