# SPDX-License-Identifier: Apache-2.0
"""Connections of the HTTP server: no thread is held by what a client does, or leaves undone.

One thread, the one that accepts, gathers what comes over all connections without ever waiting
for one of them.  A thread of the pool gets a connection when its request is there as a whole, or
when it is clear that it will be refused.  What a client does not take of an answer at once is
left to another thread, which sends all answers that are not taken.  Each request and answer must
come along within a time, and what is kept of all of them is bounded: beyond that the slowest are
given up, so that a new client never waits for them.
"""

import contextlib
import re
import selectors
import socket
import threading
import time
import urllib.parse

from cheroot import makefile
from cheroot import server as cheroot

# Seconds for a request to arrive, or an answer to be taken; and one more for so many bytes.
PATIENCE, PACE = 30, 65536

# Bytes that are kept of all requests that have not arrived, and of all answers not taken.
KEPT = 2 ** 25

# Of a body that nobody wanted, so many bytes are taken, for so many seconds, after the answer.
_DRAIN, _LINGER = 2 ** 26, 2

MAX_HEAD = 65536

# What the kernel keeps of an answer (it doubles that).  By itself it may keep megabytes of each.
_SENT = 2 ** 17

_PIECE = 65536

# Seconds after which the sender looks again whose time is over.
_LOOK = 0.5

_HEAD_END = re.compile(rb'\n\r?\n')
_CHUNK = re.compile(rb'([0-9a-fA-F]{1,8})[ \t]*(?:;[^\r\n]*)?')
_LONGEST_CHUNK_LINE = 256


# A line that goes on with the one before, or a space that belongs to no name: what another server
# takes for a header, or for none, we might not.
_DOUBTFUL = re.compile(rb'\n[ \t]|\n[^:\r\n]*[ \t]:')


def _field(name):
    # Spaces are stripped afterwards: a pattern for them takes seconds for thousands of them.
    return re.compile(rb'^%s:([^\n]*)' % name, re.IGNORECASE | re.MULTILINE)


def _values(field, head):
    return [value.strip(b' \t\r') for value in field.findall(head)]


_LENGTH, _ENCODING, _EXPECT, _HOST = map(
    _field, (b'content-length', b'transfer-encoding', b'expect', b'host'))


class Incoming:
    """What has come over a socket.  Gathered without waiting; read like a socket."""

    def __init__(self, sock, limit_of, proceed):
        self._sock, self._limit_of, self._proceed = sock, limit_of, proceed
        self._buffer = bytearray()
        self._readable = 0
        self._ended = self._given_up = self.drains = False
        self._next()

    def _next(self):
        self._scanned, self._end, self._chunks = 0, None, None
        self._began, self.came = None, 0
        self._too_large = False
        self.refused = None

    def __len__(self):
        return len(self._buffer)

    @property
    def deadline(self):
        """Until when the request must be there; None where none has begun."""
        if self.drains:
            return self._began + _LINGER
        return self._began and self._began + PATIENCE + self.came / PACE

    def gather(self):
        """Take what there is.  Returns whether somebody can go on with it."""
        try:
            self._take(b'' if self._given_up else self._sock.recv(_PIECE))
        except (BlockingIOError, InterruptedError):
            pass
        except OSError:
            self._take(b'')
        if self.drains:
            self._buffer.clear()
            return self._ended or self.came > _DRAIN
        if self._buffer and self._began is None:
            self._began = time.monotonic()
        if not (self._ended or self._is_whole()):
            return False
        self._readable = len(self._buffer) if self._end is None else min(
            self._end, len(self._buffer))
        return True

    def _take(self, piece):
        self._ended = not piece
        if self._given_up:
            # Cleared it would keep its place, with a hole behind that fits nothing.
            self._buffer = bytearray()
        self._buffer += piece
        self.came += len(piece)

    def _is_whole(self):
        if self._end is None and self._chunks is None:
            head = _HEAD_END.search(self._buffer, max(0, self._scanned - 3))
            self._scanned = len(self._buffer)
            if head is None:
                return self._scanned > MAX_HEAD
            if self._look_at(bytes(self._buffer[:head.end()])):
                return True
        if self._chunks is not None:
            try:
                self._end = self._chunks.end_in(self._buffer)
            except ValueError:
                self.refused = '400 Bad Request', 'These are no chunks.'
                return True
            # What goes around small chunks can be much more than what is in them.
            if (self._chunks.size > self._limit
                    or len(self._buffer) > 2 * self._limit + MAX_HEAD):
                self._too_large = True
                return True
        return self._end is not None and len(self._buffer) >= self._end

    def _look_at(self, head):
        """Find how much belongs to the request.  Returns whether nothing more need come."""
        words = head.lstrip().partition(b'\n')[0].split()
        if _DOUBTFUL.search(head):
            self.refused = ('400 Bad Request', 'A header must be one line, without a space before '
                                               'the colon.')
            return True
        if len(_HOST.findall(head)) > 1:
            self.refused = '400 Bad Request', 'Host must be said once.'
            return True
        lengths, encodings = _values(_LENGTH, head), _values(_ENCODING, head)
        if len(lengths) > 1 or len(encodings) > 1 or lengths and encodings or (
                encodings and words[-1:] != [b'HTTP/1.1']):
            # Somebody on the way may have believed the other one.
            self.refused = '400 Bad Request', 'Where the body ends must be said once.'
            return True
        self._limit = self._limit_of(_path(words[1] if len(words) > 1 else b''))
        if encodings:
            if encodings[0].lower() != b'chunked':
                return True
            self._chunks = _Chunks(len(head))
        else:
            length = lengths[0] if lengths else b'0'
            if not length.isdigit() or len(length) > 18 or int(length) > self._limit:
                return True
            self._end = len(head) + int(length)
        if (words[-1:] == [b'HTTP/1.1'] and len(self._buffer) == len(head)
                and self._end != len(head)
                and [b'100-continue'] == [each.lower() for each in _values(_EXPECT, head)]):
            self._proceed()
        return False

    def done(self):
        """The request has been answered.  Returns whether all of it had been read."""
        whole = not self._readable and not self._ended
        if not self.drains:
            self._next()
        return whole

    def give_up(self):
        """Have it end, whatever else comes.  Any thread may say so."""
        self._given_up = True
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_RD)

    def drain(self):
        """Let the client finish sending what nobody reads.  Closed at once, the connection would
        be reset, and the answer lost.
        """
        self._buffer.clear()
        self.drains, self._began, self.came = True, time.monotonic(), 0

    def recv_into(self, buffer):
        size = min(len(buffer), self._readable)
        if not size and self._too_large:
            raise OSError('Request Entity Too Large')
        buffer[:size] = self._buffer[:size]
        del self._buffer[:size]
        self._readable -= size
        return size

    def __getattr__(self, name):
        return getattr(self._sock, name)


