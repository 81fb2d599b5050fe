# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of ``container-service-api`` and of the standalone service.

For many processes or TLS use a WSGI server with ``container_service.wsgi.api:application``.
"""

import threading

from cheroot import wsgi
from oslo_log import log

from container_service import exceptions

LOG = log.getLogger(__name__)


class Server:
    """Serves a WSGI application on [api] host and port with a pool of threads."""

    def __init__(self, conf, app):
        self._address = (conf.api.host, conf.api.port)
        self._server = wsgi.Server(
            self._address, app, numthreads=conf.api.threads, request_queue_size=1024,
            timeout=20, shutdown_timeout=10, server_name='container-service')
        # One over the limit that the application answers itself, in our shape.
        self._server.max_request_header_size = 65536
        self._thread = threading.Thread(target=self._serve, name='http', daemon=True)

    def start(self):
        """Listen.  Raises Error when the address cannot be had."""
        try:
            self._server.prepare()
        except OSError as exc:
            raise exceptions.Error(
                f'Cannot listen on {self._address[0]}:{self._address[1]}: {exc}') from exc
        self._thread.start()
        LOG.info('Listening on http://%s:%d', *self._address)

    def _serve(self):
        self._server.serve()

    def stop(self):
        """Take no more requests; those being answered may end."""
        self._server.stop()
