# SPDX-License-Identifier: Apache-2.0
import datetime
import unittest

from container_service.client import explanation
from container_service.tests.unit.client import stub

NOW = datetime.datetime(2026, 11, 20, 5, 28, 4, tzinfo=datetime.UTC)    # 2m 5s after it began
SOON = '2026-11-20T05:28:09+00:00'
BEFORE = '2026-11-20T05:27:04+00:00'


def liveness(owner='alive', heartbeat=1.2, progress=3.4, engine='answers'):
    return {'owner': owner, 'heartbeat_age_seconds': heartbeat,
            'progress_age_seconds': progress, 'engine': engine}


def waiting(code, detail=None, retry_at=None):
    return {'code': code, 'detail': detail, 'retry_at': retry_at}


class RowsTest(unittest.TestCase):

    def rows(self, *args, **kwargs):
        return dict(explanation.rows(stub.action(*args, **kwargs), NOW))

    def test_who_asked_for_what(self):
        rows = self.rows(operation='reboot', parameters={'timeout_seconds': 5}, coalesced=2,
                         request_ids=['req-1', 'req-2', 'req-3'])
        self.assertEqual({
            'what': 'restart of web', 'parameters': 'timeout_seconds=5',
            'container': f'web ({stub.OTHER_UUID})', 'requests': 'req-1, req-2, req-3',
            'asked': '2m ago (2026-11-20 05:25:59 UTC) by user u of project p',
            'folded': '2 equal requests were folded into it'},
            {key: rows[key] for key in ('what', 'parameters', 'container', 'requests', 'asked',
                                        'folded')})

    def test_queued(self):
        rows = self.rows(position=2, cancellable=True, liveness=liveness('none', None, None),
                         waiting=waiting('queued_behind', 'Queued behind action X (start).'))
        self.assertEqual('queued, 2 before it', rows['now'])
        self.assertEqual('Queued behind action X (start).', rows['why'])
        self.assertEqual('no conductor holds it, the engine answers', rows['signs of life'])
        self.assertEqual('it is skipped', rows['if one before it fails'])
        self.assertEqual(f'possible: container-service action cancel {stub.UUID}',
                         rows['cancel'])

    def test_first_in_line(self):
        rows = self.rows(position=0, on_predecessor_failure='run', waiting=waiting(
            'retrying', 'The engine refused.', SOON))
        self.assertEqual('queued, first in line', rows['now'])
        self.assertEqual('The engine refused. Next attempt in 5s.', rows['why'])
        self.assertNotIn('if one before it fails', rows)
        self.assertEqual('it runs all the same', self.rows(
            position=1, on_predecessor_failure='run')['if one before it fails'])

    def test_running(self):
        rows = self.rows('running', stage='stopping', started_at=BEFORE, attempts=2,
                         deadline_at=SOON, timeout_seconds=130)
        self.assertEqual('running for 1m, stopping, attempt 2', rows['now'])
        self.assertEqual('in 5s (2026-11-20 05:28:09 UTC); 2m 10s were asked for',
                         rows['deadline'])
        self.assertEqual('not possible any more', rows['cancel'])

    def test_cancelling(self):
        rows = self.rows('cancelling', started_at=BEFORE, cancel_requested_at=BEFORE)
        self.assertEqual('being cancelled, running for 1m', rows['now'])
        self.assertEqual('asked for 1m ago', rows['cancel'])

    def test_failed(self):
        rows = self.rows(
            'failed', stage='starting', started_at=BEFORE,
            finished_at='2026-11-20T05:27:24+00:00', caused_by='c',
            error={'code': 'start_failed', 'detail': 'No such file.', 'retriable': True,
                   'hint': 'Check the command.'},
            post_mortem={'log': ['one\x1b[1m', 'two'], 'exit_code': 127, 'oom_killed': True,
                         'image_digest': 'sha256:1', 'engine_error': 'exec: not found'})
        self.assertEqual('failed while starting 40s ago, after 20s', rows['now'])
        self.assertEqual({
            'error': 'No such file.', 'error code': 'start_failed; it may pass by itself',
            'hint': 'Check the command.', 'because of': 'action c', 'exit code': '127',
            'out of memory': 'its main process was killed for it', 'image digest': 'sha256:1',
            'engine error': 'exec: not found', 'end of its log': 'one?[1m\ntwo'},
            {key: rows[key] for key in (
                'error', 'error code', 'hint', 'because of', 'exit code', 'out of memory',
                'image digest', 'engine error', 'end of its log')})
        for label in ('why', 'deadline', 'cancel', 'signs of life'):
            self.assertNotIn(label, rows)

    def test_an_older_service_that_tells_less(self):
        rows = dict(explanation.rows({'uuid': 'u', 'operation': 'stop', 'status': 'queued'}, NOW))
        self.assertEqual('queued, first in line', rows['now'])


