"""Golden vectors come from the plain checkpoint and real test rows, padded and full, and pin a whole greedy decode."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from runtime.contract import Refusal
from runtime.models import build, goldens
from runtime.models import tokenizer as tokenizers
from runtime.models.prompts import Text, joined, texts_of
from runtime.steps.export import ExportParams
from tests.tensor.export.conftest import PARAMS, Exported


@pytest.fixture(scope="module")
def held(exported: Exported) -> tuple[dict[str, Any], dict[str, Tensor]]:
    index = json.loads((exported.goldens / "goldens.json").read_text())["functions"]
    return index, load_file(exported.goldens / "goldens.safetensors")


def test_every_shape_has_padded_cases_and_one_full(held: tuple[dict[str, Any], dict[str, Tensor]]) -> None:
    index, tensors = held
    for length in PARAMS.prefill:
        cases = index[f"prefill_{length}"]
        lengths = [case["length"] for case in cases]
        assert lengths.count(length) == 1
        assert sum(real < length for real in lengths) == PARAMS.golden_prompts
        for case in cases:
            mask = tensors[f"prefill_{length}/{case['case']}/attention_mask"]
            assert mask.sum() == case["length"]
            assert mask.shape == (1, length)


def test_inputs_are_rows_of_the_test_split(held: tuple[dict[str, Any], dict[str, Tensor]], exported: Exported) -> None:
    index, tensors = held
    words = tokenizers.load(exported.takes["tokenizer"])
    rows = {text.row: text.ids for text in texts_of(exported.takes["dataset"], words)}
    for case in index["prefill_64"]:
        ids = tensors[f"prefill_64/{case['case']}/input_ids"][0, : case["length"]].tolist()
        if len(case["rows"]) == 1:
            assert ids == rows[case["rows"][0]][: len(ids)]
        assert set(case["rows"]) <= set(rows)


def test_the_decode_is_the_models_own_greedy_generation(
    held: tuple[dict[str, Any], dict[str, Tensor]], exported: Exported
) -> None:
    index, tensors = held
    model = build.load(exported.takes["checkpoint"])
    model.generation_config.eos_token_id = None
    for case in {case["case"]: case for case in index["decode"]}.values():
        prompt = tensors[f"decode/{case['case']}/prompt"].long()
        wanted = model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            max_new_tokens=case["steps"] + 1,
            do_sample=False,
            pad_token_id=0,
        )
        assert wanted[0, prompt.shape[1] :].tolist() == case["tokens"]
        assert tensors[f"decode/{case['case']}/tokens"].tolist() == case["tokens"]
        assert len(case["tokens"]) == PARAMS.decode_steps + 1
        whole = torch.tensor([[*prompt[0].tolist(), *case["tokens"][:-1]]])
        with torch.no_grad():
            logits = model(whole).logits[0, prompt.shape[1] - 1 :]
        assert (tensors[f"decode/{case['case']}/logits"] - logits).abs().max() < 1e-3


def test_rows_longer_than_a_shape_are_cut_so_that_padding_is_always_there() -> None:
    texts = [Text("a", list(range(50)), 40), Text("b", list(range(60)), 50)]
    cases = goldens.prefill_cases(texts, 16, 2)
    assert [(case.name, len(case.ids)) for case in cases] == [("cut_0", 8), ("cut_1", 8), ("full", 16)]


def test_a_stream_joins_rows_and_starts_again() -> None:
    texts = [Text("a", [1, 2, 3], 2), Text("b", [4, 5], 1)]
    assert joined(texts, 7) == ([1, 2, 3, 4, 5, 1, 2], ["a", "b"])


def test_prompts_that_leave_no_room_to_decode_are_refused(exported: Exported, tmp_path: Path) -> None:
    model, words = build.load(exported.takes["checkpoint"]), tokenizers.load(exported.takes["tokenizer"])
    params = ExportParams(prefill=[8], decode_context=8, golden_prompts=2, decode_steps=8)
    with pytest.raises(Refusal, match="no test prompt of 2 fit") as caught:
        goldens.make(model, words, exported.takes["dataset"], params, tmp_path)
    assert caught.value.place == "verification.prompts"


def test_fewer_prompts_than_asked_are_refused_and_the_advice_helps(exported: Exported, tmp_path: Path) -> None:
    model, words = build.load(exported.takes["checkpoint"]), tokenizers.load(exported.takes["tokenizer"])
    params = ExportParams(prefill=[64], decode_context=96, golden_prompts=11, decode_steps=1)
    with pytest.raises(Refusal, match="10 test prompts of 11 fit") as caught:
        goldens.make(model, words, exported.takes["dataset"], params, tmp_path)
    assert "lower verification.prompts" in caught.value.action
    fewer = params.model_copy(update={"golden_prompts": 10})
    goldens.make(model, words, exported.takes["dataset"], fewer, tmp_path)
    assert len(json.loads((tmp_path / "goldens.json").read_text())["functions"]["decode"]) == 10 + 3


def test_decodes_start_from_both_sides_of_every_edge(
    held: tuple[dict[str, Any], dict[str, Tensor]], exported: Exported
) -> None:
    index, tensors = held
    starts: dict[str, list[int]] = {}
    for case in index["decode"]:
        assert tensors[f"decode/{case['case']}/prompt"].shape == (1, case["prompt_tokens"])
        if case["case"].startswith("edge_"):
            starts.setdefault(case["start"], []).append(case["prompt_tokens"])
    assert starts == {"prefill_16": [1, 15, 16], "prefill_64": [1, 17, 63, 64]}
    prompts = [case for case in index["decode"] if case["case"].startswith("greedy_")]
    assert len(prompts) == PARAMS.golden_prompts
    assert all(case["prompt_tokens"] <= int(case["start"].removeprefix("prefill_")) for case in prompts)
