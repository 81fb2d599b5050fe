# SPDX-License-Identifier: Apache-2.0
"""Statements on images: what projects have on bays, and what is done with it.

A row is one project's claim on an image that its engine has; the engine's image goes with the
last claim.  What is under way is a row of ``pulls``, whose end is told to images by ``settle``.
Lock order: container, image, pull.
"""

import dataclasses

from oslo_db import exception as db_exc
import sqlalchemy as sa

from container_service import exceptions
from container_service import references
from container_service import states
from container_service.db import containers
from container_service.db import idents
from container_service.db import paging
from container_service.db.base import now
from container_service.db.models import actions
from container_service.db.models import bays
from container_service.db.models import images as table
from container_service.db.models import pulls

PULLING = 'Pulling'
TAGGING = 'Tagging'
DELETING = 'Deleting'
AVAILABLE = 'Available'
ERROR = 'Error'                  # not there; status_reason says why
STATUSES = (PULLING, TAGGING, DELETING, AVAILABLE, ERROR)
BUSY = (PULLING, TAGGING, DELETING)

PULL, TAG, REMOVE = 'pull', 'tag', 'remove'      # operations of pulls

SORT_KEYS = ('id', 'uuid', 'repo', 'tag', 'size', 'status', 'created_at')

_SHOWN = sa.select(table, pulls.c.progress, bays.c.name.label('bay_name')).select_from(
    table.outerjoin(pulls, pulls.c.uuid == table.c.pull_uuid)
    .outerjoin(bays, bays.c.uuid == table.c.bay_uuid))


def shown(conn, ident, project_id):
    """An image of a project and how far what is done with it is.  Raises ImageUnknown."""
    row = conn.execute(_SHOWN.where(
        table.c.uuid == ident, *_visible(project_id))).first() if idents.is_uuid(ident) else None
    if row is None:
        raise exceptions.ImageUnknown(image=ident)
    return row


def lock(conn, ident, project_id):
    """As ``shown``, without that, and hold the row until the transaction ends."""
    row = conn.execute(sa.select(table).where(
        table.c.uuid == ident, *_visible(project_id)).with_for_update()
    ).first() if idents.is_uuid(ident) else None
    if row is None:
        raise exceptions.ImageUnknown(image=ident)
    return row


def _visible(project_id):
    return [] if project_id is None else [table.c.project_id == project_id]


def find(conn, uuid):
    return conn.execute(_SHOWN.where(table.c.uuid == uuid)).first()


def listing(conn, *, project_id=None, filters=None, page=None):
    visible = _visible(project_id)
    query = _SHOWN.where(*visible)
    for name, value in (filters or {}).items():
        query = query.where(table.c[name] == value)
    return paging.fetch(conn, table, query, page, visible)


def named(conn, project_id, bay_uuid, repo, tag):
    """The image that a project has under a name on a bay, locked; None when it has none."""
    return conn.execute(sa.select(table).where(
        table.c.project_id == project_id, table.c.bay_uuid == bay_uuid, table.c.repo == repo,
        table.c.tag == tag).with_for_update()).first()


def made(conn, project_id, bay_uuid, repo, tag=None):
    """The key of an image that is made on a bay under a name, and what ``named`` has for that.

    Raises NameTaken if it was pulled: its row is all that tells whose it is, if it is private.
    """
    asked = references.parse(references.join(repo, tag) if tag else repo)
    key = {'project_id': project_id, 'bay_uuid': bay_uuid, 'repo': asked.name, 'tag': asked.tag}
    row = named(conn, **key)
    if row is not None and not row.local:
        raise exceptions.NameTaken(kind='pulled image', name=asked)
    return key, row


def put(conn, row, uuid, values):
    """Change the image that was found under a name, or make it.  Returns its uuid."""
    if row is not None:
        update(conn, row.uuid, values)
        return row.uuid
    conn.execute(table.insert().values(
        {'created_at': now(), 'updated_at': now(), 'uuid': uuid, **values}))
    return uuid


