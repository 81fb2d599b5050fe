# SPDX-License-Identifier: Apache-2.0
"""The two messages between API and conductors, and who sends them.

``wake(container_uuid, more)`` is cast: a doorbell.  The row in SQL is the work; a wake that is
lost, doubled, late or reordered costs at most a poll interval.  ``ask(ticket, container_uuid,
operation, params)`` is a call on a topic of its own: the answer is the content (logs, exec
output), the ticket proves that an API asks (``tickets.py``); ``ready()`` goes before it, see
``calls.py``.

Version history:
    1.0 - wake, ask
    1.1 - ready
    1.2 - ask takes a ticket, and nothing without one

The story goes on in ``conductor/endpoint.py``.
"""

import functools
import json
import logging
import time

import oslo_messaging

from container_service import courier
from container_service import sparing

VERSION = '1.2'
ASK_VERSION = '1.2'
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


# Whoever has credentials for the broker can have the library complain, with a traceback each time.
_FEW = sparing.Filter()


def server(bus, topic, name, endpoint):
    """A server for one topic, not started yet.  ``name`` is stable over restarts."""
    logging.getLogger('oslo_messaging.rpc.server').addFilter(_FEW)
    return oslo_messaging.get_rpc_server(
        bus, oslo_messaging.Target(topic=topic, server=name, version=VERSION), [endpoint],
        serializer=JsonSerializer(), access_policy=oslo_messaging.ExplicitRPCAccessPolicy)


def client(bus, topic):
    return oslo_messaging.get_rpc_client(
        bus, oslo_messaging.Target(topic=topic, version=_OLDEST),
        serializer=JsonSerializer())


class Doorbell(courier.Courier):
    """Rings conductors from a thread of its own; no caller ever waits for the broker.

    ``choose(container_uuid, bay_uuid)`` names the conductor to wake first, or None.
    """
    name = 'doorbell'
    complaint = ('Cannot wake conductors over the message bus (%s); they find the work by '
                 'themselves within their poll interval.')

    def __init__(self, bus, choose, clock=time.monotonic):
        super().__init__(clock)
        self._client = client(bus, WAKE_TOPIC)
        self._choose = choose

    def ring(self, container_uuid, bay_uuid):
        """Wake a conductor for the container, soon.  Returns at once and never fails."""
        self.put((container_uuid, bay_uuid))

    def _steps(self, batch):
        # What has rung meanwhile goes along: a message costs more than a uuid in it.
        for server, uuids in self._by_server(batch).items():
            yield len(uuids), functools.partial(self._send, server, uuids)

    def _by_server(self, batch):
        """The containers to ring for, by the conductor that is rung."""
        rings = {}
        for entry in batch:
            chosen = self._attempt(1, lambda e=entry: self._choose(*e))
            if chosen is not None:
                rings.setdefault(chosen, []).append(entry[0])
        return rings

    def _send(self, server, uuids):
        self._client.prepare(server=server, retry=RETRY).cast(
            {}, 'wake', container_uuid=uuids[0], more=uuids[1:])
        return True
