"""Which state is kept and when a training ends, over numbers alone."""

from __future__ import annotations

import json

import pytest

from runtime.contract.validation import Validation
from runtime.train.selecting import Look, Selection, due, milestones


def seen(values: list[float], policy: Validation) -> Selection:
    """Validated at 0, 10, 20, …, until it says that it is over."""
    found = Selection()
    for number, value in enumerate(values):
        found.observe(Look(10 * number, [value], value, value), policy)
        if found.stopped:
            break
    return found


def test_the_best_is_the_least_and_of_equal_ones_the_earlier() -> None:
    assert seen([5, 3, 3, 4], Validation(every=10)).best == 10
    assert seen([5, 3, 2.999, 4], Validation(every=10)).best == 20
    assert seen([1, 3, 2], Validation(every=10)).best == 0


def test_without_patience_nothing_ends_early() -> None:
    found = seen([1.0] * 50, Validation(every=10))
    assert (found.stopped, len(found.looks), found.waited) == ("", 50, 49)


@pytest.mark.parametrize(("patience", "last"), [(1, 30), (2, 40), (3, 50), (4, 100), (5, 110)])
def test_patience_is_counted_in_validations_without_a_gain_in_a_row(patience: int, last: int) -> None:
    values = [9, 8, 7, 7, 7.5, 7, 6, 6, 6, 6, 6, 6]
    found = seen(values, Validation(every=10, patience=patience))
    assert found.stopped == "patience"
    assert found.steps[-1] == last


def test_a_gain_is_counted_from_the_last_one_that_was_large_enough() -> None:
    """Small gains add up; the best state is the least value all the same. At exactly `least_gain` it counts."""
    policy = Validation(every=10, patience=3, least_gain=0.25)
    assert seen([1.0, 0.875, 0.75, 0.625, 0.5], policy).stopped == ""
    found = seen([1.0, 0.875, 0.8125, 0.78125, 0.5], policy)
    assert (found.stopped, found.best, found.steps[-1]) == ("patience", 30, 30)
    # without a least gain an equal value is none
    assert seen([1.0, 1.0, 1.0], Validation(every=10, patience=2)).stopped == "patience"


def test_milestones_are_the_first_validations_at_or_after_their_shares() -> None:
    assert milestones([0, 30, 60, 90, 100], 100) == [30, 60, 90, 100]
    assert milestones([0, 10, 25, 50, 75, 90, 100], 100) == [10, 25, 50, 75, 90, 100]
    assert milestones([0, 9, 24], 100) == [24]
    assert milestones([0], 100) == []


def test_what_is_kept_is_the_best_and_with_states_milestones_and_the_last_three() -> None:
    found = seen([5, 1, 4, 4, 4, 4, 4, 4, 4], Validation(every=10))
    assert found.wanted(100, states=False) == [10]
    assert found.wanted(1000, states=True) == [10, 60, 70, 80]
    assert found.wanted(100, states=True) == [10, 30, 50, 60, 70, 80]


def test_there_is_a_validation_before_the_first_step_at_every_so_many_and_after_the_last() -> None:
    policy = Validation(every=40)
    assert [done for done in range(101) if due(done, policy, 100)] == [0, 40, 80, 100]


def test_a_selection_survives_as_json() -> None:
    found = seen([5, 1, 4], Validation(every=10, patience=9))
    assert Selection.from_json(json.loads(json.dumps(found.to_json()))) == found
