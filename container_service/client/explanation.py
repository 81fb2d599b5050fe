# SPDX-License-Identifier: Apache-2.0
"""An action in words: who asked for what, where it is now, why, and whether it is dead or slow.

Everything is told from what the API sent; nothing here asks anybody.  ``now`` is an aware
datetime.
"""

from container_service import states
from container_service.client import words

_SLOW_SECONDS = 30          # without progress, before that is worth a word

_WHY = {
    'pool_full': 'all conductors are busy',
    'no_conductor_for_bay': 'no conductor takes work of its bay',
    'bay_unreachable': 'bay unreachable',
    'waking': 'about to begin',
    'cancelling': 'undoing what it made',
    'owner_lost': 'conductor lost, being taken over',
    'handed_back': 'conductor stopped, being taken over',
}


def rows(action, now):
    """(label, sentence) pairs that explain an action; what has nothing to say is left out."""
    error = action.get('error') or {}
    parameters = action.get('parameters')
    told = [
        ('action', action['uuid']),
        ('what', _what(action)),
        ('parameters', words.cell('parameters', parameters) if parameters else None),
        ('container', _container(action)),
        ('bay', action.get('bay_uuid')),
        ('asked', _asked(action, now)),
        ('requests', ', '.join(action.get('request_ids') or
                               filter(None, [action.get('request_id')]))),
        ('folded', _folded(action)),
        ('now', where(action, now)),
        ('why', _why(action, now)),
        ('progress', words.cell('progress', action.get('progress'))),
        ('result', words.cell('result', action.get('result'))),
        ('signs of life', signs_of_life(action)),
        ('if one before it fails', _before(action)),
        ('deadline', _deadline(action, now)),
        ('cancel', _cancel(action, now)),
        ('error', words.cell('error', error) if error else None),
        ('error code', _error_code(error)),
        ('hint', error.get('hint')),
        ('because of', action.get('caused_by') and f'action {action["caused_by"]}'),
        *_post_mortem(action.get('post_mortem') or {}),
    ]
    return [(label, text) for label, text in told if text]


def where(action, now):
    """The status with what belongs to it: ``running for 12s, stopping``."""
    status = action['status']
    if status == states.QUEUED:
        count = action.get('position')
        return f'queued, {count} before it' if count else 'queued, first in line'
    stage = action.get('stage')
    began = _age(action.get('started_at'), now)
    if status in states.CLAIMED:
        parts = ['running' if status == states.ACTION_RUNNING else 'being cancelled, running']
        if began is not None:
            parts[0] += f' for {words.span(began)}'
        attempts = action.get('attempts') or 0
        return ', '.join(filter(None, (*parts, stage, attempts > 1 and f'attempt {attempts}')))
    text = status
    if stage and status in (states.FAILED, states.INTERRUPTED):
        text += f' while {stage}'
    ended = _age(action.get('finished_at'), now)
    if ended is not None:
        text += f' {words.ago(action["finished_at"], now)}'
        if began is not None:
            text += f', after {words.span(began - ended)}'
    return text


def why(action, now):
    """Why an unfinished action is where it is, short enough for a list."""
    waiting = action.get('waiting')
    if not waiting:
        return ''
    code, progress = waiting.get('code'), action.get('progress') or {}
    if code == 'queued_behind':
        return f'{action.get("position") or 1} before it'
    if code == 'shared_pull' or (code == 'working' and progress.get('image')):
        numbers = words.pull_progress(progress)
        return f'pulling {numbers}' if numbers else 'waits for its image'
    if code == 'working':
        moved = (action.get('liveness') or {}).get('progress_age_seconds') or 0
        slow = f'no progress for {words.span(moved)}' if moved > _SLOW_SECONDS else None
        return ', '.join(filter(None, (action.get('stage') or 'at work', slow)))
    if code == 'retrying':
        return f'tries again {_in(waiting.get("retry_at"), now) or "soon"}'
    return _WHY.get(code) or str(code).replace('_', ' ')


def age(action, now):
    """How long ago an action was asked for."""
    seconds = _age(action.get('created_at'), now)
    return '' if seconds is None else words.span(seconds)


