"""Numbers of a page: what is drawn is what was measured, and what cannot be read is nothing."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kcompiler.render.html import curves, history, metrics
from kcompiler.render.html.values import amount, fixed, number, short
from runtime.contract.report import estimated, measured, rate, unavailable

POINTS = st.lists(
    st.tuples(st.integers(0, 10**6), st.floats(-1e6, 1e6)), min_size=1, max_size=2000, unique_by=lambda p: p[0]
).map(sorted)


@given(POINTS, st.integers(4, 60))
def test_of_many_points_the_ends_and_the_extremes_stay(points, most):
    kept = curves.thinned(points, most)
    assert len(kept) <= max(most, 4)
    assert kept == sorted(kept)
    assert set(kept) <= set(points)
    assert (kept[0], kept[-1]) == (points[0], points[-1])
    values = [y for _, y in points]
    assert {min(values), max(values)} <= {y for _, y in kept}


def test_a_long_training_is_few_points_and_its_spike_is_seen():
    generator = random.Random(1)
    curve = [
        {"step": measured(x, "step"), "value": measured(5 / (1 + x / 500) + generator.random() / 9, "nat/token")}
        for x in range(10_000)
    ]
    curve[7003]["value"] = measured(77.0, "nat/token")
    panel = curves._panel("total", curves._points(curve))
    assert panel["drawn"] <= curves.POINTS
    assert panel["count"] == 10_000
    assert panel["high"] == "77"
    # much above what it ends at: on a straight scale nothing but its start would be seen
    assert panel["logs"]
    assert not curves._panel("flat", [(0, 2.0), (1, 1.0)])["logs"]
    assert not curves._panel("signed", [(0, 200.0), (1, -1.0)])["logs"]
    drawn = [tuple(map(float, one.split(","))) for one in panel["points"].split()]
    assert min(y for _, y in drawn) == curves.TOP
    assert all(0 <= x <= curves.WIDTH and 0 <= y <= curves.HEIGHT for x, y in drawn)


@pytest.mark.parametrize(
    "bad", [None, True, "3", math.nan, math.inf, [], {}, {"value": None}, {"value": "x"}, {"value": True}, 10**400]
)
def test_what_is_no_number_is_none(bad):
    assert number(bad) is None


def test_numbers_as_people_write_them():
    assert short(1234567) == "1,234,567"
    assert short(37_099_731, "B") == "37.1 MB"
    assert short(-2500.0, "B") == "-2.5 kB"
    assert short(126.76, "s") == "126.8 s"
    assert short(0.5, "ratio") == "0.5"
    assert amount(unavailable("no items", "s")) == "not known: no items"
    assert amount(estimated(3, "s", by="formula")) == "3 s (estimated)"
    assert fixed(-0.04) == "0.0"


def rows_of(**data):
    (one,) = metrics._evaluations(
        {"e": {"kind": "eval.x", "data": data}}, {("e", "/data/right"): [(">=", 0.9, "t/right")]}
    )
    return one


def test_an_interval_is_the_reported_one_or_that_of_the_counts():
    found = rows_of(
        right=rate(27, 30),
        gain={**measured(0.1, "item/item"), "low": -0.1, "high": 0.3, "confidence": 0.95, "interval": "Wald"},
    )
    # what a gate reads comes first
    right, gain = found["rows"]
    assert (gain["low"], gain["high"], gain["text"]) == (-0.1, 0.3, "0.1 item/item")
    assert found["kinds"] == [("1", metrics._FROM_COUNTS), ("2", "Wald at 95 %, as reported")]
    assert (right["kind"], gain["kind"], right["text"]) == ("1", "2", "0.9 (27 of 30)")
    assert gain["interval"] == "-0.1 to 0.3"
    # Clopper and Pearson, as in their tables
    assert (round(right["low"], 4), round(right["high"], 4)) == (0.7347, 0.9789)
    assert right["asked"] == [{"text": ">= 0.9", "bound": 0.9, "rule": "right"}]
    # 0.9 of the axis from 0 to 1
    assert (
        right["plot"]["bounds"]
        == [right["plot"]["value"]]
        == [fixed(metrics.MARGIN + 0.9 * (metrics.WIDTH - 2 * metrics.MARGIN))]
    )
    assert (
        float(gain["plot"]["low"])
        < float(gain["plot"]["zero"])
        < float(gain["plot"]["value"])
        < float(gain["plot"]["high"])
    )


def test_what_has_no_interval_or_no_value_is_not_drawn():
    found = rows_of(right=unavailable("no items", "ratio"), size=measured(3, "row"))
    assert [row["plot"] for row in found["rows"]] == [None, None]
    assert found["rows"][0]["text"] == "unavailable: no items"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=50))
def test_a_small_line_stays_in_its_place(values):
    found = history.spark(values)
    for one in found["points"].split():
        x, y = map(float, one.split(","))
        assert 0 <= x <= history.WIDTH
        assert 0 <= y <= history.HEIGHT
    assert found["count"] == len(values)


def test_a_loss_of_one_term_is_one_curve():
    curve = [{"step": measured(step, "step"), "value": measured(9.0 - step, "nat/token")} for step in range(3)]
    other = [{**point, "value": measured(1.0, "nat/token")} for point in curve]

    def names(**terms):
        data = {"total": curve, "terms": {name: {"curve": points} for name, points in terms.items()}}
        return [name for name, points in curves._named(data) if points]

    assert names(ce=curve) == ["total, which is term ce"]
    assert names(ce=other) == ["total", "term ce"]
    assert names(ce=curve, kl=other) == ["total", "term ce", "term kl"]
