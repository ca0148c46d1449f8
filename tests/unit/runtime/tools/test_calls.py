"""Calls have one spelling; spans cut the name and the arguments out of it."""

from __future__ import annotations

from runtime.contract.rows import text_of
from runtime.tools.calls import Call, Fault, difference, items, matches, parse, render, spans

CALL = Call("send_message", {"to": "Zoë", "text": 'she said "no"', "n": 3, "tags": ["a", {"b": None}]})


def test_the_name_comes_first_and_arguments_are_sorted():
    assert render(Call("f", {"b": 1, "a": True})) == 'tool.call{"name":"f","args":{"a":true,"b":1}}'


def test_what_is_rendered_is_parsed():
    assert parse(render(CALL)) == CALL


def test_spans_are_the_bytes_of_name_and_arguments():
    text = render(CALL)
    (name,), (args,) = spans(CALL)["tool_name"], spans(CALL)["json_args"]
    assert text_of(text, name) == "send_message"
    assert text_of(text, args).startswith('{"n":3,')
    assert text_of(text, args).endswith('"to":"Zoë"}')
    assert text_of(text, [args[1], len(text.encode())]) == "}"


def test_only_a_whole_text_is_a_call():
    assert parse("tool.call") == Fault("no_call")
    assert parse('{"name":"f","args":{}}') == Fault("no_call")
    assert isinstance(parse(render(CALL) + render(CALL)), Fault)


def test_values_compare_as_json_values():
    """1 and 1.0 are one number; 1, true and "1" are three things."""
    one = Call("f", {"a": 1})
    assert difference(Call("f", {"a": 1.0}), one) is None
    for other in (True, "1", [1], None):
        fault = difference(Call("f", {"a": other}), one)
        assert fault == Fault("wrong_value", "a")


def test_items_are_the_tool_and_each_argument_of_it():
    assert sum(items(CALL).values()) == 5
    assert matches([CALL], [CALL]) == (5, 0, 0)
    assert matches([], [CALL]) == (0, 0, 5)
    assert matches([CALL], []) == (0, 5, 0)
    assert matches([CALL, CALL], [CALL]) == (5, 5, 0)
    assert matches([Call("other", CALL.args)], [CALL]) == (0, 5, 5)
