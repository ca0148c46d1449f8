"""Waivers as kcompiler read them × a time × what blocks → which of them excuses it. Standard library only.

No YAML is read here: beside each waiver's file a bundle holds what it means as JSON, the lock pins the digests of both,
and `kcompiler audit` reads the file itself. A waiver that its own rules refuse (`wrong`) excuses nothing.
"""

from __future__ import annotations

import re
from datetime import date
from fractions import Fraction
from typing import Any, Dict, FrozenSet, Iterator, List, Mapping, NamedTuple, Optional, Sequence, Set, Tuple

from kcompiler.verifier import signed
from kcompiler.verifier.reading import digest_of
from kcompiler.verifier.said import UNMEASURED, Said

REASONS = (
    "architectural_refactor",
    "emergency_hotfix",
    "experimental_feature",
    "infrastructure_limitation",
    "legacy_integration",
    "performance_critical",
    "security_patch",
    "third_party_constraint",
    "other",
)
_NAME = "[a-z0-9][a-z0-9-]*"
_RULE = re.compile(rf"{_NAME}(/{_NAME})*/{_NAME}\Z")
_ID = re.compile(r"WV-[0-9]{4,8}\Z")
_PERSON = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,99}\Z")
_PIN = re.compile(r"(sha256:[0-9a-f]{64})?\Z")
_NUMBER = re.compile(r"(0|[1-9][0-9]*)(\.[0-9]+)?\Z")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}\Z")
#: characters that a description, and a mitigation, must have
_TOLD, _MENDED = 50, 20
_NEEDED = {"id", "title", "rules", "subject", "reason", "description", "mitigation", "author", "owner"}
_NEEDED |= {"created", "expires"}
_OTHERS = {"magnitude", "max_uses", "revoked"}
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z\Z")
#: of what somebody signs about a waiver
PREDICATE = "urn:kcompiler:waiver-approval:v1"
#: what is said behind the number of approvals that there are
SIGN = ": `kcompiler waiver approve` signs one"
Waiver = Mapping[str, Any]
Terms = Mapping[str, Any]


class Approved(NamedTuple):
    """A good signature under a waiver: the key (`ssh-ed25519 AAAA…`), and when by its own word."""

    key: str
    on: str


class Given(NamedTuple):
    """A waiver, the digest of its file, and the good signatures under it."""

    waiver: Waiver
    digest: str
    approvals: Sequence[Approved] = ()


class Waivers(NamedTuple):
    """What a judgement is told: the waivers, the plan's name, its digest without waivers, what each has excused."""

    given: Sequence[Given] = ()
    spec: str = ""
    plan: str = ""
    used: Mapping[str, FrozenSet[str]] = {}


NONE = Waivers()


class State(NamedTuple):
    """Where a waiver stands, and why it is not active; "" where it is."""

    status: str
    why: str = ""


class Blocking(NamedTuple):
    """What a rule found that would block: where, the digest of the report ("" for none), its word, and how."""

    rule: str
    step: str
    report: str
    word: str
    said: Said


def meaning_digest(waiver: Waiver) -> str:
    """ "sha256:…" of what a waiver means, as the lock pins it."""
    return digest_of(waiver, "kc.waiver.v1")


def unwaived(plan: Mapping[str, Any]) -> str:
    """The digest of a plan as it was before any waiver."""
    asked = {key: value for key, value in plan["asked"].items() if key != "policy_as_of"}
    kept = {key: value for key, value in plan.items() if key != "waivers"}
    return digest_of({**kept, "asked": asked}, "kc.plan.v1")


# --- what a waiver must be


def wrong(one: Any) -> str:
    """Why this is no waiver, or ""."""
    try:
        return next(_wrong(one), "")
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        return f"it cannot be read: {why}"


