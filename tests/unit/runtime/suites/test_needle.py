"""Facts in long prompts: counted by length and depth, in cells that the text itself bears out."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from runtime.contract import Refusal
from runtime.contract.cells import cell_of
from runtime.generators.needles import GENERATOR, NeedlesParams
from runtime.suites import needle
from tests.unit.runtime.suites.models import Scripted, lines_of, reported

ROWS = GENERATOR.rows(NeedlesParams(rows=60, lengths=[100, 300], depths=[0, 50, 100]), [], 7)
GOLD = {row["prompt"]: row for row in ROWS}
PARAMS = needle.NeedleParams()


def but(*cells: str) -> Scripted:
    """Finds every fact but those of these cells."""
    return Scripted(lambda prompt: "none" if GOLD[prompt]["class"] in cells else f"It is {GOLD[prompt]['response']}.")


def counts(table: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    return {name: (one["k"], one["n"]) for name, one in table.items() if one["tag"] == "measured"}


def test_what_is_found_is_counted_by_length_and_depth() -> None:
    data = reported(needle.SUITE, {"teacher": but(), "student": but("300@50"), "coreml": but()}, ROWS, [], PARAMS)
    assert counts(data["right"]) == {"teacher": (60, 60), "student": (50, 60), "coreml": (60, 60)}
    assert {length: counts(table)["student"] for length, table in data["by_length"].items()} == {
        "100": (30, 30),
        "300": (20, 30),
    }
    cells = {
        f"{length}@{depth}": counts(one)["student"]
        for length, row in data["cells"].items()
        for depth, one in row.items()
    }
    assert cells == {f"{length}@{depth}": (10, 10) for length in (100, 300) for depth in (0, 50, 100)} | {
        "300@50": (0, 10)
    }
    assert data["worst_cell"] == {"teacher": "100@0", "student": "300@50", "ce_only": "", "coreml": "100@0"}
    paired = {length: (one["wins"], one["losses"], one["n"]) for length, one in data["teacher_by_length"].items()}
    assert paired == {"100": (0, 0, 30), "300": (0, 10, 30)}
    assert (data["teacher_gain"]["losses"], data["package_gain"]["wins"], data["kd_gain"]["tag"]) == (
        10,
        10,
        "unavailable",
    )
    assert data["reasons"]["student"]["no_number"]["k"] == 10
    assert data["zoo"]["above"]["student"]["value"] > 0


def test_a_package_that_is_asked_less_is_compared_over_what_it_was_asked() -> None:
    params = needle.NeedleParams(coreml_limit=12)
    data = reported(needle.SUITE, {"student": but("100@0"), "coreml": but()}, ROWS, [], params)
    assert (data["right"]["coreml"]["n"], data["package_gain"]["n"], data["package_gain"]["wins"]) == (12, 12, 2)
    assert data["cells"]["300"]["0"]["coreml"]["n"] == 2
    assert data["teacher_by_length"]["100"]["tag"] == "unavailable"


def test_a_policy_is_a_place_among_the_numbers() -> None:
    said = needle.policies(ROWS, [], PARAMS)
    assert said["number_2"][0].strip() == ROWS[0]["response"]
    assert [*said["number_1"]] == [*said["first_number"]]
    # at depth 0 one other fact stands before: the second number is right there, and a model that says it is no better
    data = reported(
        needle.SUITE,
        {"student": Scripted(dict(zip(GOLD, said["number_2"], strict=True)).__getitem__)},
        ROWS,
        [],
        PARAMS,
    )
    assert data["cells"]["100"]["0"]["student"]["value"] == 1.0
    assert data["zoo"]["above"]["student"]["low"] < 0


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"class": ""}, "no length and depth"),
        ({"class": "100@101"}, "no length and depth"),
        ({"class": "106@0"}, "has 100 words, its class says 106"),
        ({"class": "100@50"}, "its class says 50 per cent"),
        ({"response": "99999999"}, "stands 0 times"),
        ({"response": "number"}, "stands 9 times"),
    ],
)
def test_a_row_stands_in_a_cell_only_by_its_text(change: Mapping[str, str], why: str) -> None:
    row = {**ROWS[0], **change}
    assert ROWS[0]["class"] == "100@0"
    assert why in needle.misfit(row, [], PARAMS)
    with pytest.raises(Refusal, match="has no length and depth"):
        needle.data_of([], [row], [], PARAMS, 0)
    with pytest.raises(ValueError, match="its"):
        cell_of(row, row["response"])


@pytest.mark.parametrize(("length", "fits"), [(105, True), (106, False), (96, True), (95, False)])
def test_a_length_is_off_by_a_twentieth_at_most(length: int, fits: bool) -> None:
    assert (needle.misfit({**ROWS[0], "class": f"{length}@0"}, [], PARAMS) == "") is fits


def test_a_row_that_stands_in_its_cell_must_still_be_comparable() -> None:
    assert needle.misfit(ROWS[0], [], PARAMS) == ""
    declared = needle.NeedleParams.model_validate({"match": "choice", "choice": {"choices": ["A", "B"]}})
    assert needle.misfit(ROWS[0], [], declared) == "it is none of the choices"


def test_a_line_that_says_otherwise_than_its_output_is_found() -> None:
    lines = lines_of(needle.SUITE, {"student": but("100@0")}, ROWS, [], PARAMS)
    lines[0] = {**lines[0], "parts": {**lines[0]["parts"], "right": True}, "reason": ""}
    with pytest.raises(ValueError, match="is not what its output gives"):
        needle.data_of(lines, ROWS, [], PARAMS, 0)


LETTERS = str.maketrans("0123456789", "QWXZKVJYGP")


@pytest.mark.parametrize("written", [str.upper, str.lower, str.title])
def test_who_lists_all_codes_of_a_prompt_finds_none_of_them(written: Callable[[str], str]) -> None:
    """Codes of letters are told by what stands around them, in whatever case."""

    def spelled(text: str) -> str:
        return re.sub(r"\b\d{5}\b", lambda number: written(number[0].translate(LETTERS)), text)

    rows = [{**row, "prompt": spelled(row["prompt"]), "response": spelled(row["response"])} for row in ROWS]
    gold = {row["prompt"]: row["response"] for row in rows}
    every = {row["response"] for row in rows}
    params = needle.NeedleParams(match="contains")

    def listed(prompt: str) -> str:
        found = re.findall(r"number of \w+ \w+ is (\w+)", prompt)
        assert gold[prompt] in found
        assert len(found) > 2
        return ", ".join(dict.fromkeys(found))

    def said(prompt: str) -> str:
        return f"The number of it is {gold[prompt]}, as the text says."

    data = reported(needle.SUITE, {"teacher": Scripted(said), "student": Scripted(listed)}, rows, [], params)
    assert len(every) > 2
    assert (data["right"]["teacher"]["k"], data["right"]["student"]["k"]) == (len(rows), 0)
    assert data["reasons"]["student"]["several_answers"]["k"] == len(rows)


def test_without_rows_nothing_is_known() -> None:
    data = needle.data_of([], [], [], PARAMS, 0)
    assert (data["cells"], data["by_length"], data["items"]["value"]) == ({}, {}, 0)
    assert {one["tag"] for one in data["right"].values()} == {"unavailable"}
    assert data["zoo"]["gold"]["tag"] == "unavailable"
