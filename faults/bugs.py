# SPDX-License-Identifier: Apache-2.0
"""Bugs to be put into the daemons, each the lack of one protection, with the scenario that must
catch it.  A suite that finds nothing wrong with them would find nothing at all.

A bug is a function that changes modules of the product before a command runs its ``main``; what
it needs to know is in its environment.  ``sabotaged.py`` calls it.
"""

import dataclasses

BUGS = {}


@dataclasses.dataclass(frozen=True)
class Bug:
    name: str
    caught_by: str                      # id of a scenario
    function: object

    @property
    def title(self):
        return self.function.__doc__


def bug(name, caught_by):
    """Register a function as a bug."""
    def register(function):
        BUGS[name] = Bug(name, caught_by, function)
        return function
    return register


@bug('no-poll', caught_by='T-08')
def no_poll():
    """Nobody looks for queued actions whose doorbell was not heard."""
    from container_service.conductor import sweep
    sweep.Sweep.wake = lambda self: None
