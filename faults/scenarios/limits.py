# SPDX-License-Identifier: Apache-2.0
"""Conductors that may open no more files."""

import contextlib
import resource
import time

from faults.scenario import scenario


@contextlib.contextmanager
def _no_files(pid):
    """Let a process open no file more than it has, while the context lasts."""
    soft, hard = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    # It is the highest number that a file may have, so that one below all that are there leaves
    # none, also when some are closed.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, hard))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (soft, hard))


def _missed(conductors):
    """How many lines of their logs tell of it."""
    return sum('Too many open files' in line or 'too many open files' in line
               for each in conductors
               for line in each.log.read_text(errors='replace').splitlines())


@scenario('T-25b', 'file descriptors exhausted in all conductors',
          'no false success; goes on without a restart')
def no_files(run):
    conductors = run.world.conductors
    missed = _missed(conductors)
    pids = [each.process.pid for each in conductors]
    with run.load(requests=run.sized(60, 200), clients=6, pause=run.sized(0.8, 2)) as asking:
        asking.wait_for(10)
        with contextlib.ExitStack() as stack:
            for each in conductors:
                stack.enter_context(run.nemesis.during('no files', each))
                stack.enter_context(_no_files(each.process.pid))
                for link in each.links.values():      # what is open would do for a while
                    link.cut()
                    link.heal()
            time.sleep(run.sized(5, 30))
        healed = time.time()
    run.measure('ended after', run.settle(30))
    run.measure('files not opened', _missed(conductors) - missed)
    run.expect_met(_missed(conductors) > missed, 'no conductor ran out of files')
    run.expect([each.process.pid for each in conductors] == pids
               and all(each.running() for each in conductors), 'a conductor has ended')
    for each in conductors:
        run.world.await_up(each)
    after = [took for bay in run.world.bays.values() for took in run.past().took(bay, healed)]
    run.expect(after, 'nothing succeeds after that')
    asker = run.asker()
    for name in run.world.engines:
        asker.succeeded(asker.make(name, 'run'))
