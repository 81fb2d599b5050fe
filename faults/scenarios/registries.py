# SPDX-License-Identifier: Apache-2.0
"""Registries from which images come badly."""

import contextlib
import datetime
import time

import docker

from container_service import states
from faults import process
from faults import registry
from faults import world
from faults.scenario import scenario

_STALL = 3
_MARGIN = 15

# What an engine says of them is told with these codes.
_FAILS = {registry.STALLED: 'image_pull_stalled', registry.BROKEN: 'image_pull_failed'}

# Of the others, too, the engine tries some again by itself, with pauses that may be a stall.
_EITHER = ('image_pull_stalled', 'image_pull_failed')


@scenario('T-23', 'registries: slow, stalled for ever, errors, breaking off at 90 %, wrong digest',
          'slow succeeds; stalled fails with a reason in time; the others as fast as before',
          settings={**world.QUICK, 'pull_stall': _STALL})
def bad_registries(run):
    bays, asker = run.world.bays, run.asker()
    requests = run.sized(30, 200)
    with run.load(requests=requests, clients=4, pause=0.3):
        pass
    run.settle()
    before = {name: run.past().took(bays[name]) for name in bays}
    with registry.Registry() as source, contextlib.ExitStack() as stack:
        ways = (registry.SLOW, registry.DYING, registry.WRONG, *_FAILS)
        images = [(way, source.image(way, run.sized(60, 400) * 1024)) for way in ways
                  for _ in range(run.sized(1, 6))]
        for _, image in images:
            stack.callback(_forget, run.world.engines['one'].client, image)
        asked = [(way, asker.make('one', image=image)) for way, image in images]
        pulled, began = {action['container_uuid'] for _, action in asked}, time.time()
        with run.nemesis.during('bad registries', 'one'), \
                run.load(requests=requests, clients=4, pause=run.sized(0.8, 1)):
            pass
        for way, action in asked:
            try:
                _judge(run, way, asker.wait(action, seconds=run.sized(60, 400)))
            except process.Broken as exc:
                run.violated('I6', str(exc))
        past = run.past()
        past.containers = [one for one in past.containers if one.uuid not in pulled]
        for name in bays:
            run.expect_unchanged(f'bay {name}', before[name], past.took(bays[name], began))
        for uuid in pulled:
            asker.wait(asker.ask('delete', uuid, force='true'))


def _forget(client, image):
    with contextlib.suppress(docker.errors.ImageNotFound):
        client.images.remove(image, force=True)


def _judge(run, way, action):
    """Whether a creation ended as the way in which its image came lets it."""
    code = (action['error'] or {}).get('code')
    asked_at, ended_at = (datetime.datetime.fromisoformat(action[name])
                          for name in ('created_at', 'finished_at'))
    took = (ended_at - asked_at).total_seconds()
    run.measure(f'{way} took', max(took, run.result.measured.get(f'{way} took', 0)))
    if code == 'image_pull_stalled':
        run.expect_within(_STALL + _MARGIN, took, f'an image that came {way}')
    if way == registry.SLOW:
        run.expect(action['status'] == states.SUCCEEDED, f'a slow image ended {action["error"]}')
        return
    run.expect(action['status'] == states.FAILED and code in _EITHER
               and code == _FAILS.get(way, code) and action['error'].get('detail'),
               f'an image that came {way} ended {action["status"]}: {action["error"]}')
