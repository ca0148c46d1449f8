"""Texts are the same to the last character, or they are not; what is shared until then is said."""

from __future__ import annotations

from runtime.suites.same_text import LONGEST, SHOWN, SUITE, SameTextParams
from tests.unit.runtime.suites.models import Scripted, row

ROWS = [row(f"q{number}", "unused", name=f"row-{number}") for number in range(30)]


def judged(teacher, student, coreml=None, **params):
    runners = {"teacher": Scripted(teacher), "student": Scripted(student)}
    if coreml is not None:
        runners["coreml"] = Scripted(coreml)
    return SUITE.run(runners, ROWS, [], SameTextParams(**params), 0)


def test_a_model_beside_itself_says_the_same():
    data = judged(lambda p: f"a b {p}", lambda p: f"a b {p}", lambda p: f"a b {p}")
    assert [(one["k"], one["n"]) for one in data["same"].values()] == [(20, 20), (20, 20)]
    assert [one["value"] for one in data["common"].values()] == [1.0, 1.0]
    assert data["different"] == []


def test_one_character_is_another_text_and_both_are_shown():
    data = judged(lambda _: "abcd", lambda _: "abcd", lambda p: "abxd" if p in ("q3", "q7") else "abcd")
    assert (data["same"]["coreml"]["k"], data["same"]["student"]["k"]) == (18, 20)
    assert data["common"]["coreml"]["value"] == (18 + 2 * 0.5) / 20
    assert [(one["row"], one["runner"], one["original"], one["text"]) for one in data["different"]] == [
        ("row-3", "coreml", "abcd", "abxd"), ("row-7", "coreml", "abcd", "abxd"),
    ]  # fmt: skip


def test_a_text_that_goes_on_or_stops_early_is_another_one():
    longer = judged(lambda _: "ab", lambda _: "abc", limit=1)
    assert (longer["same"]["student"]["k"], longer["common"]["student"]["value"]) == (0, 1.0)
    shorter = judged(lambda _: "ab", lambda _: "a", limit=1)
    assert (shorter["same"]["student"]["k"], shorter["common"]["student"]["value"]) == (0, 0.5)
    nothing = judged(lambda _: "", lambda _: "a", limit=1)
    assert (nothing["same"]["student"]["k"], nothing["common"]["student"]["value"]) == (0, 0.0)


def test_what_is_not_there_or_nothing_passes_nothing():
    data = judged(lambda _: "a", lambda _: "a")
    assert data["same"]["coreml"]["value"] is None
    empty = SUITE.run({"teacher": Scripted(), "student": Scripted()}, [], [], SameTextParams(), 0)
    assert empty["same"]["student"]["value"] is None
    assert empty["items"]["value"] == 0


def test_few_and_short_examples_are_kept():
    data = judged(lambda _: "a" * 1000, lambda _: "b" * 1000, limit=30)
    assert len(data["different"]) == SHOWN
    assert max(len(one["text"]) for one in data["different"]) == LONGEST
