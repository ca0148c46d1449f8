"""BFCL: gold is wholly right, a damaged answer never is; and by the published checker the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import Refusal, callforms
from runtime.contract.calls import Call
from runtime.contract.sources import Reader
from runtime.data import bfcl as data
from runtime.data import converting
from runtime.data.called import Item, gold_of, judge
from runtime.suites.bfcl import RULES, SUITE, BfclParams, decodes, items_of, parts_of
from tests.unit.runtime.suites.damaged import WAYS
from tests.unit.runtime.suites.models import Scripted, reported

FOLDER = Path(__file__).resolve().parents[3] / "data" / "bfcl"
PARAMS = BfclParams()


def right(item: Item, made: list[Call], form: callforms.Form = "python") -> bool:
    text = callforms.write(made, form) if made else data.NO_CALL
    return bool(judge(text, item, PARAMS.forms, RULES, fits=False)["right"])


@pytest.mark.parametrize("category", data.CATEGORIES)
def test_gold_is_right_in_every_form_and_damage_never(category: str) -> None:
    damaged = 0
    for item in items_of(data.rows_of(FOLDER, category)):
        assert right(item, list(item.calls), "json")
        assert judge(gold_of(item, "python"), item, PARAMS.forms, RULES, fits=False)["right"]
        assert right(item, list(item.calls)[::-1]), "the order is free"
        for name, way in WAYS.items():
            made = way(item, list(item.calls))
            assert made is None or not right(item, made), (item.id, name)
            damaged += made is not None
    assert damaged >= (32 if category == data.CONTROLS else 7 * 16 - 3)


#: how gold is wrapped → whether the published decoder reads it
WRAPPED = {
    "{}": True,
    "`[{}]`": True,
    "```\n[{}]\n```": True,
    "```\n{}\n```": True,
    "  [{}]\n": True,
    "[{}": True,
    "```python\n[{}]\n```": False,
    "'[{}]'": False,
    "Here: [{}]": False,
    "[{}].": False,
}


@pytest.mark.parametrize("category", [name for name in data.CATEGORIES if name != data.CONTROLS])
@pytest.mark.parametrize("wrap", WRAPPED)
def test_gold_is_unwrapped_as_the_published_decoder_does_it(category: str, wrap: str) -> None:
    """Each of these verdicts is the published one (tests/bench/bfcl_decoder.py)."""
    for item in items_of(data.rows_of(FOLDER, category))[:6]:
        said = wrap.format(gold_of(item, "python")[1:-1])
        assert decodes(said) is WRAPPED[wrap]
        assert parts_of(said, item, PARAMS.forms)["right"] is WRAPPED[wrap], said
        # where Python is not declared it is not read so
        assert not parts_of(said, item, ["json"])["right"]


DECODED = [json.loads(line) for line in (FOLDER / "decoded.jsonl").read_text(encoding="utf-8").splitlines()]


def test_where_no_call_is_due_what_the_published_decoder_reads_is_one() -> None:
    """100 texts and what bfcl-eval 2026.3.23 says of each: right here is right there, and never the other way round."""
    item = items_of(data.rows_of(FOLDER, data.CONTROLS))[0]
    stricter = []
    assert sum(call for _, call in DECODED) == 50
    for text, call in DECODED:
        assert decodes(text) is call, text
        parts = parts_of(text, item, PARAMS.forms)
        assert parts["right"] is (parts["faults"] == [])
        assert not (call and parts["right"]), text
        if not call and not parts["right"]:
            stricter.append(text)
    # calls that are none, and calls in other forms, are calls here
    assert {"```python\nfoo(a=1)\n```", '{"name": "foo", "arguments": {"a": 1}}', "[foo(a=1)]'"} <= {*stricter}
    assert not {"", "I cannot help with that.", "Note(this) is no call", "f(x) = 2x", "Sure (of course)"} & {*stricter}
    # where Python is not declared, its decoder is not asked
    assert parts_of("a(b)", item, ["json"])["right"]


def question(tmp_path: Path, answer: dict[str, Any], properties: dict[str, Any], required: list[str]) -> Item:
    parameters = {"type": "dict", "properties": properties, "required": required}
    asked = {
        "id": "simple_python_0",
        "question": [[{"role": "user", "content": "?"}]],
        "function": [{"name": "f", "description": "", "parameters": parameters}],
    }
    (tmp_path / "BFCL_v4_simple_python.json").write_text(json.dumps(asked) + "\n")
    truth = {"id": "simple_python_0", "ground_truth": [{"f": answer}]}
    (tmp_path / "BFCL_v4_simple_python.answers.json").write_text(json.dumps(truth) + "\n")
    (item,) = items_of(data.rows_of(tmp_path, "simple_python"))
    return item


INTEGER, FLOAT, STRING = ({"type": name} for name in ("integer", "float", "string"))
FLOATS = {"type": "array", "items": {"type": "float"}}


@pytest.mark.parametrize(
    ("schema", "accepted", "value", "same"),
    [
        # as the published checker has it: an integer is a float where the schema says so, and never the other way
        (FLOAT, [5.0], 5, True),
        (INTEGER, [5], 5.0, False),
        (INTEGER, [5], "5", False),
        (INTEGER, [1], True, False),
        (STRING, ["New York"], "new-york", True),
        (STRING, ["it's"], 'IT"S', True),
        (STRING, ["a b"], "a c", False),
        # within a list an integer is no float, unless the answer holds integers, or may be left out
        (FLOATS, [[1.0, 2.0]], [1, 2], False),
        (FLOATS, [[1, 2]], [1, 2], True),
        (FLOATS, [[1.0, 2.0], ""], [1, 2], True),
        (FLOATS, [[1.0, 2.0]], [2.0, 1.0], False),
        ({"type": "array", "items": {"type": "string"}}, [["A b", "C"]], ["ab", "c"], True),
        ({"type": "array", "items": {"type": "array"}}, [[["A b"]]], [["ab"]], False),
        # objects have lists of accepted values
        ({"type": "dict"}, [{"min": [1, 2], "max": [3, ""]}], {"min": 2}, True),
        ({"type": "dict"}, [{"min": [1, 2], "max": [3, ""]}], {"min": 2, "max": 3}, True),
        ({"type": "dict"}, [{"min": [1, 2], "max": [3, ""]}], {"max": 3}, False),
        ({"type": "dict"}, [{"min": [1, 2], "max": [3, ""]}], {"min": 3}, False),
        ({"type": "dict"}, [{"min": [1]}], {"min": 1, "more": 1}, False),
        # a value of the kind of the answers, where the schema says another
        (STRING, [5], 5, True),
        # a text that stands for such a value (a variable) is compared as it is
        (FLOATS, ["data['x']"], "data['x']", True),
        (FLOATS, ["data['x']"], 'data["x"]', False),
        (FLOATS, ["data"], "Data", False),
        (INTEGER, ["n_1"], "n1", False),
        ({"type": "dict"}, ["d.e"], "de", False),
        (STRING, [["A b"]], ["ab"], False),
        (STRING, [5, "A b"], "ab", False),
        ({"type": "any"}, ["A b"], "ab", True),
        # texts and lists that may be left out may be empty
        (STRING, ["a", ""], "", True),
        (FLOATS, [[1.0], ""], [], True),
    ],
)
def test_the_published_rules(tmp_path: Path, schema: Any, accepted: Any, value: Any, same: bool) -> None:
    """Each of these verdicts is the published checker's; tests/bench/bfcl_table.py compares it with all answers."""
    item = question(tmp_path, {"x": accepted}, {"x": schema}, [])
    assert right(item, [Call("f", {"x": value})]) is same


