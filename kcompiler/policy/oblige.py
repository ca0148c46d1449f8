"""Policy × what the spec says × who makes which report → the obligations of a plan.

Every rule that applies is written down with the step that must prove it, so that a gate nobody feeds is found before
anything is spent (plan-apply-policy.md, section 6 no. 1): the vacuous pass dies here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from types import MappingProxyType
from typing import Any

from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.policy import kinds, path, shape
from kcompiler.policy.kind import NUMBER
from kcompiler.policy.load import LoadedPack, LoadedRule, Policy
from kcompiler.policy.rule import Expect, Rule, When, Where, written
from runtime import catalog

#: step → its parameters
Settings = Mapping[str, Mapping[str, Any]]


def obligations(
    policy: Policy,
    spec_values: Mapping[str, Any],
    producers: Mapping[str, Sequence[str]],
    settings: Settings = MappingProxyType({}),
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """What must be proven, as JSON values for the lock, sorted by rule and step; and every problem found.

    `spec_values` is the spec with its defaults, as JSON values. `producers` maps a report kind to the steps that make
    such a report; apply itself makes the report of kind `run`. `settings` are the parameters of these steps: of one
    whose are not known every rule is asked. Problems of the packs come first.
    """
    found: list[dict[str, Any]] = []
    problems = list(policy.problems)
    for pack in policy.packs:
        problems += _fits(pack, spec_values)
        for rule in pack.rules:
            made, wrong = _of_rule(pack, rule, spec_values, producers, settings)
            found += made
            problems += wrong
    return sorted(found, key=lambda one: (str(one["rule"]), str(one["from"]))), problems


def ungated(obligations: Sequence[Mapping[str, Any]], producers: Iterable[str]) -> list[str]:
    """Kinds of evaluation reports whose quality nothing asks for: no blocking rule compares a number of theirs."""
    asked = {one["report"] for one in obligations if one["mode"] == "block" and one["kind"].startswith(_COMPARES)}
    return sorted(kind for kind in producers if kind.startswith(EVALUATION) and kind not in asked)


EVALUATION = "eval."
#: kinds of check that compare a number with something
_COMPARES = ("bound@", "relative@")


def _fits(pack: LoadedPack, spec_values: Mapping[str, Any]) -> list[Diagnostic]:
    tier = spec_values.get("risk_tier")
    if tier in pack.pack.risk_tiers:
        return []
    tiers = ", ".join(map(str, pack.pack.risk_tiers))
    return [
        pack.tree.diagnostic(
            "KC6012",
            "/risk_tiers",
            f"pack `{pack.pack.name}` is made for risk tier {tiers}; the spec has tier {tier}",
            help="name the pack of the spec's own tier under `policies`",
        )
    ]


def _of_rule(
    pack: LoadedPack,
    loaded: LoadedRule,
    spec_values: Mapping[str, Any],
    producers: Mapping[str, Sequence[str]],
    settings: Settings,
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    rule = loaded.rule
    applies, problem = _applies(loaded, spec_values)
    if problem is not None:
        return [], [problem]
    if not applies:
        return [], []
    fed = [(kind, step) for kind in sorted(producers) if rule.covers(kind) for step in producers[kind]]
    if not fed:
        return [], [] if rule.mode == "skip" else [_unfed(loaded, producers)]
    if rule.where is not None:
        asked = {step: _is_asked(rule.where, settings.get(step)) for _, step in fed}
        if all(one is None for one in asked.values()):
            return [], [_no_parameter(loaded, rule.where, [step for _, step in fed])]
        fed = [one for one in fed if asked[one[1]]]
    expect, problem = _resolved(loaded, spec_values)
    if problem is not None:
        return [], [problem]
    of_step = rule.expect is not None and rule.expect.step
    made = [_obligation(pack, loaded, kind, step, settings.get(step) if of_step else expect) for kind, step in fed]
    if second := kinds.load(rule.kind).other(loaded.params):
        others = producers.get(second, ())
        if len(others) != 1:
            return [], [_no_other(loaded, second, others)]
        if any(step == others[0] for _, step in fed):
            return [], [_itself(loaded, second)]
        made = [{**one, "against": f"step:{others[0]}"} for one in made]
    return made, []


def _obligation(pack: LoadedPack, loaded: LoadedRule, kind: str, step: str, expect: object) -> dict[str, Any]:
    rule = loaded.rule
    return {
        "rule": loaded.name,
        "pack": f"{pack.pack.name}@{pack.pack.version}",
        "title": rule.title,
        "mode": rule.mode,
        "reason": rule.reason,
        "report": kind,
        "from": f"step:{step}",
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "expect": expect,
        "remedy": rule.remedy,
        **timing(rule),
    }


def timing(rule: Rule) -> dict[str, str]:
    """When the rule blocks, where that is not at once."""
    phase = {} if rule.phase == "report" else {"phase": rule.phase}
    return {**phase, **({"effective_on": rule.effective_on} if rule.effective_on else {})}


def _is_asked(where: Where, params: Mapping[str, Any] | None) -> bool | None:
    """Whether a step of these parameters is one of those that the rule is for; None where they have no such field. A
    step whose parameters are not known is."""
    if params is None:
        return True
    matches = path.walk(path.parse(where.step), params)
    if all(match.no_field for match in matches):
        return None
    values = [match.value for match in matches if not match.missing]
    if where.at_least is not None:
        return len(values) >= where.at_least
    return written(where.has) in map(written, values)


def _no_parameter(loaded: LoadedRule, where: Where, steps: Sequence[str]) -> Diagnostic:
    return loaded.tree.diagnostic(
        "KC6026",
        "/where/step",
        f"no step that makes the report `{loaded.rule.on}` has a parameter at `{where.step}`",
        label="the rule would never apply",
        help=f"look the parameters up with `kcompiler show`; these steps make it: {', '.join(steps)}",
    )


def _applies(loaded: LoadedRule, spec_values: Mapping[str, Any]) -> tuple[bool, Diagnostic | None]:
    """Whether the rule is for this spec, and what is wrong with a condition that no spec could meet."""
    applies = True
    for pointer, when in loaded.rule.conditions:
        met, problem = _met(loaded, pointer, when, spec_values)
        if problem is not None:
            return False, problem
        applies = applies and met
    return applies, None


def _met(
    loaded: LoadedRule, pointer: str, when: When, spec_values: Mapping[str, Any]
) -> tuple[bool, Diagnostic | None]:
    parsed = path.parse(when.spec)
    values = [match.value for match in path.walk(parsed, spec_values) if not match.missing]
    places = shape.follow(parsed, shape.of_spec())
    if isinstance(places, shape.Lost) and not values:
        return False, _no_field(loaded, f"{pointer}/spec", when.spec, places)
    if when.some is not None:
        return when.some is any(value not in (None, [], {}, "") for value in values), None
    nodes = [] if isinstance(places, shape.Lost) else shape.forms(places)
    for kind, way in (("array", "[*]"), ("object", ".<key>")):
        if any(node.get("type") == kind for node in nodes) or any(isinstance(value, _JSON[kind]) for value in values):
            return False, _unmet(
                loaded, f"{pointer}/spec", f"`{when.spec}` is {_SAID[kind]}", f"write `{when.spec}{way}`"
            )
    found = {written(value) for value in values}
    for text in when.texts:
        if text not in found and nodes and not any(_possible(node, text) for node in nodes):
            known = sorted({name for node in nodes for name in _names(node)})
            said = f"`{when.spec}` can never be `{text}`"
            return False, _unmet(loaded, f"{pointer}/has", said, did_you_mean(text, known) if known else _wants(nodes))
    return not found.isdisjoint(when.texts), None


_JSON: Mapping[str, type] = {"array": list, "object": dict}
_SAID: Mapping[str, str] = {"array": "a list", "object": "an object"}


def _names(node: Mapping[str, Any]) -> list[str]:
    """The values that a schema enumerates; of names of plug-ins, those that are installed here."""
    listed = [written(one) for one in node.get("enum", [node["const"]] if "const" in node else [])]
    return [*listed, *catalog.names(node["x-room"])] if "x-room" in node else listed


def _possible(node: Mapping[str, Any], text: str) -> bool:
    """Whether a value that is written like this satisfies the schema."""
    names = _names(node)
    if names:
        return text in names
    types = node.get("type", [])
    number = Fraction(text) if re.fullmatch(NUMBER, text) else None
    for kind in [types] if isinstance(types, str) else types:
        if kind == "string" or (kind == "boolean" and text in ("true", "false")):
            return True
        if number is not None and (kind == "number" or (kind == "integer" and number.denominator == 1)):
            return bool(node.get("minimum", number) <= number <= node.get("maximum", number))
    return False


def _wants(nodes: Sequence[Mapping[str, Any]]) -> str:
    kinds_ = sorted({str(node["type"]) for node in nodes if isinstance(node.get("type"), str)})
    ends = [f"{word} {node[key]}" for node in nodes for key, word in _ENDS.items() if key in node]
    return " ".join([f"a spec has {' or '.join(kinds_)} there,", *ends]).rstrip(",")


_ENDS: Mapping[str, str] = {"minimum": "at least", "maximum": "at most"}


def _unmet(loaded: LoadedRule, pointer: str, said: str, help_: str) -> Diagnostic:
    return loaded.tree.diagnostic(
        "KC6015",
        pointer,
        f"no spec can meet this condition: {said}",
        label="the rule would never apply",
        help=help_,
        notes=("schemas/spec.schema.json says what may stand there",),
    )


def _resolved(loaded: LoadedRule, spec_values: Mapping[str, Any]) -> tuple[object, Diagnostic | None]:
    """What the rule compares with, taken from the spec; None where each step's own parameters say it."""
    expect = loaded.rule.expect
    if (pinned := kinds.load(loaded.rule.kind).pinned) is not None:
        try:
            return pinned(loaded.params, loaded.folder, loaded.rule.on), None
        except (OSError, ValueError) as error:
            return {"missing": str(error)}, None  # what is wrong with it was said when the pack was loaded
    if expect is None:
        return None, None
    value: object = expect.value
    if expect.source is not None:
        parsed = path.parse(expect.source)
        matches = path.walk(parsed, spec_values)
        if any(match.missing for match in matches):
            places = shape.follow(parsed, shape.of_spec())
            return None, _no_field(loaded, "/expect/from", expect.source, places)
        several = any(not isinstance(step, path.Field) for step in parsed.steps)
        value = [match.value for match in matches] if several else matches[0].value
    value = _named(expect, value)
    if not kinds.load(loaded.rule.kind).accepts(value):
        return None, loaded.tree.diagnostic(
            "KC6011",
            "/expect",
            f"a check of kind `{loaded.rule.kind}` cannot compare with {value!r}",
            label=f"`{expect.source}` of the spec is this" if expect.source else "",
            help="point to a list of names for `covers`, to a number for `bound`",
        )
    return value, None


