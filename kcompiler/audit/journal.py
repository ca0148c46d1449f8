"""Bytes of a journal → its verified lines, without the code that wrote them.

Written a second time on purpose: an auditor who runs the writer's own check learns only that the writer agrees with
itself. The format is the one runtime/contract/chain.py describes: one JSON object per line, its last key `hash` being
SHA-256 over "kc.journal.v1", NUL and the line without that key; `prev` links to the line before, `seq` counts from 1.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kcompiler.audit.finding import Finding, broken, note
from runtime.contract import strict_json

_FIRST = "sha256:" + 64 * "0"
_LINE = re.compile(rb'(?P<body>\{.*),"hash":"(?P<hash>sha256:[0-9a-f]{64})"\}\Z', re.DOTALL)
_KEYS = {"seq": int, "prev": str, "run": str, "fence": int, "ts": str, "type": str, "data": dict}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line whose own hash is right."""

    number: int
    text: bytes
    hash: str
    content: Mapping[str, Any]

    @property
    def type(self) -> str:
        return str(self.content["type"])

    @property
    def data(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.content["data"]
        return found


def line_of(text: bytes, number: int) -> Line | str:
    """A line (without its line end), or what is wrong with it."""
    match = _LINE.fullmatch(text)
    if match is None:
        return "not a journal line"
    body = match["body"] + b"}"
    stated = match["hash"].decode()
    if "sha256:" + hashlib.sha256(b"kc.journal.v1\0" + body).hexdigest() != stated:
        return "the line does not have the hash it states"
    try:
        content = strict_json.loads(body)
    except ValueError as reason:
        return f"not strict JSON: {reason}"
    if not isinstance(content, dict) or content.keys() != _KEYS.keys():
        return "the line has other keys than a journal line"
    if any(type(content[key]) is not kind for key, kind in _KEYS.items()):
        return "a key of the line has the wrong type"
    return Line(number=number, text=text, hash=stated, content=content)


def chain(data: bytes, head: bytes | None, subject: str) -> tuple[Sequence[Line], list[Finding]]:
    """The lines up to the first that is wrong, and every finding about chain, order and anchor."""
    *texts, torn = data.split(b"\n")
    lines: list[Line] = []
    prev, fence = _FIRST, 0
    for number, text in enumerate(texts, start=1):
        line = line_of(text, number)
        problem = line if isinstance(line, str) else _breaks(line, prev, fence)
        if isinstance(line, str) or problem:
            return lines, [broken("KA11", f"{subject}:{number}", str(problem))]
        lines.append(line)
        prev, fence = line.hash, int(line.content["fence"])
    found = (
        [note(f"{subject}:{len(texts) + 1}", "an incomplete last line, which was never acknowledged")] if torn else []
    )
    problem = _anchor(lines, head)
    return lines, [*found, broken("KA11", subject, problem)] if problem else found


def _breaks(line: Line, prev: str, fence: int) -> str:
    if line.content["seq"] != line.number:
        return f"the line says it is number {line.content['seq']}"
    if line.content["prev"] != prev:
        return "the line does not follow the line before it"
    if line.content["fence"] < fence:
        return f"an older writer wrote after a newer one (fence {line.content['fence']} after {fence})"
    return ""


def _anchor(lines: Sequence[Line], head: bytes | None) -> str:
    """What the anchor of the newest line says against the lines; a crash leaves it at most one line behind."""
    if head is None:
        return "" if len(lines) < 2 else "the file that anchors the newest line is gone"
    try:
        anchor = strict_json.loads(head)
    except ValueError:
        return "the file that anchors the newest line cannot be read"
    if not isinstance(anchor, dict) or not isinstance(anchor.get("seq"), int) or isinstance(anchor["seq"], bool):
        return "the file that anchors the newest line cannot be read"
    seq = int(str(anchor["seq"]))
    if seq > len(lines):
        return f"{seq - len(lines)} acknowledged line(s) are missing at the end"
    if seq < 1 or lines[seq - 1].hash != anchor.get("hash"):
        return f"line {seq} is not the one that was anchored"
    if len(lines) > seq + 1:
        return f"{len(lines) - seq} lines follow the anchored one; a crash leaves at most one"
    return ""
