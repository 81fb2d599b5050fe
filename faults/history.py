# SPDX-License-Identifier: Apache-2.0
"""All that is known of each container of a scenario: requests, actions, writes, engine events."""

import dataclasses
import datetime

import sqlalchemy as sa

from container_service import states
from container_service.db import models
from faults import observer


def seconds(value):
    """A time of the database as seconds since the epoch."""
    return None if value is None else value.replace(tzinfo=datetime.UTC).timestamp()


@dataclasses.dataclass
class Container:
    """One container and its history."""
    row: object
    actions: list                           # in the order of their sequence
    audit: list                             # writes to them, in order
    events: list                            # of its engine, in order
    requests: list                          # of clients
    faults: list                            # of all

    @property
    def uuid(self):
        return self.row.uuid

    @property
    def letters(self):
        """What the engine did, as letters."""
        return ''.join(event.letter for event in self.effects)

    @property
    def effects(self):
        """The events that tell of an effect."""
        # An engine that cannot create one tells that it removes what never was.
        made = {event.engine_id for event in self.events if event.letter == observer.CREATE}
        return [event for event in self.events if event.letter
                and (event.letter != observer.DESTROY or event.engine_id in made)]

    @property
    def caused(self):
        """Where in the letters are those that need nobody's action, for they may be of a fault."""
        return {number for number, event in enumerate(self.effects)
                if any(fault.may_have_caused(event) for fault in self.faults)}


class History:
    """What happened to the containers made since a mark, as it stands now."""

    def __init__(self, world, mark, loads=(), faults=()):
        self.faults = faults
        self.requests = [request for load in loads for request in list(load.requests)]
        c, a = models.containers, models.actions
        rows = world.database.rows(sa.select(c).where(c.c.id > mark).order_by(c.c.id))
        uuids = [row.uuid for row in rows]
        actions = world.database.rows(
            sa.select(a).where(a.c.resource_uuid.in_(uuids)).order_by(a.c.sequence))
        audit = world.database.audit(uuids)
        by_name = {}
        for request in self.requests:
            by_name.setdefault(request.name, []).append(request)
        self.actions = {row.uuid: row for row in actions}
        self.containers = [
            Container(row, [one for one in actions if one.resource_uuid == row.uuid],
                      [one for one in audit if one.container_uuid == row.uuid],
                      world.observer.of(row.uuid), by_name.get(row.name, []), faults)
            for row in rows]

    @staticmethod
    def mark(world):
        """What later containers come after."""
        c = models.containers.c
        return world.database.rows(sa.select(sa.func.coalesce(sa.func.max(c.id), 0)))[0][0]

    @staticmethod
    def unfinished(world, mark):
        """How many actions of the containers made since a mark have not ended."""
        c, a = models.containers.c, models.actions.c
        return world.database.rows(
            sa.select(sa.func.count()).select_from(models.actions.join(
                models.containers, a.resource_uuid == c.uuid))
            .where(c.id > mark, a.status.in_(states.UNFINISHED)))[0][0]

    def recoveries(self):
        """For each action that was under way on a host when it was hurt: seconds to its end."""
        found = []
        for fault in self.faults:
            if not fault.stops_work:
                continue
            for container in self.containers:
                found += [seconds(action.finished_at) - fault.began
                          for action in container.actions
                          if action.finished_at and self._ran(container, action, fault)]
        return sorted(found)

    def answers(self, share):
        """The seconds in which so large a share of the answers came."""
        took = sorted(attempt.seconds for request in self.requests for attempt in request.tries)
        return took[int(share * (len(took) - 1))] if took else 0

    def took(self, bay, since=0):
        """For each action on a bay that was asked for since then and succeeded: seconds from when
        nothing stood before it to its end.
        """
        found = []
        for container in self.containers:
            ended = 0
            for action in container.actions:
                asked = seconds(action.created_at)
                if (container.row.bay_uuid == bay and asked >= since
                        and action.status == states.SUCCEEDED):
                    found.append(seconds(action.finished_at) - max(ended, asked))
                ended = max(ended, seconds(action.finished_at) or 0)
        return sorted(found)

    def waits(self, project=None):
        """For each action that ran: seconds from when nothing stood before it to its begin."""
        found = []
        for container in self.containers:
            if project not in (None, container.row.project_id):
                continue
            ended = 0
            for action in container.actions:
                if action.started_at is not None:
                    found.append(seconds(action.started_at)
                                 - max(ended, seconds(action.created_at)))
                ended = max(ended, seconds(action.finished_at) or 0)
        return found

    def takeovers(self):
        """The writes that took an action from who had claimed it."""
        return [row for row, before in self._freed() if holder(before) != row.who]

    def freed(self):
        """The writes that ended a claim before its action had ended."""
        return [row for row, _ in self._freed()]

    def _freed(self):
        for container in self.containers:
            for number, row in enumerate(container.audit):
                if row.old_status in states.CLAIMED and row.status in (
                        states.QUEUED, states.INTERRUPTED):
                    yield row, [one for one in container.audit[:number]
                                if one.action_uuid == row.action_uuid]

    def taken_over(self):
        """For each action that a host had when it was hurt: seconds until it was freed."""
        found = []
        for fault in self.faults:
            for container in self.containers:
                for action in container.actions:
                    if fault.stops_work and self._ran(container, action, fault):
                        freed = next((seconds(row.at) for row in container.audit
                                      if row.action_uuid == action.uuid
                                      and seconds(row.at) > fault.began), None)
                        found += [freed - fault.began] if freed else []
        return sorted(found)

    @staticmethod
    def _ran(container, action, fault):
        """Whether the host of a fault had the claim of an unfinished action when it began."""
        if action.finished_at and seconds(action.finished_at) < fault.began:
            return False
        before = [row for row in container.audit
                  if row.action_uuid == action.uuid and seconds(row.at) <= fault.began]
        return (bool(before) and before[-1].status in states.CLAIMED
                and holder(before) == fault.on)


