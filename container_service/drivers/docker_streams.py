# SPDX-License-Identifier: Apache-2.0
"""What a command reads and writes, over one connection to an engine, and what takes long there.

A command's input ends when the client ends its side of the connection, while its output goes on.
Python's TLS sockets cannot end one side, so TLS is done in memory here, and with it the little
HTTP that comes before.  An answer that comes late is waited for here too, for this wait can be
ended at any time.  Everything else goes through the SDK, in docker.py.
"""

import http.client
import io
import json
import re
import selectors
import socket
import ssl
import urllib.parse

from container_service import certificates
from container_service import egress

_PIECE = 16 * 1024           # as much as fits one TLS record
_HEADER_BYTES = 64 * 1024


class Connection:
    """A connection for one request.  A context manager; made, it is connected.

    ``left`` gives the seconds that are left for it, and raises TimeoutError when none are.
    Everything here raises OSError, of which TimeoutError and those of TLS are kinds, or Refused
    or certificates.Bad.
    """

    def __init__(self, bay, left, connect_seconds):
        url = urllib.parse.urlsplit(bay.endpoint)
        seconds = min(connect_seconds, left())
        self._left = left
        self._layer = _Tls(bay, egress.host(url.hostname)) if bay.ca_cert else _Plain()
        if url.scheme == 'unix':
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.settimeout(seconds)
            try:
                self._socket.connect(url.path)
            except OSError:
                self._socket.close()
                raise
        else:
            self._socket = bay.policy.connect(url.hostname, url.port, seconds)
        self._socket.setblocking(False)
        self._unsent, self._deaf = b'', False

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self._socket.close()

    def post(self, path, body):
        """Send a request; returns what comes after the header of the answer, and its status."""
        answer = b''
        for piece in self.exchange(_request(path, body)):
            answer += piece
            header, end, rest = answer.partition(b'\r\n\r\n')
            status = re.match(rb'HTTP/1\.[01] ([0-9]{3}) ', header)
            if end and status:
                return rest, int(status[1])
            if end or len(answer) > _HEADER_BYTES:
                break
        raise OSError('the engine did not answer in HTTP')

    def ask(self, path, body):
        """Send a request; returns the whole of its answer, and its status."""
        answer = _Whole(b''.join(self.exchange(_request(path, body, 'Connection: close\r\n'))))
        answer.begin()
        return answer.read(), answer.status

    def exchange(self, data, end=False):
        """Send data, and then the end of it if that is wanted; yield what comes meanwhile.

        Comes to an end when the other side does.
        """
        left, ended = memoryview(data), not end
        while True:
            # What has come is taken first: the end is written when nothing lies there unread.
            piece = self._layer.take()
            if piece is None:
                return
            if piece:
                yield piece
                continue
            if self._deaf:                 # the command has ended, and its output is still to come
                left, ended = left[:0], True
            if left and len(self._unsent) < _PIECE:
                left = left[self._layer.put(left[:_PIECE]):]
            elif not left and not ended:
                self._layer.end()
                ended = True
            self._unsent += self._layer.outgoing()
            if ended and end and not self._unsent and not self._deaf and self._layer.shuts:
                self._layer.shuts = False
                self._socket.shutdown(socket.SHUT_WR)
            self._move()

    def _move(self):
        """Let bytes go out and come in, as soon as either is possible."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if self._unsent else 0)
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, events)
            ready = sum(mask for _, mask in selector.select(self._left()))
        if ready & selectors.EVENT_WRITE:
            try:
                self._unsent = self._unsent[self._socket.send(self._unsent):]
            except (BrokenPipeError, ConnectionResetError):
                self._unsent, self._deaf = b'', True
        if ready & selectors.EVENT_READ:
            try:
                came = self._socket.recv(4 * _PIECE)
            except ConnectionResetError:
                came = b''
            self._layer.incoming(came)


def _request(path, body, more=''):
    data = json.dumps(body).encode()
    return (f'POST {path} HTTP/1.1\r\nHost: engine\r\nContent-Type: application/json\r\n{more}'
            f'Content-Length: {len(data)}\r\n\r\n').encode() + data


class _Whole(http.client.HTTPResponse):
    """An answer that has come already."""

    def __init__(self, data):
        class Socket:
            def makefile(self, mode):
                return io.BytesIO(data)
        super().__init__(Socket())


class _Plain:
    """What goes over the wire is what is meant."""

    def __init__(self):
        self.shuts = True              # the end is that of the socket's one side
        self._in, self._out, self._over = b'', b'', False

    def put(self, data):
        """Take data to be sent; returns how much was taken."""
        self._out += data
        return len(data)

    def end(self):
        """Say that nothing follows."""

    def outgoing(self):
        """What is to go over the wire."""
        data, self._out = self._out, b''
        return data

    def incoming(self, data):
        """Take what came over the wire; nothing is its end."""
        self._in += data
        self._over = not data

    def take(self):
        """What has come, which may be nothing yet; None at its end."""
        data, self._in = self._in, b''
        return None if self._over and not data else data


class _Tls:
    """The same with TLS in between."""
    shuts = False                      # the end is a message of TLS

    def __init__(self, bay, host):
        context = certificates.context(bay.ca_cert, bay.client_cert, bay.client_key)
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)

    def put(self, data):
        try:
            return self._tls.write(data)
        except ssl.SSLWantReadError:   # they have not yet said hello
            return 0

    def end(self):
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:   # the end of the other side, which is not waited for
            pass

    def outgoing(self):
        return self._out.read()

    def incoming(self, data):
        if data:
            self._in.write(data)
        else:
            self._in.write_eof()

    def take(self):
        try:
            return self._tls.read(4 * _PIECE) or None
        except ssl.SSLWantReadError:
            return b''
        except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
            return None
