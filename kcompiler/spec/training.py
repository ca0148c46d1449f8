"""Section `training`: stages, their losses and their optimiser."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field

from kcompiler.spec.base import ROOM, Name, Plugged, Section
from runtime.contract.optimizer import Optimizer, Schedule
from runtime.contract.qat import QuantizationAware
from runtime.contract.units import unit
from runtime.contract.validation import Validation


class Loss(Plugged):
    """One weighted term of the objective. Its further keys belong to the loss."""

    room: ClassVar[str] = "losses"
    key: ClassVar[str] = "term"
    pattern: ClassVar[str] = "/training/stages/*/losses/*"
    noun: ClassVar[str] = "loss"

    term: str = Field(description="Which loss.", json_schema_extra={ROOM: "losses"})
    weight: float = Field(
        ge=0, le=1e6, description="Factor of this term in the sum.", examples=[0.6], json_schema_extra=unit("1")
    )
    schedule: Schedule | None = Field(default=None, description="Linear change of the weight during the stage.")

    def loss_params(self) -> dict[str, Any]:
        """The keys of the loss itself."""
        return self.params.model_dump()


class Validating(Validation):
    """Looking at rows that are not learnt from while training: which state is kept, and when the stage ends early."""

    split: Literal["validation", "test", "train"] = Field(
        default="validation", description="Rows it looks at: by those of the other splits nothing may be chosen."
    )


class Stage(Section):
    """One training run. It starts from random weights, or where another stage ended."""

    name: Name = Field(description="Name of the stage.", examples=["kd"])
    from_: Name | None = Field(
        default=None, alias="from", description="Earlier stage whose student is the start.", examples=["kd"]
    )
    steps: int = Field(
        ge=1, le=10_000_000, description="Optimiser steps.", examples=[400], json_schema_extra=unit("optimiser step")
    )
    batch_size: int = Field(
        ge=1, le=1_000_000, description="Rows per optimiser step.", examples=[8], json_schema_extra=unit("row")
    )
    micro_batch: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="Rows that go through the models at once; their gradients are added up, and the step is the one of "
        "the whole batch. Absent: all of the batch.",
        examples=[2],
        json_schema_extra=unit("row"),
    )
    packing: bool = Field(
        default=False,
        description="Put several rows into one sequence, none of which sees another. Saves padding where rows differ "
        "in length: of 10 to 250 tokens 12 % of the positions instead of 64 %, and half the time. Where they are "
        "alike in length it saves nothing.",
    )
    max_length: int | None = Field(
        default=None,
        ge=8,
        description="Longest row in tokens; longer ones are refused. Absent: longest prefill shape.",
        examples=[1024],
        json_schema_extra=unit("token"),
    )
    losses: list[Loss] = Field(min_length=1, max_length=64, description="The objective: a weighted sum of terms.")
    optimizer: Optimizer = Field(default_factory=Optimizer, description="AdamW and the course of its learning rate.")
    gradient_norms_every: int = Field(
        default=50,
        ge=1,
        description="Steps between gradient norms of each term.",
        examples=[50],
        json_schema_extra=unit("optimiser step"),
    )
    checkpoint_every: int = Field(
        default=100,
        ge=1,
        description="Steps between checkpoints from which a kill resumes.",
        examples=[100],
        json_schema_extra=unit("optimiser step"),
    )
    chunk_tokens: int | None = Field(
        default=None,
        ge=16,
        description="Supervised tokens whose logits exist at one time. Absent: 128 on a processor, 1,024 on a card; "
        "fewer where the logits of one model would take more than 64 MiB, on a card 512 MiB.",
        examples=[128],
        json_schema_extra=unit("token"),
    )
    gradient_checkpointing: bool = Field(
        default=False, description="Keep each layer's input alone for the backward pass, and compute the rest again."
    )
    validation: Validating | None = Field(
        default=None,
        description="Validate while training: the student of the stage is then its best state. Absent: its last.",
    )
    qat: QuantizationAware | None = Field(
        default=None,
        description="Train with the weights that the package will hold: those that `quantization` stores in integers, "
        "rounded by the very function of the conversion. The last stage only. Absent: weights are rounded afterwards.",
    )


class Training(Section):
    """The stages, in order; the last one makes the student that is exported. Without any it stays as it came."""

    stages: list[Stage] = Field(
        max_length=32,
        description="Training runs, in order. `[]`: none; the package is judged against the original.",
    )
