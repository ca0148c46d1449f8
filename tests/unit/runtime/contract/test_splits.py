"""Splits depend on content alone; a question never stands on both sides."""

from __future__ import annotations

from random import Random

import pytest

from runtime.contract import splits
from runtime.contract.rows import Row
from runtime.contract.splits import Shares


def row(name: str, prompt: str, response: str = "yes") -> Row:
    return {"id": name, "prompt": prompt, "response": response, "class": "", "spans": {}, "source": "s"}


MANY = [row(f"id-{number}", f"Question number {number}?") for number in range(2000)]


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("Does it rain?", "does   it\train"),
        ("ﬁne", "FINE"),
        ("Straße", "STRASSE"),
        ("it is, isn't it", "it is isn t it!"),
        ("ｆｕｌｌ", "full"),
        ("…?!", "…?!"),
    ],
)
def test_spelling_and_punctuation_do_not_make_a_new_question(a: str, b: str):
    assert splits.normalised(a) == splits.normalised(b)


@pytest.mark.parametrize(("a", "b"), [("5.0 apples", "50 apples"), ("a+b", "a b"), ("?", "!"), ("one", "two")])
def test_different_questions_stay_different(a: str, b: str):
    assert splits.normalised(a) != splits.normalised(b)


def test_the_order_of_the_rows_changes_nothing():
    shuffled = list(MANY)
    Random(1).shuffle(shuffled)
    assert splits.assign({"auto": MANY}, Shares(0.2)) == splits.assign({"auto": shuffled}, Shares(0.2))


def test_a_row_keeps_its_split_when_others_come_and_go():
    whole = {r["id"]: name for name, rows in splits.assign({"auto": MANY}, Shares(0.2)).items() for r in rows}
    part = {r["id"]: name for name, rows in splits.assign({"auto": MANY[::7]}, Shares(0.2)).items() for r in rows}
    assert all(whole[name] == split for name, split in part.items())


def test_the_declared_share_is_held_out():
    """2,000 fair draws at 0.2: 400 within five standard deviations of 17.9."""
    held = len(splits.assign({"auto": MANY}, Shares(0.2))["test"])
    assert 310 <= held <= 490
    assert splits.assign({"auto": MANY}, Shares(0.0))["test"] == []


def test_raising_the_share_only_adds_rows():
    held = [{r["id"] for r in splits.assign({"auto": MANY}, Shares(share))["test"]} for share in (0.1, 0.2, 0.5)]
    assert held[0] < held[1] < held[2]


@pytest.mark.parametrize(
    ("prompt", "digits"),
    [("alpha", "6b76e31d440988e1"), ("Beta!", "f8a86ae34e132f0f"), ("gamma", "b702276f205a3e23")],
)
def test_the_hash_is_the_documented_one(prompt: str, digits: str):
    """The first 64 bits of `printf 'kc.split.v1\\0alpha' | sha256sum`; a change would move rows between splits."""
    share = int(digits, 16) / 2**64
    assert not splits.is_held_out(prompt, share - 1e-6)
    assert splits.is_held_out(prompt, share + 1e-6)


def test_one_question_spelled_twice_shares_a_split():
    rows = [row(f"{n}-{v}", text) for n in range(300) for v, text in enumerate((f"Is it {n}?", f"is it  {n}"))]
    found = splits.assign({"auto": rows}, Shares(0.3))
    assert splits.overlap(found["train"], found["test"]).normalised == []


def test_a_named_split_takes_every_row_of_its_source():
    found = splits.assign({"train": MANY[:5], "test": MANY[5:9]}, Shares(0.5))
    assert [len(found["train"]), len(found["test"])] == [5, 4]


def test_overlaps_name_both_rows():
    found = splits.overlap(
        [row("t1", "Same?"), row("t2", "Other"), row("t3", "spelled Otherwise")],
        [row("h1", "Same?"), row("h2", "SPELLED otherwise!"), row("h3", "new")],
    )
    assert found.exact == [("t1", "h1")]
    assert found.normalised == [("t1", "h1"), ("t3", "h2")]


def test_of_equal_rows_the_smallest_id_stays_whatever_the_order():
    rows = [row("b", "q"), row("a", "q"), row("c", "q", "no"), row("d", "other")]
    for order in (rows, rows[::-1]):
        kept, dropped = splits.without_duplicates(order)
        assert sorted(r["id"] for r in kept) == ["a", "c", "d"]
        assert dropped == 1


def test_validation_takes_of_what_would_be_learnt_from_and_of_nothing_else():
    """2,000 fair draws at 0.1 of named rows: 200 within five standard deviations of 13.4."""
    before = splits.assign({"train": MANY, "test": MANY[:9]}, Shares(0.2))
    found = splits.assign({"train": MANY, "test": MANY[:9]}, Shares(0.2, 0.1))
    assert "validation" not in before
    assert 133 <= len(found["validation"]) <= 267
    assert found["test"] == before["test"]
    assert sorted(row["id"] for row in [*found["train"], *found["validation"]]) == sorted(
        row["id"] for row in before["train"]
    )


def test_holding_rows_out_for_validation_moves_no_row_of_the_test_split():
    before = splits.assign({"auto": MANY}, Shares(0.2))
    found = splits.assign({"auto": MANY}, Shares(0.2, 0.25))
    assert found["test"] == before["test"]
    assert 300 <= len(found["validation"]) <= 500


def test_a_split_of_its_own_is_for_validation_as_it_stands():
    found = splits.assign({"train": MANY[:5], "validation": MANY[5:8], "test": MANY[8:9]}, Shares(0.5))
    assert [len(found[name]) for name in splits.SPLITS] == [5, 3, 1]
    assert list(splits.assign({"train": MANY[:5], "validation": []}, Shares(0.5))) == ["train", "validation", "test"]


@pytest.mark.parametrize(
    ("prompt", "digits"),
    [("alpha", "8f43936faeae7eeb"), ("Beta!", "7469f99ab582f924")],
)
def test_the_hash_of_validation_is_the_documented_one(prompt: str, digits: str):
    """`printf 'kc.validation.v1\\0alpha' | sha256sum`: another than that of the test split."""
    share = int(digits, 16) / 2**64
    assert Shares(0.0, share - 1e-6).split_of("train", prompt) == "train"
    assert Shares(0.0, share + 1e-6).split_of("train", prompt) == "validation"
    assert Shares(0.0, share + 1e-6).split_of("test", prompt) == "test"


def test_one_question_in_two_sources_shares_a_split():
    rows = {
        "auto": [row(f"a{n}", f"Is it {n}?") for n in range(300)],
        "train": [row(f"t{n}", f"is it  {n}") for n in range(300)],
    }
    found = splits.assign(rows, Shares(0.0, 0.3))
    assert found["validation"]
    assert splits.overlap(found["train"], found["validation"]).normalised == []
