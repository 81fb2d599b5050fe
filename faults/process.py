# SPDX-License-Identifier: Apache-2.0
"""Processes that the suite starts: hurt and ended by their own pid, and by no name."""

import os
import pathlib
import signal
import subprocess
import time

ROOT = pathlib.Path(__file__).parent.parent


class Broken(Exception):
    """What the suite itself needs does not work; it says nothing of what is tested."""


def wait_for(done, complaint, seconds=60, pause=0.05):
    """Return what ``done()`` returns as soon as that is true; raises Broken."""
    deadline = time.monotonic() + seconds
    while not (found := done()):
        if time.monotonic() > deadline:
            raise Broken(f'{complaint} (waited {seconds} seconds)')
        time.sleep(pause)
    return found


def as_root(command):
    return [*([] if os.geteuid() == 0 else ['sudo', '-n']), *command]


def run(command, seconds=120, **options):
    """Run a command to its end and return what it printed.  Raises Broken."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, text=True, timeout=seconds,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    if done.returncode:
        raise Broken(f'{" ".join(map(str, command))} ended with {done.returncode}:\n'
                     f'{done.stdout[-2000:]}')
    return done.stdout


class Process:
    """One process of ours, in a session of its own, so that Ctrl-C reaches the suite only."""

    def __init__(self, name, command, log, pass_fds=(), environ=None):
        self.name, self.log = name, log
        with open(log, 'ab') as out:
            self._popen = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=out,
                stderr=subprocess.STDOUT, start_new_session=True, pass_fds=pass_fds,
                env={**os.environ, **(environ or {})})

    @property
    def pid(self):
        return self._popen.pid

    def alive(self):
        return self._popen.poll() is None

    def check(self):
        """Raises Broken when it has ended."""
        if not self.alive():
            raise Broken(f'{self.name} ended with {self._popen.returncode}:\n{self.tail()}')

    def tail(self):
        return '\n'.join(self.log.read_text(errors='replace').splitlines()[-20:])

    def signal(self, number):
        if self.alive():
            self._popen.send_signal(number)

    def kill(self):
        """kill -9; returns once it is gone."""
        self.signal(signal.SIGKILL)
        self.wait(30)

    def wait(self, seconds=30):
        """Wait until it has ended; returns whether it has."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, seconds=30):
        """Ask it to end, insist when the time is over; returns its exit status."""
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGTERM)
        if not self.wait(seconds):
            self.kill()
        return self._popen.returncode
