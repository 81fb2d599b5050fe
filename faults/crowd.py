# SPDX-License-Identifier: Apache-2.0
"""Many clients at the same containers at the same time, and their log.

In ``load.py`` each client has containers of its own, so that most of what it asks for is possible;
here they get in each other's way, and what is refused is part of it.
"""

import contextlib
import itertools
import logging
import threading
import urllib.parse

from container_service import states
from faults import client
from faults import load
from faults import process


class Crowd:
    """``requests`` is the log.  ``name`` tells its containers and keys from those of others."""

    def __init__(self, world, name):
        self.requests = []
        self._world, self._name = world, name
        self._names = {}                # of containers, by uuid
        self._number = itertools.count()

    def creation(self, operation='run', bay='one', keyed=True, **values):
        """A request for a container."""
        name = f'{self._name}n{next(self._number)}'
        body = {'name': name, 'image': self._world.image, 'command': load.COMMAND,
                'bay_uuid': self._world.bays.get(bay, bay), **values}
        return self._noted(load.Request(
            client=name, operation=operation, method='POST', body=body, name=name,
            key=name if keyed else None,
            path='/v1/containers' + ('?run=true' if operation == 'run' else '')))

    def change(self, container, operation, keyed=True, **query):
        """A request for an operation on one of its containers."""
        method, path = 'POST', f'/v1/containers/{container}/{operation}'
        if operation == 'delete':
            method, path = 'DELETE', f'/v1/containers/{container}'
        who = f'{self._name}r{next(self._number)}'
        return self._noted(load.Request(
            client=who, operation=operation, method=method, body=None, key=who if keyed else None,
            name=self._names[container], container=container,
            path=f'{path}?{urllib.parse.urlencode(query)}'))

    def _noted(self, request):
        self.requests.append(request)
        return request

    def ask(self, caller, request, patience=60):
        """Send a request; returns the last Answer."""
        answer = caller.ask(request.method, request.path, request.body, request.key,
                            patience=patience if request.key else 0, tries=request.tries)
        if answer.status == 202:
            action, = request.actions if len(request.actions) == 1 else [None]
            request.action = action
            if request.container is None:
                request.container = answer.json['uuid']
                self._names[request.container] = request.name
        return answer

    def made(self, caller, **values):
        """A container that is there already."""
        request = self.creation(**values)
        answer = self.ask(caller, request)
        if answer.status != 202:
            raise process.Broken(f'no container: {answer}')
        self.ended(caller, [request])
        return request.container

    def made_all(self, caller, count, **values):
        """As ``made``, for so many."""
        requests = [self.creation(**values) for _ in range(count)]
        for request in requests:
            self.ask(caller, request)
        self.ended(caller, requests)
        return [request.container for request in requests]

    def ask_all(self, caller, containers, operation, **query):
        """Ask for the same of each container; returns the requests."""
        requests = [self.change(container, operation, **query) for container in containers]
        for request in requests:
            self.ask(caller, request)
        return requests

    def ended(self, caller, requests, seconds=60):
        """Wait until what was accepted has ended."""
        for action in {action for request in requests for action in request.actions}:
            process.wait_for(
                lambda action=action: caller.ask('GET', f'/v1/actions/{action}').json['status']
                in states.FINAL, f'action {action} does not end', seconds, 0.02)

    @contextlib.contextmanager
    def caller(self, **values):
        """A connection of its own."""
        caller = client.Client(self._world.clients, **values)
        try:
            yield caller
        finally:
            caller.close()

    def at_once(self, *functions):
        """Run functions of a caller, each in a thread, let go at the same moment."""
        gate, broken = threading.Barrier(len(functions)), []

        def run(function):
            try:
                with self.caller() as caller:
                    caller.ask('GET', '/')          # connected before it counts
                    gate.wait(60)
                    function(caller)
            except Exception as exc:
                broken.append(exc)
                gate.abort()

        threads = [threading.Thread(target=run, args=(function,), daemon=True)
                   for function in functions]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if broken:
            raise broken[0]


def answers(requests):
    """All answers to requests."""
    return [answer for request in requests for answer in request.tries]


def share(requests, part):
    """The seconds in which so large a part of the answers came."""
    took = sorted(answer.seconds for answer in answers(requests))
    return took[int(part * (len(took) - 1))] if took else 0


class Bells:
    """Rings every conductor, ``times`` over, for each container that a load is accepted for."""

    def __init__(self, world, asking, times=3):
        self._world, self._asking, self._times = world, asking, times
        self._over = threading.Event()
        self.rung = 0
        self._thread = threading.Thread(target=self._run, daemon=True, name='bells')

    def __enter__(self):
        from oslo_config import cfg

        from container_service import rpc
        self._bus = rpc.transport(cfg.CONF, self._world.bus_url)
        for name in ('oslo.messaging', 'oslo_messaging'):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        self._bell = rpc.client(self._bus, rpc.WAKE_TOPIC)
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join(30)
        self._bus.cleanup()

    def _run(self):
        done = 0
        while not self._over.is_set():
            new = self._asking.requests[done:]
            for request in new:
                # In their order, but for what has no answer yet.
                if not request.tries:
                    break
                done += 1
                if request.container:
                    self._ring(request.container)
            self._over.wait(0.002)

    def _ring(self, container):
        for _ in range(self._times):
            for each in self._world.conductors:
                with contextlib.suppress(Exception):      # the broker is down
                    self._bell.prepare(server=f'{each.name}.0', retry=0).cast(
                        {}, 'wake', container_uuid=container)
                    self.rung += 1
