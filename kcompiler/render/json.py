"""Values → JSON for programs: one object per line, keys sorted, so that two runs can be compared byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from kcompiler.diagnostic import Diagnostic, RefusalLike
from kcompiler.diff.difference import compare, followers

if TYPE_CHECKING:
    from kcompiler.audit import Audit
    from kcompiler.delta import Entry
    from kcompiler.plan.silent import Silent
    from kcompiler.status import Stage


def diagnostics(found: Iterable[Diagnostic]) -> str:
    """One line per diagnostic, in the order given. Lines and columns count from 1, offsets from 0, all in characters;
    ends are exclusive; `line` 0 is the file as a whole."""
    return "".join(_line(asdict(item)) for item in found)


def _line(value: object) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False) + "\n"


def plan(
    made: Mapping[str, Any],
    committed: Mapping[str, Any] | None,
    entries: Iterable[Entry],
    digest: str,
    doubts: Iterable[Diagnostic] = (),
    told: Iterable[str] = (),
    kept: Mapping[str, str] | None = None,
    silent: Iterable[Silent] = (),
) -> str:
    """The plan's identity, what changed against the committed lock, and what would happen to each step."""
    return _line(
        {
            "plan": digest,
            "name": made["asked"]["name"],
            "targets": made["asked"].get("targets"),
            "changes": None if committed is None else [asdict(item) for item in compare(committed, made)],
            "steps": [asdict(entry) for entry in entries],
            "obligations": len(made["obligations"]),
            "silent": [asdict(one) for one in silent],
            "doubts": [asdict(item) for item in doubts],
            "told": list(told),
            "budgets": made["budgets"],
            "estimates": made.get("estimates", {}),
            "kept": dict(kept or {}),
        }
    )


def diff(old: Mapping[str, Any], new: Mapping[str, Any], digests: tuple[str, str]) -> str:
    """Two plans by meaning: every change with its direction, and the steps that only follow."""
    changes = [asdict(item) for item in compare(old, new)]
    return _line({"old": digests[0], "new": digests[1], "changes": changes, "follow": followers(old, new)})


def status(
    stages: Iterable[Stage], next_command: str, judged: Mapping[str, Any] | None, spent: RefusalLike | None = None
) -> str:
    """One object: the stages in order, the verdict on this plan (null before there is one), the budget that is used up
    (null for none) and what to do next."""
    word = None if judged is None else judged["verdict"]
    used_up = None if spent is None else {"budget": spent.place, "message": spent.message}
    found = [asdict(stage) for stage in stages]
    return _line({"stages": found, "verdict": word, "used_up": used_up, "next": next_command})


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
