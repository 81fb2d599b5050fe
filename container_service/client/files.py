# SPDX-License-Identifier: Apache-2.0
"""``cp``: files between here and a container, as tar archives; packing them is in tarballs.py."""

import base64
import os
import posixpath
import uuid

from container_service import operations
from container_service.client import actions
from container_service.client import asking
from container_service.client import base
from container_service.client import derived
from container_service.client import outcomes
from container_service.client import tarballs
from container_service.client import words

STDIO = '-'
_NO_DIRECTORY = 'path_not_found'


class Copy(actions.WaitingCommand):
    """Copy files between a container and here, directories with all that is in them.

    One of SOURCE and DESTINATION is CONTAINER:PATH. In a DESTINATION that is a directory the copy
    has the name of the source; one that does not exist becomes the copy. With - for the other, a
    tar archive is read from standard input and unpacked in the directory PATH, or is written to
    standard output.
    """

    arguments = 'SOURCE DESTINATION'
    _epilog = ('A path here that has a colon in it begins with / or ./, and so does one that is '
               'called -.\nExit status: 0 copied, 1 failed, 2 wrong usage.')

    def add_arguments(self, parser):
        super().add_arguments(parser)
        parser.add_argument('-L', '--follow-link', action='store_true',
                            help='If SOURCE here is a symbolic link, copy what it leads to.')
        parser.add_argument('source', metavar='SOURCE',
                            help='What to copy: CONTAINER:PATH, a path here, or - for a tar '
                                 'archive.')
        parser.add_argument('destination', metavar='DESTINATION',
                            help='Where to: a path here, CONTAINER:PATH, or - for a tar archive.')

    def take_action(self, parsed_args):
        source, destination = parsed_args.source, parsed_args.destination
        there, here = _in_container(source), _in_container(destination)
        if bool(there) == bool(here):
            raise base.UsageError('One of SOURCE and DESTINATION must be CONTAINER:PATH.')
        try:
            if there:
                return self._get(*there, destination)
            return self._put(source, *here, parsed_args.follow_link)
        except (tarballs.Unsafe, OSError) as exc:
            self.say(f'{exc.strerror}: {exc.filename}' if isinstance(exc, OSError) else str(exc))
            return outcomes.EXIT_FAILED

    # From a container.

    def _get(self, container, path, destination):
        answer = derived.ask(self.client, operations.OPERATIONS['get_archive'], container,
                             {'path': path})
        data = base64.b64decode(answer['data'])
        if destination == STDIO:
            return self._write_out(data)
        name, is_directory = tarballs.top(data)
        if os.path.isdir(destination):
            directory, rename = destination, None
        else:
            directory, rename = os.path.split(destination.rstrip('/'))
            if not os.path.isdir(directory or '.') or (
                    destination.endswith('/') and not is_directory):
                raise base.UsageError(f'{destination}: there is no such directory.')
            if os.path.lexists(destination) and is_directory:
                raise base.UsageError(f'{destination} is a file; a directory cannot replace it.')
            if name == '.':             # what is in a directory: has no top to be renamed
                os.mkdir(destination)
                directory, rename = destination, None
        tarballs.unpack(data, directory or '.', rename)
        self._tell(data, destination)

    def _write_out(self, data):
        if self.app.stdout.isatty():
            raise base.UsageError('A tar archive does not belong on a terminal; redirect the '
                                  'output.')
        self.app.stdout.flush()
        binary = getattr(self.app.stdout, 'buffer', None)
        binary.write(data)
        binary.flush()

    # Into a container.

    def _put(self, source, container, path, follow_link):
        if source == STDIO:
            data = self.app.stdin.buffer.read()
            return self._send(container, path, data, path)
        plain, contents = source.rstrip('/'), source.endswith('/.')
        if contents:
            plain = source[:-2].rstrip('/')
        name = '.' if contents else os.path.basename(os.path.abspath(plain or '/'))
        data = tarballs.pack(plain or '/', name, follow_link or contents)
        into, called = posixpath.split(path.rstrip('/') or '/')
        if path.endswith('/') or not called:
            return self._send(container, path, data, path)
        # As a directory first, which only the engine can know; else as the name of the copy.
        code, action, lines = self._ask(container, path, data)
        if (action.get('error') or {}).get('code') == _NO_DIRECTORY:
            data = tarballs.pack(plain or '/', called, follow_link or contents)
            return self._send(container, into or '.', data, path)
        self._end(code, lines, data, path)
        return code

    def _send(self, container, into, data, path):
        code, _, lines = self._ask(container, into, data)
        self._end(code, lines, data, path)
        return code

    def _end(self, code, lines, data, path):
        self.say(*lines)
        if code == outcomes.EXIT_SUCCESS:
            self._tell(data, path)

    def _ask(self, container, into, data):
        """Unpack an archive in a directory of a container; return what ``wait_for`` does."""
        operation = operations.OPERATIONS['put_archive']
        action, _ = asking.change(
            self.client, operation.http_method, actions.path_of(operation, container),
            key=str(uuid.uuid4()), on_trouble=self.tell_trouble,
            body={'path': into, 'data': base64.b64encode(data).decode()})
        return self.wait_for(action)

    def _tell(self, data, where):
        if self.app.stderr.isatty():
            self.say(f'Copied {words.size(len(data))} to {where}')


def _in_container(text):
    """(container, path) of CONTAINER:PATH; None for a path here.  Raises UsageError."""
    container, colon, path = text.partition(':')
    if not colon or text.startswith(('/', '.')):
        return None
    if not container.strip('.') or not path:
        raise base.UsageError(f'{text!r} must be CONTAINER:PATH.')
    return container, path
