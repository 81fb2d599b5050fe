# SPDX-License-Identifier: Apache-2.0
"""Messages that no API has sent, over a real broker (S-14)."""

import json

import kombu
import oslo_messaging

from container_service import rpc
from container_service import secrets
from container_service import tickets
from container_service.conductor import endpoint
from container_service.db import settings
from container_service.tests import fixtures
from container_service.tests.unit.conductor import base as conductor

COMMAND = {'command': ['echo', 'there']}


class TestForgedMessages(conductor.BenchCase):

    def setUp(self):
        super().setUp()
        self.uuid = self.running()
        self.url = fixtures.needed('CS_TEST_TRANSPORT_URL')
        self.bus = rpc.transport(self.conf, self.url)
        self.addCleanup(self.bus.cleanup)
        self.server = self.here.lease.server
        for topic, end in (
                (rpc.WAKE_TOPIC, endpoint.Wake(self.here.inflight)),
                (rpc.ASK_TOPIC, endpoint.Ask(
                    self.db, self.here.engines, settings.deployment(self.db),
                    secrets.Keys(self.conf)))):
            served = rpc.server(self.bus, topic, self.server, end)
            served.start()
            self.addCleanup(served.wait)
            self.addCleanup(served.stop)

    def ask(self, ticket, params=COMMAND):  # noqa: B006 - nobody changes it
        call = rpc.client(self.bus, rpc.ASK_TOPIC).prepare(
            server=self.server, timeout=20, version=rpc.ASK_VERSION).call
        return call({}, 'ask', ticket=ticket, container_uuid=self.uuid, operation='execute',
                    params=params)

    def test_they_do_nothing(self):
        before = self.effects(self.uuid)
        self.assertEqual('forbidden', self.ask(None)['error']['code'])
        with kombu.Connection(self.url.replace('rabbit://', 'amqp://')) as connection:
            producer = connection.Producer()
            for topic in (rpc.WAKE_TOPIC, rpc.ASK_TOPIC):
                for payload, kind in (
                        (b'\xff\xfe', 'application/json'), (b'{', 'application/json'),
                        (b'', 'application/json'), (b'[]', 'application/json'),
                        (b'7', 'application/json'), (b'{"a": 1}', 'application/json'),
                        (b'gibberish', 'application/x-python-serialize'),
                        (json.dumps({'oslo.version': '2.0', 'oslo.message': '{'}).encode(),
                         'application/json'),
                        (json.dumps({'oslo.version': '2.0', 'oslo.message': json.dumps({
                            'method': 'ask', 'version': rpc.ASK_VERSION, 'args': {
                                'container_uuid': json.dumps(self.uuid),
                                'operation': '"execute"', 'params': json.dumps(COMMAND)}})
                                     }).encode(), 'application/json')):
                    producer.publish(payload, routing_key=f'{topic}.{self.server}',
                                     content_type=kind, content_encoding='utf-8')
        client = rpc.client(self.bus, rpc.ASK_TOPIC).prepare(server=self.server)
        for arguments in ({}, {'x': 1}, {'ticket': [], 'params': 'x'}):
            client.cast({}, 'ask', **arguments)
        self.assertRaises((oslo_messaging.RemoteError, oslo_messaging.MessagingTimeout),
                          client.prepare(timeout=5).call, {}, 'stop')
        self.assertEqual(before, self.effects(self.uuid))
        # Who has a ticket is answered as ever.
        with tickets.Tickets(self.db).issued(self.uuid, 'execute', COMMAND) as ticket:
            self.assertEqual('there\n', self.ask(ticket)['result']['output'])
