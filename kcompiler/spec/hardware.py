"""Section `hardware`: the machine the student is meant for, how fast it must be there, and what it may take."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from kcompiler.spec.base import TABLE, Name, Section
from runtime.contract.units import unit


class Targets(Section):
    """Speeds that the student is to reach on the target machine, one session alone."""

    decode_tok_s: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e6,
        description="Tokens per second while decoding.",
        examples=[25],
        json_schema_extra=unit("token per second"),
    )
    ttft_s: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e6,
        description="Seconds to the first token after a prompt of `at_context` tokens.",
        examples=[2.5],
        json_schema_extra=unit("second"),
    )
    at_context: int | None = Field(
        default=None,
        ge=1,
        le=10_000_000,
        description="Tokens in the cache; absent: all of decode.context.",
        examples=[4096],
        json_schema_extra=unit("token"),
    )
    compute_unit: Literal["gpu", "ane", "cpu"] = Field(
        default="gpu", description="Where it runs: GPU, Apple Neural Engine or CPU."
    )


class Declared(Section):
    """Memory that somebody has budgeted; each figure is compared with the computed one. MB are 10^6 bytes."""

    weights_mb: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e9,
        description="Stored weights of the package.",
        examples=[4032],
        json_schema_extra=unit("megabyte"),
    )
    kv_mb_per_token: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e9,
        description="Keys and values of one token.",
        examples=[0.086],
        json_schema_extra=unit("megabyte per token"),
    )
    serving_mb: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e9,
        description="Weights, the caches of all sessions and the longest prefill's outputs.",
        examples=[12000],
        json_schema_extra=unit("megabyte"),
    )
    training_mb: float | None = Field(
        default=None,
        ge=1e-6,
        le=1e9,
        description="Weights, gradients and optimiser state of the student, and the teacher.",
        examples=[65000],
        json_schema_extra=unit("megabyte"),
    )
    tolerance_percent: float = Field(
        default=10.0,
        ge=0,
        le=100,
        description="Allowed distance of a figure, in percent of the computed one.",
        examples=[10.0],
        json_schema_extra=unit("percent"),
    )


#: a machine of `kcompiler/tables/hardware.yaml`
Machine = Annotated[Name, Field(json_schema_extra={TABLE: "hardware"})]


class Hardware(Section):
    """Target machine and how many sessions it serves."""

    profile: Machine = Field(
        description="Name of the hardware profile, such as `m1-max-64gb`.", examples=["m1-max-64gb"]
    )
    concurrency: int = Field(
        default=1,
        ge=1,
        le=10_000,
        description="Sessions at the same time.",
        examples=[1],
        json_schema_extra=unit("session"),
    )
    training_profile: Machine | None = Field(
        default=None,
        description="Machine that trains, where it is another one than `profile`.",
        examples=["m3-ultra-512gb"],
    )
    targets: Targets | None = Field(default=None, description="Speeds to reach; refused when the machine cannot.")
    declared: Declared | None = Field(default=None, description="Budgeted memory; refused when it is not the real one.")
