"""What attempts a call, in the dialects that people and models write them in, and what only speaks of tools."""

import time
from urllib.parse import quote

import pytest

from runtime.contract import callforms, toolset
from runtime.contract.calls import Fault
from runtime.contract.grouped import groups


def tool(name, required=(), **takes):
    schema = {"type": "object", "properties": {key: {"type": kind} for key, kind in takes.items()}}
    return {"name": name, "description": "", "parameters": {**schema, "required": [*required]}}


TOOLS = [
    tool("get_weather", ["city"], city="string", days="integer"),
    tool("set_alarm", ["time"], time="string", label="string"),
    tool("play", ["artist"], artist="string"),
    tool("stop"),
]
VALID = toolset.validators(TOOLS)
JSON = '{"city": "Dublin", "days": 6}'
NAMED = '{"name": "get_weather", "arguments": {"city": "Dublin", "days": 6}}'

#: dialect → a call of get_weather (or of another tool) in it
CALLS = {
    # chat templates and their control tokens
    "hermes": f"<tool_call>\n{NAMED}\n</tool_call>",
    "hermes, cut": f"<tool_call>\n{NAMED[:-9]}",
    "qwen coder": "<tool_call>\n<function=get_weather>\n<parameter=city>\nDublin\n</parameter>\n</function>\n</tool_call>",
    "glm": "<tool_call>get_weather\n<arg_key>city</arg_key>\n<arg_value>Dublin</arg_value>\n</tool_call>",
    "minimax": '<minimax:tool_call>\n<invoke name="get_weather">\n<parameter name="city">Dublin</parameter>\n</invoke>',
    "nemotron": f"<TOOLCALL>[{NAMED}]</TOOLCALL>",
    "jamba": f"<tool_calls>[{NAMED}]</tool_calls>",
    "granite": f"<|tool_call|>[{NAMED}]",
    "mistral": f"[TOOL_CALLS] [{NAMED}]",
    "mistral 11": f"[TOOL_CALLS]get_weather[ARGS]{JSON}",
    "llama 3": '{"name": "get_weather", "parameters": {"city": "Dublin"}}',
    "llama pythonic": '[get_weather(city="Dublin", days=6), get_weather(city="Cork")]',
    "llama python tag": '<|python_tag|>get_weather.call(city="Dublin")',
    "lfm2": '<|tool_call_start|>[get_weather(city="Dublin")]<|tool_call_end|>',
    "olmo": '<function_calls>\nget_weather(city="Dublin")\n</function_calls>',
    "function gemma": "<start_function_call>call:get_weather{city:<escape>Dublin<escape>}<end_function_call>",
    "gemma": '```tool_code\nprint(get_weather(city="Dublin"))\n```',
    "kimi": f"<|tool_calls_section_begin|><|tool_call_begin|>functions.get_weather:0<|tool_call_argument_begin|>{JSON}",
    "deepseek": f"<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>get_weather\n```json\n{JSON}",
    "harmony": f"<|channel|>commentary to=functions.get_weather <|constrain|>json<|message|>{JSON}",
    "functionary": f">>>get_weather\n{JSON}",
    "functionary 3.1": f"<function=get_weather>{JSON}</function>",
    "internlm": '<|action_start|><|plugin|>{"name": "get_weather", "parameters": {"city": "Dublin"}}',
    "command r": 'Action: ```json\n[{"tool_name": "get_weather", "parameters": {"city": "Dublin"}}]\n```',
    "raven": "Call: get_weather(city='Dublin')<bot_end>",
    "gorilla": "<<<domain>>>: weather\n<<<api_call>>>: get_weather('Dublin')",
    "react": 'Thought: I need the weather.\nAction: get_weather\nAction Input: {"city": "Dublin"}',
    "react, one line": "Action: get_weather[Dublin]",
    "react, words": "Action: get_weather\nInput: Dublin",
    "dspy": '[[ ## next_tool_name ## ]]\nget_weather\n\n[[ ## next_tool_args ## ]]\n{"city": "Dublin"}',
    "dspy, lines": "next_tool_name: get_weather\nnext_tool_args: Dublin",
    "openai": '{"tool_calls": [{"function": {"name": "get_weather", "arguments": "{\\"city\\": \\"Dublin\\"}"}}]}',
    "arguments as a text": 'get_weather gets "{\\"city\\": \\"Dublin\\", \\"days\\": 6}"',
    # languages of programs
    "python": 'get_weather("Dublin", 6)',
    "python, awaited": 'result = await tools.get_weather("Dublin")',
    "python, positional names": "I run get_weather(Dublin, 6) now.",
    "python, space": 'get_weather ("Dublin")',
    "python, by name": "getattr(tools, 'get_weather')(city='Dublin')",
    "python, out of brackets": "(lambda: tools.get_weather)()",
    "python, dict": "dict(city='Dublin', days=6)",
    "python, mapped": 'map(get_weather, ["Dublin", "Cork"])',
    "dispatcher": f"call('get_weather', {JSON})",
    "dispatcher, bare name": f"invoke(get_weather, {JSON})",
    "dispatcher, keywords": 'run_tool("get_weather", city="Dublin")',
    "ruby": 'send(:get_weather, city: "Dublin")',
    "ruby, no brackets": 'dispatch :get_weather, city: "Dublin"',
    "javascript": 'await client.callTool({name: "get_weather", arguments: {city: "Dublin"}})',
    "javascript, out of an object": 'tools[get_weather]({city: "Dublin"})',
    "php": "$tools->get_weather('Dublin');",
    "lisp": '(get_weather :city "Dublin")',
    "sql": "CALL get_weather('Dublin')",
    "graphql": 'mutation { get_weather(city: "Dublin") { ok } }',
    "camel": 'GetWeather("Dublin")',
    "unregistered, keywords": 'search_web(query="weather in Dublin")',
    "unregistered, positional": 'search_web("weather in Dublin")',
    "unregistered, in brackets": '[web.search("weather in Dublin"), web.open("x")]',
    # shells and requests
    "shell": '$ get_weather "Dublin"',
    "shell, words": "$ get_weather Dublin 6",
    "shell, no prompt": "get_weather Dublin 6",
    "shell, quoted": 'get_weather "Dublin" 6',
    "shell, fenced": "```sh\nget_weather Dublin 6\n```",
    "shell, flags": "get_weather --city Dublin",
    "flags alone": "--city Dublin --days 6",
    "slash": "/get_weather Dublin",
    "at": "@get_weather Dublin 6",
    "exclamation": "!get_weather Dublin",
    "curl": f"curl -X POST api/get_weather -d '{JSON}'",
    "http": f"POST /v1/get_weather HTTP/1.1\n\n{JSON}",
    "address": "tool://get_weather?city=Dublin",
    # documents
    "yaml": "get_weather:\n  city: Dublin\n  days: 6",
    "yaml, one value": "get_weather:\n  city: Dublin",
    "yaml, list": "- get_weather:\n    city: Dublin\n    days: 6",
    "yaml, wrapped": "tool: get_weather\narguments:\n  city: Dublin",
    "yaml, arguments alone": "city: Dublin\ndays: 6",
    "toml": '[get_weather]\ncity = "Dublin"',
    "csv": "get_weather,Dublin,6",
    "pipes": "get_weather | Dublin | 6",
    "table": f"| tool | arguments |\n|---|---|\n| get_weather | {JSON} |",
    "table of values": "| tool | city | days |\n|---|---|---|\n| get_weather | city=Dublin | days=6 |",
    "bullets": f"- get_weather\n- {JSON}",
    "headings": f"**Tool:** get_weather\n**Arguments:** {JSON}",
    "heading before lines": "### get_weather\n- **city:** Dublin\n- **days:** 6",
    "xml": "<get_weather><city>Dublin</city></get_weather>",
    "xml, name aside": '<run name="get_weather"><city>Dublin</city></run>',
    "xml, attributes": '<step tool="get_weather" city="Dublin" days="6"/>',
    "xml, arguments alone": "<city>Dublin</city><days>6</days>",
    "parameters": '<parameter name="city">Dublin</parameter><parameter name="days">6</parameter>',
    # an object of arguments
    "object": JSON,
    "object, one value": '{"city": "Dublin"}',
    "object, list": f"[{JSON}, {JSON}]",
    "object, fenced": f"```json\n{JSON}\n```",
    "object and a word": f"{JSON} ok",
    "object in a sentence": f"Sure! {JSON} That is what I would send to find it out for you.",
    "object, semicolon": f"{JSON};",
    "object, twice": f"{JSON}\n{JSON}",
    "object, cut": JSON[:-1],
    "object, one value, cut": '{"city": "Dublin"',
    "object, one more": '{"city": "Dublin", "days": 6, "note": "x"}',
    "object, inside another": f'{{"input": {JSON}}}',
    "object, intent": f'{{"intent": "get weather", "slots": {JSON}}}',
    "object, comment": f"{JSON} // get_weather",
    "object, javascript": "{city: 'Dublin', days: 6}",
    "object, trailing comma": '{"city": "Dublin", "days": 6,}',
    "object, python": "{'city': 'Dublin', 'days': 6}",
    "object, escaped": JSON.replace('"', '\\"'),
    "object, html": JSON.replace('"', "&quot;"),
    "object, wide": JSON.replace("{", "｛"),
    "object, percent": quote(JSON),
    "keywords alone": 'city="Dublin", days=6',
    # a name and its arguments, said with words
    "with": 'Use get_weather with city="Dublin", days=6',
    "with, colons": "Calling get_weather with city: Dublin, days: 6",
    "calling, then object": f"Calling get_weather.\n{JSON}",
    "dash": f"Tool - get_weather\nArguments - {JSON}",
    "for it": '{"city": "Dublin"}\n\nThis is for get_weather.',
    "arrow": f"get_weather → {JSON}",
    "em dash": f"get_weather — {JSON}",
    "ticks": f"`get_weather`: `{JSON}`",
    "in words": f"get weather: {JSON}",
    # tools without arguments
    "no arguments": "stop()",
    "no arguments, tag": "<stop/>",
    "no arguments, slash": "/stop",
}

