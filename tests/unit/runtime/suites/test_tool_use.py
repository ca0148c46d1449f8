"""Silence costs recall, trivial policies fail, copied gold is perfect, and every failed call has one named cause."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, calls
from runtime.contract.calls import Call
from runtime.suites.tool_use import SUITE, ToolUseParams
from runtime.tools import registry
from tests.unit.runtime.suites.models import Scripted, reported, row

ROOT = Path(__file__).resolve().parents[4]
TOOLS = registry.load(ROOT / "specs" / "tools" / "registry.json")
PARAMS = ToolUseParams(coreml_limit=2)
GOLD = {
    "weather?": Call("get_weather", {"city": "Paris", "days": 3}),
    "alarm?": Call("set_alarm", {"hour": 7, "minute": 5}),
    "lock?": Call("lock_door", {"door": "back", "locked": True}),
}
ROWS = [row(prompt, calls.render(call)) for prompt, call in GOLD.items()]


def student(says: Callable[[str], str]) -> dict[str, Any]:
    return dict(reported(SUITE, {"student": Scripted(says)}, ROWS, TOOLS, PARAMS, 0)["runners"]["student"])


def counts(data: dict[str, Any]) -> tuple[int, int, int]:
    return data["span_f1"]["tp"], data["span_f1"]["fp"], data["span_f1"]["fn"]


def test_copied_gold_is_perfect():
    data = student(lambda prompt: calls.render(GOLD[prompt]))
    assert counts(data) == (9, 0, 0)
    for name in ("span_f1", "json_validity", "tool_selection", "exact_call", "precision", "recall"):
        assert data[name]["value"] == 1.0
    assert data["faults"] == {}


def test_silence_is_zero_recall_on_every_eligible_row():
    """A model that never calls cannot leave the denominator: eligibility is the rows', not its own."""
    data = student(lambda _: "I cannot do that.")
    assert counts(data) == (0, 0, 9)
    assert data["span_f1"]["value"] == 0.0
    assert (data["json_validity"]["k"], data["json_validity"]["n"]) == (0, 3)
    assert (data["tool_selection"]["k"], data["tool_selection"]["n"]) == (0, 3)
    assert data["recall"]["value"] == 0.0
    assert data["precision"]["tag"] == "unavailable"


def test_f1_pools_counts_over_rows():
    """One row perfect (3 of 3), one with one wrong value (2 of 3), one silent: 2·5 / (2·5 + 1 + 3 + 1)."""
    said = {
        "weather?": calls.render(GOLD["weather?"]),
        "alarm?": calls.render(Call("set_alarm", {"hour": 8, "minute": 5})),
        "lock?": "",
    }
    data = student(lambda prompt: said[prompt])
    assert counts(data) == (5, 1, 4)
    assert data["span_f1"]["value"] == pytest.approx(10 / (10 + 1 + 4))
    assert data["by_tool"]["set_alarm"]["span_f1"]["value"] == pytest.approx(4 / 6)
    assert data["by_tool"]["lock_door"]["span_f1"]["value"] == 0.0
    assert set(data["by_tool"]) == {"get_weather", "set_alarm", "lock_door"}


def test_the_right_value_under_the_wrong_tool_is_no_match():
    data = student(lambda _: calls.render(Call("set_light", {"hour": 7, "minute": 5})))
    assert counts(data) == (0, 9, 9)


FAULTS = [
    ("", "no_call"),
    ("The weather is fine.", "no_call"),
    ('Sure: tool.call{"name":"get_weather","args":{}}', "text_around_call"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","days":3}} done', "text_around_call"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris"', "malformed_json"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","city":"Paris"}}', "malformed_json"),
    ('tool.call{"name":"get_weather","args":{"days":NaN}}', "malformed_json"),
    ('tool.call{"args":{"city":"Paris"}}', "wrong_form"),
    ('tool.call{"name":"get_weather","args":{},"id":1}', "wrong_form"),
    ('tool.call{"name":"get_weather","args":[]}', "wrong_form"),
    ('tool.call{"name":"get_whether","args":{}}', "unknown_tool"),
    ('tool.call{"name":"get_weather","args":{"days":3}}', "missing_required"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","town":"x"}}', "unexpected_argument"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","days":"3"}}', "type_error"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","days":true}}', "type_error"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","days":99}}', "value_refused"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","unit":"kelvin"}}', "value_refused"),
    ('tool.call{"name":"start_timer","args":{"minutes":5}}', "wrong_tool"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris"}}', "missing_argument"),
    ('tool.call{"name":"get_weather","args":{"city":"Paris","days":3,"unit":"celsius"}}', "extra_argument"),
    ('tool.call{"name":"get_weather","args":{"city":"Rome","days":3}}', "wrong_value"),
]


