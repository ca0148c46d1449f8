"""A model's linear layers → the same layers through oneDNN while training on an x86 CPU.

torch sends float32 matrix products to MKL, which on AMD processors stays on 256-bit kernels; oneDNN picks kernels by
what the processor can do. On a Zen 5 core this more than doubles the products, which are three quarters of a step. The
arithmetic is the same float32 product, summed in another order.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def available() -> bool:
    """Whether this torch has the operation and gains by it; elsewhere nn.Linear already uses the best kernel."""
    return torch.backends.mkldnn.is_available() and torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def _product(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """left · rightᵀ + bias."""
    result: Tensor = torch.ops.mkldnn._linear_pointwise(left_NI, right_OI, bias_O, "none", [], "")
    return result


class _Linear(torch.autograd.Function):
    """x_…I, weight_OI, bias_O → y_…O. All three products, forward and backward, are oneDNN's."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight_OI: Tensor, bias_O: Tensor | None) -> Tensor:
        x_NI = x.reshape(-1, x.shape[-1])
        ctx.save_for_backward(x_NI, weight_OI)
        ctx.has_bias = bias_O is not None
        return _product(x_NI, weight_OI, bias_O).reshape(*x.shape[:-1], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (given,) = gradients
        x_NI, weight_OI = ctx.saved_tensors
        given_NO = given.reshape(-1, given.shape[-1])
        to_x = to_weight = to_bias = None
        if ctx.needs_input_grad[0]:
            to_x = _product(given_NO, weight_OI.t()).reshape(*given.shape[:-1], -1)
        if ctx.needs_input_grad[1]:
            to_weight = _product(given_NO.t(), x_NI.t())
        if ctx.has_bias and ctx.needs_input_grad[2]:
            to_bias = given_NO.sum(0)
        return to_x, to_weight, to_bias


def _forward(module: nn.Linear, x: Tensor) -> Tensor:
    y: Tensor = _Linear.apply(x, module.weight, module.bias)
    return y


@contextlib.contextmanager
def fast(*models: nn.Module | None) -> Iterator[None]:
    """Within the context the models' plain linear layers run through oneDNN, where that is available."""
    layers = [layer for model in models if model is not None for layer in model.modules() if type(layer) is nn.Linear]
    layers = layers if available() else []
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward
