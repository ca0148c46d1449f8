"""Two oracles for one op: coremltools' own constant folding and type inference, and a one-op program for ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import Function as MilFunction
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

from runtime.mil.description import Described
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.numerics import BY_NAME, Array, Mode
from runtime.mil.package import Package
from runtime.mil.program import Argument, Feature, Function, Literal, Operation, ValueType

TARGETS = {5: ct.target.iOS15, 6: ct.target.iOS16, 7: ct.target.iOS17, 8: ct.target.iOS18, 9: ct.target.iOS26}
MIL_TYPES = {"float16": types.fp16, "float32": types.fp32, "int32": types.int32, "bool": types.bool}
_DTYPES = {"fp16": "float16", "fp32": "float32"}

Declared = tuple[str, tuple[int, ...]]


def by_coremltools(op_type: str, opset: int, inputs: Mapping[str, Any]) -> list[tuple[Array, Declared]]:
    """(value, declared type) of every result of an op over constants, as coremltools folds and types it."""
    with MilFunction({}, opset_version=TARGETS[opset]):
        result = getattr(mb, op_type)(**inputs)
        variables = result if isinstance(result, tuple | list) else [result]
        operation = variables[0].op
        if op_type.startswith("constexpr_"):
            value = operation.materialized_val_inference()
            values = value if isinstance(value, tuple) else (value,)
        else:
            values = tuple(variable.val for variable in variables)
        return [(np.asarray(value), declared(variable)) for value, variable in zip(values, variables, strict=True)]


def declared_by_coremltools(
    op_type: str, opset: int, dynamic: Mapping[str, Array], static: Mapping[str, Any]
) -> list[Declared]:
    """The type coremltools infers for every result of an op, also of one it cannot fold."""
    inputs = {name: mb.placeholder(value.shape, MIL_TYPES[value.dtype.name]) for name, value in dynamic.items()}
    with MilFunction(inputs, opset_version=TARGETS[opset]) as function:
        result = getattr(mb, op_type)(**static, **{name: function.inputs[name] for name in dynamic})
        return [declared(variable) for variable in (result if isinstance(result, tuple | list) else [result])]


def declared(variable: Any) -> Declared:
    """A MIL variable's type, in our names."""
    name = types.builtin_to_string(variable.dtype)
    return _DTYPES.get(name, name), tuple(int(size) for size in variable.shape)


def parameters(op_type: str, opset: int) -> set[str]:
    """Names of the parameters coremltools defines for an op in an opset."""
    versions = SSAOpRegistry.core_ops[op_type]
    newest = max(version for version in versions if version <= TARGETS[opset])
    return set(versions[newest].input_spec.input_types)


def literal(value: Any, dtype: str = "") -> Literal:
    """A Python value or array as a constant of the program."""
    if isinstance(value, str):
        return Literal(ValueType("string", ()), value)
    array = np.asarray(value)
    if array.dtype == np.int64:
        array = array.astype(np.int32)
    if array.dtype == np.float64:
        array = array.astype(np.float32)
    return Literal(ValueType(dtype or array.dtype.name, array.shape), array)


def program(
    op_type: str,
    opset: int,
    dynamic: Mapping[str, Array | Sequence[Array]],
    static: Mapping[str, Any],
    results: Sequence[Declared],
) -> tuple[Package, dict[str, Array]]:
    """A package of one function with one op; `dynamic` operands are inputs of the function, `static` ones literals."""
    features: list[Feature] = []
    feeds: dict[str, Array] = {}
    arguments: dict[str, tuple[Argument, ...]] = {}
    for name, given in dynamic.items():
        several = list(given) if isinstance(given, list | tuple) else [given]
        names = [f"{name}_{index}" for index in range(len(several))]
        arguments[name] = tuple(names)
        for label, array in zip(names, several, strict=True):
            features.append(Feature(label, array.shape, array.dtype.name))
            feeds[label] = array
    arguments |= {name: (literal(value),) for name, value in static.items()}
    outputs = tuple((f"result_{index}", ValueType(dtype, shape)) for index, (dtype, shape) in enumerate(results))
    function = Function(
        name="main",
        opset=opset,
        inputs=tuple(features),
        states=(),
        outputs=tuple(Feature(name, kind.shape, kind.dtype) for name, kind in outputs),
        operations=(Operation(op_type, "the_op", arguments, outputs),),
    )
    return package({"main": function}), feeds


def package(functions: Mapping[str, Function]) -> Package:
    """A package that exists only in memory and describes its functions truthfully."""
    return Package(
        path=Path("memory.mlpackage"),
        functions=functions,
        description={
            name: tuple(Described(*item) for item in (*f.inputs, *f.outputs, *f.states))
            for name, f in functions.items()
        },
        default_function=next(iter(functions)),
        specification_version=9,
        metadata={},
        root=Path("memory.mlpackage"),
    )


def run_op(
    op_type: str,
    opset: int,
    dynamic: Mapping[str, Array | Sequence[Array]],
    static: Mapping[str, Any],
    results: Sequence[Declared],
    mode: Mode = "exact32",
) -> Result:
    """Execute one op in the interpreter, checked."""
    made, feeds = program(op_type, opset, dynamic, static, results)
    return Interpreter(made, "main", mode).run(feeds)


def same(op_type: str, opset: int, dynamic: dict[str, Array], static: dict[str, Any], *wanted: torch.Tensor) -> None:
    """The op's results are `wanted`; their shapes and dtypes are also those of coremltools' type inference."""
    values = [value.numpy() for value in wanted]
    kinds = declared_by_coremltools(op_type, opset, dynamic, static)
    assert [shape for _, shape in kinds] == [value.shape for value in values]
    result = run_op(op_type, opset, dynamic, static, kinds)
    assert result.findings.mismatches == ()
    for found, value in zip(result.outputs.values(), values, strict=True):
        np.testing.assert_allclose(found, value, rtol=2e-5, atol=3e-6)


def tensors(*arrays: Array | None) -> list[torch.Tensor | None]:
    return [None if array is None else torch.from_numpy(array) for array in arrays]


def cosine(found: Array, wanted: Array) -> float:
    """Least cosine over the last axis."""
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    norms = np.linalg.norm(a, axis=-1) * np.linalg.norm(b, axis=-1)
    return float(((a * b).sum(-1) / norms).min())


def carried(array: Array, dtype: str) -> Array:
    """An array in the dtype the interpreter carries `dtype` in."""
    return array.astype(BY_NAME[dtype].carrier)
