# SPDX-License-Identifier: Apache-2.0
"""What is told of the audit trail, and that nothing waits for whoever listens."""

import datetime
import threading
from unittest import mock

import oslo_messaging

from container_service import audit
from container_service import conf as options
from container_service import notifications
from container_service import operations
from container_service import policy
from container_service.tests import base
from container_service.tests import fixtures

AT = datetime.datetime(2026, 3, 1, 8, tzinfo=datetime.UTC)
WAIT = 10


class Heard:
    """A listener for notifications."""

    def __init__(self):
        self.events, self.came = [], threading.Semaphore(0)

    def info(self, context, publisher, kind, payload, metadata):
        self.events.append((context, publisher, kind, payload))
        self.came.release()


class NotifierCase(base.DatabaseTestCase):

    def setUp(self):
        super().setUp()
        self.make_bay()

    def notifier(self, driver='messagingv2'):
        self.conf.set_override('driver', [driver], group=options.NOTIFICATIONS)
        self.conf.set_override('transport_url', 'fake://', group=options.NOTIFICATIONS)
        self.conf.set_override('topics', [self.conf.host], group=options.NOTIFICATIONS)
        notifier = notifications.Notifier(self.conf)
        self.addCleanup(notifier.stop)
        self.db.tell = notifier.tell
        return notifier


class TestNotifier(NotifierCase):

    def listen(self):
        heard = Heard()
        server = oslo_messaging.get_notification_listener(
            oslo_messaging.get_notification_transport(self.conf),
            [oslo_messaging.Target(topic=self.conf.host)], [heard], executor='threading')
        server.start()
        self.addCleanup(server.wait)
        self.addCleanup(server.stop)
        return heard

    def test_each_row_is_told_once_it_is_committed(self):
        self.notifier()
        heard = self.listen()
        uuid = self.create('c1')
        self.carry_out(uuid)
        for _ in range(2):
            self.assertTrue(heard.came.acquire(timeout=WAIT))
        context, publisher, kind, began = heard.events[0]
        self.assertEqual((notifications.EVENT_TYPE, f'container-service:{self.conf.host}'),
                         (kind, publisher))
        ended = heard.events[1][3]
        self.assertEqual([row.uuid for row in self.trail(target_uuid=uuid)],
                         [began['id'], ended['id']])
        self.assertEqual([('create/container', 'pending', uuid), ('create/container', 'success',
                                                                  uuid)],
                         [(told['action'], told['outcome'], told['target']['id'])
                          for told in (began, ended)])

    def test_without_a_driver_there_is_no_thread(self):
        for driver in ('noop', None):
            notifier = self.notifier(driver) if driver else notifications.Notifier(self.conf)
            self.db.tell = notifier.tell
            self.create()
            self.assertIsNone(notifier._thread)
            self.conf.clear_override('driver', group=options.NOTIFICATIONS)

    def test_a_broker_that_hangs_holds_nobody_up(self):
        self.patch(notifications.Notifier, 'LIMIT', 1)
        let_go, sending = threading.Event(), threading.Event()
        notifier = self.notifier()
        self.addCleanup(let_go.set)
        self.patch(notifier, '_send', lambda *args: (sending.set(), let_go.wait(WAIT)))
        self.create()
        self.assertTrue(sending.wait(WAIT))
        for _ in range(3):
            self.create()
        self.assertEqual((4, 2), (len(self.trail(action='create/container')), notifier.dropped))

    def test_what_cannot_be_sent_is_dropped_and_told_once(self):
        notifier = self.notifier()
        with mock.patch.object(notifier, '_send', side_effect=OSError('refused')):
            for _ in range(3):
                self.create()
            fixtures.eventually(lambda: notifier.dropped == 3)
        self.assertEqual(1, self.log.output.count('Cannot send notifications (refused)'))


class TestEvents(base.TestCase):

    row = {'uuid': '11111111-2222-4333-8444-555555555555', 'user_id': 'alice', 'source': '::1',
           'user_project_id': 'p', 'roles': ['member'], 'authenticated_by': 'keystone',
           'action': 'stop/container', 'target_type': 'container', 'target_name': 'web',
           'target_uuid': '66666666-2222-4333-8444-555555555555', 'project_id': 'p',
           'outcome': 'failure', 'status': 409, 'code': 'invalid_state', 'request_id': 'req-1',
           'action_uuid': None, 'details': {'fields': ['timeout']}}

    def test_all_that_the_row_has(self):
        event = notifications.as_event(self.row, AT, 'node1')
        self.assertEqual(
            (self.row['uuid'], 'stop/container', 'failure', '2026-03-01T08:00:00+00:00'),
            (event['id'], event['action'], event['outcome'], event['eventTime']))
        self.assertEqual(('alice', 'p', {'address': '::1'}), tuple(
            event['initiator'][key] for key in ('name', 'domain', 'host')))
        self.assertEqual((self.row['target_uuid'], 'web', 'compute/machine/container'), tuple(
            event['target'][key] for key in ('id', 'name', 'typeURI')))
        self.assertEqual(('409', 'invalid_state'), (
            event['reason']['reasonCode'], event['reason']['policyId']))
        for key in ('request_id', 'roles', 'project_id', 'authenticated_by', 'details'):
            self.assertEqual(self.row[key], event[key])

    def test_the_least_that_a_row_may_have(self):
        event = notifications.as_event({
            'uuid': self.row['uuid'], 'action': 'unknown', 'outcome': 'unknown',
            'authenticated_by': audit.SERVICE}, AT, 'node1')
        self.assertEqual(('unknown', 'container-service'),
                         (event['action'], event['initiator']['name']))

    def test_every_action_is_one_that_the_library_takes(self):
        """It refuses an event otherwise, which would be lost."""
        names = [rule.name for rule in policy.list_rules()]
        names += [op.policy for op in operations.OPERATIONS.values()]
        for name in names:
            action = audit.action_of(name)
            event = notifications.as_event({**self.row, 'action': action}, AT, 'node1')
            self.assertTrue(event['action'].endswith(action))
