"""A result → GitHub's workflow commands: lines of a log that become annotations beside the lines they are about.

GitHub shows ten errors and ten warnings of a step; what is left out is counted in an error or warning of its own, and
the step summary (`markdown.py`) says all. Nothing but commands is printed, so that no text of others begins a line.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kcompiler.render.human import inert
from kcompiler.result import ANSWERED_YES, Result, Where

#: annotations of one level that GitHub shows of a step
MOST = 10
_COMMANDS = {"error": "error", "warning": "warning", "note": "notice"}
_FINDINGS = {"evidence": "error", "disagreement": "error", "unfinished": "error", "unsigned": "error", "note": "note"}


class _Note(NamedTuple):
    level: str
    title: str
    said: str
    where: Where
    end: tuple[int, int]


def result(found: Result) -> str:
    """One command a line, errors first. A result of a code that is no yes has at least one error."""
    notes = list(dict.fromkeys(note for part in (found.parts or (found,)) for note in _of(part)))
    if found.code not in ANSWERED_YES and not any(note.level == "error" for note in notes):
        said = found.message or f"outcome={found.word} code={found.code}"
        following = f"\nnext: {found.next}" if found.next else ""
        notes.append(_Note("error", f"kcompiler {found.verb}: {found.word}", said + following, Where(), (0, 0)))
    lines = []
    for level in _COMMANDS:
        alike = [note for note in notes if note.level == level]
        if len(alike) > MOST:
            left = len(alike) - MOST + 1
            said = f"{left} more of level {level} are not shown here; the step summary and the json form have them"
            alike = [*alike[: MOST - 1], _Note(level, "kcompiler: left out", said, Where(), (0, 0))]
        lines += [_command(note, found.root) for note in alike]
    return "".join(f"{line}\n" for line in lines)


def _of(found: Result) -> Iterator[_Note]:
    for one in found.diagnostics:
        said = "\n".join(part for part in (one.summary, one.detail, one.help) if part)
        where = Where(file=one.file, line=one.line, column=one.column)
        yield _Note(one.severity, one.code or "kcompiler", said, where, (one.end_line, one.end_column))
    for outcome in found.outcomes:
        if outcome.status in ("pass", "skipped"):
            continue
        level = "error" if outcome.blocks else "note" if outcome.status == "waived" else "warning"
        facts = f"{outcome.observed}, asked {outcome.threshold}" if outcome.threshold else outcome.observed
        said = "\n".join(part for part in (f"{outcome.status}: {outcome.reason}", facts, outcome.remedy) if part)
        yield _Note(level, f"{outcome.rule} on {outcome.step}", said, outcome.evidence, (0, 0))
    for finding in found.findings:
        yield _Note(_FINDINGS[finding.severity], finding.code, finding.message, finding.where, (0, 0))


def _command(note: _Note, root: str) -> str:
    properties = []
    if note.where.file:
        properties.append(("file", f"{root}/{note.where.file}" if root else note.where.file))
        if note.where.line:
            properties.append(("line", str(note.where.line)))
            if note.where.column:
                properties.append(("col", str(note.where.column)))
            if note.end[0] >= note.where.line:
                properties.append(("endLine", str(note.end[0])))
                if note.end[0] == note.where.line and note.end[1] > note.where.column > 0:
                    properties.append(("endColumn", str(note.end[1])))
    properties.append(("title", note.title))
    told = ",".join(f"{name}={_property(value)}" for name, value in properties)
    return f"::{_COMMANDS[note.level]} {told}::{_data(note.said)}"


def _data(text: str) -> str:
    """The message of a command: GitHub takes back what stands for a percent sign and for ends of lines."""
    shown = "\n".join(inert(line) for line in text.split("\n"))
    return shown.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a command: on one line, and without what ends a property."""
    return _data(inert(text)).replace(":", "%3A").replace(",", "%2C")
