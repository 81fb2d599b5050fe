# SPDX-License-Identifier: Apache-2.0
"""Statements that are built once: for the hot paths building one costs more than running it.

And how to look into columns that are JSON, the same on every database.
"""

import functools
import json

import sqlalchemy as sa

from container_service.db.base import now


def update(conn, table, uuid, values, where=()):
    """Change the row of that uuid where the conditions hold; returns whether it matched."""
    if where:
        return conn.execute(table.update().where(table.c.uuid == uuid, *where)
                            .values(**values)).rowcount == 1
    shape, params = [], {'the_uuid': uuid}
    for name, value in values.items():
        is_now = isinstance(value, now) and value.is_present
        if not is_now and isinstance(value, sa.sql.ClauseElement):
            return update(conn, table, uuid, values, where=(sa.true(),))
        shape.append((name, is_now))
        if not is_now:
            params[f'new_{name}'] = value
    return conn.execute(_update(table, tuple(shape)), params).rowcount == 1


@functools.lru_cache(maxsize=256)
def _update(table, shape):
    return table.update().where(table.c.uuid == sa.bindparam('the_uuid')).values({
        name: now() if is_now else sa.bindparam(f'new_{name}') for name, is_now in shape})


def has_entry(column, name, value=None):
    """Whether the object in a JSON column has an entry of that name, with that value if given.

    It looks for the text, also in objects within the object: the caller knows that there can be
    no such entry.
    """
    key = json.dumps(name) + ':'
    entries = [key] if value is None else [f'{key}{json.dumps(value)}{end}' for end in ',}']
    text = sa.type_coerce(column, sa.Text)
    # LIKE takes small letters for capital ones on some databases.
    return sa.or_(*(sa.func.replace(text, before + entry, '') != text
                    for before in '{,' for entry in entries))
