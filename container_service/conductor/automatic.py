# SPDX-License-Identifier: Apache-2.0
"""What containers have asked to be done with them once something has happened.

``auto_remove``: deleted once the exit is recorded.  ``auto_heal``: made again when it is gone
from its engine.  Neither is done here: an action is accepted on behalf of the owner, in the same
order and with the same history as if the owner had asked.  Called by ``observer.py`` after it has
looked; asked twice for the same it does it once.
"""

from oslo_log import log
import sqlalchemy as sa

from container_service import context
from container_service import exceptions
from container_service import lifecycle
from container_service import operations
from container_service import states
from container_service.conductor import outside
from container_service.db import actions
from container_service.db import containers
from container_service.db.base import now

LOG = log.getLogger(__name__)

ENDED = (states.STOPPED, states.DEAD)

_KILLED = 137                  # the exit code of what got SIGKILL
_ENDING = ('stop', 'kill', 'reboot')
_AT_ONCE_SECONDS = 30          # clocks of engine and database may differ


class Automatic:
    """``wake(container_uuid)`` is told of a container that has something to do."""

    def __init__(self, db, wake):
        self._db = db
        self._wake = wake

    def remove_ended(self, uuid):
        """Have a container with auto_remove deleted if its main process has run and ended.

        What has not helped is asked for again when as much time has passed again.
        """
        with self._db.read() as conn:
            row = containers.by_uuid(conn, uuid)
            if not (row is not None and row.spec.get('auto_remove') and row.status in ENDED
                    and row.started_at is not None):
                return
            time = conn.execute(sa.select(now())).scalar_one()
            tried = actions.last_end(conn, uuid, 'delete')
        ended = row.finished_at or row.started_at
        if tried is None or time - tried >= tried - ended:
            self._ask(row, 'delete')

    def heal(self, row):
        """Have a container with auto_heal made again; returns whether that was accepted."""
        if not row.spec.get('auto_heal') or not self._ask(row, 'rebuild'):
            return False
        if self._was_killed(row):
            self._ask(row, 'start', behind=True)
        return True

    def _was_killed(self, row):
        """Whether it was running until somebody removed it by force, which kills it first.

        Its end may have been seen before it was gone.
        """
        if row.exit_code != _KILLED or row.finished_at is None:
            return False
        with self._db.read() as conn:
            time = conn.execute(sa.select(now())).scalar_one()
            ours = actions.has_run(conn, row.uuid, _ENDING, outside.LATELY)
        return not ours and abs((time - row.finished_at).total_seconds()) < _AT_ONCE_SECONDS

    def heal_lost(self, uuid):
        """As ``heal``, for one that could not be made again in the status it was in."""
        with self._db.read() as conn:
            row = containers.by_uuid(conn, uuid)
        if row is not None and row.engine_id is not None:
            self.heal(row)

    def _ask(self, row, operation, behind=False):
        op = operations.OPERATIONS[operation]
        params = {param.name: param.default for param in op.params}
        owner = context.RequestContext(
            user_id=row.user_id, project_id=row.project_id, overwrite=False)
        terms = lifecycle.Terms(if_busy=operations.QUEUE if behind else operations.REJECT)
        try:
            lifecycle.submit(owner, self._db, op, row.uuid, params, terms,
                             fence=None if behind else row.fence)
        except (exceptions.Conflict, exceptions.NotFound, exceptions.Fenced) as exc:
            # Somebody was faster, and has something else in mind with it.
            LOG.info('Container %s is left as it is: %s', row.uuid, exc)
            return False
        LOG.info('Container %s: %s on behalf of its owner', row.uuid, operation)
        self._wake(row.uuid)
        return True
