# SPDX-License-Identifier: Apache-2.0
"""Statements on registries.  Passwords are in there as ``secrets.py`` encrypts them."""

import sqlalchemy as sa

from container_service import exceptions
from container_service import references
from container_service import states
from container_service.db import containers
from container_service.db import idents
from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import pulls
from container_service.db.models import registries as table

SORT_KEYS = ('id', 'uuid', 'name', 'domain', 'created_at')


def _select(ident, project_id):
    query = sa.select(table).where(
        (table.c.uuid if idents.is_uuid(ident) else table.c.name) == ident)
    return query if project_id is None else query.where(table.c.project_id == project_id)


def get(conn, ident, project_id, lock=False):
    """The registry of a project with that uuid or name.  Raises RegistryNotFound.

    Without a project (an administrator asking for all of them) only a uuid finds it.
    """
    row = None
    if project_id is not None or idents.is_uuid(ident):
        query = _select(ident, project_id)
        row = conn.execute(query.with_for_update() if lock else query).first()
    if row is None:
        raise exceptions.RegistryNotFound(registry=ident)
    return row


def find(conn, uuid):
    return conn.execute(sa.select(table).where(table.c.uuid == uuid)).first()


def named(conn, project_id, ident, image, field='image'):
    """The uuid of the registry that a request names for an image, and the image's reference.

    An image that names no registry is taken from this one.  Kept from being deleted until the
    transaction ends.  Raises RegistryNotFound, and InvalidParameter, which names ``field`` for
    what is wrong with the image.
    """
    row = _hold(conn, ident, project_id)
    try:
        found = references.parse(image, row.domain)
    except ValueError as exc:
        raise exceptions.InvalidParameter(name=field, reason=str(exc)) from None
    if found.domain.lower() != row.domain:
        # Else the credentials for one registry would be sent to another one.
        raise exceptions.InvalidParameter(
            name='registry', reason=f'is for {row.domain}, and the image {image} is not from '
                                    f'there')
    return row.uuid, str(found)


def _hold(conn, ident, project_id):
    """As ``get``, and keep it from being deleted until the transaction ends."""
    row = conn.execute(_select(ident, project_id).with_for_update(read=True)).first()
    if row is None:
        raise exceptions.RegistryNotFound(registry=ident)
    return row


def only(conn, project_id, domain):
    """The one registry that a project has with that domain; None when it has none or several."""
    rows = conn.execute(sa.select(table).where(
        table.c.project_id == project_id, table.c.domain == domain.lower())
        .limit(2).with_for_update(read=True)).all()
    return rows[0] if len(rows) == 1 else None


def of_image(conn, project_id, reference, named_uuid=None):
    """The uuid of the registry with whose credentials a project pulls an image; or None.

    That is the one that was named for it, or the only one that it has for that domain.
    """
    named = find(conn, named_uuid) if named_uuid else None
    # What was named for one image says nothing of another one.
    if named is None or named.domain != reference.domain.lower():
        named = only(conn, project_id, reference.domain)
    return named and named.uuid


def listing(conn, *, project_id=None, filters=None, page=None):
    visible = [] if project_id is None else [table.c.project_id == project_id]
    query = sa.select(table).where(*visible)
    for name, value in (filters or {}).items():
        query = query.where(table.c[name] == value)
    return paging.fetch(conn, table, query, page, visible)


def insert(conn, values):
    conn.execute(table.insert().values(created_at=now(), updated_at=now(), **values))


def update(conn, uuid, values, *where):
    return conn.execute(table.update().where(table.c.uuid == uuid, *where).values(
        {'updated_at': now(), **values})).rowcount == 1


def delete(conn, uuid):
    conn.execute(table.delete().where(table.c.uuid == uuid))


def used_by(conn, row):
    """Words for what uses a registry: a live container, or a pull; None when nothing does."""
    c = containers.table.c
    name = conn.execute(sa.select(c.name).where(
        c.project_id == row.project_id, c.registry_uuid == row.uuid, containers.IN_USE)
        .limit(1)).scalar()
    if name is not None:
        return f'container {name}'
    image = conn.execute(sa.select(pulls.c.image).where(
        pulls.c.registry_uuid == row.uuid, pulls.c.status.in_(states.UNFINISHED))
        .limit(1)).scalar()
    return image and f'the pull of {image}'
