"""A function of a package × rules of a unit → where it would not run there, or wrongly: facts about the program alone.

What a rule says, how grave it is and who says so is data (`kcompiler/tables/placement.yaml`); here is how each is seen.
Whether a device agrees, only MLComputePlan on that device can tell.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from runtime.mil.description import shape_text
from runtime.mil.findings import Findings
from runtime.mil.headroom import tightest
from runtime.mil.numerics import BY_NAME, FP16_MAX
from runtime.mil.package import Package
from runtime.mil.program import Function, Literal, Operation

#: bytes of an element in the formats a unit computes in
_HALF = 2
_PRODUCTS = frozenset({"linear", "matmul", "conv", "conv_transpose", "einsum"})
#: ops of a float32 result that compute nothing: they hold, convert or move
_STILL = frozenset({"const", "cast", "identity", "read_state"})
#: below it a headroom is no warning any more
_TIGHT = 2.0


class Rule(NamedTuple):
    """One rule: `limit` is the number it compares with, `ops` the operators it names."""

    id: str
    limit: float | None = None
    ops: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Found:
    """One place that a rule is about: the op, its value and what is there. `grave` where it is worse than the rule's
    own severity."""

    rule: str
    op: str
    value: str
    what: str
    grave: bool = False


class _Seen(NamedTuple):
    package: Package
    function: Function
    rule: Rule
    findings: Findings | None


_Check = Callable[[_Seen], Iterator[Found]]
CHECKS: dict[str, _Check] = {}


def _check(name: str) -> Callable[[_Check], _Check]:
    def register(check: _Check) -> _Check:
        CHECKS[name] = check
        return check

    return register


def lint(
    package: Package, function: Function, rules: Mapping[str, Rule], findings: Findings | None = None
) -> list[Found]:
    """Every place of a function that one of the rules is about, by rule. `findings` are those of a checked run; without
    them nothing is said about headroom. Raises KeyError for a rule that nothing here can see."""
    return [found for name, rule in rules.items() for found in CHECKS[name](_Seen(package, function, rule, findings))]


def _computed(function: Function) -> Iterator[Operation]:
    return (one for one in function.operations if one.type not in _STILL and not one.type.startswith("constexpr_"))


def _first(operation: Operation) -> str:
    return operation.outputs[0][0] if operation.outputs else operation.name


def _limit(seen: _Seen) -> float:
    assert seen.rule.limit is not None, seen.rule.id
    return seen.rule.limit


@_check("rank")
def _rank(seen: _Seen) -> Iterator[Found]:
    for operation in seen.function.operations:
        for name, kind in operation.outputs:
            if len(kind.shape) > _limit(seen):
                yield Found(seen.rule.id, operation.type, name, f"{len(kind.shape)} axes {shape_text(kind.shape)}")


@_check("float32")
def _float32(seen: _Seen) -> Iterator[Found]:
    for operation in _computed(seen.function):
        for name, kind in operation.outputs:
            if kind.dtype == "float32":
                yield Found(seen.rule.id, operation.type, name, f"float32 {shape_text(kind.shape)}")


@_check("flexible")
def _flexible(seen: _Seen) -> Iterator[Found]:
    described = seen.package.description.get(seen.function.name, ())
    ranged = [item for item in described if item.bounds]
    for item in ranged:
        yield Found(seen.rule.id, "input", item.name, item.declared)
    if not ranged and any(item.choices for item in described):
        # enumerated shapes are compiled one by one
        return
    for operation in _computed(seen.function):
        for name, kind in operation.outputs:
            if None in kind.shape:
                yield Found(seen.rule.id, operation.type, name, shape_text(kind.shape))


@_check("enumerated")
def _enumerated(seen: _Seen) -> Iterator[Found]:
    for item in seen.package.description.get(seen.function.name, ()):
        if item.choices:
            yield Found(seen.rule.id, "input", item.name, f"{item.declared}, {shape_text(item.default)} by default")


@_check("alignment")
def _alignment(seen: _Seen) -> Iterator[Found]:
    for what, features in (("input", seen.function.inputs), ("output", seen.function.outputs)):
        for name, shape, dtype in features:
            last = shape[-1] if shape else None
            if BY_NAME[dtype].kind == "float" and last is not None and last * _HALF % _limit(seen):
                yield Found(seen.rule.id, what, name, f"last axis {last} of {shape_text(shape)}")


@_check("padding")
def _padding(seen: _Seen) -> Iterator[Found]:
    """Values inside alone: an input or output of the function is what `alignment` is about."""
    faces = {name for name, _, _ in (*seen.function.inputs, *seen.function.outputs)}
    for operation in _computed(seen.function):
        for name, kind in operation.outputs:
            sizes = [size for size in kind.shape if size is not None]
            alone = bool(kind.shape) and kind.shape[-1] == 1 and len(sizes) == len(kind.shape)
            # below so many elements the padding is no more than one row
            if name not in faces and alone and BY_NAME[kind.dtype].kind == "float" and math.prod(sizes) >= _limit(seen):
                yield Found(seen.rule.id, operation.type, name, f"{kind.dtype} {shape_text(kind.shape)}")


@_check("state")
def _state(seen: _Seen) -> Iterator[Found]:
    for name, shape, _ in seen.function.states:
        if any(size is not None and size > 1 and size % _limit(seen) for size in shape[-2:]):
            yield Found(seen.rule.id, "state", name, shape_text(shape))


@_check("states")
def _states(seen: _Seen) -> Iterator[Found]:
    if len(seen.function.states) > _limit(seen):
        names = [name for name, _, _ in seen.function.states]
        yield Found(seen.rule.id, "state", names[0], f"{len(names)} states")


def _named(seen: _Seen) -> Iterator[Found]:
    for operation in seen.function.operations:
        if operation.type in seen.rule.ops:
            yield Found(seen.rule.id, operation.type, _first(operation), "")


for _name in ("attention", "integers", "lookup", "operators", "projection", "rejected", "unpacked"):
    CHECKS[_name] = _named


@_check("dimension")
def _dimension(seen: _Seen) -> Iterator[Found]:
    for operation in seen.function.operations:
        if operation.type in _PRODUCTS:
            sizes = [size for shape in _shapes(seen.function, operation) for size in shape if size is not None]
            if sizes and max(sizes) > _limit(seen):
                yield Found(seen.rule.id, operation.type, _first(operation), f"an axis of {max(sizes):,}")


def _shapes(function: Function, operation: Operation) -> Iterator[tuple[int | None, ...]]:
    for group in operation.inputs.values():
        for argument in group:
            yield argument.type.shape if isinstance(argument, Literal) else function.types[argument].shape
    for _, kind in operation.outputs:
        yield kind.shape


@_check("infinite")
def _infinite(seen: _Seen) -> Iterator[Found]:
    for operation in seen.function.operations:
        if operation.type != "const":
            continue
        ((name, kind),) = operation.outputs
        if BY_NAME[kind.dtype].kind != "float":
            continue
        (value,) = operation.inputs["val"]
        array = np.asarray(seen.package.elements(value)) if isinstance(value, Literal) else np.zeros(0)
        # a constant that is float32 for a float32 operator is not one of a unit that computes in float16
        largest = FP16_MAX if kind.dtype == "float16" else float(np.finfo(np.float32).max)
        odd = int(np.count_nonzero(~(np.abs(array) <= largest)))
        if odd:
            yield Found(seen.rule.id, "const", name, f"{odd:,} of {array.size:,} elements")


@_check("blocks")
def _blocks(seen: _Seen) -> Iterator[Found]:
    """Of a tensor's inputs: a palette for a group of whole rows is none."""
    for weight in seen.package.weights(seen.function.name):
        if weight.granularity == "per_block" and weight.block[1:] != weight.shape[1:]:
            block = "×".join(map(str, weight.block))
            yield Found(seen.rule.id, weight.op_type, weight.name, f"{weight.dtype}, blocks of {block}")


