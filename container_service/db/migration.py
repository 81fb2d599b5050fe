# SPDX-License-Identifier: Apache-2.0
"""The schema of the database: bring it up to date, say what it is."""

import os

from alembic import command
from alembic import config
from alembic.runtime import migration
from alembic.script import ScriptDirectory


def _config(conn=None):
    made = config.Config()
    made.set_main_option('script_location', os.path.join(os.path.dirname(__file__), 'migrations'))
    made.attributes['connection'] = conn
    return made


def sync(db, revision='head'):
    """Bring the schema to ``revision``.  Does nothing when it is there.

    Raises DatabaseUnavailable.
    """
    with db.read() as conn:
        command.upgrade(_config(conn), revision)
        conn.commit()


def current(db):
    """The revision of the schema, None when there is none."""
    with db.read() as conn:
        return migration.MigrationContext.configure(conn).get_current_revision()


def newest():
    """The revision that this version of the program was made for."""
    return ScriptDirectory.from_config(_config()).get_current_head()
