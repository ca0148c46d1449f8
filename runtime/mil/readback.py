"""Saved package → what it really stores, compared with the recipe, the islands and the checkpoint.

Nothing the conversion reported is believed: names, stored types, scales, values and declared types are read from the
package's own files. Every departure is a finding; a gate asks that there be none.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from runtime.contract import program as contracts
from runtime.contract.recipe import BITS, SCALED, Recipe, Weights
from runtime.contract.targets import TARGETS
from runtime.mil.blob import unpack
from runtime.mil.description import Described, shape_text
from runtime.mil.islands import stem
from runtime.mil.older import AFFINE_OP, along
from runtime.mil.ops.state import STATE_OPS
from runtime.mil.package import Package, StoredWeight
from runtime.mil.program import Function, Literal, Operation
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
#: the op that every module of a kind must own, so that an island cannot be claimed by an op that was renamed away
SIGNATURE_OP: Mapping[str, str] = {
    "rms_norm": "rsqrt",
    "layer_norm": "layer_norm",
    "residual": "add",
    "softmax": "softmax",
    "logits": "linear",
}
#: ops through which a value goes unchanged but for its type and shape
_PASSED_ON = ("cast", "identity", "reshape", "squeeze", "expand_dims", "transpose")
#: what bounds logits, the last first: cap · tanh(x / cap)
_BOUND = (("mul",), ("tanh",), ("real_div", "mul"))
Float: TypeAlias = NDArray[np.float32]
NOWHERE: Mapping[str, str] = MappingProxyType({})
#: times as far from the checkpoint as the nearest values, that what calibration chose may be
FARTHEST = 4


@dataclass(frozen=True)
class Finding:
    """One departure: `kind` is missing, extra, type, granularity, shape, value, recipe, interface, target, island
    or activation."""

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


def signatures(contract: contracts.Contract) -> Mapping[str, str]:
    """The op that every module of a kind must own in a program of the contract's profile."""
    return SIGNATURE_OP if contract.authoring is None else {**SIGNATURE_OP, "rms_norm": "sqrt", "logits": "conv"}


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


