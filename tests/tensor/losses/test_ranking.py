"""Loss `ranking` against its formula in float64 numpy, its closed gradient against autograd, and mutants of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from runtime import catalog
from runtime.losses import ranking

PARAMS = ranking.RankingParams
MARGINS = (0.0, 1.0, 5.0)


def oracle(student_V: np.ndarray, token: int, margin: float) -> float:
    """-log σ(z_y - log Σ_{v≠y} e^{z_v} - m), term by term."""
    rivals = [float(z) for v, z in enumerate(student_V) if v != token]
    top = max(rivals)
    odds = float(student_V[token]) - (top + np.log(sum(np.exp(z - top) for z in rivals)))
    return float(np.log1p(np.exp(-abs(margin - odds))) + max(margin - odds, 0.0))


def logits(scale: float = 3.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    student_NV = torch.randn(12, 7, generator=generator, dtype=torch.float64) * scale
    return student_NV, torch.randint(0, 7, (12,), generator=generator)


Value = Callable[[Any, Any, Any, Any], Any]


def check(value: Value) -> None:
    student_NV, target_N = logits()
    for margin in MARGINS:
        found_N = value(student_NV, None, target_N, PARAMS(margin=margin))
        wanted = [oracle(row.numpy(), int(token), margin) for row, token in zip(student_NV, target_N, strict=True)]
        assert found_N.tolist() == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_the_value_is_the_formula() -> None:
    check(ranking.value)


def test_without_a_margin_it_is_the_cross_entropy() -> None:
    student_NV, target_N = logits()
    plain_N = torch.nn.functional.cross_entropy(student_NV, target_N, reduction="none")
    torch.testing.assert_close(ranking.value(student_NV, None, target_N, PARAMS(margin=0)), plain_N)


@pytest.mark.parametrize("margin", MARGINS)
@pytest.mark.parametrize("scale", [0.01, 3.0, 300.0])
def test_the_closed_gradient_is_the_derivative_of_the_value(margin: float, scale: float) -> None:
    student_NV, target_N = logits(scale)
    student_NV.requires_grad_(True)
    params = PARAMS(margin=margin)
    value_N = ranking.value(student_NV, None, target_N, params)
    (derived_NV,) = torch.autograd.grad(value_N.sum(), student_NV)
    same_N, closed_NV = ranking.gradient(student_NV.detach(), None, target_N, params)
    torch.testing.assert_close(same_N, value_N.detach())
    torch.testing.assert_close(closed_NV, derived_NV)
    assert bool(closed_NV.isfinite().all())


def test_a_margin_goes_on_pulling_what_is_ranked_rightly_by_too_little() -> None:
    student_NV, target_N = torch.tensor([[2.0, 0.0]], dtype=torch.float64), torch.tensor([0])
    pulls = [float(ranking.gradient(student_NV, None, target_N, PARAMS(margin=m))[1][0, 0]) for m in (0.0, 2.0, 8.0)]
    assert pulls[0] > pulls[1] > pulls[2]
    assert pulls[2] == pytest.approx(-1, abs=0.01)


MUTANTS: dict[str, Value] = {
    "the margin helps the verdict": lambda s, t, y, p: ranking.value(s, t, y, PARAMS.model_construct(margin=-p.margin)),
    "no margin": lambda s, t, y, _: ranking.value(s, t, y, PARAMS(margin=0)),
    "the loser is pulled up": lambda s, t, y, p: ranking.value(-s, t, y, p),
    "the verdict is a rival of itself": lambda s, _, y, p: torch.nn.functional.softplus(
        p.margin - (s.gather(1, y[:, None])[:, 0] - s.logsumexp(1))
    ),
    "only the strongest rival counts": lambda s, _, y, p: torch.nn.functional.softplus(
        p.margin - (s.gather(1, y[:, None])[:, 0] - s.scatter(1, y[:, None], float("-inf")).amax(1))
    ),
    "a hinge": lambda s, _, y, p: (
        p.margin - (s.gather(1, y[:, None])[:, 0] - s.scatter(1, y[:, None], float("-inf")).logsumexp(1))
    ).clamp(min=0),
}


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_is_caught(name: str) -> None:
    with pytest.raises(AssertionError):
        check(MUTANTS[name])


def test_the_clause_is_learnt_where_its_span_is() -> None:
    clause, truth = catalog.load("losses", "clause"), catalog.load("losses", "ce_truth")
    student_NV, target_N = logits()
    torch.testing.assert_close(
        clause.value(student_NV, None, target_N, None), truth.value(student_NV, None, target_N, None)
    )
    assert (clause.mask, truth.mask) == ("clause", "response")
