"""Ops that coremltools cannot fold agree with PyTorch, or with their definition written as a loop."""

from __future__ import annotations

import math
from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import Array
from tests.tensor.mil import cases
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import by_coremltools, run_op

few = settings(max_examples=30, derandomize=True, deadline=None, database=None)


def only(op_type: str, opset: int, dynamic: dict[str, Array], static: dict[str, object], wanted: Array) -> None:
    """One result, equal to `wanted`, with no type mismatch."""
    result = run_op(op_type, opset, dynamic, static, [(wanted.dtype.name, wanted.shape)])
    assert result.findings.mismatches == ()
    (found,) = result.outputs.values()
    np.testing.assert_allclose(found, wanted, rtol=2e-5, atol=2e-6)


@few
@given(data=st.data())
def test_silu_is_pytorch_s(data: st.DataObject) -> None:
    x = cases.floats(data.draw, cases.shapes(data.draw), 8)
    only("silu", 8, {"x": x}, {}, torch.nn.functional.silu(torch.from_numpy(x)).numpy())


@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(data=st.data())
def test_conv_is_pytorch_s(rank: int, data: st.DataObject) -> None:
    draw = data.draw
    groups, per_in, per_out = (draw(st.integers(1, 3)) for _ in range(3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    dilations = [draw(st.integers(1, 2)) for _ in range(rank)]
    strides = [draw(st.integers(1, 2)) for _ in range(rank)]
    pads = [draw(st.integers(0, 2)) for _ in range(2 * rank)]
    sizes = [(k - 1) * d + 1 + draw(st.integers(0, 3)) for k, d in zip(kernel, dilations, strict=True)]
    x = cases.floats(draw, (draw(st.integers(1, 2)), groups * per_in, *sizes))
    weight = cases.floats(draw, (groups * per_out, per_in, *kernel))
    bias = cases.floats(draw, (groups * per_out,))
    # torch.nn.functional.pad starts with the last dimension
    around = [amount for axis in reversed(range(rank)) for amount in pads[2 * axis : 2 * axis + 2]]
    padded = torch.nn.functional.pad(torch.from_numpy(x), around)
    convolve = [torch.nn.functional.conv1d, torch.nn.functional.conv2d, torch.nn.functional.conv3d][rank - 1]
    wanted = convolve(padded, torch.from_numpy(weight), torch.from_numpy(bias), strides, 0, dilations, groups)
    static = {
        "weight": weight,
        "bias": bias,
        "strides": strides,
        "pad_type": "custom",
        "pad": pads,
        "dilations": dilations,
        "groups": groups,
    }
    only("conv", 8, {"x": x}, static, wanted.numpy())


@pytest.mark.parametrize(("pad_type", "even"), [("same", [2, 2, 2, 2, 1]), ("same_lower", [1, 2, 2, 2, 2])])
def test_conv_pads_an_odd_element_after_the_data_or_before_it(pad_type: str, even: list[float]) -> None:
    x, weight = np.ones((1, 1, 5), np.float32), np.ones((1, 1, 3), np.float32)
    only("conv", 8, {"x": x}, {"weight": weight, "pad_type": pad_type}, np.array([[[2, 3, 3, 3, 2]]], np.float32))
    static = {"weight": weight[:, :, :2], "pad_type": pad_type}
    only("conv", 8, {"x": x}, static, np.array([[even]], np.float32))


@few
@given(data=st.data())
def test_one_hot_is_pytorch_s_and_off_outside(data: st.DataObject) -> None:
    indices = cases.integers(data.draw, cases.shapes(data.draw, 1, 3), 0, 4)
    axis = data.draw(st.integers(-indices.ndim - 1, indices.ndim))
    classes = torch.nn.functional.one_hot(torch.from_numpy(indices).long(), 5).numpy()
    wanted = np.moveaxis(np.where(classes, np.float32(3), np.float32(-1)), -1, axis)
    static = {"one_hot_vector_size": 5, "axis": axis, "on_value": np.float32(3), "off_value": np.float32(-1)}
    only("one_hot", 8, {"indices": indices}, static, wanted)
    only("one_hot", 8, {"indices": np.array([7], np.int32)}, {"one_hot_vector_size": 3}, np.zeros((1, 3), np.int32))


@few
@given(data=st.data())
def test_gather_nd_follows_its_definition(data: st.DataObject) -> None:
    draw = data.draw
    x = cases.floats(draw, cases.shapes(draw, 2, 4))
    batch = draw(st.integers(0, x.ndim - 2))
    depth = draw(st.integers(1, x.ndim - batch))
    lead = (*x.shape[:batch], *cases.shapes(draw, 1, 2))
    indices = np.stack([cases.integers(draw, lead, 0, x.shape[batch + place] - 1) for place in range(depth)], -1)
    wanted = np.empty((*lead, *x.shape[batch + depth :]), np.float32)
    for place in np.ndindex(*lead):
        wanted[place] = x[(*place[:batch], *indices[place])]
    only("gather_nd", 8, {"x": x, "indices": indices}, {"batch_dims": batch}, wanted)


_COMBINE = {
    "update": lambda _, new: new,
    "add": lambda old, new: old + new,
    "sub": lambda old, new: old - new,
    "mul": lambda old, new: old * new,
    "div": lambda old, new: old / new,
    "max": max,
    "min": min,
}


@pytest.mark.parametrize("form", ["scatter", "scatter_along_axis", "scatter_nd"])
@few
@given(data=st.data())
def test_scatter_follows_its_definition(form: str, data: st.DataObject) -> None:
    draw = data.draw
    x = cases.floats(draw, cases.shapes(draw, 1, 3))
    mode = draw(st.sampled_from(sorted(_COMBINE)))
    axis = cases.axis_of(draw, x.ndim)
    where = axis % x.ndim
    wanted = x.copy()
    if form == "scatter_nd":
        indices = np.stack([cases.integers(draw, (3,), 0, size - 1) for size in x.shape], -1)
        updates = cases.positive(draw, (3,))
        writes = [(tuple(indices[row]), updates[row]) for row in range(3)]
    elif form == "scatter":
        indices = cases.integers(draw, (2,), 0, x.shape[where] - 1)
        updates = cases.positive(draw, (*x.shape[:where], 2, *x.shape[where + 1 :]))
        writes = [
            ((*place[:where], indices[place[where]], *place[where + 1 :]), updates[place])
            for place in np.ndindex(*updates.shape)
        ]
    else:
        indices = cases.integers(draw, x.shape, 0, x.shape[where] - 1)
        updates = cases.positive(draw, x.shape)
        writes = [
            ((*place[:where], indices[place], *place[where + 1 :]), updates[place]) for place in np.ndindex(*x.shape)
        ]
    for place, value in writes:
        wanted[place] = _COMBINE[mode](wanted[place], value)
    static = {"mode": mode} if form == "scatter_nd" else {"mode": mode, "axis": axis}
    only(form, 8, {"data": x, "indices": indices, "updates": updates}, static, wanted)


@few
@given(data=st.data())
def test_exclusive_cumsum_leaves_the_element_out(data: st.DataObject) -> None:
    x = cases.integers(data.draw, cases.shapes(data.draw))
    axis, reverse = data.draw(st.integers(-1, x.ndim - 1)), data.draw(st.booleans())
    ordered = np.flip(x, axis) if reverse else x
    moved = np.moveaxis(ordered, axis, 0)
    running = np.stack([moved[:index].sum(0) for index in range(len(moved))]).astype(np.int32)
    wanted = np.moveaxis(running, 0, axis)
    wanted = np.flip(wanted, axis) if reverse else wanted
    only("cumsum", 8, {"x": x}, {"axis": axis, "exclusive": True, "reverse": reverse}, wanted)


def test_interleaved_concat_takes_slices_in_turn() -> None:
    """The example of the op's documentation; coremltools' folding ignores `interleave`."""
    first, second = np.array([[1, 2], [3, 4], [5, 6]], np.int32), np.array([[7, 8], [9, 10], [11, 12]], np.int32)
    wanted = np.array([[1, 2], [7, 8], [3, 4], [9, 10], [5, 6], [11, 12]], np.int32)
    only("concat", 8, {"values": (first, second)}, {"axis": 0, "interleave": True}, wanted)


def test_squeeze_leaves_axes_that_are_not_one() -> None:
    x = np.arange(6, dtype=np.int32).reshape(1, 2, 1, 3)
    only("squeeze", 8, {"x": x}, {"axes": [0, 1]}, x.reshape(2, 1, 3))


def test_topk_minus_one_sorts_everything_and_may_leave_positions_out() -> None:
    x = np.array([3, 1, 2], np.int32)
    result = run_op("topk", 8, {"x": x}, {"k": -1, "return_indices": False}, [("int32", (3,))])
    np.testing.assert_array_equal(result.outputs["result_0"], [3, 2, 1])


def test_a_negative_index_counts_from_the_end_until_ios17_and_is_refused_from_then_on() -> None:
    x, indices = np.array([1, 2, 3], np.float32), np.array([-1], np.int32)
    only("gather", 6, {"x": x, "indices": indices}, {}, np.array([3], np.float32))
    for form in ("gather", "gather_along_axis"):
        with pytest.raises(BrokenEvidence, match=rf"{form} .*indices in"):
            run_op(form, 7, {"x": x, "indices": indices}, {}, [("float32", (1,))])
    with pytest.raises(BrokenEvidence, match=r"gather_nd .*indices in"):
        run_op("gather_nd", 7, {"x": x, "indices": indices}, {}, [("float32", ())])


@pytest.mark.parametrize("opset", [5, 6])
@pytest.mark.parametrize("form", ["scatter", "scatter_along_axis", "scatter_nd"])
def test_a_negative_index_of_a_scatter_is_not_modelled_before_ios17(form: str, opset: int) -> None:
    """Its text there leaves open whether it counts from the end: neither a number nor broken evidence."""
    x, updates = np.array([1, 2, 3], np.float32), np.array([5], np.float32)

    def run(index: int, opset: int) -> Array:
        indices = np.array([[index]] if form == "scatter_nd" else [index], np.int32)
        given = {"data": x, "indices": indices, "updates": updates}
        return run_op(form, opset, given, {"mode": "update"}, [("float32", (3,))]).outputs["result_0"]

    for index in (-1, -3):
        with pytest.raises(UnsupportedOp, match=rf"op {form}: a negative index \({index}\) before CoreML7"):
            run(index, opset)
        with pytest.raises(BrokenEvidence, match=r"indices in"):
            run(index, 7)
    with pytest.raises(BrokenEvidence, match=r"indices in"):
        run(3, opset)
    np.testing.assert_array_equal(run(0, opset), [5, 2, 3])


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ([0, -1], (3, 8)),
        ([0, 0, -1], (2, 3, 4)),
        ([-1, 0], (6, 4)),
        ([6, 0], (6, 4)),
        ([0, 0, 0, 0], (1, 2, 3, 4)),
        ([1, 0, -1, 0], (1, 2, 3, 4)),
        ([0, 0, 0, 0, -1], (1, 1, 2, 3, 4)),
        ([0, 5], None),
        ([0], None),
    ],
)
def test_zeros_of_a_reshape_count_from_the_last_dimension_from_ios17(
    shape: list[int], wanted: tuple[int, ...] | None
) -> None:
    x = np.arange(24, dtype=np.int32).reshape(2, 3, 4)
    if wanted is None:
        with pytest.raises(BrokenEvidence, match=r"reshape .*cannot be executed"):
            run_op("reshape", 7, {"x": x}, {"shape": shape}, [("int32", (24,))])
        return
    # coremltools' own folding and typing say the same
    ((value, (_, declared)),) = by_coremltools("reshape", 7, {"x": x, "shape": shape})
    assert declared == wanted
    np.testing.assert_array_equal(value, x.reshape(wanted))
    for operands, static in (({"x": x}, {"shape": shape}), ({"x": x, "shape": np.array(shape, np.int32)}, {})):
        result = run_op("reshape", 7, operands, static, [("int32", wanted)])
        assert result.findings.clean
        np.testing.assert_array_equal(result.outputs["result_0"], value)
    if len(shape) != 3:
        with pytest.raises(BrokenEvidence, match=r"a size of 0 in .* for a tensor of rank 3"):
            run_op("reshape", 6, {"x": x}, {"shape": shape}, [("int32", wanted)])


