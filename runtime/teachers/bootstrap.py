"""A small real teacher that the pipeline trains itself on the spec's own data."""

from __future__ import annotations

from pydantic import Field

from runtime.contract import Params, Teacher
from runtime.contract.architecture import Architecture
from runtime.contract.layers import OF_WEIGHTS
from runtime.contract.optimizer import Optimizer
from runtime.contract.units import unit


class BootstrapTeacher(Params):
    architecture: Architecture = Field(description="Transformers config; two to four times the student's size.")
    steps: int = Field(ge=1, description="Optimiser steps.", examples=[600], json_schema_extra=unit("optimiser step"))
    batch_size: int = Field(ge=1, description="Rows per optimiser step.", examples=[16], json_schema_extra=unit("row"))
    optimizer: Optimizer = Field(default_factory=Optimizer, description="AdamW and the course of its learning rate.")


TEACHER = Teacher(name="bootstrap", version=1, params=BootstrapTeacher, signals=OF_WEIGHTS, step="bootstrap")
