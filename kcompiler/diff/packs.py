"""Two packs → per rule stronger, weaker or incomparable, added or removed, with what moved.

The same reasoning as between two plans, on the rules as they are written: what a rule is about, and when it applies,
move it too. Stronger means that no report passes the new rule and fails the old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kcompiler.diff import approval
from kcompiler.diff.direction import Direction, direction
from kcompiler.policy.load import LoadedPack, LoadedRule, signers
from kcompiler.policy.rule import Rule

Way = Literal["same", "stronger", "weaker", "incomparable", "added", "removed"]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of one rule. `weakens`: something may pass now that did not."""

    rule: str
    way: Way
    what: str
    weakens: bool


def compare(old: LoadedPack, new: LoadedPack) -> list[Moved]:
    """Every rule of both packs, by its id: packs of two names are compared as two versions of one."""
    before = {one.rule.id: one for one in old.rules}
    after = {one.rule.id: one for one in new.rules}
    found = [moved(name, before.get(name), after.get(name)) for name in sorted({*before, *after})]
    return [*_head(old, new), *_promise(old, new), *_signers(old, new), *found]


def gone(old: LoadedPack) -> list[Moved]:
    """What a pack takes with it that is there no longer: its rules, and whoever had to sign a lock."""
    return [*_signers(old, None), *(moved(one.rule.id, one, None) for one in old.rules)]


def _head(old: LoadedPack, new: LoadedPack) -> Iterator[Moved]:
    """What pack.yaml says of all rules: where it may be used, and of how many items a rate must be."""
    if old.pack.min_n != new.pack.min_n:
        less = new.pack.min_n < old.pack.min_n
        what = f"min_n {old.pack.min_n} → {new.pack.min_n}"
        yield Moved(rule="pack.yaml", way="weaker" if less else "stronger", what=what, weakens=less)
    lost = sorted(set(old.pack.risk_tiers) - set(new.pack.risk_tiers))
    if lost:
        what = f"no longer for risk tier {', '.join(map(str, lost))}"
        yield Moved(rule="pack.yaml", way="incomparable", what=what, weakens=True)


def _promise(old: LoadedPack, new: LoadedPack) -> Iterator[Moved]:
    """What `strengthens` names: without it nothing holds the pack to another one's floors any more, now or later."""
    was, now = old.pack.strengthens, new.pack.strengthens
    if was == now:
        return
    held, below = set(), new.below
    while below is not None:
        held.add(below.pack.name)
        below = below.below
    way: Way = "stronger" if not was or was in held else "incomparable" if now else "weaker"
    what = f"strengthens {was or 'none'} → {now or 'none'}"
    yield Moved(rule="pack.yaml", way=way, what=what, weakens=way != "stronger")


def _signers(old: LoadedPack, new: LoadedPack | None) -> Iterator[Moved]:
    """Who must sign a lock before it is applied; None: the pack is gone. Who approves a waiver moves each rule."""
    asked = [{} if one is None else signers(one.pack) for one in (old, new)]
    for step in approval.moves(*(one.get("approval") for one in asked)):
        assert step.direction
        what = f"{step.path} {step.old or 'none'} → {step.new or 'none'}"
        yield Moved(rule="pack.yaml", way=step.direction, what=what, weakens=step.direction != "stronger")


def moved(name: str, old: LoadedRule | None, new: LoadedRule | None) -> Moved:
    """What became of one rule; None: there is no such rule on that side."""
    if old is None or new is None:
        way, what = direction(plain(old) if old else None, plain(new) if new else None)
        became: Way = "added" if old is None else "removed"
        return Moved(rule=name, way=became, what=what, weakens=way == "weaker")
    moves: list[tuple[Direction, str]] = []
    way, what = direction(plain(old), plain(new))
    if plain(old) != plain(new):
        moves.append((way, what))
    moves += _applies(old.rule, new.rule)
    ways = {one for one, _ in moves if one}
    if not ways:
        return Moved(rule=name, way="same", what="; ".join(text for _, text in moves), weakens=False)
    decided = ways.pop() if len(ways) == 1 else "incomparable"
    assert decided
    text = "; ".join(text for _, text in moves)
    return Moved(rule=name, way=decided, what=text, weakens=decided != "stronger")


def plain(loaded: LoadedRule) -> dict[str, Any]:
    """What an obligation of the rule would say, before a spec has resolved what it expects."""
    rule = loaded.rule
    made: dict[str, Any] = {
        "mode": rule.mode,
        "kind": loaded.kind,
        "params": loaded.params.model_dump(mode="json", by_alias=True),
        "phase": rule.phase,
        "effective_on": rule.effective_on,
        **loaded.terms,
    }
    if rule.expect is not None:
        said = rule.expect.model_dump(mode="json", by_alias=True)
        made["expect"] = said["value"] if rule.expect.value is not None else said
    return made


def _applies(old: Rule, new: Rule) -> Iterator[tuple[Direction, str]]:
    """A rule about more reports, or with fewer conditions, asks more."""
    if old.on != new.on:
        way: Direction = (
            "stronger" if _within(old.on, new.on) else "weaker" if _within(new.on, old.on) else "incomparable"
        )
        yield way, f"on {old.on} → {new.on}"
    before = {one.model_dump_json() for _, one in old.conditions}
    after = {one.model_dump_json() for _, one in new.conditions}
    if before != after:
        yield "stronger" if after < before else "weaker" if before < after else "incomparable", "when it applies"
    if old.where != new.where:
        yield "stronger" if new.where is None else "weaker" if old.where is None else "incomparable", "to which steps"


def _within(narrow: str, wide: str) -> bool:
    return wide == "*" or (wide.endswith(".*") and narrow.startswith(wide[:-1]))
