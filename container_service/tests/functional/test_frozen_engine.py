# SPDX-License-Identifier: Apache-2.0
"""An engine that hangs: SIGSTOP for a dockerd of the test's own, in the middle of work."""

import threading
import time

from container_service import states
from container_service.tests import deployed
from container_service.tests import engines
from container_service.tests import fixtures

SLEEPS = ['sh', '-c', 'trap "exit 0" TERM; sleep 600 & wait']


class TestFrozenEngine(deployed.DeployedTestCase):

    WORKERS = 8

    def setUp(self):
        super().setUp()
        self.engine = self.useFixture(engines.Engine())
        self.deploy(config=f'workers = {self.WORKERS}\nreconcile_interval = 2')
        self.processes.request('POST', '/v1/bays', {
            'name': 'cold', 'endpoint': self.engine.endpoint, 'public': True,
            'hosts': [self.processes.host]}, expect=201)
        self.image = fixtures.needed('CS_TEST_IMAGE')

    def round_on_other_bay(self, caller):
        """Create, start and delete a container on the bay that answers; returns the seconds."""
        began = time.monotonic()
        web = caller.create(self.image, bay_uuid='bay', command=SLEEPS)
        caller.ask(web, 'start')
        ended = caller.wait(caller.ask(web, 'delete', force='true'))
        if ended['status'] != states.SUCCEEDED:
            raise AssertionError(f'on the other bay: {ended}')
        return time.monotonic() - began

    def test_reads_and_another_bay_do_not_notice(self):
        caller = self.caller
        # More than the pool has slots for, so that without a share per bay it would be full of
        # what hangs.
        webs = [caller.create(self.image, bay_uuid='cold', command=SLEEPS, run=True)
                for _ in range(self.WORKERS + 4)]
        for web in webs:
            self.succeeded(web['action'], 60)
        before = [self.round_on_other_bay(caller) for _ in range(5)]

        self.engine.freeze()
        frozen = time.monotonic()
        asked = [caller.ask(web, 'stop', timeout=1) for web in webs]
        deletes = [caller.ask(web, 'delete') for web in webs]
        made = caller.create(self.image, bay_uuid='cold', run=True, command=SLEEPS)

        # Meanwhile somebody works with the other bay.
        meanwhile, over = [], threading.Event()

        def work():
            other = deployed.Caller(self.processes.url)
            try:
                while not over.is_set():
                    meanwhile.append(self.round_on_other_bay(other))
            finally:
                other.close()

        worker = threading.Thread(target=lambda: deployed.together([work]), daemon=True)
        worker.start()
        self.addCleanup(over.set)

        reads = []
        told = None
        while time.monotonic() - frozen < 20:
            for path in ('/v1/containers', f'/v1/containers/{webs[0]["uuid"]}', '/v1/bays',
                         '/v1/actions?status=unfinished', f'/v1/actions/{asked[0]["uuid"]}'):
                reads.append(caller.request('GET', path, expect=200).seconds)
            codes = {caller.action(action)['waiting']['code'] for action in (*asked, made[
                'action'])}
            if told is None and codes == {'bay_unreachable'}:
                told = time.monotonic() - frozen
            time.sleep(0.2)
        self.assertIsNotNone(told, codes)
        self.assertEqual({'bay_unreachable'}, codes)
        shown = caller.action(asked[-1])
        self.assertEqual('does not answer', shown['liveness']['engine'])
        self.assertIn('cold', shown['waiting']['detail'])
        self.assertEqual('queued_behind', caller.action(deletes[-1])['waiting']['code'])
        health = {bay['name']: bay['health_status'] for bay in caller.request(
            'GET', '/v1/bays', expect=200).json['bays']}
        self.assertEqual({'bay': 'HEALTHY', 'cold': 'UNHEALTHY'}, health)
        self.assertEqual([], [one for one in asked + deletes
                              if caller.action(one)['status'] in states.FINAL])

        over.set()
        worker.join(60)
        self.assertFalse(worker.is_alive())
        thawed = time.monotonic()
        self.engine.thaw()
        for action in (*asked, *deletes, made['action']):
            self.succeeded(action, 30)
        ended = time.monotonic() - thawed
        self.note(f'frozen for {thawed - frozen:.0f} s: actions said bay_unreachable after '
                  f'{told:.1f} s; {len(reads)} reads, the slowest {max(reads) * 1000:.0f} ms; '
                  f'create, start, delete on the other bay: {len(meanwhile)} times, '
                  f'{_median(meanwhile):.2f} s, at most {max(meanwhile):.2f} (before: '
                  f'{_median(before):.2f} s, at most {max(before):.2f}); all of '
                  f'{2 * len(webs) + 1} actions ended {ended:.1f} s after SIGCONT')
        for web in webs:
            self.assertEqual([], self.on_engine(web, self.engine.client))
        self.assertEqual(1, len(self.on_engine(made, self.engine.client)))
        self.assertLess(told, 30)
        self.assertLess(max(reads), 5)
        self.assertGreater(len(meanwhile), 3)
        self.assertLess(_median(meanwhile), 3 * _median(before) + 2)
        self.assertLess(max(meanwhile), 15)
        self.assertLess(ended, 25)


def _median(values):
    return sorted(values)[len(values) // 2]