def test_a_package_whose_reshape_has_zeros_runs(zoo: Zoo) -> None:
    @mb.program(input_specs=[mb.TensorSpec((2, 3, 4), dtype=types.fp16)], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        return mb.reshape(x=x, shape=[0, -1], name="y")

    model = ct.convert(program, skip_model_load=True, minimum_deployment_target=ct.target.iOS17)
    opened = zoo.opened("reshape_zeros", model)
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    result = Interpreter(opened).run({"x": x})
    assert result.findings.clean
    (found,) = result.outputs.values()
    np.testing.assert_array_equal(found, x.reshape(3, 8))


def test_erf_is_exact_to_float32() -> None:
    x = np.concatenate([np.linspace(-6, 6, 4001), np.logspace(-30, 0, 300)]).astype(np.float32)
    wanted = np.array([math.erf(value) for value in x], np.float32)
    (found,) = run_op("erf", 8, {"x": x}, {}, [("float32", x.shape)]).outputs.values()
    np.testing.assert_array_max_ulp(found, wanted, 1)


@pytest.mark.parametrize("op_type", ["quantize", "dequantize"])
@few
@given(data=st.data())
def test_run_time_quantization_is_coremltools_s(op_type: str, data: st.DataObject) -> None:
    draw = data.draw
    shape, kind = cases.shapes(draw), draw(st.sampled_from([np.int8, np.uint8]))
    axis = cases.axis_of(draw, len(shape))
    static: dict[str, object] = {}
    per_axis = draw(st.booleans())
    sizes = (shape[axis],) if per_axis else ()
    if per_axis:
        static["axis"] = axis
    static["scale"] = np.float32(0.25) if not sizes else cases.positive(draw, sizes)
    if draw(st.booleans()):
        zero = np.abs(cases.integers(draw, sizes)).astype(kind)
        static["zero_point"] = zero if sizes else kind(zero)
    if op_type == "quantize":
        static["output_dtype"] = np.dtype(kind).name
        x: Array = cases.floats(draw, shape, 20)
    else:
        x = np.abs(cases.integers(draw, shape)).astype(kind)
    ((value, kindly),) = by_coremltools(op_type, 8, {"input": x, **static})
    if value.dtype == object:
        value = dequantized(x, static, axis)
    result = run_op(op_type, 8, {"input": x}, static, [kindly])
    assert result.findings.mismatches == ()
    np.testing.assert_allclose(result.outputs["result_0"], value, rtol=1e-6)


def dequantized(x: Array, static: dict[str, object], axis: int) -> Array:
    """scale · (x - zero point), element by element."""
    found = np.empty(x.shape, np.float32)
    scale, zero = np.asarray(static["scale"]), np.asarray(static.get("zero_point", 0))
    for place in np.ndindex(*x.shape):
        at = place[axis] if scale.ndim else ()
        found[place] = scale[at] * (float(x[place]) - float(zero[at] if zero.ndim else zero))
    return found


@few
@given(data=st.data())
def test_non_zero_is_pytorch_s(data: st.DataObject) -> None:
    x = cases.floats(data.draw, (3, 4)) * cases.booleans(data.draw, (3, 4))
    wanted = torch.nonzero(torch.from_numpy(x)).numpy()
    only("non_zero", 8, {"x": x.astype(np.float32)}, {}, wanted.astype(np.int32))


def test_a_package_goes_on_with_as_many_as_there_are(zoo: Zoo) -> None:
    """The number of rows is not known before the program runs: its types say so, and what follows takes them all."""

    @mb.program(input_specs=[mb.TensorSpec((2, 3), dtype=types.fp32)], opset_version=ct.target.iOS17)
    def program(x: Any) -> Any:
        places = mb.non_zero(x=x)
        return mb.reduce_sum(x=mb.cast(x=places, dtype="fp32"), axes=[0], keep_dims=False, name="y")

    model = ct.convert(program, skip_model_load=True, minimum_deployment_target=ct.target.iOS17)
    opened = zoo.opened("non_zero", model)
    for x in (np.array([[0, 1, 0], [2, 0, 3]], np.float32), np.zeros((2, 3), np.float32)):
        (found,) = Interpreter(opened).run({"x": x}).outputs.values()
        np.testing.assert_array_equal(found, np.argwhere(x).sum(0))
