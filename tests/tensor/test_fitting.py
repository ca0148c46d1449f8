"""Rows that are too long are refused by name, or left out, counted and gone from everything that follows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runtime import digest
from runtime.contract import Refusal, rows
from runtime.data.prepare import prepare
from runtime.models import fitting
from runtime.steps.data import DataParams
from runtime.steps.tokenizer import TokenizerParams
from tests.tensor.export.world import Stage
from tests.unit.runtime.data.test_prepare import Stage as DataStage
from tests.unit.runtime.data.test_prepare import pairs, source, write

LONG = {"id": "the-long-one", "prompt": "Tell me all of it, please.", "response": "x7q" * 60}


def made(root: Path, *more: dict[str, Any], held: tuple[dict[str, Any], ...] = (), **params: Any) -> Stage:
    root.mkdir(exist_ok=True)
    files = {
        "train": write(root / "train.jsonl", *pairs(20), *more),
        "test": write(root / "test.jsonl", *pairs(5, 100), *held),
    }
    sources = [source(name, split=name) for name in files]
    prepare({f"source_{name}": path for name, path in files.items()}, DataParams(sources=sources), DataStage(root))
    takes = {"dataset": root / "dataset"}
    stage = Stage(root / "out", takes)
    lengths = {"train": {"tokens": 64, "field": "training.stages.kd.max_length"},
               "test": {"tokens": 64, "field": "shapes.prefill"}}  # fmt: skip
    whole = {"source": "train", "vocab_size": 300, "template": "{prompt}\n{response}", "lengths": lengths, **params}
    fitting.make(takes, TokenizerParams.model_validate(whole), stage)
    return stage


def test_rows_that_fit_pass_and_are_counted(tmp_path: Path) -> None:
    data = made(tmp_path).reports["report"]["data"]["too_long"]
    assert {name: (one["k"], one["n"]) for name, one in data.items()} == {"train": (0, 20), "test": (0, 5)}
    assert not (tmp_path / "out" / "dataset").exists()


def test_a_long_row_is_refused_with_the_field_of_the_spec_and_the_row(tmp_path: Path) -> None:
    with pytest.raises(Refusal, match="1 of 21 rows of the split `train` are longer than 64 tokens") as caught:
        made(tmp_path, LONG)
    assert caught.value.place == "training.stages.kd.max_length"
    assert "row `the-long-one` of source `train`" in caught.value.message
    assert "Tell me all of it, please." in caught.value.message
    assert "train.jsonl" not in caught.value.message + caught.value.action


RANKED = {"id": "ranked", "prompt": "All of it?", "chosen": "Yes.", "rejected": "x7q" * 60}


def test_of_a_held_out_pair_both_answers_are_read(tmp_path: Path) -> None:
    """And of one that is learnt from, the chosen one."""
    with pytest.raises(Refusal, match="1 of 6 rows of the split `test` are longer than 64 tokens: row `ranked`"):
        made(tmp_path / "a", held=(RANKED,))
    data = made(tmp_path / "b", held=(RANKED,), too_long="drop").reports["report"]["data"]["too_long"]
    assert (data["test"]["k"], data["test"]["n"]) == (1, 6)
    assert made(tmp_path / "c", RANKED).reports["report"]["data"]["too_long"]["train"]["k"] == 0


def test_what_the_refusal_advises_is_accepted(tmp_path: Path) -> None:
    with pytest.raises(Refusal) as caught:
        made(tmp_path / "a", LONG)
    enough = int(caught.value.action.partition("max_length to ")[2].partition(",")[0])
    for tokens, folder in ((enough, "b"), (enough - 1, "c")):
        lengths = {name: {"tokens": tokens, "field": "shapes.prefill"} for name in ("train", "test")}
        if tokens == enough:
            made(tmp_path / folder, LONG, lengths=lengths)
        else:
            with pytest.raises(Refusal):
                made(tmp_path / folder, LONG, lengths=lengths)
    assert "data.too_long: drop" in caught.value.action
    made(tmp_path / "d", LONG, too_long="drop")


def test_dropped_rows_are_gone_and_counted(tmp_path: Path) -> None:
    stage = made(tmp_path, LONG, too_long="drop")
    told = stage.reports["report"]["data"]["too_long"]
    assert (told["train"]["k"], told["train"]["n"], told["test"]["k"]) == (1, 21, 0)
    folder = tmp_path / "out" / "dataset"
    left = {name: rows.load(folder / f"{name}.jsonl") for name in ("train", "test")}
    assert len(left["train"]) == 20
    assert "the-long-one" not in {row["id"] for row in left["train"]}
    assert (folder / "test.jsonl").read_bytes() == (tmp_path / "dataset" / "test.jsonl").read_bytes()
    manifest = json.loads((folder / "manifest.json").read_text())
    for name, split in manifest["splits"].items():
        assert split["sha256"] == digest.of_file(folder / f"{name}.jsonl").removeprefix("sha256:")
    assert [one["rows"] for one in manifest["sources"]] == [20, 5]


def test_rows_for_validation_are_measured_dropped_and_kept_as_the_others_are(tmp_path: Path) -> None:
    path = write(tmp_path / "rows.jsonl", *pairs(60), LONG)
    held = write(tmp_path / "held.jsonl", *pairs(5, 100))
    sources = [source("rows", split="train"), source("held", split="test")]
    takes = {"source_rows": path, "source_held": held}
    prepare(takes, DataParams(sources=sources, validation=0.3), DataStage(tmp_path))
    long = {"train": 0, "validation": 0}
    for name in long:
        long[name] = (tmp_path / "dataset" / f"{name}.jsonl").read_text().count("the-long-one")
    bound = {"tokens": 64, "field": "training.stages.kd.max_length"}
    lengths = {"train": bound, "validation": bound, "test": {"tokens": 64, "field": "shapes.prefill"}}
    whole = {"source": "train", "vocab_size": 300, "template": "{prompt}\n{response}", "lengths": lengths}
    stage = Stage(tmp_path / "out", {"dataset": tmp_path / "dataset"})
    fitting.make(
        {"dataset": tmp_path / "dataset"}, TokenizerParams.model_validate({**whole, "too_long": "drop"}), stage
    )
    found = stage.reports["report"]["data"]["too_long"]
    assert {name: found[name]["k"] for name in long} == long
    assert sum(long.values()) == 1
    kept = json.loads((tmp_path / "out/dataset/manifest.json").read_text())["splits"]
    assert set(kept) == {"train", "validation", "test"}
    assert kept["validation"]["rows"] == found["validation"]["n"] - found["validation"]["k"]


def test_a_split_of_which_nothing_is_left_is_refused(tmp_path: Path) -> None:
    lengths = {"train": {"tokens": 64, "field": "a"}, "test": {"tokens": 3, "field": "shapes.prefill"}}
    with pytest.raises(Refusal, match="all 5 rows of the split `test`") as caught:
        made(tmp_path, too_long="drop", lengths=lengths)
    assert caught.value.place == "shapes.prefill"