class _Chunks:
    """Finds the end of a body in chunks.  Raises ValueError for what is none."""

    def __init__(self, at):
        self._at, self.size = at, 0
        self._last = False

    def end_in(self, buffer):
        """The position behind the body, or None when it has not come yet."""
        while not self._last:
            end = buffer.find(b'\r\n', self._at)
            if end < 0:
                if len(buffer) - self._at > _LONGEST_CHUNK_LINE:
                    raise ValueError('no chunk')
                return None
            line = _CHUNK.fullmatch(buffer, self._at, end)
            if line is None:
                raise ValueError('no chunk')
            size = int(line[1], 16)
            self._last = not size
            if size:
                self.size += size
                self._at = end + 2 + size + 2
                if self._at <= len(buffer) and buffer[self._at - 2:self._at] != b'\r\n':
                    raise ValueError('no chunk')
            else:
                self._at = end
        end = buffer.find(b'\r\n\r\n', self._at)
        if end < 0 and len(buffer) - self._at > MAX_HEAD:
            raise ValueError('trailers without end')
        return None if end < 0 else end + 4


def _path(target):
    try:
        return urllib.parse.unquote(urllib.parse.urlsplit(target.decode('latin-1')).path)
    except ValueError:
        return ''


class Outgoing:
    """Takes whatever is written; what the client does not take at once is kept."""

    def __init__(self, sock):
        self._sock = sock
        self._rest, self._sent, self._began = bytearray(), 0, None

    def __len__(self):
        return len(self._rest)

    def write(self, data):
        if not self._rest:
            data = memoryview(data)[self._send(data):]
            if data:
                self._began, self._sent = time.monotonic(), 0
        self._rest += data

    def _send(self, data):
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0

    @property
    def deadline(self):
        return self._began + PATIENCE + self._sent / PACE

    def send_more(self):
        """Returns whether there is nothing left to be done: sent, or nobody is there."""
        try:
            sent = self._send(bytes(self._rest[:_PIECE]))
        except OSError:
            self.give_up()
            return True
        del self._rest[:sent]
        self._sent += sent
        return not self._rest

    def give_up(self):
        self._rest.clear()


class Connection(cheroot.HTTPConnection):
    """One that belongs to one thread at a time: that which gathers, one of the pool, or that
    which sends.
    """
    _last_used = float('inf')               # a new one

    def __init__(self, server, sock, make_file):
        sock.settimeout(0)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SENT)
        self.outgoing = Outgoing(sock)
        self.incoming = Incoming(sock, server.limit_of, self._proceed)
        super().__init__(server, sock, lambda sock, mode, size: (
            make_file(self.incoming, mode, size) if 'r' in mode else self.outgoing))
        self.keep = False

    def _proceed(self):
        with contextlib.suppress(OSError):
            self.outgoing.write(b'HTTP/1.1 100 Continue\r\n\r\n')

    # cheroot closes a connection that was last used so long ago as [its] timeout says.  It would
    # be renewed by every byte that comes.
    @property
    def last_used(self):
        deadline = self.incoming.deadline
        if deadline is None:
            return self._last_used
        return deadline - time.monotonic() + time.time() - self.server.timeout

    @last_used.setter
    def last_used(self, value):
        self._last_used = value

    def communicate(self):
        keep = super().communicate()
        return (self.incoming.done() and keep and not self.rfile.has_data()
                or self.incoming.drains)

    def drain(self):
        """Answered; what the client still sends is taken and dropped."""
        self.incoming.drain()
        # The old one may have read ahead.
        self.rfile = makefile.StreamReader(self.incoming, 'rb')

    def close(self):
        self.server.leave(self)
        deadline = self.incoming.deadline
        if (deadline is not None and time.monotonic() >= deadline
                and not self.incoming.drains):
            self._conditional_error(self.RequestHandlerClass(self.server, self),
                                    '408 Request Timeout')
        if len(self.outgoing) and self.server.ready:
            self.keep = False
            self.server.sender.add(self)
        else:
            super().close()


