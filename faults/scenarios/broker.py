# SPDX-License-Identifier: Apache-2.0
"""The message broker goes away.  Nothing may depend on it but how soon something begins."""

import time

from faults import crowd
from faults import proxy
from faults.scenario import scenario


@scenario('T-08', 'the broker is stopped under load, and comes back',
          'all requests 202, p99 <= 0.5 s; actions begin within 4 s')
def stopped(run):
    fault = run.nemesis.note('stop', 'broker')
    run.world.broker.stop()
    try:
        # So few that most of it is asked for when nothing else is under way.
        with run.load(requests=run.sized(30, 300), clients=3, pause=run.sized(0.6, 0.3)) as asking:
            began = time.monotonic()
            while asking.busy() and time.monotonic() - began < run.sized(8, 60):
                time.sleep(0.1)
            run.settle(15)
    finally:
        run.world.broker.start()
        fault.ended = time.time()
    run.settle(15)
    _nothing_to_be_seen(run)


@scenario('T-09', 'the broker freezes, restarts with wakes in its queues, loses all queues; each '
          'wake 3 times and to all conductors',
          'as T-08; no effect twice')
def misused(run):
    world, nemesis = run.world, run.nemesis
    # As between hosts: who looks before another one writes gets a chance.
    for each in world.conductors:
        each.links['database'].delay(0.005)
    with (run.load(requests=run.sized(90, 900), clients=6, pause=run.sized(1.0, 0.6)) as asking,
          crowd.Bells(world, asking) as bells):
        asking.wait_for(5)
        for _ in range(run.sized(1, 3)):
            with nemesis.during('SIGSTOP', 'broker'):
                world.broker.freeze()
                time.sleep(run.sized(4, 30))
                world.broker.thaw()
            time.sleep(0.5)
            with nemesis.during('restart', 'broker'):
                for each in world.conductors:
                    each.links['broker'].stall(proxy.DOWN)
                asking.wait_for(len(asking.requests) + 3)
                world.broker.stop()
                world.broker.start()
                for each in world.conductors:
                    each.links['broker'].heal()
            time.sleep(0.5)
            with nemesis.during('queues deleted', 'broker'):
                for name in world.rabbitmqctl('list_queues', '--no-table-headers',
                                              '-p', world.name, 'name').split():
                    world.rabbitmqctl('delete_queue', '-p', world.name, name)
    run.settle(15)
    run.measure('wakes', bells.rung)
    run.expect(bells.rung > 100, f'only {bells.rung} wakes were sent')
    _nothing_to_be_seen(run)


def _nothing_to_be_seen(run):
    """What T-08 promises, whatever the broker does."""
    past = run.past()
    run.expect(past.requests, 'nothing was asked for')
    slowest = past.answers(0.99)
    run.measure('answers p99', slowest)
    run.expect_within(0.5, slowest, 'the slowest in 100 answers')
    refused = [one for one in past.requests if one.tries[0].status not in (202, 409, 404)]
    run.expect(not refused, f'{len(refused)} requests were not accepted at once')
    begun = max(past.waits(), default=0)
    run.measure('slowest begin', begun)
    run.expect_within(4, begun, 'the longest wait for a begin')
