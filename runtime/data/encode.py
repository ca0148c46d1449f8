"""A dataset row → token ids and, for each mask, which targets are supervised.

Target positions are those of `ids`: token i is predicted from the tokens before it, so a loss that holds logits at
position i - 1 reads `masks[m][i]`. Spans are matched by bytes, never by counting tokens from the start of the sequence
(the misalignment of TRL #5905 and of the origin's defect D10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from runtime.contract.rows import Row

RESPONSE = "response"


class EncodedPair(Protocol):
    """What a tokenizer makes of a prompt and its response; see `runtime.models.tokenizer.Encoded`."""

    @property
    def ids(self) -> list[int]: ...

    @property
    def prompt_tokens(self) -> int: ...

    @property
    def offsets(self) -> list[tuple[int, int]]: ...

    @property
    def earlier(self) -> tuple[tuple[int, int], ...]: ...


class PairEncoder(Protocol):
    """The part of a tokenizer that is needed here."""

    def sequences(self, row: Mapping[str, Any]) -> Sequence[EncodedPair]: ...


@dataclass(frozen=True, slots=True)
class Example:
    """One sequence of T tokens; `masks[m]` has T booleans, one for each token as a target."""

    ids: list[int]
    masks: dict[str, list[bool]]


def _overlaps(offset: tuple[int, int], spans: Sequence[Sequence[int]]) -> bool:
    return any(offset[0] < end and start < offset[1] for start, end in spans)


def encode(row: Row, tokenizer: PairEncoder, masks: Sequence[str]) -> list[Example]:
    """Ids of the row's sequences (one, but for a conversation whose earlier turns need their own) and the supervised
    targets of each mask in `masks`.

    "response" supervises every token of a response and its end token; another name supervises the tokens of the last
    response that share at least one byte with a span of that name (none when the row has no such span). Prompt tokens
    and the beginning token are never supervised. Nothing is cut: the caller bounds the length.
    """
    return [_example(row, pair, masks) for pair in tokenizer.sequences(row)]


def _example(row: Row, pair: EncodedPair, masks: Sequence[str]) -> Example:
    before, end = [False] * pair.prompt_tokens, len(pair.ids)
    found: dict[str, list[bool]] = {}
    for mask in masks:
        if mask == RESPONSE:
            turns = (*pair.earlier, (pair.prompt_tokens, end))
            found[mask] = [any(start <= i < stop for start, stop in turns) for i in range(end)]
            continue
        spans: Mapping[str, list[list[int]]] = row["spans"]
        inside = [_overlaps(offset, spans.get(mask, [])) for offset in pair.offsets]
        found[mask] = before + inside + [False]
    return Example(ids=pair.ids, masks=found)
