# SPDX-License-Identifier: Apache-2.0
"""The two messages between API and conductors, and who sends them.

``wake(container_uuid, more)`` is cast: a doorbell.  The row in SQL is the work; a wake that is
lost, doubled, late or reordered costs at most a poll interval.  ``ask(container_uuid, operation,
params)`` is a call on a topic of its own: the answer is the content (logs, exec output);
``ready()`` goes before it, see ``calls.py``.

Version history:
    1.0 - wake, ask
    1.1 - ready

The story goes on in ``conductor/endpoint.py``.
"""

import json
import queue
import threading
import time

from oslo_log import log
import oslo_messaging

LOG = log.getLogger(__name__)

VERSION = '1.1'
READY_VERSION = '1.1'
# What is asked of conductors that may be older than we are.
_OLDEST = '1.0'

# Attempts to send a message anew.  Not none: a connection that was closed behind a silent network
# is never made again by oslo.messaging (18.3) without one, and fails for good.  Not more: each
# takes seconds when the broker is down.
RETRY = 1
WAKE_TOPIC = 'container-service-conductor'
ASK_TOPIC = 'container-service-ask'

# Before the uuid of a pull in the place of a container's: an older conductor knows no such
# container, and finds the pull by its poll.
PULL = 'pull:'


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


def client(bus, topic):
    return oslo_messaging.get_rpc_client(
        bus, oslo_messaging.Target(topic=topic, version=_OLDEST),
        serializer=JsonSerializer())


class Doorbell:
    """Rings conductors from a thread of its own; no caller ever waits for the broker.

    ``choose(container_uuid, bay_uuid)`` names the conductor to wake first, or None.
    """

    LIMIT = 10000       # wakes kept while the broker is slow; more are dropped: the poll is there
    BATCH = 100         # wakes in one message

    # Seconds after which a message that the broker does not confirm is given up, thread and all:
    # the library waits for it without limit.  So many threads may be left behind like that.
    STUCK = 15
    SPARE = 3

    def __init__(self, bus, choose, clock=time.monotonic):
        self._client = client(bus, WAKE_TOPIC)
        self._choose = choose
        self._clock = clock
        self._waiting = queue.Queue(self.LIMIT)
        self._lock = threading.Lock()
        self._thread, self._busy_since, self._left_behind = None, None, 0
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
        if self._thread is None or self._is_stuck():
            with self._lock:
                if self._thread is not None:
                    if not self._is_stuck():
                        return
                    LOG.warning('The message bus confirms nothing; another thread rings on.')
                    self._left_behind += 1
                self._busy_since = None
                self._thread = threading.Thread(target=self._loop, name='doorbell', daemon=True)
                self._thread.start()

    def _is_stuck(self):
        since = self._busy_since
        return (since is not None and self._clock() - since > self.STUCK
                and self._left_behind < self.SPARE)

    def _loop(self):
        try:
            self._ring_on()
        finally:
            with self._lock:
                if self._thread is not threading.current_thread():
                    self._left_behind -= 1

    def _ring_on(self):
        me = threading.current_thread()
        while (entry := self._waiting.get()) is not None:
            batch = [entry]
            # What has rung meanwhile goes along: a message costs more than a uuid in it.
            while batch[-1] and len(batch) < self.BATCH and not self._waiting.empty():
                batch.append(self._waiting.get())
            ends = batch[-1] is None
            for server, uuids in self._by_server(filter(None, batch)).items():
                self._busy_since = self._clock()
                if self._attempt(len(uuids), lambda s=server, u=uuids: self._send(s, u)):
                    self._failing = False
                if self._thread is not me:
                    return                # it was stuck, and somebody else does this now
            self._busy_since = None
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
        self._client.prepare(server=server, retry=RETRY).cast(
            {}, 'wake', container_uuid=uuids[0], more=uuids[1:])
        return True

    def stop(self):
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(5)
