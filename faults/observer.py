# SPDX-License-Identifier: Apache-2.0
"""What engines really did: their own event streams, read directly and not through a proxy."""

import contextlib
import dataclasses
import threading
import time

from container_service.drivers import base as drivers

# Effects on a container, as letters; what else an engine tells has none.
CREATE, START, DIE, PAUSE, UNPAUSE, DESTROY, SIGNAL = 'CSDPUXK'

_LETTERS = {'create': CREATE, 'start': START, 'die': DIE, 'pause': PAUSE, 'unpause': UNPAUSE,
            'destroy': DESTROY}

# Signals that are there to end a process: their effect is that it died.
_ENDING = ('9', '15')


@dataclasses.dataclass(frozen=True)
class Event:
    at: float
    engine: str
    container: str              # our uuid
    engine_id: str
    name: str
    attributes: dict

    @property
    def letter(self):
        """The effect, or None."""
        if self.name == 'kill' and self.attributes.get('signal') not in _ENDING:
            return SIGNAL
        return _LETTERS.get(self.name)


class Observer:
    """All events of a deployment on all engines."""

    def __init__(self):
        self._lock = threading.Lock()
        self._events = {}                   # by what tells one from another: a dict keeps order
        self.foreign = set()                # engine ids of what has our labels and is not ours

    def add(self, key, event):
        with self._lock:
            self._events[key] = event
            if event.letter == CREATE:
                self._events.pop((event.engine, event.engine_id, 'listed'), None)

    def made(self, engine, data):
        """Take note of a container in an engine's list, unless its making was told of."""
        with self._lock:
            if not any(event.engine_id == data['Id'] and event.letter == CREATE
                       for event in self._events.values()):
                self._events[engine, data['Id'], 'listed'] = Event(
                    data['Created'], engine, data['Labels'].get(drivers.LABEL_CONTAINER),
                    data['Id'], 'create', data['Labels'])

    def of(self, container):
        """The events of a container, in order."""
        with self._lock:
            found = [event for event in self._events.values()
                     if event.container == container and event.engine_id not in self.foreign]
        return sorted(found, key=lambda event: event.at)

    def containers(self):
        with self._lock:
            return {event.container for event in self._events.values()}


class Following:
    """Follows one engine while the context lasts, and again whenever the stream ends."""

    def __init__(self, observer, engine, deployment):
        self._observer, self._engine = observer, engine
        self._deployment = deployment
        self._since = int(time.time())
        self._stream, self._stopped = None, False
        self._thread = threading.Thread(target=self._follow, daemon=True,
                                        name=f'observer {engine.name}')

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._stopped = True
        with contextlib.suppress(Exception):
            self._stream.close()
        self._thread.join(5)

    def _follow(self):
        while not self._stopped:
            # Whatever it is that an engine which is killed does to the stream.
            with contextlib.suppress(Exception):
                self._complete()
                # From the last second that was seen: the engine keeps the latest events.
                self._stream = self._engine.client.api.events(
                    since=self._since, decode=True, filters={
                        'type': 'container',
                        'label': f'{drivers.LABEL_DEPLOYMENT}={self._deployment}'})
                for event in self._stream:
                    self._take(event)
            time.sleep(0.2)

    def _complete(self):
        """Add what was made in the instant that the engine died, when it told nobody of it."""
        for data in self._engine.of_deployment(self._deployment):
            self._observer.made(self._engine.name, data)

    def _take(self, event):
        nanoseconds, about = event['timeNano'], event['Actor']
        self._since = event['time']
        container = about['Attributes'].get(drivers.LABEL_CONTAINER)
        self._observer.add(
            (self._engine.name, nanoseconds, about['ID'], event['Action']),
            Event(nanoseconds / 1e9, self._engine.name, container, about['ID'], event['Action'],
                  about['Attributes']))
