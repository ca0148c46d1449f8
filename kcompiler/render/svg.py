"""A picture → SVG text: columns by level, rows by barycentre, long lines bent around the boxes between their ends.

Sugiyama's method with the simplest choice at each stage: the levels are given, a line over several levels gets a bend
in each column it crosses, and columns are sorted by the mean place of their neighbours. Nothing in it is random.
"""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from kcompiler.render.human import inert
from kcompiler.render.picture import Box, Line, Picture

#: pixels
_CHARACTER, _HEIGHT, _BEND, _GAP_X, _GAP_Y, _MARGIN = 7.3, 40, 6, 56, 16, 16
#: sweeps over the columns; crossings hardly change after that
_SWEEPS = 8
_STYLE = (
    "text{font:12px ui-monospace,monospace;fill:#57606a}.k{fill:#7d8590;font-size:10px}"
    ".n{fill:#7d8590;fill-opacity:.10}.e{fill:none;stroke:#7d8590;stroke-opacity:.7}"
    "@media(prefers-color-scheme:dark){text{fill:#c9d1d9}.k{fill:#8b949e}}"
)

#: a box by its name, or the bend of a line in a column by (number of the line, level)
_Slot = str | tuple[int, int]


@dataclass(frozen=True)
class _Layout:
    """`x` and `width` by level, `y` is the middle of a slot."""

    x: Mapping[int, float]
    width: Mapping[int, float]
    y: Mapping[_Slot, float]
    total: float
    height: float


def draw(
    picture: Picture, colors: Mapping[str, str], below: Callable[[Box], str], caption: str, *, style: bool = True
) -> str:
    """The same picture gives the same text. Names are escaped; there is no script, link, font or image in it. Without
    `style` the page that holds it says how its classes look."""
    level = {box.name: box.level for box in picture.boxes}
    chains = [_chain(number, line, level) for number, line in enumerate(picture.lines)]
    place = _layout(_columns(picture, chains), picture, below)
    # the caption may be wider than the boxes
    total = max(place.total, 2 * _MARGIN + 6.2 * len(inert(caption)) + 90)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{total:.0f}" height="{place.height + 24:.0f}" '
        f'viewBox="0 0 {total:.0f} {place.height + 24:.0f}" role="img">',
        f"<title>{_escape(caption)}</title>{f'<style>{_STYLE}</style>' if style else ''}",
        *(_curve(line, chain, level, place) for line, chain in zip(picture.lines, chains, strict=True)),
        *(text for box in picture.boxes for text in _box(box, place, colors, below(box))),
        f'<text class="k" x="{_MARGIN}" y="{place.height + 10:.0f}">critical path: {_escape(caption)}</text>',
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _chain(number: int, line: Line, level: Mapping[str, int]) -> list[_Slot]:
    """Both ends of a line and its bends between them."""
    between = range(level[line.source] + 1, level[line.target])
    return [line.source, *((number, column) for column in between), line.target]


def _columns(picture: Picture, chains: Sequence[Sequence[_Slot]]) -> dict[int, list[_Slot]]:
    """Slots by level, sorted to cross little: by the mean place of their neighbours, sweeping right and left."""
    columns: dict[int, list[_Slot]] = {}
    for box in picture.boxes:
        columns.setdefault(box.level, []).append(box.name)
    before: dict[_Slot, list[_Slot]] = {}
    after: dict[_Slot, list[_Slot]] = {}
    for chain in chains:
        for slot in chain[1:-1]:
            assert isinstance(slot, tuple)
            columns.setdefault(slot[1], []).append(slot)
        for left, right in pairwise(chain):
            before.setdefault(right, []).append(left)
            after.setdefault(left, []).append(right)
    order = sorted(columns)
    row = {slot: _middle(i, len(columns[level])) for level in order for i, slot in enumerate(columns[level])}
    for sweep in range(_SWEEPS):
        near = before if sweep % 2 == 0 else after
        for level in order if sweep % 2 == 0 else reversed(order):
            means = {slot: _mean([row[other] for other in near.get(slot, [])], row[slot]) for slot in columns[level]}
            columns[level].sort(key=lambda slot: (means[slot], str(slot)))
            row |= {slot: _middle(i, len(columns[level])) for i, slot in enumerate(columns[level])}
    return {level: columns[level] for level in order}


def _middle(index: int, count: int) -> float:
    """The row counted from the middle of its column, since columns are centred."""
    return index - (count - 1) / 2


def _mean(rows: Sequence[float], default: float) -> float:
    return sum(rows) / len(rows) if rows else default


def _layout(columns: Mapping[int, Sequence[_Slot]], picture: Picture, below: Callable[[Box], str]) -> _Layout:
    boxes = {box.name: box for box in picture.boxes}
    heights = {level: sum(_tall(slot) + _GAP_Y for slot in slots) - _GAP_Y for level, slots in columns.items()}
    height = 2 * _MARGIN + max(heights.values(), default=0)
    x: dict[int, float] = {}
    widths: dict[int, float] = {}
    y: dict[_Slot, float] = {}
    left = float(_MARGIN)
    for level, slots in columns.items():
        texts = [inert(text) for slot in slots if isinstance(slot, str) for text in (slot, below(boxes[slot]))]
        x[level], widths[level] = left, _CHARACTER * max(map(len, texts), default=0) + 20
        left += widths[level] + _GAP_X
        top = (height - heights[level]) / 2
        for slot in slots:
            y[slot] = top + _tall(slot) / 2
            top += _tall(slot) + _GAP_Y
    return _Layout(x, widths, y, left - _GAP_X + _MARGIN, height)


def _tall(slot: _Slot) -> int:
    return _HEIGHT if isinstance(slot, str) else _BEND


def _curve(line: Line, chain: Sequence[_Slot], level: Mapping[str, int], place: _Layout) -> str:
    points: list[tuple[float, float]] = []
    for slot in chain:
        column = level[slot] if isinstance(slot, str) else slot[1]
        left, right = place.x[column], place.x[column] + place.width[column]
        # a bend is as wide as its column, so that the line passes beside the boxes there
        edges = [right] if slot == line.source else [left] if slot == line.target else [left, right]
        points += [(edge, place.y[slot]) for edge in edges]
    (x, y), parts = points[0], [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for nx, ny in points[1:]:
        half = (nx - x) / 2
        parts.append(f"C{x + half:.1f} {y:.1f} {nx - half:.1f} {ny:.1f} {nx:.1f} {ny:.1f}")
        x, y = nx, ny
    dash = "" if line.carries else ' stroke-dasharray="4 3"'
    carried = _escape(", ".join(line.carries) or "precondition")
    wide = 2.5 if line.critical else 1
    return f'<path class="e" stroke-width="{wide}"{dash} d="{"".join(parts)}"><title>{carried}</title></path>'


def _box(box: Box, place: _Layout, colors: Mapping[str, str], below: str) -> list[str]:
    x, y, width = place.x[box.level], place.y[box.name] - _HEIGHT / 2, place.width[box.level]
    return [
        f'<rect class="n" x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{_HEIGHT}" rx="5" '
        f'stroke="{colors[box.action]}" stroke-width="{2.5 if box.critical else 1}"/>',
        f'<text x="{x + 10:.1f}" y="{y + 17:.1f}">{_escape(box.name)}</text>',
        f'<text class="k" x="{x + 10:.1f}" y="{y + 31:.1f}">{_escape(below)}</text>',
    ]


def _escape(text: str) -> str:
    return html.escape(inert(text))
