"""A seed → short sums in words, worked out in the form of GSM8K: a line of reckoning, then `#### ` and the number.

The answer is never a number of the question, nor the same for many of them: a model that is right has added or taken
away. (A pair of numbers whose result stands among them, such as 4 - 2, is not asked.)
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params
from runtime.contract.units import unit
from runtime.data.drawn import Question, distinct, pick


class WordSumsParams(Params):
    rows: int = Field(
        default=3000,
        ge=10,
        le=20_000,
        description="Distinct questions to make.",
        examples=[3000],
        json_schema_extra=unit("row"),
    )
    largest: int = Field(
        default=9,
        ge=5,
        le=99,
        description="Largest number of a question.",
        examples=[9],
        json_schema_extra=unit("1"),
    )


#: with commas
NAMES = "Ada, Ben, Cleo, Dan, Eve, Finn, Gus, Hal, Ida, Jon, Kim, Lea, Max, Nia, Odd, Pia, Rob, Sue, Tom, Una"
THINGS = "apples, books, cards, coins, cups, eggs, hats, keys, nuts, pens, pins, stamps"
#: sign → ways to ask
ASKED: dict[str, Sequence[str]] = {
    "+": (
        "{name} has {a} {things} and gets {b} more. How many {things} are there?",
        "{name} finds {a} {things}, then {b} {things}. How many is that?",
        "There are {a} {things}. {name} adds {b}. How many {things} now?",
    ),
    "-": (
        "{name} has {a} {things} and gives away {b}. How many {things} are left?",
        "There are {a} {things}. {name} takes {b}. How many {things} remain?",
        "{name} had {a} {things} and lost {b}. How many are left?",
    ),
}


def rows(params: WordSumsParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct questions, sums and differences in turn. Raises Refusal when there are not that many."""
    rng = Random(seed)

    def draw(index: int) -> Question | None:
        sign = "+-"[index % 2]
        a, b = (1 + int(rng.random() * params.largest) for _ in range(2))
        result = a + b if sign == "+" else a - b
        if result < 0 or result in (a, b):
            return None
        form = pick(rng, ASKED[sign])
        name, things = pick(rng, NAMES.split(", ")), pick(rng, THINGS.split(", "))
        prompt = form.format(name=name, things=things, a=a, b=b)
        return Question(
            prompt, lambda: f"{a} {sign} {b} = {result}\n#### {result}", "sum" if sign == "+" else "difference"
        )

    return distinct(params.rows, "word_sums", draw)


GENERATOR = Generator(name="word_sums", version=1, params=WordSumsParams, rows=rows, spans=frozenset())
