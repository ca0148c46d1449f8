"""The product with a head → logits in float32, whatever the models compute in.

On CUDA with `bf16` the operands are rounded to bfloat16, which the card multiplies some ten times as fast, and the sum
is kept and returned in float32: no logit is rounded. Everywhere else it is the product of `runtime.train.linear`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch
from torch import Tensor

from runtime.train import linear

#: where products take bfloat16: the weights that were rounded so far, by where they lie
_ROUNDED: ContextVar[dict[tuple[int, ...], Tensor] | None] = ContextVar("rounded", default=None)


@contextlib.contextmanager
def rounded(wanted: bool) -> Iterator[None]:
    """Within the context products on a CUDA card take their operands in bfloat16. Weights do not change meanwhile, and
    are rounded once."""
    before = _ROUNDED.set({} if wanted else None)
    try:
        yield
    finally:
        _ROUNDED.reset(before)


def kernel() -> linear.Product:
    """The product that holds where this is called."""
    return linear.kernel() if _ROUNDED.get() is None else _rounded


def _rounded(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """left · rightᵀ + bias of operands in bfloat16, summed and returned in float32."""
    found = torch.mm(left_NI.bfloat16(), _weight(right_OI).t(), out_dtype=torch.float32)
    return found if bias_O is None else found.add_(bias_O)


def _weight(weight: Tensor) -> Tensor:
    """A head's weights, or their transpose, in bfloat16."""
    if weight.stride(0) == 1 and weight.shape[0] > 1:
        return _weight(weight.t()).t()
    known = _ROUNDED.get()
    if known is None:
        return weight.bfloat16()
    place = (weight.data_ptr(), *weight.shape)
    if place not in known:
        known[place] = weight.bfloat16()
    return known[place]


def add(into_VH: Tensor, logits_CV: Tensor, hidden_CH: Tensor) -> None:
    """`into` += logitsᵀ · hidden, by operands as `kernel` takes them."""
    if _ROUNDED.get() is not None:
        into_VH += torch.mm(logits_CV.bfloat16().t(), hidden_CH.bfloat16(), out_dtype=torch.float32)
    else:
        into_VH.addmm_(logits_CV.t(), hidden_CH)
