# SPDX-License-Identifier: Apache-2.0
"""A seeded mix of operations on containers, from several clients at once, and their log.

Each client has containers of its own and asks for what should be possible on one of them once all
that it asked for before has been done, so that most of it is accepted.  It does not wait for what
it has asked for.  What is asked for depends on the seed; how it interleaves does not.
"""

import dataclasses
import random
import threading
import time
import urllib.parse

from container_service import operations
from container_service import states
from faults import client

# How often each is asked for, relative to the others.
MIX = {'create': 4, 'run': 4, 'start': 6, 'stop': 6, 'pause': 3, 'unpause': 3, 'reboot': 2,
       'kill': 1, 'delete': 3, 'cancel': 1}

# Without what must not run twice: whatever dies, all of it succeeds.
RERUN_ONLY = {name: weight for name, weight in MIX.items() if name not in ('kill', 'cancel')}

# Ends at once when it is asked to, and not by itself.
COMMAND = ['sh', '-c', 'trap "exit 0" TERM; trap : USR1; while :; do sleep 1000 & wait $!; done']


@dataclasses.dataclass
class Request:
    """One change that was asked for, with all attempts to ask for it."""
    client: str
    operation: str
    method: str
    path: str
    body: dict
    key: str
    name: str                           # of the container
    container: str = None               # its uuid, once known
    action: str = None                  # uuid of the action that it was answered with
    tries: list = dataclasses.field(default_factory=list)

    @property
    def status(self):
        """Of the last answer; None when there was none."""
        return self.tries[-1].status if self.tries else None

    @property
    def accepted(self):
        return self.status == 202

    @property
    def actions(self):
        """The actions that it was answered with: one, if all is well."""
        answers = [answer.json for answer in self.tries if answer.status == 202]
        makes = operations.OPERATIONS.get(self.operation)
        return {(answer['action'] if makes and makes.creates else answer)['uuid']
                for answer in answers}

    @property
    def at(self):
        return self.tries[0].sent_at if self.tries else 0


class _Container:
    """What a client believes of a container of its own."""

    def __init__(self, name, uuid, status):
        self.name, self.uuid = name, uuid
        self.status = status            # once all has been done; None when that is not known
        self.action = None              # the last one asked for


class Load:
    """``requests`` in all, from ``clients``, each pausing ``pause`` seconds on average.

    Without ``keys`` nothing is asked for twice.  Use it as a context: it begins to ask, and at the
    end of the context it has ended.
    """

    def __init__(self, world, random_, name, *, requests=60, clients=6, containers=3, pause=0.05,
                 mix=MIX, bays=None, keys=True):
        self.requests = []              # the log
        self._world, self._name = world, name
        self._bays = [world.bays[bay] for bay in bays or world.bays]
        self._limit, self._pause, self._mix = containers, pause, dict(mix)
        self._keys = keys
        self._stopped = threading.Event()
        self._broken = []
        share = [requests // clients + (number < requests % clients)
                 for number in range(clients)]
        self._threads = [
            threading.Thread(target=self._run, daemon=True, name=f'client {number}', args=(
                f'{name}c{number}', count, random.Random(random_.random())))  # noqa: S311
            for number, count in enumerate(share)]

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind, exc, traceback):
        if kind is not None:
            # Somebody wants an end; nobody waits for clients that wait for an answer.
            self._stopped.set()
            return
        for thread in self._threads:
            thread.join()
        if self._broken:
            raise self._broken[0]

    def busy(self):
        """Whether it still asks for anything."""
        return any(thread.is_alive() for thread in self._threads)

    def wait_for(self, count):
        """Wait until so many requests have been answered, or all."""
        while self.busy() and len(self.requests) < count:
            time.sleep(0.02)

    def stop(self):
        """Ask for nothing more."""
        self._stopped.set()

    # One client.

    def _run(self, name, count, chance):
        caller, mine = client.Client(self._world.clients), []
        try:
            for number in range(count):
                if self._stopped.is_set():
                    break
                self._one(caller, f'{name}n{number}', mine, chance)
                self._stopped.wait(chance.expovariate(1 / self._pause) if self._pause else 0)
        except Exception as exc:
            self._broken.append(exc)
        finally:
            caller.close()

    def _one(self, caller, name, mine, chance):
        """Ask for one change."""
        possible = self._possible(caller, mine)
        if not possible:
            return
        operation = chance.choices(list(possible), [self._mix[each] for each in possible])[0]
        container = chance.choice(possible[operation]) if possible[operation] else None
        request = self._request(name, operation, container, chance)
        self.requests.append(request)
        answer = caller.ask(request.method, request.path, request.body, request.key,
                            patience=60 if self._keys or operation == 'cancel' else 0,
                            tries=request.tries)
        if operation == 'cancel':
            container.status = None
        elif answer.status == 202:
            self._learn(mine, container, request, answer.json)
        elif container is not None:
            container.status = None

    def _possible(self, caller, mine):
        """{operation: containers that it should be possible on}."""
        for container in mine:
            if container.status is None:
                self._look(caller, container)
        mine[:] = [container for container in mine if container.status != states.DELETED]
        possible = {}
        for name in self._mix:
            if name == 'cancel':
                able = [each for each in mine if each.action]
            elif operations.OPERATIONS[name].creates:
                if len(mine) < self._limit:
                    possible[name] = []
                continue
            else:
                # It is asked to stop a container that runs.
                allowed = operations.OPERATIONS[name].statuses_for({'stop': True})
                able = [each for each in mine if each.status in allowed]
            if able:
                possible[name] = able
        return possible

    @staticmethod
    def _look(caller, container):
        answer = caller.ask('GET', f'/v1/containers/{container.uuid}')
        if answer.status == 404:
            container.status = states.DELETED
        elif answer.status == 200 and answer.json['task_state'] is None:
            container.status = answer.json['status']

    def _request(self, name, operation, container, chance):
        asked = {'client': name, 'operation': operation,
                 'key': f'{self._name}-{name}' if self._keys else None}
        if container is None:
            body = {'name': name, 'image': self._world.image, 'command': COMMAND,
                    'bay_uuid': chance.choice(self._bays),
                    'environment': {'TOKEN': self._world.secrets[0]}}
            return Request(method='POST', body=body, name=name, **asked,
                           path='/v1/containers' + ('?run=true' if operation == 'run' else ''))
        asked.update(name=container.name, container=container.uuid)
        if operation == 'cancel':
            return Request(method='POST', path=f'/v1/actions/{container.action}/cancel',
                           body=None, **{**asked, 'key': None})
        query = {}
        if operation in ('stop', 'reboot'):
            query['timeout'] = chance.choice((0, 1))
        elif operation == 'kill':
            query['signal'] = chance.choice(('KILL', 'KILL', 'USR1'))
        elif operation == 'delete':
            query[chance.choice(('force', 'stop'))] = 'true'
        path = f'/v1/containers/{container.uuid}'
        if operation == 'delete':
            return Request(method='DELETE', body=None, **asked,
                           path=f'{path}?{urllib.parse.urlencode(query)}')
        return Request(method='POST', body=None, **asked,
                       path=f'{path}/{operation}?{urllib.parse.urlencode(query)}')

    @staticmethod
    def _learn(mine, container, request, answer):
        """Take note of what was accepted."""
        if container is None:
            action = answer['action']
            container = _Container(request.name, answer['uuid'], states.CREATING)
            mine.append(container)
        else:
            action = answer
        request.container, request.action = container.uuid, action['uuid']
        container.action = action['uuid']
        if container.status is not None:
            container.status = operations.OPERATIONS[request.operation].target_for(
                action['parameters'], container.status)
