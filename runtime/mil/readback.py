"""Saved package → what it really stores, compared with the recipe, the islands and the checkpoint.

Nothing the conversion reported is believed: names, stored types, scales, values and declared types are read from the
package's own files. Every departure is a finding; a gate asks that there be none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import program as contracts
from runtime.contract.recipe import Recipe, Weights
from runtime.mil.description import shape_text
from runtime.mil.package import Package, StoredWeight
from runtime.mil.program import Function, Literal, Operation
from runtime.mil.quantize import QMAX, wanted

QUANTIZED_OP = "constexpr_blockwise_shift_scale"
CHANNEL_AXIS = 0
#: the op that every module of a kind must own, so that an island cannot be claimed by an op that was renamed away
SIGNATURE_OP: Mapping[str, str] = {"rms_norm": "rsqrt", "residual": "add"}
Float: TypeAlias = NDArray[np.float32]


@dataclass(frozen=True)
class Finding:
    """One departure: `kind` is missing, extra, type, granularity, shape, value, recipe, interface or island."""

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
    return function.parameters.get(stored.name.removesuffix("_quantized").removesuffix("_to_fp16"))


def recipe(
    package: Package, contract: contracts.Contract, asked: Recipe | None, checkpoint: Mapping[str, Float]
) -> Readback:
    """Compare every stored tensor of every function with the recipe; `asked` None means float16 throughout.

    `checkpoint` maps tensor names to float32 weights: a stored tensor must restore to them within half a step.
    """
    float16 = Weights(weights="fp16")
    plan = {
        t.name: wanted(asked, t.name, t.aliases, len(t.shape)) if asked is not None else float16
        for t in contract.tensors
    }
    findings: list[Finding] = []
    counts = {"fp16": 0, "int8": 0}
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
                if stored.op_type != "const":
                    findings.append(Finding("extra", name, stored.name, f"{stored.op_type} of no checkpoint tensor"))
                continue
            seen.add(tensor)
            counts["int8" if stored.op_type == QUANTIZED_OP else "fp16"] += 1
            findings += _compare(name, tensor, stored, plan[tensor])
            findings += _values(package, name, tensor, stored, operations[stored.op_name], checkpoint)
        lost = [tensor for tensor in plan if tensor not in seen]
        findings += [Finding("missing", name, tensor, "the tensor is nowhere in the function") for tensor in lost]
    extra = set(package.functions) - set(contract.functions)
    findings += [Finding("extra", name, name, "a function that the contract does not name") for name in sorted(extra)]
    return Readback(findings, counts, others)


def _compare(function: str, tensor: str, stored: StoredWeight, asked: Weights) -> Iterator[Finding]:
    if asked.weights == "fp16":
        if stored.op_type != "const" or stored.dtype != "float16":
            text = f"stored as {stored.dtype} by {stored.op_type}, the recipe asks for fp16"
            yield Finding("type", function, tensor, text)
        return
    if stored.op_type != QUANTIZED_OP or stored.dtype != "int8":
        text = f"stored as {stored.dtype} by {stored.op_type}, the recipe asks for int8"
        yield Finding("type", function, tensor, text)
        return
    axis = CHANNEL_AXIS if asked.granularity == "per_channel" else None
    # one row or one column of scales is both at once
    single = asked.granularity == "per_channel" and stored.shape[CHANNEL_AXIS] == 1
    if not single and (stored.granularity, stored.axis) != (asked.granularity, axis):
        text = f"scales {stored.scale_shape} are {stored.granularity} along {stored.axis}, asked {asked.granularity}"
        yield Finding("granularity", function, tensor, text)


def _values(
    package: Package,
    function: str,
    tensor: str,
    stored: StoredWeight,
    operation: Operation,
    checkpoint: Mapping[str, Float],
) -> Iterator[Finding]:
    """Stored elements against the checkpoint: float16 must be its rounding, INT8 within half a step, symmetric."""
    truth = checkpoint.get(tensor)
    if truth is None:
        yield Finding("value", function, tensor, "the checkpoint has no such tensor")
        return
    if stored.shape != truth.shape:
        yield Finding("shape", function, tensor, f"stored {stored.shape}, checkpoint {truth.shape}")
        return
    if stored.op_type == "const":
        held = _elements(package, operation, "val")
        if held is None or not np.array_equal(held.astype(np.float16), truth.astype(np.float16)):
            yield Finding("value", function, tensor, "is not the float16 rounding of the checkpoint's tensor")
        return
    data, scale = _elements(package, operation, "data"), _elements(package, operation, "scale")
    if data is None or scale is None:
        yield Finding("value", function, tensor, "holds no data or no scale")
        return
    offset = _elements(package, operation, "offset")
    if offset is not None and offset.any():
        yield Finding("type", function, tensor, "has an offset; the recipe is symmetric")
        return
    step = scale.astype(np.float32)
    distance = np.abs(data.astype(np.float32) * step - truth)
    # a rounding is at most half a step away; the margin covers float32 arithmetic here
    if not (distance <= step * 0.5 * (1 + 1e-4) + np.float32(QMAX) * step * 2.0**-22).all():
        text = f"restores up to {float((distance / step).max()):.3g} steps away from the checkpoint"
        yield Finding("value", function, tensor, text)


def _elements(package: Package, operation: Operation, parameter: str) -> NDArray[np.float32] | None:
    group = operation.inputs.get(parameter)
    if not group or not isinstance(group[0], Literal):
        return None
    held = package.elements(group[0])
    return None if isinstance(held, str) else held


def islands(package: Package, contract: contracts.Contract, asked: Sequence[str]) -> tuple[list[Finding], int]:
    """(findings, operations checked): each declared island's arithmetic must be float32 in the saved program."""
    findings: list[Finding] = []
    checked = 0
    for name, declared in contract.functions.items():
        function = package.functions.get(name)
        if function is None:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        results = {operation.name: operation for operation in function.operations}
        for kind in asked:
            modules = declared.modules.get(kind, {})
            if not modules:
                findings.append(Finding("island", name, kind, "matches no module"))
            for module, nodes in modules.items():
                checked += len(nodes)
                findings += _island(name, kind, module, nodes, results)
            findings += _strays(name, kind, modules, function)
    return findings, checked


