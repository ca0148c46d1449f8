"""Fixtures are read strictly: what is wrong is named with file and line, and which line answers is never order."""

import json

import pytest

from runtime.contract import Refusal, expressions, fixtures
from runtime.contract.expressions import Partial, Unknown, Wrong

TOOLS = [
    {
        "name": "weather",
        "description": "",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer", "default": 1}},
        },
    },
    {"name": "sum", "description": "", "parameters": {"type": "object", "properties": {"text": {"type": "string"}}}},
]
HEAD = fixtures.header(TOOLS[0], TOOLS)
ROME = {"kind": "exact", "args": {"city": "Rome"}, "result": "sunny"}


def written(folder, lines, name="weather.jsonl"):
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return folder


def refused(tmp_path, *lines, head=HEAD):
    with pytest.raises(Refusal) as found:
        fixtures.load(written(tmp_path / "fx", [head, *lines]), TOOLS, place="fx")
    return found.value.code, found.value.place


def test_a_sound_set_is_read(tmp_path):
    held = fixtures.load(written(tmp_path / "fx", [HEAD, ROME]), TOOLS)
    assert [line.kind for line in held.lines()] == ["exact"]
    assert held.unreviewed == 1


def test_a_set_for_another_registry_is_refused_by_name(tmp_path):
    assert refused(tmp_path, ROME, head={**HEAD, "registry": "0" * 64}) == ("KR0230", "fx/weather.jsonl:1")
    assert refused(tmp_path, ROME, head={**HEAD, "schema": "0" * 64}) == ("KR0230", "fx/weather.jsonl:1")


@pytest.mark.parametrize(
    "line",
    [
        {"kind": "guess", "result": ""},
        {"kind": "exact", "args": {"city": "Rome"}},
        {**ROME, "latency": 3},
        {**ROME, "args": {"city": 3}},
        {**ROME, "scope": "everywhere"},
        {**ROME, "review": "fine"},
        {"kind": "pure", "answer": "__import__('os')"},
        {"kind": "pure", "answer": "args.city.__class__"},
        {"kind": "pure", "answer": "[x for x in y]"},
        {"kind": "pure", "answer": "world.users"},
        {"kind": "stateful", "answer": "json(world.nowhere)"},
        {"kind": "matcher", "schema": {"properties": {"city": {"pattern": "(a+)+(a+)+(a+)+(a+)+$"}}}, "result": ""},
        {"kind": "matcher", "schema": {"propertys": {}}, "result": ""},
        {"kind": "matcher", "schema": {}, "result": "", "answer": "''"},
        {"kind": "stateful", "answer": "''", "let": [["args", "1"]]},
    ],
)
def test_what_is_malformed_is_named_with_file_and_line(tmp_path, line):
    assert refused(tmp_path, line) == ("KR0231", "fx/weather.jsonl:2")


def test_every_wrong_line_is_told_at_once(tmp_path):
    wrong = []
    lines = [HEAD, {"kind": "guess"}, ROME, {**ROME, "latency": 3}]
    fixtures.load(written(tmp_path / "fx", lines), TOOLS, place="fx", wrong=wrong)
    assert [one.place for one in wrong] == ["fx/weather.jsonl:2", "fx/weather.jsonl:4"]


def test_a_line_that_stands_there_twice_is_refused(tmp_path):
    assert refused(tmp_path, ROME, {**ROME, "result": "rainy"}) == ("KR0232", "fx/weather.jsonl:3")
    spelled = {**HEAD, "normalise": {"city": ["casefold"], "days": ["omit_default"]}}
    assert refused(tmp_path, ROME, {**ROME, "args": {"city": "ROME", "days": 1}}, head=spelled)[0] == "KR0232"


IN_ROME = {
    "kind": "matcher",
    "schema": {"properties": {"city": {"const": "Rome"}}, "required": ["city"]},
    "result": "sunny",
}
IN_OSLO = {
    "kind": "matcher",
    "schema": {"properties": {"city": {"enum": ["Oslo", "Bergen"]}}, "required": ["city"]},
    "result": "cold",
}


