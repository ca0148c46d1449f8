"""Questions drawn at random → dataset rows with distinct prompts, for generators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, NamedTuple

from runtime.contract import Refusal

#: draws that may bring nothing new, one after the other, before there is nothing new
PATIENCE = 2000


class Question(NamedTuple):
    """What was drawn. `answer` is asked only for a question that is new, so that it may draw as well."""

    prompt: str
    answer: Callable[[], str]
    subject: str


def pick(rng: Random, choices: Sequence[str]) -> str:
    """One of the choices. Through `random()` alone, whose sequence Python promises to keep for a seed."""
    return choices[int(rng.random() * len(choices))]


def distinct(count: int, source: str, draw: Callable[[int], Question | None]) -> list[dict[str, Any]]:
    """`count` rows of what `draw` gives for the index of each; None is a draw that is no question.

    Raises Refusal when there are not that many.
    """
    seen = set[str]()
    found: list[dict[str, Any]] = []
    repeats = 0
    while len(found) < count and repeats < PATIENCE:
        repeats += 1
        question = draw(len(found))
        if question is None or question.prompt in seen:
            continue
        repeats = 0
        seen.add(question.prompt)
        found.append(
            {
                "id": f"{len(found):06d}",
                "prompt": question.prompt,
                "response": question.answer(),
                "class": question.subject,
                "spans": {},
                "source": source,
            }
        )
    if len(found) < count:
        raise Refusal(f"only {len(found)} of {count} distinct questions", action="ask for fewer rows")
    return found