def expect(conn, row, uuid, pull_uuid, registry_uuid, **key):
    """Say that an image is being pulled, ``row`` if it is known; others must see it before it
    is there, when it is private.

    One with which something else is done is left to that, unless it is deleted: the end of that
    would be the end of the row, and what is pulled would be there without one.
    """
    private = {'registry_uuid': registry_uuid} if registry_uuid else {}
    if row is None or row.status not in BUSY or row.status == DELETING:
        put(conn, row, uuid, {**key, **private, 'local': 0, 'status': PULLING,
                              'status_reason': None, 'asked_for': 0,
                              'pull_uuid': pull_uuid})
    elif private:
        update(conn, row.uuid, private)


def update(conn, uuid, values, *where):
    return conn.execute(table.update().where(table.c.uuid == uuid, *where).values(
        {'updated_at': now(), **values})).rowcount == 1


def delete(conn, uuid):
    conn.execute(table.delete().where(table.c.uuid == uuid))


def record_local(conn, uuid, *, project_id, user_id, bay_uuid, repo, tag, about):
    """Record an image that was made on a bay under ``references.local(project, repo, tag)``.

    ``about`` is what its engine says of it: image_id, digest, size.  ``uuid`` is that of a new
    row; one that has the name is changed.  Returns the uuid of the image.  Raises NameTaken.
    """
    values = {**about, 'user_id': user_id, 'local': 1, 'registry_uuid': None,
              'status': AVAILABLE, 'status_reason': None, 'pull_uuid': None}
    key, row = made(conn, project_id, bay_uuid, repo, tag)
    try:
        with conn.begin_nested():
            return put(conn, row, uuid, {**key, **values})
    except db_exc.DBDuplicateEntry:
        key, row = made(conn, project_id, bay_uuid, repo, tag)
        return put(conn, row, uuid, {**key, **values})


@dataclasses.dataclass(frozen=True)
class Wanted:
    """An image as the engine of a bay knows it for one project."""
    image: str                   # the engine's name for it
    local: bool = False          # no registry has it
    private: bool = False        # who wants it must show that he may pull it


def wanted(conn, project_id, bay_uuid, image):
    """What the engine of a bay is asked for when a project asks for an image there."""
    try:
        asked = references.parse(image)
    except ValueError:
        # Of a container that was found on the engine: only what is there can be meant.
        return Wanted(image, local=True)
    # A name that is just being given is the project's own already: a pull under it would leave no
    # row that says that what came is private.
    found = conn.execute(sa.select(table.c.local).where(
        table.c.bay_uuid == bay_uuid, table.c.repo == asked.name, sa.or_(
            table.c.registry_uuid.is_not(None),
            sa.and_(table.c.local == 1, table.c.project_id == project_id,
                    table.c.tag == asked.version, table.c.status.in_((AVAILABLE, TAGGING)))))
        .distinct()).scalars().all()
    if 1 in found:
        return Wanted(str(references.local(project_id, asked.name, asked.tag)), local=True)
    return Wanted(image, private=bool(found))


def engine_name(row):
    """What the engine calls an image."""
    if row.local:
        return str(references.local(row.project_id, row.repo, row.tag))
    return references.join(row.repo, row.tag)


def user_of(conn, row, project_id):
    """Words for what uses an image, in one project or (None) any; None when nothing does."""
    c, a = containers.table.c, actions.c
    where = [c.bay_uuid == row.bay_uuid, containers.IN_USE]
    if project_id is not None or row.local:
        where.append(c.project_id == row.project_id)
    for image, name in conn.execute(
            sa.select(c.image, sa.func.min(c.name)).where(*where).group_by(c.image)):
        if _is(row, image):
            return f'container {name}'
    unfinished = sa.select(a.uuid, a.params).join(
        containers.table, c.uuid == a.resource_uuid).where(
        a.status.in_(states.UNFINISHED), a.operation == 'rebuild', *where)
    for uuid, params in conn.execute(unfinished):
        if params.get('image') and _is(row, params['image']):
            return f'action {uuid}'
    return None


