"""Rows' own answers: what is counted, compared with what, told to whom, and made again from the items."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from pydantic import ValidationError

from runtime.contract import Refusal, conversation
from runtime.contract.statistics.intervals import incomplete_beta
from runtime.contract.statistics.paired import mcnemar
from runtime.contract.statistics.rates import rate
from runtime.contract.strict_json import dumps
from runtime.suites import gold
from tests.unit.runtime.suites.models import Scripted, lines_of, row

ROWS = [row(f"{n} and {n} ?", f"#### {2 * n}", name=f"r{n}") for n in range(1, 13)]
Says = Callable[[str], str]


def double(prompt: str) -> str:
    return f"#### {2 * int(prompt.split()[0])}"


def but(*wrong: int) -> Says:
    """Right, but for these rows."""
    return lambda prompt: "#### 0" if int(prompt.split()[0]) in wrong else double(prompt)


def _made(
    runners: Mapping[str, Any], rows: Any, declared: gold.GoldParams
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    lines = lines_of(gold.SUITE, runners, rows, [], declared)
    return gold.data_of(lines, rows, [], declared, 0), lines


def made(runners: Mapping[str, Says], rows: Any = ROWS, **params: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    declared = gold.GoldParams.model_validate({"match": "numeric", "numeric": {"after": "####"}, **params})
    return _made({name: Scripted(says) for name, says in runners.items()}, rows, declared)


ALL = {"teacher": double, "student": but(1, 2), "ce_only": but(1, 2, 3), "coreml": but(2, 4)}


def test_right_answers_are_counted_with_their_interval() -> None:
    data, _ = made(ALL)
    right = {name: (datum["k"], datum["n"]) for name, datum in data["right"].items()}
    assert right == {"teacher": (12, 12), "student": (10, 12), "ce_only": (9, 12), "coreml": (10, 12)}
    student = data["right"]["student"]
    # two-sided Clopper-Pearson of 10 of 12, as tables have it
    assert (round(student["low"], 4), round(student["high"], 4)) == (0.5159, 0.9791)


@pytest.mark.parametrize(("k", "n"), [(0, 5), (5, 5), (3, 7), (190, 200)])
def test_the_ends_of_an_interval_are_rates_at_which_the_count_is_rare(k: int, n: int) -> None:
    datum = rate(k, n)
    assert datum["low"] <= datum["value"] <= datum["high"]
    if k:
        assert incomplete_beta(k, n - k + 1, datum["low"]) == pytest.approx(0.025)
    if k < n:
        assert 1 - incomplete_beta(k + 1, n - k, datum["high"]) == pytest.approx(0.025)


@pytest.mark.parametrize(
    ("won", "lost", "p"),
    [(0, 0, 1.0), (1, 0, 1.0), (5, 0, 2 / 32), (8, 2, 112 / 1024), (2, 8, 112 / 1024), (3, 3, 1.0)],
)
def test_mcnemar_is_exact(won: int, lost: int, p: float) -> None:
    pairs = [(True, False)] * won + [(False, True)] * lost + [(True, True), (False, False)]
    datum = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    assert math.isclose(datum["value"], p)
    assert (datum["wins"], datum["losses"], datum["n"]) == (won, lost, won + lost + 2)


def test_of_one_pair_there_is_no_p() -> None:
    assert mcnemar([True], [False])["tag"] == "unavailable"


def test_models_are_compared_row_by_row() -> None:
    data, _ = made(ALL)
    found = {name: (data[name]["wins"], data[name]["losses"]) for name in ("kd_gain", "teacher_gain", "package_gain")}
    assert found == {"kd_gain": (1, 0), "teacher_gain": (0, 2), "package_gain": (1, 1)}
    assert {name: one["value"] for name, one in data["mcnemar"].items()} == {
        "kd_gain": 1.0,
        "teacher_gain": 0.5,
        "package_gain": 1.0,
    }


def test_a_runner_that_is_not_there_is_unavailable() -> None:
    data, _ = made({"student": double})
    for name in ("teacher", "ce_only", "coreml"):
        for table in (data["right"], data["zoo"]["above"], data["top_share"]):
            assert table[name]["tag"] == "unavailable"
    for name in ("kd_gain", "teacher_gain", "package_gain"):
        assert (data[name]["tag"], data["mcnemar"][name]["tag"]) == ("unavailable", "unavailable")
        assert (data[name]["unit"], data["mcnemar"][name]["unit"]) == ("item/item", "probability")


def test_without_rows_nothing_is_known() -> None:
    data, lines = made(ALL, rows=[])
    assert (data["items"]["value"], lines, data["worst"]) == (0, [], [])
    assert {one["tag"] for one in data["right"].values()} == {"unavailable"}
    assert (data["zoo"]["gold"]["tag"], data["zoo"]["right"], data["zoo"]["best"]) == ("unavailable", {}, "")
    assert {one["tag"] for one in data["zoo"]["above"].values()} == {"unavailable"}


def trivial(rows: list[Mapping[str, object]], **params: Any) -> dict[str, int | None]:
    data, _ = made({"student": lambda _: ""}, rows, **params)
    assert data["zoo"]["gold"]["value"] == 1.0
    return {name: one["k"] for name, one in data["zoo"]["right"].items()} | {"best": data["zoo"]["best"]}


def test_what_needs_no_understanding_is_measured() -> None:
    rows = [row("7 or 3 or 5 ?", "7"), row("1 2 9 4", "9"), row("8 6", "8"), row("1 2 0 ?", "2"), row("none", "7")]
    assert trivial(rows, numeric={}) == {
        "echo": 0,
        "constant": 2,
        "everything": 1,
        "mute": 0,
        "longest": 2,
        "prior": 2,
        "refuse_all": 0,
        "first_number": 2,
        "last_number": 0,
        "largest_number": 4,
        "best": "largest_number",
    }


def test_a_number_of_the_prompt_is_given_in_the_form_that_is_asked() -> None:
    rows = [row("3,5 and -2e999", "#### 3,5"), row("1,5 and 2e999", "#### 1,5")]
    assert trivial(rows, numeric={"after": "####", "strict": True, "decimal": ","})["first_number"] == 2


def test_equal_values_are_one_answer() -> None:
    rows = [row("1", '{"a":1,"b":0.10}'), row("2", '{"b":0.1,"a":1.0}'), row("3", "1e999999999"), row("4", "[]")]
    assert trivial(rows, match="json", numeric={})["constant"] == 2


def test_half_of_a_surrogate_pair_can_be_written_down() -> None:
    _, lines = made({"student": lambda _: '"\\ud800"'}, [row("p", '"x"')], match="json", numeric={})
    assert lines[0]["reason"] == "other_answer"
    assert dumps(lines[0]).encode()


def test_of_a_conversation_the_last_words_are_repeated() -> None:
    said = [{"role": "system", "content": "Add."}, {"role": "user", "content": "2 and 2 ?"}]
    asked = conversation.row_of([*said, {"role": "assistant", "content": "4"}], [])
    whole = {**row("p", "4"), **asked}
    data, lines = made({"student": lambda _: "2 and 2 ?"}, [whole, whole], numeric={})
    assert [line["reason"] for line in lines] == ["echo", "echo"]
    assert data["zoo"]["right"]["echo"]["k"] == 0


def test_a_list_of_answers_is_as_long_as_it_may_be() -> None:
    rows = [row(f"{n} ?", answer) for n, answer in enumerate(["red", "red", "blue", "green"])]
    listed = {"match": "contains", "numeric": {}}
    assert trivial(rows, **listed, contains={"others": 0})["everything"] == 2
    assert trivial(rows, **listed, contains={"others": 1})["everything"] == 3
    assert trivial(rows, **listed, contains={"others": 2})["everything"] == 4
    assert trivial(rows, **listed, contains={"others": 2, "longest": 9})["everything"] == 3
    assert trivial(rows, **listed, contains={"others": 2, "longest": 8})["everything"] == 2
    assert "first_number" not in trivial(rows, **listed)


@pytest.mark.parametrize("answer", ["red", "red or blue or green", "which ?"])
def test_a_model_that_tricks_is_not_above_tricks(answer: str) -> None:
    rows = [row("which ?", ("red", "blue", "green")[n % 3], name=str(n)) for n in range(60)]
    data, _ = made({"student": lambda _: answer}, rows, match="contains", numeric={})
    assert data["zoo"]["above"]["student"]["low"] <= 0


def test_reasons_are_counted_and_the_most_frequent_output() -> None:
    said = iter(["", "#### 0", "no", "#### 0"])
    data, _ = made({"student": lambda _: next(said)}, ROWS[:4])
    assert {name: one["k"] for name, one in data["reasons"]["student"].items()} == {
        "empty": 1,
        "other_answer": 2,
        "no_number": 1,
    }
    assert (data["top_share"]["student"]["k"], data["top_share"]["student"]["n"]) == (2, 4)


def test_the_worst_rows_are_those_that_others_have_right() -> None:
    runners = {**ALL, "teacher": but(2, 5), "student": but(1, 2, 5), "ce_only": but(1), "coreml": but(2, 4)}
    data, _ = made(runners)
    # r1: the teacher had it; r2 and r5: the baseline; r4: lost by the package
    assert [one["row"] for one in data["worst"]] == ["r1", "r2", "r4", "r5"]
    runners["ce_only"] = but()
    data, _ = made(runners, examples=2)
    assert [one["row"] for one in data["worst"]] == ["r1", "r2"]
    assert data["worst"][0]["reasons"] == {
        "teacher": "right",
        "student": "other_answer",
        "ce_only": "right",
        "coreml": "right",
    }


def test_a_report_quotes_nothing_unless_it_is_declared() -> None:
    data, _ = made(ALL)
    digest = hashlib.sha256(b"1 and 1 ?").hexdigest()
    first = next(one for one in data["worst"] if one["row"] == "r1")
    assert first["prompt"] == f"sha256:{digest}"
    assert "and 1 ?" not in json.dumps(data)
    assert "####" not in json.dumps(data)
    data, _ = made(ALL, quote=4)
    first = next(one for one in data["worst"] if one["row"] == "r1")
    assert (first["prompt"], first["answer"], first["outputs"]["student"]) == ("1 an…", "####…", "####…")


def test_the_package_is_asked_fewer_and_compared_over_these() -> None:
    data, lines = made({**ALL, "coreml": but(2)}, coreml_limit=3, limit=6)
    assert (data["right"]["student"]["n"], data["right"]["coreml"]["n"]) == (6, 3)
    assert data["package_gain"]["n"] == 3
    assert sum(line["runner"] == "coreml" for line in lines) == 3
    assert made(ALL, limit=0)[0]["items"]["value"] == 12


def test_the_report_is_made_again_from_its_items() -> None:
    declared = gold.GoldParams.model_validate({"match": "numeric", "numeric": {"after": "####"}, "coreml_limit": 5})
    runners = {name: Scripted(says) for name, says in ALL.items()}
    data, lines = _made(runners, ROWS, declared)
    read = [json.loads(json.dumps(line)) for line in lines]
    assert gold.data_of(read, ROWS, [], declared, 0) == data
    wrong = {"parts": {**read[0]["parts"], "right": False}, "reason": "echo", "row": "r2", "output": "#### 7"}
    for name, value in wrong.items():
        forged = [{**read[0], name: value}, *read[1:]]
        with pytest.raises(ValueError, match=r"not what its output gives|where row `r1` is due"):
            gold.data_of(forged, ROWS, [], declared, 0)


def test_a_row_without_an_answer_of_the_form_is_refused() -> None:
    with pytest.raises(Refusal, match=r"row `odd` cannot be judged by `numeric`: .* 'none'"):
        made(ALL, rows=[*ROWS, row("p", "none", name="odd")])


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"match": "regex"}, "needs `regex: {pattern: …}`"),
        ({"match": "choice"}, r"needs `choice: {choices: \[…\]}`"),
        ({"match": "exact", "numeric": {"after": "#"}}, "`numeric` says nothing where"),
        ({"match": "exact", "choice": {"choices": ["a", "b"]}}, "`choice` says nothing where"),
        ({"match": "json", "contains": {"longest": 9}}, "`contains` says nothing where"),
    ],
)
def test_what_is_declared_belongs_to_the_comparison(params: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        gold.GoldParams.model_validate(params)


@pytest.mark.parametrize("match", ["exact", "normalised", "json", "contains", "numeric"])
def test_what_is_written_with_its_defaults_is_the_same(match: str) -> None:
    """A plan writes every default down, and the step reads it again."""
    params = gold.GoldParams.model_validate({"match": match})
    assert gold.GoldParams.model_validate(params.model_dump(mode="json")) == params


CHOICE = {"match": "choice", "numeric": {}, "choice": {"choices": ["orders", "legal"]}}
DESK = [row(f"{n} ?", "legal" if n < 4 else "orders", "", f"d{n}") for n in range(12)]


def test_a_class_that_is_never_right_stands_in_the_table_of_classes() -> None:
    data, _ = made({"student": lambda _: "orders"}, DESK, **CHOICE)
    told = {name: (of["student"]["k"], of["student"]["n"]) for name, of in data["by_class"].items()}
    assert told == {"legal": (0, 4), "orders": (8, 8)}
    classed = [{**one, "class": "a" if n % 2 else "b"} for n, one in enumerate(ROWS)]
    table, _ = made(ALL, classed)
    assert {name: of["student"]["k"] for name, of in table["by_class"].items()} == {"a": 5, "b": 5}
    # answers that are not closed are quoted by nobody
    assert list(made(ALL)[0]["by_class"]) == [gold.UNNAMED]


def test_of_very_many_classes_the_rarest_are_one() -> None:
    many = [row(f"{n} and {n} ?", f"#### {2 * n}", f"c{n}", f"m{n}") for n in range(1, 141)]
    often = [*many, *(row(f"0{n} and {n} ?", f"#### {2 * n}", f"c{n}", f"o{n}") for n in range(1, 5))]
    table = made({"student": double}, often, limit=0)[0]["by_class"]
    assert len(table) == gold.MOST_CLASSES
    assert table["c1"]["student"]["n"] == 2
    assert table[gold.OTHERS]["student"]["n"] == len(often) - sum(
        of["student"]["n"] for name, of in table.items() if name != gold.OTHERS
    )


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("orders (anna.meyer@gmail.com)", 0),
        ("legal", 12),
        ("orders", 12),
    ],
)
def test_personal_data_beside_a_choice_are_counted(said: str, kept: int) -> None:
    data, lines = made({"student": lambda _: said}, DESK, **CHOICE)
    assert (data["privacy_ok"]["student"]["k"], data["privacy_ok"]["student"]["n"]) == (kept, 12)
    assert {tuple(line["parts"]["personal"]) for line in lines} == {() if kept else ("mail",)}
    assert data["privacy_ok"]["teacher"]["value"] is None


def test_personal_data_of_the_rows_own_answer_or_of_a_declared_choice_are_no_leak() -> None:
    own = [row(f"{n} ?", "ask anna@gmail.com", name=f"p{n}") for n in range(3)]
    says = {"student": lambda _: "ask anna@gmail.com", "teacher": lambda _: "ask bert@gmail.com"}
    data, _ = made(says, own, match="exact", numeric={})
    assert [data["privacy_ok"][name]["k"] for name in says] == [3, 0]
    mails = {"match": "choice", "numeric": {}, "choice": {"choices": ["anna@gmail.com", "bert@gmail.com"]}}
    asked = [row(f"{n} ?", "anna@gmail.com", name=f"p{n}") for n in range(3)]
    other, _ = made({"student": lambda _: "bert@gmail.com"}, asked, **mails)
    assert (other["right"]["student"]["k"], other["privacy_ok"]["student"]["k"]) == (0, 3)
