"""A small dataset with spans, its tokenizer, and parameters of runs that take a second: for the training tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from runtime import catalog
from runtime.contract import rows
from runtime.contract.architecture import Architecture
from runtime.contract.families import FAMILIES
from runtime.contract.optimizer import Optimizer
from runtime.models import fitting
from runtime.steps.tokenizer import TokenizerParams
from runtime.steps.train import Term, TrainParams
from tests.tensor.export.world import Stage

VOCAB = 288
TOOLS = ("lamp", "music", "door")
WISHES = ("turn it on", "make it stop", "a bit louder please", "now", "open it for the cat, then close it again")


def row(number: int, *, spans: bool = True) -> rows.Row:
    """One request; the tool's name and its arguments are spans of the response."""
    tool = TOOLS[number % 3]
    args = json.dumps({"level": number % 7})
    response = f"{tool}({args})"
    name_end, args_start = len(tool), len(tool) + 1
    marks: rows.Spans = {"tool_name": [[0, name_end]], "json_args": [[args_start, args_start + len(args)]]}
    return {
        "id": f"row-{number}",
        "prompt": f"{WISHES[number % 5]} {number}",
        "response": response,
        "class": tool,
        "spans": marks if spans else {},
        "source": "world",
    }


def dataset(folder: Path, count: int = 40, *, spans: bool = True) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.jsonl").write_text(
        "".join(rows.written([row(number, spans=spans) for number in range(count)], "train.jsonl"))
    )
    (folder / "manifest.json").write_text(json.dumps({"tool_registry_sha256": "0" * 64}), encoding="utf-8")
    return folder


def validation(folder: Path, count: int = 12) -> Path:
    """Rows that are not in the training split, as its split `validation`."""
    held = [row(number) for number in range(1000, 1000 + count)]
    path = folder / "validation.jsonl"
    path.write_text("".join(rows.written(held, path.name)), encoding="utf-8")
    return path


def tokenizer(folder: Path, data: Path, vocab_size: int = VOCAB) -> Path:
    stage = Stage(folder.parent / f"{folder.name}-stage", {"dataset": data})
    params = TokenizerParams(source="train", vocab_size=vocab_size, template="{prompt}\n{response}")
    fitting.make({"dataset": data}, params, stage)
    (stage.root / "tokenizer").rename(folder)
    return folder


def architecture(**changes: Any) -> Architecture:
    sizes: dict[str, Any] = {
        "family": "llama",
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 96,
        "vocab_size": VOCAB,
    }
    if FAMILIES[changes.get("family", "llama")].windowed:
        sizes |= {"sliding_window": 64, "sliding_window_pattern": 2}
    return Architecture(**(sizes | changes))


def terms(**weights: float) -> list[Term]:
    """Terms by name with their weights, at the installed versions."""
    found = []
    for name, weight in weights.items():
        loss = catalog.load("losses", name)
        found.append(Term(term=name, version=loss.version, weight=weight, semantics=dict(loss.semantics)))
    return found


def params(**changes: Any) -> TrainParams:
    values: dict[str, Any] = {
        "architecture": architecture(),
        "losses": terms(ce_truth=1.0),
        "needs_teacher": False,
        "steps": 6,
        "batch_size": 8,
        "max_length": 96,
        "optimizer": Optimizer(learning_rate=3e-3, warmup_steps=2),
        "gradient_norms_every": 3,
        "checkpoint_every": 2,
        "chunk_tokens": 64,
        "threads": 1,
    }
    return TrainParams(**(values | changes))


__all__ = ["VOCAB", "Stage", "architecture", "dataset", "params", "row", "terms", "tokenizer", "validation"]
