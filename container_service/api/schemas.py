# SPDX-License-Identifier: Apache-2.0
"""What answers look like from version 1.41 on, as JSON schemas: ``views.py`` makes them.

Keys are never taken away and others may be added, so none of these forbids more of them.
"""

from container_service import audit
from container_service import states
from container_service.db import images


def optional(schema):
    """The same, or null."""
    return {'anyOf': [schema, {'type': 'null'}]}


def listed(schema):
    return {'type': 'array', 'items': schema}


def record(optional_keys=(), **properties):
    """An object that has all of these keys, but for some."""
    return {'type': 'object', 'properties': properties,
            'required': [key for key in properties if key not in optional_keys]}


def named(name):
    """A reference to one of SCHEMAS."""
    return {'$ref': f'#/components/schemas/{name}'}


TEXT, WHOLE, NUMBER, BOOLEAN = ({'type': kind} for kind in (
    'string', 'integer', 'number', 'boolean'))
UUID, TIME = {'type': 'string', 'format': 'uuid'}, {'type': 'string', 'format': 'date-time'}
OBJECT = {'type': 'object'}
TEXTS, TEXT_MAP = listed(TEXT), {'type': 'object', 'additionalProperties': TEXT}
LINKS = listed(record(rel=TEXT, href=TEXT))

_CONTAINER = dict(
    uuid=UUID, name=TEXT, links=LINKS, image=TEXT, command=TEXTS, entrypoint=TEXTS,
    status={'enum': sorted(states.CONTAINER_STATUSES)}, status_reason=optional(TEXT),
    status_detail=optional(TEXT), task_state=optional(TEXT), cpu=optional(NUMBER),
    cpu_policy=optional(TEXT), memory=optional(TEXT), memory_bytes=optional(WHOLE), disk=WHOLE,
    environment=TEXT_MAP, secret_environment=TEXT_MAP, labels=TEXT_MAP, workdir=optional(TEXT),
    hostname=optional(TEXT), user=optional(TEXT), ports=listed(WHOLE), addresses=OBJECT,
    image_driver=TEXT, security_groups=TEXTS,
    restart_policy=record(Name=TEXT, MaximumRetryCount=TEXT),
    interactive=BOOLEAN, tty=BOOLEAN, auto_remove=BOOLEAN, auto_heal=BOOLEAN, healthcheck=OBJECT,
    stop_signal=optional(TEXT), stop_timeout=optional(WHOLE), read_only=BOOLEAN, tmpfs=OBJECT,
    published_ports=listed(OBJECT), nets=listed(OBJECT), files=listed(OBJECT),
    mounts=listed(OBJECT), registry_id=optional(UUID), bay_uuid=optional(UUID),
    exit_code=optional(WHOLE), oom_killed=optional(BOOLEAN), health=optional(TEXT),
    engine_id=optional(TEXT),
    user_id=optional(TEXT), project_id=TEXT, created_at=TIME, updated_at=optional(TIME),
    started_at=optional(TIME), finished_at=optional(TIME),
    image_pull_policy=TEXT, host=optional(TEXT), runtime=optional(TEXT), privileged=BOOLEAN)

# Administrators alone see these.
_OF_ADMINS = {
    'Container': ('image_pull_policy', 'host', 'runtime', 'privileged'),
    'Bay': ('endpoint', 'hosts', 'shared_with', 'ca_cert', 'client_cert', 'client_key',
            'engine_id', 'reconciled_at', 'strays', 'watcher'),
}

_WAITING = record(code=TEXT, detail=TEXT, retry_at=optional(TIME))
_LIVENESS = record(
    owner={'enum': ['alive', 'lost', 'none']}, heartbeat_age_seconds=optional(NUMBER),
    progress_age_seconds=optional(NUMBER),
    engine={'enum': ['answers', 'does not answer', 'unknown']})

_ACTION = dict(
    uuid=UUID, operation=TEXT, status={'enum': sorted(states.ACTION_STATUSES)},
    container_uuid=UUID, container_name=TEXT, bay_uuid=optional(UUID), project_id=TEXT,
    user_id=optional(TEXT), request_id=optional(TEXT), parameters=OBJECT, stage=optional(TEXT),
    progress=optional(OBJECT), position=optional(WHOLE), waiting=optional(_WAITING),
    liveness=optional(_LIVENESS), conductor=optional(TEXT), attempts=WHOLE,
    error=optional(OBJECT), result={}, caused_by=optional(TEXT), coalesced=WHOLE,
    cancellable=BOOLEAN, cancel_requested_at=optional(TIME), on_predecessor_failure=TEXT,
    timeout_seconds=optional(WHOLE), deadline_at=optional(TIME), post_mortem=optional(OBJECT),
    created_at=TIME, started_at=optional(TIME), progress_at=optional(TIME),
    finished_at=optional(TIME), links=LINKS)

