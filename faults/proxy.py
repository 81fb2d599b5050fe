# SPDX-License-Identifier: Apache-2.0
"""Stands in the links between the parts of a deployment, and breaks them when it is told to.

A ``Link`` takes connections from a listening socket and carries their bytes to its upstream.
Its faults can be set from any thread at any time, alone or together, and ``heal()`` ends them
all.  Chance comes from a seeded generator of each link.  All links of a ``Proxy`` are served by
one thread; what a connection says is in ``wire.py``.

The story goes on in ``wire.py`` (which requests are worth a fault).
"""

import asyncio
import contextlib
import dataclasses
import random
import socket
import struct
import threading

from faults import wire

UP, DOWN = 'up', 'down'         # from who connected to the server, and back
BOTH = (UP, DOWN)
EVENTS = 'events'               # down, of requests that are answered with a stream of events

_CHUNK = 65536


@dataclasses.dataclass
class Counters:
    """What has passed a link, and what was done to it."""
    accepted: int = 0           # connections taken
    refused: int = 0            # connections closed at once, because the link was cut
    unreachable: int = 0        # connections closed because the upstream did not answer
    broken: int = 0             # connections that were closed by cut()
    up_bytes: int = 0
    down_bytes: int = 0
    requests: int = 0           # that could have got a fault: a COMMIT, a change over HTTP
    commits_lost: int = 0       # carried out, answer dropped
    answers_lost: int = 0       # carried out, answer dropped
    answers_500: int = 0        # never carried out
    answers_late: int = 0


class Proxy:
    """One thread that serves links.  Use as a context manager, or ``close()`` it."""

    def __init__(self, seed=0):
        self._seed = seed
        self.links = {}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name='fault-proxy',
                                        daemon=True)
        self._thread.start()

    def link(self, name, listener, upstream, protocol=None):
        """Add and start a link.

        ``listener`` is a bound socket, listening or not, of any network namespace, whose port was
        chosen by who bound it; or an address to bind: HOST:PORT (port 0 for any) or unix:PATH.
        ``upstream`` is an address.  ``protocol`` is what is spoken: mysql, postgresql, http;
        None for bytes.
        """
        link = Link(name, listener, upstream, protocol, self._loop,
                    random.Random(f'{self._seed}/{name}'))  # noqa: S311 - seeded on purpose
        self.links[name] = link
        return link

    def heal(self):
        """End every fault of every link."""
        for link in self.links.values():
            link.heal()

    def close(self):
        """Close every link and its connections."""
        for link in self.links.values():
            link.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc_info):
        self.close()


