"""What the kind `trend` must say: how much, how steeply and for how many points in a row a series goes up or down."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import Claim, number, obligation, one

PARAMS: Mapping[str, Any] = {
    "series": "curve[*]",
    "at": "step",
    "value": "loss",
    "unit": "nat",
    "of": "change",
    "window": 2,
    "op": "<=",
    "threshold": "0",
}


def asked(**changes: Any) -> dict[str, Any]:
    return obligation({**PARAMS, **changes}, kind="trend@1")


def point(step: float, value: Any) -> dict[str, Any]:
    return {"step": number(step, "step"), "loss": value if isinstance(value, dict) else number(value, "nat")}


def curve(*values: Any, apart: int = 10) -> dict[str, Any]:
    return {"curve": [point(apart * index, value) for index, value in enumerate(values)]}


def measures() -> list[Claim]:
    at = "/data/curve/3/loss"
    return [
        one("the mean of the last window fell", curve(4, 2, 2, 1), asked(), "pass", observed="-1.5", threshold="<= 0",
            distance="1.5", matches=4, pointer=at, reason="change of the last 2 of 4 points is -1.5 nat, which meets <= 0."),
        one("it rose", curve(1, 2, 2, 2), asked(), "fail", observed="0.5", distance="-0.5", pointer=at),
        one("it stands still", curve(1, 2, 2, 1), asked(), "pass", observed="0"),
        one("what lies before both windows does not count", curve(9, 1, 2, 2, 2), asked(), "fail", observed="0.5"),
        one("a change of a longer window", curve(1, 1, 1, 2, 2, 3), asked(window=3), "fail", observed="~1.333333333"),
        one("a slope is of one of at", curve(5, 0, 1, 2), asked(of="slope", window=3), "fail", observed="0.1",
            reason="slope of the last 3 of 4 points is 0.1 nat, which misses <= 0."),
        one("a slope of the window alone", curve(9, 2, 1, 0), asked(of="slope", window=3), "pass", observed="-0.1"),
        one("a slope of points that are unlike apart",
            {"curve": [point(0, 0), point(1, 3), point(5, 3)]}, asked(of="slope", window=3), "fail",
            observed="~0.4285714286"),
        one("a slope of two", curve(1, 1.5, apart=1), asked(of="slope", op="==", threshold="0.5"), "pass"),
        one("points count in the order of at, not of the list",
            {"curve": [point(30, 1), point(0, 4), point(20, 2), point(10, 2)]}, asked(), "pass", observed="-1.5",
            pointer="/data/curve/0/loss"),
        one("rises in a row", curve(9, 1, 2, 3, 3), asked(of="rises", window=4, op="<", threshold="2"), "fail",
            observed="2", threshold="< 2", distance="0",
            reason="rises of the last 4 of 5 points is 2 point, which misses < 2."),
        one("a rise before the window does not count", curve(0, 1, 2, 2), asked(of="rises", op="<", threshold="1"),
            "pass", observed="0"),
        one("the longest row counts", curve(1, 2, 3, 1, 2, 1), asked(of="rises", window=6, op="<", threshold="2"),
            "fail", observed="2"),
        one("a fall ends a row", curve(1, 2, 1, 2), asked(of="rises", window=4, op="<", threshold="2"), "pass",
            observed="1"),
        one("a point as high ends a row", curve(1, 2, 2, 3), asked(of="rises", window=4, op="<", threshold="2"), "pass",
            observed="1"),
        one("falls in a row", curve(3, 2, 1, 1), asked(of="falls", window=4, op=">=", threshold="2"), "pass",
            observed="2"),
        one("rises are no falls", curve(1, 2, 3, 4), asked(of="falls", window=4, op=">=", threshold="1"), "fail",
            observed="0"),
    ]  # fmt: skip


def absences() -> list[Claim]:
    whole = curve(4, 2, 2, 1)

    def with_first(**changes: Any) -> dict[str, Any]:
        first = {key: value for key, value in {**whole["curve"][0], **changes}.items() if value is not None}
        return {"curve": [first, *whole["curve"][1:]]}

    at = "/data/curve/0"
    rate = facts.rate(1, 4)
    rates = {"curve": [{"step": number(index, "step"), "loss": rate} for index in range(4)]}
    return [
        one("too few points of a change", curve(4, 2, 2), asked(), "inconclusive", matches=3, pointer="/data",
            reason="3 points, and change over 2 takes 4."),
        one("too few points of a slope", curve(4, 2), asked(of="slope", window=3), "inconclusive", matches=2),
        one("enough points of a slope", curve(4, 3, 2), asked(of="slope", window=3), "pass"),
        one("no points", curve(), asked(), "not_evaluated", reason="nothing is listed here"),
        one("no series", {"other": []}, asked(), "not_evaluated", reason="no field `curve`"),
        one("a point without a number", with_first(loss=None), asked(), "not_evaluated", pointer=at),
        one("a point without a place", with_first(step=None), asked(), "not_evaluated", pointer=at),
        one("a number that is unavailable", with_first(loss=facts.unavailable("gone", "nat")), asked(),
            "not_evaluated", pointer=at + "/loss", reason="unavailable: gone"),
        one("a place that is unavailable", with_first(step=facts.unavailable("gone", "step")), asked(),
            "not_evaluated", pointer=at + "/step"),
        one("a number that was estimated", with_first(loss=facts.estimated(4, "nat", by="x")), asked(),
            "not_evaluated", reason="estimated, not measured"),
        one("where estimates are taken", with_first(loss=facts.estimated(4, "nat", by="x")),
            asked(need={"tag": "estimated"}), "pass"),
        one("a number of another unit", with_first(loss=number(4, "bit")), asked(), "error",
            reason="the unit is `bit`, the rule speaks of `nat`"),
        one("a flag for a number", with_first(loss=facts.measured(True, "nat")), asked(), "error",
            pointer=at + "/loss"),
        one("a place that is a flag", with_first(step=facts.measured(True, "step")), asked(), "error",
            pointer=at + "/step"),
        one("a number that is no datum", with_first(loss="much"), asked(), "error", pointer=at + "/loss"),
        one("two points at one place", with_first(step=number(10, "step")), asked(), "error",
            reason="two points at 10.", pointer="/data/curve/1/loss"),
        one("rates of enough items", rates, asked(unit="ratio", need={"min_n": 4}), "pass"),
        one("rates of too few items", rates, asked(unit="ratio", need={"min_n": 5}), "inconclusive"),
    ]  # fmt: skip


def settings() -> list[Claim]:
    whole = curve(4, 2, 2, 1)
    return [
        one("a window of one point", whole, asked(window=1), "error"),
        one("several values of a point", whole, asked(value="terms.*"), "error", reason="leads to several places"),
        one("several places of a point", whole, asked(at="steps[*]"), "error", reason="leads to several places"),
        one("a value by itself", whole, asked(at="loss"), "error", reason="are one place"),
        one("more rises than there can be", whole, asked(of="rises", op="<", threshold="2"), "error",
            reason="of 2 points 0 to 1 can follow each other: always met"),
        one("as many rises as there can be", whole, asked(of="rises", op="<", threshold="1"), "pass"),
        one("rises that nothing has", whole, asked(of="falls", op=">", threshold="1"), "error", reason="never met"),
        one("a change has no such ends", whole, asked(op="<", threshold="100"), "pass"),
    ]  # fmt: skip


def every() -> list[Claim]:
    return [*measures(), *absences(), *settings()]
