"""Two packs → per rule stronger, weaker or incomparable, added or removed, with what moved.

The same reasoning as between two plans, on the rules as they are written: what a rule is about, and when it applies,
move it too. Stronger means that no report passes the new rule and fails the old one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

from kcompiler.diff import approval, places
from kcompiler.diff.direction import Direction, direction
from kcompiler.policy.load import LoadedPack, LoadedRule, signers
from kcompiler.policy.rule import Rule

Way = Literal["same", "stronger", "weaker", "incomparable", "added", "removed"]


@dataclass(frozen=True, kw_only=True)
class Moved:
    """What became of one rule. `weakens`: something may pass now that did not; `at`: where what does it stands now, of
    a pack that is still there."""

    rule: str
    way: Way
    what: str
    weakens: bool
    at: places.Spot | None = field(default=None, compare=False, repr=False)


def compare(old: LoadedPack, new: LoadedPack) -> list[Moved]:
    """Every rule of both packs, by its id: packs of two names are compared as two versions of one."""
    before = {one.rule.id: one for one in old.rules}
    after = {one.rule.id: one for one in new.rules}
    found = [moved(name, before.get(name), after.get(name), new) for name in sorted({*before, *after})]
    return [*_head(old, new), *_promise(old, new), *_signers(old, new), *found]


def gone(old: LoadedPack) -> list[Moved]:
    """What a pack takes with it that is there no longer: its rules, and whoever had to sign a lock."""
    return [*_signers(old, None), *(moved(one.rule.id, one, None) for one in old.rules)]


def _head(old: LoadedPack, new: LoadedPack) -> Iterator[Moved]:
    """What pack.yaml says of all rules: where it may be used, and of how many items a rate must be."""
    if old.pack.min_n != new.pack.min_n:
        less = new.pack.min_n < old.pack.min_n
        what = f"min_n {old.pack.min_n} → {new.pack.min_n}"
        at = places.spot(new.tree, "/min_n")
        yield Moved(rule="pack.yaml", way="weaker" if less else "stronger", what=what, weakens=less, at=at)
    lost = sorted(set(old.pack.risk_tiers) - set(new.pack.risk_tiers))
    if lost:
        what = f"no longer for risk tier {', '.join(map(str, lost))}"
        at = places.spot(new.tree, "/risk_tiers")
        yield Moved(rule="pack.yaml", way="incomparable", what=what, weakens=True, at=at)


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
    at = places.spot(new.tree, "/strengthens")
    yield Moved(rule="pack.yaml", way=way, what=what, weakens=way != "stronger", at=at)


def _signers(old: LoadedPack, new: LoadedPack | None) -> Iterator[Moved]:
    """Who must sign a lock before it is applied; None: the pack is gone. Who approves a waiver moves each rule."""
    asked = [{} if one is None else signers(one.pack) for one in (old, new)]
    for step in approval.moves(*(one.get("approval") for one in asked)):
        assert step.direction
        what = f"{step.path} {step.old or 'none'} → {step.new or 'none'}"
        at = None if new is None else places.of_approval(new, step.path)
        yield Moved(rule="pack.yaml", way=step.direction, what=what, weakens=step.direction != "stronger", at=at)


def moved(name: str, old: LoadedRule | None, new: LoadedRule | None, pack: LoadedPack | None = None) -> Moved:
    """What became of one rule; None: there is no such rule on that side. `pack`: that of the new one."""
    if old is None or new is None:
        way, what = direction(plain(old) if old else None, plain(new) if new else None)
        became: Way = "added" if old is None else "removed"
        at = None if pack is None else places.Spot(pack.tree)
        return Moved(rule=name, way=became, what=what, weakens=way == "weaker", at=at)
    moves: list[tuple[Direction, str]] = []
    way, what = direction(plain(old), plain(new))
    if plain(old) != plain(new):
        moves.append((way, what))
    applies = list(_applies(old.rule, new.rule))
    moves += [(way, text) for way, text, _ in applies]
    ways = {one for one, _ in moves if one}
    if not ways:
        return Moved(rule=name, way="same", what="; ".join(text for _, text in moves), weakens=False)
    decided = ways.pop() if len(ways) == 1 else "incomparable"
    assert decided
    text = "; ".join(text for _, text in moves)
    keys = [key for way, _, key in applies if way != "stronger"]
    at = None if decided == "stronger" else places.of_rule(plain(old), plain(new), keys, (old.tree, new.tree), pack)
    return Moved(rule=name, way=decided, what=text, weakens=decided != "stronger", at=at)


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


def _applies(old: Rule, new: Rule) -> Iterator[tuple[Direction, str, str]]:
    """A rule about more reports, or with fewer conditions, asks more: which way, in words, and the key of the rule."""
    if old.on != new.on:
        way: Direction = (
            "stronger" if _within(old.on, new.on) else "weaker" if _within(new.on, old.on) else "incomparable"
        )
        yield way, f"on {old.on} → {new.on}", "on"
    before = {one.model_dump_json() for _, one in old.conditions}
    after = {one.model_dump_json() for _, one in new.conditions}
    if before != after:
        way = "stronger" if after < before else "weaker" if before < after else "incomparable"
        yield way, "when it applies", "when"
    if old.where != new.where:
        way = "stronger" if new.where is None else "weaker" if old.where is None else "incomparable"
        yield way, "to which steps", "where"


def _within(narrow: str, wide: str) -> bool:
    return wide == "*" or (wide.endswith(".*") and narrow.startswith(wide[:-1]))
