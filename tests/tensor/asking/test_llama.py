"""A checkpoint as a GGUF file is the same function in llama.cpp: from the same ids come the same logits."""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as Backend

from runtime.asking import cuts, llama, writing
from runtime.asking.writing import write_gguf
from runtime.contract import Refusal, Unavailable, gguf_model
from runtime.contract.asked import Asked
from runtime.models import build, runners
from runtime.models import tokenizer as tokenizers
from runtime.models.tokenizer import Tokenizer
from runtime.models.unpacking import tensor_of
from runtime.runners.gguf import GgufParams
from runtime.steps.write_gguf import WriteGgufParams
from tests.tensor.export.world import QUESTIONS, Stage, world

pytest.importorskip("gguf")
needs_llama = pytest.mark.skipif(
    importlib.util.find_spec("llama_cpp") is None, reason="needs pip install '.[llama]', which compiles llama.cpp"
)


@pytest.fixture(scope="module", params=["llama", "mistral", "qwen2", "qwen3"])
def takes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp(request.param)
    return world(root, request.param, num_hidden_layers=2, hidden_size=64, intermediate_size=128, num_attention_heads=4)


def written(takes: dict[str, Path], weights: str, root: Path) -> Path:
    stage = Stage(root, {})
    stage.scratch.mkdir(parents=True, exist_ok=True)
    write_gguf(takes, WriteGgufParams(weights=weights), stage)
    return stage.root / "gguf"


def asked(folder: Path, takes: dict[str, Path], root: Path) -> Asked:
    stage = Stage(root, {})
    ports = {"model": folder, "tokenizer": takes["tokenizer"]}
    return Asked(name="gguf", params=GgufParams(context=128), takes=ports, ctx=stage, told=stage.progress, threads=1)


def test_what_is_written_is_what_is_read(takes: dict[str, Path], tmp_path: Path) -> None:
    """By our reader of other people's files, which shares nothing with the writer but the names."""
    path = written(takes, "f32", tmp_path) / llama.FILE
    weights = build.load(takes["checkpoint"]).state_dict()
    found = gguf_model.read(path)
    assert len(found.weights) > 10
    for weight in found.weights:
        assert torch.equal(tensor_of(path, weight), weights[weight.name]), weight.name
    config = json.loads((takes["checkpoint"] / "config.json").read_text())
    said = found.documents[gguf_model.CONFIG]
    for name in ("hidden_size", "num_key_value_heads", "num_attention_heads", "vocab_size"):
        assert said[name] == config[name], name
    assert said["head_dim"] == config.get("head_dim", 16)
    assert said["model_type"] == gguf_model.WRITTEN[config["model_type"]]
    assert said["rms_norm_eps"] == pytest.approx(config["rms_norm_eps"])


@pytest.mark.parametrize(
    ("weights", "bound"), [("q8_0", 0.01), ("q5_1", 0.05), ("q5_0", 0.06), ("q4_1", 0.09), ("q4_0", 0.11)]
)
def test_blocks_hold_what_they_are_made_of(takes: dict[str, Path], tmp_path: Path, weights: str, bound: float) -> None:
    """By our own reader; matrices alone are rounded, each by about half a step of its form."""
    path = written(takes, weights, tmp_path) / llama.FILE
    original = build.load(takes["checkpoint"]).state_dict()
    for weight in gguf_model.read(path).weights:
        found, wanted = tensor_of(path, weight), original[weight.name]
        error = float((found - wanted).norm() / wanted.norm())
        assert weight.tensor.type.name == (weights.upper() if wanted.ndim == 2 else "F32")
        assert bound / 3 < error < bound if wanted.ndim == 2 else error == 0, (weight.name, error)


def test_a_tensor_that_blocks_would_erase_is_refused(takes: dict[str, Path], tmp_path: Path) -> None:
    """Q8_0 makes zeros of what is below 1e-6, and of NaN what it likes."""
    name = "model.layers.0.mlp.up_proj.weight"
    for scale, said in ((1e-9, "100% of it is lost"), (float("nan"), "it is not finite")):
        folder = tmp_path / str(scale)
        folder.mkdir()
        (folder / "config.json").write_bytes((takes["checkpoint"] / "config.json").read_bytes())
        tensors = load_file(takes["checkpoint"] / "model.safetensors")
        save_file(tensors | {name: tensors[name] * scale}, folder / "model.safetensors")
        with pytest.raises(Refusal, match=f"in Q8_0 its weight {name} is no longer itself") as caught:
            written({**takes, "checkpoint": folder}, "q8_0", tmp_path / f"made {scale}")
        assert said in caught.value.message


# llama.cpp keeps keys and values in float16, as it does wherever it runs
@needs_llama
@pytest.mark.parametrize(("weights", "bound"), [("f32", 1e-3), ("f16", 2e-2), ("q8_0", 5e-2)])
def test_llama_cpp_computes_the_same_logits(takes: dict[str, Path], tmp_path: Path, weights: str, bound: float) -> None:
    words, model = tokenizers.load(takes["tokenizer"]), build.load(takes["checkpoint"])
    runner = llama.opened(asked(written(takes, weights, tmp_path), takes, tmp_path))
    for question in QUESTIONS:
        ids = words.encode_prompt(question)
        with torch.inference_mode():
            wanted_TV = model(input_ids=torch.tensor([ids])).logits[0].numpy()
        found_TV = runner._model.logits(ids)
        assert np.abs(found_TV - wanted_TV).max() < bound * max(1.0, np.abs(wanted_TV).max())


