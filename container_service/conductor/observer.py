# SPDX-License-Identifier: Apache-2.0
"""Watches one bay: what the engine tells at once, and the whole truth now and then.

* The **event stream** is for speed: each event leads to a look at that one container.  A burst
  of events is one look.
* A **full pass** is for truth, since events get lost: the engine's list is compared with that of
  the pass before, and only what differs, or has changed in SQL meanwhile, is looked up there.  So
  it costs what changes, not what exists.  The first pass of a watcher, and one each hour, is
  complete: it streams the rows of the bay by in pages.

What an action is under way on is left to it and looked at again when it has ended.  What is
written is fenced: it is refused where somebody has claimed the container since.  ``outside.py``
says what an observation means, ``orphans.py`` what has no container.  Two threads: one follows
the stream and touches nothing else, the other works.
"""

import collections
import contextlib
import datetime
import random
import threading

from oslo_log import log
import sqlalchemy as sa

from container_service import exceptions
from container_service import lifecycle
from container_service import states
from container_service.conductor import automatic
from container_service.conductor import orphans
from container_service.conductor import outside
from container_service.conductor import runner
from container_service.conductor.engines import HEALTHY
from container_service.conductor.engines import UNHEALTHY
from container_service.db import actions
from container_service.db import bays
from container_service.db import containers
from container_service.db import events
from container_service.db.base import now
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

REMOVED_OUTSIDE = 'The container is not on its engine any more: removed outside.'

# Statuses in which the engine need not have the container.
_NOT_ON_ENGINE = (states.ERROR, states.CREATING)

_COMPLETE_SECONDS = 3600      # between passes that look at every row, in case a clock was set
_MARGIN_SECONDS = 60          # a change may be committed so long after it was stamped
_CONNECTING_SECONDS = 2
_SETTLING_SECONDS = 0.1       # events of one container come in bursts
_BUSY_SECONDS = 1             # between looks whether an action has ended
_AGAIN_SECONDS = 1            # after an engine or the database did not answer
_STORE_SECONDS = 5            # between notes of how far the events were seen
_BATCH = 100
_STEADY_GAP_SECONDS = 300     # without a pass, after which a bay counts as not looked at
_EVIDENCE = 64                # events of one container that are kept until it is looked at


