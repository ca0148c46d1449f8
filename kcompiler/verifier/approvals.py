"""A lock × envelopes signed by people × whom its packs name → what is lacking of its approval. Standard library only.

Who may sign, and how many must, is said by the packs; whoever owns the spec approves nothing. A person is a key.
"""

from __future__ import annotations

from typing import Any, Dict, FrozenSet, List, Mapping, NamedTuple, Sequence, Tuple

from kcompiler.verifier import signed
from kcompiler.verifier.reading import digest_of

PREDICATE = "urn:kcompiler:approval:v1"
END = ".dsse.json"
#: what a plan says beside its steps and does not change with the part that is asked for
SECTIONS = ("budgets", "obligations", "plugins", "policies", "schemas", "sources", "toolchain", "waivers")
Plan = Mapping[str, Any]


class Standing(NamedTuple):
    """Whose approvals count, what is lacking, and which envelopes count for nobody: all in words."""

    by: List[str]
    lacking: List[str]
    refused: List[str]


class _Given(NamedTuple):
    who: str
    key: str
    on: str
    plan: str
    steps: Mapping[str, str]
    sections: Mapping[str, str]


def asked_for(plan: Plan) -> bool:
    """Whether the plan has to be approved: nothing of what is forged costs anything."""
    return not all(step["backend"] == "null" for step in plan["steps"])


def standing(plan: Plan, envelopes: Mapping[str, bytes], as_of: str, revoked: FrozenSet[str] = frozenset()) -> Standing:
    """Where a plan stands at a time, by envelopes (file name → bytes); `revoked` are fingerprints of keys."""
    demands = [(one["pack"], one["approval"]) for one in plan["policies"] if "approval" in one]
    given, refused = _read(demands, envelopes, str(plan["asked"]["owner"]), as_of, revoked)
    identity, part = digest_of(plan, "kc.plan.v1"), bool(plan["asked"].get("targets"))
    steps, sections = _meaning(plan)
    by = [one for one in given if one.plan == identity or (part and _within(steps, sections, one))]
    found = []
    for pack, approval in demands:
        alive = _living(approval, as_of)
        count = len({one.key for one in by if one.key in alive.values()})
        if count < approval["min"]:
            names = ", ".join(sorted(alive)) or "nobody whose key has not ended"
            found.append(f"{count} of {approval['min']} approvals for pack `{pack}`; of {names}")
    if not demands and plan["asked"]["risk_tier"] == 1:
        found.append("risk tier 1 needs an approval, and no pack of the spec names who gives it")
    return Standing([f"approved by {one.who} on {one.on}" for one in by], found, refused)


def unfit(plan: Plan, data: bytes) -> Tuple[str, List[Tuple[str, str]]]:
    """Why the bytes of an envelope are no approval of this plan that those wrote whom its packs name, or ""; and who
    signed it, by name and key. Neither time nor owner is asked: what counts is said by `standing`."""
    asking = [one["approval"]["approvers"] for one in plan["policies"] if "approval" in one]
    named = [one for approvers in asking for one in approvers.items()]
    try:
        statement, by = signed.exact(data, {key for _, key in named})
        said = statement["predicate"]
        if statement["predicateType"] != PREDICATE or said.get("decision") != "approve":
            return "it is no approval of a plan", []
        part, (steps, sections) = bool(plan["asked"].get("targets")), _meaning(plan)
        same = said["plan"] == digest_of(plan, "kc.plan.v1")
        if not same and not (part and steps.items() <= said["steps"].items() and sections == said["sections"]):
            return "it approves another plan", []
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        return str(why), []
    return "", [one for one in named if one[1] in by]


def _living(approval: Mapping[str, Any], as_of: str) -> Dict[str, str]:
    return signed.living(approval["approvers"], approval.get("until", {}), as_of)


def _meaning(plan: Plan) -> Tuple[Dict[str, str], Dict[str, str]]:
    asked = {key: value for key, value in plan["asked"].items() if key != "targets"}
    sections = {name: digest_of(plan[name], "kc.section.v1") for name in SECTIONS if name in plan}
    steps = {step["id"]: digest_of(step, "kc.step.v1") for step in plan["steps"]}
    return steps, {**sections, "asked": digest_of(asked, "kc.section.v1")}


def _within(steps: Mapping[str, str], sections: Mapping[str, str], given: _Given) -> bool:
    return steps.items() <= given.steps.items() and dict(sections) == dict(given.sections)


def _read(
    demands: Sequence[Tuple[str, Mapping[str, Any]]],
    envelopes: Mapping[str, bytes],
    owner: str,
    as_of: str,
    revoked: FrozenSet[str],
) -> Tuple[List[_Given], List[str]]:
    names: Dict[str, List[str]] = {}
    for _, approval in demands:
        for name, key in approval["approvers"].items():
            names.setdefault(key, []).append(name)
    given: List[_Given] = []
    refused: List[str] = []
    allowed: List[signed.Allowed] = []
    for key in names:
        try:
            allowed.append(signed.Allowed(key, signed.public_key(key), "", "", ()))
        except signed.Unreadable as why:
            refused.append(f"{', '.join(names[key])}: {why}")
    for file, data in sorted(envelopes.items()):
        try:
            found = signed.verify(data, allowed, as_of, revoked)
            said = found.statement["predicate"]
            if found.statement["predicateType"] != PREDICATE or said.get("decision") != "approve":
                raise signed.Unreadable("it is no approval of a plan")
            plan, on = str(said["plan"]), str(said["on"])
            steps, sections = ({str(k): str(v) for k, v in said[name].items()} for name in ("steps", "sections"))
        except (ValueError, LookupError, TypeError, AttributeError) as why:
            refused.append(f"{file}: {why}")
            continue
        refused += [f"{file}: {why}" for why in found.refused]
        for signer in found.signers:
            holding = [
                (pack, one, name)
                for pack, one in demands
                for name, key in one["approvers"].items()
                if key == signer.who
            ]
            over = [each for each in holding if each[2] not in _living(each[1], as_of)]
            for pack, one, name in over:
                refused.append(f"{file}: the key of `{name}` ended on {one['until'][name]}, by pack `{pack}`")
            if len(over) == len(holding):
                continue
            if owner.casefold() in {name.casefold() for name in names[signer.who]}:
                refused.append(f"{file}: `{owner}` owns the spec")
            elif on > as_of:
                refused.append(f"{file}: it is of {on}, which has not come")
            else:
                given.append(_Given(names[signer.who][0], signer.who, on, plan, steps, sections))
    return given, refused
