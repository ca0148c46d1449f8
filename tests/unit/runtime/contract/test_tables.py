"""Parquet and Arrow: what a table says is read as JSON, and whatever is wrong with it is a message with a place."""

from __future__ import annotations

import datetime
import decimal
import json
import struct
from pathlib import Path
from random import Random
from typing import Any

import pytest

from runtime.contract import Refusal, Unavailable, formats, tables
from runtime.contract.formats import Form
from runtime.contract.sources import Reader

pa = pytest.importorskip("pyarrow", reason="needs pip install '.[parquet]'")
pq = pytest.importorskip("pyarrow.parquet")

PAIR = {"prompt": ["Why?", "When?"], "response": ["Because.", "Now."]}


def read(path: Path, kind: formats.Kind = "parquet", limit: int = 0, **fields: str):
    return list(Reader("faq", fields, limit, Form(kind)).file(path))


def refused(path: Path, kind: formats.Kind = "parquet", **fields: str) -> tuple[str, str]:
    with pytest.raises(Refusal) as caught:
        read(path, kind, **fields)
    assert caught.value.action
    return caught.value.place, caught.value.message


def written(path: Path, table: dict[str, Any]) -> Path:
    pq.write_table(pa.table(table), path)
    return path


def asked(path: Path, *names: str) -> list[dict[str, Any]]:
    return [one.asked for one in formats.records(path, Form("parquet"), frozenset(names))]


def test_columns_are_fields_and_only_what_is_mapped_has_to_have_a_form(tmp_path: Path):
    more = {"when": [datetime.datetime(2024, 5, 1)] * 2, "price": [decimal.Decimal("1.50")] * 2, "topic": ["x", None]}
    found = read(written(tmp_path / "faq.parquet", PAIR | more))
    assert [(one.place, one.row["prompt"], one.row["response"]) for one in found] == [
        ("faq.parquet:1", "Why?", "Because."),
        ("faq.parquet:2", "When?", "Now."),
    ]
    assert [dict(one.rest) for one in found] == [
        {"topic": "x", "when": None, "price": None},
        {"topic": None, "when": None, "price": None},
    ]


def test_a_file_is_found_from_where_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    written(tmp_path / "faq.parquet", PAIR)
    monkeypatch.chdir(tmp_path)
    assert [one["prompt"] for one in asked(Path("faq.parquet"), "prompt")] == ["Why?", "When?"]


@pytest.mark.parametrize(
    ("column", "named"),
    [
        (pa.array([datetime.datetime(2024, 5, 1)]), "timestamp[us]"),
        (pa.array([decimal.Decimal("1.5")]), "decimal128(2, 1)"),
        (pa.array([[("k", "v")]], pa.map_(pa.string(), pa.string())), "map<string, string"),
        (pa.array([b"x"]), "binary"),
        (pa.array([datetime.date(2024, 5, 1)]), "date32[day]"),
        (pa.array([[{"at": datetime.date(2024, 5, 1)}]]), "date32[day]"),
        (pa.StructArray.from_arrays([pa.array([1]), pa.array([2])], ["k", "k"]), "two members called `k`"),
    ],
)
def test_a_column_without_a_form_is_refused_by_name_and_type(tmp_path: Path, column: Any, named: str):
    path = written(tmp_path / "faq.parquet", {"prompt": ["a"], "it": column})
    place, message = refused(path, response="it")
    assert place == "faq.parquet"
    assert message.startswith(f"column `it` has a type without a form in a row: {named}")


def test_lists_structs_and_dictionaries_are_what_they_are(tmp_path: Path):
    """A struct has all its fields in every row; those without a value are left out, as the writer had left them out."""
    turns = [
        [{"role": "user", "content": "a", "tool_calls": None}],
        [{"role": "assistant", "content": None, "tool_calls": [{"name": "f", "arguments": '{"x": 1}'}]}],
    ]
    path = written(
        tmp_path / "faq.parquet",
        {"turns": turns, "word": pa.array(["x", "x"]).dictionary_encode(), "n": pa.array([1, 2], pa.uint8())},
    )
    assert asked(path, "turns", "word", "n") == [
        {"turns": [{"role": "user", "content": "a"}], "word": "x", "n": 1},
        {
            "turns": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": '{"x": 1}'}]}],
            "word": "x",
            "n": 2,
        },
    ]


def test_a_column_of_json_is_text(tmp_path: Path):
    storage = pa.array(['{"b": 1, "a": 2.50}'])
    path = written(tmp_path / "faq.parquet", {"it": pa.ExtensionArray.from_storage(pa.json_(), storage)})
    assert asked(path, "it") == [{"it": '{"b": 1, "a": 2.50}'}]


