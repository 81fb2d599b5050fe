# SPDX-License-Identifier: Apache-2.0
"""Statements on what conductors claim, actions and pulls alike: rows with status, conductor_uuid
and claim_uuid."""

import functools

import sqlalchemy as sa

from container_service import states
from container_service.db.models import conductors


def abandoned(table, conn):
    """Running rows whose conductor was declared dead.

    With what is known of that one: when it was ``last_heard`` of, and how much it ran in all
    (``ran``).
    """
    return conn.execute(_abandoned(table)).all()


@functools.cache
def _abandoned(table):
    c = conductors.c
    return (sa.select(table, c.heartbeat_at.label('last_heard'), c.in_flight.label('ran'))
            .outerjoin(conductors, table.c.conductor_uuid == c.uuid)
            .where(table.c.status.in_(states.CLAIMED),
                   sa.or_(c.uuid.is_(None), c.state == 'gone')))


def holds(table, conn, uuid, claim_uuid):
    """Whether a row still runs under that claim."""
    return conn.execute(sa.select(table.c.id).where(
        table.c.uuid == uuid, table.c.claim_uuid == claim_uuid,
        table.c.status.in_(states.CLAIMED))).first() is not None


def cancelling(table, conn, conductor_uuid):
    """Claims of a conductor that are asked to stop."""
    return conn.execute(sa.select(table.c.claim_uuid).where(
        table.c.status == states.CANCELLING,
        table.c.conductor_uuid == conductor_uuid)).scalars().all()


def of_conductor(table, conn, conductor_uuid):
    """What SQL says that a conductor runs."""
    return conn.execute(_of_conductor(table), {'conductor': conductor_uuid}).all()


@functools.cache
def _of_conductor(table):
    return sa.select(table).where(table.c.status.in_(states.CLAIMED),
                                  table.c.conductor_uuid == sa.bindparam('conductor'))
