"""The MIL interpreter beside eager torch: the same weights, inputs and threads, one run; ratios of the quickest.

    python -m tests.bench.interpreter [--threads 1] [--tokens 512] [--repeats 5] [--keep DIR]

A Llama of 31 M random weights, converted by coremltools to float16. `prefill` answers all tokens at once, `decode` one
token over a cache of as many; torch computes both in float32. `checked` looks at every value on the way (shapes, NaN,
what float16 cannot hold), as `verify` does; `plain` only computes. `open` reads the package and compiles a function,
beside what coremltools' own loader of programs (milproto) needs for the same one. Memory is what a process of its own
had at most, beside its imports, over the bytes of the package; `streamed` keeps no large constant, and reads or
dequantizes each anew at each use.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 8192,
    "hidden_size": 512,
    "intermediate_size": 1408,
    "num_hidden_layers": 8,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "attn_implementation": "eager",
}


def quickest(*each: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of the quickest run of each, taken in turn, so that a slow moment meets them all."""
    best = [float("inf")] * len(each)
    for _ in range(repeats):
        for place, call in enumerate(each):
            start = time.perf_counter()
            call()
            best[place] = min(best[place], time.perf_counter() - start)
    return best


def module(kind: str, tokens: int) -> tuple[Any, dict[str, Any]]:
    """The prefill or decode module and its inputs."""
    import numpy as np
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from tests.tensor.mil import models

    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(**SIZES)).eval()
    draw = np.random.default_rng(7)
    ids = draw.integers(0, SIZES["vocab_size"], (1, tokens)).astype(np.int32)
    if kind == "prefill":
        return models.Prefill(model), {"input_ids": ids, "attention_mask": np.ones((1, tokens), np.int32)}
    shape = (SIZES["num_hidden_layers"], SIZES["num_key_value_heads"], tokens, 64)
    caches = [draw.normal(size=shape).astype(np.float16).astype(np.float32) for _ in range(2)]
    inputs = {"input_ids": ids[:, :1], "position": np.array([tokens - 1], np.int32)}
    return models.Decode(model), inputs | {"key_cache": caches[0], "value_cache": caches[1]}


def made(kind: str, tokens: int, folder: Path) -> Path:
    """The converted package; kept between runs where the folder is."""
    from tests.tensor.mil import models

    path = folder / f"{kind}-{tokens}.mlpackage"
    if not path.exists():
        ours, inputs = module(kind, tokens)
        names = ["logits", "keys", "values"] if kind == "prefill" else ["logits", "new_key", "new_value"]
        models.saved(models.converted(models.Sample(ours, inputs, dict.fromkeys(names))), path)
    return path


def speed(kind: str, tokens: int, path: Path, repeats: int) -> dict[str, float]:
    """Seconds of torch and of the interpreter, plain and checked."""
    import numpy as np
    import torch

    from runtime.mil import package
    from runtime.mil.interpreter import Interpreter

    ours, inputs = module(kind, tokens)
    tensors = [torch.from_numpy(value) for value in inputs.values()]
    machine = Interpreter(package.open(path))
    given = {name: value.astype(np.float16) if value.dtype.kind == "f" else value for name, value in inputs.items()}

    def eager() -> Any:
        with torch.inference_mode():
            return ours(*tensors)

    found = machine.run(given)
    reference = eager()[0].numpy()
    cosine = float(np.vdot(reference, found.outputs["logits"])) / float(
        np.linalg.norm(reference) * np.linalg.norm(found.outputs["logits"])
    )
    assert cosine > 0.999, cosine
    assert found.findings.clean
    streamed = Interpreter(machine.package, streamed=True)
    torch_s, *ours_s = quickest(
        eager,
        lambda: machine.run(given, check=False),
        lambda: machine.run(given, check=True),
        lambda: streamed.run(given, check=False),
        repeats=repeats,
    )
    names = ("plain", "checked", "streamed")
    return {"torch_s": torch_s, **{name: s / torch_s for name, s in zip(names, ours_s, strict=True)}, "cosine": cosine}


def opening(path: Path, repeats: int) -> dict[str, float]:
    """Opening and compiling beside coremltools' loader of programs."""
    from coremltools.converters.mil.frontend.milproto.load import load
    from coremltools.models.utils import load_spec

    from runtime.mil import package
    from runtime.mil.interpreter import Interpreter

    def loaded() -> Any:
        spec = load_spec(str(path))
        weights = str(path / "Data/com.apple.CoreML/weights")
        return load(spec, specification_version=spec.specificationVersion, file_weights_dir=weights)

    theirs, opened, compiled = quickest(
        loaded,
        lambda: package.open(path),
        lambda: Interpreter(package.open(path)),
        repeats=repeats,
    )
    return {"coremltools_s": theirs, "open": opened / theirs, "compile": compiled / theirs}


CHILD = """
import json, re, sys
from pathlib import Path
from runtime.mil import given, package
from runtime.mil.interpreter import Interpreter
def peak(): return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024
before = peak()
machine = Interpreter(package.open(Path(sys.argv[1])), streamed=sys.argv[2] == "streamed")
compiled = peak()
machine.run(given.inputs(machine.package, machine.function, {}, shapes={}, seed=1))
print(json.dumps([before, compiled, peak()]))
"""


def memory(path: Path) -> dict[str, float]:
    """Peak resident bytes above the imports, over the bytes of the package, as it is and streamed."""
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    found = {"package_mb": size / 1e6}
    for how in ("kept", "streamed"):
        done = subprocess.run([sys.executable, "-c", CHILD, str(path), how], capture_output=True, text=True, check=True)
        before, compiled, run = json.loads(done.stdout)
        found |= {f"{how}_compiled": (compiled - before) / size, f"{how}_run": (run - before) / size}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--tokens", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--keep", type=Path)
    asked = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(asked.threads)
    import torch

    torch.set_num_threads(asked.threads)
    with tempfile.TemporaryDirectory() as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        for kind in ("prefill", "decode"):
            path = made(kind, asked.tokens, folder)
            for what, found in (
                ("speed", speed(kind, asked.tokens, path, asked.repeats)),
                ("opening", opening(path, asked.repeats)),
                ("memory", memory(path)),
            ):
                print(f"{kind:<8} {what:<8}", *(f"{name} {value:.4g}" for name, value in found.items()), sep="  ")


if __name__ == "__main__":
    main()
