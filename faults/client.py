# SPDX-License-Identifier: Apache-2.0
"""Calls the API as a client does that loses nothing: one key for each change, tried again."""

import contextlib
import dataclasses
import http.client
import itertools
import json
import random
import socket
import time

from faults import projects

NEWEST = 'container latest'

# Seconds for one answer; the client is told no later than this that there is none.
ANSWER_SECONDS = 15


def free_port():
    """A port that nobody listens on, and that the system gives to no connection that goes out."""
    while True:
        port = random.randrange(15000, 32000)  # noqa: S311 - any will do
        with contextlib.suppress(OSError), socket.socket() as sock:
            sock.bind(('127.0.0.1', port))
            return port


def answers(port):
    """Whether an API serves on a port."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
        with contextlib.closing(connection):
            connection.request('GET', '/')
            return connection.getresponse().status == 200
    return False


class Addresses:
    """The ports of the API processes; clients begin with them in turn."""

    def __init__(self, ports):
        self.ports = ports
        self._next = itertools.count()

    def first(self):
        return next(self._next) % len(self.ports)


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; ``status`` None when nothing did, then ``body`` says why."""
    sent_at: float
    seconds: float
    port: int
    status: int
    body: str
    retry_after: float = 0

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def settled(self):
        """Whether there is no sense in asking again."""
        return self.status is not None and self.status not in (429, 500, 502, 503, 504)


class Client:
    """One connection at a time, kept open.  Not for two threads.

    ``project``: for whom, where the API has the patch ``projects``.
    """

    def __init__(self, addresses, project=None):
        self._addresses = addresses
        self._headers = {'OpenStack-API-Version': NEWEST, 'Content-Type': 'application/json'}
        if project:
            self._headers[projects.HEADER] = project
        self._number = addresses.first()
        self._connection = None

    def ask(self, method, path, body=None, key=None, patience=60, tries=None):
        """Ask until there is an answer that settles it, or for so many seconds.

        Returns the last Answer; ``tries`` is a list to which all are appended.
        """
        tries = [] if tries is None else tries
        until = time.monotonic() + patience
        while True:
            answer = self._ask_once(method, path, body, key)
            tries.append(answer)
            if answer.settled or time.monotonic() > until:
                return answer
            # The next one may know better, and is not as busy.
            self.close()
            self._number = (self._number + 1) % len(self._addresses.ports)
            time.sleep(min(1.0, max(0.1, answer.retry_after)))

    def _ask_once(self, method, path, body, key):
        port = self._addresses.ports[self._number]
        headers = {**self._headers, **({'Idempotency-Key': key} if key else {})}
        sent_at, began = time.time(), time.monotonic()

        def answer(status, text, retry_after=0):
            return Answer(sent_at, time.monotonic() - began, port, status, text, retry_after)

        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection(
                    '127.0.0.1', port, timeout=ANSWER_SECONDS)
            self._connection.request(method, path, None if body is None else json.dumps(body),
                                     headers)
            response = self._connection.getresponse()
            text = response.read().decode(errors='replace')
        except (OSError, http.client.HTTPException) as exc:
            self.close()
            return answer(None, repr(exc))
        return answer(response.status, text, float(response.headers.get('Retry-After') or 0))

    def close(self):
        if self._connection is not None:
            self._connection.close()
            self._connection = None
