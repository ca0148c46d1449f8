"""Every loss over layers in float64 numpy, written from its formula and from nothing in `runtime`.

It walks rows, pairs, tokens, heads and keys one at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def mse(student_H: Array, teacher_H: Array) -> float:
    return sum((x - y) ** 2 for x, y in zip(student_H, teacher_H, strict=True)) / len(teacher_H)


def relative_mse(student_H: Array, teacher_H: Array) -> float:
    """Of the teacher's own mean square."""
    return sum((x - y) ** 2 for x, y in zip(student_H, teacher_H, strict=True)) / sum(y**2 for y in teacher_H)


def cosine(student_H: Array, teacher_H: Array) -> float:
    product = sum(x * y for x, y in zip(student_H, teacher_H, strict=True))
    return 1 - product / (sum(x**2 for x in student_H) ** 0.5 * sum(y**2 for y in teacher_H) ** 0.5)


def attention(student_AK: Array, teacher_AK: Array) -> float:
    """KL(teacher ‖ student) over the keys of one query, the mean of its heads."""
    found = 0.0
    for head in range(len(teacher_AK)):
        for q, p in zip(student_AK[head], teacher_AK[head], strict=True):
            found += p * np.log(p / q) if p > 0 else 0.0
    return found / len(teacher_AK)


def term(
    distance: Callable[[Array, Array], float],
    student: Sequence[Mapping[int, Array]],
    teacher: Sequence[Mapping[int, Array]],
    pairs: Sequence[tuple[int, int]],
    masks: Sequence[Sequence[bool]],
    matrices: Mapping[tuple[int, int], Array] | None = None,
) -> float:
    """Mean over pairs of layers of the mean over every supervised token. `student[r][s]`: of row r alone what layer s has
    at each token. `matrices`: what the student's states of a pair are multiplied by."""
    total, count = 0.0, 0
    for row, mask in enumerate(masks):
        for i, supervised in enumerate(mask):
            if supervised:
                count += 1
                for s, t in pairs:
                    x, y = student[row][s][i - 1], teacher[row][t][i - 1]
                    total += distance(x if matrices is None else matrices[s, t] @ x, y) / len(pairs)
    return total / count


#: name of a case → loss, its parameters, its distance
CASES: Mapping[str, tuple[str, dict[str, Any], Callable[[Array, Array], float]]] = {
    "mse": ("hidden", {}, mse),
    "relative": ("hidden", {"normalise": True}, relative_mse),
    "cosine": ("hidden", {"distance": "cosine"}, cosine),
    "attention": ("attention", {}, attention),
}