def test_what_is_no_text_is_refused_with_its_row(tmp_path: Path):
    path = written(tmp_path / "null.parquet", {"prompt": ["a", "b"], "response": ["c", None]})
    assert refused(path) == ("null.parquet:2", "field `response` must be a string")
    path = written(tmp_path / "nan.parquet", PAIR | {"id": [[1.5], [float("nan")]]})
    with pytest.raises(Refusal) as caught:
        asked(path, "id")
    assert (caught.value.place, caught.value.message) == (
        "nan.parquet:2",
        "column `id` holds nan, which is no number of JSON",
    )
    path = written(tmp_path / "big.parquet", PAIR | {"id": [1, 2**60]})
    assert refused(path) == ("big.parquet:2", "field `id`: integer beyond 2^53 - 1: 1152921504606846976")
    raw = pa.Array.from_buffers(pa.string(), 2, pa.array([b"ok", b"caf\xe9"]).buffers())
    path = written(tmp_path / "latin.parquet", {"prompt": ["a", "b"], "response": raw})
    assert refused(path) == ("latin.parquet:2", "column `response` holds text that is not UTF-8")


def test_a_wrong_field_names_the_columns(tmp_path: Path):
    path = written(tmp_path / "faq.parquet", PAIR)
    with pytest.raises(Refusal) as caught:
        read(path, response="respnse")
    assert caught.value.message == "field `respnse` (for `response`) is missing; the row has `prompt`, `response`"
    assert caught.value.action.startswith("did you mean `response`?")
    path = written(tmp_path / "numbers.parquet", {"when": [datetime.date(2024, 5, 1)]})
    assert refused(path)[1] == "field `prompt` is missing; the row has `when`"


def test_a_limit_ends_the_reading(tmp_path: Path):
    path = written(tmp_path / "faq.parquet", {"prompt": [f"p{n}" for n in range(5000)], "response": ["r"] * 5000})
    assert [one.line for one in read(path, limit=2)] == [1, 2]
    assert len(read(path)) == 5000


def test_rows_and_columns_that_are_too_long_are_refused(tmp_path: Path):
    path = written(tmp_path / "long.parquet", {"prompt": ["a"], "response": ["x" * (1 << 20)]})
    assert refused(path) == ("long.parquet:1", "row longer than 1048576 bytes")
    # 80 MB in one value of a file of a few KB: refused before a second copy of it is made
    path = written(tmp_path / "value.parquet", {"prompt": ["a", "b"], "response": ["x", "x" * (80 << 20)]})
    assert path.stat().st_size < 8 << 20
    assert refused(path) == ("value.parquet:2", "row longer than 1048576 bytes")
    # 40 KB of dictionary and a terabyte of rows
    one = pa.DictionaryArray.from_arrays(pa.array([0] * 1_000_000, pa.int32()), ["x" * 900_000])
    path = written(tmp_path / "bomb.parquet", {"prompt": ["a"] * 1_000_000, "response": one})
    place, message = refused(path)
    assert place.startswith("bomb.parquet:")
    assert "expands beyond 64 MiB" in message


def test_what_is_no_parquet_or_not_whole_is_refused(tmp_path: Path):
    data = written(tmp_path / "faq.parquet", PAIR).read_bytes()
    path = tmp_path / "bad.parquet"
    for damaged, said in (
        (b"", "does not begin with PAR1"),
        (b"PAR1", "does not begin with PAR1"),
        (b'{"prompt": "a"}\n', "does not begin with PAR1"),
        (data[:-20], "cut short"),
        (data[:-8] + (1 << 31).to_bytes(4, "little") + b"PAR1", "cut short"),
        (data[:-4] + b"PARE", "encrypted"),
        (data[:4] + bytes(len(data) - 12) + data[-8:], "cannot be read"),
    ):
        path.write_bytes(damaged)
        place, message = refused(path)
        assert place == "bad.parquet"
        assert said in message


def _ends(path: Path) -> bool:
    """Whether a file is read; when not, it is refused with a place in it."""
    try:
        return len(read(path)) > 0
    except Refusal as error:
        return not error.place.startswith(path.name)


def test_no_damage_to_a_file_is_more_than_a_message(tmp_path: Path):
    """Flipped bytes: rows as they were or changed, or a refusal with a place; never an end of this process."""
    data = written(tmp_path / "faq.parquet", PAIR | {"turns": [[{"a": "b"}], []]}).read_bytes()
    random, path, ends = Random(7), tmp_path / "bad.parquet", set()
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(random.randint(1, 4)):
            damaged[random.randrange(4, len(data) - 8)] = random.randrange(256)
        path.write_bytes(damaged)
        ends.add(_ends(path))
    assert ends == {True, False}


def test_a_reader_that_dies_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    program = tmp_path / "dies.py"
    program.write_text('import os\nprint(\'{"prompt": "a", "response": "b"}\', flush=True)\nos.abort()\n')
    monkeypatch.setattr(tables, "PROGRAM", program)
    path = written(tmp_path / "faq.parquet", PAIR)
    assert refused(path) == ("faq.parquet:2", "the file cannot be read: its reader died (signal 6)")
    program.write_text("print('[\"absent\"]')")
    with pytest.raises(Unavailable, match="pyarrow") as caught:
        read(path)
    assert caught.value.needs == "pip install 'kcompiler[parquet]'"


