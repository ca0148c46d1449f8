"""How long a step will take is known by what it took, for as many operations as there are now, or by arithmetic."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract.forecast import Forecast, error, forecast, lost_s


def record(**more: Any) -> dict[str, Any]:
    return {"wall_s": 100.0, "lost_attempts": 0, "resumes": [], "gigaoperations": 50, "forecast": None, **more}


LOST = [{"lost_s": 20.0}, {"lost_s": 5.0}]


@pytest.mark.parametrize(
    ("estimate", "last", "expected"),
    [
        (None, None, None),
        ({"gigaoperations": 50}, None, None),
        ({"gigaoperations": 50, "wall_s": 7}, None, (7.0, "arithmetic")),
        ({"gigaoperations": 50, "wall_s": 7}, record(), (100.0, "recorded")),
        # twice the steps take twice the time
        ({"gigaoperations": 100}, record(), (200.0, "recorded")),
        ({"gigaoperations": 25}, record(resumes=LOST), (37.5, "recorded")),
        # a step that trains nothing takes what it took
        (None, {"wall_s": 3.0, "lost_attempts": 0}, (3.0, "recorded")),
        # of another kind of work nothing is known
        (None, record(), None),
        ({"gigaoperations": 50, "wall_s": 7}, {"wall_s": 3.0, "lost_attempts": 0}, (7.0, "arithmetic")),
        # and nothing of an attempt that left no sign
        ({"gigaoperations": 50, "wall_s": 7}, record(lost_attempts=1), (7.0, "arithmetic")),
        ({"gigaoperations": 50}, record(lost_attempts=1), None),
    ],
)
def test_a_forecast(estimate: Any, last: Any, expected: Any) -> None:
    found = forecast(estimate, last)
    assert found == (None if expected is None else Forecast(wall_s=expected[0], by=expected[1]))


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({}, None),
        ({"forecast": {"wall_s": 80.0}}, 0.2),
        ({"forecast": {"wall_s": 120.0}}, 0.2),
        ({"forecast": {"wall_s": 75.0}, "resumes": LOST}, 0.0),
        ({"forecast": {"wall_s": 80.0}, "lost_attempts": 1}, None),
        ({"forecast": {"wall_s": 80.0}, "wall_s": 25.0, "resumes": LOST}, None),
    ],
)
def test_its_error_is_a_share_of_what_was_measured(more: dict[str, Any], expected: float | None) -> None:
    assert error(record(**more)) == (None if expected is None else pytest.approx(expected))


def test_what_was_worked_in_vain_adds_up_as_far_as_it_is_known() -> None:
    assert lost_s(record(resumes=[*LOST, {"lost_s": None}])) == 25.0
    assert lost_s({"wall_s": 1.0}) == 0.0
