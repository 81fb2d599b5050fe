# SPDX-License-Identifier: Apache-2.0
"""Statements on quotas: limits of projects, and of the classes that say the rest."""

import sqlalchemy as sa

from container_service.db.models import quota_classes as classes
from container_service.db.models import quotas as table

DEFAULT = 'default'


def of_class(conn, name):
    """The limits of a class, as {resource: limit}."""
    return _limits(conn, sa.select(classes.c.resource, classes.c.hard_limit).where(
        classes.c.class_name == name))


def of_project(conn, project_id, lock=False):
    """The limits that a project has of its own.

    With ``lock`` others who do so wait until the transaction ends, if the project has a row.
    """
    query = sa.select(table.c.resource, table.c.hard_limit).where(
        table.c.project_id == project_id)
    return _limits(conn, query.with_for_update() if lock else query)


def _limits(conn, query):
    return {row.resource: row.hard_limit for row in conn.execute(query)
            if row.hard_limit is not None}


def of_resource(conn, resource):
    """The limits of projects of their own, as {project: limit}."""
    return {row.project_id: row.hard_limit for row in conn.execute(
        sa.select(table.c.project_id, table.c.hard_limit).where(
            table.c.resource == resource, table.c.hard_limit.is_not(None)))}


def limited_projects(conn):
    """Whoever has a row, as {project: whether it has a limit of its own}."""
    return {row.project_id: bool(row.limits) for row in conn.execute(
        sa.select(table.c.project_id, sa.func.count(table.c.hard_limit).label('limits'))
        .group_by(table.c.project_id))}


def insert(conn, project_id, resource):
    """Add a row without a limit.  Raises oslo.db's DBDuplicateEntry."""
    conn.execute(table.insert().values(project_id=project_id, resource=resource))


def put(conn, project_id, limits):
    _put(conn, table, {'project_id': project_id}, limits)


def put_class(conn, name, limits):
    _put(conn, classes, {'class_name': name}, limits)


def _put(conn, table, whose, limits):
    where = [table.c[name] == value for name, value in whose.items()]
    for resource, limit in limits.items():
        changed = conn.execute(table.update().where(*where, table.c.resource == resource)
                               .values(hard_limit=limit)).rowcount
        # MySQL counts what has changed, not what was found.
        if not changed and conn.execute(sa.select(table.c.id).where(
                *where, table.c.resource == resource)).first() is None:
            conn.execute(table.insert().values(resource=resource, hard_limit=limit, **whose))


def clear(conn, project_id):
    """Take all limits from a project, and leave its rows: they are what is locked."""
    conn.execute(table.update().where(table.c.project_id == project_id).values(hard_limit=None))
