"""Saved package → what it really stores, compared with the recipe, the islands and the checkpoint.

Nothing the conversion reported is believed: names, stored types, scales, values and declared types are read from the
package's own files. Every departure is a finding; a gate asks that there be none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import program as contracts
from runtime.contract.recipe import BITS, SCALED, Recipe, Weights
from runtime.mil.blob import unpack
from runtime.mil.islands import stem
from runtime.mil.older import AFFINE_OP, along
from runtime.mil.package import Package, StoredWeight
from runtime.mil.program import Literal, Operation
from runtime.mil.quantize import QMAX, Form, laid, nearest, quantize, restored, spread, wanted
from runtime.mil.stored import NOTHING

SCALED_OP, PALETTE_OP = "constexpr_blockwise_shift_scale", "constexpr_lut_to_dense"
SPARSE_OP, CAST_OP = "constexpr_sparse_to_dense", "constexpr_cast"
#: operator → its parameters that hold the elements, their scales or palettes, and what is taken from the elements
PARTS: Mapping[str, tuple[str, str, str]] = {
    PALETTE_OP: ("indices", "lut", ""),
    SCALED_OP: ("data", "scale", "offset"),
    AFFINE_OP: ("quantized_data", "scale", "zero_point"),
}
Float: TypeAlias = NDArray[np.float32]
NOWHERE: Mapping[str, str] = MappingProxyType({})
#: times as far from the checkpoint as the nearest values, that what calibration chose may be
FARTHEST = 4


@dataclass(frozen=True)
class Finding:
    """One departure: `kind` is missing, extra, type, granularity, shape, value, recipe, interface, target, island,
    activation or trained."""

    kind: str
    function: str
    subject: str
    message: str


@dataclass(frozen=True)
class Readback:
    """Findings, and how many tensors (over all functions) were found stored in each form."""

    findings: list[Finding]
    stored: dict[str, int]
    other_constants: int


def tensor_of(stored: StoredWeight, function: contracts.Function) -> str | None:
    """The checkpoint tensor a constant holds, through the name of the graph input it came from."""
    return function.parameters.get(_graph_input(stored))


def _graph_input(stored: StoredWeight) -> str:
    return stem(stored.name.removesuffix("_quantized"))


def recipe(
    package: Package,
    contract: contracts.Contract,
    asked: Recipe | None,
    checkpoint: Mapping[str, Float],
    chosen: Mapping[str, Form] = NOTHING,
    elsewhere: Mapping[str, str] = NOWHERE,
) -> Readback:
    """Compare every stored tensor of every function with the recipe; `asked` None means float16 throughout.
    `elsewhere` names, as `parameters` of a function does, tensors that other packages of the same model hold.

    `checkpoint` maps tensor names to float32 weights: a stored tensor must restore to them within half a step, or be
    the nearest value of its palette. `chosen` holds what calibration chose instead: of these the package must hold
    every bit, and they may be farther from the checkpoint, but not as far as FARTHEST.
    """
    float16 = Weights(weights="fp16")
    plan = {
        t.name: wanted(asked, t.name, t.aliases, t.shape) if asked is not None else float16 for t in contract.tensors
    }
    findings: list[Finding] = []
    counts: dict[str, int] = {"fp16": 0} | {asked.weights: 0 for asked in plan.values()}
    others = 0
    for name, declared in contract.functions.items():
        if name not in package.functions:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        seen: set[str] = set()
        operations = {operation.name: operation for operation in package.functions[name].operations}
        for stored in package.weights(name):
            tensor = tensor_of(stored, declared)
            if tensor is None:
                others += 1
                if strange := elsewhere.get(_graph_input(stored)):
                    findings.append(Finding("extra", name, strange, "the tensor belongs to another package"))
                elif stored.op_type != "const":
                    findings.append(Finding("extra", name, stored.name, f"{stored.op_type} of no checkpoint tensor"))
                continue
            seen.add(tensor)
            form = _form(stored) or stored.op_type
            counts[form] = counts.get(form, 0) + 1
            findings += _compare(name, tensor, stored, plan[tensor])
            at = operations[stored.op_name]
            convolved = contract.authoring is not None
            findings += _values(package, name, tensor, stored, at, checkpoint, plan[tensor], chosen, convolved)
        lost = [tensor for tensor in plan if tensor not in seen]
        findings += [Finding("missing", name, tensor, "the tensor is nowhere in the function") for tensor in lost]
    extra = set(package.functions) - set(contract.functions)
    findings += [Finding("extra", name, name, "a function that the contract does not name") for name in sorted(extra)]
    return Readback(findings, counts, others)


def everywhere(contract: contracts.Contract) -> dict[str, str]:
    """Graph input → tensor, of all packages of a model that has several."""
    if all(function.pieces is None for function in contract.functions.values()):
        return {}
    every = [
        piece.parameters or function.parameters
        for name, function in contract.functions.items()
        for piece in contracts.pieces(contract, name)
    ]
    return {node: tensor for parameters in every for node, tensor in parameters.items()}


def unheld(contract: contracts.Contract) -> list[Finding]:
    """Tensors that a contract leaves to none of the pieces of a function."""
    return [
        Finding("missing", name, tensor.name, "no package is to hold the tensor")
        for name, function in contract.functions.items()
        if function.pieces is not None
        for held in [{one for piece in function.pieces for one in (piece.parameters or function.parameters).values()}]
        for tensor in contract.tensors
        if tensor.name not in held
    ]


def _form(stored: StoredWeight) -> str:
    """What the recipe calls the stored form, or "" for one that it does not know."""
    if stored.op_type in ("const", CAST_OP) and stored.dtype == "float16":
        return "fp16"
    if stored.op_type == SCALED_OP and stored.dtype in SCALED:
        return stored.dtype
    if stored.op_type == AFFINE_OP and stored.dtype == "int8":
        return stored.dtype
    if stored.op_type == SPARSE_OP and stored.dtype == "float16":
        return "sparse"
    bits = stored.dtype.removeprefix("uint")
    return f"lut{bits}" if stored.op_type == PALETTE_OP and f"lut{bits}" in BITS else ""


def _compare(function: str, tensor: str, stored: StoredWeight, asked: Weights) -> Iterator[Finding]:
    if _form(stored) != asked.weights:
        text = f"stored as {stored.dtype} by {stored.op_type}, the recipe asks for {asked.weights}"
        yield Finding("type", function, tensor, text)
    elif asked.weights not in ("fp16", "sparse") and _laid(stored) != (due := _tables(stored.shape, asked)):
        what = "scales" if asked.weights in SCALED else "palettes"
        text = f"{what} {stored.scale_shape} are {stored.granularity}, {asked.said} has {due}"
        yield Finding("granularity", function, tensor, text)


def _laid(stored: StoredWeight) -> tuple[int, ...]:
    """The shape of scales or palettes as operators since iOS 18 have it: before, both were a number or a vector."""
    if stored.op_type == AFFINE_OP:
        return along(stored.shape, stored.scale_shape, stored.axis or 0)
    if stored.op_type == PALETTE_OP and len(stored.scale_shape) == 1:
        return (*(1 for _ in stored.shape), *stored.scale_shape, 1)
    return stored.scale_shape


def _tables(shape: tuple[int, ...], asked: Weights) -> tuple[int, ...]:
    """The shape that scales or palettes of a tensor must have."""
    single = (1,) * len(shape)
    match asked.granularity:
        case "per_channel":
            due = (shape[0], *single[1:])
        case "per_block":
            assert asked.block is not None
            due = (*shape[:-1], shape[-1] // asked.block)
        case "per_grouped_channel":
            assert asked.group is not None
            due = (shape[0] // asked.group, *single[1:])
        case _:
            due = single
    return due if asked.weights in SCALED else (*due, 1 << BITS[asked.weights], 1)


def _values(
    package: Package,
    function: str,
    tensor: str,
    stored: StoredWeight,
    operation: Operation,
    checkpoint: Mapping[str, Float],
    asked: Weights,
    chosen: Mapping[str, Form],
    convolved: bool,
) -> Iterator[Finding]:
    """Stored elements against the checkpoint: float16 must be its rounding, integers within half a step and symmetric,
    an index the nearest value of a palette that is better than evenly spaced values, a sparse tensor its largest; and
    what calibration chose those very bits. Of a program of convolutions a tensor may have two axes of one behind."""
    truth = checkpoint.get(tensor)
    if truth is None:
        yield Finding("value", function, tensor, "the checkpoint has no such tensor")
        return
    if convolved and stored.shape[truth.ndim :] in ((1,), (1, 1)):
        truth = truth.reshape(*truth.shape, *stored.shape[truth.ndim :])
    if stored.shape != truth.shape:
        yield Finding("shape", function, tensor, f"stored {stored.shape}, checkpoint {truth.shape}")
        return
    if stored.op_type in ("const", CAST_OP):
        held = elements(package, operation, "val" if stored.op_type == "const" else "source_val")
        if held is None or not np.array_equal(held.astype(np.float16), truth.astype(np.float16)):
            yield Finding("value", function, tensor, "is not the float16 rounding of the checkpoint's tensor")
        return
    if stored.op_type == SPARSE_OP:
        mask, kept = _mask(package, operation, truth), elements(package, operation, "nonzero_data")
        why = "holds no mask or no data" if mask is None or kept is None else _sparse(mask, kept, truth, asked)
        if why:
            yield Finding("value", function, tensor, why)
        return
    parts = PARTS[stored.op_type]
    data, table = (elements(package, operation, part) for part in parts[:2])
    if data is None or table is None:
        yield Finding("value", function, tensor, f"holds no {parts[0]} or no {parts[1]}")
        return
    table = table.reshape(_laid(stored))
    if stored.op_type == PALETTE_OP and "shape" in operation.inputs:
        bits = max(1, (table.size - 1).bit_length())
        data = unpack(data.astype(np.uint8), bits, truth.size, signed=False).reshape(truth.shape)
    if any(size % parts for size, parts in zip(truth.shape, table.shape, strict=False)):
        yield Finding("granularity", function, tensor, f"{parts[1]} {table.shape} does not divide {truth.shape}")
    elif tensor in chosen:
        offset = elements(package, operation, parts[2])
        if why := _chosen(data, table, offset, chosen[tensor], truth, asked):
            yield Finding("value", function, tensor, why)
    elif stored.op_type == PALETTE_OP:
        if why := _palette(data, table.astype(np.float32), truth):
            yield Finding("value", function, tensor, why)
    else:
        yield from _scaled(function, tensor, data, table, elements(package, operation, parts[2]), truth)


def _mask(package: Package, operation: Operation, truth: Float) -> NDArray[np.float32] | None:
    """The mask of a sparse tensor, one number for each element; before iOS 18 it is a stream of bits."""
    held = elements(package, operation, "mask")
    if held is None or "shape" not in operation.inputs:
        return held
    return unpack(held.astype(np.uint8), 1, truth.size, signed=False).astype(np.float32)


def _scaled(
    function: str,
    tensor: str,
    data: NDArray[Any],
    scale: NDArray[Any],
    offset: NDArray[Any] | None,
    truth: Float,
) -> Iterator[Finding]:
    if offset is not None and offset.any():
        yield Finding("type", function, tensor, "has an offset; the recipe is symmetric")
        return
    step = spread(scale.astype(np.float32), truth.shape)
    distance = np.abs(data.astype(np.float32) * step - truth)
    # a rounding is at most half a step away; the margin covers float32 arithmetic here
    if not (distance <= step * 0.5 * (1 + 1e-4) + np.float32(QMAX["int8"]) * step * 2.0**-22).all():
        text = f"restores up to {float((distance / step).max()):.3g} steps away from the checkpoint"
        yield Finding("value", function, tensor, text)


def _chosen(
    data: NDArray[Any], table: NDArray[Any], offset: NDArray[Any] | None, form: Form, truth: Float, asked: Weights
) -> str:
    """What is wrong with a tensor that calibration chose, or ""."""
    if offset is not None and offset.any():
        return "has an offset; the recipe is symmetric"
    held = (data, table)
    if len(form) != len(held) or not all(map(_same, held, form)):
        return "is not, bit for bit, what calibration chose"
    form = laid(form, truth.shape)
    apart, nearest_apart = (float(np.linalg.norm(restored(one) - truth)) for one in (form, quantize(truth, asked)))
    if not apart <= FARTHEST * nearest_apart:
        return f"restores {apart / nearest_apart:.3g} times as far from the checkpoint as the nearest values do"
    return ""


def _same(held: NDArray[Any], due: NDArray[Any]) -> bool:
    return held.size == due.size and np.array_equal(held.reshape(-1), due.astype(np.float32).reshape(-1))


def _sparse(mask: NDArray[Any], kept: NDArray[Any], truth: Float, asked: Weights) -> str:
    """What is wrong with a sparse tensor, or ""."""
    held = mask.reshape(truth.shape) == 1
    if kept.size != held.sum() or (asked.weights == "sparse" and kept.size != asked.kept(truth.size)):
        return f"keeps {kept.size} of {truth.size} elements, the recipe asks for {asked.kept(truth.size)}"
    if not np.array_equal(kept.astype(np.float16).reshape(-1), truth[held].astype(np.float16)):
        return "what is kept is not the float16 rounding of the checkpoint's"
    if kept.size < truth.size and np.abs(truth[~held]).max() > np.abs(truth[held]).min():
        return "an element is zero that is larger than one that was kept"
    return ""


def _palette(indices: NDArray[Any], lut: Float, truth: Float) -> str:
    """What is wrong with a palette, or "". The best values lose no more than as many evenly spaced ones do; float16,
    in which they are written, may cost a little."""
    if any(parts != 1 for parts in lut.shape[1 : truth.ndim]) or lut.shape[-1] != 1 or lut.ndim != truth.ndim + 2:
        return f"palettes {lut.shape} do not follow groups of output channels"
    tables = lut.reshape(lut.shape[0], -1)
    rows = truth.reshape(len(tables), -1).astype(np.float64)
    for table, numbers, chosen in zip(tables, rows, indices.reshape(len(tables), -1), strict=True):
        values = np.sort(table.astype(np.float64))
        least = np.abs(values[nearest(numbers, values)] - numbers)
        lost = np.abs(table[chosen].astype(np.float64) - numbers)
        if not (lost <= least * (1 + 1e-9)).all():
            return f"{int((lost > least).sum())} of {lost.size} elements are not the nearest value of their palette"
        even = np.linspace(numbers.min(), numbers.max(), len(table))
        rounding = np.abs(numbers).max() * 2.0**-11
        allowed = np.sqrt(np.mean((even[nearest(numbers, even)] - numbers) ** 2)) + rounding
        if not np.sqrt(np.mean(lost**2)) <= allowed * (1 + 1e-6):
            return f"the palette is worse than {len(table)} evenly spaced values"
    return ""


def elements(package: Package, operation: Operation, parameter: str) -> NDArray[np.float32] | None:
    """What a parameter of a stored constant holds, in its stored numbers; None where it is not there."""
    group = operation.inputs.get(parameter)
    if not group or not isinstance(group[0], Literal):
        return None
    held = package.elements(group[0])
    return None if isinstance(held, str) else held
