"""A verdict × its reports, obligations and packs → of each rule what decided it, where, how far, and what would not.

Both places are named: the line of the rule that asked, and the pointer into the report that decided. A line is told
only where the pack lies here as the plan has it; comments and layout are no part of a plan.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from kcompiler.policy import counterfactual, kinds
from kcompiler.policy.load import LoadedRule, Policy

#: of the parameters of a rule, the one that asks, in the order of preference
_ASKING = ("threshold", "that", "margin", "factor", "at", "names", "identifiers", "metric")


def records(
    outcomes: Sequence[Mapping[str, Any]],
    obligations: Sequence[Mapping[str, Any]],
    reports: Mapping[str, Mapping[str, Any]],
    packs: Policy,
    pins: Sequence[Mapping[str, Any]],
) -> list[dict[str, Any]]:
    """One record of each outcome, in their order (schemas/explanation.schema.json).

    `outcomes` are those of a verdict over `obligations`, as JSON; `reports` maps a step to its report, as far as it is
    there; `pins` is what the plan says of its packs, and `packs` what lies here.
    """
    same = {pack.pack.name for pack in packs.packs for pin in pins if _is(pack.pack.name, pack.digest, pin)}
    rules = {rule.name: rule for pack in packs.packs if pack.pack.name in same for rule in pack.rules}
    by_name = {(one["rule"], str(one["from"]).removeprefix("step:")): one for one in obligations}
    found = []
    for outcome in outcomes:
        obligation = by_name.get((outcome["rule"], outcome["step"]), {})
        report = reports.get(outcome["step"])
        node = None if report is None else counterfactual.at(report, outcome["pointer"])
        found.append(
            {
                **{key: outcome[key] for key in _KEPT},
                **{key: outcome[key] for key in ("phase", "effective_on", "advisory") if key in outcome},
                "rule_at": _place(rules.get(outcome["rule"])),
                "report_at": {"step": outcome["step"], "report": outcome["report"], "pointer": outcome["pointer"]},
                "tree": _tree(obligation, report, reports),
                "counterfactual": counterfactual.of(obligation, outcome, node) if obligation else "",
            }
        )
    return found


_KEPT = (
    "rule", "pack", "title", "mode", "outcome", "blocks", "reason", "remedy", "observed", "threshold", "distance",
    "matches", "obligation",
)  # fmt: skip


def _is(name: str, pin: str, pinned: Mapping[str, Any]) -> bool:
    return bool(pinned.get("pack") == name and pinned.get("digest") == pin)


def _place(rule: LoadedRule | None) -> dict[str, Any] | None:
    """Where the rule says what it asks; None where its pack is not here as the plan has it."""
    if rule is None:
        return None
    pointer = asking(rule)
    place = rule.tree.place(pointer, "value")
    return {"file": rule.tree.file_of(pointer), "line": place.line, "column": place.column}


def asking(rule: LoadedRule) -> str:
    """JSON pointer to what the rule asks."""
    params = rule.tree.get("/params") if rule.rule.params else None
    name = next((name for name in _ASKING if isinstance(params, Mapping) and name in params), "")
    return f"/params/{name}" if name else "/kind"


def _tree(
    obligation: Mapping[str, Any], report: Mapping[str, Any] | None, reports: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """What a rule evaluated, part by part; nothing of a kind that compares one number."""
    name = str(obligation.get("kind", "")).partition("@")[0]
    if report is None or name not in kinds.names() or kinds.load(name).parts is None:
        return []
    kind = kinds.load(name)
    assert kind.parts is not None
    try:
        params = kind.params.model_validate(obligation["params"])
    except ValidationError:
        return []
    other = reports.get(str(obligation.get("against", "")).removeprefix("step:"))
    return kind.parts(params, report, other)
