"""Large weights while a program is converted: in files, and stood in for where coremltools would copy them.

A conversion reads the weights from the exported program's file, where they are mapped, and what is made of them
(float16, integers, indices) is put on a shelf: a file that is mapped as well. No more than a few copies of one tensor
are in memory at a time; everything else are pages that the system takes back when it needs them.

coremltools' pass to float16 makes a copy of every weight, and of each several arrays of indices on the way. While it
runs, a stand-in is there for each: an array of the same shape and type all of whose elements are one NaN in memory.
Afterwards the weights are put back, and that no other constant was made of a stand-in is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import prod
from pathlib import Path
from typing import Any

import numpy as np

from runtime.machine import durable
from runtime.mil.numerics import FP16_MAX, Array, narrow

#: elements from which on a weight is large
LARGE = 1 << 14
#: elements that are converted at a time
_PART = 1 << 20
_SUFFIX = "_to_fp16"


def parts(array: Array) -> Iterator[Array]:
    """Its elements in order, flat and some at a time."""
    flat = np.ascontiguousarray(array).reshape(-1)
    for start in range(0, flat.size, _PART):
        yield flat[start : start + _PART]


class Shelf:
    """Arrays, each under a name, in files of a folder (without one in memory); who asks again gets the same."""

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._there: dict[str, Array] = {}

    def put(self, name: str, pieces: Iterator[Array], shape: tuple[int, ...], dtype: Any) -> Array:
        """The array of that name, made of its flat pieces where it is not there. Raises StorageFailed."""
        if name not in self._there:
            self._there[name] = self._stored(pieces, prod(shape), np.dtype(dtype)).reshape(shape)
        return self._there[name]

    def _stored(self, pieces: Iterator[Array], count: int, dtype: np.dtype[Any]) -> Array:
        if self._folder is None or not count:
            return np.concatenate([np.empty(0, dtype), *pieces])
        path = self._folder / f"{len(self._there)}.bin"
        durable.pour(path, (piece.tobytes() for piece in pieces), count * dtype.itemsize)
        # coremltools knows no other arrays than numpy's own
        stored: Array = np.memmap(path, dtype, "r").view(np.ndarray)
        return stored

    def array(self, name: str, array: Array) -> Array:
        """An array as it is; a small one stays in memory."""
        return array if array.size < LARGE else self.put(name, parts(array), array.shape, array.dtype)

    def half(self, name: str, weight: Array) -> Array:
        """A float32 weight as float16; what that rounds to zero is a positive one."""
        return self.put(f"{name} fp16", map(_halved, parts(weight)), weight.shape, np.float16)


def _halved(part: Array) -> Array:
    made = narrow(part)
    made[(made == 0) & (part != 0)] = 0
    return made


class StandIn(np.ndarray[Any, Any]):
    """Looks like an array of `shape`, and is one NaN: what is computed from it is NaN as well."""

    def __new__(cls, shape: tuple[int, ...], dtype: Any) -> StandIn:
        """Its strides are zero."""
        return np.broadcast_to(np.array(np.nan, dtype), shape).view(cls)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> StandIn:
        """Without a copy."""
        return StandIn(self.shape, dtype)

    def flatten(self, *_: Any) -> StandIn:
        """Without a copy."""
        return StandIn((self.size,), self.dtype)


def stand_in(program: Any, tensors: Mapping[str, str]) -> dict[str, Array]:
    """Put a stand-in for each large float32 constant of function `main` that `tensors` names; what it stands for, by
    name.

    Numbers that float16 cannot hold stay: the pass leaves their op as it is.
    """
    found: dict[str, Array] = {}
    for op in program.functions["main"].operations:
        value = op.outputs[0].val if op.op_type == "const" and op.name in tensors else None
        if not isinstance(value, np.ndarray) or value.dtype != np.float32 or value.size < LARGE:
            continue
        if all(max(part.max(), -part.min()) <= FP16_MAX for part in parts(value)):
            found[op.name] = value
            _set(op, StandIn(value.shape, value.dtype))
    return found


def restore(program: Any, found: Mapping[str, Array], shelf: Shelf, tensors: Mapping[str, str]) -> None:
    """Put back what `stand_in` has taken, as float32 or float16, whichever each constant is by now. `tensors`: constant
    → the name that is its float16 form's on the shelf.

    Raises RuntimeError where a pass has made something else of a stand-in.
    """
    seen = set()
    for op in program.functions["main"].operations:
        value = op.outputs[0].val if op.op_type == "const" else None
        if not isinstance(value, np.ndarray) or value.dtype.kind != "f":
            continue
        name = op.name.removesuffix(_SUFFIX)
        weight = found.get(name)
        if weight is not None and value.shape == weight.shape and np.isnan(value.flat[0]):
            seen.add(name)
            _set(op, weight if value.dtype == np.float32 else shelf.half(tensors[name], weight))
        elif any(np.isnan(part).any() for part in parts(value)):
            raise RuntimeError(f"a pass of coremltools has made {op.name} of a weight, or the model holds NaN")
    if lost := found.keys() - seen:
        raise RuntimeError(f"a pass of coremltools has replaced {min(lost)}")


def _set(op: Any, value: Array) -> None:
    """The value of a constant, and what it would be inferred from."""
    op.outputs[0]._sym_val.val = op.val._sym_val.val = value
