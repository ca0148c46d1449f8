"""A teacher whose weights are here answers the training rows once, greedily, and whatever happens on the way."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch
from referencing import Registry, Resource

from runtime.contract import Refusal, rows
from runtime.data import answers
from runtime.models import answering, build
from runtime.models import tokenizer as tokenizers
from runtime.models.runners import HFRunner
from runtime.steps.generate_answers import GenerateAnswersParams
from tests.tensor.export.world import Stage, world

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Here:
    takes: dict[str, Path]
    said: dict[str, str]


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Here:
    """A teacher that has learnt one answer to everything: short, and with an end."""
    root = tmp_path_factory.mktemp("answering")
    takes = world(root, num_hidden_layers=1, hidden_size=32, intermediate_size=64, num_attention_heads=2)
    words = tokenizers.load(takes["tokenizer"])
    asked = rows.load(takes["dataset"] / "train.jsonl")
    model = build.load(takes["checkpoint"], attention="sdpa")
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    pairs = [words.encode_pair(row["prompt"], "Outlook good.") for row in asked]
    for step in range(80):
        pair = pairs[step % len(pairs)]
        logits_TV = model(input_ids=torch.tensor([pair.ids])).logits[0]
        targets = torch.tensor(pair.ids[pair.prompt_tokens :])
        loss = torch.nn.functional.cross_entropy(logits_TV[pair.prompt_tokens - 1 : -1], targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    folder = root / "teacher"
    build.save(model, folder)
    takes["teacher"] = folder
    runner = HFRunner("teacher", build.load(folder, attention="sdpa"), words)
    said = dict(zip([row["id"] for row in asked], runner.generate([row["prompt"] for row in asked], 48), strict=True))
    return Here({name: takes[name] for name in ("dataset", "tokenizer", "teacher")}, said)


def run(here: Here, root: Path, **params: Any) -> Stage:
    stage = Stage(root, here.takes)
    stage.scratch.mkdir(parents=True, exist_ok=True)
    whole = {"model": "hf:teacher", "longest": 64, "allow_missing": 0.0, "threads": 1, **params}
    answering.generate_answers(here.takes, GenerateAnswersParams(**whole), stage)
    return stage


def test_each_training_row_has_the_greedy_answer_of_its_teacher(here: Here, tmp_path: Path):
    stage = run(here, tmp_path)
    given = answers.load(stage.root / "answers")
    assert {name: answer.text for name, answer in given.items()} == here.said
    assert set(here.said.values()) == {"Outlook good."}
    report = stage.reports["report"]["data"]
    assert (report["answered"]["value"], report["missing_share"]["value"]) == (1.0, 0.0)
    documents = [json.loads(path.read_text()) for path in (ROOT / "schemas").glob("report*.json")]
    registry = Registry().with_resources((one["$id"], Resource.from_contents(one)) for one in documents)
    schema = next(one for one in documents if one["$id"] == "report.teacher.answers.schema.json")
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    errors = validator.iter_errors({**stage.reports["report"], "kind": "teacher.answers"})
    assert [error.message for error in errors if "data" in error.path] == []


def test_an_answer_that_has_not_ended_in_a_row_is_of_no_use(here: Here, tmp_path: Path):
    words = tokenizers.load(here.takes["tokenizer"])
    sizes = [
        len(words.encode_pair(row["prompt"], "Outlook good.").ids)
        for row in rows.load(here.takes["dataset"] / "train.jsonl")
    ]
    fits = sum(size <= max(sizes) - 1 for size in sizes)
    assert 0 < fits < len(sizes)
    with pytest.raises(Refusal, match="truncated") as caught:
        run(here, tmp_path / "refused", longest=max(sizes) - 1)
    assert "raise the length of rows" in caught.value.action
    assert "data.too_long_at_most" in caught.value.action
    # both ways that the advice names
    assert len(answers.load(run(here, tmp_path / "raised", longest=max(sizes)).root / "answers")) == len(sizes)
    allowed = run(here, tmp_path / "allowed", longest=max(sizes) - 1, allow_missing=0.9)
    assert len(answers.load(allowed.root / "answers")) == fits
    assert allowed.reports["report"]["data"]["faults"]["truncated"]["value"] == len(sizes) - fits


def test_a_prompt_that_leaves_no_room_is_refused(here: Here, tmp_path: Path):
    with pytest.raises(Refusal, match="leaves no room for an answer in rows of 4"):
        run(here, tmp_path, longest=4)


def test_a_run_that_was_stopped_goes_on_and_gives_the_same(here: Here, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(answering, "TOGETHER", 5)
    whole = run(here, tmp_path / "whole")
    calls: list[int] = []
    real = HFRunner.answers

    def counted(self: HFRunner, prompts: Any, longest: int) -> Any:
        calls.append(len(prompts))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(self, prompts, longest)

    monkeypatch.setattr(HFRunner, "answers", counted)
    with pytest.raises(KeyboardInterrupt):
        run(here, tmp_path / "stopped")
    done = len(calls) - 1
    again = run(here, tmp_path / "stopped")
    assert len(calls) == done + 1 + (-(-len(here.said) // 5) - done)
    for name in ("answers.jsonl", "manifest.json"):
        assert (again.root / "answers" / name).read_bytes() == (whole.root / "answers" / name).read_bytes()
