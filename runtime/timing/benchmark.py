"""Checkpoint and package of a student → the report on how fast they answer here, and what they take of memory.

Prompts are random ids of a length that is asked for, and an answer goes on past its end token: a time depends on how
many tokens there are, not on which (as in llama-bench). One answer at a time, greedy.
"""

from __future__ import annotations

import json
import platform
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from runtime import catalog, digest
from runtime.asking import packaged
from runtime.contract import Context, Unavailable, speed
from runtime.contract import program as programs
from runtime.contract import report as facts
from runtime.contract.asked import Asked
from runtime.machine import host
from runtime.models import device, runners, threads
from runtime.models import tokenizer as tokenizers
from runtime.models.gauge import Gauge, give_back
from runtime.models.runners import CoreMLRunner, HFRunner
from runtime.models.tokenizer import Tokenizer
from runtime.steps.benchmark import PORT_OF, BenchmarkParams
from runtime.timing.measure import times

#: what of the pinned versions a runner's time depends on
VERSIONS: Mapping[str, Sequence[str]] = {
    "torch": ("torch", "transformers"),
    "mil": ("numpy",),
    "coreml": ("numpy",),
    "mil_fp16": ("numpy",),
    "coreml_fp16": ("numpy",),
}
_NO_METER = "this machine has no meter that a step may read"


def benchmark(takes: Mapping[str, Path], params: BenchmarkParams, ctx: Context) -> None:
    """Operation `benchmark`. A runner that cannot be had here is unavailable in the report: no gate passes."""
    tokenizer = tokenizers.load(takes["tokenizer"])
    here = {**host.timing(), "device": device.described(device.of(params.device)), "threads": str(params.threads)}
    before = torch.get_num_threads()
    try:
        threads.use(params.threads)
        found: dict[str, Any] = {name: _runner(name, takes, params, tokenizer, here, ctx) for name in params.runners}
    finally:
        torch.set_num_threads(before)
    data: dict[str, Any] = {
        "benchmark": params.id,
        "machine": here,
        "warm_up": facts.measured(params.warm_up, "answer"),
        "repetitions": facts.measured(params.repetitions, "repetition"),
        "runners": found,
        "target": speed.target(params.target, here, found),
        "energy": facts.unavailable(_NO_METER, "J"),
        "carbon": facts.unavailable(_NO_METER, "g"),
    }
    if params.price is not None:
        data["price"] = params.price.told()
    ctx.report("report", data, fingerprints=facts.fingerprints({"tokenizer": takes["tokenizer"]}, ctx.digests))


def _runner(
    name: speed.Name,
    takes: Mapping[str, Path],
    params: BenchmarkParams,
    tokenizer: Tokenizer,
    here: Mapping[str, str],
    ctx: Context,
) -> dict[str, Any]:
    """Everything about one runner; the model is let go before the next is loaded."""
    meaning = speed.RUNNERS[name]
    folder = takes[PORT_OF[meaning.of]]
    give_back()
    gauge = Gauge(device.of(params.device if meaning.of == "checkpoint" else "cpu"))
    began = time.perf_counter_ns()
    try:
        model = _opened(name, folder, takes["tokenizer"], tokenizer, params.device, ctx)
    except Unavailable as reason:
        gauge.close()
        load, most = facts.unavailable(str(reason), "s"), facts.unavailable(str(reason), "B")
        shapes = {
            speed.named(n): speed.no_shape(str(reason), n, params.new_tokens, params.price) for n in params.prompts
        }
    else:
        load = facts.measured((time.perf_counter_ns() - began) / speed.NS, "s")
        shapes = {}
        for done, length in enumerate(params.prompts):
            ctx.progress(done, len(params.prompts), f"{name}, {length} tokens")
            begins = _begins(model, _prompt(tokenizer, length, ctx.seed))
            taken = times(begins, params.new_tokens, params.warm_up, params.repetitions, time.perf_counter_ns)
            shapes[speed.named(length)] = speed.shape(list(taken), length, params.new_tokens, params.price)
        grown = gauge.most()
        gauge.close()
        unseen = "the system does not say what a process holds"
        most = facts.unavailable(unseen, "B") if grown is None else facts.measured(grown, "B")
        ctx.say(_told(name, shapes))
    versions = {one: ctx.versions[one] for one in VERSIONS[name]}
    own = {"python": platform.python_version(), "model": _identity(name, folder)}
    asked = {"new_tokens": str(params.new_tokens), "warm_up": str(params.warm_up)}
    return {
        "of": meaning.of,
        "level": meaning.level,
        "says": meaning.says,
        "conditions": {**here, **versions, **own, **asked},
        "load": load,
        "size": facts.measured(_size(name, folder), "B"),
        "peak_memory": most,
        "shapes": shapes,
    }


