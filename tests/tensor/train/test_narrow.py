"""The last layer computed where it is read: the same hidden states and gradients there, from fewer rows."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from runtime.models import build
from runtime.train import narrow
from runtime.train.batches import Group
from runtime.train.linear import fast
from runtime.train.narrow import narrowed
from runtime.train.teaching import hidden_of
from tests.tensor.train.world import architecture

IDS_BT = torch.randint(3, 288, (3, 9), generator=torch.Generator().manual_seed(1))
READ_N = torch.tensor([2, 3, 7, 9, 17, 26])
GROUP = Group(ids_BT=IDS_BT, places_N=READ_N, rows=3, tokens=27)


def student(family: str = "llama") -> Any:
    return build.build(architecture(family=family), 1, {"pad": 0, "bos": 1, "eos": 2}, attention="sdpa")


def of(model: Any) -> list[Tensor]:
    """Hidden states that are read, then the gradient of a sum over them."""
    hidden_NH = hidden_of(model, [GROUP])
    parameters = [one for name, one in model.named_parameters() if "lm_head" not in name]
    given_NH = torch.linspace(-1, 1, hidden_NH.numel()).view_as(hidden_NH)
    return [hidden_NH, *torch.autograd.grad(hidden_NH, parameters, given_NH, allow_unused=True)]


def rows_of(model: Any) -> tuple[list[int], Any]:
    """How many rows each call of the last MLP computes; and what ends the counting."""
    seen: list[int] = []
    mlp = model.base_model.layers[-1].mlp
    inner = next(layer for layer in mlp.modules() if isinstance(layer, nn.Linear))
    return seen, inner.register_forward_hook(lambda _m, given, _y: seen.append(given[0][..., 0].numel()))


@pytest.mark.parametrize("family", ["llama", "qwen3", "phi"])
@pytest.mark.parametrize("quick", [False, True])
def test_what_is_read_and_its_gradient_are_the_same(family: str, quick: bool) -> None:
    model = student(family)
    with fast(model if quick else None):
        whole = of(model)
        with narrowed(IDS_BT[:1], model):
            seen, hook = rows_of(model)
            ours = of(model)
        hook.remove()
    assert seen == [len(READ_N)]
    for left, right in zip(whole, ours, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_outside_of_at_a_narrowed_model_computes_everything() -> None:
    model = student()
    before = model(input_ids=IDS_BT).logits
    with narrowed(IDS_BT[:1], model):
        assert torch.equal(model(input_ids=IDS_BT).logits, before)


def test_a_model_is_as_before_afterwards_even_when_the_work_within_fails() -> None:
    model = student()
    mlp = model.base_model.layers[-1].mlp
    context = narrowed(IDS_BT[:1], model)
    context.__enter__()
    assert "forward" in vars(mlp)
    context.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert "forward" not in vars(mlp)
    assert "forward" not in vars(model.base_model.layers[-1].self_attn.o_proj)


class Mixing(nn.Module):
    """Looks at the position before, as no MLP does."""

    def forward(self, x: Tensor) -> Tensor:
        return x.roll(1, dims=-2)


def test_a_last_layer_that_mixes_positions_is_computed_whole() -> None:
    model = student()
    model.base_model.layers[-1].mlp = Mixing()
    whole = hidden_of(model, [GROUP])
    with narrowed(IDS_BT[:1], model):
        assert torch.equal(hidden_of(model, [GROUP]), whole)


def test_a_layer_with_other_parts_is_computed_whole() -> None:
    model = student()
    last = model.base_model.layers[-1]
    last.feed, last.mlp = last.mlp, None
    assert narrow._after_attention(model) == []
