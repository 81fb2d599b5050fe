# SPDX-License-Identifier: Apache-2.0
"""Files that only the service may read: they are replaced, never changed in place."""

import os
import stat


class NotPrivate(Exception):
    """The file can be used by others than its owner and group."""


def read(path):
    """What is in the file, as text.  Raises NotPrivate, OSError, UnicodeDecodeError."""
    with open(path, encoding='utf-8') as file:
        _check(os.fstat(file.fileno()))
        return file.read()


def state(path):
    """What differs when there is another file, or something else in it.

    Raises NotPrivate, OSError.
    """
    about = os.stat(path)
    _check(about)
    return about.st_mtime_ns, about.st_ctime_ns, about.st_ino, about.st_size


def _check(about):
    if about.st_mode & stat.S_IRWXO:
        raise NotPrivate('others than its owner and group may use it')


def replace(path, text):
    """Put a text in the place of what is in the file, which is made if there is none.

    The file has one content or the other at every moment.  It keeps its owner and mode; a new one
    has mode 0600.  Raises OSError, for which ``words`` has words.
    """
    about = os.stat(path) if os.path.exists(path) else None
    new = f'{path}.new'
    handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with open(handle, 'w', encoding='utf-8') as file:
            file.write(text)
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


def words(exc, path):
    """What an error of ``replace`` says, to complete "the file cannot be changed: "."""
    if isinstance(exc, FileExistsError):
        # Not removed here: then two at once could both write, and one be lost.
        return (f'{path}.new is there, so it is being changed or that was cut off; if nobody is '
                'at it, remove that file')
    return exc.strerror.lower()
