"""Rows on which a teacher and what is cut from it are measured: what has no response yet is not measured as an empty one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from runtime.contract import rows
from runtime.models import samples, students
from runtime.models.tokenizer import Encoded, Tokenizer


class Letters:
    """One id a letter, and an end."""

    def sequences(self, row: Mapping[str, Any]) -> list[Encoded]:
        ids = [ord(letter) for letter in f"{row['prompt']}{row['response']}"]
        return [Encoded([*ids, 0], len(row["prompt"]), [(0, 0)] * len(row["response"]))]


def test_a_row_that_the_teacher_will_answer_has_no_token_to_be_judged_by(tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    base = {"class": "", "spans": {}, "source": "s"}
    made = [{"id": "a", "prompt": "ab", "response": "c"}, {"id": "b", "prompt": "abc", "response": ""}]
    path.write_text(
        "".join(rows.written([cast(rows.Row, {**one, **base}) for one in made], path.name)), encoding="utf-8"
    )
    found = samples.sample(path, cast(Tokenizer, Letters()), 2)
    assert [ids for ids, _ in found] == [[97, 98, 99, 0], [97, 98, 99, 0]]
    assert [mask for _, mask in found] == [[False, False, True, True], [False] * 4]


def test_what_no_token_was_judged_by_is_unavailable() -> None:
    assert students._nll(0.0, 0)["value"] is None
    assert students._nll(1.5, 2)["value"] == 1.5
