"""A seed → pairs of answers to small sums of money, of which one is right, each with the letter of that one.

For trying out a judge: what it must learn is real (which of two numbers is right), and any number of distinct pairs can
be made. A judge for people's answers learns from people's verdicts; this one shows that the pipeline can teach one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params
from runtime.contract.units import unit

CHOICES = ("A", "B")
_GOODS = ("apples", "bolts", "candles", "notebooks", "ropes", "tickets", "tiles", "umbrellas")
_NAMES = ("Ada", "Ben", "Chen", "Dora", "Emil", "Fatma", "Goran", "Hana")


class VerdictsParams(Params):
    rows: int = Field(
        default=6000,
        ge=10,
        le=100_000,
        description="Distinct pairs to make.",
        examples=[6000],
        json_schema_extra=unit("row"),
    )


def _bought(rng: Random, name: str, goods: str) -> tuple[str, int]:
    count, price = rng.randint(2, 40), rng.randint(2, 60)
    return f"{name} buys {count} {goods} at {price} crowns each. How many crowns is that?", count * price


def _change(rng: Random, name: str, goods: str) -> tuple[str, int]:
    price = rng.randint(3, 480)
    paid = price + rng.randint(1, 500)
    return f"The {goods} cost {price} crowns and {name} pays with {paid}. How many crowns come back?", paid - price


def _shared(rng: Random, name: str, goods: str) -> tuple[str, int]:
    people, each = rng.randint(2, 12), rng.randint(2, 60)
    return f"{name} and {people - 1} others share {people * each} {goods} evenly. How many has each?", each


_FORMS: Sequence[Callable[[Random, str, str], tuple[str, int]]] = (_bought, _change, _shared)
#: how a wrong answer comes about: near the right one, or of the right size
_SLIPS = (1, -1, 10, -10, 2, -2)


def _wrong(rng: Random, right: int) -> int:
    slip = right + rng.choice(_SLIPS)
    return slip if slip > 0 else right + 1


def rows(params: VerdictsParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct pairs; the right answer stands first about as often as second."""
    rng, seen = Random(f"kc.verdicts.v1 {seed}"), set[str]()
    found: list[dict[str, Any]] = []
    while len(found) < params.rows:
        question, right = rng.choice(_FORMS)(rng, rng.choice(_NAMES), rng.choice(_GOODS))
        letter, other = rng.choice((CHOICES, CHOICES[::-1]))
        answers = {letter: right, other: _wrong(rng, right)}
        prompt = f"{question}\nA: {answers['A']}\nB: {answers['B']}\nWhich answer is right, A or B?"
        if prompt in seen:
            continue
        seen.add(prompt)
        found.append(
            {
                "id": f"{len(found):06d}",
                "prompt": prompt,
                "response": letter,
                "class": letter,
                "spans": {"choice": [[0, 1]]},
                "source": "verdicts",
            }
        )
    return found


GENERATOR = Generator(name="verdicts", version=1, params=VerdictsParams, rows=rows, spans=frozenset({"choice"}))
