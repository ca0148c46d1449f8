"""JSON Lines and CSV, packed or not: what RFC 4180 has is read as the module `csv` reads it, all else has a place."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runtime.contract import Refusal, formats, rows, tables
from runtime.contract.formats import DELIMITERS, Form
from runtime.contract.sources import Reader, unused

HEAD = "prompt,response\n"


def read(tmp_path: Path, data: str | bytes, form: Form | None = None, name: str = "faq.csv", **fields: str):
    path = tmp_path / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(Reader("faq", fields, form=form or Form("csv")).file(path))


def refused(tmp_path: Path, data: str | bytes, form: Form | None = None, name: str = "faq.csv", **fields: str):
    with pytest.raises(Refusal) as caught:
        read(tmp_path, data, form, name, **fields)
    assert caught.value.action
    return caught.value.place, caught.value.message


def test_columns_are_fields_and_a_quoted_one_holds_anything(tmp_path: Path):
    found = read(tmp_path, HEAD + '"Two, or\nthree?","He said ""two""."\r\nWhy?, Because. \n')
    assert [(one.place, one.row["prompt"], one.row["response"]) for one in found] == [
        ("faq.csv:2", "Two, or\nthree?", 'He said "two".'),
        ("faq.csv:4", "Why?", " Because. "),
    ]


def test_a_file_without_a_header_has_its_columns_named(tmp_path: Path):
    form = Form("csv", "\t", ("q", "a"))
    (found,) = read(tmp_path, "Why?\tBecause.", form, prompt="q", response="a")
    assert (found.place, found.row["prompt"], found.row["response"]) == ("faq.csv:1", "Why?", "Because.")


def test_spans_stand_in_csv_as_json(tmp_path: Path):
    (found,) = read(tmp_path, 'prompt,response,spans\na,bc,"{""x"": [[0, 1]]}"\n')
    assert found.row["spans"] == {"x": [[0, 1]]}
    assert refused(tmp_path, "prompt,response,spans\na,bc,{\n")[1].startswith("field `spans` is text and not JSON")


def test_the_mark_that_spreadsheets_write_before_utf_8_is_no_part_of_a_name(tmp_path: Path):
    assert len(read(tmp_path, b"\xef\xbb\xbf" + (HEAD + "a,b\n").encode())) == 1


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (HEAD + "a,b\na\n", "faq.csv:3", "1 fields, where the header has 2"),
        (HEAD + "a,b\n\n", "faq.csv:3", "empty line in a CSV file"),
        (HEAD + 'a,b\n5" pipe,x\n', "faq.csv:3", "field 1 holds a quotation mark and does not begin with one"),
        (HEAD + 'a,"b" c\n', "faq.csv:2", "text stands between the closing quotation mark of field 2 and the delimiter: ' c'"),
        (HEAD + 'a,"b\nc,d\n', "faq.csv:2", "field 2 begins with a quotation mark that is never closed"),
        (HEAD + "a\rb,c\n", "faq.csv:2", "field 1 holds a line end of its own (a carriage return) outside quotation marks"),
        (HEAD + "a,b\0\n", "faq.csv:2", "column `response` holds a NUL character"),
        ("prompt,prompt\na,b\n", "faq.csv:1", "two columns of the header are called `prompt`"),
        ("prompt,\na,b\n", "faq.csv:1", "a column has no name in the header"),
        ("prompt;response\na;b\n", "faq.csv:1", "the header is one column, 'prompt;response'"),
        (HEAD, "faq.csv", "the file holds no row"),
        ("", "faq.csv", "the file holds no row"),
        (HEAD + "a,\n", "faq.csv:2", "field `response` is empty"),
        ("question,answer\na,b\n", "faq.csv:2", "field `prompt` is missing; the row has `answer`, `question`"),
    ],
)  # fmt: skip
def test_what_is_no_csv_has_a_place(tmp_path: Path, text: str, place: str, message: str):
    assert refused(tmp_path, text) == (place, message)


def test_bytes_that_are_not_utf_8_have_a_place(tmp_path: Path):
    assert refused(tmp_path, HEAD.encode() + b"a,b\ncaf\xe9,c\n") == ("faq.csv:3", "not UTF-8 at byte 4 of the row")
    assert refused(tmp_path, (HEAD + "a,b\n").encode("utf-16")) == ("faq.csv", "the file is saved as UTF-16")


@pytest.mark.parametrize(("start", "what"), [(b"PAR1", "Parquet"), (b"PK\x03\x04", "zip"), (b"BZh91AY", "bzip2")])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_another_kind_of_file_is_called_by_its_name(tmp_path: Path, start: bytes, what: str, kind: formats.Kind):
    place, message = refused(tmp_path, start + b"\0\0\0\0", Form(kind), name="faq")
    assert place == "faq"
    assert what in message


def test_a_wrong_field_is_answered_with_the_one_that_was_meant(tmp_path: Path):
    with pytest.raises(Refusal) as caught:
        read(tmp_path, "question,answer\na,b\n", prompt="question", response="anwser")
    assert caught.value.action.startswith("did you mean `answer`? ")
    # the advice, followed
    assert len(read(tmp_path, "question,answer\na,b\n", prompt="question", response="answer")) == 1


def test_a_row_without_end_is_refused_before_it_is_in_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(rows, "MAX_LINE_BYTES", 100)
    assert len(read(tmp_path, HEAD + "a," + "b" * 98 + "\n")) == 1
    assert refused(tmp_path, HEAD + "a," + "b" * 99 + "\n") == ("faq.csv:2", "row longer than 100 bytes")
    # a quotation mark that is never closed would take the whole file
    endless = HEAD + 'a,"b\n' + "c,d\n" * 1000
    assert refused(tmp_path, endless) == ("faq.csv:2", "row longer than 100 bytes")


def test_a_packed_file_is_read_as_what_is_in_it(tmp_path: Path):
    packed = gzip.compress((HEAD + "a,b\n").encode())
    assert read(tmp_path, packed, name="x.bin")[0].place == "x.bin:2"
    line = b'{"prompt": "a", "response": "b"}\n'
    assert len(read(tmp_path, gzip.compress(line * 3), Form("jsonl"))) == 3


@pytest.mark.parametrize("damage", [lambda data: data[:-9], lambda data: data[:40] + b"\xff\xff" + data[42:]])
def test_a_damaged_packed_file_has_a_place(tmp_path: Path, damage):
    data = damage(gzip.compress("".join(f"{n},{n * 7919}\n" for n in range(200)).encode()))
    place, message = refused(tmp_path, data, Form("csv", ",", ("prompt", "response")))
    assert place.startswith("faq.csv:")
    assert message.startswith("the gzip file is damaged: ")


def test_a_packed_file_that_expands_without_end_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tables, "_FREE", 10_000)
    packed = gzip.compress((HEAD + "a,b\n" * 100_000).encode())
    place, message = refused(tmp_path, packed)
    assert place.startswith("faq.csv:")
    assert "expands beyond" in message
    # and what repeats less is read to its end
    assert len(read(tmp_path, gzip.compress((HEAD + "a,b\n" * 2000).encode()))) == 2000


def test_one_packed_line_of_two_gigabytes_takes_no_memory(tmp_path: Path):
    block = gzip.compress(b"x" * (1 << 20))
    place, message = refused(tmp_path, block * 2048, Form("jsonl"), name="row.jsonl.gz")
    assert (place, message) == ("row.jsonl.gz:1", f"line longer than {rows.MAX_LINE_BYTES} bytes")


def test_only_so_much_is_looked_at_as_was_wanted(tmp_path: Path):
    path = tmp_path / "faq.csv"
    path.write_bytes(gzip.compress((HEAD + "a,b\n" * 10).encode()))
    size = len(HEAD) + 40
    assert len(list(formats.records(path, Form("csv"), frozenset(), most=size))) == 10
    with pytest.raises(formats.TooMuch):
        list(formats.records(path, Form("csv"), frozenset(), most=size - 1))


cells = st.text(st.sampled_from('ab ,;\t|"\n\u00e9'), max_size=6)


@given(st.lists(st.lists(cells, min_size=2, max_size=2), min_size=1, max_size=5), st.sampled_from(DELIMITERS))
def test_what_the_module_csv_writes_is_read_as_it_reads_it(table: list[list[str]], delimiter: str):
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(table)
    form = Form("csv", delimiter, ("x", "y"))
    data = out.getvalue().encode()
    found = formats.of_text(io.BytesIO(data), form, frozenset({"x", "y"}), place="f", size=len(data))
    assert [[one.asked["x"], one.asked["y"]] for one in found] == table


@given(st.text(st.sampled_from('ab,"\n\r'), max_size=20))
def test_any_text_is_read_as_the_module_csv_reads_it_or_refused(text: str):
    form = Form("csv", ",", ("x", "y"))
    data = text.encode()
    try:
        found = [
            [one.asked["x"], one.asked["y"]]
            for one in formats.of_text(io.BytesIO(data), form, frozenset({"x", "y"}), place="f", size=len(data))
        ]
    except Refusal:
        return
    assert found == list(csv.reader(io.StringIO(text, newline=""), strict=True))


HI = [
    {"role": "user", "content": "Hi"},
    {"role": "assistant", "content": "Ho."},
    {"role": "user", "content": "And?"},
    {"role": "assistant", "content": "Ha."},
]


@pytest.mark.parametrize("mapped", [{}, {"messages": "messages"}])
def test_a_conversation_is_read_where_no_question_stands(tmp_path: Path, mapped: dict[str, str]):
    line = json.dumps({"messages": HI, "topic": "x"})
    (found,) = read(tmp_path, f"{line}\n", Form("jsonl"), **mapped)
    assert found.row["messages"] == HI
    assert dict(found.rest) == {"topic": "x"}
    (same,) = read(tmp_path, 'messages,topic\n"{}",x\n'.format(json.dumps(HI).replace('"', '""')), **mapped)
    assert same.row == found.row


@pytest.mark.parametrize(
    ("talk", "unlearnt"),
    [
        pytest.param(HI, [], id="an answer at the end"),
        pytest.param([*HI, HI[0]], ["messages (after the last answer)"], id="thanks"),
        pytest.param([HI[1], *HI], ["messages (an answer before any question)"], id="a greeting"),
        pytest.param(
            [HI[1], *HI, HI[0]],
            ["messages (an answer before any question)", "messages (after the last answer)"],
            id="both",
        ),
    ],
)
def test_what_of_a_conversation_nothing_learns_from_is_named(
    tmp_path: Path, talk: list[dict[str, str]], unlearnt: list[str]
):
    (found,) = read(tmp_path, json.dumps({"messages": talk}) + "\n", Form("jsonl"))
    assert unused(found.rest) == unlearnt


def test_an_array_is_told_how_it_becomes_lines(tmp_path: Path):
    for text in ('[{"prompt": "a", "response": "b"}]\n', "[\n"):
        (tmp_path / "faq.csv").write_text(text, encoding="utf-8")
        with pytest.raises(Refusal) as caught:
            list(Reader("faq", {}, form=Form("jsonl")).file(tmp_path / "faq.csv"))
        assert caught.value.place == "faq.csv:1"
        assert "jq -c '.[]'" in caught.value.action


def test_a_file_that_maps_its_questions_has_no_conversations(tmp_path: Path):
    line = json.dumps({"prompt": "a", "response": "b", "messages": 7, "tools": "t"})
    (found,) = read(tmp_path, f"{line}\n", Form("jsonl"), prompt="prompt")
    assert "messages" not in found.row
    assert set(found.rest) == {"messages", "tools"}


def test_what_is_no_conversation_has_a_place(tmp_path: Path):
    lines = json.dumps({"messages": HI}) + "\n" + json.dumps({"messages": HI[:1]}) + "\n"
    place, message = refused(tmp_path, lines, Form("jsonl"))
    assert place == "faq.csv:2"
    assert message == "no message of `messages` is the assistant's: there is nothing to learn"
    assert refused(tmp_path, "messages\nnot json\n")[1].startswith("field `messages` is text and not JSON")
    assert refused(tmp_path, '{"turns": []}\n', Form("jsonl"), messages="talk")[1] == (
        "field `talk` (for `messages`) is missing; the row has `turns`"
    )


@pytest.mark.parametrize("more", ["prompt", "response", "spans"])
def test_a_row_is_one_question_or_a_conversation(more: str):
    with pytest.raises(Refusal, match="maps `messages` and a part of a single question"):
        Reader("faq", {"messages": "m", more: "x"})


def asked(tmp_path: Path, data: str, **fields: str):
    path = tmp_path / "faq.csv"
    path.write_text(data)
    return list(Reader("faq", fields, form=Form("csv"), prompts=True).file(path))


def test_prompts_alone_are_rows_that_the_teacher_answers(tmp_path: Path):
    found = asked(tmp_path, "question,response,messages\nWhy?,not read,{\nWhen?,,\n", prompt="question")
    assert [(one.row["prompt"], one.row["response"]) for one in found] == [("Why?", ""), ("When?", "")]
    assert dict(found[0].rest) == {"response": "not read", "messages": "{"}
    # what the data step writes of them is read again
    path = tmp_path / "train.jsonl"
    path.write_text("".join(rows.written((one.row for one in found), path.name)))
    assert [row["response"] for row in rows.read(path)] == ["", ""]
    # elsewhere a row without a response is none
    assert refused(tmp_path, "prompt,response\nWhy?,\n") == ("faq.csv:2", "field `response` is empty")
    assert refused(tmp_path, "prompt\nWhy?\n") == ("faq.csv:2", "field `response` is missing; the row has `prompt`")


@pytest.mark.parametrize("field", ["response", "spans", "messages", "tools"])
def test_nothing_else_is_mapped_where_the_teacher_answers(field: str):
    with pytest.raises(Refusal, match=f"maps `{field}`, and the teacher answers its prompts"):
        Reader("faq", {field: "x"}, prompts=True)


@pytest.mark.parametrize("field", ["id", "class", "spans"])
def test_a_field_that_the_file_means_otherwise_is_left_unread(tmp_path: Path, field: str) -> None:
    """Rows are then named by their content, and what stands there is told as unread."""
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({field: 7, "prompt": prompt, "response": "r"}) + "\n" for prompt in "ab"))
    found = list(Reader("faq", {field: ""}).file(path))
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(json.dumps({"prompt": prompt, "response": "r"}) + "\n" for prompt in "ab"))
    assert [one.row for one in found] == [one.row for one in Reader("faq", {}).file(plain)]
    assert [dict(one.rest) for one in found] == [{field: 7}, {field: 7}]


@pytest.mark.parametrize("field", ["prompt", "response", "messages", "chosen"])
def test_what_makes_a_row_cannot_be_left_unread(field: str) -> None:
    with pytest.raises(Refusal, match=f"maps `{field}` to ''"):
        Reader("faq", {field: ""})
