# SPDX-License-Identifier: Apache-2.0
import contextlib
import os

from container_service import bays as bay_rules
from container_service import exceptions
from container_service import lifecycle
from container_service import secrets
from container_service.conductor import engines
from container_service.db import bays
from container_service.drivers import fake
from container_service.tests import certificates
from container_service.tests.unit.conductor import base
from container_service.tests.unit.drivers import test_docker_tls


class TestEngines(base.BenchCase):

    def test_a_driver_is_made_once(self):
        here = self.here.engines
        self.assertIs(here.driver(self.place.uuid), here.driver(self.place.uuid))

    def test_a_bay_that_was_changed_gets_a_new_one(self):
        here = self.here.engines
        before = here.driver(self.place.uuid)
        self.change(bays.table, self.place.uuid, endpoint='fake://elsewhere',
                    updated_at=self.database_time())
        self.here.clock.advance(2)
        here.served()
        after = here.driver(self.place.uuid)
        self.assertIsNot(before, after)
        self.assertEqual('elsewhere', after.engine.name)

    def test_new_bays_are_seen_at_once_where_they_are_asked_for(self):
        self.here.engines.served()
        other = self.make_bay('other')
        self.assertTrue(self.here.engines.is_available(other.uuid))

    def test_limits_are_those_of_the_configuration(self):
        self.conf.set_override('pids_limit', 17, group='bays')
        self.conf.set_override('max_archive_bytes', 4096, group='api')
        limits = engines.limits_of(self.conf)
        self.assertEqual((17, 4096), (limits.pids, limits.archive_bytes))
        made = engines.Engines(self.db, self.conf).driver(self.place.uuid)
        self.assertEqual(limits, made.bay.limits)

    def test_deleted_bays_are_forgotten(self):
        self.here.engines.driver(self.place.uuid)
        bay_rules.delete(self.admin, self.db, 'bay')
        self.here.clock.advance(2)
        self.assertEqual({}, self.here.engines.served())
        self.assertEqual({}, self.here.engines._drivers)

    def test_hosts(self):
        for hosts, expected in ((None, True), ([self.conf.host], True), (['elsewhere'], False),
                                (['elsewhere', self.conf.host], True)):
            bay = self.make_bay(lifecycle.new_uuid()[:8], hosts=hosts)
            self.assertIs(expected, self.here.engines.is_available(bay.uuid))
            if not expected:
                self.assertRaises(exceptions.NoConductor, self.here.engines.driver, bay.uuid)

    def test_a_bay_that_is_not_there(self):
        self.assertFalse(self.here.engines.is_available(lifecycle.new_uuid()))