def _is(row, image):
    try:
        asked = references.parse(image)
    except ValueError:
        return False
    return (asked.name, asked.version) == (row.repo, row.tag)


def is_shared(conn, row):
    """Whether other projects have the same image of the engine, or containers of it.

    A private one only those share who have pulled it with credentials: when the last row that
    says so goes, the image must go, or it is everybody's.
    """
    if row.local:
        return False
    same = sa.select(table.c.id).where(
        table.c.bay_uuid == row.bay_uuid, table.c.repo == row.repo, table.c.tag == row.tag,
        table.c.local == 0, table.c.uuid != row.uuid).limit(1)
    if row.registry_uuid is not None:
        # Locked: of two that are deleted at the same time, neither may rely on the other.
        return conn.execute(same.where(
            table.c.status == AVAILABLE, table.c.registry_uuid.is_not(None))
            .with_for_update()).first() is not None
    others = conn.execute(same.where(table.c.status.in_((AVAILABLE, PULLING)))).first()
    return others is not None or user_of(conn, row, None) is not None


def of_bay(conn, bay_uuid, project_id):
    """Uuids of the images of a project, or (None) of all, with which nothing is done now."""
    return conn.execute(sa.select(table.c.uuid).where(
        table.c.bay_uuid == bay_uuid, table.c.status.not_in(BUSY), *_visible(project_id))
        .order_by(table.c.id)).scalars().all()


def busy(conn, bay_uuid):
    """The images of a bay with which something is done now, locked."""
    return conn.execute(sa.select(table).where(
        table.c.bay_uuid == bay_uuid, table.c.status.in_(BUSY)).order_by(table.c.id)
        .with_for_update()).all()


def settle(conn, pull_uuid):
    """Tell the images for which something was done what came of it; returns (image, code).

    The code is that of the error, None where there was none.
    """
    done = conn.execute(sa.select(pulls).where(pulls.c.uuid == pull_uuid)).first()
    if done is None or done.status not in states.FINAL:
        return []
    rows = conn.execute(sa.select(table).where(
        table.c.pull_uuid == pull_uuid, table.c.status.in_(BUSY)).order_by(table.c.id)
        .with_for_update()).all()
    for row in rows:
        if done.status == states.SUCCEEDED:
            if done.operation == REMOVE:
                delete(conn, row.uuid)
            else:
                update(conn, row.uuid, {
                    'status': AVAILABLE, 'status_reason': None,
                    'registry_uuid': done.registry_uuid, **(done.result or {})})
        elif not row.asked_for and row.image_id is None and not _may_be_there(row, done):
            delete(conn, row.uuid)       # of a container, which tells why it has no image
        else:
            reason = done.error['detail'] if done.error else 'Cancelled.'
            update(conn, row.uuid, {
                'status': ERROR if row.image_id is None else AVAILABLE, 'status_reason': reason})
    code = None
    if done.status != states.SUCCEEDED:
        code = done.error['code'] if done.error else done.status
    return [(row, code) for row in rows]


def _may_be_there(row, done):
    """Whether a private image may have come although nobody saw the end of its pull.

    Then it must still be known to be private.
    """
    said_no = done.error and done.error['code'] in ('registry_refused', 'image_not_found')
    # What was known before this pull may have come with an earlier one.
    return row.registry_uuid is not None and (
        not said_no or row.created_at < done.created_at)


def forgotten(conn):
    """Ended pulls whose images have not been told: whoever ended them died before that."""
    return conn.execute(sa.select(table.c.pull_uuid).distinct().join(
        pulls, pulls.c.uuid == table.c.pull_uuid).where(
            table.c.status.in_(BUSY), pulls.c.status.in_(states.FINAL))).scalars().all()


def forget_bay(conn, bay_uuid):
    conn.execute(table.delete().where(table.c.bay_uuid == bay_uuid))