class SignsOfLifeTest(unittest.TestCase):

    def test_dead_or_just_slow(self):
        for signs, text in (
                (liveness(), 'alive: conductor h.0 is alive (heard of 1s ago), last progress 3s '
                             'ago, the engine answers'),
                (liveness(progress=95), 'slow, not dead: conductor h.0 is alive (heard of 1s '
                                        'ago), last progress 1m 35s ago, the engine answers'),
                (liveness(engine='does not answer'),
                 'waits for its engine: conductor h.0 is alive (heard of 1s ago), last progress '
                 '3s ago, the engine does not answer'),
                (liveness(progress=None, engine='unknown'),
                 'alive: conductor h.0 is alive (heard of 1s ago)'),
                (liveness('lost', 21), 'dead: conductor h.0 is gone, last heard of 21s ago; '
                                       'another one takes the action over')):
            self.assertEqual(text, explanation.signs_of_life(
                stub.action('running', liveness=signs, conductor='h.0')))


class BoardTest(unittest.TestCase):

    def test_why(self):
        pull = {'image': 'a', 'layers': 3, 'layers_done': 1}
        for text, more in (
                ('', {}),
                ('3 before it', {'waiting': waiting('queued_behind'), 'position': 3}),
                ('pulling 1/3 layers', {'waiting': waiting('shared_pull'), 'progress': pull}),
                ('waits for its image', {'waiting': waiting('shared_pull')}),
                ('pulling 1/3 layers', {'waiting': waiting('working'), 'progress': pull}),
                ('at work', {'waiting': waiting('working')}),
                ('stopping, no progress for 40s', {
                    'waiting': waiting('working'), 'stage': 'stopping',
                    'liveness': liveness(progress=40)}),
                ('tries again in 5s', {'waiting': waiting('retrying', retry_at=SOON)}),
                ('tries again soon', {'waiting': waiting('retrying')}),
                ('bay unreachable', {'waiting': waiting('bay_unreachable', retry_at=SOON)}),
                ('some new reason', {'waiting': waiting('some_new_reason')})):
            with self.subTest(text=text):
                self.assertEqual(text, explanation.why(stub.action(**more), NOW))

    def test_every_code_of_the_service_has_words(self):
        from container_service.api import explain
        known = {*explanation._WHY, 'queued_behind', 'shared_pull', 'working', 'retrying'}
        self.assertEqual(set(explain.CODES), known)

    def test_age(self):
        self.assertEqual('2m 5s', explanation.age(stub.action(), NOW))
        self.assertEqual('', explanation.age({}, NOW))


class VerdictTest(unittest.TestCase):

    def test_verdict(self):
        answer = {'operation': 'reboot', 'status': 'Running', 'projected_status': 'Running',
                  'folded_into': 'x', 'cancels': ['a', 'b'], 'waits_for': [
                      {'uuid': 'u', 'operation': 'stop', 'status': 'running'},
                      {'uuid': 'v', 'operation': 'start', 'status': 'queued'}]}
        self.assertEqual([
            'restart of web would be accepted; waits for: stop u (running), start v (queued)',
            'It would be folded into an equal one, action x.', 'It would cancel: a, b',
            'container: Running now, Running after it'], explanation.verdict(answer, 'web'))
        self.assertEqual(['create would be accepted', 'container: Created after it'],
                         explanation.verdict({'operation': 'create',
                                              'projected_status': 'Created'}))
