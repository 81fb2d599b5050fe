# SPDX-License-Identifier: Apache-2.0
"""Alive and ready: what the endpoints for load balancers and supervisors have in common.

Whoever asks must have an answer in seconds, whatever hangs, and must learn no address and no
secret: nobody asks who they are.
"""

import json
import threading
import time

from oslo_log import log

from container_service import exceptions

LOG = log.getLogger(__name__)

# Most seconds that a look may take, and for how many its outcome is told again.
LIMIT, _FRESH = 2.0, 1.0


class Look:
    """One question about what we depend on, asked in a thread of its own, never twice at once.

    ``ask()`` returns what is wrong in words, or None; an Error that it raises is wrong too.
    """

    def __init__(self, ask, clock=time.monotonic):
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._done = None           # of the last look; None before the first
        self._begun_at = self._found = None

    def begin(self):
        """Look, unless somebody is just looking or has just looked."""
        with self._lock:
            now = self._clock()
            if self._done is not None and (
                    not self._done.is_set() or now - self._begun_at < _FRESH):
                return
            self._done, self._begun_at = threading.Event(), now
            # Daemonic: one that hangs must not hold up the end of the process.
            threading.Thread(target=self._run, name='look', daemon=True).start()

    def _run(self):
        try:
            self._found = self._ask()
        except exceptions.Error as exc:
            self._found = exc.detail
        except Exception:
            LOG.exception('Looking whether this process is ready')
            self._found = 'It could not be found out; the log has the details.'
        self._done.set()

    def result(self):
        """What is wrong, or None; at the latest when the limit is over since the look began."""
        if self._done.wait(max(0, self._begun_at + LIMIT - self._clock())):
            return self._found
        return f'No answer within {LIMIT:.0f} seconds.'


def readiness(looks, needed):
    """Take several looks, {name: Look}; returns (ready, the document that tells it).

    Only what is in ``needed`` must be well for that; ``reason`` names the first that is not.
    """
    for look in looks.values():
        look.begin()
    wrong = {name: look.result() for name, look in looks.items()}
    reason = next((name for name in needed if wrong[name]), None)
    return reason is None, {
        'ready': reason is None, 'reason': reason,
        'checks': {name: {'ok': detail is None, 'needed': name in needed, 'detail': detail}
                   for name, detail in wrong.items()}}


def respond(environ, start_response, ok, document):
    """Answer a probe: 200 or 503, and why."""
    body = json.dumps(document).encode()
    start_response('200 OK' if ok else '503 Service Unavailable', [
        ('Content-Type', 'application/json'), ('Content-Length', str(len(body))),
        ('Cache-Control', 'no-store')])
    return [] if environ['REQUEST_METHOD'] == 'HEAD' else [body]
