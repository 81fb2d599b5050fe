# SPDX-License-Identifier: Apache-2.0
"""What it costs to work on a real engine through the service: against the bare Docker SDK.

Both do the same to as many containers of the same image, over as many connections.  Ours counts
from the first request sent until the last action has ended; an SDK call has ended when it
returns.  Both sets of containers exist side by side, and the operations alternate.
"""

import os
import threading
import time

import docker
import sqlalchemy as sa

from bench import deployment
from bench import load
from bench import report
from container_service import states
from container_service.db import conductors
from container_service.db import models
from container_service.db import settings
from container_service.drivers import base

_HEADERS = (('OpenStack-API-Version', 'container latest'),)
_COMMAND = ['sleep', '1000']
_LABEL = 'container-service-bench'
_WARM_UP = 2
_SECONDS = 600                 # for one operation on all containers

# In this order for both.  Those that are not measured only lead from one to the next: an engine
# does not stop what is paused.
OPERATIONS = ('create', 'start', 'pause', 'unpause', 'stop', 'delete')
MEASURED = tuple(name for name in OPERATIONS if name != 'unpause')


class _Sdk:
    """The bare SDK, one client and one thread per connection."""

    def __init__(self, image, connections):
        self._image = image
        self._clients = [docker.APIClient(os.environ['CS_TEST_DOCKER'], version='auto',
                                          timeout=_SECONDS) for _ in range(connections)]
        self._ids = []

    def run(self, name, count):
        todo = list(range(count)) if name == 'create' else list(self._ids)
        errors, made = [], []
        ready = threading.Barrier(len(self._clients) + 1)

        def work(client):
            ready.wait()
            try:
                while todo:
                    try:
                        one = todo.pop()
                    except IndexError:
                        return
                    made.append(self._one(client, name, one))
            except Exception as exc:
                errors.append(exc)

        threads = [threading.Thread(target=work, args=(client,)) for client in self._clients]
        for thread in threads:
            thread.start()
        ready.wait()
        start = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - start
        if errors:
            raise errors[0]
        if name == 'create':
            self._ids = made
        return report.Sample(count / seconds)

    def _one(self, client, name, one):
        if name == 'create':
            return client.create_container(self._image, _COMMAND, labels={_LABEL: ''})['Id']
        if name == 'stop':
            return client.stop(one, timeout=0)
        return getattr(client, 'remove_container' if name == 'delete' else name)(one)

    def clean_up(self, deployment_uuid):
        """Remove what either has left on the engine."""
        client = self._clients[0]
        for label in (_LABEL, f'{base.LABEL_DEPLOYMENT}={deployment_uuid}'):
            for found in client.containers(all=True, filters={'label': label}):
                client.remove_container(found['Id'], force=True)


class _Service:
    """Our API and one conductor."""

    def __init__(self, here, image, connections):
        self._here = here
        self._connections = connections
        self._create = load.request('POST', '/v1/containers', {
            'image': image, 'command': _COMMAND, 'image_pull_policy': 'never'}, _HEADERS)
        self._uuids = []

    def run(self, name, count):
        before = self._cpu_seconds()
        result = load.run(self._here.port, self._requests(name, count), self._connections)
        answers = [answer.json() for answer in result.answers]
        if name == 'create':
            self._uuids = [answer['uuid'] for answer in answers]
            ended = self._ended([answer['action']['uuid'] for answer in answers])
        else:
            ended = self._ended([answer['uuid'] for answer in answers])
        # The database is on this machine: one clock.
        seconds = ended - result.started_at
        return report.Sample(count / seconds, 1000 * (self._cpu_seconds() - before) / count)

    def _requests(self, name, count):
        if name == 'create':
            return [self._create] * count
        if name == 'delete':
            return [load.request('DELETE', f'/v1/containers/{uuid}', None, _HEADERS)
                    for uuid in self._uuids]
        body = {'timeout': 0} if name == 'stop' else {}
        return [load.request('POST', f'/v1/containers/{uuid}/{name}', body, _HEADERS)
                for uuid in self._uuids]

    def _ended(self, uuids):
        """When the last of the actions has ended, as a time of the wall clock."""
        actions = models.actions.c
        query = sa.select(actions.status, sa.func.count(),
                          sa.func.unix_timestamp(sa.func.max(actions.finished_at))).where(
            actions.uuid.in_(uuids)).group_by(actions.status)
        found = []

        def done():
            for daemon in self._here.daemons:
                daemon.check()
            with self._here.db.read() as conn:
                conn.exec_driver_sql("SET time_zone = '+00:00'")
                found[:] = conn.execute(query).all()
            return all(status in states.FINAL for status, _, _ in found)

        self._here.wait_for(done, f'not all actions have ended in {_SECONDS} s', _SECONDS)
        if [status for status, _, _ in found] != [states.SUCCEEDED]:
            raise deployment.Broken(
                f'actions did not succeed: {[(row[0], row[1]) for row in found]}\n' +
                '\n'.join(daemon.tail() for daemon in self._here.daemons))
        return float(found[0][2])

    def _cpu_seconds(self):
        return sum(daemon.cpu_seconds() for daemon in self._here.daemons)


def measure(options):
    """Yield a report.Comparison for each operation."""
    with deployment.Deployment({}) as here:
        sdk = _Sdk(options.image, options.connections)
        try:
            here.api()
            conductor = here.daemon('container-service-conductor')
            here.wait_for(lambda: _is_up(here, conductor), 'the conductor does not come up')
            here.make_bay(name='engine', endpoint=os.environ['CS_TEST_DOCKER'],
                          hosts=['bench'], public=True)
            ours = _Service(here, options.image, options.connections)
            yield from _compare(options, ours, sdk)
        finally:
            here.stop_daemons()
            sdk.clean_up(settings.deployment(here.db))


def _is_up(here, conductor):
    conductor.check()
    with here.db.read() as conn:
        return conductors.live(conn)


def _compare(options, ours, sdk):
    for side in (sdk, ours):
        for name in OPERATIONS:
            side.run(name, _WARM_UP)
    comparisons = {name: report.Comparison(f'engine {name}', 'SDK') for name in MEASURED}
    for number in range(options.rounds):
        for name in OPERATIONS:
            sides = [('ours', ours), ('theirs', sdk)]
            samples = {key: side.run(name, options.containers)
                       for key, side in (sides if number % 2 else sides[::-1])}
            if name in comparisons:
                comparisons[name].add(**samples)
                report.say(f'round {number + 1}: {comparisons[name].last()}')
    yield from comparisons.values()
