# SPDX-License-Identifier: Apache-2.0
"""The two messages between API and conductors, and who sends them.

``wake(container_uuid, more)`` is cast: a doorbell.  The row in SQL is the work; a wake that is
lost, doubled, late or reordered costs at most a poll interval.  ``ask(container_uuid, operation,
params)`` is a call on a topic of its own: the answer is the content (logs, exec output).

Version history:
    1.0 - wake, ask

The story goes on in ``conductor/endpoint.py``.
"""

import concurrent.futures
import json
import queue
import threading

from kombu import exceptions as kombu_exc
from oslo_log import log
import oslo_messaging

from container_service import exceptions

LOG = log.getLogger(__name__)

VERSION = '1.0'
WAKE_TOPIC = 'container-service-conductor'
ASK_TOPIC = 'container-service-ask'

# Without these, a cast waits for a broker that is down, without limit.
_BUS_ERRORS = (oslo_messaging.MessagingException, kombu_exc.KombuError, OSError)

# A conductor that works on a call says so this often (seconds); silence for longer is an error
# long before the call's own limit.
_CALL_MONITOR = 6

# Seconds for a message to get to the broker.
_REACH = 3


class JsonSerializer(oslo_messaging.NoOpSerializer):
    """Really goes through JSON, so that the in-process transport behaves as a broker does."""

    def serialize_entity(self, context, entity):
        return json.dumps(entity)

    def deserialize_entity(self, context, entity):
        return json.loads(entity)

    def serialize_context(self, context):
        return dict(context or {})

    def deserialize_context(self, context):
        return dict(context or {})


def transport(conf, url=None):
    """The message bus of this process; by default the configured one.  Connects when used.

    Queues are transient, as is oslo.messaging's default: nothing in them is worth keeping, and a
    quorum queue of a broker that was killed (RabbitMQ 3.10) at times confirms nothing any more,
    which a sender waits for without limit.
    """
    return oslo_messaging.get_rpc_transport(conf, url)


def server(bus, topic, name, endpoint):
    """A server for one topic, not started yet.  ``name`` is stable over restarts."""
    return oslo_messaging.get_rpc_server(
        bus, oslo_messaging.Target(topic=topic, server=name, version=VERSION), [endpoint],
        serializer=JsonSerializer(), access_policy=oslo_messaging.ExplicitRPCAccessPolicy)


def _client(bus, topic):
    return oslo_messaging.get_rpc_client(
        bus, oslo_messaging.Target(topic=topic, version=VERSION), serializer=JsonSerializer())


class Doorbell:
    """Rings conductors from a thread of its own; no caller ever waits for the broker.

    ``choose(container_uuid, bay_uuid)`` names the conductor to wake first, or None.
    """

    LIMIT = 10000       # wakes kept while the broker is slow; more are dropped: the poll is there
    BATCH = 100         # wakes in one message

    def __init__(self, bus, choose):
        self._client = _client(bus, WAKE_TOPIC)
        self._choose = choose
        self._waiting = queue.Queue(self.LIMIT)
        self._lock = threading.Lock()
        self._thread = None
        self._failing = False
        self.dropped = 0

    def ring(self, container_uuid, bay_uuid):
        """Wake a conductor for the container, soon.  Returns at once and never fails."""
        self._start()
        try:
            self._waiting.put_nowait((container_uuid, bay_uuid))
        except queue.Full:
            self.dropped += 1

    def _start(self):
        # At the first use, hence after a fork of the WSGI server.
        if self._thread is None:
            with self._lock:
                if self._thread is None:
                    self._thread = threading.Thread(
                        target=self._loop, name='doorbell', daemon=True)
                    self._thread.start()

    def _loop(self):
        while (entry := self._waiting.get()) is not None:
            batch = [entry]
            # What has rung meanwhile goes along: a message costs more than a uuid in it.
            while batch[-1] and len(batch) < self.BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            ends = batch[-1] is None
            for server, uuids in self._by_server(filter(None, batch)).items():
                if self._attempt(len(uuids), lambda s=server, u=uuids: self._send(s, u)):
                    self._failing = False
            if ends:
                return

    def _by_server(self, batch):
        """The containers to ring for, by the conductor that is rung."""
        rings = {}
        for entry in batch:
            chosen = self._attempt(1, lambda e=entry: self._choose(*e))
            if chosen is not None:
                rings.setdefault(chosen, []).append(entry[0])
        return rings

    def _attempt(self, wakes, do):
        """Whatever goes wrong, the next wake must be tried; told once until it works again."""
        try:
            return do()
        except Exception as exc:
            self.dropped += wakes
            if not self._failing:
                LOG.warning('Cannot wake conductors over the message bus (%s); they find '
                            'the work by themselves within their poll interval.', exc)
            self._failing = True
            return None

    def _send(self, server, uuids):
        self._client.prepare(server=server, retry=0).cast(
            {}, 'wake', container_uuid=uuids[0], more=uuids[1:])
        return True

    def stop(self):
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(5)


