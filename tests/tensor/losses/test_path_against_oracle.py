"""The training path computes exactly the objective that the oracle defines, and trains exactly what it prints."""

from __future__ import annotations

import pytest
import torch

from tests.tensor.losses import checks
from tests.tensor.losses.bench import TERMS, Bench


@pytest.mark.parametrize("name", TERMS)
def test_value_is_the_oracles(name: str) -> None:
    checks.check_values((name,))


def test_terms_together_have_the_values_they_have_alone() -> None:
    checks.check_values()


@pytest.mark.parametrize("name", TERMS)
def test_gradient_is_the_slope_of_the_oracle(name: str) -> None:
    checks.check_gradient(name)


def test_shift() -> None:
    checks.check_shift()


def test_temperature_squared() -> None:
    checks.check_temperature_squared()


def test_direction() -> None:
    checks.check_direction()


def test_mask() -> None:
    checks.check_mask()


def test_denominator() -> None:
    checks.check_denominator()


def test_float32_agrees_to_rounding() -> None:
    """The type that trains: within 1e-5 of the float64 oracle."""
    bench = Bench(torch.float32)
    for value, name in zip(bench.path(), TERMS, strict=True):
        assert float(value.detach()) == pytest.approx(bench.truth(name), rel=1e-5), name


def test_teacher_gets_no_gradient() -> None:
    bench = Bench()
    bench.path().sum().backward()
    assert all(parameter.grad is None for parameter in bench.teacher.parameters())
    assert all(parameter.grad is not None for parameter in bench.student.parameters())
