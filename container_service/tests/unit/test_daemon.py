# SPDX-License-Identifier: Apache-2.0
"""Signals, sent to a process of its own that runs a service made up here."""

import os
import signal
import subprocess
import sys

from container_service.tests import base

_PROGRAM = '''
import sys
import time
from container_service import daemon

class Service:
    drains = 0

    def start(self):
        print('started', flush=True)

    def stop(self):
        print('stopped', flush=True)
        time.sleep({stop_seconds})

class Draining(Service):

    def drain(self):
        if not self.drains:
            print('drains', flush=True)
        self.drains += 1

    @property
    def drained(self):
        return {drained}

daemon.run({services})
'''


class TestSignals(base.TestCase):

    def daemon(self, services='Draining()', drained='self.drains > 2', stop_seconds=0):
        """Start one; returns it once it takes signals."""
        program = _PROGRAM.format(services=services, drained=drained, stop_seconds=stop_seconds)
        process = subprocess.Popen(
            [sys.executable, '-c', program], stdout=subprocess.PIPE, text=True,
            env={**os.environ, 'PYTHONPATH': os.pathsep.join(sys.path)})
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        self.assertEqual('started\n', process.stdout.readline())
        self.handles(process, signal.SIGUSR2)
        return process

    def handles(self, process, number):
        """Wait until the process has a handler for the signal."""
        while True:
            with open(f'/proc/{process.pid}/status') as f:
                caught = next(line for line in f if line.startswith('SigCgt'))
            if int(caught.split()[1], 16) & 1 << (number - 1):
                return

    def test_told_to_stop(self):
        for number in (signal.SIGTERM, signal.SIGINT):
            process = self.daemon()
            process.send_signal(number)
            self.assertEqual(('stopped\n', 0), (process.stdout.read(), process.wait()))

    def test_told_to_drain(self):
        process = self.daemon()
        process.send_signal(signal.SIGUSR2)
        self.assertEqual(('drains\nstopped\n', 0), (process.stdout.read(), process.wait()))

    def test_one_that_was_told_by_somebody_else(self):
        process = self.daemon(drained='True')
        self.assertEqual(('stopped\n', 0), (process.stdout.read(), process.wait()))

    def test_what_cannot_drain_stops(self):
        process = self.daemon('Service()')
        process.send_signal(signal.SIGUSR2)
        self.assertEqual(('stopped\n', 0), (process.stdout.read(), process.wait()))

    def test_a_stop_shortens_a_drain(self):
        process = self.daemon(drained='False')
        process.send_signal(signal.SIGUSR2)
        self.assertEqual('drains\n', process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(('stopped\n', 0), (process.stdout.read(), process.wait()))

    def test_the_second_one_ends_it_at_once(self):
        process = self.daemon(stop_seconds=60)
        process.send_signal(signal.SIGTERM)
        self.assertEqual('stopped\n', process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        self.assertEqual(128 + signal.SIGTERM, process.wait())
