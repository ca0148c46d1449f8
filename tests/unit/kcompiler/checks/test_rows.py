"""What the compiler reads of rows and registries is what the data step will read, and two splits never share a row."""

import importlib.util
import json
from pathlib import Path

import pytest

from kcompiler.facts import registry as facts_registry
from kcompiler.facts import rows
from runtime.contract import Refusal, splits
from runtime.tools import registry

_spec = importlib.util.spec_from_file_location("checks_laboratory", Path(__file__).with_name("laboratory.py"))
laboratory = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(laboratory)


def row(prompt, response="r", **more):
    return json.dumps({"prompt": prompt, "response": response, **more}, ensure_ascii=False) + "\n"


def sources(*files):
    """(file, split) of each source."""

    def change(data):
        data["evaluation"] = {"suites": [{"use": "language_model"}], "baselines": ["ce_only"]}
        data["data"]["sources"] = [
            {"name": f"s{n}", "kind": "jsonl", "path": path, "split": split, "license": "MIT"}
            for n, (path, split) in enumerate(files)
        ]

    return change


def test_a_shared_question_is_found_with_its_lines(tmp_path):
    (tmp_path / "a.jsonl").write_text(row("One?") + row("Two?") + row("Three?"))
    (tmp_path / "b.jsonl").write_text(row("Four?") + row("  two "))
    (found,) = laboratory.compiled(tmp_path, sources(("a.jsonl", "train"), ("b.jsonl", "test"))).diagnostics
    assert found.code == "KC4504"
    assert found.notes == ("b.jsonl:2 = a.jsonl:2:   two ",)
    assert found.label == "1 of 2 prompts"
    assert found.detail == "0 letter by letter, 1 but for case, spaces and punctuation"


def test_only_splits_that_differ_are_compared(tmp_path):
    (tmp_path / "a.jsonl").write_text(row("One?") + row("Two?"))
    (tmp_path / "b.jsonl").write_text(row("One?") + row("Three?"))
    for first in ("train", "test", "auto"):
        other = "test" if first == "train" else "train"
        base = [] if first == "auto" else ["KC4503"]
        same = laboratory.codes(tmp_path, sources(("a.jsonl", first), ("b.jsonl", first)))
        assert [code for code in same if code != "KC4503"] == []
        assert base == [] or "KC4504" in laboratory.codes(tmp_path, sources(("a.jsonl", first), ("b.jsonl", other)))


def test_an_auto_row_is_compared_where_its_hash_puts_it(tmp_path):
    held = next(f"q{n}" for n in range(999) if splits.is_held_out(f"q{n}", 0.2))
    kept = next(f"q{n}" for n in range(999) if not splits.is_held_out(f"q{n}", 0.2))
    (tmp_path / "a.jsonl").write_text(row(held) + row(kept))
    for prompt, split, code in (
        (held, "train", True),
        (kept, "train", False),
        (held, "test", False),
        (kept, "test", True),
    ):
        (tmp_path / "b.jsonl").write_text(row(prompt, "other"))
        found = laboratory.codes(tmp_path, sources(("a.jsonl", "auto"), ("b.jsonl", split)))
        assert found == (["KC4504"] if code else [])


def test_a_limit_leaves_the_rest_of_a_file_out(tmp_path):
    (tmp_path / "a.jsonl").write_text(row("One?") + row("Two?"))
    (tmp_path / "b.jsonl").write_text(row("Three?") + row("Two?"))

    def limited(count):
        def change(data):
            sources(("a.jsonl", "train"), ("b.jsonl", "test"))(data)
            data["data"]["sources"][1]["limit"] = count

        return change

    assert laboratory.codes(tmp_path, limited(1)) == []
    assert laboratory.codes(tmp_path, limited(2)) == ["KC4504"]