def _is_float32(operation: Operation) -> bool:
    return all(kind.dtype == "float32" for _, kind in operation.outputs)


def _island(
    function: str, kind: str, module: str, nodes: Sequence[str], results: Mapping[str, Operation]
) -> Iterator[Finding]:
    signature = SIGNATURE_OP.get(kind)
    if not any(node in results and results[node].type == signature for node in nodes):
        yield Finding("island", function, module, f"no {signature} of this {kind} in the saved program")
    for node in nodes:
        operation = results.get(node)
        if operation is None:
            narrowed = f"{node}_cast_fp16" in results
            yield Finding("island", function, module, f"{node} {'is float16' if narrowed else 'is not in the program'}")
        elif not _is_float32(operation):
            yield Finding("island", function, module, f"{node} ({operation.type}) is not float32")


def _strays(function: str, kind: str, modules: Mapping[str, Sequence[str]], program: Function) -> Iterator[Finding]:
    """Independently of names: there are as many signature ops as modules, and none of them is float16.

    Many things are added: the sums meant are those of the stream's shape, as many as its nodes.
    """
    found = [operation for operation in program.operations if operation.type == SIGNATURE_OP.get(kind)]
    wanted, what = len(modules), "modules"
    if kind == "residual":
        nodes = [node for path in modules.values() for node in path]
        shapes = {operation.outputs[0][1].shape for operation in found if operation.name in nodes}
        found = [operation for operation in found if operation.outputs[0][1].shape in shapes]
        wanted, what = len(nodes), "sums of the stream"
    if len(found) != wanted:
        yield Finding("island", function, kind, f"{len(found)} {SIGNATURE_OP.get(kind)} for {wanted} {what}")
    for operation in found:
        if not _is_float32(operation):
            yield Finding("island", function, kind, f"{operation.name} ({operation.type}) is not float32")


def interface(package: Package, contract: contracts.Contract) -> list[Finding]:
    """Inputs and outputs of each function, as program and as description, against the contract."""
    findings = []
    for name, declared in contract.functions.items():
        function = package.functions.get(name)
        if function is None:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        contracted, held = (
            (*declared.inputs, *declared.outputs),
            (*function.inputs, *function.states, *function.outputs),
        )
        wanted_values = {(v.name, shape_text(v.shape), v.dtype) for v in contracted}
        program = {(v.name, shape_text(v.shape), v.dtype) for v in held}
        described = {(v.name, v.declared, v.dtype) for v in package.description.get(name, ())}
        for source, values in (("program", program), ("description", described)):
            for value in sorted(wanted_values ^ values, key=str):
                side = "contract" if value in wanted_values else source
                findings.append(Finding("interface", name, value[0], f"{value[1]} {value[2]} only in the {side}"))
    return findings
