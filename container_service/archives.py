# SPDX-License-Identifier: Apache-2.0
"""Archives that come in: what is taken out of a request, checked, and packed anew.

An archive is written by whoever asks and unpacked by an engine that runs as root.  What reaches
the engine is made here of what was understood here, so that nothing can look harmless to one
reader of the format and be something else to the other.
"""

import base64
import binascii
import io
import posixpath
import tarfile

from container_service import exceptions

_MEMBERS = 10000
_GROWTH = 3                   # how much longer headers may be when they are made anew
_MOST_COMMON = 32


class _Common(dict):
    """What an archive says of all its members.  tarfile copies it for each header."""

    def __setitem__(self, name, value):
        if len(self) >= _MOST_COMMON:
            raise tarfile.ReadError('it says too much of all members')
        super().__setitem__(name, value)


def received(text, limit, encoded):
    """Return the checked archive that a text stands for, which is base64 if ``encoded``.

    Raises InvalidParameter, HostileArchive, ArchiveTooLarge.
    """
    if not encoded:
        data = text.encode()
    else:
        try:
            data = base64.b64decode(text, validate=True)
        except (binascii.Error, ValueError):
            raise exceptions.InvalidParameter(name='data', reason='must be base64') from None
    if len(data) > limit:
        raise exceptions.ArchiveTooLarge(path='data', limit=limit)
    return clean(data, limit)


def clean(data, limit):
    """Pack an archive anew, if nothing in it leads out of the place that it is unpacked to.

    Raises InvalidParameter, HostileArchive, ArchiveTooLarge.
    """
    packed, total = io.BytesIO(), 0
    try:
        with (tarfile.open(fileobj=io.BytesIO(data), mode='r:', format=tarfile.PAX_FORMAT,
                           pax_headers=_Common()) as given,
              tarfile.open(fileobj=packed, mode='w', format=tarfile.PAX_FORMAT) as made):
            for number, member in enumerate(given):
                _check(member)
                total += member.size if member.isreg() else 0
                # A file may be larger than it looks, and what is said of all is packed for each.
                if (number >= _MEMBERS or total > limit
                        or packed.tell() > _GROWTH * limit + tarfile.RECORDSIZE):
                    raise exceptions.ArchiveTooLarge(path='data', limit=limit)
                made.addfile(_plain(member), given.extractfile(member)
                             if member.isreg() else None)
    except (tarfile.TarError, EOFError, OSError, UnicodeError, ValueError,
            OverflowError) as exc:
        raise exceptions.InvalidParameter(
            name='data', reason=f'must be a tar archive that is not compressed ({exc})') from None
    except RecursionError:          # tarfile calls itself for each header before an entry
        raise exceptions.InvalidParameter(
            name='data', reason='has too many headers for one entry') from None
    return packed.getvalue()


def _check(member):
    name = member.name
    if name.startswith('/') or '..' in name.split('/'):
        _refuse(member, 'is outside of the place that it is put to')
    if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        _refuse(member, 'is neither a file, a directory nor a link')
    if member.size < 0:
        _refuse(member, 'has a size below 0')
    if member.issparse():                   # a few bytes stand for any number of zeros
        _refuse(member, 'is a file with holes')
    if member.issym() or member.islnk():
        # A symbolic link begins where it stands, a hard one at the root of the archive.
        start = posixpath.dirname(name) if member.issym() else ''
        end = posixpath.normpath(posixpath.join(start, member.linkname))
        if end.startswith('/') or end.split('/')[0] == '..':
            _refuse(member, 'is a link that leads out of the place that it is put to')


def _refuse(member, why):
    raise exceptions.HostileArchive(name='data', reason=f'{ascii(member.name[:100])} {why}')


def _plain(member):
    """What is kept of a member: no attributes but these."""
    plain = tarfile.TarInfo(member.name)
    for kept in ('type', 'size', 'mode', 'uid', 'gid', 'mtime', 'linkname'):
        setattr(plain, kept, getattr(member, kept))
    if member.isreg():
        plain.type = tarfile.REGTYPE
    else:
        plain.size = 0
    plain.mode &= 0o1777                    # nobody becomes somebody else by what is put there
    return plain
