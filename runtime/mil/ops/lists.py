"""Lists of tensors: make_list, list_write, list_read, list_gather, list_scatter, list_length.

Meaning: Apple's MIL op reference, module `control_flow` of iOS15. What it leaves open, the test of the ops that
coremltools runs on devices says (`TestList`): an element that was never written is zero, and a write behind the end of
a dynamic list makes that position its last one. A list is a value: who writes gets another one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import numpy as np

from runtime.mil.errors import UnsupportedOp
from runtime.mil.items import Items
from runtime.mil.numerics import Array
from runtime.mil.ops.elementwise import cast_dtype
from runtime.mil.ops.registry import BOOL, FLOAT, INT, Anything, Domain, Indices, op

List = Annotated[Items, Domain(FLOAT | INT | BOOL, form="list")]
#: sizes of one element, each a number or the name of one that is known only when the function runs
ElementShape = Annotated[tuple[Any, ...], Domain(INT | {"string"}, same=False, variadic=True)]


def _made(_: Mapping[str, str], static: Mapping[str, Any]) -> tuple[str, ...]:
    return (cast_dtype(static.get("dtype", "fp32")),)


@op("make_list", result=_made, form="list", moves=True)
def make_list(
    init_length: Indices | None = None,
    elem_shape: ElementShape = (),
    dynamic_length: bool = True,
    dtype: str = "fp32",
) -> Items:
    length = 1 if init_length is None else int(np.asarray(init_length).item())
    if length < 1:
        raise UnsupportedOp(f"make_list of {length} elements: how long it then is is not documented", op="make_list")
    shape = tuple(None if isinstance(size, str) else int(size) for size in elem_shape)
    return Items(cast_dtype(dtype), shape, dynamic_length, (None,) * length)


@op("list_length", result="int32")
def list_length(ls: List) -> Array:
    return np.array(len(ls.elements), np.int32)


@op("list_write", result="ls", form="list", moves=True)
def list_write(ls: List, index: Indices, value: Anything) -> Items:
    return ls.written(int(index.item()), value)


@op("list_read", result="ls", moves=True)
def list_read(ls: List, index: Indices) -> Array:
    return ls.read(int(index.item()))


@op("list_gather", result="ls", moves=True)
def list_gather(ls: List, indices: Indices) -> Array:
    return ls.gathered(indices.tolist())


@op("list_scatter", result="ls", form="list", moves=True)
def list_scatter(ls: List, indices: Indices, value: Anything) -> Items:
    """value_N* at the positions indices_N, none of them twice."""
    places = indices.tolist()
    if len(set(places)) != len(places):
        raise UnsupportedOp("list_scatter of two tensors to one position is not documented", op="list_scatter")
    for place, one in zip(places, value, strict=True):
        ls = ls.written(place, one)
    return ls
