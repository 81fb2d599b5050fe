# SPDX-License-Identifier: Apache-2.0
"""A file system that is small, in the place of a directory, and that can be full."""

import pathlib

from faults import process

# What there is beside what the directory holds: more than a server needs to start.
_ROOM = 48 * 2 ** 20


class Small:
    """A directory on a small file system while the context lasts; nobody may use it when that
    begins and ends.  ``mounted_on`` is where that is made.  It needs root, or sudo that does not
    ask.
    """

    def __init__(self, directory, mounted_on):
        self._directory, self._mounted_on = pathlib.Path(directory), pathlib.Path(mounted_on)

    def __enter__(self):
        used = int(_root('du', '-sb', self._directory).split()[0])
        self._mounted_on.mkdir()
        _root('mount', '-t', 'tmpfs', '-o', f'size={used + _ROOM}', 'tmpfs', self._mounted_on)
        try:
            _root('cp', '-a', f'{self._directory}/.', self._mounted_on)
            _root('mount', '--bind', self._mounted_on, self._directory)
        except process.Broken:
            _root('umount', self._mounted_on)
            raise
        return self

    def __exit__(self, *exc_info):
        self.free()
        _root('umount', self._directory)
        # What was written there must not be lost.
        _root('find', self._directory, '-mindepth', '1', '-delete')
        _root('cp', '-a', f'{self._mounted_on}/.', self._directory)
        _root('umount', self._mounted_on)

    def fill(self):
        """Leave no room."""
        _root('sh', '-c', f'cat /dev/zero >{self._directory}/filler || :')

    def free(self):
        _root('rm', '-f', self._directory / 'filler')


def _root(*command):
    return process.run(process.as_root([str(word) for word in command]))
