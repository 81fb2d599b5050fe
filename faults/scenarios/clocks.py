# SPDX-License-Identifier: Apache-2.0
"""Clocks that are wrong, and jump."""

import time

from faults import clock
from faults.scenario import scenario


@scenario('T-22', 'the clocks of two conductors jump by an hour, that of the database by a minute',
          '0 taken over from the living; from the dead within twice the lease')
def jumps(run):
    world = run.world
    early, late, right = world.conductors
    step = run.sized(20, 60)
    clocks = {each: clock.Clock(world.directory, str(each)) for each in (early, late, 'database')}
    for each in (early, late):
        each.stop()
        each.environ = clocks[each].environ
    world.sql.stop()
    world.sql.start(**clocks['database'].environ)
    world.mend(run.scenario.settings)
    try:
        with run.load(requests=run.sized(50, 300), clients=6, pause=run.sized(1, 2)) as asking:
            asking.wait_for(5)
            for each, seconds in ((early, -3600), (late, 3600), ('database', step),
                                  ('database', 0), ('database', -step), ('database', 0)):
                with run.nemesis.during(f'clock: {seconds} s', each):
                    clocks[each].jump(seconds)
                    time.sleep(run.sized(run.lease / 2, run.lease * 2))
        # What was accepted by a clock that was ahead waits until the right one has come there.
        run.settle(30 + step)
        takeovers = run.past().takeovers()
        run.expect(not takeovers, f'{len(takeovers)} actions were taken over')
        # Who is not there any more is found dead all the same.  The times of what was done
        # before are of another clock, so this is looked at apart.
        mark = run.mark()
        with run.load(requests=30, clients=6, pause=0.2):
            run.nemesis.busy(right, seconds=3)
            run.nemesis.kill(right)
            # Back before anybody may be found dead, so that our own figures are right.
            clocks['database'].jump(step)
            time.sleep(run.lease / 2)
            clocks['database'].jump(0)
        run.settle(30)
    finally:
        for each in (early, late):
            each.environ = {}
            each.kill()
    past = run.past(mark)
    run.result.recoveries = past.recoveries()
    freed = past.taken_over()
    run.measure('taken over from the dead', max(freed, default=0))
    run.expect_met(freed, 'nothing was under way on what was killed')
    run.expect_within(2 * run.lease, max(freed, default=0), 'taken over')
