"""What a file of rows is, and which columns are meant, is found out; what is not there is named with what is."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest

from kcompiler.begin import rows
from kcompiler.begin.unable import Unable


def put(folder, name, text):
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


CSV = "question;answer\nWho?;Me, or you\nWhat?;That, this\n"
JSONL = "".join(json.dumps({"id": str(i), "q": f"Q {i}", "a": f"A {i}"}) + "\n" for i in range(3))


@pytest.mark.parametrize(
    ("name", "text", "kind", "names"),
    [
        ("faq.csv", "question,answer\nWho?,Me\n", "csv", ("question", "answer")),
        ("faq.CSV.gz", CSV, "csv", ("question", "answer")),
        ("faq.tsv", "prompt\tresponse\nWho?\tMe\n", "csv", ("prompt", "response")),
        ("faq.jsonl", JSONL, "jsonl", ("id", "q", "a")),
        ("faq.json.gz", JSONL, "jsonl", ("id", "q", "a")),
    ],
)
def test_a_file_is_known_by_its_name_and_its_first_line(tmp_path, name, text, kind, names):
    file = rows.look(put(tmp_path, name, text))
    assert file.form.kind == kind
    assert file.names == names
    fields = rows.mapped(file.names, {}, file.path)
    read = rows.read(file, fields)
    assert read.total == len(read.sample) == (2 if "CSV.gz" in name else 3 if kind == "jsonl" else 1)


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("faq.csv", "", "the file is empty"),
        ("faq.csv", "question,answer\n", "there is no row in it"),
        ("faq.xlsx", "PK", "what a `.xlsx` holds is not known"),
        ("faq", "question,answer\n", "what a `faq` holds is not known"),
        ("faq.csv", 'question,answer\n"Who?,Me\n', "never closed"),
        ("faq.csv", "a,a\n1,2\n", "two columns"),
        ("faq.jsonl", "{\n", "faq.jsonl:1: not JSON"),
        ("faq.csv.gz", "", "there is no row in it"),
    ],
)
def test_what_holds_no_rows_is_refused_in_words(tmp_path, name, text, said):
    with pytest.raises(Unable, match=said) as refused:
        rows.look(put(tmp_path, name, text))
    assert refused.value.action


def test_a_file_that_is_not_there_and_a_damaged_one(tmp_path):
    with pytest.raises(Unable, match="no such file"):
        rows.look(tmp_path / "none.csv")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(CSV.encode() * 999)[:50])
    with pytest.raises(Unable, match="gzip"):
        rows.look(tmp_path / "cut.csv.gz")


def test_columns_are_guessed_by_their_usual_names_or_taken_as_said(tmp_path):
    path = tmp_path / "faq.csv"
    assert rows.mapped(["topic", "Question", "ANSWER"], {}, path) == {"prompt": "Question", "response": "ANSWER"}
    assert rows.mapped(["input", "instruction", "output"], {}, path) == {"prompt": "instruction", "response": "output"}
    assert rows.mapped(["prompt", "chosen", "rejected"], {}, path) == {"prompt": "prompt", "response": "chosen"}
    assert rows.mapped(["messages", "source"], {}, path) == {"messages": "messages"}
    given = {"prompt": "topic", "response": "Question"}
    assert rows.mapped(["topic", "Question", "ANSWER"], given, path) == given
    assert rows.mapped(["topic", "answer"], {"prompt": "topic"}, path) == {"prompt": "topic", "response": "answer"}
    assert rows.guessed(["question", "answer"])
    assert not rows.guessed(["question", "notes"])
    assert rows.guessed(["question", "notes"], alone=True)
    assert not rows.guessed(["notes"], alone=True)
    assert rows.mapped(["Question", "notes"], {}, path, alone=True) == {"prompt": "Question"}
    assert rows.mapped(["q", "a"], {}, path, alone=True) == {"prompt": "q", "response": "a"}
    assert [
        rows.prompts({"prompt": "q"}),
        rows.prompts({"prompt": "q", "response": "a"}),
        rows.prompts({"messages": "m"}),
    ] == [True, False, False]


@pytest.mark.parametrize(
    ("names", "given", "said", "action"),
    [
        (["x", "y"], {}, "looks like the prompt", "--prompt COLUMN, of `x`, `y`"),
        (["question", "y"], {}, "looks like the response", "--response COLUMN, of `question`, `y`"),
        (["x", "y"], {"prompt": "z"}, "has no column `z` for the prompt", "name one of its columns: `x`, `y`"),
    ],
)
def test_a_column_that_is_not_there_is_told_with_those_that_are(tmp_path, names, given, said, action):
    with pytest.raises(Unable, match=said) as refused:
        rows.mapped(names, given, tmp_path / "faq.csv")
    assert action in refused.value.action


def test_every_row_that_is_wrong_is_named_at_once(tmp_path):
    fields = {"prompt": "question", "response": "answer"}
    for text, said in (
        ("q,a\nr,\n", "faq.csv:3: field `answer` (for `response`) is empty"),
        ("q,\nr,a\ns,\n", "faq.csv:2: field `answer` (for `response`) is empty; one more row is wrong, on line 4"),
        ('q,\n"r\ns",a\ns,\n,b\n', "faq.csv:2: field `answer` (for `response`) is empty; 2 more rows are wrong, on lines 5, 6"),
        # where it cannot be read on, that is told next
        ("q,\n" + "r,a\n" * 250 + "x\ns,\n", "faq.csv:2: field `answer` (for `response`) is empty"),
        ("q,\n" * 14, "is empty; 13 more rows are wrong, on lines 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14 …"),
    ):  # fmt: skip
        file = rows.look(put(tmp_path, "faq.csv", f"question,answer\n{text}"))
        with pytest.raises(Unable) as refused:
            rows.read(file, fields)
        assert str(refused.value).endswith(said)
        assert refused.value.action == "correct the line, or remove it"


def test_a_large_file_is_counted_whole_and_sampled_evenly(tmp_path):
    count = 9001
    text = "question,answer\n" + "".join(f"Q {i},A {i}\n" for i in range(count))
    file = rows.look(put(tmp_path, "faq.csv", text))
    read = rows.read(file, {"prompt": "question", "response": "answer"})
    assert read.total == count
    assert rows.SAMPLE <= len(read.sample) < 2 * rows.SAMPLE
    numbers = [int(prompt.removeprefix("Q ")) for prompt in (row["prompt"] for row in read.sample)]
    assert {later - sooner for sooner, later in itertools.pairwise(numbers)} == {4}
    assert numbers[0] == 0


@pytest.mark.parametrize(("name", "word"), [("FAQ 2024", "faq-2024"), ("2024", "rows-2024"), ("ünï", "n"), ("", "rows")])  # fmt: skip
def test_a_name_becomes_one_that_a_spec_may_have(name, word):
    assert rows.word(name) == word


@pytest.mark.parametrize(
    ("text", "read_not"),
    [
        ("1,q,a\n1,r,b\n", True),
        ("1,q,a\n1,q,a\n", False),
        ("1,q,a\n2,r,b\n", False),
        ("1,q,\n1,r,b\n", False),
    ],
)
def test_an_id_that_names_several_rows_is_left_unread(tmp_path, text, read_not):
    """The last is a wrong row, which `read` tells."""
    fields = {"prompt": "question", "response": "answer"}
    file = rows.look(put(tmp_path, "faq.csv", f"id,question,answer\n{text}"))
    assert rows.identified(file, fields) == ({**fields, "id": ""} if read_not else fields)
