# SPDX-License-Identifier: Apache-2.0
"""Secrets at rest: encrypted with the first key of a file, readable with any of them.

The file has one key in a line, the newest first; ``container-service-manage secrets`` makes and
changes it.  Every API process and conductor of an installation needs the same keys.  It is read
each time, so that a new key needs no restart.
"""

import os
import stat

from cryptography import fernet
from oslo_log import log

from container_service import exceptions

LOG = log.getLogger(__name__)


class Keys:
    """The keys of an installation."""

    def __init__(self, conf):
        self._path = conf.secrets.keys_file

    def encrypt(self, text):
        """Raises SecretsUnavailable."""
        return self._read().encrypt(text.encode()).decode()

    def decrypt(self, token):
        """Raises SecretsUnavailable."""
        try:
            return self._read().decrypt(token.encode()).decode()
        except fernet.InvalidToken:
            raise self._unavailable('none of its keys is the one that this was encrypted '
                                    'with') from None

    def renewed(self, token):
        """The same secret, encrypted with the first key.  Raises SecretsUnavailable."""
        return self.encrypt(self.decrypt(token))

    def _read(self):
        if not self._path:
            raise exceptions.SecretsUnavailable(
                'No keys are configured for secrets: an administrator must set keys_file in the '
                'section [secrets] and run container-service-manage secrets create-key.')
        try:
            with open(self._path) as file:
                if os.fstat(file.fileno()).st_mode & stat.S_IRWXO:
                    raise self._unavailable('others than its owner and group may use it')
                lines = [line.strip() for line in file]
        except OSError as exc:
            raise self._unavailable(exc.strerror.lower()) from exc
        except UnicodeDecodeError:
            raise self._unavailable('it is not text') from None
        try:
            keys = [fernet.Fernet(line) for line in lines if line and not line.startswith('#')]
        except ValueError:
            # Not what the library says: that may have the line in it.
            raise self._unavailable('it has a line that is not a key') from None
        if not keys:
            raise self._unavailable('it has no keys')
        return fernet.MultiFernet(keys)

    def _unavailable(self, reason):
        # Callers learn that it is so, administrators where.
        LOG.error('Keys for secrets, %s: %s', self._path, reason)
        return exceptions.SecretsUnavailable(f'The keys for secrets cannot be used: {reason}.')


def create_key(path):
    """Put a new key in front of those in the file, which is made if there is none.

    The file has one content or the other at every moment, and mode 0600 when it is new.
    """
    before, about = '', None
    if os.path.exists(path):
        with open(path) as file:
            before, about = file.read(), os.fstat(file.fileno())
    new = f'{path}.new'
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, 'w') as file:
            file.write(f'{fernet.Fernet.generate_key().decode()}\n{before}')
            if about is not None:
                os.fchmod(handle, stat.S_IMODE(about.st_mode))
                if (about.st_uid, about.st_gid) != (os.geteuid(), os.getegid()):
                    os.fchown(handle, about.st_uid, about.st_gid)
            file.flush()
            os.fsync(handle)
        os.rename(new, path)
    except BaseException:
        os.unlink(new)
        raise


def ensure(path):
    """Have a file with a key in it."""
    if not os.path.exists(path):
        create_key(path)
