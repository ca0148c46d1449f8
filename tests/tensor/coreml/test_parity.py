"""The numbers of a comparison are what their names say, and nothing that is not finite ever looks like agreement."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from runtime.mil import parity
from runtime.mil.parity import Tally

RNG = np.random.default_rng(5)
REFERENCE = RNG.normal(size=(7, 11))


def test_equal_logits_agree_completely() -> None:
    tally = Tally()
    tally.logits(REFERENCE, REFERENCE.copy())
    tally.cache(np.ones((2, 1, 3, 4)), np.ones((2, 1, 3, 4)))
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
    assert parity.relative_error(REFERENCE, found) == pytest.approx(
        float((first - second).abs().max() / first.abs().max())
    )


def test_agreement_counts_positions() -> None:
    reference = np.array([[3.0, 1, 0, 0, 0, 0, 0], [3.0, 1, 0, 0, 0, 0, 0]])
    found = np.array([[3.0, 1, 0, 0, 0, 0, 0], [0.0, 1, 2, 3, 4, 5, 6]])
    tally = Tally()
    tally.logits(reference, found)
    data = tally.data()
    assert data["top1_agreement"]["k"] == 1
    assert data["top5_containment"]["k"] == 1
    assert data["cosine_worst_position"]["value"] < data["cosine"]["value"] < 1


@pytest.mark.parametrize(("poison", "name"), [(np.nan, "nan"), (np.inf, "inf"), (-np.inf, "inf")])
def test_what_is_not_finite_is_counted_and_makes_comparisons_unavailable(poison: float, name: str) -> None:
    tally, found = Tally(), REFERENCE.copy()
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
    tally = Tally()
    tally.logits(REFERENCE, np.zeros_like(REFERENCE))
    data = tally.data()
    assert data["all_zero"]["value"] == 7
    assert data["cosine"]["tag"] == "unavailable"
    assert data["relative_error"]["value"] == 1.0


def test_a_lost_head_in_the_cache_is_counted() -> None:
    keys = RNG.normal(size=(2, 3, 5, 4))
    broken = keys.copy()
    broken[1, 2] = 0
    tally = Tally()
    tally.cache(keys, broken)
    assert tally.data()["all_zero"]["value"] == 1
    assert tally.data()["cache_cosine"]["value"] < 0.99


def test_nothing_compared_is_no_agreement() -> None:
    data = Tally().data()
    assert {data[key]["tag"] for key in ("cosine", "relative_error", "kl", "top1_agreement")} == {"unavailable"}
