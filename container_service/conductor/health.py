# SPDX-License-Identifier: Apache-2.0
"""The endpoints by which a supervisor sees whether this conductor is alive and takes work.

Off unless ``[conductor] health_port`` is set.  They take no work and need no broker.
"""

import threading
import time

from cheroot import wsgi
from oslo_log import log

from container_service import exceptions
from container_service import health
from container_service.db import conductors

LOG = log.getLogger(__name__)

# Seconds beyond its interval after which a periodic thread that has not come round is stuck.
# Long: a database that hangs for a while is no reason to restart every conductor.
_SILENCE = 300


class Health:
    """Answers ``/healthcheck`` and ``/readiness`` for one conductor."""

    def __init__(self, conf, db, clock=time.monotonic):
        self._conf, self._db, self._clock = conf, db, clock
        self._rounds = {}           # name of a periodic thread: (last came round, interval)
        self._lease = self._server = None
        self._heartbeat = lambda: True
        self._row = None
        self._database = health.Look(self._read)
        self.stopping = False

    def came_round(self, name, interval):
        """A periodic thread has done its task once more."""
        self._rounds[name] = self._clock(), interval

    def start(self, slot_number):
        """Listen, if a port is configured.  Raises Error when it cannot be had."""
        if not self._conf.health_port:
            return
        # The conductors of a host have one configuration file.
        address = self._conf.health_host, self._conf.health_port + slot_number
        self._server = wsgi.Server(address, self, numthreads=2, timeout=5, shutdown_timeout=1,
                                   server_name='container-service')
        self._server.error_log = _log
        try:
            self._server.prepare()
        except OSError as exc:
            raise exceptions.Error(
                f'Cannot listen on {address[0]}:{address[1]}, which is [conductor] health_port '
                f'plus the slot of this conductor: {exc}') from exc
        threading.Thread(target=self._server.serve, name='health', daemon=True).start()
        LOG.info('Health is told on http://%s:%d', *address)

    def watch(self, lease):
        """From now on the conductor is up with this lease."""
        self._lease = lease

    def stop(self):
        if self._server is not None:
            self._server.stop()

    def __call__(self, environ, start_response):
        path = environ.get('PATH_INFO', '').rstrip('/')
        look = {'/healthcheck': self.alive, '/readiness': self.ready}.get(path)
        if look is None or environ['REQUEST_METHOD'] not in ('GET', 'HEAD'):
            start_response('404 Not Found', [('Content-Length', '0')])
            return []
        return health.respond(environ, start_response, *look())

    def alive(self):
        """Whether the threads without which it is of no use are running: (verdict, document)."""
        now = self._clock()
        silent = sorted(name for name, (at, interval) in list(self._rounds.items())
                        if now - at > interval + _SILENCE)
        if self._lease is not None and not self.stopping and not self._lease.is_beating:
            silent.append('heartbeat')
        return not silent, {'alive': not silent, 'silent': silent}

    def ready(self):
        """Whether it claims work: (verdict, document)."""
        ready, document = health.readiness({'database': self._database}, ('database',))
        if ready:
            reason, detail = self._idle_because()
            document.update(ready=reason is None, reason=reason)
            document['checks']['work'] = {
                'ok': reason is None, 'needed': True, 'detail': detail}
        return document['ready'], document

    def _read(self):
        if self._lease is not None:
            with self._db.read() as conn:
                self._row = conductors.find(conn, self._lease.uuid)

    def _idle_because(self):
        """Why it claims nothing, as (code, words); (None, None) when it does."""
        row = self._row
        if self._lease is None:
            return 'starting', 'It is starting.'
        if self.stopping or (row and row.state == conductors.DRAINING):
            return 'draining', 'It ends as soon as what it runs has ended.'
        if row and row.forced_down:
            return 'forced_down', 'An administrator has forced it down.'
        if row and row.disabled:
            return 'disabled', 'An administrator has disabled it.'
        if not row or row.state == conductors.GONE or not self._lease.holds(self._lease.uuid):
            return 'lease', 'Its lease has lapsed; it registers anew with its next heartbeat.'
        return None, None


def _log(msg='', level=20, traceback=False):
    LOG.log(level, 'Health server: %s', msg, exc_info=traceback)
