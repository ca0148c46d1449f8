"""Files and a seed → the inputs of one run of a package that nobody here has made.

A random input is of the shape that the package names as its default, its numbers are drawn by the seed and the input's
name: pixels where it is an image, rows of the table it looks up where it is an index, else of the normal distribution.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from runtime.contract import Refusal
from runtime.mil.description import Described, shape_text
from runtime.mil.numerics import BY_NAME, Array
from runtime.mil.package import Package
from runtime.mil.program import Feature, Function, Literal, Operation

#: ops that hand an index on: its own number, or one derived from it within the same table
_CARRY = frozenset(
    {
        *("add", "cast", "concat", "expand_dims", "identity", "mod", "reshape", "select", "slice_by_index"),
        *("slice_by_size", "split", "squeeze", "stack", "tile", "transpose"),
    }
)
#: ops that look `indices` up in the table `x`, along `axis`
_LOOKUPS = ("gather", "gather_along_axis")
#: an index of nothing we know: a flag
_FLAG = 2


def load(path: Path) -> Array:
    """The array of an `.npy` file. Raises Refusal for what is none, or holds Python objects."""
    try:
        with path.open("rb") as file:
            found: Array = np.lib.format.read_array(file, allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise Refusal(
            f"holds no array: {error}", place=path.name, action="write it with numpy.save, without Python objects"
        ) from None
    return found


def inputs(
    package: Package,
    function: Function,
    files: Mapping[str, Path],
    *,
    shapes: Mapping[str, tuple[int, ...]],
    seed: int | None,
) -> dict[str, Array]:
    """One array for each input of the function: out of its file, else drawn by `seed`. `shapes` are those of drawn ones
    that have another than their default.

    Raises Refusal for a name that the function has not, and without a seed for an input without a file.
    """
    features = {feature.name: feature for feature in function.inputs}
    odd = next((name for name in [*files, *shapes] if name not in features), None)
    if odd is not None:
        known = ", ".join(features) or "none"
        raise Refusal(f"function {function.name} has no input {odd!r}", action=f"its inputs: {known}")
    described = {item.name: item for item in package.description.get(function.name, ())}
    absent = [name for name in features if name not in files]
    if absent and seed is None:
        said = "; ".join(_declared(features[name], described.get(name)) for name in absent)
        raise Refusal(
            f"no file is given for {said}",
            place=function.name,
            action="give each by --input NAME=FILE.npy, or let --random SEED draw what has none",
        )
    loaded = {name: load(path) for name, path in files.items()}
    drawn = {
        name: _drawn(features[name], described.get(name), function, package, shapes.get(name), seed or 0)
        for name in absent
    }
    return loaded | drawn


def highest(package: Package, function: Function, name: str) -> int:
    """The smallest table that is looked up by an input, in rows; 2 where none is."""
    reached = {name}
    sizes = []
    for operation in function.operations:
        if operation.type in _LOOKUPS and _reads(operation, "indices", reached):
            size = _rows(package, function, operation)
            sizes += [size] if size is not None else []
        elif operation.type in _CARRY and any(_reads(operation, key, reached) for key in operation.inputs):
            reached |= {output for output, kind in operation.outputs if BY_NAME[kind.dtype].kind == "int"}
    return min(sizes, default=_FLAG)


def _reads(operation: Operation, parameter: str, names: set[str]) -> bool:
    return any(argument in names for argument in operation.inputs.get(parameter, ()) if isinstance(argument, str))


def _rows(package: Package, function: Function, operation: Operation) -> int | None:
    """How many places the axis has that an op looks up; None where that is known only when it runs."""
    (table,) = operation.inputs["x"]
    shape = table.type.shape if isinstance(table, Literal) else function.types[table].shape
    axis = 0
    for argument in operation.inputs.get("axis", ()):
        literal = argument if isinstance(argument, Literal) else _constant(function, argument)
        if literal is None:
            return None
        axis = int(np.asarray(package.elements(literal)).item())
    return shape[axis] if -len(shape) <= axis < len(shape) else None


def _constant(function: Function, name: str) -> Literal | None:
    for operation in function.operations:
        if operation.type == "const" and operation.outputs[0][0] == name:
            (value,) = operation.inputs["val"]
            return value if isinstance(value, Literal) else None
    return None


def _drawn(
    feature: Feature,
    described: Described | None,
    function: Function,
    package: Package,
    wanted: tuple[int, ...] | None,
    seed: int,
) -> Array:
    shape = wanted if wanted is not None else _shape(feature, described)
    # each input has numbers of its own, which the others' names and order do not move
    draw = np.random.default_rng([seed, *feature.name.encode()])
    if described is not None and described.colour:
        return draw.integers(0, 256, shape).astype(np.float32)
    match BY_NAME[feature.dtype].kind:
        case "bool":
            return draw.integers(0, 2, shape).astype(bool)
        case "int":
            return draw.integers(0, highest(package, function, feature.name), shape).astype(feature.dtype)
        case _:
            return draw.standard_normal(shape, dtype=np.float32).astype(feature.dtype)


def _shape(feature: Feature, described: Described | None) -> tuple[int, ...]:
    if described is not None and described.default:
        return described.default
    fixed = tuple(size for size in feature.shape if size is not None)
    if len(fixed) != len(feature.shape):
        raise Refusal(
            f"input {feature.name} has no default shape, declared {shape_text(feature.shape)}",
            action=f"say which: --shape {feature.name}=…",
        )
    return fixed


def _declared(feature: Feature, described: Described | None) -> str:
    shape = described.declared if described is not None else shape_text(feature.shape)
    image = f", pixels 0 to 255 of a {described.colour} image" if described is not None and described.colour else ""
    return f"{feature.name} ({feature.dtype} {shape}{image})"