def _wrong(one: Any) -> Iterator[str]:
    keys = one.keys()
    if not keys >= _NEEDED or not keys <= _NEEDED | _OTHERS:
        yield "it has other keys than a waiver"
    texts = {"id": _ID, "author": _PERSON, "owner": _PERSON, "created": _DAY, "expires": _DAY}
    yield from (f"`{name}` is none" for name, form in texts.items() if not form.match(one[name]))
    if one["reason"] not in REASONS or not isinstance(one["title"], str) or len(one["title"]) < 5:
        yield "it has no title, or no reason of the list"
    for name, least in (("description", _TOLD), ("mitigation", _MENDED)):
        if len(" ".join(one[name].split())) < least:
            yield f"its {name} is blank"
    rules = one["rules"]
    if not isinstance(rules, list) or not rules or len(set(rules)) < len(rules) or not all(map(_RULE.match, rules)):
        yield "it does not name rules by their full names"
    if date.fromisoformat(one["expires"]) <= date.fromisoformat(one["created"]):
        yield "it ends before it begins"
    if not _is_subject(one["subject"]):
        yield "it does not say what it is about"
    magnitude, most = one.get("magnitude"), one.get("max_uses")
    if magnitude is not None and (len(magnitude) > 40 or not _NUMBER.match(magnitude)):
        yield "its magnitude is no number from 0 on"
    if most is not None and (type(most) is not int or most < 1):
        yield "`max_uses` is no count"
    ended = one.get("revoked")
    if ended is not None:
        date.fromisoformat(ended["on"])
        if not _PERSON.match(ended["by"]) or not _DAY.match(ended["on"]):
            yield "who revoked it has no name"
        if ended.keys() != {"by", "on", "reason"} or len(ended["reason"]) < 10:
            yield "it was revoked without a reason"


def _is_subject(about: Mapping[str, Any]) -> bool:
    pins = all(isinstance(about.get(name, ""), str) and _PIN.match(about.get(name, "")) for name in ("lock", "report"))
    steps = about.get("steps", [])
    texts = (
        isinstance(about.get("spec", ""), str) and isinstance(steps, list) and all(isinstance(s, str) for s in steps)
    )
    named = any(about.get(name) for name in ("spec", "lock", "report"))
    return bool(pins and texts and named) and about.keys() <= {"spec", "lock", "report", "steps"}


# --- whether it is in force


def days_between(start: str, end: str) -> int:
    """Whole days from one day (2026-01-31) to another."""
    return (date.fromisoformat(end) - date.fromisoformat(start)).days


def approvals(
    waiver: Waiver, envelopes: Mapping[str, bytes], keys: Set[str], revoked: FrozenSet[str]
) -> List[Approved]:
    """The good signatures in envelopes (file name → bytes) by one of the keys, oldest first; a key counts unless its
    fingerprint is among the `revoked`."""
    pin = meaning_digest({key: value for key, value in waiver.items() if key != "revoked"})
    allowed, found = [], []
    for key in sorted(keys):
        try:
            allowed.append(signed.Allowed(key, signed.public_key(key), "", "", ()))
        except signed.Unreadable:
            continue  # nobody signs with what is no key
    for _, data in sorted(envelopes.items()):
        try:
            one = signed.verify(data, allowed, "1970-01-01T00:00:00Z", revoked)
            said = one.statement["predicate"]
            kind, decision = one.statement["predicateType"], said.get("decision")
            if (kind, decision, said["waiver"]) != (PREDICATE, "approve", pin) or not _MOMENT.match(said["on"]):
                continue
        except (ValueError, LookupError, TypeError, AttributeError):
            continue
        found += [Approved(signer.who, said["on"]) for signer in one.signers]
    return sorted(found, key=lambda one: (one.on, one.key))


def unfit(waiver: Waiver, data: bytes, named: Mapping[str, str]) -> Tuple[str, List[Tuple[str, str]]]:
    """Why the bytes of an envelope are no approval of this waiver that those wrote whom its rules name (name → key), or
    ""; and who signed it, by name and key. When it counts is said by `state`."""
    pin = meaning_digest({key: value for key, value in waiver.items() if key != "revoked"})
    try:
        statement, by = signed.exact(data, set(named.values()))
        said = statement["predicate"]
        kind, decision = statement["predicateType"], said.get("decision")
        if (kind, decision) != (PREDICATE, "approve") or not _MOMENT.match(said["on"]):
            return "it is no approval of a waiver", []
        if said["waiver"] != pin:
            return "what it approves is not what the waiver says", []
    except (ValueError, LookupError, TypeError, AttributeError) as why:
        return str(why), []
    return "", [one for one in named.items() if one[1] in by]


def approvers_of(waiver: Waiver, plan: Mapping[str, Any]) -> Dict[str, str]:
    """Who may approve a waiver by the rules of a plan that it names: name → key."""
    return {
        str(name): str(key)
        for one in plan["obligations"]
        if one["rule"] in waiver["rules"] and "waivable" in one
        for name, key in one["waivable"]["approvers"].items()
    }


