# SPDX-License-Identifier: Apache-2.0
"""The way to an engine over the network: certificates of both sides, and nowhere but there."""

import contextlib
import os
import socket
import ssl
import tempfile
import threading
from unittest import mock

import testtools

from container_service import egress
from container_service import exceptions
from container_service.drivers import base
from container_service.drivers import docker as driver
from container_service.drivers import docker_streams
from container_service.tests import certificates

VERSION = b'{"ApiVersion": "1.41", "MinAPIVersion": "1.12", "ID": "the engine"}'
LOOPBACK = egress.networks(['127.0.0.1/32'])


class Engine:
    """Answers everything with its id, over TLS if it has a certificate; counts connections."""

    def __init__(self, authority=None, certificate=None, asks=True):
        self.count = 0
        self._context = certificate and self._tls(authority, certificate, asks)
        self._socket = socket.create_server(('127.0.0.1', 0))
        self.port = self._socket.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    @staticmethod
    def _tls(authority, certificate, asks):
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        with tempfile.NamedTemporaryFile('w') as file:
            file.write(''.join(certificate))
            file.flush()
            made.load_cert_chain(file.name)
        made.load_verify_locations(cadata=authority.cert)
        made.verify_mode = ssl.CERT_REQUIRED if asks else ssl.CERT_NONE
        return made

    def _serve(self):
        while True:
            try:
                made, _ = self._socket.accept()
            except OSError:
                return
            self.count += 1
            threading.Thread(target=self._talk, args=(made,), daemon=True).start()

    def _talk(self, made):
        with contextlib.suppress(OSError), made, (
                self._context.wrap_socket(made, server_side=True) if self._context
                else contextlib.nullcontext(made)) as layer:
            while layer.recv(65536):
                layer.sendall(b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n'
                              b'Content-Length: %d\r\n\r\n%s' % (len(VERSION), VERSION))

    def close(self):
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()


class TlsCase(testtools.TestCase):

    def setUp(self):
        super().setUp()
        self.ours, self.other = certificates.Authority(), certificates.Authority('another')
        self.client = self.ours.issue('conductor')
        self.policy = egress.Policy(allowed=LOOPBACK)

    def engine(self, *args, **kwargs):
        made = Engine(*args, **kwargs)
        self.addCleanup(made.close)
        return made

    def bay(self, engine, host='127.0.0.1', ca=None, client=None, policy=None):
        cert, key = client or self.client
        return base.Bay('u', 'north', f'tcp://{host}:{engine.port}', (ca or self.ours).cert,
                        cert, key, policy=policy or self.policy)

    def driver(self, bay):
        made = driver.DockerDriver(bay)
        self.addCleanup(lambda: made._shared_client and made._shared_client.close())
        return made

    def words(self, bay):
        return self.assertRaises(exceptions.EngineUnreachable, self.driver(bay).ping).detail


