# SPDX-License-Identifier: Apache-2.0
"""The certificates and the key by which an engine and this service know each other.

They are PEM texts.  ``check`` says what is wrong with them before they are kept, ``about`` what
may be told of one, and ``context`` makes of them what TLS needs.  A key is told to nobody.
"""

import contextlib
import datetime
import os
import ssl
import tempfile

from cryptography import exceptions as crypto_exc
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization

PEM_LENGTH = 32 * 1024         # encrypted it must fit a text column of 64 KiB
SOON = datetime.timedelta(days=30)


class Bad(ValueError):
    """What is wrong with one of them: ``name`` is which, the text completes "name ..."."""

    def __init__(self, name, words):
        super().__init__(words)
        self.name = name


def check(ca_cert=None, client_cert=None, client_key=None, now=None):
    """What is given, as {name: PEM} that has nothing else in it.

    Raises Bad unless it can be used, and goes together.
    """
    now = now or datetime.datetime.now(datetime.UTC)
    kept = {}
    for name, text in (('ca_cert', ca_cert), ('client_cert', client_cert)):
        found = _read(name, text) if text is not None else ()
        for each in found:
            if each.not_valid_after_utc <= now:
                raise Bad(name, f'has expired: "{_subject(each)}" was valid until {_day(each)}')
        if found:
            kept[name] = ''.join(each.public_bytes(serialization.Encoding.PEM).decode()
                                 for each in found)
    if client_key is not None:
        key = _read_key(client_key)
        if client_cert is not None and _public(key) != _public(
                _read('client_cert', client_cert)[0]):
            raise Bad('client_key', 'does not belong to client_cert')
        kept['client_key'] = _pem_of_key(key)
    # OpenSSL refuses some that can be read, as a key that is short.
    if ca_cert is not None:
        context(kept['ca_cert'])
    if client_cert is not None and client_key is not None:
        _show(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), kept['client_cert'], kept['client_key'])
    return kept


def about(text):
    """What is told of a PEM text: subject, issuer, fingerprint, and when it ends; or None.

    Of several certificates the first one is meant, and the end of whichever ends first.  Of what
    cannot be read any more, as another release of the library may read less, each is None.
    """
    if text is None:
        return None
    try:
        found = _read('certificate', text)
    except Bad:
        return dict.fromkeys(('subject', 'issuer', 'fingerprint', 'not_after'))
    return {'subject': _subject(found[0]), 'issuer': _issuer(found[0]),
            'fingerprint': found[0].fingerprint(hashes.SHA256()).hex(':').upper(),
            'not_after': _first_to_end(found).strftime('%Y-%m-%dT%H:%M:%SZ')}


def warning(ca_cert, client_cert, now=None):
    """What an administrator should do about certificates that end soon, in words, or None."""
    now = now or datetime.datetime.now(datetime.UTC)
    words = []
    for name, text in (('ca_cert', ca_cert), ('client_cert', client_cert)):
        if text is None:
            continue
        try:
            end = _first_to_end(_read(name, text))
        except Bad:
            words.append(f'The certificate in {name} cannot be read and must be given again.')
            continue
        if end <= now:
            words.append(f'The certificate in {name} expired on {end:%Y-%m-%d}.')
        elif end - now < SOON:
            words.append(f'The certificate in {name} expires on {end:%Y-%m-%d}, in '
                         f'{(end - now).days} days.')
    return ' '.join(words) or None


def context(ca_cert, client_cert=None, client_key=None):
    """An SSLContext that trusts ``ca_cert`` alone, and shows the client's certificate.

    Raises Bad.
    """
    with _used('ca_cert'):
        made = ssl.create_default_context(cadata=ca_cert)
    if client_cert is not None:
        _show(made, client_cert, client_key)
    return made


def _show(made, client_cert, client_key):
    # The only way to give one to OpenSSL here.
    with _used('client_cert'), _as_file(f'{client_cert}\n{client_key}') as path:
        made.load_cert_chain(path)


@contextlib.contextmanager
def _used(name):
    """Raise Bad in place of what is raised for text that cannot be used."""
    try:
        yield
    except ssl.SSLError as exc:
        raise Bad(name, f'cannot be used for TLS: {exc.reason or "it is not understood"}'
                  ) from exc
    except (TypeError, ValueError):
        # Not from it: it may have what is in the text.
        raise Bad(name, 'cannot be used for TLS: it is not PEM text in ASCII') from None


@contextlib.contextmanager
def _as_file(text):
    """A path to the text, for as long as it is used; in memory where that is possible."""
    if hasattr(os, 'memfd_create'):
        with open(os.memfd_create('tls'), 'w') as file:
            file.write(text)
            file.flush()
            yield f'/proc/self/fd/{file.fileno()}'
        return
    with tempfile.NamedTemporaryFile('w') as file:          # mode 0600
        file.write(text)
        file.flush()
        yield file.name


def _read(name, text):
    # Of a text with a key in it only the certificates would be used, and the key be told.
    if 'PRIVATE KEY' in text:
        raise Bad(name, 'must be a certificate, and has a private key in it')
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except (ValueError, crypto_exc.UnsupportedAlgorithm):
        raise Bad(name, 'must be a certificate in PEM, which begins with -----BEGIN '
                        'CERTIFICATE-----: its content, not a path') from None
    for each in found:
        # Loading looks at none of these: what cannot be read of them fails when it is asked for.
        try:
            _subject(each)
            _issuer(each)
            _public(each)
            _day(each)
        except (ValueError, crypto_exc.UnsupportedAlgorithm):
            raise Bad(name, 'must be a certificate whose subject, issuer and public key can be '
                            'read') from None
    return found


def _read_key(text):
    # Never what the library says of it: that may have a part of the key.
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise Bad('client_key', 'must not be encrypted: the service encrypts it itself') from None
    except (ValueError, crypto_exc.UnsupportedAlgorithm):
        raise Bad('client_key', 'must be a private key in PEM, which begins with -----BEGIN '
                                'PRIVATE KEY-----: its content, not a path') from None


def _pem_of_key(key):
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                             serialization.NoEncryption()).decode()


def _public(of):
    return of.public_key().public_bytes(serialization.Encoding.DER,
                                        serialization.PublicFormat.SubjectPublicKeyInfo)


def _subject(certificate):
    return certificate.subject.rfc4514_string()


def _issuer(certificate):
    return certificate.issuer.rfc4514_string()


def _first_to_end(found):
    return min(each.not_valid_after_utc for each in found)


def _day(certificate):
    return f'{certificate.not_valid_after_utc:%Y-%m-%d}'
