"""A violation × the waivers at hand → the one that excuses it, or why each that names the rule does not.

The narrowest waiver that covers a violation excuses it. Each report that a waiver excuses is one use of it, however
often and by however many rules that report is judged: judging again changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from kcompiler.policy.kind import text_of
from kcompiler.policy.obligation import Waivable
from kcompiler.waiver.approved import Approved, read
from kcompiler.waiver.file import Waiver
from kcompiler.waiver.load import Loaded
from kcompiler.waiver.status import approving, ended, state


@dataclass(frozen=True, kw_only=True)
class Given:
    """A waiver, the "sha256:…" of the bytes it was read from, and the good signatures under it."""

    waiver: Waiver
    digest: str
    approvals: Sequence[Approved] = ()


@dataclass(frozen=True, kw_only=True)
class Waivers:
    """All that a judgement is told of waivers.

    `spec` is the name of the plan and `plan` its digest without waivers; `used` says which reports each waiver has
    excused before.
    """

    given: Sequence[Given] = ()
    spec: str = ""
    plan: str = ""
    used: Mapping[str, frozenset[str]] = field(default_factory=dict)


NONE = Waivers()


@dataclass(frozen=True, kw_only=True)
class Found:
    """A rule that would block: `tags` say how every place it looked at ended, `miss` is how far the worst of them
    misses the bound unless one is `unmeasured`, `report` the digest of what was judged ("" for no report)."""

    rule: str
    step: str
    outcome: str
    tags: frozenset[str]
    miss: Fraction
    report: str


@dataclass(frozen=True, kw_only=True)
class Granted:
    """The waiver that excuses a violation. `use` is what is counted, `approved` names who had signed."""

    id: str
    digest: str
    until: str
    use: str
    approved: str


class Desk:
    """Hands out waivers during one judgement and counts what it has handed out."""

    def __init__(self, waivers: Waivers, as_of: str | None) -> None:
        self._waivers, self._as_of = waivers, as_of
        self._used = {one.waiver.id: set(waivers.used.get(one.waiver.id, ())) for one in waivers.given}

    def ask(self, found: Found, terms: Waivable | None) -> Granted | str:
        """The waiver that excuses it, or why none does; "" where none names the rule."""
        naming = [one for one in self._waivers.given if found.rule in one.waiver.rules]
        use, why = found.report or f"{found.step} of {self._waivers.plan}", []
        # the narrowest first, and among equals one that has excused this very report
        for one in sorted(
            naming, key=lambda one: (_width(one.waiver), use not in self._used[one.waiver.id], one.waiver.id)
        ):
            refused = self._refused(one, found, terms, use)
            if refused or terms is None:
                why.append(f"{one.waiver.id} does not excuse it: {refused}")
                continue
            self._used[one.waiver.id].add(use)
            who = approvers(one, terms, self._as_of or "")
            return Granted(id=one.waiver.id, digest=one.digest, until=one.waiver.expires, use=use, approved=who)
        return "; ".join(why)

    def uses(self, waiver: str) -> list[str]:
        """What a waiver has excused, with what this judgement has added."""
        return sorted(self._used[waiver])

    def _refused(self, given: Given, found: Found, terms: Waivable | None, use: str) -> str:
        waiver = given.waiver
        if terms is None:
            return "the rule cannot be waived"
        if self._as_of is None:
            return "no time was given to judge at"
        used = self._used[waiver.id]
        at = state(waiver, given.approvals, terms, self._as_of, 0 if use in used else len(used))
        if at.status != "active":
            return f"{at.status}, {at.why}"
        return _elsewhere(waiver, found, self._waivers) or _beyond(waiver, found, terms)


def given(
    one: Loaded,
    obligations: Sequence[Mapping[str, Any]],
    ends: Mapping[str, Mapping[str, Any]],
    dead: frozenset[str] = frozenset(),
) -> Given:
    """A waiver as a judgement is told of it: with what the keys that the `obligations` allow have signed, and revoked
    where `ends` says so; `dead` are fingerprints of keys that no longer count."""
    asked = [each["waivable"] for each in obligations if each["rule"] in one.waiver.rules and "waivable" in each]
    keys = {str(key) for terms in asked for key in terms["approvers"].values()}
    approvals, _ = read(one.waiver, one.envelopes, keys, dead)
    return Given(waiver=ended(one.waiver, ends), digest=one.digest, approvals=approvals)


def approvers(one: Given, terms: Waivable, as_of: str) -> str:
    """The names of those whose approvals count at a time, with commas."""
    return ", ".join(approving(one.waiver, one.approvals, terms, as_of))


def told(one: Given, used: Sequence[str]) -> dict[str, Any]:
    """What a verdict says of a waiver that was at hand."""
    revoked = {} if one.waiver.revoked is None else {"revoked": one.waiver.revoked.model_dump(mode="json")}
    return {"id": one.waiver.id, "digest": one.digest, "used": list(used), **revoked}


def _width(waiver: Waiver) -> Fraction:
    return Fraction(waiver.magnitude or 0)


def _elsewhere(waiver: Waiver, found: Found, waivers: Waivers) -> str:
    """Why the violation is of another subject, or ""."""
    about = waiver.subject
    if about.spec and about.spec != waivers.spec:
        return f"it is about spec `{about.spec}`"
    if about.lock and about.lock != waivers.plan:
        return "it is about another plan"
    if about.report and about.report != found.report:
        return "it is about another report"
    if about.steps and found.step not in about.steps:
        return f"it is about step {', '.join(about.steps)}"
    return ""


def _beyond(waiver: Waiver, found: Found, terms: Waivable) -> str:
    """Why the violation is more than the waiver excuses, or ""."""
    words = {"fail" if tag == "unmeasured" else tag for tag in found.tags | {found.outcome}} - {"pass"}
    if more := sorted(words - set(terms.outcomes)):
        return f"the pack lets nobody excuse {', '.join(more)}"
    if found.outcome != "fail":
        return ""
    if "unmeasured" in found.tags:
        return "" if waiver.subject.report else "how far it misses is not measured, and the waiver names no report"
    if waiver.magnitude is None:
        return "it has no magnitude"
    if found.miss > Fraction(waiver.magnitude):
        return f"it misses by {text_of(found.miss)}, and the waiver covers {waiver.magnitude}"
    return ""