_HISTORY = dict(
    action=TEXT, container_uuid=UUID, request_id=optional(TEXT), start_time=TEXT,
    finish_time=optional(TEXT), message=optional(TEXT), project_id=TEXT, user_id=optional(TEXT),
    action_uuid=UUID)

_CERTIFICATE = optional(record(**dict.fromkeys(
    ('subject', 'issuer', 'fingerprint'), optional(TEXT)), not_after=optional(TIME)))

_BAY = dict(
    uuid=UUID, name=TEXT, driver=TEXT, public=BOOLEAN, labels=TEXT_MAP, status=TEXT,
    status_reason=optional(TEXT), health_status=optional(TEXT),
    health_status_reason=optional(TEXT), baymodel_id=optional(TEXT), node_count=WHOLE,
    master_count=WHOLE, bay_create_timeout=optional(WHOLE), stack_id=optional(TEXT),
    discovery_url=optional(TEXT), api_address=optional(TEXT), node_addresses=TEXTS,
    master_addresses=TEXTS, project_id=optional(TEXT), links=LINKS, created_at=TIME,
    updated_at=optional(TIME), endpoint=TEXT, hosts=optional(TEXTS), shared_with=TEXTS,
    ca_cert=_CERTIFICATE, client_cert=_CERTIFICATE, client_key=BOOLEAN, engine_id=optional(TEXT),
    reconciled_at=optional(TIME), strays=optional(WHOLE), watcher=optional(UUID))

_USAGE = record(limit=WHOLE, in_use=NUMBER)

_REGISTRY = record(
    uuid=UUID, name=optional(TEXT), links=LINKS, domain=TEXT, username=optional(TEXT),
    password={'const': '***'}, project_id=TEXT, user_id=optional(TEXT), created_at=TIME,
    updated_at=optional(TIME))

_VERSION = record(id=TEXT, status=TEXT, min_version=TEXT, max_version=TEXT, links=LINKS)

_DRY_RUN = record(
    dry_run={'const': True}, accepted=BOOLEAN, operation=TEXT, container_uuid=optional(UUID),
    status=optional(TEXT), projected_status=optional(TEXT), folded_into=optional(UUID),
    waits_for=listed(record(uuid=UUID, operation=TEXT, status=TEXT)), cancels=listed(UUID))

_ERROR = record(
    ('hint', 'min_version', 'max_version'), status=WHOLE, code=TEXT, title=TEXT, detail=TEXT,
    request_id=optional(TEXT), links={'type': 'array'}, hint=TEXT, min_version=TEXT,
    max_version=TEXT)

