"""Questions of CMMLU's form become rows; files of another form are refused with the line."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from runtime.contract import Refusal, rows
from runtime.data import cmmlu, converting

HEAD = ",Question,A,B,C,D,Answer\n"


def subject(folder: Path, name: str, *lines: str, head: str = HEAD, encoding: str = "utf-8") -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.csv"
    path.write_bytes((head + "".join(f"{line}\n" for line in lines)).encode(encoding))
    return path


def test_a_question_is_a_prompt_that_ends_where_the_letter_stands(tmp_path: Path) -> None:
    made = cmmlu.rows_of(subject(tmp_path, "anatomy", '0,"一加一, 等于？",一,二,三,四,B', "1,问,甲,乙,丙,丁,D"))
    assert [row["id"] for row in made] == ["anatomy-0", "anatomy-1"]
    assert made[0]["prompt"] == f"{cmmlu.ASKED}\n题目：一加一, 等于？\nA. 一\nB. 二\nC. 三\nD. 四\n答案是："
    assert [row["response"] for row in made] == ["B", "D"]
    assert {row["class"] for row in made} == {"anatomy"}
    assert made[0]["spans"] == {"choice": [[0, 1]]}


def test_a_byte_order_mark_and_quoted_line_breaks_are_read(tmp_path: Path) -> None:
    made = cmmlu.rows_of(subject(tmp_path, "law", '0,"一行\n两行",a,b,c,d,A', encoding="utf-8-sig"))
    assert "题目：一行\n两行\n" in made[0]["prompt"]


@pytest.mark.parametrize(
    "line", ["0,问,甲,乙,丙,丁,E", "0,问,甲,乙,丙,,A", "0,问,甲,乙,丙,丁,", "0,,甲,乙,丙,丁,A", "0,问"]
)
def test_a_line_of_another_form_is_refused_by_its_number(line: str, tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a question") as refused:
        cmmlu.rows_of(subject(tmp_path, "law", "0,问,甲,乙,丙,丁,A", line))
    assert refused.value.place == "law.csv:3"


def test_a_file_with_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a question with Question, A, B, C, D, Answer"):
        cmmlu.rows_of(subject(tmp_path, "law", "0,问,甲,乙,丙,丁,A", head=",Q,a,b,c,d,Key\n"))


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="not a CSV file in UTF-8"):
        cmmlu.rows_of(subject(tmp_path, "law", "0,问,甲,乙,丙,丁,A", encoding="gb18030"))


def test_subjects_come_by_name_and_the_digest_is_of_the_bytes_written(tmp_path: Path) -> None:
    folder, target = tmp_path / "dev", tmp_path / "out/dev.jsonl"
    subject(folder, "zoology", "0,问,甲,乙,丙,丁,A")
    subject(folder, "anatomy", "0,问,甲,乙,丙,丁,C", "1,问二,甲,乙,丙,丁,B")
    count, found = cmmlu.convert(folder, target)
    assert (count, found) == (3, hashlib.sha256(target.read_bytes()).hexdigest())
    lines = [json.loads(line) for line in target.read_text(encoding="utf-8").splitlines()]
    assert [line["class"] for line in lines] == ["anatomy", "anatomy", "zoology"]
    assert [rows.checked(line, "") for line in lines] == lines
    assert cmmlu.convert(folder, tmp_path / "again.jsonl")[1] == found


def test_the_command_says_what_it_made_or_why_not(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    subject(tmp_path / "dev", "law", "0,问,甲,乙,丙,丁,A")
    target = tmp_path / "dev.jsonl"
    assert converting.main([str(tmp_path / "dev"), str(target)], cmmlu.convert, "how") == 0
    assert capsys.readouterr().out.startswith("1 rows, sha256 ")
    (tmp_path / "empty").mkdir()
    for arguments in ([], [str(tmp_path / "empty"), str(target)], [str(tmp_path / "dev"), str(tmp_path / "dev")]):
        assert converting.main(arguments, cmmlu.convert, "how") == 2
        assert "Traceback" not in capsys.readouterr().err
    assert target.read_text(encoding="utf-8").count("\n") == 1
