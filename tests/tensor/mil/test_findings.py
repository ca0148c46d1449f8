"""A checked run names what is wrong, where it began, and how much room is left; a clean model has none of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtime.mil import compile as compiling
from runtime.mil import package
from runtime.mil.findings import Count, Findings, Mismatch, Peak, merged
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import Array, Mode
from runtime.mil.ops.registry import REGISTRY
from tests.tensor.mil import models
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import run_op
from tests.tensor.mil.tamper import edited, op_of


def built(
    zoo: Zoo, name: str, body: Callable[..., Any], *shapes: tuple[int, ...], dtype: Any = types.fp16
) -> Interpreter:
    """An interpreter of a MIL program written by hand; its inputs are named x0, x1, …"""
    program = mb.program(
        input_specs=[mb.TensorSpec(shape, dtype=dtype) for shape in shapes], opset_version=ct.target.iOS18
    )(body)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        skip_model_load=True,
        minimum_deployment_target=ct.target.iOS18,
        pass_pipeline=ct.PassPipeline.EMPTY,
    )
    return Interpreter(zoo.opened(name, model))


def one(interpreter: Interpreter, x: Any, mode: Mode = "fp16_round") -> Findings:
    """Findings of a run with one input."""
    made = Interpreter(interpreter.package, "main", mode)
    return made.run({made.function.inputs[0].name: np.asarray(x, np.float32)}).findings


def test_a_row_masked_with_minus_infinity_is_traced_to_its_softmax(zoo: Zoo) -> None:
    """The constant introduces the infinity, softmax the NaN; what only passes them on is not blamed."""

    def body(x: Any) -> Any:
        scores = mb.add(x=x, y=np.full((1, 4), -np.inf, np.float16), name="masked")
        return mb.mul(x=mb.softmax(x=scores, axis=-1, name="weights"), y=np.float16(2), name="scaled")

    findings = one(built(zoo, "nan", body, (1, 4)), [[1, 2, 3, 4]])
    assert [(item.value, item.elements) for item in findings.nan] == [("weights", 4)]
    assert [(item.op_type, item.elements) for item in findings.inf] == [("const", 4)]
    assert findings.first == findings.inf[0].op_name
    assert not findings.clean


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_only_moves_elements_is_looked_through(zoo: Zoo, bad: float) -> None:
    """What it is given is not counted again, and what comes of it later is not blamed on who multiplies."""

    def body(x: Any) -> Any:
        held = mb.concat(values=[x, np.array([[bad]], np.float16)], axis=1, name="held")
        seen = mb.slice_by_index(x=mb.transpose(x=held, perm=[1, 0]), begin=[1, 0], end=[4, 1], name="seen")
        return mb.mul(x=mb.reshape(x=seen, shape=[3]), y=np.float16(2), name="double")

    findings = one(built(zoo, f"carried-{bad}", body, (1, 3)), [[1, 2, 3]])
    assert [(item.op_type, item.elements) for item in (*findings.nan, *findings.inf)] == [("const", 1)]
    assert one(built(zoo, f"carried-{bad}", body, (1, 3)), [[1, np.inf, 3]]).first == "x"


def test_whatever_is_looked_through_moves_elements() -> None:
    moving = {op.name for op in REGISTRY.values() if op.moves}
    assert moving > compiling._CARRYING
    # these have numbers of their own, or one where they are given none
    assert compiling._CARRYING.isdisjoint(
        {"fill", "fill_like", "one_hot", "reduce_max", "reduce_min", "pad", "max_pool"}
    )


def test_saturation_names_the_op_that_left_float16(zoo: Zoo) -> None:
    def body(x: Any) -> Any:
        return mb.mul(x=mb.square(x=x, name="square"), y=np.float16(0.5), name="half")

    interpreter = built(zoo, "saturated", body, (1, 3))
    findings = one(interpreter, [[300, 2, -400]])
    assert findings.saturated == (Count("square", "square", "square", 2),)
    assert findings.inf == ()
    assert findings.first == "square"
    assert findings.headroom == pytest.approx(65504 / 160000)
    # without rounding the same elements are still reported: float16 could not hold them
    assert one(interpreter, [[300, 2, -400]], "exact32").saturated[:1] == findings.saturated
    assert one(interpreter, [[200, 2, -100]]).clean


def test_the_edges_of_float16_are_where_rounding_puts_them(zoo: Zoo) -> None:
    """65520 is the first magnitude that rounds to infinity; 2^-25 the last that rounds to zero."""

    def body(x: Any) -> Any:
        return mb.cast(x=x, dtype="fp16", name="narrow")

    interpreter = built(zoo, "edges", body, (1, 4), dtype=types.fp32)
    below = np.nextafter(np.float32(65520), np.float32(0))
    tiny, more = np.float32(2.0**-25), np.nextafter(np.float32(2.0**-25), np.float32(1))
    findings = one(interpreter, [[65520, below, tiny, more]])
    assert [item.elements for item in findings.saturated] == [1]
    assert [item.elements for item in findings.flushed] == [1]
    inside = one(interpreter, [[below, more, 0, 1]])
    assert inside.clean
    assert inside.flushed == ()


def test_an_input_that_float16_cannot_hold_is_the_input_s_fault(zoo: Zoo) -> None:
    interpreter = built(zoo, "input", lambda x: mb.identity(x=x, name="same"), (1, 2))
    findings = one(interpreter, [[1e6, 1]])
    assert [item.op_type for item in findings.saturated] == ["input"]


def test_headroom_is_the_least_and_knows_its_value(zoo: Zoo) -> None:
    def body(x: Any) -> Any:
        return mb.sub(x=mb.mul(x=x, y=np.float16(100), name="big"), y=np.float16(1), name="last")

    findings = one(built(zoo, "headroom", body, (1, 2)), [[10, -20]])
    assert findings.tightest(2) == [Peak("last", "sub", "last", 2001.0), Peak("big", "mul", "big", 2000.0)]
    assert findings.headroom == pytest.approx(65504 / 2001)


@pytest.mark.parametrize(
    ("given", "dtype", "elements"), [([300.0, -1.0, 5.0], "uint8", 2), ([1e9, 1.0, -32769.5], "int16", 2)]
)
def test_a_cast_out_of_range_is_counted(given: list[float], dtype: str, elements: int) -> None:
    x: Array = np.array(given, np.float32)
    findings = run_op("cast", 8, {"x": x}, {"dtype": dtype}, [(dtype, (3,))]).findings
    assert findings.out_of_range == (Count("result_0", "cast", "the_op", elements),)
    assert findings.first == "the_op"


def overflowing(op_type: str, given: dict[str, Any], static: dict[str, Any], wanted: tuple[int, ...]) -> Findings:
    """Findings of one op on int32 operands."""
    arrays = {name: np.array(value, np.int32) for name, value in given.items()}
    return run_op(op_type, 8, arrays, static, [("int32", wanted)]).findings


LAST = 2**31 - 1


@pytest.mark.parametrize(
    ("op_type", "given", "static", "wanted", "elements"),
    [
        ("add", {"x": [LAST, 1, 2], "y": [1, 1, LAST]}, {}, (3,), 2),
        ("add", {"x": [LAST - 1, 1], "y": [1, 1]}, {}, (2,), 0),
        ("sub", {"x": [-(2**31), 0], "y": [1, 1]}, {}, (2,), 1),
        ("mul", {"x": [1 << 16, 3], "y": [1 << 16, 3]}, {}, (2,), 1),
        ("floor_div", {"x": [-(2**31), 7], "y": [-1, -1]}, {}, (2,), 1),
        ("square", {"x": [46341, 46340]}, {}, (2,), 1),
        ("abs", {"x": [-(2**31), -5]}, {}, (2,), 1),
        ("reduce_sum", {"x": [LAST, 1]}, {"axes": [0], "keep_dims": True}, (1,), 1),
        ("reduce_sum", {"x": [LAST, -1]}, {"axes": [0], "keep_dims": True}, (1,), 0),
        ("cumsum", {"x": [LAST, 1, 1]}, {"axis": 0}, (3,), 2),
    ],
)
def test_an_integer_that_leaves_its_dtype_is_counted(
    op_type: str, given: dict[str, Any], static: dict[str, Any], wanted: tuple[int, ...], elements: int
) -> None:
    findings = overflowing(op_type, given, static, wanted)
    assert sum(item.elements for item in findings.out_of_range) == elements
    assert findings.clean == (elements == 0)
    assert findings.first == ("the_op" if elements else "")


@pytest.mark.parametrize(
    ("op_type", "constant", "elements"),
    [("add", LAST, 1), ("sub", -(2**31), 1), ("mul", LAST, 1), ("add", LAST - 1, 0), ("maximum", LAST, 0)],
)
def test_arithmetic_with_a_constant_at_the_end_of_int32_is_counted(op_type: str, constant: int, elements: int) -> None:
    """A converter leaves it where it met a larger number: the sum fits and is wrong all the same."""
    findings = overflowing(op_type, {"x": [0]}, {"y": np.int32(constant)}, (1,))
    assert findings.out_of_range[:1] == ((Count("result_0", op_type, "the_op", 1),) if elements else ())
    assert findings.clean == (elements == 0)


def test_a_number_that_the_converter_saturated_is_not_clean(zoo: Zoo) -> None:
    """coremltools 9.0 saves `i + 2**40` as an int32 sum with 2147483647."""

    class Far(torch.nn.Module):
        def forward(self, i: torch.Tensor) -> torch.Tensor:
            return i + 2**40

    program = models.exported(Far(), (torch.zeros(2, dtype=torch.int32),))
    model = ct.convert(
        program,
        inputs=[ct.TensorType(name="i", shape=(2,), dtype=np.int32)],
        skip_model_load=True,
        minimum_deployment_target=ct.target.iOS18,
    )
    interpreter = Interpreter(zoo.opened("far", model))
    for given in ([1, 2], [-5, -6]):
        findings = interpreter.run({"i": np.array(given, np.int32)}).findings
        assert not findings.clean
        assert {item.op_type for item in findings.out_of_range} == {"add"}
        assert findings.first


def test_a_constant_cast_out_of_range_is_counted_too(zoo: Zoo) -> None:
    def body(x: Any) -> Any:
        wrapped = mb.cast(x=mb.identity(x=np.array([300.0, 5.0], np.float32)), dtype="uint8")
        return mb.add(x=x, y=mb.cast(x=wrapped, dtype="fp16"))

    findings = one(built(zoo, "folded", body, (2,)), [1, 2])
    assert [(item.op_type, item.elements) for item in findings.out_of_range] == [("cast", 1)]


def test_a_tampered_shape_is_found_at_its_value(zoo: Zoo, tmp_path: Path) -> None:
    def edit(_: Any, block: Any) -> None:
        op_of(block, "softmax").outputs[0].type.tensorType.dimensions[-1].constant.size = 15

    source = zoo.package("llama", "prefill")
    value = next(op.outputs[0][0] for op in source.functions["main"].operations if op.type == "softmax")
    path = edited(source.path, tmp_path, edit)
    findings = Interpreter(package.open(path)).run(zoo.sample("llama", "prefill").inputs).findings
    assert findings.mismatches == (Mismatch(value, "softmax", value, "shape", "(1, 4, 16, 15)", "(1, 4, 16, 16)"),)
    assert findings.first == value


def test_a_tampered_dtype_is_found_before_anything_runs(zoo: Zoo, tmp_path: Path) -> None:
    """float16 work declared float32 would otherwise look like an island."""

    def edit(_: Any, block: Any) -> None:
        op_of(block, "rsqrt").outputs[0].type.tensorType.dataType = 11  # FLOAT32

    path = edited(zoo.package("llama", "prefill").path, tmp_path, edit)
    found = Interpreter(package.open(path)).run(zoo.sample("llama", "prefill").inputs).findings.mismatches
    assert [(item.op_type, item.what, item.declared, item.actual) for item in found] == [
        ("rsqrt", "dtype", "float32", "float16"),
        ("mul", "operands", "one dtype", "x: float16, y: float32"),
    ]


def test_a_tampered_description_is_found(zoo: Zoo, tmp_path: Path) -> None:
    def edit(model: Any, _: Any) -> None:
        model.description.output[0].type.multiArrayType.dataType = 65568  # FLOAT32
        del model.description.input[1]

    path = edited(zoo.package("llama", "prefill").path, tmp_path, edit)
    found = Interpreter(package.open(path)).run(zoo.sample("llama", "prefill").inputs).findings.mismatches
    assert [(item.value, item.what) for item in found] == [("attention_mask", "description"), ("logits", "description")]


def test_merged_findings_add_counts_and_keep_the_largest_peak() -> None:
    small = Findings(checked=True, nan=(Count("v", "op", "n", 1),), peaks={"v": Peak("v", "op", "n", 2.0)}, first="n")
    large = Findings(checked=True, nan=(Count("v", "op", "n", 3),), peaks={"v": Peak("v", "op", "n", 5.0)})
    both = merged([large, small])
    assert both.nan == (Count("v", "op", "n", 4),)
    assert both.peaks["v"].magnitude == 5.0
    assert both.first == "n"
    assert both.checked
    assert not both.clean


@pytest.mark.parametrize("runs", [[], [Findings(checked=True), Findings()]])
def test_what_was_not_checked_is_not_clean(runs: list[Findings]) -> None:
    assert not merged(runs).clean
    assert merged([Findings(checked=True)]).clean
