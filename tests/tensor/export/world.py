"""A small dataset, tokenizer and checkpoint on disk, and a context like the one apply gives: for the export tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from runtime import digest
from runtime.contract import Used, rows
from runtime.contract import report as facts
from runtime.contract.architecture import Architecture
from runtime.contract.peak import Peak
from runtime.models import build, fitting
from runtime.models import tokenizer as tokenizers
from runtime.steps.tokenizer import TokenizerParams

QUESTIONS = ("Will it rain", "Should I sell the house", "Is the bridge safe", "Does she know", "Can the cat swim")
TAILS = (" today?", " before the winter comes?", ", and if so, who will tell the others about it?", "?")
ANSWERS = ("It is certain.", "Ask again later.", "My sources say no.", "Outlook good.", "Very doubtful.")


#: a rotation of each kind for `architecture`: 16 pairs of channels, a context of 256
ROTATIONS: Mapping[str, Mapping[str, Any]] = {
    "linear": {"rope_type": "linear", "factor": 4.0},
    "dynamic": {"rope_type": "dynamic", "factor": 4.0},
    "llama3": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "yarn": {"rope_type": "yarn", "factor": 8.0, "original_max_position_embeddings": 32},
    "longrope": {
        "rope_type": "longrope",
        "short_factor": [1.0 + i / 8 for i in range(16)],
        "long_factor": [2.0 + i for i in range(16)],
        "original_max_position_embeddings": 64,
    },
}
#: of three layers two with a window
MIXED = {"sliding_window_pattern": 3}


class Stage:
    """A Context whose artifacts are folders below `root`; reports are kept in memory and on disk."""

    def __init__(self, root: Path, takes: Mapping[str, Path]) -> None:
        self.step_id, self.seed, self.root = "step", 7, root
        self.scratch = root / "scratch"
        self.versions: dict[str, str] = {}
        self.digests = {port: digest.of_folder(folder) for port, folder in takes.items()}
        self.reports: dict[str, dict[str, Any]] = {}
        self.said: list[str] = []
        self.shown: list[tuple[int, dict[str, float]]] = []
        self.kept_at: list[int] = []
        self.used_up: dict[str, int] = {}

    def out(self, port: str) -> Path:
        folder = self.root / port
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def say(self, message: str) -> None:
        self.said.append(message)

    def shows(self, at: int, numbers: Mapping[str, float]) -> None:
        self.shown.append((at, dict(numbers)))

    def progress(self, done: int, total: int, note: str = "") -> None:
        assert 0 <= done <= total, note

    def kept(self, done: int) -> None:
        self.kept_at.append(done)

    def used(self, what: Used, amount: int) -> None:
        self.used_up[what] = self.used_up.get(what, 0) + amount

    def measures(self, peak: Callable[[], Peak]) -> None:
        self.peak = peak

    def report(
        self,
        port: str,
        data: Mapping[str, Any],
        *,
        fingerprints: Mapping[str, str],
        environment: Mapping[str, Any] | None = None,
    ) -> None:
        whole = facts.envelope(
            kind=port, step=self.step_id, subject=self.digests, fingerprints=fingerprints, environment={}, data=data
        )
        (self.out(port) / "report.json").write_text(facts.dump(whole), encoding="utf-8")
        self.reports[port] = json.loads(facts.dump(whole))

    def perform(self, _takes: Mapping[str, Path], _params: Any) -> None:
        raise AssertionError("operations do not perform steps")


def dataset(folder: Path) -> Path:
    """Twenty rows of train and ten of test."""
    folder.mkdir(parents=True, exist_ok=True)
    made: list[rows.Row] = []
    for number in range(30):
        question = QUESTIONS[number % 5] + TAILS[number % 4] + (" Truly?" if number >= 20 else "")
        made.append(
            {
                "id": f"row-{number}",
                "prompt": question,
                "response": ANSWERS[number % 5],
                "class": "",
                "spans": {},
                "source": "world",
            }
        )
    (folder / "train.jsonl").write_text("".join(rows.written(made[:20], "train.jsonl")))
    (folder / "test.jsonl").write_text("".join(rows.written(made[20:], "test.jsonl")))
    (folder / "manifest.json").write_text(json.dumps({"tool_registry_sha256": "0" * 64}), encoding="utf-8")
    return folder


def tokenizer(folder: Path, data: Path, vocab_size: int = 512) -> Path:
    """A byte-level tokenizer trained on the dataset, filled up to `vocab_size`."""
    stage = Stage(folder.parent / f"{folder.name}-stage", {"dataset": data})
    params = TokenizerParams(source="train", vocab_size=vocab_size, template="{prompt}\n{response}")
    fitting.make({"dataset": data}, params, stage)
    (stage.root / "tokenizer").rename(folder)
    return folder


def architecture(family: str = "llama", **changes: Any) -> Architecture:
    """The eight-ball student's size unless changed."""
    sizes: dict[str, Any] = {
        "family": family,
        "hidden_size": 128,
        "intermediate_size": 352,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 256,
        "vocab_size": 512,
    }
    return Architecture(**(sizes | changes))


def checkpoint(folder: Path, shape: Architecture, special: Mapping[str, int], seed: int = 3) -> Path:
    """Random weights at the scale of trained ones: logits of about ten, norms that are not all one."""
    folder.mkdir(parents=True, exist_ok=True)
    model = build.build(shape, seed, special)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                noise = torch.randn(parameter.shape, generator=generator) * 0.2
                parameter.add_(noise)
            elif "embed" not in name and "lm_head" not in name:
                parameter.mul_(4.0)
            else:
                parameter.mul_(15.0)
    build.save(model, folder)
    return folder


def world(root: Path, family: str = "llama", **changes: Any) -> dict[str, Path]:
    """dataset, tokenizer and checkpoint folders, as an export step takes them."""
    data = dataset(root / "dataset")
    shape = architecture(family, **changes)
    words = tokenizer(root / "tokenizer", data, shape.vocab_size)
    loaded = tokenizers.load(words)
    special = {"pad": loaded.pad_id, "bos": loaded.bos_id, "eos": loaded.eos_id}
    return {"dataset": data, "tokenizer": words, "checkpoint": checkpoint(root / "checkpoint", shape, special)}
