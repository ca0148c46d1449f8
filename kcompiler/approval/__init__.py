"""A lock × envelopes signed by people × whom its packs name → whether it may be applied, and what nobody has approved.

`generated/<name>/approvals/<who>.dsse.json` is one person's approval: a DSSE envelope over an in-toto statement about
the lock's bytes, whose predicate says what the plan meant, step by step. It stands for every plan of the same meaning.
Who may sign, and how many must, is said by the packs that the lock pins; whoever owns the spec approves nothing. A
person is a key: what another pack calls by the same name is somebody else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kcompiler import dsse, lock
from kcompiler.verifier import signed
from kcompiler.verifier.approvals import END, PREDICATE, SECTIONS, asked_for
from kcompiler.verifier.waivers import days_between
from runtime import digest

__all__ = [
    "END",
    "FOLDER",
    "PREDICATE",
    "Demand",
    "Given",
    "Standing",
    "asked_for",
    "demands",
    "person",
    "standing",
    "statement",
    "words",
]

FOLDER = "approvals"
#: days before the end of a key at which it is foretold
SOON = 14


@dataclass(frozen=True, kw_only=True)
class Demand:
    """How many of whom (name → public key) a pack wants to sign, and until which day the key of a name counts."""

    pack: str
    min: int
    approvers: Mapping[str, str]
    until: Mapping[str, str]

    def living(self, now: str) -> dict[str, str]:
        """Those whose keys have not ended at a time."""
        return signed.living(self.approvers, self.until, now)


@dataclass(frozen=True, kw_only=True)
class Given:
    """One person's approval whose signature is good: by which key, of which plan, when, and what it meant."""

    who: str
    key: str
    plan: str
    on: str
    steps: Mapping[str, str]
    sections: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a lock stands: whose approvals are of it, what is lacking in words, what nobody has approved."""

    by: Sequence[Given]
    lacking: Sequence[str]
    unapproved: Sequence[str]
    #: envelopes that count for nobody, each with the reason
    refused: Sequence[str]
    #: keys that end soon, each with its day
    ending: Sequence[str] = ()


def demands(made: Mapping[str, Any]) -> list[Demand]:
    """What the packs of a plan ask for."""
    return [
        Demand(
            pack=one["pack"],
            min=one["approval"]["min"],
            approvers=one["approval"]["approvers"],
            until=one["approval"].get("until", {}),
        )
        for one in made["policies"]
        if "approval" in one
    ]


def _meaning(made: Mapping[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Step → its derivation, and section → digest of what it says."""
    asked = {key: value for key, value in made["asked"].items() if key != "targets"}
    sections = {name: digest.of_value(made[name], "kc.section.v1") for name in SECTIONS if name in made}
    return (
        {step["id"]: digest.of_value(step, "kc.step.v1") for step in made["steps"]},
        {**sections, "asked": digest.of_value(asked, "kc.section.v1")},
    )


def statement(made: Mapping[str, Any], data: bytes, who: str, on: str) -> dict[str, Any]:
    """What `who` signs about the lock whose bytes are `data`."""
    steps, sections = _meaning(made)
    said = {"plan": lock.plan_digest(made), "reviewer": who, "decision": "approve", "on": on}
    return dsse.statement(
        {"plan.lock": digest.of_bytes(data)}, PREDICATE, {**said, "steps": steps, "sections": sections}
    )


def person(made: Mapping[str, Any], key: str) -> str:
    """The name that a pack has for a public key; "" for none."""
    return next((name for one in demands(made) for name, theirs in one.approvers.items() if theirs == key), "")


