"""Ops that few packages hold: a convolution of bytes, a shape taken of others, and what stays refused for good."""

from __future__ import annotations

from typing import Any

import coremltools as ct
import numpy as np
import pytest
import torch
from coremltools.converters.mil.mil import Builder as mb
from coremltools.converters.mil.mil import types
from coremltools.converters.mil.mil.ops.registry import SSAOpRegistry
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract import BrokenEvidence
from runtime.mil.census import modelled
from runtime.mil.errors import UnsupportedOp
from runtime.mil.interpreter import Interpreter
from runtime.mil.numerics import MODES
from runtime.mil.ops.registry import RANDOM
from tests.tensor.mil import cases
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.support import TARGETS, run_op, same

few = settings(max_examples=30, derandomize=True, deadline=None, database=None)


def test_every_op_of_coremltools_is_modelled_but_the_random_ones() -> None:
    """In every opset that it has it in, and in no earlier one."""
    for name, versions in SSAOpRegistry.core_ops.items():
        if name == "_const_symbolic":
            # of the converter's own programs; no package holds it
            continue
        first = min(opset for opset, target in TARGETS.items() if any(version <= target for version in versions))
        found = [opset for opset in TARGETS if modelled(name, f"CoreML{opset}")]
        assert found == ([] if name in RANDOM else list(range(first, 10))), name


@few
@given(data=st.data())
def test_a_quantized_conv_is_the_conv_of_its_dequantized_weights(data: st.DataObject) -> None:
    """PyTorch's, in float64: one scale and one offset, or one for each filter, as vectors or beside the weights."""
    draw = data.draw
    groups, per_in, filters = draw(st.integers(1, 2)), draw(st.integers(1, 2)), 2 * draw(st.integers(1, 2))
    x = cases.floats(draw, (1, groups * per_in, 4, 5))
    weight = cases.integers(draw, (filters, per_in, 2, 3), 0, 255).astype(np.uint8)
    form = draw(st.sampled_from([(1,), (filters,), (filters, 1, 1, 1)]))
    scale, offset = cases.positive(draw, form) / 100, cases.floats(draw, form)
    wide = weight.astype(np.float64) * scale.reshape(-1, 1, 1, 1) + offset.reshape(-1, 1, 1, 1)
    wanted = torch.nn.functional.conv2d(*map(torch.from_numpy, (x.astype(np.float64), wide)), groups=groups)
    static = {"weight": weight, "quant_scale": scale, "quant_bias": offset, "quantization_type": "linear"}
    same("conv_quantized", 5, {"x": x}, {**static, "nbits": 8, "groups": groups}, wanted.float())


def test_a_float16_quantized_conv_is_the_float32_one_rounded_once() -> None:
    """And in `fp16_strict` its dequantized weights are rounded, too."""
    draws = np.random.default_rng(2)
    x = draws.normal(size=(1, 2, 4, 4)).astype(np.float16)
    weight = draws.integers(0, 256, (3, 2, 2, 2)).astype(np.uint8)
    numbers = {"quant_scale": np.float16([0.013, 0.021, 0.017]), "quant_bias": np.float16([-1.3, -2.7, 0.1])}
    static = {"weight": weight, "quantization_type": "linear", **numbers}
    kinds = [("float16", (1, 3, 3, 3))]
    exact, once, strict = (
        run_op("conv_quantized", 7, {"x": x}, static, kinds, mode).outputs["result_0"] for mode in MODES
    )
    np.testing.assert_array_equal(once, exact.astype(np.float16).astype(np.float32))
    assert not np.array_equal(strict, once)
    np.testing.assert_allclose(strict, once, rtol=1e-2, atol=1e-2)


def test_a_quantized_conv_of_another_form_is_refused() -> None:
    x, weight = np.ones((1, 1, 3), np.float32), np.ones((2, 1, 2), np.uint8)
    scale = {"quant_scale": np.ones(2, np.float32), "quant_bias": np.ones(2, np.float32)}
    static: dict[str, Any] = {"weight": weight, "quantization_type": "linear", **scale}
    wrong: tuple[tuple[dict[str, Any], str], ...] = (
        ({"quantization_type": "lut"}, "type 'lut' with 8 bits is not modelled"),
        ({"nbits": 4}, "type 'linear' with 4 bits is not modelled"),
        ({"bias": np.ones(2, np.uint8)}, "with 8 bits and a bias is not modelled"),
        ({"quant_scale": np.ones(3, np.float32)}, r"quant_scale of shape \(3,\) for 2 filters is not modelled"),
        ({"quant_bias": np.ones((1, 3), np.float32)}, "quant_bias of shape"),
    )
    for other, text in wrong:
        with pytest.raises(UnsupportedOp, match=text):
            run_op("conv_quantized", 5, {"x": x}, {**static, **other}, [("float32", (1, 2, 2))])
    del static["quant_bias"]
    with pytest.raises(BrokenEvidence, match="without quant_scale or quant_bias"):
        run_op("conv_quantized", 5, {"x": x}, static, [("float32", (1, 2, 2))])


