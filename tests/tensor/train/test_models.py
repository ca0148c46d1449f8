"""Checkpoint folders: what we write any Transformers reads; what we read cannot run code nor be half a model."""

from __future__ import annotations

import json
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import MixtralConfig, MixtralForCausalLM

from runtime import digest
from runtime.contract import Refusal
from runtime.models import build
from runtime.models.importing import import_teacher
from runtime.steps.import_teacher import ImportTeacherParams
from tests.tensor.train import world
from tests.tensor.train.world import Stage

FAMILIES = ("llama", "mistral", "qwen2", "qwen3", "phi", "phi3", "gemma", "gemma2", "gemma3_text")
SPECIAL = {"pad": 0, "bos": 1, "eos": 2}


def saved(folder: Path, **changes: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    build.save(build.build(world.architecture(**changes), 3, SPECIAL), folder)
    return folder


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("tied", [True, False])
def test_saved_and_loaded_is_the_same_model(family: str, tied: bool, tmp_path: Path) -> None:
    model = build.build(world.architecture(family=family, tie_word_embeddings=tied), 3, SPECIAL)
    build.save(model, tmp_path)
    loaded = build.load(tmp_path)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, loaded(input_ids=ids).logits)
    assert build.count(loaded) == build.count(model)
    assert (loaded.training, loaded.dtype, loaded.config._attn_implementation) == (False, torch.float32, "eager")
    assert loaded.config.eos_token_id == 2


@pytest.mark.parametrize("family", FAMILIES)
def test_saving_gives_the_same_bytes_again(family: str, tmp_path: Path) -> None:
    first = saved(tmp_path / "a", family=family)
    (tmp_path / "b").mkdir()
    build.save(build.load(first, attention="sdpa"), tmp_path / "b")
    assert digest.of_folder(first) == digest.of_folder(tmp_path / "b")


def test_weights_are_a_function_of_architecture_and_seed() -> None:
    torch.manual_seed(1)
    first = build.build(world.architecture(), 3).state_dict()
    torch.manual_seed(2)
    second, other = build.build(world.architecture(), 3).state_dict(), build.build(world.architecture(), 4).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["model.embed_tokens.weight"], other["model.embed_tokens.weight"])


def test_a_tied_head_is_counted_and_stored_once(tmp_path: Path) -> None:
    tied, free = (build.build(world.architecture(tie_word_embeddings=tie), 3) for tie in (True, False))
    assert build.count(free) - build.count(tied) == world.VOCAB * 32
    build.save(tied, tmp_path)
    assert "lm_head.weight" not in load_file(tmp_path / build.WEIGHTS)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"num_key_value_heads": 3}, "4 query heads cannot share 3"),
        ({"num_attention_heads": 6, "num_key_value_heads": 2}, "hidden_size 32 is no multiple of 6"),
        ({"head_dim": 7}, "head width 7"),
        ({"family": "phi", "head_dim": 16}, "phi has no head_dim"),
        ({"family": "qwen2", "head_dim": 16}, "qwen2 has no head_dim"),
        ({"final_logit_softcapping": 30.0}, "a llama has no bound on its logits"),
    ],
)
def test_impossible_dimensions_are_refused(changes: dict[str, Any], message: str) -> None:
    """Defect D8 of the origin: 28 heads with 8 key/value heads."""
    with pytest.raises(Refusal, match=message):
        build.build(world.architecture(**changes), 1)


def test_a_special_id_outside_the_vocabulary_is_refused() -> None:
    """Defect D12 of the origin clamps such ids silently."""
    with pytest.raises(Refusal, match="eos token 288 lies outside a vocabulary of 288"):
        build.config(world.architecture(), {"eos": world.VOCAB})


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def a_pickle(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({}))


def code(folder: Path) -> None:
    change_config(folder, auto_map={"AutoModelForCausalLM": "evil.Model"})


def quantized(folder: Path) -> None:
    change_config(folder, quantization_config={"quant_method": "gptq"})


def unknown_family(folder: Path) -> None:
    change_config(folder, model_type="nobody-knows-this")


def not_json(folder: Path) -> None:
    (folder / "config.json").write_text("{", encoding="utf-8")


def cut_short(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def wider_than_weights(folder: Path) -> None:
    change_config(folder, hidden_size=64)


def deeper_than_weights(folder: Path) -> None:
    change_config(folder, num_hidden_layers=3)


def shallower_than_weights(folder: Path) -> None:
    change_config(folder, num_hidden_layers=1)


def not_finite(folder: Path) -> None:
    tensors = load_file(folder / "model.safetensors")
    tensors["model.norm.weight"][3] = float("nan")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def change_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes), encoding="utf-8")


BROKEN: list[tuple[Callable[[Path], None], str]] = [
    (no_config, "no config.json"),
    (no_weights, "no weights"),
    (a_pickle, "pickled files.*pytorch_model.bin"),
    (code, "asks for code of its own"),
    (quantized, "quantized weights"),
    (unknown_family, "cannot load a `nobody-knows-this`"),
    (not_json, "not JSON"),
    (cut_short, "not a safetensors file"),
    (wider_than_weights, "do not fill the model: mismatched_keys lm_head.weight|mismatched_keys model"),
    (deeper_than_weights, "do not fill the model: missing_keys"),
    (shallower_than_weights, "do not fill the model: unexpected_keys"),
    (not_finite, "model.norm.weight is not finite"),
]


@pytest.mark.parametrize(("breaks", "message"), BROKEN, ids=[breaks.__name__ for breaks, _ in BROKEN])
def test_a_folder_that_cannot_be_trusted_is_refused(
    breaks: Callable[[Path], None], message: str, tmp_path: Path
) -> None:
    folder = saved(tmp_path / "model")
    breaks(folder)
    with pytest.raises(Refusal, match=message):
        build.load(folder)