def standing(made: Mapping[str, Any], folder: Path, now: str, revoked: frozenset[str] = frozenset()) -> Standing:
    """Where a lock stands by the envelopes in `folder`, at a time (2026-01-31T00:00:00Z); `revoked` are fingerprints of
    keys that no longer count."""
    asked = demands(made)
    given, refused = _read(folder, asked, str(made["asked"]["owner"]), now, revoked)
    steps, sections = _meaning(made)
    plan, part = lock.plan_digest(made), bool(made["asked"].get("targets"))
    by = [one for one in given if one.plan == plan or (part and _within(steps, sections, one))]
    lacking = []
    for one in asked:
        alive = one.living(now)
        count = len({each.key for each in by if each.key in alive.values()})
        if count < one.min:
            names = ", ".join(sorted(alive)) or "nobody whose key has not ended"
            lacking.append(f"{count} of {one.min} approvals for pack `{one.pack}`; of {names}")
    if not asked and made["asked"]["risk_tier"] == 1:
        lacking.append("risk tier 1 needs an approval, and no pack of the spec names who gives it")
    known = {(name, pin) for one in given for name, pin in one.steps.items()}
    said = {(name, pin) for one in given for name, pin in one.sections.items()}
    unapproved = [f"step {name} {pin}" for name, pin in steps.items() if (name, pin) not in known]
    unapproved += [f"section {name} {pin}" for name, pin in sorted(sections.items()) if (name, pin) not in said]
    ending = [
        f"the key of `{name}` for pack `{one.pack}` ends in {left} day{'' if left == 1 else 's'}, on {one.until[name]}"
        for one in asked
        for name in sorted(one.living(now).keys() & one.until.keys())
        if (left := days_between(now[:10], one.until[name])) <= SOON
    ]
    unapproved = unapproved if lacking else []
    return Standing(by=by, lacking=lacking, unapproved=unapproved, refused=refused, ending=ending)


def words(made: Mapping[str, Any], folder: Path, now: str) -> list[str]:
    """Who has approved a lock and what is lacking, a line each; nothing where nobody has to."""
    if (not demands(made) and made["asked"]["risk_tier"] != 1) or not asked_for(made):
        return []
    found = standing(made, folder, now)
    by = [f"approved by {one.who} on {one.on}" for one in found.by]
    more = {"lacking": found.lacking, "refused": found.refused, "ends soon": found.ending}
    return [*by, *(f"{what}: {line}" for what, lines in more.items() for line in lines)]


def _within(steps: Mapping[str, str], sections: Mapping[str, str], given: Given) -> bool:
    """Whether everything of a part was approved with the whole."""
    return steps.items() <= given.steps.items() and dict(sections) == dict(given.sections)


def _read(
    folder: Path, asked: Sequence[Demand], owner: str, now: str, revoked: frozenset[str]
) -> tuple[list[Given], list[str]]:
    """Whose signatures are good, and why others are not."""
    names: dict[str, list[str]] = {}
    for one in asked:
        for name, key in one.approvers.items():
            names.setdefault(key, []).append(name)
    given: list[Given] = []
    refused: list[str] = []
    allowed: list[dsse.Allowed] = []
    for key in names:
        try:
            # the principal is the key itself: a name may mean somebody else in another pack
            allowed.append(dsse.Allowed(key.partition(" ")[2], signed.public_key(key), "", "", ()))
        except dsse.Unreadable as why:
            refused.append(f"{', '.join(names[key])}: {why}")
    for path in sorted(folder.glob(f"*{END}")) if folder.is_dir() else []:
        name = path.name.encode("utf-8", "backslashreplace").decode()
        if name != path.name:
            refused.append(f"{name}: the name of this file is no UTF-8")
            continue
        try:
            found = dsse.verify(path.read_bytes(), allowed, now, revoked)
            said = found.statement["predicate"]
            if found.statement["predicateType"] != PREDICATE or said.get("decision") != "approve":
                raise dsse.Unreadable("it is no approval of a plan")
            texts = [str(said[name]) for name in ("plan", "on")]
            steps, sections = ({str(k): str(v) for k, v in said[name].items()} for name in ("steps", "sections"))
        except (OSError, dsse.Unreadable, LookupError, TypeError, AttributeError) as why:
            refused.append(f"{path.name}: {why}")
            continue
        refused += [f"{path.name}: {why}" for why in found.refused]
        for signer in found.signers:
            key = f"ssh-ed25519 {signer.who}"
            holding = [(one, name) for one in asked for name, theirs in one.approvers.items() if theirs == key]
            over = [(one, name) for one, name in holding if name not in one.living(now)]
            refused += [
                f"{path.name}: the key of `{name}` ended on {one.until[name]}, by pack `{one.pack}`"
                for one, name in over
            ]
            if len(over) == len(holding):
                continue
            if owner.casefold() in map(str.casefold, names[key]):
                refused.append(f"{path.name}: `{owner}` owns the spec")
            elif texts[1] > now:
                refused.append(f"{path.name}: it is of {texts[1]}, which has not come")
            else:
                given.append(
                    Given(who=names[key][0], key=key, plan=texts[0], on=texts[1], steps=steps, sections=sections)
                )
    return given, refused
