"""States are named buffers that survive from run to run, in the order the program reads and writes them."""

from __future__ import annotations

from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types

from runtime.contract import Refusal
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.program import Feature, Function, Operation, ValueType
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import package


@pytest.fixture(scope="module")
def running_sum(zoo: Zoo) -> Interpreter:
    """acc += x; returns the old content, twice the new one."""

    @mb.program(
        input_specs=[mb.TensorSpec((1, 3), dtype=types.fp16), mb.StateTensorSpec((1, 3), dtype=types.fp16)],
        opset_version=ct.target.iOS18,
    )
    def program(x: Any, acc: Any) -> Any:
        old = mb.read_state(input=acc)
        new = mb.coreml_update_state(state=acc, value=mb.add(x=old, y=x))
        return mb.identity(x=old, name="old"), mb.mul(x=new, y=np.float16(2), name="twice")

    model = ct.convert(program, convert_to="mlprogram", skip_model_load=True, minimum_deployment_target=ct.target.iOS18)
    return Interpreter(zoo.opened("state", model))


X = np.array([[1, 2, 3]], np.float32)


def test_a_state_accumulates_and_a_read_before_the_write_keeps_the_old_content(running_sum: Interpreter) -> None:
    running_sum.state = running_sum.make_state()
    for step in range(3):
        result = running_sum.run({"x": X})
        assert result.findings.clean
        np.testing.assert_array_equal(result.outputs["old"], X * step)
        np.testing.assert_array_equal(result.outputs["twice"], 2 * X * (step + 1))
    np.testing.assert_array_equal(running_sum.state["acc"], 3 * X)


def test_a_given_state_is_used_and_updated_instead_of_the_own_one(running_sum: Interpreter) -> None:
    running_sum.state = running_sum.make_state()
    mine = {"acc": np.full((1, 3), 10, np.float16)}
    np.testing.assert_array_equal(running_sum.run({"x": X}, state=mine).outputs["twice"], 2 * (10 + X))
    np.testing.assert_array_equal(mine["acc"], 10 + X)
    assert not running_sum.state["acc"].any()


def test_probing_leaves_the_state_alone(running_sum: Interpreter) -> None:
    running_sum.state = running_sum.make_state()
    assert running_sum.values({"x": X}, ["twice"])["twice"].any()
    assert not running_sum.state["acc"].any()


def test_a_state_is_rounded_to_its_declared_dtype(running_sum: Interpreter) -> None:
    third = {"acc": np.full((1, 3), 1 / 3, np.float32)}
    running_sum.run({"x": np.zeros((1, 3), np.float32)}, state=third)
    np.testing.assert_array_equal(third["acc"], np.full((1, 3), np.float16(1 / 3), np.float32))


@pytest.mark.parametrize("state", [{}, {"acc": np.zeros((1, 4), np.float32)}])
def test_a_missing_or_misshapen_state_is_refused(running_sum: Interpreter, state: dict[str, Any]) -> None:
    with pytest.raises(Refusal, match="state acc"):
        running_sum.run({"x": X}, state=state)


def updating(opset: int) -> Function:
    """The spelling of the converter's program in memory, which also yields the new content."""
    half = ValueType("float16", (1, 3))
    operation = Operation("coreml_update_state", "update", {"state": ("acc",), "value": ("x",)}, (("new", half),))
    return Function(
        name="main",
        opset=opset,
        inputs=(Feature("x", (1, 3), "float16"),),
        states=(Feature("acc", (1, 3), "float16"),),
        outputs=(Feature("new", (1, 3), "float16"),),
        operations=(operation,),
    )


def test_coreml_update_state_writes_and_yields() -> None:
    interpreter = Interpreter(package({"main": updating(8)}))
    np.testing.assert_array_equal(interpreter.run({"x": X}).outputs["new"], X)
    np.testing.assert_array_equal(interpreter.state["acc"], X)


def test_states_before_ios18_are_refused() -> None:
    with pytest.raises(UnsupportedOp, match="coreml_update_state"):
        Interpreter(package({"main": updating(7)}))
