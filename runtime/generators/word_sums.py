"""A seed → short sums in words, worked out in the form of GSM8K: a line of reckoning, then `#### ` and the number.

The answer is never a number of the question, nor the same for many of them: a model that is right has added or taken
away. (A pair of numbers whose result stands among them, such as 4 - 2, is not asked.)
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params, Refusal
from runtime.contract.units import unit


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
#: draws that may bring nothing new, one after the other, before there is nothing new
PATIENCE = 2000


def _one(rng: Random, choices: Sequence[str]) -> str:
    """Through `random()` alone, whose sequence Python promises to keep for a seed."""
    return choices[int(rng.random() * len(choices))]


def rows(params: WordSumsParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct questions, sums and differences in turn. Raises Refusal when there are not that many."""
    rng, seen = Random(seed), set[str]()
    found: list[dict[str, Any]] = []
    repeats = 0
    while len(found) < params.rows and repeats < PATIENCE:
        repeats += 1
        sign = "+-"[len(found) % 2]
        a, b = (1 + int(rng.random() * params.largest) for _ in range(2))
        result = a + b if sign == "+" else a - b
        if result < 0 or result in (a, b):
            continue
        prompt = _one(rng, ASKED[sign]).format(
            name=_one(rng, NAMES.split(", ")), things=_one(rng, THINGS.split(", ")), a=a, b=b
        )
        if prompt in seen:
            continue
        repeats = 0
        seen.add(prompt)
        found.append(
            {
                "id": f"{len(found):06d}",
                "prompt": prompt,
                "response": f"{a} {sign} {b} = {result}\n#### {result}",
                "class": "sum" if sign == "+" else "difference",
                "spans": {},
                "source": "word_sums",
            }
        )
    if len(found) < params.rows:
        raise Refusal(f"only {len(found)} of {params.rows} distinct questions", action="ask for fewer rows")
    return found


GENERATOR = Generator(name="word_sums", version=1, params=WordSumsParams, rows=rows, spans=frozenset())
