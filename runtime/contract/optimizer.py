"""Optimiser and step-count parameters shared by every step that trains. Pure data."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from runtime.contract import Params
from runtime.contract.units import unit


class Optimizer(Params):
    """AdamW (Loshchilov and Hutter, arXiv 1711.05101) with linear warm-up, then cosine decay or constant."""

    learning_rate: float = Field(
        default=1e-3, ge=1e-12, le=10, description="Peak learning rate.", examples=[0.001], json_schema_extra=unit("1")
    )
    warmup_steps: int = Field(
        default=20,
        ge=0,
        description="Steps of linear warm-up.",
        examples=[20],
        json_schema_extra=unit("optimiser step"),
    )
    decay: Literal["cosine", "constant"] = Field(default="cosine", description="Course after warm-up.")
    final_fraction: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="Cosine ends at this share of the peak.",
        examples=[0.1],
        json_schema_extra=unit("1"),
    )
    weight_decay: float = Field(
        default=0.01, ge=0, description="Decoupled weight decay.", examples=[0.01], json_schema_extra=unit("1")
    )
    beta1: float = Field(
        default=0.9,
        ge=0,
        lt=1,
        description="Decay of the mean of gradients.",
        examples=[0.9],
        json_schema_extra=unit("1"),
    )
    beta2: float = Field(
        default=0.95,
        ge=0,
        lt=1,
        description="Decay of the mean of squared gradients.",
        examples=[0.95],
        json_schema_extra=unit("1"),
    )
    epsilon: float = Field(
        default=1e-8,
        gt=0,
        description="Added to the root of the squared mean.",
        examples=[1e-08],
        json_schema_extra=unit("1"),
    )
    clip_norm: float = Field(
        default=1.0, gt=0, description="Global gradient-norm clip.", examples=[1.0], json_schema_extra=unit("1")
    )


class Schedule(Params):
    """Linear change of a weight from its declared value to `to` between two steps."""

    to: float = Field(
        ge=0, description="Weight at `until_step` and after.", examples=[0.1], json_schema_extra=unit("1")
    )
    from_step: int = Field(
        default=0,
        ge=0,
        description="Last step with the declared weight.",
        examples=[0],
        json_schema_extra=unit("optimiser step"),
    )
    until_step: int = Field(
        ge=1, description="First step with the weight `to`.", examples=[200], json_schema_extra=unit("optimiser step")
    )