class TestCertificates(TlsCase):

    def test_both_sides_are_known(self):
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['127.0.0.1']))
        self.assertEqual('the engine', self.driver(self.bay(engine)).ping())
        with docker_streams.Connection(self.bay(engine), lambda: 5, 5) as stream:
            self.assertEqual(200, stream.post('/x', {})[1])

    def test_a_certificate_of_the_engine_that_is_wrong_is_told(self):
        for issuer, hosts, days, words in (
                (self.other, ['127.0.0.1'], 365, 'is not from an authority in the bay'),
                (self.ours, ['127.0.0.2'], 365, 'is for another address than'),
                (self.ours, ['engine.example'], 365, 'is for another address than'),
                (self.ours, ['127.0.0.1'], -1, "the engine's certificate has expired")):
            engine = self.engine(self.ours, issuer.issue('engine', days, hosts))
            self.assertIn(f'TLS: the engine\'s certificate {words.split("certificate ")[-1]}',
                          self.words(self.bay(engine)))
            with docker_streams.Connection(self.bay(engine), lambda: 5, 5) as stream:
                self.assertRaises(ssl.SSLError, stream.post, '/x', {})

    def test_a_name_that_the_certificate_does_not_have_is_told(self):
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['127.0.0.1']))
        policy = egress.Policy(allowed=LOOPBACK, resolve=lambda name, port, type: [
            (None, type, 6, '', ('127.0.0.1', port))])
        self.assertIn('is for another name than that of the endpoint',
                      self.words(self.bay(engine, 'engine.example', policy=policy)))

    def test_a_certificate_of_ours_that_the_engine_refuses_is_told(self):
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['127.0.0.1']))
        # What it says may get lost when it ends the connection.
        for client, words in (
                (self.other.issue('stranger'), "does not accept the bay's client_cert"),
                (self.ours.issue('late', -1), "(says that|does not accept) the bay's client")):
            self.assertRegex(self.words(self.bay(engine, client=client)), words)

    def test_what_openssl_says_is_told_in_words(self):
        for reason, words in (
                ('SSLV3_ALERT_CERTIFICATE_EXPIRED', "says that the bay's client_cert has expired"),
                ('TLSV1_ALERT_UNKNOWN_CA', "does not accept the bay's client_cert"),
                ('TLSV13_ALERT_CERTIFICATE_REQUIRED', "does not accept the bay's client_cert"),
                ('SSLV3_ALERT_BAD_CERTIFICATE', "does not accept the bay's client_cert"),
                ('WRONG_VERSION_NUMBER', 'does not speak it')):
            exc = ssl.SSLError(1, reason)
            exc.reason = reason
            self.assertIn(words, driver.driver_error(exc, 'north', True).detail)
        for exc in (ConnectionResetError(104, 'Connection reset by peer'),
                    BrokenPipeError(32, 'Broken pipe'), ssl.SSLEOFError(8, 'EOF occurred')):
            self.assertIn("does not accept the bay's client_cert",
                          driver.driver_error(exc, 'north', True).detail)

    def test_an_engine_without_tls_is_told(self):
        self.assertIn('does not speak it', self.words(self.bay(self.engine())))

    def test_authorities_of_the_system_are_not_trusted(self):
        engine = self.engine(self.ours, self.other.issue('engine', hosts=['127.0.0.1']))
        with tempfile.NamedTemporaryFile('w') as file:
            file.write(self.other.cert)
            file.flush()
            with mock.patch.dict(os.environ, {name: file.name for name in (
                    'REQUESTS_CA_BUNDLE', 'CURL_CA_BUNDLE', 'SSL_CERT_FILE')}):
                self.assertIn('is not from an authority', self.words(self.bay(engine)))

    def test_a_key_is_not_shown_with_the_bay(self):
        self.assertNotIn('PRIVATE', repr(self.bay(self.engine())))


class TestWayThere(TlsCase):

    def test_only_what_the_policy_lets_through_is_connected_to(self):
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['127.0.0.1']))
        for policy in (egress.Policy(), egress.Policy(allowed=LOOPBACK, denied=LOOPBACK)):
            bay = self.bay(engine, policy=policy)
            self.assertIn('its endpoint leads to 127.0.0.1', self.words(bay))
            self.assertRaises(egress.Refused, docker_streams.Connection, bay, lambda: 5, 5)
        self.assertEqual(0, engine.count)

    def test_a_name_that_changes_its_mind_gains_nothing(self):
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['engine.example']))
        opened, answers = [], [['93.184.216.34'], ['127.0.0.1']]

        class Recorded(egress.Policy):
            def open(self, address, port, seconds):
                opened.append(address)
                raise ConnectionRefusedError(address)

        policy = Recorded(resolve=lambda name, port, type: [
            (None, type, 6, '', (address, port)) for address in answers.pop(0)])
        self.words(self.bay(engine, 'engine.example', policy=policy))
        self.assertEqual(['93.184.216.34'], opened)
        self.assertIn('leads to 127.0.0.1', self.words(
            self.bay(engine, 'engine.example', policy=policy)))
        self.assertEqual((['93.184.216.34'], 0), (opened, engine.count))

    def test_proxies_of_the_environment_are_not_asked(self):
        proxy = self.engine()
        engine = self.engine(self.ours, self.ours.issue('engine', hosts=['127.0.0.1']))
        with mock.patch.dict(os.environ, {
                name: f'http://127.0.0.1:{proxy.port}'
                for name in ('http_proxy', 'HTTPS_PROXY', 'ALL_PROXY')} | {'no_proxy': ''}):
            self.assertEqual('the engine', self.driver(self.bay(engine)).ping())
        self.assertEqual(0, proxy.count)