def homeless(contract: contracts.Contract, asked: Sequence[str]) -> list[Finding]:
    """Islands that have a module in none of the pieces of a function."""
    return [
        Finding("island", name, kind, "matches no module")
        for name, function in contract.functions.items()
        if function.pieces is not None
        for kind in asked
        if not any((piece.modules or function.modules).get(kind) for piece in function.pieces)
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
        held = _elements(package, operation, "val" if stored.op_type == "const" else "source_val")
        if held is None or not np.array_equal(held.astype(np.float16), truth.astype(np.float16)):
            yield Finding("value", function, tensor, "is not the float16 rounding of the checkpoint's tensor")
        return
    if stored.op_type == SPARSE_OP:
        mask, kept = _mask(package, operation, truth), _elements(package, operation, "nonzero_data")
        why = "holds no mask or no data" if mask is None or kept is None else _sparse(mask, kept, truth, asked)
        if why:
            yield Finding("value", function, tensor, why)
        return
    parts = PARTS[stored.op_type]
    data, table = (_elements(package, operation, part) for part in parts[:2])
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
        offset = _elements(package, operation, parts[2])
        if why := _chosen(data, table, offset, chosen[tensor], truth, asked):
            yield Finding("value", function, tensor, why)
    elif stored.op_type == PALETTE_OP:
        if why := _palette(data, table.astype(np.float32), truth):
            yield Finding("value", function, tensor, why)
    else:
        yield from _scaled(function, tensor, data, table, _elements(package, operation, parts[2]), truth)


def _mask(package: Package, operation: Operation, truth: Float) -> NDArray[np.float32] | None:
    """The mask of a sparse tensor, one number for each element; before iOS 18 it is a stream of bits."""
    held = _elements(package, operation, "mask")
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


def _elements(package: Package, operation: Operation, parameter: str) -> NDArray[np.float32] | None:
    group = operation.inputs.get(parameter)
    if not group or not isinstance(group[0], Literal):
        return None
    held = package.elements(group[0])
    return None if isinstance(held, str) else held


def islands(package: Package, contract: contracts.Contract, asked: Sequence[str]) -> tuple[list[Finding], int]:
    """(findings, operations checked): each declared island's arithmetic must be float32 in the saved program."""
    findings: list[Finding] = []
    checked, due = 0, signatures(contract)
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
                findings += _island(name, kind, module, nodes, results, due.get(kind))
            findings += _strays(name, kind, declared, function, due.get(kind))
    return findings, checked


def _is_float32(operation: Operation) -> bool:
    return all(kind.dtype == "float32" for _, kind in operation.outputs)


def _island(
    function: str,
    kind: str,
    module: str,
    nodes: Sequence[str],
    results: Mapping[str, Operation],
    signature: str | None,
) -> Iterator[Finding]:
    if not any(node in results and results[node].type == signature for node in nodes):
        yield Finding("island", function, module, f"no {signature} of this {kind} in the saved program")
    for node in nodes:
        operation = results.get(node)
        if operation is None:
            narrowed = f"{node}_cast_fp16" in results
            yield Finding("island", function, module, f"{node} {'is float16' if narrowed else 'is not in the program'}")
        elif not _is_float32(operation):
            yield Finding("island", function, module, f"{node} ({operation.type}) is not float32")


def _strays(
    function: str, kind: str, declared: contracts.Function, program: Function, signature: str | None
) -> Iterator[Finding]:
    """Independently of names: there are as many signature ops as modules, and none of them is float16.

    Attention that goes by key/value head has one for each. Many things are added: the sums meant are those of the
    stream's shape, as many as its nodes. A norm that adds (one more than its weight) is named as what it is. Many
    products are linear: the head is what the logits come from.
    """
    if kind == "logits":
        yield from _head(function, declared, program, signature)
        return
    modules = declared.modules.get(kind, {})
    found = [operation for operation in program.operations if operation.type == signature]
    wanted, what = len(modules), "modules"
    if kind == "softmax":
        wanted = sum(map(len, modules.values()))
    if kind == "residual":
        nodes = [node for path in modules.values() for node in path]
        others = {node for path in declared.modules.get("rms_norm", {}).values() for node in path}
        found = [operation for operation in found if operation.name.removesuffix("_cast_fp16") not in others]
        shapes = {operation.outputs[0][1].shape for operation in found if operation.name in nodes}
        found = [operation for operation in found if operation.outputs[0][1].shape in shapes]
        wanted, what = len(nodes), "sums of the stream"
    if len(found) != wanted:
        yield Finding("island", function, kind, f"{len(found)} {signature} for {wanted} {what}")
    for operation in found:
        if not _is_float32(operation):
            yield Finding("island", function, kind, f"{operation.name} ({operation.type}) is not float32")


def _head(function: str, declared: contracts.Function, program: Function, signature: str | None) -> Iterator[Finding]:
    """The op that the output `logits` comes from must compute in float32, whatever it is called; so must those that
    bound what the head says, where the graph has them."""
    makers = {name: operation for operation in program.operations for name, _ in operation.outputs}
    bounded = any(len(nodes) > 1 for nodes in declared.modules.get("logits", {}).values())
    way = [*(_BOUND if bounded else ()), (str(signature),)]
    operation = makers.get("logits")
    for types in way:
        while operation is not None and operation.type in _PASSED_ON:
            operation = _source(operation, makers)
        if operation is None or operation.type not in types:
            what = "nothing" if operation is None else f"{operation.name} ({operation.type})"
            yield Finding("island", function, "logits", f"the logits come from {what}, not from a {' or '.join(types)}")
            return
        if not _is_float32(operation):
            yield Finding("island", function, "logits", f"{operation.name} ({operation.type}) is not float32")
        operation = _source(operation, makers)


def _source(operation: Operation, makers: Mapping[str, Operation]) -> Operation | None:
    """The operation that an operand of another comes from, constants left out."""
    for name in ("x", "y"):
        for source in operation.inputs.get(name, ()):
            if isinstance(source, str) and source in makers and makers[source].type != "const":
                return makers[source]
    return None


def _target(package: Package, contract: contracts.Contract) -> Iterator[Finding]:
    """Version and opsets are exactly the target's: newer ones do not load there, older ones are another package."""
    if contract.package is None:
        return
    name, due = contract.package.deployment, TARGETS[contract.package.deployment]
    if package.specification_version != due.specification:
        text = f"specification version {package.specification_version}, {name} has {due.specification}"
        yield Finding("target", "", name, text)
    for function in package.functions.values():
        if function.opset != due.opset:
            yield Finding("target", function.name, name, f"opset CoreML{function.opset}, {name} has CoreML{due.opset}")


def interface(package: Package, contract: contracts.Contract) -> list[Finding]:
    """Inputs, states and outputs of each function, as program and as description, against the contract; a state that
    nothing is written to is found, too, and a package that is for other systems.

    Of a function for several lengths the description must enumerate the contract's shapes, all of them and no others,
    the shortest by default.
    """
    findings = list(_target(package, contract))
    for name, declared in contract.functions.items():
        function = package.functions.get(name)
        if function is None:
            findings.append(Finding("missing", name, name, "the package has no such function"))
            continue
        given, made = [*declared.inputs, *(declared.states or ())], declared.outputs
        held = (*function.inputs, *function.states, *function.outputs)
        features = package.description.get(name, ())
        for source, values, due in (
            ("program", {(v.name, shape_text(v.shape), v.dtype) for v in held}, map(_programmed, [*given, *made])),
            ("description", {(v.name, v.declared, v.dtype) for v in features}, _described(given, made)),
        ):
            for value in sorted(values ^ (wanted_values := set(due)), key=str):
                side = "contract" if value in wanted_values else source
                findings.append(Finding("interface", name, value[0], f"{value[1]} {value[2]} only in the {side}"))
        findings += _defaults(name, features, declared)
        findings += _states(function, declared.states or ())
    return findings


#: name, shapes in words, type
_Face: TypeAlias = tuple[str, str, str]


def _programmed(value: contracts.Value) -> _Face:
    """A value as a program has it, which leaves open what is not the same at every length."""
    sizes = zip(*(value.shapes or [value.shape]), strict=True)
    return value.name, shape_text(each[0] if len(set(each)) == 1 else None for each in sizes), value.dtype


def _described(given: Sequence[contracts.Value], made: Sequence[contracts.Value]) -> Iterator[_Face]:
    """Values as a description has them: shapes of an input enumerated, and no shape of an output that has several."""
    for value in given:
        yield value.name, " or ".join(map(shape_text, value.shapes or [value.shape])), value.dtype
    for value in made:
        yield value.name, shape_text(() if value.shapes else value.shape), value.dtype


def _defaults(name: str, features: Sequence[Described], declared: contracts.Function) -> Iterator[Finding]:
    """An input of several shapes has the shortest by default."""
    due = {value.name: tuple(value.shapes[0]) for value in declared.inputs if value.shapes}
    for feature in features:
        shape = due.get(feature.name, feature.default)
        if feature.default != shape:
            text = f"{shape_text(feature.default)} by default, not {shape_text(shape)}"
            yield Finding("interface", name, feature.name, text)


def _states(function: Function, declared: Sequence[contracts.Value]) -> Iterator[Finding]:
    """A state is a state in the program, and something is written to it: that it is the right thing, numbers say."""
    states = {feature.name for feature in function.states}
    contracted = {value.name for value in declared}
    for name in sorted(states ^ contracted):
        side = "contract" if name in contracted else "program"
        yield Finding("interface", function.name, name, f"is a state only in the {side}")
    written = {_written(operation) for operation in function.operations if operation.type in STATE_OPS}
    for name in sorted((states & contracted) - written):
        yield Finding("interface", function.name, name, "is a state that nothing is written to")


def _written(operation: Operation) -> str:
    """The state that a state op writes, "" for one that only reads."""
    form = STATE_OPS[operation.type]
    return str(operation.inputs[form.state][0]) if form.data else ""
