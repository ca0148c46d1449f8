"""Every op agrees with coremltools' own constant folding in value, and with its type inference in shape and dtype."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.mil.ops.registry import REGISTRY
from tests.tensor.mil import cases, shape_cases
from tests.tensor.mil.cases import Case, Draw
from tests.tensor.mil.support import by_coremltools, parameters, run_op

LATEST = (8,)
EVERY = (5, 8)

#: ops, their operands, the opsets to try
ROWS: list[tuple[str, Callable[[Draw], Case], tuple[int, ...]]] = [
    ("atan ceil cos cosh erf exp exp2 floor round sin sinh tan tanh", cases.unary, EVERY),
    ("relu relu6 sigmoid softplus softsign", cases.unary, EVERY),
    ("acos asin atanh", cases.unary_unit, EVERY),
    ("sqrt", cases.unary_positive, EVERY),
    ("abs sign square", cases.unary_number, EVERY),
    ("inverse log rsqrt", cases.with_epsilon, EVERY),
    ("elu leaky_relu thresholded_relu threshold", cases.with_alpha, EVERY),
    ("clip clamped_relu linear_activation scaled_tanh sigmoid_hard", cases.with_alpha_beta, EVERY),
    ("identity shape", cases.unary_anything, EVERY),
    ("logical_not", cases.unary_bool, EVERY),
    ("prelu", cases.prelu, EVERY),
    ("softplus_parametric", cases.softplus_parametric, EVERY),
    ("gelu", cases.gelu, EVERY),
    ("cast", cases.cast, LATEST),
    ("add sub mul maximum minimum", cases.binary, EVERY),
    ("equal not_equal less less_equal greater greater_equal", cases.binary, EVERY),
    ("floor_div mod", cases.binary_nonzero, EVERY),
    ("real_div", cases.division, EVERY),
    ("pow", cases.power, EVERY),
    ("logical_and logical_or logical_xor", cases.binary_bool, EVERY),
    ("select", cases.select, EVERY),
    ("reduce_mean reduce_l2_norm reduce_log_sum_exp", cases.reduction, EVERY),
    ("reduce_sum reduce_max reduce_min reduce_prod", cases.reduction_number, EVERY),
    ("reduce_l1_norm reduce_sum_square", cases.reduction_number, EVERY),
    ("reduce_log_sum", cases.reduction_positive, EVERY),
    ("reduce_argmax reduce_argmin", cases.arg, EVERY),
    ("cumsum", cases.cumsum, EVERY),
    ("argsort", cases.argsort, EVERY),
    ("topk", cases.topk, (7, 8)),
    ("linear", cases.linear, EVERY),
    ("matmul", cases.matmul, EVERY),
    ("einsum", cases.einsum, EVERY),
    ("softmax", cases.softmax, EVERY),
    ("layer_norm", cases.layer_norm, EVERY),
    ("l2_norm", cases.l2_norm, EVERY),
    ("scaled_dot_product_attention", cases.attention, LATEST),
    ("reshape", shape_cases.reshape, EVERY),
    ("transpose", shape_cases.transpose, EVERY),
    ("expand_dims", shape_cases.expand_dims, EVERY),
    ("squeeze", shape_cases.squeeze, EVERY),
    ("flatten2d", shape_cases.flatten2d, EVERY),
    ("concat", shape_cases.concat, EVERY),
    ("stack", shape_cases.stack, EVERY),
    ("split", shape_cases.split, EVERY),
    ("tile", shape_cases.tile, EVERY),
    ("reverse", shape_cases.reverse, EVERY),
    ("pad", shape_cases.pad, EVERY),
    ("fill", shape_cases.fill, EVERY),
    ("fill_like", shape_cases.fill_like, (6, 8)),
    ("range_1d", shape_cases.range_1d, EVERY),
    ("band_part", shape_cases.band_part, EVERY),
    ("slice_by_index", shape_cases.slice_by_index, EVERY),
    ("slice_by_size", shape_cases.slice_by_size, EVERY),
    ("slice_update", shape_cases.slice_update, LATEST),
    ("non_zero", cases.non_zero, EVERY),
    ("gather", shape_cases.gather, (5, 6, 8)),
    ("gather_batched", shape_cases.gather_batched, (6, 8)),
    ("gather_along_axis", shape_cases.gather_along_axis, EVERY),
]
TABLE = {name: (make, opsets) for names, make, opsets in ROWS for name in names.split()}

#: ops that coremltools cannot fold: other tests compare them with PyTorch, onnxruntime or their definition
ELSEWHERE = {
    *("silu", "conv", "one_hot", "gather_nd", "scatter", "scatter_along_axis", "scatter_nd", "quantize", "dequantize"),
    # test_spatial_ops.py
    *("batch_norm", "instance_norm", "local_response_norm", "max_pool", "avg_pool", "l2_pool", "conv_transpose"),
    *("depth_to_space", "space_to_depth", "pixel_shuffle", "pixel_unshuffle", "space_to_batch", "batch_to_space"),
    *("crop", "sliding_windows", "reverse_sequence"),
    *("upsample_nearest_neighbor", "resize_nearest_neighbor", "upsample_bilinear", "resize_bilinear", "resize"),
    *("resample", "affine"),
    # test_recurrent_ops.py
    *("lstm", "gru", "rnn"),
    # test_detection_ops.py
    *("crop_resize", "non_maximum_suppression"),
    # test_lists.py
    *("make_list", "list_length", "list_write", "list_read", "list_gather", "list_scatter"),
    # test_rare_ops.py
    *("conv_quantized", "reshape_like"),
}


def test_no_modelled_op_goes_without_a_comparison() -> None:
    compressed = {name for name, _ in REGISTRY if name.startswith("constexpr_")}
    assert {name for name, _ in REGISTRY} == (set(TABLE) - {"gather_batched"}) | ELSEWHERE | compressed


@pytest.mark.parametrize(("name", "since"), sorted(REGISTRY))
def test_parameters_are_the_ones_of_the_op_set(name: str, since: int) -> None:
    """In every opset an op takes exactly the parameters coremltools defines for it there."""
    following = min([first for other, first in REGISTRY if other == name and first > since], default=10)
    op = REGISTRY[name, since]
    for opset in range(since, following):
        known = {*op.tensors, *op.static, *op.ignores}
        assert {item for item in known if op.added.get(item, 0) <= opset} == parameters(name, opset)


@pytest.mark.parametrize("name", sorted(TABLE))
@settings(max_examples=30, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_value_shape_and_dtype_agree_with_coremltools(name: str, data: st.DataObject) -> None:
    make, opsets = TABLE[name]
    case = make(data.draw)
    opset = data.draw(st.sampled_from(opsets))
    op_type = name.removesuffix("_batched")
    if op_type == "cumsum" and case.static.get("exclusive"):
        # coremltools' folding of exclusive sums raises; the definition is tested in test_ops_other.py
        del case.static["exclusive"]
    wanted = by_coremltools(op_type, opset, {**case.dynamic, **case.static})
    result = run_op(op_type, opset, case.dynamic, case.static, [kind for _, kind in wanted])
    assert result.findings.mismatches == ()
    for (value, (dtype, shape)), found in zip(wanted, result.outputs.values(), strict=True):
        assert found.shape == shape
        if dtype.startswith("float"):
            np.testing.assert_allclose(found, value.astype(np.float32), rtol=2e-5, atol=2e-6)
        else:
            np.testing.assert_array_equal(found, value.astype(found.dtype))


def narrowed(value: object) -> object:
    """float32 operands as float16 ones."""
    if isinstance(value, tuple):
        return tuple(narrowed(item) for item in value)
    is_wide = isinstance(value, np.ndarray | np.generic) and value.dtype == np.float32
    return value.astype(np.float16) if is_wide else value  # type: ignore[union-attr]


@pytest.mark.parametrize("name", sorted(set(TABLE) - {"cast", "range_1d"}))
@settings(max_examples=10, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_a_float16_result_is_the_float32_one_rounded_once(name: str, data: st.DataObject) -> None:
    """Also for ops that are not rounded because they only move elements."""
    make, opsets = TABLE[name]
    case = make(data.draw)
    op_type = name.removesuffix("_batched")
    if op_type == "cumsum":
        case.static.pop("exclusive", None)
    dynamic = {key: narrowed(value) for key, value in case.dynamic.items()}
    static = {key: narrowed(value) for key, value in case.static.items()}
    kinds = [kind for _, kind in by_coremltools(op_type, opsets[-1], {**dynamic, **static})]
    wide = run_op(op_type, opsets[-1], dynamic, static, kinds)
    narrow = run_op(op_type, opsets[-1], dynamic, static, kinds, mode="fp16_round")
    assert narrow.findings.mismatches == ()
    for found, exact, (dtype, _) in zip(narrow.outputs.values(), wide.outputs.values(), kinds, strict=True):
        wanted = exact.astype(np.float16).astype(np.float32) if dtype == "float16" else exact
        np.testing.assert_array_equal(found, wanted)


FLEXIBLE = {name for (name, _), op in REGISTRY.items() if any(domain.flexible for domain in op.tensors.values())}


@pytest.mark.parametrize("name", sorted(FLEXIBLE & set(TABLE)))
@settings(max_examples=15, derandomize=True, deadline=None, database=None)
@given(data=st.data())
def test_sizes_and_positions_may_be_computed(name: str, data: st.DataObject) -> None:
    """What a constant shape, begin or end gives, the same values arriving at run time give."""
    make, opsets = TABLE[name]
    case = make(data.draw)
    op = REGISTRY[name, min(since for known, since in REGISTRY if known == name)]
    computed = {
        key: np.asarray(value, dtype=np.int32)
        for key, value in case.static.items()
        if key in op.tensors and op.tensors[key].flexible
    }
    rest = {key: value for key, value in case.static.items() if key not in computed}
    kinds = [kind for _, kind in by_coremltools(name, opsets[-1], {**case.dynamic, **case.static})]
    constant = run_op(name, opsets[-1], case.dynamic, case.static, kinds)
    late = run_op(name, opsets[-1], {**case.dynamic, **computed}, rest, kinds)
    for found, wanted in zip(late.outputs.values(), constant.outputs.values(), strict=True):
        np.testing.assert_array_equal(found, wanted)
