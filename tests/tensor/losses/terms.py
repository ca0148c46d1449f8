"""The values of several terms, each differentiable by itself, by the code that trains: one pass for each term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from runtime.train import onepass
from runtime.train.objective import Bound, Choices, Side


def values(
    student: Side,
    teacher: Side | None,
    target_N: Tensor,
    masks_N: Mapping[str, Tensor],
    terms: Sequence[Bound],
    denominators: Mapping[str, int],
    chunk: int,
    choices_N: Choices | None = None,
    facts_N: Mapping[str, Tensor] | None = None,
) -> Tensor:
    """values_K. The weighed sum of all terms in one pass must have the same values."""
    batch = onepass.Batch(teacher, target_N, masks_N, denominators, choices_N, facts_N=facts_N or {})
    alone = [onepass.total(student.hidden_NH, student.head, batch, [term], [1.0], chunk)[0] for term in terms]
    together = onepass.total(student.hidden_NH, student.head, batch, terms, [1.0] * len(terms), chunk)[1]
    found_K = torch.stack(alone)
    torch.testing.assert_close(found_K.detach(), together, rtol=1e-6, atol=1e-9, equal_nan=True)
    return found_K
