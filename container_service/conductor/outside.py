# SPDX-License-Identifier: Apache-2.0
"""What happened to a container that nobody had asked this service for.

Works on values only: what was recorded, what the engine says now, and the engine's events in
between.  The reconciler's ``observer.py`` gathers these and records what is said here.
"""

import datetime

from container_service import lifecycle
from container_service.db import events
from container_service.states import (
    CREATED,
    CREATING,
    DEAD,
    ERROR,
    PAUSED,
    RESTARTING,
    RUNNING,
    STOPPED,
    UNKNOWN,
)

# An action that ended so many seconds ago may be what an event of the engine tells of.
LATELY = 60

# Kinds of engine events, and the operations that cause them too.
_ENDS = ('stop', 'kill', 'reboot', 'delete')
_CAUSES = {'kill': _ENDS, 'stop': _ENDS, 'restart': ('reboot',), 'start': (
    'start', 'run', 'reboot'), 'pause': ('pause',), 'unpause': ('unpause', 'stop', 'delete',
                                                                'reboot'), 'rename': ()}

_WORDS = {'kill': 'killed', 'stop': 'stopped', 'restart': 'restarted', 'start': 'started',
          'pause': 'paused', 'unpause': 'unpaused', 'rename': 'renamed'}

_ENDED = (STOPPED, DEAD, RESTARTING)
_ALIVE = (RUNNING, PAUSED, RESTARTING)


def compare(row, seen, evidence, is_ours):
    """What to record: (status_reason or lifecycle.KEEP, the event as (type, detail) or None).

    ``row`` is the container as recorded, ``seen`` the driver's Observed, ``evidence`` the
    engine's events since it was last looked at.  ``is_ours(operations)`` tells whether an action
    of one of these operations may be their cause.
    """
    how = _by_hand(row, seen, _kinds(evidence), is_ours)
    if how is not None:
        words = _WORDS[how]
        return f'Changed outside: {words}.', (events.CHANGED_OUTSIDE, {
            'how': words, 'before': row.status, 'status': seen.status, **_outcome(seen)})
    if _has_ended(row, seen):
        return seen.error, (events.EXITED, {
            'before': row.status, 'status': seen.status, **_outcome(seen, evidence)})
    if row.status != seen.status:
        return seen.error, None
    if seen.health != row.health and seen.status == RUNNING:
        return lifecycle.KEEP, (events.HEALTH, {'before': row.health, 'health': seen.health})
    return lifecycle.KEEP, None


def _kinds(evidence):
    """Kinds of the events.  A request to stop begins with a signal, and is told at its end."""
    return {'stop' if event.kind == 'kill' and event.signal not in ('9', None) else event.kind
            for event in evidence}


def _outcome(seen, evidence=()):
    code = seen.exit_code
    if code is None:      # it runs again already
        code = next((event.exit_code for event in reversed(evidence)
                     if event.exit_code is not None), None)
    return {'exit_code': code, 'oom_killed': seen.oom_killed}


def _has_ended(row, seen):
    """Whether a main process that was alive has ended, even if another one runs since."""
    if row.status not in _ALIVE:
        return False
    return seen.status in _ENDED and row.status != seen.status or _is_another_run(row, seen)


def _is_another_run(row, seen):
    return (row.started_at is not None and seen.started_at is not None
            and row.started_at != seen.started_at)


def _by_hand(row, seen, kinds, is_ours):
    """The kind of event that tells what somebody did to it by hand, or None."""
    if row.status in (CREATING, ERROR, UNKNOWN):
        return None                   # what was before is not known
    how = _likely(row, seen, kinds)
    if how is None or _CAUSES[how] and is_ours(_CAUSES[how]):
        return None
    return how


def _likely(row, seen, kinds):
    restarts = ((row.spec or {}).get('restart_policy') or {}).get('Name', 'no') != 'no'
    before, after = row.status, seen.status
    if before == after and not _is_another_run(row, seen):
        return 'rename' if 'rename' in kinds else None
    if after == PAUSED:
        return 'pause'
    if before == PAUSED and after == RUNNING and not _is_another_run(row, seen):
        return 'unpause'
    if after == RUNNING or before == after:
        if 'restart' in kinds:
            return 'restart'
        if restarts:
            return None               # its engine does so by itself
        return 'start' if before in (CREATED, STOPPED, DEAD) else 'restart'
    if after in _ENDED:
        if before in (CREATED, STOPPED) and not restarts:
            return 'start'            # and it has ended since
        return next((kind for kind in ('stop', 'kill') if kind in kinds), None)
    return None


def is_settled(row, evidence):
    """Whether what the events tell is recorded already, so that no look is needed.

    That is so after each action of ours, whose events come in while it ends.  In doubt, no.
    """
    last = evidence[-1]
    kinds = [event.kind for event in evidence]
    if last.engine_id != row.engine_id or 'rename' in kinds or 'health_status' in kinds:
        return False
    if last.kind == 'pause':
        return row.status == PAUSED
    if last.kind == 'create':
        return row.status == CREATED
    if last.kind in ('start', 'unpause') and row.status == RUNNING:
        return last.kind == 'unpause' or _just_before(row.started_at, last.time)
    if last.kind in ('die', 'stop', 'kill') and row.status == STOPPED:
        dies = [event for event in evidence if event.kind == 'die']
        return (len(dies) == 1 and kinds.count('start') <= 1
                and dies[0].exit_code == row.exit_code
                and _just_before(row.finished_at, dies[0].time)
                and all(_just_before(row.started_at, event.time)
                        for event in evidence if event.kind == 'start'))
    return False


# The engine notes when a process started or ended, then tells it, within so many seconds.
_TELLING = 5


def _just_before(moment, nanoseconds):
    if moment is None:
        return False
    late = nanoseconds / 10 ** 9 - moment.replace(tzinfo=datetime.UTC).timestamp()
    return -0.001 <= late < _TELLING
