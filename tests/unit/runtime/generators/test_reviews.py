"""Pairs with an objective outcome: the verdict follows from what stands in the answers, and from nothing else."""

from __future__ import annotations

import re
from collections import Counter

from runtime.contract import verdicts
from runtime.generators.reviews import GENERATOR, ReviewsParams
from runtime.suites.judge import longer as talks_longer

ROWS = GENERATOR.rows(ReviewsParams(rows=2000), [], 1)


FORM = re.compile(r"tests (\d) of (\d), lines (\d+) of (\d), gate (\w+), by (\w+), waiver (none|till may|open)")


def broken(text: str) -> set[str]:
    """Clauses that the facts of an answer break, computed from its text alone."""
    found = FORM.match(text)
    assert found is not None, text
    tests, asked, lines, allowed = map(int, found.groups()[:4])
    breaks = (tests < asked, lines > allowed, found[5] == "skipped", found[6] == "nobody", found[7] == "open")
    return {clause for clause, wrong in zip(verdicts.CLAUSES, breaks, strict=False) if wrong}


def test_the_outcome_follows_from_the_facts_in_the_answers():
    for row in ROWS:
        pair = verdicts.read(row["prompt"])
        first, second = broken(pair.first), broken(pair.second)
        better = "T" if len(first) == len(second) else "A" if len(first) < len(second) else "B"
        clause = "NONE" if better == "T" else next(iter(first ^ second))
        assert row["response"] == (better if pair.asked == verdicts.BETTER else clause), row["prompt"]


def test_no_question_is_asked_twice_and_a_seed_gives_the_same():
    assert len({row["prompt"] for row in ROWS}) == len(ROWS)
    assert GENERATOR.rows(ReviewsParams(rows=2000), [], 1) == ROWS
    assert GENERATOR.rows(ReviewsParams(rows=2000), [], 2) != ROWS


def test_neither_a_seat_nor_a_length_decides():
    pairs = [row for row in ROWS if row["class"] == "choice"]
    said = Counter(row["response"] for row in pairs)
    assert abs(said["A"] - said["B"]) < 0.1 * len(pairs)
    decided = [row for row in pairs if row["response"] != "T"]
    longer = sum(talks_longer(verdicts.read(row["prompt"])) == row["response"] for row in decided) / len(decided)
    assert 0.5 < longer < 0.8


def test_spans_are_those_of_the_declared_masks():
    assert {mask for row in ROWS for mask in row["spans"]} == set(GENERATOR.spans or ())
    for row in ROWS:
        ((mask, [[start, end]]),) = row["spans"].items()
        assert row["response"].encode()[start:end].decode() == row["response"]
        assert mask == row["class"]