@pytest.mark.parametrize(
    ("said", "same"),
    [
        # as published
        ("f(x=[1.0, 2.0])", True),
        # stricter: the published decoder leaves out what has no name, and adds up
        ("f([1.0, 2.0], x=[1.0, 2.0])", False),
        ("f(x=[1.0, 1.0 + 1.0])", False),
        # more lenient: a tuple is a list there only where the schema says tuple
        ("f(x=(1.0, 2.0))", True),
    ],
)
def test_where_the_published_checker_says_otherwise(tmp_path: Path, said: str, same: bool) -> None:
    item = question(tmp_path, {"x": [[1.0, 2.0]]}, {"x": FLOATS}, ["x"])
    assert parts_of(said, item, PARAMS.forms)["right"] is same


def test_what_the_schema_requires_may_not_be_left_out(tmp_path: Path) -> None:
    for required, same in (([], True), (["x"], False)):
        item = question(tmp_path, {"x": [1, ""]}, {"x": INTEGER}, required)
        assert right(item, [Call("f", {})]) is same
        assert right(item, [Call("f", {"x": 1})])


def test_an_answer_outside_of_the_schema_cannot_be_given(tmp_path: Path) -> None:
    item = question(tmp_path, {"x": [1], "y": [2, ""]}, {"x": INTEGER}, ["x"])
    assert right(item, [Call("f", {"x": 1})])
    assert not right(item, [Call("f", {"x": 1, "y": 2})])


