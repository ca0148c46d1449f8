"""The divergence terms equal TRL's chunked loss (stable DistillationTrainer), value and gradient, but for two factors.

TRL does not multiply by T², and its generalised JSD is not divided by beta (1 - beta), so that it jumps at both ends.
TRL is a development tool only: it is not among the project's dependencies, and without it this file is skipped.
Written against TRL 1.16.0 (`pip install --no-deps trl datasets` and what they import), which divides by the valid tokens.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from runtime.train import objective
from runtime.train.objective import Bound, Side
from tests.tensor.losses.bench import TEMPERATURE, bound
from tests.tensor.losses.terms import values

trl = pytest.importorskip(
    "trl.trainer.distillation_trainer",
    reason="TRL is not installed: a second opinion for development, see the docstring",
    exc_type=ImportError,
)
TOKENS, VOCAB = 23, 41


def jsd(beta: float) -> Bound:
    term = bound("jsd")
    return replace(term, params=term.loss.params(beta=beta, temperature=TEMPERATURE))


@pytest.mark.parametrize(
    ("term", "beta", "factor"),
    [
        (bound("kl"), 0.0, 1.0),
        (bound("reverse_kl"), 1.0, 1.0),
        *((jsd(end), end, 1.0) for end in (0.0, 1.0)),
        *((jsd(beta), beta, 1 / (beta * (1 - beta))) for beta in (0.1, 0.5, 0.7)),
    ],
)
def test_divergence_is_trls_times_temperature_squared(term: Bound, beta: float, factor: float) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, 12, generator=generator, requires_grad=True)
    taught = torch.randn(TOKENS, 20, generator=generator)
    head = torch.nn.Linear(12, VOCAB, bias=False)
    teacher_head = torch.nn.Linear(20, VOCAB, bias=False)
    mask = torch.rand(TOKENS, generator=generator) < 0.6

    masks = {"response": mask}
    target = torch.zeros(TOKENS, dtype=torch.long)
    sides = Side(hidden, head), Side(taught, teacher_head)
    (ours,) = values(*sides, target, masks, [term], objective.totals(masks), 7)
    ours_to = torch.autograd.grad(ours, (hidden, head.weight))

    theirs, _, valid = trl._chunked_divergence_loss(
        hidden[None], taught[None], head.weight, teacher_head.weight, mask[None], beta, temperature=TEMPERATURE
    )
    theirs_to = torch.autograd.grad(theirs, (hidden, head.weight))

    assert int(valid) == int(mask.sum())
    factor *= TEMPERATURE**2
    torch.testing.assert_close(ours, theirs * factor, rtol=1e-5, atol=1e-7)
    for mine, other in zip(ours_to, theirs_to, strict=True):
        torch.testing.assert_close(mine, other * factor, rtol=1e-4, atol=1e-7)


def test_trls_jumps_at_the_ends_and_ours_does_not() -> None:
    """A beta of 0.0001 trains a ten-thousandth of what a beta of 0 trains there, and the same here."""
    generator = torch.Generator().manual_seed(4)
    hidden, taught = (torch.randn(TOKENS, 12, generator=generator, dtype=torch.float64) for _ in range(2))
    heads = [torch.nn.Linear(12, VOCAB, bias=False).double() for _ in range(2)]
    mask = torch.ones(1, TOKENS, dtype=torch.bool)

    def theirs(beta: float) -> float:
        given = (hidden[None], taught[None], heads[0].weight, heads[1].weight, mask, beta)
        return float(trl._chunked_divergence_loss(*given, temperature=1.0)[0])

    def ours(beta: float) -> float:
        loss = bound("jsd").loss
        params = loss.params(beta=beta, temperature=1.0)
        return float(loss.value(heads[0](hidden), heads[1](taught), None, params).mean())

    for end, near in ((0.0, 1e-4), (1.0, 1 - 1e-4)):
        assert theirs(near) == pytest.approx(1e-4 * theirs(end), rel=1e-2)
        assert ours(near) == pytest.approx(ours(end), rel=1e-2)
        assert ours(end) == pytest.approx(theirs(end), rel=1e-6)