def test_a_file_too_large_for_a_compiler_is_left_to_the_data_step(tmp_path, monkeypatch):
    (tmp_path / "a.jsonl").write_text(row("One?"))
    (tmp_path / "b.jsonl").write_text(row("One?", "again"))
    change = sources(("a.jsonl", "train"), ("b.jsonl", "test"))
    assert laboratory.codes(tmp_path, change) == ["KC4504"]
    monkeypatch.setattr(rows, "MAX_BYTES", 20)
    found = laboratory.compiled(tmp_path, change).diagnostics
    assert [item.code for item in found] == ["KC4422", "KC4422"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (row("p") + "{\n", "rows.jsonl:2: not JSON: Expecting property name"),
        (row("p") + "\n" + row("q"), "rows.jsonl:2: empty line"),
        ("[1]\n", "rows.jsonl:1: a row must be a JSON object"),
        (
            '{"prompt": "p", "answer": "r"}\n',
            "rows.jsonl:1: field `response` is missing; the row has `answer`, `prompt`",
        ),
        ('{"text": "a book"}\n', "rows.jsonl:1: field `prompt` is missing; the row has `text`"),
        ('{"prompt": 5, "response": "r"}\n', "rows.jsonl:1: field `prompt` must be a string"),
        ("[" * 100_000 + "\n", "rows.jsonl:1: nested deeper than 64"),
    ],
)
def test_the_first_line_that_is_no_row_is_named(tmp_path, text, reason):
    (tmp_path / "rows.jsonl").write_text(text)
    (found,) = laboratory.compiled(tmp_path, sources(("rows.jsonl", "auto"))).diagnostics
    assert found.code == "KC4505"
    assert found.label.startswith(reason)


def test_spans_of_rows_feed_targets(tmp_path):
    def change(data):
        sources(("a.jsonl", "auto"))(data)
        data["data"]["targets"] = ["response", "tool_name"]
        data["training"]["stages"][0]["losses"] = [{"term": "kl", "weight": 0.5}, {"term": "tool_name", "weight": 0.5}]

    rest = "".join(row(f"p{n}") for n in range(20))
    (tmp_path / "a.jsonl").write_text(row("p", "alarm", spans={"tool_name": [[0, 5]]}) + rest)
    assert laboratory.codes(tmp_path, change) == []
    (tmp_path / "a.jsonl").write_text(row("p", "alarm", spans={"tool": [[0, 5]]}) + rest)
    assert laboratory.codes(tmp_path, change) == ["KC4205"]


def test_a_shape_that_no_row_fills_is_found_from_a_hundred_rows_on(tmp_path):
    """10 bytes, 1 of template, 2 controls: 13 tokens at most."""

    def change(prefill):
        def whole(data):
            sources(("a.jsonl", "auto"))(data)
            data["shapes"]["prefill"] = prefill

        return whole

    (tmp_path / "a.jsonl").write_text("".join(row(f"{n:05}", "answe") for n in range(100)))
    assert laboratory.codes(tmp_path, change([13, 14])) == ["KC4109"]
    assert laboratory.codes(tmp_path, change([12, 14])) == []
    (tmp_path / "a.jsonl").write_text("".join(row(f"{n:05}", "answe") for n in range(99)))
    assert laboratory.codes(tmp_path, change([13, 14])) == []


TOOL = {"name": "alarm", "description": "Ring.", "parameters": {"type": "object"}}
REGISTRIES = [
    [TOOL],
    [TOOL, {**TOOL, "name": "timer"}],
    [],
    {},
    [1],
    [TOOL, TOOL],
    [{**TOOL, "name": "9"}],
    [{**TOOL, "name": "a" * 64}],
    [{**TOOL, "name": "a" * 65}],
    [{**TOOL, "name": None}],
    [{**TOOL, "more": 1}],
    [{key: TOOL[key] for key in ("name", "parameters")}],
    [{**TOOL, "description": 1}],
    [{**TOOL, "parameters": []}],
    [{**TOOL, "parameters": {}}],
    [{**TOOL, "parameters": {"type": "object", "required": "city"}}],
    [{**TOOL, "parameters": {"type": "object", "properties": {"a": {"$ref": "#/x"}}}}],
    [{**TOOL, "parameters": {"type": "object", "properties": {"a": {"$ref": "http://x"}}}}],
    [{**TOOL, "parameters": {"type": "object", "anyOf": [{"$dynamicRef": "other.json"}]}}],
    [{**TOOL, "name": f"t{n}"} for n in range(4097)],
]


@pytest.mark.parametrize("value", REGISTRIES, ids=range(len(REGISTRIES)))
def test_a_registry_is_refused_exactly_when_the_data_step_refuses_it(tmp_path, value):
    path = tmp_path / "tools.json"
    path.write_text(json.dumps(value))
    try:
        registry.load(path)
        accepted = True
    except Refusal:
        accepted = False
    assert (facts_registry.faults(path) == []) == accepted
    path.write_text(json.dumps(value)[:-1])
    assert facts_registry.faults(path)