@_check("size")
def _size(seen: _Seen) -> Iterator[Found]:
    total = sum(weight.bytes for weight in seen.package.weights(seen.function.name))
    if total > _limit(seen):
        yield Found(seen.rule.id, "function", seen.function.name, f"{total:,} bytes")


@_check("linear")
def _linear(seen: _Seen) -> Iterator[Found]:
    for operation in seen.function.operations:
        if operation.type == "linear":
            rows = operation.outputs[0][1].shape[-1]
            if rows is not None and rows >= _limit(seen):
                yield Found(seen.rule.id, "linear", _first(operation), f"{rows:,} rows")


@_check("square")
def _square(seen: _Seen) -> Iterator[Found]:
    """x·x (mul, square, pow) in float16 whose sum or mean is taken in float16, unless x was divided by its largest
    magnitude before: no square is above one then."""
    types = seen.function.types
    makers = {name: one for one in seen.function.operations for name, _ in one.outputs}
    squares = {
        operation.outputs[0][0]: operation
        for operation in seen.function.operations
        if _is_square(seen, operation)
        and operation.outputs[0][1].dtype == "float16"
        and not _scaled(makers, operation.inputs["x"][0])
    }
    for operation in seen.function.operations:
        if operation.type in ("reduce_mean", "reduce_sum", "reduce_sum_square", "reduce_l2_norm"):
            (argument,) = operation.inputs["x"]
            alone = operation.type in ("reduce_sum_square", "reduce_l2_norm")
            if isinstance(argument, str) and (argument in squares or (alone and types[argument].dtype == "float16")):
                yield Found(seen.rule.id, operation.type, _first(operation), f"of {argument}")


