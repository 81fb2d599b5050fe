# SPDX-License-Identifier: Apache-2.0
"""Sends requests over a few connections that are kept open, as fast as they are answered.

One thread and a selector, requests made beforehand, answers hardly looked at: on a machine with
few cores whatever the generator needs is taken from what it measures.
"""

import collections
import dataclasses
import json
import selectors
import socket
import time


@dataclasses.dataclass(frozen=True)
class Answer:
    status: int
    body: bytes
    seconds: float

    def json(self):
        return json.loads(self.body)


@dataclasses.dataclass(frozen=True)
class Result:
    """Answers in the order of the requests, and how long all of them took together."""
    answers: tuple
    seconds: float
    started_at: float          # wall clock

    @property
    def rate(self):
        return len(self.answers) / self.seconds


class Refused(Exception):
    """An answer was not the one that is measured."""


def request(method, path, body=None, headers=()):
    """The bytes of a request, to be sent any number of times."""
    payload = b'' if body is None else json.dumps(body).encode()
    lines = [f'{method} {path} HTTP/1.1', 'Host: 127.0.0.1', 'Accept: application/json',
             f'Content-Length: {len(payload)}', *(f'{name}: {value}' for name, value in headers)]
    if body is not None:
        lines.append('Content-Type: application/json')
    return '\r\n'.join([*lines, '', '']).encode('latin-1') + payload


class _Connection:

    def __init__(self, port, selector):
        self._port = port
        self._selector = selector
        self._sock = None
        self.number = None           # of the request in progress

    def send(self, number, data):
        self.number, self._data, self._received = number, data, b''
        self._sent_at = time.perf_counter()
        if self._sock is None:
            self._sock = socket.create_connection(('127.0.0.1', self._port), timeout=60)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._selector.register(self._sock, selectors.EVENT_READ, self)
        self._sock.sendall(data)

    def receive(self):
        """The Answer once it is complete, else None."""
        try:
            data = self._sock.recv(262144)
        except ConnectionResetError:
            data = b''
        if not data:
            if self._received:
                raise Refused('the server closed a connection within an answer')
            # It was idle for longer than the server likes.
            self.close()
            self.send(self.number, self._data)
            return None
        self._received += data
        head, found, body = self._received.partition(b'\r\n\r\n')
        if not found:
            return None
        lines = head.lower().split(b'\r\n')
        fields = dict(line.split(b': ', 1) for line in lines[1:])
        if len(body) < int(fields.get(b'content-length', 0)):
            return None
        if b'transfer-encoding' in fields:
            raise Refused('the answer has no length')
        answer = Answer(int(lines[0].split()[1]), body, time.perf_counter() - self._sent_at)
        if fields.get(b'connection') == b'close':
            self.close()
        return answer

    def close(self):
        if self._sock is not None:
            self._selector.unregister(self._sock)
            self._sock.close()
            self._sock = None


def run(port, requests, connections, expected=202):
    """Send all requests, at most one at a time on each connection.  Raises Refused."""
    answers = [None] * len(requests)
    todo = collections.deque(enumerate(requests))
    with selectors.DefaultSelector() as selector:
        opened = [_Connection(port, selector) for _ in range(min(connections, len(requests)))]
        try:
            started_at, start = time.time(), time.perf_counter()
            for connection in opened:
                connection.send(*todo.popleft())
            left = len(requests)
            while left:
                ready = selector.select(60)
                if not ready:
                    raise Refused('no answer for 60 seconds')
                for key, _ in ready:
                    answer = key.data.receive()
                    if answer is None:
                        continue
                    if answer.status != expected:
                        raise Refused(f'{requests[key.data.number].splitlines()[0].decode()} was '
                                      f'answered {answer.status}: {answer.body[:500]!r}')
                    answers[key.data.number] = answer
                    left -= 1
                    if todo:
                        key.data.send(*todo.popleft())
            seconds = time.perf_counter() - start
        finally:
            for connection in opened:
                connection.close()
    return Result(tuple(answers), seconds, started_at)
