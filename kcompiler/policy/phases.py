"""A rule → where the time at which it decides and what it looks at do not fit: a report that is not there then."""

from __future__ import annotations

from collections.abc import Iterator

from kcompiler import source
from kcompiler.diagnostic import Diagnostic
from kcompiler.policy.obligation import BEFORE, EARLY, PRE_STEP
from kcompiler.policy.rule import Rule
from kcompiler.verifier.facts import START

#: phase → the reports that are there when it decides, where these are not those of steps
_THERE = {"compile": ("compile",), "plan": ("compile", "plan"), PRE_STEP: (START,)}
#: report that no step makes → the phase that decides on it at the latest
OWN = {"compile": "compile", "plan": "plan", START: PRE_STEP}
_WHEN = {**dict.fromkeys(("compile", "plan"), "when a plan is made"), START: "right before a step begins"}


def misplaced(tree: source.Tree, rule: Rule) -> Iterator[Diagnostic]:
    """Every place of the rule that asks for what is not there yet, or that needs a step where there is none."""
    early, own = rule.phase in BEFORE, rule.on in OWN
    if early and rule.on not in _THERE[rule.phase]:
        there = " or ".join(f"`on: {name}`" for name in _THERE[rule.phase])
        said = _WHEN.get(rule.on, "when a step has run")
        yield _problem(
            tree,
            "/on",
            f"rule `{rule.id}` decides in phase {rule.phase}, and the report `{rule.on}` is there only {said}",
            f"write {there}, or {f'`phase: {OWN[rule.on]}`' if own else 'leave `phase` out'}",
        )
    elif own and (rule.phase == "report" or (rule.on == START and not early)):
        there = "before any step" if rule.on != START else "before each step"
        yield _problem(
            tree,
            "/on",
            f"rule `{rule.id}` is about `{rule.on}`, which is there {there}, and would decide after all",
            f"write `phase: {OWN[rule.on]}`",
        )
    if not early and not own:
        return
    other = rule.params.get("of")
    if other and (rule.on == START or other not in _THERE.get(rule.phase, EARLY)):
        yield _problem(
            tree,
            "/params/of",
            f"rule `{rule.id}` decides on `{rule.on}`, and compares it with the report `{other}` of a step",
            "compare two places of one report: leave `of` out",
        )
    if rule.where is not None and rule.on != START:
        yield _problem(
            tree,
            "/where",
            f"rule `{rule.id}` chooses among steps, and no step makes the report `{rule.on}`",
            "say by `when` for which specs the rule is",
        )
    if rule.expect is not None and rule.expect.step:
        yield _problem(
            tree,
            "/expect/step",
            f"rule `{rule.id}` compares with the parameters of the step that makes `{rule.on}`, and none does",
            "compare with the spec (`expect: {from: …}`), or give a threshold",
        )
    if rule.waivable:
        yield _problem(
            tree,
            "/waivable",
            f"rule `{rule.id}` decides before anything is made: there is nothing to excuse",
            "leave `waivable` out; whoever is refused changes the spec, or what the rule asks for",
        )


def _problem(tree: source.Tree, pointer: str, summary: str, advice: str) -> Diagnostic:
    return tree.diagnostic("KC6055", pointer, summary, label="not there then" if pointer == "/on" else "", help=advice)
