"""What a plan says of itself × the rules of phases compile and plan → what each decides, before any step runs.

The same judge decides as over reports, and decides again in the verdict and in an audit: both read the facts out of the
lock. A rule that blocks and does not pass is an error of the spec, at the rule's line; one that only warns, or whose
day has not come, is said. Nobody can excuse what was decided before anything was made: the spec can be changed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from kcompiler import policy
from kcompiler.diagnostic import Diagnostic
from kcompiler.front import Front
from kcompiler.graph import Graph
from kcompiler.judge import Outcome, judge
from kcompiler.plan.locked import plugins_of
from kcompiler.policy.explained import asking
from kcompiler.policy.obligation import EARLY
from kcompiler.verifier import facts


def decided(plan: Mapping[str, Any], as_of: str | None = None, phases: Collection[str] = EARLY) -> Sequence[Outcome]:
    """The outcome of each obligation of these phases; `as_of` is when that is asked, and without it a rule with a day
    blocks always."""
    asked = [one for one in plan["obligations"] if one.get("phase") in phases]
    return judge(facts.reports(plan), asked, as_of=as_of).outcomes if asked else ()


def at_compile(
    front: Front, graph: Graph, packs: policy.Policy, asked: Sequence[Mapping[str, Any]], as_of: str | None
) -> Iterator[Diagnostic]:
    """What rules of phase compile refuse, before any key of a plan is computed."""
    assert front.spec is not None
    known = {
        "inputs": [{"bytes": one.bytes, "license": one.license} for one in graph.inputs],
        "steps": [{"kind": f"{one.step}@{one.version}", "params": one.params} for one in graph.nodes],
        "plugins": plugins_of(front, graph),
        "budgets": front.spec.budgets.of_runs(),
        "obligations": [one for one in asked if one.get("phase") == facts.COMPILE],
    }
    yield from _told(front, packs, decided(known, as_of, (facts.COMPILE,)), as_of)


def at_plan(front: Front, packs: policy.Policy, plan: Mapping[str, Any], as_of: str | None) -> Iterator[Diagnostic]:
    """What rules of phase plan refuse, once the plan is whole."""
    yield from _told(front, packs, decided(plan, as_of, (facts.PLAN,)), as_of)


def _told(front: Front, packs: policy.Policy, made: Sequence[Outcome], as_of: str | None) -> Iterator[Diagnostic]:
    rules = {rule.name: (pack, rule) for pack in packs.packs for rule in pack.rules}
    assert front.spec is not None
    assert front.tree is not None
    for one in made:
        if one.outcome in ("pass", "skipped"):
            continue
        pack, rule = rules[one.rule]
        waits = bool(one.effective_on) and as_of is None
        named = f"/policies/{front.spec.policies.index(pack.pack.name)}"
        what = "spec" if one.phase == facts.COMPILE else "plan"
        notes = (one.counterfactual, f"blocks from {one.effective_on} on" if waits else "")
        yield rule.tree.diagnostic(
            "KC6056",
            asking(rule),
            f"rule `{one.rule}` does not let this {what} pass: {rule.rule.title}",
            severity="error" if one.blocks and not waits else "warning",
            label=f"{one.pointer}: {one.reason}" if one.pointer else one.reason,
            help=one.remedy,
            related=(front.tree.related(named, "the pack is named here"),),
            notes=tuple(note for note in notes if note),
        )
