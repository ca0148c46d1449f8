"""The real command line and a model that reads its own answer: refused at once where its folder lies in the project,
in the step that loads it where it comes from a hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from runtime import digest
from tests.flow.world import Home
from tests.longer import longer
from tests.tensor.test_tokenizer import words_of
from tests.unit.runtime.data.hub import COMMIT, serving

SIZES = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 48,
}
VOCABULARY = 384


def folder(root: Path, **config: Any) -> int:
    """A tiny Llama with a byte-level tokenizer; how many parameters it has."""
    words_of(root, size=VOCABULARY)
    torch.manual_seed(3)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, bos_token_id=257, eos_token_id=258, **SIZES))
    model.save_pretrained(root)
    path = root / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | config), encoding="utf-8")
    return sum(parameter.numel() for parameter in model.parameters())


def taught_by(home: Home, **teacher: Any) -> None:
    def edit(data: dict[str, Any]) -> None:
        data["teacher"] = {"source": "hf", "license": "Apache-2.0", "signals": ["logits"], **teacher}
        data["tokenizer"] |= {"source": "teacher", "vocab_size": VOCABULARY}
        data["tokenizer"]["special"] = {"pad": "<pad>", "bos": "<s>", "eos": "<end>"}

    home.change(edit)


def test_a_teacher_that_sees_the_answer_does_not_compile(fresh: Home) -> None:
    folder(fresh.root / "specs/teacher", is_causal=False)
    taught_by(fresh, model="./teacher", revision=digest.of_folder(fresh.root / "specs/teacher"))
    for verb in ("validate", "apply"):
        result = fresh.run(verb, "specs/tiny.yaml").ended(1, "invalid")
        assert "error[KC4231]" in result.err
        assert "its config.json says is_causal false" in result.err
    assert not (fresh.evidence / "verdict.json").exists()


@pytest.mark.slow
def test_a_teacher_of_a_hub_that_sees_the_answer_is_refused_where_it_enters(fresh: Home, tmp_path: Path) -> None:
    count = folder(tmp_path / "published", is_causal=False)
    files = {path.name: path.read_bytes() for path in (tmp_path / "published").iterdir()}
    taught_by(fresh, model="hf:org/name", revision=COMMIT, parameters=count)
    with serving(files) as hub:
        result = fresh.apply(env={"HF_ENDPOINT": hub.url}).ended(6, "step-failed")
    assert "KR0120" in result.err
    assert "sees tokens that come later" in result.err
    assert "remove `is_causal: false`" in result.err
    steps = result.steps()
    assert (steps["fetch-teacher"], steps["teacher"], steps["train-kd"]) == ("committed", "failed", "blocked")


@pytest.mark.slow
@longer
def test_threads_that_the_environment_holds_back_are_refused_and_the_advice_helps(fresh: Home) -> None:
    fresh.change(lambda data: data["execution"].update(threads=2))
    result = fresh.apply("--only", "teacher", env={"OMP_THREAD_LIMIT": "1"}).ended(6, "step-failed")
    assert "KR0121" in result.err
    assert "the environment says OMP_THREAD_LIMIT=1" in result.err
    assert "learning rate" not in result.err
    fresh.change(lambda data: data["execution"].update(threads=1))
    fresh.apply("--only", "teacher", env={"OMP_THREAD_LIMIT": "1"}).ended(0, "")
