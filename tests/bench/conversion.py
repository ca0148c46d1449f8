"""Memory of the export and the conversion of a model of random weights, over the bytes of its float16 package.

    python -m tests.bench.conversion [--size 300m|1b|tiny] [--steps export,convert] [--chunks 1 4 8] [--keep DIR]

A Llama whose float32 checkpoint is made here. Each step runs in a process of its own, as `apply` starts it; its memory
is looked at every 20 ms: `anonymous` is what only it holds and what must fit in memory, `resident` counts the pages of
files that it has mapped too, which the system takes back when it needs them. Both are beside what was there before.

Seen (two busy cores, `--size 1b`, float16 package of 2.2 GB, by the number of chunks; export reads the whole checkpoint):

    chunks    export anonymous  resident    convert anonymous  resident
         1          0.29          2.29            0.19           4.19
         4          0.28          2.28            0.18           1.54
         8          0.29          2.29            0.18           1.34
"""

from __future__ import annotations

import argparse
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, int]] = {
    "tiny": {"hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 4, "num_attention_heads": 4},
    "300m": {"hidden_size": 1024, "intermediate_size": 2816, "num_hidden_layers": 24, "num_attention_heads": 16},
    "1b": {"hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22, "num_attention_heads": 32},
}
VOCABULARY, CONTEXT, PREFILL = 32000, 128, [64]


def checkpoint(folder: Path, size: str) -> int:
    """Write a checkpoint of random weights; the number of its parameters."""
    import torch
    from safetensors.torch import save_file
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        **SIZES[size],
        vocab_size=VOCABULARY,
        num_key_value_heads=4,
        max_position_embeddings=2048,
        tie_word_embeddings=False,
        architectures=["LlamaForCausalLM"],
    )
    with torch.device("meta"):
        model = LlamaForCausalLM(config)
    folder.mkdir(parents=True, exist_ok=True)
    config.save_pretrained(folder)
    draw = torch.Generator().manual_seed(1)
    tensors = {
        name: torch.ones(p.shape) if "norm" in name else torch.empty(p.shape).normal_(0, 0.02, generator=draw)
        for name, p in model.named_parameters()
    }
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return sum(one.numel() for one in tensors.values())


class Watch(threading.Thread):
    """The largest memory of this process, by kind, since it was started."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most: dict[str, int] = {}
        self.first = self._now()

    @staticmethod
    def _now() -> dict[str, int]:
        lines = dict(
            line.split(":", 1)
            for line in Path("/proc/self/status").read_text().splitlines()
            if line.startswith("Rss") or line.startswith("VmRSS")
        )
        return {
            name: int(lines[key].split()[0]) * 1024 for name, key in (("anonymous", "RssAnon"), ("resident", "VmRSS"))
        }

    def run(self) -> None:
        while True:
            for name, size in self._now().items():
                self.most[name] = max(self.most.get(name, 0), size - self.first[name])
            time.sleep(0.02)


def step(name: str, root: Path, chunks: int) -> None:
    """Carry out one step on the folder of `main` and print what it took."""
    import coremltools as ct  # noqa: F401
    import torch

    from runtime.contract import program as contracts
    from runtime.contract.recipe import Recipe, Rule, Weights
    from runtime.mil.convert import convert
    from runtime.models import build, export
    from runtime.steps.convert import ConvertParams
    from runtime.steps.export import ExportParams
    from tests.tensor.export.world import Stage

    torch.set_num_threads(2)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    if name == "export":
        model = build.load(root / "checkpoint")
        (root / "program").mkdir(exist_ok=True)
        params = ExportParams(prefill=PREFILL, decode_context=CONTEXT, chunks=chunks)
        functions, _ = export.programs(model, params, root / "program", lambda _done, _name: None)
        sizes = export.heads_of(model)
        marks = dict.fromkeys(("template_sha256", "tokenizer_sha256", "model_sha256"), "0" * 64)
        state = dict(model.named_parameters())
        contract = contracts.Contract(
            stage="program",
            model_type="llama",
            vocab_size=VOCABULARY,
            functions=functions,
            kv_cache=contracts.Cache(
                layers=sizes["layers"], heads=sizes["heads"], head_dim=sizes["head_dim"], context=CONTEXT
            ),
            mask_value=-1e4,
            rotations={},
            special={},
            **marks,
            tensors=[
                contracts.Stored(name=n, aliases=a, shape=list(state[n].shape))
                for n, a in export.aliases_of(model).items()
            ],
            lint=contracts.Lint(violations=0),
        )
        (root / "program" / "contract.json").write_text(contracts.dump(contract))
    else:
        recipe = Recipe(default=Weights(weights="int8"), rules=[Rule(match="*norm*", weights="fp16")])
        stage = Stage(root, {})
        convert({"program": root / "program"}, ConvertParams(recipe=recipe, islands=["rms_norm"]), stage)
    print(json.dumps({"seconds": time.perf_counter() - start, **watch.most}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="300m")
    parser.add_argument("--steps", default="export,convert")
    parser.add_argument("--chunks", type=int, nargs="+", default=[1])
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        step(asked.step, asked.keep, *asked.chunks)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.keep or Path(scratch)
        weights = root / "checkpoint" / "model.safetensors"
        if not weights.exists():
            checkpoint(root / "checkpoint", asked.size)
        float16 = weights.stat().st_size / 2
        print(f"{asked.size}  float16 {float16 / 1e9:.3f} GB")
        for chunks, name in itertools.product(asked.chunks, asked.steps.split(",")):
            for folder in ("package", "float32") if name == "convert" else ("program",):
                shutil.rmtree(root / folder, ignore_errors=True)
            command = [sys.executable, "-m", "tests.bench.conversion", "--step", name, "--keep", str(root)]
            command += ["--chunks", str(chunks)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stderr=subprocess.DEVNULL)
            found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
            kinds = (
                f"{kind} {found[kind] / float16:.2f} ({found[kind] / 1e9:.2f} GB)" for kind in ("anonymous", "resident")
            )
            print(f"chunks {chunks}  {name:<8} {found['seconds']:.0f} s", *kinds, sep="  ", flush=True)


if __name__ == "__main__":
    main()
