"""Texts are the same to the last character, or they are not; what is shared until then is said."""

from __future__ import annotations

import numpy as np
import pytest

from runtime.suites.same_text import LONGEST, SHOWN, SUITE, SameTextParams, step_at
from tests.unit.runtime.suites.models import Scripted, reported, row

ROWS = [row(f"q{number}", "unused", name=f"row-{number}") for number in range(30)]


def judged(teacher, student, coreml=None, **params):
    runners = {"teacher": Scripted(teacher), "student": Scripted(student)}
    if coreml is not None:
        runners["coreml"] = Scripted(coreml)
    return reported(SUITE, runners, ROWS, [], SameTextParams(**params), 0)


def test_a_model_beside_itself_says_the_same():
    data = judged(lambda p: f"a b {p}", lambda p: f"a b {p}", lambda p: f"a b {p}")
    assert [(one["k"], one["n"]) for one in data["same"].values()] == [(20, 20), (20, 20)]
    assert [one["value"] for one in data["common"].values()] == [1.0, 1.0]
    assert data["different"] == []
    assert [one["reason"] for one in data["ties"].values()] == ["no text differs"] * 2


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
    empty = reported(SUITE, {"teacher": Scripted(), "student": Scripted()}, [], [], SameTextParams(), 0)
    assert empty["same"]["student"]["value"] is None
    assert empty["items"]["value"] == 0


def test_few_and_short_examples_are_kept():
    data = judged(lambda _: "a" * 1000, lambda _: "b" * 1000, limit=30)
    assert len(data["different"]) == SHOWN
    assert max(len(one["text"]) for one in data["different"]) == LONGEST


def parted(margin, moved, size=12.0):
    """The one difference of a package whose `x` wins over the original's `c` after "ab"."""
    before, after = {"c": size, "x": size - margin}, {"c": size - moved, "x": size - margin}
    runners = {
        "teacher": Scripted(lambda _: "abc", weighs=lambda text, token: before[token] if text == "q0ab" else 99.0),
        "student": Scripted(lambda _: "abc"),
        "coreml": Scripted(lambda _: "abx", weighs=lambda text, token: after[token] if text == "q0ab" else 99.0),
    }
    data = reported(SUITE, runners, ROWS[:1], [], SameTextParams(), 0)
    (only,) = data["different"]
    return data["ties"]["coreml"], only["parting"]


def test_a_difference_says_where_the_texts_part_and_how_close_a_call_it_was():
    ties, parting = parted(margin=0.005, moved=0.0075)
    assert (parting["at"]["value"], parting["tokens"]) == (2, ["c", "x"])
    assert parting["margin"]["value"] == pytest.approx(0.005)
    assert parting["moved"]["value"] == pytest.approx(0.0075)
    assert (parting["step"]["value"], parting["tie"]["value"], ties["value"]) == (2**-7, True, 1.0)


@pytest.mark.parametrize(("margin", "tie"), [(0.0, True), (2**-8, True), (2**-7, False), (0.3, False)])
def test_a_tie_is_what_float16_cannot_tell_apart(margin: float, tie: bool):
    ties, parting = parted(margin=margin, moved=1.0, size=8.0)
    assert (parting["tie"]["value"], ties["value"]) == (tie, float(tie))


def test_where_one_answer_is_the_beginning_of_the_other_nothing_was_a_close_call():
    class Ended(Scripted):
        def write(self, prompts, max_new_tokens):
            return [type(one)(text=one.text, ids=one.ids[:-1]) for one in super().write(prompts, max_new_tokens)]

    runners = {"teacher": Scripted(lambda _: "abc"), "student": Ended(lambda _: "abc"), "coreml": Ended(lambda _: "ab")}
    data = reported(SUITE, runners, ROWS[:1], [], SameTextParams(), 0)
    (only,) = data["different"]
    assert (only["runner"], only["parting"]["at"]["value"], only["parting"]["tokens"]) == ("coreml", 2, [])
    assert {only["parting"][name]["tag"] for name in ("margin", "moved", "step", "tie")} == {"unavailable"}
    assert data["ties"]["coreml"]["value"] == 0.0


@pytest.mark.parametrize(
    "size", [0.0, 2.0**-30, 2.0**-15, 2.0**-14, 0.1, 1.0, 1.999, 2.0, 8.0, 15.99, 16.0, 24.5, 60000]
)
def test_a_step_is_the_distance_of_two_float16_neighbours(size: float):
    below = np.float16(size) if np.float16(size) <= size else np.nextafter(np.float16(size), np.float16(0))
    assert step_at(size) == float(np.nextafter(below, np.float16(np.inf))) - float(below)


@pytest.mark.parametrize(
    ("teacher", "right", "above"),
    [
        (lambda prompt: f"a text about {prompt}", 1, 0.95),
        (lambda prompt: "" if prompt in ("q0", "q1") else f"about {prompt}", 2, 0.9),
        (lambda _: "", 20, 0.0),
        (lambda _: "I am a model.", 20, 0.0),
        (lambda prompt: prompt, 20, 0.0),
    ],
)
def test_an_original_that_anybody_could_be_shows_nothing_of_a_package(teacher, right, above):
    data = judged(teacher, teacher, teacher)
    zoo = data["zoo"]
    assert (zoo["gold"]["k"], zoo["gold"]["n"]) == (20, 20)
    assert max(one["k"] for one in zoo["right"].values()) == right
    assert zoo["above"]["coreml"]["value"] == above
    assert (zoo["above"]["coreml"]["low"] > 0) is (above > 0)


def test_without_an_original_nothing_is_above_anything():
    empty = reported(SUITE, {"teacher": Scripted(), "student": Scripted()}, [], [], SameTextParams(), 0)["zoo"]
    assert {one["tag"] for one in (empty["gold"], *empty["above"].values())} == {"unavailable"}
