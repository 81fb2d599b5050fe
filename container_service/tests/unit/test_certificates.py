# SPDX-License-Identifier: Apache-2.0
import datetime
import os
import ssl
import tempfile
from unittest import mock

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from container_service import certificates
from container_service.tests import base
from container_service.tests import certificates as made


class TestCertificates(base.TestCase):

    def setUp(self):
        super().setUp()
        self.authority = made.Authority()
        self.cert, self.key = self.authority.issue('conductor')

    def bad(self, name, words, **given):
        error = self.assertRaises(certificates.Bad, certificates.check, **given)
        self.assertEqual(name, error.name)
        self.assertIn(words, str(error))
        # Nothing of what was given, which may be a key in the wrong place.
        for line in ''.join(given.values()).splitlines():
            if len(line) > 40 and not line.startswith('-'):
                self.assertNotIn(line, str(error))

    def test_what_goes_together_is_good(self):
        given = {'ca_cert': self.authority.cert + made.Authority('b').cert,
                 'client_cert': self.cert, 'client_key': self.key}
        self.assertEqual(given, certificates.check(**given))
        self.assertEqual({'ca_cert': self.cert}, certificates.check(ca_cert=self.cert))
        self.assertEqual({}, certificates.check())

    def test_only_what_is_meant_is_kept(self):
        given = {'ca_cert': self.authority.cert, 'client_cert': self.cert, 'client_key': self.key}
        self.assertEqual(given, certificates.check(**{
            name: '# of Müller\0\r\n' + text + '\U0001f600' * 9 for name, text in given.items()}))

    def test_what_openssl_does_not_take_is_refused_before_it_is_kept(self):
        cert, key = self.authority.issue('short', key=rsa.generate_private_key(65537, 1024))
        for ca_cert in ({'ca_cert': self.authority.cert}, {}):
            self.bad('client_cert', 'cannot be used for TLS: EE_KEY_TOO_SMALL',
                     client_cert=cert, client_key=key, **ca_cert)

    def test_what_cannot_be_used_but_was_kept_is_named(self):
        for name, text in (('ca_cert', '# Müller\n' + self.authority.cert), ('ca_cert', 'x'),
                           ('client_cert', 'x'), ('client_key', '\ud800')):
            given = {'ca_cert': self.authority.cert, 'client_cert': self.cert,
                     'client_key': self.key, name: text}
            error = self.assertRaises(certificates.Bad, certificates.context, **given)
            self.assertIn('cannot be used for TLS', str(error))
            self.assertIn(error.name, ('ca_cert',) if name == 'ca_cert' else ('client_cert',))

    def test_what_is_wrong_is_named(self):
        for text in ('', 'x', '/etc/ca.pem', self.cert[:200], '-----BEGIN CERTIFICATE-----\nx\n'):
            self.bad('ca_cert', 'must be a certificate in PEM', ca_cert=text)
            self.bad('client_cert', 'must be a certificate in PEM', client_cert=text)
            self.bad('client_key', 'must be a private key in PEM', client_key=text)
        self.bad('client_key', 'must be a private key', client_key=self.cert)
        self.bad('ca_cert', 'has a private key in it', ca_cert=self.key)
        self.bad('client_cert', 'has a private key in it', client_cert=self.cert + self.key)

    def damaged(self, name, before, after):
        """A certificate that can be loaded, with other bytes in it."""
        cert, key = self.authority.issue(name)
        der = x509.load_pem_x509_certificate(cert.encode()).public_bytes(
            serialization.Encoding.DER)
        self.assertIn(before, der)
        return ssl.DER_cert_to_PEM_cert(der.replace(before, after)), key

    def unreadable(self):
        curve = bytes.fromhex('06082a8648ce3d0301')
        return (self.damaged('ABCDEFG', b'ABCDEFG', b'\xff\xfeCDEFG'),       # no UTF-8
                self.damaged('x', curve + b'\x07', curve + b'\x77'),         # no such curve
                self.damaged('x', b'an authority', b'\xff' * 12))

    def test_what_cannot_be_read_is_refused_before_it_is_kept(self):
        for cert, key in self.unreadable():
            self.bad('ca_cert', 'can be read', ca_cert=cert)
            self.bad('ca_cert', 'can be read', ca_cert=self.cert + cert)
            self.bad('client_cert', 'can be read', client_cert=cert, client_key=key)

    def test_what_cannot_be_read_but_was_kept_is_told_of(self):
        for cert in ('x', *(cert for cert, _ in self.unreadable())):
            self.assertEqual(dict.fromkeys(certificates.about(self.cert)),
                             certificates.about(cert))
            self.assertEqual('The certificate in ca_cert cannot be read and must be given again.',
                             certificates.warning(cert, self.cert))

    def test_a_key_belongs_to_its_certificate(self):
        _, other = self.authority.issue('conductor')
        self.bad('client_key', 'does not belong to client_cert', client_cert=self.cert,
                 client_key=other)

    def test_a_key_is_not_encrypted(self):
        key = serialization.load_pem_private_key(self.key.encode(), None)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b'secret')).decode()
        self.bad('client_key', 'must not be encrypted', client_key=text)

    def test_what_has_expired_is_refused(self):
        cert, key = self.authority.issue('late', -1)
        self.bad('client_cert', 'has expired: "CN=late" was valid until', client_cert=cert,
                 client_key=key)
        self.bad('ca_cert', 'has expired', ca_cert=self.authority.cert + cert)

    def test_what_is_told(self):
        told = certificates.about(self.cert)
        self.assertEqual(('CN=conductor', 'CN=an authority'), (told['subject'], told['issuer']))
        self.assertRegex(told['fingerprint'], r'^([0-9A-F]{2}:){31}[0-9A-F]{2}$')
        self.assertRegex(told['not_after'], r'^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ$')
        self.assertIsNone(certificates.about(None))

    def test_an_end_that_is_near_is_told(self):
        soon, _ = self.authority.issue('soon', 20)
        self.assertIsNone(certificates.warning(self.authority.cert, self.cert))
        self.assertIsNone(certificates.warning(None, None))
        self.assertRegex(certificates.warning(self.authority.cert, soon),
                         r'^The certificate in client_cert expires on 20[-\d]+, in 19 days.$')
        later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=40)
        self.assertRegex(certificates.warning(soon, self.cert, later),
                         r'^The certificate in ca_cert expired on 20[-\d]+\.$')

    def test_a_key_is_on_no_disk(self):
        with mock.patch.object(tempfile, 'NamedTemporaryFile', side_effect=AssertionError):
            context = certificates.context(self.authority.cert, self.cert, self.key)
        self.assertEqual(1, context.cert_store_stats()['x509_ca'])
        self.assertEqual((ssl.CERT_REQUIRED, True), (context.verify_mode, context.check_hostname))

    def test_where_there_are_no_files_in_memory_one_is_removed_at_once(self):
        paths = []

        class Watched(ssl.SSLContext):
            def load_cert_chain(self, path):
                paths.append((path, os.stat(path).st_mode & 0o777))
                super().load_cert_chain(path)

        with mock.patch.object(os, 'memfd_create', create=True), mock.patch.object(
                ssl, 'create_default_context', lambda cadata: Watched(ssl.PROTOCOL_TLS_CLIENT)):
            del os.memfd_create
            certificates.context(self.authority.cert, self.cert, self.key)
        (path, mode), = paths
        self.assertEqual((0o600, False), (mode, os.path.exists(path)))
