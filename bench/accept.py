# SPDX-License-Identifier: Apache-2.0
"""What it costs to accept an operation: our API against the floor, on the same server.

No conductor runs, for either.  Ours is told that one does, so that each request rings its bell;
the queues exist and nobody empties them.
"""

import importlib.util
import os
import sys

import sqlalchemy as sa

from bench import deployment
from bench import floor
from bench import load
from bench import report
from container_service import rpc
from container_service import states
from container_service.db import conductors
from container_service.db import models

_CONDUCTOR = 'bench.0'
_HEADERS = (('OpenStack-API-Version', 'container latest'),)
_CREATE = load.request('POST', '/v1/containers', {
    'image': 'bench:latest', 'command': ['sleep', '1000']}, _HEADERS)
_FLOOR = load.request('POST', '/op')
_WARM_UP = 100

_SETTINGS = {
    # What is accepted is never done, so the counts would reach limits that are no concern here.
    # They are looked at for each request all the same.
    'api': {'allow_unauthenticated': 'true', 'project_action_limit': 10 ** 9,
            'project_request_rate': 0, 'project_change_rate': 0,
            'action_limit': 10 ** 9},
    'bays': {'drivers': 'docker, fake'},
}


class _Side:
    """One of the two applications, behind its server, and the queue that it casts to."""

    def __init__(self, daemon, port, connections, queue):
        self.daemon, self._port, self._connections = daemon, port, connections
        self._queue = queue

    def measure(self, requests):
        """Requests per second, and milliseconds of the server's processor time for each.

        A request is done when it was answered and its message is in the queue: ours are sent
        by a thread of their own, and a bell that does not keep up must not count for speed.
        """
        self._queue.purge()
        before = self.daemon.cpu_seconds()
        result = load.run(self._port, requests, self._connections)
        seconds = result.seconds + self._queue.wait_for(len(requests))
        self.daemon.check()
        used = self.daemon.cpu_seconds() - before
        return report.Sample(len(requests) / seconds, 1000 * used / len(requests)), result


def measure(options):
    """Yield a report.Comparison for each server and operation."""
    with deployment.Deployment(_SETTINGS) as here:
        bell, queue = here.declare_queues((rpc.WAKE_TOPIC, _CONDUCTOR),
                                          (floor.TOPIC, floor.SERVER))
        with sa.create_engine(here.database_url).begin() as conn:
            floor.metadata.create_all(conn)
        here.db.transact(lambda conn: conductors.insert(conn, 86400, {
            'uuid': '00000000-0000-0000-0000-000000000000', 'host': 'bench', 'slot': 0,
            'server': _CONDUCTOR}))
        ours = here.api()
        here.make_bay(name='fake', driver='fake', endpoint='fake://bench', public=True)
        yield from _compare(
            here, f'cheroot, 1 process, {options.threads} threads', options,
            _Side(ours, here.port, options.connections, bell),
            _floor_on_cheroot(here, options, queue))
        if importlib.util.find_spec('gunicorn') is None:
            report.say('gunicorn is not installed: left out')
            return
        here.stop_daemons()
        yield from _compare(
            here, f'gunicorn, {options.processes} processes, {options.threads} threads', options,
            _ours_on_gunicorn(here, options, bell), _floor_on_gunicorn(here, options, queue))


def _environ(here):
    return {'BENCH_DATABASE_URL': here.database_url, 'BENCH_TRANSPORT_URL': here.transport_url,
            'PYTHONPATH': os.pathsep.join(filter(None, (
                report.ROOT, os.environ.get('PYTHONPATH'))))}


def _floor_on_cheroot(here, options, queue):
    port = deployment.free_port()
    daemon = here.spawn('floor', [
        sys.executable, '-m', 'bench.floor', str(port), str(options.threads)], **_environ(here))
    here.await_port(daemon, port)
    return _Side(daemon, port, options.connections, queue)


def _floor_on_gunicorn(here, options, queue):
    port = deployment.free_port()
    daemon = here.gunicorn('floor-gunicorn', 'bench.floor:application()', port,
                           options.processes, options.threads, **_environ(here))
    return _Side(daemon, port, options.connections, queue)


def _ours_on_gunicorn(here, options, queue):
    port = deployment.free_port()
    daemon = here.gunicorn('api-gunicorn', 'container_service.wsgi.api:application', port,
                           options.processes, options.threads,
                           CONTAINER_SERVICE_CONFIG=str(here.conf_file))
    return _Side(daemon, port, options.connections, queue)


def _compare(here, server, options, ours, bare):
    bare.measure([_FLOOR] * _WARM_UP)
    ours.measure(_starts(here, ours, [_CREATE] * _WARM_UP))
    creates = report.Comparison(f'accept create ({server})', 'floor')
    starts = report.Comparison(f'accept start ({server})', 'floor')
    for number in range(options.rounds):
        for comparison in (creates, starts):
            # Made ready outside of what is timed: each start is the first on its container.
            requests = [_CREATE] * options.requests
            if comparison is starts:
                requests = _starts(here, ours, requests)
            sides = [('ours', ours, requests), ('theirs', bare, [_FLOOR] * options.requests)]
            samples = {name: side.measure(todo)[0]
                       for name, side, todo in (sides if number % 2 else sides[::-1])}
            comparison.add(**samples)
            here.db.transact(_settle)
            report.say(f'round {number + 1}: {comparison.last()}')
    yield creates
    yield starts


def _starts(here, ours, creates):
    """Create containers, bring them to rest, and return a request to start each."""
    _, result = ours.measure(creates)
    here.db.transact(_settle)
    return [load.request('POST', f'/v1/containers/{answer.json()["uuid"]}/start', {}, _HEADERS)
            for answer in result.answers]


def _settle(conn):
    """Write down that all that was accepted has succeeded, as conductors would have."""
    containers, actions = models.containers, models.actions
    conn.execute(actions.update().where(actions.c.status == states.QUEUED).values(
        status=states.SUCCEEDED, finished_at=actions.c.created_at))
    conn.execute(containers.update().where(containers.c.task_state.is_not(None)).values(
        status=states.STOPPED, task_state=None, projected_status=None, runnable_at=None))