def holder(audit):
    """Who made the last claim among the writes to one action."""
    for row in reversed(audit):
        if row.status in states.CLAIMED and row.claim != row.old_claim:
            return row.who
    return None


def story(container, faults, world, start):
    """The whole history of a container, in time order, as text."""
    lines = []

    def add(at, who, words):
        if at is not None:
            lines.append((at, who, words))

    for request in container.requests:
        for attempt in request.tries:
            add(attempt.sent_at, request.client,
                f'{request.method} {request.path} key={request.key}')
            add(attempt.sent_at + attempt.seconds, request.client,
                f'  answered {attempt.status or attempt.body} to {request.operation}, '
                f'action {request.action}')
    for action in container.actions:
        add(seconds(action.created_at), 'SQL', f'action {action.sequence} {action.operation} '
            f'{action.params} is {action.uuid}')
        add(seconds(action.finished_at), 'SQL', f'action {action.sequence} {action.operation} '
            f'ended {action.status} {(action.error or {}).get("detail", "")}')
    for row in container.audit:
        change = row.status if row.old_status == row.status else f'{row.old_status}->{row.status}'
        add(seconds(row.at), row.who, f'wrote action {row.action_uuid[:8]} {change} '
            f'claim {str(row.old_claim)[:8]}->{str(row.claim)[:8]} fence {row.fence}')
    for event in container.events:
        about = {name: value for name, value in event.attributes.items()
                 if name in ('exitCode', 'signal', 'cs.fence')}
        add(event.at, f'engine {event.engine}', f'{event.name} {about or ""}')
    for fault in faults:
        add(fault.began, 'FAULT', f'{fault.kind} {fault.on}')
        add(fault.ended, 'FAULT', f'end of {fault.kind} {fault.on}')
    names = [container.uuid, *(action.uuid for action in container.actions)]
    for host in world.hosts.values():
        for at, line in log_lines(host.log):
            if any(name in line for name in names):
                add(at, f'log {host}', line)
    row = container.row
    head = (f'container {row.uuid} {row.name}: {row.status}, task_state {row.task_state}, '
            f'engine id {str(row.engine_id)[:12]}, fence {row.fence}; engine did '
            f'{container.letters or "nothing"}')
    return '\n'.join([head, *(f'{at - start:9.3f} {who:14} {words}'
                              for at, who, words in sorted(lines, key=lambda line: line[0]))])


def log_lines(path):
    """(time, rest) of each line of a log that begins with a time."""
    for line in path.read_text(errors='replace').splitlines():
        try:
            at = datetime.datetime.fromisoformat(line[:23]).replace(tzinfo=datetime.UTC)
        except ValueError:
            continue
        yield at.timestamp(), line[24:]
