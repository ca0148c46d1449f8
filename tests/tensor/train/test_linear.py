"""Linear layers through oneDNN compute the layer's own values and gradients, and only within the context."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from runtime.train.linear import available, fast


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(5, 24), (3, 7, 24), (1, 24)])
def test_values_and_gradients_are_the_layers_own(bias: bool, shape: tuple[int, ...]) -> None:
    torch.manual_seed(1)
    layer, x = nn.Linear(24, 40, bias=bias), torch.randn(shape, requires_grad=True)
    given = torch.randn(*shape[:-1], 40)

    def both() -> list[torch.Tensor]:
        y = layer(x)
        return [y, *torch.autograd.grad(y, (x, *layer.parameters()), given)]

    plain = both()
    with fast(layer):
        quick = both()
    for left, right in zip(plain, quick, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-5)


def test_frozen_inputs_and_weights_get_no_gradient() -> None:
    layer, x = nn.Linear(8, 8), torch.randn(3, 8, requires_grad=True)
    with fast(layer):
        layer(x.detach()).sum().backward()
        assert x.grad is None
        layer.requires_grad_(False)
        layer(x).sum().backward()
    assert x.grad is not None


def test_the_layer_is_as_before_afterwards() -> None:
    """Even when the work within fails."""
    layer = nn.Linear(8, 8)
    before = dict(vars(layer))
    context = fast(nn.Sequential(layer), None)
    context.__enter__()
    assert ("forward" in vars(layer)) is available()
    context.__exit__(ZeroDivisionError, ZeroDivisionError(), None)
    assert vars(layer).keys() == before.keys()
