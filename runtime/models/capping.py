"""The bound that a model puts on its logits: cap · tanh(what its head says / cap) (Gemma 2, arXiv 2408.00118, 2).

With y such a logit, its derivative by what the head says is 1 - (y / cap)².
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import PreTrainedModel


class Capped(nn.Linear):
    """A model's head with the bound that the model puts on its logits. It has the head's own weights."""

    def __init__(self, head: nn.Linear, cap: float) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features, self.cap = head.in_features, head.out_features, cap
        self.weight, self.bias = head.weight, head.bias

    def forward(self, input: Tensor) -> Tensor:
        return bound(functional.linear(input, self.weight, self.bias), self.cap)


def stated(model: PreTrainedModel) -> float | None:
    """The bound that a model's config states; whether it is all that the model does is to be measured."""
    found = getattr(model.config.get_text_config(decoder=True), "final_logit_softcapping", None)
    return None if found is None else float(found)


def cap_of(head: object) -> float | None:
    """The bound of a head's logits."""
    return head.cap if isinstance(head, Capped) else None


def bound(logits: Tensor, cap: float | None) -> Tensor:
    """cap · tanh(logits / cap); without a cap, as they are."""
    return logits if cap is None else torch.tanh(logits / cap) * cap


def bound_(logits: Tensor, cap: float | None) -> Tensor:
    """The same in the place of `logits`."""
    return logits if cap is None else logits.div_(cap).tanh_().mul_(cap)


def slope(bounded: Tensor, cap: float) -> Tensor:
    """Derivative of bounded logits by what the head said."""
    return (bounded / cap).square_().neg_().add_(1.0)