def test_an_import_is_a_checkpoint_of_the_same_model(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tie_word_embeddings=False)
    takes = {"model": folder}
    stage = Stage(tmp_path / "out", takes)
    import_teacher(takes, ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=world.VOCAB), stage)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        theirs, ours = (build.load(place)(input_ids=ids).logits for place in (folder, stage.root / "checkpoint"))
    assert torch.equal(theirs, ours)
    data = stage.reports["report"]["data"]
    assert (data["family"], data["stored_types"]) == ("llama", ["F32"])
    assert data["parameters"]["value"] == build.count(build.load(folder))


def test_an_import_in_bfloat16_is_rounded_once_and_kept_so(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model", tie_word_embeddings=False)
    takes = {"model": folder}
    params = ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=world.VOCAB, dtype="bf16")
    stage = Stage(tmp_path / "out", takes)
    import_teacher(takes, params, stage)
    out = stage.root / "checkpoint"
    before, after = build.load(folder).state_dict(), build.load(out).state_dict()
    assert {str(kind) for kind in before} == {str(kind) for kind in after}
    for name, tensor in after.items():
        assert torch.equal(tensor, before[name].to(torch.bfloat16).float()), name
    assert (build.held(folder), build.held(out)) == (torch.float32, torch.bfloat16)
    assert build.load(out, dtype=build.held(out)).dtype == torch.bfloat16
    data = stage.reports["report"]["data"]
    assert data["held_as"] == "bf16"
    changed = sum(int((tensor != before[name]).sum()) for name, tensor in after.items())
    assert (data["rounded"]["k"], data["rounded"]["n"]) == (changed, build.count(build.load(folder)))
    assert changed > data["rounded"]["n"] // 2
    # what is in bfloat16 already loses nothing
    again = Stage(tmp_path / "again", {"model": out})
    params = ImportTeacherParams(revision=digest.of_folder(out), vocab_size=world.VOCAB, dtype="bf16")
    import_teacher({"model": out}, params, again)
    assert again.reports["report"]["data"]["rounded"]["k"] == 0


def mixture(folder: Path) -> MixtralForCausalLM:
    """A tiny mixture of experts, stored one expert at a time and in half precision, as the Hub has them."""
    torch.manual_seed(5)
    config = MixtralConfig(
        vocab_size=world.VOCAB,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        num_local_experts=4,
        num_experts_per_tok=2,
    )
    model = MixtralForCausalLM(config).to(torch.bfloat16).eval()
    model.save_pretrained(folder, max_shard_size="40KB")
    return model


def test_a_mixture_of_experts_becomes_a_checkpoint_of_the_same_model(tmp_path: Path) -> None:
    """What teaches the workers and judges of the role library is a Mixtral."""
    folder = tmp_path / "model"
    theirs = mixture(folder).float()
    takes = {"model": folder}
    stage = Stage(tmp_path / "out", takes)
    import_teacher(takes, ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=world.VOCAB), stage)
    ids = torch.arange(3, 20)[None]
    with torch.no_grad():
        expected, found = (
            model(input_ids=ids).logits for model in (theirs, build.load(stage.root / "checkpoint").float())
        )
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)
    data = stage.reports["report"]["data"]
    assert (data["family"], data["stored_types"]) == ("mixtral", ["BF16"])
    assert data["parameters"]["value"] == build.count(theirs)


@pytest.mark.parametrize("lost", [("w1",), ("w2",), ("w1", "w2", "w3")])
def test_a_mixture_that_lacks_an_expert_is_refused(lost: tuple[str, ...], tmp_path: Path) -> None:
    mixture(tmp_path)
    gone = 0
    for path in tmp_path.glob("*.safetensors"):
        tensors = load_file(path)
        kept = {
            name: tensor for name, tensor in tensors.items() if not re.search(rf"experts\.3\.({'|'.join(lost)})", name)
        }
        gone += len(tensors) - len(kept)
        save_file(kept, path, metadata={"format": "pt"})
    assert gone == 2 * len(lost)
    with pytest.raises(Refusal, match=r"do not fill the model: mismatched_keys model\.layers|cannot load a `mixtral`"):
        build.load(tmp_path)


def test_half_precision_and_shards_become_one_float32_file(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    model = build.build(world.architecture(tie_word_embeddings=False), 3, SPECIAL).to(torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="40KB")
    assert len(list(folder.glob("*.safetensors"))) > 1
    takes = {"model": folder}
    stage = Stage(tmp_path / "out", takes)
    import_teacher(takes, ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=world.VOCAB), stage)
    tensors = load_file(stage.root / "checkpoint" / build.WEIGHTS)
    assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
    assert stage.reports["report"]["data"]["stored_types"] == ["BF16"]


def test_an_import_of_other_bytes_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    pinned = digest.of_folder(folder)
    change_config(folder, rope_theta=9999.0)
    with pytest.raises(Refusal, match=f"the spec pins {pinned}"):
        import_teacher(
            {"model": folder},
            ImportTeacherParams(revision=pinned, vocab_size=world.VOCAB),
            Stage(tmp_path / "out", {"model": folder}),
        )


def test_an_import_with_another_vocabulary_is_refused(tmp_path: Path) -> None:
    folder = saved(tmp_path / "model")
    with pytest.raises(Refusal, match="vocabulary is 288, the spec says 512"):
        import_teacher(
            {"model": folder},
            ImportTeacherParams(revision=digest.of_folder(folder), vocab_size=512),
            Stage(tmp_path / "out", {"model": folder}),
        )
