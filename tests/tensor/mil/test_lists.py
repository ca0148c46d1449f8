"""Lists of tensors: Apple's examples, loops that fill lists beside PyTorch, any order of writes beside a Python list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence, Refusal
from runtime.mil import crossed
from runtime.mil import program as programs
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter, Result
from runtime.mil.numerics import Array
from runtime.mil.program import Argument, Feature, Function, Operation, ValueType
from tests.longer import LONG
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import literal, package

LIST = ValueType("float32", (2,), form="list")
ROW = ValueType("float32", (2,))


def converted(build: Callable[..., Any], *shapes: tuple[int, ...], precision: Any = ct.precision.FLOAT32) -> Any:
    """A package of a program over float32 inputs of these shapes."""
    specs = [mb.TensorSpec(shape, dtype=types.fp32) for shape in shapes]
    made = mb.program(input_specs=specs, opset_version=ct.target.iOS17)(build)
    return ct.convert(
        made, skip_model_load=True, minimum_deployment_target=ct.target.iOS17, compute_precision=precision
    )


def test_apple_s_example_of_a_list_holds(zoo: Zoo) -> None:
    """At first all 0, and a write behind the end makes room."""

    def build(a: Any, b: Any) -> Any:
        ls = mb.make_list(init_length=2, elem_shape=(2,))
        first = mb.list_read(ls=ls, index=0, name="first")
        ls = mb.list_write(ls=mb.list_write(ls=ls, index=0, value=a), index=4, value=b)
        rows = np.array([[-1, -2], [-4, -5]], np.float32)
        ls = mb.list_scatter(ls=ls, indices=[2, 1], value=rows)
        length = mb.list_length(ls=ls)
        read, some = mb.list_read(ls=ls, index=0, name="read"), mb.list_gather(ls=ls, indices=[4, 2, 3], name="some")
        return first, read, some, mb.identity(x=length, name="length")

    opened = zoo.opened("list_apple", converted(build, (2,), (2,)))
    result = Interpreter(opened).run({"a": np.array([1, 3], np.float32), "b": np.array([2, 4], np.float32)})
    assert result.findings.clean
    wanted: dict[str, Any] = {"first": [0, 0], "read": [1, 3], "some": [[2, 4], [-1, -2], [0, 0]], "length": 5}
    assert {name: value.tolist() for name, value in result.outputs.items()} == wanted


@pytest.mark.parametrize("precision", [ct.precision.FLOAT32, ct.precision.FLOAT16])
def test_a_loop_over_lists_is_pytorch_s(precision: Any, zoo: Zoo) -> None:
    """As the TensorFlow front end writes a recurrent layer: its steps stand in one list, its results go to another."""
    torch.manual_seed(0)
    cell = torch.nn.RNNCell(3, 4)
    inward, across = cell.weight_ih.detach().numpy(), cell.weight_hh.detach().numpy()
    bias = (cell.bias_ih + cell.bias_hh).detach().numpy()

    def build(x: Any) -> Any:
        steps = mb.make_list(init_length=6, dynamic_length=False, elem_shape=(1, 3))
        steps = mb.list_scatter(ls=steps, indices=np.arange(6, dtype=np.int32), value=x)
        done = mb.make_list(init_length=1, dynamic_length=True, elem_shape=(1, 4))

        def body(i: Any, h: Any, done: Any) -> Any:
            fresh = mb.linear(x=mb.list_read(ls=steps, index=i), weight=inward, bias=bias)
            h = mb.tanh(x=mb.add(x=fresh, y=mb.linear(x=h, weight=across)))
            return mb.add(x=i, y=1), h, mb.list_write(ls=done, index=i, value=h)

        def more(i: Any, h: Any, done: Any) -> Any:
            return mb.less(x=i, y=6)

        start = np.zeros((1, 4), np.float32)
        _, _, done = mb.while_loop(_cond=more, _body=body, loop_vars=(0, mb.mul(x=start, y=1.0), done))
        places = mb.range_1d(start=0, end=mb.list_length(ls=done), step=1)
        return mb.list_gather(ls=done, indices=places, name="y")

    name = "float16" if precision is ct.precision.FLOAT16 else "float32"
    opened = zoo.opened(f"list_loop_{name}", converted(build, (6, 1, 3), precision=precision))
    (read,) = crossed.crossed(opened).values()
    assert (read.differ, read.unavailable) == ((), "")
    x = torch.randn(6, 1, 3)
    wanted, h = [], torch.zeros(1, 4)
    with torch.no_grad():
        for step in x:
            h = cell(step, h)
            wanted.append(h)
    for check in (True, False):
        result = Interpreter(opened, check=check).run({"x": x.numpy()})
        assert result.findings.clean == check
        (found,) = result.outputs.values()
        tolerance = 2e-2 if name == "float16" else 1e-6
        np.testing.assert_allclose(found, torch.stack(wanted).numpy(), atol=tolerance)


# --- programs written out ----------------------------------------------------------------------------------------


def written(*operations: Operation, results: tuple[Feature, ...] = (Feature("y", (None, 2), "float32"),)) -> Function:
    return Function("main", 7, (Feature("x", (2,), "float32"),), (), results, operations)


def operation(kind: str, output: str, declared: ValueType, **inputs: Any) -> Operation:
    """An op whose operands are names of values, or constants."""

    def group(value: Any) -> tuple[Argument, ...]:
        several = value if isinstance(value, tuple) else (value,)
        return tuple(item if isinstance(item, str) and item in NAMES else literal(item) for item in several)

    return Operation(kind, output, {name: group(value) for name, value in inputs.items()}, ((output, declared),))


NAMES = {"x", "y", "n", *(f"l{index}" for index in range(9))}


def made(length: int = 1, *, grows: bool = True, shape: tuple[Any, ...] = (np.int32(2),)) -> Operation:
    init = np.int32(length)
    declared = ValueType("float32", tuple(None if isinstance(one, str) else int(one) for one in shape), form="list")
    return operation(
        "make_list", "l0", declared, init_length=init, elem_shape=shape, dynamic_length=np.bool_(grows), dtype="fp32"
    )


def run(function: Function, x: Array | None = None) -> Result:
    given_ = np.array([1, 2], np.float32) if x is None else x
    return Interpreter(package({"main": function}), "main", "exact32").run({"x": given_})


@settings(max_examples=200 if LONG else 40, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_any_order_of_writes_is_a_python_list_s(data: st.DataObject) -> None:
    """Writes and scatters in any order, then everything is gathered; what another name holds stays as it was."""
    draw = data.draw
    length, grows = draw(st.integers(1, 4)), draw(st.booleans())
    lists = [[[0.0, 0.0]] * length]
    operations = [made(length, grows=grows)]
    for turn in range(1, draw(st.integers(1, 6)) + 1):
        # a write may read any list of before
        before = draw(st.integers(0, turn - 1))
        last = 7 if grows else length - 1
        now = list(lists[before])
        if draw(st.booleans()):
            places = [draw(st.integers(0, last))]
            rows = [[float(turn), -float(turn)]]
            value: Any = np.array(rows[0], np.float32)
            kind, where = "list_write", {"index": np.int32(places[0])}
        else:
            places = draw(st.lists(st.integers(0, last), min_size=1, max_size=3, unique=True))
            rows = [[float(turn), float(place)] for place in places]
            value = np.array(rows, np.float32)
            kind, where = "list_scatter", {"indices": np.array(places, np.int32)}
        operations.append(operation(kind, f"l{turn}", LIST, ls=f"l{before}", value=value, **where))
        for place, row in zip(places, rows, strict=True):
            now += [[0.0, 0.0]] * (place + 1 - len(now))
            now[place] = row
        lists.append(now)
    chosen = draw(st.integers(0, len(lists) - 1))
    wanted = lists[chosen]
    places = draw(st.lists(st.integers(0, len(wanted) - 1), max_size=5))
    several = ValueType("float32", (None, 2))
    operations.append(operation("list_gather", "y", several, ls=f"l{chosen}", indices=np.array(places, np.int32)))
    operations.append(operation("list_length", "n", ValueType("int32", ()), ls=f"l{chosen}"))
    results = (Feature("y", (None, 2), "float32"), Feature("n", (), "int32"))
    result = run(written(*operations, results=results))
    assert result.findings.clean
    np.testing.assert_array_equal(result.outputs["y"], np.array([wanted[place] for place in places]).reshape(-1, 2))
    assert result.outputs["n"] == len(wanted)


ALL = ValueType("float32", (None, 2))
END = operation("list_gather", "y", ALL, ls="l1", indices=np.array([0], np.int32))


def write(index: int, value: Any = "x", of: str = "l0") -> Operation:
    return operation("list_write", "l1", LIST, ls=of, index=np.int32(index), value=value)


def scatter(*places: int) -> Operation:
    rows = np.ones((len(places), 2), np.float32)
    return operation("list_scatter", "l1", LIST, ls="l0", indices=np.array(places, np.int32), value=rows)


def gather(of: str, *places: int) -> Operation:
    return operation("list_gather", "y", ALL, ls=of, indices=np.array(places, np.int32))


@pytest.mark.parametrize(
    ("operations", "error", "text"),
    [
        ((made(2, grows=False), write(2), END), BrokenEvidence, "position 2 of a list of 2 that does not grow"),
        ((made(2, grows=False), scatter(1, 2), END), BrokenEvidence, "position 2 of a list of 2 that does not grow"),
        ((made(), write(-1), END), BrokenEvidence, "position -1 of a list of 1"),
        ((made(), gather("l0", 1)), BrokenEvidence, "position 1 of a list of 1"),
        ((made(), gather("l0", -1)), BrokenEvidence, "position -1 of a list of 1"),
        ((made(), write(0, np.ones(3, np.float32)), END), BrokenEvidence, r"shape \(3,\) for a list of \(2,\)"),
        ((made(shape=("k",)), gather("l0", 0)), BrokenEvidence, "was never written, and its shape is not known"),
        ((made(), scatter(0, 0), END), UnsupportedOp, "list_scatter of two tensors to one position"),
        ((made(0), gather("l0", 0)), UnsupportedOp, "make_list of 0 elements"),
        ((made(), write(0, of="x"), END), BrokenEvidence, "float32 where a list is expected"),
        (
            (made(), operation("identity", "y", ALL, x="l0")),
            BrokenEvidence,
            "list of float32 where a tensor is expected",
        ),
        (
            (made(), operation("list_read", "y", LIST, ls="l0", index=np.int32(0))),
            BrokenEvidence,
            "op list_read declares a list of float32",
        ),
        (
            (made(), operation("list_write", "l1", ROW, ls="l0", index=np.int32(0), value="x"), END),
            BrokenEvidence,
            "op list_write declares a float32",
        ),
    ],
)
def test_a_list_that_is_used_wrongly_is_told(
    operations: tuple[Operation, ...], error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        run(written(*operations))


def test_another_element_type_or_shape_than_the_declared_one_is_found() -> None:
    wide = operation("make_list", "l0", LIST, elem_shape=(np.int32(3),), dtype="fp32")
    (found,) = run(written(wide, gather("l0", 0), results=(Feature("y", (None, 3), "float32"),))).findings.mismatches[
        :1
    ]
    assert (found.value, found.what, found.declared, found.actual) == ("l0", "shape", "(2)", "(3)")
    whole = operation("make_list", "l0", LIST, elem_shape=(np.int32(2),), dtype="int32")
    found = run(written(whole, gather("l0", 0))).findings.mismatches[0]
    assert (found.value, found.what, found.declared, found.actual) == ("l0", "dtype", "float32", "int32")


def test_what_a_list_holds_is_found_where_it_was_computed() -> None:
    """A NaN of the logarithm goes into the list and out of it, and is the logarithm's."""
    log = operation("log", "n", ROW, x="x", epsilon=np.float32(0))
    function = written(made(), log, write(0, "n"), END)
    found = run(function, np.array([-1, 1], np.float32)).findings
    assert [(item.op_type, item.elements) for item in found.nan] == [("log", 1)]
    assert found.first == "n"


