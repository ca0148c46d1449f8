"""An export is a function of its checkpoint: same bytes, its own config, nothing of the machine, and it computes."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import jsonschema
import pytest
import torch
from safetensors.torch import load_file

from runtime import digest
from runtime.contract import BrokenEvidence, Refusal
from runtime.contract import program as contracts
from runtime.models import build, fxlint
from runtime.models import tokenizer as tokenizers
from runtime.models.export import export
from runtime.steps.export import ExportParams
from tests.longer import longer
from tests.tensor.export.conftest import PARAMS, Exported
from tests.tensor.export.world import ROTATIONS, Stage, architecture, checkpoint, world

SCHEMA = Path(__file__).parents[3] / "schemas" / "contract.schema.json"


@longer  # tests/tensor/coreml/test_reproduce.py asks another process
def test_two_exports_of_one_checkpoint_are_the_same_bytes(exported: Exported, tmp_path: Path) -> None:
    again = Stage(tmp_path, exported.takes)
    export(exported.takes, PARAMS, again)
    for port in ("program", "goldens", "report"):
        assert digest.of_folder(tmp_path / port) == digest.of_folder(exported.stage.root / port), port


def test_a_program_holds_no_pickle_and_no_path(exported: Exported) -> None:
    files = sorted(exported.program.glob("*.pt2"))
    assert [path.stem for path in files] == ["decode", "prefill_16", "prefill_64"]
    for path in files:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                held = archive.read(name)
                # raw weights are bytes of floats; everything else is text
                if "/weights/weight_" in name or "/constants/tensor_" in name:
                    continue
                assert b"stack_trace" not in held, name
                assert b"site-packages" not in held, name
                assert b".py" not in held, name
                assert not held.startswith(b"\x80"), f"{name} is a pickle"
            configs = [name for name in archive.namelist() if name.endswith("_config.json")]
            assert configs
            for name in configs:
                entries = json.loads(archive.read(name))["config"].values()
                assert all(entry["use_pickle"] is False for entry in entries), name


def test_the_contract_tells_the_checkpoints_own_config(exported: Exported) -> None:
    contract = contracts.load(exported.program)
    config = json.loads((exported.takes["checkpoint"] / "config.json").read_text())
    assert contract.vocab_size == config["vocab_size"]
    assert contract.kv_cache.layers == config["num_hidden_layers"]
    assert contract.kv_cache.heads == config["num_key_value_heads"]
    assert contract.kv_cache.head_dim == config["hidden_size"] // config["num_attention_heads"]
    assert contract.kv_cache.context == PARAMS.decode_context
    plain = contracts.Rotation(parameters={"rope_type": "default", "rope_theta": 10000.0}, exact_to=256)
    assert contract.rotations == {"all": plain}
    assert contract.model_sha256 == digest.of_folder(exported.takes["checkpoint"]).removeprefix("sha256:")
    assert contract.prefills() == [("prefill_16", 16), ("prefill_64", 64)]
    tied = next(tensor for tensor in contract.tensors if tensor.aliases)
    assert (tied.name, tied.aliases, tied.shape) == ("model.embed_tokens.weight", ["lm_head.weight"], [512, 128])


@longer
def test_another_config_gives_another_contract(tmp_path: Path) -> None:
    """Nothing in the contract is a default: another model with other sizes tells its own."""
    takes = world(tmp_path)
    words = tokenizers.load(takes["tokenizer"])
    special = {"pad": words.pad_id, "bos": words.bos_id, "eos": words.eos_id}
    sizes = {"num_hidden_layers": 2, "num_key_value_heads": 4, "head_dim": 24, "tie_word_embeddings": False}
    shape = architecture("qwen3", **sizes, rope_scaling=ROTATIONS["yarn"])
    takes["checkpoint"] = checkpoint(tmp_path / "other", shape, special)
    stage = Stage(tmp_path / "out", takes)
    export(takes, ExportParams(prefill=[32], decode_context=40, decode_steps=2, golden_prompts=1, threads=1), stage)
    contract = contracts.load(stage.root / "program")
    assert (contract.model_type, contract.kv_cache.layers, contract.kv_cache.heads) == ("qwen3", 2, 4)
    assert contract.kv_cache.head_dim == 24
    assert contract.functions["decode"].inputs[2].shape == [2, 4, 40, 24]
    assert contract.rotations["all"].parameters == {**ROTATIONS["yarn"], "rope_theta": 10000.0}
    assert contract.rotations["all"].exact_to == 256
    assert not any(tensor.aliases for tensor in contract.tensors)


def test_the_contract_obeys_the_published_schema_and_the_schema_is_the_models_own(exported: Exported) -> None:
    schema = json.loads(SCHEMA.read_text())
    assert schema == contracts.schema()
    value = json.loads((exported.program / "contract.json").read_text())
    jsonschema.Draft202012Validator(schema).validate(value)
    del value["kv_cache"]["context"]
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(schema).validate(value)


def test_a_changed_contract_is_broken_evidence(exported: Exported, tmp_path: Path) -> None:
    value = json.loads((exported.program / "contract.json").read_text())
    (tmp_path / "contract.json").write_text(json.dumps(value | {"surprise": 1}))
    with pytest.raises(BrokenEvidence):
        contracts.load(tmp_path)


def test_a_saved_program_computes_the_golden_vectors(exported: Exported) -> None:
    contract, goldens = contracts.load(exported.program), load_file(exported.goldens / "goldens.safetensors")
    index = json.loads((exported.goldens / "goldens.json").read_text())["functions"]
    for name, length in contract.prefills():
        run = torch.export.load(exported.program / f"{name}.pt2").module()
        for case in index[name]:
            at = f"{name}/{case['case']}"
            found = run(goldens[f"{at}/input_ids"], goldens[f"{at}/attention_mask"])
            assert found[0].shape == (1, length, contract.vocab_size)
            real = case["length"]
            assert (found[0][:, :real] - goldens[f"{at}/logits"]).abs().max() < 1e-3
            assert (found[1][:, :, :real] - goldens[f"{at}/keys"]).abs().max() < 1e-3


def test_the_saved_graph_is_clean_and_names_its_islands(exported: Exported) -> None:
    contract = contracts.load(exported.program)
    assert contract.lint.violations == 0
    data = exported.stage.reports["report"]["data"]
    assert data["violations"]["value"] == 0
    assert data["violations"]["n"] == sum(item["nodes"]["value"] for item in data["functions"]) > 500
    for name, function in contract.functions.items():
        program = torch.export.load(exported.program / f"{name}.pt2")
        assert fxlint.lint(program) == []
        modules = function.modules["rms_norm"]
        assert len(modules) == 2 * 3 + 1
        targets = {node.name: str(node.target) for node in program.graph.nodes}
        for nodes in modules.values():
            kinds = [targets[node] for node in nodes]
            assert kinds == [
                "aten.pow.Tensor_Scalar",
                "aten.mean.dim",
                "aten.add.Tensor",
                "aten.rsqrt.default",
                "aten.mul.Tensor",
            ]
        # what attention gives and what the MLP gives, nothing of what is within them
        assert [len(nodes) for nodes in function.modules["residual"].values()] == [2] * 3
        assert {targets[node] for nodes in function.modules["residual"].values() for node in nodes} == {
            "aten.add.Tensor"
        }
        assert set(function.parameters.values()) == {tensor.name for tensor in contract.tensors}


def test_the_report_carries_every_fingerprint(exported: Exported) -> None:
    marks = exported.stage.reports["report"]["fingerprints"]
    assert sorted(marks) == ["dataset", "model", "prompt_wrapper", "tokenizer", "tool_registry"]


def test_a_dataset_without_a_test_split_is_refused(exported: Exported, tmp_path: Path) -> None:
    takes = dict(exported.takes) | {"dataset": tmp_path}
    with pytest.raises(Refusal, match="test split"):
        export(takes, PARAMS, Stage(tmp_path / "out", exported.takes))


def test_weights_beyond_float16_are_a_lint_violation(exported: Exported, tmp_path: Path) -> None:
    model = build.load(exported.takes["checkpoint"])
    with torch.no_grad():
        model.get_decoder().layers[0].mlp.up_proj.weight[0, 0] = 1e6
    (tmp_path / "checkpoint").mkdir()
    build.save(model, tmp_path / "checkpoint")
    takes = dict(exported.takes) | {"checkpoint": tmp_path / "checkpoint"}
    stage = Stage(tmp_path / "out", takes)
    export(takes, ExportParams(prefill=[32], decode_context=40, decode_steps=1, golden_prompts=1, threads=1), stage)
    data = stage.reports["report"]["data"]
    assert data["violations"]["value"] == 2
    assert data["rules"]["FX-FINITE"]["value"] == 2
    assert "up_proj" in data["functions"][0]["findings"][0]["node"]