def _scaled(makers: Mapping[str, Operation], argument: str | Literal) -> bool:
    """Whether a value is x / max|x|, or x / max(max|x|, y)."""
    quotient = _made(makers, argument, "real_div")
    if quotient is None:
        return False
    (whole,), (divisor,) = quotient.inputs["x"], quotient.inputs["y"]
    above = _made(makers, divisor, "maximum")
    candidates = [divisor] if above is None else [*above.inputs["x"], *above.inputs["y"]]
    for one in candidates:
        largest = _made(makers, one, "reduce_max")
        magnitude = largest and _made(makers, largest.inputs["x"][0], "abs")
        if magnitude and magnitude.inputs["x"] == (whole,):
            return True
    return False


def _made(makers: Mapping[str, Operation], argument: str | Literal, kind: str) -> Operation | None:
    """The operation that makes a value, if it is of this kind."""
    found = makers.get(argument) if isinstance(argument, str) else None
    return found if found is not None and found.type == kind else None


def _is_square(seen: _Seen, operation: Operation) -> bool:
    match operation.type:
        case "square":
            return True
        case "mul":
            return operation.inputs["x"] == operation.inputs["y"]
        case "pow":
            return _scalar(seen, operation.inputs["y"][0]) == 2
        case _:
            return False


def _scalar(seen: _Seen, argument: str | Literal) -> float | None:
    """A constant of one element; None for what is none."""
    if isinstance(argument, str):
        made = next((one for one in seen.function.operations if one.outputs and one.outputs[0][0] == argument), None)
        if made is None or made.type != "const":
            return None
        (argument,) = made.inputs["val"]
    if (
        not isinstance(argument, Literal)
        or argument.count != 1
        or argument.type.form
        or argument.type.dtype == "string"
    ):
        return None
    return float(np.asarray(seen.package.elements(argument)).item())


@_check("base")
def _base(seen: _Seen) -> Iterator[Found]:
    """A power whose base, not exponent, is 2."""
    for operation in seen.function.operations:
        if operation.type == "pow" and _scalar(seen, operation.inputs["x"][0]) == 2:
            yield Found(seen.rule.id, "pow", _first(operation), "2 to the power of a value")


@_check("headroom")
def _headroom(seen: _Seen) -> Iterator[Found]:
    peak = tightest({"": seen.function}, [seen.findings]) if seen.findings is not None else None
    if peak is not None and peak.headroom < _limit(seen):
        what = f"{peak.headroom:.3g} times below 65504 (largest {peak.magnitude:.6g})"
        yield Found(seen.rule.id, peak.op_type, peak.value, what, grave=peak.headroom < _TIGHT)