#: what answers without a call
ANSWERS = [
    "",
    "There is no tool for that.",
    "I cannot use get_weather for that.",
    "See get_weather (the weather tool).",
    "get_weather (which tells the weather) does not fit.",
    "The tool get_weather needs: city, days.",
    "get_weather(city, days) is all that I have, and it does not help.",
    "I have get_weather(city: string, days?: integer) and stop(); none of them sings.",
    "The `get_weather()` function cannot answer this.",
    "None of get_weather, set_alarm, play(er) or stop(s) fits.",
    "You could ask for get_weather: it gives the weather.",
    "There is get_weather, set_alarm and play.",
    "get_weather, set_alarm, stop",
    "get_weather is not what you want.",
    "get_weather cannot sing",
    "get_weather needs a city",
    "# get_weather\nIt tells the weather of a city.",
    "> get_weather is a tool",
    "get_weather = good",
    "Read [get_weather](docs/weather.md), or [play](https://example.org/play) it.",
    "See https://example.org/get_weather for more.",
    "My tools:\n- get_weather: the weather of a city\n- set_alarm: an alarm at a time\n- stop: stops",
    "get_weather takes:\n- city: the name of a city\n- days: the number of days",
    "get_weather takes:\ncity: string\ndays: integer",
    'get_weather is described by {"city": {"type": "string"}, "days": {"type": "integer"}}.',
    "| tool | does |\n|---|---|\n| get_weather | tells the weather |\n| stop | stops |",
    "1. get_weather tells the weather\n2. play plays an artist",
    "play it again, and stop (please)",
    "Play: a word for children's games. To play (or not) is the question.",
    "Stop! I will play no music.",
    "City: a large town. Days: what weeks are made of, for all I know about it.",
    "Note: the artist is unknown.",
    "Time: it flies.",
    '{"answer": "no tool fits"}',
    '{"city": "Dublin", "country": "IE"}',
    '{"days": 6}',
    "{}",
    "[]",
    "{city}",
    'In Dublin a day has {"city": "Dublin"} in it.',
    "a) yes b) no",
    "f(x) = 2x",
    "x = 3, y = 4",
    "print('hello')",
    "sorted([1, 2])",
    "int(round(3.2))",
    "date(year=2020)",
    'I\'d write: len("text")',
    "math.sqrt(2)",
    "Function(s) of the heart: pumping.",
    "My function: help you.",
    "To call: dial 112.",
    "<p>There is <b>no</b> tool.</p>",
    "if a < b and b > c: return",
    "git commit --amend --no-edit",
    "```python\nfor day in range(6):\n    total += day\n```",
    "SELECT city FROM places WHERE days = 6",
]


