"""A term that trains nothing, and a run that has left the numbers, are refused while they run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.contract import Loss, Refusal
from runtime.train import gradients
from runtime.train.distill import train
from tests.tensor.train import world
from tests.tensor.train.world import Stage


def with_loss(patch: pytest.MonkeyPatch, name: str, value: Any) -> None:
    load = catalog.load

    def changed(room: str, wanted: str) -> Any:
        found: Loss = load(room, wanted)
        return replace(found, value=value, gradient=None) if (room, wanted) == ("losses", name) else found

    patch.setattr(catalog, "load", changed)


def run(base: dict[str, Path], root: Path, **weights: float) -> None:
    train(base, world.params(losses=world.terms(**weights)), Stage(root, base))


def test_a_value_without_gradient_is_refused(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Constants (the origin's compliance losses, D10) and detached values (axolotl #3660) both stop here."""
    with_loss(monkeypatch, "tool_name", lambda s, _t, _y, _p: s.detach().pow(2).sum(-1) + 0 * s.sum(-1))
    with pytest.raises(Refusal, match="`tool_name` has a value but its gradient is exactly zero at step 0"):
        run(base, tmp_path, ce_truth=1.0, tool_name=1.0)


def test_a_zero_gradient_is_refused_even_beside_a_weight_of_zero(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_loss(monkeypatch, "tool_name", lambda s, _t, _y, _p: 0 * s.sum(-1) + 1.0)
    with pytest.raises(Refusal, match="exactly zero"):
        run(base, tmp_path, ce_truth=1.0, tool_name=0.0)


def test_a_term_learned_to_the_last_bit_is_not_refused() -> None:
    nothing = gradients.Reach(norm=0.0, parameters=0)
    gradients.gate("kl", 0.5, nothing, 40, first=False)
    with pytest.raises(Refusal, match="exactly zero at step 40"):
        gradients.gate("kl", 0.5, nothing, 40, first=True)


@pytest.mark.parametrize("value", [0.0, 1e-6, -1e-6])
def test_a_student_that_begins_as_its_teacher_has_no_gradient_yet(value: float) -> None:
    nothing = gradients.Reach(norm=0.0, parameters=0)
    gradients.gate("kl", value, nothing, 0, first=True)
    with pytest.raises(Refusal, match="exactly zero at step 0"):
        gradients.gate("kl", 1.01e-6, nothing, 0, first=True)


def test_until_a_gradient_was_more_than_zero_the_next_is_the_first(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A term that is nothing at step 0, and later has a value without a gradient, trains nothing."""
    calls = iter(range(1000))
    with_loss(monkeypatch, "tool_name", lambda s, _t, _y, _p: 0 * s.sum(-1) + (0.0 if next(calls) < 2 else 1.0))
    with pytest.raises(Refusal, match=r"exactly zero at step [1-9]"):
        run(base, tmp_path, ce_truth=1.0, tool_name=1.0)


@pytest.mark.parametrize("norm", [float("nan"), float("inf")])
def test_a_gradient_that_is_no_number_is_refused_at_any_time(norm: float) -> None:
    with pytest.raises(Refusal, match="not finite at step 40"):
        gradients.gate("kl", 0.5, gradients.Reach(norm=norm, parameters=3), 40, first=False)


@pytest.mark.parametrize("broken", [float("nan"), float("inf")])
def test_a_value_that_is_no_number_is_refused_with_its_step(
    broken: float, base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(1000))
    plain = catalog.load("losses", "ce_truth").value

    def value(s: Tensor, t: Tensor, y: Tensor, p: Any) -> Tensor:
        found: Tensor = plain(s, t, y, p)
        return found * (broken if next(calls) >= 3 else 1.0)

    with_loss(monkeypatch, "ce_truth", value)
    with pytest.raises(Refusal, match=r"diverged: loss `ce_truth` is (nan|inf) at step [1-3]"):
        run(base, tmp_path, ce_truth=1.0)


def test_a_loss_of_the_wrong_shape_is_refused(
    base: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_loss(monkeypatch, "ce_truth", lambda s, _t, _y, _p: s.log_softmax(-1).mean())
    with pytest.raises(Refusal, match=r"returned shape \(\)"):
        run(base, tmp_path, ce_truth=1.0)


def test_measured_norms_are_those_of_the_gradients() -> None:
    weight, other = torch.tensor([3.0, 4.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    values = torch.stack([weight.pow(2).sum() / 2, other.sum() * 2, (weight.sum() + other.sum()) * 0])
    first, second, third = gradients.measure(values, [weight, other])
    assert (first.norm, first.parameters) == (5.0, 1)
    assert (second.norm, second.parameters) == (2.0, 1)
    assert (third.norm, third.parameters) == (0.0, 0)


def test_shares_weigh_the_norms() -> None:
    assert gradients.shares([1.0, 3.0], [3.0, 1.0]) == [0.5, 0.5]
    assert gradients.shares([1.0, 3.0], [0.0, 0.0]) is None
