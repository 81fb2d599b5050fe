# SPDX-License-Identifier: Apache-2.0
"""Conductors that die."""

import copy
import time

from faults import load
from faults import process
from faults import world
from faults.scenario import scenario


@scenario('T-01', 'kill -9 a random conductor every 3 s, restarted after 1 s',
          'all ended within 30 s of the last kill; p50 <= 5 s')
def random_kills(run):
    nemesis = run.nemesis
    with run.load(requests=run.sized(90, 2000), clients=run.sized(6, 12),
                  pause=run.sized(0.5, 2.2)) as asking:
        asking.wait_for(5)
        while asking.busy():
            victim = nemesis.someone()
            nemesis.busy(victim, seconds=1)
            fault = nemesis.kill(victim)
            time.sleep(1)
            nemesis.start(victim, fault)
            time.sleep(2)
    took = run.settle(30)
    run.measure('last ended after', took)
    recoveries = run.past().recoveries()
    median = recoveries[len(recoveries) // 2] if recoveries else 0
    run.expect_met(recoveries, 'no kill hit an action that was under way')
    run.expect_within(5, median, 'half of what was hit')


@scenario('T-02', 'kill -9 all conductors, they stay down, and return',
          '0 lost; all ended within 30 s of their return')
def all_killed(run):
    nemesis, world_ = run.nemesis, run.world
    with run.load(requests=run.sized(60, 560), clients=6, containers=run.sized(4, 40),
                  pause=0.05) as asking:
        asking.wait_for(run.sized(15, 60))
        faults = [nemesis.kill(each) for each in world_.conductors]
    time.sleep(run.sized(5, 30))
    for each, fault in zip(world_.conductors, faults):
        nemesis.start(each, fault)
    run.measure('all ended after return', run.settle(run.sized(30, 90)))


@scenario('T-03', 'kill -9 one conductor that does not come back, 2 left, default settings',
          'taken over within 20 s; 0 failed', settings=world.DEFAULTS)
def never_restarted(run):
    nemesis = run.nemesis
    with run.load(requests=run.sized(60, 300), clients=6, pause=0.1,
                  mix=load.RERUN_ONLY) as asking:
        asking.wait_for(15)
        # Whoever has something to lose, in that very moment.
        for victim in run.world.conductors * 5:
            if nemesis.busy(victim, count=2, seconds=1):
                break
        nemesis.kill(victim)
    run.settle(40)
    past = run.past()
    taken = past.taken_over()
    run.expect_met(taken, 'nothing was under way on what was killed')
    run.measure('taken over', max(taken, default=0))
    run.expect_within(20, max(taken, default=0), 'taken over')
    failed = [one for one in past.actions.values() if one.status in ('failed', 'interrupted')]
    run.expect(not failed, f'{len(failed)} actions failed')


@scenario('T-05', 'SIGSTOP of a conductor for longer than its lease, then SIGCONT',
          'no write from an old claim; what was contradicted is repaired within 35 s')
def frozen_beyond_lease(run):
    with run.load(requests=run.sized(70, 2000), clients=6, pause=run.sized(0.8, 1.5)) as asking:
        asking.wait_for(5)
        for _ in range(run.sized(2, 100)):
            victim = run.nemesis.someone()
            run.nemesis.busy(victim, seconds=2)
            run.nemesis.freeze(victim, run.lease * run.random.uniform(1.5, 2))
            time.sleep(0.5)
    run.settle(35)
    past = run.past()
    run.expect_met(past.takeovers(), 'nothing was taken over from what was frozen')
    run.measure('taken over', len(past.takeovers()))


@scenario('T-05a', 'SIGSTOP of a conductor between a claim and what is done under it, or that and '
          'its record, until others have done it and its opposite',
          'nothing is done or written under the old claim')
def frozen_in_the_middle(run):
    many, hit = run.crowd(), 0
    with many.caller() as caller:
        for number in range(run.sized(2, 50)):
            # So many that it has one of them.
            containers = many.made_all(caller, 12, operation='create')
            victim = run.nemesis.someone()
            # It has claimed, or started, and does not know it yet.
            for part in ('one', 'two') if number % 2 else ('database',):
                victim.links[part].late_answer(0.8)
            starts = many.ask_all(caller, containers, 'start')
            hit += run.nemesis.busy(victim, seconds=1)
            time.sleep(0.2 if number % 2 else 0)
            with run.nemesis.during('SIGSTOP', victim, stops_work=True):
                victim.freeze()
                victim.heal()
                many.ended(caller, starts)
                many.ended(caller, many.ask_all(caller, containers, 'stop', timeout=0))
                victim.thaw()
            time.sleep(1)
    run.expect_met(hit, 'nobody had claimed anything when it was frozen')
    run.measure('hit', hit)


@scenario('T-05b', 'a conductor is frozen, another is started in its place on the same host, then '
          'the frozen one goes on beside it', 'nothing is taken over from the living')
def frozen_and_replaced(run):
    world, many = run.world, run.crowd()
    old = run.nemesis.someone()
    new = copy.copy(old)
    new.process = None
    with many.caller() as caller:
        containers = many.made_all(caller, 8, operation='create')
        with run.nemesis.during('SIGSTOP', old, stops_work=True):
            old.freeze()
            new.start()
            try:
                process.wait_for(lambda: world.is_up(new), f'a second {new} does not come up')
                many.ended(caller, many.ask_all(caller, containers, 'start'))
            finally:
                old.thaw()
        try:
            time.sleep(1)
            before = len(run.past().freed())
            # So slow that all can see what is under way.
            for each in world.conductors:
                for engine in world.engines:
                    each.links[engine].late_answer(2)
            many.ended(caller, many.ask_all(caller, containers, 'pause'))
            taken = len(run.past().freed()) - before
            run.expect(not taken, f'{taken} actions were taken over from the living')
            world.proxy.heal()
            run.settle(30)
        finally:
            new.stop()


@scenario('T-06', 'SIGSTOP of a conductor for less than its lease, many times',
          '0 taken over, 0 failed')
def frozen_within_lease(run):
    with run.load(requests=run.sized(70, 1500), clients=6, pause=0.5,
                  mix=load.RERUN_ONLY) as asking:
        asking.wait_for(5)
        for _ in range(run.sized(6, 200)):
            victim = run.nemesis.someone()
            run.nemesis.busy(victim, seconds=1)
            run.nemesis.freeze(victim, run.lease / 3)
            time.sleep(0.2)
    run.settle(30)
    past = run.past()
    run.expect(not past.takeovers(), f'{len(past.takeovers())} actions were taken over')
    failed = [one for one in past.actions.values() if one.status in ('failed', 'interrupted')]
    run.expect(not failed, f'{len(failed)} actions failed')


@scenario('T-21', 'a rolling restart under load: SIGTERM and start, one process after the other',
          '0 failed, 0 taken over, nothing waits more than 2 s for its begin')
def rolling_restart(run):
    with run.load(requests=run.sized(100, 1000), clients=8, pause=0.8,
                  mix=load.RERUN_ONLY) as asking:
        asking.wait_for(5)
        for _ in range(run.sized(1, 5)):
            for each in run.world.hosts.values():
                fault = run.nemesis.note('SIGTERM', each)
                status = each.stop()
                run.expect(status == 0, f'{each} ended with {status}')
                run.nemesis.start(each, fault)
                run.world.await_up(each)
    run.settle(30)
    past = run.past()
    run.expect(not past.takeovers(), f'{len(past.takeovers())} actions were taken over')
    failed = [one for one in past.actions.values()
              if one.status in ('failed', 'interrupted', 'skipped')]
    run.expect(not failed, f'{len(failed)} actions failed')
    waited = max(past.waits(), default=0)
    run.measure('longest wait for a begin', waited)
    run.expect_within(2, waited, 'the longest wait for a begin')
