"""A GGUF file becomes a Transformers folder that is the same model and the same tokenizer, or the step refuses it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("torch")
if importlib.util.find_spec("gguf") is None:
    pytest.skip("needs pip install '.[gguf]'", allow_module_level=True)

import torch
from transformers import AutoTokenizer, LlamaConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from kcompiler.policy import evidence
from runtime import digest
from runtime.contract import Refusal, gguf_model
from runtime.models import build, unpacking
from runtime.models.importing import import_teacher
from runtime.models.unpacking import read_gguf
from runtime.steps.import_teacher import ImportTeacherParams
from runtime.steps.read_gguf import ReadGgufParams
from tests import gguf_files as made
from tests.tensor.export.world import Stage

pytestmark = pytest.mark.tensor
#: the part of a report that the machine writes
HARDWARE = {"machine": "x86_64", "processor": "any", "processors": 2, "system": "Linux"}
ENVIRONMENT = {"backend": "gguf", "forged": False, "hardware": HARDWARE, "python": "3.11.7", "versions": {}}


def folder(tmp_path: Path, data: bytes) -> tuple[Path, Stage]:
    path = tmp_path / "it.gguf"
    path.write_bytes(data)
    stage = Stage(tmp_path / "out", {"file": path})
    read_gguf({"file": path}, ReadGgufParams(revision=digest.of_file(path)), stage)
    return stage.out("folder"), stage


def refused(tmp_path: Path, data: bytes) -> Refusal:
    with pytest.raises(Refusal) as caught:
        folder(tmp_path, data)
    assert caught.value.action
    return caught.value


@pytest.mark.parametrize("architecture", gguf_model.FAMILIES)
def test_the_folder_is_a_model_that_computes(architecture, tmp_path):
    out, stage = folder(tmp_path, made.small(architecture))
    model = build.load(out)
    assert gguf_model.WRITTEN[model.config.model_type] == architecture
    weights = {name: tensor for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    stored = made.shapes(architecture)
    assert sum(tensor.numel() for tensor in weights.values()) == sum(
        torch.Size(shape).numel() for shape in stored.values()
    )
    one = made.floats("blk.1.ffn_down.weight", 32 * 64)
    assert weights["model.layers.1.mlp.down_proj.weight"].numpy().tobytes() == one
    assert torch.isfinite(model(torch.tensor([[1, 5, 9]])).logits).all()
    data = stage.reports["report"]["data"]
    assert data["parameters"]["value"] == build.count(model)
    assert {name: one["value"] for name, one in data["stored_types"].items()} == {"F32": len(stored)}
    whole = {**stage.reports["report"], "kind": "weights.gguf", "environment": ENVIRONMENT}
    assert evidence.read(whole).problem == ""
    assert data["tree"] == digest.of_folder(out)


def test_it_can_be_imported_like_any_folder(tmp_path):
    out, _ = folder(tmp_path, made.small())
    stage = Stage(tmp_path / "import", {"model": out})
    import_teacher({"model": out}, ImportTeacherParams(revision=f"file:sha256:{'0' * 64}", vocab_size=267), stage)
    whole = {**stage.reports["report"], "kind": "teacher.import", "environment": {**ENVIRONMENT, "backend": "torch"}}
    assert evidence.read(whole).problem == ""
    assert build.count(build.load(stage.out("checkpoint"))) == gguf_model.read(tmp_path / "it.gguf").parameters


@pytest.mark.parametrize("architecture", ["llama", "qwen2"])
def test_weights_are_those_that_transformers_reads(architecture, tmp_path):
    """The library's own reader, where it can be asked: the same tensors under the same names. Of a Qwen3 it takes heads to
    be 128 wide, whatever the file states, so that a small one cannot be asked for."""
    pytest.importorskip("accelerate", reason="needs pip install accelerate")
    from transformers import AutoModelForCausalLM, GgufConfig

    out, _ = folder(tmp_path, made.small(architecture))
    theirs = AutoModelForCausalLM.from_pretrained(
        tmp_path, gguf_file="it.gguf", quantization_config=GgufConfig(dequantize=True), dtype=torch.float32
    )
    ours, other = build.load(out).state_dict(), theirs.state_dict()
    assert ours.keys() == other.keys()
    for name, tensor in ours.items():
        assert torch.equal(tensor, other[name]), name


@pytest.mark.parametrize("factor", [8.0, 32.0])
def test_the_scaled_rotation_of_llama_3_is_the_librarys(factor, tmp_path):
    """llama.cpp divides a file's frequencies by these numbers; Transformers computes the same frequencies by its rule."""
    rule = {"rope_type": "llama3", "rope_theta": 5e5, "factor": factor, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192}  # fmt: skip
    config = LlamaConfig(hidden_size=32, num_attention_heads=4, head_dim=8, rope_parameters=rule)
    plain = 5e5 ** (-torch.arange(0, 8, 2, dtype=torch.float64) / 8)
    divisors = (plain / ROPE_INIT_FUNCTIONS["llama3"](config, torch.device("cpu"))[0].double()).float()
    shapes = {**made.shapes(), "rope_freqs.weight": (4,)}
    stored = {"rope_freqs.weight": divisors.numpy().tobytes()}
    out, _ = folder(tmp_path, made.written(made.keys(llama__rope__freq_base=5e5), shapes, contents=stored))
    model = build.load(out)
    assert torch.allclose(plain / model.model.rotary_emb.inv_freq.double(), divisors.double(), rtol=1e-6)


