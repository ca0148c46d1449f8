"""Recorded answers × rows: found by prompt, refused with file and line, never silently fewer than declared."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime.contract import BrokenEvidence, Refusal
from runtime.contract.record import read
from runtime.data import answers
from runtime.data.replay import replay
from runtime.steps.replay import ReplayParams
from tests.unit.runtime.data.teaching import Stage, dataset

GOOD = [{"prompt": f"q{i}", "text": "A", "choices": {"A": -0.1, "B": -2.5}} for i in range(4)]


def record(folder: Path, lines: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "record.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def run(folder: Path, lines: list[Any], allow: float = 0.0, signals: tuple[str, ...] = ("text", "choices")) -> Stage:
    stage = Stage(folder / "run")
    takes = {"dataset": dataset(folder / "dataset", [f"q{i}" for i in range(4)]), "record": record(folder, lines)}
    replay(takes, ReplayParams(model="m", signals=list(signals), allow_missing=allow), stage)
    return stage


def test_answers_are_bound_to_rows_by_their_prompt(tmp_path: Path) -> None:
    stage = run(tmp_path, [*reversed(GOOD), {"prompt": "unasked", "text": "x"}])
    found = answers.load(stage.root / "answers")
    assert list(found) == ["r0", "r1", "r2", "r3"]
    assert found["r2"].choices == {"A": -0.1, "B": -2.5}
    assert stage.data["report"]["recorded_unused"]["value"] == 1
    assert (stage.root / "answers" / "answers.jsonl").read_bytes() == (
        run(tmp_path / "again", GOOD).root / "answers" / "answers.jsonl"
    ).read_bytes()


@pytest.mark.parametrize(("allow", "passes"), [(0.0, False), (0.24, False), (0.25, True), (0.9, True)])
def test_a_missing_answer_counts_against_what_is_allowed(tmp_path: Path, allow: float, passes: bool) -> None:
    if not passes:
        with pytest.raises(Refusal, match=r"1 of 4 training rows have no usable answer \(1 missing\)") as caught:
            run(tmp_path, GOOD[1:], allow)
        assert caught.value.code == "KR0116"
        return
    report = run(tmp_path, GOOD[1:], allow).data["report"]
    assert (report["missing_share"]["k"], report["missing_share"]["n"]) == (1, 4)


def test_no_answer_at_all_is_never_allowed(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="4 of 4"):
        run(tmp_path, [{"prompt": "other", "text": "x"}], 0.99)


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{", "not an answer: Expecting"),
        ({"prompt": "q"}, "field `text` is missing"),
        ({"prompt": "q", "text": 3}, "field `text` must be a string"),
        ({"prompt": "q", "text": "x", "score": 1}, "unknown field `score`"),
        ({"prompt": "q", "text": "x", "choices": {"A": 0.5, "B": -1}}, "choice `A` is 0.5"),
        ({"prompt": "q", "text": "x", "choices": {"A": -1}}, "at least two"),
        ({"prompt": "q", "text": "x", "choices": ["A"]}, "at least two"),
        ('{"prompt": "q", "text": "x", "choices": {"A": -1, "B": NaN}}', "NaN is not JSON"),
        ({"prompt": "q0", "text": "another"}, "second, different answer"),
    ],
)
def test_a_bad_line_is_refused_with_its_place(tmp_path: Path, line: Any, why: str) -> None:
    with pytest.raises(Refusal, match=why) as refused:
        read(record(tmp_path, [GOOD[0], line]))
    assert refused.value.place.endswith(":2")


def test_the_same_answer_twice_is_one(tmp_path: Path) -> None:
    assert len(read(record(tmp_path, [GOOD[0], GOOD[0]]))) == 1


def test_an_answer_that_was_cut_off_is_not_used(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="1 truncated"):
        run(tmp_path, [{**GOOD[0], "finish_reason": "length"}, *GOOD[1:]])


@pytest.mark.parametrize("text", ["", "{}\n", '{"id": "a", "text": "x"}\n', "\x00\n"])
def test_an_artifact_of_another_form_is_broken_evidence(tmp_path: Path, text: str) -> None:
    (tmp_path / "answers.jsonl").write_text(text)
    if text:
        with pytest.raises(BrokenEvidence):
            answers.load(tmp_path)
    else:
        assert answers.load(tmp_path) == {}
