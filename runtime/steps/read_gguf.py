"""A GGUF file → the Transformers folder that means the same: plain weights, tokenizer, chat template."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step


class ReadGgufParams(Params):
    #: "sha256:…" that the file must have
    revision: str = Field(pattern=r"^sha256:[0-9a-f]{64}$")


def run(takes: Mapping[str, Path], params: ReadGgufParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="read_gguf",
    version=1,
    params=ReadGgufParams,
    takes={"file": Port(kind="file")},
    gives={"folder": Port(kind="hf_folder"), "report": Port(kind="report", report="weights.gguf")},
    backend="gguf",
    run=run,
    code=(
        "runtime.models.unpacking",
        "runtime.contract.gguf",
        "runtime.contract.gguf_model",
        "runtime.contract.gguf_words",
        "runtime.contract.report",
    ),
    lighter="take a smaller teacher",
)
