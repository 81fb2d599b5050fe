# SPDX-License-Identifier: Apache-2.0
"""The file of users for HTTP basic authentication: who there is, with which project and roles.

One user in a line, ``name:bcrypt hash:project:role,role``; ``container-service-manage users``
writes it.  oslo.middleware checks the password; what a user is afterwards is ours.  The file is
looked at for each request and read when it has changed, so that a change needs no restart.
"""

import contextlib
import dataclasses
import hashlib
import hmac
import os
import re
import threading

import bcrypt
from oslo_middleware import basic_auth
import webob.exc

from container_service import private_files
from container_service import remembered

ROLES = ('admin', 'member', 'reader')
_IMPLIED = {'admin': ('member', 'reader'), 'member': ('reader',)}

# bcrypt looks at so many bytes of a password and no more.
MOST_BYTES = 72

# A password that was right is not computed again until it has not been used for so long.
_SECONDS = 60

# So many are computed at once: each takes a core for some tenths of a second.
_AT_ONCE = 2

# Seconds that a request waits for that.
_PATIENCE = 1

_NAME = re.compile(r'[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}')
_HASH = re.compile(r'\$2[aby]\$(?:0[4-9]|[12][0-9]|3[01])\$[./A-Za-z0-9]{53}')
_PROJECT = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,63}')
_ROLE = re.compile(r'[A-Za-z0-9][A-Za-z0-9._-]{0,63}')


@dataclasses.dataclass(frozen=True)
class User:
    """One line of the file.  Raises ValueError for what cannot be in one."""
    name: str
    hash: str = dataclasses.field(repr=False)
    project_id: str
    roles: tuple

    def __post_init__(self):
        for what, form, texts in (('name', _NAME, [self.name]), ('hash', _HASH, [self.hash]),
                                  ('project', _PROJECT, [self.project_id]),
                                  ('role', _ROLE, self.roles or [''])):
            if not all(form.fullmatch(text) for text in texts):
                raise ValueError(_FORMS[what])

    @classmethod
    def parse(cls, line):
        name, crypted, project, roles = line.split(':')
        return cls(name, crypted, project, tuple(role.strip() for role in roles.split(',')))

    def __str__(self):
        return ':'.join((self.name, self.hash, self.project_id, ','.join(self.roles)))

    @property
    def all_roles(self):
        """Its roles with those that they imply, as Keystone has them: admin, member, reader."""
        implied = {role for given in self.roles for role in _IMPLIED.get(given, ())}
        return sorted(implied.union(self.roles))


_FORMS = {
    'name': 'a name has letters, digits and any of ._@+-, and begins with a letter or digit',
    'hash': 'the second field must be a bcrypt hash, like $2b$12$...',
    'project': 'the id of a project has letters, digits and any of ._-, at most 64',
    'role': 'there must be a role; several are separated by commas',
}


class Unusable(Exception):
    """The file of users cannot be used; the text says why, for an administrator."""


class Busy(Exception):
    """Too many passwords are being computed."""


