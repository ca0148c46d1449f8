"""Memory of the probes, the golden vectors and the verification of a model of random weights, by its prefill lengths.

    python -m tests.bench.verification [--size tiny|135m] [--lengths 512 | --lengths 64,128,256,512 512] [--chunks 1]

A Llama of the shape of SmolLM2-135M (49,152 tokens: the logits of 512 positions are 101 MB in float32), its packages and
its vectors are made here. Each step runs in a process of its own, as `apply` starts it, and its memory is looked at
every 20 ms, as in `tests.bench.conversion`; `anonymous` is what only it holds. Printed is it over the bytes of the
float16 package, and over one array of float32 logits of the longest prefill. More lengths must not cost more.

Seen (`--size 135m --lengths 512`, package of 0.27 GB): probe 1.9 packages = 5.0 × logits, export with its golden
vectors 1.7 = 4.6, convert 0.8, verify 4.0 = 10.7 (5.4 = 14.4 when logits were compared in float64 as a whole). Of the
tiny size 32,64 costs what 64 alone does: 16.7 and 17.0 × logits in verify.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "tiny": {"hidden_size": 128, "intermediate_size": 352, "num_hidden_layers": 2, "vocab_size": 8192},
    "135m": {
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
    },
}
STEPS = ("probe", "export", "convert", "verify")
CONTEXT = 640


def made(root: Path, size: str) -> None:
    """Rows, tokenizer and checkpoint below `root`."""
    from tests.tensor.export.world import world

    world(root, max_position_embeddings=1024, tie_word_embeddings=True, **SIZES[size])


def step(name: str, root: Path, lengths: list[int], chunks: int) -> None:
    """Carry out one step on the folder of `main` and print what it took."""
    import coremltools as ct  # noqa: F401
    import torch

    from runtime.contract.recipe import Recipe, Rule, Weights
    from runtime.mil import convert, verify
    from runtime.models import export, probes
    from runtime.steps.convert import ConvertParams
    from runtime.steps.export import ExportParams
    from runtime.steps.probe import ProbeParams
    from runtime.steps.verify import VerifyParams
    from tests.bench.conversion import Watch
    from tests.tensor.export.world import Stage

    torch.set_num_threads(1)
    recipe = Recipe(default=Weights(weights="int8"), rules=[Rule(match="*norm*", weights="fp16")])
    takes = {port: root / port for port in ("dataset", "tokenizer", "checkpoint")}
    if name in ("convert", "verify"):
        takes |= {"program": root / "program", "goldens": root / "goldens"}
    if name == "verify":
        takes |= {"package": root / "package", "float32": root / "float32"}
    asked: dict[str, Any] = {"golden_prompts": 1, "decode_steps": 2}
    stage = Stage(root, takes)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    match name:
        case "probe":
            probes.probe(takes, ProbeParams(lengths=lengths, decode_context=CONTEXT, threads=1), stage)
        case "export":
            params = ExportParams(prefill=lengths, decode_context=CONTEXT, chunks=chunks, threads=1, **asked)
            export.export(takes, params, stage)
        case "convert":
            convert.convert(takes, ConvertParams(recipe=recipe, islands=["rms_norm"]), stage)
        case "verify":
            layers = json.loads((takes["checkpoint"] / "config.json").read_text())["num_hidden_layers"]
            covering = {"prefill": lengths, "decode_context": CONTEXT, "layers": layers, **asked}
            params = VerifyParams(recipe=recipe, islands=["rms_norm"], chunks=chunks, **covering)
            verify.verify(takes, params, stage)
    print(json.dumps({"seconds": time.perf_counter() - start, **watch.most}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="135m")
    parser.add_argument("--lengths", nargs="+", default=["512", "64,128,256,512"])
    parser.add_argument("--chunks", type=int, default=1)
    parser.add_argument("--steps", default=",".join(STEPS))
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--step", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.step:
        step(asked.step, asked.keep, [int(one) for one in asked.lengths[0].split(",")], asked.chunks)
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = asked.keep or Path(scratch)
        weights = root / "checkpoint" / "model.safetensors"
        if not weights.exists():
            made(root, asked.size)
        float16 = weights.stat().st_size / 2
        print(f"{asked.size}  float16 {float16 / 1e9:.3f} GB")
        for lengths in asked.lengths:
            longest = max(int(one) for one in lengths.split(","))
            logits = 4 * longest * SIZES[asked.size]["vocab_size"]
            for name in asked.steps.split(","):
                _emptied(root, name)
                command = [sys.executable, "-m", "tests.bench.verification", "--step", name, "--keep", str(root)]
                command += ["--lengths", lengths, "--chunks", str(asked.chunks)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, stderr=subprocess.DEVNULL)
                found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
                held = found["anonymous"]
                print(
                    f"{lengths:<15} {name:<8} {found['seconds']:.0f} s",
                    f"anonymous {held / 1e9:.2f} GB = {held / float16:.2f} packages = {held / logits:.1f} × logits",
                    f"resident {found['resident'] / 1e9:.2f} GB",
                    sep="  ",
                    flush=True,
                )


def _emptied(root: Path, name: str) -> None:
    import shutil

    for folder in {"export": ("program", "goldens"), "convert": ("package", "float32")}.get(name, ()):
        shutil.rmtree(root / folder, ignore_errors=True)


if __name__ == "__main__":
    main()