def signs_of_life(action):
    """Whether an unfinished action is dead or just slow: its owner, its progress, its engine."""
    liveness = action.get('liveness')
    if not liveness:
        return None
    owner, engine = liveness.get('owner'), liveness.get('engine')
    engine_words = '' if engine in (None, 'unknown') else f', the engine {engine}'
    if owner == 'none':
        return f'no conductor holds it{engine_words}'
    conductor = f'conductor {action.get("conductor")}'
    heard, moved = (liveness.get(f'{name}_age_seconds') for name in ('heartbeat', 'progress'))
    if owner == 'lost':
        last = '' if heard is None else f', last heard of {words.span(heard)} ago'
        return f'dead: {conductor} is gone{last}; another one takes the action over'
    verdict = 'alive'
    if engine == 'does not answer':
        verdict = 'waits for its engine'
    elif moved is not None and moved > _SLOW_SECONDS:
        verdict = 'slow, not dead'
    heard = '' if heard is None else f' (heard of {words.span(heard)} ago)'
    moved = '' if moved is None else f', last progress {words.span(moved)} ago'
    return f'{verdict}: {conductor} is alive{heard}{moved}{engine_words}'


def verdict(answer, subject=None):
    """Lines for the answer to a dry run about ``subject``."""
    what = words.cli_name(answer['operation']) + (f' of {subject}' if subject else '')
    ahead = answer.get('waits_for') or []
    first = f'{what} would be accepted'
    if ahead:
        first += '; waits for: ' + ', '.join(
            f'{words.cli_name(action["operation"])} {action["uuid"]} ({action["status"]})'
            for action in ahead)
    lines = [first]
    if answer.get('folded_into'):
        lines.append(f'It would be folded into an equal one, action {answer["folded_into"]}.')
    if answer.get('cancels'):
        lines.append(f'It would cancel: {", ".join(answer["cancels"])}')
    if answer.get('projected_status'):
        before = answer.get('status') and f'{answer["status"]} now, '
        lines.append(f'container: {before or ""}{answer["projected_status"]} after it')
    return lines


def _what(action):
    name = action.get('container_name') or action.get('container_uuid')
    return f'{words.cli_name(action["operation"])} of {name}'


def _container(action):
    name, uuid = action.get('container_name'), action.get('container_uuid')
    return f'{name} ({uuid})' if name and uuid else name or uuid


def _asked(action, now):
    parts = []
    if action.get('created_at'):
        parts.append(f'{words.ago(action["created_at"], now)} '
                     f'({words.moment(action["created_at"])} UTC)')
    if action.get('user_id'):
        parts.append(f'by user {action["user_id"]}')
    if action.get('project_id'):
        parts.append(f'of project {action["project_id"]}')
    return ' '.join(parts)


def _folded(action):
    count = action.get('coalesced') or 0
    if count:
        return f'{count} equal request{"s were" if count > 1 else " was"} folded into it'
    return None


def _why(action, now):
    waiting = action.get('waiting') or {}
    again = _in(waiting.get('retry_at'), now)
    return ' '.join(filter(None, (waiting.get('detail'), again and f'Next attempt {again}.')))


def _before(action):
    if not action.get('position'):
        return None
    runs = action.get('on_predecessor_failure') == 'run'
    return 'it runs all the same' if runs else 'it is skipped'


def _deadline(action, now):
    due = action.get('deadline_at')
    if not due or action['status'] in states.FINAL:
        return None
    asked = action.get('timeout_seconds')
    own = f'; {words.span(asked)} were asked for' if asked else ''
    return f'{_in(due, now) or "over"} ({words.moment(due)} UTC){own}'


def _cancel(action, now):
    if action.get('cancel_requested_at'):
        return f'asked for {words.ago(action["cancel_requested_at"], now)}'
    if action['status'] in states.FINAL or action.get('cancellable') is None:
        return None
    if action['cancellable']:
        return f'possible: container-service action cancel {action["uuid"]}'
    return 'not possible any more'


def _error_code(error):
    if not error.get('code'):
        return None
    if error['code'] in ('cancelled', 'skipped'):
        return error['code']
    return error['code'] + ('; it may pass by itself' if error.get('retriable') else '')


def _post_mortem(found):
    log = found.get('log') or []
    return [
        ('exit code', None if found.get('exit_code') is None else str(found['exit_code'])),
        ('out of memory', 'its main process was killed for it' if found.get('oom_killed')
         else None),
        ('image digest', found.get('image_digest')),
        ('engine error', words.printable(found.get('engine_error') or '')),
        ('end of its log', '\n'.join(map(words.printable, log))),
    ]


def _age(text, now):
    try:
        return words.age(text, now) if text else None
    except ValueError:
        return None


def _in(text, now):
    """``in 5s`` for a time to come, else None."""
    seconds = _age(text, now)
    return f'in {words.span(-seconds)}' if seconds is not None and seconds < 0 else None
