# SPDX-License-Identifier: Apache-2.0
"""Statements on containers.  Callers pass a connection and decide what is legal."""

import functools

import sqlalchemy as sa

from container_service import exceptions
from container_service import states
from container_service.db import idents
from container_service.db import paging
from container_service.db import statements
from container_service.db.base import now
from container_service.db.models import bays
from container_service.db.models import container_labels
from container_service.db.models import containers as table
from container_service.db.models import Time

SORT_KEYS = ('id', 'uuid', 'name', 'image', 'status', 'created_at')


AMOUNTS = ('cpu', 'memory_bytes', 'disk')

_INSERT = table.insert()
_INSERT_LABELS = container_labels.insert()


@functools.cache
def _find(by_uuid, in_project, lock):
    """A query for a live container by uuid or name, in one project or any."""
    # One column or the other, never both in an OR: a database that answers that with a scan
    # would lock, or wait for, rows of others.
    column = table.c.uuid if by_uuid else table.c.live_name
    query = sa.select(table, now().label('db_now')).where(
        column == sa.bindparam('ident'), table.c.deleted_at.is_(None))
    if in_project:
        query = query.where(table.c.project_id == sa.bindparam('project'))
    return query.with_for_update() if lock else _with_bay(query)


def _with_bay(query):
    """Add the name of its bay."""
    return (query.add_columns(bays.c.name.label('bay_name'))
            .outerjoin_from(table, bays, bays.c.uuid == table.c.bay_uuid))


def _found(conn, ident, project_id, lock):
    by_uuid, in_project = idents.is_uuid(ident), project_id is not None
    row = None
    if by_uuid or in_project:
        row = conn.execute(_find(by_uuid, in_project, lock),
                           {'ident': ident, 'project': project_id}
                           if in_project else {'ident': ident}).first()
    if row is None:
        raise exceptions.ContainerNotFound(container=ident)
    return row


def get(conn, ident, project_id):
    """The live container with that uuid or name in the project.

    Without a project (an administrator asking for all of them) only a uuid finds it, since
    names are unique in a project only.  Raises ContainerNotFound.
    """
    return _found(conn, ident, project_id, False)


def lock(conn, ident, project_id):
    """As ``get``, and hold the row until the transaction ends; ``db_now`` is the time."""
    return _found(conn, ident, project_id, True)


def name_is_taken(conn, row, name):
    """Whether another live container of its project has a name."""
    return conn.execute(sa.select(table.c.id).where(
        table.c.project_id == row.project_id, table.c.live_name == name,
        table.c.uuid != row.uuid)).first() is not None


_LOCK_UUID = sa.select(table, now().label('db_now')).where(
    table.c.uuid == sa.bindparam('ident')).with_for_update()


def lock_uuid(conn, uuid):
    """Lock by uuid, deleted or not; None when there is none.  ``db_now`` is the time."""
    return conn.execute(_LOCK_UUID, {'ident': uuid}).first()


def by_uuid(conn, uuid):
    """The container, deleted or not; None when there is none."""
    return conn.execute(_with_bay(sa.select(table).where(table.c.uuid == uuid))).first()


def insert(conn, values):
    conn.execute(_INSERT, {**values, **_amounts(values)})
    labels = values['spec'].get('labels')
    if labels:
        conn.execute(_INSERT_LABELS, [
            {'container_uuid': values['uuid'], 'name': name, 'value': value}
            for name, value in labels.items()])


def update(conn, uuid, values, *where):
    """Change a container; returns whether it matched.

    Amounts follow from a spec among the values unless they are named themselves.
    """
    return statements.update(
        conn, table, uuid, {'updated_at': now(), **_amounts(values), **values}, where)


def _amounts(values):
    """What a spec among the values says of amounts, for the columns that are summed up."""
    return {name: values['spec'].get(name) for name in AMOUNTS} if 'spec' in values else {}


def used(conn, project_id=None, defaults=None):
    """What live containers have, by project and bay: their number, and sums of AMOUNTS.

    ``defaults``, by name, count for containers that say nothing.
    """
    defaults = defaults or {}
    query = sa.select(
        table.c.project_id, table.c.bay_uuid, sa.func.count().label('containers'),
        *(sa.func.sum(sa.func.coalesce(table.c[name], defaults.get(name, 0))).label(name)
          for name in AMOUNTS)
    ).where(table.c.deleted_at.is_(None)).group_by(table.c.project_id, table.c.bay_uuid)
    if project_id is not None:
        query = query.where(table.c.project_id == project_id)
    return conn.execute(query).all()


def listing(conn, *, project_id=None, filters=None, labels=(), options=None, page=None):
    """One page of live containers.

    ``labels`` is pairs of (name, value or None for any); ``options`` are create options, memory
    in bytes.
    """
    visible = [] if project_id is None else [table.c.project_id == project_id]
    query = _with_bay(sa.select(table).where(table.c.deleted_at.is_(None), *visible))
    for name, value in (filters or {}).items():
        query = query.where((bays.c.name if name == 'bay_name' else table.c[name]) == value)
    for name, value in (options or {}).items():
        query = query.where(has_option(name, value))
    for name, value in labels:
        match = sa.exists().where(
            container_labels.c.container_uuid == table.c.uuid, container_labels.c.name == name)
        if value is not None:
            match = match.where(container_labels.c.value == value)
        query = query.where(match)
    return paging.fetch(conn, table, query, page, visible)


