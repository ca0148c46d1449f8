"""Full-vocabulary logits of all tokens never exist, forward or backward."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from runtime.steps.train import Term
from runtime.train import objective
from runtime.train.objective import Side
from tests.tensor.losses.terms import values

TOKENS, VOCAB, CHUNK = 100, 331, 16


class Widest(TorchDispatchMode):
    """Remembers the most rows any tensor of vocabulary width had."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, torch.Tensor) and result.ndim == 2 and result.shape[-1] == VOCAB:
            self.rows = max(self.rows, result.shape[0])
        return result


@pytest.mark.parametrize(("chunk", "rows"), [(CHUNK, CHUNK), (TOKENS, TOKENS)])
def test_no_logits_beyond_one_chunk(chunk: int, rows: int) -> None:
    """The second case shows that the meter would see them."""
    terms = objective.bind([Term(term="kl", version=1, weight=1.0), Term(term="ce_truth", version=1, weight=1.0)])
    hidden = torch.randn(TOKENS, 8, requires_grad=True)
    student = Side(hidden, nn.Linear(8, VOCAB, bias=False))
    teacher = Side(torch.randn(TOKENS, 12), nn.Linear(12, VOCAB, bias=False))
    masks = {"response": torch.ones(TOKENS, dtype=torch.bool)}
    with Widest() as meter:
        target = torch.zeros(TOKENS, dtype=torch.long)
        found = values(student, teacher, target, masks, terms, objective.totals(masks), chunk)
        found.sum().backward()
    assert meter.rows == rows


def test_logits_are_not_kept_for_the_backward_pass() -> None:
    """What autograd saves between forward and backward holds no tensor of vocabulary width but the head itself."""
    saved: list[tuple[int, ...]] = []
    terms = objective.bind([Term(term="ce_truth", version=1, weight=1.0)])
    student = Side(torch.randn(TOKENS, 8, requires_grad=True), nn.Linear(8, VOCAB, bias=False))
    masks = {"response": torch.ones(TOKENS, dtype=torch.bool)}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(tuple(tensor.shape))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        target = torch.zeros(TOKENS, dtype=torch.long)
        values(student, None, target, masks, terms, objective.totals(masks), CHUNK)
    assert not [shape for shape in saved if shape and shape[-1] == VOCAB]
