# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of ``container-service-api`` and of the standalone service.

For many processes or TLS use a WSGI server with ``container_service.wsgi.api:application``.
"""

import contextlib
import threading
import time

from cheroot import server as cheroot
from cheroot import wsgi
from oslo_context import context
from oslo_log import log

from container_service import exceptions
from container_service.api import errors
from container_service.api import versions

LOG = log.getLogger(__name__)

# Seconds for a request to arrive completely, however slowly it drips.
ARRIVAL = 30

# Of a body that nobody wanted, so many bytes are read, for so many seconds, after the answer.
_DRAIN, _LINGER = 2 ** 26, 2


class _HeaderReader(cheroot.HeaderReader):

    def _allow_header(self, key_name):
        # X_Auth_Token must not pass for X-Auth-Token.
        return b'_' not in key_name


class _Request(cheroot.HTTPRequest):
    """Answers what is wrong with the protocol in our shape, and leaves no body behind."""

    header_reader = _HeaderReader()

    def simple_response(self, status, msg=''):
        code = int(str(status)[:3])
        if code == 413 and 'headers' in msg:
            code = 431
        error = (exceptions.BodyTooLarge(msg) if code == 413
                 else errors.foreign(code, msg or None))
        request_id = context.generate_request_id()
        line, headers, body = errors.render(error, request_id)
        headers += [*versions.headers(), ('x-openstack-request-id', request_id),
                    ('Connection', 'close')]
        self.close_connection = self.sent_headers = True
        head = [f'{self.server.protocol} {line}', *(': '.join(pair) for pair in headers), '', '']
        try:
            self.conn.wfile.write('\r\n'.join(head).encode('latin-1') + body)
        except OSError:
            return                    # nobody is there to hear it
        if code in (413, 414, 431):
            self._linger()

    def send_headers(self):
        # What is left unread would be taken for the next request.  Behind the last chunk there
        # may be trailers, which nobody reads.
        if self.chunked_read or self.rfile.remaining:
            self.close_connection = True
        super().send_headers()

    def respond(self):
        super().respond()
        if not self.rfile.closed if self.chunked_read else self.rfile.remaining:
            self._linger()

    def _linger(self):
        """After the answer, let the client finish sending: closed now, the connection would be
        reset, and the answer lost.
        """
        self.conn.incoming.start(_LINGER)
        with contextlib.suppress(OSError):
            for _ in range(0, _DRAIN, 65536):
                if not self.conn.rfile.read(65536):
                    break


class _Incoming:
    """A socket that may be read until a deadline only."""

    def __init__(self, sock, pause):
        self._sock, self._pause = sock, pause

    def start(self, seconds):
        self._deadline = time.monotonic() + seconds

    def recv_into(self, buffer):
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError('timed out')      # the words that cheroot looks for
        self._sock.settimeout(min(left, self._pause))
        try:
            return self._sock.recv_into(buffer)
        finally:
            self._sock.settimeout(self._pause)

    def __getattr__(self, name):
        return getattr(self._sock, name)


class _Connection(cheroot.HTTPConnection):
    """One on which a request must arrive within a time: dripping must not hold our threads."""
    RequestHandlerClass = _Request

    def __init__(self, server, sock, makefile):
        self.incoming = _Incoming(sock, server.timeout)
        super().__init__(server, sock, lambda sock, mode, size: makefile(
            self.incoming if 'r' in mode else sock, mode, size))

    def communicate(self):
        self.incoming.start(ARRIVAL)
        return super().communicate()


class Server:
    """Serves a WSGI application on [api] host and port with a pool of threads."""

    def __init__(self, conf, app):
        self._address = (conf.api.host, conf.api.port)
        self._server = wsgi.Server(
            self._address, app, numthreads=conf.api.threads, request_queue_size=1024,
            timeout=20, shutdown_timeout=10, server_name='container-service')
        self._server.ConnectionClass = _Connection
        self._server.error_log = _log
        self._server.max_request_header_size = 65536
        # The application has the limit; this one keeps a huge chunk from being read at once.
        self._server.max_request_body_size = 2 * conf.api.max_body_bytes
        self._thread = threading.Thread(target=self._serve, name='http', daemon=True)

    def start(self):
        """Listen.  Raises Error when the address cannot be had."""
        try:
            self._server.prepare()
        except OSError as exc:
            raise exceptions.Error(
                f'Cannot listen on {self._address[0]}:{self._address[1]}: {exc}') from exc
        self._thread.start()
        LOG.info('Listening on http://%s:%d', self._address[0], self.port)

    @property
    def port(self):
        """The port that it listens on, also where [api] port is 0, for any."""
        return self._server.bind_addr[1]

    def _serve(self):
        self._server.serve()

    def stop(self):
        """Take no more requests; those being answered may end."""
        self._server.stop()


def _log(msg='', level=20, traceback=False):
    LOG.log(level, 'HTTP server: %s', msg, exc_info=traceback)
