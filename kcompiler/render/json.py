"""Values → JSON for programs: one object per line, keys sorted, so that two runs can be compared byte by byte."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from kcompiler.diagnostic import Diagnostic, RefusalLike
from kcompiler.diff.difference import compare, followers
from kcompiler.result import SCHEMA_VERSION, Result, StepState

if TYPE_CHECKING:
    from kcompiler.delta import Entry
    from kcompiler.plan.silent import Silent
    from kcompiler.render.accounts import Accounts
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
    doubts: Iterable[Diagnostic] = (),
    told: Iterable[str] = (),
    kept: Mapping[str, str] | None = None,
    silent: Iterable[Silent] = (),
    accounted: Accounts = (),
) -> dict[str, Any]:
    """What a plan alone says: what changed against the committed lock, what cannot be decided, bounds and estimates."""
    return {
        "name": made["asked"]["name"],
        "targets": made["asked"].get("targets"),
        "changes": None if committed is None else [asdict(item) for item in compare(committed, made)],
        "obligations": len(made["obligations"]),
        "silent": [asdict(one) for one in silent],
        "doubts": [asdict(item) for item in doubts],
        "told": list(told),
        "budgets": dict(made["budgets"]),
        "accounts": [dict(one) for one in accounted],
        "estimates": dict(made.get("estimates", {})),
        "kept": dict(kept or {}),
    }


def states(entries: Iterable[Entry]) -> list[StepState]:
    """What would happen to each step."""
    return [
        StepState(
            step=entry.step,
            action=entry.action,
            reason=entry.reason,
            why=entry.why,
            wall_s=entry.wall_s,
            foreseen_s=entry.foreseen_s,
            forecast_s=None if entry.forecast is None else entry.forecast.wall_s,
        )
        for entry in entries
    ]


def diff(old: Mapping[str, Any], new: Mapping[str, Any], digests: tuple[str, str]) -> str:
    """Two plans by meaning: every change with its direction, and the steps that only follow."""
    changes = [asdict(item) for item in compare(old, new)]
    return _line({"old": digests[0], "new": digests[1], "changes": changes, "follow": followers(old, new)})


def status(
    stages: Iterable[Stage],
    spent: RefusalLike | None = None,
    told: Mapping[str, Sequence[str]] = MappingProxyType({}),
    accounted: Accounts = (),
) -> dict[str, Any]:
    """The stages in order, the budget that is used up (null for none), lines on evidence that has changed, approvals
    and waivers, and what is spent of each budget, set aside and left."""
    used_up = None if spent is None else {"budget": spent.place, "message": spent.message}
    lines = {name: list(told.get(name, ())) for name in ("evidence", "approvals", "standing")}
    return {
        "stages": [asdict(stage) for stage in stages],
        "used_up": used_up,
        "accounts": [dict(one) for one in accounted],
        **lines,
    }


def result(found: Result) -> str:
    """One object: schemas/result.schema.json. Keys are sorted; nothing in it but times depends on when it was made."""
    return _line(document(found))


def document(found: Result) -> dict[str, Any]:
    """A result as plain values. What is only for people (`headline`, `sections`) is left out."""
    made = {name: value for name, value in asdict(found).items() if name not in ("headline", "sections", "parts")}
    made |= {"schema_version": SCHEMA_VERSION, "parts": [document(part) for part in found.parts]}
    # the words of the last line on stderr
    made["outcome"] = made.pop("word")
    return made
