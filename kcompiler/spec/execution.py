"""Section `execution`: where and how steps run."""

from __future__ import annotations

from pydantic import Field

from kcompiler.spec.base import ROOM, Section
from runtime.contract.units import unit


class Execution(Section):
    """Seed, executor and threads."""

    seed: int = Field(
        default=1337,
        ge=0,
        le=2**31 - 1,
        description="Seed from which every step derives its own.",
        examples=[1337],
        json_schema_extra=unit("1"),
    )
    executor: str = Field(default="local", description="Where steps run.", json_schema_extra={ROOM: "executors"})
    threads: int = Field(
        default=2,
        ge=1,
        le=1024,
        description="CPU threads of tensor libraries.",
        examples=[2],
        json_schema_extra=unit("thread"),
    )
