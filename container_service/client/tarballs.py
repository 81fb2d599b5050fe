# SPDX-License-Identifier: Apache-2.0
"""Pack files into a tar archive and unpack one.  Standard library only.

What comes out of a container is not to be trusted: nothing is written outside of the directory
that it is unpacked to, whatever names and links it has, and nothing but files, directories and
links is made.
"""

import contextlib
import io
import os
import stat
import tarfile


class Unsafe(Exception):
    """An archive has what must not be unpacked; its text says what."""


def pack(path, name, follow_link=False):
    """Return a tar archive of a file or directory, whose top is called ``name`` in it."""
    data = io.BytesIO()
    if follow_link:
        path = os.path.realpath(path)
    with tarfile.open(fileobj=data, mode='w', format=tarfile.PAX_FORMAT) as archive:
        archive.add(path, arcname=name, filter=_of_nobody)
    return data.getvalue()


def _of_nobody(member):
    # Users here are not those of the container.
    member.uid = member.gid = 0
    member.uname = member.gname = ''
    return member


def top(data):
    """(name, whether it is a directory) of what an archive has at its top.  Raises Unsafe."""
    with _opened(data) as (_, members):
        for member in members:
            parts = _parts(member)
            return (parts[0] if parts else '.'), len(parts) != 1 or member.isdir()
    raise Unsafe('The archive is empty.')


def unpack(data, directory, rename=None):
    """Unpack an archive below a directory that exists; ``rename`` calls its top otherwise.

    Files that are there are replaced.  Raises Unsafe and OSError; what was written by then stays,
    but for a file that is not whole.
    """
    links = []
    with _opened(data) as (archive, members):
        for member in members:
            parts = _parts(member)
            if rename is not None:
                parts[:1] = [rename]
            if not parts:
                continue
            path = os.path.join(directory, *parts)
            if member.isdir():
                _make_directories(directory, parts)
                os.chmod(path, member.mode & 0o777 | stat.S_IRWXU)
            elif member.isreg() or member.islnk():
                _make_directories(directory, parts[:-1])
                # A second name of a file becomes a second file.
                _write(path, _content(archive, member), member)
            elif member.issym():
                links.append((parts, member.linkname))
        # Last: nothing may be written through a link of the archive.
        for parts, target in links:
            _link(directory, parts, target)


@contextlib.contextmanager
def _opened(data):
    """An archive, and what is in it.  Whatever is wrong with it raises Unsafe, at any member."""
    try:
        # Not compressed: what comes is as large as it looks.
        with tarfile.open(fileobj=io.BytesIO(data), mode='r:') as archive:
            yield archive, _members(archive, data)
    except (tarfile.TarError, EOFError, OverflowError, ValueError) as exc:
        raise Unsafe(f'That is no tar archive, or a broken one: {exc}.') from exc
    except RecursionError:          # tarfile calls itself for each header before an entry
        raise Unsafe('The archive has too many headers for one entry.') from None


def _members(archive, data):
    for member in archive:
        if member.size < 0:
            raise Unsafe(f'{member.name!r} in the archive has a size below 0.')
        if member.sparse is not None:       # a few bytes may stand for any size
            raise Unsafe(f'{member.name!r} in the archive is a sparse file, which is not '
                         'unpacked.')
        yield member
    # tarfile takes what it cannot read for the end, unless it is at the beginning.
    if data[archive.offset:archive.offset + tarfile.BLOCKSIZE].strip(b'\0'):
        raise Unsafe(f'The archive is broken after {archive.offset} bytes; nothing behind that '
                     'was unpacked.')


def _parts(member):
    parts = [part for part in member.name.split('/') if part not in ('', '.')]
    if '..' in parts or member.name.startswith('/'):
        raise Unsafe(f'{member.name!r} in the archive leads elsewhere; nothing after it was '
                     f'unpacked.')
    return parts


def _make_directories(directory, parts):
    """Make them one by one: what is a link below the directory is not followed."""
    path = directory
    for part in parts:
        path = os.path.join(path, part)
        if os.path.islink(path):
            raise Unsafe(f'{path} is a link; it is not written through.')
        if not os.path.isdir(path):
            os.mkdir(path)


def _content(archive, member):
    try:
        content = archive.extractfile(member)
    except KeyError:
        content = None
    if content is None:
        raise Unsafe(f'{member.name!r} in the archive is a name of what is not in it.')
    return content


def _write(path, content, member):
    if os.path.lexists(path) and not os.path.isdir(path):
        os.unlink(path)                 # never through a link, nor into what others have open
    f = open(path, 'xb')
    try:
        with f:
            while piece := content.read(1 << 20):
                f.write(piece)
        os.chmod(path, member.mode & 0o777)
        os.utime(path, (member.mtime, member.mtime))
    except BaseException:
        os.unlink(path)
        raise


def _link(directory, parts, target):
    _make_directories(directory, parts[:-1])
    path = os.path.join(directory, *parts)
    if os.path.lexists(path) and not os.path.isdir(path):
        os.unlink(path)
    os.symlink(target, path)
