"""A function → its stored constants: what the package holds, in which dtype and granularity, and who reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime.contract import BrokenEvidence
from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.program import BlobRef, Function, Literal, Operation, ValueType, walk

#: reads a literal's elements
Elements = Callable[[Literal], Array | str]

#: parameters that hold the elements of a compressed constant
_DATA = ("quantized_data", "data", "indices", "indices_nonzero_data", "nonzero_data", "source_val")
#: parameters that describe one without being stored for each element
_SHAPE = ("axis", "shape", "vector_axis", "output_dtype")


class Consumer(NamedTuple):
    """An op (or, with `op_type` "output", the function itself) that reads a value."""

    op_type: str
    op_name: str


@dataclass(frozen=True)
class StoredWeight:
    """One constant as it is stored: `name` is the MIL value, `op_type` the op that yields it ("const",
    "constexpr_…"; a chain of constexpr ops is joined by "+", innermost first), `op_name` that op's name.

    `dtype` is the stored one, `shape` the logical one. For compressed weights `scale_shape` is the shape of the scales
    (of the table for palettized ones), `granularity` "per_tensor", "per_channel" (one scale along `axis` only) or
    "per_block", and `block` the block size per dimension; without scales and tables it is "none". `bytes` counts data,
    masks, scales, offsets and tables.
    """

    name: str
    op_type: str
    op_name: str
    dtype: str
    shape: tuple[int, ...]
    scale_shape: tuple[int, ...]
    axis: int | None
    granularity: str
    block: tuple[int, ...]
    bytes: int
    consumers: tuple[Consumer, ...]


def stored_weights(function: Function, elements: Elements) -> list[StoredWeight]:
    """Every stored constant, in program order: compressed weights, consts in the blob file, and float consts of rank 1
    or more. Raises BrokenEvidence for a compressed constant without data."""
    consumers = _consumers(function)
    makers = {name: operation for operation in walk(function.operations) for name, _ in operation.outputs}
    found = []
    for operation in walk(function.operations):
        name = operation.outputs[-1][0] if operation.outputs else ""
        readers = tuple(consumers.get(name, ()))
        if operation.type == "const":
            (value,) = operation.inputs["val"]
            if isinstance(value, Literal) and _is_weight(value):
                found.append(_plain(operation, value, readers))
        elif operation.type.startswith("constexpr_"):
            inside = any(reader.op_type.startswith("constexpr_") for reader in readers)
            if not inside:
                found.append(_compressed(operation, makers, elements, readers))
    return found


def read_per_token(weight: StoredWeight) -> int:
    """Bytes of a constant that a decode reads for one token: one row of a table that is only looked up in, all of
    everything else."""
    looked_up = weight.shape and weight.consumers and all(one.op_type == "gather" for one in weight.consumers)
    return -(-weight.bytes // weight.shape[0]) if looked_up else weight.bytes


def _consumers(function: Function) -> dict[str, list[Consumer]]:
    found: dict[str, list[Consumer]] = {}
    for operation in walk(function.operations):
        for argument in (argument for group in operation.inputs.values() for argument in group):
            if isinstance(argument, str):
                found.setdefault(argument, []).append(Consumer(operation.type, operation.name))
    for output in function.outputs:
        found.setdefault(output.name, []).append(Consumer("output", output.name))
    return found


def _is_weight(value: Literal) -> bool:
    return isinstance(value.data, BlobRef) or (BY_NAME[value.type.dtype].kind == "float" and len(value.type.shape) > 0)


def _sizes(shape: tuple[int | None, ...]) -> tuple[int, ...]:
    return tuple(size or 0 for size in shape)


def _plain(operation: Operation, value: Literal, readers: tuple[Consumer, ...]) -> StoredWeight:
    return StoredWeight(
        name=operation.outputs[0][0],
        op_type="const",
        op_name=operation.name,
        dtype=value.type.dtype,
        shape=_sizes(value.type.shape),
        scale_shape=(),
        axis=None,
        granularity="none",
        block=(),
        bytes=value.bytes,
        consumers=readers,
    )


def _chain(operation: Operation, makers: Mapping[str, Operation]) -> list[Operation]:
    """The constexpr ops behind a compressed constant, innermost first."""
    names = dict.fromkeys(item for group in operation.inputs.values() for item in group if isinstance(item, str))
    inner = {makers[name].name: makers[name] for name in names if name in makers}
    return [step for before in inner.values() for step in _chain(before, makers)] + [operation]


def _compressed(
    operation: Operation, makers: Mapping[str, Operation], elements: Elements, readers: tuple[Consumer, ...]
) -> StoredWeight:
    chain = _chain(operation, makers)
    # the elements and their scales or tables are the outermost ones: a table may itself be stored in a compressed form
    outward = list(reversed(chain))
    data = next((item for step in outward for key in _DATA if (item := _stored(step, key))), None)
    if data is None:
        raise BrokenEvidence(f"compressed constant {operation.name} stores no data", subject="model.mlmodel")
    shape = _sizes(operation.outputs[-1][1].shape)
    scaled = next(((step, key) for step in outward for key in ("scale", "lut") if key in step.inputs), None)
    scale = _sizes(_type_of(*scaled, makers).shape) if scaled else ()
    axis = None
    if scaled and (along := _stored(scaled[0], "axis")):
        axis = int(np.asarray(elements(along)))
    # a palette has two more dimensions than its indices: entries and vector
    is_palette = scaled is not None and scaled[1] == "lut" and len(scale) == len(shape) + 2
    granularity, axis, block = _granularity(shape, scale[: len(shape)] if is_palette else scale, axis)
    dtype = data.type.dtype
    if operation.type == "constexpr_lut_to_dense" and len(scale) == 1:
        # before iOS18 the packed indices are bytes; their width follows from the palette
        dtype = f"uint{max(1, (scale[0] - 1).bit_length())}"
    return StoredWeight(
        name=operation.outputs[-1][0],
        op_type="+".join(step.type for step in chain),
        op_name=operation.name,
        dtype=dtype,
        shape=shape,
        scale_shape=scale,
        axis=axis,
        granularity=granularity if scaled else "none",
        block=block if scaled else (),
        bytes=_bytes(chain),
        consumers=readers,
    )


def _stored(step: Operation, key: str) -> Literal | None:
    """A parameter of a step that is written in place."""
    group = step.inputs.get(key, ())
    return group[0] if group and isinstance(group[0], Literal) else None


def _type_of(step: Operation, key: str, makers: Mapping[str, Operation]) -> ValueType:
    """The type of a parameter, in place or made by an inner step."""
    argument = step.inputs[key][0]
    if isinstance(argument, Literal):
        return argument.type
    if argument not in makers:
        raise BrokenEvidence(f"compressed constant {step.name} reads the input {argument!r}", subject="model.mlmodel")
    return dict(makers[argument].outputs)[argument]


def _bytes(chain: Sequence[Operation]) -> int:
    """Bytes of everything the steps hold; what several of them read from one place (a mask) is there once."""
    held = [item for step in chain for key in step.inputs if key not in _SHAPE and (item := _stored(step, key))]
    in_file = {item.data: item.bytes for item in held if isinstance(item.data, BlobRef)}
    return sum(in_file.values()) + sum(item.bytes for item in held if not isinstance(item.data, BlobRef))


def _granularity(
    shape: tuple[int, ...], scale: tuple[int, ...], axis: int | None
) -> tuple[str, int | None, tuple[int, ...]]:
    """How finely scales follow a weight: (name, axis of a per-channel scale, block size per dimension)."""
    if len(scale) == 1 and axis is not None:
        where = axis % len(shape)
        return "per_channel", where, tuple(1 if index == where else size for index, size in enumerate(shape))
    if len(scale) != len(shape) or all(size == 1 for size in scale):
        return "per_tensor", None, shape
    block = tuple(size // max(1, parts) for size, parts in zip(shape, scale, strict=True))
    split = [index for index, parts in enumerate(scale) if parts > 1]
    if len(split) == 1 and block[split[0]] == 1:
        return "per_channel", split[0], block
    return "per_block", None, block
