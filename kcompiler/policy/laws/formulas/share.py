"""How much a model has right of what its teacher has: it follows from the items both have right, and each alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.laws.sides import Data, Side, measured, side_of, unlike
from runtime.contract.statistics import ratios


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """How much a model has right of what its teacher has, of the same items."""
    teacher = side_of(data, said["of"], "teacher", less=False)
    for name, node in data["of_teacher"].items():
        found, mine = measured(node), side_of(data, said["of"], name, less=False)
        if found is None:
            continue
        if teacher is None or mine is None or not teacher.value:
            yield f"/of_teacher/{name}: a share of what was not measured"
            continue
        counts = [node.get(count) for count in ("both", "wins", "losses")]
        if any(type(one) is not int or one < 0 for one in counts) or found.n != min(mine.n, teacher.n):
            yield f"/of_teacher/{name}: a share without the items that both have right, and each alone"
            continue
        both, won, lost = counts
        if both + won + lost > found.n or not _of(mine, both + won, found.n) or not _of(teacher, both + lost, found.n):
            yield f"/of_teacher/{name}: {both} right in both, {won} and {lost} in one, are others than beside it"
        elif wrong := unlike(node, ratios.kept(found.n, both, won, lost)):
            yield f"/of_teacher/{name}: {wrong}"
        elif name == "student" and _paired(data["teacher_gain"], found.n) not in (None, (won, lost)):
            yield f"/of_teacher/{name}: {won} won and {lost} lost, and `teacher_gain` has others"


def _paired(gain: Mapping[str, Any], n: int) -> tuple[object, object] | None:
    """What was won and lost of the same items, where that was compared."""
    return (gain.get("wins"), gain.get("losses")) if gain.get("n") == n else None


def _of(side: Side, right: int, n: int) -> bool:
    """Whether of a model's items the first n may have so many right: of all of them, those."""
    return right == side.value if side.n == n else right <= side.value <= right + side.n - n
