# SPDX-License-Identifier: Apache-2.0
"""Why an action is where it is, in a code and in words, and whether it is dead or just slow.

Rows come from ``db/actions.py`` with what is joined to them there; nothing here asks anybody.
"""

from container_service import ring
from container_service import states

QUEUED_BEHIND = 'queued_behind'
POOL_FULL = 'pool_full'
NO_CONDUCTOR = 'no_conductor_for_bay'
BAY_UNREACHABLE = 'bay_unreachable'
SHARED_PULL = 'shared_pull'
RETRYING = 'retrying'
WAKING = 'waking'
WORKING = 'working'
CANCELLING = 'cancelling'
OWNER_LOST = 'owner_lost'
HANDED_BACK = 'handed_back'

# Every code there is, with what it means; the documentation prints it.
CODES = {
    QUEUED_BEHIND: 'Another action of the container comes first.',
    POOL_FULL: 'Every conductor that reaches the bay is working on as much as it can.',
    NO_CONDUCTOR: 'No conductor that takes work reaches the bay.',
    BAY_UNREACHABLE: 'The engine of the bay does not answer.',
    SHARED_PULL: 'The image is being pulled, once for all that wait for it.',
    RETRYING: 'An attempt failed for a reason that may pass; there will be another.',
    WAKING: 'A conductor takes it up within seconds.',
    WORKING: 'A conductor is at it.',
    CANCELLING: 'It was asked to stop and is undoing what it has made.',
    OWNER_LOST: 'Its conductor has died; another one takes over.',
    HANDED_BACK: 'Its conductor was stopped; another one goes on with it, as soon as no call '
                 'of the first can still be under way on the engine.',
}


# What is told of these names hosts and addresses: that is for administrators, others are told
# what the code means.
_INSIDE = (NO_CONDUCTOR, BAY_UNREACHABLE, WORKING, CANCELLING, OWNER_LOST, HANDED_BACK)


def waiting(row, pool, admin):
    """{code, detail, retry_at} of an unfinished action; None for one that has ended.

    ``pool(bay_uuid)`` is the state of the conductors that reach a bay (``ring.Ring.state``).
    """
    if row.status in states.FINAL:
        return None
    code, detail = _claimed(row, pool) if row.status in states.CLAIMED else _queued(row, pool)
    if code in _INSIDE and not admin:
        detail = CODES[code]
    due = row.runnable_at if code in (RETRYING, BAY_UNREACHABLE, HANDED_BACK) else None
    if due is not None and due <= row.db_now:
        due = None
    return {'code': code, 'detail': detail, 'retry_at': due}


def _claimed(row, pool):
    if liveness(row)['owner'] == 'lost':
        if pool(row.bay_uuid) == ring.NONE:
            return NO_CONDUCTOR, (f'Conductor {row.conductor} has not been heard of, and no '
                                  f'other that takes work reaches bay {row.bay_name}.')
        return OWNER_LOST, (f'Conductor {row.conductor} has not been heard of; another one takes '
                            'over.')
    if row.health_status == 'UNHEALTHY':
        return BAY_UNREACHABLE, _unreachable(row)
    stage = f', {row.stage}' if row.stage else ''
    if row.status == states.CANCELLING:
        return CANCELLING, f'Conductor {row.conductor} is undoing it{stage}.'
    return WORKING, f'Conductor {row.conductor} is at it{stage}.'


def _queued(row, pool):
    if row.position:
        more = f', {row.position} in all before it' if row.position > 1 else ''
        return QUEUED_BEHIND, (f'Queued behind action {row.behind_uuid} '
                               f'({row.behind_operation}){more}.')
    if row.health_status == 'UNHEALTHY':
        return BAY_UNREACHABLE, _unreachable(row)
    if row.waiting_code == SHARED_PULL and row.pull_status in states.UNFINISHED:
        return SHARED_PULL, _pulling(row)
    if row.runnable_at is not None and row.runnable_at > row.db_now:
        return row.waiting_code or WAKING, row.waiting_detail or 'Its time has not come.'
    state = pool(row.bay_uuid)
    if state == ring.NONE:
        return NO_CONDUCTOR, f'No conductor that takes work reaches bay {row.bay_name}.'
    if state == ring.FULL:
        return POOL_FULL, 'Every conductor is working on as much as it can.'
    return WAKING, row.waiting_detail or CODES[WAKING]


def _unreachable(row):
    return row.health_status_reason or f'The engine of bay {row.bay_name} does not answer.'


def _pulling(row):
    progress = row.pull_progress
    if not progress:
        return f'Image {row.pull_image} is about to be pulled.'
    return (f'Image {row.pull_image} is being pulled: {progress["layers_done"]} of '
            f'{progress["layers"]} layers, {progress["bytes"]} of {progress["bytes_total"]} '
            'bytes.')


def liveness(row):
    """Three signals that tell dead from slow: owner, progress, engine.  None when ended."""
    if row.status in states.FINAL:
        return None
    owner = 'none'
    if row.status in states.CLAIMED:
        alive = (row.lease_until is not None and row.conductor_state != 'gone'
                 and row.lease_until > row.db_now)
        owner = 'alive' if alive else 'lost'
    engine = {'HEALTHY': 'answers', 'UNHEALTHY': 'does not answer'}.get(
        row.health_status, 'unknown')
    return {'owner': owner,
            'heartbeat_age_seconds': _age(row, row.heartbeat_at if owner != 'none' else None),
            'progress_age_seconds': _age(row, row.progress_at),
            'engine': engine}


def _age(row, time):
    return None if time is None else round(max(0.0, (row.db_now - time).total_seconds()), 3)
