# SPDX-License-Identifier: Apache-2.0
"""API processes that die."""

import time

from faults import proxy
from faults.scenario import scenario


@scenario('T-07', 'kill -9 an API between COMMIT and answer, and right after an answer',
          '0 lost; each create once, whatever was asked again')
def killed(run):
    count = run.sized(80, 500)
    with run.load(requests=count, clients=6, containers=count, pause=0.7,
                  mix={'create': 1}) as asking:
        asking.wait_for(6)
        before_answer = True
        while asking.busy():
            victim = run.random.choice(run.world.apis)
            link = victim.links['database']
            if before_answer:
                # What is committed now is never heard of.
                link.stall(proxy.DOWN)
                time.sleep(0.3)
            else:
                asking.wait_for(len(asking.requests) + 1)
            fault = run.nemesis.kill(victim)
            link.heal()
            run.nemesis.start(victim, fault)
            run.world.await_up(victim)
            before_answer = not before_answer
    run.settle(30)
    past = run.past()
    run.promised(len(past.containers) == count,
                 f'{count} creations were asked for, {len(past.containers)} containers were made')
    again = sum(len(request.tries) > 1 for request in past.requests)
    run.measure('asked again', again)
    run.expect_met(again, 'no client had to ask again')
