# SPDX-License-Identifier: Apache-2.0
"""What the daemons share: the signals that end them, and an exit that nothing holds up."""

import logging
import os
import signal
import sys
import time

from oslo_log import log

from container_service import exceptions

LOG = log.getLogger(__name__)


def until_told_to_stop():
    """Wait for SIGTERM or SIGINT.  A second one ends the process at once."""
    told = []

    def handle(number, frame):
        if told:
            os._exit(128 + number)
        told.append(number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
    # Not an Event: with green threads the handler may run where no lock can be waited for.
    while not told:
        time.sleep(0.3)


def run(*services):
    """Start services, wait for the signal, stop them in reverse order.  Does not return.

    Exits 0 when stopped by a signal, 1 with a message when one could not start.
    """
    started, status = [], 0
    try:
        for service in services:
            service.start()
            started.append(service)
        until_told_to_stop()
    except (exceptions.Error, OSError) as exc:
        LOG.error('%s', exc)
        print(f'{os.path.basename(sys.argv[0])}: {exc}', file=sys.stderr)
        status = 1
    for service in reversed(started):
        service.stop()
    logging.shutdown()
    # Threads that wait in a library for a broker or an engine must not keep the process alive.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
