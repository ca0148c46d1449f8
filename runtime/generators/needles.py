"""A seed → long prompts of declared lengths with one fact at declared depths, and a question about it at the end.

Facts of the same form about other places stand before and after, so that the one that is asked is neither the first
nor the last, seldom the largest, and no copy of the prompt answers. What lies between says nothing. Every prompt has
exactly as many words as declared; a token is a word or less than one.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import Field, model_validator

from runtime.contract import Generator, Params
from runtime.contract.cells import Cell
from runtime.contract.units import unit
from runtime.data.drawn import Question, distinct, pick

#: with commas
_COLOURS = (
    "Amber, Azure, Copper, Coral, Golden, Green, Grey, Ivory, Jade, Olive, Purple, Red, Rose, Ruby, Silver, White"
)
_PLACES = (
    "Bay, Bridge, Castle, Garden, Gate, Harbour, Hill, Island, Lake, Market, Mill, Park, River, Square, Tower, Valley"
)
_FACT = "The number of {name} is {number}."
_QUESTION = "What is the number of {name}?"
#: a question, and each fact
_WORDS = 7
#: so many facts at most: there are 256 names
_MOST_FACTS = 64
_FILLER = (
    "The rain had stopped before the morning came.",
    "Nobody spoke for a while.",
    "A boat went slowly down the water, and a dog ran beside it.",
    "Bread was baked twice a day.",
    "In the evening the lamps were lit one after the other.",
    "Some people read, others played cards or looked out of the window.",
    "The road was long but not steep.",
    "Leaves lay on the grass.",
    "Later it was warmer than anybody had thought.",
    "Somebody had left a coat on the bench.",
    "The wind turned.",
    "All was quiet.",
    "Nothing happened.",
    "Quiet.",
)


class NeedlesParams(Params):
    rows: int = Field(
        default=500, ge=1, le=20_000, description="Distinct rows to make, the same number for each length and depth.",
        examples=[500], json_schema_extra=unit("row"),
    )  # fmt: skip
    lengths: list[int] = Field(
        default=[4096, 16384], min_length=1, max_length=16, description="Words of the prompts, each once.",
        examples=[[512, 1024]], json_schema_extra=unit("word"),
    )  # fmt: skip
    depths: list[int] = Field(
        default=[0, 25, 50, 75, 100], min_length=1, max_length=11,
        description="How much of the text stands before the fact that is asked, each once.",
        examples=[[0, 50, 100]], json_schema_extra=unit("percent"),
    )  # fmt: skip
    facts: int = Field(
        default=8, ge=5, le=_MOST_FACTS, description="Facts of the same form; one of them is asked.", examples=[8],
        json_schema_extra=unit("fact"),
    )  # fmt: skip

    @model_validator(mode="after")
    def _fit(self) -> NeedlesParams:
        for name, values in (("lengths", self.lengths), ("depths", self.depths)):
            if len(set(values)) != len(values):
                raise ValueError(f"the same value twice in `{name}`")
        fewest = _WORDS * (self.facts + 1) + 1
        if not fewest <= min(self.lengths) <= max(self.lengths) <= 100_000:
            raise ValueError(f"`lengths` are from {fewest} ({self.facts} facts and a question) to 100000 words")
        if not 0 <= min(self.depths) <= max(self.depths) <= 100:
            raise ValueError("`depths` are from 0 to 100 per cent")
        return self


def _filler(rng: Random, words: int) -> list[str]:
    """Sentences of so many words together."""
    found, left = list[str](), words
    while left:
        sentence = pick(rng, [one for one in _FILLER if len(one.split()) <= left])
        found.append(sentence)
        left -= len(sentence.split())
    return found


def _among(rng: Random, facts: Sequence[str], filler: list[str]) -> list[str]:
    """Facts at places drawn at random."""
    for fact in facts:
        filler.insert(int(rng.random() * (len(filler) + 1)), fact)
    return filler


def _apart(rng: Random, count: int, draw: Sequence[str]) -> list[str]:
    """So many different ones."""
    found = dict[str, None]()
    while len(found) < count:
        found[pick(rng, draw)] = None
    return list(found)


_NAMES = [f"{colour} {place}" for colour in _COLOURS.split(", ") for place in _PLACES.split(", ")]
_NUMBERS = [str(number) for number in range(10_000, 100_000)]


def _drawn(rng: Random, cell: Cell, facts: int) -> tuple[str, str]:
    """A prompt and its answer."""
    names, numbers = _apart(rng, facts, _NAMES), _apart(rng, facts, _NUMBERS)
    said = [_FACT.format(name=name, number=number) for name, number in zip(names, numbers, strict=True)]
    filler = cell.length - _WORDS * (facts + 1)
    # words before the fact that is asked; as many other facts stand there as there is room for, by chance
    ahead = (cell.length - 2 * _WORDS) * cell.depth // 100
    fewest, most = max(1, facts - 1 - (cell.length - 2 * _WORDS - ahead) // _WORDS), min(facts - 2, ahead // _WORDS)
    before = min(fewest + int(rng.random() * (most - fewest + 1)), facts - 2) if most >= fewest else fewest
    before = min(before, facts - 2)
    first = min(max(ahead - _WORDS * before, 0), filler)
    text = [
        *_among(rng, said[1 : 1 + before], _filler(rng, first)),
        said[0],
        *_among(rng, said[1 + before :], _filler(rng, filler - first)),
        _QUESTION.format(name=names[0]),
    ]
    return " ".join(text), numbers[0]


def rows(params: NeedlesParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct prompts, the cells in turn."""
    rng = Random(f"kc.needles.v1 {seed}")
    cells = [Cell(length, depth) for length in params.lengths for depth in params.depths]

    def draw(index: int) -> Question:
        cell = cells[index % len(cells)]
        prompt, answer = _drawn(rng, cell, params.facts)
        return Question(prompt, lambda: answer, cell.text)

    return distinct(params.rows, "needles", draw)


GENERATOR = Generator(
    name="needles",
    version=1,
    params=NeedlesParams,
    rows=rows,
    spans=frozenset(),
    # the answer is one more
    words=lambda params: max(params.lengths) + 1,
)
