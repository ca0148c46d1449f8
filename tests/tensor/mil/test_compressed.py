"""Compressed packages compute what coremltools' own decompression computes; their inventory says how they store it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import coremltools as ct
import numpy as np
import pytest
from coremltools.optimize import coreml as cto

from runtime.mil.interpreter import Interpreter
from runtime.mil.inventory import StoredWeight
from tests.longer import also
from tests.tensor.mil.conftest import Zoo
from tests.tensor.mil.holding import agrees_however_held
from tests.tensor.mil.test_models import worst

Compress = Callable[[Any], Any]


def quantized(**options: Any) -> Compress:
    config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(weight_threshold=512, **options))
    return lambda model: cto.linear_quantize_weights(model, config)


def palettized(**options: Any) -> Compress:
    config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="uniform", weight_threshold=512, **options))
    return lambda model: cto.palettize_weights(model, config)


def pruned_then(joint: str) -> Compress:
    """Half of every weight zero, then palettized or quantized on top ("": neither)."""
    prune = cto.OptimizationConfig(cto.OpMagnitudePrunerConfig(target_sparsity=0.5, weight_threshold=512))

    def compress(model: Any) -> Any:
        sparse = cto.prune_weights(model, prune)
        if joint == "palettize":
            config = cto.OptimizationConfig(cto.OpPalettizerConfig(mode="uniform", nbits=4, weight_threshold=512))
            return cto.palettize_weights(sparse, config, joint_compression=True)
        if joint == "quantize":
            config = cto.OptimizationConfig(cto.OpLinearQuantizerConfig(mode="linear_symmetric", weight_threshold=512))
            return cto.linear_quantize_weights(sparse, config, joint_compression=True)
        return sparse

    return compress


def palettized_then_quantized(model: Any) -> Any:
    """Palettes whose entries are INT8."""
    config = cto.OptimizationConfig(
        cto.OpLinearQuantizerConfig(mode="linear_symmetric", granularity="per_tensor", weight_threshold=512)
    )
    grouped = palettized(nbits=4, granularity="per_grouped_channel", group_size=16)(model)
    return cto.linear_quantize_weights(grouped, config, joint_compression=True)


SYMMETRIC = {"mode": "linear_symmetric", "granularity": "per_channel"}

#: name → (deployment, compression, least cosine against PyTorch, what the inventory says of q_proj: op, dtype,
#: granularity, shape of scales or table)
FORMS: dict[str, tuple[Any, Compress, float, tuple[str, str, str, tuple[int, ...]]]] = {
    "int8-channel": (
        ct.target.iOS18,
        quantized(dtype="int8", **SYMMETRIC),
        0.999,
        ("constexpr_blockwise_shift_scale", "int8", "per_channel", (64, 1)),
    ),
    "int8-channel-ios17": (
        ct.target.iOS17,
        quantized(dtype="int8", **SYMMETRIC),
        0.999,
        ("constexpr_affine_dequantize", "int8", "per_channel", (64,)),
    ),
    "uint8-tensor": (
        ct.target.iOS18,
        quantized(dtype="uint8", mode="linear", granularity="per_tensor"),
        0.999,
        ("constexpr_blockwise_shift_scale", "uint8", "per_tensor", (1, 1)),
    ),
    "uint8-tensor-ios17": (
        ct.target.iOS17,
        quantized(dtype="uint8", mode="linear", granularity="per_tensor"),
        0.999,
        ("constexpr_affine_dequantize", "uint8", "per_tensor", ()),
    ),
    "int4-block": (
        ct.target.iOS18,
        quantized(dtype="int4", mode="linear_symmetric", granularity="per_block", block_size=32),
        0.9,
        ("constexpr_blockwise_shift_scale", "int4", "per_block", (64, 2)),
    ),
    "lut6": (
        ct.target.iOS18,
        palettized(nbits=6),
        0.98,
        ("constexpr_lut_to_dense", "uint6", "per_tensor", (1, 1, 64, 1)),
    ),
    "lut6-ios17": (
        ct.target.iOS17,
        palettized(nbits=6),
        0.98,
        ("constexpr_lut_to_dense", "uint6", "per_tensor", (64,)),
    ),
    "lut4-grouped": (
        ct.target.iOS18,
        palettized(nbits=4, granularity="per_grouped_channel", group_size=16),
        0.8,
        ("constexpr_lut_to_dense", "uint4", "per_block", (4, 1, 16, 1)),
    ),
    "lut4-scaled": (
        ct.target.iOS18,
        palettized(nbits=4, granularity="per_grouped_channel", group_size=32, enable_per_channel_scale=True),
        0.8,
        ("constexpr_blockwise_shift_scale+constexpr_lut_to_dense", "uint4", "per_block", (2, 64, 16, 1)),
    ),
    "lut4-int8": (
        ct.target.iOS18,
        palettized_then_quantized,
        0.8,
        ("constexpr_blockwise_shift_scale+constexpr_lut_to_dense", "uint4", "per_block", (4, 1, 16, 1)),
    ),
    "sparse": (ct.target.iOS18, pruned_then(""), 0.5, ("constexpr_sparse_to_dense", "float16", "none", ())),
    "sparse-ios17": (ct.target.iOS17, pruned_then(""), 0.5, ("constexpr_sparse_to_dense", "float16", "none", ())),
    "sparse-lut4": (
        ct.target.iOS18,
        pruned_then("palettize"),
        0.4,
        ("constexpr_lut_to_sparse+constexpr_sparse_to_dense", "uint4", "per_tensor", (1, 1, 16, 1)),
    ),
    "sparse-int8": (
        ct.target.iOS18,
        pruned_then("quantize"),
        0.5,
        ("constexpr_sparse_blockwise_shift_scale+constexpr_sparse_to_dense", "int8", "per_channel", (64, 1)),
    ),
}


#: one of each operator, older and newer; the others have tests of their values above and below
QUICK = {"int4-block", "lut4-scaled", "sparse-int8"}


@pytest.mark.parametrize("form", [one if one in QUICK else also(one) for one in sorted(FORMS)])
def test_a_compressed_model_computes_what_its_decompression_computes(zoo: Zoo, form: str) -> None:
    target, compress, least, expected = FORMS[form]
    given = zoo.sample("llama", "prefill")
    plain = zoo.model("llama", "prefill") if target == ct.target.iOS18 else zoo.ios17()
    model = compress(plain)
    opened = zoo.opened(form, model)
    result = Interpreter(opened).run(given.inputs)
    assert result.findings.clean
    assert worst(result.outputs, given) >= least
    for mode in ("fp16_round", "exact32"):
        agrees_however_held(opened, given.inputs, "main", mode)
    dense = Interpreter(zoo.opened(f"{form}-dense", cto.decompress_weights(model))).run(given.inputs)
    for name, value in dense.outputs.items():
        np.testing.assert_allclose(result.outputs[name], value, atol=2e-3)
    found = next(weight for weight in opened.weights("main") if "q_proj" in weight.name)
    assert (found.op_type, found.dtype, found.granularity, found.scale_shape) == expected
    assert found.shape == (64, 64)
    assert [reader.op_type for reader in found.consumers] == ["linear"]
    assert found.bytes < 64 * 64 * 2


@pytest.mark.parametrize("joint", ["", "palettize", also("quantize")])
def test_a_mask_that_two_ops_read_is_counted_once(zoo: Zoo, joint: str) -> None:
    """Half of 64 x 64 elements, one bit of mask for each, and the scales or the table; before, the mask twice."""
    opened = zoo.opened(f"counted-{joint}", pruned_then(joint)(zoo.model("llama", "prefill")))
    found = next(weight for weight in opened.weights("main") if "q_proj" in weight.name)
    kept, mask = 64 * 64 // 2, 64 * 64 // 8
    wanted = {"": kept * 2 + mask, "palettize": kept // 2 + mask + 16 * 2, "quantize": kept + mask + 64 * 2}
    # elements as small as the threshold are cut on either side of it
    assert abs(found.bytes - wanted[joint]) <= 4


def test_the_inventory_names_every_constant_once_with_its_readers(zoo: Zoo) -> None:
    weights = zoo.package("llama", "prefill").weights("main")
    assert len({weight.name for weight in weights}) == len(weights)
    assert all(weight.consumers for weight in weights)
    by_name = {weight.name: weight for weight in weights}
    table = by_name["p_model_model_embed_tokens_weight_to_fp16"]
    assert table == StoredWeight(
        name="p_model_model_embed_tokens_weight_to_fp16",
        op_type="const",
        op_name="p_model_model_embed_tokens_weight_to_fp16",
        dtype="float16",
        shape=(128, 64),
        scale_shape=(),
        axis=None,
        granularity="none",
        block=(),
        bytes=128 * 64 * 2,
        consumers=table.consumers,
    )
    assert [reader.op_type for reader in table.consumers] == ["gather"]


def test_dequantized_weights_are_shared_by_the_interpreters_of_a_package(zoo: Zoo) -> None:
    opened = zoo.opened("shared", quantized(dtype="int8", **SYMMETRIC)(zoo.model("llama", "decode")))
    first, second = Interpreter(opened), Interpreter(opened)
    name = next(weight.name for weight in opened.weights("main") if "q_proj" in weight.name)
    inputs = zoo.sample("llama", "decode").inputs
    assert np.array_equal(first.values(inputs, [name])[name], second.values(inputs, [name])[name])
    cached = [value for value in opened.cache.values() if isinstance(value, tuple)]
    assert len(cached) == sum(op.type.startswith("constexpr_") for op in opened.functions["main"].operations)
