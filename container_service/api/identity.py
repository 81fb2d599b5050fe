# SPDX-License-Identifier: Apache-2.0
"""Asking Keystone about tokens so that it holds up nobody else, whatever it does.

Anybody can send tokens that are not known yet.  If Keystone is silent, each of them would hold a
thread for as long as the timeouts of several requests, with their repetitions, add up to.
"""

from concurrent import futures
import contextvars
import threading
import time

from keystoneauth1 import exceptions as ksa_exceptions

from container_service import exceptions


class Asked:
    """In the place of the middleware's IdentityServer, which is called for what is not cached.

    ``most`` tokens are asked about at once; more are refused.  Raises IdentityUnavailable.
    """

    PATIENCE = 10           # seconds for an answer
    QUIET = 5               # seconds in which it is not asked, after there was none
    TOGETHER = 1            # seconds for an answer about a token that another request asks about

    def __init__(self, server, most, clock=time.monotonic):
        self._server, self._clock = server, clock
        self._slots, self._lock = threading.BoundedSemaphore(most), threading.Lock()
        self._asking = {}                   # token: its answer to be
        self._quiet_until = float('-inf')

    def __getattr__(self, name):
        return getattr(self._server, name)

    def verify_token(self, token, **how):
        if self._clock() < self._quiet_until:
            raise exceptions.IdentityUnavailable()
        patience = self.TOGETHER
        about = token, *sorted(how.items())
        with self._lock:
            answer = self._asking.get(about)
            if answer is None:
                if not self._slots.acquire(blocking=False):
                    raise _busy()
                patience, answer = self.PATIENCE, self._begin(about, token, how)
        try:
            return answer.result(patience)
        except futures.TimeoutError:
            if patience == self.TOGETHER:
                raise _busy() from None
            self._was_silent()
            raise exceptions.IdentityUnavailable() from None
        except ksa_exceptions.ClientException:
            # Not ServiceError, which is what becomes of an answer that was not understood.
            self._was_silent()
            raise

    def _was_silent(self):
        self._quiet_until = self._clock() + self.QUIET

    def _begin(self, about, token, how):
        answer = futures.Future()

        def ask():
            found = failed = None
            try:
                found = self._server.verify_token(token, **how)
            except BaseException as exc:
                failed = exc
            # Before anybody hears the answer: who asks after that asks anew.
            with self._lock:
                del self._asking[about]
            self._slots.release()
            if failed is None:
                answer.set_result(found)
            else:
                answer.set_exception(failed)

        # In a thread of its own, which may be given up: it is the sum of all it does that counts.
        # It has the context of this one, by which the log names the request and hides secrets.
        thread = threading.Thread(target=contextvars.copy_context().run, args=(ask,),
                                  name='keystone', daemon=True)
        try:
            thread.start()
        except RuntimeError:                # no more threads
            self._slots.release()
            raise exceptions.IdentityUnavailable() from None
        self._asking[about] = answer
        return answer


def _busy():
    error = exceptions.IdentityUnavailable()
    error.retry_after = 1
    return error
