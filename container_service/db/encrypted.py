# SPDX-License-Identifier: Apache-2.0
"""Every column whose values ``secrets.py`` encrypts: the one list of them.

What rotates keys, what counts who needs which, and the tests that look for secrets in plain walk
over it.  A column that is not in it is lost with the key that it was encrypted with.
"""

import dataclasses

import sqlalchemy as sa

from container_service.db import models


@dataclasses.dataclass(frozen=True)
class Column:
    """One of them.  Its table has ``id``, and null stands for nothing to be encrypted."""
    words: str                 # what is in it, for people: "3 passwords of registries"
    table: object
    name: str

    @property
    def _column(self):
        return self.table.c[self.name]

    def batch(self, conn, after, size):
        """The next rows (id, value) that have a value, in the order of their ids."""
        return conn.execute(
            sa.select(self.table.c.id, self._column.label('value'))
            .where(self.table.c.id > after, self._column.is_not(None))
            .order_by(self.table.c.id).limit(size)).all()

    def replace(self, conn, row, value):
        """Give a row the same secret encrypted otherwise; not if it was changed since."""
        return conn.execute(self.table.update().where(
            self.table.c.id == row.id, self._column == row.value)
            .values({self.name: value})).rowcount == 1


COLUMNS = (
    Column('passwords of registries', models.registries, 'password'),
    Column('secrets of containers and actions', models.confided, 'token'),
    Column('client keys of bays', models.bays, 'client_key'),
)
