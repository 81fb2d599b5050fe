# SPDX-License-Identifier: Apache-2.0
"""Broker and databases of this run, which may be hurt: those that tools/faults.sh has started."""

import os
import signal

from faults import process


class Service:
    """One of ``rabbitmq``, ``mariadb``, ``postgresql``."""

    def __init__(self, name):
        if not os.environ.get('CS_FAULTS_OWN_SERVICES'):
            raise process.Broken('start it with tools/faults.sh: services that others use too '
                                 'must not be hurt')
        self.name = name

    def _run(self, command, **environ):
        return process.run([os.environ['CS_TEST_SERVICES'], command, self.name], seconds=180,
                           env={**os.environ, **environ})

    def start(self, **environ):
        """Start it, with these variables beside ours."""
        self._run('start', **environ)

    def stop(self):
        """An orderly end."""
        self._run('stop')

    def kill(self):
        self._run('kill')

    def signal(self, number):
        pid = self._run('pid').strip()
        process.run(process.as_root(['kill', f'-{int(number)}', pid]))

    def freeze(self):
        self.signal(signal.SIGSTOP)

    def thaw(self):
        self.signal(signal.SIGCONT)
