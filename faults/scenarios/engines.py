# SPDX-License-Identifier: Apache-2.0
"""Engines that die, freeze and restart, and answers of theirs that do not come as they should."""

import contextlib
import time

from container_service import states
from faults import load
from faults import observer
from faults import process
from faults import proxy
from faults import world
from faults.scenario import scenario


def _killed(run, engine):
    with run.nemesis.during('kill -9', engine, effects=observer.UNPAUSE + observer.DIE):
        engine.kill()
        time.sleep(1)
        engine.start()


def _frozen(run, engine):
    run.nemesis.freeze(engine, run.sized(6, 40))


def _restarted(run, engine):
    with run.nemesis.during('restart', engine, effects=observer.UNPAUSE + observer.DIE):
        engine.stop()
        engine.start()


@scenario('T-13', 'kill -9, SIGSTOP and restart of an engine under load, in cycles',
          'the other engine as fast as before; 0 orphans, 0 stuck',
          settings={**world.QUICK, 'orphan_grace': 2})
def engine_hurt(run):
    two, bays = run.world.engines['two'], run.world.bays
    requests = run.sized(24, 100)
    with run.load(bays=['one'], requests=requests, clients=3, pause=0.3), \
            run.load(bays=['two'], requests=requests, clients=3, pause=0.3):
        pass
    run.settle()
    before, began = run.past().took(bays['one']), time.time()
    requests, pause = run.sized(60, 250), run.sized(0.8, 20)
    with run.load(bays=['one'], requests=requests, clients=4, pause=pause) as one, \
            run.load(bays=['two'], requests=requests, clients=4, pause=pause) as other:
        for number in range(run.sized(3, 30)):
            run.nemesis.busy_bay('two', seconds=2)
            (_killed, _frozen, _restarted)[number % 3](run, two)
            time.sleep(1)
        one.stop()
        other.stop()
    run.measure('ended after the last', run.settle(40))
    run.expect_unchanged('the other bay', before, run.past().took(bays['one'], began))
    _late_creations(run, two)


def _late_creations(run, engine):
    """Let creations come to an engine after they were given up, cancelled and undone."""
    asker, victim = run.asker(), run.nemesis.someone()
    with run.nemesis.during('stalled link', victim):
        victim.links[engine.name].stall(proxy.UP)
        actions = [asker.make(engine.name) for _ in range(run.sized(9, 30))]
        # Those that others have claimed succeed.
        run.nemesis.busy(victim, seconds=2)
        time.sleep(1)
        actions = [action for action in actions
                   if asker.show(action)['status'] == states.ACTION_RUNNING]
        fault = run.nemesis.kill(victim)
        for number, action in enumerate(actions):
            if number % 2:
                asker.ask('delete', action['container_uuid'], force='true')
            else:
                asker.cancel(action)
        run.settle(20)
        run.nemesis.start(victim, fault)
        for action in actions:
            run.nemesis.note('late creation', action['container_uuid'],
                             effects=observer.CREATE + observer.DESTROY)
        victim.heal()
        healed = time.time()
    time.sleep(1)
    made = [event for action in actions
            for event in run.world.observer.of(action['container_uuid'])
            if event.letter == observer.CREATE and event.at > healed]
    run.measure('created late', len(made))
    run.expect_met(made, 'no creation was carried out after it had been given up')

    def left():
        return [data for data in engine.of_deployment(run.world.deployment)
                if data['Id'] in {event.engine_id for event in made}]

    with contextlib.suppress(process.Broken):
        # If they stay, they must be what is shown, see I3 and I4.
        process.wait_for(lambda: not left(), 'they stay', run.sized(15, 120))
    run.measure('late ones left', len(left()))
    run.measure('last of them gone after', time.time() - healed)


@scenario('T-14', 'an engine whose answers are lost after the effect, come late, or are errors',
          'each effect exactly once; what was lost or late fails nothing')
def answers_spoiled(run):
    links = [host.links[name] for host in run.world.conductors for name in run.world.engines]
    for kind, harm in (
            ('answers lost', lambda link: link.lose_answer(0.2)),
            ('answers late', lambda link: link.late_answer(run.sized(2, 5), 0.2)),
            ('answers 500', lambda link: link.answer_500(0.2))):
        counter = kind.replace(' ', '_')
        # Errors may fail what is asked for; so may a signal of which nobody knows whether it was
        # sent.
        mix = load.MIX if kind == 'answers 500' else load.RERUN_ONLY
        with run.load(requests=run.sized(30, 334), clients=6, pause=0.1, mix=mix), \
                run.nemesis.during(kind, 'all engines'):
            before = sum(getattr(link.counters, counter) for link in links)
            for link in links:
                harm(link)
        run.settle(run.sized(30, 60))
        for link in links:
            link.heal()
        spoiled = sum(getattr(link.counters, counter) for link in links) - before
        run.measure(kind, spoiled)
        run.expect_met(spoiled, f'no {kind}')
        if kind != 'answers 500':
            failed = [one for one in run.past().actions.values() if one.status == states.FAILED]
            run.expect(not failed, f'{len(failed)} actions failed after {kind}')


@scenario('T-25a', 'the disk of an engine is full', 'no false success; goes on without a restart')
def disk_full(run):
    two, asker = run.world.engines['two'], run.asker()
    containers = [asker.succeeded(asker.make('two', 'run')) for _ in range(run.sized(2, 10))]
    values = {'bays': ['two'], 'requests': run.sized(20, 100), 'clients': 4, 'pause': 0.2}
    with run.nemesis.during('disk full', two):
        two.fill_disk()
        with run.load(**values):
            for operation in ('stop', 'start', 'pause', 'unpause'):
                for container in containers:
                    # What may be asked for depends on what became of the one before.
                    with contextlib.suppress(process.Broken):
                        asker.wait(asker.ask(operation, container))
        run.settle(60)
        two.free_disk()
    freed = time.time()
    failed = [one for one in run.past().actions.values() if one.status == states.FAILED]
    run.measure('failed', len(failed))
    run.expect_met(failed, 'the engine had room for everything')
    with run.load(**values):
        pass
    run.settle(30)
    run.expect(run.past().took(run.world.bays['two'], freed), 'nothing succeeds after that')
    asker.succeeded(asker.make('two', 'run'))
