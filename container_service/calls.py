# SPDX-License-Identifier: Apache-2.0
"""Blocking calls: the API asks a conductor over the bus and waits for the answer.

Each has limits of its own, whatever the bus does: a broker may take a message and never confirm
it, which its library waits for without limit.  A conductor that is silent is left out and
another one asked, as long as that cannot carry anything out twice.

The story goes on in ``conductor/endpoint.py``.
"""

import concurrent.futures
import contextlib
import threading
import time

from kombu import exceptions as kombu_exc
from oslo_log import log
import oslo_messaging

from container_service import exceptions
from container_service import operations
from container_service import rpc
from container_service import slots

LOG = log.getLogger(__name__)

# Without these, a cast waits for a broker that is down, without limit.
_BUS_ERRORS = (oslo_messaging.MessagingException, kombu_exc.KombuError, OSError)

# A conductor that works on a call says so this often (seconds); silence for longer is an error
# long before the call's own limit.
_CALL_MONITOR = 6

# Seconds for a conductor to say that it is there; and for the bus to let us know.
_READY = 2
_REACH = 3

# Conductors that are asked, one after the other.
_TRIES = 3


class Calls:
    """Blocking calls, at most ``most`` at once, and half of that for one project.

    ``choose(container_uuid, bay_uuid, leave_out)`` names the conductor to ask, or None;
    ``tickets`` are ``tickets.Tickets``.
    """

    def __init__(self, bus, choose, most, tickets):
        self._client = rpc.client(bus, rpc.ASK_TOPIC)
        self._bell = rpc.client(bus, rpc.WAKE_TOPIC)
        self._choose, self._tickets = choose, tickets
        self._slots = slots.Slots(most)
        # As many threads again may be stuck in the bus before that is anybody else's problem.
        self._pool = concurrent.futures.ThreadPoolExecutor(2 * most, 'calls')
        self._spare, self._stuck = most, 0
        self._lock = threading.Lock()

    def ask(self, container_uuid, bay, operation, params, seconds, project_id=None):
        """Ask a conductor that reaches the bay; returns what the driver returned.

        ``project_id`` is whose request it is.
        Raises what the conductor raised, NoConductor, CallsBusy, BusUnavailable when the bus
        cannot be used, ConductorSilent when no conductor answered, CallOutcomeUnknown when one
        stopped answering after it had been asked for what must not run twice, and
        GatewayTimeout when it was at work and took too long.
        """
        again = operations.OPERATIONS[operation].may_run_again(params)
        silent = []
        with self._slot(project_id):
            while True:
                chosen = self._choose(container_uuid, bay.uuid, silent)
                if chosen is None and not silent:
                    raise exceptions.NoConductor(bay=bay.name)
                if chosen is None or len(silent) == _TRIES:
                    raise exceptions.ConductorSilent()
                asked = False
                try:
                    self._find_ready(chosen)
                    asked = True
                    with self._tickets.issued(container_uuid, operation, params) as ticket:
                        return self._ask(chosen, ticket, container_uuid, operation, params,
                                         seconds)
                except (exceptions.ConductorSilent, exceptions.BusUnavailable) as exc:
                    LOG.warning('No answer from conductor %s to %s', chosen, operation)
                    if asked and not again:
                        raise exceptions.CallOutcomeUnknown(operation=operation) from exc
                    if isinstance(exc, exceptions.BusUnavailable):
                        raise
                    silent.append(chosen)

    def _ask(self, chosen, ticket, container_uuid, operation, params, seconds):
        call = self._client.prepare(
            server=chosen, retry=rpc.RETRY, timeout=seconds, version=rpc.ASK_VERSION,
            call_monitor_timeout=_CALL_MONITOR).call
        began = time.monotonic()
        try:
            answer = self._within(
                seconds + _CALL_MONITOR, call, {}, 'ask', ticket=ticket,
                container_uuid=container_uuid, operation=operation, params=params)
        except oslo_messaging.MessagingTimeout as exc:
            if time.monotonic() - began >= seconds:
                raise exceptions.GatewayTimeout(seconds=seconds) from exc
            raise exceptions.ConductorSilent() from exc
        if 'error' in answer:
            raise exceptions.Error.from_dict(answer['error'])
        return answer['result']

    def _find_ready(self, chosen):
        """See that the conductor is there, before anything is asked of it."""
        call = self._client.prepare(
            server=chosen, retry=rpc.RETRY, timeout=_READY, version=rpc.ASK_VERSION).call
        try:
            self._within(_REACH, call, {}, 'ready')
        except (oslo_messaging.MessagingTimeout, oslo_messaging.RemoteError,
                oslo_messaging.RPCDispatcherError) as exc:      # or one that knows no tickets
            raise exceptions.ConductorSilent() from exc

    def ring(self, container_uuid, bay_uuid, seconds, project_id=None):
        """A wake as a call: returns when a conductor has taken it, or has carried it out.

        Never fails: the row is the work, and a conductor finds it by itself.
        """
        chosen = self._choose(container_uuid, bay_uuid, ())
        if chosen is None:
            return
        call = self._bell.prepare(server=chosen, retry=rpc.RETRY, timeout=seconds,
                                  call_monitor_timeout=_CALL_MONITOR).call
        try:
            with self._slot(project_id):
                self._within(seconds, call, {}, 'wake', container_uuid=container_uuid)
        except exceptions.CallsBusy:
            pass
        except (exceptions.BusUnavailable, oslo_messaging.MessagingTimeout) as exc:
            LOG.warning('No answer from conductor %s to wake: %s', chosen, exc)

    @contextlib.contextmanager
    def _slot(self, project_id):
        if not self._slots.take(project_id):
            raise exceptions.CallsBusy()
        try:
            yield
        finally:
            self._slots.give_back(project_id)

    def _within(self, seconds, function, *args, **kwargs):
        """Call a function in a thread of its own, and wait so long for it.

        Raises BusUnavailable, and oslo.messaging's MessagingTimeout and RemoteError.
        """
        if self._stuck >= self._spare:
            raise exceptions.BusUnavailable()
        try:
            future = self._pool.submit(function, *args, **kwargs)
        except RuntimeError:              # this process is about to end
            raise exceptions.BusUnavailable() from None
        try:
            return future.result(timeout=seconds)
        except (oslo_messaging.MessagingTimeout, oslo_messaging.RemoteError,
                oslo_messaging.RPCDispatcherError):
            raise
        except (concurrent.futures.TimeoutError, *_BUS_ERRORS) as exc:
            if not future.done():
                self._count_stuck(1)
                # Also when it has ended just now.
                future.add_done_callback(lambda _: self._count_stuck(-1))
            LOG.warning('The message bus cannot be used: %r', exc)
            raise exceptions.BusUnavailable() from exc

    def _count_stuck(self, change):
        with self._lock:
            self._stuck += change

    def stop(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
