"""Each rule of the linter is about the program that it describes, and about no program that is as it should be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from kcompiler import tables
from runtime.mil.description import Described
from runtime.mil.findings import Findings, Peak
from runtime.mil.lint import CHECKS, Found, Rule, lint
from runtime.mil.ops.registry import REGISTRY
from runtime.mil.package import Package
from runtime.mil.program import Argument, Feature, Function, Operation, ValueType
from tests.tensor.mil.support import literal, package

RULES = {one.id: Rule(one.id, one.limit, frozenset(one.ops)) for one in tables.placement().rules}
ROWS = (1, 32, 64)


def value(name: str, dtype: str = "float16", shape: tuple[int | None, ...] = ROWS) -> tuple[str, ValueType]:
    return name, ValueType(dtype, shape)


def op(kind: str, made: tuple[str, ValueType], **given: Any) -> Operation:
    arguments: dict[str, tuple[Argument, ...]] = {
        name: (one,) if isinstance(one, str) else (literal(one),) for name, one in given.items()
    }
    return Operation(kind, f"the_{kind}", arguments, (made,))


def const(name: str, array: Any) -> Operation:
    held = literal(array)
    return Operation("const", name, {"val": (held,)}, ((name, held.type),))


def program(*operations: Operation, states: tuple[Feature, ...] = (), rows: tuple[int | None, ...] = ROWS) -> Package:
    outputs = (Feature(operations[-1].outputs[0][0], *reversed(operations[-1].outputs[0][1][:2])),)
    function = Function("main", 8, (Feature("x", rows, "float16"),), states, outputs, operations)
    return package({"main": function})


def found(made: Package, findings: Findings | None = None) -> set[str]:
    return {one.rule for one in lint(made, made.functions["main"], RULES, findings)}


def half(*shape: int) -> Any:
    return np.ones(shape, np.float16)


SOUND = program(
    op("conv", value("wide"), x="x", weight=half(64, 64, 1, 1)),
    op("add", value("sum"), x="wide", y="x"),
    op("softmax", value("soft"), x="sum", axis=-1),
)


def flexible() -> Package:
    made = program(op("relu", value("y", shape=(1, None, 64)), x="x"), rows=(1, None, 64))
    bounds = ((1, 1), (1, 128), (64, 64))
    made.description = {
        "main": (Described("x", (1, None, 64), "float16", bounds=bounds), Described("y", (), "float16"))
    }
    return made


def enumerated() -> Package:
    made = flexible()
    choices = ((1, 32, 64), (1, 64, 64))
    feature = Described("x", (1, None, 64), "float16", choices=choices, default=choices[0])
    made.description = {"main": (feature, Described("y", (), "float16"))}
    return made


def peaked(magnitude: float) -> Findings:
    return Findings(checked=True, peaks={"sum": Peak("sum", "add", "the_add", magnitude)})


SQUARED = op("mul", value("squares"), x="x", y="x")
MEAN = op("reduce_mean", value("mean", shape=(1, 1, 64)), x="squares", axes=[1], keep_dims=True)
LAST = op("relu", value("last"), x="x")

ROUNDED = op("quantize", value("whole", "int8"), input="x", scale=np.float16(0.5), output_dtype="int8")

CASES: Mapping[str, Package] = {
    "base": program(op("pow", value("y"), x=np.float16(2), y="x"), LAST),
    "rank": program(op("reshape", value("y", shape=(1, 1, 1, 1, 32, 64)), x="x"), LAST),
    "float32": program(op("cast", value("y", "float32"), x="x"), op("exp", value("z", "float32"), x="y"), LAST),
    "flexible": flexible(),
    "enumerated": enumerated(),
    "alignment": program(op("slice_by_size", value("y", shape=(1, 32, 40)), x="x")),
    "state": program(LAST, states=(Feature("keys", (1, 2, 100, 64), "float16"),)),
    "states": program(LAST, states=tuple(Feature(f"keys_{layer}", ROWS, "float16") for layer in range(3))),
    "attention": program(op("scaled_dot_product_attention", value("y"), query="x", key="x", value="x")),
    "dimension": program(op("conv", value("y", shape=(1, 32, 16448)), x="x", weight=half(16448, 64, 1, 1))),
    "infinite": program(const("mask", np.array([0, -np.inf], np.float16)), LAST),
    "lookup": program(op("gather", value("y"), x="x", indices=[0]), LAST),
    "operators": program(op("cumsum", value("y"), x="x", axis=1), LAST),
    "integers": program(ROUNDED, op("dequantize", value("y"), input="whole", scale=np.float16(0.5)), LAST),
    "linear": program(op("linear", value("y", shape=(1, 32, 8192)), x="x", weight=half(8192, 64))),
    "padding": program(op("reduce_max", value("y", shape=(1, 32, 1)), x="x", axes=[2], keep_dims=True), LAST),
    "projection": program(op("linear", value("y"), x="x", weight=half(64, 64)), LAST),
    "square": program(SQUARED, MEAN, LAST),
}
#: what else such a program is: a wide linear is a linear, and three sources speak of integers
ALSO: Mapping[str, set[str]] = {"linear": {"projection"}, "integers": {"rejected", "unpacked"}}
#: what is about no Neural Engine
ELSEWHERE = {"unpacked"}


def test_every_rule_of_the_table_is_seen_by_one_check():
    assert set(RULES) == set(CHECKS)
    assert {row.id for row in tables.placement().rules if "ane" in row.units} == set(RULES) - ELSEWHERE


def test_a_rule_names_operators_that_exist():
    """Those of the interpreter, or of coremltools where the interpreter has none yet."""
    from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry

    known = {name for name, _ in REGISTRY} | set(SSAOpRegistry.core_ops)
    assert {name for rule in RULES.values() for name in rule.ops} <= known


def test_a_sound_program_is_left_alone():
    assert found(SOUND, peaked(100.0)) == set()


@pytest.mark.parametrize("rule", CASES)
def test_what_a_rule_is_about_is_found_by_it(rule):
    assert found(CASES[rule]) == {rule} | ALSO.get(rule, set())


@pytest.mark.parametrize(
    ("shape", "dtype", "seen"),
    [
        ((1, 32, 1), "float16", True),
        ((1, 31, 1), "float16", False),
        ((1, 1, 32), "float16", False),
        ((1, 32, 1), "int32", False),
        ((1, None, 1), "float16", False),
    ],
)
def test_a_short_last_axis_is_one_of_a_value_inside_that_is_worth_a_row(shape, dtype, seen):
    made = program(op("reduce_max", value("y", dtype, shape), x="x"), LAST)
    assert ("padding" in found(made)) is seen
    assert "padding" not in found(program(op("reduce_max", value("y", dtype, shape), x="x")))


def test_weights_in_blocks_and_too_many_of_them(monkeypatch):
    stored = SOUND.weights("main")
    assert stored == []

    class Weight:
        granularity, block, dtype, op_type, name, bytes = "per_block", (1, 32), "int4", "constexpr", "w", 10**9 + 1
        shape = (64, 64)

    monkeypatch.setattr(Package, "weights", lambda *_: [Weight])
    assert found(SOUND) == {"blocks", "size"}
    # a palette for groups of whole rows
    Weight.block, Weight.bytes = (16, 64), 10**9
    assert found(SOUND) == set()
    Weight.granularity = "per_channel"
    assert found(SOUND) == set()


def test_headroom_is_a_warning_and_below_two_an_error():
    def graves(magnitude: float) -> list[bool]:
        return [one.grave for one in lint(SOUND, SOUND.functions["main"], RULES, peaked(magnitude))]

    assert graves(65504 / 8) == []
    assert graves(65504 / 7.9) == [False]
    assert graves(65504 / 2) == [False]
    assert graves(65504 / 1.9) == [True]


@pytest.mark.parametrize(
    "sound",
    [
        program(op("mul", value("squares", "float32"), x="x", y="x"), MEAN, LAST),
        program(op("mul", value("squares"), x="x", y="y"), MEAN, LAST),
        program(op("pow", value("squares"), x="x", y=np.float16(3)), MEAN, LAST),
    ],
)
def test_what_is_no_square_in_float16_is_none(sound):
    assert "square" not in found(sound)


@pytest.mark.parametrize(("base", "power"), [("x", np.float16(2)), (np.float16(3), "x"), ("x", "x")])
def test_another_base_than_two_is_right(base, power):
    assert "base" not in found(program(op("pow", value("y"), x=base, y=power), LAST))


@pytest.mark.parametrize(
    "square",
    [
        program(op("pow", value("squares"), x="x", y=np.float16(2)), MEAN, LAST),
        program(const("two", np.float16(2)), op("pow", value("squares"), x="x", y="two"), MEAN, LAST),
        program(op("square", value("squares"), x="x"), MEAN, LAST),
        program(op("reduce_l2_norm", value("norm", shape=(1, 1, 64)), x="x", axes=[1]), LAST),
    ],
)
def test_a_square_is_one_however_it_is_written(square):
    assert found(square) == {"square"}


def scaled_norm(magnitude: str = "abs", whole: str = "x", divisor: str = "m", how: str = "real_div"):
    """The square of x / max(max|x|, 0.001), or of what only looks like it."""
    narrow = (1, 1, 64)
    return program(
        op(magnitude, value("size"), x="x"),
        op("reduce_max", value("largest", shape=narrow), x="size", axes=[1], keep_dims=True),
        op("maximum", value("m", shape=narrow), x="largest", y=np.float16(1e-3)),
        op("add", value("other"), x="x", y="x"),
        op(how, value("scaled"), x=whole, y=divisor),
        op("mul", value("squares"), x="scaled", y="scaled"),
        MEAN,
        LAST,
    )


@pytest.mark.parametrize("divisor", ["m", "largest"])
def test_what_was_divided_by_its_largest_magnitude_is_squared_safely(divisor):
    assert "square" not in found(scaled_norm(divisor=divisor))


@pytest.mark.parametrize(
    "change", [{"magnitude": "relu"}, {"whole": "other"}, {"divisor": "size"}, {"divisor": "other"}, {"how": "mul"}]
)
def test_what_only_looks_scaled_is_found(change):
    assert "square" in found(scaled_norm(**change))


def test_enumerated_shapes_are_compiled_one_by_one_and_cost_what_was_seen():
    """No size is open there, but calls of some sizes were seen to leave the unit: a warning, with the sizes."""
    made = enumerated()
    (one,) = lint(made, made.functions["main"], RULES)
    assert one == Found("enumerated", "input", "x", "(1, 32, 64) or (1, 64, 64), (1, 32, 64) by default")


def test_a_finding_is_data():
    (one,) = lint(CASES["rank"], CASES["rank"].functions["main"], RULES)
    assert one == Found("rank", "reshape", "y", "6 axes (1, 1, 1, 1, 32, 64)")
    assert json.dumps(vars(one))
