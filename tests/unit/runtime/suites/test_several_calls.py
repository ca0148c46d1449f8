"""Several calls, accepted values, arguments that may be left out: what the data declares is credited, and no more."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.contract import Refusal, callforms, calls
from runtime.contract.agreement import Rules
from runtime.contract.calls import Call
from runtime.data.called import judge
from runtime.suites.tool_use import SUITE, ToolUseParams, items_of
from runtime.tools import registry
from tests.unit.runtime.suites.models import Scripted, reported, row

STRING = {"type": "string"}
TOOLS = registry.checked(
    [
        {
            "name": "play",
            "description": "",
            "parameters": {
                "type": "object",
                "properties": {"artist": STRING, "volume": {"type": "number", "default": 5}, "tags": {"type": "array"}},
                "required": ["artist"],
                "additionalProperties": False,
            },
        },
        {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}},
    ],
    "tools.json",
)
ABBA, QUEEN = Call("play", {"artist": "ABBA"}), Call("play", {"artist": "Queen"})


def asked(response: str, **wants: Any) -> Any:
    return {**row("?", response), "wanted": wants} if wants else row("?", response)


def parts(output: str, response: str, rules: Rules | None = None, **wants: Any) -> dict[str, Any]:
    rules = rules or Rules()
    (item,) = items_of([asked(response, **wants)], TOOLS, rules)
    return judge(output, item, ("native",), rules)


def wants(*names: str, **more: Any) -> list[dict[str, Any]]:
    return [{"name": "play", "args": {"artist": [name]}, **more} for name in names]


def said(*made: Call) -> str:
    return callforms.write(made)


def test_calls_in_any_order_are_right_where_the_row_says_so() -> None:
    both = said(ABBA, QUEEN)
    assert parts(said(QUEEN, ABBA), both, calls=wants("ABBA", "Queen"))["right"]
    assert parts(said(QUEEN, ABBA), both)["right"]
    chain = parts(said(QUEEN, ABBA), both, calls=wants("ABBA", "Queen"), order="given")
    assert (chain["right"], chain["faults"]) == (False, ["wrong_value", "wrong_value"])
    assert parts(both, both, calls=wants("ABBA", "Queen"), order="given")["right"]


def test_calls_are_assigned_and_not_taken_greedily() -> None:
    """The first wanted call would take what the second needs."""
    loose = [{"name": "play", "args": {"artist": ["ABBA", "Queen"]}}, *wants("ABBA")]
    assert parts(said(ABBA, QUEEN), said(QUEEN, ABBA), calls=loose)["right"]


@pytest.mark.parametrize(
    ("made", "faults", "counts"),
    [
        ((ABBA,), ["missing_call"], (2, 0, 2)),
        ((ABBA, QUEEN, QUEEN), ["surplus_call"], (4, 2, 0)),
        ((ABBA, Call("stop", {})), ["wrong_tool"], (2, 1, 2)),
        ((ABBA, Call("play", {})), ["missing_required", "missing_required"], (3, 0, 1)),
        ((ABBA, Call("play", {"artist": "Queen", "loud": 1})), ["unexpected_argument", "extra_argument"], (4, 1, 0)),
        ((ABBA, Call("play", {"artist": 3})), ["type_error", "wrong_value"], (3, 1, 1)),
    ],
)
def test_every_wrong_call_has_a_fault(made: tuple[Call, ...], faults: list[str], counts: tuple[int, ...]) -> None:
    found = parts(said(*made), said(ABBA, QUEEN))
    assert (found["right"], found["faults"]) == (False, faults)
    assert (found["tp"], found["fp"], found["fn"]) == counts


def test_only_what_is_declared_may_be_left_out() -> None:
    """Of 862 held-out rows with an optional argument left out none could be credited; a default that is declared is
    the same as silence, and nothing else is."""
    loud, default = Call("play", {"artist": "ABBA", "volume": 9}), Call("play", {"artist": "ABBA", "volume": 5})
    accepts = [{"name": "play", "args": {"artist": ["ABBA"], "volume": [9]}, "optional": ["volume"]}]
    assert parts(said(ABBA), said(loud), calls=accepts)["right"]
    assert parts(said(loud), said(ABBA), calls=accepts)["right"]
    assert not parts(said(ABBA), said(loud))["right"]
    assert not parts(said(loud), said(ABBA))["right"]
    assert parts(said(ABBA), said(default))["right"]
    assert parts(said(default), said(ABBA))["right"]
    written = Rules(defaults="written")
    assert not parts(said(ABBA), said(default), written)["right"]
    assert not parts(said(default), said(ABBA), written)["right"]
    wrong = Call("play", {"artist": "ABBA", "volume": 8})
    assert parts(said(wrong), said(loud), calls=accepts)["faults"] == ["wrong_value"]


@pytest.mark.parametrize(
    ("rules", "value", "accepted", "same"),
    [
        ({}, 1.0, 1, True),
        ({"numbers": "kind"}, 1, 1.0, True),
        ({}, True, 1, False),
        ({}, "u\u0308", "\u00fc", False),
        ({"strings": "nfc"}, "u\u0308", "\u00fc", True),
        ({"strings": "nfc"}, "A", "a", False),
        ({"strings": "folded"}, "New-York, N.Y.", "new york ny", True),
        ({}, ["a", "b"], ["b", "a"], False),
        ({"lists": "any_order"}, ["a", "b"], ["b", "a"], True),
        ({"lists": "any_order"}, ["a", "b"], ["a", "a", "b"], False),
        ({}, {"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
    ],
)
def test_values_are_the_same_by_declared_rules(rules: Any, value: Any, accepted: Any, same: bool) -> None:
    tool = {"name": "f", "description": "", "parameters": {"type": "object", "properties": {"x": {}}}}
    if rules.get("numbers"):
        tool["parameters"] = {"type": "object", "properties": {"x": {"type": "number"}}}
    made = Rules(**rules)
    wanted = {"calls": [{"name": "f", "args": {"x": [accepted]}}]}
    (item,) = items_of([{**row("?", said(Call("f", {"x": accepted}))), "wanted": wanted}], [tool], made)
    # no spelling in between, which would write 1.0 as 1
    text = callforms.write([Call("f", {"x": value})], "json")
    assert judge(text, item, ("json",), made)["right"] is same


def test_a_control_is_declared_and_a_call_on_it_is_a_fault() -> None:
    assert parts("Nothing fits.", "Nothing fits.", calls=[])["right"]
    found = parts(said(ABBA), "Nothing fits.", calls=[])
    assert (found["right"], found["faults"], found["fp"]) == (False, ["call_on_control"], 2)
    broken = parts("tool.call{", "Nothing fits.", calls=[])
    assert (broken["right"], broken["faults"], broken["fp"]) == (False, ["call_on_control"], 1)


def test_a_row_whose_response_is_not_what_it_wants_is_refused() -> None:
    with pytest.raises(Refusal, match="not what it wants") as refused:
        list(items_of([asked(said(QUEEN), calls=wants("ABBA"))], TOOLS))
    assert refused.value.code == "KR0241"
    assert len(list(items_of([asked(said(ABBA), calls=wants("ABBA"))], TOOLS))) == 1


def test_personal_data_is_no_part_of_a_right_answer() -> None:
    card = "4111 1111 1111 1111"
    leaky, clean = f"Done. The card {card} was charged.", "Done."
    data = reported(SUITE, {"student": Scripted(lambda _: leaky)}, [row("?", clean)], TOOLS, ToolUseParams(), 0)
    student = data["runners"]["student"]
    assert (student["privacy_ok"]["k"], student["privacy_ok"]["n"]) == (0, 1)
    assert student["failed_examples"][0]["kind"] == "personal_data"
    # the row itself says it
    data = reported(SUITE, {"student": Scripted(lambda _: leaky)}, [row("?", leaky)], TOOLS, ToolUseParams(), 0)
    assert data["runners"]["student"]["privacy_ok"]["k"] == 1


FORMS: dict[callforms.Form, str] = {
    "native": 'tool.call{"name":"play","args":{"artist":"ABBA"}}\ntool.call{"name":"stop","args":{}}',
    "tagged": '<tool_call>\n{"name": "play", "arguments": {"artist": "ABBA"}}\n</tool_call>\n<tool_call>\n{"name": "stop", "arguments": {}}\n</tool_call>',
    "listed": '[TOOL_CALLS] [{"name": "play", "arguments": {"artist": "ABBA"}}, {"name": "stop", "arguments": {}}]',
    "json": '[{"play": {"artist": "ABBA"}}, {"name": "stop", "arguments": {}}]',
    "python": '[play(artist="ABBA"), stop()]',
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_is_read_where_it_is_declared(form: callforms.Form) -> None:
    made = (ABBA, Call("stop", {}))
    assert callforms.read(FORMS[form], [form]) == made
    assert callforms.read(callforms.write(made, form), [form]) == made
    others: list[callforms.Form] = [other for other in FORMS if other != form and (form, other) != ("listed", "json")]
    for other in others:
        found = callforms.read(FORMS[form], [other], ["play", "stop"])
        assert isinstance(found, calls.Fault), other
        assert found.kind != "no_call"


def test_llama_writes_one_object() -> None:
    assert callforms.read('{"name": "stop", "parameters": {}}', ["llama"]) == (Call("stop", {}),)


@pytest.mark.parametrize(
    "text",
    [
        "[play(artist=open('x'))]",
        "[play(artist=1+1)]",
        "[play(artist=__import__('os').getcwd() + 'x')]",
        "[play('ABBA')]",
        "[play(**{'artist': 'ABBA'})]",
        "[play(artist=1, artist=2)]",
        "[play(artist=lambda: 1)]",
        "[play(artist=1e999)]",
        "[play(artist=" + "9" * 5000 + ")]",
        "[play(artist=" + "[" * 3000 + "]" * 3000 + ")]",
        "[play(artist=" + "-" * 3000 + "1)]",
        "[play(artist='" + "x" * 30_000 + "')]",
    ],
)
def test_nothing_of_an_answer_is_run(text: str) -> None:
    found = callforms.read(text, ["python"])
    assert isinstance(found, calls.Fault)
    assert found.kind != "no_call"


@pytest.mark.parametrize(
    "text",
    ["I will play (or stop) it.", "", "See [1].", "{}", "[]", '{"answer": 42}', '[{"a": 1}]', "No call fits here."],
)
def test_prose_is_silence(text: str) -> None:
    found = callforms.read(text, ["native", "tagged", "listed", "llama", "json", "python"])
    assert isinstance(found, calls.Fault)
    assert found.kind == "no_call"


def test_too_many_calls_are_none() -> None:
    found = callforms.read(said(*[ABBA] * 65), ["native"])
    assert isinstance(found, calls.Fault)
    assert found.kind == "wrong_form"
    assert callforms.read(said(*[ABBA] * 64), ["native"]) == (ABBA,) * 64


def test_what_validate_asks_of_a_row_is_what_the_suite_refuses() -> None:
    params = ToolUseParams()
    assert SUITE.misfit is not None
    assert SUITE.misfit(asked(said(ABBA), calls=wants("ABBA")), TOOLS, params) == ""
    assert "not what it wants" in SUITE.misfit(asked(said(QUEEN), calls=wants("ABBA")), TOOLS, params)
    # a row that says nothing is judged by its own call, and without tools there is nothing to judge by
    assert SUITE.misfit(asked(said(QUEEN)), TOOLS, params) == ""
    assert SUITE.misfit(asked(said(QUEEN), calls=wants("ABBA")), [], params) == ""


def test_a_row_may_answer_with_several_calls() -> None:
    """The data step and validate ask this of every response before a suite sees it."""
    valid = registry.validators(TOOLS)
    assert calls.why_not(said(ABBA, Call("stop", {})), valid) == ""
    assert calls.why_not(said(ABBA, Call("stop", {"now": 1}), Call("play", {})), valid).startswith("missing_required")
    assert calls.why_not(said(ABBA) + " and so on", valid).startswith("text_around_call")
    assert calls.why_not("Nothing fits.", valid) == ""
