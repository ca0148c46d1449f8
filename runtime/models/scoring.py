"""Replies to the same prompts → how likely each is, with every prompt computed once.

A question with twenty permitted answers, or a long one with four choices, is the same text again and again. Its keys
and values are made once and the replies go on from them, as a generation does. For models that go on from a cache as
from the whole text (`runtime.models.admission.continues`).

Letters: P prompts of one length T, R replies to them, of at most S tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from runtime.models.tokenizer import Encoded


@dataclass(frozen=True, slots=True)
class Lot:
    """Prompts of one length and replies to them that fit into one pass: `replies` are (place of the prompt, index of
    the pair)."""

    prompts: list[tuple[int, ...]]
    replies: list[tuple[int, int]]


def _prompt_of(pair: Encoded) -> tuple[int, ...]:
    return tuple(pair.ids[: pair.prompt_tokens])


def repeated(pairs: Sequence[Encoded]) -> dict[tuple[int, ...], list[int]]:
    """Prompt → indices of its pairs, for prompts with several."""
    found: dict[tuple[int, ...], list[int]] = {}
    for index, pair in enumerate(pairs):
        found.setdefault(_prompt_of(pair), []).append(index)
    return {prompt: indices for prompt, indices in found.items() if prompt and len(indices) > 1}


def lots(pairs: Sequence[Encoded], shared: dict[tuple[int, ...], list[int]], tokens: int, logits: int) -> Iterator[Lot]:
    """Replies by the length of their prompt, in lots of at most `tokens` places in the cache and `logits` rows of
    logits, padding included; one reply that is larger is a lot of its own."""
    lot, longest = Lot([], []), 0
    for prompt in sorted(shared, key=lambda one: (len(one), one)):
        for index in sorted(shared[prompt], key=lambda i: (len(pairs[i].ids), i)):
            reply = max(longest, len(pairs[index].ids) - len(prompt))
            rows = len(lot.replies) + 1
            fits = rows * (len(prompt) + reply) <= tokens and rows * reply <= logits
            if lot.replies and not (fits and len(lot.prompts[0]) == len(prompt)):
                yield lot
                lot, reply = Lot([], []), len(pairs[index].ids) - len(prompt)
            if not lot.prompts or lot.prompts[-1] != prompt:
                lot.prompts.append(prompt)
            lot.replies.append((len(lot.prompts) - 1, index))
            longest = reply
    if lot.replies:
        yield lot


def logits_of(model: PreTrainedModel, pairs: Sequence[Encoded], lot: Lot, pad_id: int) -> Iterator[tuple[int, Tensor]]:
    """(index of a pair, logits_SV that predict its reply), reply by reply."""
    prompts_PT, cache = torch.tensor(lot.prompts, device=model.device), DynamicCache(config=model.config)
    first_PV = model(input_ids=prompts_PT, past_key_values=cache, use_cache=True, logits_to_keep=1).logits[:, 0]
    # the last token of a reply predicts nothing that is asked
    given = [pairs[index].ids[len(lot.prompts[0]) : -1] for _, index in lot.replies]
    longest = max(len(ids) for ids in given)
    whose_R = torch.tensor([prompt for prompt, _ in lot.replies], device=model.device)
    if longest:
        cache.batch_select_indices(whose_R)
        ids_RS = torch.tensor([ids + [pad_id] * (longest - len(ids)) for ids in given], device=model.device)
        further_RSV = model(input_ids=ids_RS, past_key_values=cache, use_cache=True).logits
    for row, (prompt, index) in enumerate(lot.replies):
        first_1V = first_PV[prompt][None]
        yield index, torch.cat([first_1V, further_RSV[row, : len(given[row])]]) if given[row] else first_1V
