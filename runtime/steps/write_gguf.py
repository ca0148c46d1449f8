"""A checkpoint → a GGUF file of it, in floats or in blocks of integers, for the runner that asks llama.cpp."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from runtime.contract import Context, Params, Port, Step


class WriteGgufParams(Params):
    weights: Literal["f16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"]


def run(takes: Mapping[str, Path], params: WriteGgufParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="write_gguf",
    version=2,
    params=WriteGgufParams,
    takes={"checkpoint": Port(kind="checkpoint"), "tokenizer": Port(kind="tokenizer"), "dataset": Port(kind="dataset")},
    gives={"gguf": Port(kind="gguf")},
    backend="gguf",
    run=run,
    code=(
        "runtime.asking.cuts",
        "runtime.asking.modelfile",
        "runtime.asking.rotary",
        "runtime.asking.writing",
        "runtime.contract.conversation",
        "runtime.contract.pairs",
        "runtime.contract.report",
        "runtime.contract.rows",
        "runtime.contract.scenario",
        "runtime.contract.spool",
        "runtime.contract.strict_json",
        "runtime.contract.templates",
        "runtime.contract.vocabulary",
        "runtime.contract.wanted",
        "runtime.contract.conditions",
        "runtime.models.tokenizer",
        "runtime.steps.tokenizer",
        "runtime.contract.gguf",
        "runtime.contract.gguf_limits",
        "runtime.contract.gguf_model",
        "runtime.contract.gguf_words",
        "runtime.contract.rotation",
        "runtime.models.rotation",
    ),
    lighter="take a smaller student",
)
