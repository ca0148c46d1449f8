"""Blocks inside ops: conditions and loops run as PyTorch's and as the same steps written out; broken ones are told."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtime.contract import BrokenEvidence
from runtime.mil import control, program
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.inventory import stored_weights
from runtime.mil.package import Package
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import package

Edit = Callable[[Any], None]


def halves(precision: Any = ct.precision.FLOAT32) -> Any:
    """x, times 0.5 while its sum is above 1, and how often; then 1 is added or taken away by the sign of y."""

    @mb.program(
        input_specs=[mb.TensorSpec((3,), dtype=types.fp32), mb.TensorSpec((1,), dtype=types.fp32)],
        opset_version=ct.target.iOS17,
    )
    def made(x: Any, y: Any) -> Any:
        weight = np.linspace(0.4, 0.6, 3, dtype=np.float32)

        def above(x: Any, count: Any) -> Any:
            return mb.greater(x=mb.reduce_sum(x=x, keep_dims=False), y=np.float32(1))

        def body(x: Any, count: Any) -> Any:
            return mb.mul(x=x, y=weight), mb.add(x=count, y=1)

        x, count = mb.while_loop(_cond=above, _body=body, loop_vars=(x, 0))
        positive = mb.greater(x=mb.squeeze(x=y), y=np.float32(0))
        x = mb.cond(
            pred=positive, _true_fn=lambda: mb.add(x=x, y=np.float32(1)), _false_fn=lambda: mb.sub(x=x, y=np.float32(1))
        )
        return mb.identity(x=x, name="halved"), mb.identity(x=count, name="rounds")

    return ct.convert(
        made, skip_model_load=True, minimum_deployment_target=ct.target.iOS17, compute_precision=precision
    )


@pytest.fixture(scope="module")
def spec(converter_folders: None) -> Any:
    return halves().get_spec()


def functions(spec: Any, edit: Edit = lambda _: None) -> dict[str, program.Function]:
    """The functions of a copy of the package after an edit of its block."""
    copied = type(spec)()
    copied.CopyFrom(spec)
    edit(copied.mlProgram.functions["main"].block_specializations["CoreML7"])
    return program.functions(copied.mlProgram)


def written_out(x: np.ndarray[Any, Any], y: float) -> tuple[np.ndarray[Any, Any], int]:
    rounds = 0
    while x.sum() > 1:
        x, rounds = x * np.linspace(0.4, 0.6, 3, dtype=np.float32), rounds + 1
    return x + (1 if y > 0 else -1), rounds


@pytest.mark.parametrize("check", [True, False])
def test_a_loop_runs_as_long_as_its_condition_holds_and_one_branch_is_taken(spec: Any, check: bool) -> None:
    interpreter = Interpreter(package(functions(spec)), "main", "exact32", check=check)
    for scale, sign in ((0.1, 1.0), (8.0, -1.0), (500.0, 1.0)):
        x = np.array([1, 2, 3], np.float32) * np.float32(scale)
        result = interpreter.run({"x": x, "y": np.array([sign], np.float32)})
        wanted, rounds = written_out(x, sign)
        np.testing.assert_allclose(result.outputs["halved"], wanted, rtol=1e-6)
        assert result.outputs["rounds"] == rounds
        assert result.findings.clean == check


def test_what_a_round_finds_is_found(spec: Any) -> None:
    """An infinity that only a later round makes, named by the op inside the loop."""
    interpreter = Interpreter(package(functions(spec, grow)), "main", "exact32")
    result = interpreter.run({"x": np.full(3, 1e30, np.float32), "y": np.ones(1, np.float32)})
    assert {item.op_type for item in result.findings.inf} == {"mul"}
    assert result.findings.first == "mul_1"


def grow(block: Any) -> None:
    """The body multiplies by a large number, and the condition stops at infinity."""
    inside = named(block, "while_loop").blocks
    for operation in inside[1].operations:
        if operation.type == "const" and len(operation.outputs[0].type.tensorType.dimensions) == 1:
            value = operation.attributes["val"]
            value.ClearField("blobFileValue")
            value.immediateValue.tensor.floats.values[:] = [1e30, 1e30, 1e30]
    for operation in inside[0].operations:
        if operation.type == "greater":
            operation.type = "less"
            constant = operation.inputs["y"].arguments[0].name
    for operation in inside[0].operations:
        if operation.type == "const" and operation.outputs[0].name == constant:
            operation.attributes["val"].immediateValue.tensor.floats.values[:] = [3e38]


def named(block: Any, op_type: str) -> Any:
    return next(operation for operation in block.operations if operation.type == op_type)


def read_from_outside(block: Any) -> None:
    """An op after the loop reads what the loop's body made."""
    inner = named(block, "while_loop").blocks[1].outputs[1]
    named(block, "cond").blocks[0].operations[-1].inputs["x"].arguments[0].name = inner


