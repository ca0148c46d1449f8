"""Which way a gate moved: what passes now would have passed before, or not, or nobody can tell."""

from fractions import Fraction

import hypothesis.strategies as st
import pytest
from hypothesis import given

from kcompiler.diff.direction import direction, threshold

BASE = {
    "rule": "lab/core/valid",
    "from": "step:evaluate",
    "report": "eval.answers",
    "mode": "block",
    "reason": "",
    "title": "t",
    "remedy": "r",
    "kind": "bound@1",
    "expect": None,
    "params": {
        "metric": ["a", "b"],
        "op": ">=",
        "threshold": "0.98",
        "unit": "ratio",
        "need": {"tag": "measured", "min_n": 100},
        "on": "point",
        "min_matches": 2,
    },
}


def bound(**changes):
    need = {key[5:]: changes.pop(key) for key in list(changes) if key.startswith("need_")}
    params = {key: changes.pop(key) for key in list(changes) if key in BASE["params"]}
    return {**BASE, **changes, "params": {**BASE["params"], **params, "need": {**BASE["params"]["need"], **need}}}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"threshold": "0.99"}, "stronger"),
        ({"threshold": "0.97"}, "weaker"),
        ({"threshold": "0.980"}, ""),
        ({"op": ">"}, "stronger"),
        ({"op": "=="}, "stronger"),
        ({"op": "<="}, "incomparable"),
        ({"op": ">", "threshold": "0.97"}, "weaker"),
        ({"op": "==", "threshold": "0.97"}, "incomparable"),
        ({"threshold": None, "expect": 0.985}, "stronger"),
        ({"threshold": None, "expect": None}, "incomparable"),
        ({"mode": "warn"}, "weaker"),
        ({"mode": "skip"}, "weaker"),
        ({"phase": "release"}, "weaker"),
        ({"phase": "report"}, ""),
        ({"effective_on": "2026-12-01"}, "weaker"),
        ({"on": "low"}, "stronger"),
        ({"unit": "s"}, "incomparable"),
        ({"kind": "bound@2"}, "incomparable"),
        ({"need_tag": "estimated"}, "weaker"),
        ({"need_min_n": 99}, "weaker"),
        ({"need_min_n": 101}, "stronger"),
        ({"need_min_n": None}, "weaker"),
        ({"min_matches": 1}, "weaker"),
        ({"min_matches": 3}, "stronger"),
        ({"metric": ["a"]}, "weaker"),
        ({"metric": ["a", "b", "c"]}, "stronger"),
        ({"metric": ["a", "c"]}, "incomparable"),
        ({"threshold": "0.99", "mode": "warn"}, "incomparable"),
        ({"threshold": "0.97", "mode": "warn"}, "weaker"),
        ({"title": "other", "remedy": "other"}, ""),
    ],
)
def test_a_bound_moves(changes, expected):
    assert direction(BASE, bound(**changes))[0] == expected


RELATIVE = {
    **BASE,
    "kind": "relative@1",
    "params": {
        "metric": "a",
        "to": "b",
        "of": "",
        "by": "difference",
        "op": ">=",
        "threshold": "-0.05",
        "unit": "ratio",
        "need": {"tag": "measured", "min_n": 100},
        "paired": "gain",
    },
}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"threshold": "-0.04"}, "stronger"),
        ({"threshold": "-0.06"}, "weaker"),
        ({"threshold": "-0.050"}, ""),
        ({"op": ">"}, "stronger"),
        ({"op": "<="}, "incomparable"),
        ({"op": "==", "threshold": "0"}, "stronger"),
        ({"need": {"tag": "estimated", "min_n": 100}}, "weaker"),
        ({"need": {"tag": "measured", "min_n": 101}}, "stronger"),
        ({"need": {"tag": "measured", "min_n": None}}, "weaker"),
        ({"need": {"tag": "measured", "min_n": 101}, "threshold": "-0.06"}, "incomparable"),
        ({"paired": None}, "incomparable"),
        ({"to": "c"}, "incomparable"),
        ({"metric": "c"}, "incomparable"),
        ({"by": "quotient"}, "incomparable"),
        ({"unit": "1"}, "incomparable"),
    ],
)
def test_a_margin_moves(changes, expected):
    assert direction(RELATIVE, {**RELATIVE, "params": {**RELATIVE["params"], **changes}})[0] == expected


