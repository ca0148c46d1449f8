"""Section `execution`: where and how steps run."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, Field

from kcompiler.spec.base import ROOM, Section
from runtime import catalog
from runtime.contract.units import unit


def _installed(name: str) -> str:
    if name not in catalog.names("executors"):
        raise ValueError("no such executor")
    return name


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
    executor: Annotated[str, AfterValidator(_installed)] = Field(
        default="local", description="Where steps run.", json_schema_extra={ROOM: "executors"}
    )
    threads: int = Field(
        default=2,
        ge=1,
        le=1024,
        description="CPU threads of tensor libraries.",
        examples=[2],
        json_schema_extra=unit("thread"),
    )