class Observer:
    """Watches a bay for one incarnation of this conductor, until ``stop``."""

    def __init__(self, db, conf, engines, lease, deployment, bay, clock,
                 wake=lambda container_uuid: None):
        self._db = db
        self._interval = conf.conductor.reconcile_interval
        self._engines = engines
        self._lease = lease
        self._deployment = deployment
        self._clock = clock
        self.bay = bay
        self.incarnation = lease.uuid
        self._wakened = threading.Condition()
        self._stopped, self._threads = False, []
        self._stream = None
        self._connected_at = None
        # Guarded by the condition:
        self._pending = {}            # uuid: [events] that nobody has looked at
        self._look_at = None          # when to look
        # When the next full pass is due: the first one soon, or once the events are followed.
        self._pass_at = clock() + _CONNECTING_SECONDS
        self._seen_event = bay.events_seen
        # Of the working thread:
        self._asked_at = bay.reconcile_at
        self._busy = {}               # uuid: None, of what an action was under way on
        self._busy_at = None
        self._info = None             # what the engine told of its host and is not noted yet
        self._listed = None           # engine id: Listed, of the last pass
        self._compared_at = None      # database time of the last pass
        self._completed_at = None
        self._pause_until = clock()
        self._steady, self._broken = False, None    # the latter: why, as was last told
        self._stored_event, self._stored_at = bay.events_seen, clock() - _STORE_SECONDS
        self._settle = True
        self._automatic = automatic.Automatic(db, wake)
        self._unowned = orphans.Unowned(db, conf, deployment, self.fence, clock)

    # Threads

    def start(self):
        for task, name in ((self._follow, 'events'), (self._work, 'observe')):
            thread = threading.Thread(target=task, daemon=True, name=f'{name}-{self.bay.name}')
            self._threads.append(thread)
            thread.start()

    def stop(self):
        """End both threads soon; does not wait for them, as an engine may keep them waiting."""
        with self._wakened:
            self._stopped = True
            stream = self._stream
            self._wakened.notify_all()
        if stream is not None:
            stream.close()

    def join(self, seconds):
        """Wait so long at most for each of them."""
        for thread in self._threads:
            thread.join(seconds)

    @property
    def ended(self):
        return not any(thread.is_alive() for thread in self._threads)

    def refresh(self, bay):
        """Take the row as it is now."""
        self.bay = bay
        if bay.reconcile_at != self._asked_at:
            self._asked_at = bay.reconcile_at
            self.ask_for_pass()

    def ask_for_pass(self):
        """Let a full pass be done, and strays be settled, at once."""
        with self._wakened:
            self._settle, self._pass_at = True, self._clock()
            self._wakened.notify_all()

    def fence(self):
        """Raises Fenced unless this conductor still is the one that watches the bay."""
        with self._db.read() as conn:
            if self._lease.holds(self.incarnation) and bays.is_watched_by(
                    conn, self.bay.uuid, self.incarnation):
                return
        raise exceptions.Fenced(container=f'of bay {self.bay.name}')

    # The event stream

    def _follow(self):
        lost, failures = True, 0
        while not self._stopped:
            began = self._clock()
            try:
                self.follow(lost)
                # Just quiet.  The next one begins with what came after the last event; where there
                # was none yet, a list shows it.
                lost, failures = self._seen_event is None, 0
                continue
            except exceptions.Error as exc:
                level = log.INFO if failures else log.WARNING
                LOG.log(level, 'Events of bay %s: %s', self.bay.name, exc)
            except Exception:
                LOG.exception('Events of bay %s', self.bay.name)
            failures = 1 if self._clock() - began > 10 else failures + 1
            lost = True
            with self._wakened:
                if not self._stopped:
                    self._wakened.wait_for(
                        lambda: self._stopped,
                        min(1, 0.1 * 2 ** failures) * random.uniform(0.8, 1.2))  # noqa: S311

    def follow(self, lost, **values):
        """Follow one event stream to its end; a full pass first when one was lost before."""
        stream = self._engines.driver(self.bay.uuid).events(
            self._deployment, self._seen_event, **values)
        with stream:
            with self._wakened:
                if self._stopped:
                    return
                self._stream, self._connected_at = stream, self._clock()
                if lost:
                    # What was missed comes first, and tells what a list cannot.
                    self._pass_at = self._clock() + 2 * _SETTLING_SECONDS
                    self._wakened.notify_all()
            try:
                for event in stream:
                    self._take(event)
            finally:
                self._stream = self._connected_at = None

    def _take(self, event):
        with self._wakened:
            self._seen_event = event.time
            if event.uuid is None:
                self._pass_at = min(self._pass_at, self._clock() + 1)
            else:
                told = self._pending.setdefault(event.uuid, [])
                told.append(event)
                del told[:-_EVIDENCE]
            if self._look_at is None:
                self._look_at = self._clock() + _SETTLING_SECONDS
            self._wakened.notify_all()

    def _distrust_stream(self):
        """Its silence was a lie, or its engine does not answer: begin a new one."""
        with self._wakened:
            stream, since = self._stream, self._connected_at
        if stream is not None and self._clock() - since > 2:
            stream.close()

    # Work

    def _work(self):
        while True:
            with self._wakened:
                while not self._stopped and (left := self._due() - self._clock()) > 0:
                    self._wakened.wait(left)
                if self._stopped:
                    return
            self.work()

    def _due(self):
        stored = (self._stored_at + _STORE_SECONDS if self._seen_event != self._stored_event
                  else None)
        due = min(when for when in (self._pass_at, self._look_at, self._busy_at, stored,
                                    self._unowned.due()) if when is not None)
        return max(due, self._pause_until)

    def work(self):
        """Do all that is due."""
        try:
            self._do()
        except exceptions.EngineUnreachable as exc:
            self._pause()
            self._distrust_stream()
            self._pass_at = self._clock()     # what it missed meanwhile
            self._tell_unhealthy(exc.detail)
        except exceptions.Fenced:
            LOG.info('Bay %s is watched by another conductor now', self.bay.name)
            self._pause()
        except exceptions.DatabaseUnavailable:
            self._pause()
        except exceptions.NoConductor:
            self._pause()             # the bay is gone, or not for this host any more
        except Exception:
            LOG.exception('Watching bay %s', self.bay.name)
            self._pause()

    def _tell_unhealthy(self, reason):
        with contextlib.suppress(exceptions.DatabaseUnavailable):
            self._health(UNHEALTHY, reason)

    def _pause(self):
        self._pause_until = self._clock() + _AGAIN_SECONDS

    def _do(self):
        driver = self._engines.driver(self.bay.uuid)
        if self._clock() >= self._pass_at:
            self._full_pass(driver)
        if self._look_at is not None and self._clock() >= self._look_at:
            self._look_at_pending(driver)
        if self._busy_at is not None and self._clock() >= self._busy_at:
            self._look_at_busy(driver)
        self._unowned.remove_due(self.bay, driver)
        if self._settle:
            self._unowned.settle(self.bay, driver)
            self._settle = False
        self._store_events()

    def _store_events(self):
        """Note how far the events were seen, for whoever watches next."""
        seen, due = self._seen_event, self._stored_at + _STORE_SECONDS
        if seen != self._stored_event and self._clock() >= due:
            self._db.transact(lambda conn: bays.watched(
                conn, self.bay.uuid, self.incarnation, {'events_seen': seen}), run_again)
            self._stored_event, self._stored_at = seen, self._clock()

    # Looking at single containers

    def _look_at_pending(self, driver):
        with self._wakened:
            pending, self._pending, self._look_at = self._pending, {}, None
        self._look_at_all(driver, pending)

    def _look_at_busy(self, driver):
        """See to what an action was under way on."""
        uuids, self._busy, self._busy_at = self._busy, {}, None
        self._look_at_all(driver, uuids)

    def _look_at_all(self, driver, evidence):
        """Look at containers by uuid; what could not be looked at stays pending."""
        todo = collections.deque(evidence)
        try:
            while todo:
                some = [todo[i] for i in range(min(_BATCH, len(todo)))]
                with self._db.read() as conn:
                    rows = containers.of_uuids(conn, some)
                for uuid in some:
                    self._look(driver, uuid, rows.get(uuid), evidence[uuid])
                    todo.popleft()
        finally:
            self._put_back({uuid: evidence[uuid] for uuid in todo})

    def _put_back(self, evidence):
        """Leave it pending, for a later look."""
        if evidence:
            with self._wakened:
                for uuid, told in evidence.items():
                    self._pending[uuid] = told + self._pending.get(uuid, [])
                if self._look_at is None:
                    self._look_at = self._clock() + _AGAIN_SECONDS

    def _look(self, driver, uuid, row, evidence):
        if row is None or row.deleted_at is not None or row.bay_uuid != self.bay.uuid:
            if not evidence or evidence[-1].kind != 'destroy':
                self._consider(driver, uuid)
        elif row.task_state is not None:
            # Its action looks, but maybe not late enough.
            self._busy[uuid] = (self._busy.get(uuid, []) + evidence)[-_EVIDENCE:]
            if self._busy_at is None:
                self._busy_at = self._clock() + _BUSY_SECONDS
        else:
            self._look_at_rest(driver, row, evidence,
                               ask=not evidence or not outside.is_settled(row, evidence))

    def _look_at_rest(self, driver, row, evidence, ask=True):
        """Look at a container on which no action is under way; returns whether it had changed."""
        # Made late, by a create that had been given up?
        if any(event.engine_id != row.engine_id for event in evidence):
            self._consider(driver, row.uuid)
        changed = ask and self._observe(driver, row, evidence)
        if row.spec.get('auto_remove'):
            self._automatic.remove_ended(row.uuid)
        return changed

    def _consider(self, driver, uuid):
        """Look whose it is that the engine has under this uuid."""
        for entry in list(driver.list(self._deployment, uuid)):
            self._unowned.consider(self.bay, entry)

    def _observe(self, driver, row, evidence=()):
        """Ask the engine for one container and record what is new; returns whether it was."""
        seen = driver.observe(runner.as_driver_sees(row, row.fence, self._deployment))
        if seen is None:
            return self._missing(row)
        if row.engine_id is None:
            # It may have come to be a moment ago: what was listed before says nothing of it.
            self._consider(driver, row.uuid)
            if self._unowned.is_orphan(seen.engine_id):
                return False
        renamed = any(event.kind == 'rename' for event in evidence)
        if _is_recorded(row, seen) and not renamed:
            return False
        reason, happened = outside.compare(row, seen, evidence, lambda operations: self._is_ours(
            row.uuid, operations))
        written = lifecycle.observe(self._db, row, seen, reason, happened)
        if written and happened is not None:
            LOG.info('Container %s: %s %s', row.uuid, *happened)
        return written

    def _is_ours(self, uuid, operations):
        with self._db.read() as conn:
            return actions.may_have_done(conn, uuid, operations, outside.LATELY)

    def _missing(self, row):
        if row.status in _NOT_ON_ENGINE:
            return False
        reason, happened = REMOVED_OUTSIDE, (events.MISSING, {'before': row.status})
        if row.engine_id is None and row.status_reason:
            reason, happened = row.status_reason, None      # it never came to be, and why
        if row.engine_id is not None and self._automatic.heal(row):
            self._tell(row, *happened)
            return True
        written = lifecycle.lose(self._db, row, reason, happened)
        if written:
            LOG.warning('Container %s is not on its engine: %s', row.uuid, reason)
            self._automatic.heal_lost(row.uuid)
        return written

    def _tell(self, row, kind, detail):
        uuid = lifecycle.new_uuid()
        self._db.transact(lambda conn: events.insert(
            conn, kind, uuid=uuid, bay_uuid=row.bay_uuid, project_id=row.project_id,
            container_uuid=row.uuid, **detail), lambda conn: events.find(conn, uuid) and True)

    # Full passes

    def _full_pass(self, driver):
        began = self._clock()
        # The driver refuses any engine but the one that is known.
        unknown = self.bay.engine_id is None
        complete = (self._completed_at is None or unknown
                    or began - self._completed_at >= _COMPLETE_SECONDS)
        with self._db.read() as conn:
            time = conn.execute(sa.select(now())).scalar_one()
        if complete or not self._steady:
            self._unowned.engine_id = driver.ping()
            self._info = driver.info()
        listed, news, gone = self._read_list(driver)
        doubtful, unowned, ended = self._compare(listed, news, gone, time, complete)
        for entry in unowned:
            self._unowned.consider(self.bay, entry)
        corrected = self._look_at_doubtful(driver, listed, doubtful)
        if corrected:
            self._distrust_stream()
        for uuid in ended:
            self._automatic.remove_ended(uuid)
        self._listed, self._compared_at = listed, time
        if complete:
            self._completed_at, self._settle = began, True
        with self._wakened:
            self._pass_at = began + self._interval
        values = {'engine_id': self._unowned.engine_id} if unknown else {}
        if self._info is not None:
            values['engine_info'], self._info = self._info, None
        self._passed(time, values)

    def _read_list(self, driver):
        """The engine's list by engine id, what is new in it, and uuids of what is not any more.

        Of what is as it was, the entry of the list before is kept, so that memory is not turned
        over for nothing.
        """
        before, listed, news = self._listed or {}, {}, []
        for entry in driver.list(self._deployment):
            known = before.get(entry.engine_id)
            if known != entry:
                news.append(entry)
                known = entry
            listed[entry.engine_id] = known
        return listed, news, {entry.uuid for engine_id, entry in before.items()
                              if engine_id not in listed and entry.uuid is not None}

    def _compare(self, listed, news, gone, time, complete):
        """Returns uuids to look at, what may belong to no container, and uuids to remove.

        The last have ended, and whoever should have seen to it then has not.
        """
        by_key = _by_key(listed.values())
        doubtful, ended = dict.fromkeys(gone), []
        since = None
        if complete:
            unowned = dict(listed)
        else:
            unowned = {entry.engine_id: entry
                       for entry in (*self._unowned.unclear.values(), *news)
                       if entry.engine_id in listed}
            doubtful.update((entry.uuid, None) for entry in news if entry.uuid is not None)
            since = self._compared_at - datetime.timedelta(seconds=_MARGIN_SECONDS)
        with self._db.read() as conn:
            for row in containers.compared(conn, self.bay.uuid, since):
                entry = by_key.get((row.uuid, row.generation))
                if complete and entry is not None and entry.engine_id == row.engine_id:
                    del unowned[entry.engine_id]
                if row.task_state is None and _differs(row, entry):
                    doubtful[row.uuid] = None
                if row.auto_remove and row.status in automatic.ENDED:
                    ended.append(row.uuid)
        return doubtful, list(unowned.values()), ended

    def _look_at_doubtful(self, driver, listed, doubtful):
        """Look where list and SQL differ; returns how many containers were not as recorded."""
        by_key, corrected = _by_key(listed.values()) if doubtful else {}, 0
        todo = list(doubtful)
        for i in range(0, len(todo), _BATCH):
            # Before the rows: what is told from now on may be newer than they are.
            evidence = self._evidence_of(todo[i:i + _BATCH])
            try:
                with self._db.read() as conn:
                    rows = containers.of_uuids(conn, todo[i:i + _BATCH])
                for row in rows.values():
                    entry = by_key.get((row.uuid, row.generation))
                    if (row.deleted_at is not None or row.bay_uuid != self.bay.uuid
                            or not _differs(row, entry)
                            or entry is not None and self._unowned.is_orphan(entry.engine_id)):
                        continue
                    if row.task_state is not None:
                        self._look(driver, row.uuid, row, [])
                    else:
                        corrected += self._look_at_rest(driver, row, evidence.get(row.uuid, []))
                        evidence.pop(row.uuid, None)
            finally:
                # Events are newer than the list: what they tell is seen to, by this pass or later.
                self._put_back(evidence)
        return corrected

    def _evidence_of(self, uuids):
        """Take what the events have told of containers and nobody has looked at yet."""
        with self._wakened:
            return {uuid: self._pending.pop(uuid) for uuid in uuids if uuid in self._pending}

    def _passed(self, time, values):
        if not self._steady:
            last = self.bay.reconciled_at
            gap = max(10 * self._interval, _STEADY_GAP_SECONDS)
            if (self.bay.steady_since is None or last is None or self._broken
                    or (time - last).total_seconds() > gap):
                values['steady_since'] = time
        self._steady, self._broken = True, None
        self._health(HEALTHY, None, reconciled_at=time, **values)

    def _health(self, status, reason, **values):
        if status == UNHEALTHY:
            if self._broken == reason:
                return                # said already
            self._steady, self._broken = False, reason
            values['steady_since'] = None
        if status == UNHEALTHY or self.bay.health_status != status:
            LOG.log(log.INFO if status == HEALTHY else log.WARNING,
                    'Bay %s is %s%s', self.bay.name, status, f': {reason}' if reason else '')
        self._db.transact(lambda conn: bays.watched(conn, self.bay.uuid, self.incarnation, {
            'health_status': status, 'health_status_reason': reason, **values}), run_again)


def _by_key(entries):
    """Entries by uuid and generation; the one with the proper name where there are several."""
    found = {}
    for entry in entries:
        key = entry.uuid, entry.generation
        if key not in found or entry.is_well_named:
            found[key] = entry
    return found


def _differs(row, entry):
    """Whether a row may not say what the engine's list says."""
    if entry is None:
        return row.status not in _NOT_ON_ENGINE
    return (row.status != entry.status or row.engine_id != entry.engine_id
            or entry.exit_code is not None and row.exit_code != entry.exit_code
            or entry.status == states.RUNNING and row.health != entry.health)


def _is_recorded(row, seen):
    """Whether all that was seen is in the row.  Words about times are never the same twice."""
    values = lifecycle.observation(seen)
    del values['status_detail']
    return all((getattr(row, name) or None) == (value or None)
               if name in ('ports', 'addresses', 'oom_killed') else getattr(row, name) == value
               for name, value in values.items())
