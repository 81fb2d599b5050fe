# SPDX-License-Identifier: Apache-2.0
"""What is seen on a terminal while an action is waited for.

Never anything but a terminal: what is redirected gets the result only.
"""

import os
import time

from container_service.client import wait
from container_service.client import words
from container_service.states import QUEUED


def on(stream):
    """A context manager with ``show(action)`` and ``trouble(error)``.

    Its ``wait_seconds`` are how long the service may take to tell something new.
    """
    if stream.isatty() and os.environ.get('TERM') != 'dumb':
        return _Terminal(stream)
    return _Nothing()


def line(action):
    """What an action is doing, in one line."""
    what = words.cli_name(action['operation'])
    subject = action.get('container_name') or action.get('container_uuid') or ''
    waiting = action.get('waiting') or {}
    progress = action.get('progress') or {}
    doing = action['status'] if action['status'] == QUEUED else action.get('stage')
    if progress.get('image') and waiting.get('code') in (None, 'working', 'shared_pull'):
        doing = words.pulling(progress)
    # That a conductor is at it goes without saying.
    elif waiting.get('detail') and waiting.get('code') != 'working':
        doing = f'{doing or action["status"]}, {waiting["detail"]}'
    return f'{what} {subject}: {doing or action["status"]}'


class _Nothing:
    wait_seconds = wait.LONGEST_WAIT_SECONDS

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def show(self, action, before=''):
        pass

    def trouble(self, error):
        pass


class _Terminal:
    """A line that turns, with a bar while an image is pulled; it leaves nothing behind."""

    wait_seconds = 1

    def __init__(self, stream):
        # Here, not above: only who waits at a terminal pays for the import.
        from rich import console
        from rich import live
        from rich import progress_bar
        from rich import spinner
        from rich import table
        from rich import text
        self._progress_bar, self._table, self._text = progress_bar, table, text
        self._spinner = spinner.Spinner('dots')
        self._live = live.Live(console=console.Console(file=stream), transient=True)
        self._started = time.monotonic()

    def __enter__(self):
        self._live.start()
        return self

    def __exit__(self, *_):
        self._live.stop()

    def show(self, action, before=''):
        self._draw(before + line(action), action.get('progress') or {})

    def trouble(self, error):
        self._draw(f'{error} Trying again.', {})

    def _draw(self, sentence, progress):
        seconds = int(time.monotonic() - self._started)
        row = self._table.Table.grid(padding=(0, 1))
        parts = [self._spinner]
        if progress.get('bytes_total'):
            parts.append(self._progress_bar.ProgressBar(
                total=progress['bytes_total'], completed=progress.get('bytes') or 0, width=16))
        for _ in parts:
            row.add_column()
        row.add_column(no_wrap=True, overflow='ellipsis')
        # Text, not a string: brackets in a name are not markup.
        row.add_row(*parts, self._text.Text(f'{sentence} ({seconds} s)'))
        self._live.update(row, refresh=True)
