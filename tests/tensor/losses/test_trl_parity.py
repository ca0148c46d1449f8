"""The divergence terms equal TRL's chunked loss (stable DistillationTrainer), value and gradient, but for T².

TRL is a development tool only: it is not among the project's dependencies, and without it this file is skipped.
Written against TRL 1.16.0, which divides by the valid tokens and does not multiply by T².
"""

from __future__ import annotations

import pytest
import torch

from runtime.train import objective
from runtime.train.objective import Side
from tests.tensor.losses.bench import TEMPERATURE, bound
from tests.tensor.losses.terms import values

trl = pytest.importorskip(
    "trl.trainer.distillation_trainer",
    reason="TRL is not installed: a second opinion for development, see the docstring",
    exc_type=ImportError,
)
TOKENS, VOCAB = 23, 41


@pytest.mark.parametrize(("name", "beta"), [("kl", 0.0), ("reverse_kl", 1.0)])
def test_divergence_is_trls_times_temperature_squared(name: str, beta: float) -> None:
    generator = torch.Generator().manual_seed(3)
    hidden = torch.randn(TOKENS, 12, generator=generator, requires_grad=True)
    taught = torch.randn(TOKENS, 20, generator=generator)
    head = torch.nn.Linear(12, VOCAB, bias=False)
    teacher_head = torch.nn.Linear(20, VOCAB, bias=False)
    mask = torch.rand(TOKENS, generator=generator) < 0.6

    masks = {"response": mask}
    target = torch.zeros(TOKENS, dtype=torch.long)
    sides = Side(hidden, head), Side(taught, teacher_head)
    (ours,) = values(*sides, target, masks, [bound(name)], objective.totals(masks), 7)
    ours_to = torch.autograd.grad(ours, (hidden, head.weight))

    theirs, _, valid = trl._chunked_divergence_loss(
        hidden[None], taught[None], head.weight, teacher_head.weight, mask[None], beta, temperature=TEMPERATURE
    )
    theirs_to = torch.autograd.grad(theirs, (hidden, head.weight))

    assert int(valid) == int(mask.sum())
    factor = TEMPERATURE**2
    torch.testing.assert_close(ours, theirs * factor, rtol=1e-5, atol=1e-7)
    for mine, other in zip(ours_to, theirs_to, strict=True):
        torch.testing.assert_close(mine, other * factor, rtol=1e-4, atol=1e-7)