def shadow(block: Any) -> None:
    named(block, "while_loop").blocks[1].operations[-1].outputs[0].name = "x"


def lose_output(block: Any) -> None:
    named(block, "while_loop").blocks[1].outputs[0] = "nobody"


def one_block(block: Any) -> None:
    del named(block, "cond").blocks[1]


def foreign_block(block: Any) -> None:
    named(block, "identity").blocks.add()


def attribute(block: Any) -> None:
    named(block, "cond").blocks[0].attributes["x"].CopyFrom(named(block, "const").attributes["val"])


def unknown_inside(block: Any) -> None:
    named(block, "while_loop").blocks[1].operations[-1].type = "frobnicate"


def condition_of_numbers(block: Any) -> None:
    inside = named(block, "while_loop").blocks[0]
    inside.outputs[0] = inside.inputs[1].name


def swapped(block: Any) -> None:
    outputs = named(block, "while_loop").blocks[1].outputs
    outputs[0], outputs[1] = outputs[1], outputs[0]


def number_as_predicate(block: Any) -> None:
    named(block, "cond").inputs["pred"].arguments[0].name = "x"


@pytest.mark.parametrize(
    ("edit", "error", "text"),
    [
        (read_from_outside, BrokenEvidence, "before it is defined"),
        (shadow, BrokenEvidence, "value 'x' is defined twice"),
        (lose_output, BrokenEvidence, "output 'nobody' of a block is never defined"),
        (one_block, BrokenEvidence, "op cond .* has 1 blocks"),
        (foreign_block, UnsupportedOp, "op identity .* has nested blocks"),
        (attribute, UnsupportedOp, "block attributes are not modelled"),
        (unknown_inside, UnsupportedOp, "op frobnicate of opset CoreML7 is not modelled"),
        (condition_of_numbers, BrokenEvidence, "op while_loop .* do not fit"),
        (swapped, BrokenEvidence, "op while_loop .* do not fit"),
        (number_as_predicate, BrokenEvidence, "op cond .* do not fit"),
    ],
)
def test_a_broken_block_is_told(spec: Any, edit: Edit, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        Interpreter(package(functions(spec, edit)), "main", "exact32")


def test_a_loop_without_an_end_is_told(spec: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "ROUNDS", 50)
    interpreter = Interpreter(package(functions(spec)), "main", "exact32")
    with pytest.raises(BrokenEvidence, match=r"while_loop .* no end after 50 rounds"):
        interpreter.run({"x": np.full(3, np.inf, np.float32), "y": np.ones(1, np.float32)})


def test_a_branch_that_is_not_taken_computes_nothing(spec: Any) -> None:
    """The op of the other branch would end the run: its operands do not fit."""

    def misfit(block: Any) -> None:
        added = named(block, "cond").blocks[0].operations[-1]
        added.type = "matmul"

    with pytest.raises(BrokenEvidence, match="matmul"):
        run(functions(spec, misfit), 1.0)
    run(functions(spec, misfit), -1.0)


def run(made: dict[str, program.Function], sign: float) -> None:
    given = {"x": np.ones((3,), np.float32), "y": np.array([sign], np.float32)}
    Interpreter(package(made), "main", "exact32").run(given)


def test_values_inside_a_block_have_no_name_outside_and_its_weights_are_counted(zoo: Zoo) -> None:
    opened: Package = zoo.opened("halves", halves(ct.precision.FLOAT16))
    function = opened.functions["main"]
    inside = {name for item in program.walk(function.operations) for name, _ in item.outputs} - set(function.types)
    assert len(inside) > 5
    interpreter = Interpreter(opened)
    values = interpreter.values({"x": np.ones(3, np.float32), "y": np.ones(1, np.float32)})
    assert not inside & set(values)
    weights = [item for item in stored_weights(function, opened.elements) if item.shape == (3,)]
    assert [item.consumers[0].op_type for item in weights] == ["mul"]
    assert dataclasses.replace(function, operations=()).types.keys() == {"x", "y"}
