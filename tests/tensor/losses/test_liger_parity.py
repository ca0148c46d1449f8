"""`jsd` is Liger's JSD of the same beta, value and gradient, but for T² and the division by beta (1 - beta).

Liger is a development tool only: without it this file is skipped (`pip install --no-deps liger-kernel`). Its kernels need
a card; what they are held against by Liger itself is in torch, and is asked here. Written against 0.8.5.
"""

from __future__ import annotations

import pytest
import torch

from runtime import catalog

liger = pytest.importorskip(
    "liger_kernel.chunked_loss.jsd_loss",
    reason="Liger is not installed: a second opinion for development, see the docstring",
    exc_type=ImportError,
)


@pytest.mark.parametrize("beta", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_jsd_is_ligers_times_what_it_leaves_out(beta: float) -> None:
    made = torch.Generator().manual_seed(6)
    student, teacher = (4 * torch.randn(11, 37, generator=made, dtype=torch.float64) for _ in range(2))
    loss, temperature = catalog.load("losses", "jsd"), 1.7
    params = loss.params(beta=beta, temperature=temperature)
    ours, gradient = loss.gradient(student.clone(), teacher, None, params)
    leaf = (student / temperature).requires_grad_()
    theirs = liger.LigerFusedLinearJSDFunction.distillation_loss_fn(leaf, teacher / temperature, beta=beta)
    (to,) = torch.autograd.grad(theirs, leaf)
    factor = temperature**2 / (beta * (1 - beta) if 0 < beta < 1 else 1.0)
    torch.testing.assert_close(ours.sum(), theirs.detach() * factor, rtol=1e-12, atol=0)
    torch.testing.assert_close(gradient, to * factor / temperature, rtol=1e-9, atol=1e-12)
