# SPDX-License-Identifier: Apache-2.0
"""Containers on the engines that are none of ours, however much they look like it."""

import contextlib
import time
import uuid

import docker

from container_service.drivers import base as drivers
from faults import world
from faults.scenario import scenario

# Nothing may reach it: it notes each signal that it could.
_COMMAND = ['sh', '-c', 'for name in HUP INT QUIT TERM USR1 USR2 CONT; do '
            'trap "echo got $name" $name; done; while :; do sleep 1000 & wait $!; done']

_RECONCILE = 2


def _labels(deployment, container):
    return {drivers.LABEL_DEPLOYMENT: deployment, drivers.LABEL_CONTAINER: container,
            drivers.LABEL_GENERATION: '1', drivers.LABEL_FENCE: '1'}


def _kinds(deployment, live, deleted, number):
    """(name, labels) of each kind of strange container."""
    some = str(uuid.uuid4())
    return (
        (f'somebody-s-{some}', {}),
        (f'{drivers.NAME_PREFIX}{uuid.uuid4()}-1', {}),
        (drivers.engine_name(deleted, number), {}),
        (drivers.engine_name(some, 1), _labels(str(uuid.uuid4()), some)),
        # Made from an image that was made from one of ours: it has its labels.
        (f'copy-of-live-{some}', _labels(deployment, live)),
        (f'copy-of-deleted-{some}', _labels(deployment, deleted)),
        (f'copy-of-unknown-{some}', _labels(deployment, some)))


@scenario('T-16', 'foreign containers on the bays: look-alike names, labels of others, our labels',
          '0 touched', settings={**world.QUICK, 'reconcile_interval': _RECONCILE,
                                 'orphan_grace': 0.5})
def foreign(run):
    asker, made = run.asker(), []
    with contextlib.ExitStack() as stack:
        for name, engine in run.world.engines.items():
            live = asker.succeeded(asker.make(name, 'run'))
            deleted = asker.succeeded(asker.make(name))
            asker.succeeded(asker.ask('delete', deleted))
            for number in range(run.sized(1, 4)):
                for name_, labels in _kinds(run.world.deployment, live, deleted, number + 2):
                    made.append(_start(run, engine, name_, labels, stack))
            _work_on(asker, name, live)
        with run.load(requests=run.sized(20, 200), clients=4, pause=0.2):
            # Passes of the reconciler, and time for what they find to be removed.
            time.sleep(3 * _RECONCILE)
        run.settle()
        for container, before in made:
            words = _changed(container, before)
            run.promised(not words, f'{container.name} was touched: {words}')
        run.measure('foreign', len(made))
    run.expect(made, 'there was nothing foreign')


def _start(run, engine, name, labels, stack):
    container = engine.client.containers.create(run.world.image, _COMMAND, name=name,
                                                labels=labels, network_mode='none')
    run.world.observer.foreign.add(container.id)
    stack.callback(_remove, container)
    container.start()
    container.reload()
    return container, container.attrs


def _remove(container):
    with contextlib.suppress(docker.errors.NotFound):
        container.remove(force=True)


def _work_on(asker, bay, live):
    """All that can be asked for of a container whose labels others have too."""
    for operation, query in (('stop', {'timeout': 0}), ('start', {}), ('pause', {}),
                             ('unpause', {}), ('kill', {'signal': 'USR1'}),
                             ('reboot', {'timeout': 0}), ('delete', {'force': 'true'})):
        asker.wait(asker.ask(operation, live, **query))


def _changed(container, before):
    """What is not as it was, in words; or None."""
    try:
        container.reload()
    except docker.errors.NotFound:
        return 'it is gone'
    for name in ('Name', 'State', 'RestartCount', 'ExecIDs', 'HostConfig', 'Config'):
        if container.attrs[name] != before[name]:
            return f'{name} was {before[name]}, is {container.attrs[name]}'
    return container.logs().decode() or None
