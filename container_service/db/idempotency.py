# SPDX-License-Identifier: Apache-2.0
"""Statements on idempotency keys: which request of a project used a key, and what it got."""

import sqlalchemy as sa

from container_service import exceptions
from container_service.db.base import now
from container_service.db.models import idempotency_keys as table

KEEP_SECONDS = 24 * 3600


def insert(conn, context, terms, resource_uuid, resource_type='action'):
    """Take the key for this request, if it has one; part of the transaction that accepts it.

    oslo.db's DBDuplicateEntry means that the key was used before.
    """
    if terms.key is not None and not terms.dry_run:
        conn.execute(table.insert().values(
            project_id=context.project_id, key=terms.key, fingerprint=terms.fingerprint,
            resource_type=resource_type, resource_uuid=resource_uuid, created_at=now()))


def earlier(conn, project_id, terms):
    """What an earlier request with the same key got; None when there was none.

    Raises IdempotencyMismatch when that was another request.
    """
    if terms.key is None or terms.dry_run:
        return None
    row = conn.execute(sa.select(table).where(
        table.c.project_id == project_id, table.c.key == terms.key)).first()
    if row is not None and row.fingerprint != terms.fingerprint:
        raise exceptions.IdempotencyMismatch(key=terms.key)
    return row


def made(conn, project_id, terms, find):
    """What an earlier request with the same key made, as ``find`` has it; None as ``earlier``.

    Raises IdempotencyMismatch, and MadeAndGone when it is not there any more.
    """
    row = earlier(conn, project_id, terms)
    if row is None:
        return None
    found = find(conn, row.resource_uuid)
    if found is None:
        raise exceptions.MadeAndGone(
            key=terms.key, kind=row.resource_type, uuid=row.resource_uuid)
    return found


def purge(conn):
    """Forget keys that are older than they are promised to be kept."""
    conn.execute(table.delete().where(table.c.created_at < now(-KEEP_SECONDS)))
