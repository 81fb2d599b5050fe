# SPDX-License-Identifier: Apache-2.0
"""Partitions: a conductor that some or all parts are cut off from."""

import itertools
import time

from faults import proxy
from faults.scenario import scenario

_PARTS = (('database',), ('broker',), ('one',), ('two',), ('database', 'broker', 'one', 'two'))


def _cut(link):
    link.cut()


def _stall(link):
    link.stall()


def _stall_answers(link):
    link.stall(proxy.DOWN)


def _stall_requests(link):
    link.stall(proxy.UP)


_KINDS = (_cut, _stall, _stall_answers, _stall_requests)


@scenario('T-20', 'partitions of one conductor: each part, all, one direction, flapping',
          'the invariants hold; healed within 30 s')
def partitions(run):
    combinations = list(itertools.product(_PARTS, _KINDS))
    chosen = run.random.sample(combinations, run.sized(3, len(combinations)))
    with run.load(requests=run.sized(60, 1000), clients=6, pause=1.2) as asking:
        asking.wait_for(5)
        for parts, harm in chosen:
            victim = run.nemesis.someone()
            run.nemesis.busy(victim, seconds=1)
            with run.nemesis.during(f'partition:{harm.__name__[1:]} {"+".join(parts)}', victim):
                for part in parts:
                    harm(victim.links[part])
                time.sleep(run.lease * 1.5)
                victim.heal()
            time.sleep(0.5)
        victim = run.nemesis.someone()
        with run.nemesis.during('partition:flapping', victim):
            for _ in range(run.sized(3, 30)):
                victim.links['database'].cut()
                time.sleep(0.5)
                victim.heal()
                time.sleep(0.5)
    run.measure('ended after healing', run.settle(30))