def approvers(given: Given, terms: Terms, as_of: str) -> List[str]:
    """The names of those whose approvals count at a time: each a key of the pack that has not ended, and neither author
    nor owner."""
    alive = signed.living(terms["approvers"], terms.get("until", {}), as_of)
    waiver, names = given.waiver, {key: name for name, key in alive.items()}
    barred = {waiver["author"].casefold(), waiver["owner"].casefold()}
    seen: Dict[str, str] = {}
    for one in given.approvals:
        who = names.get(one.key, "")
        known = who and who.casefold() not in barred and who not in seen
        if known and waiver["created"] <= one.on[:10] < waiver["expires"]:
            seen[who] = one.on
    return sorted(who for who, on in seen.items() if on <= as_of)


def state(given: Given, terms: Terms, as_of: str, used: int = 0) -> State:
    """The status at a time of a waiver that has excused so many reports before."""
    waiver = given.waiver
    today, ended, days = as_of[:10], waiver.get("revoked"), days_between(waiver["created"], waiver["expires"])
    if ended is not None and ended["on"] <= today:
        return State("revoked", f"revoked on {ended['on']} by {ended['by']}")
    if waiver["expires"] <= today:
        return State("expired", f"ended on {waiver['expires']}")
    if today < waiver["created"]:
        return State("pending", f"begins on {waiver['created']}")
    if days > terms["max_days"]:
        return State("pending", f"lasts {days} days, and the pack allows {terms['max_days']}")
    count, most = len(approvers(given, terms, as_of)), waiver.get("max_uses")
    if count < terms["min"]:
        return State("pending", f"{count} of {terms['min']} approvals{SIGN}")
    if most is not None and used >= most:
        return State("exhausted", f"all of its {most} uses are used")
    return State("active")


# --- what it excuses


class Desk:
    """Hands out waivers during one judgement, and counts."""

    def __init__(self, waivers: Waivers, as_of: Optional[str]) -> None:
        self._waivers, self._as_of = waivers, as_of
        self._used: Dict[str, Set[str]] = {
            one.waiver["id"]: set(waivers.used.get(one.waiver["id"], ())) for one in waivers.given
        }

    def ask(self, found: Blocking, terms: Optional[Terms]) -> Optional[Dict[str, str]]:
        """What an outcome says of the waiver that excuses it; None where none does. The narrowest goes first, and among
        equals one that has excused this very report."""
        use = found.report or f"{found.step} of {self._waivers.plan}"
        naming = [one for one in self._waivers.given if found.rule in one.waiver["rules"]]
        width = {one.digest: Fraction(one.waiver.get("magnitude") or 0) for one in naming}
        for one in sorted(
            naming, key=lambda o: (width[o.digest], use not in self._used[o.waiver["id"]], o.waiver["id"])
        ):
            if terms is not None and self._excuses(one, found, terms, use):
                self._used[one.waiver["id"]].add(use)
                who = ", ".join(approvers(one, terms, self._as_of or ""))
                said = {"id": one.waiver["id"], "digest": one.digest, "until": one.waiver["expires"], "use": use}
                return {**said, "approved": who, "was": found.word}
        return None

    def told(self) -> List[Dict[str, Any]]:
        """Every waiver that was at hand, with each report that it has excused."""
        used = self._used
        return [
            {
                "id": one.waiver["id"],
                "digest": one.digest,
                "used": sorted(used[one.waiver["id"]]),
                **({"revoked": one.waiver["revoked"]} if one.waiver.get("revoked") is not None else {}),
            }
            for one in self._waivers.given
        ]

    def _excuses(self, given: Given, found: Blocking, terms: Terms, use: str) -> bool:
        if self._as_of is None:
            return False
        waiver = given.waiver
        used = self._used[waiver["id"]]
        if state(given, terms, self._as_of, 0 if use in used else len(used)).status != "active":
            return False
        return _is_about(waiver["subject"], found, self._waivers) and _covers(waiver, found, terms)


def _is_about(about: Mapping[str, Any], found: Blocking, waivers: Waivers) -> bool:
    wanted = (("spec", waivers.spec), ("lock", waivers.plan), ("report", found.report))
    named = all(about.get(name, "") in ("", value) for name, value in wanted)
    return named and (not about.get("steps") or found.step in about["steps"])


def _covers(waiver: Waiver, found: Blocking, terms: Terms) -> bool:
    words = {"fail" if tag == UNMEASURED else tag for tag in found.said.tags | {found.word}} - {"pass"}
    if words - set(terms["outcomes"]):
        return False
    if found.word != "fail":
        return True
    if UNMEASURED in found.said.tags:
        return bool(waiver["subject"].get("report"))
    magnitude, margin = waiver.get("magnitude"), found.said.margin
    return magnitude is not None and margin is not None and -margin <= Fraction(magnitude)
