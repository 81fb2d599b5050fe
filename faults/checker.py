# SPDX-License-Identifier: Apache-2.0
"""The invariants, checked once nothing is under way any more.

I1  Every request that was answered 202 has an action, one whatever how often it was asked; there
    is no action that nobody was told of; and every action has ended.
I2  Per container, what its engine did is what its actions say, in their order and once each;
    no two of them at a time.
I3  The status that is recorded is the one that the engine tells.
I4  Nothing of ours is on an engine without a live row, and no live row without it.
I5  No write was accepted from an old claim, or to what had ended.
I6  Every wait was bounded: answers of the API, actions.
I7  No secret is in a log.
"""

import contextlib
import dataclasses

import docker

from container_service import states
from container_service.drivers import base as drivers
from container_service.drivers import docker as docker_driver
from faults import history
from faults.observer import (
    CREATE,
    DESTROY,
    DIE,
    PAUSE,
    SIGNAL,
    START,
    UNPAUSE,
)


@dataclasses.dataclass(frozen=True)
class Violation:
    invariant: str
    words: str
    container: object = None            # a history.Container


# I2: a small state machine.  What an engine has of a container after the effects so far.
ABSENT, MADE, RUNNING, PAUSED, STOPPED = 'absent', 'made', 'running', 'paused', 'stopped'

_AFTER = {CREATE: MADE, START: RUNNING, UNPAUSE: RUNNING, PAUSE: PAUSED, DIE: STOPPED,
          DESTROY: ABSENT}


def state_after(letters):
    state = ABSENT
    for letter in letters:
        state = _AFTER.get(letter, state)
    return state


def effects(operation, params, state):
    """What a success does to a container that is in a state: any one of these."""
    # The engine thaws what it sends a signal to, and tells of that or not.
    ending = {RUNNING: [DIE], PAUSED: [DIE, UNPAUSE + DIE]}.get(state, [''])
    if operation in ('create', 'run'):
        return [CREATE + (START if operation == 'run' else '')]
    if operation == 'start':
        return [START if state in (MADE, STOPPED) else '']
    if operation == 'stop':
        return ending
    if operation == 'reboot':
        return [end + START for end in ending]
    if operation == 'pause':
        return [PAUSE if state == RUNNING else '']
    if operation == 'unpause':
        return [UNPAUSE if state == PAUSED else '']
    if operation == 'kill':
        if params.get('signal') in ('SIGKILL', '9'):
            return ending
        return [SIGNAL, SIGNAL + UNPAUSE] if state == PAUSED else [SIGNAL]
    if operation == 'delete':
        return [''] if state == ABSENT else [end + DESTROY for end in ending]
    raise ValueError(f'the checker does not know what {operation} does')


def possible(action, state):
    """What an action that has ended may have done, from the state that it found."""
    whole = effects(action.operation, action.params, state)
    if action.status == states.SUCCEEDED:
        return whole
    if action.status == states.SKIPPED or action.started_at is None:
        return ['']
    # It failed, was interrupted or cancelled on its way: as far as it came.
    partly = {one[:length] for one in whole for length in range(len(one) + 1)}
    if action.status == states.CANCELLED and action.operation in ('create', 'run'):
        partly |= {'', *(one + end + DESTROY for one in list(partly) if one
                         for end in ([DIE, ''] if START in one else ['']))}
    return sorted(partly)


def explain(letters, actions, outside='', caused=()):
    """Match what an engine did with actions in their order; None, or what does not fit, in words.

    ``outside`` are letters that may come at any time, from nobody's action; ``caused`` is where
    letters are that may be from nobody's.
    """
    def skipped(ends):
        for end in sorted(ends):
            while end < len(letters) and (letters[end] in outside or end in caused):
                end += 1
                ends.add(end)
        return ends

    def matched(one, start):
        ends = {start}
        for letter in one:
            ends = {end + 1 for end in skipped(ends) if letters[end:end + 1] == letter}
        return ends

    reached = skipped({0})
    for action in actions:
        after = {end for start in reached
                 for one in possible(action, state_after(letters[:start]))
                 for end in matched(one, start)}
        if not after:
            return (f'the engine did {letters or "nothing"}; action {action.sequence} '
                    f'({action.operation}, {action.status}) would have to go on at letter '
                    f'{" or ".join(str(number + 1) for number in sorted(reached))}')
        reached = skipped(after)
    if len(letters) not in reached:
        return (f'the engine did {letters}; all actions together explain only the first '
                f'{max(reached)} of these letters')
    return None