def test_rows_of_a_head_are_put_in_halves(tmp_path):
    path = tmp_path / "it.gguf"
    path.write_bytes(made.small())
    weight = next(w for w in gguf_model.read(path).weights if w.name == "model.layers.0.self_attn.k_proj.weight")
    stored = torch.frombuffer(bytearray(made.floats("blk.0.attn_k.weight", 16 * 32)), dtype=torch.float32).view(16, 32)
    order = [0, 2, 4, 6, 1, 3, 5, 7, 8, 10, 12, 14, 9, 11, 13, 15]
    assert torch.equal(unpacking.tensor_of(path, weight), stored[order])


def test_a_large_file_is_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(unpacking, "PART", 20_000)
    monkeypatch.setattr(unpacking.parts, "__defaults__", (20_000,))
    out, _ = folder(tmp_path, made.small())
    index = json.loads((out / unpacking.INDEX).read_text(encoding="utf-8"))
    assert len(set(index["weight_map"].values())) > 3
    parted = build.load(out).state_dict()
    monkeypatch.undo()
    (tmp_path / "whole").mkdir()
    whole, _ = folder(tmp_path / "whole", made.small())
    for name, tensor in build.load(whole).state_dict().items():
        assert torch.equal(tensor, parted[name]), name


def test_transformers_reads_tokenizer_and_template(tmp_path):
    out, _ = folder(tmp_path, made.small())
    tokenizer = AutoTokenizer.from_pretrained(out)
    assert (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id) == (1, 2, 0)
    spelled = tokenizer.apply_chat_template([{"role": "user", "content": "hello  w"}], tokenize=False)
    assert spelled == "<|im_start|>user\nhello  w<|im_end|>\n"
    ids = tokenizer(spelled).input_ids
    assert ids[0] == 1
    assert made.TOKENS.index("hello") in ids
    assert tokenizer.decode(ids) == spelled
    # a number is cut into digits before anything is merged
    assert made.TOKENS.index("12") not in tokenizer("12").input_ids


def test_a_sentencepiece_file_has_its_ids_and_its_text_back(tmp_path):
    out, stage = folder(tmp_path, made.pieced())
    tokenizer = AutoTokenizer.from_pretrained(out)
    pieces = made.PIECES.index
    assert tokenizer("hello").input_ids == [1, pieces("▁hello")]
    # two spaces meet, and a character without a piece is spelled in bytes
    ids = tokenizer("hello  hell é[INST]", add_special_tokens=False).input_ids
    spelled = [pieces("<0xC3>"), pieces("<0xA9>")]
    assert ids == [pieces("▁hello"), pieces("▁▁"), pieces("hell"), pieces("▁"), *spelled, pieces("[INST]")]
    assert tokenizer.decode(ids) == "hello  hell é[INST]"
    assert stage.reports["report"]["data"]["cut"] == "none"
    assert evidence.read({**stage.reports["report"], "kind": "weights.gguf", "environment": ENVIRONMENT}).problem == ""


def test_another_file_than_the_pinned_one(tmp_path):
    path = tmp_path / "it.gguf"
    path.write_bytes(made.small())
    with pytest.raises(Refusal, match="the spec pins"):
        read_gguf(
            {"file": path}, ReadGgufParams(revision="sha256:" + "0" * 64), Stage(tmp_path / "out", {"file": path})
        )


def test_a_broken_file_is_refused(tmp_path):
    assert refused(tmp_path, made.small()[:-1]).code == "KR0142"


def test_a_file_that_cannot_be_carried_over_is_refused(tmp_path):
    assert refused(tmp_path, made.written({"general.architecture": "mamba"})).code == "KR0143"


def test_weights_that_are_not_finite_are_refused(tmp_path):
    data = bytearray(made.small())
    data[-4:] = b"\0\0\xc0\x7f"
    assert "not finite" in refused(tmp_path, bytes(data)).message
