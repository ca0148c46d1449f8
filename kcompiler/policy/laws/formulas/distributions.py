"""How answers are distributed: means over all questions are those over their classes, and categories share all mass.

`sure` is how many nats a policy that says one answer puts between this and the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from kcompiler.policy.datum import Datum
from kcompiler.policy.laws.sides import ROUNDING, Data, apart, measured


def broken(data: Data, said: Mapping[str, Any]) -> Iterator[str]:
    """Means are those of their parts, shares of one distribution add up, and equally likely answers are."""
    for name, node in data["kl"].items():
        yield from _divergence(data, name, node)
    for name in data["answer_mass"]:
        yield from _masses(data, name)
    yield from _policies(data, said["sure"])


def _pooled(parts: Mapping[str, Datum | None]) -> tuple[int, float]:
    """Items behind parts, and the mean over all of them."""
    known = [one for one in parts.values() if one is not None]
    n = sum(one.n or 0 for one in known)
    return n, math.fsum(float(one.value or 0) * (one.n or 0) for one in known) / n if n else 0.0


def _divergence(data: Data, name: str, node: Mapping[str, Any]) -> Iterator[str]:
    whole = measured(node["all"])
    if whole is None:
        return
    parts = {subject: measured(one) for subject, one in node["by_class"].items()}
    n, mean = _pooled(parts)
    if n != whole.n or apart(node["all"]["value"], mean):
        yield f"/kl/{name}/all: {mean!r} of {n} by class"
    for subject, one in parts.items():
        beside = [measured(row.get(name)) for row in data["categories"].get(subject, {}).values()]
        if any((None if each is None else each.n) != (None if one is None else one.n) for each in beside):
            yield f"/kl/{name}/by_class/{subject}: other questions than its categories"


def _masses(data: Data, name: str) -> Iterator[str]:
    whole, top = measured(data["answer_mass"][name]), measured(data["top_share"].get(name))
    if whole is None:
        return
    held: dict[str, dict[str, Datum | None]] = {}
    for subject, row in data["categories"].items():
        parts = [measured(one.get(name)) for one in row.values()]
        known = [one for one in parts if one is not None]
        if known and (len({one.n for one in parts if one}) > 1 or len(known) < len(parts)):
            yield f"/categories/{subject}: not of the same questions for `{name}`"
        elif known and apart(math.fsum(float(one.value or 0) for one in known), 1.0):
            yield f"/categories/{subject}: the shares of `{name}` are not all there is"
        for category, one in row.items():
            held.setdefault(category, {})[subject] = measured(one.get(name))
    shares = [_pooled(parts) for parts in held.values()]
    if any(n != whole.n for n, _ in shares):
        yield f"/categories: of other questions than `{name}` was asked"
    elif top is not None and shares:
        most, single = max(mean for _, mean in shares), data["answers"]["value"] == len(shares)
        if (mine := float(top.value or 0)) > most + ROUNDING or (single and apart(mine, most)):
            yield f"/top_share/{name}: its category has {most!r}"
    rows, far = measured(data["top_share"]["rows"]), measured(data["distance"].get(name))
    # what one distribution's likeliest answer has more than the other's lies apart
    if rows and top and far and rows.n == top.n and _apart(top, rows) > float(far.value or 0) + ROUNDING:
        yield f"/distance/{name}: less than the likeliest answers are apart"


def _apart(one: Datum, other: Datum) -> float:
    return abs(float((one.value or 0) - (other.value or 0)))


def _policies(data: Data, sure: float) -> Iterator[str]:
    worth, size, rows = data["zoo"]["worth"], data["answers"]["value"], measured(data["top_share"]["rows"])
    if rows is None or rows.value is None:
        return
    others = math.log1p((size - 1) * math.exp(-sure))
    due = {"uniform": -math.log(size), "constant": -(others + (1 - float(rows.value)) * sure)}
    for name, value in due.items():
        if name in worth and apart(worth[name]["value"], value):
            yield f"/zoo/worth/{name}: it is {value!r}"
    # an entropy is at most that of equally likely answers, and at least that of the likeliest
    prior = worth["prior"]["value"] if "prior" in worth else due["uniform"]
    if not due["uniform"] - ROUNDING <= prior <= math.log(rows.value) + ROUNDING:
        yield f"/zoo/worth/prior: {prior!r} is no entropy of the rows' answers"
