"""Every loss term in float64 numpy, written from its formula and from nothing in `runtime`.

It walks rows and positions one at a time: slow, and too plain to be wrong in the ways fast code is.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


def log_softmax(logits_V: Array) -> Array:
    shifted = logits_V - logits_V.max()
    result: Array = shifted - np.log(np.exp(shifted).sum())
    return result


def kl(student_V: Array, teacher_V: Array, _token: int, temperature: float) -> float:
    p, q = np.exp(log_softmax(teacher_V / temperature)), np.exp(log_softmax(student_V / temperature))
    return float(temperature**2 * sum(p[v] * np.log(p[v] / q[v]) for v in range(len(p))))


def reverse_kl(student_V: Array, teacher_V: Array, _token: int, temperature: float) -> float:
    p, q = np.exp(log_softmax(teacher_V / temperature)), np.exp(log_softmax(student_V / temperature))
    return float(temperature**2 * sum(q[v] * np.log(q[v] / p[v]) for v in range(len(p))))


def ce_teacher(student_V: Array, teacher_V: Array, _token: int, _temperature: float) -> float:
    return -float(log_softmax(student_V)[int(np.argmax(teacher_V))])


def ce_truth(student_V: Array, _teacher_V: Array, token: int, _temperature: float) -> float:
    return -float(log_softmax(student_V)[token])


PER_TOKEN = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "ce_teacher": ce_teacher,
    "ce_truth": ce_truth,
    "tool_name": ce_truth,
    "json_args": ce_truth,
}


def term(
    name: str,
    student: Sequence[Array],
    teacher: Sequence[Array],
    ids: Sequence[Sequence[int]],
    masks: Sequence[Sequence[bool]],
    temperature: float,
) -> float:
    """Mean over every supervised token of the batch. `student[r]` and `teacher[r]` are logits_TV of row r alone."""
    total, count = 0.0, 0
    for row in range(len(ids)):
        for i in range(len(ids[row])):
            if masks[row][i]:
                total += PER_TOKEN[name](student[row][i - 1], teacher[row][i - 1], ids[row][i], temperature)
                count += 1
    return total / count


def in_buckets(student_V: Array, teacher_V: Array, k: int, temperature: float) -> tuple[Array, Array]:
    """p and q over the teacher's k likeliest tokens, one by one, and all others together."""
    p, q = np.exp(log_softmax(teacher_V / temperature)), np.exp(log_softmax(student_V / temperature))
    order = sorted(range(len(p)), key=lambda v: (-teacher_V[v], v))
    parts = [[v] for v in order[:k]] + [order[k:]]
    return np.array([p[part].sum() for part in parts]), np.array([q[part].sum() for part in parts])


def of_top(name: str, student_V: Array, teacher_V: Array, k: int, temperature: float) -> float:
    """A divergence over k + 1 outcomes; nothing is added where the first of the two is zero."""
    p, q = in_buckets(student_V, teacher_V, k, temperature)
    first, second = (p, q) if name == "kl" else (q, p)
    return float(temperature**2 * sum(a * np.log(a / b) for a, b in zip(first, second, strict=True) if a > 0))