class Calls:
    """Blocking calls, at most ``slots`` at once, each for a bounded time."""

    def __init__(self, bus, choose, slots):
        self._client = _client(bus, ASK_TOPIC)
        self._bell = _client(bus, WAKE_TOPIC)
        self._choose = choose
        self._slots = threading.BoundedSemaphore(slots)
        self._pool = concurrent.futures.ThreadPoolExecutor(slots, 'calls')

    def ask(self, container_uuid, bay, operation, params, seconds):
        """Ask a conductor that reaches the bay; returns what the driver returned.

        Raises what the conductor raised, NoConductor, CallsBusy, and BusUnavailable when no
        answer came.
        """
        chosen = self._choose(container_uuid, bay.uuid)
        if chosen is None:
            raise exceptions.NoConductor(bay=bay.name)
        if not self._slots.acquire(blocking=False):
            raise exceptions.CallsBusy()
        reached = concurrent.futures.Future()
        future = self._pool.submit(
            self._call, reached, chosen, container_uuid, operation, params, seconds)
        # Held until the call has really ended, also when we no longer wait for it.
        future.add_done_callback(lambda _: self._slots.release())
        try:
            reached.result(timeout=_REACH)
            answer = future.result(timeout=seconds + _CALL_MONITOR)
        except (concurrent.futures.TimeoutError, *_BUS_ERRORS) as exc:
            LOG.warning('No answer from conductor %s to %s: %r', chosen, operation, exc)
            raise exceptions.BusUnavailable() from exc
        if 'error' in answer:
            raise exceptions.Error.from_dict(answer['error'])
        return answer['result']

    def ring(self, container_uuid, bay_uuid, seconds):
        """A wake as a call: returns when a conductor has taken it, or has carried it out.

        Never fails: the row is the work, and a conductor finds it by itself.
        """
        chosen = self._choose(container_uuid, bay_uuid)
        if chosen is None or not self._slots.acquire(blocking=False):
            return
        call = self._bell.prepare(server=chosen, retry=0, timeout=seconds,
                                  call_monitor_timeout=_CALL_MONITOR).call
        future = self._pool.submit(call, {}, 'wake', container_uuid=container_uuid)
        future.add_done_callback(lambda _: self._slots.release())
        try:
            future.result(timeout=seconds)
        except (concurrent.futures.TimeoutError, *_BUS_ERRORS) as exc:
            LOG.warning('No answer from conductor %s to wake: %r', chosen, exc)

    def _call(self, reached, chosen, container_uuid, operation, params, seconds):
        # A call cannot tell a broker that is down from an answer that takes long, and its first
        # use of the broker has no time limit at all.  A cast can: ring the bell, which does no
        # harm, and see whether that goes through.
        try:
            self._bell.prepare(server=chosen, retry=0).cast(
                {}, 'wake', container_uuid=container_uuid)
        except Exception as exc:
            reached.set_exception(exc)
            raise
        reached.set_result(None)
        return self._client.prepare(
            server=chosen, retry=0, timeout=seconds, call_monitor_timeout=_CALL_MONITOR
        ).call({}, 'ask', container_uuid=container_uuid, operation=operation, params=params)

    def stop(self):
        self._pool.shutdown(wait=False, cancel_futures=True)
