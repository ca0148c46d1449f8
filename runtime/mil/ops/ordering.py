"""Ops that order elements: topk and argsort. Ties keep their order of occurrence; MIL leaves them open."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.ops.elementwise import cast_dtype
from runtime.mil.ops.registry import Numbers, op


def _order(x: Array, axis: int, ascending: bool) -> Array:
    if ascending:
        return np.argsort(x, axis=axis, kind="stable")
    # flip twice, so that equal elements stay in their order of occurrence
    back = np.argsort(np.flip(x, axis), axis=axis, kind="stable")
    return x.shape[axis] - 1 - np.flip(back, axis)


@op("argsort", result="int32")
def argsort(x: Numbers, axis: int = -1, ascending: bool = False) -> Array:
    return _order(x, axis, ascending).astype(np.int32)


def _topk_result(dtypes: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    if not static.get("return_indices", True):
        return (dtypes["x"],)
    return dtypes["x"], cast_dtype(static.get("output_indices_dtype", "int32"))


@op(
    "topk",
    result=_topk_result,
    moves=True,
    ignores=("sort",),
    added={"sort": 6, "return_indices": 6, "output_indices_dtype": 7},
)
def topk(
    x: Numbers,
    k: int = 1,
    axis: int = -1,
    ascending: bool = False,
    return_indices: bool = True,
    output_indices_dtype: str = "int32",
) -> tuple[Array, ...]:
    """The `k` largest (smallest with `ascending`) elements in order, and their positions; k = -1 takes all. Without
    `sort` MIL promises no order; the sorted one is given."""
    order = _order(x, axis, ascending)
    taken = np.take(order, range(x.shape[axis] if k == -1 else k), axis=axis)
    values = np.take_along_axis(x, taken, axis)
    if not return_indices:
        return (values,)
    return values, taken.astype(BY_NAME[cast_dtype(output_indices_dtype)].carrier)