class TestTls(base.BenchCase):

    def setUp(self):
        super().setUp()
        path = os.path.join(self.conf.state_path, 'keys')
        secrets.create_key(path)
        self.conf.set_override('keys_file', path, group='secrets')
        self.conf.set_override('allowed_networks', ['127.0.0.1/32'], group='bays')
        self.here = self.another()
        self.authority = certificates.Authority()

    def tcp_bay(self, issuer=None, days=365):
        """A bay whose engine has a certificate of that issuer."""
        engine = test_docker_tls.Engine(self.authority, (issuer or self.authority).issue(
            'engine', days, ['127.0.0.1']))
        self.addCleanup(engine.close)
        cert, key = self.authority.issue('conductor')
        return engine, self.make_bay(
            'tls', f'tcp://127.0.0.1:{engine.port}', driver='docker', client_key=key,
            ca_cert=self.authority.cert, client_cert=cert)

    def probe(self, bay):
        """What the bay says after it was looked at three times."""
        driver = self.here.engines.driver
        for _ in range(3):
            self.here.prober._ask(bay.uuid)
        with contextlib.suppress(exceptions.Error):
            self.addCleanup(lambda made: made._shared_client and made._shared_client.close(),
                            driver(bay.uuid))
        with self.db.read() as conn:
            row = bays.find(conn, bay.uuid)
        return row.health_status, row.health_status_reason

    def test_a_wrong_certificate_is_told_in_the_status_of_the_bay(self):
        for issuer, days, words in (
                (certificates.Authority(), 365, 'is not from an authority in the bay'),
                (None, -1, 'has expired')):
            _, bay = self.tcp_bay(issuer, days)
            status, reason = self.probe(bay)
            self.assertEqual('UNHEALTHY', status)
            self.assertIn(f"TLS: the engine's certificate {words}", reason)
            bay_rules.delete(self.admin, self.db, 'tls')

    def test_a_certificate_that_cannot_be_used_is_told(self):
        engine, bay = self.tcp_bay()
        self.change(bays.table, bay.uuid, ca_cert='# of M\xfcller\n' + self.authority.cert)
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('its ca_cert cannot be used for TLS', reason)
        self.assertEqual(0, engine.count)

    def test_new_certificates_are_used_at_once(self):
        other = certificates.Authority('the right one')
        _, bay = self.tcp_bay(other)
        self.assertEqual('UNHEALTHY', self.probe(bay)[0])
        bay_rules.update(self.admin, self.conf, self.db, 'tls', {'ca_cert': other.cert})
        self.here.engines.reread()
        self.here.engines.served()
        status, reason = self.probe(bay)
        self.assertEqual(('HEALTHY', None), (status, reason))

    def test_a_network_that_was_closed_is_not_connected_to(self):
        engine, bay = self.tcp_bay()
        self.conf.set_override('allowed_networks', [], group='bays')
        self.here = self.another()
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('its endpoint leads to 127.0.0.1, which is loopback', reason)
        self.assertEqual(0, engine.count)

    def test_a_bay_without_certificates_is_not_connected_to(self):
        engine, bay = self.tcp_bay()
        self.change(bays.table, bay.uuid, ca_cert=None, client_cert=None, client_key=None)
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('needs ca_cert, client_cert and client_key', reason)
        self.assertEqual(0, engine.count)

    def test_a_bay_whose_certificates_were_forgotten_is_not_one_without(self):
        self.conf.set_override('allow_insecure_tcp', True, group='bays')
        engine, bay = self.tcp_bay()
        tls = {name: getattr(bay, name) for name in bay_rules.TLS}
        tls['client_key'] = secrets.Keys(self.conf).decrypt(tls['client_key'])
        self.change(bays.table, bay.uuid, ca_cert='', client_cert=None, client_key=None)
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('must be given again', reason)
        self.assertEqual(0, engine.count)
        cert = {name: tls[name] for name in ('client_cert', 'client_key')}
        error = self.assertRaises(exceptions.InvalidParameter, bay_rules.update, self.admin,
                                  self.conf, self.db, 'tls', cert)
        self.assertIn('all of them must be given again', error.detail)
        bay_rules.update(self.admin, self.conf, self.db, 'tls', tls)
        self.here.engines.reread()
        self.here.engines.served()
        self.assertEqual(('HEALTHY', None), self.probe(bay))

    def test_a_driver_that_is_not_installed_is_told(self):
        _, bay = self.tcp_bay()
        self.change(bays.table, bay.uuid, driver='gone')
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('gone is not installed', reason)

    def test_a_key_that_cannot_be_read_is_told(self):
        engine, bay = self.tcp_bay()
        os.unlink(self.conf.secrets.keys_file)
        secrets.create_key(self.conf.secrets.keys_file)
        status, reason = self.probe(bay)
        self.assertEqual('UNHEALTHY', status)
        self.assertIn('its client key cannot be read', reason)
        self.assertEqual(0, engine.count)


class TestBreaker(base.BenchCase):
    """Three failures in a row open it; then nothing of the bay is claimed."""

    def setUp(self):
        super().setUp()
        self.engines = self.here.engines

    def fail(self, times, bay=None):
        for _ in range(times):
            self.engines.failed((bay or self.place).uuid, 'connection refused')

    def health(self):
        row = self.bay(self.place.uuid)
        return row.health_status, row.health_status_reason

    def test_it_opens_after_three(self):
        self.fail(2)
        self.assertEqual([self.place.uuid], self.engines.available())
        self.assertTrue(self.engines.is_available(self.place.uuid))
        self.fail(1)
        self.assertEqual([], self.engines.available())
        self.assertFalse(self.engines.is_available(self.place.uuid))
        self.assertEqual(('UNHEALTHY', 'connection refused'), self.health())

    def test_only_in_a_row(self):
        for _ in range(3):
            self.fail(2)
            self.assertFalse(self.engines.worked(self.place.uuid))
        self.assertEqual([self.place.uuid], self.engines.available())

    def test_it_closes_when_the_engine_works(self):
        self.fail(5)
        self.assertTrue(self.engines.worked(self.place.uuid))
        self.assertFalse(self.engines.worked(self.place.uuid))
        self.assertEqual([self.place.uuid], self.engines.available())
        self.assertEqual(('HEALTHY', None), self.health())
        self.fail(2)
        self.assertEqual([self.place.uuid], self.engines.available())

    def test_each_bay_has_its_own(self):
        other = self.make_bay('other')
        self.here.clock.advance(2)
        self.fail(3, other)
        self.assertEqual([self.place.uuid], self.engines.available())

    def test_a_deleted_bay_leaves_nothing_behind(self):
        self.fail(3)
        bay_rules.delete(self.admin, self.db, 'bay')
        self.here.clock.advance(2)
        self.assertEqual({}, self.engines.served())
        self.assertEqual(set(), self.engines._open)

    def test_a_database_that_is_down_does_not_keep_it_from_opening(self):
        self.engines.served()

        def down(unit):
            raise exceptions.DatabaseUnavailable()

        self.patch(self.db, 'transact', down)
        self.fail(3)
        self.assertEqual([], self.engines.available())

    def test_its_actions_wait_without_being_claimed(self):
        self.engine.unreachable = True
        uuids = [self.create() for _ in range(5)]
        self.here.sweep()
        tried = [uuid for uuid in uuids
                 if self.actions_of(uuid)[0].waiting_code == 'bay_unreachable']
        self.assertEqual(3, len(tried))
        calls = sum(self.engine.calls.values())
        for _ in range(3):
            self.retry()
        self.assertEqual(calls, sum(self.engine.calls.values()))
        self.assertEqual(0, len(self.here.inflight))
        self.engine.unreachable = False
        self.here.prober()
        self.retry()
        for uuid in uuids:
            self.assert_at_rest(uuid, 'Created')
            self.assertEqual(1, self.actions_of(uuid)[0].attempts)

    def test_a_second_bay_is_not_affected(self):
        self.addCleanup(fake.FakeEngine.forget, 'second')
        second = self.make_bay('second', 'fake://second?present_image=busybox:latest')
        self.here.clock.advance(2)
        self.engine.unreachable = True
        here = [self.accept_create(bay='bay')[0].uuid for _ in range(4)]
        there = [self.accept_create(bay=second.uuid)[0].uuid for _ in range(4)]
        self.here.sweep()
        for uuid in there:
            self.assert_at_rest(uuid, 'Created')
        self.assertEqual({'queued'}, {self.outcomes(uuid)[0][1] for uuid in here})

    def test_an_outage_of_the_database_is_none_of_the_engine(self):
        """Three of those opened the breaker of a bay that was well."""
        uuids = [self.running() for _ in range(4)]
        remember = lifecycle.remember

        def down(*args):
            raise exceptions.DatabaseUnavailable()

        self.patch(lifecycle, 'remember', down)
        for uuid in uuids:
            self.submit('reboot', uuid)
        self.here.sweep()
        self.assertEqual({'retrying'}, {self.actions_of(uuid)[-1].waiting_code
                                        for uuid in uuids})
        self.assertEqual([self.place.uuid], self.engines.available())
        self.patch(lifecycle, 'remember', remember)
        self.retry()
        for uuid in uuids:
            self.assert_at_rest(uuid, 'Running')


