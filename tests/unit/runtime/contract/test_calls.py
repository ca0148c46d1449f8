"""Calls have one spelling; spans cut the name and the arguments out of it."""

from __future__ import annotations

from typing import get_args

import pytest

from runtime.contract import attempts, callforms, toolset
from runtime.contract.calls import Call, Fault, difference, items, matches, parse, render, spans, why_not
from runtime.contract.rows import text_of

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
    assert parse('{"name":"f","args":{}}') == Fault("foreign_form", "not in the form tool.call{…}")
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


FOREIGN = [
    'tool.call {"name":"f","args":{}}',
    'tool.call\n{"name":"f","args":{}}',
    'Tool.call{"name":"f","args":{}}',
    'tool.call("f")',
    '<tool_call>{"name":"f","arguments":{}}</tool_call>',
    "<tool_call>",
    '<function=f>{"a":1}</function>',
    '<|tool_call|>[{"name":"f"}]',
    "<|python_tag|>f.call(a=1)",
    '[TOOL_CALLS] [{"name":"f"}]',
    '{"name":"f","arguments":{}}',
    '{"arguments":{},"name":"f"}',
    '{"name": "f", "parameters": {"a": 1',
    "{'name': 'f', 'args': {}}",
    '```json\n{"name": "f", "arguments": {}}\n```',
    'I will do so. {"tool": "f", "input": {}}',
    '{"tool_calls": [{"type": "function", "function": {"name": "f", "arguments": "{}"}}]}',
    'tool_call{"name":"f"}',
    "Action: f\nAction Input: {}",
]


@pytest.mark.parametrize("text", FOREIGN)
def test_a_call_in_a_foreign_form_is_a_call_and_never_silence(text: str):
    fault = parse(text)
    assert isinstance(fault, Fault)
    assert fault.kind == "foreign_form"
    assert why_not(text, {}).startswith("foreign_form")


@pytest.mark.parametrize(
    "text", ['get_weather(city="Oslo")', "[get_weather(city='Oslo')]", 'get_weather {"city":"Oslo"}']
)
def test_a_declared_tool_with_brackets_behind_it_is_a_call(text: str):
    assert parse(text, ["pay", "get_weather"]) == Fault("foreign_form", "not in the form tool.call{…}")
    assert parse(text, ["pay"]) == Fault("no_call")
    assert parse(text) == Fault("no_call")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "tool.call",
        "There is no tool for that.",
        "Call me (later).",
        "The function of the heart: it pumps.",
        '{"name": "Anna"}',
        "My arguments are these: none.",
        "A tool call costs nothing.",
        "get_weather is a tool I do not need",
        "See https://example.org/get_weather for more.",
        "[get_weather]\nThis tool = nothing for me",
        "You may call get_weather with a city.",
        "| get_weather | tells the weather |",
    ],
)
def test_plain_text_is_no_call(text: str):
    assert parse(text, ["get_weather"]) == Fault("no_call")
    assert why_not(text, {}) == ""


def test_a_response_that_nobody_could_carry_out_is_told_why():
    tools = [{"name": "pay", "description": "", "parameters": {"type": "object", "required": ["amount"]}}]
    valid = toolset.validators(tools)
    assert why_not('tool.call{"name":"pay","args":{"amount":1}}', valid) == ""
    assert why_not('tool.call{"name":"pay","args":{}}', valid) == "missing_required: 'amount' is a required property"
    assert why_not('tool.call{"name":"pray","args":{}}', valid) == "unknown_tool: pray"
    assert why_not('tool.call{"name":"pay"}', valid).startswith("wrong_form")
    assert why_not('tool.call{"name":"pay"', valid).startswith("malformed_json")
    assert why_not("pay(amount=1)", valid).startswith("foreign_form")


WEATHER = [
    {
        "name": "get_weather",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
    {"name": "stop", "description": "", "parameters": {"type": "object", "properties": {}}},
]


@pytest.mark.parametrize(
    "text",
    [
        '{"city": "Dublin", "days": 6}',
        '{"city": "Dublin"}',
        '{"city": 7, "days": "six"}',
        '[{"city": "Dublin"}, {"city": "Oslo", "days": 1}]',
        '```json\n{"city": "Dublin", "days": 6}\n```',
        'Here it is:\n```\n{"city": "Dublin"}\n```\n',
        'Arguments: {"city": "Dublin", "days": 6}',
        "{'city': 'Dublin', 'days': 6}",
        "{&quot;city&quot;: &quot;Dublin&quot;}",
        '\uff5b"city": "Dub\u200blin"\uff5d',
        '{"ci\u200bty": "Dublin"}',
    ],
)
def test_nothing_but_the_arguments_of_a_declared_tool_are_a_call_without_its_name(text: str):
    valid = toolset.validators(WEATHER)
    assert callforms.read(text, (callforms.NATIVE,), valid) == Fault("foreign_form", "not in the form tool.call{…}")
    # whoever does not know what the tools take cannot tell
    assert callforms.read(text, (callforms.NATIVE,), ["get_weather", "stop"]) == Fault("no_call")


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "[]",
        '{"days": 6}',
        '{"city": "Dublin", "country": "IE"}',
        '{"answer": 4}',
        'In Dublin a day has {"city": "Dublin"} in it.',
        "{city}",
        "-" * 3000,
        "[" * 3000,
        "{'a': " + "-" * 500 + "1}",
    ],
)
def test_other_objects_are_answers(text: str):
    assert callforms.read(text, (callforms.NATIVE,), toolset.validators(WEATHER)) == Fault("no_call")


