# SPDX-License-Identifier: Apache-2.0
"""Certificates of a test's own, made in memory."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509 import oid


class Authority:
    """Who issues certificates.  ``cert`` is its own, as PEM."""

    def __init__(self, name='an authority'):
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        self.cert = _pem(self._signed(self._name, self._key, 3650, x509.BasicConstraints(
            ca=True, path_length=None)))

    def issue(self, name, days=365, hosts=(), key=None):
        """Returns a certificate, which ends in so many days, and its key; both as PEM."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        names = [_host(host) for host in hosts]
        made = self._signed(_name(name), key, days, x509.BasicConstraints(
            ca=False, path_length=None), *([x509.SubjectAlternativeName(names)] if names else []))
        return _pem(made), key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()).decode()

    def _signed(self, subject, key, days, *extensions):
        now = datetime.datetime.now(datetime.UTC)
        made = (x509.CertificateBuilder().subject_name(subject).issuer_name(self._name)
                .public_key(key.public_key()).serial_number(x509.random_serial_number())
                .not_valid_before(now - datetime.timedelta(days=400))
                .not_valid_after(now + datetime.timedelta(days=days)))
        for extension in extensions:
            made = made.add_extension(extension, critical=False)
        return made.sign(self._key, hashes.SHA256())


def _name(text):
    return x509.Name([x509.NameAttribute(oid.NameOID.COMMON_NAME, text)])


def _host(text):
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def _pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM).decode()
