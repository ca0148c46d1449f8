"""Kind `assert`: what decides, what is told, and what is no evidence; mistakes of authors are found at their place."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kcompiler.policy import kinds
from kcompiler.policy.kind import Judged
from tests.unit.kcompiler.policy.test_load import changed, lab

KIND = kinds.load("assert")
SAMPLE = json.loads((Path(__file__).parent / "asserted.json").read_text(encoding="utf-8"))
RIGHT = "report.runners.student.right"
TOOLS = "report.runners.student.by_tool"


def judged(that: str, change: Callable[[dict[str, Any]], None] = lambda _: None, **params: Any) -> Judged:
    report = copy.deepcopy(SAMPLE)
    change(report["data"])
    typed = KIND.params.model_validate({"that": that, **params})
    assert list(KIND.faults(typed, report["kind"])) == []
    return KIND.judge(typed, report, None, None)


def test_the_first_part_that_is_not_true_decides_and_is_told() -> None:
    found = judged(f"report.rows.value >= 30 && {RIGHT}.value > 0.99 && report.controls.value >= 1000")
    assert (found.word, found.pointer) == ("fail", "/data/runners/student/right")
    assert (found.observed, found.threshold) == ("~0.9444444444", "> 0.99")
    assert found.distance.startswith("~-0.0455")
    assert f"`{RIGHT}.value > 0.99` is false, with ~0.9444444444" in found.reason


def test_a_part_that_fails_hides_nothing_of_those_after_it() -> None:
    """Whoever would excuse a failure must see every other one, the worst of them, and what is missing."""
    found = judged(f"report.controls.value >= 1000 && report.rows.value >= 100000 && has({RIGHT}.low)")
    assert (found.word, found.distance, found.tags) == ("fail", "-970", {"fail", "not_evaluated"})
    assert found.margin < -90000
    assert judged("report.controls.value >= 1000 && report.rows.value >= 1").tags == {"fail", "pass"}
    assert judged("report.controls.value >= 1000 && report.rows.value >= 1").margin == -970
    assert judged("report.rows.value >= 1 && report.controls.value >= 1000").tags == {"fail"}


def test_of_a_pass_the_least_margin_is_told() -> None:
    found = judged(f"report.rows.value >= 30 && {RIGHT}.value > 0.9 && report.controls.value >= 20")
    assert (found.word, found.matches, found.pointer) == ("pass", 3, "/data/runners/student/right")
    assert found.threshold == "> 0.9"


def test_of_equal_margins_the_first_is_told_and_long_texts_are_cut() -> None:
    found = judged("report.rows.value >= 80 && report.rows.value > 80")
    assert found.threshold == ">= 80"
    long = f"report.rows.value >= {' + '.join(['1.0'] * 23)}0001"
    assert len(long) == 160
    assert f"`{long}` is true" in judged(long).reason
    assert "…` is true" in judged(f"{long} + 1.0").reason


def unavailable(node: dict[str, Any], name: str) -> None:
    node[name] = {"value": None, "unit": node[name]["unit"], "tag": "unavailable", "reason": "no such runner"}


@pytest.mark.parametrize(
    "text", [f"{RIGHT}.value >= 0.0", f"{RIGHT}.n >= 0", f"{RIGHT}.value >= 0.0 || report.rows.value > 1"]
)
def test_what_is_unavailable_passes_nothing(text: str) -> None:
    found = judged(text, lambda data: unavailable(data["runners"]["student"], "right"))
    assert (found.word, found.pointer) == ("not_evaluated", "/data/runners/student/right")
    assert "no such runner" in found.reason


def test_estimated_few_and_contradictory_numbers_are_no_evidence() -> None:
    right = {"value": 1.0, "unit": "ratio", "tag": "measured", "n": 0, "k": 0}
    assert judged(f"{RIGHT}.value >= 0.5", lambda data: data["runners"]["student"].update(right=right)).word == (
        "not_evaluated"
    )
    lie = {**right, "n": 10, "k": 1}
    assert judged(f"{RIGHT}.value >= 0.5", lambda data: data["runners"]["student"].update(right=lie)).word == "error"
    guess = {**right, "n": 10, "k": 10, "tag": "estimated"}
    put = lambda data: data["runners"]["student"].update(right=guess)  # noqa: E731
    assert judged(f"{RIGHT}.value >= 0.5", put).word == "not_evaluated"
    assert judged(f"{RIGHT}.value >= 0.5", put, need={"tag": "estimated"}).word == "pass"
    assert judged(f"{RIGHT}.value >= 0.5", need={"min_n": 91}).word == "inconclusive"
    assert judged(f"{RIGHT}.value >= 0.5", need={"min_n": 90}).word == "pass"
    assert judged(f"{RIGHT}.value >= 0.5", rates_min_n=91).word == "inconclusive"
    assert judged(f"{RIGHT}.value >= 0.5 && report.rows.value >= 1", rates_min_n=90).word == "pass"
    assert judged(f"{RIGHT}.value >= 0.5", rates_min_n=91, need={"min_n": 90}).word == "pass"


def test_what_is_asked_for_and_not_there_is_missing_and_has_not_failed() -> None:
    found = judged(f"has({RIGHT}.low) && {RIGHT}.low >= 0.5")
    assert (found.word, found.matches) == ("not_evaluated", 0)
    assert "it is not there" in found.reason
    # nothing was read, so that nothing is shown
    assert judged(f"!has({RIGHT}.low) || {RIGHT}.low >= 0.5").word == "not_evaluated"


def test_each_key_of_an_object_is_gone_through() -> None:
    text = f"size({TOOLS}) >= 5 && {TOOLS}.all(tool, has({TOOLS}[tool].exact_call) && {TOOLS}[tool].exact_call.k >= 1)"
    assert judged(text).word == "pass"

    def dead(data: dict[str, Any]) -> None:
        data["runners"]["student"]["by_tool"]["add_to_list"]["exact_call"].update(value=0.0, k=0)

    assert judged(text, dead).word == "fail"
    empty: Callable[[dict[str, Any]], None] = lambda data: data["runners"]["student"].update(by_tool={})  # noqa: E731
    found = judged(text, empty)
    assert (found.word, found.observed, found.threshold) == ("fail", "0", ">= 5")


def test_the_exact_end_of_a_rate_is_taken_from_its_counts() -> None:
    assert judged(f"rate_low({RIGHT}.k, {RIGHT}.n) >= 0.88").word == "pass"
    assert judged(f"rate_low({RIGHT}.k, {RIGHT}.n) >= 0.89").word == "fail"
    assert judged(f"rate_high({RIGHT}.k, {RIGHT}.n) <= 0.97").word == "fail"


def test_another_report_is_read_where_the_rule_names_it() -> None:
    params = KIND.params.model_validate({"that": "report.controls.value <= other.rows.value", "of": "eval.tool_use"})
    assert list(KIND.faults(params, "eval.tool_use")) == []
    assert KIND.judge(params, SAMPLE, None, SAMPLE).word == "pass"
    assert KIND.judge(params, SAMPLE, None, None).word == "not_evaluated"
    assert KIND.other(params) == "eval.tool_use"
    assert {(one.text, one.of) for one in KIND.reads(params)} == {("controls", ""), ("rows", "eval.tool_use")}


def test_what_is_read_is_told_as_paths() -> None:
    text = f"size({TOOLS}) >= 1 && {TOOLS}.all(t, has({TOOLS}[t].exact_call) && {TOOLS}[t].exact_call.k >= 1)"
    params = KIND.params.model_validate({"that": f"{text} && {RIGHT}.value > 0.5"})
    found = {one.text for one in KIND.reads(params)}
    assert {"runners.student.by_tool.*.exact_call", "runners.student.right"} <= found


AUTHORS = [
    ("report.runners.student.right.value => 0.5", "KC6040", "`=` begins nothing here", "write `==`"),
    ("report.runners.student.right.value >= 0.5 &&", "KC6040", "ends where a value is due", ""),
    ("report.runners.student.rihgt.value >= 0.5", "KC6041", "`rihgt` is not in `report.runners.student`", "right"),
    ("runners.student.right.value >= 0.5", "KC6041", "nothing is called `runners`", ""),
    ("report.runners.student.right.low >= 0.5", "KC6041", "not in every such report", "has("),
    ('report.runners.student.right.unit == "percent"', "KC6041", "is never", "ratio"),
    ("true", "KC6041", "it reads nothing of `report`", "report."),
    ("report.runners.student.right >= 0.5", "KC6042", "is a datum", ".value"),
    ("report.rows.value > report.runners.student.right.value", "KC6042", "two units", ""),
    ("report.runners.student.right.k / report.runners.student.right.n > 0", "KC6042", "loses its rest", "double("),
    ("report.rows.value", "KC6042", "a rule is true or false", ""),
    ('report.runners.student.by_tool.all(t, t != "")', "KC6043", "of nothing passes", "size("),
]


@pytest.mark.parametrize(("that", "code", "said", "help_"), AUTHORS)
def test_a_mistake_of_an_author_is_found_at_its_place(
    tmp_path: Path, that: str, code: str, said: str, help_: str
) -> None:
    rule = changed("kind: bound", "kind: assert").replace("on: eval.sound", "on: eval.tool_use")
    rule = rule.replace(
        'params: {metric: level, op: ">=", threshold: "0.5", unit: ratio}', f"params: {{that: '{that}'}}"
    )
    (found,) = lab(tmp_path, rule=rule).problems
    assert (found.code, found.file, found.line) == (code, "policies/lab/loud/rule.yaml", 5)
    assert said in found.summary
    assert help_ in found.help


def test_advice_about_what_may_be_absent_or_empty_works(tmp_path: Path) -> None:
    for that in (f"has({RIGHT}.low) && {RIGHT}.low >= 0.5", f'size({TOOLS}) >= 1 && {TOOLS}.all(t, t != "")'):
        params = KIND.params.model_validate({"that": that})
        assert list(KIND.faults(params, "eval.tool_use")) == []


def test_a_report_without_a_schema_cannot_be_asserted_about(tmp_path: Path) -> None:
    rule = changed("kind: bound", "kind: assert").replace(
        'params: {metric: level, op: ">=", threshold: "0.5", unit: ratio}', "params: {that: report.level.value > 0.5}"
    )
    (found,) = lab(tmp_path, rule=rule).problems
    assert (found.code, "no schema says" in found.summary) == ("KC6041", True)


def caught(tmp_path: Path, params: str) -> tuple[int, int, int, int]:
    """Line and columns of the one mistake in a rule with such parameters."""
    rule = changed("kind: bound", "kind: assert").replace("on: eval.sound", "on: eval.tool_use")
    rule = rule.replace('params: {metric: level, op: ">=", threshold: "0.5", unit: ratio}', params)
    (found,) = lab(tmp_path, rule=rule).problems
    return found.line, found.column, found.end_line, found.end_column


def test_the_place_is_the_character_of_a_line_where_the_text_stands_as_it_is(tmp_path: Path) -> None:
    plain = "params: {that: report.rowz.value > 1}"
    at = plain.index("rowz") + 1
    assert caught(tmp_path / "a", plain) == (5, at, 5, at + len("rowz.value > 1"))
    assert caught(tmp_path / "b", "params: {that: 'report.rowz.value > 1'}")[1] == at + 1
    # the end of the text is behind its last character
    assert (
        caught(tmp_path / "c", "params: {that: 'report.rows.value >'}")[1]
        == len("params: {that: 'report.rows.value >") + 1
    )
    # a text of several lines, or with escapes: the whole of it
    escaped = 'params: {that: "report.rowz.value\\t> 1"}'
    assert caught(tmp_path / "d", escaped)[:2] == (5, escaped.index('"') + 1)
    assert caught(tmp_path / "e", "params:\n  that: >-\n    report.rowz.value\n    > 1")[0] == 6
