"""Notes to order: who is better, and why, follows from the order and the words of two notes, and from nothing else."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import pytest

from runtime.contract import Refusal, rows, verdicts
from runtime.generators import reviews
from runtime.generators.change_notes import COMMON, EACH, GENERATOR, ONE, SAID, ChangeNotesParams
from runtime.suites.judge import TALK, JudgeParams, longer

ORDER = re.compile(r"\w+ (two|three|four|five) tests by (\w+)")
NUMBERS = {"two": 2, "three": 3, "four": 4, "five": 5}
NOTE = re.compile(r"(\d) tests (passed|skipped) by (\w+) (small|large) waiver (none|dated|open)")


def made(asks: str, count: int = 1500) -> list[dict[str, Any]]:
    return list(GENERATOR.rows(GENERATOR.params(rows=count, asks=asks), [], 1))


PAIRS = made("pairs")


def broken(order: str, note: str) -> list[str]:
    """What a note breaks, computed from the texts alone. What is no note breaks what tells of nothing."""
    asked, found = ORDER.fullmatch(order), NOTE.match(note)
    assert asked is not None, order
    if found is None:
        assert not re.search(r"tests (passed|skipped) by", note)
        return [verdicts.CLAUSES[0]]
    assert found[3] in (asked[2], "nobody")
    more = int(found[1]) - NUMBERS[asked[1]]
    wrong = (more < 0, more > 0 or found[4] == "large", found[2] == "skipped", found[3] == "nobody", found[5] == "open")
    return [clause for clause, breaks in zip(verdicts.CLAUSES, wrong, strict=False) if breaks]


def test_verdict_and_clause_follow_from_order_and_notes():
    for row in PAIRS:
        pair = verdicts.read(row["prompt"])
        first, second = broken(pair.task, pair.first), broken(pair.task, pair.second)
        assert max(len(first), len(second)) <= 1
        better = "T" if len(first) == len(second) else "A" if not first else "B"
        clause = "NONE" if better == "T" else (first or second)[0]
        assert row["response"] == (better if pair.asked == verdicts.BETTER else clause), row["prompt"]


def test_what_either_note_breaks_is_said_of_the_first_first():
    for row in made("each", 600):
        pair = verdicts.read(row["prompt"].replace(EACH, verdicts.CLAUSE))
        said = [(broken(pair.task, note) or ["NONE"])[0] for note in (pair.first, pair.second)]
        assert row["response"] == " ".join(said)
        assert [row["response"][a:b] for a, b in row["spans"]["clause"]] == said


def test_of_one_note_each_clause_is_said():
    told = Counter[str]()
    for row in made("one", 600):
        order, seat, note, asked = re.fullmatch(r"(.*)\n([AB]) <<(.*)>>\n(.*)", row["prompt"]).groups()  # type: ignore[union-attr]
        assert asked == ONE
        found = broken(order, note)
        assert row["response"] == "".join("01"[clause in found] for clause in verdicts.CLAUSES[:-1]), row["prompt"]
        assert row["spans"] == {"clause": [[0, 5]]}
        told.update([seat, *(f"{at}{digit}" for at, digit in enumerate(row["response"]))])
    # either seat, and each clause both ways
    assert min(told[one] for one in ("A", "B", *(f"{at}{digit}" for at in range(5) for digit in "01"))) > 100


def test_an_order_makes_a_note_right_or_wrong():
    """The same note wins to one order and loses to another: a number alone decides nothing."""
    won, lost = set[str](), set[str]()
    for row in made("pairs", 4000):
        pair = verdicts.read(row["prompt"])
        for note in (pair.first, pair.second):
            if (found := NOTE.fullmatch(note)) and found[3] != "nobody":
                words = re.sub(r"by \w+", "", note)
                (lost if broken(pair.task, note) else won).add(words)
    for number in "2345":
        assert f"{number} tests passed  small waiver none" in won & lost


def test_a_note_to_order_breaks_nothing():
    for row in made("notes", 400):
        assert broken(row["prompt"], row["response"]) == []
        assert NOTE.fullmatch(row["response"])


def test_neither_a_seat_nor_a_length_decides():
    pairs = [row for row in PAIRS if row["class"] == "choice"]
    said = Counter(row["response"] for row in pairs)
    assert all(0.25 < said[verdict] / len(pairs) < 0.42 for verdict in verdicts.VERDICTS)
    decided = [row for row in pairs if row["response"] != "T"]
    seats = [longer(verdicts.read(row["prompt"])) for row in decided]
    won = sum(seat == row["response"] for seat, row in zip(seats, decided, strict=True))
    lost = sum(seat == verdicts.other(row["response"]) for seat, row in zip(seats, decided, strict=True))
    assert 0.35 < won / (won + lost) < 0.65
    ties = [verdicts.read(row["prompt"]) for row in pairs if row["response"] == "T"]
    assert 0.35 < sum(pair.first == pair.second for pair in ties) / len(ties) < 0.65


def test_rows_are_rows_with_distinct_questions_and_a_seed_gives_the_same():
    assert len({rows.checked(row, "")["prompt"] for row in PAIRS}) == len(PAIRS)
    assert made("pairs") == PAIRS
    assert GENERATOR.rows(ChangeNotesParams(rows=1500), [], 2) != PAIRS
    assert {mask for row in PAIRS for mask in row["spans"]} == set(GENERATOR.spans or ())


def test_more_orders_than_there_are_is_refused():
    with pytest.raises(Refusal, match="of 641 distinct rows"):
        made("notes", 641)


def test_one_note_for_all_orders_is_to_few_of_them():
    """What tempts whoever writes notes: the one that is to the most orders."""
    rows_ = made("notes", 400)
    notes = {row["response"] for row in rows_}
    assert max(sum(broken_or_not(row["prompt"], note) for row in rows_) for note in notes) < 0.35 * len(rows_)


def broken_or_not(order: str, note: str) -> bool:
    """Whether a note breaks nothing of an order, by whomever it was made."""
    asked, found = ORDER.fullmatch(order), NOTE.match(note)
    assert asked is not None
    assert found is not None
    return int(found[1]) == NUMBERS[asked[1]]


def words(text: str) -> tuple[str, ...]:
    """The words of a sentence to a judge, its letter among them as one."""
    return tuple(re.findall(r"[a-z]+|\{\}", text.replace("{verdict}", "{}").lower()))


@pytest.mark.parametrize("taught", [SAID, reviews.SAID], ids=["change_notes", "reviews"])
def test_no_sentence_that_asks_a_judge_by_default_is_taught(taught: tuple[str, ...]):
    """Neither is a taught one a part of it that says more than a letter, whatever stands between the words."""
    asked = [words(one) for one in JudgeParams().injections]
    assert len(set(asked)) == len(asked) >= 10
    known = [words(one) for one in taught]
    for one in asked:
        for other in known:
            runs = {one[at : at + len(other)] for at in range(len(one))} if len(other) > 1 else {one}
            assert other not in runs, (one, other)


def test_no_ordinary_word_is_one_of_a_sentence_that_asks_a_judge_by_default():
    asked = {word for one in JudgeParams().injections for word in words(one)}
    assert asked & set(COMMON) == set()
    assert len(set(COMMON)) == len(COMMON)


def test_what_stands_behind_a_note_is_as_long_as_the_sentences_that_ask_a_judge_by_default():
    """Behind the better and the worse one equally often: neither its length nor its letter tells anything."""
    longest = max(len(one) for one in JudgeParams().injections)
    long, named = Counter[str](), Counter[str]()
    for row in made("pairs", 4000):
        pair = verdicts.read(row["prompt"])
        if pair.asked == verdicts.BETTER and row["response"] != verdicts.TIE:
            for seat, note in ((verdicts.FIRST, pair.first), (verdicts.SECOND, pair.second)):
                behind, won = NOTE.sub("", note), "won" if seat == row["response"] else "lost"
                if behind != note:
                    long[won] += len(behind) > longest
                    named.update(
                        "true" if said == row["response"] else "false" for said in re.findall(r"\b[AB]\b", behind)
                    )
    assert min(long.values()) > 50
    assert all(0.4 < found[one] / found.total() < 0.6 for found in (long, named) for one in found)


def test_no_row_that_is_learnt_from_holds_a_sentence_that_asks_a_judge_by_default():
    """In no case, with no letter and with no marks between its words."""
    asked = [
        re.compile(rf"\b{'[^a-z]+'.join('[abt]' if word == '{}' else word for word in words(one))}\b")
        for one in JudgeParams().injections
    ]
    assert all(
        one.search(words_.replace("{verdict}", "t").lower())
        for one, words_ in zip(asked, JudgeParams().injections, strict=True)
    )
    for generator, params in (
        (GENERATOR, {"rows": 3000, "asks": "each"}),
        (GENERATOR, {"rows": 1500, "asks": "one"}),
        (GENERATOR, {"rows": 1500}),
        (reviews.GENERATOR, {"rows": 1000}),
    ):
        notes = [
            note.lower()
            for row in generator.rows(generator.params(**params), [], 5)
            for note in re.findall(r"<<(.*?)>>", row["prompt"])
        ]
        assert len(notes) >= params["rows"]
        assert [(one.pattern, note) for one in asked for note in notes if one.search(note)] == []


def test_the_sentences_are_of_several_sorts():
    assert set(TALK) == {"instruction", "false authority", "format", "appeal", "other language"}
    assert all(len(sort) >= 2 for sort in TALK.values())
    assert JudgeParams().injections == [one for sort in TALK.values() for one in sort]
