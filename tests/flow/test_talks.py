"""Conversations of several turns, thoughts and system messages become a student's package by a chat template alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from kcompiler.cli import _main
from tests.longer import longer
from tests.tensor.chat import formats
from tests.tensor.chat.test_chat_templates import backend_of

SPEC = """
apiVersion: kcompiler/v1
kind: Distillation
metadata: {name: talk, owner: ml-platform, description: Talks of several turns.}
risk_tier: 3
teacher: {source: hf, model: ./teacher, signals: [logits], license: Apache-2.0}
tokenizer: {source: teacher, template: chat}
data:
  sources:
    - {name: train, kind: jsonl, path: train.jsonl, split: train, license: CC0-1.0, fields: {messages: messages}}
    - {name: test, kind: jsonl, path: test.jsonl, split: test, license: CC0-1.0, fields: {messages: messages}}
student:
  role: toy
  architecture:
    {family: llama, hidden_size: 32, intermediate_size: 64, num_hidden_layers: 2, num_attention_heads: 4,
     num_key_value_heads: 2, max_position_embeddings: 256}
  parameters: 31_000±10%
training:
  stages:
    - name: kd
      steps: 20
      batch_size: 4
      max_length: 128
      losses: [{term: kl, weight: 0.5}, {term: ce_truth, weight: 0.5}]
      optimizer: {learning_rate: 1.0e-3, warmup_steps: 2}
shapes: {prefill: [128], decode: {context: 128}}
quantization: {default: {weights: int8}, islands: [rms_norm]}
evaluation:
  suites: [{use: language_model, split: test, coreml_limit: 4}]
  baselines: [ce_only]
hardware: {profile: m1-max-64gb}
budgets: {usd: 0, gpu_hours: 0, wall_s: 600}
policies: [caws/core]
"""


def talk(number: int) -> dict[str, list[dict[str, str]]]:
    """Two turns with a thought, or one after a system message."""
    if number % 2:
        first, second = number % 7 + 1, number % 5 + 2
        return {
            "messages": [
                {"role": "user", "content": f"What is {number} and {first}?"},
                {"role": "assistant", "content": f"{number + first}."},
                {"role": "user", "content": f"And {second} more ({number})?"},
                {"role": "assistant", "content": f"{number + first + second}.", "reasoning_content": "Add."},
            ]
        }
    return {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": f"Say {number}."},
            {"role": "assistant", "content": f"{number}"},
        ]
    }


def teacher(folder: Path, context: int = 256) -> None:
    """A small model with a tokenizer and the chat template of Qwen 3, in which earlier thoughts are not written."""
    backend = backend_of("qwen3")
    pad, bos, eos = formats.CONTROL["qwen3"]
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=backend.get_vocab_size(with_added_tokens=True),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        **{f"{name}_token_id": backend.token_to_id(text) for name, text in (("pad", pad), ("bos", bos), ("eos", eos))},
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    special = {"pad_token": pad, "bos_token": bos, "eos_token": eos}
    (folder / "tokenizer_config.json").write_text(json.dumps(special), encoding="utf-8")
    (folder / "tokenizer.json").write_text(backend.to_str(), encoding="utf-8")
    (folder / "chat_template.jinja").write_text(formats.QWEN3, encoding="utf-8")


@pytest.mark.slow
@longer
def test_talks_are_learnt_by_their_turns_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    teacher(tmp_path / "teacher")
    for name, numbers in (("train", range(44)), ("test", range(44, 60))):
        text = "".join(json.dumps(talk(number)) + "\n" for number in numbers)
        (tmp_path / f"{name}.jsonl").write_text(text, encoding="utf-8")
    spec = tmp_path / "spec.yaml"
    spec.write_text(SPEC, encoding="utf-8")
    (tmp_path / ".kcompiler").mkdir()
    assert _main(["pin", str(spec)]) == 0
    assert _main(["validate", str(spec)]) == 0
    assert _main(["apply", str(spec)]) == 0
    evidence = tmp_path / "generated/talk/evidence"
    assert json.loads((evidence / "verdict.json").read_text(encoding="utf-8"))["verdict"] == "PASS"
    trained = json.loads((evidence / "reports/train-kd.json").read_text(encoding="utf-8"))
    # each of the 22 talks of two turns is two sequences: the first turn stands there without an empty thought
    assert trained["data"]["rows"]["value"] == 66
    assert trained["data"]["terms"]["kl"]["supervised_example"]["last"] == "<|im_end|>"
    assert _main(["audit", str(spec)]) == 0
    capsys.readouterr()
