# SPDX-License-Identifier: Apache-2.0
"""What an observation means: asked for by nobody, by hand or by itself."""

import datetime
import types

import testtools

from container_service import lifecycle
from container_service.conductor import outside
from container_service.db import events
from container_service.drivers.base import Event
from container_service.drivers.base import Observed
from container_service.states import (
    CREATED,
    DEAD,
    ERROR,
    PAUSED,
    RESTARTING,
    RUNNING,
    STOPPED,
    UNKNOWN,
)

BEGAN = datetime.datetime(2026, 11, 20, 8, 0, 0)
ENDED = BEGAN + datetime.timedelta(seconds=10)
AGAIN = BEGAN + datetime.timedelta(seconds=20)
ALWAYS = {'restart_policy': {'Name': 'always', 'MaximumRetryCount': 0}}


def recorded(status, spec=None, **values):
    return types.SimpleNamespace(**{
        'status': status, 'spec': spec or {}, 'engine_id': 'e', 'health': None,
        'started_at': None if status == CREATED else BEGAN, 'exit_code': None,
        'finished_at': None, **values})


def seen(status, **values):
    return Observed(status, engine_id='e', **{
        'started_at': None if status == CREATED else BEGAN, **values})


def told(*kinds, at=ENDED, **values):
    moment = int(at.replace(tzinfo=datetime.UTC).timestamp()) * 10 ** 9
    return [Event(moment + number, kind, 'e', 'u', **values)
            for number, kind in enumerate(kinds)]


class TestCompare(testtools.TestCase):

    def assert_told(self, kind, how, row, now, *kinds, ours=(), **detail):
        reason, happened = outside.compare(row, now, told(*kinds),
                                           lambda operations: set(operations) & set(ours))
        if kind is None:
            self.assertIsNone(happened)
            return reason
        self.assertEqual((kind, how), (happened[0], happened[1].get('how')))
        self.assertEqual(detail, {key: happened[1][key] for key in detail})
        if how:
            self.assertEqual(f'Changed outside: {how}.', reason)
        return reason

    def test_by_itself(self):
        for before, after in ((RUNNING, STOPPED), (PAUSED, DEAD), (RUNNING, RESTARTING)):
            self.assert_told(events.EXITED, None, recorded(before), seen(after, exit_code=3),
                             'die', before=before, status=after, exit_code=3, oom_killed=False)
        self.assert_told(events.EXITED, None, recorded(RUNNING),
                         seen(STOPPED, exit_code=137, oom_killed=True), 'oom', 'die',
                         exit_code=137, oom_killed=True)

    def test_that_a_list_alone_shows(self):
        """Without events it is not claimed that anybody did it."""
        self.assert_told(events.EXITED, None, recorded(RUNNING), seen(STOPPED, exit_code=137))

    def test_by_hand(self):
        for row, now, kinds, how in (
                (recorded(RUNNING), seen(STOPPED), ('kill', 'die'), 'killed'),
                (recorded(RUNNING), seen(STOPPED), ('kill', 'die', 'stop'), 'stopped'),
                (recorded(RUNNING), seen(PAUSED), ('pause',), 'paused'),
                (recorded(RUNNING), seen(PAUSED), (), 'paused'),
                (recorded(PAUSED), seen(RUNNING), (), 'unpaused'),
                (recorded(STOPPED), seen(RUNNING, started_at=AGAIN), ('start',), 'started'),
                (recorded(CREATED), seen(RUNNING), (), 'started'),
                (recorded(CREATED), seen(STOPPED), ('start', 'die'), 'started'),
                (recorded(STOPPED), seen(STOPPED, started_at=AGAIN), (), 'started'),
                (recorded(RUNNING), seen(RUNNING, started_at=AGAIN),
                 ('kill', 'die', 'stop', 'start', 'restart'), 'restarted'),
                (recorded(RUNNING), seen(RUNNING, started_at=AGAIN), (), 'restarted'),
                (recorded(RUNNING), seen(RUNNING), ('rename',), 'renamed')):
            self.assert_told(events.CHANGED_OUTSIDE, how, row, now, *kinds, before=row.status,
                             status=now.status)

    def test_a_stop_whose_end_is_not_told_yet(self):
        _, (_, detail) = outside.compare(
            recorded(RUNNING), seen(STOPPED), told('kill', signal='15'), lambda operations: False)
        self.assertEqual('stopped', detail['how'])
        _, (_, detail) = outside.compare(
            recorded(RUNNING), seen(STOPPED), told('kill', signal='9'), lambda operations: False)
        self.assertEqual('killed', detail['how'])

    def test_what_an_action_of_ours_may_have_done_is_not_claimed(self):
        self.assert_told(events.EXITED, None, recorded(RUNNING), seen(STOPPED, exit_code=0),
                         'kill', 'die', ours=('kill',))
        self.assert_told(None, None, recorded(RUNNING), seen(PAUSED), 'pause', ours=('pause',))
        # A start never kills.
        self.assert_told(events.CHANGED_OUTSIDE, 'killed', recorded(RUNNING), seen(STOPPED),
                         'kill', 'die', ours=('run', 'start'))

    def test_a_restart_policy_is_nobodys_hand(self):
        self.assert_told(events.EXITED, None, recorded(RUNNING, ALWAYS),
                         seen(RUNNING, started_at=AGAIN), 'die', 'start')
        self.assert_told(None, None, recorded(RESTARTING, ALWAYS), seen(RUNNING), 'start')
        self.assert_told(None, None, recorded(STOPPED, ALWAYS),
                         seen(RUNNING, started_at=AGAIN))
        self.assert_told(events.CHANGED_OUTSIDE, 'restarted', recorded(RUNNING, ALWAYS),
                         seen(RUNNING, started_at=AGAIN), 'restart')

    def test_the_exit_code_of_what_runs_again_is_that_of_the_event(self):
        _, (_, detail) = outside.compare(
            recorded(RUNNING, ALWAYS), seen(RUNNING, started_at=AGAIN),
            told('die', exit_code=7), lambda operations: False)
        self.assertEqual(7, detail['exit_code'])

    def test_what_was_not_known_before_is_nobodys_doing(self):
        for before in (UNKNOWN, ERROR):
            self.assert_told(None, None, recorded(before), seen(RUNNING), 'start')

    def test_health(self):
        reason = self.assert_told(events.HEALTH, None, recorded(RUNNING, health='starting'),
                                  seen(RUNNING, health='healthy'), 'health_status',
                                  before='starting', health='healthy')
        self.assertIs(lifecycle.KEEP, reason)

    def test_new_addresses_are_no_event(self):
        self.assertIs(lifecycle.KEEP, self.assert_told(
            None, None, recorded(RUNNING), seen(RUNNING, addresses={'bridge': []})))


