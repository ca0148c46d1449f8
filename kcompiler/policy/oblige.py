"""Policy × what the spec says × who makes which report → the obligations of a plan.

Every rule that applies is written down with the step that must prove it, so that a gate nobody feeds is found before
anything is spent (plan-apply-policy.md, section 6 no. 1): the vacuous pass dies here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from kcompiler.diagnostic import Diagnostic, did_you_mean, suggest
from kcompiler.policy import chosen, conditions, kinds, path, shape
from kcompiler.policy.load import LoadedPack, LoadedRule, Policy
from kcompiler.policy.obligation import EARLY
from kcompiler.policy.rule import Expect, Rule, Where, written
from kcompiler.verifier.facts import START, start_of
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
    problem = _unknown(loaded, producers)
    if problem is not None:
        return [], [problem]
    silent, problem = conditions.applies(pack, loaded, spec_values)
    if problem is not None or silent:
        return [], [] if problem is None else [problem]
    # what a plan says of itself no step makes, and no rule is about it by the way
    own = [(rule.on, rule.on)] if rule.on in EARLY else []
    if rule.on == START:
        own = [(START, key) for key in sorted(settings) if key.startswith(start_of(""))]
        if rule.where is not None and (problem := _no_step(loaded, rule.where, [settings[key] for _, key in own])):
            return [], [problem]
    fed = own or [(kind, step) for kind in sorted(producers) if rule.covers(kind) for step in producers[kind]]
    if not fed:
        return [], [] if rule.mode == "skip" else [_unfed(loaded, producers)]
    if rule.where is not None:
        asked = {step: _is_asked(rule.where, settings.get(step)) for _, step in fed}
        if all(one is None for one in asked.values()):
            return [], [_no_parameter(loaded, rule.where, [step for _, step in fed])]
        if problem := _never(loaded, rule.where, [settings.get(_begun(step)) for _, step in fed]):
            return [], [problem]
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
        **loaded.terms,
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


def starting(steps: Iterable[tuple[str, str, str, Mapping[str, Any]]]) -> dict[str, Mapping[str, Any]]:
    """Name of the report on a step that begins → what `where` chooses by: its `name` (without what a sweep adds),
    `kind`, `backend` and `params`. `steps` are id, kind, backend and parameters of each."""
    return {
        start_of(step): {"name": step.partition("@")[0], "kind": kind, "backend": backend, "params": params}
        for step, kind, backend, params in steps
    }


def _no_step(loaded: LoadedRule, where: Where, steps: Sequence[Mapping[str, Any]]) -> Diagnostic | None:
    """A step that no plan can have: of a kind or backend that is not installed, or of a name that this plan has not."""
    rooms = {"kind": "steps", "backend": "backends"}
    if where.has is None or where.step not in ("name", *rooms):
        return None
    room = rooms.get(where.step)
    known = sorted({str(one["name"]) for one in steps} if room is None else {*catalog.names(room)})
    if not steps or written(where.has) in known:
        return None
    return loaded.tree.diagnostic(
        "KC6026",
        "/where/has",
        f"no step has the {where.step} `{written(where.has)}`",
        label="the rule would never apply",
        help=did_you_mean(written(where.has), known),
        notes=() if room else (f"steps of this plan: {', '.join(known)}",),
    )


def _begun(step: str) -> str:
    return step if step.startswith(start_of("")) else start_of(step)


def _never(loaded: LoadedRule, where: Where, steps: Sequence[Mapping[str, Any] | None]) -> Diagnostic | None:
    """A value that no step of these kinds can have, whatever the spec says; or a name that this spec has not given."""
    known = [one for one in steps if one is not None]
    if len(known) != len(steps) or where.step in ("name", "kind", "backend"):
        return None
    found = chosen.amiss(where, known)
    if found is None:
        return None
    text = written(where.has)
    if not found.given:
        return loaded.tree.diagnostic(
            "KC6026",
            "/where/has",
            f"`{where.step}` can never be `{text}`",
            label="the rule would never apply",
            help=did_you_mean(text, found.known) or "look the parameters up with `kcompiler show`",
        )
    others = "where another spec has it, say by `when` for which specs the rule is"
    near = suggest(text, found.known)
    return loaded.tree.diagnostic(
        "KC6027",
        "/where/has",
        f"no step of this plan has `{text}` at `{where.step}`",
        severity="error" if loaded.rule.mode == "block" else "warning",
        label="the rule would not apply",
        help=did_you_mean(text, near) if near else others,
        notes=(f"there: {', '.join(found.known) or 'nothing'}", *([others] if near else [])),
    )


def _no_parameter(loaded: LoadedRule, where: Where, steps: Sequence[str]) -> Diagnostic:
    whose = "of `on: start` alone a step is chosen by its name, kind or backend; "
    by = whose if where.step in ("name", "kind", "backend") and loaded.rule.on != START else ""
    return loaded.tree.diagnostic(
        "KC6026",
        "/where/step",
        f"no step that makes the report `{loaded.rule.on}` has a parameter at `{where.step}`",
        label="the rule would never apply",
        help=f"{by}look the parameters up with `kcompiler show`; these steps make it: {', '.join(steps)}",
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
            return None, conditions.no_field(loaded, "/expect/from", expect.source, places)
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


def _unknown(loaded: LoadedRule, producers: Mapping[str, Sequence[str]]) -> Diagnostic | None:
    """A report of a kind that nothing installed here makes, whatever a spec says: misspelt, whether or not the rule is
    for this spec. A rule that is skipped, or an uninstalled plug-in's, may wait."""
    rule = loaded.rule
    wanted = {"/on": rule.on, "/params/of": kinds.load(rule.kind).other(loaded.params)}
    for pointer, name in wanted.items():
        if not name or rule.mode == "skip" or _made(name, producers) or _made(name, shape.kinds()):
            continue
        if _made(name, known := _by_plug_ins()):
            continue
        return loaded.tree.diagnostic(
            "KC6045",
            pointer,
            f"no report is called `{name}`",
            label="nothing that is installed makes such a report",
            help=did_you_mean(name.removesuffix(".*"), sorted({*shape.kinds(), *producers, *known})),
            notes=("a report of a plug-in is known where the plug-in is installed",),
        )
    return None


def _made(name: str, known: Iterable[str]) -> bool:
    """Whether a report of this name, or with `.*` one below it, is among those that are known."""
    return name == "*" or any(one == name or (name.endswith(".*") and one.startswith(name[:-1])) for one in known)


def _by_plug_ins() -> list[str]:
    """Kinds of report that installed plug-ins of third parties make, as far as that does not hang on parameters."""
    found = [f"{EVALUATION}{name}" for name in catalog.names("suites")]
    for name in catalog.names("steps"):
        if catalog.distribution("steps", name) is None:
            continue
        gives = catalog.load("steps", name).gives
        found += [port.report for port in gives.values() if port.report] if isinstance(gives, Mapping) else []
    return found


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
