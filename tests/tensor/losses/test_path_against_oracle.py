"""The training path computes exactly the objective that the oracle defines, and trains exactly what it prints."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime import catalog
from runtime.contract import Loss
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


def test_what_the_teacher_excludes_adds_nothing_to_forward_kl_and_has_a_gradient_without_nan() -> None:
    """0 · log 0 is 0: a teacher whose logits are -inf at some entries (a masked vocabulary) still teaches the rest."""
    student = torch.tensor([[0.3, -1.0, 2.0, 0.1]], dtype=torch.float64, requires_grad=True)
    teacher = torch.tensor([[1.0, float("-inf"), 0.5, float("-inf")]], dtype=torch.float64)
    loss: Loss = catalog.load("losses", "kl")
    (value,) = loss.value(student, teacher, None, loss.params(temperature=2.0))
    p = np.exp(np.array([0.5, 0.25]) - np.log(np.exp(0.5) + np.exp(0.25)))
    q = np.exp(np.array([0.15, -0.5, 1.0, 0.05]))
    q /= q.sum()
    assert value.item() == pytest.approx(4 * float((p * np.log(p / q[[0, 2]])).sum()), rel=1e-12)
    value.backward()
    assert student.grad is not None
    assert torch.isfinite(student.grad).all()