#: nothing of these is our form; `play` and `set_timer` are registered
NAMED = [
    '{"play": {"artist": "ABBA"}}',
    '[{"play": {"artist": "ABBA"}}]',
    '{"play":{"artist":"ABBA"},"stop":{}}',
    '[{"stop": null}]',
    'Sure: {"stop":{}}',
    '["stop"]',
    'functions.play({"artist":"ABBA"})',
    'functions.play({"artist":"ABBA"}) Done.',
    'print(default_api.play(artist="ABBA"))',
    'to=functions.play<|message|>{"artist":"ABBA"}',
    '```json\n[{"play": {"artist": "ABBA"}}]\n```',
    "```tool_code\nunheard_of(1)\n```",
    'play: {"artist": "ABBA"}',
    '{"name": "play", "artist": "ABBA"}',
    '{"tool":"play","tool_input":{"artist":"ABBA"}}',
    '{"recipient_name":"functions.other","parameters":{"artist":"ABBA"}}',
    "Action: play[ABBA]",
    'Play(artist="ABBA")',
    "<play><artist>ABBA</artist></play>",
    'play（artist="ABBA"）',
    "{name: play, args: {artist: ABBA}}",
    "- name: play\n  artist: ABBA",
    'tool\u200b.call{"name":"play","args":{}}',
    "play artist=ABBA",
    "play.run(artist='ABBA')",
    "mcp__player__play(artist='ABBA')",
    "setTimer(5)",
    'await tools[\'play\']({"artist": "ABBA"})',
    "getattr(api, 'play')(**{'artist': 'ABBA'})",
    '**play**\n```json\n{"artist": "ABBA"}\n```',
    'play \u2192 {"artist": "ABBA"}',
    '| tool | arguments |\n|---|---|\n| play | {"artist": "ABBA"} |',
    '[play]\nartist = "ABBA"',
    'POST /v1/play HTTP/1.1\n\n{"artist": "ABBA"}',
    "tool://play?artist=ABBA",
    '(play :artist "ABBA")',
    'CALL play WITH {"artist": "ABBA"}',
    "tool.call&#123;&quot;name&quot;:&quot;play&quot;,&quot;args&quot;:{}}",
]


def test_what_is_looked_for_first_stands_wherever_a_name_is_found():
    """A registered name is looked for before the patterns around it."""
    names = ("play", "stop.now", "set_timer")
    patterns = attempts._patterns(names)
    texts = [
        *NAMED,
        "stop.now(1)",
        "STOP-NOW: {}",
        "StopNow --x",
        "set.timer{",
        "settimer = [",
        "__play(",
        "display(er)",
    ]
    texts += [text.replace("play", name) for text in NAMED for name in names]
    found = [one for one in texts if patterns.places.search(one) or patterns.round.search(one)]
    assert len(found) > 50
    assert all(patterns.named.search(text) for text in found)


@pytest.mark.parametrize("form", get_args(callforms.Form))
@pytest.mark.parametrize("text", NAMED)
def test_a_registered_name_with_arguments_is_a_call_whichever_form_is_declared(text: str, form: callforms.Form):
    found = callforms.read(text, [form], ["play", "stop", "set_timer"])
    assert not isinstance(found, Fault) or found.kind != "no_call"


@pytest.mark.parametrize("form", get_args(callforms.Form))
@pytest.mark.parametrize("other", get_args(callforms.Form))
def test_what_any_reader_reads_is_a_call_under_every_other_form(form: callforms.Form, other: callforms.Form):
    """No name is registered here: the form alone tells."""
    for text in (callforms.write([Call("f", {"a": 1})], form), f"```\n{callforms.write([Call('f', {})], form)}\n```"):
        found = callforms.read(text, [other])
        assert not isinstance(found, Fault) or found.kind != "no_call"


@pytest.mark.parametrize(
    "text",
    [
        "I can play music, set_timer is another tool.",
        'Tools such as `play`, "stop" and set_timer: none of them fits.',
        "I will call play with artist ABBA.",
        "Play: a word for children's games. I will play (or not).",
        "To stop - that is what I want. It will display(er) nothing.",
        "None of these functions can answer that.",
        '{"answer": {"city": "Oslo"}, "n": [1, 2]}',
    ],
)
def test_prose_that_names_a_tool_is_silence(text: str):
    names = ["stop", "set_timer"] if "(or" in text else ["play", "stop", "set_timer"]
    for form in get_args(callforms.Form):
        found = callforms.read(text, [form], names)
        assert isinstance(found, Fault)
        assert found.kind in ("no_call", "malformed_json") if text.startswith("{") else found.kind == "no_call"


TAGGED = callforms.write([Call("play", {"artist": "ABBA"})], "tagged")


@pytest.mark.parametrize(
    "beside",
    [
        'tool.call{"name":"stop","args":{}}',
        '[TOOL_CALLS] [{"name":"stop","arguments":{}}]',
        "stop()",
        'functions.stop({"now":1})',
        '<TOOL_CALL>{"name":"stop","arguments":{}}</TOOL_CALL>',
        '\n<tool_call\n>{"name":"stop","arguments":{}}</tool_call>',
        '<function_call>{"name":"stop","arguments":{}}</function_call>',
        "<tool_call",
        '{"stop":{}}',
        "frobnicate(x=1)",
    ],
)
def test_a_call_in_another_form_beside_a_tagged_one_is_a_fault(beside: str):
    for text in (f"{TAGGED} {beside}", f"{beside} {TAGGED}"):
        found = callforms.read(text, ["tagged", "native"], ["play", "stop"])
        assert isinstance(found, Fault)
        assert found.kind in ("foreign_form", "malformed_json")


def test_words_around_tagged_calls_are_allowed():
    found = callforms.read(f"I will play ABBA now. {TAGGED}\nThat is all.", ["tagged"], ["play", "stop"])
    assert found == (Call("play", {"artist": "ABBA"}),)
