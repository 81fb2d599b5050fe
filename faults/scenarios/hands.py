# SPDX-License-Identifier: Apache-2.0
"""Somebody uses ``docker`` by hand, a kernel kills, an engine's host boots anew."""

import concurrent.futures
import dataclasses
import itertools
import time

import sqlalchemy as sa

from container_service import states
from container_service.db import events
from container_service.db import models
from faults import observer
from faults import world
from faults.scenario import scenario

_RECONCILE = 3

# How long what happened may stay unseen: by events (99 of 100), and by full passes only.
_BY_EVENTS = 2
_BY_PASSES = _RECONCILE + 5
_PATIENCE = 30                  # seconds more, after which it is not late but not seen at all

_HANDS = 4                      # of different people, at the same time


@dataclasses.dataclass(frozen=True)
class Deed:
    """Something done by hand: what it does to a container, and what is to be seen then."""
    do: object
    event: str                          # of the engine, that tells of it
    effects: str
    status: str                         # None: it is told, and that is all
    exit_code: int = None
    is_told: bool = True                # as changed outside, whatever was asked for lately


_PAUSE = Deed(lambda one: one.pause(), 'pause', observer.PAUSE, states.PAUSED)
_UNPAUSE = Deed(lambda one: one.unpause(), 'unpause', observer.UNPAUSE, states.RUNNING)
_STOP = Deed(lambda one: one.stop(timeout=5), 'die', observer.DIE, states.STOPPED)
# It may be what a recent action did late.
_START = Deed(lambda one: one.start(), 'start', observer.START, states.RUNNING, is_told=False)
_KILL = Deed(lambda one: one.kill(), 'die', observer.DIE, states.STOPPED, 137)
_RENAME = Deed(lambda one: one.rename(f'{one.name}-by-hand'), 'rename', '', None)
_REMOVE = Deed(lambda one: one.remove(force=True), 'destroy',
               observer.UNPAUSE + observer.DIE + observer.DESTROY, states.ERROR, is_told=False)
_OUT_OF_MEMORY = Deed(lambda one: one.exec_run(['sh', '-c', ': > /go']), 'die', observer.DIE,
                      states.STOPPED, 137, is_told=False)

# Needs more memory than it has, once it is told to go.
_GLUTTON = ['sh', '-c',
            'while [ ! -e /go ]; do sleep 0.05; done; x=more; while :; do x=$x$x; done']


class Hands:
    """``containers`` is {uuid: the engine's container}."""

    def __init__(self, run):
        self.containers, self.told = {}, 0
        self._run = run

    def make(self, count, **body):
        """Let containers be made and started on all bays in turn; returns their uuids."""
        asker, engines = self._run.asker(), self._run.world.engines
        names = list(itertools.islice(itertools.cycle(engines), count))
        actions = [asker.make(name, 'run', **body) for name in names]
        made = []
        for name, action in zip(names, actions):
            uuid = asker.succeeded(action)
            self.containers[uuid] = engines[name].client.containers.get(f'cs-{uuid}-1')
            made.append(uuid)
        return made

    def do(self, deed, uuids, within, word):
        """Do it to all of them; expect that it is seen, and returns after how many seconds."""
        before = self._renamed() if deed is _RENAME else set()
        faults = {}

        def one(uuid):
            faults[uuid] = self._run.nemesis.note(f'by hand: {deed.event}', uuid,
                                                  effects=deed.effects)
            deed.do(self.containers[uuid])

        with concurrent.futures.ThreadPoolExecutor(_HANDS) as hands:
            waiting = [hands.submit(one, uuid) for uuid in uuids]
            seen = self._await(uuids, lambda row: self._shows(deed, row, before), waiting, within)
        for each in waiting:
            each.result()
        for fault in faults.values():
            fault.ended = time.time()
        if deed.is_told:
            self.told += len(uuids)
        took = []
        for uuid in uuids:
            at = max((event.at for event in self._run.world.observer.of(uuid)
                      if event.name == deed.event), default=None)
            if uuid not in seen or at is None:
                self._run.expect(False, f'{deed.event} of {uuid} was not seen {word} within '
                                 f'{within + _PATIENCE} s')
            else:
                took.append(max(0, seen[uuid] - at))
        return took

    def _await(self, uuids, shows, waiting, within):
        """{uuid: when it was seen}, of all that is seen until some seconds after the last deed."""
        c, seen, until = models.containers.c, {}, None
        while len(seen) < len(uuids) and (until is None or time.time() < until):
            if until is None and all(each.done() for each in waiting):
                until = time.time() + within + _PATIENCE
            rows = self._run.world.database.rows(sa.select(
                c.uuid, c.status, c.exit_code, c.oom_killed).where(c.uuid.in_(uuids)))
            now = time.time()
            for row in rows:
                if row.uuid not in seen and shows(row):
                    seen[row.uuid] = now
            time.sleep(0.02)
        return seen

    def _shows(self, deed, row, renamed_before):
        if deed.status is None:
            return row.uuid in self._renamed() - renamed_before
        return (row.status == deed.status and deed.exit_code in (None, row.exit_code)
                and (deed is not _OUT_OF_MEMORY
                     or row.oom_killed == self._ran_out_of_memory(row.uuid)))

    def _ran_out_of_memory(self, uuid):
        """Whether the engine says so; on a busy machine it may not have noticed itself."""
        self.containers[uuid].reload()
        return self.containers[uuid].attrs['State']['OOMKilled']

    def _renamed(self):
        return {row.container_uuid for row in self.outside() if row.detail['how'] == 'renamed'}

    def outside(self):
        """What was told to have been changed outside."""
        return self._run.world.database.rows(sa.select(models.events).where(
            models.events.c.type == events.CHANGED_OUTSIDE,
            models.events.c.container_uuid.in_(self.containers)))


