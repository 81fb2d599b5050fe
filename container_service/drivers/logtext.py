# SPDX-License-Identifier: Apache-2.0
"""What a container wrote, from where a reader left off: the same for every engine.

A log is a list of entries that only grows at its end, and loses some at its start when the engine
rotates it.  An engine can be asked for entries from a time on, and for the last so many; nothing
else.  Times alone do not tell where a reader left off: several entries may have one time, and
those of the two streams may be out of order by a little.  So a cursor says "of the entries with
this time or later, the first so many were seen": they are in the order of the log, so what comes
later can only come behind them.  The last one that was seen is in it too, to notice a log that
has lost some of them since.
"""

import array
import collections
import contextlib
import dataclasses
import datetime
import re
import typing
import zlib

from container_service import exceptions

LIMIT_BYTES = 1024 * 1024

# How far back the entries are counted: longer than streams are ever out of order, and shorter
# than much is written in.
_WINDOW = 10 ** 9

STDOUT, STDERR = 'stdout', 'stderr'

_FORM = re.compile(r'([0-9A-Za-z]{1,12})-([0-9]{1,19})-([0-9]{1,12})-([0-9]{1,19})-([0-9a-f]{8})',
                   re.ASCII)


class Entry(typing.NamedTuple):
    """What was written at once: a line, or a piece of one that is very long."""
    time: int                     # nanoseconds since the epoch
    stream: str
    data: bytes

    @property
    def stamp(self):
        """Its time, in UTC."""
        seconds, nanoseconds = divmod(self.time, 10 ** 9)
        moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
        return f'{moment:%Y-%m-%dT%H:%M:%S}.{nanoseconds:09d}Z'

    @property
    def digest(self):
        return f'{zlib.crc32(self.stream.encode() + self.data):08x}'


@dataclasses.dataclass(frozen=True)
class Cursor:
    """Where a reader left off."""
    log: str                      # of which container of the engine
    start: int = 0                # counted are the entries of this time or later
    count: int = 0                # so many of them were seen
    last: int = 0                 # the time of the last of these
    digest: str = '00000000'

    def __str__(self):
        return f'{self.log}-{self.start}-{self.count}-{self.last}-{self.digest}'

    @classmethod
    def parse(cls, text):
        """Raises InvalidParameter."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise exceptions.InvalidParameter(
                name='cursor', reason='must be what an earlier answer gave as cursor')
        log, start, count, last, digest = match.groups()
        return cls(log, int(start), int(count), int(last), digest)

    def ended_with(self, entry):
        return (entry.time, entry.digest) == (self.last, self.digest)


class _Seen:
    """Takes note of the entries that a reader has seen by now; gives the next cursor."""

    def __init__(self, cursor):
        self._cursor = cursor
        self._times = array.array('q')
        self._last = None

    def add(self, entry):
        self._times.append(entry.time)
        self._last = entry

    def cursor(self):
        if self._last is None:
            return self._cursor
        # The last one is among those that are counted, whatever its time.
        start = max(min(max(self._times) - _WINDOW, self._last.time), self._cursor.start)
        return Cursor(self._cursor.log, start, sum(time >= start for time in self._times),
                      self._last.time, self._last.digest)


def answer(read, log, *, stdout, stderr, timestamps, tail, since, cursor):
    """The answer to a request for logs: output, cursor, and whether there was or is more.

    ``read(since, tail)`` yields the entries from a time on, of the last so many; None means no
    bound.  ``log`` tells one container of the engine from another, ``since`` is nanoseconds.
    Raises InvalidParameter.
    """
    log = log[:12]
    text = _Text({STDOUT: stdout, STDERR: stderr}, timestamps)
    if cursor is None:
        found = _last(read, Cursor(log, since or 0), tail, text)
    else:
        for name, value in (('tail', tail), ('since', since)):
            if value is not None:
                raise exceptions.InvalidParameter(name=name, reason='does not go with cursor')
        found = Cursor.parse(cursor)
        # Made anew since: what the one before it wrote last is gone, all of this one is to come.
        found = found if found.log == log else Cursor(log)
        found = _next(read, found, text)
    return {'output': text.decoded(), 'cursor': str(found), 'truncated': text.truncated,
            'more': text.more}


def _last(read, begin, tail, text):
    """Put the end of the log into the text; returns where it ends."""
    seen = _Seen(begin)
    if tail is None:
        for entry in read(begin.start or None, None):
            seen.add(entry)
            text.add(entry)
        return seen.cursor()
    older = list(read(begin.start or None, max(tail, 1)))
    if not older:
        return begin
    # Once more, from a time on: only then is it known how many there are of that time or later.
    newest = max(entry.time for entry in older)
    start = max(newest - _WINDOW, begin.start)
    seen = _Seen(dataclasses.replace(begin, start=start))
    kept = collections.deque((entry for entry in older if entry.time < start), tail)
    for entry in read(start, None):
        seen.add(entry)
        kept.append(entry)
    for entry in kept:
        text.add(entry)
    return seen.cursor()


def _next(read, cursor, text):
    """Put what follows the cursor into the text, as much as goes; returns where that ends."""
    seen, number = _Seen(cursor), 0
    with contextlib.closing(read(cursor.start or None, None)) as entries:
        for entry in entries:
            number += 1
            if number == cursor.count and not cursor.ended_with(entry):
                break
            if number > cursor.count and not text.add_if_room(entry):
                return seen.cursor()
            seen.add(entry)
        else:
            if number >= cursor.count:
                return seen.cursor()
    # The log has lost some of what was counted.
    return _found_again(list(read(cursor.start or None, None)), cursor, text)


def _found_again(entries, cursor, text):
    """As ``_next``, by the last entry that was seen; without it all there is comes later."""
    ends = [at for at, entry in enumerate(entries, 1) if cursor.ended_with(entry)]
    first = ends[-1] if ends else 0
    text.truncated = not ends
    seen = _Seen(cursor)
    for number, entry in enumerate(entries, 1):
        if number > first and not text.add_if_room(entry):
            break
        seen.add(entry)
    return seen.cursor()


class _Text:
    """The entries that are wanted, up to a limit."""

    def __init__(self, wanted, timestamps):
        self._wanted, self._timestamps = wanted, timestamps
        self._pieces, self._size = collections.deque(), 0
        self.truncated = False        # something before it is missing
        self.more = False             # something behind it is left for the next request

    def _piece(self, entry):
        if not self._wanted[entry.stream]:
            return b''
        return (f'{entry.stamp} '.encode() if self._timestamps else b'') + entry.data

    def _add(self, piece):
        self._pieces.append(piece)
        self._size += len(piece)

    def add(self, entry):
        """Add it, and drop from the start what is too much."""
        self._add(self._piece(entry))
        while self._size > LIMIT_BYTES:
            self._size -= len(self._pieces.popleft())
            self.truncated = True

    def add_if_room(self, entry):
        """Add it, or return False."""
        piece = self._piece(entry)
        if self._size and self._size + len(piece) > LIMIT_BYTES:
            self.more = True
            return False
        self._add(piece)
        return True

    def decoded(self):
        return b''.join(self._pieces).decode(errors='replace')
