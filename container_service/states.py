# SPDX-License-Identifier: Apache-2.0
"""Names of the states that containers and actions are in.  Standard library only.

A container has a ``status`` (what is), and a ``task_state`` (what is under way,
``<operation>-in-progress`` or null).  An action has a ``status`` of its own.
"""

# Container status: what is.  Clients compare the exact text.
CREATING = 'Creating'        # accepted; the engine does not have it yet
CREATED = 'Created'          # on the engine, never started
RUNNING = 'Running'          # its main process runs
STOPPED = 'Stopped'          # its main process has ended
PAUSED = 'Paused'            # its processes are frozen
RESTARTING = 'Restarting'    # being rebooted, or restarted by its restart policy
REBUILDING = 'Rebuilding'    # being made anew from another image
DELETING = 'Deleting'        # being removed
DELETED = 'Deleted'          # gone; kept only as history
DEAD = 'Dead'                # the engine failed to remove it
ERROR = 'Error'              # nothing true to say; see status_reason
UNKNOWN = 'Unknown'          # the engine could not be asked; see status_reason

CONTAINER_STATUSES = frozenset((
    CREATING, CREATED, RUNNING, STOPPED, PAUSED, RESTARTING, REBUILDING,
    DELETING, DELETED, DEAD, ERROR, UNKNOWN))

# Nothing may rest in these: an unfinished action must be there to lead out.
TRANSITIONAL = frozenset((CREATING, REBUILDING, DELETING))

# Its main process does not run, and nothing by itself makes it.
AT_REST = frozenset((CREATED, STOPPED, DEAD, DELETED, ERROR))

# Action status.
QUEUED = 'queued'            # accepted, waits for its turn
ACTION_RUNNING = 'running'   # a conductor has claimed it
CANCELLING = 'cancelling'    # running, and asked to stop
SUCCEEDED = 'succeeded'
FAILED = 'failed'
CANCELLED = 'cancelled'      # stopped on request; what was half made is undone
SKIPPED = 'skipped'          # never ran, because one before it did not succeed
INTERRUPTED = 'interrupted'  # its conductor died and it must not run twice: outcome unknown

CLAIMED = frozenset((ACTION_RUNNING, CANCELLING))
UNFINISHED = CLAIMED | {QUEUED}
FINAL = frozenset((SUCCEEDED, FAILED, CANCELLED, SKIPPED, INTERRUPTED))
ACTION_STATUSES = UNFINISHED | FINAL


def task_state(operation_name):
    """The task_state of a container while that operation is under way."""
    return f'{operation_name}-in-progress'
