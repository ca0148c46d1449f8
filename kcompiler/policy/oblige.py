"""Policy × what the spec says × who makes which report → the obligations of a plan.

Every rule that applies is written down with the step that must prove it, so that a gate nobody feeds is found before
anything is spent (plan-apply-policy.md, section 6 no. 1): the vacuous pass dies here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kcompiler.diagnostic import Diagnostic, did_you_mean
from kcompiler.policy import kinds, path
from kcompiler.policy.load import LoadedPack, LoadedRule, Policy
from kcompiler.policy.rule import Expect


def obligations(
    policy: Policy, spec_values: Mapping[str, Any], producers: Mapping[str, Sequence[str]]
) -> tuple[list[dict[str, Any]], list[Diagnostic]]:
    """What must be proven, as JSON values for the lock, sorted by rule and step; and every problem found.

    `spec_values` is the spec with its defaults, as JSON values. `producers` maps a report kind to the steps that make
    such a report; apply itself makes the report of kind `run`. Problems of the packs come first.
    """
    found: list[dict[str, Any]] = []
    problems = list(policy.problems)
    for pack in policy.packs:
        problems += _fits(pack, spec_values)
        for rule in pack.rules:
            made, wrong = _of_rule(pack, rule, spec_values, producers)
            found += made
            problems += wrong
    return sorted(found, key=lambda one: (str(one["rule"]), str(one["from"]))), problems


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
    pack: LoadedPack, loaded: LoadedRule, spec_values: Mapping[str, Any], producers: Mapping[str, Sequence[str]]
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
    expect, problem = _resolved(loaded, spec_values)
    if problem is not None:
        return [], [problem]
    return [_obligation(pack, loaded, kind, step, expect) for kind, step in fed], []


def _obligation(pack: LoadedPack, loaded: LoadedRule, kind: str, step: str, expect: object) -> dict[str, Any]:
    rule = loaded.rule
    return {
        "rule": loaded.name,
        "pack": f"{pack.pack.name}@{pack.pack.version}",
        "title": rule.title,
        "mode": rule.mode,
        "reason": rule.reason,
        "waivable": rule.waivable,
        "report": kind,
        "from": f"step:{step}",
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "expect": expect,
        "remedy": rule.remedy,
    }


def _applies(loaded: LoadedRule, spec_values: Mapping[str, Any]) -> tuple[bool, Diagnostic | None]:
    when = loaded.rule.when
    if when is None:
        return True, None
    matches = path.walk(path.parse(when.spec), spec_values)
    if any(match.no_field for match in matches):
        return False, _no_field(loaded, "/when/spec", when.spec, spec_values)
    return any(not match.missing and match.value in when.texts for match in matches), None


def _resolved(loaded: LoadedRule, spec_values: Mapping[str, Any]) -> tuple[object, Diagnostic | None]:
    """What the rule compares with, taken from the spec."""
    expect = loaded.rule.expect
    if expect is None:
        return None, None
    value: object = expect.value
    if expect.source is not None:
        parsed = path.parse(expect.source)
        matches = path.walk(parsed, spec_values)
        if any(match.missing for match in matches):
            return None, _no_field(loaded, "/expect/from", expect.source, spec_values)
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


def _no_field(loaded: LoadedRule, pointer: str, text: str, spec_values: Mapping[str, Any]) -> Diagnostic:
    head = text.split(".")[0].split("[")[0]
    return loaded.tree.diagnostic(
        "KC6011",
        pointer,
        f"the spec has nothing at `{text}`",
        label="not in the spec",
        help=did_you_mean(head, spec_values) if head not in spec_values else "look the path up in `kcompiler show`",
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
