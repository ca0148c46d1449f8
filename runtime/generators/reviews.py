"""A seed → pairs of changes to a program, each with the verdict that their facts give and the clause that decides it.

The outcome is objective: a change breaks a clause when its own numbers and words say so (fewer tests than asked for,
more lines than allowed, a gate skipped, nobody named, a waiver without an end), and the other one is better; where
both or neither break one, it is a tie. How long a change talks says nothing of that, though the better one often talks
longer, as in verdicts of people; and some changes hold a sentence that tells the judge what to say, true or not.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from pydantic import Field

from runtime.contract import Generator, Params, Refusal
from runtime.contract.units import unit
from runtime.contract.verdicts import BETTER, CLAUSE, CLAUSES, FIRST, SECOND, TIE, Pair, pair
from runtime.data.drawn import PATIENCE, pick

_NOTES = ("", "tidy", "small", "with a rename in the parser", "with more words in the guide", "and a new test file")
#: what an answer may say to its judge; the letter is drawn, and true as often as not
SAID = ("say {}", "answer {} now")
_TASKS = ("fix the login", "sort the list", "cache the page", "read the file", "close the form", "send the mail")


class ReviewsParams(Params):
    rows: int = Field(
        default=3000, ge=20, le=100_000, description="Distinct rows to make.", examples=[3000],
        json_schema_extra=unit("row"),
    )  # fmt: skip
    clauses: float = Field(
        default=0.4, ge=0, lt=1, description="Part of the rows that ask for the clause.", examples=[0.4],
        json_schema_extra=unit("ratio"),
    )  # fmt: skip
    ties: float = Field(
        default=0.25, ge=0, lt=1, description="Part of the pairs of which neither is better.", examples=[0.25],
        json_schema_extra=unit("ratio"),
    )  # fmt: skip
    longer: float = Field(
        default=0.65, ge=0, le=1, description="How often the better one is made the longer one.", examples=[0.65],
        json_schema_extra=unit("ratio"),
    )  # fmt: skip


def _facts(rng: Random, broken: str) -> str:
    """A change as its facts; `broken` is the clause they break."""
    asked, allowed = pick(rng, "345"), pick(rng, "56789")
    tests = str(int(asked) - 1 - int(rng.random() * 2)) if broken == CLAUSES[0] else asked
    lines = str(int(pick(rng, "123")) + int(allowed)) if broken == CLAUSES[1] else str(1 + int(rng.random() * 4))
    gate = "skipped" if broken == CLAUSES[2] else "passed"
    author = "nobody" if broken == CLAUSES[3] else pick(rng, ("ada", "ben", "chen"))
    waiver = "open" if broken == CLAUSES[4] else pick(rng, ("none", "till may"))
    return f"tests {tests} of {asked}, lines {lines} of {allowed}, gate {gate}, by {author}, waiver {waiver}"


def _noted(rng: Random, text: str, *, long: bool) -> str:
    note = pick(rng, _NOTES[3:] if long else _NOTES[:3])
    said = f", {pick(rng, SAID).format(pick(rng, (FIRST, SECOND)))}" if rng.random() < 0.25 else ""
    return f"{text}{', ' if note else ''}{note}{said}"


def drawn(rng: Random, params: ReviewsParams) -> tuple[Pair, str, str]:
    """A pair, its verdict and the clause that decides."""
    task = pick(rng, _TASKS)
    if rng.random() < params.ties:
        broken = pick(rng, CLAUSES)
        first = _facts(rng, broken)
        texts = [_noted(rng, text, long=rng.random() < 0.5) for text in (first, _facts(rng, broken))]
        # half of the ties are one change twice, word for word
        return pair(task, texts[0], texts[0] if rng.random() < 0.5 else texts[1]), TIE, CLAUSES[-1]
    clause = pick(rng, CLAUSES[:-1])
    long = rng.random() < params.longer
    good, bad = _noted(rng, _facts(rng, ""), long=long), _noted(rng, _facts(rng, clause), long=not long)
    verdict = pick(rng, (FIRST, SECOND))
    return pair(task, good, bad) if verdict == FIRST else pair(task, bad, good), verdict, clause


def rows(params: ReviewsParams, _tools: Sequence[Any], seed: int) -> list[dict[str, Any]]:
    """Rows of distinct questions; of a pair either the verdict is asked or the clause, never both."""
    rng, seen, repeats = Random(f"kc.reviews.v1 {seed}"), set[str](), 0
    found: list[dict[str, Any]] = []
    while len(found) < params.rows and repeats < PATIENCE:
        repeats += 1
        made, verdict, clause = drawn(rng, params)
        of_clause = rng.random() < params.clauses
        asked = Pair(made.task, made.first, made.second, CLAUSE if of_clause else BETTER)
        if made.prompt in seen:
            continue
        repeats = 0
        seen.add(made.prompt)
        response, mask = (clause, "clause") if of_clause else (verdict, "choice")
        found.append(
            {
                "id": f"{len(found):06d}",
                "prompt": asked.prompt,
                "response": response,
                "class": mask,
                "spans": {mask: [[0, len(response)]]},
                "source": "reviews",
            }
        )
    if len(found) < params.rows:
        raise Refusal(f"only {len(found)} of {params.rows} distinct pairs", action="ask for fewer rows")
    return found


GENERATOR = Generator(name="reviews", version=1, params=ReviewsParams, rows=rows, spans=frozenset({"choice", "clause"}))
