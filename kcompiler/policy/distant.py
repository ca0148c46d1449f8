"""A rule and its passing case → a number that it compares with and that lies far beyond all that the case holds.

`kd_gain > -100000` in nats per token fails in arithmetic and never in practice: no schema states a bound of a mean
log-likelihood, which is a difference of logits of any size (`runtime/models/runners.py`), so that nothing proves it
idle. What its own case holds is evidence, and no proof: a comment may say why the number stands so far off.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Any, NamedTuple

from kcompiler.policy import cases
from kcompiler.policy.cases import Judge
from kcompiler.policy.kind import NUMBER
from kcompiler.policy.kinds import load
from kcompiler.policy.load import LoadedRule

#: how many times as large as the largest that passes; of the shipped rules none is more than 600 times as large
FAR = 1000
_ORDERED = ("<", "<=", ">", ">=")
#: a comparison without one of its sides
_BESIDE = re.compile(r"(?P<left>[^<>=&|!]*)\s*(?:<=?|>=?)\s*(?P<right>[^<>=&|!]*)")


class Distant(NamedTuple):
    """The number, its key among the parameters, and the largest that the passing case holds, each as a size."""

    key: str
    limit: Fraction
    most: Fraction


def found(loaded: LoadedRule, judge: Judge) -> Iterator[Distant]:
    """Each such number. Further passing cases lie at the edge, which `policy test --add` writes wherever it is; and a
    number beside nothing but zeros says nothing, and is none."""
    case = cases.read(loaded.folder / "pass.json")
    held: dict[tuple[str, Fraction], Fraction] = {}
    for key, limit, value in _compared(loaded, case, judge) if case.report is not None else ():
        # a distance is told to so many digits: what is left beside them is none
        size = Fraction(0) if abs(value) * 10**9 < abs(limit) else abs(value)
        held[key, limit] = max(held.get((key, limit), Fraction(0)), size)
    for (key, limit), most in held.items():
        if most and abs(limit) >= FAR * most:
            yield Distant(key, abs(limit), most)


def _compared(loaded: LoadedRule, case: cases.Case, judge: Judge) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Key of the parameter, the number that stands there, and the one that it is compared with."""
    params: Any = loaded.params
    told = load(loaded.rule.kind).parts
    if told is not None:
        assert case.report is not None
        yield from _of_expression(told(params, case.report, None))
        return
    limit, op = getattr(params, "threshold", None), getattr(params, "op", "")
    if limit is None or op not in _ORDERED:
        return
    (outcome,) = judge(cases.given(case), [cases.obligation(loaded, case)]).outcomes
    inside = _number(outcome.distance)
    if inside is not None:
        yield "threshold", Fraction(limit), Fraction(limit) + (inside if op in (">", ">=") else -inside)


def _of_expression(parts: list[dict[str, Any]]) -> Iterator[tuple[str, Fraction, Fraction]]:
    """Of every comparison in it, with a side that reads nothing: a number, or what is computed of numbers alone."""
    for one in parts:
        yield from _of_expression(one["parts"])
        for read in (each for each in one["parts"] if each["reads"]):
            before, found, after = one["text"].partition(read["text"])
            written = _BESIDE.fullmatch(f"{before}{after}") if found else None
            # what is more than a number is a part of its own
            other = next((each["value"] for each in one["parts"] if not each["reads"]), None)
            limit = _number(other if other is not None else written and (written["left"].strip() or written["right"]))
            value = _number(read["value"])
            if written is not None and limit is not None and value is not None:
                yield "that", limit, value


def _number(text: object) -> Fraction | None:
    """A number as it is told to people; None for anything else."""
    shown = str(text or "").strip().removeprefix("~")
    return Fraction(shown) if re.fullmatch(NUMBER, shown) else None