@few
@given(data=st.data())
def test_reshape_like_takes_sizes_of_its_references(data: st.DataObject) -> None:
    """The references have any dtype, and a part is taken of each."""
    draw = data.draw
    sizes = cases.shapes(draw, 1, 4)
    cut = draw(st.integers(1, len(sizes)))
    parts, lead = [sizes[:cut], sizes[cut:]], draw(st.integers(0, 2))
    references, begins, ends, masks = [], [], [], []
    for part in parts:
        tail = () if draw(st.booleans()) else (3,)
        references.append(cases.anything(draw, ((2,) * lead + part + tail) or (1,)))
        begins.append(np.int32(lead if part else 1))
        masks.append(np.bool_(not tail and bool(part)))
        ends.append(np.int32(0 if masks[-1] else (lead + len(part) if part else 1)))
    x = cases.anything(draw, tuple(draw(st.permutations(sizes))))
    dynamic: dict[str, Any] = {"x": x, "ref_tensors": references, "begins": begins, "ends": ends, "end_masks": masks}
    result = run_op("reshape_like", draw(st.sampled_from([6, 7])), dynamic, {}, [(x.dtype.name, sizes)])
    assert result.findings.clean
    np.testing.assert_array_equal(result.outputs["result_0"], x.reshape(sizes))


def test_a_package_reshapes_like_others_and_convolves_with_bytes(zoo: Zoo) -> None:
    """coremltools writes the parameters of both, and types the results."""
    weight = np.arange(54, dtype=np.uint8).reshape(2, 3, 3, 3)
    scale, offset = np.array([0.25, 0.5], np.float32), np.array([-4, 1], np.float32)

    @mb.program(
        input_specs=[
            mb.TensorSpec((1, 3, 4, 4), dtype=types.fp32),
            mb.TensorSpec((2, 5), dtype=types.int32),
            mb.TensorSpec((7, 2, 2), dtype=types.int32),
        ],
        opset_version=ct.target.iOS17,
    )
    def program(x: Any, y: Any, z: Any) -> Any:
        given = {"quantization_type": "linear", "nbits": 8, "quant_scale": scale, "quant_bias": offset}
        made = mb.conv_quantized(x=x, weight=weight, pad_type="valid", **given)
        return mb.reshape_like(
            x=made, ref_tensors=(y, z), begins=(0, 1), ends=(1, 0), end_masks=(False, True), name="w"
        )

    model = ct.convert(
        program,
        skip_model_load=True,
        minimum_deployment_target=ct.target.iOS17,
        compute_precision=ct.precision.FLOAT32,
    )
    opened = zoo.opened("reshape_like", model)
    x = np.random.default_rng(0).normal(size=(1, 3, 4, 4)).astype(np.float32)
    result = Interpreter(opened).run({"x": x, "y": np.zeros((2, 5), np.int32), "z": np.zeros((7, 2, 2), np.int32)})
    assert result.findings.clean
    wide = weight * scale.reshape(2, 1, 1, 1) + offset.reshape(2, 1, 1, 1)
    wanted = torch.nn.functional.conv2d(torch.from_numpy(x), torch.from_numpy(wide))
    (found,) = result.outputs.values()
    np.testing.assert_allclose(found, wanted.numpy().reshape(2, 2, 2), rtol=2e-5, atol=1e-5)


@pytest.mark.parametrize("name", sorted(RANDOM))
def test_a_random_op_is_refused_and_says_why(name: str) -> None:
    with pytest.raises(UnsupportedOp, match=f"op {name} of opset CoreML8 is not modelled .* drawn anew") as caught:
        run_op(name, 8, {}, {"shape": np.array([2], np.int32), "seed": np.int32(1)}, [("float32", (2,))])
    assert "as an input" in str(caught.value.action)
