"""Error feedback loses no more of a matrix's outputs than the nearest values do, less where inputs go together, and is
what the plain algorithm computes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runtime.contract.recipe import BITS, Weights
from runtime.mil import gptq
from runtime.mil.kmeans import centres
from runtime.mil.quantize import QMAX, Palette, Quantized, quantize, restored

FORMS = [
    Weights(weights="int8"),
    Weights(weights="int4"),
    Weights(weights="int4", granularity="per_tensor"),
    Weights(weights="int4", granularity="per_block", block=8),
    Weights(weights="lut1", granularity="per_tensor"),
    Weights(weights="lut4", granularity="per_tensor"),
    Weights(weights="lut3", granularity="per_grouped_channel", group=4),
]
NAMED = [form.said for form in FORMS]


def drawn(seed: int, outputs: int = 16, inputs: int = 32, tokens: int = 200) -> tuple[np.ndarray, np.ndarray]:
    """weight_OI and energy_II of inputs that go together, one of them far larger than the others."""
    rng = np.random.default_rng(seed)
    read_TI = rng.normal(size=(tokens, inputs)) @ rng.normal(size=(inputs, inputs)) / np.sqrt(inputs)
    read_TI[:, 3] *= 20
    return rng.normal(size=(outputs, inputs)).astype(np.float32) * 0.1, read_TI.T @ read_TI / tokens


def plain(weight: np.ndarray, damped: np.ndarray, values_of: list[np.ndarray]) -> np.ndarray:
    """Optimal brain quantization column by column, in the order of energy, the inverse taken anew of what is left
    (Frantar and Alistarh 2022, eq. 2 and 3); `values_of` each element are those that it may become."""
    left, result = weight.astype(np.float64), np.zeros(weight.shape)
    remaining = list(np.argsort(-np.diag(damped), kind="stable"))
    while remaining:
        inverse = np.linalg.inv(damped[np.ix_(remaining, remaining)])
        j = remaining[0]
        for row in range(len(weight)):
            values = values_of[row][j]
            result[row, j] = values[np.argmin(np.abs(values - left[row, j]))]
            error = (left[row, j] - result[row, j]) / inverse[0, 0]
            left[row, remaining[1:]] -= error * inverse[0, 1:]
        remaining = remaining[1:]
    return result


@pytest.mark.parametrize("asked", FORMS, ids=NAMED)
def test_it_is_the_plain_algorithm(asked: Weights, monkeypatch: pytest.MonkeyPatch) -> None:
    """Handed on in chunks, by one factorization, it is what a new inverse for every column gives."""
    monkeypatch.setattr(gptq, "CHUNK", 5)
    weight, energy = drawn(1)
    found = gptq.calibrated(weight, energy, asked)
    assert found.better
    damped = energy + gptq.DAMPING * np.mean(np.diag(energy)) * np.eye(len(energy))
    rows, columns = weight.shape
    if isinstance(found.stored, Palette):
        groups = found.stored.lut.reshape(-1, 1 << BITS[asked.weights]).astype(np.float64)
        values = [[groups[row * len(groups) // rows]] * columns for row in range(rows)]
    else:
        assert isinstance(found.stored, Quantized)
        scale = found.stored.scale.astype(np.float64)
        whole = np.arange(-QMAX[asked.weights], QMAX[asked.weights] + 1)
        at = [
            [scale[min(r, len(scale) - 1), c * scale.shape[1] // columns] for c in range(columns)] for r in range(rows)
        ]
        values = [[whole * step for step in row] for row in at]
    due = plain(weight, damped, values)
    assert np.allclose(restored(found.stored), due, rtol=1e-6, atol=1e-9)


@settings(deadline=None, max_examples=60)
@given(seed=st.integers(0, 10**6), form=st.sampled_from(FORMS))
def test_nothing_is_lost_by_it(seed: int, form: Weights) -> None:
    weight, energy = drawn(seed, 8, 16, 24)
    found = gptq.calibrated(weight, energy, form)
    nearest = quantize(weight, form)
    apart = (weight - restored(found.stored)).astype(np.float64)
    whole = np.trace(weight.astype(np.float64) @ energy @ weight.T)
    assert found.lost == pytest.approx(np.trace(apart @ energy @ apart.T) / whole, rel=1e-6)
    assert found.lost <= found.lost_nearest == gptq.lost(weight, nearest, energy)
    assert [part.shape for part in found.stored] == [part.shape for part in nearest]
    assert [part.dtype for part in found.stored] == [part.dtype for part in nearest]
    if isinstance(found.stored, Quantized):
        assert np.abs(found.stored.data.astype(int)).max() <= QMAX[form.weights]
        assert (found.stored.scale > 0).all()


@pytest.mark.parametrize("asked", FORMS, ids=NAMED)
def test_where_inputs_go_together_much_less_is_lost(asked: Weights) -> None:
    found = gptq.calibrated(*drawn(2), asked)
    assert found.lost < 0.75 * found.lost_nearest


def test_of_inputs_that_are_one_the_second_makes_good_what_the_first_lost() -> None:
    """Two equal inputs: the sum of both weights is what counts, and half a step of it is the most that is lost."""
    read = np.random.default_rng(3).normal(size=(100, 1)) @ np.ones((1, 2))
    weight = np.array([[0.7, 0.24], [0.7, 0.17], [0.7, -0.62]], np.float32)
    asked = Weights(weights="int4", granularity="per_tensor")
    found = gptq.calibrated(weight, read.T @ read / 100, asked)
    step = float(found.stored[1].reshape(-1)[0])
    assert (np.abs((restored(found.stored) - weight).sum(1)) <= step / 2 * 1.02).all()


def test_with_inputs_that_have_nothing_in_common_each_weight_is_the_nearest() -> None:
    weight, _ = drawn(4)
    asked = Weights(weights="int8")
    found = gptq.calibrated(weight, np.eye(32), asked)
    step = found.stored[1].astype(np.float64)
    assert np.array_equal(found.stored[0], np.clip(np.rint(weight.astype(np.float64) / step), -127, 127))


def test_where_nothing_is_gained_the_nearest_values_stay() -> None:
    """Weights that the form holds exactly lose nothing either way."""
    weight = np.tile(np.arange(-7, 8, dtype=np.float32), (4, 1))
    asked = Weights(weights="int4")
    found = gptq.calibrated(weight, drawn(5, 4, 15)[1], asked)
    assert (found.better, found.lost) == (False, 0.0)
    assert all(np.array_equal(a, b) for a, b in zip(found.stored, quantize(weight, asked), strict=True))


def test_numbers_that_count_more_draw_the_values_to_them() -> None:
    numbers, counted = np.array([0.0, 1.0, 10.0]), np.array([1.0, 3.0, 1.0])
    assert centres(numbers, 2, counted).tolist() == [0.75, 10.0]
    assert centres(numbers, 2, np.array([1e6, 1.0, 1e-6])).tolist() == [0.0, pytest.approx(1.0, abs=1e-4)]
    many = np.random.default_rng(6).normal(size=9000)
    assert np.array_equal(centres(many, 8, np.ones(9000)), centres(many, 8))


@pytest.mark.parametrize(
    "asked", [Weights(weights="fp16"), Weights(weights="sparse", granularity="per_tensor", density=0.5)]
)
def test_a_form_without_values_is_refused(asked: Weights) -> None:
    assert not gptq.fits(asked)
    with pytest.raises(ValueError, match="not calibrated"):
        gptq.calibrated(*drawn(7), asked)


@pytest.mark.parametrize("number", [0.0, np.nan, np.inf])
def test_inputs_without_energy_are_refused(number: float) -> None:
    with pytest.raises(ValueError, match="no energy, or are not finite"):
        gptq.calibrated(drawn(8)[0], np.full((32, 32), number), FORMS[0])
