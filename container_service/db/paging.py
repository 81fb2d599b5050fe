# SPDX-License-Identifier: Apache-2.0
"""Lists by key, not by offset: page 1000 costs what page 1 costs."""

import dataclasses

import sqlalchemy as sa

from container_service import exceptions


@dataclasses.dataclass(frozen=True)
class Page:
    """Which part of a list.  ``marker`` is the uuid of the last item of the page before."""
    limit: int
    marker: str = None
    sort_key: str = 'id'
    descending: bool = False


def fetch(conn, table, query, page, visible):
    """Run ``query`` for one page.  Returns (rows, whether there are more).

    ``visible`` are the conditions under which the caller may see an item at all: the marker must
    meet those, so that a foreign one is unknown, but not the filters, so that paging goes on
    when the last item of a page has changed or gone meanwhile.  Raises InvalidParameter for an
    unknown marker.
    """
    key = _sortable(table.c[page.sort_key])
    if page.marker is not None:
        after = conn.execute(sa.select(key, table.c.id).where(
            table.c.uuid == page.marker, *visible)).first()
        if after is None:
            raise exceptions.InvalidParameter(
                name='marker', reason=f'there is no item {page.marker} in this list')
        if page.sort_key == 'id':
            query = query.where(
                table.c.id < after.id if page.descending else table.c.id > after.id)
        else:
            here, there = sa.tuple_(key, table.c.id), tuple(after)
            query = query.where(here < there if page.descending else here > there)
    order = [key, table.c.id] if page.sort_key != 'id' else [table.c.id]
    query = query.order_by(*(c.desc() if page.descending else c.asc() for c in order))
    rows = conn.execute(query.limit(page.limit + 1)).all()
    return rows[:page.limit], len(rows) > page.limit


def _sortable(column):
    """A column whose nulls come before all else.

    They compare with nothing, so behind one the list would end, and databases differ in where
    they put them.
    """
    if not column.nullable:
        return column
    return sa.func.coalesce(column, -1 if isinstance(column.type, sa.Integer) else '')
