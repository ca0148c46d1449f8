"""What the judge of gates must say of reports that rest on a judge of answers: believed only when it has passed itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from tests.unit.kcompiler.judge.samples import (
    ALONE,
    NOTHING,
    PASS,
    Claim,
    bound,
    environment,
    number,
    obligation,
    report,
)

REFEREE = "step:referee"
MINE = obligation(bound("x", ">=", "0.5"), judged_by=REFEREE)
SURE = obligation(bound("calibration.student", "<=", "0.1"), rule="lab/sure", from_=REFEREE)
RIGHT = obligation(bound("right", ">=", "0.5"), rule="lab/right", from_=REFEREE, remedy="take another judge")
HELD = {"calibration": {"student": number(0.05)}, "right": number(0.9)}


def _given(x: float = 0.9, referee: Mapping[str, Any] | None = HELD, **changes: Any) -> dict[str, Any]:
    found = {"measure": report({"x": number(x)})}
    return found if referee is None else {**found, "referee": report(referee, step="referee", **changes)}


def _claim(
    name: str,
    reports: Mapping[str, Any],
    asked: Sequence[Mapping[str, Any]],
    outcomes: Sequence[str],
    says: tuple[str, int],
    **first: Any,
) -> Claim:
    return Claim(name, reports, asked, outcomes, says, first)


def claims() -> list[Claim]:
    """Of one report that rests on the judge, and of the report on the judge."""
    every, unsure = [MINE, SURE, RIGHT], {**HELD, "calibration": {"student": number(0.2)}}
    doubted = ("INCONCLUSIVE", 1)
    return [
        _claim("a judge that passed is believed", _given(), every, ["pass"] * 3, PASS, reason="0.9", blocks=False),
        _claim("and condemns", _given(0.1), every, ["fail", "pass", "pass"], ("FAIL", 1), remedy="measure again"),
        _claim(
            "one that is not as sure as right is not believed",
            _given(referee=unsure),
            every,
            ["inconclusive", "fail", "pass"],
            ("FAIL", 1),
            reason="of the report of `referee`, rule `lab/sure` is fail: 0.2",
            remedy="measure again",
            blocks=True,
        ),
        _claim("nor believed when it condemns", _given(0.1, unsure), every, ["inconclusive", "fail", "pass"], ("FAIL", 1)),
        _claim(
            "one that is wrong is not believed either, however sure",
            _given(referee={**HELD, "right": number(0.1)}),
            every,
            ["inconclusive", "pass", "fail"],
            ("FAIL", 1),
            reason="rule `lab/right` is fail",
            remedy="take another judge",
        ),
        _claim(
            "one without a report is not",
            _given(referee=None),
            every,
            ["inconclusive", "not_evaluated", "not_evaluated"],
            doubted,
            reason="rule `lab/sure` is not_evaluated: ",
        ),
        _claim(
            "nor a forged one",
            _given(environment=environment(forged=True, backend="null")),
            every,
            ["inconclusive", "not_evaluated", "not_evaluated"],
            doubted,
            reason="forged",
        ),
        _claim(
            "without a rule about how sure it is there is no belief",
            _given(),
            [MINE, RIGHT],
            ["inconclusive", "pass"],
            doubted,
            reason="no blocking rule bounds the calibration error of the judge in the report of `referee`.",
            remedy="name pack quality/judged, or a pack of your own with a rule of kind bound about eval.judge: "
            "`metric: calibration.student`, `on: high`, a threshold below 0.25",
        ),
        _claim("a rule that warns is none", _given(), [MINE, {**SURE, "mode": "warn"}], ["inconclusive", "pass"], doubted),
        _claim("a rule about another step is none", _given(), [{**MINE, "judged_by": "step:x"}, SURE], ["inconclusive", "pass"], doubted),
        _claim(
            "a warning that is not believed blocks nothing",
            _given(referee=unsure),
            [{**MINE, "mode": "warn"}, {**SURE, "mode": "block"}],
            ["inconclusive", "fail"],
            ("FAIL", 1),
            blocks=False,
        ),
        _claim(
            "what is no evidence is none with a good judge, too",
            {**_given(), "measure": b"{}"},
            every,
            ["error", "pass", "pass"],
            ("FAIL", 2),
        ),
        _claim("a rule that is skipped stays so", _given(referee=unsure), [{**MINE, "mode": "skip", "reason": "later"}], ["skipped"], NOTHING),
        _claim("a report that rests on no judge is not asked for one", _given(referee=unsure), [obligation(bound("x", ">=", "0.5"))], ["pass"], ALONE["pass"]),
        _claim(
            "two reports with one judge",
            {**_given(), "other": report({"x": number(0.1)}, step="other")},
            [MINE, {**MINE, "from": "step:other"}, SURE],
            ["pass", "fail", "pass"],
            ("FAIL", 1),
        ),
    ]  # fmt: skip


def _module() -> Any:
    return import_module("kcompiler.policy.believed")


def what_rests_on_a_judge_is_found() -> None:
    edges = _module().edges
    takes: dict[str, dict[str, str]] = {
        "last": {"x": "step:mid#report"},
        "mid": {"one": "input:x", "items": "step:court#items"},
        "court": {"standing": "step:referee#report", "data": "step:data#dataset"},
        "referee": {"judge": "input:judge"},
        "aside": {"data": "step:data#dataset", "file": "input:court"},
    }
    assert edges(takes) == dict.fromkeys(("court", "mid", "last"), REFEREE)
    assert edges({}) == {}


def obligations_name_the_judge() -> None:
    named, rests = _module().named, {"court": REFEREE}
    assert named([{"from": "step:court"}], rests) == [{"from": "step:court", "judged_by": REFEREE}]
    assert named([{"from": "step:x", "against": "step:court"}], rests)[0]["judged_by"] == REFEREE
    assert named([{"from": "step:x", "judged_by": "step:y"}], rests) == [{"from": "step:x"}]
    assert named([{"from": "step:x"}], {}) == [{"from": "step:x"}]


def blocking_rules_about_the_judge_are_found() -> None:
    about = _module().about
    assert about("referee", [SURE, RIGHT, MINE, {**SURE, "mode": "warn"}, {}]) == [SURE, RIGHT]


def a_bound_of_calibration_bounds_something() -> None:
    calibrates = _module().calibrates
    for made in (
        SURE,
        {**SURE, "params": bound(["right", "calibration.student"], "<", "0.249")},
        {**SURE, "params": bound("calibration.*", "<="), "expect": 0.2},
    ):
        assert calibrates(made) is True, made
    for made in (
        RIGHT,
        {**SURE, "kind": "relative@1"},
        {**SURE, "kind": None},
        {**SURE, "params": None},
        {**SURE, "params": {}},
        {**SURE, "params": bound("calibration.student", ">=", "0.1")},
        {**SURE, "params": bound("calibration.student", "==", "0.1")},
        {**SURE, "params": {**bound("calibration.student", "<=", "0.1"), "on": "low"}},
        {**SURE, "params": bound("calibration.ce_only", "<=", "0.1")},
        {**SURE, "params": bound(["items", "calibration.coreml"], "<=", "0.1")},
        {**SURE, "params": bound("calibrations", "<=", "0.1")},
        *(
            {**SURE, "params": bound("calibration.student", "<=", limit)}
            for limit in ("0.25", "0.9999", "7", "x", "1/0", [])
        ),
        *({**SURE, "params": bound("calibration.student", "<="), "expect": limit} for limit in (None, 0.25, True, {})),
    ):
        assert calibrates(made) is False, made


def a_doubt_says_what_to_do() -> None:
    module = _module()
    good = module.Said("pass", "", "")
    assert module.doubt("referee", [SURE, RIGHT], {"lab/sure": good, "lab/right": good}) == ("", "")
    why, remedy = module.doubt("referee", [SURE, RIGHT], {"lab/sure": good})
    assert "`lab/right` is not_evaluated: nothing was judged by it" in why
    assert remedy == "apply the whole plan"


CHECKS: list[Callable[[], None]] = [
    what_rests_on_a_judge_is_found,
    obligations_name_the_judge,
    blocking_rules_about_the_judge_are_found,
    a_bound_of_calibration_bounds_something,
    a_doubt_says_what_to_do,
]
