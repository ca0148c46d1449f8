"""Values → JSON for programs: one object per line, keys sorted, so that two runs can be compared byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kcompiler.diagnostic import Diagnostic
from kcompiler.lock import difference

if TYPE_CHECKING:
    from kcompiler.audit import Audit
    from kcompiler.delta import Entry



def diagnostics(found: Iterable[Diagnostic]) -> str:
    """One line per diagnostic, in the order given. Lines and columns count from 1, offsets from 0, all in characters;
    ends are exclusive; `line` 0 is the file as a whole."""
    return "".join(_line(asdict(item)) for item in found)


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def plan(made: Mapping[str, Any], committed: Mapping[str, Any] | None, entries: Iterable[Entry], digest: str) -> str:
    """The plan's identity, what changed against the committed lock, and what would happen to each step."""
    return _line(
        {
            "plan": digest,
            "name": made["asked"]["name"],
            "changes": None if committed is None else difference(committed, made),
            "steps": [asdict(entry) for entry in entries],
            "obligations": len(made["obligations"]),
            "budgets": made["budgets"],
        }
    )


def audit(result: Audit) -> str:
    """One object: what was recomputed, the recomputed verdict and every finding."""
    return _line(
        {
            "outcome": result.word,
            "exit_code": result.exit_code,
            "verdict": result.verdict,
            "checked": dict(result.checked),
            "findings": [asdict(finding) for finding in result.findings],
        }
    )
