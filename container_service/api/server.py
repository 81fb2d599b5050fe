# SPDX-License-Identifier: Apache-2.0
"""The HTTP server of ``container-service-api`` and of the standalone service.

For many processes or TLS use a WSGI server with ``container_service.wsgi.api:application``.
"""

import functools
import resource
import threading

from cheroot import server as cheroot
from cheroot import wsgi
from oslo_context import context
from oslo_log import log

from container_service import exceptions
from container_service.api import connections
from container_service.api import errors
from container_service.api import intake
from container_service.api import versions

LOG = log.getLogger(__name__)


class _HeaderReader(cheroot.HeaderReader):

    def _allow_header(self, key_name):
        # X_Auth_Token must not pass for X-Auth-Token.  What is expected was answered already.
        return b'_' not in key_name and key_name.lower() != b'expect'


class _Request(cheroot.HTTPRequest):
    """Answers what is wrong with the protocol in our shape, and leaves no body behind."""

    header_reader = _HeaderReader()

    def parse_request(self):
        if self.conn.incoming.refused:
            self.simple_response(*self.conn.incoming.refused)
        else:
            super().parse_request()

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
            self.conn.drain()

    def send_headers(self):
        # What is left unread would be taken for the next request.  Behind the last chunk there
        # may be trailers, which nobody reads.
        if self.chunked_read or self.rfile.remaining:
            self.close_connection = True
        super().send_headers()

    def respond(self):
        super().respond()
        if not self.rfile.closed if self.chunked_read else self.rfile.remaining:
            self.conn.drain()


class _Connection(connections.Connection):
    RequestHandlerClass = _Request


class _Server(connections.Gathering, wsgi.Server):
    ConnectionClass = _Connection
    max_request_header_size = connections.MAX_HEAD

    def error_log(self, msg='', level=20, traceback=False):
        LOG.log(level, 'HTTP server: %s', msg, exc_info=traceback)


class Server:
    """Serves a WSGI application on [api] host and port with a pool of threads."""

    def __init__(self, conf, app):
        self._address = (conf.api.host, conf.api.port)
        self._server = _Server(
            self._address, app, numthreads=conf.api.threads, request_queue_size=1024,
            timeout=20, shutdown_timeout=10, server_name='container-service')
        self._server.set_up(functools.partial(intake.body_limit, conf),
                            conf.api.max_connections)
        self._thread = threading.Thread(target=self._serve, name='http', daemon=True)

    def start(self):
        """Listen.  Raises Error when the address cannot be had."""
        _allow_files(self._server.max_connections)
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
        self._server.sender.stop()



def _allow_files(connections):
    """See that so many connections may be open, beside what else is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = connections + 1024
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