def has_option(name, value):
    """Whether a create option has that value."""
    if value is False:                 # what is not asked for is not there
        return sa.not_(statements.has_entry(table.c.spec, name, True))
    return statements.has_entry(
        table.c.spec, 'memory_bytes' if name == 'memory' else name, value)


def runnable(conn, bay_uuids, limit, leave_out=(), project_id=None, urgent_only=False):
    """Uuids of containers whose oldest action may be claimed now, longest waiting first."""
    # What is left out is left out here: most of it is running, and does not come at all.
    params = {'bays': list(bay_uuids), 'most': limit + len(leave_out)}
    if project_id is not None:
        params['project'] = project_id
    found = conn.execute(_runnable(project_id is not None, urgent_only), params).scalars()
    return [uuid for uuid in found if uuid not in leave_out][:limit]


@functools.cache
def _runnable(in_project, urgent_only):
    query = (sa.select(table.c.uuid)
             .where(table.c.runnable_at <= now(), _ON_BAYS)
             .order_by(table.c.runnable_at).limit(sa.bindparam('most', type_=sa.Integer)))
    if in_project:
        query = query.where(table.c.project_id == sa.bindparam('project'))
    return query.where(table.c.head_urgent == 1) if urgent_only else query


# Live ones, but for those that were never made and on which nothing is to be done.
IN_USE = sa.and_(table.c.deleted_at.is_(None), sa.or_(
    table.c.engine_id.is_not(None), table.c.task_state.is_not(None)))

_ON_BAYS = table.c.bay_uuid.in_(sa.bindparam('bays', expanding=True))

_COUNT_RUNNABLE = sa.select(sa.func.count()).select_from(
    sa.select(table.c.id).where(table.c.runnable_at <= now(), _ON_BAYS)
    .limit(sa.bindparam('most', type_=sa.Integer)).subquery())


def count_runnable(conn, bay_uuids, most):
    """How many containers have an action that may be claimed now, counted up to ``most``."""
    return conn.execute(_COUNT_RUNNABLE, {'bays': list(bay_uuids), 'most': most}).scalar_one()


_PROJECTS_WAITING = sa.select(table.c.project_id).distinct().where(
    table.c.runnable_at <= now(), _ON_BAYS)


def projects_waiting(conn, bay_uuids):
    """The projects that have a container whose oldest action may be claimed now."""
    return set(conn.execute(_PROJECTS_WAITING, {'bays': list(bay_uuids)}).scalars())


_COMPARED = sa.select(
    table.c.id, table.c.uuid, table.c.generation, table.c.status, table.c.health,
    table.c.exit_code, table.c.task_state, table.c.engine_id,
    has_option('auto_remove', True).label('auto_remove')
).where(table.c.bay_uuid == sa.bindparam('bay'), table.c.deleted_at.is_(None),
        table.c.id > sa.bindparam('after')).order_by(table.c.id).limit(
            sa.bindparam('most', type_=sa.Integer))

_COMPARED_CHANGED = _COMPARED.where(table.c.updated_at > sa.bindparam('since', type_=Time))


def compared(conn, bay_uuid, since=None, page=500):
    """Yield what full passes compare of the live containers of a bay, in pages.

    With ``since`` only of those that have changed after that time of the database.
    """
    query = _COMPARED if since is None else _COMPARED_CHANGED
    params = {'bay': bay_uuid, 'most': page, 'after': 0}
    if since is not None:
        params['since'] = since
    while rows := conn.execute(query, params).all():
        yield from rows
        if len(rows) < page:
            return
        params['after'] = rows[-1].id


_OF_UUIDS = sa.select(table).where(table.c.uuid.in_(sa.bindparam('uuids', expanding=True)))


def of_uuids(conn, uuids):
    """The containers with these uuids, deleted or not, by uuid."""
    return {row.uuid: row for row in conn.execute(_OF_UUIDS, {'uuids': list(uuids)})}


def is_at_rest(row):
    """Whether its main process does not run, and nothing is under way that may start it."""
    return row.status in states.AT_REST and row.task_state is None


def at_rest(conn, uuids):
    """Those of the containers that are at rest, as {uuid: status}.  One query for many waiters."""
    rows = conn.execute(sa.select(table.c.uuid, table.c.status).where(
        table.c.uuid.in_(uuids), table.c.status.in_(states.AT_REST),
        table.c.task_state.is_(None)))
    return {row.uuid: row.status for row in rows}


def count_on_bay(conn, bay_uuid):
    return conn.execute(
        sa.select(sa.func.count()).select_from(table)
        .where(table.c.bay_uuid == bay_uuid, table.c.deleted_at.is_(None))).scalar_one()


# How long a bay must have been looked at without a gap until what was deleted on it is forgotten.
_STEADY_SECONDS = 3600


def purge(conn, seconds, limit=1000):
    """Forget containers that were deleted longer ago than that.

    Not those of a bay that cannot be looked at, or could not lately: a create that its engine
    carries out only when it answers again must find that its container was deleted.
    """
    unsteady = sa.exists().where(bays.c.uuid == table.c.bay_uuid, sa.or_(
        bays.c.steady_since.is_(None), bays.c.steady_since > now(-_STEADY_SECONDS)))
    old = conn.execute(sa.select(table.c.uuid).where(
        table.c.deleted_at < now(-seconds), ~unsteady).limit(limit)).scalars().all()
    if old:
        conn.execute(container_labels.delete().where(container_labels.c.container_uuid.in_(old)))
        conn.execute(table.delete().where(table.c.uuid.in_(old)))
    return len(old)
