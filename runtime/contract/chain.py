"""Journal events ↔ the lines of an append-only, hash-chained text. Standard library only.

One line is one JSON object. Its last key is `hash`: SHA-256 over the domain `kc.journal.v1`, NUL and the bytes of the
line without that key, so that an auditor needs no canonical form. `prev` is the hash of the line before, `seq` counts
from 1, `fence` never falls. `ts` is for people; nothing depends on it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from runtime.contract import BrokenEvidence, strict_json

GENESIS = "sha256:" + "0" * 64
_DOMAIN = b"kc.journal.v1\0"
_KEYS: Mapping[str, type] = {
    "seq": int,
    "prev": str,
    "run": str,
    "fence": int,
    "ts": str,
    "type": str,
    "data": dict,
}
_TAIL = len(',"hash":"sha256:' + "0" * 64 + '"}')

#: type of a line → what it says
TYPES: Mapping[str, str] = {
    "run_opened": "a writer holds the lease and starts to carry out a lock",
    "step_claimed": "an attempt at a step begins",
    "step_interrupted": "an attempt was stopped by a signal or a budget; its scratch folder is kept",
    "step_killed": "an attempt had no end: what it had spent by its last sign of life",
    "step_failed": "an attempt ended without a result",
    "step_staged": "an attempt has produced all outputs; their digests are known",
    "step_committed": "the outputs are in the store: from here on the step counts as done",
    "step_settled": "somebody said of an attempt without an end that it has no result; its scratch folder is gone",
    "artifact_quarantined": "an artifact no longer had its digest and was moved away",
    "gate_evaluated": "the judge looked at the reports",
    "waiver_used": "a waiver excused a report for the first time: which text of it, and who had approved that",
    "waiver_revoked": "a waiver excuses nothing any more, whatever its file says later",
    "tail_repaired": "an incomplete last line, never acknowledged, was cut",
    "lease_taken": "a writer that did not give the lease back was succeeded, after silence or by hand: whose it was",
    "run_closed": "the writer is done; `head` anchors the line before",
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One verified line."""

    seq: int
    prev: str
    hash: str
    run: str
    fence: int
    ts: str
    type: str
    data: Mapping[str, Any]
    #: the line as it stands in the file, with its line end
    text: bytes


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The verified complete lines of a journal and what follows the last line end."""

    lines: Sequence[Line]
    torn: bytes

    @property
    def head(self) -> str:
        return self.lines[-1].hash if self.lines else GENESIS


def seal(body: Mapping[str, Any]) -> bytes:
    """The line of an event, with `hash` and line end. `body` has exactly the other keys of `Line`."""
    if body.keys() != _KEYS.keys():
        raise ValueError(f"a journal line has the keys {sorted(_KEYS)}, not {sorted(body)}")
    if body["type"] not in TYPES:
        raise ValueError(f"no such type of journal line: {body['type']}")
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    return text[:-1] + b',"hash":"' + _hash(text).encode() + b'"}\n'


def unseal(text: bytes, *, subject: str) -> Line:
    """One line (with its line end) verified by its own hash. Raises BrokenEvidence naming `subject`."""
    stated = text[-_TAIL - 1 :]
    body = text[: -_TAIL - 1] + b"}"
    expected = b',"hash":"' + _hash(body).encode() + b'"}\n'
    if stated != expected:
        raise BrokenEvidence("the line does not have the hash it states", subject=subject)
    try:
        content: Any = strict_json.loads(body)
    except ValueError as error:
        raise BrokenEvidence("the line is not JSON", subject=subject) from error
    if (
        not isinstance(content, dict)
        or content.keys() != _KEYS.keys()
        or any(type(content[key]) is not kind for key, kind in _KEYS.items())
    ):
        raise BrokenEvidence("the line is not a journal event", subject=subject)
    return Line(hash=stated[9:80].decode(), text=text, **content)


def read(data: bytes, *, subject: str = "journal") -> Chain:
    """Every complete line, verified: hash, sequence, link to the line before, fence. Raises BrokenEvidence.

    Bytes after the last line end are returned as `torn`; whether they may be cut is for `check_head` to say.
    """
    *texts, torn = data.split(b"\n")
    lines: list[Line] = []
    prev, fence = GENESIS, 0
    for seq, text in enumerate(texts, start=1):
        place = f"{subject}:{seq}"
        line = unseal(text + b"\n", subject=place)
        if line.seq != seq:
            raise BrokenEvidence(f"the line says it is number {line.seq}", subject=place)
        if line.prev != prev:
            raise BrokenEvidence("the line does not follow the line before it", subject=place)
        if line.fence < fence:
            raise BrokenEvidence(f"the line has fence {line.fence} after fence {fence}", subject=place)
        prev, fence = line.hash, line.fence
        lines.append(line)
    return Chain(lines=lines, torn=torn)


def head_text(seq: int, line_hash: str) -> bytes:
    """The content of the small file that anchors the newest acknowledged line."""
    return (json.dumps({"seq": seq, "hash": line_hash}, sort_keys=True) + "\n").encode()


def check_head(chain: Chain, head: bytes | None, *, subject: str = "journal") -> None:
    """The journal reaches at least to its anchored line. Raises BrokenEvidence when acknowledged lines are missing.

    The anchor is written after each line, so a crash leaves it at most one line behind, and an incomplete line is
    never anchored. `head` is None when the file does not exist: right only for a journal that was just begun.
    """
    if head is None:
        if len(chain.lines) > 1:
            raise BrokenEvidence("the file that anchors the newest line is gone", subject=subject)
        return
    try:
        anchor: Any = strict_json.loads(head)
        seq, line_hash = int(anchor["seq"]), str(anchor["hash"])
    except (ValueError, KeyError, TypeError) as error:
        raise BrokenEvidence("the file that anchors the newest line is not readable", subject=subject) from error
    if seq > len(chain.lines):
        missing = seq - len(chain.lines)
        raise BrokenEvidence(f"{missing} acknowledged line(s) are missing at the end", subject=subject)
    if seq < 1 or chain.lines[seq - 1].hash != line_hash:
        raise BrokenEvidence("the anchored line is not the line of that number", subject=f"{subject}:{seq}")
    if len(chain.lines) - seq > 1:
        raise BrokenEvidence(
            f"{len(chain.lines) - seq} lines follow the anchored line; a crash leaves at most one", subject=subject
        )


def _hash(text: bytes) -> str:
    return "sha256:" + hashlib.sha256(_DOMAIN + text).hexdigest()
