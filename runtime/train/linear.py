"""A model's linear layers → the same layers through oneDNN while training on an x86 CPU, where that is faster.

torch sends float32 matrix products to MKL, which on AMD processors stays on 256-bit kernels; oneDNN picks kernels by
what the processor can do. On a Zen 5 core this more than doubles the products, which are three quarters of a step
(tests/bench/training_step.py); on Zen 4, which halves vectors of 512 bits, and on Intel processors it gains nothing.
The arithmetic is the same float32 product, summed in another order: who makes it follows from the processor, which
stands in the key, and never from a clock. (It was timed once, and on a busy machine chance decided about bits.)

The operation is one of torch's own, which nobody promises: it is wrong without a word where fewer threads run than were
set. `runtime.models.threads` refuses that, and each shape of layer is compared with the plain product before it is
used.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from runtime.contract import Refusal
from runtime.machine import host

#: rows of the product that is compared, and relative difference that rounding explains
ROWS, ROUNDING = 512, 1e-4
#: outputs that are compared of a wider layer: the whole of a head would take more memory than a training step
OUTPUTS = 8192
#: family of AMD processors from which on vectors of 512 bits are computed whole (26: Zen 5)
WHOLE = 26

#: of oneDNN and of torch's layer above it (ideep). Both keep what they make for each shape of a product, 1024 of them,
#: and rows of many lengths give that many: 900 MB beside a model of 2 M parameters after 40 steps. Of 64 the same steps
#: take 0.4 times the memory and no more time. Both are read when the first product is made.
KEPT_KERNELS = {"LRU_CACHE_CAPACITY": "64", "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64"}
for _name, _value in KEPT_KERNELS.items():
    os.environ.setdefault(_name, _value)


#: whether layers run through oneDNN here
_QUICK: ContextVar[bool] = ContextVar("quick", default=False)
#: left_NI, right_OI, bias_O → left · rightᵀ + bias
Product = Callable[[Tensor, Tensor, Tensor | None], Tensor]


#: by whom an interrupted run was begun, which goes on with the same products whatever this processor would choose
_BEGUN: ContextVar[str | None] = ContextVar("begun", default=None)


@contextlib.contextmanager
def begun_with(name: str | None) -> Iterator[None]:
    """Within the context products are made by whom `name` says, as `products` named it; None: as the processor is."""
    before = _BEGUN.set(name)
    try:
        yield
    finally:
        _BEGUN.reset(before)


def available() -> bool:
    """Whether this torch has the operation and gains by it; elsewhere nn.Linear already uses the best kernel."""
    if _BEGUN.get() is not None:
        return _BEGUN.get() == "oneDNN"
    capable = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return torch.backends.mkldnn.is_available() and capable and gains()


def gains() -> bool:
    """Whether the processor is one whose products oneDNN makes faster than MKL."""
    family = host.model().partition(".")[0]
    return host.kernels().startswith("AuthenticAMD avx512") and family.isdecimal() and int(family) >= WHOLE


def products() -> str:
    """By whom matrix products are made within `fast`."""
    return "oneDNN" if available() else "torch"


def _check(out: int, width: int) -> None:
    """Raises Refusal when the three products of a layer [out, width] are not the plain ones."""
    made, out = torch.Generator().manual_seed(1), min(out, OUTPUTS)
    x_NI, weight_OI = torch.randn(ROWS, width, generator=made), torch.randn(out, width, generator=made)
    given_NO = torch.randn(ROWS, out, generator=made)
    for left, right in ((x_NI, weight_OI), (given_NO, weight_OI.t()), (given_NO.t(), x_NI.t())):
        plain = left.double() @ right.double().t()
        apart = float((_product(left, right) - plain).abs().max()) / float(plain.abs().max())
        if not apart <= ROUNDING:
            raise Refusal(
                f"a product of {out} x {width} through oneDNN is wrong by {apart:.2g} of its largest number",
                action="unset variables of oneDNN and OpenMP (ONEDNN_…, DNNL_…, OMP_…); report it if none is set",
                code="KR0122",
            )


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


def _plain(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    return nn.functional.linear(left_NI, right_OI, bias_O)


def kernel() -> Product:
    """The product that the layers of `fast` use where this is called; the plain one outside of it."""
    return _either if _QUICK.get() else _plain


def _either(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    return (_product if left_NI.dtype == torch.float32 else _plain)(left_NI, right_OI, bias_O)


def _forward(module: nn.Linear, x: Tensor) -> Tensor:
    y: Tensor = _Linear.apply(x, module.weight, module.bias)
    return y


@contextlib.contextmanager
def fast(*models: nn.Module | None) -> Iterator[None]:
    """Within the context the models' plain linear layers run through oneDNN, where that is available. Raises Refusal
    where it computes something else."""
    layers = [layer for model in models if model is not None for layer in model.modules() if type(layer) is nn.Linear]
    layers = [layer for layer in layers if layer.weight.dtype == torch.float32] if available() else []
    for out, width in sorted({(layer.out_features, layer.in_features) for layer in layers}):
        _check(out, width)
    for layer in layers:
        layer.forward = partial(_forward, layer)
    before = _QUICK.set(bool(layers))
    try:
        yield
    finally:
        _QUICK.reset(before)
        for layer in layers:
            del layer.forward