@scenario('T-15', 'docker used by hand, out of memory, an engine that boots anew',
          f'seen within {_BY_EVENTS} s (p99) by events, within a pass + 5 s without them',
          settings={**world.QUICK, 'reconcile_interval': _RECONCILE})
def by_hand(run):
    hands, two = Hands(run), run.world.engines['two']
    uuids = hands.make(run.sized(8, 200))
    greedy = hands.make(2, command=_GLUTTON, memory='16')
    by_events = hands.do(_OUT_OF_MEMORY, greedy, _BY_EVENTS, 'by events')
    for deed in (_PAUSE, _UNPAUSE, _STOP, _START, _KILL, _START, _RENAME):
        by_events += hands.do(deed, uuids, _BY_EVENTS, 'by events')
    by_events.sort()
    slowest = by_events[int(0.99 * (len(by_events) - 1))] if by_events else 0
    run.measure('seen by events p50', by_events[len(by_events) // 2] if by_events else 0)
    run.measure('seen by events p99', slowest)
    run.expect_within(_BY_EVENTS, slowest, 'the slowest in 100 seen by events')

    on_two = uuids[1::2]
    with run.nemesis.during('restart', two, effects=observer.UNPAUSE + observer.DIE):
        two.kill()
        two.start()
        began = time.time()
        seen = hands._await(on_two, lambda row: row.status == states.STOPPED, [], _BY_PASSES)
    took = max(seen.values(), default=began) - began
    run.measure('seen after a boot', took)
    run.expect(len(seen) == len(on_two),
               f'{len(on_two) - len(seen)} containers are not seen to have ended with their host')
    run.expect_within(_BY_PASSES, took, 'seen after a boot')

    with run.nemesis.during('events stalled', 'all engines'):
        for host in run.world.conductors:
            for name in run.world.engines:
                host.links[name].stall_events()
        by_passes = hands.do(_PAUSE, uuids[::2], _BY_PASSES, 'by passes')
        by_passes += hands.do(_START, on_two, _BY_PASSES, 'by passes')
        by_passes += hands.do(_REMOVE, uuids[:2], _BY_PASSES, 'by passes')
        run.world.proxy.heal()
    run.measure('seen by passes max', max(by_passes, default=0))
    run.expect_within(_BY_PASSES, max(by_passes, default=0), 'seen without events')
    by_events = hands.do(_REMOVE, uuids[2:], _BY_EVENTS, 'by events')
    run.measure('removal seen max', max(by_events, default=0))
    told = len(hands.outside())
    run.measure('told as changed outside', told)
    run.expect(told >= hands.told, f'{hands.told} deeds, of which {told} were told')