class TestSettled(testtools.TestCase):
    """What an action leaves behind it: events of what it has recorded itself."""

    def assert_settled(self, settled, row, evidence):
        self.assertEqual(settled, outside.is_settled(row, evidence))

    def test_after_actions(self):
        stopped = recorded(STOPPED, exit_code=0, finished_at=ENDED)
        for row, evidence in (
                (stopped, told('kill', 'die', 'stop', exit_code=0)),
                (recorded(RUNNING), told('create', 'start', at=BEGAN)),
                (recorded(CREATED), told('create')),
                (recorded(PAUSED), told('pause')),
                (recorded(RUNNING), told('pause', 'unpause'))):
            self.assert_settled(True, row, evidence)

    def test_what_came_after_them(self):
        stopped = recorded(STOPPED, exit_code=0, finished_at=ENDED)
        later = ENDED + datetime.timedelta(seconds=60)
        for row, evidence in (
                (stopped, told('die', exit_code=1)),
                (stopped, told('die', exit_code=0, at=later)),
                (stopped, told('die', 'start', 'die', exit_code=0)),
                (stopped, told('start', at=later)),
                (recorded(RUNNING), told('die')),
                (recorded(RUNNING), told('start', at=AGAIN)),
                (recorded(RUNNING), told('pause')),
                (recorded(RUNNING), told('rename')),
                (recorded(RUNNING), told('health_status')),
                (recorded(RUNNING, engine_id='other'), told('start', at=BEGAN)),
                (recorded(STOPPED), told('die'))):
            self.assert_settled(False, row, evidence)
