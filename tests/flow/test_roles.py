"""A spec of the role library with its sizes made tiny, and all else as shipped, is applied: a mixture of experts comes
from a hub at its pinned commit, brings its tokenizer, and teaches a worker and a judge token by token."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import MixtralConfig, MixtralForCausalLM

from kcompiler.facts.models import total
from runtime import catalog
from runtime.contract.architecture import Architecture
from tests.flow.world import ROOT, kcompiler
from tests.longer import also
from tests.unit.runtime.data.hub import COMMIT, serving

REPOSITORY = "mistralai/Mixtral-8x7B-Instruct-v0.1"
VOCAB = 384
SIZES: Mapping[str, Any] = {
    "family": "llama",
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "tie_word_embeddings": False,
}


def texts(data: Mapping[str, Any], root: Path) -> list[str]:
    """What the generator of a spec's only source writes."""
    source = data["sources"][0]
    generator = catalog.load("generators", source["generator"])
    tools = json.loads((root / "specs" / data["tools"]).read_text(encoding="utf-8")) if "tools" in data else []
    made = generator.rows(generator.params(**source["params"]), tools, 1)
    return [f"{row['prompt']}{row['response']}" for row in made[:400]]


def mixture(folder: Path, written: list[str]) -> tuple[dict[str, bytes], int]:
    """The files of a tiny mixture of experts as the Hub would have them, and its number of parameters."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    special = [AddedToken(token, special=True) for token in ("<unk>", "<s>", "</s>")]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCAB, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    backend.train_from_iterator(written, trainer)
    folder.mkdir()
    backend.save(str(folder / "tokenizer.json"))
    torch.manual_seed(2)
    sizes = {key: value for key, value in SIZES.items() if key != "family"}
    model = MixtralForCausalLM(MixtralConfig(vocab_size=VOCAB, num_local_experts=4, num_experts_per_tok=2, **sizes))
    with torch.no_grad():
        model.lm_head.weight *= 30  # opinions: the logits of fresh weights say nothing that could be learned
    model.to(torch.bfloat16).save_pretrained(folder)
    (folder / "modeling_mixtral.py").write_text("raise SystemExit('never run')\n", encoding="utf-8")
    files = {path.name: path.read_bytes() for path in folder.iterdir()}
    return files, sum(parameter.numel() for parameter in model.parameters())


def shrink(name: str, root: Path, source: Mapping[str, Any], training: int, lengths: list[int]) -> dict[str, bytes]:
    """Writes the project; returns the files of its teacher. Only sizes, rows, steps and lengths differ from what is
    shipped, and the decisions about them are left out."""
    shutil.copytree(ROOT / "specs/tools", root / "specs/tools")
    (root / ".kcompiler").mkdir()
    (root / "specs/fragments").mkdir()
    spec = yaml.safe_load((ROOT / f"specs/{name}.yaml").read_text(encoding="utf-8"))
    spec["data"]["sources"][0]["params"] = dict(source)
    files, parameters = mixture(root / "published", texts(spec["data"], root))
    mixtral = (ROOT / "specs/fragments/mixtral.yaml").read_text(encoding="utf-8")
    for before, after in (
        (r"revision: \w+", f"revision: {COMMIT}"),
        (r"parameters: [\d_]+", f"parameters: {parameters}"),
        (r"vocab_size: \d+", f"vocab_size: {VOCAB}"),
    ):
        mixtral, count = re.subn(before, after, mixtral)
        assert count == 1
    (root / "specs/fragments/mixtral.yaml").write_text(mixtral, encoding="utf-8")
    spec["include"][0]["sha256"] = hashlib.sha256(mixtral.encode()).hexdigest()
    shutil.copy(ROOT / "specs/fragments/trained-on-m3-ultra.yaml", root / "specs/fragments")
    spec["student"]["architecture"] = dict(SIZES)
    spec["student"]["parameters"] = total(Architecture(vocab_size=VOCAB, **SIZES))
    stage = spec["training"]["stages"][0]
    stage |= {
        "steps": training,
        "batch_size": 8,
        "gradient_norms_every": 8,
        "optimizer": {"learning_rate": 5.0e-3, "warmup_steps": 4},
    }
    spec["shapes"] |= {"prefill": lengths, "decode": {"context": lengths[-1]}}
    spec["execution"] = {"threads": 2, "device": "cpu"}
    spec["hardware"].pop("declared")
    spec["hardware"]["targets"] |= {"at_context": lengths[-1]}
    spec["metadata"]["name"] = "small"
    spec.pop("decisions")
    (root / "specs/small.yaml").write_text(yaml.safe_dump(spec, sort_keys=False), encoding="utf-8")
    return files


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "lengths", "suite"),
    [
        also("worker-7b", {"rows": 3100}, [128, 256], "tool_use"),
        also("judge-3b", {"rows": 1500}, [128, 256], "judge"),
    ],
)
def test_a_shipped_role_runs_from_the_hub_to_the_verdict(
    name: str, source: dict[str, Any], lengths: list[int], suite: str, tmp_path: Path
) -> None:
    root = tmp_path / "project"
    root.mkdir()
    files = shrink(name, root, source, 40, lengths)
    with serving(files, REPOSITORY) as hub:
        result = kcompiler("apply", "specs/small.yaml", cwd=root, env={"HF_ENDPOINT": hub.url}, timeout=500)
    # a student of 40,000 parameters after 40 steps does not reach a worker's floors: the run is sound, the verdict a no
    result.ended(1, "fail")
    assert set(result.steps().values()) == {"committed"}
    assert {"fetch-teacher", "teacher", f"evaluate-{suite}"} <= set(result.steps())
    assert not [path for path in hub.asked if path.endswith(".py")]
    reports = root / "generated/small/evidence/reports"
    teacher = json.loads((reports / "teacher.json").read_text(encoding="utf-8"))["data"]
    assert (teacher["family"], teacher["revision"]) == ("mixtral", COMMIT)
    curve = json.loads((reports / "train-kd.json").read_text(encoding="utf-8"))["data"]["terms"]["kl"]["curve"]
    assert curve[-1]["value"]["value"] < curve[0]["value"]["value"]
    verdict = json.loads((reports.parent / "verdict.json").read_text(encoding="utf-8"))
    blocked = {outcome["rule"] for outcome in verdict["outcomes"] if outcome["blocks"]}
    assert blocked
    assert all(rule.startswith("roles/") for rule in blocked), blocked
    kcompiler("audit", "specs/small.yaml", cwd=root).ended(0, "")
