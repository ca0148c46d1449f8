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

_ROUNDED: ContextVar[bool] = ContextVar("rounded", default=False)


@contextlib.contextmanager
def rounded(wanted: bool) -> Iterator[None]:
    """Within the context products on a CUDA card take their operands in bfloat16."""
    before = _ROUNDED.set(wanted)
    try:
        yield
    finally:
        _ROUNDED.reset(before)


def kernel() -> linear.Product:
    """The product that holds where this is called."""
    return _rounded if _ROUNDED.get() else linear.kernel()


def _rounded(left_NI: Tensor, right_OI: Tensor, bias_O: Tensor | None = None) -> Tensor:
    """left · rightᵀ + bias of operands in bfloat16, summed and returned in float32."""
    found = torch.mm(left_NI.bfloat16(), right_OI.bfloat16().t(), out_dtype=torch.float32)
    return found if bias_O is None else found.add_(bias_O)


def add(into_VH: Tensor, logits_CV: Tensor, hidden_CH: Tensor) -> None:
    """`into` += logitsᵀ · hidden, by operands as `kernel` takes them."""
    if _ROUNDED.get():
        into_VH += torch.mm(logits_CV.bfloat16().t(), hidden_CH.bfloat16(), out_dtype=torch.float32)
    else:
        into_VH.addmm_(logits_CV.t(), hidden_CH)
