# SPDX-License-Identifier: Apache-2.0
"""All of it in one long mix."""

import time

from faults import observer
from faults.scenario import scenario


def _kill_conductor(run):
    _kill(run, run.nemesis.someone())


def _kill_api(run):
    _kill(run, run.random.choice(run.world.apis))


def _kill(run, host):
    fault = run.nemesis.kill(host)
    time.sleep(run.random.uniform(0, 2))
    run.nemesis.start(host, fault)


def _freeze_conductor(run):
    run.nemesis.freeze(run.nemesis.someone(), run.lease * run.random.uniform(0.2, 1.8))


def _part(run):
    victim = run.random.choice(list(run.world.hosts.values()))
    part, link = run.random.choice(list(victim.links.items()))
    with run.nemesis.during(f'partition: {part}', victim):
        run.random.choice((link.cut, link.stall))()
        time.sleep(run.lease * run.random.uniform(0.2, 1.8))
        link.heal()


def _lose_answers(run):
    victim = run.random.choice(list(run.world.hosts.values()))
    with run.nemesis.during('lost answers', victim):
        victim.links['database'].lose_commit_answer(0.2)
        if 'one' in victim.links:
            victim.links['one'].lose_answer(0.2)
            victim.links['two'].lose_answer(0.2)
        time.sleep(run.lease)
        victim.heal()


def _kill_broker(run):
    with run.nemesis.during('kill -9', 'broker'):
        run.world.broker.kill()
        run.world.broker.start()


def _kill_database(run):
    with run.nemesis.during('kill -9', 'database'):
        run.world.sql.kill()
        run.world.sql.start()


def _freeze_engine(run):
    run.nemesis.freeze(run.world.engines['two'], run.lease)


def _kill_engine(run):
    engine = run.world.engines['two']
    with run.nemesis.during('kill -9', engine, effects=observer.UNPAUSE + observer.DIE):
        engine.kill()
        engine.start()


_HARM = {_kill_conductor: 6, _kill_api: 2, _freeze_conductor: 3, _part: 4, _lose_answers: 2,
         _kill_broker: 1, _kill_database: 1, _freeze_engine: 1, _kill_engine: 1}


@scenario('T-26', 'a seeded mix of all kinds of harm', '0 violations')
def soak(run):
    clients = 6
    seconds = run.sized(20, 900)
    with run.load(requests=100000, clients=clients, pause=2) as asking:
        asking.wait_for(5)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            harm, = run.random.choices(list(_HARM), list(_HARM.values()))
            harm(run)
            time.sleep(run.random.uniform(0, 1.5))
        asking.stop()
    run.measure('ended after the last', run.settle(60))
