# SPDX-License-Identifier: Apache-2.0
"""A host: one shipped command, with a configuration and a state directory of its own.

Whatever it talks to it reaches through links, each of which can be hurt alone.  A conductor is in
a network namespace, so that there is no other way.  The API stays outside: clients must reach it,
and it needs nothing but database and broker, whose addresses it knows from its links only.
"""

import dataclasses
import pathlib
import signal
import sys

from faults import namespace
from faults import process

# Where each part is found on 127.0.0.1 in a namespace.
PORTS = {'database': 3306, 'broker': 5672, 'one': 2375, 'two': 2376}


@dataclasses.dataclass(frozen=True)
class Part:
    """Something to reach: its address, and the protocol that a fault may have to know."""
    address: str
    protocol: str = None


class Host:
    """``parts`` is {name: Part}; ``links`` are the links to them, by the same names.

    ``settings(ports)`` gives the configuration, {section: {option: value}}, when it starts.
    """

    def __init__(self, name, command, directory, proxy, parts, settings, isolated):
        self.name, self._command = name, command
        # For its next start: the bug in it, what else sabotaged.py does to it, variables beside
        # ours, and options, as ``settings`` gives them.
        self.bug, self.patch, self.environ, self.options = None, None, {}, {}
        self._settings = settings
        self.directory = pathlib.Path(directory) / name
        self.directory.mkdir()
        self.log = self.directory / 'log'
        self.process = None
        self.namespace = None
        listeners = dict.fromkeys(parts, '127.0.0.1:0')
        if isolated:
            self.namespace = namespace.Namespace([PORTS[part] for part in parts])
            listeners = {part: self.namespace.listeners[PORTS[part]] for part in parts}
        self.links = {part: proxy.link(f'{name}-{part}', listeners[part], about.address,
                                       about.protocol)
                      for part, about in parts.items()}
        self._ports = {part: int(link.address.rpartition(':')[2])
                       for part, link in self.links.items()}

    def __str__(self):
        return self.name

    # Its process.

    def write_conf(self):
        """Write its configuration as it is to be now; returns the path."""
        path = self.directory / 'container-service.conf'
        settings = self._settings(self._ports)
        for name, values in self.options.items():
            settings[name] = {**settings.get(name, {}), **values}
        path.write_text('\n'.join(
            f'[{name}]\n' + ''.join(f'{key} = {value}\n' for key, value in values.items())
            for name, values in settings.items()))
        return path

    def start(self):
        """Start the command; returns at once."""
        arguments = ['--config-file', self.write_conf()]
        if self.bug or self.patch:
            patches = ','.join(filter(None, (self.bug, self.patch)))
            command = [sys.executable, '-m', 'faults.sabotaged', patches, self._command]
        else:
            command = [pathlib.Path(sys.executable).parent / self._command]
        command, fds = [*command, *arguments], []
        if self.namespace:
            command, fds = self.namespace.inside(command), self.namespace.fds
        self.process = process.Process(
            self.name, command, self.log, pass_fds=fds,
            environ={'TZ': 'UTC', **self.environ})

    def running(self):
        return self.process is not None and self.process.alive()

    def kill(self):
        self.process.kill()

    def freeze(self):
        self.process.signal(signal.SIGSTOP)

    def thaw(self):
        self.process.signal(signal.SIGCONT)

    def stop(self, seconds=30):
        """SIGTERM; returns its exit status."""
        return self.process.stop(seconds)

    # Its links.

    def heal(self):
        for link in self.links.values():
            link.heal()

    def close(self):
        # Nobody needs what it would do in good order.
        if self.process is not None:
            self.process.kill()
        if self.namespace:
            self.namespace.close()
