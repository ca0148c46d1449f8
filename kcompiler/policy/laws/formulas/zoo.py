"""Above the best policy: the best is the best of all that are due, no gold among them, and gold is wholly right.

`policies` of the schema are those that every report of the kind has, `numeric` those of one whose `match` is that.
`constant` says what a policy is worth whatever the items are, and `rising` that each of some is worth at least what the
one before is. With `items` and `per`, what a model is worth is `of`, summed, over so much of `per` as an item has on
average; so many items are behind `items`.

Where a judge says what is right, gold need not be right of every item. With `control` gold stands in `above` as a model
does, and others may only where it is above the best policy, by the interval.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from kcompiler.policy.datum import Datum
from kcompiler.policy.laws.sides import Data, Side, apart, difference, measured, side_of, spread
from runtime.contract.zoo import GOLD


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Above the best policy: the best is the best, no gold among them, and gold is wholly right."""
    zoo = data["zoo"]
    above = {name: node for name, node in zoo["above"].items() if measured(node) is not None}
    if not above:
        return
    gold = measured(zoo["gold"])
    if gold is None or (gold.value != 1 and "control" not in said):
        yield "/zoo/above: compared where the rows' own answers are not all right"
        return
    if "control" in said and above.keys() != {GOLD} and not (GOLD in above and above[GOLD].get("low", 0) > 0):
        yield "/zoo/above: compared where the rows' own answers hold no more than a policy"
        return
    worth = {name: measured(node) for name, node in zoo.get("right", zoo.get("worth", {})).items()}
    best = worth.get(zoo["best"])
    if GOLD in worth or best is None or best.value is None or best.n is None:
        yield f"/zoo/best: `{zoo['best']}` is no policy that was judged"
        return
    for name, one in worth.items():
        if one is None or one.value is None or one.n != gold.n or one.value > best.value:
            yield f"/zoo/best: `{zoo['best']}` is not the best, or `{name}` was judged on other items"
            return
    due = [*said.get("policies", ()), *(said.get("numeric", ()) if data.get("match") == "numeric" else ())]
    if lacking := [name for name in due if name not in worth]:
        # the best of what is left is no bound: who leaves out the policy that a model is, is above all others
        yield f"/zoo/{'right' if 'right' in zoo else 'worth'}: no policy `{lacking[0]}` was judged"
        return
    if said_wrong := _known(worth, said):
        yield said_wrong
        return
    right = Side(best.value * best.n, best.n, best.k is not None)
    for name, node in above.items():
        if name == GOLD and gold.value is not None and gold.n is not None:
            side: Side | None = Side(gold.value * gold.n, gold.n, gold.k is not None)
        else:
            side = side_of(data, said["of"], name, said.get("less", False))
        if "per" in said:
            side = spread(data, side, name, said["items"], said["per"], best.n)
        if wrong := difference(node, side, right):
            yield f"/zoo/above/{name}: {wrong}"


def _known(worth: Mapping[str, Datum | None], said: Mapping[str, Any]) -> str:
    """What a policy is not worth, whatever the items are, or ""."""
    values = {name: one.value for name, one in worth.items() if one is not None and one.value is not None}
    for name, value in said.get("constant", {}).items():
        if apart(float(values[name]), value):
            return f"/zoo/worth/{name}: {float(values[name])!r} is not {value!r}"
    for low, high in pairwise(said.get("rising", ())):
        if values[high] < values[low] and apart(float(values[high]), float(values[low])):
            return f"/zoo/worth/{high}: less than `{low}`"
    return ""
