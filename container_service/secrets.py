# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: encrypted with the first key of a file, readable with any of them.

The file has one key in a line, the newest first; ``container-service-manage secrets`` makes and
changes it.  Every API process and conductor of an installation needs the same keys.  It is read
each time, so that a new key needs no restart.  What is encrypted is listed in ``db/encrypted.py``.
"""

import collections
import dataclasses
import hashlib
import json
import os

from cryptography import fernet
from oslo_log import log

from container_service import exceptions
from container_service import private_files
from container_service import redaction
from container_service.db import encrypted
from container_service.db.base import run_again

LOG = log.getLogger(__name__)

# Rows of one transaction of a rotation: daemons that want one of them wait no longer than that.
_BATCH = 100


class Keys:
    """The keys of an installation."""

    def __init__(self, conf):
        self._path = conf.secrets.keys_file

    @property
    def configured(self):
        """Whether there is meant to be a file of keys."""
        return bool(self._path)

    def encrypt(self, text):
        """Raises SecretsUnavailable."""
        redaction.hide([text])
        (_, newest), *_ = self._read()
        return newest.encrypt(text.encode()).decode()

    def decrypt(self, token):
        """Raises SecretsUnavailable."""
        _, text = self._open(token)
        if text is None:
            raise self._unavailable('none of its keys is the one that this was encrypted with')
        redaction.hide([text])
        return text

    def holder(self, token):
        """The id of the key that a secret is encrypted with; None: of none in the file.

        Raises SecretsUnavailable.
        """
        return self._open(token)[0]

    def ids(self):
        """What tells the keys apart, the newest first, and not what they are.

        Raises SecretsUnavailable.
        """
        return [key_id for key_id, _ in self._read()]

    def _open(self, token):
        # A token does not tell which one it is: it is the one that its signature fits.
        for key_id, key in self._read():
            try:
                return key_id, key.decrypt(token.encode()).decode()
            except fernet.InvalidToken:
                continue
        return None, None

    def _read(self):
        """[(id, key), ...] of the file."""
        if not self._path:
            raise exceptions.SecretsUnavailable(
                'No keys are configured for secrets: an administrator must set keys_file in the '
                'section [secrets] and run container-service-manage secrets create-key.')
        try:
            lines = [line.strip() for line in private_files.read(self._path).splitlines()]
        except OSError as exc:
            raise self._unavailable(exc.strerror.lower()) from exc
        except private_files.NotPrivate as exc:
            raise self._unavailable(exc) from None
        except UnicodeDecodeError:
            raise self._unavailable('it is not text') from None
        try:
            keys = [(_id(line), fernet.Fernet(line))
                    for line in lines if line and not line.startswith('#')]
        except ValueError:
            # Not what the library says: that may have the line in it.
            raise self._unavailable('it has a line that is not a key') from None
        if not keys:
            raise self._unavailable('it has no keys')
        return keys

    def _unavailable(self, reason):
        # Callers learn that it is so, administrators where.
        LOG.error('Keys for secrets, %s: %s', self._path, reason)
        return exceptions.SecretsUnavailable(f'The keys for secrets cannot be used: {reason}.')


# Parameters of operations

def seal(op, params, keys):
    """Take what is secret out of parameters: (them with the names alone, {name: token}).

    Where no keys are configured, what does not need any stays as it is.  Raises
    SecretsUnavailable.
    """
    shown, tokens = dict(params), {}
    for param in op.secrets:
        value = params.get(param.name)
        if value and (param.needs_keys or keys.configured):
            shown[param.name] = sorted(value)
            tokens[param.name] = seal_value(keys, value)
    return shown, tokens


def seal_value(keys, variables):
    """Variables as one encrypted text.  Raises SecretsUnavailable."""
    redaction.hide(variables.values())
    return keys.encrypt(json.dumps(variables))


def unseal(tokens, keys):
    """What ``seal`` has taken out: {name: variables}.  Raises SecretsUnavailable."""
    found = {name: json.loads(keys.decrypt(token)) for name, token in tokens.items()}
    for variables in found.values():
        redaction.hide(variables.values())
    return found


# Keys and what holds them

def _id(line):
    return hashlib.sha256(line.encode()).hexdigest()[:12]


@dataclasses.dataclass(frozen=True)
class Holdings:
    """How many values of what kind each key holds: {(words, id of the key or None): count}."""
    counts: dict
    newest: str

    def of(self, key):
        return sum(count for (_, holder), count in self.counts.items() if holder == key)

    @property
    def unreadable(self):
        """{words: count} of what no key of the file fits."""
        return {words: count for (words, key), count in self.counts.items() if key is None}

    @property
    def on_older(self):
        """How many values need a key that is not the newest."""
        return sum(self.counts.values()) - self.of(self.newest) - self.of(None)


def holdings(db, keys):
    """Count what is encrypted with which key.  Raises SecretsUnavailable."""
    counts = collections.Counter()
    for column in encrypted.COLUMNS:
        for batch in _batches(db, column):
            counts.update((column.words, keys.holder(row.value)) for row in batch)
    return Holdings(dict(counts), keys.ids()[0])


def rotate(db, keys):
    """Encrypt with the first key what is not; returns {words: count} of what was.

    Each batch is a transaction of its own, so that a rotation that was ended half way is begun
    again and finds the rest, and nothing that daemons write meanwhile is lost.  What no key fits
    stays as it is.  Raises SecretsUnavailable.
    """
    done = {column.words: 0 for column in encrypted.COLUMNS}
    for column in encrypted.COLUMNS:
        for batch in _batches(db, column):
            done[column.words] += _rotate(db, keys, column, batch)
    return done


def _rotate(db, keys, column, batch):
    newest, changes = keys.ids()[0], []
    for row in batch:
        if keys.holder(row.value) not in (newest, None):
            changes.append((row, keys.encrypt(keys.decrypt(row.value))))
    if changes:
        # Counted as meant: when the answer to COMMIT was lost, the second run finds them changed.
        db.transact(lambda conn: [column.replace(conn, row, value) for row, value in changes],
                    run_again)
    return len(changes)


def _batches(db, column):
    after = 0
    while True:
        with db.read() as conn:
            batch = column.batch(conn, after, _BATCH)
        if not batch:
            return
        yield batch
        after = batch[-1].id


def create_key(path):
    """Put a new key in front of those in the file, which is made if there is none.

    Raises OSError.
    """
    before = ''
    if os.path.exists(path):
        with open(path) as file:
            before = file.read()
    private_files.replace(path, f'{fernet.Fernet.generate_key().decode()}\n{before}')


def ensure(path):
    """Have a file with a key in it."""
    if not os.path.exists(path):
        create_key(path)
