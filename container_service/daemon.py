# SPDX-License-Identifier: Apache-2.0
"""What the daemons share: the signals that end them, and an exit that nothing holds up."""

import contextlib
import logging
import os
import signal
import sys
import time

from oslo_log import log

from container_service import exceptions

LOG = log.getLogger(__name__)


class Told:
    """What signals have told this process.  A second one that ends it does so at once."""

    def __init__(self):
        self.stop = self.drain = False
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2):
            signal.signal(number, self._handle)

    def _handle(self, number, frame):
        if number == signal.SIGUSR2:
            self.drain = True
        elif self.stop:
            os._exit(128 + number)
        else:
            self.stop = True


@contextlib.contextmanager
def one_of_many(what, uuid):
    """Do something about one row: that it fails is logged, and the next one gets its turn.

    Raises DatabaseUnavailable, which says nothing of the row.
    """
    try:
        yield
    except exceptions.DatabaseUnavailable:
        raise
    except Exception:
        LOG.exception('%s %s', what, uuid)


def until_told_to_stop(*services):
    """Wait for SIGTERM, or until what SIGUSR2 or somebody else told to drain has done so."""
    told = Told()
    draining = [service for service in services if hasattr(service, 'drain')]
    # Not an Event: with green threads a handler may run where no lock can be waited for.
    while not told.stop:
        if told.drain:
            for service in draining:
                service.drain()
            if not draining:
                return
        if any(service.drained for service in draining):
            return
        time.sleep(0.3)


@contextlib.contextmanager
def building():
    """What cannot be built from the configuration is told in one line, and ends the process."""
    try:
        yield
    except exceptions.Error as exc:
        _tell(exc)
        sys.exit(1)


def _tell(exc):
    LOG.error('%s', exc)
    print(f'{os.path.basename(sys.argv[0])}: {exc}', file=sys.stderr)


def run(*services):
    """Start services, wait for the signal, stop them in reverse order.  Does not return.

    Exits 0 when stopped by a signal, 1 with a message when one could not start.
    """
    started, status = [], 0
    try:
        for service in services:
            service.start()
            started.append(service)
        until_told_to_stop(*services)
    except (exceptions.Error, OSError) as exc:
        _tell(exc)
        status = 1
    for service in reversed(started):
        service.stop()
    logging.shutdown()
    # Threads that wait in a library for a broker or an engine must not keep the process alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
