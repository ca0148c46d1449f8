"""A waiver × the terms of a rule × a time → whether it is in force. The status is derived here and stored nowhere.

Of 18 waivers of a project whose files stored it, 17 said `active` a month after they had ended (caws-and-origin.md, 4).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any, Literal

from kcompiler.policy.obligation import Waivable
from kcompiler.waiver.file import Waiver

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
    """An approval that does not count: which one of the list, and why."""

    index: int
    why: str


def voids(waiver: Waiver, terms: Waivable) -> Iterator[Void]:
    """Approvals that count at no time."""
    theirs = {waiver.author.casefold(): "wrote the waiver", waiver.owner.casefold(): "owns the waiver"}
    seen: set[str] = set()
    for index, one in enumerate(waiver.approvals):
        if one.by.casefold() in theirs:
            yield Void(index=index, why=f"`{one.by}` {theirs[one.by.casefold()]}")
        elif one.by not in terms.approvers:
            yield Void(index=index, why=f"`{one.by}` is no approver of the pack")
        elif one.by in seen:
            yield Void(index=index, why=f"`{one.by}` approves a second time")
        elif not waiver.created <= one.on < waiver.expires:
            yield Void(index=index, why=f"{one.on} is not between the day it was written and the day it ends")
        else:
            seen.add(one.by)


def state(waiver: Waiver, terms: Waivable, as_of: str, used: int = 0) -> State:
    """The status at `as_of` (2026-01-31T00:00:00Z) of a waiver that has excused `used` reports before."""
    today = as_of[:10]
    if waiver.revoked is not None and waiver.revoked.on <= today:
        return State(status="revoked", why=f"revoked on {waiver.revoked.on} by {waiver.revoked.by}")
    if waiver.expires <= today:
        return State(status="expired", why=f"ended on {waiver.expires}")
    if today < waiver.created:
        return State(status="pending", why=f"begins on {waiver.created}")
    if waiver.days > terms.max_days:
        return State(status="pending", why=f"lasts {waiver.days} days, and the pack allows {terms.max_days}")
    void = {one.index for one in voids(waiver, terms)}
    count = sum(index not in void and one.on <= today for index, one in enumerate(waiver.approvals))
    if count < terms.min:
        return State(status="pending", why=f"{count} of {terms.min} approvals")
    if waiver.max_uses is not None and used >= waiver.max_uses:
        return State(status="exhausted", why=f"all of its {waiver.max_uses} uses are used")
    return State(status="active")


def days_left(waiver: Waiver, as_of: str) -> int:
    """Whole days until it ends; 0 and less when it has."""
    return (date.fromisoformat(waiver.expires) - date.fromisoformat(as_of[:10])).days


def law(
    obligations: Sequence[Mapping[str, Any]], loaded: Sequence[Loaded], listed: Sequence[Mapping[str, Any]], as_of: str
) -> list[str]:
    """What is in force at a time, in words: which dated rules block, and where each waiver stands that the plan lists,
    on each rule's terms. How often one was used is not asked."""
    today, here = as_of[:10], {one.waiver.id: one.waiver for one in loaded}
    found = {f"{one['rule']} blocks" for one in obligations if one.get("effective_on", "~") <= today}
    for entry in listed:
        waiver = here.get(entry["id"])
        for one in obligations:
            if waiver is not None and one["rule"] in entry["rules"] and "waivable" in one:
                terms = Waivable.model_validate(one["waivable"])
                found.add(f"{entry['id']} on {one['rule']}: {state(waiver, terms, as_of).status}")
    return sorted(found)