def _opened(
    name: str, folder: Path, words: Path, tokenizer: Tokenizer, on: str, ctx: Context
) -> HFRunner | CoreMLRunner:
    """Raises Unavailable for what this machine has no toolchain of."""
    if name == "torch":
        return runners.checkpoint(name, folder, tokenizer, on=on)
    variant = speed.RUNNERS[name].variant
    if name.startswith("mil"):
        return runners.saved_package(name, folder, tokenizer, variant=variant)
    params = catalog.load("runners", "coreml").params(variant=variant)
    takes = {"model": folder, "tokenizer": words}
    return packaged.predicted(Asked(name=name, params=params, takes=takes, ctx=ctx, told=ctx.progress))


def _begins(model: HFRunner | CoreMLRunner, ids: Sequence[int]) -> Callable[[], Iterator[int]]:
    return lambda: _greedy(model, ids)


def _greedy(model: HFRunner | CoreMLRunner, ids: Sequence[int]) -> Iterator[int]:
    """The likeliest token after all before it, without an end."""
    reading = model.reading(ids)
    logits_V: Any = next(reading)
    while True:
        token = int(logits_V.argmax())
        yield token
        logits_V = reading.send(token)


def _prompt(tokenizer: Tokenizer, length: int, seed: int) -> list[int]:
    """Ids that are words, the same for every runner."""
    draw = random.Random(f"{seed} {length}")
    kept = sorted(set(range(tokenizer.vocab_size)) - {tokenizer.pad_id, *tokenizer.stop_ids})
    return [draw.choice(kept) for _ in range(length)]


def _size(name: speed.Name, folder: Path) -> int:
    """Bytes on disk of what is run."""
    variant = speed.RUNNERS[name].variant
    if not variant:
        return _bytes(folder)
    parts = programs.parts(programs.load(folder))
    return sum(_bytes(folder / programs.filename(variant, part)) for part in parts)


def _bytes(place: Path) -> int:
    return sum(path.stat().st_size for path in sorted(place.rglob("*")) if path.is_file())


def _identity(name: speed.Name, folder: Path) -> str:
    """Digest of what of a model decides how much work it is: its form, not the numbers in it."""
    if speed.RUNNERS[name].of == "checkpoint":
        found = json.loads((folder / "config.json").read_text())
        form = {key: value for key, value in found.items() if key not in ("_name_or_path", "transformers_version")}
    else:
        contract = programs.load(folder)
        made = contract.package
        form = {
            "functions": {name: [one.kind, one.length] for name, one in contract.functions.items()},
            "cache": contract.kv_cache.model_dump(),
            "tensors": [[one.name, one.shape] for one in contract.tensors],
            **({"profile": contract.authoring.profile} if contract.authoring else {}),
            "recipe": ""
            if made is None or speed.RUNNERS[name].variant == "fp16"
            else [made.recipe_sha256, made.islands, made.deployment],
        }
    return digest.of_value(form, "kc.form.v1")


def _told(name: str, shapes: Mapping[str, Any]) -> str:
    parts = [
        f"{length}: first {_said(one['first_token']['p50'], '.4f')}, then {_said(one['decode']['p50'], '.1f')}"
        for length, one in shapes.items()
    ]
    return f"{name}: {'; '.join(parts)}"


def _said(datum: Mapping[str, Any], digits: str) -> str:
    """A number, or why there is none."""
    if datum["value"] is None:
        return f"not known ({datum['reason']})"
    return f"{datum['value']:{digits}} {datum['unit']}"
