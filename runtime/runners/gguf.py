"""A GGUF file in llama.cpp: the student's own, written for it, or one that exists. Ids go in, and logits come out."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import METHODS, Params, RunnerKind
from runtime.contract.units import unit


class GgufParams(Params):
    path: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="GGUF file that is asked instead of a model of this spec, with its own tokenizer and chat "
        "template; relative to the spec.",
        examples=["models/smollm2.Q4_1.gguf"],
    )
    weights: Literal["f16", "f32", "q8_0", "q5_1", "q5_0", "q4_1", "q4_0"] = Field(
        default="f16",
        description="How the student's own matrices are written: as floats, or in blocks of 32 with a scale of "
        "their own (`_1`: and a least value). Vectors stay float32, rows that are no multiple of 32 long float16.",
        examples=["q8_0"],
    )
    context: int = Field(
        default=2048,
        ge=8,
        le=1 << 20,
        description="Longest sequence that is asked.",
        examples=[2048],
        json_schema_extra=unit("token"),
    )


RUNNER = RunnerKind(
    name="gguf",
    version=1,
    params=GgufParams,
    opens="runtime.asking.llama:opened",
    can=frozenset(METHODS),
    backend="llama",
    takes="gguf",
    place="path",
)