def saved(folder: Path, *shards: dict[str, Any]) -> Path:
    """What `Dataset.save_to_disk` writes, as far as rows go."""
    folder.mkdir()
    names = [f"data-{n:05d}-of-{len(shards):05d}.arrow" for n in range(len(shards))]
    for name, rows in zip(names, shards, strict=True):
        table = pa.table(rows)
        with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as out:
            out.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_fingerprint": "x"}
    (folder / "state.json").write_text(json.dumps(state))
    return folder


def test_a_saved_dataset_is_read_shard_by_shard(tmp_path: Path):
    folder = saved(tmp_path / "faq", PAIR, {"prompt": ["Who?"], "response": ["Me."]})
    assert [one.place for one in read(folder, "datasets")] == [
        "faq/data-00000-of-00002.arrow:1",
        "faq/data-00000-of-00002.arrow:2",
        "faq/data-00001-of-00002.arrow:1",
    ]


def test_what_the_library_itself_saves_is_read(tmp_path: Path):
    library = pytest.importorskip("datasets", reason="the library that writes such folders")
    rows = [{"prompt": f"p{n}", "response": "r", "n": n} for n in range(30)]
    made = library.Dataset.from_list(rows)
    library.disable_progress_bars()
    library.DatasetDict({"train": made, "test": made}).save_to_disk(tmp_path / "faq")
    assert [one.row["prompt"] for one in read(tmp_path / "faq" / "train", "datasets")] == [f"p{n}" for n in range(30)]
    place, message = refused(tmp_path / "faq", "datasets")
    assert (place, message) == ("faq", "the folder holds several splits: test, train")


def test_a_folder_of_parquet_shards_is_read_in_the_order_of_names(tmp_path: Path):
    folder = tmp_path / "faq"
    (folder / "data").mkdir(parents=True)
    for n in (1, 0):
        written(folder / "data" / f"train-{n}.parquet", {"prompt": [f"p{n}"], "response": ["r"]})
    assert [one.place for one in read(folder, "datasets")] == [
        "faq/data/train-0.parquet:1",
        "faq/data/train-1.parquet:1",
    ]
    written(folder / "data" / "test-0.parquet", PAIR)
    assert refused(folder, "datasets") == ("faq", "the folder holds shards of several splits: test, train")


def test_a_folder_that_is_none_or_names_what_is_elsewhere_is_refused(tmp_path: Path):
    (tmp_path / "empty").mkdir()
    assert "holds no rows" in refused(tmp_path / "empty", "datasets")[1]
    folder = saved(tmp_path / "faq", PAIR)
    for name in ("../faq/data-00000-of-00001.arrow", "gone.arrow", "/etc/passwd"):
        (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": name}]}))
        place, message = refused(folder, "datasets")
        assert place == "faq/state.json"
        assert "is not in its folder" in message
    for text in ("{}", "[", "[" * 5000, '{"_data_files": []}'):
        (folder / "state.json").write_text(text)
        assert refused(folder, "datasets")[0] == "faq/state.json"


def test_a_forged_arrow_file_is_refused_before_its_offsets_are_followed(tmp_path: Path):
    folder = tmp_path / "faq"
    saved(folder, PAIR)
    path = folder / "data-00000-of-00001.arrow"
    whole, offsets = path.read_bytes(), struct.pack("<iii", 0, 8, 12)
    assert whole.count(offsets) == 1
    path.write_bytes(whole.replace(offsets, struct.pack("<iii", 0, 8, 1 << 30)))
    place, message = refused(folder, "datasets")
    assert place == "faq/data-00000-of-00001.arrow"
    assert message.startswith("the file cannot be read: ")
    path.write_bytes(whole[:100])
    assert refused(folder, "datasets")[0] == "faq/data-00000-of-00001.arrow"


def test_messages_of_a_table_are_the_conversations_that_were_written(tmp_path: Path):
    """A table gives every message every field; those without a value are no part of it. Arguments are JSON text."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"x": 1, "y": null}'}}
    turns = [
        [{"role": "user", "content": "Do f."}, {"role": "assistant", "content": None, "tool_calls": [call]}],
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hi."},
        ],
        [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Ho."}],
    ]
    tools = ['[{"type": "function", "function": {"name": "f"}}]', None, None]
    path = written(tmp_path / "chat.parquet", {"turns": turns, "tools": tools})
    called, briefed, plain = [one.row for one in read(path, messages="turns")]
    assert called["messages"] == [
        {"role": "user", "content": "Do f."},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{**call, "function": {"name": "f", "arguments": {"x": 1, "y": None}}}],
        },
    ]
    assert called["tools"] == [{"type": "function", "function": {"name": "f"}}]
    assert [message["role"] for message in briefed["messages"]] == ["system", "user", "assistant"]
    assert "tools" not in briefed
    # one question and one answer are a row like any other
    assert ("messages" in plain, plain["prompt"], plain["response"]) == (False, "Hi", "Ho.")
    place, message = refused(
        written(tmp_path / "no.parquet", {"turns": [turns[0], [{"role": "user", "content": "Hi"}]]}), messages="turns"
    )
    assert place == "no.parquet:2"
    assert "is the assistant's" in message
