"""Learning rate and weights are pure functions of the step, with the ends the words promise."""

from __future__ import annotations

import pytest

from runtime.contract.optimizer import Optimizer, Schedule
from runtime.train.schedule import learning_rate, weight_at

OPTIMIZER = Optimizer(learning_rate=1e-2, warmup_steps=10, final_fraction=0.1)


def test_warm_up_is_linear_and_reaches_the_peak_in_its_last_step() -> None:
    rates = [learning_rate(step, 100, OPTIMIZER) for step in range(11)]
    assert rates[0] == pytest.approx(1e-3)
    assert rates[4] == pytest.approx(5e-3)
    assert rates[9] == pytest.approx(1e-2)
    assert rates[10] == pytest.approx(1e-2)


def test_cosine_falls_to_the_final_fraction_in_the_last_step() -> None:
    rates = [learning_rate(step, 100, OPTIMIZER) for step in range(10, 100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1e-3)
    assert learning_rate(10 + 89 // 2, 100, OPTIMIZER) == pytest.approx(0.55e-2, rel=0.02)


def test_constant_stays_at_the_peak() -> None:
    constant = OPTIMIZER.model_copy(update={"decay": "constant"})
    assert {learning_rate(step, 100, constant) for step in range(10, 100)} == {1e-2}


@pytest.mark.parametrize("steps", [1, 5, 10, 11])
def test_runs_as_short_as_the_warm_up_have_positive_rates(steps: int) -> None:
    assert all(0 < learning_rate(step, steps, OPTIMIZER) <= 1e-2 for step in range(steps))


def test_without_warm_up_the_first_step_is_the_peak() -> None:
    assert learning_rate(0, 10, OPTIMIZER.model_copy(update={"warmup_steps": 0})) == pytest.approx(1e-2)


def test_a_weight_changes_linearly_between_its_two_steps() -> None:
    schedule = Schedule(to=0.2, from_step=10, until_step=20)
    assert [weight_at(step, 1.0, schedule) for step in (0, 10, 15, 20, 99)] == pytest.approx([1.0, 1.0, 0.6, 0.2, 0.2])
    assert weight_at(5, 0.7, None) == 0.7
