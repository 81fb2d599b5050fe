# SPDX-License-Identifier: Apache-2.0
"""Statements on actions.  Callers pass a connection and decide what is legal."""

import functools

import sqlalchemy as sa

from container_service import exceptions
from container_service import states
from container_service.db import claims
from container_service.db import paging
from container_service.db import statements
from container_service.db.base import now
from container_service.db.models import action_requests
from container_service.db.models import actions as table
from container_service.db.models import bays
from container_service.db.models import conductors
from container_service.db.models import containers
from container_service.db.models import pulls

_INSERT = table.insert()

# Further request ids that are kept of an action: nobody shall fill the table by asking again.
_MOST_REQUESTS = 100


def insert(conn, values):
    conn.execute(_INSERT, values)


def _explained():
    """A query for actions with what tells why they are where they are.

    Everything joined is found by a unique key; what stands before an action is asked only for
    unfinished ones.
    """
    before = table.alias('before')
    ahead = sa.and_(before.c.resource_type == table.c.resource_type,
                    before.c.resource_uuid == table.c.resource_uuid,
                    before.c.status.in_(states.UNFINISHED),
                    before.c.sequence < table.c.sequence)
    unfinished = table.c.status.in_(states.UNFINISHED)

    def nearest(column):
        return (sa.select(column).where(ahead).order_by(before.c.sequence.desc()).limit(1)
                .scalar_subquery())

    def if_unfinished(value, name):
        return sa.case((unfinished, value), else_=None).label(name)

    position = sa.select(sa.func.count()).select_from(before).where(ahead).scalar_subquery()
    return sa.select(
        table, now().label('db_now'),
        if_unfinished(position, 'position'),
        if_unfinished(nearest(before.c.uuid), 'behind_uuid'),
        if_unfinished(nearest(before.c.operation), 'behind_operation'),
        containers.c.runnable_at,
        conductors.c.heartbeat_at, conductors.c.lease_until,
        conductors.c.state.label('conductor_state'),
        bays.c.health_status, bays.c.health_status_reason, bays.c.name.label('bay_name'),
        pulls.c.status.label('pull_status'), pulls.c.progress.label('pull_progress'),
        pulls.c.image.label('pull_image'),
    ).select_from(
        table
        .outerjoin(containers, containers.c.uuid == table.c.resource_uuid)
        .outerjoin(conductors, conductors.c.uuid == table.c.conductor_uuid)
        .outerjoin(bays, bays.c.uuid == table.c.bay_uuid)
        .outerjoin(pulls, pulls.c.uuid == table.c.pull_uuid))


def get(conn, uuid, project_id):
    """One action, explained.  Raises ActionNotFound; a None project finds any project's."""
    query = _explained().where(table.c.uuid == uuid)
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    row = conn.execute(query).first()
    if row is None:
        raise exceptions.ActionNotFound(action=uuid)
    return row


def get_all(conn, uuids, project_id):
    """Several actions, explained, in the order asked for.  Raises ActionNotFound."""
    query = _explained().where(table.c.uuid.in_(uuids))
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    found = {row.uuid: row for row in conn.execute(query)}
    for uuid in uuids:
        if uuid not in found:
            raise exceptions.ActionNotFound(action=uuid)
    return [found[uuid] for uuid in uuids]


def find(conn, *where):
    return conn.execute(sa.select(table).where(*where)).first()


def update(conn, uuid, values, *where):
    """Change an action; returns whether it matched."""
    return statements.update(conn, table, uuid, values, where)


def update_all(conn, uuids, values):
    conn.execute(table.update().where(table.c.uuid.in_(uuids)).values(**values))


def fold(conn, action, request_id):
    """Count an equal request into a queued action, and remember its id."""
    update(conn, action.uuid, {'coalesced': table.c.coalesced + 1})
    add_request(conn, action.uuid, request_id)


def add_request(conn, action_uuid, request_id):
    """Let a further request id lead to an action, unless so many do already."""
    known = sa.select(sa.func.count()).select_from(action_requests).where(
        action_requests.c.action_uuid == action_uuid)
    if conn.execute(known).scalar_one() < _MOST_REQUESTS:
        conn.execute(action_requests.insert().values(
            action_uuid=action_uuid, request_id=request_id, created_at=now()))


def requests_of(conn, action):
    """All request ids that were answered with this action, the first one first."""
    further = conn.execute(
        sa.select(action_requests.c.request_id)
        .where(action_requests.c.action_uuid == action.uuid)
        .order_by(action_requests.c.id).limit(_MOST_REQUESTS)).scalars().all()
    return [action.request_id, *further]


def asked_by(request_id):
    """Where clause: the action that a request was answered with."""
    return sa.or_(table.c.request_id == request_id, folded(request_id))


def folded(request_id):
    """Where clause: the action of an earlier request that a request was answered with."""
    return table.c.uuid.in_(sa.select(action_requests.c.action_uuid)
                            .where(action_requests.c.request_id == request_id))


