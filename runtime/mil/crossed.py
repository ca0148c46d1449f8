"""A package by coremltools' own loader beside ours: do both read the same values, of the same types?

The other loader (`milproto`) rebuilds the converter's program from the saved one and infers every type anew, so that a
value that is read wrong here, or declared wrong there, is one on which the two differ. It computes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from runtime.mil import package as packages
from runtime.mil.description import shape_text
from runtime.mil.package import Package
from runtime.mil.program import Shape
from runtime.mil.quiet import quiet

_DTYPES = {"fp16": "float16", "fp32": "float32", "fp64": "float64"}
#: value → (dtype, shape)
Types = dict[str, tuple[str, Shape]]


class Crossed(NamedTuple):
    """How many values both have read, on which they differ (one line each), and why the other could not read the
    package at all ("" where it could): then nothing was compared."""

    values: int
    differ: tuple[str, ...]
    unavailable: str = ""


def crossed(package: Package) -> dict[str, Crossed]:
    """By function. Constants are left out: our loader reads them by their declared types alone."""
    try:
        other = _loaded(package.path)
    except Exception as error:  # whatever the other loader trips over is its own matter, and said
        why = f"coremltools cannot load it: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        return {name: Crossed(0, (), why) for name in package.functions}
    return {name: compared(_ours(package, name), other.get(name, {})) for name in package.functions}


def _ours(package: Package, name: str) -> Types:
    return {
        value: (kind.kind, () if kind.form.endswith("dictionary") else kind.shape)
        for operation in package.functions[name].operations
        if operation.type != "const"
        for value, kind in operation.outputs
    }


def _loaded(path: Path) -> dict[str, Types]:
    with quiet():
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.converters.mil.mil import types

        model_path, model = packages.parsed(path)
        from coremltools.proto import Model_pb2

        theirs = Model_pb2.Model()
        theirs.ParseFromString(model.SerializeToString())
        weights = str(model_path.parent / "weights")
        program = load(theirs, specification_version=theirs.specificationVersion, file_weights_dir=weights)

    def named(kind: Any) -> str:
        name = types.builtin_to_string(kind)
        return _DTYPES.get(name, name)

    def typed(variable: Any) -> tuple[str, Shape]:
        if types.is_dict(variable.sym_type):
            key, value = variable.sym_type.T
            return f"{named(key)} dictionary of {named(value)}", ()
        held = variable.elem_type if types.is_list(variable.sym_type) else variable
        # a size that follows from the inputs is a symbol there
        form = "list of " if types.is_list(variable.sym_type) else ""
        shape = held.get_shape() if form else held.shape
        sizes = tuple(int(size) if isinstance(size, int) else None for size in shape)
        return form + named(held.get_primitive() if form else held.dtype), sizes

    return {
        name: {
            variable.name: typed(variable)
            for operation in function.operations
            if not _unsaved(operation)
            for variable in operation.outputs
        }
        for name, function in program.functions.items()
    }


def _unsaved(operation: Any) -> bool:
    """Whether no result of an op of the other loader is looked at: constants are left out, and a `write_state` has no
    result, but is loaded as an op that has one, which nobody reads."""
    if operation.op_type == "coreml_update_state":
        return not any(one.child_ops or one.consuming_blocks for one in operation.outputs)
    return bool(operation.op_type == "const")


def compared(ours: Types, theirs: Types) -> Crossed:
    """What two readings of one function differ in; a size that one of them leaves open is no difference."""
    differ = [f"{name}: read here alone" for name in ours if name not in theirs]
    differ += [f"{name}: read by coremltools alone" for name in theirs if name not in ours]
    for name in (name for name in ours if name in theirs):
        (dtype, shape), (other, sizes) = ours[name], theirs[name]
        if dtype != other or not _same(shape, sizes):
            differ.append(f"{name}: {dtype} {shape_text(shape)}, by coremltools {other} {shape_text(sizes)}")
    return Crossed(len(ours), tuple(differ))


def _same(shape: Shape, sizes: Shape) -> bool:
    return len(shape) == len(sizes) and all(
        None in (one, two) or one == two for one, two in zip(shape, sizes, strict=True)
    )