class Checker:
    """Checks a history of a world.  ``outside`` are effects that come from nobody's action."""

    def __init__(self, world, past, outside='', answer_seconds=20):
        self._world, self._past = world, past
        self._outside = outside
        self._answer_seconds = answer_seconds

    def __call__(self):
        """Returns the violations."""
        found = []
        for check in (self.accepted, self.ordered, self.truthful, self.none_left, self.fenced,
                      self.bounded, self.no_secrets):
            found += check()
        return found

    def accepted(self):
        """I1"""
        known, names = self._past.actions, {}
        for request in self._past.requests:
            if request.operation in ('create', 'run'):
                names[request.name] = request
            if request.accepted and request.action and request.action not in known:
                yield Violation('I1', f'{request.client} was answered 202 with action '
                                f'{request.action}, of which there is no row')
        for container in self._past.containers:
            creation = names.get(container.row.name)
            if creation is None:
                yield Violation('I1', 'nobody asked for this container', container)
            elif not creation.accepted and not self._never_heard(creation):
                yield Violation('I1', f'it was made, but {creation.client} was answered '
                                f'{creation.status} in the end', container)
            for action in container.actions:
                if action.status not in states.FINAL:
                    yield Violation('I1', f'action {action.sequence} ({action.operation}) is '
                                    f'still {action.status}', container)
            if container.row.task_state is not None and all(
                    action.status in states.FINAL for action in container.actions):
                yield Violation('I1', f'nothing is under way, but its task_state is '
                                f'{container.row.task_state}', container)
            yield from self._asked_for(container)
        found = [container.row.name for container in self._past.containers]
        for name in {name for name in found if found.count(name) > 1}:
            yield Violation('I1', f'{found.count(name)} containers were made for the one '
                            f'request that named {name}')

    @staticmethod
    def _never_heard(request):
        """Whether somebody who cannot ask again does not know what became of it."""
        return request.key is None and request.status in (None, 503, 504)

    def _asked_for(self, container):
        """I1: each request has one action, and each action is one that somebody was told of."""
        told = set()
        for request in container.requests:
            told |= request.actions
            if len(request.actions) > 1:
                yield Violation('I1', f'{request.client} was answered with '
                                f'{len(request.actions)} actions for one {request.operation}',
                                container)
        if any(not request.tries or not request.tries[-1].settled
               for request in container.requests):
            return                            # what is not known may have been done
        for action in container.actions:
            if action.uuid not in told:
                yield Violation('I1', f'nobody was told of action {action.sequence} '
                                f'({action.operation})', container)

    def _looked_at(self):
        """The containers on engines that can be looked at."""
        return [container for container in self._past.containers
                if container.row.bay_uuid not in self._world.unseen]

    def ordered(self):
        """I2"""
        for container in self._looked_at():
            words = explain(container.letters, container.actions, self._outside,
                            container.caused)
            if words:
                yield Violation('I2', words, container)
            under_way = set()
            for row in container.audit:       # whatever the clocks say
                (under_way.add if row.status in states.CLAIMED else under_way.discard)(
                    row.action_uuid)
                if len(under_way) > 1:
                    yield Violation('I2', 'two of its actions were under way at once', container)
                    break

    def truthful(self):
        """I3 and the second half of I4"""
        seen = self._on_engines()
        for container in self._looked_at():
            row, found = container.row, seen.get(container.uuid, [])
            if row.deleted_at is not None:
                continue
            if not found:
                if row.status != states.ERROR:
                    yield Violation('I4', f'it is {row.status}, but on no engine', container)
            elif self._status(found[0]) != row.status:
                yield Violation('I3', f'it is {row.status}, but {self._status(found[0])} on its '
                                f'engine', container)

    def _status(self, data):
        """What an engine says of one entry of its list."""
        # The list is what it wrote last: with a full disk that may be long ago.
        for engine in self._world.engines.values():
            with contextlib.suppress(docker.errors.NotFound):
                return docker_driver.container_status(
                    engine.client.api.inspect_container(data['Id'])['State'])
        return states.DELETED

    def none_left(self):
        """I4"""
        rows = {container.uuid: container for container in self._past.containers}
        for uuid, found in self._on_engines().items():
            container = rows.get(uuid)
            if container is None:
                continue                      # of an earlier scenario
            if len(found) > 1:
                yield Violation('I4', f'there are {len(found)} of it on engines', container)
            if container.row.deleted_at is not None:
                yield Violation('I4', 'it is deleted, but still on an engine', container)

    def _on_engines(self):
        found = {}
        for engine in self._world.engines.values():
            for data in engine.of_deployment(self._world.deployment):
                if data['Id'] not in self._world.observer.foreign:
                    found.setdefault(data['Labels'].get(drivers.LABEL_CONTAINER), []).append(data)
        return found

    def fenced(self):
        """I5"""
        apis = {host.name for host in self._world.apis}
        for container in self._past.containers:
            for action in container.actions:
                writes = [row for row in container.audit if row.action_uuid == action.uuid]
                for number, row in enumerate(writes):
                    if row.old_status in states.FINAL and row.who not in apis:
                        yield Violation('I5', f'{row.who} wrote {row.status} to action '
                                        f'{action.sequence}, which had ended', container)
                    if (row.old_status in states.CLAIMED and row.status in states.CLAIMED
                            and row.old_claim != row.claim):
                        yield Violation('I2', f'{row.who} claimed action {action.sequence} while '
                                        f'{history.holder(writes[:number])} had it', container)
                    if (row.old_status not in states.CLAIMED or row.old_claim != row.claim
                            or row.who in apis):
                        continue              # a claim, a take-over, or a wish of a client
                    claimer = history.holder(writes[:number])
                    if row.who != claimer and row.status != states.INTERRUPTED:
                        yield Violation('I5', f'{row.who} wrote {row.status} to action '
                                        f'{action.sequence} under the claim of {claimer}',
                                        container)

    def bounded(self):
        """I6; that actions end is I1."""
        for request in self._past.requests:
            for attempt in request.tries:
                if attempt.seconds > self._answer_seconds:
                    yield Violation('I6', f'{request.client} waited {attempt.seconds:.1f} s for '
                                    f'the answer to {request.method} {request.path}')
            if request.tries and request.status is None:
                yield Violation('I6', f'{request.client} got no answer to {request.method} '
                                f'{request.path}: {request.tries[-1].body}')
            if request.status == 500:
                yield Violation('I6', f'{request.client} got 500 for {request.method} '
                                f'{request.path}: {request.tries[-1].body}')

    def no_secrets(self):
        """I7"""
        secrets = [*self._world.secrets, *self._world.database.secrets]
        for host in self._world.hosts.values():
            text = host.log.read_text(errors='replace')
            for number, secret in enumerate(secrets):
                if secret in text:
                    yield Violation('I7', f'secret {number} is in the log of {host}')