@pytest.mark.parametrize(("said", "kind"), FAULTS, ids=[f"{kind}-{n}" for n, (_, kind) in enumerate(FAULTS)])
def test_every_failed_call_has_one_named_cause(said: str, kind: str):
    data = reported(SUITE, {"student": Scripted(lambda _: said)}, ROWS[:1], TOOLS, PARAMS, 0)["runners"]["student"]
    assert {name: datum["k"] for name, datum in data["faults"].items()} == {kind: 1}
    assert data["failed_examples"][0]["kind"] == kind
    assert data["exact_call"]["k"] == 0
    assert data["json_validity"]["k"] == int(
        kind in ("wrong_tool", "missing_argument", "extra_argument", "wrong_value")
    )


def test_spacing_order_and_spelling_of_numbers_do_not_matter():
    said = ' tool.call{ "args": {"days": 3.0, "city": "Paris"}, "name": "get_weather" }\n'
    data = reported(SUITE, {"student": Scripted(lambda _: said)}, ROWS[:1], TOOLS, PARAMS, 0)["runners"]["student"]
    assert data["exact_call"]["k"] == 1


def test_trivial_policies_stand_beside_the_runners():
    """Mute and always-the-same-tool fail what copied gold passes; else the numbers would mean nothing."""
    rows = [*ROWS, row("hello?", "Hello.")]
    zoo = reported(SUITE, {"student": Scripted(lambda _: "")}, rows, TOOLS, PARAMS, 0)["zoo"]
    right = {name: one["k"] for name, one in zoo["right"].items()}
    assert {name: right[name] for name in ("mute", "echo", "refuse_all", "never_call", "always_call")} == {
        "mute": 1,
        "echo": 1,
        "refuse_all": 1,
        "never_call": 1,
        "always_call": 1,
    }
    assert (zoo["gold"]["k"], zoo["above"]["student"]["value"]) == (4, 0.0)


def test_a_call_where_none_is_wanted_costs_precision_and_abstention():
    rows = [*ROWS, row("hello?", "Hello."), row("sing?", "No.")]
    said = {prompt: calls.render(call) for prompt, call in GOLD.items()}
    said |= {"hello?": "Good day.", "sing?": calls.render(Call("play_music", {"genre": "jazz"}))}
    data = reported(SUITE, {"student": Scripted(lambda prompt: said[prompt])}, rows, TOOLS, PARAMS, 0)
    assert (data["eligible"]["value"], data["controls"]["value"]) == (3, 2)
    assert counts(data["runners"]["student"]) == (9, 2, 0)
    abstained = data["runners"]["student"]["control_abstention"]
    assert (abstained["k"], abstained["n"]) == (1, 2)


def test_a_broken_call_on_a_control_is_not_free():
    data = reported(
        SUITE, {"student": Scripted(lambda _: 'tool.call{"na')}, [*ROWS, row("hi?", "Hi.")], TOOLS, PARAMS, 0
    )
    assert counts(data["runners"]["student"]) == (0, 1, 9)


def test_without_controls_or_without_calls_the_rates_are_unavailable():
    assert student(lambda _: "")["control_abstention"]["tag"] == "unavailable"
    only = reported(SUITE, {"student": Scripted()}, [row("hello?", "Hello.")], TOOLS, PARAMS, 0)["runners"]["student"]
    for name in ("span_f1", "json_validity", "tool_selection", "exact_call"):
        assert only[name]["tag"] == "unavailable"
    empty = reported(SUITE, {"student": Scripted()}, [], TOOLS, PARAMS, 0)["runners"]["student"]
    assert empty["span_f1"]["tag"] == "unavailable"


def test_a_missing_runner_is_unavailable():
    data = reported(SUITE, {"student": Scripted()}, ROWS, TOOLS, PARAMS, 0)["runners"]
    for name in ("teacher", "ce_only", "coreml"):
        assert data[name]["span_f1"]["tag"] == "unavailable"