class Users:
    """The users of one file.  Raises Unusable.

    ``most`` requests at once may have a password computed, or wait for that.
    """

    def __init__(self, path, most=16):
        self._path = path
        self._places = threading.BoundedSemaphore(most)
        self._computing = threading.BoundedSemaphore(_AT_ONCE)
        self._passed = remembered.Remembered()
        # What passwords are remembered by is worth nothing outside of this process.
        self._key = os.urandom(32)
        self._read = None, {}               # the state of the file, and who was in it
        self.read()

    def authenticate(self, name, password, before=None):
        """The user of that name and password (bytes), or None.  Raises Unusable and Busy.

        It takes the same time whether there is such a user: a password is always checked.
        ``before`` is called before one is computed, and may raise.
        """
        users = self.read()
        user = users.get(name)
        checked = user or next(iter(users.values()), None)
        if checked is None:
            return None
        digest = hmac.digest(self._key, password, hashlib.sha256)
        proof = checked.hash, digest
        if not self._is_remembered(proof):
            with self._place():
                # Another request may have computed the same meanwhile.
                if not self._is_remembered(proof):
                    if before is not None:
                        before()
                    # The name of a user that is not there comes from outside: it is not told to
                    # the log.
                    if not _is_password(f'{name if user else "?"}:{checked.hash}', password):
                        return None
                    if user is not None:
                        self._passed.set(proof, True, _SECONDS)
        return user

    def _is_remembered(self, proof):
        """bcrypt is slow on purpose: a client that asks often must not pay each time."""
        if not self._passed.get(proof):
            return False
        self._passed.set(proof, True, _SECONDS)
        return True

    @contextlib.contextmanager
    def _place(self):
        """Leave threads and cores for requests that need none of this.  Raises Busy."""
        if not self._places.acquire(blocking=False):
            raise Busy()
        try:
            if not self._computing.acquire(timeout=_PATIENCE):
                raise Busy()
            try:
                yield
            finally:
                self._computing.release()
        finally:
            self._places.release()

    def read(self):
        """{name: User}.  Raises Unusable."""
        try:
            # First the state: what is changed after that is read again.
            state = private_files.state(self._path)
            known, found = self._read
            if state == known:
                return found
            text = private_files.read(self._path)
        except OSError as exc:
            raise self._unusable(exc.strerror.lower()) from exc
        except private_files.NotPrivate as exc:
            raise self._unusable(exc) from None
        except UnicodeDecodeError:
            raise self._unusable('it is not text') from None
        found = self._parse(text)
        self._read = state, found
        return found

    def _parse(self, text):
        found = {}
        for number, line in enumerate(text.splitlines(), 1):
            line = line.strip()
            if not line or line.startswith('#'):
                continue
            try:
                user = User.parse(line)
            except ValueError as exc:
                words = str(exc) if str(exc) in _FORMS.values() else (
                    'it must be name:hash:project:roles')
                raise self._unusable(f'line {number}: {words}') from None
            if user.name in found:
                raise self._unusable(f'line {number}: {user.name} is there twice')
            found[user.name] = user
        return found

    def _unusable(self, reason):
        return Unusable(f'The file of users, {self._path}, cannot be used: {reason}.')


def _is_password(entry, password):
    if len(password) > MOST_BYTES:
        # Cut, so that it takes its time, and refused: the rest of it would not count.
        _is_password(entry, password[:MOST_BYTES])
        return False
    try:
        basic_auth.auth_entry(entry, password)
    except webob.exc.HTTPUnauthorized:
        return False
    return True


def add(path, user):
    """Write a user to the file, which is made if there is none; in the place of one of that name.

    Raises OSError and private_files.NotPrivate.
    """
    lines, there = _lines(path), False
    for number, line in enumerate(lines):
        if line.partition(':')[0].strip() == user.name:
            lines[number], there = str(user), True
    private_files.replace(path, _text(lines if there else [*lines, str(user)]))


def remove(path, name):
    """Take a user out of the file.  Returns whether there was one.

    Raises OSError and private_files.NotPrivate.
    """
    lines = _lines(path)
    left = [line for line in lines if line.partition(':')[0].strip() != name]
    if len(left) < len(lines):
        private_files.replace(path, _text(left))
    return len(left) < len(lines)


def _lines(path):
    return private_files.read(path).splitlines() if os.path.exists(path) else []


def _text(lines):
    return ''.join(f'{line}\n' for line in lines)


def hashed(password):
    """The bcrypt hash of a password.  Raises ValueError for one that bcrypt would not look at."""
    data = password.encode()
    if not data:
        raise ValueError('a password cannot be empty')
    if len(data) > MOST_BYTES:
        raise ValueError(f'a password has at most {MOST_BYTES} bytes')
    if b'\0' in data:
        raise ValueError('a password cannot have a NUL character')
    return bcrypt.hashpw(data, bcrypt.gensalt()).decode()
