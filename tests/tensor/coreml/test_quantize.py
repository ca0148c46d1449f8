"""INT8 never saturates, is symmetric, restores within half a step, and asks the recipe the same way everywhere."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime.contract import Refusal
from runtime.contract.recipe import Recipe, Rule, Weights
from runtime.mil.quantize import QMAX, quantize, restored, wanted

MATRICES = arrays.arrays(
    np.float32,
    arrays.array_shapes(min_dims=2, max_dims=2, max_side=6),
    elements=st.floats(-3e4, 3e4, width=32, allow_subnormal=False),
)


@given(MATRICES, st.sampled_from(["per_channel", "per_tensor"]))
def test_every_weight_is_restored_within_half_a_step(weight: np.ndarray, granularity: str) -> None:
    stored = quantize(weight, granularity)
    step = stored.scale.astype(np.float64)
    assert stored.data.dtype == np.int8
    assert stored.scale.dtype == np.float16
    assert np.isfinite(step).all()
    assert (step > 0).all()
    assert np.abs(stored.data.astype(int)).max() <= QMAX
    assert (np.abs(restored(stored) - weight) <= step * 0.5 * (1 + 1e-4)).all()


@given(MATRICES)
def test_negating_a_weight_negates_its_integers(weight: np.ndarray) -> None:
    there, back = quantize(weight, "per_channel"), quantize(-weight, "per_channel")
    assert np.array_equal(there.data, -back.data)
    assert np.array_equal(there.scale, back.scale)


def test_channels_are_rows_and_a_small_row_keeps_its_own_precision() -> None:
    weight = np.array([[100.0, -50.0], [0.01, -0.02], [0.0, 0.0]], dtype=np.float32)
    stored = quantize(weight, "per_channel")
    assert stored.scale.shape == (3, 1)
    assert stored.data[1].tolist() == [64, -127] or stored.data[1].tolist() == [63, -127]
    assert stored.data[2].tolist() == [0, 0]
    coarse = quantize(weight, "per_tensor")
    assert coarse.scale.shape == (1, 1)
    assert coarse.data[1].tolist() == [0, 0]


def test_a_scale_is_rounded_up_so_that_the_largest_weight_does_not_clip() -> None:
    largest = np.float32(1.0003)
    weight = np.array([[largest, -largest / 2]], dtype=np.float32)
    stored = quantize(weight, "per_channel")
    assert float(stored.scale[0, 0]) * QMAX >= largest


def recipe(*rules: tuple[str, str], default: str = "int8") -> Recipe:
    return Recipe(default=Weights(weights=default), rules=[Rule(match=match, weights=kind) for match, kind in rules])


def test_the_default_speaks_of_matrices_only() -> None:
    assert wanted(recipe(), "model.norm.weight", [], 1).weights == "fp16"
    assert wanted(recipe(), "model.layers.0.self_attn.q_proj.bias", [], 1).weights == "fp16"
    assert wanted(recipe(), "model.layers.0.mlp.up_proj.weight", [], 2).weights == "int8"


def test_a_rule_that_asks_for_int8_vectors_is_refused() -> None:
    with pytest.raises(Refusal, match="vector"):
        wanted(recipe(("*norm*", "int8")), "model.norm.weight", [], 1)
    assert wanted(recipe(("*", "int8"), ("*norm", "fp16")), "model.norm.weight", [], 1).weights == "fp16"


def test_names_of_one_tied_tensor_must_agree() -> None:
    with pytest.raises(Refusal, match="tied"):
        wanted(recipe(("*embed*", "fp16")), "model.embed_tokens.weight", ["lm_head.weight"], 2)
    both = recipe(("*embed*", "fp16"), ("lm_head", "fp16"))
    assert wanted(both, "model.embed_tokens.weight", ["lm_head.weight"], 2).weights == "fp16"
