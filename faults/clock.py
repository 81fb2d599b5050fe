# SPDX-License-Identifier: Apache-2.0
"""Wall clocks that are wrong, each in the processes of one part only."""

import shutil
import struct

from faults import process


class Clock:
    """A clock of its own for whatever is started with ``environ``; right until ``jump``."""

    def __init__(self, directory, name):
        library = directory / 'clock.so'
        if not library.exists():
            compiler = shutil.which('cc') or shutil.which('gcc')
            if compiler is None:
                raise process.Broken('needs a C compiler: apt-get install gcc libc6-dev')
            process.run([compiler, '-shared', '-fPIC', '-O2', '-Wall', '-o', library,
                         process.ROOT / 'faults' / 'clock.c'])
        self._file = directory / f'{name}.clock'
        self.jump(0)
        # A server may run as a user of its own.
        directory.chmod(0o755)
        self.environ = {'LD_PRELOAD': str(library), 'FAULTS_CLOCK': str(self._file)}

    def jump(self, seconds):
        """Be wrong by so much from now on."""
        with open(self._file, 'r+b' if self._file.exists() else 'wb') as file:
            file.write(struct.pack('q', seconds * 10 ** 9))
