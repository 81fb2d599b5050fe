# SPDX-License-Identifier: Apache-2.0
"""Facts about this installation."""

import sqlalchemy as sa

from container_service import exceptions
from container_service.db import outages
from container_service.db.models import settings as table

DEPLOYMENT = 'deployment'


def deployment(db):
    """The random uuid that marks what is ours on an engine.

    Made by the first migration.  Raises DatabaseUnavailable when that has not been run.
    """
    try:
        with db.read() as conn:
            return conn.execute(
                sa.select(table.c.value).where(table.c.name == DEPLOYMENT)).scalar_one()
    except sa.exc.NoResultFound as exc:
        raise exceptions.DatabaseUnavailable(outages.NO_SCHEMA) from exc