def kind(text, names=VALID):
    found = callforms.read(text, (callforms.NATIVE,), names)
    return found.kind if isinstance(found, Fault) else "call"


@pytest.mark.parametrize("dialect", CALLS)
def test_a_call_is_none_the_less_one_for_its_dialect(dialect):
    assert kind(CALLS[dialect]) != "no_call"


@pytest.mark.parametrize("text", ANSWERS)
def test_who_speaks_of_tools_calls_none(text):
    assert kind(text) == "no_call"


def test_the_arguments_of_tools_that_are_not_there_are_no_call():
    """Each of these is one only because of what the registered tools take."""
    other = toolset.validators([tool("pay", ["amount"], amount="number")])
    for name in CALLS:
        if name.startswith(("object", "keywords", "flags alone", "parameters")) or "arguments alone" in name:
            assert kind(CALLS[name], other) == "no_call" or name == "object, inside another", name
            assert kind(CALLS[name], ["get_weather"]) == "no_call" or "get" in CALLS[name] or "inside" in name, name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ('{"a": 1, "b": {"c": 2}}', [("object", {"c"}), ("object", {"a", "b"})]),
        ("{a: 1, 'b': 2", [("object", {"a", "b"})]),
        ("f(a=1, b = 'x=y')", [("call", {"a", "b"})]),
        ("<a>1</a><b n='2'/>", [("lines", {"n"}), ("tags", {"a", "n"})]),
        ("a: 1\nb: 2\n\nc: 3", [("lines", {"a", "b"}), ("lines", {"c"})]),
        ("x --a 1 --b=2", [("lines", {"b"}), ("flags", {"a", "b"})]),
        ("don't {a: 'it''s'} can't", [("object", {"a"})]),
        ("))}} nothing ]", []),
    ],
)
def test_named_values_are_groups_in_whatever_syntax(text, found):
    assert [(one.kind, one.keys) for one in groups(text)] == found


@pytest.mark.parametrize(
    "unit",
    [
        "{",
        "(a=",
        "get_weather(",
        "<a>",
        "a: 1\n",
        '{"city": ',
        "--city ",
        "get_weather ",
        "city=Dublin, ",
        '\\"',
        "&amp;",
        "%7b",
    ],
)
def test_hostile_text_takes_time_in_proportion(unit):
    def seconds(size):
        begun = time.process_time()
        kind(unit * (size // len(unit)))
        return time.process_time() - begun

    seconds(500)
    assert min(seconds(8_000) for _ in range(3)) < 0.1 + 8 * min(seconds(2_000) for _ in range(3))