def of_claim(claim_uuid):
    """Where clause: the action is running under this claim."""
    return sa.and_(table.c.claim_uuid == claim_uuid, table.c.status.in_(states.CLAIMED))


def unfinished(conn, resource_type, resource_uuid, limit=None):
    """The unfinished actions of one queue, oldest first."""
    return conn.execute(_unfinished(limit), {
        'resource_type': resource_type, 'resource_uuid': resource_uuid}).all()


@functools.cache
def _unfinished(limit):
    query = (sa.select(table)
             .where(table.c.resource_type == sa.bindparam('resource_type'),
                    table.c.resource_uuid == sa.bindparam('resource_uuid'),
                    table.c.status.in_(states.UNFINISHED))
             .order_by(table.c.sequence))
    return query.limit(limit) if limit else query


def listing(conn, *, project_id=None, filters=None, page=None):
    """One page of actions, explained.  A filter with a list of values matches any of them."""
    visible = [] if project_id is None else [table.c.project_id == project_id]
    query = _explained().where(*visible)
    for name, value in (filters or {}).items():
        if name == 'request_id':
            query = query.where(asked_by(value))
            continue
        column = table.c[name]
        query = query.where(column.in_(value) if isinstance(value, (list, tuple, set, frozenset))
                            else column == value)
    return paging.fetch(conn, table, query, page, visible)


def final(conn, uuids):
    """Those of the actions that have ended, as {uuid: status}.  One query for many waiters."""
    rows = conn.execute(sa.select(table.c.uuid, table.c.status).where(
        table.c.uuid.in_(uuids), table.c.status.in_(states.FINAL)))
    return {row.uuid: row.status for row in rows}


abandoned = functools.partial(claims.abandoned, table)
holds = functools.partial(claims.holds, table)
cancelling = functools.partial(claims.cancelling, table)
of_conductor = functools.partial(claims.of_conductor, table)


_OVERDUE = sa.select(table).where(
    table.c.status == states.QUEUED, table.c.timeout_seconds.is_not(None),
    table.c.deadline_at <= now()).limit(100)


def overdue(conn):
    """Queued actions whose own time limit is over."""
    return conn.execute(_OVERDUE).all()


def may_have_done(conn, container_uuid, operations, seconds):
    """Whether one of these operations may have its effect about now.

    One that runs, or ended so many seconds ago without success, and any signal: what it leads to
    comes later.  Others have recorded their effect when they succeed.
    """
    return conn.execute(sa.select(table.c.id).where(
        table.c.resource_uuid == container_uuid, table.c.operation.in_(operations),
        table.c.started_at.is_not(None),
        sa.or_(table.c.finished_at.is_(None), sa.and_(
            table.c.finished_at > now(-seconds),
            sa.or_(table.c.status != states.SUCCEEDED, table.c.operation == 'kill')))
    ).limit(1)).first() is not None


def has_run(conn, container_uuid, operations, seconds):
    """Whether one of these operations runs, or has ended in so many seconds."""
    return conn.execute(sa.select(table.c.id).where(
        table.c.resource_uuid == container_uuid, table.c.operation.in_(operations),
        table.c.started_at.is_not(None),
        sa.or_(table.c.finished_at.is_(None), table.c.finished_at > now(-seconds))
    ).limit(1)).first() is not None


def last_end(conn, container_uuid, operation):
    """When an action of this operation has last ended, in whatever way; None: never."""
    return conn.execute(sa.select(sa.func.max(table.c.finished_at)).where(
        table.c.resource_uuid == container_uuid, table.c.operation == operation)).scalar_one()


def creation(conn, container_uuid, operations):
    """The action that was to make a container; None when it is forgotten."""
    return conn.execute(sa.select(table).where(
        table.c.resource_uuid == container_uuid, table.c.operation.in_(operations))
        .order_by(table.c.sequence).limit(1)).first()


def unfinished_by_project(conn):
    """{project: number of unfinished actions}."""
    rows = conn.execute(
        sa.select(table.c.project_id, sa.func.count())
        .where(table.c.status.in_(states.UNFINISHED)).group_by(table.c.project_id))
    return {project: count for project, count in rows}


def unfinished_of_project(conn, project_id):
    """The number of unfinished actions of a project."""
    return conn.execute(
        sa.select(sa.func.count()).select_from(table)
        .where(table.c.status.in_(states.UNFINISHED), table.c.project_id == project_id)
    ).scalar_one()


def finished_lately(conn, seconds):
    """How many actions have ended in the last so many seconds."""
    return conn.execute(sa.select(sa.func.count()).select_from(table)
                        .where(table.c.finished_at > now(-seconds))).scalar_one()


def purge(conn, seconds, limit=1000):
    """Forget actions that ended longer ago than that, with their request ids."""
    old = conn.execute(sa.select(table.c.uuid).where(
        table.c.finished_at < now(-seconds)).limit(limit)).scalars().all()
    if old:
        conn.execute(action_requests.delete().where(action_requests.c.action_uuid.in_(old)))
        conn.execute(table.delete().where(table.c.uuid.in_(old)))
    return len(old)
