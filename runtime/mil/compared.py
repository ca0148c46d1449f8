"""Two runs over the same inputs → where they part: value by value, in the order of the program.

The distance of two values is their relative L2, |a - b| / |a| (Euclidean, in float64): it has no trouble near zero, as
an elementwise ratio has. A reference of zeros is equalled by zeros alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from typing import NamedTuple

import numpy as np

from runtime.contract import Refusal
from runtime.mil.description import shape_text
from runtime.mil.numerics import Array
from runtime.mil.program import Function


class Distance(NamedTuple):
    """How far a value is from its reference. `position` is that of the op that makes it, -1 for an input; `error` is
    infinite where the shapes differ or one side alone is not finite."""

    value: str
    op: str
    position: int
    error: float
    why: str = ""


#: kinds of numpy's numbers that MIL has
_NUMBERS = frozenset("biuf")


class Parted(NamedTuple):
    """The values that were compared, and the first that is further away than allowed (None when there is none):
    `agree` are those that it is made of, directly or not, which are not, and `between` the ops from there to it."""

    compared: tuple[Distance, ...]
    first: Distance | None = None
    agree: tuple[str, ...] = ()
    between: tuple[str, ...] = ()


def distance(reference: Array, found: Array) -> tuple[float, str]:
    """(relative L2, why it is infinite)."""
    if reference.shape != found.shape:
        return float("inf"), f"shape {shape_text(found.shape)}, the reference has {shape_text(reference.shape)}"
    if {reference.dtype.kind, found.dtype.kind} - _NUMBERS:
        # a label, or what is no number of MIL
        equal = bool(np.array_equal(reference, found))
        return (0.0, "") if equal else (float("inf"), f"{found.dtype} is not what the {reference.dtype} reference says")
    a, b = reference.astype(np.float64), found.astype(np.float64)
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    a, b = a[~same], b[~same]
    if not a.size:
        return 0.0, ""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return float("inf"), f"{int((~np.isfinite(a) | ~np.isfinite(b)).sum())} elements are finite on one side alone"
    length = float(np.linalg.norm(reference[np.isfinite(reference)].astype(np.float64)))
    return (float(np.linalg.norm(a - b)) / length, "") if length > 0 else (float("inf"), "the reference is zero")


def parted(function: Function, reference: Mapping[str, Array], found: Mapping[str, Array], allowed: float) -> Parted:
    """Compare what both sides name, in the order in which `function` makes it. Raises Refusal when that is nothing."""
    places = {feature.name: ("input", -1) for feature in function.inputs}
    for position, operation in enumerate(function.operations):
        places |= {name: (operation.type, position) for name, _ in operation.outputs}
    names = [name for name in places if name in reference and name in found]
    if not any(places[name][1] >= 0 for name in names):
        offered = ", ".join(sorted(reference)[:6]) or "nothing"
        raise Refusal(
            f"nothing to compare: the reference names {offered}",
            place=function.name,
            action="name its arrays as the package names its values: kcompiler mil run … --value '*' --out ALL.npz "
            "writes them all",
        )
    every = [Distance(name, *places[name], *distance(reference[name], found[name])) for name in names]
    first = next((one for one in every if not one.error <= allowed), None)
    if first is None:
        return Parted(tuple(every))
    return Parted(tuple(every), first, *_between(function, {one.value for one in every}, first))


def _between(function: Function, compared: Set[str], first: Distance) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """From a value back to what was compared: (those values, the ops between). Whatever was compared before the first
    that parts agrees."""
    needed, agree, found = {first.value}, set[str](), list[str]()
    for operation in reversed(function.operations[: first.position + 1]):
        made = {name for name, _ in operation.outputs} & needed
        if operation.type == "const" or not made:
            continue
        if made <= compared - {first.value}:
            agree |= made
            continue
        needed |= {one for group in operation.inputs.values() for one in group if isinstance(one, str)}
        found.append(f"{operation.type} {operation.name}")
    agree |= {feature.name for feature in function.inputs} & needed
    return tuple(name for name in function.types if name in agree), tuple(reversed(found))


def shared(first: Function, second: Function) -> Sequence[str]:
    """Values that both functions name, constants left out: in the order of the first."""
    there = {name for operation in second.operations for name, _ in operation.outputs if operation.type != "const"}
    return [
        name
        for operation in first.operations
        if operation.type != "const" and not operation.type.startswith("constexpr_")
        for name, kind in operation.outputs
        if name in there and kind.form != "list"
    ]
