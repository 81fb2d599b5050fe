# SPDX-License-Identifier: Apache-2.0
"""Run by Alembic; the connection comes from ``container_service.db.migration``."""

from alembic import context

from container_service.db import models

context.configure(connection=context.config.attributes['connection'],
                  target_metadata=models.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
