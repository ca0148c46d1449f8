"""A rule or a pack before and after → where in its file stands what made it weaker, as far as it still stands there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from kcompiler.diff.direction import direction
from kcompiler.policy.load import LoadedPack
from kcompiler.source import Tree, child

#: what is looked at first: one line is named, and this is the one that most readers ask about
_FIRST = ("mode", "kind", "phase", "effective_on", "threshold", "op", "need", "min_matches")


class Spot(NamedTuple):
    """A file of a pack, and the pointer of a value in it; "" for the file as a whole."""

    tree: Tree
    pointer: str = ""


def of_rule(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    applies: Sequence[str],
    trees: tuple[Tree, Tree],
    pack: LoadedPack | None,
) -> Spot:
    """Of a rule, `old` and `new` as an obligation would say it: the first of its values that, alone, would make it
    weaker, or that cannot be compared; the file where none stands there. `applies`: keys of the rule that say what it
    is about and when, which moved. `trees`: its file then and now."""
    before, tree = trees
    for key, *below in sorted(_weaker(old, new), key=_order):
        pointer = "/" + "/".join([key, *below])
        if key == "waivable":
            at = _of_terms(old.get(key), new.get(key), pack)
            if at is not None:
                return at
        if pointer in tree.values:
            return Spot(tree, pointer)
        if below == ["need", "min_n"] and pack is not None and pointer not in before.values:
            return spot(pack.tree, "/min_n")
    for key in applies:
        if f"/{key}" in tree.values:
            return Spot(tree, f"/{key}")
    return Spot(tree)


def of_approval(pack: LoadedPack, path: str) -> Spot:
    """Of what a pack asks of approvals, by the dotted path of `diff.approval`."""
    *_, name = path.split(".")
    if path == "approval.min":
        return spot(pack.tree, "/approval/lock/min")
    number = next((at for at, one in enumerate(pack.pack.approvers) if one.name == name), None)
    at = f"/approvers/{number}/until"
    return spot(pack.tree, at if ".until." in path and at in pack.tree.values else f"/approvers/{number}")


def spot(tree: Tree, pointer: str) -> Spot:
    """A pointer, where it still stands in the file."""
    return Spot(tree, pointer if pointer in tree.values else "")


def _order(path: Sequence[str]) -> tuple[int, ...]:
    return tuple(_FIRST.index(one) if one in _FIRST else len(_FIRST) for one in path)


def _weaker(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """The values that would weaken the old rule if nothing else had moved."""
    for path in _moved(old, new, ("params", "need")):
        if old["kind"] != new["kind"] and path[0] == "params":
            continue  # of another check
        if direction(old, _with(old, new, path))[0] in ("weaker", "incomparable"):
            yield path


def _moved(old: Mapping[str, Any], new: Mapping[str, Any], within: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for key in {**old, **new}:
        was, now = old.get(key), new.get(key)
        if was == now:
            continue
        if key in within and isinstance(was, Mapping) and isinstance(now, Mapping):
            yield from ((key, *below) for below in _moved(was, now, within))
        else:
            yield (key,)


def _with(old: Mapping[str, Any], new: Mapping[str, Any], path: Sequence[str]) -> dict[str, Any]:
    """The old one, with one value of the new one."""
    key, *below = path
    if below:
        return {**old, key: _with(old[key], new[key], below)}
    made = {name: value for name, value in old.items() if name != key}
    return {**made, key: new[key]} if key in new else made


def _of_terms(was: Any, now: Any, pack: LoadedPack | None) -> Spot | None:
    """Of the terms of a waiver that stand in pack.yaml; None where it is the rule that says more."""
    if pack is None or not was or not now or was["outcomes"] != now["outcomes"]:
        return None
    for key in ("min", "max_days"):
        if was[key] != now[key] and f"/approval/waiver/{key}" in pack.tree.values:
            return Spot(pack.tree, f"/approval/waiver/{key}")
    ends = was.get("until", {})
    if was["approvers"] != now["approvers"] or ends != now.get("until", {}):
        others = (
            at
            for at, one in enumerate(pack.pack.approvers)
            if was["approvers"].get(one.name) != one.key or ends.get(one.name, "") != one.until
        )
        return spot(pack.tree, child("/approvers", next(others, 0)))
    return None
