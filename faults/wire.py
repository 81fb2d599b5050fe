# SPDX-License-Identifier: Apache-2.0
"""Cuts what a client sends into requests, as far as a fault needs it.

A reader is fed bytes and gives back the same bytes in pieces, each marked with whether a request
that is worth a fault begins or ends with it: a COMMIT over SQL, a change over HTTP.  It keeps
nothing back but an unfinished head, so bodies and hijacked connections stream.  Raises ValueError
for what is not the protocol.  Not for TLS: PostgreSQL clients that ask for it are told that there
is none.
"""

import json

# Marks.
PLAIN = 0
BEGINS = 1
ENDS = 2
WHOLE = BEGINS | ENDS
NO_TLS = 4                      # not to be passed on: tell the client that there is no TLS

_BODY = json.dumps({'message': 'injected fault'}).encode()
ANSWER_500 = (b'HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n'
              b'Connection: close\r\nContent-Length: %d\r\n\r\n%s' % (len(_BODY), _BODY))


def reader(protocol):
    """A reader for one connection."""
    return {None: Bytes, 'mysql': MySQL, 'postgresql': PostgreSQL, 'http': HTTP}[protocol]()


class Bytes:
    """No protocol: nothing is worth a fault."""

    def feed(self, data):
        yield data, PLAIN


# A COMMIT is shorter; up to this a message is waited for.
_SHORT = 64


class _Framed:
    """Messages with their length in front.  A long one is passed on before it is complete."""

    def __init__(self):
        self._data = b''
        self._rest = 0                  # bytes of a long message still to come

    def feed(self, data):
        self._data += data
        while self._data:
            if self._rest:
                piece, self._data = self._data[:self._rest], self._data[self._rest:]
                self._rest -= len(piece)
                yield piece, PLAIN
                continue
            length = self.length()
            if length is None or len(self._data) < length <= _SHORT:
                return
            if length > _SHORT:
                self._rest = length
                self.long_message()
                continue
            message, self._data = self._data[:length], self._data[length:]
            yield self.judged(message)

    def long_message(self):
        """A message begins that is too long to be a COMMIT."""


class MySQL(_Framed):
    """Packets: three bytes of length, a number, and the command."""

    def length(self):
        return 4 + int.from_bytes(self._data[:3], 'little') if len(self._data) >= 4 else None

    def judged(self, packet):
        return packet, WHOLE if packet[4:5] == b'\x03' and _is_commit(packet[5:]) else PLAIN


class PostgreSQL(_Framed):
    """Messages: a letter, four bytes of length; the first ones have no letter."""

    _SSL, _GSS = 80877103, 80877104

    def __init__(self):
        super().__init__()
        self._started = False

    def length(self):
        skip = 1 if self._started else 0
        if len(self._data) < skip + 4:
            return None
        length = int.from_bytes(self._data[skip:skip + 4], 'big')
        if length < 4:
            raise ValueError('not the protocol of PostgreSQL')
        return skip + length

    def judged(self, message):
        if not self._started:
            if int.from_bytes(message[4:8], 'big') in (self._SSL, self._GSS):
                return message, NO_TLS
            self._started = True
            return message, PLAIN
        return message, WHOLE if message[:1] == b'Q' and _is_commit(message[5:]) else PLAIN

    def long_message(self):
        self._started = True


def _is_commit(statement):
    return statement.rstrip(b'\0; \n').strip().upper() == b'COMMIT'


class HTTP:
    """Requests with their bodies.  After a request to upgrade, bytes.

    ``is_stream`` tells whether the last one asked for events, as long as it wants them.
    """

    _CHANGES = (b'POST', b'PUT', b'DELETE', b'PATCH')

    def __init__(self):
        self._data = b''
        self._step = self._head
        self._rest = 0
        self._worth = self.is_stream = False

    def feed(self, data):
        self._data += data
        while self._data:
            piece, mark = self._step()
            if piece is None:
                return
            yield piece, mark if self._worth else PLAIN

    def _take(self, count):
        piece, self._data = self._data[:count], self._data[count:]
        return piece

    def _head(self):
        end = self._data.find(b'\r\n\r\n')
        if end < 0:
            return None, PLAIN
        head = self._take(end + 4)
        lines = head.split(b'\r\n')
        fields = {}
        for line in lines[1:]:
            name, _, value = line.partition(b':')
            fields[name.strip().lower()] = value.strip().lower()
        method, path = lines[0].split(b' ')[:2]
        self.is_stream = path.split(b'?')[0].endswith(b'/events')
        # A wait changes nothing, and answers before it is over.
        self._worth = method in self._CHANGES and not path.split(b'?')[0].endswith(b'/wait')
        if b'upgrade' in fields:
            self._step = self._raw
            return head, WHOLE
        if fields.get(b'transfer-encoding') == b'chunked':
            self._step = self._chunk_size
            return head, BEGINS
        self._rest = int(fields.get(b'content-length') or 0)
        if self._rest:
            self._step = self._body
            return head, BEGINS
        return head, WHOLE

    def _body(self):
        piece = self._take(self._rest)
        self._rest -= len(piece)
        if self._rest:
            return piece, PLAIN
        self._step = self._head
        return piece, ENDS

    def _chunk_size(self):
        end = self._data.find(b'\r\n')
        if end < 0:
            return None, PLAIN
        line = self._take(end + 2)
        size = int(line.split(b';')[0], 16)
        self._rest = size + 2
        self._step = self._chunk if size else self._trailer
        return line, PLAIN

    def _chunk(self):
        piece = self._take(self._rest)
        self._rest -= len(piece)
        if not self._rest:
            self._step = self._chunk_size
        return piece, PLAIN

    def _trailer(self):
        end = self._data.find(b'\r\n')
        if end < 0:
            return None, PLAIN
        if end:
            return self._take(end + 2), PLAIN
        self._step = self._head
        return self._take(2), ENDS

    def _raw(self):
        return self._take(len(self._data)), PLAIN
