"""One small batch with a student and a teacher, its values by the training path and by the oracle.

The rows differ in length, the masks in size, and the two models in width, so that a wrong shift, mask, denominator,
direction or temperature each gives other numbers (a test proves that it does).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime import catalog
from runtime.contract.architecture import Architecture
from runtime.data.encode import Example
from runtime.models import build
from runtime.steps.train import Term
from runtime.train import objective
from runtime.train.batches import Batch, Corpus
from runtime.train.objective import Bound, Side
from runtime.train.teaching import head_of, hidden_of
from tests.tensor.losses import oracle
from tests.tensor.losses.terms import values

VOCAB, TEMPERATURE = 29, 2.5
DIVERGENCES = ("jsd", "skew_kl", "skew_reverse_kl", "mse", "acceptance", "tvd", "top_k_kl")
TERMS = ("kl", "reverse_kl", "ce_teacher", "ce_truth", "tool_name", "json_args", *DIVERGENCES)
#: what a term is given beside a temperature
GIVEN: dict[str, dict[str, Any]] = {
    "jsd": {"beta": oracle.GIVEN["jsd"]},
    **{name: {"alpha": oracle.GIVEN[name]} for name in ("skew_kl", "skew_reverse_kl")},
    "top_k_kl": {"k": oracle.K},
}


def model(
    hidden: int, layers: int, seed: int, dtype: torch.dtype = torch.float64, cap: float | None = None
) -> PreTrainedModel:
    """Random weights large enough that the logits are far from uniform; with a cap, a Gemma 2 that has it."""
    shape = Architecture(
        family="llama" if cap is None else "gemma2",
        sliding_window=None if cap is None else 5,
        final_logit_softcapping=cap,
        hidden_size=hidden,
        intermediate_size=2 * hidden,
        num_hidden_layers=layers if cap is None else 2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        vocab_size=VOCAB,
    )
    made = build.build(shape, seed, attention="sdpa")
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.mul_(15.0 if parameter.shape[0] == VOCAB else 5.0)
    return made.to(dtype)


def examples(count: int = 7, seed: int = 5) -> list[Example]:
    """Rows of 6 to 20 tokens; the response is their end, the spans lie within it, some rows have none."""
    random = np.random.default_rng(seed)
    found: list[Example] = []
    for row in range(count):
        length = int(random.integers(6, 21))
        answer = int(random.integers(3, length - 1))
        response = [i >= length - answer for i in range(length)]
        name = [row % 3 != 0 and i == length - answer for i in range(length)]
        args = [row % 3 == 1 and length - answer < i < length - 1 for i in range(length)]
        ids = [int(token) for token in random.integers(0, VOCAB, length)]
        found.append(Example(ids, {"response": response, "tool_name": name, "json_args": args}))
    return found


def bound(name: str) -> Bound:
    loss = catalog.load("losses", name)
    params = GIVEN.get(name, {}) | ({"temperature": TEMPERATURE} if "temperature" in loss.params.model_fields else {})
    return objective.bind([Term(term=name, version=loss.version, weight=1.0, params=params)])[0]


class Bench:
    """`path` is the code that trains; `truth` is the oracle on logits of single, unpadded rows."""

    def __init__(
        self, dtype: torch.dtype = torch.float64, caps: tuple[float | None, float | None] = (None, None)
    ) -> None:
        """`caps` bound the logits of student and teacher."""
        self.student, self.teacher = model(16, 2, 1, dtype, caps[0]), model(24, 1, 2, dtype, caps[1])
        self.examples = examples()
        names = [str(row) for row in range(len(self.examples))]
        self.corpus = Corpus(names, self.examples, 32, pad_id=0)

    def batch(self) -> Batch:
        return self.corpus.batch(range(len(self.examples)))

    def path(self, names: tuple[str, ...] = TERMS, chunk_tokens: int = 7) -> Tensor:
        """values_K, exactly as the training loop computes them."""
        batch = self.batch()
        terms = [bound(name) for name in names]
        with torch.no_grad():
            taught = Side(hidden_of(self.teacher, batch.groups), self.head(self.teacher))
        student = Side(hidden_of(self.student, batch.groups), self.head(self.student))
        counts = objective.totals(batch.masks_N)
        return values(student, taught, batch.target_N, batch.masks_N, terms, counts, chunk_tokens)

    def head(self, of: PreTrainedModel) -> nn.Linear:
        """As training finds it."""
        return head_of(of, torch.tensor([self.examples[0].ids]), "model")

    def truth(self, name: str) -> float:
        """The oracle's value of one term."""
        logits: list[list[oracle.Array]] = [[], []]
        with torch.no_grad():
            for example in self.examples:
                for place, of in enumerate((self.student, self.teacher)):
                    row_TV = of(input_ids=torch.tensor([example.ids]), use_cache=False).logits[0]
                    logits[place].append(row_TV.double().numpy())
        mask = bound(name).loss.mask
        ids = [example.ids for example in self.examples]
        masks = [example.masks[mask] for example in self.examples]
        return oracle.term(name, logits[0], logits[1], ids, masks, TEMPERATURE)


@contextmanager
def nudged(of: PreTrainedModel, direction: list[Tensor], by: float) -> Iterator[None]:
    """The model's weights moved by `by` along a direction, and put back."""
    kept = [parameter.detach().clone() for parameter in of.parameters()]
    with torch.no_grad():
        for parameter, part in zip(of.parameters(), direction, strict=True):
            parameter.add_(part, alpha=by)
    try:
        yield
    finally:
        with torch.no_grad():
            for parameter, old in zip(of.parameters(), kept, strict=True):
                parameter.copy_(old)
