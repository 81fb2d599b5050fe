# SPDX-License-Identifier: Apache-2.0
"""Bugs to be put into the daemons, each the lack of one protection, with the scenario that must
catch it.  A suite that finds nothing wrong with them would find nothing at all.

A bug is a function that changes modules of the product before a command runs its ``main``; what
it needs to know is in its environment.  ``sabotaged.py`` calls it.  One protection often has
another behind it: where that hides a bug from everybody but us, the bug takes both away.
"""

import ast
import dataclasses
import inspect
import textwrap

BUGS = {}


@dataclasses.dataclass(frozen=True)
class Bug:
    name: str
    caught_by: str                      # id of a scenario
    violates: tuple                     # what the scenario must find violated, one of them
    function: object
    values: dict                        # what the scenario is told, see Run.told

    @property
    def title(self):
        return inspect.getdoc(self.function).partition('\n')[0]


def bug(name, caught_by, *violates, **values):
    """Register a function as a bug."""
    def register(function):
        BUGS[name] = Bug(name, caught_by, violates, function, values)
        return function
    return register


def rewrite(function, *changes):
    """Let a function of the product have other code: ``changes`` are pairs of old and new text.

    Wherever it is known by, it is the new one.  Fails when a text is not there exactly once.
    """
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    for old, new in changes:
        if source.count(old) != 1:
            raise LookupError(f'{source.count(old)} times in {function.__qualname__}: {old}')
        source = source.replace(old, new)
    tree = ast.parse(source)
    tree.body[0].decorator_list = []
    made = {}
    exec(compile(tree, f'<{function.__qualname__} with a bug>', 'exec'),  # noqa: S102
         function.__globals__, made)
    function.__code__ = made[function.__name__].__code__


@bug('no-poll', 'T-08', 'I6')
def no_poll():
    """Nobody looks for queued actions whose doorbell was not heard."""
    from container_service.conductor import sweep
    sweep.Sweep.wake = lambda self: None


@bug('no-fence', 'T-05a', 'I5')
def no_fence():
    """The outcome of an action is written whoever has claimed it meanwhile."""
    from container_service import lifecycle
    rewrite(lifecycle._finish,
            ('if row.fence != claim.fence:', 'if False:'),
            ('[actions.of_claim(claim.uuid)]', '[]'))


@bug('no-lease-check', 'T-05a', 'I2')
def no_lease_check():
    """A conductor acts on engines however long ago it renewed its lease."""
    from container_service.conductor import lease
    rewrite(lease.Lease.holds, ('return (incarnation == self.uuid and', 'return ('),
            ('and self._clock() - self._renewed_at < self._seconds - margin', ''))


@bug('no-grace', 'T-06', 'target')
def no_grace():
    """A peer is declared dead at the first heartbeat that it misses."""
    from container_service.conductor import peers
    rewrite(peers.Peers._is_silent, ('max(self._lease_seconds, its_lease)', 'its_lease / 4'))


@bug('host-name-identity', 'T-05b', 'target')
def host_name_identity():
    """A conductor is told by the name of its host, not by its start."""
    import uuid

    from container_service.conductor import lease
    from container_service.db import conductors

    rewrite(lease.Lease._register, ('lifecycle.new_uuid()', 'identity(self._host)'))
    lease.identity = lambda host: str(uuid.uuid5(uuid.NAMESPACE_DNS, host))
    register = conductors.register

    def again(conn, seconds, values):
        conn.execute(conductors.table.delete().where(conductors.table.c.uuid == values['uuid']))
        register(conn, seconds, values)

    conductors.register = again


@bug('read-then-write', 'T-09', 'I2')
def read_then_write():
    """Who claims reads that an action is queued, then writes that it runs, without a lock."""
    import sqlalchemy as sa

    from container_service import lifecycle
    from container_service.db import base
    from container_service.db import containers
    unlocked = sa.select(containers.table, base.now().label('db_now'))
    containers.look = lambda conn, uuid: conn.execute(
        unlocked.where(containers.table.c.uuid == uuid)).first()
    rewrite(lifecycle.claim, ('containers.lock_uuid(conn, container_uuid)',
                              'containers.look(conn, container_uuid)'))


@bug('adopt-off', 'T-04', 'table', operations=('create', 'run'), points=10,
     at='after POST create')
def adopt_off():
    """A create that finds its container made already, by an attempt before, has failed."""
    from container_service.drivers import docker
    rewrite(docker.DockerDriver._make,
            ('None if attempt.first else self._find(container)', 'None'),
            ('found = self._inspect(container.engine_name)', 'found = None'),
            ('deadline = time.monotonic() + NAME_SECONDS', 'deadline = time.monotonic()'))


@bug('late-memory', 'T-04', 'I2', operations=('reboot', 'kill'), points=10,
     at='after POST')
def late_memory():
    """What tells a later attempt whether there was an effect is stored after it."""
    from container_service.drivers import docker
    for method, act in ((docker.DockerDriver._start, 'self._client().start(engine_id)'),
                        (docker.DockerDriver.kill, "self._client().kill(found['Id'], signal)")):
        rewrite(method, ('self._remember(attempt, found)', 'pass'),
                (act, f'{act}; self._remember(attempt, found)'))


@bug('no-idempotency-index', 'T-18', 'I1')
def no_idempotency_index():
    """Nothing keeps a key from being used by two requests."""
    import uuid

    from container_service.db import idempotency
    rewrite(idempotency.insert, ('key=terms.key', 'key=another(terms.key)'))
    idempotency.another = lambda key: f'{key[:200]} {uuid.uuid4()}'


@bug('blind-retry', 'T-11', 'I1', 'I2', commits_lost=0.2)
def blind_retry():
    """A transaction whose COMMIT was not answered runs again, without a look whether it landed."""
    from container_service.db import base
    rewrite(base.Database._until_it_ends,
            ('found = self._ask(landed, doubt, ends)', 'found = None'),
            ('if found is not None or failure is None:', 'if failure is None:'),
            ('return result if found is None else found', 'return result'))