SCHEMAS = {
    'Versions': record(name=TEXT, description=TEXT, versions=listed(_VERSION),
                       default_version=_VERSION),
    'Version': record(id=TEXT, links=LINKS, media_types=listed(OBJECT)),
    'Container': record(_OF_ADMINS['Container'], **_CONTAINER),
    'ContainerAccepted': record(_OF_ADMINS['Container'], **_CONTAINER, action=named('Action')),
    'Action': record(**_ACTION),
    'ActionWithRequests': record(**_ACTION, request_ids=TEXTS),
    'ContainerAction': record(**_HISTORY),
    'ContainerActionWithEvents': record(**_HISTORY, events=listed(record(
        event=TEXT, start_time=TEXT, finish_time=optional(TEXT), result=optional(TEXT),
        traceback=optional(TEXT)))),
    'DryRun': _DRY_RUN,
    'Bay': record(_OF_ADMINS['Bay'], **_BAY),
    'Stray': record(
        uuid=UUID, bay_uuid=UUID, engine_id=TEXT, name=optional(TEXT),
        container_uuid=optional(TEXT), generation=optional(WHOLE), image=optional(TEXT),
        status=optional(TEXT), reason=TEXT, wanted=optional(TEXT), error=optional(OBJECT),
        created_at=TIME),
    'Event': record(
        uuid=UUID, type=TEXT, created_at=TIME, project_id=optional(TEXT),
        bay_uuid=optional(UUID), container_uuid=optional(UUID), detail=optional(OBJECT)),
    'AuditEntry': record(
        uuid=UUID, created_at=TIME, request_id=optional(TEXT), user_id=optional(TEXT),
        user_project_id=optional(TEXT), roles=TEXTS, source=optional(TEXT),
        authenticated_by=TEXT, action=TEXT, target_type=optional(TEXT),
        target_uuid=optional(TEXT), target_name=optional(TEXT), project_id=optional(TEXT),
        outcome={'enum': list(audit.OUTCOMES)}, status=optional(WHOLE), code=optional(TEXT),
        action_uuid=optional(UUID), details=OBJECT),
    'Service': record(
        id=WHOLE, host=TEXT, binary=TEXT, state={'enum': ['up', 'down']}, disabled=BOOLEAN,
        disabled_reason=optional(TEXT), forced_down=BOOLEAN, last_seen_up=TIME,
        report_count=WHOLE, availability_zone=optional(TEXT), created_at=TIME, updated_at=TIME,
        name=TEXT, incarnation=UUID, version=optional(TEXT), draining=BOOLEAN,
        workers=optional(WHOLE), in_flight=optional(WHOLE), queued=optional(WHOLE),
        pool_full=optional(WHOLE), saturation_policy=optional(TEXT),
        heartbeat_age_seconds=NUMBER),
    'ServiceChanged': record(('services',), service=named('Service'),
                             services=listed(named('Service'))),
    'Limits': record(limits=OBJECT),
    'Image': record(
        uuid=UUID, links=LINKS, repo=TEXT, tag=TEXT, image_id=optional(TEXT),
        digest=optional(TEXT), size=optional(TEXT), host=optional(TEXT), bay_uuid=UUID,
        project_id=TEXT, user_id=optional(TEXT), image_pull_policy=optional(TEXT),
        registry_id=optional(UUID), local=BOOLEAN, status={'enum': sorted(images.STATUSES)},
        status_reason=optional(TEXT), progress=optional(OBJECT), created_at=TIME,
        updated_at=TIME),
    'Registry': _REGISTRY,
    'Host': record(
        uuid=UUID, hostname=TEXT, mem_total=WHOLE, mem_used=WHOLE, cpus=WHOLE, cpu_used=NUMBER,
        disk_total=WHOLE, disk_used=WHOLE, disk_quota_supported=BOOLEAN, total_containers=WHOLE,
        architecture=optional(TEXT), os_type=optional(TEXT), os=optional(TEXT),
        kernel_version=optional(TEXT), labels=TEXT_MAP, runtimes=TEXTS,
        enable_cpu_pinning=BOOLEAN, availability_zone=TEXT, engine_version=optional(TEXT),
        health_status=TEXT, links=LINKS),
    'AvailabilityZone': record(availability_zone=TEXT),
    'Quota': record(
        containers=WHOLE, cpu=WHOLE, memory=WHOLE, disk=WHOLE, actions=WHOLE),
    'QuotaOrUsages': {'anyOf': [named('Quota'), record(
        containers=_USAGE, cpu=_USAGE, memory=_USAGE, disk=_USAGE, actions=_USAGE)]},
    'WrappedRegistry': record(registry=named('Registry')),
    'Logs': record(output=TEXT, cursor=optional(TEXT)),
    'Execute': record(output=TEXT, exit_code=WHOLE, truncated=BOOLEAN),
    'Top': record(titles=TEXTS, processes=listed(TEXTS)),
    'Stats': record(
        read_at=optional(TEXT), cpu_percent=optional(NUMBER), cpus=optional(WHOLE),
        memory_bytes=optional(WHOLE), memory_limit_bytes=optional(WHOLE),
        memory_percent=optional(NUMBER), block_read_bytes=WHOLE, block_written_bytes=WHOLE,
        network_received_bytes=WHOLE, network_sent_bytes=WHOLE, processes=optional(WHOLE)),
    'Inspect': OBJECT,
    'Get_archive': record(data={'type': 'string', 'contentEncoding': 'base64'}, stat=record(
        name=TEXT, size=WHOLE, mode=WHOLE, mtime=TEXT, linkTarget=optional(TEXT))),
    'Resize': record(w=WHOLE, h=WHOLE),
    'Execute_resize': record(w=WHOLE, h=WHOLE),
    'Network_list': record(networks=listed(record(network=TEXT, addresses=listed(OBJECT)))),
    'Wait': named('Container'),
    'Errors': record(errors=listed(_ERROR)),
    'Problem': record(('hint', 'min_version', 'max_version'), type=TEXT, title=TEXT,
                      status=WHOLE, detail=TEXT, code=TEXT, request_id=optional(TEXT),
                      hint=TEXT, min_version=TEXT, max_version=TEXT),
}


def answer(returns):
    """The schema of what an endpoint returns: see ``Endpoint.returns``; None for no body."""
    if returns is None or isinstance(returns, dict):
        return returns
    if isinstance(returns, str):
        return _known(returns)
    page = {'next': optional(TEXT)} if returns.paged else {}
    return record(**{returns.key: listed(_known(returns.item))}, **page)


def _known(name):
    # An operation answers what drivers give it, which need not be told here.
    return named(name) if name in SCHEMAS else OBJECT
