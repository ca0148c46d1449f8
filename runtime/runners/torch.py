"""A Transformers checkpoint in torch, in float32: batched by length, with a cache of keys and values."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import METHODS, Params, RunnerKind


class TorchParams(Params):
    model: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Transformers folder that is asked instead of a model of this spec, with its own tokenizer and "
        "chat template; relative to the spec, or `models:NAME`.",
        examples=["models:smollm2"],
    )


RUNNER = RunnerKind(
    name="torch",
    version=1,
    params=TorchParams,
    opens="runtime.asking.checkpoint:opened",
    can=frozenset(METHODS),
    backend="torch",
    takes="checkpoint",
    place="model",
    place_kind="hf_folder",
    on_device=True,
)
