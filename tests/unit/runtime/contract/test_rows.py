"""A row file is read strictly or refused with file and line; what is written is read back the same."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from runtime.contract import Refusal, rows

ROOT = Path(__file__).resolve().parents[4]
SCHEMA = json.loads((ROOT / "schemas" / "dataset-row.schema.json").read_text(encoding="utf-8"))


def row(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "id": "a",
        "prompt": "Why?",
        "response": "naïve call",
        "class": "",
        "spans": {"tool_name": [[0, 6]]},
        "source": "here",
    }
    return {**whole, **changes}


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in row().items() if key != name}


def read(tmp_path: Path, *lines: str) -> list[rows.Row]:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return rows.load(path)


def test_what_is_written_is_read_back(tmp_path: Path):
    made = [rows.checked(row(id=str(number)), "") for number in range(3)]
    path = tmp_path / "rows.jsonl"
    lines = rows.written(made, path.name)
    assert len(lines) == 3
    path.write_bytes("".join(lines).encode())
    assert rows.load(path) == made
    assert path.read_bytes().count(b"\n") == 3
    assert b"\r" not in path.read_bytes()


WRONG = [
    (row(id=""), "`id` is empty"),
    (row(id=7), "`id` must be a string"),
    (row(prompt=" \n"), "`prompt` is empty"),
    (row(response=None), "`response` must be a string"),
    (row(spans=[]), "`spans` must be an object"),
    (row(spans={"x": [1, 2]}), "not [start, end]"),
    (row(spans={"x": [[0, True]]}), "not [start, end]"),
    (row(spans={"x": [[0, 1, 2]]}), "not [start, end]"),
    (row(spans={"x": [[3, 3]]}), "does not lie in a response of 11 bytes"),
    (row(spans={"x": [[0, 12]]}), "does not lie in a response of 11 bytes"),
    (row(spans={"x": [[-1, 2]]}), "does not lie in a response of 11 bytes"),
    (row(extra=1), "unknown field `extra`"),
    (without("class"), "missing field `class`"),
]


@pytest.mark.parametrize(("value", "word"), WRONG, ids=[word for _, word in WRONG])
def test_a_wrong_row_is_refused_at_its_line(tmp_path: Path, value: dict[str, Any], word: str):
    with pytest.raises(Refusal) as caught:
        read(tmp_path, json.dumps(row(id="first")), json.dumps(value))
    assert word in caught.value.message
    assert caught.value.place == "rows.jsonl:2"
    assert caught.value.action


@pytest.mark.parametrize("value", [row(), row(spans={}), row(**{"class": "x"}), *(value for value, _ in WRONG)])
def test_the_published_schema_and_the_reader_agree_but_where_spans_end(value: dict[str, Any]):
    """JSON Schema cannot compare a span with the length of another field; all else must agree."""
    problem = ""
    try:
        rows.checked(value, "")
    except Refusal as error:
        problem = error.message
    if "does not lie in" not in problem:
        assert jsonschema.Draft202012Validator(SCHEMA).is_valid(value) == (problem == "")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('{"id":"a","id":"b"}', "duplicate key 'id'"),
        ('{"id": NaN}', "NaN is not JSON"),
        ("{", "not JSON"),
        ("[]", "must be a JSON object"),
        ("", "empty line"),
        ('{"id": "\\ud800"}', "surrogate"),
    ],
)
def test_a_line_that_is_no_strict_json_object_is_refused(tmp_path: Path, line: str, word: str):
    with pytest.raises(Refusal) as caught:
        read(tmp_path, json.dumps(row()), line)
    assert word in caught.value.message
    assert caught.value.place == "rows.jsonl:2"


def test_an_id_used_twice_is_refused_with_both_places(tmp_path: Path):
    with pytest.raises(Refusal) as caught:
        read(tmp_path, json.dumps(row()), json.dumps(row(prompt="How?")))
    assert "already used at rows.jsonl:1" in caught.value.message
    assert caught.value.place == "rows.jsonl:2"


def test_a_line_without_end_does_not_fill_the_memory(tmp_path: Path):
    """100 MB without a line end are refused after the first mebibyte."""
    path = tmp_path / "rows.jsonl"
    with path.open("wb") as file:
        file.truncate(100 << 20)
    tracemalloc.start()
    with pytest.raises(Refusal, match="longer than 1048576 bytes"):
        rows.load(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 << 20


def test_the_bound_itself_is_read(tmp_path: Path):
    text = json.dumps(row(prompt="x" * 4000))
    path = tmp_path / "rows.jsonl"
    path.write_text(text + "\n")
    assert len(list(rows.read(path, max_bytes=len(text)))) == 1
    with pytest.raises(Refusal, match="longer than"):
        list(rows.read(path, max_bytes=len(text) - 1))


def test_reading_streams(tmp_path: Path):
    """The first row is there before a later line is looked at."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(row()) + "\nbroken\n")
    stream = rows.read(path)
    assert next(stream)["id"] == "a"
    with pytest.raises(Refusal):
        next(stream)


def test_a_span_is_cut_in_bytes():
    assert rows.text_of("naïve call", [0, 6]) == "naïve"
    assert rows.text_of("naïve call", [7, 11]) == "call"