class TestProber(base.BenchCase):

    def setUp(self):
        super().setUp()
        self.probes = []
        probe = fake.FakeDriver.probe

        def counted(driver):
            self.probes.append(driver.bay.name)
            return probe(driver)

        self.patch(fake.FakeDriver, 'probe', counted)

    def look(self, times=1):
        for _ in range(times):
            self.here.prober()

    def test_each_engine_in_its_time(self):
        self.look(3)
        self.assertEqual(['bay'], self.probes)
        self.here.clock.advance(self.conf.conductor.probe_interval)
        self.make_bay('other')
        self.look(3)
        self.assertEqual(['bay', 'bay', 'other'], self.probes)

    def test_three_failures_settle_it_at_once(self):
        self.engine.unreachable = True
        self.look(2)
        self.assertEqual([self.place.uuid], self.here.engines.available())
        self.look()
        self.assertEqual([], self.here.engines.available())
        self.assertEqual('UNHEALTHY', self.bay(self.place.uuid).health_status)

    def test_one_that_is_gone_is_asked_more_often(self):
        self.engine.unreachable = True
        self.look(3)
        self.here.clock.advance(1)
        self.look()
        self.assertEqual(4, len(self.probes))

    def test_what_waited_goes_on_as_soon_as_it_answers(self):
        self.engine.unreachable = True
        uuid = self.create()
        self.here.sweep()
        self.look(3)
        self.let_retries_come()
        self.engine.unreachable = False
        self.here.clock.advance(1)
        self.look()                  # no sweep of its own
        self.assert_at_rest(uuid, 'Created')
        self.assertEqual('HEALTHY', self.bay(self.place.uuid).health_status)

    def test_an_engine_that_hangs_holds_nobody_else(self):
        """It is asked once; the others in their time."""
        self.addCleanup(fake.FakeEngine.forget, 'other')
        self.make_bay('other', 'fake://other')
        hangs = []

        class Pool:
            def submit(pool, ask, bay):
                if bay == self.place.uuid:
                    hangs.append(bay)
                else:
                    ask(bay)

        self.here.prober._pool = Pool()
        for _ in range(3):
            self.here.clock.advance(10)
            self.here.lease.renew()
            self.look()
        self.assertEqual(1, len(hangs))
        self.assertEqual(['other'] * 3, self.probes)

    def test_an_error_that_is_no_outage_changes_nothing(self):
        for error in (exceptions.DriverError('no'), ZeroDivisionError()):
            def probe(driver, error=error):
                raise error

            self.patch(fake.FakeDriver, 'probe', probe)
            for _ in range(4):
                self.here.clock.advance(10)
                self.here.lease.renew()
                self.look()
            self.assertEqual([self.place.uuid], self.here.engines.available())
            self.assertEqual(set(), self.here.prober._asking)
