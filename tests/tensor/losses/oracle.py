"""Every loss term in float64 numpy, written from its formula and from nothing in `runtime`.

It walks rows and positions one at a time: slow, and too plain to be wrong in the ways fast code is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

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


def both(student_V: Array, teacher_V: Array, temperature: float) -> tuple[Array, Array]:
    """(p, q): teacher and student, softened."""
    return np.exp(log_softmax(teacher_V / temperature)), np.exp(log_softmax(student_V / temperature))


def _kl(first: Array, second: Array) -> float:
    return float(sum(a * np.log(a / b) for a, b in zip(first, second, strict=True) if a > 0))


def of_jsd(p: Array, q: Array, beta: float) -> float:
    """GKD's JSD over beta (1 - beta); its limits at the ends."""
    if beta in (0.0, 1.0):
        return _kl(p, q) if beta == 0.0 else _kl(q, p)
    m = beta * p + (1 - beta) * q
    return (beta * _kl(p, m) + (1 - beta) * _kl(q, m)) / (beta * (1 - beta))


def of_skew_kl(p: Array, q: Array, alpha: float) -> float:
    return _kl(p, alpha * p + (1 - alpha) * q)


def of_skew_reverse_kl(p: Array, q: Array, alpha: float) -> float:
    return _kl(q, (1 - alpha) * p + alpha * q)


def of_acceptance(p: Array, q: Array, _none: float) -> float:
    return -float(np.log(sum(min(a, b) for a, b in zip(p, q, strict=True))))


def of_tvd(p: Array, q: Array, _none: float) -> float:
    return 0.5 * float(sum(abs(a - b) for a, b in zip(p, q, strict=True)))


#: (p, q, parameter) → nats, before T²
OF_TWO = {
    "jsd": of_jsd,
    "skew_kl": of_skew_kl,
    "skew_reverse_kl": of_skew_reverse_kl,
    "acceptance": of_acceptance,
    "tvd": of_tvd,
}
#: the parameter that the checks of the training path give them
GIVEN = {"jsd": 0.3, "skew_kl": 0.1, "skew_reverse_kl": 0.2, "acceptance": 0.0, "tvd": 0.0}
#: those that are softened, and multiplied by T²
SOFT = {"jsd", "skew_kl", "skew_reverse_kl"}


def of_two(name: str, student_V: Array, teacher_V: Array, given: float, temperature: float) -> float:
    t = temperature if name in SOFT else 1.0
    return t**2 * OF_TWO[name](*both(student_V, teacher_V, t), given)


def of_two_in_buckets(name: str, student_V: Array, teacher_V: Array, k: int, given: float, temperature: float) -> float:
    t = temperature if name in SOFT else 1.0
    return t**2 * OF_TWO[name](*in_buckets(student_V, teacher_V, k, t), given)


def mse(student_V: Array, teacher_V: Array, _token: int, _temperature: float) -> float:
    """Of logits that have no mean."""
    s, t = student_V - student_V.mean(), teacher_V - teacher_V.mean()
    return float(sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / len(s))


def top_k_kl(student_V: Array, teacher_V: Array, k: int, tail: str, temperature: float) -> float:
    if tail == "bucket":
        return of_top("kl", student_V, teacher_V, k, temperature)
    inside = sorted(range(len(teacher_V)), key=lambda v: (-teacher_V[v], v))[:k]
    p, q = (np.exp(log_softmax(side[inside] / temperature)) for side in (teacher_V, student_V))
    return float(temperature**2 * _kl(p, q))


#: how many of the teacher's tokens `top_k_kl` reads there
K = 5

PER_TOKEN: dict[str, Callable[[Array, Array, int, float], float]] = {
    "kl": kl,
    "reverse_kl": reverse_kl,
    "ce_teacher": ce_teacher,
    "ce_truth": ce_truth,
    "tool_name": ce_truth,
    "json_args": ce_truth,
    "mse": mse,
    "top_k_kl": lambda student, teacher, _token, t: top_k_kl(student, teacher, K, "bucket", t),
    **{
        name: lambda student, teacher, _token, t, name=name: of_two(name, student, teacher, GIVEN[name], t)
        for name in OF_TWO
    },
}
