"""A rule and its passing case → the same report with one thing changed, towards each edge of what the rule asks.

At the threshold and one step beside it, with an item too few, with an estimate in the place of a measurement, with
fewer places to look at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import zip_longest
from typing import Any

from kcompiler.policy import kinds, path
from kcompiler.policy.cases import Case
from kcompiler.policy.kind import text_of
from kcompiler.policy.load import LoadedRule
from kcompiler.policy.mutants import inside
from runtime.contract.statistics.rates import EXACT, rate


@dataclass(frozen=True)
class Change:
    """What differs from the report of pass.json, as a case file says it."""

    change: dict[str, Any] = field(default_factory=dict)
    remove: list[str] = field(default_factory=list)


def changes(loaded: LoadedRule, whole: Case) -> Iterator[Change]:
    """Each changed datum, of all that the rule reads in turn; then fewer places."""
    if whole.report is None:
        return
    params = loaded.params.model_dump(mode="json", by_alias=True)
    ways = []
    texts = [one.text for one in kinds.load(loaded.rule.kind).reads(loaded.params) if not one.of]
    for text in texts:
        for match in path.walk(path.parse(text), whole.report["data"], "/data")[:1]:
            ways.append([{match.pointer: value} for value in _edges(match.value, params, whole.given)])
    for several in zip_longest(*ways):
        yield from (Change(change) for change in several if change is not None)
    for text in texts:
        places = path.walk(path.parse(text), whole.report["data"], "/data")
        yield from (Change(remove=[match.pointer]) for match in places[:1] if not match.missing)
        yield from (Change(remove=pointers) for pointers in _fewer(text, whole.report["data"]))


def _edges(datum: Any, params: Mapping[str, Any], given: object) -> Iterator[Any]:
    if not isinstance(datum, dict) or datum.get("tag") != "measured":
        return
    if isinstance(datum["value"], bool):
        yield {**datum, "value": not datum["value"]}
    yield {**datum, "tag": "estimated", "by": "a guess"}
    yield {"value": None, "unit": datum["unit"], "tag": "unavailable", "reason": "not measured"}
    if isinstance(datum["value"], bool):
        return
    least = (params.get("need") or {}).get("min_n")
    if least is not None and least > 1 and "n" in datum:
        few = least - 1
        yield (
            counted(datum, round(Fraction(datum["k"], datum["n"]) * few), few) if "k" in datum else {**datum, "n": few}
        )
    limit = params.get("threshold") or (text_of(Fraction(str(given))) if isinstance(given, int | float) else None)
    if limit is None:
        return
    if "k" in datum and "n" in datum:
        denominator, sizes = Fraction(limit).denominator, [datum["n"]]
        if params.get("on", "point") == "point":
            sizes.append(denominator * (1 + datum["n"] // denominator))
        yield from (counted(datum, k, n) for n in sizes for k in _ends(params, Fraction(limit), n) if 0 <= k <= n)
        return
    step = Fraction(1, 10 ** len(limit.partition(".")[2]))
    for by in (Fraction(0), Fraction(1, 2), Fraction(-1, 2), Fraction(1), Fraction(-1)):
        moved = Fraction(limit) + by * step
        whole = moved.denominator == 1 and isinstance(datum["value"], int)
        yield {**datum, "value": int(moved) if whole else float(moved)}


def _ends(params: Mapping[str, Any], limit: Fraction, n: int) -> list[int]:
    """The count at which the rule begins to pass, and the one before it."""
    op, on = params["op"], params.get("on", "point")
    passing = [k for k in range(n + 1) if inside(op, on, k, n, limit)]
    if not passing:
        return [n]
    return [passing[0], passing[0] - 1] if op in (">=", ">", "==") else [passing[-1], passing[-1] + 1]


def counted(datum: Mapping[str, Any], k: int, n: int) -> dict[str, Any]:
    """The same rate with other counts, its interval recomputed."""
    if datum.get("interval") == EXACT:
        return {**datum, **rate(k, n)}
    return {**datum, "value": k / n, "k": k, "n": n}


def _fewer(text: str, data: object) -> Iterator[list[str]]:
    """Pointers to remove: of the first list or object that the path goes through, the last, the last two, …"""
    steps = path.parse(text).steps
    for index, step in enumerate(steps):
        if not isinstance(step, path.Every | path.Values):
            continue
        for above in path.walk(path.Path("", steps[:index]), data, "/data")[:1]:
            names = list(range(len(above.value))) if isinstance(above.value, list) else sorted(above.value or {})  # type: ignore[call-overload]
            places = [f"{above.pointer}/{path.escape(str(name))}" for name in reversed(names)]
            yield from (places[:count] for count in range(1, len(places)))