def test_two_lines_that_could_answer_one_call_are_refused(tmp_path):
    fixtures.load(written(tmp_path / "apart", [HEAD, IN_ROME, IN_OSLO]), TOOLS)
    assert refused(tmp_path, IN_ROME, {**IN_ROME, "result": "rainy"}) == ("KR0233", "fx/weather.jsonl:3")
    assert refused(tmp_path, IN_ROME, {"kind": "matcher", "schema": {}, "result": ""})[0] == "KR0233"
    assert refused(tmp_path, ROME, {"kind": "ignore_args", "result": ""})[0] == "KR0233"
    assert refused(tmp_path, ROME, IN_ROME)[0] == "KR0233"
    assert refused(tmp_path, ROME, {"kind": "pure", "answer": "args.city"})[0] == "KR0233"
    assert refused(tmp_path, ROME, {"kind": "stateful", "answer": "'x'"})[0] == "KR0233"
    # what the function cannot answer may stand beside it
    fixtures.load(written(tmp_path / "beside", [HEAD, ROME, {"kind": "pure", "answer": "args.nothing"}]), TOOLS)


def value(text, **variables):
    return expressions.evaluate(expressions.parse(text, frozenset(variables)), variables)


def test_expressions_know_arithmetic_texts_lists_and_objects():
    assert value("a.b[0] * 2 + len([x for x in a.c if x > 1])", a={"b": [4], "c": [1, 2, 3]}) == 10
    assert value("f'{a} of {b}'", a="x", b=[1, 2]) == "x of [1, 2]"
    assert value("str(round(float(arithmetic(t)), 2))", t="(2 + 4) / 4 * 1.5 - 2**3") == "-5.75"
    assert value("merge(a, {'x': 1})", a={"y": 2}) == {"y": 2, "x": 1}
    assert value("True == 1") is False


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "a.missing",
        "9 ** 99",
        "'x' * 9",
        "a + 1",
        "9007199254740991 + 1",
        "json(a) if 1 else 2",
        "arithmetic('x')",
    ],
)
def test_an_expression_without_a_value_says_so(text):
    with pytest.raises(Wrong):
        value(text, a={"b": 1})


def test_no_expression_takes_long_or_grows():
    many = list(range(2000))
    with pytest.raises(Wrong, match="steps"):
        value("[[y + x for y in a] for x in a]", a=many)
    doubled = "a + a"
    for _ in range(8):
        doubled = f"({doubled}) + ({doubled})"
    with pytest.raises((Wrong, ValueError)):
        value(doubled, a="x" * 100_000)


def test_a_value_that_holds_one_list_many_times_is_never_written():
    named = {"a0": expressions.parse("['x', 'x']", frozenset())}
    for at in range(60):
        named[f"a{at + 1}"] = expressions.parse(f"[a{at}, a{at}]", frozenset({f"a{at}"}))
    for text in ("json(a60)", "str(a60)", "f'{a60}'", "a60 == [a59, a59]", "a60", "len([1]) if a60 in [a60] else 0"):
        with pytest.raises(Wrong, match="characters and items"):
            expressions.evaluate(expressions.parse(text, frozenset({"a60", "a59"})), {}, named)


@pytest.mark.parametrize(
    "text",
    [
        "open('x')",
        "a.__class__",
        "lambda: 1",
        "(x := 1)",
        "[1 for a in b for c in d]",
        "f'{a!r}'",
        "(" * 300,
        "-" * 4000,
    ],
)
def test_nothing_but_the_language_is_read(text):
    with pytest.raises(ValueError, match=r"no |language|write|takes|nested|from one|is no"):
        expressions.parse(text, frozenset({"a", "b", "d"}))


def test_what_is_not_recorded_is_unknown_and_not_absent():
    world = {"users": Partial({"ada": 1})}
    assert value("world.users.ada", world=world) == 1
    for text in ("world.users['bob']", "'bob' in world.users", "[x for x in world.users]", "unknown()"):
        with pytest.raises(Unknown):
            value(text, world=world)
    assert value("either(world.users['bob'], world.users.ada)", world=world) == 1
    assert value("first([x for x in [1, 2] if x == 1 or world.users['bob'] == 1], 0)", world=world) == 1
    assert value("known(world.users, 'bob')", world=world) is False
