"""The numbers of a comparison are what their names say, and nothing that is not finite ever looks like agreement."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch

from runtime.mil import parity
from runtime.mil.parity import Tally

RNG = np.random.default_rng(5)
REFERENCE = RNG.normal(size=(7, 11))


def test_equal_logits_agree_completely() -> None:
    tally = Tally(layers=2)
    tally.logits(REFERENCE, REFERENCE.copy())
    tally.cache("keys", np.ones((2, 1, 3, 4)), np.ones((2, 1, 3, 4)))
    data = tally.data()
    assert data["cosine"]["value"] == pytest.approx(1.0)
    assert data["relative_error"]["value"] == data["relative_l2"]["value"] == 0.0
    assert data["kl"]["value"] == pytest.approx(0.0, abs=1e-12)
    assert (data["top1_agreement"]["k"], data["top1_agreement"]["n"]) == (7, 7)
    assert data["nan"]["value"] == data["inf"]["value"] == data["all_zero"]["value"] == 0
    assert data["nan"]["n"] == 7 * 11 + 24


def test_numbers_equal_those_of_torch() -> None:
    found = REFERENCE + RNG.normal(size=REFERENCE.shape) * 0.3
    first, second = torch.from_numpy(REFERENCE), torch.from_numpy(found)
    cosine = torch.nn.functional.cosine_similarity(first.flatten(), second.flatten(), dim=0)
    assert parity.cosine(REFERENCE, found) == pytest.approx(float(cosine))
    divergence = torch.nn.functional.kl_div(
        second.log_softmax(-1), first.log_softmax(-1), log_target=True, reduction="none"
    ).sum(-1)
    assert parity.kl(REFERENCE, found) == pytest.approx(divergence.numpy())
    tally = Tally(layers=2)
    tally.logits(REFERENCE, found)
    wanted = float((first - second).abs().max() / first.abs().max())
    assert tally.data()["relative_error"]["value"] == pytest.approx(wanted)


def test_logits_of_many_positions_are_never_float64_all_at_once() -> None:
    """What comes of some positions at a time is what comes of all, and takes less than a second array of them."""
    reference = RNG.normal(size=(32 * parity.ROWS + 3, 2048)).astype(np.float32)
    found = (reference + RNG.normal(size=reference.shape) * 0.1).astype(np.float32)
    tally = Tally(layers=2)
    tracemalloc.start()
    tally.logits(reference, found)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < reference.nbytes
    a, b = reference.astype(np.float64), found.astype(np.float64)
    data = tally.data()
    assert data["cosine"]["value"] == pytest.approx(parity.cosine(a, b), rel=1e-12)
    assert data["relative_l2"]["value"] == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-12)
    assert data["relative_error"]["value"] == pytest.approx(np.abs(a - b).max() / np.abs(a).max(), rel=1e-12)
    assert (data["kl"]["n"], data["nan"]["n"], data["all_zero"]["n"]) == (len(a), a.size, len(a))
    broken = found.copy()
    broken[-1, 5] = np.nan
    tally.logits(reference, broken)
    assert {tally.data()[name]["tag"] for name in ("cosine", "relative_l2", "relative_error")} == {"unavailable"}


@pytest.mark.parametrize("count", [parity.ROWS, parity.ROWS + 1, 2 * parity.ROWS + 7])
def test_every_part_of_many_positions_is_compared(count: int) -> None:
    """A text of more positions than are compared at a time, whose only error stands in the last of them."""
    reference = RNG.normal(size=(count, 11))
    found = reference.copy()
    found[-1, 3] += 2.0
    assert np.flatnonzero(parity.kl(reference, found)).tolist() == [count - 1]
    worst = parity.Worst()
    worst.add(reference, found)
    assert worst.difference == pytest.approx(2.0)
    assert worst.magnitude == pytest.approx(np.abs(reference).max())
    # parts of equal length are no reason to forget the others
    for compare in (parity.kl, parity.Worst().add):
        with pytest.raises(ValueError, match="cannot be compared"):
            compare(reference[: parity.ROWS], np.tile(found, (2, 1)))


def test_agreement_counts_positions() -> None:
    reference = np.array([[3.0, 1, 0, 0, 0, 0, 0], [3.0, 1, 0, 0, 0, 0, 0]])
    found = np.array([[3.0, 1, 0, 0, 0, 0, 0], [0.0, 1, 2, 3, 4, 5, 6]])
    tally = Tally(layers=2)
    tally.logits(reference, found)
    data = tally.data()
    assert data["top1_agreement"]["k"] == 1
    assert data["top5_containment"]["k"] == 1
    assert data["cosine_worst_position"]["value"] < data["cosine"]["value"] < 1


@pytest.mark.parametrize(("poison", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")])
def test_what_is_not_finite_is_counted_and_makes_comparisons_unavailable(poison: float, name: str) -> None:
    tally, found = Tally(layers=2), REFERENCE.copy()
    tally.logits(REFERENCE, REFERENCE)
    found[2, 3] = poison
    tally.logits(REFERENCE, found)
    data = tally.data()
    assert data[name]["value"] == 1
    for key in ("cosine", "cosine_worst_position", "relative_error", "relative_l2", "kl"):
        assert data[key]["tag"] == "unavailable", key
        assert data[key]["value"] is None
    assert data["top1_agreement"]["k"] == 13


def test_zero_outputs_are_counted_and_have_no_cosine() -> None:
    """The defect of an overflowing RMSNorm: all zeros, and no NaN anywhere."""
    tally = Tally(layers=2)
    tally.logits(REFERENCE, np.zeros_like(REFERENCE))
    data = tally.data()
    assert data["all_zero"]["value"] == 7
    assert data["cosine"]["tag"] == "unavailable"
    assert data["relative_error"]["value"] == 1.0


def test_a_lost_head_in_the_cache_is_counted() -> None:
    keys = RNG.normal(size=(2, 3, 5, 4))
    broken = keys.copy()
    broken[1, 2] = 0
    tally = Tally(layers=2)
    tally.cache("keys", keys, broken)
    tally.cache("values", keys, keys)
    data = tally.data()
    assert data["all_zero"]["value"] == 1
    first, second = data["cache"]
    assert first["keys"]["cosine"]["value"] == pytest.approx(1.0)
    assert first["keys"]["relative_error"]["value"] == 0.0
    assert second["keys"]["cosine"]["tag"] == "unavailable"
    assert second["keys"]["relative_error"]["value"] == 1.0
    assert second["values"]["cosine"]["value"] == pytest.approx(1.0)


def test_a_quiet_head_is_not_hidden_behind_a_loud_one() -> None:
    keys = RNG.normal(size=(1, 2, 5, 4))
    keys[0, 0] *= 1000
    broken = keys.copy()
    broken[0, 1] = -keys[0, 1]
    tally = Tally(layers=1)
    tally.cache("keys", keys, broken)
    assert parity.cosine(keys, broken) > 0.99999
    (layer,) = tally.data()["cache"]
    assert layer["keys"]["cosine"]["value"] == pytest.approx(-1.0)
    assert layer["keys"]["relative_error"]["value"] == pytest.approx(2.0)


def test_cases_of_one_function_have_one_scale() -> None:
    tally = Tally(layers=0)
    tally.logits(np.array([[10.0, 1.0]]), np.array([[10.0, 1.0]]))
    tally.logits(np.array([[0.1, 0.2]]), np.array([[0.1, 0.3]]))
    assert tally.data()["relative_error"]["value"] == pytest.approx(0.01)


def test_a_layer_that_nobody_compared_is_unavailable() -> None:
    tally = Tally(layers=2)
    tally.cache("keys", np.ones((1, 1, 3, 4)), np.ones((1, 1, 3, 4)))
    first, second = tally.data()["cache"]
    assert first["keys"]["cosine"]["tag"] == "measured"
    assert {second[name][what]["tag"] for name in ("keys", "values") for what in second[name]} == {"unavailable"}


def test_nothing_compared_is_no_agreement() -> None:
    data = Tally(layers=2).data()
    assert {data[key]["tag"] for key in ("cosine", "relative_error", "kl", "top1_agreement")} == {"unavailable"}