class Link:
    """One listener, its connections and its faults.  Made by ``Proxy.link``."""

    def __init__(self, name, listener, upstream, protocol, loop, chance):
        self.name = name
        self.upstream = upstream
        self.protocol = protocol
        self._chance = chance
        self.counters = Counters()
        self.loop = loop
        self._listener = bound(listener)
        self._listener.setblocking(False)
        self._connections = set()
        self._gates = {}
        self._no_faults()
        self._listening = False
        self._run(self._start)

    @property
    def address(self):
        """Where it listens, as an address to connect to."""
        name = self._listener.getsockname()
        return f'unix:{name}' if isinstance(name, str) else f'{name[0]}:{name[1]}'

    # Faults.  Each can be called from any thread and has happened when it returns.

    def heal(self):
        """Pass everything again.  What was stalled flows on; what was closed stays closed."""
        self._run(self._heal)

    def cut(self):
        """Reset all connections; refuse new ones."""
        self._run(self._cut)

    def stall(self, *directions):
        """Forward nothing, in these directions or both.  Connections are still accepted, hang,
        and hang on when one side has closed them, as behind a dead network."""
        for direction in directions or BOTH:
            self._run(self._gates[direction].clear)

    def delay(self, seconds, *directions):
        """Let every piece of data be late."""
        for direction in directions or BOTH:
            self.delays[direction] = seconds

    def half_close(self, direction=DOWN):
        """End the current connections in one direction: that side reads end of file."""
        def halve():
            for connection in list(self._connections):
                connection.half_close(direction)
        self._run(halve)

    def lose_commit_answer(self, probability=1.0):
        """Let the server carry a COMMIT out, drop its answer and reset the connection."""
        assert self.protocol in ('mysql', 'postgresql'), self.protocol
        self._faults['commits_lost'] = probability

    def lose_answer(self, probability=1.0):
        """Let the server carry a change out, drop its answer and reset the connection."""
        assert self.protocol == 'http', self.protocol
        self._faults['answers_lost'] = probability

    def answer_500(self, probability=1.0):
        """Answer 500 to a change that the server never sees."""
        assert self.protocol == 'http', self.protocol
        self._faults['answers_500'] = probability

    def late_answer(self, seconds, probability=1.0):
        """Hold the answer to a change, or to a COMMIT, back for so long."""
        assert self.protocol is not None
        self.late_seconds = seconds
        self._faults['answers_late'] = probability

    def stall_events(self):
        """Forward nothing of event streams: they stay open and say nothing."""
        assert self.protocol == 'http', self.protocol
        self._run(self._gates[EVENTS].clear)

    def close(self):
        """Close the listener and every connection."""
        self._run(self._close)

    # In the thread of the proxy.

    def _run(self, function):
        async def call():
            ended = function()
            if ended:
                await asyncio.wait([connection.task for connection in ended])
        asyncio.run_coroutine_threadsafe(call(), self.loop).result(10)

    def _no_faults(self):
        self.delays = {UP: 0, DOWN: 0}
        self.late_seconds = 0
        self._faults = {'answers_500': 0, 'commits_lost': 0, 'answers_lost': 0, 'answers_late': 0}

    def _start(self):
        self._gates = {UP: asyncio.Event(), DOWN: asyncio.Event(), EVENTS: asyncio.Event()}
        self._heal()

    def _heal(self):
        self._no_faults()
        for gate in self._gates.values():
            gate.set()
        if not self._listening:
            address = self.address
            self._listener.listen(1024)
            assert self.address == address, 'the listener was bound to any port'
            self.loop.add_reader(self._listener, self._accept)
            self._listening = True
        self.is_cut = False

    def _cut(self):
        self.is_cut = True
        if self._listening and self._listener.family != socket.AF_UNIX:
            # The kernel refuses connections until listen() is called again, and the port stays
            # ours.  A unix socket could not be woken from that: there they are accepted and
            # closed.
            self.loop.remove_reader(self._listener)
            self._listener.shutdown(socket.SHUT_RD)
            self._listening = False
        self.counters.broken += len(self._connections)
        for connection in self._connections:
            connection.task.cancel()
        return list(self._connections)

    def _close(self):
        ended = self._cut()
        self.loop.remove_reader(self._listener)
        self._listener.close()
        return ended

    def _accept(self):
        try:
            client, _ = self._listener.accept()
        except OSError:
            return                        # gone before we looked
        if self.is_cut:
            self.counters.refused += 1
            _reset(client)
            return
        self.counters.accepted += 1
        connection = _Connection(self, client)
        self._connections.add(connection)
        connection.task.add_done_callback(lambda _: self._connections.discard(connection))

    async def passed(self, direction, gate=None):
        """Wait until data may pass."""
        if self.delays[direction]:
            await asyncio.sleep(self.delays[direction])
        await self._gates[gate or direction].wait()

    def fate(self):
        """The fault that the request which begins now gets, by its counter, or None."""
        for counter, probability in self._faults.items():
            if probability > 0 and self._chance.random() < probability:
                return counter
        return None

    def count(self, counter):
        setattr(self.counters, counter, getattr(self.counters, counter) + 1)


