"""Section `execution`: where and how steps run."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from kcompiler.spec.base import ROOM, Section
from runtime import catalog
from runtime.contract.placing import Card, Precision
from runtime.contract.units import unit


def _installed(name: str) -> str:
    if name not in catalog.names("executors"):
        raise ValueError("no such executor")
    return name


class Execution(Section):
    """Seed, executor, threads, device and precision."""

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
    device: Literal["auto", "cpu", "cuda", "mps"] = Field(
        default="auto",
        description="Where models run: `auto` is the GPU of hardware.training_profile where that is written, else the "
        "CPU. It stands in the lock, and is refused where it is not there.",
    )
    teacher_device: Card | None = Field(
        default=None,
        description="Another place for the teacher while the student is trained, such as `cuda:1` or `cpu`; absent: "
        "beside the student.",
        examples=["cuda:1"],
    )
    precision: Precision = Field(
        default="fp32",
        description="Arithmetic inside the models while training; weights, optimiser and loss are float32 always. "
        "`fp16-mixed` scales the loss, and needs `cuda`.",
    )
