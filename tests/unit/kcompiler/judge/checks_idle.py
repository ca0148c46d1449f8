"""Which rules no report can fail, as each kind of check says it: the number that is pointed at, and why; never more."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from fractions import Fraction
from typing import Any

ABOUT = ("eval.tool_use",)
RATE = {"metric": "runners.student.right", "unit": "ratio"}
ROWS = {"metric": "rows", "unit": "row"}
GAIN = {"metric": "kd_gain", "unit": "item/item"}
TWO = {**RATE, "to": "runners.teacher.right"}
BASE = {"baseline": {"file": "a/b.json", "digest": f"sha256:{'0' * 64}"}, "better": "higher"}
SHARES = {"series": "signals.beside[*]", "at": "shift", "unit": "1", "window": 2, "of": "change"}
PRESENCE = "that it was measured at all is asked by `kind: presence`"
APART = "say how far apart they may be, so that a worse one fails"
WORSE = "say how much worse it may be, so that a worse one fails"
CHANGE = "say how much it may change, so that a worse series fails"


def _told(name: str, said: dict[str, Any], *about: str) -> Any:
    kind = importlib.import_module("kcompiler.policy.kinds").load(name)
    return kind.idle(kind.params.model_validate(said), about or ABOUT)


def _is(name: str, said: dict[str, Any], key: str, message: str, advice: str, *about: str) -> None:
    fault = importlib.import_module("kcompiler.policy.kind").Fault
    assert _told(name, said, *about) == fault(key, "idle", message, 0, advice), (name, said)


def bounds_that_no_number_misses() -> None:
    for said, why in (
        ({**ROWS, "op": ">=", "threshold": "0"}, "no number at `rows` can miss `>= 0`: it is always 0 or more"),
        ({**ROWS, "op": ">", "threshold": "-1"}, "no number at `rows` can miss `> -1`: it is always 0 or more"),
        (
            {**RATE, "op": "<=", "threshold": "1"},
            "no number at `runners.student.right` can miss `<= 1`: it is always between 0 and 1",
        ),
        (
            {**RATE, "op": ">=", "threshold": "0", "on": "low"},
            "no number at `runners.student.right` can miss `>= 0`: it is always between 0 and 1",
        ),
        (
            {**RATE, "op": "<=", "threshold": "1", "on": "high"},
            "no number at `runners.student.right` can miss `<= 1`: it is always between 0 and 1",
        ),
    ):
        _is("bound", said, "threshold", why, PRESENCE)
    for said in (
        {**ROWS, "op": ">=", "threshold": "1"},
        {**ROWS, "op": ">", "threshold": "0"},
        {**ROWS, "op": "<=", "threshold": "1"},
        {**ROWS, "op": "==", "threshold": "0"},
        {**RATE, "op": "<", "threshold": "1"},
        {**RATE, "op": "==", "threshold": "1"},
        {**RATE, "op": "==", "threshold": "0"},
        {**RATE, "op": ">", "threshold": "0", "on": "low"},
        {**RATE, "op": "<", "threshold": "1", "on": "high"},
        # the plan says the threshold; the interval of another number may end anywhere; the other place can miss
        {**ROWS, "op": ">="},
        {**ROWS, "op": ">=", "threshold": "0", "on": "low"},
        {**GAIN, "op": ">=", "threshold": "-9"},
        {"metric": ["runners.student.right", "kd_gain"], "unit": "ratio", "op": ">=", "threshold": "0"},
    ):
        assert _told("bound", said) is None, said
    # a rate is one in every report, whatever its schema says
    level = {"metric": "level", "unit": "ratio", "op": ">=", "threshold": "0"}
    why = "no number at `level` can miss `>= 0`: it is always between 0 and 1"
    _is("bound", {**level, "on": "low"}, "threshold", why, PRESENCE, "eval.sound")
    assert _told("bound", level, "eval.sound") is None
    # of a report without a schema nothing is known, nor of several kinds one of which it is
    assert _told("bound", {**ROWS, "op": ">=", "threshold": "0"}, "eval.sound") is None
    assert _told("bound", {**ROWS, "op": ">=", "threshold": "0"}, *ABOUT, "eval.sound") is None


def comparisons_that_no_two_numbers_miss() -> None:
    between = "it is always between -1 and 1"
    _is("relative", {**TWO, "op": ">=", "threshold": "-1"}, "threshold",
        f"no difference of the two can miss `>= -1`: {between}", APART)  # fmt: skip
    _is("relative", {**TWO, "op": "<=", "threshold": "1"}, "threshold",
        f"no difference of the two can miss `<= 1`: {between}", APART)  # fmt: skip
    rows = {**ROWS, "to": "rows", "of": "teacher.answers", "by": "quotient", "op": ">=", "threshold": "0"}
    _is("relative", rows, "threshold", "no quotient of the two can miss `>= 0`: it is always 0 or more", APART)
    there = {**TWO, "to": "validity.student", "of": "eval.answers", "op": ">=", "threshold": "-1"}
    _is("relative", there, "threshold", f"no difference of the two can miss `>= -1`: {between}", APART)
    for said in (
        {**TWO, "op": ">=", "threshold": "-0.99"},
        {**TWO, "op": "<", "threshold": "1"},
        {**TWO, "to": "kd_gain", "op": ">=", "threshold": "-1"},
        {**TWO, "of": "eval.answers", "op": ">=", "threshold": "-1"},
        {**RATE, "op": ">=", "threshold": "-1"},
        {**TWO, "paired": "kd_gain", "op": ">=", "threshold": "-1"},
        {**TWO, "by": "quotient", "op": ">", "threshold": "0"},
        {**TWO, "by": "quotient", "chance": "runners.student.wrote", "op": ">=", "threshold": "0"},
    ):
        assert _told("relative", said) is None, said


def regressions_that_allow_everything() -> None:
    said = {**RATE, **BASE, "margin": "1"}
    why = "no number at `runners.student.right` can be worse than another by more than 1"
    _is("regression", said, "margin", why, WORSE)
    _is("regression", {**said, "better": "lower"}, "margin", why, WORSE)
    for other in (
        {"margin": "0.99"},
        {"on": "end"},
        {"by": "quotient", "better": "lower"},
        {"metric": ["runners.student.right", "kd_gain"]},
    ):
        assert _told("regression", {**said, **other}) is None, other


def trends_that_nothing_misses() -> None:
    share = {**SHARES, "value": "share", "op": ">=", "threshold": "-1"}
    why = "no change can miss `>= -1`: it is always between -1 and 1"
    _is("trend", share, "threshold", why, CHANGE, "training")
    for other in ({"threshold": "-0.9"}, {"op": "<", "threshold": "1"}, {"of": "slope"}, {"value": "nll"}):
        assert _told("trend", {**share, **other}, "training") is None, other


def expressions_that_nothing_makes_false() -> None:
    advice = "ask what can be otherwise; that something was measured at all is asked by `kind: presence`"
    _is("assert", {"that": "report.rows.value >= 0"}, "that", "no report can make this false", advice)
    two = {"that": "report.rows.value + other.rows.value >= 0", "of": "teacher.answers"}
    _is("assert", two, "that", "no report can make this false", advice)
    for that in ("report.rows.value > 0", "!(report.rows.value >= 0)"):
        assert _told("assert", {"that": that}) is None, that


def ends_are_compared() -> None:
    comparison = importlib.import_module("kcompiler.policy.comparison")
    one, two, three = Fraction(1), Fraction(2), Fraction(3)
    assert comparison.never_missed("==", (one, one), one)
    assert not comparison.never_missed("==", (one, one), two)
    assert not comparison.never_missed("==", (one, two), two)
    assert not comparison.never_missed("==", (None, None), one)
    for op in (">=", ">", "<=", "<"):
        assert not comparison.never_missed(op, (None, None), one)
    assert comparison.apart((one, three), (one, two)) == (-one, two)
    assert comparison.apart((None, three), (one, two)) == (None, two)
    assert comparison.apart((one, None), (one, two)) == (-one, None)
    assert comparison.apart((one, three), (None, two)) == (-one, None)
    assert comparison.apart((one, three), (one, None)) == (None, two)
    assert comparison.unmissed((one, two)) == "it is always between 1 and 2"
    assert comparison.unmissed((one, None)) == "it is always 1 or more"
    assert comparison.unmissed((None, two)) == "it is always 2 or less"


CHECKS: list[Callable[[], None]] = [
    bounds_that_no_number_misses,
    comparisons_that_no_two_numbers_miss,
    regressions_that_allow_everything,
    trends_that_nothing_misses,
    expressions_that_nothing_makes_false,
    ends_are_compared,
]
