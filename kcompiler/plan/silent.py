"""The rules of a plan's packs that ask nothing of this spec, each with the reason: silence is no pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kcompiler import assets, policy
from kcompiler.front import Front
from kcompiler.policy import conditions
from kcompiler.project import Project


@dataclass(frozen=True)
class Silent:
    """A rule that no obligation of the plan comes from. `because` is what it asks for and this spec has not."""

    rule: str
    because: str


def silent(front: Front, project: Project, made: Mapping[str, Any]) -> list[Silent]:
    """Every such rule, by its name. Of a sweep it is one that no cell is asked."""
    assert front.spec is not None
    packs = policy.load(front.spec.policies, [project.root / "policies", assets.folder("policies")])
    asked = {str(one["rule"]) for one in made["obligations"]}
    values = [form.spec.model_dump(mode="json", by_alias=True) for form in front.forms]
    found = []
    for pack in packs.packs:
        for loaded in pack.rules:
            if loaded.name in asked:
                continue
            reasons = [conditions.applies(pack, loaded, one)[0] for one in values]
            said = next(filter(None, reasons), "") or _elsewhere(loaded)
            found.append(Silent(loaded.name, said))
    return sorted(found, key=lambda one: one.rule)


def _elsewhere(loaded: policy.LoadedRule) -> str:
    """Of a rule whose conditions are met: no step is as it asks, or it is skipped and nobody makes its report."""
    where = loaded.rule.where
    if where is not None:
        return f"no step that makes `{loaded.rule.on}` has {where.said}"
    return f"no step makes `{loaded.rule.on}`"
