"""Waivers and dated rules × a time → where each waiver stands then, what ends later, and what the verdict will be.

The evidence stays as it is: only the day is another. Standard library only.
"""

from __future__ import annotations

from typing import Any, Callable, Iterator, List, Mapping, NamedTuple, Sequence, Tuple

from kcompiler.verifier.waivers import Given, State, Waivers, approvers, days_between, state

Obligations = Sequence[Mapping[str, Any]]


class Foreseen(NamedTuple):
    """Something that changes on a day, in so many days, and the verdict from then on."""

    day: str
    days: int
    what: str
    verdict: str

    @property
    def text(self) -> str:
        """In words."""
        when = f"in {self.days} day{'' if self.days == 1 else 's'}, on {self.day}"
        return f"{self.what} {when}: then the verdict is {self.verdict}"


def standing(obligations: Obligations, held: Waivers, as_of: str) -> List[Tuple[str, State]]:
    """Each waiver at hand (id) and where it stands at a time, on the terms of the rules that it names."""
    found = []
    for one in held.given:
        name, used = one.waiver["id"], len(held.used.get(one.waiver["id"], ()))
        most = one.waiver.get("max_uses")
        # what it has excused already it excuses again: the count alone takes nothing from this verdict
        count = used if most is None else min(used, most - 1)
        states = [state(one, terms, as_of, count) for terms in _terms(obligations, one)]
        found.append((name, next((each for each in states if each.status != "active"), (states or [_NOBODY])[0])))
    return found


_NOBODY = State("pending", "none of its rules can be waived")


def _terms(obligations: Obligations, one: Given) -> Iterator[Mapping[str, Any]]:
    for each in obligations:
        if each["rule"] in one.waiver["rules"] and each.get("waivable"):
            yield each["waivable"]


def foreseen(obligations: Obligations, held: Waivers, as_of: str, verdict_at: Callable[[str], str]) -> List[Foreseen]:
    """What ends or begins after a time, in the order of its days; `verdict_at` judges the same evidence at another."""
    days = sorted(set(_changes(obligations, held, as_of[:10])))
    words = {day: verdict_at(f"{day}T00:00:00Z") for day in sorted({day for day, _ in days})}
    return [Foreseen(day, days_between(as_of[:10], day), what, words[day]) for day, what in days]


def _changes(obligations: Obligations, held: Waivers, today: str) -> Iterator[Tuple[str, str]]:
    alive = {name for name, at in standing(obligations, held, f"{today}T23:59:59Z") if at.status == "active"}
    for one in held.given:
        revoked = one.waiver.get("revoked")
        if one.waiver["id"] in alive and revoked is not None and revoked["on"] < one.waiver["expires"]:
            yield revoked["on"], f"waiver {one.waiver['id']} is revoked"
        elif one.waiver["id"] in alive:
            yield one.waiver["expires"], f"waiver {one.waiver['id']} ends"
        if one.waiver["id"] in alive:
            yield from _keys(obligations, one, today)
    for each in obligations:
        day = str(each.get("effective_on", ""))
        if day > today and each["mode"] == "block":
            yield day, f"rule {each['rule']} begins to block"


def _keys(obligations: Obligations, one: Given, today: str) -> Iterator[Tuple[str, str]]:
    """Keys that approved a waiver and end before it does."""
    last = (one.waiver.get("revoked") or {"on": one.waiver["expires"]})["on"]
    for terms in _terms(obligations, one):
        for who in approvers(one, terms, f"{today}T23:59:59Z"):
            day = terms.get("until", {}).get(who, "")
            if today < day < last:
                yield day, f"the key of {who}, who approved waiver {one.waiver['id']}, ends"


def told(
    obligations: Obligations, held: Waivers, as_of: str, verdict_at: Callable[[str], str], recorded: str
) -> List[str]:
    """All of that in words: what is no longer as it was when the verdict was `recorded`, and what will be."""
    found = []
    for name, at in standing(obligations, held, as_of):
        found.append(f"waiver {name} is {at.status} as of {as_of}" + (f": {at.why}" if at.why else ""))
    now = verdict_at(as_of)
    if now != recorded:
        found.append(f"the verdict was {recorded} when it was given; as of {as_of} it is {now}")
    return [*found, *(one.text for one in foreseen(obligations, held, as_of, verdict_at))]
