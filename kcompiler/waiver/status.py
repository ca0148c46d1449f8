"""A waiver × the terms of a rule × a time → whether it is in force. The status is derived here and stored nowhere.

Of 18 waivers of a project whose files stored it, 17 said `active` a month after they had ended (caws-and-origin.md, 4).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from kcompiler.policy.obligation import Waivable
from kcompiler.verifier import signed
from kcompiler.verifier.waivers import SIGN
from kcompiler.waiver.approved import Approved, read
from kcompiler.waiver.file import Revoked, Waiver

if TYPE_CHECKING:
    from kcompiler.waiver.load import Loaded

Status = Literal["pending", "active", "exhausted", "expired", "revoked"]
#: days before the end at which it is foretold
SOON = 14


@dataclass(frozen=True, kw_only=True)
class State:
    """Where a waiver stands, and why it is not active; "" where it is."""

    status: Status
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Void:
    """A good signature that does not count: of whom, in which file, and why."""

    file: str
    why: str


def counted(waiver: Waiver, approvals: Sequence[Approved], terms: Waivable) -> tuple[dict[str, str], list[Void]]:
    """Who has approved it on the terms of a rule (name by the pack → when), and why the other signatures do not
    count. A key counts once, and for nobody who wrote or owns the waiver."""
    theirs = {waiver.author.casefold(): "wrote the waiver", waiver.owner.casefold(): "owns the waiver"}
    names = {key: name for name, key in terms.approvers.items()}
    found: dict[str, str] = {}
    void = []
    for one in approvals:
        who = names.get(one.key, "")
        if not who:
            void.append(Void(file=one.file, why="it is signed by no approver of the pack"))
        elif who.casefold() in theirs:
            void.append(Void(file=one.file, why=f"`{who}` {theirs[who.casefold()]}"))
        elif who in found:
            void.append(Void(file=one.file, why=f"`{who}` approves a second time"))
        elif not waiver.created <= one.on[:10] < waiver.expires:
            void.append(Void(file=one.file, why=f"{one.on} is not between the day it was written and the day it ends"))
        else:
            found[who] = one.on
    return found, void


def approving(waiver: Waiver, approvals: Sequence[Approved], terms: Waivable, as_of: str) -> list[str]:
    """Those whose approvals count at a time: given by then, with a key that has not ended."""
    alive = signed.living(terms.approvers, terms.until, as_of)
    return sorted(who for who, on in counted(waiver, approvals, terms)[0].items() if on <= as_of and who in alive)


def key_ends(waiver: Waiver, approvals: Sequence[Approved], terms: Waivable, as_of: str) -> tuple[str, str] | None:
    """Name and day of the key with whose end too few approvals are left, before the waiver itself ends."""
    ends = sorted((terms.until[who], who) for who in approving(waiver, approvals, terms, as_of) if who in terms.until)
    for day, who in ends:
        if day < waiver.expires and len(approving(waiver, approvals, terms, f"{day}T00:00:00Z")) < terms.min:
            return who, day
    return None


def ended(waiver: Waiver, ends: Mapping[str, Mapping[str, Any]]) -> Waiver:
    """The waiver with its revocation by `ends` (id → `by`, `on`, `reason`), where its file tells of none or of a later
    one: what was revoked once stays so."""
    end = ends.get(waiver.id)
    if end is None or (waiver.revoked is not None and waiver.revoked.on <= str(end["on"])):
        return waiver
    # as a line of the journal has it: whatever it says ends the waiver
    revoked = Revoked.model_construct(by=str(end["by"]), on=str(end["on"]), reason=str(end["reason"]))
    return waiver.model_copy(update={"revoked": revoked})


def state(waiver: Waiver, approvals: Sequence[Approved], terms: Waivable, as_of: str, used: int = 0) -> State:
    """The status at `as_of` (2026-01-31T00:00:00Z) of a waiver that bears these good signatures and has excused `used`
    reports before."""
    today = as_of[:10]
    if waiver.revoked is not None and waiver.revoked.on <= today:
        return State(status="revoked", why=f"revoked on {waiver.revoked.on} by {waiver.revoked.by}")
    if waiver.expires <= today:
        return State(status="expired", why=f"ended on {waiver.expires}")
    if today < waiver.created:
        return State(status="pending", why=f"begins on {waiver.created}")
    if waiver.days > terms.max_days:
        return State(status="pending", why=f"lasts {waiver.days} days, and the pack allows {terms.max_days}")
    count = len(approving(waiver, approvals, terms, as_of))
    if count < terms.min:
        return State(status="pending", why=f"{count} of {terms.min} approvals{SIGN}")
    if waiver.max_uses is not None and used >= waiver.max_uses:
        return State(status="exhausted", why=f"all of its {waiver.max_uses} uses are used")
    return State(status="active")


def days_left(waiver: Waiver, as_of: str) -> int:
    """Whole days until it ends; 0 and less when it has."""
    return days_to(waiver.expires, as_of)


def days_to(day: str, as_of: str) -> int:
    """Whole days from a time to a day (2026-01-31)."""
    return (date.fromisoformat(day) - date.fromisoformat(as_of[:10])).days


def law(
    obligations: Sequence[Mapping[str, Any]], loaded: Sequence[Loaded], listed: Sequence[Mapping[str, Any]], as_of: str
) -> list[str]:
    """What is in force at a time, in words: which dated rules block, and where each waiver stands that the plan lists,
    on each rule's terms. How often one was used is not asked."""
    today, here = as_of[:10], {one.waiver.id: one for one in loaded}
    found = {f"{one['rule']} blocks" for one in obligations if one.get("effective_on", "~") <= today}
    for entry in listed:
        waiver = here.get(entry["id"])
        for one in obligations:
            if waiver is not None and one["rule"] in entry["rules"] and "waivable" in one:
                terms = Waivable.model_validate(one["waivable"])
                approvals, _ = read(waiver.waiver, waiver.envelopes, terms.approvers.values())
                found.add(f"{entry['id']} on {one['rule']}: {state(waiver.waiver, approvals, terms, as_of).status}")
    return sorted(found)
