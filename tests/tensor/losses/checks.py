"""What the training path must satisfy, one claim per function. Run as tests, and against every mutant."""

from __future__ import annotations

import pytest
import torch

from tests.tensor.losses.bench import TERMS, Bench, nudged


def check_values(names: tuple[str, ...] = TERMS) -> None:
    bench = Bench()
    values = bench.path(names)
    for value, name in zip(values, names, strict=True):
        assert float(value.detach()) == pytest.approx(bench.truth(name), rel=1e-9), name


def check_shift() -> None:
    """Logits at position i-1 are held against token i, in every term."""
    check_values()


def check_temperature_squared() -> None:
    check_values(("kl", "reverse_kl"))


def check_direction() -> None:
    """Forward KL is KL(teacher ‖ student), reverse the other."""
    check_values(("kl",))
    check_values(("reverse_kl",))


def check_mask() -> None:
    """The span terms see the tokens of their spans and no other."""
    check_values(("ce_truth", "tool_name", "json_args"))


def check_denominator() -> None:
    """A term is divided by its own supervised tokens, not by those of another term or of all."""
    check_values(("tool_name", "ce_truth"))


def check_gradient(name: str, bench: Bench | None = None) -> None:
    """The gradient autograd gives is the slope of the oracle's value, along a random direction of all weights."""
    bench = bench or Bench()
    (value,) = bench.path((name,))
    parameters = list(bench.student.parameters())
    generator = torch.Generator().manual_seed(11)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) * p.detach().std() for p in parameters]
    gradients = torch.autograd.grad(value, parameters)
    slope = float(sum((g * d).sum() for g, d in zip(gradients, direction, strict=True)))
    # Transformers normalises in float32 whatever the weights are, so that a smaller step would measure its rounding.
    step = 1e-3
    with nudged(bench.student, direction, step):
        above = bench.truth(name)
    with nudged(bench.student, direction, -step):
        below = bench.truth(name)
    assert abs(slope) > 1e-3, "the direction is flat, so that the check could not fail"
    assert slope == pytest.approx((above - below) / (2 * step), rel=2e-3)
