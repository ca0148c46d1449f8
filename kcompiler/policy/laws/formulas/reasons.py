"""Why each answer is right or wrong: the reasons are of all answers, and each answer has one.

`into` leads to a runner's reasons, `whole` to the rate of what is right. Where the reasons name what is right, too,
`right` is that name; else they are of all that is not. `counted` are further data that the reasons give: one has
exactly those `with` a reason among some, or all but those `without`; of `perhaps` it is not known.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kcompiler.policy.laws.sides import Data, at, measured, placed, runners


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Each answer has one reason."""
    for runner in runners(data, said["into"]):
        whole, nodes = (
            measured(at(data, said["whole"].replace("*", runner))),
            at(data, said["into"].replace("*", runner)),
        )
        found = {name: measured(node) for name, node in nodes.items()} if isinstance(nodes, Mapping) else {}
        counts = {name: (one.k, one.n) for name, one in found.items() if one is not None}
        if not counts and whole is None:
            continue
        n = (whole.n if whole is not None else next(iter(counts.values()))[1]) or 0
        k = {name: one[0] or 0 for name, one in counts.items()}
        place = placed(said["into"], runner)
        if len(counts) < len(found) or any(one[1] != n for one in counts.values()):
            yield f"{place}: not of {n} answers each"
            continue
        right = k.get(said["right"], 0) if "right" in said else n - sum(k.values())
        if "right" in said and sum(k.values()) != n:
            yield f"{place}: {sum(k.values())} reasons of {n} answers"
        elif whole is not None and right != whole.k:
            yield f"{place}: {right} are right, and {whole.k} beside it"
        else:
            yield from _counted(data, said.get("counted", ()), runner, k, n, place)


def _counted(
    data: Data, due: Sequence[Mapping[str, Any]], runner: str, k: Mapping[str, int], n: int, place: str
) -> Iterator[str]:
    for one in due:
        node = measured(at(data, one["of"].replace("*", runner)))
        if node is None:
            continue
        there = sum(k.get(name, 0) for name in one.get("with", ()))
        most = there if "with" in one else n - sum(k.get(name, 0) for name in one["without"])
        least = most - sum(k.get(name, 0) for name in one.get("perhaps", ()))
        count = node.value if node.k is None else node.k
        if count is None or node.n != n or not least <= count <= most:
            yield f"{place}: {least} to {most} of {n} for `{one['of'].replace('*', runner)}`"