class Sender:
    """The thread that sends what clients did not take at once."""

    def __init__(self, server):
        self._server = server
        self._selector = selectors.DefaultSelector()
        self._connections, self._kept = {}, 0           # with the bytes of each, and of all
        self._look_at = 0
        self._lock = threading.Lock()
        self._thread = None
        self._stopping = False

    def add(self, connection):
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name='sender', daemon=True)
                self._thread.start()
            self._connections[connection] = 0
            self._count(connection)
            self._selector.register(connection.socket, selectors.EVENT_WRITE, connection)

    def _count(self, connection):
        size = len(connection.outgoing)
        self._kept += size - self._connections[connection]
        self._connections[connection] = size

    def _run(self):
        while not self._stopping or self._connections:
            for key, _ in self._selector.select(_LOOK):
                if key.data.outgoing.send_more():
                    self._done(key.data)
                else:
                    with self._lock:
                        self._count(key.data)
            for connection in self._slowest():
                connection.outgoing.give_up()
                connection.keep = False
                self._done(connection)

    def _slowest(self):
        """Whom to wait for no longer."""
        now, most = time.monotonic(), self._server.max_connections
        with self._lock:
            if not (now >= self._look_at or self._stopping or self._kept > KEPT
                    or len(self._connections) > most):
                return []
            self._look_at = now + _LOOK
            known = sorted(self._connections.items(), key=lambda each: each[0].outgoing.deadline)
        late = sum(self._stopping or each.outgoing.deadline <= now for each, _ in known)
        return [each for each, _ in known[:max(late, _beyond(known, most))]]

    def _done(self, connection):
        with self._lock:
            self._selector.unregister(connection.socket)
            self._kept -= self._connections.pop(connection)
        if connection.keep:
            self._server.put_conn(connection)
        else:
            connection.close()

    def stop(self):
        """Give up what has not been taken."""
        self._stopping = True
        if self._thread is not None:
            self._thread.join(5)
        self._selector.close()


def _beyond(known, most):
    """Of connections with their bytes, the slowest first, how many to give up, if any.

    So many that there is room for a while: to look at all of them for each byte that comes would
    leave no time for others.
    """
    count, kept = len(known), sum(size for _, size in known)
    count_goal = most * 9 // 10 if count > most else count
    kept_goal = KEPT * 9 // 10 if kept > KEPT else kept
    for number, (_, size) in enumerate(known):
        if count - number <= count_goal and kept <= kept_goal:
            return number
        kept -= size
    return count


class Gathering:
    """Of a cheroot server: which of its connections a thread may have.

    ``limit_of`` tells the largest body for a path.
    """

    def set_up(self, limit_of, max_connections):
        self.limit_of, self.max_connections = limit_of, max_connections
        # Connections that nothing can be done about now, with the bytes of each, and of all.
        self.waiting, self._kept = {}, 0
        self._lock = threading.Lock()
        self.sender = Sender(self)

    def process_conn(self, conn):
        self.leave(conn)
        if conn.incoming.gather():
            return conn.close() if conn.incoming.drains else super().process_conn(conn)
        self._wait(conn)

    def put_conn(self, conn):
        if len(conn.outgoing):
            conn.keep = True
            self.sender.add(conn)
        elif len(conn.incoming):        # sent behind the request that was answered
            self.process_conn(conn)
        else:
            self._wait(conn)

    def leave(self, conn):
        """It is not among those that wait, whether it was or not."""
        with self._lock:
            self._kept -= self.waiting.pop(conn, 0)

    def _wait(self, conn):
        with self._lock:
            size = len(conn.incoming)
            self._kept += size - self.waiting.get(conn, 0)
            self.waiting[conn] = size
            if self._kept > KEPT or len(self.waiting) > self.max_connections:
                self._make_room()
        super().put_conn(conn)

    def _make_room(self):
        """Give up who has been slow for longest, until others have room."""
        known = sorted(self.waiting.items(), key=lambda each: each[0].last_used)
        for slow, size in known[:_beyond(known, self.max_connections)]:
            # It comes back as one that has ended, and counts no more until then.
            del self.waiting[slow]
            self._kept -= size
            slow.incoming.give_up()

    @property
    def can_add_keepalive_connection(self):
        return self.ready
