"""What `explain` says of `wanted` and of fixtures is what their readers read: each field, limit and default of it."""

import copy
import dataclasses
import json
from pathlib import Path

import jsonschema
import pytest

from kcompiler.cli import _main
from kcompiler.render import forms
from runtime.contract import Refusal, expressions, fixtures, rows, wanted

SCHEMA = json.loads((Path(__file__).parents[4] / "schemas" / "dataset-row.schema.json").read_text(encoding="utf-8"))
ROW = {"id": "1", "prompt": "?", "response": "!", "class": "", "spans": {}, "source": "s"}
WANTED = {one.path: one for one in forms.wanted_parts()}
FIXTURES = {one.path: one for one in forms.fixture_parts()}
#: what stands only beside another field
BESIDE = {"calls": ("order",), "facts": ("locale",), "facts.type": ("facts.unit",)}
BUY = {
    "name": "buy",
    "description": "",
    "parameters": {
        "type": "object",
        "properties": {"item": {"type": ["string", "integer"]}, "count": {"type": "integer"}},
    },
}


def code(read, *given):
    """Of the refusal, or "" where it is read."""
    try:
        read(*given)
    except Refusal as refusal:
        return refusal.code
    return ""


def world(line):
    return {"world.jsonl": [("world.jsonl:1", fixtures.world_header([BUY])), ("world.jsonl:2", line)]}


def wants(value):
    """Whether the reader and the published schema take a row that wants this; they must agree."""
    row = {**ROW, "wanted": value}
    said = code(rows.checked, row, "rows.jsonl:1")
    assert said in ("", "KR0240")
    return not said, jsonschema.Draft202012Validator(SCHEMA).is_valid(row)


def changed(whole, path, value=None):
    """A copy with another value at a path, or without it."""
    made = copy.deepcopy(whole)
    *above, last = path.split(".")
    at = made
    for name in above:
        at = at[name][0]
    if value is None:
        del at[last]
    else:
        at[last] = value
    return made


def test_the_example_of_a_row_is_what_its_reader_takes_with_every_field_that_there_is():
    assert wants(forms.WANTED) == (True, True)
    with pytest.raises(Refusal) as refused:
        wanted.checked({"call": []}, "")
    told = refused.value.message.partition("an object of ")[2].split(", ")
    assert sorted(told) == sorted(path for path in WANTED if "." not in path)
    for name, kind in (("calls", wanted.WantedCall), ("facts", wanted.Fact)):
        below = {path.partition(".")[2] for path in WANTED if path.startswith(f"{name}.")}
        assert below == {one.name for one in dataclasses.fields(kind)}


@pytest.mark.parametrize("path", WANTED)
def test_a_field_of_wanted_is_required_and_of_a_type_as_its_page_says(path):
    one = WANTED[path]
    assert one.text.endswith(".")
    at = forms.WANTED
    for name in path.split("."):
        at = at[0][name] if isinstance(at, list) else at[name]
    assert one.example == at
    without = changed(forms.WANTED, path)
    for other in BESIDE.get(path, ()):
        without = changed(without, other)
    needed = one.stands.get("required") == "always"
    assert needed is ("default" not in one.stands)
    assert wants(without) == (not needed, not needed)
    assert wants(changed(forms.WANTED, path, 3.5)) == (False, False)


def test_limits_and_defaults_of_wanted_are_those_of_its_reader():
    for turns in (1, 64):
        assert wants({**forms.WANTED, "turns": turns}) == (True, True)
    for turns in (0, 65):
        assert wants({**forms.WANTED, "turns": turns}) == (False, False)
    assert WANTED["turns"].type == "whole number from 1 to 64"
    assert WANTED["turns"].stands["default"].endswith(", 8")
    assert WANTED["calls"].type == f"list of objects, 0 to {wanted.MAX_CALLS}"
    assert WANTED["facts"].type == f"list of objects, 1 to {wanted.MAX_FACTS}"
    assert WANTED["calls.args"].type.endswith(f"1 to {wanted.MAX_ACCEPTED}")
    assert WANTED["order"].type == "one of any, given"
    assert (WANTED["order"].stands, WANTED["locale"].stands) == ({"default": "any"}, {"default": "en"})
    assert wants({**forms.WANTED, "state": {}}) == (True, True)


def fits(line, head=None):
    """Whether a file of one line is read."""
    header = fixtures.header(BUY, [BUY]) if head is None else head
    files = {"buy.jsonl": [("buy.jsonl:1", header), ("buy.jsonl:2", line)]}
    said = code(fixtures.read, {**files, **world(forms.WORLD)}, [BUY])
    assert said in ("", "KR0231")
    return not said


@pytest.mark.parametrize("kind", fixtures.KINDS)
def test_a_line_of_each_kind_is_read_and_needs_what_its_page_says(kind):
    line = forms.LINES[kind]
    assert fits(line)
    assert not fits({**line, "more": 1})
    paths = [*line, *(f"{name}.{inner}" for name in fixtures.PARTS for inner in line.get(name, [{}])[0])]
    assert set(paths) <= set(FIXTURES)
    for path in paths:
        stands = FIXTURES[path].stands
        needed = stands.get("required") == "always" or kind in stands.get("required", "")[3:].split(", ")
        # `it` is of `each`, `left` of `let`, and a matcher answers in one of two ways
        if (kind, path) not in {("stateful", "learns.each"), ("stateful", "let"), ("matcher", "result")}:
            assert fits(changed(line, path)) is not needed, path
        if path != "provenance":
            assert not fits(changed(line, path, 3.5)), path
    for path in set(FIXTURES) - set(paths):
        assert kind not in FIXTURES[path].stands.get("required", "")[3:].split(", "), path


