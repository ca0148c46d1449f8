"""Integers never saturate, are symmetric and restore within half a step; palettes are the best there are, each weight
at its nearest value; and the recipe is asked the same way everywhere."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from runtime.contract import Refusal
from runtime.contract.recipe import BITS, Recipe, Rule, Weights
from runtime.mil import kmeans
from runtime.mil.kmeans import centres
from runtime.mil.quantize import QMAX, Palette, Quantized, Sparse, quantize, restored, wanted

NUMBERS = st.floats(-3e4, 3e4, width=32, allow_subnormal=False)
#: rows of two blocks of four
MATRICES = arrays.arrays(np.float32, st.tuples(st.integers(1, 6), st.just(8)), elements=NUMBERS)
CHANNEL = Weights(weights="int8")
SCALED = [
    Weights(weights=weights, granularity=granularity, block=4 if granularity == "per_block" else None)
    for weights in ("int8", "int4")
    for granularity in ("per_channel", "per_tensor", "per_block")
]
PALETTES = [Weights(weights=weights, granularity="per_tensor") for weights in ("lut1", "lut2", "lut3", "lut4")]


def scaled(weight: np.ndarray, asked: Weights) -> Quantized:
    stored = quantize(weight, asked)
    assert isinstance(stored, Quantized)
    return stored


def oracle(weight: np.ndarray, asked: Weights) -> tuple[np.ndarray, np.ndarray]:
    """(step of each element, what is restored of it), number by number in float64."""
    rows, columns = weight.shape
    wide = {"per_channel": columns, "per_tensor": columns, "per_block": asked.block}[asked.granularity]
    qmax = 2 ** (BITS[asked.weights] - 1) - 1
    steps, back = np.zeros(weight.shape), np.zeros(weight.shape)
    for row, column in itertools.product(range(rows), range(columns)):
        begin = column // wide * wide
        block = weight if asked.granularity == "per_tensor" else weight[row, begin : begin + wide]
        exact = float(np.float32(np.abs(block).max()) / np.float32(qmax))
        step = np.float16(exact)
        while float(step) < exact:
            step = np.nextafter(step, np.float16(np.inf))
        steps[row, column] = float(step) if exact else 1.0
        back[row, column] = np.rint(float(weight[row, column]) / steps[row, column]) * steps[row, column]
    return steps, back


@given(MATRICES, st.sampled_from(SCALED))
def test_every_weight_is_restored_within_half_a_step(weight: np.ndarray, asked: Weights) -> None:
    stored, (step, back) = scaled(weight, asked), oracle(weight, asked)
    assert stored.data.dtype == np.int8
    assert stored.scale.dtype == np.float16
    assert np.isfinite(step).all()
    assert np.abs(stored.data.astype(int)).max() <= QMAX[asked.weights]
    found = restored(stored).astype(np.float64)
    assert (np.abs(found - weight) <= step * 0.5 * (1 + 1e-4)).all()
    assert (found[weight == 0] == 0).all()
    # a tie may fall to either side
    apart = np.abs(found - back)
    assert ((apart <= step * 1e-3) | (np.abs(np.abs(back - weight) - step / 2) <= step * 1e-4)).all()


@given(
    arrays.arrays(np.float32, (3, 8), elements=st.sampled_from([-7.5, -1.0, 0.0, 0.02, 0.3, 2.0])),
    st.sampled_from(SCALED),
)
def test_what_was_restored_is_stored_as_it_was(weight: np.ndarray, asked: Weights) -> None:
    once = scaled(weight, asked)
    again = scaled(restored(once), asked)
    assert np.array_equal(once.data, again.data)
    assert np.array_equal(once.scale, again.scale)


def squares(numbers: np.ndarray, values: np.ndarray) -> float:
    return float((np.abs(numbers.astype(np.float64)[..., None] - values).min(axis=-1) ** 2).sum())


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=8), st.integers(1, 4))
def test_no_other_palette_loses_less(numbers: list[int], count: int) -> None:
    """Of all ways to cut the numbers, in order, into so many clusters."""
    ordered = np.sort(np.array(numbers, dtype=np.float64))
    found = centres(ordered, count)
    assert len(found) <= count
    assert np.array_equal(found, np.sort(found))
    least = float("inf")
    for cuts in itertools.combinations_with_replacement(range(len(ordered) + 1), count - 1):
        parts = [ordered[a:b] for a, b in itertools.pairwise((0, *cuts, len(ordered))) if a < b]
        least = min(least, sum(float(((part - part.mean()) ** 2).sum()) for part in parts))
    assert squares(ordered, found) <= least + 1e-9


def test_more_numbers_than_are_searched_lose_hardly_more(monkeypatch: pytest.MonkeyPatch) -> None:
    numbers = np.random.default_rng(5).standard_normal(2000).astype(np.float32)
    exact = squares(numbers, centres(numbers, 16))
    monkeypatch.setattr(kmeans, "LIMIT", 150)
    found = centres(numbers, 16)
    assert exact <= squares(numbers, found) <= 1.01 * exact
    assert np.array_equal(found, centres(numbers[::-1], 16))


@given(MATRICES, st.sampled_from(PALETTES))
def test_every_weight_has_the_nearest_value_of_its_palette(weight: np.ndarray, asked: Weights) -> None:
    stored = quantize(weight, asked)
    assert isinstance(stored, Palette)
    entries = 1 << BITS[asked.weights]
    assert (stored.lut.shape, stored.lut.dtype) == ((1, 1, entries, 1), np.float16)
    assert stored.indices.max() < entries
    found = restored(stored)
    distances = np.abs(weight.astype(np.float64)[..., None] - stored.lut.reshape(-1).astype(np.float64))
    assert np.array_equal(np.abs(found.astype(np.float64) - weight), distances.min(axis=-1))
    again = quantize(found, asked)
    assert np.array_equal(restored(again), found)
    assert quantize(weight, asked).indices.tobytes() == stored.indices.tobytes()


def test_each_group_of_rows_has_its_own_palette() -> None:
    weight = np.array([[1, 2], [2, 1], [10, 30], [30, 10]], dtype=np.float32)
    stored = quantize(weight, Weights(weights="lut1", granularity="per_grouped_channel", group=2))
    assert isinstance(stored, Palette)
    assert stored.lut.reshape(2, 2).tolist() == [[1, 2], [10, 30]]
    assert np.array_equal(restored(stored), weight)


@pytest.mark.parametrize("numbers", [[], [1.0, float("nan")], [float("inf")]])
def test_clusters_of_nothing_or_of_what_is_no_number_are_refused(numbers: list[float]) -> None:
    with pytest.raises(ValueError, match="finite"):
        centres(np.array(numbers), 2)


@given(MATRICES, st.floats(0.01, 0.99))
def test_the_largest_weights_are_kept_and_the_others_are_zero(weight: np.ndarray, density: float) -> None:
    asked = Weights(weights="sparse", granularity="per_tensor", density=density)
    stored = quantize(weight, asked)
    assert isinstance(stored, Sparse)
    kept = stored.mask == 1
    assert kept.sum() == stored.nonzero_fp16.size == asked.kept(weight.size) >= density * weight.size
    found = restored(stored)
    assert np.array_equal(found[kept], weight[kept].astype(np.float16).astype(np.float32))
    assert (found[~kept] == 0).all()
    assert np.abs(weight[~kept]).max(initial=0) <= np.abs(weight[kept]).min()
    again = quantize(found, asked)
    assert np.array_equal(restored(again), found)


def test_float16_is_no_quantization() -> None:
    with pytest.raises(ValueError, match="float16"):
        quantize(np.ones((2, 2), np.float32), Weights(weights="fp16"))


@given(MATRICES)
def test_negating_a_weight_negates_its_integers(weight: np.ndarray) -> None:
    there, back = scaled(weight, CHANNEL), scaled(-weight, CHANNEL)
    assert np.array_equal(there.data, -back.data)
    assert np.array_equal(there.scale, back.scale)


def test_channels_are_rows_and_a_small_row_keeps_its_own_precision() -> None:
    weight = np.array([[100.0, -50.0], [0.01, -0.02], [0.0, 0.0]], dtype=np.float32)
    stored = scaled(weight, CHANNEL)
    assert stored.scale.shape == (3, 1)
    assert stored.data[1].tolist() == [64, -127] or stored.data[1].tolist() == [63, -127]
    assert stored.data[2].tolist() == [0, 0]
    coarse = scaled(weight, Weights(weights="int8", granularity="per_tensor"))
    assert coarse.scale.shape == (1, 1)
    assert coarse.data[1].tolist() == [0, 0]


def test_a_scale_is_rounded_up_so_that_the_largest_weight_does_not_clip() -> None:
    largest = np.float32(1.0003)
    weight = np.array([[largest, -largest / 2]], dtype=np.float32)
    stored = scaled(weight, CHANNEL)
    assert float(stored.scale[0, 0]) * QMAX["int8"] >= largest


def recipe(*rules: tuple[str, str], default: str = "int8") -> Recipe:
    return Recipe(default=Weights(weights=default), rules=[Rule(match=match, weights=kind) for match, kind in rules])


def test_the_default_speaks_of_matrices_only() -> None:
    assert wanted(recipe(), "model.norm.weight", [], (8,)).weights == "fp16"
    assert wanted(recipe(), "model.layers.0.self_attn.q_proj.bias", [], (8,)).weights == "fp16"
    assert wanted(recipe(), "model.layers.0.mlp.up_proj.weight", [], (8, 8)).weights == "int8"


def test_a_rule_that_asks_for_int8_vectors_is_refused() -> None:
    with pytest.raises(Refusal, match="vector"):
        wanted(recipe(("*norm*", "int8")), "model.norm.weight", [], (8,))
    assert wanted(recipe(("*", "int8"), ("*norm", "fp16")), "model.norm.weight", [], (8,)).weights == "fp16"


def test_names_of_one_tied_tensor_must_agree() -> None:
    with pytest.raises(Refusal, match="tied"):
        wanted(recipe(("*embed*", "fp16")), "model.embed_tokens.weight", ["lm_head.weight"], (8, 8))
    both = recipe(("*embed*", "fp16"), ("lm_head", "fp16"))
    assert wanted(both, "model.embed_tokens.weight", ["lm_head.weight"], (8, 8)).weights == "fp16"


def test_blocks_and_groups_divide_the_tensor() -> None:
    blocks = Recipe(default=Weights(weights="int4", granularity="per_block", block=32))
    groups = Recipe(default=Weights(weights="lut4", granularity="per_grouped_channel", group=32))
    for asked, fits, odd, what in (
        (blocks, (3, 64), (64, 48), "inputs"),
        (groups, (64, 3), (48, 64), "output channels"),
    ):
        assert wanted(asked, "a.weight", [], fits) == asked.default
        with pytest.raises(Refusal, match=f"a.weight.*32 does not divide its 48 {what}"):
            wanted(asked, "a.weight", [], odd)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ({"weights": "int4", "granularity": "per_block"}, "needs a `block`"),
        ({"weights": "int4", "granularity": "per_channel", "block": 32}, "belongs to `granularity: per_block`"),
        ({"weights": "int4", "granularity": "per_grouped_channel", "group": 4}, "not per_grouped_channel"),
        ({"weights": "lut4"}, "lut4 is stored per_tensor or per_grouped_channel, not per_channel"),
        ({"weights": "lut4", "granularity": "per_grouped_channel"}, "needs a `group`"),
        ({"weights": "lut4", "granularity": "per_tensor", "group": 8}, "belongs to `granularity: per_grouped_channel`"),
        ({"weights": "fp16", "granularity": "per_block", "block": 32}, "belongs to"),
        ({"weights": "sparse", "granularity": "per_tensor"}, "belong together"),
        ({"weights": "int8", "density": 0.5}, "belong together"),
        ({"weights": "sparse", "density": 0.5}, "sparse is stored per_tensor, not per_channel"),
        ({"weights": "sparse", "granularity": "per_tensor", "density": 1.0}, "less than 1"),
        ({"weights": "lut5", "granularity": "per_tensor"}, "lut4"),
    ],
)
def test_what_does_not_go_together_is_refused(written: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Weights.model_validate(written)


def test_a_recipe_without_blocks_is_written_as_before() -> None:
    """Keys of steps and digests of recipes stay what they were."""
    assert recipe(("*norm*", "fp16")).model_dump() == {
        "default": {"weights": "int8", "granularity": "per_channel"},
        "rules": [{"weights": "fp16", "granularity": "per_channel", "match": "*norm*"}],
    }
    block = Weights(weights="int4", granularity="per_block", block=32)
    assert Weights.model_validate(block.model_dump()) == block
