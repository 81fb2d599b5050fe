# SPDX-License-Identifier: Apache-2.0
"""What a scenario is, and one run of it: load, harm, quiescence, check, clean-up.

A scenario is a function that gets a ``Run``, with the row of the table that it stands for.  The
modules in ``scenarios`` register theirs when they are imported.
"""

import collections
import dataclasses
import random
import time

from container_service import states
from faults import asker
from faults import bugs
from faults import checker
from faults import client
from faults import crowd
from faults import history
from faults import load
from faults import nemesis
from faults import process
from faults import world as worlds

SHORT, LONG = 'short', 'long'

# What is wrong when the suite itself cannot go on, when what was to be hurt was not, when a target
# was missed; and when something was done that never may be, beside the invariants.
SUITE, HARM, TARGET, PROMISE = 'suite', 'harm', 'target', 'promise'

SCENARIOS = {}

# What is recorded may be this old where nothing is under way: a pass of the reconciler.
_CONVERGE_SECONDS = 12


@dataclasses.dataclass(frozen=True)
class Scenario:
    id: str
    title: str
    target: str
    function: object
    settings: dict                      # of the conductors
    outside: str                        # effects that come from nobody's action, as letters


def scenario(id, title, target, settings=worlds.QUICK, outside=''):
    """Register a function as a scenario."""
    def register(function):
        SCENARIOS[id] = Scenario(id, title, target, function, settings, outside)
        return function
    return register


@dataclasses.dataclass
class Result:
    """What came of one run."""
    scenario: Scenario
    database: str
    bug: str = None
    seconds: float = 0
    faults: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    outcomes: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    recoveries: list = dataclasses.field(default_factory=list)
    errors: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    slowest_answer: float = 0
    measured: dict = dataclasses.field(default_factory=dict)
    late: list = dataclasses.field(default_factory=list)    # targets in seconds that were missed
    violations: list = dataclasses.field(default_factory=list)
    stories: list = dataclasses.field(default_factory=list)
    unsteady: bool = False              # it failed, and passed when it was run again

    @property
    def passed(self):
        """Whether there was nothing wrong; or, with a bug, whether it was caught."""
        if self.bug is None:
            return not self.violations
        return any(each.invariant in bugs.BUGS[self.bug].violates for each in self.violations)

    @property
    def forgivable(self):
        """Whether it may have failed because the machine was busy.

        No invariant is violated then; or, with a bug, it was not caught.
        """
        return not self.passed and (self.bug is not None or all(
            each.invariant in (SUITE, HARM, TARGET) for each in self.violations))

    @property
    def unlucky(self):
        """Whether all that is wrong is that the harm did not meet what it was meant for."""
        return bool(self.violations) and all(
            each.invariant == HARM for each in self.violations)