def test_what_an_earlier_round_put_into_a_list_is_not_found_again(zoo: Zoo) -> None:
    """The first round's logarithm is -inf; the next ones read it."""

    def build(x: Any) -> Any:
        def body(i: Any, ls: Any) -> Any:
            return mb.add(x=i, y=1), mb.list_write(ls=ls, index=0, value=mb.log(x=mb.list_read(ls=ls, index=0)))

        def more(i: Any, ls: Any) -> Any:
            return mb.less(x=i, y=3)

        ls = mb.list_write(ls=mb.make_list(elem_shape=(2,)), index=0, value=x)
        _, ls = mb.while_loop(_cond=more, _body=body, loop_vars=(0, ls))
        return mb.list_read(ls=ls, index=0, name="y")

    opened = zoo.opened("list_rounds", converted(build, (2,)))
    found = Interpreter(opened).run({"x": np.array([-1, 1], np.float32)}).findings
    assert {item.op_type for item in found.nan} == {"log"}
    assert sum(item.elements for item in found.nan) == 1


def test_a_list_of_integers_holds_them() -> None:
    """Nothing is out of range: to write a number is no arithmetic."""
    several = ValueType("int32", (2,), form="list")
    whole = operation("cast", "n", ValueType("int32", (2,)), x="x", dtype="int32")
    empty = operation("make_list", "l0", several, elem_shape=(np.int32(2),), dtype="int32")
    filled = operation("list_write", "l1", several, ls="l0", index=np.int32(1), value="n")
    twice = operation("list_gather", "y", ValueType("int32", (None, 2)), ls="l1", indices=np.array([1, 1, 0], np.int32))
    result = run(written(whole, empty, filled, twice, results=(Feature("y", (None, 2), "int32"),)))
    assert result.findings.clean
    assert result.outputs["y"].tolist() == [[1, 2], [1, 2], [0, 0]]


