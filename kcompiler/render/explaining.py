"""A verdict of a project → each of its outcomes explained, from the packs that lie here as the plan has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kcompiler import assets, policy
from kcompiler.policy.explained import records
from kcompiler.project import Project
from kcompiler.verifier import facts


def explained(
    plan: Mapping[str, Any], home: Project, verdict: Mapping[str, Any], reports: Mapping[str, Mapping[str, Any]]
) -> list[dict[str, Any]]:
    """One record an outcome, in their order. `reports` maps a step to its report, as far as it can be read."""
    names = [str(one["pack"]) for one in plan["policies"]]
    packs = policy.load(names, [home.root / "policies", assets.folder("policies")])
    known = {**reports, **facts.reports(plan)}
    return records(verdict["outcomes"], plan["obligations"], known, packs, plan["policies"])
