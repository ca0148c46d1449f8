"""A dataset row → token ids and, for each mask, which targets are supervised.

Target positions are those of `ids`: token i is predicted from the tokens before it, so a loss that holds logits at
position i - 1 reads `masks[m][i]`. Spans are matched by bytes, never by counting tokens from the start of the sequence
(the misalignment of TRL #5905 and of the origin's defect D10).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from runtime.contract.conditions import FACTS, FORBIDDEN, JUDGED, MASKS
from runtime.contract.rows import Row, rejected_of
from runtime.data import conditions
from runtime.data.conditions import overlaps

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
    """One sequence of T tokens; `masks[m]` has T booleans and `facts[f]` T numbers, one for each token as a target."""

    ids: list[int]
    masks: dict[str, list[bool]]
    facts: dict[str, list[float]] = field(default_factory=dict)


def encode(row: Row, tokenizer: PairEncoder, masks: Sequence[str], facts: Sequence[str] = ()) -> list[Example]:
    """Ids of the row's sequences (one, but for a conversation whose earlier turns need their own), the supervised
    targets of each mask in `masks`, and each of `facts` beside them.

    "response" supervises every token of a response and its end token; another name supervises the tokens of the last
    response that share at least one byte with a span of that name (none when the row has no such span), or those that
    `runtime.contract.conditions.MASKS` says. Tokens of a span `forbidden` are supervised by a mask of that name alone.
    Of an answer that is said to be wrong the mask "judged" alone has tokens: its end token, too, and all before it.
    Prompt tokens and the beginning token are never supervised. Nothing is cut: the caller bounds the length.
    """
    found = tokenizer.sequences(row)
    paired = any(MASKS[mask].pair for mask in masks if mask in MASKS) or any(FACTS[fact].source.pair for fact in facts)
    rejected = tokenizer.sequences(_rejected(row))[-1] if paired and "rejected" in row else None
    # what a row marks is in its last answer: an earlier turn that is a sequence of its own has no part of it
    bare = cast(Row, {**row, "spans": {}, "wanted": {}})
    return [
        *(_example(bare, pair, masks, facts, None) for pair in found[:-1]),
        _example(row, found[-1], masks, facts, rejected),
    ]


def _rejected(row: Row) -> dict[str, Any]:
    """The row with the answer that was not chosen in the place of its own."""
    reply = rejected_of(row)
    made: dict[str, Any] = {**row, "response": str(reply), "spans": {}}
    if "messages" in row:
        last = row["rejected"] if not isinstance(row["rejected"], str) else None
        made["messages"] = [*row["messages"][:-1], last or {"role": "assistant", "content": row["rejected"]}]
    return made


def _example(
    row: Row, pair: EncodedPair, masks: Sequence[str], facts: Sequence[str], rejected: EncodedPair | None
) -> Example:
    before, end = [False] * pair.prompt_tokens, len(pair.ids)
    found: dict[str, list[bool]] = {}
    for mask in masks:
        if mask == JUDGED:
            known = "right" in row.get("wanted", {})
            found[mask] = before + [known] * (end - pair.prompt_tokens)
            continue
        if mask in MASKS:
            found[mask] = before + conditions.mask(mask, row, pair, rejected) + [False]
            continue
        if mask == RESPONSE:
            turns = (*pair.earlier, (pair.prompt_tokens, end))
            found[mask] = [any(start <= i < stop for start, stop in turns) for i in range(end)]
            continue
        spans: Mapping[str, list[list[int]]] = row["spans"]
        inside = [overlaps(offset, spans.get(mask, [])) for offset in pair.offsets]
        found[mask] = before + inside + [False]
    if row.get("wanted", {}).get("right") is False:
        for mask in found.keys() - {JUDGED}:
            found[mask] = [False] * end
    if row["spans"].get(FORBIDDEN):
        unlearnt = before + [overlaps(offset, row["spans"][FORBIDDEN]) for offset in pair.offsets] + [False]
        for mask in found.keys() - {FORBIDDEN}:
            found[mask] = [learnt and not bad for learnt, bad in zip(found[mask], unlearnt, strict=True)]
    return Example(
        ids=pair.ids, masks=found, facts={name: conditions.numbers(name, row, pair, rejected) for name in facts}
    )
