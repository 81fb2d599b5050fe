# SPDX-License-Identifier: Apache-2.0
"""Which API version is spoken with an engine, and what that engine can do.

An engine says itself which versions it speaks and what its host can limit.  Its name and release
are not looked at: what behaves like an engine is one.  Differences between answers are met where
they are read (docker_answers.py and docker.py), by what is in the answer; doc/source/admin/engines
tells of them.
"""

import re
import typing

from container_service import exceptions

# The oldest is Docker Engine 20.10's.  The newest is the last one whose changes were looked
# through: an engine that speaks newer ones speaks this one too, and never surprises us.
OLDEST, NEWEST = (1, 41), (1, 55)


def text(version):
    return f'{version[0]}.{version[1]}'


def negotiate(answer, bay_name):
    """The version to speak, as text, by an answer of ``/version``.  Raises EngineUnsupported."""
    answer = answer if isinstance(answer, dict) else {}
    newest, oldest = (_parsed(answer.get(name)) for name in ('ApiVersion', 'MinAPIVersion'))
    if newest is None:
        raise exceptions.EngineUnsupported(
            f'What answers at the endpoint of bay {bay_name} is not a container engine.')
    # Without a word on its oldest version, it is asked whether it takes ours by using it.
    if newest < OLDEST or (oldest or OLDEST) > NEWEST:
        raise exceptions.EngineUnsupported(
            bay=bay_name, theirs=f'{text(oldest or newest)} to {text(newest)}',
            ours=f'{text(OLDEST)} to {text(NEWEST)}')
    return text(min(newest, NEWEST))


def _parsed(version):
    match = re.fullmatch(r'([0-9]{1,3})\.([0-9]{1,5})', str(version or ''), re.ASCII)
    return match and (int(match[1]), int(match[2]))


class Capability(typing.NamedTuple):
    """Something that the host of an engine may not be able to limit."""
    flag: str                 # in the engine's answer to ``/info``
    field: str                # in the HostConfig of a request
    what: str                 # completes "The engine cannot limit ..."
    needed: bool              # whether a request is refused that asks for it in vain

    @property
    def without(self):
        return ('A request for it is refused.' if self.needed
                else 'It is left out of requests.')


CAPABILITIES = (
    Capability('MemoryLimit', 'Memory', 'memory', True),
    Capability('CpuCfsQuota', 'NanoCpus', 'processors', True),
    Capability('SwapLimit', 'MemorySwap', 'swap', False),
    Capability('PidsLimit', 'PidsLimit', 'the number of processes', False),
)


def fit(config, info):
    """Take from a HostConfig what the engine would ignore; raise rather than lose a limit.

    Docker answers such requests with success and a warning.  ``info()`` gives its answer to
    ``/info``; what is not told there is taken for possible.  Raises UnsupportedByDriver.
    """
    if not any(config.get(each.field) for each in CAPABILITIES):
        return
    told = info()
    for each in CAPABILITIES:
        if config.get(each.field) and told.get(each.flag) is False:
            if each.needed:
                raise exceptions.UnsupportedByDriver(
                    f'The container engine of the bay cannot limit {each.what}.')
            del config[each.field]
