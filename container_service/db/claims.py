# SPDX-License-Identifier: Apache-2.0
"""Statements on what conductors claim, actions and pulls alike: rows with status, conductor_uuid
and claim_uuid."""

import sqlalchemy as sa

from container_service import states
from container_service.db.base import now
from container_service.db.models import conductors


def abandoned(table, conn):
    """Running rows whose conductor has no lease any more."""
    c = conductors.c
    return conn.execute(
        sa.select(table).outerjoin(conductors, table.c.conductor_uuid == c.uuid)
        .where(table.c.status.in_(states.CLAIMED),
               sa.or_(c.uuid.is_(None), c.state == 'gone', c.lease_until <= now()))).all()


def cancelling(table, conn, conductor_uuid):
    """Claims of a conductor that are asked to stop."""
    return conn.execute(sa.select(table.c.claim_uuid).where(
        table.c.status == states.CANCELLING,
        table.c.conductor_uuid == conductor_uuid)).scalars().all()


def of_conductor(table, conn, conductor_uuid):
    """What SQL says that a conductor runs."""
    return conn.execute(sa.select(table).where(
        table.c.status.in_(states.CLAIMED),
        table.c.conductor_uuid == conductor_uuid)).all()
