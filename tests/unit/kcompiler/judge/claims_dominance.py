"""What the kind `dominance` must say: one of several above the others, for a whole window of points or not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.contract import report as facts
from tests.unit.kcompiler.judge.samples import Claim, number, obligation, one

PARAMS: Mapping[str, Any] = {
    "of": "terms.*",
    "points": "curve[*]",
    "at": "step",
    "share": "share",
    "factor": "10",
    "window": 3,
}


def asked(**changes: Any) -> dict[str, Any]:
    return obligation({**PARAMS, **changes}, kind="dominance@1")


def point(step: int, value: float | None) -> dict[str, Any]:
    share = facts.unavailable("no token", "1") if value is None else number(value)
    return {"step": number(step, "step"), "share": share}


def terms(**shares: Sequence[float | None]) -> dict[str, Any]:
    """Term → its shares at steps 0, 10, 20, …"""
    return {
        "terms": {
            name: {"curve": [point(10 * index, value) for index, value in enumerate(values)]}
            for name, values in shares.items()
        }
    }


#: above ten times, exactly ten times, below
HIGH, EVEN, LOW = (0.92, 0.08), (1.0, 0.1), (0.9, 0.1)


def two(*points: tuple[float | None, float | None]) -> dict[str, Any]:
    return terms(kl=[first for first, _ in points], ce=[second for _, second in points])


def runs() -> list[Claim]:
    turned = (HIGH[1], HIGH[0])
    at = "/data/terms/kl/curve/"
    return [
        one("never above", two(LOW, LOW, LOW), asked(), "pass", observed="0 of 3", threshold="< 3", distance="3",
            matches=3, pointer="/data", reason="none is above 10 times every other."),
        one("above all along", two(HIGH, HIGH, HIGH), asked(), "fail", observed="3 of 3", distance="0", matches=3,
            pointer=at + "2/share", reason="`kl` is above 10 times every other at 3 points in a row, of 3."),
        one("ten times is not above ten times", two(EVEN, EVEN, EVEN), asked(), "pass", observed="0 of 3"),
        one("above twice of three", two(HIGH, HIGH, LOW), asked(), "pass", observed="2 of 3", distance="1",
            pointer=at + "1/share", reason="at 2 points in a row, of 3"),
        one("above from the second on", two(LOW, HIGH, HIGH, HIGH), asked(), "fail", observed="3 of 4",
            pointer=at + "3/share"),
        one("above until the last", two(HIGH, HIGH, HIGH, LOW), asked(), "fail", pointer=at + "2/share"),
        one("above and not in a row", two(HIGH, HIGH, LOW, HIGH, HIGH), asked(), "pass", observed="2 of 5"),
        one("above longer than the window", two(HIGH, HIGH, HIGH, HIGH), asked(), "fail", observed="4 of 4",
            distance="-1", pointer=at + "3/share"),
        one("the later run is the longer", two(HIGH, LOW, HIGH, HIGH), asked(), "pass", observed="2 of 4",
            pointer=at + "3/share"),
        one("of equal runs the first is named", two(HIGH, LOW, HIGH), asked(), "pass", observed="1 of 3",
            pointer=at + "0/share"),
        one("now the one, now the other", two(HIGH, turned, HIGH), asked(), "pass", observed="1 of 3"),
        one("the other from then on", two(HIGH, turned, turned, turned), asked(), "fail",
            pointer="/data/terms/ce/curve/3/share"),
        one("fewer points than a window", two(HIGH, HIGH), asked(), "inconclusive", matches=2, pointer="/data",
            reason="2 points at which several have a share, and a window is 3 long."),
        one("the largest of the others counts", terms(kl=[0.6] * 3, ce=[0.06] * 3, tool=[0.34] * 3), asked(), "pass"),
        one("and not their sum", terms(kl=[0.9] * 3, ce=[0.08] * 3, tool=[0.08] * 3), asked(), "fail"),
        one("all others have none", two(*[(1.0, 0.0)] * 3), asked(), "fail"),
        one("nobody has any", two(*[(0.0, 0.0)] * 3), asked(), "pass"),
        one("the smallest factor", two(*[(0.51, 0.49)] * 3), asked(factor="1"), "fail"),
        one("the smallest window", two(HIGH, HIGH, LOW), asked(window=2), "fail"),
        one("a name with a stroke in it", {"terms": {"k/l~": terms(x=[0.92] * 3)["terms"]["x"],
                                                      "ce": terms(x=[0.08] * 3)["terms"]["x"]}}, asked(), "fail",
            reason="`k/l~` is above", pointer="/data/terms/k~1l~0/curve/2/share"),
    ]  # fmt: skip


def absences() -> list[Claim]:
    whole = two(HIGH, HIGH, HIGH)
    first = whole["terms"]["kl"]["curve"][0]

    def with_first(**changes: Any) -> dict[str, Any]:
        changed = {key: value for key, value in {**first, **changes}.items() if value is not None}
        return {"terms": {**whole["terms"], "kl": {"curve": [changed, *whole["terms"]["kl"]["curve"][1:]]}}}

    at = "/data/terms/kl/curve/0"
    return [
        one("a point without a share is left out", two((None, 0.1), HIGH, HIGH, HIGH), asked(), "fail", matches=3),
        one("it does not end a run", two(HIGH, (None, 1.0), HIGH, HIGH), asked(), "fail", observed="3 of 3"),
        one("a point that does not speak of a share", with_first(share=None), asked(window=2), "fail", matches=2),
        one("one alone has no others", terms(kl=[1.0, 1.0, 1.0]), asked(), "not_evaluated", pointer="/data/terms/kl",
            reason="there is one alone"),
        one("others without any share", two((1.0, None), (1.0, None)), asked(), "inconclusive", matches=0),
        one("no things", {"terms": {}}, asked(), "not_evaluated", reason="nothing is listed here"),
        one("no place of things", {"other": {}}, asked(), "not_evaluated", reason="no field `terms`"),
        one("a thing without points", {"terms": {**whole["terms"], "ce": {"curve": []}}}, asked(), "not_evaluated",
            pointer="/data/terms/ce/curve", reason="nothing is listed here."),
        one("no number of a point", with_first(step=None), asked(), "not_evaluated", pointer=at),
        one("its number is unavailable", with_first(step=facts.unavailable("gone", "step")), asked(), "not_evaluated",
            pointer=at + "/step"),
        one("its number is a text", with_first(step="x"), asked(), "error", pointer=at + "/step"),
        one("its number is below zero", with_first(step=number(-1, "step")), asked(), "error"),
        one("a share that is a flag", with_first(share=facts.measured(True, "bool")), asked(), "error",
            pointer=at + "/share"),
        one("a share that is no datum", with_first(share="much"), asked(), "error", pointer=at + "/share"),
        one("a share below zero", with_first(share=number(-0.1)), asked(), "error", reason="not a number from 0 on"),
        one("a share that was estimated", with_first(share=facts.estimated(0.9, "1", by="x")), asked(),
            "not_evaluated", reason="estimated, not measured", pointer=at + "/share"),
        one("a step that was estimated", with_first(step=facts.estimated(0, "step", by="x")), asked(), "not_evaluated"),
        one("one point twice", with_first(step=number(10, "step")), asked(), "error", reason="two points at 10",
            pointer="/data/terms/kl/curve/1/share"),
    ]  # fmt: skip


def settings() -> list[Claim]:
    whole = two(LOW, LOW, LOW)
    return [
        one("a factor below 1", whole, asked(factor="0.9"), "error", reason="`factor` is at least 1"),
        one("a window of one", whole, asked(window=1), "error"),
        one("several numbers of a point", whole, asked(at="steps[*]"), "error", reason="leads to several places"),
        one("several shares of a point", whole, asked(share="shares.*"), "error", reason="leads to several places"),
    ]


def every() -> list[Claim]:
    return [*runs(), *absences(), *settings()]