@pytest.mark.parametrize(
    "response",
    ['tool.call{"name":"get_weather","args":{"town":"x"}}', 'tool.call{"name":', 'so: tool.call{"name":"x","args":{}}'],
)
def test_gold_that_does_not_fit_the_registry_is_refused(response: str):
    with pytest.raises(Refusal, match="its own response is no valid call"):
        reported(SUITE, {"student": Scripted()}, [row("x?", response)], TOOLS, PARAMS, 0)


def test_without_a_registry_nothing_can_be_judged():
    with pytest.raises(Refusal, match="at least one tool"):
        reported(SUITE, {"student": Scripted()}, ROWS, [], PARAMS, 0)


def test_what_a_model_says_is_quoted_cut_and_never_run():
    said = "__import__('os').abort()" + "x" * 5000
    data = student(lambda _: said)
    assert len(data["failed_examples"][0]["output"]) == 500
    json.dumps(data, allow_nan=False)


def test_the_package_answers_only_the_first_rows_and_says_so():
    package = Scripted(lambda prompt: calls.render(GOLD[prompt]))
    data = reported(SUITE, {"student": Scripted(), "coreml": package}, ROWS, TOOLS, PARAMS, 0)
    assert package.asked == ["weather?", "alarm?"]
    assert data["runners"]["coreml"]["json_validity"]["n"] == 2


@pytest.mark.parametrize(
    "said",
    [
        '<tool_call>{"name":"get_weather","arguments":{"city":"Oslo"}}</tool_call>',
        '{"name":"get_weather","arguments":{"city":"Oslo"}}',
        'tool.call {"name":"get_weather","args":{"city":"Oslo"}}',
        'tool.call\n{"name":"get_weather","args":{"city":"Oslo"}}',
        'Tool.call{"name":"get_weather","args":{"city":"Oslo"}}',
        "tool.call(get_weather)",
        'get_weather(city="Oslo")',
        '{"city": "Oslo"}',
    ],
)
def test_a_foreign_call_costs_precision_on_a_control_and_validity_elsewhere(said: str):
    rows = [row("t?", calls.render(Call("get_weather", {"city": "Oslo"}))), row("u?", "Good day.")]
    student = reported(SUITE, {"student": Scripted(lambda _: said)}, rows, TOOLS, ToolUseParams(), 0)["runners"][
        "student"
    ]
    assert student["control_abstention"]["k"] == 0
    assert (student["span_f1"]["tp"], student["span_f1"]["fp"], student["span_f1"]["fn"]) == (0, 1, 2)
    assert student["json_validity"]["k"] == student["json_parses"]["k"] == 0
    assert student["faults"]["foreign_form"]["k"] == 1


def test_models_are_compared_row_by_row():
    rows = [row(f"{n}?", calls.render(Call("get_weather", {"city": "Oslo"})) if n % 2 else "No.") for n in range(40)]
    gold = {one["prompt"]: one["response"] for one in rows}
    right = Scripted(lambda prompt: gold[prompt])
    mute = Scripted(lambda _: "")
    runners = {"teacher": right, "student": right, "ce_only": mute, "coreml": mute}
    data = reported(SUITE, runners, rows, TOOLS, ToolUseParams(coreml_limit=10), 0)
    assert (data["kd_gain"]["value"], data["kd_gain"]["wins"], data["kd_gain"]["losses"]) == (0.5, 20, 0)
    assert data["kd_gain"]["low"] > 0.3
    assert (data["teacher_gain"]["value"], data["teacher_gain"]["n"]) == (0.0, 40)
    assert (data["package_gain"]["value"], data["package_gain"]["n"]) == (-0.5, 10)
    assert data["runners"]["ce_only"]["right"]["k"] == data["runners"]["ce_only"]["control_abstention"]["k"] == 20
    alone = reported(SUITE, {"student": right}, rows, TOOLS, ToolUseParams(), 0)
    assert alone["kd_gain"]["reason"] == "no runner `ce_only`"
    assert {d["tag"] for d in alone["runners"]["coreml"].values() if isinstance(d, dict) and "tag" in d} == {
        "unavailable"
    }


def test_without_items_nothing_is_measured():
    data = reported(
        SUITE, {name: Scripted(lambda _: "") for name in ("student", "ce_only")}, [], TOOLS, ToolUseParams(), 0
    )
    student = data["runners"]["student"]
    assert {d["tag"] for d in student.values() if isinstance(d, dict) and "tag" in d} == {"unavailable"}
    assert data["kd_gain"]["tag"] == "unavailable"