def test_a_list_is_no_value_that_can_be_taken_out() -> None:
    interpreter = Interpreter(package({"main": written(made(), write(0), END)}), "main", "exact32")
    given_ = {"x": np.array([1, 2], np.float32)}
    assert "l1" not in interpreter.values(given_)
    with pytest.raises(Refusal, match="'l1' is a list of float32"):
        interpreter.values(given_, ["l1"])


def test_a_list_that_leaves_a_function_is_refused(converter_folders: None) -> None:
    def build(x: Any) -> Any:
        ls = mb.list_write(ls=mb.make_list(elem_shape=(2,)), index=0, value=x)
        return mb.list_read(ls=ls, index=0, name="y")

    spec = converted(build, (2,)).get_spec()
    block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
    block.outputs[0] = next(one.outputs[0].name for one in block.operations if one.type == "list_write")
    with pytest.raises(UnsupportedOp, match="is a list of float32, which no caller can hold"):
        programs.functions(spec.mlProgram)


def test_a_loop_that_swaps_a_list_for_a_tensor_is_told(converter_folders: None) -> None:
    def build(x: Any) -> Any:
        def body(i: Any, ls: Any) -> Any:
            return mb.add(x=i, y=1), mb.list_write(ls=ls, index=i, value=x)

        def more(i: Any, ls: Any) -> Any:
            return mb.less(x=i, y=3)

        _, ls = mb.while_loop(_cond=more, _body=body, loop_vars=(0, mb.make_list(elem_shape=(2,))))
        return mb.list_read(ls=ls, index=0, name="y")

    spec = converted(build, (2,)).get_spec()
    block = spec.mlProgram.functions["main"].block_specializations["CoreML7"]
    run(programs.functions(spec.mlProgram)["main"])
    outputs = next(one for one in block.operations if one.type == "while_loop").blocks[1].outputs
    outputs[0], outputs[1] = outputs[1], outputs[0]
    with pytest.raises(BrokenEvidence, match="its blocks do not fit its operands or results"):
        run(programs.functions(spec.mlProgram)["main"])
