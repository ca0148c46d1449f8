"""Diagnostics → text for people: what is wrong, the line with carets, what to do, in the manner of rustc and ruff.

Whatever a spec holds is shown inert: control, bidirectional and zero-width characters never reach a terminal.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping

from kcompiler.diagnostic import Diagnostic, Related, Severity
from kcompiler.veil import veiled

_COLORS: Mapping[str, str] = {"error": "1;31", "warning": "1;33", "note": "1;36", "frame": "1;34", "bold": "1"}
_INERT = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_LINE_BREAK = re.compile(r"\r\n|\r|\n")
#: columns of source shown of one line; longer lines are cut around the place
_WINDOW = 110


def diagnostics(found: Iterable[Diagnostic], sources: Mapping[str, bytes], *, color: bool = False) -> str:
    """Every diagnostic in the order given, then how many there are. `sources` maps a shown file to its bytes."""
    items = list(found)
    lines = {name: _LINE_BREAK.split(data.decode("utf-8", "replace")) for name, data in sources.items()}
    blocks = ["\n".join(_block(item, lines, _Paint(color))) + "\n" for item in items]
    return "\n".join([*blocks, summary(items) + "\n"]) if items else ""


def summary(found: Iterable[Diagnostic]) -> str:
    """`2 errors, 1 note`."""
    severities: tuple[Severity, ...] = ("error", "warning", "note")
    counted = dict.fromkeys(severities, 0)
    for item in found:
        counted[item.severity] += 1
    said = [f"{n} {severity}{'s' if n > 1 else ''}" for severity, n in counted.items() if n]
    return ", ".join(said) or "no mistakes"


class _Paint:
    def __init__(self, color: bool) -> None:
        self._color = color

    def __call__(self, text: str, kind: str) -> str:
        return f"\x1b[{_COLORS[kind]}m{text}\x1b[0m" if self._color else text


def _block(item: Diagnostic, lines: Mapping[str, list[str]], paint: _Paint) -> Iterator[str]:
    code = f"[{item.code}]" if item.code else ""
    yield f"{paint(f'{item.severity}{code}', item.severity)}{paint(': ' + inert(item.summary), 'bold')}"
    deepest = max([item.line, *(other.line for other in item.related)], default=0)
    gutter = " " * len(str(deepest))
    if item.file:
        yield f"{gutter}{paint('-->', 'frame')} {inert(item.place)}"
    bar = paint("|", "frame")
    yield from _snippet(item, item.label, "^", item.severity, gutter, lines, paint)
    for other in item.related:
        yield f"{gutter}{paint(':::', 'frame')} {inert(other.file)}:{other.line}:{other.column}"
        yield from _snippet(other, other.message, "-", "frame", gutter, lines, paint)
    if item.line and item.file in lines:
        yield f"{gutter} {bar}"
    if item.detail:
        yield f"{paint('note', 'note')}: {inert(item.detail)}"
    if item.help:
        yield f"{paint('help', 'note')}: {inert(item.help)}"
    for note in item.notes:
        yield f"{paint('note', 'note')}: {inert(note)}"


def _snippet(
    item: Diagnostic | Related,
    label: str,
    mark: str,
    kind: str,
    gutter: str,
    lines: Mapping[str, list[str]],
    paint: _Paint,
) -> Iterator[str]:
    """The source line of a place, with marks under it."""
    known = lines.get(item.file, [])
    bar = paint("|", "frame")
    if not 1 <= item.line <= len(known):
        if label:
            yield f"{gutter} {paint('=', 'frame')} {inert(label)}"
        return
    line = veiled(known[item.line - 1])
    several = isinstance(item, Diagnostic) and item.end_line > item.line
    start = item.column - 1
    end = len(line.rstrip()) if several else min(item.end_column - 1, len(line))
    line, start, end = _window(line, start, max(end, start + 1))
    before, marked = _shown(line[:start]), _shown(line[start:end])
    marks = mark * max(1, _width(marked))
    yield f"{gutter} {bar}"
    yield f"{paint(str(item.line).rjust(len(gutter)), 'frame')} {bar} {_shown(line).rstrip()}"
    yield f"{gutter} {bar} {' ' * _width(before)}{paint((marks + ' ' + inert(label)).rstrip(), kind)}"


def _window(line: str, start: int, end: int) -> tuple[str, int, int]:
    """A line cut to the columns around a place, with its new start and end."""
    if len(line) <= _WINDOW:
        return line, start, end
    first = max(0, min(start - _WINDOW // 2, len(line) - _WINDOW))
    last = first + _WINDOW
    head, tail = "…" if first else "", "…" if last < len(line) else ""
    shift = len(head) - first
    return head + line[first:last] + tail, start + shift, min(end, last) + shift


def _shown(text: str) -> str:
    """Source text, one column for each character that has no shape of its own."""
    return _INERT.sub("\ufffd", text.replace("\t", "→"))


def _width(text: str) -> int:
    """Columns a terminal gives to a text."""
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def inert(text: str) -> str:
    """A message in which nothing invisible is left: line breaks and controls become escapes."""
    return _INERT.sub(lambda match: _escape(match[0]), text)


def _escape(character: str) -> str:
    known = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}
    return known.get(character) or (f"\\x{ord(character):02x}" if ord(character) < 256 else f"\\u{ord(character):04x}")


_DIGEST = re.compile(r"sha256:([0-9a-f]{8})[0-9a-f]{52}([0-9a-f]{4})")


def shortened(text: str) -> str:
    """A text in which every digest is written by its first and last digits."""
    return _DIGEST.sub(r"\1…\2", text)
