"""What a card does in few kernels is what it does in many, or is left alone; whatever is tried is undone.

Kernels for a card cannot be made here: the same code is compiled for the processor where a C++ compiler is (slow), and a
card is asked in tests/device.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runtime.models import build
from runtime.steps.train import Term
from runtime.train import fused, objective
from runtime.train.objective import Bound
from tests.longer import also
from tests.tensor.train.world import architecture

CUDA = torch.device("cuda")


def bound(name: str = "kl") -> Bound:
    return objective.bind([Term(term=name, version=1, weight=1.0)])[0]


@pytest.fixture
def tried_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    """A trial that asks for a card is made where the tests run."""
    real = fused._trial
    monkeypatch.setattr(fused, "_trial", lambda _device, *rest: real(torch.device("cpu"), *rest))


def making(monkeypatch: pytest.MonkeyPatch, made: Callable[..., Any]) -> None:
    monkeypatch.setattr(fused, "_compiled", lambda one: lambda *given: made(one, *given))


def right(one: Bound, *given: Any) -> tuple[Tensor, Tensor]:
    assert one.loss.gradient is not None
    return one.loss.gradient(*given, one.params)


def wrong(one: Bound, *given: Any) -> tuple[Tensor, Tensor]:
    loss_N, gradient_NV = right(one, *given)
    return loss_N, gradient_NV * 1.001


def without_a_compiler(_one: Bound, *_given: Any) -> tuple[Tensor, Tensor]:
    raise RuntimeError("Failed to find C compiler.\nPlease specify via CC environment variable.")


@pytest.mark.usefixtures("tried_on_the_processor")
@pytest.mark.parametrize(
    ("made", "why"),
    [
        (right, ""),
        (wrong, "it differs from the plain one"),
        (without_a_compiler, "RuntimeError Failed to find C compiler."),
    ],
)
def test_a_compiled_loss_is_used_where_it_is_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, made: Callable[..., Any], why: str
) -> None:
    making(monkeypatch, made)
    kl = bound()
    with fused.losses([kl], CUDA, 97, fused.WORTH) as found:
        assert found == {"kl": why}
        assert kl.loss.gradient is not None
        used = fused.gradient_of(kl, kl.loss.gradient, 8)
        assert (getattr(used, "func", None) is fused._of) == bool(why)
        # neither one token alone nor another closed form of the same loss
        assert fused.gradient_of(kl, kl.loss.gradient, 1).func is fused._of  # type: ignore[attr-defined]
        assert fused.gradient_of(kl, wrong, 8).func is fused._of  # type: ignore[attr-defined]
    assert fused.gradient_of(kl, kl.loss.gradient, 8).func is fused._of  # type: ignore[attr-defined]


@pytest.mark.usefixtures("tried_on_the_processor")
@pytest.mark.parametrize("name", ["kl", "reverse_kl", "ce_truth", "ce_teacher"])
def test_every_closed_form_passes_its_own_trial(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    making(monkeypatch, right)
    with fused.losses([bound(name)], CUDA, 97, fused.WORTH) as found:
        assert found == {name: ""}


def test_short_trainings_and_the_processor_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    making(monkeypatch, without_a_compiler)
    with fused.losses([bound()], CUDA, 97, fused.WORTH - 1) as found:
        assert found == {}
    with fused.losses([bound()], torch.device("cpu"), 97, fused.WORTH) as found:
        assert found == {}
    with fused.norms(build.build(architecture(), 1)) as taken:
        assert taken == 0


@pytest.mark.parametrize(("family", "count"), [("llama", 5), ("qwen3", 9), ("phi", 0)])
def test_a_normalisation_is_one_kernel_with_the_same_values_and_gradients(family: str, count: int) -> None:
    found = list(fused._norms(build.build(architecture(family=family, num_hidden_layers=2), 1)))
    assert len(found) == count
    assert all(fused._equal(*one) for one in found)


class OneMoreRMSNorm(nn.Module):
    """As Gemma's: one is added to the weight."""

    def __init__(self) -> None:
        super().__init__()
        self.eps, self.weight = 1e-6, nn.Parameter(torch.rand(8))

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.rms_norm(x, (8,), 1 + self.weight, self.eps)


def test_another_kind_of_normalisation_is_seen() -> None:
    model = OneMoreRMSNorm()
    assert [fused._equal(*one) for one in fused._norms(model)] == [False]
    assert fused._equal(nn.RMSNorm(8, eps=1e-6), 1e-6)
    assert not fused._equal(nn.RMSNorm(8, eps=1e-6), 1e-2)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
@pytest.mark.parametrize("name", [also("kl"), "ce_truth"])
def test_what_the_compiler_makes_is_the_plain_loss(name: str) -> None:
    one = bound(name)
    assert fused._same(fused._compiled(one), one, torch.device("cpu"), 97)