class _Connection:
    """One connection through a link."""

    def __init__(self, link, client):
        self._link = link
        self._client, self._server = client, None
        client.setblocking(False)
        self._requests = wire.reader(link.protocol)
        self._request = None            # the counter of the fault that its last request gets
        self._ended = set()             # directions closed by half_close()
        self._hold_until = 0
        self.task = link.loop.create_task(self._serve())

    async def _serve(self):
        end = _close
        try:
            await self._link.passed(UP)
            self._server = await self._dial()
            await self._pump()
        except _Refused:
            pass
        except (OSError, ValueError, asyncio.CancelledError):
            # The other side must not take it for an orderly end.
            end = _reset
        finally:
            for sock in (self._client, self._server):
                if sock is not None:
                    end(sock)

    async def _dial(self):
        family, address = parsed(self._link.upstream)
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        try:
            await self._link.loop.sock_connect(sock, address)
        except OSError:
            sock.close()
            self._link.counters.unreachable += 1
            raise
        except asyncio.CancelledError:
            sock.close()
            raise
        _no_delay(sock)
        _no_delay(self._client)
        return sock

    async def _pump(self):
        pumps = [asyncio.ensure_future(self._pump_up()), asyncio.ensure_future(self._pump_down())]
        try:
            await asyncio.gather(*pumps)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    async def _pump_up(self):
        loop, link = self._link.loop, self._link
        requests = self._requests
        while True:
            data = await loop.sock_recv(self._client, _CHUNK)
            await link.passed(UP)
            if not data:
                _shutdown(self._server)
                return
            link.counters.up_bytes += len(data)
            for piece, mark in requests.feed(data):
                if mark & wire.BEGINS:
                    link.counters.requests += 1
                    self._request = link.fate()
                if mark & wire.NO_TLS:
                    await loop.sock_sendall(self._client, b'N')
                elif self._request != 'answers_500' and UP not in self._ended:
                    await loop.sock_sendall(self._server, piece)
                if mark & wire.ENDS:
                    await self._after_request()

    async def _after_request(self):
        link = self._link
        if self._request == 'answers_500':
            link.counters.answers_500 += 1
            await link.loop.sock_sendall(self._client, wire.ANSWER_500)
            raise _Refused
        if self._request == 'answers_late':
            link.counters.answers_late += 1
            self._hold_until = link.loop.time() + link.late_seconds

    async def _pump_down(self):
        loop, link = self._link.loop, self._link
        while True:
            data = await loop.sock_recv(self._server, _CHUNK)
            if data and self._request in ('commits_lost', 'answers_lost'):
                link.count(self._request)
                raise ConnectionError
            await asyncio.sleep(max(0, self._hold_until - loop.time()))
            await link.passed(DOWN)
            if getattr(self._requests, 'is_stream', False):
                await link.passed(DOWN, EVENTS)
            if not data:
                _shutdown(self._client)
                return
            link.counters.down_bytes += len(data)
            if DOWN not in self._ended:
                await loop.sock_sendall(self._client, data)

    def half_close(self, direction):
        sock = self._client if direction == DOWN else self._server
        if sock is not None:
            self._ended.add(direction)
            _shutdown(sock)


class _Refused(Exception):
    """The connection has its answer from us; close it in good order."""


# Sockets

def parsed(address):
    """The family and address of HOST:PORT or unix:PATH (unix://PATH too)."""
    if address.startswith('unix:'):
        return socket.AF_UNIX, address.removeprefix('unix:').removeprefix('//')
    host, port = address.rsplit(':', 1)
    return socket.AF_INET, (host, int(port))


def bound(listener):
    """The socket itself, or a new one bound to that address."""
    if isinstance(listener, socket.socket):
        return listener
    family, address = parsed(listener)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    if family == socket.AF_INET and address[1] == 0:
        # A port that the kernel chose is given back when a link is cut.
        chosen = sock.getsockname()
        sock.close()
        return bound(f'{chosen[0]}:{chosen[1]}')
    return sock


def _no_delay(sock):
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _shutdown(sock):
    with contextlib.suppress(OSError):
        sock.shutdown(socket.SHUT_WR)


def _close(sock):
    sock.close()


def _reset(sock):
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    sock.close()