def _named(expect: Expect, value: object) -> object:
    if not isinstance(value, list):
        return value
    items = [expect.format.format(item) if expect.format != "{}" else item for item in value]
    return [*items, *expect.plus]


def _no_field(loaded: LoadedRule, pointer: str, text: str, places: Sequence[shape.Place] | shape.Lost) -> Diagnostic:
    lost = places if isinstance(places, shape.Lost) else None
    return loaded.tree.diagnostic(
        "KC6011",
        pointer,
        f"the spec has nothing at `{text}`",
        label=f"no spec has `{lost.step}` there" if lost else "not in this spec",
        help=did_you_mean(lost.step, lost.known) if lost and lost.known else "look the path up in `kcompiler show`",
    )


def _unfed(loaded: LoadedRule, producers: Mapping[str, Sequence[str]]) -> Diagnostic:
    rule = loaded.rule
    return loaded.tree.diagnostic(
        "KC6010",
        "/on",
        f"rule `{loaded.name}` is about `{rule.on}`, and no step of this plan makes such a report",
        severity="error" if rule.mode == "block" else "warning",
        label="nobody can feed this rule",
        help="add the step that makes the report, or say `when` the rule applies",
        notes=(f"reports of this plan: {', '.join(sorted(producers))}",),
    )


def _itself(loaded: LoadedRule, kind: str) -> Diagnostic:
    return loaded.tree.diagnostic(
        "KC6013",
        "/params/of",
        f"rule `{loaded.name}` compares the report `{kind}` with itself",
        label="the rule is about this report",
        help="leave `of` out to compare two places of one report, or name another report",
    )


def _no_other(loaded: LoadedRule, kind: str, steps: Sequence[str]) -> Diagnostic:
    found = f"these do: {', '.join(sorted(steps))}" if steps else "none does"
    return loaded.tree.diagnostic(
        "KC6013",
        "/params/of",
        f"rule `{loaded.name}` compares with the report `{kind}`, and exactly one step must make it",
        label=found,
        help="name a report that one step of the plan makes, or say `when` the rule applies",
    )
