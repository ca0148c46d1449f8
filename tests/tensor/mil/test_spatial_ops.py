"""Ops over space and sequences agree with PyTorch, or with their definition written as a loop; coremltools folds none."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import event, given, settings
from hypothesis import strategies as st

from runtime.mil.errors import UnsupportedOp
from runtime.mil.numerics import Array
from tests.longer import LONG
from tests.tensor.mil import cases
from tests.tensor.mil.cases import Draw
from tests.tensor.mil.support import declared_by_coremltools, run_op, same, tensors

F = torch.nn.functional
few = settings(max_examples=100 if LONG else 8, derandomize=True, deadline=None, database=None)


# --- norms -------------------------------------------------------------------------------------------------------


def channelled(draw: Draw, ranks: tuple[int, int] = (3, 5)) -> Array:
    return cases.floats(
        draw, (draw(st.integers(1, 3)), draw(st.integers(1, 4)), *cases.shapes(draw, ranks[0] - 2, ranks[1] - 2))
    )


@few
@given(data=st.data())
def test_batch_norm_is_pytorch_s(data: st.DataObject) -> None:
    draw, opset = data.draw, data.draw(st.sampled_from([5, 8]))
    x = channelled(draw)
    size = (x.shape[1],)
    mean, variance = cases.floats(draw, size), cases.positive(draw, size)
    scale = cases.optional(draw, {"gamma": cases.floats(draw, size), "beta": cases.floats(draw, size)})
    epsilon = draw(st.sampled_from([None, 1e-2]))
    static = {"mean": mean, "variance": variance, **scale}
    static |= {} if epsilon is None else {"epsilon": np.float32(epsilon)}
    given_ = tensors(x, mean, variance, scale.get("gamma"), scale.get("beta"))
    same("batch_norm", opset, {"x": x}, static, F.batch_norm(*given_, eps=epsilon or 1e-5))  # type: ignore[arg-type]


@few
@given(data=st.data())
def test_instance_norm_is_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    x = channelled(draw, (4, 4))
    if x.shape[2] * x.shape[3] == 1:
        x = np.concatenate([x, x + 1], axis=2)
    size = (x.shape[1],)
    scale = cases.optional(draw, {"gamma": cases.floats(draw, size), "beta": cases.floats(draw, size)})
    given_ = tensors(scale.get("gamma"), scale.get("beta"))
    wanted = F.instance_norm(torch.from_numpy(x), None, None, *given_, eps=1e-3)
    same("instance_norm", 8, {"x": x}, {**scale, "epsilon": np.float32(1e-3)}, wanted)


@few
@given(data=st.data())
def test_local_response_norm_is_pytorch_s(data: st.DataObject) -> None:
    x, size = channelled(data.draw, (4, 4)), data.draw(st.sampled_from([1, 3, 5]))
    wanted = F.local_response_norm(torch.from_numpy(x), size, 0.3, 0.6, 1.5)
    static = {"size": size, "alpha": np.float32(0.3), "beta": np.float32(0.6), "k": np.float32(1.5)}
    same("local_response_norm", 8, {"x": x}, static, wanted)


def test_parameters_may_have_another_dtype_from_ios17_on() -> None:
    x = np.ones((1, 2, 3), np.float16)
    static = {"mean": np.zeros(2, np.float32), "variance": np.ones(2, np.float32), "epsilon": np.float32(0)}
    for opset, mismatches in ((6, 1), (7, 0)):
        found = run_op("batch_norm", opset, {"x": x}, static, [("float16", x.shape)])
        assert len(found.findings.mismatches) == mismatches


# --- pools -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op_type", ["max_pool", "avg_pool", "l2_pool"])
@few
@given(data=st.data())
def test_a_pool_is_pytorch_s(op_type: str, data: st.DataObject) -> None:
    draw = data.draw
    rank = draw(st.integers(1, 2 if op_type == "l2_pool" else 3))
    kernel = [draw(st.integers(1, 3)) for _ in range(rank)]
    strides = [draw(st.integers(1, 3)) for _ in range(rank)]
    ceil = rank < 3 and draw(st.booleans())
    pads = [0 if op_type == "l2_pool" else draw(st.integers(0, length // 2)) for length in kernel]
    sizes = [length + draw(st.integers(0, 4)) for length in kernel]
    x = cases.floats(draw, (draw(st.integers(1, 2)), draw(st.integers(1, 3)), *sizes))
    static: dict[str, Any] = {"kernel_sizes": kernel, "strides": strides, "pad_type": "custom", "ceil_mode": ceil}
    static["pad"] = [amount for amount in pads for _ in range(2)]
    tensor = torch.from_numpy(x)
    if op_type == "max_pool":
        pool = [F.max_pool1d, F.max_pool2d, F.max_pool3d][rank - 1]
        wanted = pool(tensor, kernel, strides, pads, ceil_mode=ceil)
    elif op_type == "avg_pool":
        static["exclude_padding_from_average"] = exclude = draw(st.booleans())
        average = [F.avg_pool1d, F.avg_pool2d, F.avg_pool3d][rank - 1]
        wanted = average(tensor, kernel, strides, pads, ceil, not exclude)
    else:
        if ceil:
            static["ceil_mode"] = ceil = False
        norm = [F.lp_pool1d, F.lp_pool2d][rank - 1]
        wanted = norm(tensor, 2.0, kernel if rank > 1 else kernel[0], strides if rank > 1 else strides[0])
    kinds = declared_by_coremltools(op_type, 8, {"x": x}, static)
    if kinds[0][1] != tuple(wanted.shape):
        # without padding PyTorch drops a window behind the data, MIL's definition does not: it holds nothing
        assert ceil
        with pytest.raises(UnsupportedOp, match="a window holds no element"):
            run_op(op_type, 8, {"x": x}, static, kinds)
    else:
        same(op_type, 8, {"x": x}, static, wanted)


@pytest.mark.parametrize(
    ("pad_type", "means", "alone"),
    [
        ("valid", [1.5, 3.5], [1.5, 3.5]),
        ("same", [1.5, 3.5, 2.5], [1.5, 3.5, 5]),
        ("same_lower", [0.5, 2.5, 4.5], [1, 2.5, 4.5]),
    ],
)
def test_a_pool_pads_an_odd_element_after_the_data_or_before_it(
    pad_type: str, means: list[float], alone: list[float]
) -> None:
    x = np.array([[[1, 2, 3, 4, 5]]], np.float32)
    for exclude, wanted in ((False, means), (True, alone)):
        static = {"kernel_sizes": [2], "strides": [2], "pad_type": pad_type, "exclude_padding_from_average": exclude}
        same("avg_pool", 8, {"x": x}, static, torch.tensor([[wanted]]))


def test_a_pool_that_is_not_defined_is_refused() -> None:
    x = np.ones((1, 1, 4, 4, 4), np.float32)
    # one window more than PyTorch's, by MIL's text, and it starts behind the data
    behind = {"kernel_sizes": [1], "strides": [3], "pad_type": "valid", "ceil_mode": True}
    short = {"x": x[0, :, 0, :, :2]}
    kinds = declared_by_coremltools("max_pool", 8, short, behind)
    with pytest.raises(UnsupportedOp, match="max_pool: a window holds no element"):
        run_op("max_pool", 8, short, behind, kinds)
    pooled = {"kernel_sizes": [2] * 3, "pad_type": "valid", "ceil_mode": True}
    with pytest.raises(UnsupportedOp, match="ceil_mode with 3 dimensions"):
        run_op("max_pool", 8, {"x": x}, pooled, [("float32", (1, 1, 3, 3, 3))])
    outside = {"kernel_sizes": [1], "pad_type": "custom", "pad": [1, 1]}
    for name, more in (("max_pool", {}), ("avg_pool", {"exclude_padding_from_average": True})):
        with pytest.raises(UnsupportedOp, match=f"{name}: a window holds no element"):
            run_op(name, 8, {"x": x[0, :, 0]}, {**outside, **more}, [("float32", (1, 4, 6))])
    with pytest.raises(UnsupportedOp, match="pad_type 'full'"):
        run_op("max_pool", 8, {"x": x}, {"kernel_sizes": [2] * 3, "pad_type": "full"}, [("float32", x.shape)])


# --- transposed convolution --------------------------------------------------------------------------------------


@pytest.mark.parametrize("rank", [1, 2, 3])
@few
@given(data=st.data())
def test_conv_transpose_is_pytorch_s(rank: int, data: st.DataObject) -> None:
    draw = data.draw
    groups, per_in, per_out = (draw(st.integers(1, 3)) for _ in range(3))
    kernel, strides, dilations = ([draw(st.integers(1, 3)) for _ in range(rank)] for _ in range(3))
    x = cases.floats(draw, (draw(st.integers(1, 2)), groups * per_in, *(draw(st.integers(1, 3)) for _ in range(rank))))
    weight = cases.floats(draw, (groups * per_in, per_out, *kernel))
    bias = cases.floats(draw, (groups * per_out,))
    convolve = [F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d][rank - 1]
    whole = convolve(*tensors(x, weight, bias), strides, 0, 0, groups, dilations)  # type: ignore[arg-type]
    pads = [min(draw(st.integers(0, 1)), (size - 1) // 2) for size in whole.shape[2:] for _ in range(2)]
    cut = tuple(slice(pads[2 * axis], size - pads[2 * axis + 1]) for axis, size in enumerate(whole.shape[2:]))
    static = {"weight": weight, "bias": bias, "strides": strides, "dilations": dilations, "groups": groups}
    form = {"pad_type": "custom", "pad": pads}
    same("conv_transpose", 8, {"x": x}, {**static, **form}, whole[(slice(None), slice(None), *cut)])


@few
@given(data=st.data())
def test_same_conv_transpose_is_the_gradient_of_a_same_conv(data: st.DataObject) -> None:
    draw = data.draw
    length, stride, size = (draw(st.integers(1, high)) for high in (4, 3, 4))
    weight = cases.floats(draw, (2, 3, length))
    x = cases.floats(draw, (1, 2, size))
    wanted_size = size * stride - draw(st.integers(0, stride - 1))
    total = max(0, (size - 1) * stride + length - wanted_size)
    data_, filters = torch.zeros(1, 3, wanted_size, requires_grad=True), torch.from_numpy(weight)
    padded = F.pad(data_, (total // 2, total - total // 2))
    F.conv1d(padded, filters, stride=stride).backward(torch.from_numpy(x))
    assert data_.grad is not None
    static: dict[str, Any] = {"weight": weight, "pad_type": "same", "strides": [stride]}
    if wanted_size != size * stride or draw(st.booleans()):
        static["output_shape"] = [1, 3, wanted_size]
    same("conv_transpose", 8, {"x": x}, static, data_.grad)


def test_conv_transpose_refuses_what_its_text_leaves_open() -> None:
    x, weight = np.ones((1, 1, 3), np.float32), np.ones((1, 1, 2), np.float32)
    for static in ({"pad_type": "same_lower"}, {"pad_type": "valid", "output_shape": [1, 1, 5]}):
        with pytest.raises(UnsupportedOp, match="conv_transpose"):
            run_op("conv_transpose", 8, {"x": x}, {"weight": weight, **static}, [("float32", (1, 1, 5))])


# --- rearranging -------------------------------------------------------------------------------------------------


@few
@given(data=st.data())
def test_pixel_ops_are_pytorch_s_and_undo_each_other(data: st.DataObject) -> None:
    draw, factor = data.draw, data.draw(st.integers(1, 3))
    batch, channels, height, width = (draw(st.integers(1, 3)) for _ in range(4))
    x = cases.floats(draw, (batch, channels * factor**2, height, width))
    wide = F.pixel_shuffle(torch.from_numpy(x), factor)
    same("pixel_shuffle", 5, {"x": x}, {"upscale_factor": factor}, wide)
    back = run_op("pixel_unshuffle", 6, {"x": wide.numpy()}, {"downscale_factor": factor}, [("float32", x.shape)])
    np.testing.assert_array_equal(back.outputs["result_0"], x)


@few
@given(data=st.data())
def test_depth_and_space_follow_their_definition(data: st.DataObject) -> None:
    """TensorFlow's: channel (row of the block, column of the block, channel)."""
    draw, block = data.draw, data.draw(st.integers(1, 3))
    batch, channels, height, width = (draw(st.integers(1, 3)) for _ in range(4))
    space = cases.floats(draw, (batch, channels, height * block, width * block))
    depth = np.empty((batch, channels * block**2, height, width), np.float32)
    for n, c, h, w in np.ndindex(*space.shape):
        at = (h % block * block + w % block) * channels + c
        depth[n, at, h // block, w // block] = space[n, c, h, w]
    same("space_to_depth", 8, {"x": space}, {"block_size": block}, torch.from_numpy(depth))
    same("depth_to_space", 8, {"x": depth}, {"block_size": block}, torch.from_numpy(space))


@few
@given(data=st.data())
def test_batch_and_space_follow_their_definition(data: st.DataObject) -> None:
    draw = data.draw
    down, right, batch, channels, high, wide = (draw(st.integers(1, 3)) for _ in range(6))
    cut = [[draw(st.integers(0, min(1, (size - 1) // 2))) for _ in range(2)] for size in (high * down, wide * right)]
    height, width = high * down - sum(cut[0]), wide * right - sum(cut[1])
    space = cases.floats(draw, (batch, channels, height, width))
    folded = np.zeros((down * right * batch, channels, high, wide), np.float32)
    for n, c, h, w in np.ndindex(*space.shape):
        row, column = h + cut[0][0], w + cut[1][0]
        at = (row % down * right + column % right) * batch + n
        folded[at, c, row // down, column // right] = space[n, c, h, w]
    shape, edges = np.array([down, right], np.int32), np.array(cut, np.int32)
    same("space_to_batch", 8, {"x": space}, {"block_shape": shape, "paddings": edges}, torch.from_numpy(folded))
    same("batch_to_space", 8, {"x": folded}, {"block_shape": shape, "crops": edges}, torch.from_numpy(space))


@few
@given(data=st.data())
def test_windows_crops_and_reversed_sequences_follow_their_definition(data: st.DataObject) -> None:
    draw = data.draw
    x = cases.floats(draw, cases.shapes(draw, 3, 4))
    axis = cases.axis_of(draw, x.ndim)
    size, stride = draw(st.integers(1, x.shape[axis])), draw(st.integers(1, 3))
    tensor = torch.from_numpy(x)
    windows = tensor.unfold(axis, size, stride).movedim(-1, axis % x.ndim + 1)
    same("sliding_windows", 8, {"x": x}, {"axis": axis, "size": size, "stride": stride}, windows)
    wide = F.pad(tensor, (1, 2, 2, 0))
    edges = {"crop_height": np.array([2, 0], np.int32), "crop_width": np.array([1, 2], np.int32)}
    same("crop", 8, {"x": wide.numpy()}, edges, tensor)
    seq, batch = draw(st.permutations(range(x.ndim)))[:2]
    lengths = cases.integers(draw, (x.shape[batch],), 0, x.shape[seq])
    wanted = tensor.clone()
    for row, last in enumerate(lengths):
        part = wanted.select(batch, row).narrow(seq - (seq > batch), 0, int(last))
        part.copy_(part.flip(seq - (seq > batch)))
    same("reverse_sequence", 8, {"x": x, "lengths": lengths}, {"seq_axis": seq, "batch_axis": batch}, wanted)


# --- resizing ----------------------------------------------------------------------------------------------------


def image(draw: Draw) -> tuple[Array, int, int]:
    """x_NCHW and two sizes."""
    return cases.floats(draw, (1, 2, draw(st.integers(1, 5)), draw(st.integers(1, 5)))), *(
        draw(st.integers(1, 9)) for _ in "hw"
    )


@few
@given(data=st.data())
def test_bilinear_sampling_is_pytorch_s(data: st.DataObject) -> None:
    x, height, width = image(data.draw)
    tensor = torch.from_numpy(x)
    for aligned, mode in ((True, "STRICT_ALIGN_CORNERS"), (False, "UNALIGN_CORNERS")):
        wanted = F.interpolate(tensor, (height, width), mode="bilinear", align_corners=aligned)
        sizes = {"target_size_height": height, "target_size_width": width}
        same("resize_bilinear", 8, {"x": x}, {**sizes, "sampling_mode": mode}, wanted)
        shape = np.array([height, width], np.int32)
        static = {"shape": shape, "resized_dims": np.uint32(2), "sampling_mode": mode}
        same("resize", 8, {"x": x}, static, wanted)
        factors = {
            "scale_factor_height": np.float32(height / x.shape[2]),
            "scale_factor_width": np.float32(width / x.shape[3]),
        }
        declared = declared_by_coremltools("upsample_bilinear", 8, {"x": x}, {**factors, "align_corners": aligned})
        if declared[0][1] == wanted.shape:
            same("upsample_bilinear", 8, {"x": x}, {**factors, "align_corners": aligned}, wanted)


@pytest.mark.parametrize(
    ("mode", "wanted", "points"),
    [
        ("UNALIGN_CORNERS", 5, [0.0, 0.1, 0.5, 0.9, 1.0]),
        ("STRICT_ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("ALIGN_CORNERS", 5, [0.0, 0.25, 0.5, 0.75, 1.0]),
        ("DEFAULT", 5, [0.0, 0.4, 0.8, 1.0, 1.0]),
        ("OFFSET_CORNERS", 5, [0.1, 0.3, 0.5, 0.7, 0.9]),
        ("DEFAULT", 6, [0.0, 1 / 3, 2 / 3, 1.0, 1.0, 1.0]),
        ("OFFSET_CORNERS", 6, [1 / 12, 3 / 12, 5 / 12, 7 / 12, 9 / 12, 11 / 12]),
        ("ALIGN_CORNERS", 1, [0.5]),
        ("STRICT_ALIGN_CORNERS", 1, [0.0]),
    ],
)
def test_sampling_modes_are_the_documented_examples(mode: str, wanted: int, points: list[float]) -> None:
    x = np.array([[[0, 1]]], np.float32)
    static = {"target_size_height": 1, "target_size_width": wanted, "sampling_mode": mode}
    same("resize_bilinear", 8, {"x": x}, static, torch.tensor([[points]]))


@few
@given(data=st.data())
def test_the_nearest_element_is_pytorch_s_or_refused(data: st.DataObject) -> None:
    """Refused where readings of an undocumented rule differ; whole factors never are."""
    x, *_ = image(data.draw)
    high, wide = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 3))
    tensor = torch.from_numpy(x)
    sizes = (x.shape[2] * high, x.shape[3] * wide)
    wanted = F.interpolate(tensor, sizes, mode="nearest")
    same("upsample_nearest_neighbor", 8, {"x": x}, {"scale_factor_height": high, "scale_factor_width": wide}, wanted)
    targets = {"target_size_height": sizes[0], "target_size_width": sizes[1]}
    same("resize_nearest_neighbor", 8, {"x": x}, targets, wanted)
    shape = {"shape": np.array(sizes, np.int32), "resized_dims": np.uint32(2)}
    same("resize", 8, {"x": x}, {**shape, "interpolation_mode": "NEAREST_NEIGHBOR"}, wanted)
    scale = np.float32(data.draw(st.sampled_from([0.5, 1.5, 2.5, 0.75])))
    factors = {"scale_factor_height": scale, "scale_factor_width": scale}
    kinds = declared_by_coremltools("upsample_nearest_neighbor", 8, {"x": x}, factors)
    if 0 in kinds[0][1]:
        return
    try:
        found = run_op("upsample_nearest_neighbor", 8, {"x": x}, factors, kinds)
    except UnsupportedOp as error:
        event(f"refused: {error}")
        return
    for recompute in (True, False):
        wanted = F.interpolate(tensor, scale_factor=float(scale), mode="nearest", recompute_scale_factor=recompute)
        np.testing.assert_array_equal(found.outputs["result_0"], wanted.numpy())


def test_sampling_that_is_not_documented_is_refused() -> None:
    x = np.ones((1, 1, 4, 4), np.float32)
    targets = {"target_size_height": 2, "target_size_width": 2}
    with pytest.raises(UnsupportedOp, match="of 4 to 2 elements"):
        run_op("resize_nearest_neighbor", 8, {"x": x}, targets, [("float32", (1, 1, 2, 2))])
    both = {"align_corners": True, "half_pixel_centers": True}
    with pytest.raises(UnsupportedOp, match="aligned corners and half-pixel centres"):
        run_op("upsample_bilinear", 8, {"x": x}, both, [("float32", x.shape)])
    with pytest.raises(UnsupportedOp, match="sampling mode 'HALF'"):
        run_op("resize_bilinear", 8, {"x": x}, {**targets, "sampling_mode": "HALF"}, [("float32", (1, 1, 2, 2))])


# --- sampling at coordinates -------------------------------------------------------------------------------------


@few
@given(data=st.data())
def test_resample_is_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    x = cases.floats(draw, (2, 2, draw(st.integers(1, 4)), draw(st.integers(1, 4))))
    grid = cases.floats(draw, (2, draw(st.integers(1, 3)), draw(st.integers(1, 3)), 2), 1.5)
    sampling, aligned = draw(st.sampled_from(["bilinear", "nearest"])), draw(st.booleans())
    theirs, ours = draw(st.sampled_from([("zeros", "constant"), ("border", "border"), ("reflection", "")]))
    static: dict[str, Any] = {
        "sampling_mode": sampling,
        # the edge is repeated where corners are edges of elements
        "padding_mode": ours or ("reflection" if aligned else "symmetric"),
        "padding_value": np.float32(0),
        "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": aligned,
    }
    tensor, places = torch.from_numpy(x), torch.from_numpy(grid)
    wanted = F.grid_sample(tensor, places, sampling, theirs, aligned)
    same("resample", 8, {"x": x, "coordinates": grid}, static, wanted)
    halves = {**static, "coordinates_mode": "normalized_zero_to_one"}
    found = run_op("resample", 8, {"x": x, "coordinates": (grid + 1) / 2}, halves, [("float32", tuple(wanted.shape))])
    # a place may fall on another side of a middle where coordinates are halved
    if sampling == "bilinear":
        np.testing.assert_allclose(found.outputs["result_0"], wanted.numpy(), rtol=1e-4, atol=1e-5)


def test_resample_takes_whole_coordinates_and_a_value_outside() -> None:
    x = np.array([[[[1, 2], [3, 4]]]], np.float32)
    static = {
        "sampling_mode": "bilinear",
        "padding_mode": "constant",
        "padding_value": np.float32(9),
        "coordinates_mode": "unnormalized",
        "align_corners": True,
    }
    places = np.array([[[[1, 0], [0, 1], [2, 0], [-1, -1]]]], np.int32)
    same("resample", 8, {"x": x, "coordinates": places}, static, torch.tensor([[[[2.0, 3, 9, 9]]]]))
    for name, value in (("padding_mode", "mirror"), ("sampling_mode", "cubic"), ("coordinates_mode", "percent")):
        wrong = {**static, name: value}
        with pytest.raises(UnsupportedOp, match=f"{name} '{value}' is not modelled"):
            run_op("resample", 8, {"x": x, "coordinates": places}, wrong, [("float32", (1, 1, 1, 4))])


@few
@given(data=st.data())
def test_affine_is_pytorch_s(data: st.DataObject) -> None:
    draw = data.draw
    x = cases.floats(draw, (2, 2, draw(st.integers(1, 4)), draw(st.integers(1, 4))))
    matrix = cases.floats(draw, (draw(st.sampled_from([1, 2])), 6), 0.7)
    height, width = draw(st.integers(2, 4)), draw(st.integers(2, 4))
    theta = torch.from_numpy(matrix).view(-1, 2, 3).expand(2, 2, 3)
    grid = F.affine_grid(theta, [2, 2, height, width], align_corners=True)
    wanted = F.grid_sample(torch.from_numpy(x), grid, align_corners=True)
    static = {
        "output_height": height,
        "output_width": width,
        "sampling_mode": "bilinear",
        "padding_mode": "constant",
        "padding_value": np.float32(0),
        "coordinates_mode": "normalized_minus_one_to_one",
        "align_corners": True,
    }
    same("affine", 8, {"x": x, "transform_matrix": matrix}, static, wanted)
    unlike = {**static, "align_corners": False}
    with pytest.raises(UnsupportedOp, match="affine with"):
        run_op("affine", 8, {"x": x, "transform_matrix": matrix}, unlike, [("float32", tuple(wanted.shape))])


def test_strict_rounding_reaches_every_composite_op() -> None:
    """`fp16_strict` differs from `fp16_round` where intermediate results are rounded."""
    draws = np.random.default_rng(3)
    x = (draws.normal(size=(1, 4, 6, 6)) * 3).astype(np.float16)
    row = draws.uniform(0.5, 2, size=4).astype(np.float16)
    ops: dict[str, dict[str, Any]] = {
        "batch_norm": {"mean": row, "variance": row, "gamma": row, "beta": row},
        "instance_norm": {"gamma": row, "beta": row},
        "local_response_norm": {"size": 3, "alpha": np.float16(0.5)},
        "avg_pool": {"kernel_sizes": [3, 3], "pad_type": "valid"},
        "l2_pool": {"kernel_sizes": [3, 3], "pad_type": "valid"},
        "softplus_parametric": {"alpha": row, "beta": row},
    }
    for name, static in ops.items():
        kinds = declared_by_coremltools(name, 8, {"x": x}, static)
        results = [
            run_op(name, 8, {"x": x}, static, kinds, mode).outputs["result_0"] for mode in ("fp16_round", "fp16_strict")
        ]
        assert not np.array_equal(*results), name
        np.testing.assert_allclose(*results, rtol=2e-2, atol=2e-2)
