# SPDX-License-Identifier: Apache-2.0
"""The message broker goes away.  Nothing may depend on it but how soon something begins."""

import time

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
    past = run.past()
    run.expect(past.requests, 'nothing was asked for')
    slowest = past.answers(0.99)
    run.measure('answers p99', slowest)
    run.expect(slowest <= 0.5, f'1 % of the answers took more than {slowest:.2f} s')
    refused = [one for one in past.requests if one.tries[0].status not in (202, 409, 404)]
    run.expect(not refused, f'{len(refused)} requests were not accepted at once')
    begun = max(past.waits(), default=0)
    run.measure('slowest begin', begun)
    run.expect(begun <= 4, f'an action began {begun:.1f} s after it could')
