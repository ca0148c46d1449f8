"""A frozen checkpoint → hidden states of the supervised tokens, for the objective's teacher side.

A teacher does not change, so each row goes through it once, before training, in groups of equal length; a step then
looks its rows up. Hidden states are kept rather than logits: they are as exact and V / H times smaller (the idea of
NeMo-RL #3978 and verl #6194). When even they would not fit, each step runs the teacher on its own batch instead.

Letters: B rows, T tokens, S supervised tokens of all rows, N of a batch, H hidden width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.objective import Top
from runtime.models import admission
from runtime.train import narrow
from runtime.train.batches import Batch, Corpus, Group
from runtime.train.objective import Side

#: most memory that looked-up hidden states may take
CACHE_BYTES = 1 << 30
#: tokens that go through the teacher at once while the look-up is filled
FILL_TOKENS = 8192
#: relative difference of logits that rounding explains
HEAD_TOLERANCE = 1e-4


def hidden_of(model: PreTrainedModel, groups: Sequence[Group]) -> Tensor:
    """hidden_NH in float32 after the model's last normalisation at the places that predict a supervised token.

    No attention mask is needed: padding stands on the right, and no real token may look to its right. Where a sequence
    holds several rows, their positions keep them apart (`runtime.train.packing`).
    """
    found: list[Tensor] = []
    for group in groups:
        packed = {} if group.positions_BT is None else {"position_ids": group.positions_BT}
        with narrow.at(group.places_N):
            hidden_BTH = model.base_model(input_ids=group.ids_BT, use_cache=False, **packed).last_hidden_state
        found.append(hidden_BTH.flatten(0, 1).index_select(0, group.places_N))
    whole = torch.cat(found)
    return whole.float() if whole.dtype in (torch.bfloat16, torch.float16) else whole


def head_of(model: PreTrainedModel, ids_BT: Tensor, who: str) -> nn.Linear:
    """The module hidden_NH → logits_NV. Raises Refusal when the model does more than that to make its logits (a soft
    cap, a scale): the loss would be of another model (TRL #6629)."""
    head = model.get_output_embeddings()
    with torch.no_grad():
        own = model(input_ids=ids_BT, use_cache=False).logits
        ours = head(model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state)
    bound = HEAD_TOLERANCE * max(1.0, float(own.abs().max()))
    near = own.shape == ours.shape and float((own - ours).abs().max()) <= bound
    # the loss multiplies by the layer's own weights
    if not near or not isinstance(head, nn.Linear):
        wrong, action = admission.WHY["head"]
        raise Refusal(f"the {who} (`{model.config.model_type}`) {wrong}", action=action)
    return head


class Taught(Protocol):
    """What is known of a teacher at the supervised tokens of one corpus."""

    def given(self, batch: Batch) -> Side | Top:
        """Of a batch of that corpus: its hidden states and head, or its likeliest tokens."""


class Teacher:
    """The teacher's side of every batch."""

    def __init__(
        self, model: PreTrainedModel, head: nn.Module, corpus: Corpus, drawn: Sequence[int], limit: int = CACHE_BYTES
    ) -> None:
        """`drawn` are the rows that any step will use."""
        self.model, self.head, self.corpus = model.requires_grad_(False), _in_float32(head), corpus
        self._table_SH: Tensor | None = None
        width = int(model.config.hidden_size)
        size = corpus.start[-1] * width * 4
        if size <= limit:
            self._table_SH = torch.zeros(corpus.start[-1], width)
            for rows in _fill_order(corpus, drawn):
                with torch.no_grad():
                    self._table_SH[corpus.flat(rows)] = hidden_of(model, [corpus.group(rows)])

    def given(self, batch: Batch) -> Side:
        return Side(self.hidden(batch), self.head)

    @property
    def looked_up(self) -> bool:
        return self._table_SH is not None

    def hidden(self, batch: Batch) -> Tensor:
        """hidden_NH of the batch's supervised tokens, without gradient."""
        if self._table_SH is not None:
            return self._table_SH.index_select(0, self.corpus.flat(batch.rows))
        with torch.no_grad():
            return hidden_of(self.model, batch.groups)


def _in_float32(head: nn.Module) -> nn.Module:
    """A head whose logits are float32: the loss compares them, and bfloat16 has three digits. Of a teacher that is held
    in bfloat16 the head exists once more."""
    if all(parameter.dtype in (torch.float32, torch.float64) for parameter in head.parameters()):
        return head
    wide = copy.deepcopy(head)
    # where layers run through another kernel, the copy does not
    wide.__dict__.pop("forward", None)
    return wide.to(torch.float32).requires_grad_(False)


def _fill_order(corpus: Corpus, drawn: Sequence[int]) -> list[list[int]]:
    """Rows in lots of at most FILL_TOKENS tokens, each lot of one length, so that nothing is padding."""
    by_length = sorted(set(drawn), key=lambda row: (len(corpus.ids[row]), row))
    lots: list[list[int]] = []
    for row in by_length:
        length = len(corpus.ids[row])
        if lots and len(corpus.ids[lots[-1][0]]) == length and (len(lots[-1]) + 1) * length <= FILL_TOKENS:
            lots[-1].append(row)
        else:
            lots.append([row])
    return lots
