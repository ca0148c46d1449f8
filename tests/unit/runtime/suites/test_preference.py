"""Preference pairs: what is preferred by which score, compared with what, and made again from the items."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.contract import Refusal, TokenScore, conversation
from runtime.contract.strict_json import dumps
from runtime.suites import preference
from tests.unit.runtime.suites.models import Scripted, lines_of, reported, row

#: answers of one length, in tokens; but of r1 and r2, whose chosen answers are the longer and the shorter one
PAIRS = [{**row(f"q{n}", "good one", name=f"r{n}"), "rejected": "bad one"} for n in range(1, 13)]
PAIRS[0] |= {"response": "good long one"}
PAIRS[1] |= {"rejected": "bad long one"}
Likes = Callable[[str, str], float]


def but(*wrong: int, tied: tuple[int, ...] = ()) -> Likes:
    """The chosen answer is likelier, but for these rows."""

    def likes(prompt: str, answer: str) -> float:
        number = int(prompt[1:])
        if number in tied:
            return 0.25 ** (len(answer.split()) + 1)
        right = answer.startswith("good") != (number in wrong)
        return float((0.5 if right else 0.1) ** (len(answer.split()) + 1))

    return likes


def made(likes: Mapping[str, Likes], rows: Any = PAIRS, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    declared = preference.PreferenceParams.model_validate({"score": "per_token", **params})
    runners = {name: Scripted(likes=one) for name, one in likes.items()}
    lines = lines_of(preference.SUITE, runners, rows, [], declared)
    return preference.data_of(lines, rows, [], declared, 0), lines


#: pairs of twelve that each guess by length, in characters, is right about
LENGTHS = {"mute": 0, "longer": 11, "shorter": 1}
ALL = {"teacher": but(), "student": but(1, 2), "ce_only": but(1, 2, 3), "coreml": but(2, 4)}


def test_preferred_pairs_are_counted_with_their_interval() -> None:
    data, _ = made(ALL)
    found = {name: (datum["k"], datum["n"]) for name, datum in data["preferred"].items()}
    assert found == {"teacher": (12, 12), "student": (10, 12), "ce_only": (9, 12), "coreml": (10, 12)}
    student = data["preferred"]["student"]
    # two-sided Clopper-Pearson of 10 of 12, as tables have it
    assert (round(student["low"], 4), round(student["high"], 4)) == (0.5159, 0.9791)


def test_models_are_compared_pair_by_pair() -> None:
    data, _ = made(ALL)
    found = {name: (data[name]["wins"], data[name]["losses"]) for name in ("kd_gain", "teacher_gain", "package_gain")}
    assert found == {"kd_gain": (1, 0), "teacher_gain": (0, 2), "package_gain": (1, 1)}
    assert {name: one["value"] for name, one in data["mcnemar"].items()} == {
        "kd_gain": 1.0,
        "teacher_gain": 0.5,
        "package_gain": 1.0,
    }


def test_a_tie_is_not_preferred() -> None:
    data, lines = made({"student": but(tied=(3, 4))})
    assert (data["preferred"]["student"]["k"], data["ties"]["student"]["k"]) == (10, 2)
    assert [line["row"] for line in lines if not line["parts"]["preferred"]] == ["r3", "r4"]


@pytest.mark.parametrize(("apart", "tie"), [(0.0, True), (1e-6, True), (1e-4, False), (-1e-4, False)])
def test_a_difference_that_float32_rounds_away_is_a_tie(apart: float, tie: bool) -> None:
    sides = (TokenScore(log_probability=-100.0 * (1 - one), tokens=50) for one in (apart, 0.0))
    margin = preference.Verdict(*sides).margin("sum")
    assert (margin == 0) is tie
    assert tie or margin == pytest.approx(100 * apart)


def test_the_declared_score_decides_and_both_are_shown() -> None:
    """Of a longer chosen answer each token is likelier, and the sum is less likely."""
    rows = [{**row("q1", "a b c d e f g", name="r1"), "rejected": "x"}] * 3
    likes = {"student": lambda _, answer: 0.6 ** (len(answer.split()) + 1) if answer != "x" else 0.5**2}
    found = {score: made(likes, rows, score=score)[0] for score in ("sum", "per_token")}
    assert {score: data["preferred"]["student"]["k"] for score, data in found.items()} == {"sum": 0, "per_token": 3}
    for data in found.values():
        shown = {score: data["scores"][score]["student"] for score in ("sum", "per_token")}
        assert {score: one["preferred"]["k"] for score, one in shown.items()} == {"sum": 0, "per_token": 3}
        assert shown["sum"]["margin"]["value"] == pytest.approx(8 * math.log(0.6) - 2 * math.log(0.5))
        assert shown["per_token"]["margin"]["value"] == pytest.approx(math.log(0.6) - math.log(0.5))
        assert (shown["sum"]["margin"]["unit"], shown["per_token"]["margin"]["unit"]) == ("nat/item", "nat/token")


def test_a_guess_by_length_is_measured_on_the_same_pairs() -> None:
    data, _ = made(ALL)
    assert {name: one["k"] for name, one in data["zoo"]["right"].items() if name != "random"} == LENGTHS
    assert data["zoo"]["gold"]["k"] == len(PAIRS)
    rows = [{**PAIRS[n], "response": "good and long", "rejected": "bad one"} for n in range(9)] + PAIRS[9:]
    longer, _ = made({"student": lambda _, answer: 0.5 if len(answer.split()) == 3 else 0.4}, rows)
    assert longer["zoo"]["best"] == "longer"
    assert longer["preferred"]["student"]["k"] == 9
    assert (longer["zoo"]["above"]["student"]["wins"], longer["zoo"]["above"]["student"]["low"] > 0) == (0, False)


def test_the_package_is_asked_about_the_first_pairs() -> None:
    data, lines = made(ALL, coreml_limit=5)
    assert {name: datum["n"] for name, datum in data["preferred"].items()} == {
        "teacher": 12, "student": 12, "ce_only": 12, "coreml": 5,
    }  # fmt: skip
    assert data["zoo"]["above"]["coreml"]["n"] == data["package_gain"]["n"] == 5
    assert [line["row"] for line in lines if line["runner"] == "coreml"] == [f"r{n}" for n in range(1, 6)]


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_one_number_that_is_none_makes_a_models_ranks_no_evidence(value: float) -> None:
    def likes(prompt: str, answer: str) -> float:
        return value if (prompt, answer) == ("q5", "bad one") else but()(prompt, answer)

    data, lines = made({**ALL, "student": likes})
    for datum in (
        data["preferred"]["student"],
        data["zoo"]["above"]["student"],
        data["teacher_gain"],
        data["kd_gain"],
    ):
        assert (datum["tag"], "1 of 24 scores are not finite" in datum["reason"]) == ("unavailable", True)
    assert data["preferred"]["teacher"]["k"] == 12
    assert all(json.loads(dumps(line)) for line in lines)


def test_no_pairs_are_no_evidence() -> None:
    data, _ = made(ALL, [])
    assert data["items"]["value"] == 0
    absent = [data["preferred"]["student"], data["zoo"]["above"]["student"], data["teacher_gain"]]
    assert {datum["tag"] for datum in absent} == {"unavailable"}


def test_a_row_that_is_no_pair_is_refused() -> None:
    with pytest.raises(Refusal, match="row `r` of source `s` is no preference pair"):
        made(ALL, [*PAIRS, row("q13", "good", name="r")])


def test_the_worst_pairs_are_named_first_those_that_others_rank_rightly() -> None:
    likes = {"teacher": but(3), "student": but(3, 7, tied=(9,)), "coreml": but(3, 7, tied=(9,)), "ce_only": but(3, 7)}
    data, _ = made(likes, quote=5)
    # r9 is lost to both, r7 to the teacher, r3 to nobody
    assert [one["row"] for one in data["worst"]] == ["r9", "r7", "r3"]
    first = data["worst"][1]
    assert (first["prompt"], first["chosen"], first["rejected"]) == ("q7", "good …", "bad o…")
    assert first["margins"]["teacher"]["value"] > 0 > first["margins"]["student"]["value"]
    assert all(one["prompt"].startswith("sha256:") for one in made(likes)[0]["worst"])
    assert len(made(likes, examples=1)[0]["worst"]) == 1


def test_the_report_is_made_again_from_the_items() -> None:
    data, lines = made(ALL, quote=9)
    declared = preference.PreferenceParams.model_validate({"score": "per_token", "quote": 9})
    read = [json.loads(dumps(line)) for line in lines]
    assert preference.data_of(read, PAIRS, [], declared, 0) == data
    for change in ({"parts": {**read[0]["parts"], "preferred": False}}, {"row": "r2"}):
        forged = [{**read[0], **change}, *read[1:]]
        with pytest.raises(ValueError, match=r"not what its output gives|where row `r1` is due"):
            preference.data_of(forged, PAIRS, [], declared, 0)


def test_a_conversation_is_asked_as_such() -> None:
    asked: list[Any] = []

    class Listening(Scripted):
        def score(self, pairs: Any) -> list[TokenScore]:
            asked.extend(pairs)
            return [TokenScore(log_probability=-1.0, tokens=1) for _ in pairs]

    turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why?"}]
    whole = {
        **row("system: …", "So."),
        "messages": [*turns, {"role": "assistant", "content": "So."}],
        "rejected": "No.",
    }
    declared = preference.PreferenceParams(score="sum")
    reported(preference.SUITE, {"student": Listening()}, [whole], [], declared, 0)
    assert asked == [(conversation.Conversation.of(turns), answer) for answer in ("So.", "No.")]


def test_the_score_is_declared() -> None:
    with pytest.raises(ValidationError):
        preference.PreferenceParams.model_validate({})