@pytest.mark.parametrize("changes", [{"expect": {"k": 9, "n": 10}}, {"against": "step:data"}])
def test_another_side_is_another_gate(changes):
    assert direction(RELATIVE, {**RELATIVE, **changes})[0] == "incomparable"


def test_what_looks_back_is_told_short():
    trend = {"of": "rises", "window": 6, "op": "<", "threshold": "5"}
    assert threshold({"kind": "trend@1", "params": trend}) == "rises of the last 6 points < 5"
    back = {"better": "higher", "by": "difference", "margin": "0.02"}
    for better, way in (("higher", "lower"), ("lower", "higher")):
        told = threshold({"kind": "regression@2", "params": {**back, "better": better}, "expect": {"data": {}}})
        assert told == f"difference to the baseline {way} by at most 0.02"


def test_a_gate_that_blocks_sooner_is_stronger():
    dated, released = {**BASE, "effective_on": "2026-12-01"}, {**BASE, "phase": "release"}
    assert direction(dated, BASE) == ("stronger", "blocks from 2026-12-01 → the beginning")
    assert direction({**dated, "effective_on": "2026-11-30"}, dated) == (
        "weaker",
        "blocks from 2026-11-30 → 2026-12-01",
    )
    assert direction(released, BASE) == ("stronger", "phase release → report")
    assert direction(released, dated)[0] == "incomparable"


def test_a_margin_is_told_with_what_it_is_about():
    assert direction(None, RELATIVE) == ("stronger", "block, difference to b >= -0.05")


@pytest.mark.parametrize(
    ("kind", "old", "new", "expected"),
    [
        ("covers@1", {"how": "contains"}, {"how": "equals"}, "stronger"),
        ("covers@1", {"how": "equals"}, {"how": "contains"}, "weaker"),
        ("covers@1", {"identifiers": "a"}, {"identifiers": "b"}, "incomparable"),
        ("all_true@1", {"at": ["a"]}, {"at": ["a", "b"]}, "stronger"),
        ("fingerprints@1", {"names": ["model", "dataset"]}, {"names": ["model"]}, "weaker"),
        ("genuine@1", {"measured": []}, {"measured": ["x"]}, "stronger"),
        ("genuine@1", {"quoted": []}, {"quoted": ["x"]}, "weaker"),
        ("genuine@1", {}, {"quoted": ["x"]}, "weaker"),
        ("genuine@1", {"quoted": ["y"]}, {"quoted": ["x"]}, "incomparable"),
        ("someday@1", {"x": 1}, {"x": 2}, "incomparable"),
    ],
)
def test_other_kinds_move(kind, old, new, expected):
    assert direction({**BASE, "kind": kind, "params": old}, {**BASE, "kind": kind, "params": new})[0] == expected


@pytest.mark.parametrize(
    ("how", "old", "new", "expected"),
    [
        ("contains", ["a"], ["a", "b"], "stronger"),
        ("contains", ["a", "b"], ["a"], "weaker"),
        # exactly these: a report with `a` alone passed before and fails now, one with both the other way round
        ("equals", ["a"], ["a", "b"], "incomparable"),
    ],
)
def test_what_is_expected_moves(how, old, new, expected):
    sides = [{**BASE, "kind": "covers@1", "params": {"how": how}, "expect": expect} for expect in (old, new)]
    assert direction(*sides)[0] == expected


def test_a_gate_that_comes_or_goes():
    assert direction(None, BASE)[0] == "stronger"
    assert direction(BASE, None)[0] == "weaker"
    assert direction({**BASE, "mode": "skip"}, None)[0] == ""


ops = st.sampled_from([">=", ">", "<=", "<", "=="])
limits = st.integers(-3, 3).map(lambda number: f"{number / 2:g}")
HOLDS = {
    ">=": lambda a, b: a >= b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    "<": lambda a, b: a < b,
    "==": lambda a, b: a == b,
}


@given(ops, limits, ops, limits)
def test_the_direction_of_an_interval_is_what_trying_every_value_says(op, limit, other, threshold):
    """Against an oracle: a grid finer than the thresholds, with room at both ends."""
    values = [Fraction(number, 8) for number in range(-20, 21)]
    before = {value for value in values if HOLDS[op](value, Fraction(limit))}
    after = {value for value in values if HOLDS[other](value, Fraction(threshold))}
    way = direction(bound(op=op, threshold=limit), bound(op=other, threshold=threshold))[0]
    expected = (
        "" if before == after else "stronger" if after < before else "weaker" if before < after else "incomparable"
    )
    assert way == expected
