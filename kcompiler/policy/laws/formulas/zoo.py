"""Above the best policy: the best is the best of all that are due, no gold among them, and gold is wholly right.

`policies` of the schema are those that every report of the kind has, `numeric` those of one whose `match` is that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, Side, difference, measured, side_of
from runtime.contract.zoo import GOLD


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Above the best policy: the best is the best, no gold among them, and gold is wholly right."""
    zoo = data["zoo"]
    above = {name: node for name, node in zoo["above"].items() if measured(node) is not None}
    if not above:
        return
    gold = measured(zoo["gold"])
    if gold is None or gold.value != 1:
        yield "/zoo/above: compared where the rows' own answers are not all right"
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
    right = Side(best.value * best.n, best.n, best.k is not None)
    for name, node in above.items():
        if wrong := difference(node, side_of(data, said["of"], name, said.get("less", False)), right):
            yield f"/zoo/above/{name}: {wrong}"