def test_every_list_of_a_line_has_the_limit_that_its_page_names():
    line = forms.LINES["stateful"]
    for name in ("let", "checks", "writes", "learns"):
        assert FIXTURES[name].type.endswith("at most 64")
        if name != "let":
            assert fits({**line, name: line[name] * 64})
        many = [[f"n{at}", "1"] for at in range(64)] if name == "let" else line[name] * 64
        assert not fits({**line, name: [*line[name], *many]})


def test_a_header_and_a_line_of_the_world_are_as_their_page_says():
    line, head = forms.LINES["ignore_args"], {**fixtures.header(BUY, [BUY]), "normalise": {"item": ["strip"]}}
    for name in head:
        assert fits(line, changed(head, name)) is (name == "normalise"), name
    assert {f"header.{name}" for name in head} == {path for path in FIXTURES if path.startswith("header.")}
    for name in forms.WORLD:
        assert code(fixtures.read, world(changed(forms.WORLD, name)), [BUY]) == "KR0231"
    for name, value in (("review", "accepted"), ("provenance", {})):
        assert code(fixtures.read, world({**forms.WORLD, name: value}), [BUY]) == ""


def shown(said, title):
    """The JSON lines below a title of a page."""
    below = said.split(f"\n{title}\n", 1)[1].splitlines()
    found = []
    for line in below:
        if not line.startswith("  {"):
            break
        found.append(json.loads(line))
    return found


def test_whoever_writes_the_lines_of_the_page_records_with_them(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert _main(["explain", "form:fixtures"]) == 0
    said = capsys.readouterr().out
    header = json.JSONDecoder().raw_decode(said.split("a\nfile TOOL.jsonl per tool: the header ", 1)[1])[0]
    examples = {line["kind"]: line for line in shown(said, "an example of each kind")}
    assert list(examples) == list(fixtures.KINDS)
    declared = [kind for kind in fixtures.KINDS if f"\n  {kind:<11}  declared" in said]
    assert declared == ["matcher", "ignore_args", "pure", "stateful"]
    left = {"left": 7, "shelf": [{"name": "pen", "count": 7}]}
    calls = {
        "matcher": ({"item": "gold"}, "none in stock"),
        "ignore_args": ({"item": "x"}, "noted"),
        "pure": ({"count": 2}, "6"),
        "stateful": ({"item": "pen", "count": 2}, expressions.dumped(left)),
    }
    messages = [{"role": "user", "content": "go"}]
    (tmp_path / "declared").mkdir()
    for at, kind in enumerate(declared):
        args, result = calls[kind]
        function = {"name": kind, "arguments": json.dumps(args)}
        call = {"id": f"c{at}", "type": "function", "function": function}
        messages.append({"role": "assistant", "content": "", "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": f"c{at}", "content": result})
        lines = [{**header, "tool": kind}, examples[kind]]
        (tmp_path / f"declared/{kind}.jsonl").write_text("".join(json.dumps(one) + "\n" for one in lines))
    (tmp_path / "calls.jsonl").write_text(json.dumps({"id": "7", "messages": messages}))
    (tmp_path / "tools.json").write_text(json.dumps([{**BUY, "name": kind} for kind in declared]))
    asked = ["fixtures", "record", "calls.jsonl", "--tools", "tools.json", "--to", "fx", "--declare", "declared"]
    assert _main(asked) == 0
    said = capsys.readouterr().out
    assert "1 ignore_args, 1 matcher, 1 pure, 1 stateful" in said
    # what the stateful line learnt of the one recorded call
    learnt = json.loads((tmp_path / "fx/world.jsonl").read_text(encoding="utf-8").splitlines()[1])
    assert {name: learnt[name] for name in forms.WORLD} == forms.WORLD


def test_each_field_has_its_own_page_and_one_that_is_none_is_told_the_nearest(capsys):
    assert _main(["explain", "wanted"]) == 0
    said = capsys.readouterr().out
    assert [name for name in forms.names() if name.startswith("wanted.")] == [
        line for line in said.splitlines() if line.startswith("wanted.")
    ]
    for name in forms.names():
        assert f"\n{name}" in f"\n{forms.page(name)}"
    assert _main(["explain", "fixtures.learns"]) == 0
    assert "\nfixtures.learns.each\n" in capsys.readouterr().out
    assert _main(["explain", "form:wanted.trns"]) == 2
    assert "did you mean `turns`?" in capsys.readouterr().err
    assert _main(["explain", "wanted.trns"]) == 2
    assert "did you mean `form:wanted.turns`?" in capsys.readouterr().err
    assert _main(["explain", "form:wnted"]) == 2
    assert "did you mean `wanted`?" in capsys.readouterr().err