@needs_llama
def test_what_it_says_is_what_torch_says(takes: dict[str, Path], tmp_path: Path) -> None:
    words: Tokenizer = tokenizers.load(takes["tokenizer"])
    runner = llama.opened(asked(written(takes, "f32", tmp_path), takes, tmp_path))
    torch_runner = runners.checkpoint("student", takes["checkpoint"], words)
    prompts = list(QUESTIONS)
    assert runner.generate(prompts, 8) == torch_runner.generate(prompts, 8)
    assert runner.say(prompts, 8) == torch_runner.say(prompts, 8)
    assert [one.ids for one in runner.write(prompts, 8)] == [one.ids for one in torch_runner.write(prompts, 8)]
    pairs = [(prompt, answer) for prompt in prompts for answer in ("It is certain.", "Ask again later.")]
    for mine, its in zip(runner.score(pairs), torch_runner.score(pairs), strict=True):
        assert mine.tokens == its.tokens
        assert math.isclose(mine.log_probability, its.log_probability, abs_tol=3e-2)
    assert runner.weigh(prompts[0], [5], [1, 2]) == pytest.approx(torch_runner.weigh(prompts[0], [5], [1, 2]), abs=3e-2)
    assert runner.spell(70) == torch_runner.spell(70)


@needs_llama
def test_llama_cpp_gives_the_tokenizer_s_own_ids_where_the_file_says_so(takes: dict[str, Path], tmp_path: Path) -> None:
    import llama_cpp

    folder = written(takes, "f32", tmp_path)
    said = json.loads((folder / writing.WORDS).read_text())
    # no merge was learnt across what is coarser in it than the own cut
    assert said["cut"] == "gpt-2"
    assert said["different"] == 0
    assert said["texts"] > len(cuts.HARD)
    opened = llama_cpp.Llama(str(folder / llama.FILE), vocab_only=True, verbose=False)
    own = Backend.from_file(str(takes["tokenizer"] / "tokenizer.json"))
    for text in [*cuts.HARD, *QUESTIONS]:
        found = opened.tokenize(text.encode(), add_bos=True, special=False)
        assert found == own.encode(text, add_special_tokens=False).ids, text
    assert opened.metadata["tokenizer.chat_template"] == (takes["tokenizer"] / "chat_template.jinja").read_text()


def test_a_cut_that_differs_on_one_text_is_not_named(takes: dict[str, Path]) -> None:
    words = json.loads((takes["tokenizer"] / "tokenizer.json").read_text())
    assert cuts.found(words, takes["dataset"]).name == "gpt-2"
    # three digits together, as no rule that is known cuts them beside these letters
    cut = {"type": "Split", "pattern": {"Regex": r"\p{L}+|\p{N}{1,3}|\s+"}, "behavior": "Isolated", "invert": False}
    whole = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    other = {**words, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, whole]}}
    found = cuts.found(other, takes["dataset"])
    assert (found.name, bool(found.nearest)) == ("", True)
    assert 0 < found.different <= found.texts
    pieces = cuts.found({**words, "model": {**words["model"], "byte_fallback": True}}, takes["dataset"])
    assert (pieces.name, pieces.nearest) == ("", "")


@needs_llama
def test_a_text_that_does_not_fit_is_refused(takes: dict[str, Path], tmp_path: Path) -> None:
    runner = llama.opened(asked(written(takes, "f32", tmp_path), takes, tmp_path))
    with pytest.raises(Refusal, match="does not fit runner `gguf`, whose context is 128"):
        runner.generate(["word " * 300], 4)


def test_without_llama_cpp_it_is_unavailable(
    takes: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "llama_cpp", None)
    folder = written(takes, "f32", tmp_path)
    with pytest.raises(Unavailable) as caught:
        llama.opened(asked(folder, takes, tmp_path))
    assert caught.value.needs == "pip install 'kcompiler[run,llama]'"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"model_type": "phi"}, "a `phi` has no place in one"),
        ({"model_type": "mistral", "sliding_window": 64}, "its attention has a window (64)"),
        ({"rope_parameters": {"rope_type": "spiral"}}, "its rotary embedding is scaled (spiral)"),
        ({"num_hidden_layers": 1}, "has no place in one"),
        ({"num_hidden_layers": 3}, "is not what a"),
    ],
)
def test_what_no_file_can_say_is_refused(
    takes: dict[str, Path], tmp_path: Path, change: dict[str, object], said: str
) -> None:
    folder = tmp_path / "changed"
    folder.mkdir()
    config = json.loads((takes["checkpoint"] / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    (folder / "model.safetensors").write_bytes((takes["checkpoint"] / "model.safetensors").read_bytes())
    with pytest.raises(Refusal) as caught:
        written({**takes, "checkpoint": folder}, "f32", tmp_path)
    assert caught.value.code == "KR0221"
    assert said in caught.value.message
