# SPDX-License-Identifier: Apache-2.0
"""The database is restarted, frozen, full, and does not answer what it has done."""

import contextlib
import os
import threading
import time

from faults import crowd
from faults import disk
from faults.scenario import scenario

# Seconds that the API waits for a database that is there and silent; see [api] database_timeout.
_SILENCE = 3


class _Reader:
    """Reads a list again and again, as an impatient client would."""

    def __init__(self, world):
        self._crowd = crowd.Crowd(world, 'reader')
        self._over = threading.Event()
        self.answers = []
        self._thread = threading.Thread(target=self._run, daemon=True, name='reader')

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc_info):
        self._over.set()
        self._thread.join()

    def _run(self):
        with self._crowd.caller() as caller:
            while not self._over.wait(0.1):
                self.answers.append(caller.ask('GET', '/v1/containers?limit=5', patience=0))


@scenario('T-10', 'the database is restarted again and again under load: SIGTERM, kill -9; frozen',
          'while it is down 503 within 2 s; 0 lost, 0 twice; ended within 30 s of the last')
def restarted(run):
    world, sql = run.world, run.world.sql

    def frozen():
        sql.freeze()
        time.sleep(run.sized(2, 6))
        sql.thaw()

    def again(end):
        end()
        time.sleep(run.random.uniform(0, 1.5))
        sql.start()

    harms = {'SIGTERM': lambda: again(sql.stop), 'kill -9': lambda: again(sql.kill),
             'SIGSTOP': frozen}
    with (run.load(requests=run.sized(90, 600), clients=6, pause=run.sized(0.8, 1.5)) as asking,
          _Reader(world) as reader):
        asking.wait_for(5)
        for number in range(run.sized(3, 24)):
            name = list(harms)[number % 3]
            with run.nemesis.during(name, sql.name):
                harms[name]()
            time.sleep(run.sized(1.5, 3))
    run.measure('last ended after', run.settle(30))
    down = {True: [], False: []}                   # it was silent, or not: answers
    for answer in [*crowd.answers(run.past().requests), *reader.answers]:
        for fault in run.nemesis.faults:
            if fault.began < answer.sent_at < fault.ended:
                down[fault.kind == 'SIGSTOP'].append(answer)
    for silent, answers in down.items():
        limit = _SILENCE + 1 if silent else 2
        slowest = max((answer.seconds for answer in answers), default=0)
        run.measure(f'slowest answer while {"silent" if silent else "down"}', slowest)
        run.expect_within(limit, slowest, 'the slowest answer')
    statuses = {answer.status for answers in down.values() for answer in answers}
    run.expect_met(503 in statuses, 'nobody noticed')
    odd = statuses - {200, 202, 404, 409, 503}
    run.promised(not odd, f'there were answers with {odd}')


@scenario('T-11', 'the answers to 1 in 20 COMMITs are lost, on all links to the database',
          '0 lost, 0 twice')
def commits_unanswered(run):
    lost = run.told('commits_lost', 0.05)
    links = [host.links['database'] for host in run.world.hosts.values()]
    before = sum(link.counters.commits_lost for link in links)
    with run.nemesis.during(f'lost answers: {lost}', 'database'):
        for link in links:
            link.lose_commit_answer(lost)
        # Some have no key: what the API tries again for them must be had once, too.
        with (run.load(requests=run.sized(70, 700), clients=5, pause=0.3),
              run.load(requests=run.sized(40, 300), clients=3, pause=0.3, keys=False)):
            pass
        run.settle(30)
        for link in links:
            link.heal()
    count = sum(link.counters.commits_lost for link in links) - before
    run.measure('answers lost', count)
    run.expect_met(count >= 10, f'only {count} answers were lost')


def _refused(requests):
    return [answer for answer in crowd.answers(requests.requests) if answer.status == 503]


@scenario('T-25c', 'the disk of the database is full',
          'no false success; goes on without a restart')
def disk_full(run):
    sql = run.world.sql
    data = os.path.join(os.environ['CONTAINER_SERVICE_SERVICES_DIR'], sql.name, 'data')
    with contextlib.ExitStack() as stack:
        sql.stop()
        stack.callback(sql.start)
        small = stack.enter_context(disk.Small(data, run.world.directory / 'disk'))
        stack.callback(sql.stop)
        sql.start()
        run.world.await_all()
        # So large that the room is used up at once.
        filler = {f'FILL{number}': 'x' * 1000 for number in range(40)}
        requests = run.crowd()
        with run.load(requests=run.sized(40, 100), clients=4, pause=0.5) as asking:
            asking.wait_for(5)
            with run.nemesis.during('disk full', 'database'), requests.caller() as caller:
                small.fill()
                # There is room in the files that the server has already; then there is none.
                least = time.monotonic() + run.sized(6, 30)
                while time.monotonic() < least + 40 and (
                        time.monotonic() < least or not _refused(requests)):
                    requests.ask(caller, requests.creation('create', environment=filler,
                                                           keyed=False))
                small.free()
                if run.world.kind == 'mysql':
                    # It ends itself when it cannot even roll back, and takes its time for that.
                    sql.kill()
                    sql.start()
        refused = _refused(requests)
        run.measure('refused', len(refused))
        run.expect_met(refused, 'nothing was refused')
        run.measure('all ended after there was room', run.settle(30))
