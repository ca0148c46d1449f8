"""Section `shapes`: the fixed input lengths of the exported functions."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kcompiler.spec.base import Section
from runtime.contract.units import unit


class Decode(Section):
    """The function that reads one token against a cache."""

    context: int = Field(
        ge=8,
        le=10_000_000,
        description="Slots of the key/value cache, in tokens.",
        examples=[4096],
        json_schema_extra=unit("token"),
    )
    cache: Literal["outputs", "state"] = Field(
        default="outputs",
        description="Who keeps keys and values between calls. `outputs`: the host, which hands both caches in and "
        "copies into them what each call gives. `state`: Core ML, in float16 states (iOS 18, macOS 15) that every "
        "function writes itself; nothing is copied.",
        examples=["state"],
    )


class Shapes(Section):
    """One prefill function per length, and one decode function, in one package that shares their weights."""

    prefill: list[Annotated[int, Field(ge=1, le=10_000_000)]] = Field(
        min_length=1,
        max_length=64,
        description="Prompt lengths in tokens, ascending.",
        examples=[[512, 1024, 2048]],
        json_schema_extra=unit("token"),
    )
    decode: Decode = Field(description="The function that reads one token against a cache.")
