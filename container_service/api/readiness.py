# SPDX-License-Identifier: Apache-2.0
"""GET /readiness: whether this process can accept operations.

That depends on the database alone.  Whether the broker can be reached is told beside it: without
it the conductors find the work by themselves, a little later.
"""

import socket

from container_service import health
from container_service.db import migration

_AMQP = b'AMQP\x00\x00\x09\x01'


class Readiness:
    """The application that answers it; asks nobody before its first request."""

    def __init__(self, db, bus):
        self._looks = {'database': health.Look(lambda: _database(db)),
                       'broker': health.Look(lambda: _broker(bus))}

    def __call__(self, environ, start_response):
        return health.respond(environ, start_response, *health.readiness(
            self._looks, needed=('database',)))


def _database(db):
    found, needed = migration.current(db), migration.newest()
    if found != needed:
        return (f'The schema is at revision {found or "none"}, this program needs {needed}. '
                f'Run: container-service-manage db sync')


def _broker(bus):
    # The library tries again without limit, where an answer is wanted at once.
    url = bus._driver._url
    if not url.transport.startswith('rabbit'):
        return None
    for host in url.hosts:
        try:
            if _answers(host.hostname, host.port or 5672, bus.conf.oslo_messaging_rabbit.ssl):
                return None
        except OSError:
            continue
    return ('No broker answers. Operations are accepted all the same; they start within the poll '
            'interval of the conductors.')


def _answers(hostname, port, tls):
    with socket.create_connection((hostname, port), health.LIMIT / 2) as sock:
        if tls:
            return True         # to ask more takes certificates
        # One that is frozen accepts connections all the same, and says nothing.
        sock.sendall(_AMQP)
        return bool(sock.recv(1))
