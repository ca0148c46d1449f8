"""Sizes of a decoder's parts × how many chunks → which layers each chunk holds. Pure integers, no tensors.

A chunk is a package of its own: some consecutive layers, the first with the embedding before them, the last with the
final norm and the head behind them. Between two chunks the residual stream leaves the one as `hidden_states_<number>`,
its own, and enters the other under the same name, in float16, or float32 where it is an island of precision. The split
is the one whose largest chunk is smallest, so that an embedding or a head that is larger than some layers together
stands alone; of such splits the most even one. A tied embedding is stored by the first chunk and by the last one, and
counted twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate

from pydantic import Field

from runtime.contract import Params

#: how what leaves a chunk and enters the next one is called, before the number of the chunk that gives it
HIDDEN = "hidden_states_"
#: how a chunk's package is called, before its number
CHUNK = "chunk_"
#: no more chunks than this are made
MOST = 64


class Chunk(Params):
    """One chunk of several."""

    number: int = Field(ge=1, description="The first one holds the embedding and takes ids.")
    layers: tuple[int, int] = Field(description="The first layer, and the one after the last.")
    heads: bool = Field(description="Whether it holds the final norm and the head and gives logits.")
    bytes: int = Field(ge=1, description="What its tensors take in float16.")

    @property
    def package(self) -> str:
        """What its package is called: `<variant>.chunk_1.mlpackage`."""
        return f"{CHUNK}{self.number}"

    @property
    def enters(self) -> str:
        """The input that is not the text's, "" of the first one, which takes ids."""
        return f"{HIDDEN}{self.number - 1}" if self.number > 1 else ""

    @property
    def gives(self) -> str:
        """The output that is no cache's."""
        return "logits" if self.heads else f"{HIDDEN}{self.number}"


def split(embedding: int, layers: Sequence[int], head: int, count: int) -> list[Chunk]:
    """`count` chunks of a decoder whose parts take so many bytes.

    Raises ValueError for more chunks than there are layers and two ends, or less than one.
    """
    parts = (embedding, *layers, head)
    if not 1 <= count <= len(parts):
        raise ValueError(f"{len(layers)} layers, an embedding and a head make no {count} chunks")
    ends = _ends(parts, count)
    return [
        Chunk(
            number=number,
            layers=(max(first - 1, 0), min(end - 1, len(layers))),
            heads=end == len(parts),
            bytes=sum(parts[first:end]),
        )
        for number, (first, end) in enumerate(zip((0, *ends), ends, strict=False), 1)
    ]


def _ends(parts: Sequence[int], count: int) -> tuple[int, ...]:
    """Where each run of parts ends."""
    before = (0, *accumulate(parts))

    @cache
    def smallest(first: int, left: int) -> int:
        """The least that the largest of `left` runs can be."""
        if left == 1:
            return before[-1] - before[first]
        last = len(parts) - left + 1
        return min(max(before[end] - before[first], smallest(end, left - 1)) for end in range(first + 1, last + 1))

    limit = smallest(0, count)

    @cache
    def most_even(first: int, left: int) -> tuple[int, tuple[int, ...]] | None:
        """(sum of squares, ends) of `left` runs within the limit."""
        if left == 1:
            size = before[-1] - before[first]
            return (size * size, (len(parts),)) if size <= limit else None
        best = None
        for end in range(first + 1, len(parts) - left + 2):
            size = before[end] - before[first]
            rest = most_even(end, left - 1) if size <= limit else None
            if rest is not None:
                found = (size * size + rest[0], (end, *rest[1]))
                best = found if best is None else min(best, found)
        return best

    found = most_even(0, count)
    assert found is not None, "the limit was reached by a split"
    return found[1]
