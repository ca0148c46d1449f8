"""Fused attention (iOS18): softmax(Q·Kᵀ/√E + mask)·V. Composite: float32 inside, except in `fp16_strict`."""

from __future__ import annotations

import math

import numpy as np

from runtime.mil.numerics import Array, Rounding
from runtime.mil.ops.normalisation import stable_softmax
from runtime.mil.ops.registry import Floats, Mask, op


@op("scaled_dot_product_attention", since=8)
def scaled_dot_product_attention(
    query: Floats, key: Floats, value: Floats, attn_mask: Mask | None = None, *, inner: Rounding
) -> Array:
    """query_…LE, key_…SE, value_…SV → …LV. A float mask is added to the scores; where a bool mask is False the score
    is -inf, so that a row without any True is NaN: so the operator is written (torch 2.13 gives zeros there)."""
    scores = inner(np.matmul(query, key.swapaxes(-1, -2)) * np.float32(1 / math.sqrt(query.shape[-1])))
    if attn_mask is not None:
        bias = np.where(attn_mask, np.float32(0), np.float32(-np.inf)) if attn_mask.dtype == np.bool_ else attn_mask
        scores = inner(scores + bias)
    return np.matmul(inner(stable_softmax(scores, -1, inner)), value)
