"""A repository of the Hugging Face Hub at one commit → a Transformers folder: configuration, tokenizer, safetensors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pydantic import Field

from runtime.contract import Context, Params, Port, Step


class FetchParams(Params):
    #: "ORG/NAME"
    repository: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=200)
    #: the commit
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")


def run(takes: Mapping[str, Path], params: FetchParams, ctx: Context) -> None:
    ctx.perform(takes, params)


STEP = Step(
    name="fetch",
    version=1,
    params=FetchParams,
    takes={},
    gives={"folder": Port(kind="hf_folder"), "report": Port(kind="report", report="weights.fetch")},
    backend="http",
    run=run,
    code=("runtime.data.fetch", "runtime.contract.report"),
    lighter="take a smaller model",
)
