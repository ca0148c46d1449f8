"""A frozen checkpoint → hidden states of the supervised tokens, for the objective's teacher side.

A teacher does not change, so each row goes through it once, before training, in groups of equal length; a step then
looks its rows up. Hidden states are kept rather than logits: they are as exact and V / H times smaller (the idea of
NeMo-RL #3978 and verl #6194). When even they would not fit, each step runs the teacher on its own batch instead.

Letters: B rows, T tokens, S supervised tokens of all rows, N of a batch, H hidden width, V vocabulary.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from runtime.contract import Refusal
from runtime.contract.objective import Top
from runtime.models import admission, build, capping
from runtime.models.tokenizer import Tokenizer
from runtime.train import layers, narrow, whence
from runtime.train.batches import Batch, Corpus, Group
from runtime.train.layers import NOTHING, Read, Wanted
from runtime.train.objective import Side
from runtime.train.place import HERE, Place, device_of

#: most memory that looked-up hidden states may take
CACHE_BYTES = 1 << 30
#: tokens that go through the teacher at once while the look-up is filled
FILL_TOKENS = 8192
#: tokens at which a head is compared with its model's logits
HEAD_TOKENS = 32
#: relative difference of logits that rounding explains
HEAD_TOLERANCE = 1e-4


#: `sdpa` computes what eager attention computes, without ever holding the [T, T] weights
ATTENTION = "sdpa"


def loaded(folder: Path) -> PreTrainedModel:
    """A teacher in the floats in which its checkpoint is kept."""
    return build.load(folder, attention=ATTENTION, dtype=build.held(folder))


def check_width(model: PreTrainedModel, words: Tokenizer, longest: int, who: str) -> None:
    """Raises Refusal for a model that has not a row for each token, or a context shorter than the longest row."""
    width, context = int(model.config.vocab_size), build.context_of(model)
    if width != words.vocab_size:
        raise Refusal(
            f"the {who} has {width} embedding rows, the tokenizer {words.vocab_size} tokens",
            action="give both one vocab_size; nothing is cut or filled up",
        )
    if context is not None and longest > context:
        raise Refusal(
            f"max_length {longest} is longer than the {who}'s context of {context} tokens",
            action="lower max_length, or raise max_position_embeddings",
        )


def hidden_of(model: PreTrainedModel, groups: Sequence[Group], place: Place = HERE) -> Tensor:
    """hidden_NH of `gathered`, and nothing else."""
    return gathered(model, groups, place)[0]


def gathered(
    model: PreTrainedModel, groups: Sequence[Group], place: Place = HERE, wanted: Wanted = NOTHING
) -> tuple[Tensor, Read]:
    """hidden_NH in float32, where the model is, after its last normalisation, at the places that predict a supervised
    token; and of a model that is listened to (`layers.listen`) what is wanted of its layers, at the same places.

    No attention mask is needed: padding stands on the right, and no real token may look to its right. Where a sequence
    holds several rows, their positions keep them apart (`runtime.train.packing`).
    """
    found: list[Tensor] = []
    inside: list[Read] = []
    device, last = device_of(model), len(layers.layers_of(model)) if wanted else 0
    for group in groups:
        packed = {} if group.positions_BT is None else {"position_ids": group.positions_BT.to(device)}
        ids_BT, places_N = group.ids_BT.to(device), group.places_N.to(device)
        with narrow.at(places_N), place.trunk(device), layers.met() as met:
            hidden_BTH = model.base_model(input_ids=ids_BT, use_cache=False, **packed).last_hidden_state
        found.append(hidden_BTH.flatten(0, 1).index_select(0, places_N))
        inside.append(layers.taken(met, hidden_BTH, places_N, wanted, last))
    return layers.wide(torch.cat(found)), layers.joined(inside, wanted)


def head_of(model: PreTrainedModel, ids_BT: Tensor, who: str) -> nn.Linear:
    """The module hidden_NH → logits_NV, with the bound that the config states. Raises Refusal when the model does more
    than that to make its logits (a scale, a bound of another kind): the loss would be of another model (TRL #6629). A
    few tokens tell it; the logits of a long row over a large vocabulary would be the most that a training ever holds.
    """
    head, ids_BT = model.get_output_embeddings(), ids_BT[:, :HEAD_TOKENS].to(device_of(model))
    cap = capping.stated(model)
    if cap is not None and isinstance(head, nn.Linear):
        head = capping.Capped(head, cap)
    with torch.no_grad():
        own = model(input_ids=ids_BT, use_cache=False).logits
        ours = head(model.base_model(input_ids=ids_BT, use_cache=False).last_hidden_state)
    bound = HEAD_TOLERANCE * max(1.0, float(own.abs().max()))
    near = own.shape == ours.shape and float((own - ours).abs().max()) <= bound
    if not whence.finite(own):
        with torch.no_grad(), whence.traced(model) as trace:
            model(input_ids=ids_BT, use_cache=False)
        raise Refusal(
            f"the {who} gives numbers that are not finite {trace.words}",
            action="look at the weights it starts from: one that is not finite makes everything after it so",
        )
    # the loss multiplies by the layer's own weights
    if not near or not isinstance(head, nn.Linear):
        wrong, action = admission.WHY["head"]
        raise Refusal(f"the {who} (`{model.config.model_type}`) {wrong}", action=action)
    return head


class Taught(Protocol):
    """What is known of a teacher at the supervised tokens of one corpus."""

    def given(self, batch: Batch) -> Side | Top:
        """Of a batch of that corpus: its hidden states and head, with its layers where they are read, or its likeliest
        tokens."""


class Teacher:
    """The teacher's side of every batch."""

    def __init__(
        self,
        model: PreTrainedModel,
        head: nn.Module,
        corpus: Corpus,
        drawn: Sequence[int],
        limit: int | None = None,
        place: Place = HERE,
        tell: Callable[[int, int], None] | None = None,
        wanted: Wanted = NOTHING,
    ) -> None:
        """`drawn` are the rows that any step will use. The model stays where it is; its logits are made, and hidden
        states kept, where the student is. `tell`: called with how many of so many lots of rows were read. `wanted`:
        what terms read of its layers."""
        self.model, self.corpus, self.place, self.wanted = model.requires_grad_(False), corpus, place, wanted
        self.head = _beside(in_float32(head), place.device)
        layers.listen(model, wanted)
        self._table_SH: Tensor | None = None
        self._tables: dict[int, Tensor] = {}
        width = int(model.config.hidden_size)
        if keeps(corpus, width, limit, wanted):
            self._table_SH = torch.zeros(corpus.start[-1], width, device=place.device)
            self._tables = {layer: torch.zeros_like(self._table_SH) for layer in sorted(wanted.states)}
            read = lots(corpus, drawn)
            for done, rows in enumerate(read):
                if tell is not None:
                    tell(done, len(read))
                with torch.no_grad():
                    at = corpus.flat(rows).to(place.device)
                    found_NH, inside = gathered(model, [corpus.group(rows)], place, wanted)
                    if not whence.finite(found_NH):
                        raise _unfinite(model, corpus, rows, place)
                    self._table_SH[at] = found_NH.to(place.device)
                    for layer, states_NH in inside.states.items():
                        self._tables[layer][at] = states_NH.to(place.device)

    def given(self, batch: Batch) -> Side:
        if self._table_SH is not None:
            at = self.corpus.flat(batch.rows).to(self.place.device)
            kept = {layer: table_SH.index_select(0, at) for layer, table_SH in self._tables.items()}
            return Side(self._table_SH.index_select(0, at), self.head, Read(kept))
        with torch.no_grad():
            hidden_NH, inside = gathered(self.model, batch.groups, self.place, self.wanted)
        return Side(hidden_NH.to(self.place.device), self.head, inside.to(self.place.device))

    @property
    def looked_up(self) -> bool:
        return self._table_SH is not None

    def hidden(self, batch: Batch) -> Tensor:
        """hidden_NH of the batch's supervised tokens, without gradient."""
        return self.given(batch).hidden_NH


def _unfinite(model: PreTrainedModel, corpus: Corpus, rows: Sequence[int], place: Place) -> Refusal:
    """The teacher has no finite hidden state for one of these rows: for which, and from where in it on."""
    for row in rows:
        with torch.no_grad(), whence.traced(model) as trace:
            hidden_of(model, [corpus.group([row])], place)
        if trace.module:
            return Refusal(
                f"the teacher gives numbers that are not finite {trace.words}, for row `{corpus.names[row]}`",
                place="train.jsonl",
                action="remove the row, or take another teacher or another number format for it",
            )
    return Refusal("the teacher gives numbers that are not finite", action="take another teacher")


def in_float32(head: nn.Module) -> nn.Module:
    """A head whose logits are float32: the loss compares them, and bfloat16 has three digits. Of a teacher that is held
    in bfloat16 the head exists once more."""
    if all(parameter.dtype in (torch.float32, torch.float64) for parameter in head.parameters()):
        return head
    wide = copy.deepcopy(head)
    # where layers run through another kernel, the copy does not
    wide.__dict__.pop("forward", None)
    return wide.to(torch.float32).requires_grad_(False)


def _beside(head: nn.Module, device: torch.device) -> nn.Module:
    """The head on a device; a copy where it is elsewhere, because it may be one matrix with the model's embedding."""
    return head if device_of(head) == device else copy.deepcopy(head).to(device).requires_grad_(False)


def keeps(corpus: Corpus, width: int, limit: int | None = None, wanted: Wanted = NOTHING) -> bool:
    """Whether the hidden states of all rows, so wide, are looked up, those of its layers with them. Attention maps, as
    wide as their row is long, are not: a teacher whose maps are read runs at each step."""
    tables = 1 + len(wanted.states)
    return not wanted.attention and corpus.start[-1] * width * 4 * tables <= (CACHE_BYTES if limit is None else limit)


def lots(corpus: Corpus, drawn: Sequence[int]) -> list[list[int]]:
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