class Run:
    """One run of a scenario on a world; what its function is given."""

    def __init__(self, world, scenario, seed, scale=SHORT, times=False):
        self.world, self.scenario, self.scale, self._times = world, scenario, scale, times
        self.random = random.Random(f'{seed}/{scenario.id}')  # noqa: S311 - seeded on purpose
        self.nemesis = nemesis.Nemesis(world, self.random)
        self.loads = []
        self.result = Result(scenario, world.kind, world.bug and world.bug.name)
        self.last_settled = None
        world.runs += 1
        # No other run in this world has names and keys that begin with it.
        self.name = f'{scenario.id.lower()}r{world.runs}'

    # For scenarios.

    def sized(self, short, long):
        """``short`` in the short run, ``long`` in the long one."""
        return long if self.scale == LONG else short

    def told(self, name, otherwise):
        """What the bug that is to be caught says of how to catch it."""
        return self.world.bug.values.get(name, otherwise) if self.world.bug else otherwise

    @property
    def lease(self):
        """Seconds for which conductors hold their claims here."""
        return self.scenario.settings.get('lease', 15)

    def load(self, **values):
        """A Load, part of what is checked at the end."""
        name = f'{self.name}l{len(self.loads)}'
        self.loads.append(load.Load(self.world, self.random, name, **values))
        return self.loads[-1]

    def asker(self):
        """An Asker, part of what is checked at the end."""
        self.loads.append(asker.Asker(self.world, f'{self.name}a{len(self.loads)}'))
        return self.loads[-1]

    def crowd(self):
        """A Crowd, part of what is checked at the end."""
        self.loads.append(crowd.Crowd(self.world, f'{self.name}c{len(self.loads)}'))
        return self.loads[-1]

    def settle(self, seconds=30):
        """Wait until all that was accepted has ended; returns how long that took."""
        began = time.monotonic()
        if self.world.bug and self.result.violations:
            seconds = 1                       # it is known that it does not end
        while count := self.under_way():
            if time.monotonic() - began > seconds:
                self.violated('I6', f'{count} actions have not ended {seconds} s after the end '
                              f'of load and harm')
                break
            time.sleep(0.05)
        self.last_settled = time.monotonic() - began
        return self.last_settled

    def mark(self):
        """What is made from now on can be asked for with ``past(mark)``."""
        return history.History.mark(self.world)

    def under_way(self):
        """How many of the actions that were accepted have not ended."""
        return history.History.unfinished(self.world, self._mark)

    def past(self, mark=None):
        """The History of this run up to now."""
        return history.History(self.world, self._mark if mark is None else mark, self.loads,
                               self.nemesis.faults)

    def measure(self, name, value):
        """Note a figure for the report."""
        self.result.measured[name] = value

    def expect(self, fulfilled, words):
        """A target of this scenario beside the invariants, which a busy machine may miss."""
        if not fulfilled:
            self.violated(TARGET, words)

    def promised(self, fulfilled, words):
        """Another invariant, of this scenario alone."""
        if not fulfilled:
            self.violated(PROMISE, words)

    def expect_met(self, found, words):
        """That the harm met what it was meant for.  Else the run says nothing, and is repeated."""
        if not found:
            self.violated(HARM, words)

    def expect_within(self, limit, seconds, words):
        """A target in seconds.

        How fast something is depends on the machine and on what else it does, so one that is
        missed is told, and wrong only where times were asked for.
        """
        if seconds > limit:
            self.result.late.append(f'{words}: {seconds:.2f} s, more than {limit:g} s')
            if self._times:
                self.violated(TARGET, self.result.late[-1])

    def expect_unchanged(self, name, before, after):
        """Expect that what took so many seconds before takes no longer afterwards.

        A machine that does other things as well is not exact to a fifth of some milliseconds.
        What is held up by the harm is so for as long as the harm lasts, which is longer.
        """
        for share, word in ((0.5, 'p50'), (0.95, 'p95')):
            self.measure(f'{name} {word} before', _share(before, share))
            self.measure(f'{name} {word} with it', _share(after, share))
        self.expect(before and after, f'nothing was done on {name}')
        limit = max(1.2 * _share(before, 0.95), _share(before, 0.95) + self.sized(2, 0.5))
        self.expect_within(limit, _share(after, 0.95), f'{name}: the slowest in 20')

    def violated(self, invariant, words, container=None):
        self.result.violations.append(checker.Violation(invariant, words, container))

    # The run itself.

    def __call__(self):
        """Do all of it; returns the Result."""
        began, self._start = time.monotonic(), time.time()
        try:
            self._mark = self.mark()
            self.world.mend(self.scenario.settings)
            self.scenario.function(self)
            self.world.mend(self.scenario.settings)
            self.settle(5 if self.result.violations else 30)
            self._check()
        except process.Broken as exc:
            self.violated(SUITE, str(exc))
        self._sum_up()
        try:
            if self.world.bug is None:
                self.world.mend(self.scenario.settings)
                self._clean_up()
        except process.Broken as exc:
            self.violated(SUITE, f'after the check: {exc}')
        self.result.seconds = time.monotonic() - began
        return self.result

    def _check(self):
        until = time.monotonic() + _CONVERGE_SECONDS
        while True:
            found = checker.Checker(self.world, self.past(), self.scenario.outside)()
            # What nobody is at may be put right by a pass of the reconciler.
            if ({each.invariant for each in found} - {'I3', 'I4'} or not found
                    or time.monotonic() > until):
                break
            time.sleep(0.5)
        self.result.violations += found

    def _sum_up(self):
        past, result = self.past(), self.result
        result.faults.update(fault.kind.partition(':')[0]
                             for fault in self.nemesis.faults)
        result.outcomes['requests'] = len(past.requests)
        result.outcomes['accepted'] = sum(request.accepted for request in past.requests)
        result.outcomes.update(action.status for action in past.actions.values())
        result.errors.update(f'{action.operation}: {action.error["code"]}'
                             for action in past.actions.values()
                             if action.status in (states.FAILED, states.INTERRUPTED))
        result.recoveries = result.recoveries or past.recoveries()
        result.slowest_answer = max((attempt.seconds for request in past.requests
                                     for attempt in request.tries), default=0)
        told = {}
        for violation in result.violations:
            if violation.container is not None:
                told.setdefault(violation.container.uuid, violation.container)
        result.stories = [history.story(each, self.nemesis.faults, self.world, self._start)
                          for each in list(told.values())[:5]]

    def _clean_up(self):
        """Let the deployment delete what is left, so that the next scenario begins empty."""
        caller = client.Client(self.world.clients)
        for container in self.past().containers:
            if container.row.deleted_at is None and container.row.status != states.DELETED:
                caller.ask('DELETE', f'/v1/containers/{container.uuid}?force=true')
        caller.close()
        process.wait_for(lambda: not self.under_way(),
                         'what is left cannot be deleted', 30)


def _share(seconds, share):
    """What so large a share of a sorted list does not exceed."""
    return seconds[int(share * (len(seconds) - 1))] if seconds else 0