def test_the_report_counts_by_category() -> None:
    rows = [row for name in data.CATEGORIES for row in data.rows_of(FOLDER, name)]
    found = reported(SUITE, {"student": Scripted(lambda _: data.NO_CALL)}, rows, [], PARAMS, 0)
    assert (found["zoo"]["gold"]["k"], found["zoo"]["gold"]["n"]) == (96, 96)
    assert {name: one["k"] for name, one in found["zoo"]["right"].items() if one["k"]} == {
        # a third are controls, and silence in whatever words is right on them
        **dict.fromkeys(("constant", "mute", "echo", "refuse_all", "never_call"), 32),
        "longest": 1,
        "prior": found["zoo"]["right"]["prior"]["k"],
    }
    student = found["runners"]["student"]
    assert {name: one["k"] for name, one in student["by_category"].items()} == {
        **dict.fromkeys(data.CATEGORIES, 0),
        data.CONTROLS: 32,
    }
    assert (student["accuracy"]["k"], student["accuracy"]["n"]) == (32, 96)
    assert student["faults"]["no_call"]["k"] == 64


def test_two_files_of_one_release_are_needed(tmp_path: Path) -> None:
    (tmp_path / "BFCL_v4_multiple.json").write_text((FOLDER / "BFCL_v4_multiple.json").read_text())
    with pytest.raises(Refusal, match="no answers of multiple"):
        data.rows_of(tmp_path, "multiple")
    (tmp_path / "possible_answer").mkdir()
    (tmp_path / "possible_answer" / "BFCL_v4_multiple.json").write_text(
        (FOLDER / "BFCL_v4_parallel.answers.json").read_text()
    )
    with pytest.raises(Refusal, match="without an answer"):
        data.rows_of(tmp_path, "multiple")
    (tmp_path / "BFCL_v4_irrelevance.json").write_text('{"id": 1}\n')
    with pytest.raises(Refusal, match="no question of BFCL"):
        data.rows_of(tmp_path, "irrelevance")


def test_the_command_writes_rows_that_are_read_again(tmp_path: Path) -> None:
    assert converting.main([str(FOLDER), str(tmp_path / "rows.jsonl")], data.convert, "how") == 0
    read = [found.row for found in Reader("bfcl", {}).file(tmp_path / "rows.jsonl")]
    assert read == [row for name in data.CATEGORIES for row in data.rows_of(FOLDER, name)]
    assert SUITE.misfit is not None
    assert {SUITE.misfit(row, [], PARAMS) for row in read} == {""}
    assert "no tools" in SUITE.misfit({**read[0], "tools": []}, [], PARAMS)
    assert converting.main([str(tmp_path), str(tmp_path / "none.jsonl")], data.convert, "how") == 2
    assert converting.main([], data.convert, "how") == 2


@pytest.mark.parametrize("category", data.CATEGORIES)
def test_prompted_rows_ask_the_same_in_words(category: str) -> None:
    """For a model whose template writes no tools: each is named in the messages, and answers are texts."""
    rows, plain = (data.rows_of(FOLDER, category, prompted=prompted) for prompted in (True, False))
    for row, item, other in zip(rows, items_of(rows), items_of(plain), strict=True):
        first, *_, last = row["messages"]
        assert (item.calls, item.wanted, item.order) == (other.calls, other.wanted, other.order)
        assert (first["role"], "tool_calls" in last) == ("system", False)
        assert all(json.dumps(tool["function"]["name"]) in first["content"] for tool in row["tools"])
        assert judge(last["content"], item, PARAMS.forms, RULES, fits=False)["right"]


def test_a_prompt_joins_a_system_message_of_the_question() -> None:
    asked = data._prompted(
        [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "?"}], [{"name": "f{x}"}]
    )
    assert [one["role"] for one in asked] == ["system", "user"]
    assert asked[0]["content"].endswith('    {\n        "name": "f{x}"\n    }\n]\n\n\n\nBe brief.')
    assert asked[0]["content"].startswith("You are an expert in composing functions.")


@pytest.mark.parametrize(
    "written",
    [
        'functions.{}({{"a":1}})',
        "```tool_code\nprint(default_api.{}(a=1))\n```",
        '```json\n[{{"{}":{{"a":1}}}}]\n```',
        '{}: {{"a": 1}}',
        '{{"{}":{{"a":1}},"b":{{}}}}',
    ],
)
def test_an_undue_call_is_none_the_less_one_for_its_form(written: str) -> None:
    asked = items_of(data.rows_of(FOLDER, "irrelevance"))
    said = [written.format(next(iter(item.valid))) for item in asked]
    assert asked
    found = [judge(one, item, PARAMS.forms, RULES, fits=False) for one, item in zip(said, asked, strict=True)]
    assert not any(one["right"] for one in found)
    assert all(judge(data.NO_CALL, item, PARAMS.forms, RULES, fits=False)["right"] for item in asked)
