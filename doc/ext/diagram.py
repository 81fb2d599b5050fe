# SPDX-License-Identifier: Apache-2.0
"""The state diagram of a container as SVG, drawn from the operation table.

A column for each status, a line for each operation: rings where it may begin, a diamond for the
status while it runs, a disc where it ends.  Nothing is placed by hand, so a new row of the table
is a new line of the picture.  Needs nothing but the package.
"""

import dataclasses
from xml.sax import saxutils

from container_service import operations
from container_service import states

# In the order of states.py, which is that of a container's life.
STATUSES = [value for value in vars(states).values()
            if isinstance(value, str) and value in states.CONTAINER_STATUSES]

NOTHING = 'no container'

_LEFT, _COLUMN, _TOP, _ROW = 165, 62, 105, 34
_STYLE = ('font-family="sans-serif" font-size="14" fill="none" stroke="currentColor" '
          'stroke-width="1.5"')


@dataclasses.dataclass(frozen=True)
class Line:
    """One line: ``name`` leads from each of ``sources`` by way of ``during`` to ``target``.

    ``target`` None: it leaves the status as it is.
    """
    name: str
    sources: tuple
    during: str
    target: str


def lines():
    """What is drawn, one Line per asynchronous operation and per parameter that allows more."""
    found = []
    for op in operations.of_kind(operations.ASYNC):
        defaults = {param.name: param.default for param in op.params}
        target = op.target_for(defaults, None)
        sources = tuple(status for status in STATUSES if status in op.allowed)
        found.append(Line(op.name, sources or (NOTHING,), op.during, target))
        shown = op.allowed
        for name, more in op.allowed_with.items():
            sources = tuple(status for status in STATUSES if status in more - shown)
            shown = shown | more
            found.append(Line(f'{op.name}, {name}', sources, op.during, target))
    return found


def svg():
    """The picture, as lines of SVG that can stand in HTML."""
    drawn = lines()
    used = {status for line in drawn for status in (*line.sources, line.during, line.target)}
    columns = [NOTHING, *(status for status in STATUSES if status in used)]
    x_of = {status: _LEFT + _COLUMN * number for number, status in enumerate(columns)}
    width, height = _LEFT + _COLUMN * len(columns) + 15, _TOP + _ROW * len(drawn) + 10
    yield (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
           f'width="100%" style="max-width: {width}px" role="img" {_STYLE}>')
    yield '<title>What leads a container from which status to which</title>'
    for status, x in x_of.items():
        yield (f'<line x1="{x}" y1="{_TOP - 12}" x2="{x}" y2="{height}" '
               'stroke-width="1" stroke-opacity="0.3"/>')
        yield _text(x + 3, _TOP - 18, status, f'transform="rotate(-40 {x + 3} {_TOP - 18})"')
    for number, line in enumerate(drawn):
        yield from _line(line, _TOP + _ROW * number + _ROW // 2, x_of)
    yield '</svg>'


def _line(line, y, x_of):
    if line.target is None:
        for source in line.sources:
            yield from _line(dataclasses.replace(line, sources=(source,), target=source), y, x_of)
        return
    target = x_of[line.target]
    gap = 12 if line.target in line.sources else 8
    yield _text(5, y + 5, line.name)
    ends = [x_of[source] for source in line.sources]
    if line.during:
        ends.append(x_of[line.during])
    for end in {min(*ends, target), max(*ends, target)} - {target}:
        yield f'<line x1="{end}" y1="{y}" x2="{target}" y2="{y}"/>'
        side = -1 if end < target else 1
        tip, back = target + side * gap, target + side * (gap + 10)
        yield f'<path fill="currentColor" d="M{tip} {y} L{back} {y - 5} L{back} {y + 5} Z"/>'
    for source in line.sources:
        x = x_of[source]
        radius = 11 if source == line.target else 6
        yield f'<circle cx="{x}" cy="{y}" r="{radius}" fill="white"/>'
    if line.during:
        x = x_of[line.during]
        yield (f'<path fill="currentColor" d="M{x - 7} {y} L{x} {y - 7} L{x + 7} {y} '
               f'L{x} {y + 7} Z"/>')
    yield f'<circle cx="{target}" cy="{y}" r="7" fill="currentColor"/>'


def _text(x, y, text, more=''):
    return (f'<text x="{x}" y="{y}" fill="currentColor" stroke="none" {more}>'
            f'{saxutils.escape(text)}</text>')
