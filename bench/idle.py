# SPDX-License-Identifier: Apache-2.0
"""What a conductor costs while nothing is to be done: with empty tables, and with full ones."""

import datetime
import sys
import time

from bench import deployment
from bench import report
from bench import silent_engine
from container_service import lifecycle
from container_service import states
from container_service.db import actions
from container_service.db import bays
from container_service.db import conductors
from container_service.db import containers
from container_service.db import paging
from container_service.db import settings

_SETTLE_SECONDS = 20          # after the first comparison of all bays
_CHUNK = 2000
_ALL = paging.Page(limit=1000)


def measure(options):
    """Yield a report.Burden: the same conductor, before there were rows and after."""
    with deployment.Deployment({}) as here:
        samples = {}
        for name, rows in (('empty', 0), ('full', options.rows)):
            live = min(options.live, rows)
            _start_engines(here, options.bays, live)
            if rows:
                _fill(here, options.bays, live, rows)
            samples[name] = _watch(here, options.seconds)
            report.say(f'{rows} containers and as many actions, {live} of them on '
                       f'{options.bays} engines: {samples[name]}')
            here.stop_daemons()
        yield report.Burden(f'idle, {options.rows} rows', **samples)


def _start_engines(here, count, live):
    """Engines that share the containers that live, and their bays."""
    known = settings.deployment(here.db)
    each = live // count
    for number in range(count):
        path = here.work / f'engine{number}-{live}'
        here.spawn(f'engine {number}', [
            sys.executable, '-m', 'bench.silent_engine', str(path), known,
            str(number * each), str(each)])
        here.wait_for(path.exists, f'{path} is not there')
        values = {'endpoint': f'unix://{path}', 'watcher_uuid': None, 'reconciled_at': None}
        with here.db.read() as conn:
            found = bays.listing(conn, page=_ALL)[0]
        if number < len(found):
            here.db.transact(lambda conn, row=found[number], values=values: bays.update(
                conn, row.uuid, values))
        else:
            values = {**values, 'uuid': lifecycle.new_uuid(), 'project_id': 'p',
                      'name': f'engine{number}', 'driver': 'docker', 'hosts': ['bench'],
                      'public': True, 'status': 'CREATE_COMPLETE', 'health_status': 'UNKNOWN'}
            here.db.transact(lambda conn, values=values: bays.insert(conn, values))


def _fill(here, count, live, rows):
    """Containers, the first of them live and the others deleted, with an action each."""
    with here.db.read() as conn:
        places = [row.uuid for row in bays.listing(conn, page=_ALL)[0]]
    each, past = live // count, datetime.datetime(2026, 1, 1)
    lately = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
    for first in range(0, rows, _CHUNK):
        made, done = [], []
        for number in range(first, min(first + _CHUNK, rows)):
            is_live = number < each * count
            place = places[number // each if is_live else number % count]
            uuid = silent_engine.uuid_of(number)
            made.append({
                'uuid': uuid, 'project_id': f'project-{number % 50}', 'user_id': 'u',
                'name': f'container-{number}',
                'live_name': f'container-{number}' if is_live else None, 'bay_uuid': place,
                'image': 'cs-test/busybox:latest', 'spec': {'command': ['sleep', '1000']},
                'status': states.RUNNING if is_live else states.DELETED,
                'engine_id': silent_engine.engine_id_of(number), 'oom_killed': False,
                'addresses': {}, 'generation': 1, 'fence': 1, 'next_sequence': 2,
                'started_at': past, 'created_at': past, 'updated_at': past,
                'deleted_at': None if is_live else lately})
            done.append({
                'uuid': lifecycle.new_uuid(), 'resource_type': 'container',
                'resource_uuid': uuid, 'sequence': 1, 'operation': 'run', 'params': {},
                'project_id': f'project-{number % 50}', 'bay_uuid': place,
                'status': states.SUCCEEDED, 'created_at': past, 'started_at': past,
                'finished_at': lately})

        def unit(conn, made=made, done=done):
            conn.execute(containers.table.insert(), made)
            conn.execute(actions.table.insert(), done)

        here.db.transact(unit)
    with here.db.read() as conn:
        for table in ('containers', 'actions'):
            conn.exec_driver_sql(f'ANALYZE TABLE {table}').all()


def _watch(here, seconds):
    """What a conductor uses once it has compared everything."""
    conductor = here.daemon('container-service-conductor')

    def compared():
        conductor.check()
        with here.db.read() as conn:
            return conductors.live(conn) and all(
                row.reconciled_at for row in bays.listing(conn, page=_ALL)[0])

    here.wait_for(compared, 'not all bays were compared', 300)
    peak = conductor.memory_mib('VmHWM')
    time.sleep(_SETTLE_SECONDS)
    began, before = time.perf_counter(), conductor.cpu_seconds()
    time.sleep(seconds)
    used = conductor.cpu_seconds() - before
    conductor.check()
    return report.Idle(100 * used / (time.perf_counter() - began),
                       conductor.memory_mib('VmRSS'), max(peak, conductor.memory_mib('VmHWM')))
